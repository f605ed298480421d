"""Addresses and the destinations they name.

`queue://NAME`, `topic://NAME`, `temp-queue://NAME` and `temp-topic://NAME` say what they are. So do
`/queue/NAME` and `/topic/NAME`, as other brokers have them. Of any other name the capabilities of its
terminus decide, and without one it is a queue's.

Source: ActiveMQ's `AmqpSupport`; the AMQP JMS mapping for capabilities and `x-opt-jms-dest`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from broker.destination import Destination, DestinationKind, check_name
from broker.errors import InvalidDestination

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection

QUEUE_PREFIX: Final = "queue://"
TOPIC_PREFIX: Final = "topic://"
"""What our `open` says that names begin with."""

_KINDS: Final = {
    "queue": DestinationKind.QUEUE,
    "topic": DestinationKind.TOPIC,
    "temporary-queue": DestinationKind.TEMP_QUEUE,
    "temporary-topic": DestinationKind.TEMP_TOPIC,
}
"""By capability."""

_NUMBERS: Final = (
    DestinationKind.QUEUE,
    DestinationKind.TOPIC,
    DestinationKind.TEMP_QUEUE,
    DestinationKind.TEMP_TOPIC,
)
"""By the number in `x-opt-jms-dest` and `x-opt-jms-reply-to`."""

_PATHS: Final = (("/queue/", DestinationKind.QUEUE), ("/topic/", DestinationKind.TOPIC))


def kind_of(capabilities: Collection[object]) -> DestinationKind | None:
    """What capabilities say a node is; None: nothing."""
    return next((kind for name, kind in _KINDS.items() if name in capabilities), None)


def number_of(destination: Destination) -> int:
    """The number that annotations have for the kind of a destination."""
    return _NUMBERS.index(destination.kind)


def kind_of_number(number: object) -> DestinationKind | None:
    """The kind of which an annotation has the number."""
    return _NUMBERS[number] if isinstance(number, int) and 0 <= number < len(_NUMBERS) else None


def destination_of(address: str, kind: DestinationKind | None = None) -> Destination:
    """The destination of an address.

    Args:
        address: as a client gave it.
        kind: what it is if its name does not say so; None: a queue.

    Raises:
        InvalidDestination: it cannot be one.
    """
    if "://" in address:
        return Destination.parse(address)
    for path, its_kind in _PATHS:
        if address.startswith(path):
            return Destination(its_kind, check_name(address.removeprefix(path)))
    return Destination(kind or DestinationKind.QUEUE, check_name(address))


def check_own(destination: Destination, connection: RegionConnection) -> None:
    """A temporary destination is its connection's, and nobody is given one by naming it.

    Raises:
        InvalidDestination: it is not there, or belongs to another connection.
    """
    for member in destination.members():
        if not member.is_temporary:
            continue
        target = connection.region.targets.get(member)
        if target is None:
            raise InvalidDestination(f"The temporary destination {member.name} does not exist.")
        if target.owner is not connection:
            raise InvalidDestination(f"{member} belongs to another connection.")
