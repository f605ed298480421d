"""As much of AMQP 1.0's types and frames as a load needs, independent of the broker's and of Proton's.

Source: OASIS AMQP 1.0, parts 1 (types), 2 (transport) and 5 (SASL).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SASL_HEADER = b"AMQP\x03\x01\0\0"
HEADER = b"AMQP\0\x01\0\0"
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SOURCE, TARGET, ACCEPTED = 0x28, 0x29, 0x24
CODE_AT = 10
"""Where a frame with the smallest header has its performative's code."""

_INT = struct.Struct(">I")
_UNSIGNED = {0x52: 1, 0x53: 1, 0x50: 1, 0x60: 2, 0x70: 4, 0x80: 8}
_FIXED = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0, 0x45: ()}
_SIZES = {0x51: 1, 0x54: 1, 0x55: 1, 0x61: 2, 0x71: 4, 0x72: 4, 0x73: 4, 0x81: 8, 0x82: 8, 0x83: 8, 0x98: 16}


@dataclass(frozen=True, slots=True)
class Described:
    """A composite value.

    Attributes:
        code: of its descriptor.
        fields: trailing ones may be missing.
    """

    code: object
    fields: tuple[object, ...]

    def field(self, index: int) -> object:
        """One of its fields, None if it is absent."""
        return self.fields[index] if index < len(self.fields) else None

    def number(self, index: int) -> int:
        """Likewise; 0 if it is absent."""
        value = self.field(index)
        return value if isinstance(value, int) else 0


NULL = b"\x40"


def boolean(value: bool) -> bytes:
    """A truth value."""
    return b"\x41" if value else b"\x42"


def ubyte(value: int) -> bytes:
    """An unsigned byte."""
    return bytes([0x50, value])


def ushort(value: int) -> bytes:
    """An unsigned 16-bit number."""
    return b"\x60" + value.to_bytes(2, "big")


def uint(value: int) -> bytes:
    """An unsigned 32-bit number, always in its long form, so that frames of a kind have one size."""
    return b"\x70" + _INT.pack(value)


def string(value: str) -> bytes:
    """A string of at most 255 bytes."""
    data = value.encode()
    return bytes([0xA1, len(data)]) + data


def symbol(value: str) -> bytes:
    """A symbol."""
    data = value.encode()
    return bytes([0xA3, len(data)]) + data


def binary(value: bytes) -> bytes:
    """Bytes; short ones in their short form."""
    if len(value) < 256:
        return bytes([0xA0, len(value)]) + value
    return b"\xb0" + _INT.pack(len(value)) + value


def described(code: int, *fields: bytes) -> bytes:
    """A composite value with encoded fields."""
    content = b"".join(fields)
    return (
        b"\0\x53" + bytes([code]) + b"\xd0" + _INT.pack(len(content) + 4) + _INT.pack(len(fields)) + content
    )


def frame(performative: bytes, payload: bytes = b"", *, sasl: bool = False) -> bytes:
    """A frame of channel 0."""
    return _INT.pack(8 + len(performative) + len(payload)) + bytes([2, sasl, 0, 0]) + performative + payload


def decode(data: bytes, at: int) -> tuple[object, int]:
    """One value, and where the next begins; arrays are given as their bytes.

    Raises:
        ValueError: a type that is not known here.
    """
    code = data[at]
    at += 1
    if code == 0:
        descriptor, at = decode(data, at)
        value, at = decode(data, at)
        return Described(descriptor, value if isinstance(value, tuple) else (value,)), at
    if code in _FIXED:
        return _FIXED[code], at
    if code == 0x56:
        return data[at] == 1, at + 1
    if code in _UNSIGNED:
        end = at + _UNSIGNED[code]
        return int.from_bytes(data[at:end], "big"), end
    if code in _SIZES:
        end = at + _SIZES[code]
        return data[at:end], end
    width = 1 if code & 0xF0 in (0xA0, 0xC0, 0xE0) else 4
    size = int.from_bytes(data[at : at + width], "big")
    at += width
    end = at + size
    if code in (0xA0, 0xA1, 0xA3, 0xB0, 0xB1, 0xB3, 0xE0, 0xF0):
        return data[at:end], end
    if code not in (0xC0, 0xC1, 0xD0, 0xD1):
        raise ValueError(f"type {code:#x} at {at}")
    at += width  # the count; the size tells the same
    fields = []
    while at < end:
        value, at = decode(data, at)
        fields.append(value)
    return tuple(fields), end


def performative(data: bytes, at: int = 0) -> Described | None:
    """What a frame at a position says; None for an empty one (a keep-alive)."""
    begin = at + 4 * data[at + 4]
    if begin >= at + _INT.unpack_from(data, at)[0]:
        return None
    value, _ = decode(data, begin)
    assert isinstance(value, Described)
    return value


def whole_frames(data: bytes) -> tuple[list[int], int]:
    """Where the whole frames in some bytes begin, and where the first that is not whole does."""
    at, end, found = 0, len(data), []
    while end - at >= 8:
        (size,) = _INT.unpack_from(data, at)
        if at + size > end:
            break
        found.append(at)
        at += size
    return found, at
