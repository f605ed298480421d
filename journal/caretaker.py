"""The thread that does a master's upkeep, between the owner, who decides, and the disk.

It asks the owner with `post`, and learns from the writer what is committed. Whatever goes wrong here costs
space or time, never a message: it is logged and tried again later.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from journal.checkpoint import SLICE_BYTES, StateView
from journal.errors import JournalError, StoreFull
from journal.fence import DataFileName, Steps
from journal.files import Files
from journal.options import JournalOptions
from journal.record import CHECKPOINTS_KEPT, Checkpoint
from journal.reserve import CHECKPOINTS_RESERVED, Reserve
from journal.upkeep import Candidate, Upkeep
from journal.writer import Post, Writer

RETRY_S: Final = 5.0
"""Pause after something failed."""
FULL_RETRY_S: Final = 1.0
"""While the disk is full: how often everything is tried that may free some of it."""

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
        reserve: kept by this thread.
        post: hands a call over to the owner's thread.
        options: sizes and rates.
    """

    def __init__(  # noqa: PLR0917 - its parts, put together in one place
        self,
        files: Files,
        upkeep: Upkeep,
        writer: Writer,
        reserve: Reserve,
        post: Post,
        options: JournalOptions,
    ) -> None:
        self._files = files
        self._upkeep = upkeep
        self._writer = writer
        self._reserve = reserve
        self._post = post
        self._options = options
        self._inbox: SimpleQueue[None] = SimpleQueue()
        self._stopping = threading.Event()
        self._logged = 0  # bytes committed, by whoever commits
        self._done = 0  # of these, in a checkpoint
        self._due = options.checkpoint_bytes  # the next checkpoint, in the same count
        self._wanted: float = inf  # batch that is waited for
        self._reserving = False  # whether the reserve was ever asked for
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

    def wake(self) -> None:
        """The disk is full, or not any more. Any thread."""
        self._inbox.put(None)

    def _end(self) -> None:
        self._stopping.set()
        self._inbox.put(None)

    def _committed(self, batch: int, size: int) -> None:
        """In the thread that commits: wakes the caretaker only if there is something to do."""
        self._logged += size
        if self._logged >= self._due or batch >= self._wanted:
            self._wanted = inf
            self._due = self._logged + self._options.checkpoint_bytes
            self._inbox.put(None)

    def _work(self) -> None:
        try:
            while True:
                try:
                    self._look()
                except JournalError as error:
                    _log.warning("upkeep of the store failed and is tried again later: %s", error)
                    self._stopping.wait(RETRY_S)
        except _Stopped:
            self._reserve.release()

    def _look(self) -> None:
        """Does what is to be done, or waits for it."""
        if not self._reserving:
            self._keep_reserve()
        elif self._reserve.full:
            self._make_room()
            if self._reserve.full:
                self._receive(FULL_RETRY_S)
        elif self._is_due():
            self._checkpoint()
            self._tidy()
            self._compact()
            self._keep_reserve()
        else:
            self._receive()

    def _is_due(self) -> bool:
        """Whether enough was logged for a checkpoint."""
        logged = self._logged - self._done
        return logged >= self._options.checkpoint_bytes and logged >= self._ask(
            lambda: self._upkeep.interval_bytes
        )

    def _keep_reserve(self) -> None:
        self._reserving = True
        self._reserve.take(self._ask(lambda: self._upkeep.checkpoint_bytes))

    def _make_room(self) -> None:
        """Frees what can be freed of a full disk."""
        with suppress(StoreFull):  # then it is tried again when consumers have gone on
            self._tidy()
            for _ in range(CHECKPOINTS_KEPT):
                if self._ask(lambda: self._upkeep.holds_back):
                    self._checkpoint()
                    self._tidy()
            self._compact()
        self._keep_reserve()

    def _checkpoint(self) -> None:
        logged = self._logged
        view = self._ask(self._upkeep.view)
        try:
            checkpoint = self._write(view)
        except StoreFull:
            if not self._reserve.give(view.size_bytes):
                raise
            checkpoint = self._write(view)
        self._wait_durable(self._ask(lambda: self._upkeep.name(checkpoint)))
        self._done = logged

    def _write(self, view: StateView) -> Checkpoint:
        slow = view.size_bytes > 2 * SLICE_BYTES
        pause_s = SLICE_BYTES / self._options.checkpoint_rate_bytes if slow else 0.0
        return self._run(self._upkeep.write(view), pause_s)

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
            name = self._ask(partial(self._upkeep.worst_file, names, sizes, self._room()))
            if name is None:
                return
            if name == before:
                self._upkeep.give_up(name)
                continue
            before = name
            if not self._move_all(name):
                return
            self._tidy()

    def _move_all(self, name: DataFileName) -> bool:
        """Moves the records of a file forward; False if there is no room for them on a full disk."""
        moves = self._upkeep.candidates(name, self._move)
        try:
            for _ in moves:
                room = self._room()
                if room is not None and self._upkeep.live_bytes_in(name) > room:
                    return False
                self._check_stopped()
        finally:
            moves.close()
        return True

    def _room(self) -> int | None:
        """Bytes that may be moved: on a full disk what is reserved for batches."""
        if not self._reserve.full:
            return None
        checkpoints = CHECKPOINTS_RESERVED * self._ask(lambda: self._upkeep.checkpoint_bytes)
        return max(self._reserve.held - checkpoints, 0)

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

    def _receive(self, timeout_s: float | None = None) -> None:
        """Sleeps until something happens."""
        with suppress(Empty):
            self._inbox.get(timeout=timeout_s)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self._stopping.is_set():
            raise _Stopped
