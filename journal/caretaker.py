"""The thread that does a master's upkeep, between the owner, who decides, and the disk.

It grants the wishes of `journal.care`: asks the owner with `post`, and learns from the writer what is
committed.
"""

import threading
import time
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue

from journal.care import Ask, Care, Durable, Kept, Sleep, Wait, Wish
from journal.writer import Post, Writer


class _Stopped(Exception):
    """The journal is being closed, or has failed."""


class Caretaker:
    """Runs upkeep in a thread of its own.

    Args:
        kept: what is cared for.
        writer: whose batches count.
        post: hands a call over to the owner's thread.
    """

    def __init__(self, kept: Kept, writer: Writer, post: Post) -> None:
        self._care = Care(
            kept, end=lambda: writer.end, now_s=time.monotonic, spare=lambda: writer.spare_bytes
        )
        self._reserve = kept.reserve
        self._writer = writer
        self._post = post
        self._inbox: SimpleQueue[None] = SimpleQueue()
        self._stopping = threading.Event()
        self._wanted: float = inf  # batch that is waited for
        self._thread = threading.Thread(target=self._work, name="journal-upkeep", daemon=True)
        writer.on_committed = self._committed
        writer.on_ended = self._end

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Ends soon, whatever it is doing."""
        self._end()
        self._thread.join(timeout_s)

    @property
    def store_bytes(self) -> int:
        """About what the store takes. Any thread."""
        return self._care.store_bytes

    def wake(self) -> None:
        """The disk is full, or not any more. Any thread."""
        self._inbox.put(None)

    def _end(self) -> None:
        self._stopping.set()
        self._inbox.put(None)

    def _committed(self, batch: int, size: int) -> None:
        """In the thread that commits: wakes the caretaker only if there is something to do."""
        if batch >= self._wanted:
            self._wanted = inf
            self._inbox.put(None)
        if self._care.committed(size):
            self._inbox.put(None)

    def _work(self) -> None:
        rounds = self._care.rounds()
        try:
            for wish in rounds:
                self._grant(wish)
        except _Stopped:
            rounds.close()
            self._reserve.release()

    def _grant(self, wish: Wish) -> None:
        """Returns when upkeep may go on."""
        if isinstance(wish, Ask):
            self._ask(wish)
        elif isinstance(wish, Durable):
            self._wait_durable(wish.batch)
        elif isinstance(wish, Wait):
            self._receive(wish.seconds)
        elif self._stopping.wait(wish.seconds if isinstance(wish, Sleep) else 0):
            raise _Stopped

    def _ask(self, wish: Ask) -> None:
        answered: list[bool] = []

        def answer() -> None:
            wish.question()
            answered.append(True)
            self._inbox.put(None)

        self._post(answer)
        while not answered:
            self._receive()

    def _wait_durable(self, batch: int) -> None:
        """Returns when a batch has passed the fence check."""
        self._post(self._writer.flush)
        while self._writer.durable_batch < batch:
            self._wanted = batch
            if self._writer.durable_batch < batch:
                self._receive()

    def _receive(self, timeout_s: float | None = None) -> None:
        """Sleeps until something happens."""
        with suppress(Empty):
            self._inbox.get(timeout=timeout_s)
        if self._stopping.is_set():
            raise _Stopped
