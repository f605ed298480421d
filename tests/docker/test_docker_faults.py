"""Links between hosts break, hosts freeze and die, clocks and stores fail: one lab, one history."""

import time
from collections.abc import Iterator
from itertools import takewhile

import pytest
from faults.check import told
from faults.lab import NamespaceLab
from faults.plan import Round, random_rounds, suite
from faults.rounds import Run, report, run_over

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

RANDOM_S = 45.0
"""The last round begins within this; it takes about ten seconds."""
SEED = 20261128


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Seven hosts under load; shared by all rounds, since each begins and ends with everything whole."""
    with run_over(NamespaceLab(tmp_path_factory.mktemp("faults"))) as run:
        yield run


@pytest.mark.parametrize("one", suite(), ids=lambda one: one.kind.name.lower())
def test_a_fault_costs_what_is_promised(run: Run, one: Round) -> None:
    """P2, P5, P6: who is master afterwards, how long clients waited, and that the console shows the truth."""
    assert run.carry_out(one).problems == ()


def test_faults_by_chance_cost_no_more(run: Run) -> None:
    """The same faults for other times and in another order."""
    until = time.monotonic() + RANDOM_S
    rounds = takewhile(lambda _: time.monotonic() < until, random_rounds(SEED))
    assert [problem for one in rounds for problem in run.carry_out(one).problems] == []


def test_the_history_of_all_of_it_breaks_no_promise(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """P1 to P4, over every send, answer and delivery, and the journal's own account."""
    breaches = run.finish(tmp_path_factory.mktemp("history") / "history.jsonl")
    print(report(run.results), run.summary, sep="\n\n")
    assert breaches == [], told(breaches)
