"""Whole clusters in virtual time: shipped brokers and clients, everything that can go wrong, nothing lost.

Fault model: see `faults`, `network` and `support.fake_disk`; what is checked: see `promises`; what happens in
a history follows from its seed: see `plan`. What ever failed stays in `regressions.txt`.
"""

from collections import Counter
from itertools import count, islice
from pathlib import Path

import pytest
from simulation.cluster import plan as plans
from simulation.cluster.bugs import BUGS, planted
from simulation.cluster.mishaps import FAULTS
from simulation.cluster.plan import Plan, plan_of
from simulation.cluster.world import Outcome, live

HISTORIES = 2_000
PARTS = 20
BUG_SEEDS = 200
WHERE = {
    "what is due is stored before it leaves the schedule": lambda plan: any(
        each.delay_s for each in plan.producers
    ),
    "the audit takes a subscription's next consumer for another place": lambda plan: any(
        each.queue.startswith("t") for each in plan.consumers
    ),
}
"""Mistakes that can do harm only in the histories of which this is true."""
REGRESSIONS = Path(__file__).with_name("regressions.txt")


def regressions() -> list[Plan]:
    """What stands in the file: seeds, and plans as Python."""
    found = []
    for line in REGRESSIONS.read_text("utf-8").splitlines():
        if line.startswith("Plan("):
            found.append(eval(line, vars(plans)))
        elif line and not line.startswith("#"):
            found.append(plan_of(int(line)))
    return found


def broken(outcomes: list[Outcome]) -> list[str]:
    """The promises that were not kept, each with its seed."""
    return [f"seed {each.plan.seed}: {each.violation}" for each in outcomes if each.violation]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_breaks_a_promise(part: int) -> None:
    """P1, P2, P3, P4, P9: whatever crashes, pauses, is cut off or lost, all that was promised is kept."""
    size = HISTORIES // PARTS
    assert broken([live(plan_of(seed)) for seed in range(part * size, (part + 1) * size)]) == []


def test_the_histories_do_something() -> None:
    """Faults of all kinds strike, masters change, checkpoints are written and used, or nothing is proven."""
    counts: Counter[str] = Counter()
    for seed in range(200):
        counts.update(live(plan_of(seed)).counts)
    assert [kind for kind in FAULTS if not counts[f"fault {kind}"]] == []
    assert counts["takeover"] > 200
    assert min(counts["checkpoint"], counts["part moved"], counts["data file removed"]) > 100
    assert min(counts["recovery from a checkpoint"], counts["full"], counts["room again"]) > 5
    assert min(counts["transaction in doubt"], counts["given back"]) > 5
    assert counts["answer at once"] > 200


@pytest.mark.parametrize("plan", regressions(), ids=lambda plan: f"seed {plan.seed}")
def test_what_once_failed_holds(plan: Plan) -> None:
    """A history that ever broke a promise is lived again for ever."""
    assert broken([live(plan)]) == []


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    """The checkers can fail: each mistake breaks a promise within 200 histories in which it can do harm."""
    histories = filter(WHERE.get(name, lambda _: True), map(plan_of, count()))
    with planted(name):
        assert any(live(plan).violation for plan in islice(histories, BUG_SEEDS))


def test_a_seed_is_a_history() -> None:
    """The same seed gives the same history, event by event."""
    first, second = (live(plan_of(5), is_recorded=True) for _ in range(2))
    assert first == second
    assert len(first.timeline) > 100
