"""Values of AMQP's types as JMS has them: what message properties, maps and streams hold.

Source: ActiveMQ's `AmqpMessageSupport` and its transformers, for which types become which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast
from uuid import UUID

from broker.amqp.types import Array, Decimal, Described, Symbol, Timestamp, UByte, UInt, ULong, UShort
from broker.primitive_map import Byte, Long, Short, Value

_LONG_MAX: Final = (1 << 63) - 1


def jms_value(value: object) -> Value:
    """A value of AMQP's as one that a primitive map can hold.

    Unsigned numbers become signed ones of the same width if they fit, and wider ones otherwise; what has no
    relative becomes text.
    """
    convert = _CONVERT.get(type(value))
    return cast("Value", value) if convert is None else convert(value)


def jms_property(value: object) -> Value:
    """The same for a message's property, which cannot be binary."""
    return value.decode("utf-8", "backslashreplace") if type(value) is bytes else jms_value(value)


def _ubyte(value: int) -> Value:
    return Byte(value) if value < 1 << 7 else Short(value)


def _ushort(value: int) -> Value:
    return Short(value) if value < 1 << 15 else int(value)


def _uint(value: int) -> Value:
    return int(value) if value < 1 << 31 else Long(value)


def _ulong(value: int) -> Value:
    return Long(value if value <= _LONG_MAX else value - (1 << 64))


_CONVERT: Final[dict[type, Callable[[Any], Value]]] = {
    UByte: _ubyte,
    UShort: _ushort,
    UInt: _uint,
    ULong: _ulong,
    Timestamp: Long,
    Symbol: str,
    UUID: str,
    Decimal: lambda value: f"decimal:{value.hex()}",
    Described: lambda value: jms_value(value.value),
    dict: lambda value: {str(jms_value(key)): jms_value(each) for key, each in value.items()},
    list: lambda value: [jms_value(each) for each in value],
    Array: lambda value: [jms_value(each) for each in value],
}
"""By the types that only AMQP has; the others are what they are."""
