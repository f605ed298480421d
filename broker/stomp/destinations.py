"""How STOMP names destinations.

=======================  ========================================================================
`/queue/NAME`            a queue; NAME may list several, and hold wildcards
`/topic/NAME`            a topic
`/temp-queue/NAME`       a temporary queue of this connection, made when it is first named
`/temp-topic/NAME`       likewise
`/remote-temp-queue/N`   another connection's, as a reply-to tells it
`/remote-temp-topic/N`   likewise
any other name           a queue, but in `reply-to`
=======================  ========================================================================

Source: ActiveMQ's `LegacyFrameTranslator`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from broker.destination import Destination, DestinationKind, check_name
from broker.errors import InvalidDestination

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection

_PREFIXES: Final = {
    "/queue/": DestinationKind.QUEUE,
    "/topic/": DestinationKind.TOPIC,
    "/remote-temp-queue/": DestinationKind.TEMP_QUEUE,
    "/remote-temp-topic/": DestinationKind.TEMP_TOPIC,
}
_NAMES: Final = {kind: prefix for prefix, kind in _PREFIXES.items()}
_TEMPORARY: Final = {
    "/temp-queue/": DestinationKind.TEMP_QUEUE,
    "/temp-topic/": DestinationKind.TEMP_TOPIC,
}
_ALL: Final = (*_PREFIXES, *_TEMPORARY)


def name_of(destination: Destination) -> str:
    """What STOMP calls a destination, whoever asks."""
    return _NAMES[destination.kind] + destination.name


def has_prefix(name: str) -> bool:
    """Whether a name says what it is of; only such are taken for destinations in `reply-to`."""
    return name.strip().startswith(_ALL)


def destination_of(name: str) -> Destination:
    """The destination of a name that means the same to everybody.

    Raises:
        InvalidDestination: it is none.
    """
    trimmed = name.strip()
    for prefix, kind in _PREFIXES.items():
        if trimmed.startswith(prefix):
            rest = trimmed[len(prefix) :].partition("?")[0].strip()
            if "://" in rest and "," not in rest:
                return Destination.parse(rest)
            return Destination(kind, check_name(rest))
    return Destination.parse(name.partition("?")[0].strip())


class Destinations:
    """The names that one connection uses; its temporary destinations are its own.

    Args:
        connection: of the region.
    """

    def __init__(self, connection: RegionConnection) -> None:
        self._connection = connection
        self._made: dict[str, Destination] = {}
        self._own_names: dict[Destination, str] = {}
        self._numbers = itertools.count(1)

    def __bool__(self) -> bool:
        """Whether it has temporary destinations."""
        return bool(self._made)

    def resolve(self, name: str) -> Destination:
        """The destination of a name; a temporary one is made.

        Raises:
            ClientError: it is none, or cannot be made.
        """
        trimmed = name.strip()
        for prefix, kind in _TEMPORARY.items():
            if trimmed.startswith(prefix):
                return self._made.get(trimmed) or self._make(trimmed, kind)
        return destination_of(name)

    def _make(self, name: str, kind: DestinationKind) -> Destination:
        number = next(self._numbers)
        destination = Destination(kind, f"{self._connection.connection_id}:{number}")
        self._connection.add_destination(destination)
        self._made[name] = destination
        self._own_names[destination] = name
        return destination

    def name_of(self, destination: Destination) -> str:
        """What this connection calls a destination."""
        return self._own_names.get(destination) or name_of(destination)

    def own_name(self, name: str) -> str:
        """What this connection calls a destination that others call by this name."""
        if not self._made:
            return name
        try:
            return self._own_names.get(destination_of(name), name)
        except InvalidDestination:
            return name
