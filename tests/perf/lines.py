"""A load of many connections out of one thread; it costs next to nothing, so that the broker is measured.

What is sent are prepared bytes; what arrives is counted by scanning, never taken apart by the header. A
protocol says in two classes, derived from `Producer` and `Consumer`, how its frames are made, counted and
acknowledged.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

TIMEOUT_S = 30.0
"""Longest silence of a broker that has something to answer."""
RECEIVE_BYTES = 256 * 1024
RING_WINDOWS = 8
"""How many windows of frames are prepared: acknowledgements may come in any order."""


class LoadFailed(Exception):
    """The broker said something else than was expected, or nothing."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a protocol is served, and how to log in there.

    Attributes:
        port: on this host.
        user: and password.
        queue: how this broker wants a queue to be named; `{}` stands for its name.
    """

    port: int
    user: tuple[str, str] = ("admin", "admin")
    queue: str = "{}"


class Line:
    """One connection of a load.

    Args:
        address: of the broker.
    """

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(("127.0.0.1", address.port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unsent: deque[bytes] = deque()

    def ask(self, request: bytes, expected: bytes) -> bytes:
        """Before the load: send something, and read until the expected bytes are there.

        Raises:
            LoadFailed: they do not come.
        """
        self.socket.sendall(request)
        data = b""
        while expected not in data:
            try:
                more = self.socket.recv(RECEIVE_BYTES)
            except TimeoutError:
                more = b""
            if not more:
                self.socket.close()
                raise LoadFailed(f"{expected!r} was expected; there came {data[:1000]!r}")
            data += more
        return data

    def take(self, data: bytes) -> int:
        """Take what arrived; returns how many messages of the load were meant by it."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Give the socket what it takes; keep the rest."""
        if self.unsent:
            self.unsent.append(data)
            return
        try:
            taken = self.socket.send(data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            self.unsent.append(data[taken:])

    def send_rest(self) -> None:
        """The socket takes more."""
        waiting, self.unsent = self.unsent, deque()
        self.send(b"".join(waiting))

    def close(self) -> None:
        """Leave; what the broker would keep of this client is given up."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


class Producer(Line):
    """Sends messages as long as its window allows.

    Attributes:
        free: how many more may be unacknowledged.
        sent: messages.
        acknowledged: messages.
    """

    def __init__(self, address: Address, window: int) -> None:
        super().__init__(address)
        self.free = window
        self.sent = 0
        self.acknowledged = 0

    def frames(self, count: int) -> bytes:
        """The bytes of the next messages."""
        raise NotImplementedError

    def allowed(self) -> int:
        """How many messages the broker would take; at least as many as the window if it says nothing."""
        return self.free

    def fill(self) -> None:
        """Send what the window allows."""
        count = min(self.free, self.allowed())
        if count > 0:
            self.free -= count
            self.sent += count
            self.send(self.frames(count))

    def acknowledge(self, count: int) -> int:
        """So many messages more are safe."""
        self.acknowledged += count
        self.free += count
        return count


class Ring:
    """Prepared frames that are sent one after the other, again and again.

    Args:
        frames: more than a window, so that a number comes again only when its message is long acknowledged.
    """

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames
        self._next = 0

    def take(self, count: int) -> bytes:
        """The next ones, joined; at most as many as there are."""
        frames, first = self._frames, self._next
        self._next = (first + count) % len(frames)
        batch = frames[first : first + count]
        return b"".join(batch if len(batch) == count else batch + frames[: count - len(batch)])


class Consumer(Line):
    """Takes messages and acknowledges them.

    Attributes:
        received: messages.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.received = 0


class Maker(Protocol):
    """Makes the two ends of a pair."""

    def producer(self, address: Address, queue: str, window: int, body: bytes) -> Producer:
        """A producer that has logged in."""
        ...

    def consumer(self, address: Address, queue: str, body: bytes) -> Consumer:
        """A consumer that has logged in and subscribed; it is told what the bodies will be."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load did.

    Attributes:
        messages: sent, acknowledged and consumed.
        seconds: from the first send to the last of them that was both acknowledged and consumed.
        acknowledged_seconds: until the last acknowledgement.
        busy: share of the time in which the load generator used a processor.
    """

    messages: int
    seconds: float
    acknowledged_seconds: float
    busy: float

    @property
    def per_second(self) -> float:
        """Messages acknowledged and consumed."""
        return self.messages / self.seconds

    def figures(self) -> dict[str, float]:
        """For programs."""
        return {
            "messages": self.messages,
            "per second": self.per_second,
            "acknowledged per second": self.messages / self.acknowledged_seconds,
            "generator busy": self.busy,
        }


class Load:
    """Some producers and consumers in one thread.

    Args:
        producers: with their windows.
        consumers: that get everything that is sent.
    """

    def __init__(self, producers: Sequence[Producer], consumers: Sequence[Consumer]) -> None:
        self._producers = producers
        self._consumers = consumers
        self._selector = selectors.EpollSelector()
        for line in (*producers, *consumers):
            line.socket.setblocking(False)
            self._selector.register(line.socket, selectors.EVENT_READ, line)

    def run(self, seconds: float) -> Outcome:
        """Send for a time, then wait until all is acknowledged and consumed.

        Raises:
            LoadFailed: nothing came for too long, or a connection was lost.
        """
        began, busy = time.perf_counter(), time.process_time()
        until = began + seconds
        acknowledged_at = began
        sending = True
        sent = acknowledged = received = 0
        for producer in self._producers:
            self._go_on(producer)
        while True:
            ready = self._selector.select(TIMEOUT_S)
            if not ready:
                raise LoadFailed(f"silence: {sent} sent, {acknowledged} acknowledged, {received} consumed")
            for key, events in ready:
                line = key.data
                data = self._receive(line) if events & selectors.EVENT_READ else b""
                if data:
                    count = line.take(data)
                    if isinstance(line, Consumer):
                        received += count
                    else:
                        acknowledged += count
                        if sending:
                            line.fill()
                if events & selectors.EVENT_WRITE:
                    line.send_rest()
                if line.unsent or events & selectors.EVENT_WRITE:
                    self._watch(line)
            now = time.perf_counter()
            if sending and now >= until:
                sending = False
                sent = sum(producer.sent for producer in self._producers)
            if not sending:
                if acknowledged < sent:
                    acknowledged_at = now
                elif received >= sent:
                    break
        ended = time.perf_counter()
        if received > sent:
            raise LoadFailed(f"{sent} messages were sent, {received} received")
        used = time.process_time() - busy
        return Outcome(sent, ended - began, max(acknowledged_at, until) - began, used / (ended - began))

    def _go_on(self, producer: Producer) -> None:
        producer.fill()
        if producer.unsent:
            self._watch(producer)

    def _watch(self, line: Line) -> None:
        """Be told when a socket takes more, if it has to."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.unsent else 0)
        self._selector.modify(line.socket, events, line)

    def _receive(self, line: Line) -> bytes:
        try:
            data = line.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            raise LoadFailed("the broker closed a connection")
        return data

    def close(self) -> None:
        """End the connections."""
        self._selector.close()
        for line in (*self._producers, *self._consumers):
            line.socket.setblocking(True)
            line.socket.settimeout(TIMEOUT_S)
            line.close()


def run_pairs(
    make: Maker, address: Address, queue: str, *, pairs: int, window: int, size: int, seconds: float
) -> Outcome:
    """So many producers, each with a queue and its consumer of its own."""
    body = b"x" * size
    with contextlib.ExitStack() as opened:
        consumers = [
            opened.enter_context(make.consumer(address, f"{queue}.{number}", body)) for number in range(pairs)
        ]
        producers = [
            opened.enter_context(make.producer(address, f"{queue}.{number}", window, body))
            for number in range(pairs)
        ]
        load = Load(producers, consumers)
        outcome = load.run(seconds)
        load.close()
    return outcome
