"""The journal as a broker uses it, on a real directory."""

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from journal.errors import JournalError, MessageUnknown, StoreFenced, StoreMissing
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
