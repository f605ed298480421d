"""Zeros ahead of small batches: cheaper syncs, and nothing else changes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest
from support.fake_disk import FakeDataFile, FakeDisk, FakeFiles

from journal.errors import JournalError
from journal.journal import Journal
from journal.mastership import FIRST_ZEROS_BYTES, SMALL_BATCH_BYTES_MAX, ZEROS_BYTES
from journal.options import JournalOptions
from journal.record import AddMessage

MIB = 1024 * 1024
QUEUE = "queue://a"


class NotedFiles(FakeFiles):
    """A disk that notes how long each write to a data file is."""

    def __init__(self, disk: FakeDisk) -> None:
        super().__init__(disk)
        self.writes: list[int] = []

    def create_data(self, name: str, allocated: int) -> FakeDataFile:
        """Hands out a file that notes."""
        writes = self.writes

        class NotedFile(FakeDataFile):
            def write(self, offset: int, pieces: Sequence[bytes], *, syncing: bool = False) -> None:
                writes.append(sum(map(len, pieces)))
                super().write(offset, pieces, syncing=syncing)

        super().create_data(name, allocated)
        return NotedFile(self._disk, self._host, self._disk.files[name])


class Master:
    """A journal and its owner's thread, which is this one."""

    def __init__(self, files: FakeFiles) -> None:
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.errors: list[JournalError] = []
        self.journal = Journal.open(
            Path("unused"),
            owner="test",
            files=files,
            post=self.posted.put,
            on_durable=lambda _batch: None,
            on_failed=self.errors.append,
            options=JournalOptions(
                idle_check_s=30, file_bytes=4 * MIB, allocated_bytes=2 * MIB, reserve_bytes=MIB
            ),
        )

    def store(self, ref: int, size: int) -> None:
        """Stores a message and waits until it may be acknowledged."""
        batch = self.journal.append([AddMessage(ref, QUEUE, "p", ref, b"x" * size)])
        self.journal.flush()
        while self.journal.durable_batch < batch:
            self.posted.get(timeout=10)()


@pytest.fixture
def disk() -> FakeDisk:
    """An empty disk."""
    return FakeDisk()


def test_most_small_batches_fall_on_written_blocks(disk: FakeDisk) -> None:
    """One batch in many writes zeros as well; the others are as short as they are."""
    files = NotedFiles(disk)
    master = Master(files)
    for ref in range(1, 2001):
        master.store(ref, 1000)
    master.journal.close(10)
    long = [size for size in files.writes if size > SMALL_BATCH_BYTES_MAX]
    assert 4 <= len(long) <= 8
    assert max(long) <= ZEROS_BYTES + SMALL_BATCH_BYTES_MAX


def test_a_takeover_waits_for_few_of_them(disk: FakeDisk) -> None:
    """The first batch of a file brings some, each further time as many as the file holds already."""
    files = NotedFiles(disk)
    master = Master(files)
    assert files.writes[0] < FIRST_ZEROS_BYTES + 1000
    for ref in range(1, 301):
        master.store(ref, 1000)
    master.journal.close(10)
    long = [size for size in files.writes if size > SMALL_BATCH_BYTES_MAX]
    assert long == sorted(long)
    assert len(long) == 4


@pytest.mark.parametrize("allocates", [True, False])
def test_a_full_disk_does_without_them(disk: FakeDisk, *, allocates: bool) -> None:
    """They are the first that a disk without space for them gets back; the message is stored."""
    disk.allocates = allocates
    master = Master(NotedFiles(disk))
    while "reserve-1" not in disk.files:
        master.posted.get(timeout=10)()
    disk.capacity = disk.used + (2 * MIB if allocates else 10_000)
    for ref in range(1, 101):
        master.store(ref, 1000)
    assert not master.errors
    assert master.journal.full is not allocates
    master.journal.close(10)


def test_large_batches_are_written_as_they_are(disk: FakeDisk) -> None:
    """Where the disk's rate counts, nothing is written twice."""
    files = NotedFiles(disk)
    master = Master(files)
    del files.writes[:]
    for ref in range(1, 11):
        master.store(ref, 100_000)
    sizes = files.writes[:10]
    master.journal.close(10)
    assert all(100_000 < size < 101_000 for size in sizes), sizes


def test_zeros_never_pass_what_is_allocated(disk: FakeDisk) -> None:
    """A file gets no longer by them, so that a disk that is nearly full does not fail for their sake."""
    master = Master(NotedFiles(disk))
    master.store(1, MIB * 2 - 64 * 1024)
    master.store(2, 1000)
    lengths = [len(file.content) for name, file in disk.files.items() if name.startswith("data-")]
    assert max(lengths) <= 2 * MIB
    master.journal.close(10)


def test_a_successor_takes_them_for_the_end(disk: FakeDisk) -> None:
    """After a crash everything is delivered, and no torn tail is reported."""
    master = Master(FakeFiles(disk, "first"))
    for ref in range(1, 11):
        master.store(ref, 1000)
    disk.crash("first")
    successor = Master(FakeFiles(disk, "second"))
    assert list(successor.journal.state.queues[QUEUE]) == list(range(1, 11))
    assert successor.journal.report.torn is None
    assert not successor.journal.report.damages
    successor.journal.close(10)
    master.journal.close(10)  # it learns that it was fenced, and its thread ends
