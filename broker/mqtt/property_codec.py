"""The properties of MQTT 5.0 as bytes: which there are, which packets may carry them, how they are written.

Source: MQTT 5.0 §2.2.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from broker.mqtt import limits
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.packets import NO_PROPERTIES, Properties
from broker.mqtt.reasons import ReasonCode
from broker.mqtt.topics import check_topic, read_text

Read = Callable[[bytes, int, int], tuple[Any, int]]
"""Reads a value of some data from a place, at most up to an end; returns it and where the rest begins."""

_SHORT: Final = struct.Struct(">H")
_INT: Final = struct.Struct(">I")
assert (_SHORT.size, _INT.size) == (2, 4)


def too_short() -> PacketInvalid:
    """A field goes beyond its packet's end."""
    return PacketInvalid("a packet ends inside a field", "5.0 §2.1.4")


# ---- values


def read_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a variable byte integer, also one with needless bytes.

    Returns:
        The number and where the rest begins; that is 0 if the number is not complete.

    Raises:
        PacketInvalid: it has more than four bytes.
    """
    value = shift = 0
    stop = at + limits.LENGTH_BYTES_MAX
    while at < end:
        if at == stop:
            raise PacketInvalid("a variable byte integer has more than four bytes", "5.0 §1.5.5")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    if at == stop:
        raise PacketInvalid("a variable byte integer has more than four bytes", "5.0 §1.5.5")
    return value, 0


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a variable byte integer inside a packet of 5.0.

    Raises:
        PacketInvalid: it is not complete, too long, or longer than needed.
    """
    value, rest = read_length(data, at, end)
    if not rest:
        raise too_short()
    if rest - at > 1 and not data[rest - 1]:  # [MQTT-1.5.5-1]
        raise PacketInvalid("a variable byte integer has needless bytes", "5.0 §1.5.5")
    return value, rest


def read_byte(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read one byte."""
    if at >= end:
        raise too_short()
    return data[at], at + 1


def read_short(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a number of two bytes."""
    if at + 2 > end:
        raise too_short()
    return data[at] << 8 | data[at + 1], at + 2


def read_int(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a number of four bytes."""
    if at + 4 > end:
        raise too_short()
    return int.from_bytes(data[at : at + 4]), at + 4


def read_binary(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Read bytes behind their 16-bit length."""
    length, at = read_short(data, at, end)
    stop = at + length
    if stop > end:
        raise too_short()
    return data[at:stop], stop


def read_string(data: bytes, at: int, end: int) -> tuple[str, int]:
    """Read a text behind its 16-bit length."""
    raw, at = read_binary(data, at, end)
    return read_text(raw), at


def _read_pair(data: bytes, at: int, end: int) -> tuple[tuple[str, str], int]:
    name, at = read_string(data, at, end)
    value, at = read_string(data, at, end)
    return (name, value), at


def write_length(value: int) -> bytes:
    """A variable byte integer, as short as possible."""
    if value < 0x80:
        return bytes((value,))
    assert value <= limits.LENGTH_MAX
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def write_binary(value: bytes) -> bytes:
    """Bytes behind their 16-bit length."""
    assert len(value) <= limits.TEXT_BYTES_MAX
    return _SHORT.pack(len(value)) + value


def write_string(value: str) -> bytes:
    """A text behind its 16-bit length."""
    return write_binary(value.encode())


def _write_pair(value: tuple[str, str]) -> bytes:
    return write_string(value[0]) + write_string(value[1])


def _write_byte(value: int) -> bytes:
    return bytes((value,))


# ---- the table


class _Property(NamedTuple):
    name: str
    read: Read
    write: Callable[[Any], bytes]
    check: Callable[[Any], bool] | None = None
    repeats: bool = False


def _is_flag(value: int) -> bool:
    return value <= 1


def _is_above_0(value: int) -> bool:
    return value > 0


def _is_topic(value: str) -> bool:
    return bool(check_topic(value))


_BYTE: Final = (read_byte, _write_byte)
_TWO: Final = (read_short, _SHORT.pack)
_FOUR: Final = (read_int, _INT.pack)
_TEXT: Final = (read_string, write_string)
_BYTES: Final = (read_binary, write_binary)

_TABLE: Final[dict[int, _Property]] = {
    0x01: _Property("payload_format", *_BYTE, _is_flag),
    0x02: _Property("message_expiry_s", *_FOUR),
    0x03: _Property("content_type", *_TEXT),
    0x08: _Property("response_topic", *_TEXT, _is_topic),
    0x09: _Property("correlation_data", *_BYTES),
    0x0B: _Property("subscription_ids", read_varint, write_length, _is_above_0, repeats=True),
    0x11: _Property("session_expiry_s", *_FOUR),
    0x12: _Property("assigned_client_id", *_TEXT),
    0x13: _Property("server_keep_alive_s", *_TWO),
    0x15: _Property("authentication_method", *_TEXT),
    0x16: _Property("authentication_data", *_BYTES),
    0x17: _Property("request_problem_information", *_BYTE, _is_flag),
    0x18: _Property("will_delay_s", *_FOUR),
    0x19: _Property("request_response_information", *_BYTE, _is_flag),
    0x1A: _Property("response_information", *_TEXT),
    0x1C: _Property("server_reference", *_TEXT),
    0x1F: _Property("reason_string", *_TEXT),
    0x21: _Property("receive_maximum", *_TWO, _is_above_0),
    0x22: _Property("topic_alias_maximum", *_TWO),
    0x23: _Property("topic_alias", *_TWO),
    0x24: _Property("maximum_qos", *_BYTE, _is_flag),
    0x25: _Property("retain_available", *_BYTE, _is_flag),
    0x26: _Property("user", _read_pair, _write_pair, repeats=True),
    0x27: _Property("maximum_packet_size", *_FOUR, _is_above_0),
    0x28: _Property("wildcard_subscription_available", *_BYTE, _is_flag),
    0x29: _Property("subscription_ids_available", *_BYTE, _is_flag),
    0x2A: _Property("shared_subscription_available", *_BYTE, _is_flag),
}

OF_CONNECT: Final = frozenset({0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27})
OF_WILL: Final = frozenset({0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26})
OF_CONNACK: Final = frozenset(
    {0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A}
)
OF_PUBLISH: Final = frozenset({0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26})
"""A client's; the server's can have subscription identifiers, too."""
OF_MESSAGE: Final = (0x01, 0x03, 0x08, 0x09, 0x26)
"""What goes unchanged from publisher to subscriber."""
OF_ACK: Final = frozenset({0x1F, 0x26})
OF_SUBSCRIBE: Final = frozenset({0x0B, 0x26})
OF_UNSUBSCRIBE: Final = frozenset({0x26})
OF_DISCONNECT: Final = frozenset({0x11, 0x1F, 0x26})
"""A client's; the server's can have a server reference, too."""
OF_AUTH: Final = frozenset({0x15, 0x16, 0x1F, 0x26})


def read_properties(data: bytes, at: int, end: int, allowed: frozenset[int]) -> tuple[Properties, int]:
    """Read properties behind their length.

    Args:
        data: holds them.
        at: where the length begins.
        end: where the packet ends.
        allowed: identifiers that this packet may carry.

    Raises:
        PacketInvalid: they are cut off, unknown, of another packet, repeated, or have an impossible value.
    """
    size, at = read_varint(data, at, end)
    if not size:
        return NO_PROPERTIES, at
    stop = at + size
    if stop > end:
        raise too_short()
    properties = Properties()
    repeated: dict[str, list[Any]] = {}
    seen = 0
    while at < stop:
        number = data[at]
        entry = _TABLE.get(number)
        if entry is None or number not in allowed:
            raise _misplaced(number, entry)
        value, at = entry.read(data, at + 1, stop)
        if entry.check is not None and not entry.check(value):
            raise PacketInvalid(f"{entry.name} cannot be {value}", "5.0 §2.2.2.2", ReasonCode.PROTOCOL_ERROR)
        if entry.repeats:
            values = repeated.setdefault(entry.name, [])
            values.append(value)
            if len(values) > limits.USER_PROPERTIES_MAX:
                raise PacketInvalid(
                    f"a packet has more than {limits.USER_PROPERTIES_MAX} user properties",
                    "a limit of this broker",
                    ReasonCode.QUOTA_EXCEEDED,
                )
        elif seen >> number & 1:
            raise PacketInvalid(f"{entry.name} occurs twice", "5.0 §2.2.2.2", ReasonCode.PROTOCOL_ERROR)
        else:
            seen |= 1 << number
            setattr(properties, entry.name, value)
    for name, values in repeated.items():
        setattr(properties, name, tuple(values))
    return properties, at


def _misplaced(number: int, entry: _Property | None) -> PacketInvalid:
    """A property that is none, or not here."""
    if entry is None:
        return PacketInvalid(f"there is no property {number:#04x}", "5.0 §2.2.2.2")
    return PacketInvalid(
        f"{entry.name} does not belong into this packet", "5.0 §2.2.2.2", ReasonCode.PROTOCOL_ERROR
    )


def write_properties(properties: Properties, numbers: Iterable[int] = _TABLE) -> bytes:
    """Properties without their length.

    Args:
        properties: what is to be written.
        numbers: identifiers of those to write, in this order; all by default.
    """
    if properties is NO_PROPERTIES:
        return b""
    parts = []
    for number in numbers:
        entry = _TABLE[number]
        value = getattr(properties, entry.name)
        if value is None:
            continue
        if entry.repeats:
            parts += [b"%c%b" % (number, entry.write(each)) for each in value]
        else:
            parts.append(b"%c%b" % (number, entry.write(value)))
    return b"".join(parts)
