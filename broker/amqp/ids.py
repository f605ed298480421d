"""Message ids and correlation ids as text, and back.

AMQP has ids of four types; JMS has text. A type's name before the text keeps it, and text that begins with
such a name is itself named.

Source: the AMQP JMS mapping, "message-id"; ActiveMQ writes the names without `ID:` before them.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from broker.amqp.types import ULong

_UUID: Final = "AMQP_UUID:"
_ULONG: Final = "AMQP_ULONG:"
_BINARY: Final = "AMQP_BINARY:"
_STRING: Final = "AMQP_STRING:"
_NAMES: Final = (_UUID, _ULONG, _BINARY, _STRING)
_ULONG_MAX: Final = (1 << 64) - 1


def id_text(value: object) -> str | None:
    """An id as text; None if there is none."""
    match value:
        case None:
            return None
        case str():
            return _STRING + value if value.startswith(_NAMES) else str(value)
        case UUID():
            return f"{_UUID}{value}"
        case bytes():
            return f"{_BINARY}{value.hex().upper()}"
        case int():
            return f"{_ULONG}{value:d}"
    return str(value)


def id_value(text: str) -> object:
    """The id of a text; text that names a type and does not fit it stays as it is."""
    try:
        if text.startswith(_UUID):
            return UUID(text.removeprefix(_UUID))
        if text.startswith(_ULONG):
            number = int(text.removeprefix(_ULONG))
            return ULong(number) if 0 <= number <= _ULONG_MAX else text
        if text.startswith(_BINARY):
            return bytes.fromhex(text.removeprefix(_BINARY))
    except ValueError:
        return text
    return text.removeprefix(_STRING)
