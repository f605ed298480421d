"""Whole clusters in virtual time: shipped brokers and clients, everything that can go wrong, nothing lost.

Fault model: see `faults`, `network` and `support.fake_disk`; what is checked: see `promises`; what happens in
a history follows from its seed: see `plan`. A seed that ever failed stays in `regressions.txt`.
"""

from pathlib import Path

import pytest
from simulation.cluster.bugs import BUGS, planted
from simulation.cluster.plan import plan_of
from simulation.cluster.world import live

HISTORIES = 160
PARTS = 8
BUG_SEEDS = 200
REGRESSIONS = Path(__file__).with_name("regressions.txt")


def regressions() -> list[int]:
    """The seeds in the file."""
    lines = REGRESSIONS.read_text("utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_breaks_a_promise(part: int) -> None:
    """P1, P2, P3, P4, P9: whatever crashes, pauses, is cut off or lost, all that was promised is kept."""
    size = HISTORIES // PARTS
    outcomes = [live(plan_of(seed)) for seed in range(part * size, (part + 1) * size)]
    assert [f"seed {each.plan.seed}: {each.violation}" for each in outcomes if each.violation] == []


def test_what_once_failed_holds() -> None:
    """A history that ever broke a promise is lived again for ever."""
    outcomes = [live(plan_of(seed)) for seed in regressions()]
    assert [f"seed {each.plan.seed}: {each.violation}" for each in outcomes if each.violation] == []


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    """The checkers can fail: each mistake breaks a promise within 200 histories."""
    with planted(name):
        assert any(live(plan_of(seed)).violation for seed in range(BUG_SEEDS))


def test_a_seed_is_a_history() -> None:
    """The same seed gives the same history, event by event."""
    first, second = (live(plan_of(5), is_recorded=True) for _ in range(2))
    assert first == second
    assert len(first.timeline) > 100
