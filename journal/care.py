"""The order of a master's upkeep: what is done when, without thread and clock.

::

    when                                    what
    ──────────────────────────────────────  ──────────────────────────────────────────────────
    at the beginning                        what the last masters have left, the reserve
    the disk is full                        everything that may free some of it, every second
    an interval was logged                  checkpoint, removal of dead files, compaction
    the store is large for what is live     removal, checkpoints only if they free files, compaction
    nothing of this                         a look at old records, until all were seen; once, after that,
                                            the same as for a large store, if it is above its bound

It is written as a generator of wishes, like the steps of the fence: the caretaker's thread grants them, and
so does the simulation, which puts other brokers, and faults, between any two. Whatever fails costs space or
time, never a message: it is logged and tried again later.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final, NamedTuple, TypeVar

from journal.checkpoint import SLICE_BYTES, StateView
from journal.errors import JournalError, StoreFull
from journal.fence import DataFileName, Steps
from journal.files import Files
from journal.moves import Part
from journal.options import JournalOptions
from journal.patrol import Patrol
from journal.quarantine import Losses
from journal.record import CHECKPOINTS_KEPT, Checkpoint
from journal.reserve import CHECKPOINTS_RESERVED, Reserve
from journal.upkeep import FILES_BEYOND, LIVE_SHARE, Upkeep

RETRY_S: Final = 5.0
"""Pause after something failed."""
SETTLE_S: Final = 5.0
"""After so long without other work a new master looks whether the store it found is above its bound."""
FULL_RETRY_S: Final = 1.0
"""While the disk is full: how often everything is tried that may free some of it."""
PATROL_RATE_BYTES: Final = 8 * 1024 * 1024
"""A second: nobody notices, and 30 GB are looked through in an hour."""
PATROL_SHARE: Final = 0.05
"""Of a processor."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Ask(NamedTuple):
    """Go on when this was called in the owner's thread."""

    question: Callable[[], None]


class Durable(NamedTuple):
    """Go on when a batch has passed the fence check."""

    batch: int


class Sleep(NamedTuple):
    """Go on after so many seconds."""

    seconds: float


class Wait(NamedTuple):
    """Go on when woken, or after so many seconds; None: only then."""

    seconds: float | None


Wish = str | Ask | Durable | Sleep | Wait
"""A text names what was just done to the disk; nothing is wished for."""
Round = Generator[Wish, None, T]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is cared for.

    Attributes:
        files: the store.
        upkeep: decisions and steps.
        reserve: for a full disk.
        patrol: looks for damage.
        losses: what was damaged.
        options: sizes and rates.
        leftovers: of the last masters, freed step by step before anything else.
    """

    files: Files
    upkeep: Upkeep
    reserve: Reserve
    patrol: Patrol
    losses: Losses
    options: JournalOptions
    leftovers: Steps[None]


class Care:
    """Upkeep without end.

    Args:
        kept: what is cared for.
        end: where the last committed batch ends in its data file.
        now_s: the time, monotonic.
        spare: how many bytes are allocated in that file behind its end.
    """

    def __init__(
        self,
        kept: Kept,
        *,
        end: Callable[[], int],
        now_s: Callable[[], float],
        spare: Callable[[], int] = lambda: 0,
    ) -> None:
        self._files = kept.files
        self._upkeep = kept.upkeep
        self._reserve = kept.reserve
        self._patrol = kept.patrol
        self._losses = kept.losses
        self._options = kept.options
        self._leftovers = kept.leftovers
        self._end = end
        self._now_s = now_s
        self._spare = spare
        self._logged = 0  # bytes committed, by whoever commits
        self._done = 0  # of these, in a checkpoint
        self._due = kept.options.checkpoint_bytes  # the next checkpoint, in the same count
        self._woken = False
        self._patrolling = True
        self._untried = True  # nothing was done yet about what the last master has left
        self._size = 0  # of the store at the last look, less what was logged until then
        self._patience: float = inf  # the excess up to which nothing needs to be done

    def committed(self, size: int) -> bool:
        """Whether there is something to do now that so many bytes more are logged. Any thread."""
        self._logged += size
        if self._woken or not (self._logged >= self._due or self._is_pressed()):
            return False
        self._woken = True
        return True

    def rounds(self) -> Round[None]:
        """All of it; ends only if it is closed."""
        looking = self._begin()
        while True:
            try:
                yield from looking
            except JournalError as error:
                _log.warning("upkeep of the store failed and is tried again later: %s", error)
                yield Sleep(RETRY_S)
            looking = self._look()

    def _begin(self) -> Round[None]:
        """What a takeover did not wait for."""
        try:
            yield from self._leftovers
        except JournalError as error:  # the next master tries again
            _log.warning("what the last master of the store has left cannot be freed: %s", error)
        yield from self._keep_reserve()

    def _look(self) -> Round[None]:
        """Does what is to be done, or waits for it."""
        self._woken = False
        if self._reserve.full:
            yield from self._make_room()
            if self._reserve.full:
                yield Wait(FULL_RETRY_S)
        elif (yield from self._is_due()):
            yield from self._checkpoint()
            yield from self._relieve()
            yield from self._keep_reserve()
        elif self._is_pressed():
            yield from self._relieve()
            yield from self._keep_reserve()
        elif self._patrolling:
            yield from self._go_on_patrol()
        elif self._untried:
            yield from self._try_first()
        else:
            yield Wait(None)

    def _try_first(self) -> Round[None]:
        """The last master may have left the store above its bound; there is more urgent work at first."""
        self._untried = False
        end_s = self._now_s() + SETTLE_S
        while (left_s := end_s - self._now_s()) > 0:
            yield Wait(max(left_s, 0.001))  # a clock may not tell less apart
            if self._woken or self._reserve.full:
                return
        if self._excess() > FILES_BEYOND * self._options.file_bytes:
            yield from self._relieve()
            yield from self._keep_reserve()

    # ---- when

    def _is_due(self) -> Round[bool]:
        """Whether enough was logged for a checkpoint."""
        if self._logged < self._due:
            return False
        interval = yield from _answer(lambda: self._upkeep.interval_bytes)
        self._due = max(self._due, self._done + interval)
        return self._logged >= self._due

    @property
    def store_bytes(self) -> int:
        """About what the store takes. Any thread; costs nothing."""
        return self._size + self._logged

    def _excess(self) -> int:
        """Bytes that the store takes beyond twice the live ones. Any thread; costs nothing."""
        return self.store_bytes - LIVE_SHARE * self._upkeep.live_bytes

    def _is_pressed(self) -> bool:
        return self._excess() > self._patience

    def _is_large(self) -> bool:
        return self._excess() > self._upkeep.allowed_bytes

    def _measure(self) -> Round[None]:
        """Looks at what the store takes; if nothing more can be done, waits until it is worse."""
        logged = self._logged
        closed = self._upkeep.size(self._files.names())
        self._size = closed + self._reserve.held + self._end() - logged
        worse = self._excess() + self._options.checkpoint_bytes // 2
        self._patience = max(self._upkeep.allowed_bytes, worse)
        yield "measured the store"

    # ---- what

    def _keep_reserve(self) -> Round[None]:
        size = yield from _answer(lambda: self._upkeep.checkpoint_bytes)
        self._reserve.take(size)
        yield "asked for the reserve"
        yield from self._measure()

    def _make_room(self) -> Round[None]:
        """Frees what can be freed of a full disk."""
        with suppress(StoreFull):  # then it is tried again when consumers have gone on
            yield from self._tidy()
            for _ in range(CHECKPOINTS_KEPT):
                if (yield from _answer(lambda: self._upkeep.holds_back)):
                    yield from self._checkpoint()
                    yield from self._tidy()
            yield from self._compact()
        yield from self._keep_reserve()
        if self._reserve.full:  # consumers may be faster than the clock
            self._due = self._logged + self._options.small_file_bytes // 4

    def _relieve(self) -> Round[None]:
        """Frees what can be freed, when much was consumed or the store is large for what is live in it."""
        yield from self._tidy()
        for _ in range(CHECKPOINTS_KEPT):
            if self._is_large() and (yield from _answer(lambda: self._upkeep.holds_back)):
                yield from self._checkpoint()
                yield from self._tidy()
        yield from self._compact()

    def _checkpoint(self) -> Round[None]:
        logged = self._logged
        view = yield from _answer(self._upkeep.view)
        try:
            checkpoint = yield from self._write(view)
        except StoreFull:
            if not self._reserve.give(self._upkeep.expected_bytes(view)):
                raise
            checkpoint = yield from self._write(view)
        yield Durable((yield from _answer(lambda: self._upkeep.name(checkpoint))))
        self._done = logged
        self._due = logged + self._options.checkpoint_bytes

    def _write(self, view: StateView) -> Round[Checkpoint]:
        slow = view.size_bytes > 2 * SLICE_BYTES
        pause_s = SLICE_BYTES / self._options.checkpoint_rate_bytes if slow else 0.0
        steps = self._upkeep.write(view)
        try:
            while True:
                yield next(steps)
                yield Sleep(pause_s)
        except StopIteration as end:
            checkpoint: Checkpoint = end.value
            return checkpoint
        finally:
            steps.close()

    def _tidy(self) -> Round[None]:
        names = self._files.names()
        yield "listed the store"
        doomed = yield from _answer(lambda: self._upkeep.doomed(names))
        if doomed.names or doomed.trimmed:
            yield Durable(doomed.batch)
            yield from self._upkeep.remove(doomed)
        yield from self._measure()

    def _compact(self) -> Round[None]:
        """Moves the records of the worst file forward, file after file."""
        before: tuple[DataFileName, int] | None = None
        while True:
            names = self._files.names()
            sizes = dict(self._upkeep.sizes(names))
            yield "listed the store"
            room = yield from self._room()
            worst_file = partial(self._upkeep.worst_file, names, sizes, room=room, pressed=self._is_large())
            name = yield from _answer(worst_file)
            if name is None:
                return
            left = name, self._upkeep.live_bytes_in(name)
            if left == before:  # a branch may have put a message somewhere else while it was searched
                self._upkeep.give_up(name)
                continue
            before = left
            if not (yield from self._move_all(name)):
                return
            yield from self._tidy()

    def _move_all(self, name: DataFileName) -> Round[bool]:
        """Moves the records of a file forward; False if there is no room for them on a full disk."""
        search = yield from _answer(partial(self._upkeep.search, name))
        while (yield from _answer(search.go_on)):
            pass
        parts: list[Part] = []
        steps = self._upkeep.copies(name, search.places(), parts.append)
        try:
            for step in steps:
                yield step
                while parts:
                    yield from self._move(parts.pop(0))
                room = yield from self._room()
                if room is not None and self._upkeep.live_bytes_in(name) > room:
                    return False
        finally:
            steps.close()
        return True

    def _move(self, part: Part) -> Round[None]:
        yield Durable((yield from _answer(partial(self._upkeep.move, part))))
        if not self._reserve.full:
            yield Sleep(self._pause_s(part.size))

    def _pause_s(self, size: int) -> float:
        """How long to wait after so many bytes were moved: the nearer the bound, the shorter."""
        near = self._excess() / (FILES_BEYOND * self._options.file_bytes)
        return size / self._options.move_rate_bytes * min(max(1 - near, 0), 1)

    def _room(self) -> Round[int | None]:
        """Bytes that may be moved: on a full disk what is left of it and of the reserve, less a little."""
        if not self._reserve.full:
            return None
        checkpoint = yield from _answer(lambda: self._upkeep.checkpoint_bytes)
        space = self._reserve.held + self._files.free_bytes() + self._spare()
        kept = CHECKPOINTS_RESERVED * checkpoint + self._options.small_file_bytes // 4
        return max(space - kept, 0)

    def _go_on_patrol(self) -> Round[None]:
        """Looks at some of the old records, then pauses, unless something is to be done."""
        if not self._patrol.has_records and not (yield from _answer(self._patrol.refill)):
            self._patrolling = False
            return
        began_s = self._now_s()
        look = self._patrol.look()
        yield "looked at some records"
        for record in look.damaged:
            copy = self._losses.copy(record.place)
            yield "copied a damaged record"
            yield from _answer(partial(self._losses.give_up, *record, copy))
        for record, error in look.unreadable:
            if (yield from _answer(partial(self._patrol.is_current, record))):
                raise error
        now_s = self._now_s()
        end_s = began_s + max((now_s - began_s) / PATROL_SHARE, look.size / PATROL_RATE_BYTES)
        while not self._woken and not self._reserve.full and now_s < end_s:
            yield Wait(end_s - now_s)
            now_s = self._now_s()


def _answer(question: Callable[[], T]) -> Round[T]:
    """What the owner says."""
    answers: list[T] = []
    yield Ask(lambda: answers.append(question()))
    return answers[0]
