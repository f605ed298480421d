"""A broker that ignores the fence is found out by clients that stay with it: the proof of lab and checker."""

import pytest
from faults.check import TWO_MASTERS, check
from faults.history import STAYING
from faults.lab import NamespaceLab
from faults.plan import HOLD_S, Kind, Round
from faults.rounds import run_over

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def test_a_master_that_ignores_the_fence_is_found_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Cut off from ZooKeeper it goes on answering who asks it, and the checker says so."""
    lab = NamespaceLab(tmp_path_factory.mktemp("unfenced"), program="faults.unfenced")
    with run_over(lab) as run:
        run.carry_out(Round(1, Kind.REGISTRY, HOLD_S[Kind.REGISTRY]))
        found = [breach for breach in check(run.recording.events()) if breach.kind == TWO_MASTERS]
    assert found
    assert all(f"of {STAYING}" in breach.text for breach in found)
