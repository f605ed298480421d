"""A broker's thread with a journal, for tests: it runs what is posted only while it waits."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from journal.errors import JournalError
from journal.files import Files
from journal.follower import Follower
from journal.journal import Journal
from journal.options import JournalOptions
from journal.record import AddMessage, Record, RemoveMessage

QUEUE = "queue://a"
WAIT_S = 30.0


def body_of(ref: int, size: int) -> bytes:
    """A body that no other message has."""
    return (b"%d/" % ref * (size // 2 + 1))[:size]


class JournalOwner:
    """The owner of one journal.

    Attributes:
        durable: numbers of the batches reported durable.
        errors: what `on_failed` was called with.
        full: what `on_full` was called with.
    """

    def __init__(
        self,
        options: JournalOptions,
        *,
        files: Files | None = None,
        directory: Path = Path("unused"),
        follower: Follower | None = None,
    ) -> None:
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.durable: list[int] = []
        self.errors: list[JournalError] = []
        self.full: list[bool] = []
        self.journal = Journal.open(
            directory,
            owner="test",
            files=files,
            post=self.posted.put,
            on_durable=self.durable.append,
            on_failed=self.errors.append,
            on_full=self.full.append,
            options=options,
            follower=follower,
        )

    def run(self, seconds: float = 0.0) -> None:
        """Runs what is posted for a time."""
        end_s = time.monotonic() + seconds
        while True:
            try:
                call = self.posted.get(timeout=max(end_s - time.monotonic(), 0.0005))
            except Empty:
                if time.monotonic() >= end_s:
                    return
            else:
                call()

    def wait(self, condition: Callable[[], object], message: str = "the condition") -> None:
        """Runs what is posted until a condition holds."""
        end_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end_s, f"waited {WAIT_S:g} s for {message}"
            with suppress(Empty):
                self.posted.get(timeout=0.01)()

    def append(self, *records: Record) -> int:
        """Appends and flushes."""
        batch = self.journal.append(records)
        self.journal.flush()
        return batch

    def commit(self, *records: Record) -> bool:
        """Appends and waits until that is durable; False if the journal fails instead."""
        batch = self.append(*records)
        self.wait(lambda: self.journal.durable_batch >= batch or self.errors, f"batch {batch}")
        while not self.posted.empty():
            self.posted.get()()
        return not self.errors

    def send(self, refs: Iterable[int], size: int = 500, queue: str = QUEUE) -> bool:
        """Sends messages, one batch each."""
        return all(self.commit(AddMessage(ref, queue, "p", ref, body_of(ref, size))) for ref in refs)

    def consume(self, refs: Iterable[int], queue: str = QUEUE) -> bool:
        """Consumes messages, one batch each."""
        return all(self.commit(RemoveMessage(ref, queue)) for ref in refs)

    def live(self, queue: str = QUEUE) -> list[int]:
        """The numbers of what waits in a queue."""
        return list(self.journal.state.queues.get(queue, ()))

    def close(self) -> None:
        """Ends the journal."""
        self.journal.close(10)
