"""What brokers tell of themselves, made by hand: everything zero unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from broker.management.model import (
    BrokerInfo,
    ConsumerInfo,
    CounterInfo,
    LevelInfo,
    Page,
    QueueInfo,
    TopicInfo,
    UsageInfo,
)
from fabric.errors import FabricError
from fabric.web.samples import BrokerSamples, Sample


def counters(**changed: Any) -> CounterInfo:
    """What has happened."""
    zero: dict[str, Any] = dict.fromkeys(CounterInfo.__dataclass_fields__, 0)
    return CounterInfo(**{**zero, **changed})


def level(percent: int = 0) -> LevelInfo:
    """How much of a limit is used."""
    return LevelInfo(percent, 100, percent)


def usage(**changed: Any) -> UsageInfo:
    """What messages take; levels as percents."""
    said = {"disk_full": False, "blocked_sends": 0, "blocked_connections": 0, "problem": "", **changed}
    levels = {name: level(said.pop(name, 0)) for name in ("store", "memory", "temp")}
    return UsageInfo(**levels, **said)


def queue(name: str = "in", size: int = 0, *, dequeued: int = 0, **changed: Any) -> QueueInfo:
    """A queue."""
    zero = {"temporary": False, "paused": False, "in_flight": 0, "consumers": 0, "producers": 0}
    numbers = {"size": size, "waiting": size, "counters": counters(dequeued=dequeued)}
    return QueueInfo(name, **{**zero, **numbers, **changed})


def topic(name: str, *, discarded: int = 0, **changed: Any) -> TopicInfo:
    """A topic."""
    zero = {"temporary": False, "in_flight": 0, "subscriptions": 0, "consumers": 0, "producers": 0}
    return TopicInfo(name, **{**zero, "counters": counters(discarded=discarded), **changed})


def consumer(in_flight: int, prefetch: int = 10, destination: str = "queue://in") -> ConsumerInfo:
    """A consumer."""
    return ConsumerInfo(
        id="c1",
        connection="conn-1",
        client_id="",
        destination=destination,
        selector="",
        prefetch=prefetch,
        in_flight=in_flight,
        priority=0,
        exclusive=False,
        browser=False,
        no_local=False,
        subscription="",
    )


class HandSamples:
    """In place of a console's samples: one broker that tells what it is told to.

    Attributes:
        asked: how often it was.
        problem: why it tells nothing.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.problem: FabricError | None = None
        self.usage = usage()
        self.queues: list[QueueInfo] = []
        self.topics: list[TopicInfo] = []
        self.consumers: list[ConsumerInfo] = []

    async def fresh(self, group: str, broker: str) -> BrokerSamples:
        """See `fabric.web.sampler.Sampler`."""
        self.asked += 1
        samples = BrokerSamples()
        if self.problem is not None:
            samples.fail(0.0, self.problem)
            return samples
        zero: dict[str, Any] = dict.fromkeys(BrokerInfo.__dataclass_fields__, 0)
        names = {"name": broker, "group": group, "version": "1", "services": [], "usage": self.usage}
        info = BrokerInfo(**{**zero, **names, "counters": counters()})
        queues = Page(self.queues, len(self.queues), "")
        samples.add(0.0, Sample(info, queues, Page(self.topics, len(self.topics), ""), []))
        return samples

    async def once(self, group: str, broker: str, operation: str, **arguments: object) -> object:
        """See `fabric.web.sampler.Sampler`."""
        assert operation == "consumers"
        return Page(self.consumers, len(self.consumers), "")

    def close(self) -> None:
        """Nothing is asked."""
