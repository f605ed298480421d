"""Destinations: the places messages are sent to and consumed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from broker.errors import InvalidDestination

NAME_CHARACTERS_MAX: Final = 4096
"""Longest destination name; OpenWire's own strings end at 32,767 bytes, real names stay below 200."""

ADVISORY_PREFIX: Final = "ActiveMQ.Advisory."
"""What the names of advisory topics begin with."""
TEMPORARY_ADVISORIES: Final = frozenset({f"{ADVISORY_PREFIX}TempQueue", f"{ADVISORY_PREFIX}TempTopic"})
"""Tell of temporary destinations; clients cannot live without."""


class DestinationKind(IntEnum):
    """What a destination does with a message; the numbers are ours (journal bodies), not a protocol's."""

    QUEUE = 1
    TOPIC = 2
    TEMP_QUEUE = 3
    TEMP_TOPIC = 4


_SCHEMES: Final = {
    DestinationKind.QUEUE: "queue://",
    DestinationKind.TOPIC: "topic://",
    DestinationKind.TEMP_QUEUE: "temp-queue://",
    DestinationKind.TEMP_TOPIC: "temp-topic://",
}


@dataclass(frozen=True, slots=True, repr=False)
class Destination:
    """A kind and a name; immutable, hashed once, so it is cheap as a key.

    Attributes:
        kind: queue, topic or one of their temporary relatives.
        name: the physical name, without scheme.
        uri: ``queue://NAME``, ``topic://NAME``, ``temp-queue://NAME`` or ``temp-topic://NAME``.
        encoded: the uri in UTF-8.
    """

    kind: DestinationKind
    name: str
    uri: str = field(init=False, compare=False)
    encoded: bytes = field(init=False, compare=False)
    _hash: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        uri = _SCHEMES[self.kind] + self.name
        object.__setattr__(self, "uri", uri)
        object.__setattr__(self, "encoded", uri.encode("utf-8", "surrogatepass"))
        object.__setattr__(self, "_hash", hash(uri))

    def __eq__(self, other: object) -> bool:
        """The uri says both; comparing these takes half of the time."""
        return self.uri == other.uri if isinstance(other, Destination) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"Destination.parse({self.uri!r})"

    @classmethod
    def queue(cls, name: str) -> Destination:
        """The queue of that name."""
        return cls(DestinationKind.QUEUE, name)

    @classmethod
    def topic(cls, name: str) -> Destination:
        """The topic of that name."""
        return cls(DestinationKind.TOPIC, name)

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read ``queue://x``, ``topic://x``, ``temp-queue://x``, ``temp-topic://x``; a bare name is a queue.

        Raises:
            InvalidDestination: the name is empty or too long, or the scheme is unknown.
        """
        for kind, scheme in _SCHEMES.items():
            if text.startswith(scheme):
                return cls(kind, check_name(text[len(scheme) :]))
        if "://" in text:
            raise InvalidDestination(f"Destination {text!r} has an unknown scheme.")
        return cls(DestinationKind.QUEUE, check_name(text))

    @property
    def is_queue(self) -> bool:
        """Each message goes to one consumer."""
        return self.kind in (DestinationKind.QUEUE, DestinationKind.TEMP_QUEUE)

    @property
    def is_temporary(self) -> bool:
        """It belongs to a connection and ends with it."""
        return self.kind >= DestinationKind.TEMP_QUEUE

    @property
    def is_composite(self) -> bool:
        """The name lists several destinations, separated by commas."""
        return "," in self.name

    def members(self) -> tuple[Destination, ...]:
        """What a composite destination lists, each once; of any other: itself.

        A member without a scheme is of the same kind as the whole.

        Raises:
            InvalidDestination: it lists nothing, or something that cannot be a destination.
        """
        if not self.is_composite:
            return (self,)
        parts = [part.strip() for part in self.name.split(",")]
        found = dict.fromkeys(
            Destination.parse(part) if "://" in part else Destination(self.kind, check_name(part))
            for part in parts
            if part
        )
        if not found:
            raise InvalidDestination("A composite destination needs at least one name.")
        return tuple(found)

    @property
    def is_pattern(self) -> bool:
        """The name holds a wildcard (``*`` one element, ``>`` the rest)."""
        return any(part in ("*", ">") for part in self.name.split("."))


def is_advisory(destination: Destination) -> bool:
    """Whether the broker itself speaks there."""
    return destination.kind is DestinationKind.TOPIC and destination.name.startswith(ADVISORY_PREFIX)


def check_name(name: str) -> str:
    """Return the name if it can be a destination's.

    Raises:
        InvalidDestination: it is empty, longer than `NAME_CHARACTERS_MAX`, or no Unicode text.
    """
    if not name.strip():
        raise InvalidDestination("A destination needs a name.")
    if not is_storable(name):
        raise InvalidDestination(
            f"A destination's name has at most {NAME_CHARACTERS_MAX} characters, all of them valid Unicode."
        )
    return name


def is_storable(text: str) -> bool:
    """Whether a name can go into the journal's records: not too long, and encodable as UTF-8."""
    if len(text) > NAME_CHARACTERS_MAX:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
