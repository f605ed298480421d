"""Primitive maps, lists and streams: message properties and the bodies of map and stream messages.

A value is a tag byte and its content. Python's own types stand for the common tags: None, bool, int (32 bits,
or 64 if it needs them), float (double), str, bytes, dict and list. The other tags have types of their own, so
that what was read is written again as it was: :class:`Byte`, :class:`Short`, :class:`Long`, :class:`Float`,
:class:`Char`.

Source: Apache ActiveMQ's ``MarshallingSupport``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

from broker import modified_utf8
from broker.errors import CodecError


class Byte(int):
    """A signed 8-bit number."""


class Short(int):
    """A signed 16-bit number."""


class Long(int):
    """A signed 64-bit number that fits 32 bits."""


class Float(float):
    """A 32-bit floating point number."""


class Char(str):
    """One UTF-16 code unit."""

    __slots__ = ()


PRIMITIVE_DEPTH_MAX = 64
"""Maps and lists within the maps and lists of message properties and bodies."""

Value = None | bool | int | float | str | bytes | Mapping[str, "Value"] | Sequence["Value"]
"""What a map or stream may hold."""

(
    _NULL,
    _BOOL,
    _BYTE,
    _CHAR,
    _SHORT,
    _INT,
    _LONG,
    _DOUBLE,
    _FLOAT,
    _STRING,
    _BYTES,
    _MAP,
    _LIST,
    _BIG_STRING,
) = range(14)
_BIG_STRING_FROM_CHARACTERS = 8191  # Apache's writers change to the big string here

_COUNT = struct.Struct(">i")
_SIZE16 = struct.Struct(">H")
_SIZE32 = struct.Struct(">I")
_TAGGED_BOOL = struct.Struct(">B?")
_TAGGED_BYTE = struct.Struct(">Bb")
_TAGGED_CHAR = struct.Struct(">BH")
_TAGGED_SHORT = struct.Struct(">Bh")
_TAGGED_INT = struct.Struct(">Bi")
_TAGGED_LONG = struct.Struct(">Bq")
_TAGGED_DOUBLE = struct.Struct(">Bd")
_TAGGED_FLOAT = struct.Struct(">Bf")
_TAGGED_SIZE = struct.Struct(">Bi")


def encode_map(values: Mapping[str, Value] | None) -> bytes:
    """The bytes of a map, None as the null map.

    Raises:
        CodecError: a value has a type or size that cannot be written.
    """
    parts: list[bytes] = []
    _write_map(values, parts.append)
    return b"".join(parts)


def decode_map(data: bytes) -> dict[str, Value] | None:
    """The map of some bytes.

    Raises:
        CodecError: the bytes are not exactly one map.
    """
    reader = _Reader(data)
    try:
        values = reader.map()
    except (struct.error, IndexError, OverflowError) as error:
        raise CodecError(f"a map is damaged: {error}") from error
    reader.expect_end("a map")
    return values


def encode_stream(values: Sequence[Value]) -> bytes:
    """The bytes of a stream message's body.

    Raises:
        CodecError: a value has a type or size that cannot be written.
    """
    parts: list[bytes] = []
    for value in values:
        _write_value(value, parts.append)
    return b"".join(parts)


def decode_stream(data: bytes) -> list[Value]:
    """The values of a stream message's body.

    Raises:
        CodecError: the bytes are not a whole number of values.
    """
    reader = _Reader(data)
    values: list[Value] = []
    try:
        while reader.at < len(data):
            values.append(reader.value())
    except (struct.error, IndexError, OverflowError) as error:
        raise CodecError(f"a stream is damaged: {error}") from error
    reader.expect_end("a stream")
    return values


def _write_map(values: Mapping[str, Value] | None, write: Callable[[bytes], object]) -> None:
    if values is None:
        write(_COUNT.pack(-1))
        return
    write(_COUNT.pack(len(values)))
    for key, value in values.items():
        data = modified_utf8.encode(key)
        if len(data) > 0xFFFF:
            raise CodecError("a key of a map is longer than 65535 bytes")
        write(_SIZE16.pack(len(data)) + data)
        _write_value(value, write)


def _write_value(value: Value, write: Callable[[bytes], object]) -> None:
    writer = _WRITERS.get(type(value))
    if writer is None:
        writer = next((each for kind, each in _WRITERS.items() if isinstance(value, kind)), None)
    if writer is None:
        raise CodecError(f"a {type(value).__name__} cannot be written")
    try:
        writer(value, write)
    except (struct.error, OverflowError) as error:
        raise CodecError(f"{value!r} cannot be written: {error}") from error


def _write_int(value: int, write: Callable[[bytes], object]) -> None:
    if -(2**31) <= value < 2**31:
        write(_TAGGED_INT.pack(_INT, value))
    else:
        write(_TAGGED_LONG.pack(_LONG, value))


def _write_string(value: str, write: Callable[[bytes], object]) -> None:
    data = modified_utf8.encode(value)
    if len(value) >= _BIG_STRING_FROM_CHARACTERS or len(data) > 0xFFFF:
        write(_TAGGED_SIZE.pack(_BIG_STRING, len(data)))
    else:
        write(bytes((_STRING,)) + _SIZE16.pack(len(data)))
    write(data)


def _write_nested_map(value: Mapping[str, Value], write: Callable[[bytes], object]) -> None:
    write(bytes((_MAP,)))
    _write_map(value, write)


def _write_list(value: Sequence[Value], write: Callable[[bytes], object]) -> None:
    write(_TAGGED_SIZE.pack(_LIST, len(value)))
    for each in value:
        _write_value(each, write)


def _write_char(value: str, write: Callable[[bytes], object]) -> None:
    if len(value) != 1:
        raise CodecError(f"{value!r} is not one character")
    write(_TAGGED_CHAR.pack(_CHAR, ord(value)))


_WRITERS: dict[type, Callable[..., None]] = {
    type(None): lambda value, write: write(bytes((_NULL,))),
    bool: lambda value, write: write(_TAGGED_BOOL.pack(_BOOL, value)),
    Byte: lambda value, write: write(_TAGGED_BYTE.pack(_BYTE, value)),
    Short: lambda value, write: write(_TAGGED_SHORT.pack(_SHORT, value)),
    Long: lambda value, write: write(_TAGGED_LONG.pack(_LONG, value)),
    int: _write_int,
    Float: lambda value, write: write(_TAGGED_FLOAT.pack(_FLOAT, value)),
    float: lambda value, write: write(_TAGGED_DOUBLE.pack(_DOUBLE, value)),
    Char: _write_char,
    str: _write_string,
    bytes: lambda value, write: write(_TAGGED_SIZE.pack(_BYTES, len(value)) + value),
    dict: _write_nested_map,
    list: _write_list,
    tuple: _write_list,
}


class _Reader:
    """Reads values one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._depth = 0
        self.at = 0

    def expect_end(self, what: str) -> None:
        """Refuses bytes that are left, and values that were cut off by the end."""
        if self.at != len(self._data):
            raise CodecError(f"{what} is damaged: it ends at byte {self.at} of {len(self._data)}")

    def map(self) -> dict[str, Value] | None:
        """A map without its tag."""
        count = self._number(_COUNT)
        if count < 0:
            return None
        self._enter()
        values: dict[str, Value] = {}
        for _ in range(count):
            key = modified_utf8.decode(self._take(self._number(_SIZE16)))
            values[key] = self.value()
        self._depth -= 1
        return values

    def value(self) -> Value:
        """A value with its tag."""
        tag = self._data[self.at]
        self.at += 1
        try:
            reader = _READERS[tag]
        except IndexError:
            raise CodecError(f"tag {tag} is unknown") from None
        return reader(self)

    def list(self) -> list[Value]:
        """A list without its tag."""
        count = self._number(_COUNT)
        self._enter()
        values = [self.value() for _ in range(count)]
        self._depth -= 1
        return values

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > PRIMITIVE_DEPTH_MAX:
            raise CodecError(f"values are nested more than {PRIMITIVE_DEPTH_MAX} deep")

    def _number(self, form: struct.Struct) -> int:
        (number,) = form.unpack_from(self._data, self.at)
        self.at += form.size
        return int(number)

    def _take(self, size: int) -> bytes:
        start = self.at
        self.at = end = start + size
        if end > len(self._data):
            raise CodecError(f"a value ends at byte {end} of {len(self._data)}")
        return self._data[start:end]


_INT8, _INT16, _INT64 = struct.Struct(">b"), struct.Struct(">h"), struct.Struct(">q")

_READERS: list[Callable[[_Reader], Value]] = [
    lambda reader: None,
    lambda reader: reader._take(1) != b"\0",
    lambda reader: Byte(reader._number(_INT8)),
    lambda reader: Char(chr(reader._number(_SIZE16))),
    lambda reader: Short(reader._number(_INT16)),
    lambda reader: reader._number(_COUNT),
    lambda reader: Long(reader._number(_INT64)),
    lambda reader: float(struct.unpack(">d", reader._take(8))[0]),
    lambda reader: Float(struct.unpack(">f", reader._take(4))[0]),
    lambda reader: modified_utf8.decode(reader._take(reader._number(_SIZE16))),
    lambda reader: reader._take(reader._number(_SIZE32)),
    lambda reader: reader.map(),
    lambda reader: reader.list(),
    lambda reader: modified_utf8.decode(reader._take(reader._number(_SIZE32))),
]
