"""Clients of an NFS server are cut off, die, and freeze past their leases."""

from collections.abc import Iterator

import pytest
from faults.check import told
from faults.nfs_lab import PAST_LEASE_S, NfsLab
from faults.plan import HOLD_S, Kind, Round
from faults.rounds import Run, report, run_over

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> NfsLab:
    """Seven hosts, two of them virtual machines that mount the store from an eighth."""
    return NfsLab(tmp_path_factory.mktemp("nfs"))


@pytest.fixture(scope="module")
def run(lab: NfsLab) -> Iterator[Run]:
    """All of them under load."""
    with run_over(lab) as run:
        yield run


@pytest.mark.parametrize("kind", [Kind.STORE, Kind.KILL], ids=lambda kind: kind.name.lower())
def test_a_client_that_is_cut_off_or_dies(run: Run, kind: Kind) -> None:
    """P2, P5: the slave takes over, and the console shows it."""
    assert run.carry_out(Round(1, kind, HOLD_S[kind])).problems == ()


def test_a_client_that_freezes_past_its_lease(run: Run, lab: NfsLab) -> None:
    """P1, P2: the server has given it up when it wakes; it comes back as a slave."""
    assert run.carry_out(Round(2, Kind.PAUSE, PAST_LEASE_S)).problems == ()
    assert lab.expired_leases() > 0


def test_the_history_over_nfs_breaks_no_promise(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """P1 to P4, over every send, answer and delivery, and the journal's own account."""
    breaches = run.finish(tmp_path_factory.mktemp("nfs-history") / "history.jsonl")
    print(report(run.results), run.summary, sep="\n\n")
    assert breaches == [], told(breaches)
