"""A few rounds of the soak: faults of every kind hit a fabric under load, and nothing is lost."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.soak.main import soak
from integration.soak.plan import Fault, Kind, Round, Victim
from integration.soak.rig import Rig

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

KILL = Fault(Kind.KILL, Victim.MASTER)
ZOOKEEPER = Fault(Kind.ZOOKEEPER, hold_s=0.5)
FREEZE = Fault(Kind.FREEZE, Victim.MASTER, hold_s=5.5)
STOP = Fault(Kind.STOP, Victim.SLAVE)
FULL = Fault(Kind.FULL, hold_s=0.5)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A fabric on a disk that may be filled, if this process may mount one; left as it was found."""
    level = logging.getLogger("mqclient").level
    logging.getLogger("mqclient").setLevel(logging.CRITICAL)
    rig = Rig(tmp_path)
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()
        shutil.rmtree(rig.folder, ignore_errors=True)
        logging.getLogger("mqclient").setLevel(level)


def test_nothing_acknowledged_is_lost_in_a_few_rounds(rig: Rig) -> None:
    """P1, P2, P3, P4, P10: killed with ZooKeeper away, frozen, disk full; all arrives once and in order."""
    rounds = [
        Round(1, KILL, ZOOKEEPER, gap_s=0.2, gathers=False),
        Round(2, FREEZE, STOP, gap_s=0.5, gathers=True),
    ]
    if rig.disk.mounted:
        rounds.append(Round(3, FULL, KILL, gap_s=0.5, gathers=True))
    violations, summary = soak(rig, rounds)
    assert violations == [], summary
