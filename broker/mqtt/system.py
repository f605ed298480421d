"""What the broker says of itself on topics that begin with `$SYS`, as Mosquitto does; read only.

They are no destinations: they are told to connections that have subscribed to them, with QoS 0, now and then.

Source: Mosquitto's `$SYS` topics, and its `sys_interval`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from broker.identity import program_version
from broker.mqtt.topics import matches
from broker.region.statistics import total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.mqtt.packets import Subscription
    from broker.region.region import Region

SYSTEM: Final = "$SYS"
INTERVAL_MS: Final = 10_000
"""Between two times that changes are told. Source: Mosquitto's `sys_interval`."""


class Listener(Protocol):
    """A connection that has subscribed."""

    @property
    def system_filters(self) -> Mapping[str, object]:
        """The filters of its subscriptions that begin with `$SYS`."""
        ...

    def send_system(self, topic: str, value: bytes, *, retain: bool = False) -> None:
        """Send a value."""
        ...


class SystemTopics:
    """Tells those who listen."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._began_ms = region.now_ms
        self._listeners: dict[Listener, None] = {}
        self._told: dict[str, bytes] = {}
        self._next_ms = 0

    @classmethod
    def of(cls, region: Region) -> SystemTopics:
        """Those of a region."""
        for task in region.tasks:
            if isinstance(task, cls):
                return task
        made = cls(region)
        region.tasks.append(made)
        return made

    def add(self, listener: Listener) -> None:
        """A connection listens."""
        if not self._listeners:
            self._next_ms = self._region.now_ms + INTERVAL_MS
            self._told = self.values()
        self._listeners[listener] = None

    def forget(self, listener: Listener) -> None:
        """A connection is over."""
        self._listeners.pop(listener, None)

    def tell(self, listener: Listener, wanted: Subscription) -> None:
        """Tell a new subscription all there is, as of retained messages."""
        for topic, value in self.values().items():
            if matches(wanted.filter, topic):
                listener.send_system(topic, value, retain=True)

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called; None: nobody listens."""
        return self._next_ms if self._listeners else None

    def run(self) -> None:
        """Tell what has changed."""
        self._next_ms = self._region.now_ms + INTERVAL_MS
        former, self._told = self._told, self.values()
        changed = {topic: value for topic, value in self._told.items() if former.get(topic) != value}
        for listener in list(self._listeners):
            for topic, value in changed.items():
                if any(matches(filter_, topic) for filter_ in listener.system_filters):
                    listener.send_system(topic, value)

    def values(self) -> dict[str, bytes]:
        """All there is, by topic."""
        region = self._region
        statistics = total(region)
        numbers = {
            "clients/connected": len(region.connections),
            "messages/received": statistics.enqueued,
            "messages/sent": statistics.dequeued,
            "publish/messages/dropped": statistics.discarded + statistics.expired,
            "retained messages/count": len(region.retained),
            "subscriptions/count": sum(len(each.consumers) for each in region.connections.values()),
            "store/messages/bytes": region.store.live_bytes,
        }
        values = {f"{SYSTEM}/broker/{name}": b"%d" % number for name, number in numbers.items()}
        uptime_s = (region.now_ms - self._began_ms) // 1000
        values[f"{SYSTEM}/broker/uptime"] = b"%d seconds" % uptime_s
        values[f"{SYSTEM}/broker/version"] = program_version().encode()
        return values
