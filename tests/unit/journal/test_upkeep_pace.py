"""How much of the disk upkeep takes while clients want it."""

from dataclasses import replace

import pytest
from support.fake_disk import FakeDisk, FakeFiles
from support.stepped_journal import SteppedJournal

import journal.care
import journal.checkpoint
from journal.options import JournalOptions
from journal.record import AddMessage, RemoveMessage

OPTIONS = JournalOptions(
    file_bytes=32_000,
    allocated_bytes=8_000,
    small_file_bytes=4_000,
    reserve_bytes=12_000,
    checkpoint_bytes=8_000,
    move_bytes=2_000,
    move_rate_bytes=1 << 60,
    checkpoint_rate_bytes=1 << 60,
    carried_messages_max=-1,
)
QUEUE = "queue://orders"
SLICE_BYTES = 500


def paused_s(options: JournalOptions) -> float:
    """How long upkeep pauses in all while much is sent, and little of it is never consumed."""
    journal = SteppedJournal(FakeFiles(FakeDisk()), options)
    for start in range(1, 4_001, 20):
        refs = range(start, start + 20)
        journal.append(*(AddMessage(ref, QUEUE, "p", ref, bytes(300)) for ref in refs))
        journal.append(*(RemoveMessage(ref, QUEUE) for ref in refs if ref % 40))
    return journal.upkeep.paused_s


@pytest.mark.parametrize("rate", ["move_rate_bytes", "checkpoint_rate_bytes"])
def test_upkeep_keeps_to_its_rate(rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction and checkpoints pause between their pieces: at half the rate for twice as long."""
    monkeypatch.setattr(journal.care, "SLICE_BYTES", SLICE_BYTES)
    monkeypatch.setattr(journal.checkpoint, "SLICE_BYTES", SLICE_BYTES)
    slow_s, fast_s = (paused_s(replace(OPTIONS, **{rate: each})) for each in (100_000, 200_000))
    assert slow_s == pytest.approx(2 * fast_s)
    assert slow_s > 0.1
