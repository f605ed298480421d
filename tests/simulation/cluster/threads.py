"""The product's threads as strands: the writer's and the caretaker's loops, step by step.

What they decide and do is the product's: `Writer`, `Upkeep` and the steps of a mastership. Written again here
is only what each loop does in between, since a loop that waits for a queue cannot be run without its thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

from simulation.cluster.clock import Gate, Process, Strand, Wait

from journal.errors import JournalError, StoreFull
from journal.fence import DataFileName
from journal.files import Files
from journal.mastership import OpenBatch
from journal.options import JournalOptions
from journal.record import CHECKPOINTS_KEPT
from journal.reserve import CHECKPOINTS_RESERVED, Reserve
from journal.upkeep import Candidate, Upkeep
from journal.writer import Writer

Steps = Generator[Any, Any, Any]
RETRY_S: Final = 1.0
FULL_RETRY_S: Final = 0.5
"""See `journal.caretaker`; shorter, so that a history is."""


class SteppedWriter(Writer):
    """The writer without its thread."""

    process: Process
    is_inline: bool
    on_append: Callable[[int, Any], None]

    def begin(
        self, process: Process, *, is_inline: bool, on_append: Callable[[int, Any], None]
    ) -> SteppedWriter:
        """Say where it runs, and whether the disk is so fast that the owner commits itself."""
        self.process = process
        self.is_inline = is_inline
        self.on_append = on_append
        self._gate = Gate()
        self._wakes: Any = self._gate
        self._commit_s = 0.0 if is_inline else 1.0
        self._has_ended = False
        self._waiting_for_end: list[Callable[[], None]] = []
        return self

    def when_ended(self, then: Callable[[], None]) -> None:
        """Call when it writes no more."""
        if self._has_ended:
            then()
        else:
            self._waiting_for_end.append(then)

    def start(self) -> None:
        """Begin to write."""
        self.process.spawn(self._loop())

    def append(self, records: Any) -> int:
        """As the product's, and tell."""
        batch = super().append(records)
        self.on_append(batch, records)
        return batch

    def close(self, timeout_s: float) -> None:
        """Ask for the end; `on_ended` tells when it is over."""
        del timeout_s
        self._stopping = True
        self._gate.put()

    def _loop(self) -> Steps:
        try:
            while True:
                is_idle = not (yield Wait(self._gate, self._idle_check_s))
                self._disk.acquire()  # keeps the owner from committing at the same time
                if self.error is not None:
                    break
                if is_idle:
                    yield from self._idle_steps()
                while (batch := self._take()) is not None:
                    yield from self._commit_steps(batch)
                    self._report(batch)
                if self._stopping:
                    yield from self._idle_steps()
                    self._mastership.give_back()
                    break
                self._disk.release()
        except JournalError as error:
            self._fail(error)
        self.on_ended()
        self._has_ended = True
        for then in self._waiting_for_end:
            then()

    def _commit_steps(self, batch: OpenBatch) -> Steps:
        yield from self._mastership.commit(batch)
        self._committed(batch)

    def _committed(self, batch: OpenBatch) -> None:
        self._settled = False
        self.durable_batch = batch.place.batch
        self.on_committed(batch.place.batch, batch.size)

    def _commit(self, batch: OpenBatch) -> None:
        """In the owner's thread; others go on while the disk works, see `Clock.hold_up`."""
        for step in self._mastership.commit(batch):
            self.process.reached(step)
        self._committed(batch)

    def _idle_steps(self) -> Steps:
        if self._settled:
            self._mastership.check()
            yield "checked while idle"
            return
        batch = self._open
        if batch.count:
            return
        batch.pieces += self._end_pieces
        batch.count = 1
        batch.size = len(self._end_pieces[0])
        self._next()
        yield from self._commit_steps(batch)
        self._report(batch)
        self._settled = True


class SteppedCaretaker:
    """The caretaker without its thread; see `journal.caretaker.Caretaker`, method by method."""

    def __init__(
        self,
        process: Process,
        files: Files,
        upkeep: Upkeep,
        writer: SteppedWriter,
        reserve: Reserve,
        options: JournalOptions,
    ) -> None:
        self._process = process
        self._files = files
        self._upkeep = upkeep
        self._writer = writer
        self._reserve = reserve
        self._options = options
        self._gate = Gate()
        self._logged = 0
        self._done = 0
        self._reserving = False
        self._strand: Strand | None = None
        self.checkpoints = 0
        self.removed = 0
        self.moves = 0
        writer.on_committed = self._committed
        writer.on_ended = self._end

    def start(self) -> None:
        """Begin."""
        self._strand = self._process.spawn(self._loop())

    def stop(self, timeout_s: float) -> None:
        """End whatever it is doing."""
        del timeout_s
        self._end()

    def wake(self) -> None:
        """The disk is full, or not any more."""
        self._gate.put()

    def _end(self) -> None:
        if self._strand is not None and not self._strand.ended:
            self._strand.stop()
            self._reserve.release()

    def _committed(self, _batch: int, size: int) -> None:
        self._logged += size
        self._gate.put()

    def _loop(self) -> Steps:
        while True:
            try:
                yield from self._look()
            except JournalError:
                yield Wait(None, RETRY_S)

    def _look(self) -> Steps:
        if not self._reserving:
            yield from self._keep_reserve()
        elif self._reserve.full:
            yield from self._make_room()
            if self._reserve.full:
                yield Wait(None, FULL_RETRY_S)
        elif (yield from self._is_due()):
            yield from self._checkpoint()
            yield from self._tidy()
            yield from self._compact()
            yield from self._keep_reserve()
        else:
            yield Wait(self._gate)

    def _is_due(self) -> Steps:
        logged = self._logged - self._done
        if logged < self._options.checkpoint_bytes:
            return False
        return logged >= (yield from self._ask(lambda: self._upkeep.interval_bytes))

    def _keep_reserve(self) -> Steps:
        self._reserving = True
        size = yield from self._ask(lambda: self._upkeep.checkpoint_bytes)
        self._reserve.take(size)
        yield "asked for the reserve"

    def _make_room(self) -> Steps:
        try:
            yield from self._tidy()
            for _ in range(CHECKPOINTS_KEPT):
                if (yield from self._ask(lambda: self._upkeep.holds_back)):
                    yield from self._checkpoint()
                    yield from self._tidy()
            yield from self._compact()
        except StoreFull:
            yield "found no room"
        yield from self._keep_reserve()

    def _checkpoint(self) -> Steps:
        logged = self._logged
        view = yield from self._ask(self._upkeep.view)
        try:
            checkpoint = yield from self._upkeep.write(view)
        except StoreFull:
            if not self._reserve.give(view.size_bytes):
                raise
            checkpoint = yield from self._upkeep.write(view)
        yield from self._wait_durable((yield from self._ask(lambda: self._upkeep.name(checkpoint))))
        self._done = logged
        self.checkpoints += 1

    def _tidy(self) -> Steps:
        names = self._files.names()
        yield "listed the store"
        doomed = yield from self._ask(lambda: self._upkeep.doomed(names))
        if doomed.names or doomed.trimmed:
            yield from self._wait_durable(doomed.batch)
            self.removed += len(doomed.names)
            yield from self._upkeep.remove(doomed)

    def _compact(self) -> Steps:
        before: DataFileName | None = None
        while True:
            names = self._files.names()
            sizes = dict(self._upkeep.sizes(names))
            yield "measured the data files"
            room = yield from self._room()
            name = yield from self._ask(partial(self._upkeep.worst_file, names, sizes, room))
            if name is None:
                return
            if name == before:
                self._upkeep.give_up(name)
                continue
            before = name
            if not (yield from self._move_all(name)):
                return
            yield from self._tidy()

    def _move_all(self, name: DataFileName) -> Steps:
        found: list[list[Candidate]] = []
        for step in self._upkeep.candidates(name, lambda candidates: found.append(list(candidates))):
            yield step
            while found:
                batch = yield from self._ask(partial(self._upkeep.move, found.pop(0)))
                self.moves += 1
                yield from self._wait_durable(batch)
            room = yield from self._room()
            if room is not None and self._upkeep.live_bytes_in(name) > room:
                return False
        return True

    def _room(self) -> Steps:
        if not self._reserve.full:
            return None
        size = yield from self._ask(lambda: self._upkeep.checkpoint_bytes)
        return max(self._reserve.held - CHECKPOINTS_RESERVED * size, 0)

    def _ask(self, question: Callable[[], Any]) -> Steps:
        answers: list[Any] = []
        gate = Gate()

        def answer() -> None:
            answers.append(question())
            gate.put()

        self._process.post(answer)
        yield Wait(gate)
        return answers[0]

    def _wait_durable(self, batch: int) -> Steps:
        self._process.post(self._writer.flush)
        while self._writer.durable_batch < batch:
            yield Wait(self._gate)
