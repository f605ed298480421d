"""Virtual time: processes whose events wait while they are paused and are void once they are dead.

Nothing here knows a thread. What is a thread in the product is a `Strand`: a generator of steps, of which any
other strand's may come between two. What is one call in the product and cannot be cut into steps can still be
held up in the middle: `Clock.run` is entered again, and everybody else goes on.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from typing import Any, Final

NESTED_MAX: Final = 3
"""Calls held up at the same time; each is a frame of Python's stack, and the last one held up ends first."""
STEP_S_MAX: Final = 0.002
"""A step of a strand takes up to this."""


class Killed(GeneratorExit):
    """A process ends in the middle of a call.

    Not an `Exception`: nobody may survive it. What a dead generator still tries when it is thrown away ends
    with it, too, and in silence, since it is of this kind.
    """


class Timer:
    """Something that is going to happen; ordered by time, and among equals by when it was due."""

    __slots__ = ("call", "due_s", "incarnation", "process")

    def __init__(self, due_s: float, process: Process | None, call: Callable[[], object]) -> None:
        self.due_s = due_s
        self.process = process
        self.incarnation = 0 if process is None else process.incarnation
        self.call: Callable[[], object] | None = call

    def active(self) -> bool:
        """Whether it is still going to happen; Twisted's name."""
        return self.call is not None

    def cancel(self) -> None:
        """It is not going to happen."""
        self.call = None


class Clock:
    """The events of all processes, in order of time.

    Attributes:
        now_s: the time.
        stopped: whether `run` returns at once.
        events: how many have happened.
    """

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.stopped = False
        self.events = 0
        self.nested = 0
        self._count = 0
        self._heap: list[tuple[float, float, int, Timer]] = []

    def call_later(self, delay_s: float, call: Callable[[], object], process: Process | None = None) -> Timer:
        """Have something happen; with a process, only if that lives, and not while it is paused."""
        self._count = number = self._count + 1
        time_s = self.now_s + delay_s
        timer = Timer(time_s, process, call)
        heapq.heappush(self._heap, (time_s, time_s, number, timer))
        return timer

    def run(self, until_s: float) -> None:
        """Let everything happen until a time, or until somebody stops it."""
        heap = self._heap
        while heap and not self.stopped and heap[0][0] <= until_s:
            time_s, due_s, number, timer = heapq.heappop(heap)
            call, process = timer.call, timer.process
            if call is None:
                continue
            if process is not None:
                if process.incarnation != timer.incarnation:
                    continue
                if process.paused_until_s > time_s:
                    heapq.heappush(heap, (process.paused_until_s, due_s, number, timer))
                    continue
            if time_s > self.now_s:
                self.now_s = time_s
            self.events += 1
            timer.call = None
            try:
                call()
            except Killed:
                assert process is not None
        if not self.stopped and until_s != float("inf"):
            self.now_s = max(until_s, self.now_s)

    def hold_up(self, process: Process, for_s: float) -> None:
        """In the middle of a call of a process: everybody else goes on for a while.

        Raises:
            Killed: the process has died meanwhile.
        """
        if self.nested >= NESTED_MAX:
            return
        incarnation = process.incarnation
        process.pause(for_s)
        self.nested += 1
        self.run(self.now_s + for_s)
        self.nested -= 1
        if process.incarnation != incarnation:
            raise Killed


class Process:
    """A process on a host of its own.

    Attributes:
        name: of it and its host.
        incarnation: changes when it dies; events of earlier ones are void.
        alive: whether it runs; a paused process does.
        paused_until_s: nothing of it happens before.
        stalled_s: how long the strand that has just done a step waits beside its usual time.
    """

    def __init__(self, clock: Clock, name: str, rng: random.Random) -> None:
        self.clock = clock
        self.name = name
        self.random = rng
        self.incarnation = 0
        self.alive = False
        self.paused_until_s = 0.0
        self.stalled_s = 0.0

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Have something happen in this process."""
        return self.clock.call_later(delay_s, call, self)

    def callLater(  # noqa: N802 - Twisted's name
        self, delay_s: float, call: Callable[..., object], *args: object
    ) -> Timer:
        """The reactor's way of saying it."""
        return self.clock.call_later(delay_s, (lambda: call(*args)) if args else call, self)

    def post(self, call: Callable[[], object]) -> None:
        """Hand a call over to the owner's thread: in the order posted."""
        self.clock.call_later(0.0, call, self)

    def pause(self, for_s: float) -> None:
        """Freeze it."""
        self.paused_until_s = max(self.paused_until_s, self.clock.now_s + for_s)

    def end(self) -> None:
        """It is gone, with everything it was about to do."""
        self.incarnation += 1
        self.alive = False
        self.paused_until_s = 0.0

    def reached(self, step: str) -> None:
        """A step was done; subclasses count and interfere."""

    def spawn(self, steps: Generator[Any, Any, object]) -> Strand:
        """Begin a thread."""
        return Strand(self, steps)


class Gate:
    """Where a strand waits until somebody wakes it; a `SimpleQueue` of nothing, as the writer uses it."""

    __slots__ = ("_count", "_strand")

    def __init__(self) -> None:
        self._count = 0
        self._strand: Strand | None = None

    def put(self, _: object = None) -> None:
        """Wake who waits, or the next who is going to."""
        self._count += 1
        strand = self._strand
        if strand is not None:
            self._strand = None
            strand.wake()

    def take(self, strand: Strand) -> bool:
        """Whether it was woken already; if not, it waits."""
        if self._count:
            self._count -= 1
            return True
        self._strand = strand
        return False

    def leave(self) -> bool:
        """Wait no longer; whether it was woken."""
        self._strand = None
        if self._count:
            self._count -= 1
            return True
        return False


class Wait:
    """Yielded by a strand: go on when the gate opens or the time is over; it is sent whether it opened."""

    __slots__ = ("gate", "timeout_s")

    def __init__(self, gate: Gate | None, timeout_s: float | None = None) -> None:
        self.gate = gate
        self.timeout_s = timeout_s


class Strand:
    """A thread of a process: a generator that yields what it has just done, or a `Wait`."""

    def __init__(self, process: Process, steps: Generator[Any, Any, object]) -> None:
        self._process = process
        self._steps = steps
        self._gate: Gate | None = None
        self._timer: Timer | None = process.call_later(0.0, self._advance)
        self.ended = False

    def stop(self) -> None:
        """It does nothing more."""
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()

    def wake(self) -> None:
        """The gate has opened."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._process.call_later(self._latency_s(), self._awake)

    def _latency_s(self) -> float:
        return self._process.random.random() * STEP_S_MAX

    def _awake(self) -> None:
        gate, self._gate = self._gate, None
        self._advance(gate is not None and gate.leave())

    def _advance(self, sent: bool | None = None) -> None:
        if self.ended:
            return
        try:
            done = next(self._steps) if sent is None else self._steps.send(sent)
        except StopIteration:
            self.ended = True
            return
        if isinstance(done, str):
            process = self._process
            process.reached(done)
            delay_s = self._latency_s()
            if process.stalled_s:
                delay_s += process.stalled_s
                process.stalled_s = 0.0
            self._timer = process.call_later(delay_s, self._advance)
            return
        gate = done.gate
        if gate is not None and gate.take(self):
            self._timer = self._process.call_later(self._latency_s(), lambda: self._advance(True))
            return
        self._gate = gate
        self._timer = None
        if done.timeout_s is not None:
            self._timer = self._process.call_later(done.timeout_s, self._awake)
