"""The journal as a broker uses it, on a real directory."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from journal.errors import JournalError, MessageDamaged, MessageUnknown, StoreFenced, StoreMissing
from journal.fence import checkpoint_name
from journal.journal import Journal
from journal.options import JournalOptions
from journal.record import AddMessage, RemoveMessage

OPTIONS = JournalOptions(file_bytes=4096, idle_check_s=0.01, create=True)
QUEUE = "queue://a"


class Owner:
    """A broker's thread: collects what is posted and runs it when told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.durable = 0
        self.error: JournalError | None = None

    def open(self, options: JournalOptions = OPTIONS) -> Journal:
        """Takes the store over."""
        return Journal.open(
            self.directory,
            owner="test",
            post=self.posted.put,
            on_durable=self._set_durable,
            on_failed=self._set_error,
            options=options,
        )

    def wait_durable(self, batch: int) -> None:
        """Runs what is posted until a batch may be acknowledged."""
        while self.durable < batch and self.error is None:
            self.posted.get(timeout=10)()
        while not self.posted.empty():
            self.posted.get()()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Runs what is posted until a condition holds."""
        for _ in range(1000):
            if condition():
                return
            with suppress(Empty):
                self.posted.get(timeout=0.01)()
        raise AssertionError("the condition did not come true")

    def wait_error(self) -> JournalError:
        """Runs what is posted until the journal fails."""
        while self.error is None:
            self.posted.get(timeout=10)()
        return self.error

    def _set_durable(self, batch: int) -> None:
        self.durable = batch

    def _set_error(self, error: JournalError) -> None:
        assert self.error is None
        self.error = error


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    """The owner of a store that does not exist yet."""
    return Owner(tmp_path / "store")


def test_what_was_reported_durable_is_there_after_reopening(owner: Owner) -> None:
    """P1: an acknowledged message is delivered by the next master, a removed one is not."""
    journal = owner.open()
    journal.append([AddMessage(1, QUEUE, "p", 1, b"one"), AddMessage(2, QUEUE, "p", 2, b"two")])
    batch = journal.append([RemoveMessage(1, QUEUE)])
    journal.flush()
    owner.wait_durable(batch)
    assert journal.durable_batch >= batch
    journal.close(10)
    again = Owner(owner.directory).open()
    assert {ref: again.read(ref, QUEUE) for ref in again.state.queues[QUEUE]} == {2: b"two"}
    assert again.state.next_ref == 3
    assert again.state.last_producer_sequence("p") == 2
    again.close(10)


def test_close_writes_what_was_not_flushed(owner: Owner) -> None:
    """A clean end loses nothing that was appended."""
    journal = owner.open()
    journal.append([AddMessage(1, QUEUE, "", 0, b"one")])
    journal.close(10)
    again = Owner(owner.directory).open()
    assert again.read(1, QUEUE) == b"one"
    with pytest.raises(MessageUnknown):
        again.read(2, QUEUE)
    again.close(10)


def test_many_data_files_are_read_in_order(owner: Owner) -> None:
    """Rolling over to the next data file neither loses nor repeats anything."""
    journal = owner.open()
    for ref in range(1, 101):
        batch = journal.append([AddMessage(ref, QUEUE, "p", ref, bytes(500))])
        journal.flush()
        owner.wait_durable(batch)
    journal.close(10)
    assert len(list(owner.directory.glob("data-000001-*"))) > 5
    again = Owner(owner.directory).open()
    assert list(again.state.queues[QUEUE]) == list(range(1, 101))
    assert not again.report.damages
    again.close(10)


def test_a_second_master_fences_the_first(owner: Owner) -> None:
    """P2: a mistaken second start takes over cleanly; the idle first one finds out by itself."""
    first = owner.open()
    second_owner = Owner(owner.directory)
    second = second_owner.open()
    assert isinstance(owner.wait_error(), StoreFenced)
    batch = second.append([AddMessage(1, QUEUE, "", 0, b"x")])
    second.flush()
    second_owner.wait_durable(batch)
    assert second_owner.error is None
    first.close(10)
    second.close(10)


def test_a_missing_directory_is_refused(owner: Owner) -> None:
    """A store on a file system that is not mounted must not be replaced by an empty one."""
    with pytest.raises(StoreMissing, match=str(owner.directory)):
        owner.open(JournalOptions())


UPKEEP = JournalOptions(file_bytes=16_384, idle_check_s=0.01, create=True, checkpoint_bytes=4_096)


def send(owner: Owner, journal: Journal, refs: range, size: int = 500) -> None:
    """Appends messages, one batch each."""
    for ref in refs:
        batch = journal.append([AddMessage(ref, QUEUE, "p", ref, bytes([ref % 256]) * size)])
        journal.flush()
        owner.wait_durable(batch)


def remove(owner: Owner, journal: Journal, refs: Iterable[int]) -> None:
    """Consumes messages, one batch each."""
    for ref in refs:
        batch = journal.append([RemoveMessage(ref, QUEUE)])
        journal.flush()
        owner.wait_durable(batch)


def size(directory: Path) -> int:
    """Bytes of the data files; one may be removed while they are counted."""
    total = 0
    for path in directory.glob("data-*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_recovery_reads_a_checkpoint_and_a_bounded_tail(owner: Owner) -> None:
    """However long the log is, the next master reads the index and what came after it."""
    journal = owner.open(UPKEEP)
    send(owner, journal, range(1, 301))
    owner.wait(lambda: size(owner.directory) > 0 and len(journal.state.checkpoints) == 2)
    journal.close(10)
    again = Owner(owner.directory).open(UPKEEP)
    assert again.report.checkpoint
    assert again.report.records < 150
    assert list(again.state.queues[QUEUE]) == list(range(1, 301))
    assert again.read(7, QUEUE) == bytes([7]) * 500
    assert again.state.last_producer_sequence("p") == 300
    again.close(10)


def test_one_old_message_does_not_hold_the_files_behind_it(owner: Owner) -> None:
    """P9: one message in fifty is never consumed; the disk stays within its bound."""
    journal = owner.open(UPKEEP)
    for start in range(1, 2001, 50):
        send(owner, journal, range(start, start + 50), 100)
        remove(owner, journal, range(start + 1, start + 50))
        # The caretaker is a moment behind: a file that is to go and one that is begun.
        owner.wait(lambda: size(owner.directory) <= 2 * journal.state.live_bytes + 4 * 16_384)
    kept = list(range(1, 2001, 50))
    assert list(journal.state.queues[QUEUE]) == kept
    assert [journal.read(ref, QUEUE) for ref in kept] == [bytes([ref % 256]) * 100 for ref in kept]
    journal.close(10)
    again = Owner(owner.directory).open(UPKEEP)
    assert [again.read(ref, QUEUE) for ref in kept] == [bytes([ref % 256]) * 100 for ref in kept]
    assert not again.report.damages
    again.close(10)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(owner: Owner) -> None:
    """A flipped bit in the newest checkpoint costs a longer tail and a line in the log, no message."""
    journal = owner.open(UPKEEP)
    send(owner, journal, range(1, 101))
    owner.wait(lambda: len(journal.state.checkpoints) == 2)
    journal.close(10)
    last = journal.state.checkpoints[-1]  # one that was being written does not count
    newest = owner.directory / checkpoint_name(last.epoch, last.number)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    again = Owner(owner.directory).open(UPKEEP)
    assert again.report.checkpoint not in {"", newest.name}
    assert [damage.file for damage in again.report.damages] == [str(newest)]
    assert list(again.state.queues[QUEUE]) == list(range(1, 101))
    again.close(10)


def test_a_damaged_body_is_reported_with_its_place(owner: Owner) -> None:
    """A flipped bit in a body is found when it is read; the others are delivered."""
    journal = owner.open()
    send(owner, journal, range(1, 4))
    path = owner.directory / "data-000001-000000"
    content = bytearray(path.read_bytes())
    content[content.index(b"\2\2\2\2")] ^= 1
    path.write_bytes(content)
    with pytest.raises(MessageDamaged, match=r"data-000001-000000, \d+ bytes from offset \d+"):
        journal.read(2, QUEUE)
    assert journal.read(3, QUEUE) == b"\3" * 500
    journal.close(10)
