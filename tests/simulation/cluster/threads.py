"""The product's threads as strands: the writer's and the caretaker's loops, step by step.

What they decide and do is the product's: `Writer`, `Care` and the steps of a mastership. Written again here
is only what each loop does in between, since a loop that waits for a queue cannot be run without its thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import inf
from typing import Any

from simulation.cluster.clock import Gate, Process, Strand, Wait

from journal.care import Ask, Care, Durable, Kept, Sleep
from journal.errors import JournalError
from journal.mastership import OpenBatch
from journal.writer import Writer

Steps = Generator[Any, Any, Any]
DISK_LOOK_S = 0.001
"""How often the writer looks whether the owner has done with the disk."""


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
        self._commit_s = self.small_commit_s = 0.0 if is_inline else 1.0
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
                while not self._disk.acquire(blocking=False):  # the owner is held up in a commit
                    yield Wait(None, DISK_LOOK_S)
                if self.error is not None:
                    break
                if is_idle:
                    yield from self._idle_steps()
                yield from self._all_steps(is_asked=is_idle)
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

    def _all_steps(self, *, is_asked: bool) -> Steps:
        done: OpenBatch | None = None
        try:
            while (batch := self._take(is_asked=is_asked)) is not None:
                is_asked = False
                steps = self._commit_steps(batch)
                if done is not None:
                    yield next(steps)
                    self._report(done)
                yield from steps
                done = batch
        except GeneratorExit:  # the process was ended: it tells nobody
            done = None
            raise
        finally:
            if done is not None:
                self._report(done)

    def _commit_steps(self, batch: OpenBatch) -> Steps:
        yield from self._mastership.commit(batch)
        self._committed(batch)
        self._count(batch, 0.0)

    def _committed(self, batch: OpenBatch) -> None:
        self._settled = False
        self.durable_batch = batch.place.batch

    def _count(self, batch: OpenBatch, took_s: float) -> None:
        """The disk's time is the clock's, and nothing here depends on what a commit takes."""
        del took_s
        self.on_committed(batch.place.batch, batch.size)

    def _commit(self, batch: OpenBatch) -> float:
        """In the owner's thread; others go on while the disk works, see `Clock.hold_up`."""
        for step in self._mastership.commit(batch):
            self.process.reached(step)
        self._committed(batch)
        return 0.0

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
    """Grants the wishes of `journal.care` as the caretaker's thread does."""

    def __init__(
        self, process: Process, kept: Kept, writer: SteppedWriter, on_step: Callable[[str], None]
    ) -> None:
        self._process = process
        self._care = Care(kept, end=lambda: writer.end, now_s=lambda: process.clock.now_s)
        self._reserve = kept.reserve
        self._writer = writer
        self._on_step = on_step
        self._gate = Gate()
        self._wanted = inf
        self._strand: Strand | None = None
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

    def _committed(self, batch: int, size: int) -> None:
        if batch >= self._wanted:
            self._wanted = inf
            self._gate.put()
        if self._care.committed(size):
            self._gate.put()

    def _loop(self) -> Steps:
        for wish in self._care.rounds():
            if isinstance(wish, str):
                self._on_step(wish)
                yield wish
            elif isinstance(wish, Ask):
                yield from self._ask(wish)
            elif isinstance(wish, Durable):
                yield from self._wait_durable(wish.batch)
            elif isinstance(wish, Sleep):
                yield Wait(None, wish.seconds)
            else:
                yield Wait(self._gate, wish.seconds)

    def _ask(self, wish: Ask) -> Steps:
        gate = Gate()

        def answer() -> None:
            wish.question()
            gate.put()

        self._process.post(answer)
        yield Wait(gate)

    def _wait_durable(self, batch: int) -> Steps:
        self._process.post(self._writer.flush)
        while self._writer.durable_batch < batch:
            self._wanted = batch
            yield Wait(self._gate)
