"""The loads of `./dev bench throughput`, and how each is put on a broker."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import Protocol

from perf.amqp_lines import Amqp
from perf.lines import Maker, run_pairs
from perf.mqtt_lines import IdleClient, Mqtt
from perf.process_facts import memory, processor_s
from perf.rivals import APACHE, RABBIT, SINK, Rival
from perf.stomp_lines import Stomp
from support.apache import JavaPrograms

JAVA_TIMEOUT_S = 300.0
KIBIBYTE = 1024

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """How long and how large.

    Attributes:
        programs: compiled Java programs, None without Apache's client.
        seconds: how long messages are sent.
        size: bytes of a body.
    """

    programs: JavaPrograms | None
    seconds: float
    size: int


class Case(Protocol):
    """One row of the table."""

    @property
    def name(self) -> str:
        """Of the row."""
        ...

    @property
    def protocol(self) -> str:
        """That is spoken."""
        ...

    @property
    def figure(self) -> str:
        """Which of its figures counts."""
        ...

    @property
    def targets(self) -> dict[str, float]:
        """Which ratio to which other broker is wanted."""
        ...

    def run(self, rival: Rival, queue: str, measure: Measure) -> Figures:
        """Put the load on a broker, using names that begin so."""
        ...


@dataclass(frozen=True)
class Pairs:
    """Producers with a window and a consumer each, out of the load generator's one thread."""

    protocol: str
    pairs: int
    window: int
    make: Maker
    targets: dict[str, float]
    figure: str = "per second"

    @property
    def name(self) -> str:
        """In words."""
        pairs = f"{self.pairs} pair{'s' if self.pairs > 1 else ''}"
        window = f"window {self.window}" if self.window > 1 else "one at a time"
        return f"{self.protocol.upper()}, {pairs}, {window}"

    def run(self, rival: Rival, queue: str, measure: Measure) -> Figures:
        """See `Case.run`."""
        before = processor_s(rival.pid) if rival.pid else 0.0
        outcome = run_pairs(
            self.make,
            rival.addresses[self.protocol],
            queue,
            pairs=self.pairs,
            window=self.window,
            size=measure.size,
            seconds=measure.seconds,
        )
        figures = outcome.figures()
        if rival.pid:
            figures["broker us"] = (processor_s(rival.pid) - before) / outcome.messages * 1e6
        return figures


@dataclass(frozen=True)
class Java:
    """Apache's own client: producers for a time, then a consumer."""

    producers: int
    mode: str
    targets: dict[str, float]
    protocol: str = "openwire"
    figure: str = "sent per second"

    @property
    def name(self) -> str:
        """In words."""
        return f"OpenWire, {self.producers} producer{'s' if self.producers > 1 else ''}, {self.mode}"

    def run(self, rival: Rival, queue: str, measure: Measure) -> Figures:
        """See `Case.run`."""
        assert measure.programs is not None
        url = f"tcp://127.0.0.1:{rival.addresses['openwire'].port}"
        facts = measure.programs.facts(
            *("Load", url, queue, str(self.producers), self.mode),
            *(str(measure.seconds), str(measure.size)),
            timeout_s=JAVA_TIMEOUT_S,
        )
        figures = {name: float(value) for name, _, value in (fact.partition(": ") for fact in facts)}
        figures["sent per second"] = figures["sent"] / figures["send seconds"]
        figures["received per second"] = figures["received"] / figures["receive seconds"]
        if figures["received"] != figures["sent"]:
            print(f"{queue}: {figures['sent']:.0f} sent, {figures['received']:.0f} received", file=sys.stderr)
        return figures


@dataclass(frozen=True)
class Idle:
    """Many MQTT clients that are connected and say nothing."""

    connections: int
    targets: dict[str, float]
    most: float
    """KiB that ours is to take at most."""
    protocol: str = "mqtt"
    figure: str = "KiB each"

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.connections:,} idle MQTT connections, KiB each"

    def run(self, rival: Rival, queue: str, measure: Measure) -> Figures:
        """See `Case.run`."""
        del measure
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        before = memory(rival.pid).now
        began = time.perf_counter()
        clients: list[IdleClient] = []
        try:
            for number in range(self.connections):
                clients.append(IdleClient(rival.addresses["mqtt"], f"{queue}.{number}"))
            seconds = time.perf_counter() - began
            used = memory(rival.pid).now - before
        finally:
            for client in clients:
                client.close()
        return {
            "connections": self.connections,
            "connect seconds": seconds,
            "KiB each": used / KIBIBYTE / self.connections,
        }


STOMP_TARGETS = {APACHE: 3.0, RABBIT: 2.0}
CASES: tuple[Case, ...] = (
    Java(1, "sync", {}),
    Java(8, "sync", {}),
    Java(1, "async", {APACHE: 1.5}),
    Java(8, "async", {APACHE: 1.5}),
    Java(1, "transacted", {APACHE: 1.5}),
    Java(8, "transacted", {APACHE: 1.5}),
    Pairs("stomp", 1, 500, Stomp(), STOMP_TARGETS),
    Pairs("stomp", 8, 500, Stomp(), STOMP_TARGETS),
    Pairs("stomp", 1, 100, Stomp(), STOMP_TARGETS),
    Pairs("stomp", 8, 100, Stomp(), STOMP_TARGETS),
    Pairs("stomp", 8, 1, Stomp(), {APACHE: 1.0, RABBIT: 1.0}),
    Pairs("mqtt", 8, 100, Mqtt(), {APACHE: 2.0, RABBIT: 1.0}),
    Pairs("amqp", 1, 500, Amqp(), {RABBIT: 1.0}),
    Pairs("amqp", 8, 100, Amqp(), {RABBIT: 1.0}),
    Idle(10_000, {}, 12.0),
)


def can_carry(case: Case, who: str, rival: Rival) -> bool:
    """Whether a broker speaks the load's protocol, and whether the load means anything there."""
    return case.protocol in rival.addresses and not (who == SINK and isinstance(case, Idle))
