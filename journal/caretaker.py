"""The thread that does a master's upkeep, between the owner, who decides, and the disk.

It asks the owner with `post`, and learns from the writer what is committed. Whatever goes wrong here costs
space or time, never a message: it is logged and tried again later.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from math import inf
from queue import SimpleQueue
from typing import Final, TypeVar

from journal.checkpoint import SLICE_BYTES
from journal.errors import JournalError
from journal.fence import DataFileName, Steps
from journal.files import Files
from journal.options import JournalOptions
from journal.upkeep import Candidate, Upkeep
from journal.writer import Post, Writer

RETRY_S: Final = 5.0
"""Pause after something failed, for instance because the disk is full."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class _Stopped(Exception):
    """The journal is being closed, or has failed."""


class Caretaker:
    """Runs upkeep in a thread of its own.

    Args:
        files: the store.
        upkeep: what to do.
        writer: whose batches count.
        post: hands a call over to the owner's thread.
        options: sizes and rates.
    """

    def __init__(
        self, files: Files, upkeep: Upkeep, writer: Writer, post: Post, options: JournalOptions
    ) -> None:
        self._files = files
        self._upkeep = upkeep
        self._writer = writer
        self._post = post
        self._options = options
        self._inbox: SimpleQueue[None] = SimpleQueue()
        self._stopping = threading.Event()
        self._logged = 0  # bytes committed, by the writer's thread
        self._due = options.checkpoint_bytes  # the next checkpoint, in the same count
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

    def _end(self) -> None:
        self._stopping.set()
        self._inbox.put(None)

    def _committed(self, batch: int, size: int) -> None:
        """In the writer's thread: wakes the caretaker only if there is something to do."""
        self._logged += size
        if self._logged >= self._due or batch >= self._wanted:
            self._wanted = inf
            self._due = self._logged + self._options.checkpoint_bytes
            self._inbox.put(None)

    def _work(self) -> None:
        done = 0
        least = self._options.checkpoint_bytes
        try:
            while True:
                logged = self._logged - done
                if logged < least or logged < self._ask(lambda: self._upkeep.interval_bytes):
                    self._receive()
                    continue
                done = self._logged
                try:
                    self._checkpoint()
                    self._tidy()
                    self._compact()
                except JournalError as error:
                    _log.warning("upkeep of the store failed and is tried again later: %s", error)
                    self._stopping.wait(RETRY_S)
        except _Stopped:
            return

    def _checkpoint(self) -> None:
        view = self._ask(self._upkeep.view)
        slow = view.size_bytes > 2 * SLICE_BYTES
        pause_s = SLICE_BYTES / self._options.checkpoint_rate_bytes if slow else 0.0
        checkpoint = self._run(self._upkeep.write(view), pause_s)
        self._wait_durable(self._ask(lambda: self._upkeep.name(checkpoint)))

    def _tidy(self) -> None:
        names = self._files.names()
        doomed = self._ask(lambda: self._upkeep.doomed(names))
        if doomed.names or doomed.trimmed:
            self._wait_durable(doomed.batch)
            self._run(self._upkeep.remove(doomed))

    def _compact(self) -> None:
        """Moves the records of the worst file forward, file after file."""
        before: DataFileName | None = None
        while True:
            names = self._files.names()
            sizes = dict(self._upkeep.sizes(names))
            name = self._ask(partial(self._upkeep.worst_file, names, sizes))
            if name is None:
                return
            if name == before:
                self._upkeep.give_up(name)
                continue
            before = name
            moves = self._upkeep.candidates(name, self._move)
            self._run(moves)
            self._tidy()

    def _move(self, candidates: list[Candidate]) -> None:
        began = self._logged
        self._wait_durable(self._ask(lambda: self._upkeep.move(candidates)))
        self._stopping.wait((self._logged - began) / self._options.move_rate_bytes)

    def _run(self, steps: Steps[T], pause_s: float = 0.0) -> T:
        """Does the steps, with a pause after each."""
        try:
            while not self._stopping.wait(pause_s):
                next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()
        raise _Stopped

    def _ask(self, question: Callable[[], T]) -> T:
        """What the owner answers."""
        answers: list[T] = []

        def answer() -> None:
            answers.append(question())
            self._inbox.put(None)

        self._post(answer)
        while not answers:
            self._receive()
        return answers[0]

    def _wait_durable(self, batch: int) -> None:
        """Returns when a batch has passed the fence check."""
        self._post(self._writer.flush)
        while self._writer.durable_batch < batch:
            self._wanted = batch
            if self._writer.durable_batch < batch:
                self._receive()

    def _receive(self) -> None:
        """Sleeps until something happens."""
        self._inbox.get()
        if self._stopping.is_set():
            raise _Stopped
