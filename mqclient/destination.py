"""Queues and topics, as a program names them.

A name may carry options, as with Apache's client: ``orders?consumer.prefetchSize=1``. They are the
consumer's and are taken off before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from broker.openwire.commands import (
    ActiveMQDestination,
    ActiveMQQueue,
    ActiveMQTempQueue,
    ActiveMQTempTopic,
    ActiveMQTopic,
)
from mqclient.errors import InvalidDestination

NAME_LENGTH_MAX = 1024
"""Characters of a destination's name; the broker's limit may be lower."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where messages go to or come from.

    Attributes:
        name: with ``.`` as separator; ``*`` and ``>`` are wildcards for consumers, ``,`` separates several.
    """

    name: str

    @property
    def is_topic(self) -> bool:
        """Whether each consumer gets its own copy."""
        return isinstance(self, Topic | TemporaryTopic)

    def __str__(self) -> str:
        return f"{_SCHEMES[type(self)]}://{self.name}"


@dataclass(frozen=True, slots=True)
class Queue(Destination):
    """Each message goes to one consumer."""


@dataclass(frozen=True, slots=True)
class Topic(Destination):
    """Each message goes to every subscriber."""


@dataclass(frozen=True, slots=True)
class TemporaryQueue(Destination):
    """A queue that lives with the connection that made it; only that connection may consume from it."""


@dataclass(frozen=True, slots=True)
class TemporaryTopic(Destination):
    """A topic that lives with the connection that made it."""


_SCHEMES: dict[type[Destination], str] = {
    Queue: "queue",
    Topic: "topic",
    TemporaryQueue: "temp-queue",
    TemporaryTopic: "temp-topic",
}

_COMMANDS: dict[type[Destination], type[ActiveMQDestination]] = {
    Queue: ActiveMQQueue,
    Topic: ActiveMQTopic,
    TemporaryQueue: ActiveMQTempQueue,
    TemporaryTopic: ActiveMQTempTopic,
}

_FROM_SCHEME = {scheme: kind for kind, scheme in _SCHEMES.items()}
_FROM_COMMAND = {command: kind for kind, command in _COMMANDS.items()}


def parse_destination(text: str) -> Destination:
    """``queue://x``, ``topic://x`` or ``x``, which is a queue.

    Raises:
        InvalidDestination: no name, or an unknown prefix.
    """
    scheme, mark, name = text.partition("://")
    if not mark:
        scheme, name = "queue", text
    kind = _FROM_SCHEME.get(scheme)
    if kind is None:
        raise InvalidDestination(f"{text!r}: a destination is queue://name, topic://name or name")
    destination = kind(name)
    split_options(destination)
    return destination


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """What a destination's name says about its consumer; None: the connection's default.

    Attributes:
        optimized_acknowledge, no_range_acks: accepted; acknowledgements are sent in batches as it is.
    """

    prefetch_size: int | None = None
    maximum_pending_message_limit: int = 0
    no_local: bool = False
    dispatch_async: bool | None = None
    retroactive: bool = False
    exclusive: bool = False
    priority: int = 0
    selector: str | None = None
    optimized_acknowledge: bool = False
    no_range_acks: bool = False


def _number(text: str) -> int:
    value = int(text, 10)
    if value < 0:
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_OPTIONS: dict[str, tuple[str, Callable[[str], int | bool | str]]] = {
    "consumer.prefetchSize": ("prefetch_size", _number),
    "consumer.maximumPendingMessageLimit": ("maximum_pending_message_limit", _number),
    "consumer.noLocal": ("no_local", _boolean),
    "consumer.dispatchAsync": ("dispatch_async", _boolean),
    "consumer.retroactive": ("retroactive", _boolean),
    "consumer.exclusive": ("exclusive", _boolean),
    "consumer.priority": ("priority", int),
    "consumer.selector": ("selector", str),
    "consumer.optimizedAcknowledge": ("optimized_acknowledge", _boolean),
    "consumer.noRangeAcks": ("no_range_acks", _boolean),
}


def split_options(destination: Destination) -> tuple[Destination, ConsumerOptions]:
    """Separate a name from the options behind its question mark.

    Raises:
        InvalidDestination: no name, too long a name, unknown options or values.
    """
    name, mark, query = destination.name.partition("?")
    name = name.strip()
    if not name:
        raise InvalidDestination("a destination needs a name, such as queue://orders")
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidDestination(f"the destination's name is longer than {NAME_LENGTH_MAX} characters")
    if not name.isprintable():
        raise InvalidDestination(f"the destination's name {name!r} has unprintable characters")
    values: dict[str, int | bool | str] = {}
    for option, text in parse_qsl(query, keep_blank_values=True) if mark else []:
        if option not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise InvalidDestination(f"unknown option {option} of destination {name}; known here: {known}")
        field, parse = _OPTIONS[option]
        try:
            values[field] = parse(text)
        except (ValueError, KeyError):
            raise InvalidDestination(f"option {option} of destination {name}: {text!r} is no value") from None
    make: Callable[..., ConsumerOptions] = ConsumerOptions
    return type(destination)(name), make(**values)


def to_command(destination: Destination) -> ActiveMQDestination:
    """The destination as OpenWire carries it, without options."""
    bare, _ = split_options(destination)
    return _COMMANDS[type(bare)](physical_name=bare.name)


def from_command(command: ActiveMQDestination | None) -> Destination | None:
    """The destination that OpenWire carried."""
    if command is None or not command.physical_name:
        return None
    kind = _FROM_COMMAND.get(type(command))
    return kind(command.physical_name) if kind is not None else None
