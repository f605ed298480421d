"""The writer's thread: group commit, failures, the idle check."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
from support.fake_disk import FakeDataFile, FakeDisk, FakeFiles
from support.waiting import wait_until

from journal.errors import JournalError, StoreFailed, StoreFenced
from journal.fence import live_name
from journal.journal import Journal
from journal.options import RESERVE_BYTES, JournalOptions
from journal.record import AddMessage

MIB = 1024 * 1024
QUEUE = "queue://a"


class GatedFiles(FakeFiles):
    """A disk whose syncs wait at a gate."""

    def __init__(self, disk: FakeDisk) -> None:
        super().__init__(disk)
        self.gate = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)
        self.closed = False

    def create_data(self, name: str, allocated: int) -> FakeDataFile:
        """Hands out a file that waits."""
        files = self

        class GatedFile(FakeDataFile):
            def sync(self) -> None:
                if files.closed:
                    files.waiting.release()
                    assert files.gate.acquire(timeout=10)
                super().sync()

        super().create_data(name, allocated)
        return GatedFile(self._disk, self._host, self._disk.files[name])


class Owner:
    """A broker's thread, its journal and what it was told."""

    def __init__(self, files: FakeFiles, **options: float) -> None:
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.durable: list[int] = []
        self.errors: list[JournalError] = []
        self.journal = Journal.open(
            Path("unused"),
            owner="test",
            files=files,
            post=self.posted.put,
            on_durable=self.durable.append,
            on_failed=self.errors.append,
            options=JournalOptions(**{"idle_check_s": 30, "file_bytes": 1 << 20} | options),
        )
        self.ref = 0

    def append(self, count: int = 1, size: int = 10) -> int:
        """Appends and flushes some messages."""
        records = [
            AddMessage(self.ref + i, QUEUE, "p", self.ref + i, bytes(size)) for i in range(1, count + 1)
        ]
        self.ref += count
        batch = self.journal.append(records)
        self.journal.flush()
        return batch

    def wait(self, condition: Callable[[], bool]) -> None:
        """Runs what is posted until a condition holds."""
        while not condition():
            self.posted.get(timeout=10)()


@pytest.fixture
def disk() -> FakeDisk:
    """An empty disk."""
    return FakeDisk()


@pytest.fixture
def owner(disk: FakeDisk) -> Iterator[Owner]:
    """An owner with an open journal."""
    owner = Owner(FakeFiles(disk))
    yield owner
    owner.journal.close(10)


def test_while_one_batch_syncs_the_next_fills(disk: FakeDisk) -> None:
    """Group commit: any number of appends during a sync costs one more sync."""
    files = GatedFiles(disk)
    owner = Owner(files)
    files.closed = True
    first = owner.append()
    assert files.waiting.acquire(timeout=10)
    syncs = disk.operations["sync"]
    second = {owner.append() for _ in range(50)}
    assert second == {first + 1}
    assert owner.journal.durable_batch == first - 1
    files.closed = False
    files.gate.release()
    owner.wait(lambda: first + 1 in owner.durable)
    assert disk.operations["sync"] == syncs + 2
    assert owner.journal.durable_batch == first + 1
    owner.journal.close(10)


@pytest.mark.parametrize("is_slow", [True, False])
def test_a_busy_writer_takes_a_little_unasked_on_a_fast_disk_only(
    disk: FakeDisk, monkeypatch: pytest.MonkeyPatch, *, is_slow: bool
) -> None:
    """Where a commit takes long its owner says when, so that more can be committed with it."""
    monkeypatch.setattr("journal.writer.SMOOTHING", 1e9 if is_slow else 0.0)
    files = GatedFiles(disk)
    owner = Owner(files)
    files.closed = True
    first = owner.append()
    assert files.waiting.acquire(timeout=10)
    left = owner.journal.append([AddMessage(100, QUEUE, "p", 100, b"x")])
    files.closed = False
    files.gate.release()
    owner.wait(lambda: (first if is_slow else left) in owner.durable)
    added = owner.journal.append([AddMessage(101, QUEUE, "p", 101, b"y")])
    assert (added == left) is is_slow
    owner.journal.flush()
    owner.wait(lambda: added in owner.durable)
    owner.journal.close(10)


def test_a_disk_that_does_not_answer_can_be_seen(disk: FakeDisk) -> None:
    """P5: since when the disk owes an answer is known to any thread, and nothing is owed at rest."""
    files = GatedFiles(disk)
    owner = Owner(files)
    files.closed = True
    owner.append()
    assert files.waiting.acquire(timeout=10)
    asked_s = owner.journal.asked_s
    assert 0 < asked_s <= time.monotonic()
    assert owner.journal.asked_s == asked_s
    files.closed = False
    files.gate.release()
    wait_until(lambda: owner.journal.asked_s == 0.0, message="the disk has answered")
    owner.journal.close(10)


def test_a_slow_disk_is_told_before_much_waits_for_it(disk: FakeDisk) -> None:
    """P10: if the disk turns out to be full, what waits to be written must fit the reserve."""
    files = GatedFiles(disk)
    owner = Owner(files)
    assert not owner.journal.is_behind
    files.closed = True
    owner.append()
    assert files.waiting.acquire(timeout=10)
    behind_after = next(
        count for count in range(1, 100) if owner.append(size=MIB) and owner.journal.is_behind
    )
    assert behind_after * MIB < RESERVE_BYTES / 2
    files.closed = False
    files.gate.release()
    wait_until(lambda: not owner.journal.is_behind, message="the disk to catch up")
    owner.journal.close(10)


def test_nothing_is_durable_before_its_sync(disk: FakeDisk) -> None:
    """P1: an acknowledgement waits for the sync, however long that takes."""
    files = GatedFiles(disk)
    owner = Owner(files)
    files.closed = True
    batch = owner.append()
    assert files.waiting.acquire(timeout=10)
    while not owner.posted.empty():
        owner.posted.get()()
    assert owner.durable == []
    assert owner.journal.durable_batch < batch
    with pytest.raises(StoreFailed, match=r"within 0\.01 s"):
        owner.journal.close(0.01)
    files.closed = False
    files.gate.release()
    owner.journal.close(10)
    assert owner.journal.durable_batch >= batch


def test_a_large_batch_is_closed_while_the_writer_is_busy(disk: FakeDisk) -> None:
    """One sync never waits for more than a batch's limit."""
    files = GatedFiles(disk)
    owner = Owner(files, batch_bytes_max=1000)
    files.closed = True
    owner.append()
    assert files.waiting.acquire(timeout=10)
    batches = [owner.append(size=400) for _ in range(9)]
    assert batches == sorted(batches)
    assert len(set(batches)) == 3
    files.closed = False
    files.gate.release()
    owner.wait(lambda: batches[-1] in owner.durable)
    assert owner.durable == sorted(owner.durable)
    owner.journal.close(10)
    again = Owner(FakeFiles(disk))
    assert list(again.journal.state.queues[QUEUE]) == list(range(1, owner.ref + 1))
    again.journal.close(10)


def test_what_is_joined_while_the_writer_is_busy_is_written_whole(disk: FakeDisk) -> None:
    """Large and small messages, some joined before others come: all are there, and readable before."""
    files = GatedFiles(disk)
    owner = Owner(files, file_bytes=8 * MIB)
    files.closed = True
    owner.append()
    assert files.waiting.acquire(timeout=10)
    sizes = [40_000, 10, 50_000, 20, 30]
    for size in sizes:
        batch = owner.append(size=size)
    assert [len(owner.journal.read(ref, QUEUE)) for ref in range(2, 7)] == sizes
    files.closed = False
    files.gate.release()
    owner.wait(lambda: batch in owner.durable)
    owner.journal.close(10)
    again = Owner(FakeFiles(disk))
    assert not again.journal.report.damages
    assert [len(again.journal.read(ref, QUEUE)) for ref in range(2, 7)] == sizes
    again.journal.close(10)


@pytest.mark.parametrize("operation", ["write", "sync", "opens"])
def test_a_failed_disk_ends_the_journal_for_good(owner: Owner, disk: FakeDisk, operation: str) -> None:
    """A failed write, sync or check is final: nothing is reported durable when the disk recovers."""
    before = owner.append()
    owner.wait(lambda: before in owner.durable)
    disk.fail(operation, StoreFailed(f"{operation} failed: No space left on device"))
    batch = owner.append()
    owner.wait(lambda: bool(owner.errors))
    assert "No space left" in str(owner.errors[0])
    assert owner.append() > batch
    owner.journal.close(10)
    assert owner.posted.empty()
    assert owner.journal.durable_batch == before
    assert len(owner.errors) == 1
    assert max(owner.durable) == before


def test_a_fenced_master_acknowledges_nothing_more(owner: Owner, disk: FakeDisk) -> None:
    """P2: once the token is gone, a synced batch does not count."""
    del disk.files[live_name(1)]
    batch = owner.append()
    owner.wait(lambda: bool(owner.errors))
    assert isinstance(owner.errors[0], StoreFenced)
    assert owner.journal.durable_batch < batch
    assert owner.durable == []


def test_an_idle_master_finds_out_that_it_was_fenced(disk: FakeDisk) -> None:
    """P2: a master with nothing to write ends by itself, so that non-persistent traffic ends too."""
    owner = Owner(FakeFiles(disk), idle_check_s=0.01)
    owner.wait(lambda: bool(owner.durable))  # it has marked the end of the burst, and goes on checking
    del disk.files[live_name(1)]
    owner.wait(lambda: bool(owner.errors))
    assert isinstance(owner.errors[0], StoreFenced)


def test_an_idle_master_marks_the_end_once(disk: FakeDisk) -> None:
    """After a burst one mark says that all before it was acknowledged; then idling costs no writes."""
    owner = Owner(FakeFiles(disk), idle_check_s=0.01)
    batch = owner.append()
    owner.wait(lambda: len(owner.durable) >= 2 and owner.durable[-1] > batch)
    writes = disk.operations["write"]
    checks = disk.operations["opens"]
    while disk.operations["opens"] < checks + 5:
        owner.journal.flush()
    assert disk.operations["write"] == writes
    owner.journal.close(10)


def test_what_cannot_be_encoded_leaves_the_journal_as_it_was(owner: Owner) -> None:
    """An append takes all of its records or none."""
    good = AddMessage(1, QUEUE, "", 0, b"")
    bad = AddMessage(-1, QUEUE, "", 0, b"")
    for records in ([bad], [good, bad]):
        with pytest.raises(ValueError, match="range"):
            owner.journal.append(records)
    assert owner.journal.state.queues == {}
    batch = owner.append()
    owner.wait(lambda: batch in owner.durable)


def test_an_unforeseen_error_is_reported_too(disk: FakeDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for an acknowledgement is told, even if the writer dies of a bug."""
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    owner = Owner(FakeFiles(disk))
    monkeypatch.setattr(FakeDataFile, "write", lambda *_: 1 // 0)
    owner.append()
    owner.wait(lambda: bool(owner.errors))
    assert "writer has died" in str(owner.errors[0])
    owner.journal.close(10)
    assert len(seen) == 1


def test_a_batch_behind_a_closed_one_is_committed_too(disk: FakeDisk) -> None:
    """What one flush finds is all committed, however many batches it is and whichever thread commits."""
    owner = Owner(FakeFiles(disk), batch_bytes_max=100)
    for _ in range(40):  # until the owner's thread commits small batches itself
        batch = owner.append()
        owner.wait(lambda: batch in owner.durable)  # noqa: B023 - used now
    owner.journal.append([AddMessage(100, QUEUE, "p", 100, bytes(200))])
    last = owner.journal.append([AddMessage(101, QUEUE, "p", 101, bytes(1))])
    assert last == batch + 2
    owner.journal.flush()
    owner.wait(lambda: last in owner.durable)
    owner.journal.close(10)


def test_what_a_lone_client_appended_at_once_is_committed_at_once(disk: FakeDisk) -> None:
    """A transaction of the only client that speaks is spared the change of threads, unless it is long."""
    owner = Owner(FakeFiles(disk))
    for _ in range(40):  # until the owner's thread commits small batches itself
        batch = owner.append()
        owner.wait(lambda: batch in owner.durable)  # noqa: B023 - used now

    def flushed(*appends: tuple[int, int], alone: bool = True) -> bool:
        """Appends so many messages of a size; whether they are durable when `flush` returns."""
        for count, size in appends:
            records = [AddMessage(100 + number, QUEUE, "", 0, bytes(size)) for number in range(count)]
            last = owner.journal.append(records)
        owner.journal.flush(alone=alone)
        at_once = last in owner.durable
        owner.wait(lambda: last in owner.durable)
        return at_once

    assert flushed((100, 1_000))
    assert flushed((1, 100_000))
    assert not flushed((100, 1_000), alone=False)
    assert not flushed((50, 1_000), (50, 1_000))
    assert not flushed((1, 10), (100, 1_000))
    assert not flushed((100, 1_000), (1, 10))
    assert not flushed((300, 1_000))
    owner.journal.close(10)


def test_numbers_of_durable_batches_only_rise(disk: FakeDisk) -> None:
    """A batch committed by the owner overtakes the news of an older one; nobody goes back."""
    owner = Owner(FakeFiles(disk))
    for _ in range(40):  # until the owner's thread commits small batches itself
        batch = owner.append()
        owner.wait(lambda: batch in owner.durable)  # noqa: B023 - used now
    large = owner.append(size=100_000)  # the writer's; what it posts is left waiting
    wait_until(lambda: owner.journal.durable_batch == large, 10.0)
    last = owner.append()
    owner.wait(lambda: last in owner.durable and owner.posted.empty())
    assert owner.durable == sorted(set(owner.durable))
    owner.journal.close(10)
