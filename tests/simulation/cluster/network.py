"""A network of streams: ordered, as late as it likes, cut off between any two, broken at any moment.

Fault model: what was sent while two parties are cut off from each other arrives after that, unless one has
given the connection up. A connection that is reset loses what is under way in both directions. Who dies
resets its connections; whose host dies tells nobody until somebody hears from its successor.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from simulation.cluster.clock import Clock, Process

LATENCY_S: Final = 0.0005
"""One way, at least; and up to four times as much."""


class Stream:
    """One end of a connection.

    Attributes:
        process: whose end it is.
        peer: the other end.
        is_open: whether this end has neither closed it nor heard of its end.
        unread: what arrived before anybody read.
        on_data, on_lost: called in the process.
    """

    __slots__ = (
        "_arrival_s",
        "_held",
        "_network",
        "is_open",
        "on_data",
        "on_lost",
        "peer",
        "process",
        "unread",
    )

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self.process = process
        self.peer: Stream
        self.is_open = True
        self.unread: list[Any] = []
        self.on_data: Callable[[Any], None] = self.unread.append
        self.on_lost: Callable[[str], None] = lambda _: None
        self._arrival_s = 0.0
        self._held: list[Callable[[], None]] = []

    def send(self, data: object) -> None:
        """Send something; it arrives after everything sent before."""
        if self.is_open:
            self._carry(lambda: self.peer.receive(data))

    @property
    def is_reaching(self) -> bool:
        """Whether what is sent now arrives soon."""
        names = self.process.name, self.peer.process.name
        return self.peer.is_open and self.peer.process.alive and not self._network.is_cut(*names)

    def receive(self, data: object) -> None:
        """Something has arrived."""
        if self.is_open:
            self.on_data(data)

    def close(self) -> None:
        """Close this end in good order: what was sent still arrives."""
        if self.is_open:
            self.is_open = False
            self._carry(lambda: self.peer.lose("the other side closed the connection"))
            self._network.forget(self)

    def lose(self, reason: str) -> None:
        """The connection has ended."""
        if self.is_open:
            self.is_open = False
            self._network.forget(self)
            self.on_lost(reason)

    def reset(self, reason: str) -> None:
        """Break it now: what is under way is lost; each end hears of it unless it is gone or cut off."""
        for end in (self, self.peer):
            if end.is_open:
                end.is_open = False
                self._network.forget(end)
                end.peer._carry(partial(end.on_lost, reason))

    def release(self) -> None:
        """The parties can reach each other again."""
        held, self._held = self._held, []
        for arrival in held:
            self._carry(arrival)

    def _carry(self, arrival: Callable[[], None]) -> None:
        """Have something happen at the other end."""
        network = self._network
        to = self.peer.process
        if self._held or (network.has_cuts and network.is_cut(self.process.name, to.name)):
            self._held.append(arrival)
            network.holding[self] = None
            return
        now_s = network.clock.now_s
        arrival_s = now_s + network.latency_s()
        if network.is_slow:
            arrival_s += network.delay_s(self.process.name, to.name)
        if arrival_s < self._arrival_s:
            arrival_s = self._arrival_s
        self._arrival_s = arrival_s
        network.clock.call_later(arrival_s - now_s, arrival, to)


class Network:
    """Who is connected to whom, and who cannot reach whom."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self.clock = clock
        self.holding: dict[Stream, None] = {}
        self._random = rng
        self._cuts: dict[frozenset[str], int] = {}
        self._delays: dict[frozenset[str], float] = {}
        self._streams: dict[str, dict[Stream, None]] = {}

    def latency_s(self) -> float:
        """Of one way."""
        return LATENCY_S * (1 + 3 * self._random.random())

    @property
    def has_cuts(self) -> bool:
        """Whether anybody is cut off."""
        return bool(self._cuts)

    @property
    def is_slow(self) -> bool:
        """Whether anybody is far away."""
        return bool(self._delays)

    def delay_s(self, one: str, other: str) -> float:
        """Of one way between two who are far apart now, beside the usual."""
        return self._delays.get(frozenset((one, other)), 0.0) * self._random.random()

    def slow_down(self, one: str, other: str, delay_s: float) -> None:
        """From now on what two send each other takes up to so long."""
        self._delays[frozenset((one, other))] = delay_s

    def is_cut(self, one: str, other: str) -> bool:
        """Whether two parties cannot reach each other."""
        return frozenset((one, other)) in self._cuts

    def cut(self, one: str, other: str) -> None:
        """Cut two parties off from each other."""
        pair = frozenset((one, other))
        self._cuts[pair] = self._cuts.get(pair, 0) + 1

    def heal(self, one: str, other: str) -> None:
        """Undo one cut; with the last one, what was held arrives."""
        pair = frozenset((one, other))
        left = self._cuts.pop(pair, 1) - 1
        if left > 0:
            self._cuts[pair] = left
            return
        for stream in [s for s in self.holding if {s.process.name, s.peer.process.name} == pair]:
            del self.holding[stream]
            stream.release()

    def heal_all(self) -> None:
        """Everybody reaches everybody, and soon."""
        self._delays.clear()
        for pair in list(self._cuts):
            self._cuts[pair] = 1
            self.heal(*pair)

    def connect(
        self,
        process: Process,
        to: Process,
        admit: Callable[[Stream], bool],
        done: Callable[[Stream | None], None],
    ) -> None:
        """Open a connection; `done` hears of it after a round trip, of a refusal by None, of a cut never.

        Args:
            process: that asks.
            to: that is asked. A kernel answers, even for a process that is paused.
            admit: takes the other end, if somebody listens.
            done: called in the process that asks.
        """
        incarnation = process.incarnation

        def arrive() -> None:
            if self.is_cut(process.name, to.name) or process.incarnation != incarnation:
                return
            near, far = Stream(self, process), Stream(self, to)
            near.peer, far.peer = far, near
            admitted = to.alive and admit(far)
            if admitted:
                for end in (near, far):
                    self._streams.setdefault(end.process.name, {})[end] = None
            self.clock.call_later(self.latency_s(), lambda: done(near if admitted else None), process)

        self.clock.call_later(self.latency_s(), arrive)

    def forget(self, stream: Stream) -> None:
        """An end is closed."""
        self._streams.get(stream.process.name, {}).pop(stream, None)

    def streams(self, one: str, other: str) -> list[Stream]:
        """The ends that one party has of open connections to another."""
        return [s for s in self._streams.get(one, ()) if s.peer.process.name == other]

    def reset_all(self, name: str) -> None:
        """A process has died, or somebody heard from the successor of one whose host had died."""
        for stream in list(self._streams.get(name, ())):
            stream.is_open = False
            self.forget(stream)
            peer = stream.peer
            if peer.is_open:
                stream._carry(partial(peer.lose, "connection reset"))

    def abandon(self, name: str) -> list[Stream]:
        """A host has died: its ends are gone and nobody is told. Returns the ends of the others."""
        gone = list(self._streams.pop(name, ()))
        for stream in gone:
            stream.is_open = False
        return [stream.peer for stream in gone if stream.peer.is_open]
