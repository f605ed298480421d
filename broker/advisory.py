"""Advisories: messages of the broker itself about what happens in it, and the topics it says them on.

An advisory is a message without body that is about something: a connection, a consumer, a producer, a
destination or another message. Each protocol writes that in its own way.

Source: ActiveMQ's `AdvisorySupport`, which names the topics and the properties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.destination import ADVISORY_PREFIX, Destination, DestinationKind
from broker.message import MESSAGE_OVERHEAD_BYTES, Message
from broker.policies import ONE, REST

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer

CONNECTION: Final = "Connection"
CONSUMER: Final = "Consumer"
PRODUCER: Final = "Producer"
QUEUE: Final = "Queue"
TOPIC: Final = "Topic"
TEMP_QUEUE: Final = "TempQueue"
TEMP_TOPIC: Final = "TempTopic"
EXPIRED: Final = "Expired"
NO_CONSUMER: Final = "NoConsumer"
SLOW_CONSUMER: Final = "SlowConsumer"
FAST_PRODUCER: Final = "FastProducer"
DISCARDED: Final = "MessageDiscarded"
FULL: Final = "FULL"
DELIVERED: Final = "MessageDelivered"
CONSUMED: Final = "MessageConsumed"
DISPATCHED: Final = "MessageDispatched"
DEAD: Final = "MessageDLQd"
MASTER: Final = "MasterBroker"
KINDS: Final = frozenset(
    {
        CONNECTION,
        CONSUMER,
        PRODUCER,
        QUEUE,
        TOPIC,
        TEMP_QUEUE,
        TEMP_TOPIC,
        EXPIRED,
        NO_CONSUMER,
        SLOW_CONSUMER,
        FAST_PRODUCER,
        DISCARDED,
        FULL,
        DELIVERED,
        CONSUMED,
        DISPATCHED,
        DEAD,
        MASTER,
    }
)
"""What there are advisories of; the element of a topic's name behind the prefix."""

OF_DESTINATIONS: Final = frozenset({QUEUE, TOPIC, TEMP_QUEUE, TEMP_TOPIC})
"""The kinds that tell which destinations there are."""
MESSAGE_TYPE: Final = "Advisory"
_PREFIX: Final = tuple(ADVISORY_PREFIX.rstrip(".").split("."))
_TYPES: Final = {
    DestinationKind.QUEUE: QUEUE,
    DestinationKind.TOPIC: TOPIC,
    DestinationKind.TEMP_QUEUE: TEMP_QUEUE,
    DestinationKind.TEMP_TOPIC: TEMP_TOPIC,
}


# ---- what an advisory is about


@dataclass(frozen=True, slots=True)
class AboutConnection:
    """A connection was opened or closed."""

    connection: RegionConnection
    added: bool


@dataclass(frozen=True, slots=True)
class AboutConsumer:
    """A consumer was opened or closed, or is slow."""

    consumer: Consumer
    added: bool = True


@dataclass(frozen=True, slots=True)
class AboutSubscription:
    """A durable subscription was removed."""

    connection_id: str
    client_id: str
    name: str


@dataclass(frozen=True, slots=True)
class AboutProducer:
    """A producer was opened or closed, or is fast.

    Attributes:
        producer_id: `CONNECTION:SESSION:PRODUCER`.
        destination: it sends to; None: any.
        added: it was opened.
    """

    producer_id: str
    destination: Destination | None
    added: bool = True


@dataclass(frozen=True, slots=True)
class AboutDestination:
    """A destination was made or deleted.

    Attributes:
        destination: it.
        connection_id: of the owner of a temporary one; otherwise empty.
        added: it was made.
    """

    destination: Destination
    connection_id: str
    added: bool


@dataclass(frozen=True, slots=True)
class AboutMessage:
    """Something happened to a message.

    Attributes:
        message: it.
        with_body: tell its body, too.
    """

    message: Message
    with_body: bool


About = AboutConnection | AboutConsumer | AboutSubscription | AboutProducer | AboutDestination | AboutMessage


@dataclass(slots=True)
class AdvisoryMessage(Message):
    """An advisory.

    Attributes:
        about: None: its properties say it all.
    """

    about: About | None = None

    @property
    def size_bytes(self) -> int:
        """What it costs in memory, about; the same before and after it was written."""
        about = self.about
        size = 3 * MESSAGE_OVERHEAD_BYTES
        return size + about.message.size_bytes if isinstance(about, AboutMessage) else size


# ---- the topics


def by_destination(kind: str, destination: Destination) -> str:
    """The topic of what happens to a destination: `SlowConsumer.TempQueue.NAME`."""
    return f"{ADVISORY_PREFIX}{kind}.{_TYPES[destination.kind]}.{destination.name}"


def by_family(kind: str, destination: Destination) -> str:
    """The topic of who uses a destination, temporary or not: `Consumer.Queue.NAME`.

    A comma in a name would make it the name of several.
    """
    family = QUEUE if destination.is_queue else TOPIC
    return f"{ADVISORY_PREFIX}{kind}.{family}.{destination.name.replace(',', '&sbquo;')}"


def destination_kind(destination: Destination) -> str:
    """Which advisories tell of destinations of this kind."""
    return _TYPES[destination.kind]


def kind_of(name: str) -> str:
    """What a topic's advisories are about; a wildcard, or empty, if its name does not say."""
    return name.removeprefix(ADVISORY_PREFIX).split(".", 1)[0]


def kinds_heard(pattern: str) -> frozenset[str]:
    """What somebody can hear of who listens to a topic or a wildcard."""
    elements = pattern.split(".")
    kind = elements[len(_PREFIX)] if len(elements) > len(_PREFIX) else REST
    if kind in (ONE, REST) or REST in elements[: len(_PREFIX)]:
        return KINDS
    return frozenset({kind}) & KINDS


def speaks_at(destination: Destination) -> bool:
    """Whether a topic that a consumer names, perhaps a wildcard, has advisories."""
    if destination.kind is not DestinationKind.TOPIC:
        return False
    name = destination.name
    if name.startswith(ADVISORY_PREFIX):
        return True
    return (name[:1] in (ONE, REST) or name.startswith(_PREFIX[0])) and _may_begin(name.split("."))


def _may_begin(elements: Sequence[str]) -> bool:
    """Whether a name that begins with the prefix can match a wildcard."""
    for wanted, element in zip(_PREFIX, elements, strict=False):
        if element == REST:
            return True
        if element not in (ONE, wanted):
            return False
    return len(elements) > len(_PREFIX)


def speaks_only_at(members: Iterable[Destination]) -> bool:
    """Whether a consumer wants nothing but advisories."""
    return all(
        member.kind is DestinationKind.TOPIC and member.name.startswith(ADVISORY_PREFIX) for member in members
    )
