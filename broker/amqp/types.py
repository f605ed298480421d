"""AMQP 1.0's types: values to bytes and back.

Python's own types stand for those that message properties and bodies of all protocols have in common: None,
bool, int (`int`, or `long` if it needs 64 bits), float (`double`), str, bytes (`binary`), dict and list; and
`broker.primitive_map` has `Byte`, `Short`, `Long`, `Float` and `Char`. The types that only AMQP has are here.

A value is a constructor, the byte that tells its type and width, and its content. Sizes and counts are
checked against the bytes that are there before anything is made of them: a value costs at most what it
takes.

Source: AMQP 1.0, part 1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from broker.amqp.limits import ARRAY_ITEMS_MAX, NESTING_DEPTH_MAX
from broker.errors import CodecError
from broker.primitive_map import Byte, Char, Float, Long, Short


class Symbol(str):
    """A name of ASCII characters."""

    __slots__ = ()


class UByte(int):
    """An unsigned 8-bit number."""


class UShort(int):
    """An unsigned 16-bit number."""


class UInt(int):
    """An unsigned 32-bit number."""


class ULong(int):
    """An unsigned 64-bit number."""


class Timestamp(int):
    """Milliseconds since the epoch."""


class Decimal(bytes):
    """A decimal number of 4, 8 or 16 bytes, which is passed on unread."""

    __slots__ = ()


class Described(NamedTuple):
    """A value, and what describes it: a symbol or a number."""

    descriptor: object
    value: object


class Array(list[Any]):
    """Values of one type."""


_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_I16: Final = struct.Struct(">h")
_I32: Final = struct.Struct(">i")
_I64: Final = struct.Struct(">q")
_F32: Final = struct.Struct(">f")
_F64: Final = struct.Struct(">d")
_TWO_U32: Final = struct.Struct(">II")

Read = Callable[[bytes, int, int], tuple[Any, int]]
"""Reads the content at a place, given how deep it stands; returns it and the place behind it."""


def decode(data: bytes, at: int = 0, depth: int = 0) -> tuple[Any, int]:
    """The value at a place, and the place behind it.

    Raises:
        CodecError: there is none.
    """
    try:
        return _READ[data[at]](data, at + 1, depth)
    except (struct.error, IndexError, OverflowError) as error:
        raise CodecError(f"a value at byte {at} of {len(data)} is cut off") from error


def decode_all(data: bytes) -> list[Any]:
    """The values that stand one behind the other in some bytes.

    Raises:
        CodecError: the bytes are not a whole number of values.
    """
    values: list[Any] = []
    at = 0
    while at < len(data):
        value, at = decode(data, at)
        values.append(value)
    return values


def skip(data: bytes, at: int) -> int:
    """The place behind the value at a place; nothing is made of it.

    Raises:
        CodecError: there is none.
    """
    try:
        code = data[at]
        while code == 0:
            at = skip(data, at + 1)
            code = data[at]
        family = code >> 4
        if family in _FIXED:
            end = at + 1 + _FIXED[family]
        elif family in (0xA, 0xC, 0xE):
            end = at + 2 + data[at + 1]
        elif family in (0xB, 0xD, 0xF):
            end = at + 5 + _U32.unpack_from(data, at + 1)[0]
        else:
            raise CodecError(f"there is no type {code:#04x}")
    except (struct.error, IndexError, RecursionError) as error:
        raise CodecError(f"a value at byte {at} of {len(data)} is cut off") from error
    if end > len(data):
        raise CodecError(f"a value ends at byte {end} of {len(data)}")
    return end


_FIXED: Final = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
"""Bytes of content, by the first half of the constructor."""


# ---- reading


def _unknown(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    del depth
    raise CodecError(f"there is no type {data[at - 1]:#04x}")


def _constant(value: object) -> Read:
    return lambda data, at, depth: (value, at)


def _number(form: struct.Struct, kind: Callable[[Any], Any]) -> Read:
    size, unpack = form.size, form.unpack_from
    return lambda data, at, depth: (kind(unpack(data, at)[0]), at + size)


def _byte(kind: Callable[[int], Any]) -> Read:
    return lambda data, at, depth: (kind(data[at]), at + 1)


def _signed(kind: Callable[[int], Any]) -> Read:
    return lambda data, at, depth: (kind((data[at] ^ 0x80) - 0x80), at + 1)


def _taken(data: bytes, at: int, size: int) -> bytes:
    end = at + size
    if end > len(data):
        raise CodecError(f"a value ends at byte {end} of {len(data)}")
    return data[at:end]


def _bytes8(kind: Callable[[bytes], Any]) -> Read:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        del depth
        begin = at + 1
        end = begin + data[at]
        return kind(_taken(data, begin, data[at])), end

    return read


def _bytes32(kind: Callable[[bytes], Any]) -> Read:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        del depth
        size: int = _U32.unpack_from(data, at)[0]
        return kind(_taken(data, at + 4, size)), at + 4 + size

    return read


def _fixed(size: int, kind: Callable[[bytes], Any]) -> Read:
    return lambda data, at, depth: (kind(_taken(data, at, size)), at + size)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CodecError(f"a string is no UTF-8: {error}") from error


def _symbol(content: bytes) -> Symbol:
    try:
        return Symbol(content.decode("ascii"))
    except UnicodeDecodeError as error:
        raise CodecError(f"a symbol is not ASCII: {error}") from error


def _char(code: int) -> object:
    """A character; one that 16 bits do not hold is a string here."""
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise CodecError(f"there is no character {code:#x}")
    return Char(chr(code)) if code < 0x10000 else chr(code)


def _deeper(depth: int) -> int:
    if depth >= NESTING_DEPTH_MAX:
        raise CodecError(f"values are nested more than {NESTING_DEPTH_MAX} deep")
    return depth + 1


def _described(data: bytes, at: int, depth: int) -> tuple[Described, int]:
    depth = _deeper(depth)
    descriptor, at = _READ[data[at]](data, at + 1, depth)
    value, at = _READ[data[at]](data, at + 1, depth)
    return Described(descriptor, value), at


def _head8(data: bytes, at: int) -> tuple[int, int, int]:
    """Of a compound value: how many elements, where they begin and end."""
    return _checked(data, data[at + 1], at + 2, at + 1 + data[at])


def _head32(data: bytes, at: int) -> tuple[int, int, int]:
    size, count = _TWO_U32.unpack_from(data, at)
    return _checked(data, count, at + 8, at + 4 + size)


def _checked(data: bytes, count: int, begin: int, end: int) -> tuple[int, int, int]:
    if end > len(data) or begin > end:
        raise CodecError(f"a value ends at byte {end} of {len(data)}")
    return count, begin, end


def _ended(at: int, end: int) -> int:
    if at != end:
        raise CodecError(f"a value ends at byte {end} and its last element at byte {at}")
    return end


def _list(head: Callable[[bytes, int], tuple[int, int, int]]) -> Read:
    def read(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
        depth = _deeper(depth)
        count, at, end = head(data, at)
        if count > end - at:
            raise CodecError(f"a list of {count} elements has {end - at} bytes")
        values: list[Any] = []
        table = _READ
        for _ in range(count):
            value, at = table[data[at]](data, at + 1, depth)
            values.append(value)
        return values, _ended(at, end)

    return read


def _map(head: Callable[[bytes, int], tuple[int, int, int]]) -> Read:
    def read(data: bytes, at: int, depth: int) -> tuple[dict[Any, Any], int]:
        depth = _deeper(depth)
        count, at, end = head(data, at)
        if count > end - at or count & 1:
            raise CodecError(f"a map of {count} keys and values has {end - at} bytes")
        values: dict[Any, Any] = {}
        table = _READ
        for _ in range(count // 2):
            key, at = table[data[at]](data, at + 1, depth)
            value, at = table[data[at]](data, at + 1, depth)
            try:
                values[key] = value
            except TypeError:
                raise CodecError("a map's key is a list, a map or described") from None
        return values, _ended(at, end)

    return read


def _array(head: Callable[[bytes, int], tuple[int, int, int]]) -> Read:
    def read(data: bytes, at: int, depth: int) -> tuple[Array, int]:
        depth = _deeper(depth)
        count, at, end = head(data, at)
        if count > ARRAY_ITEMS_MAX:
            raise CodecError(f"an array has more than {ARRAY_ITEMS_MAX} elements")
        descriptors: list[Any] = []
        while data[at] == 0:
            depth = _deeper(depth)
            descriptor, at = _READ[data[at + 1]](data, at + 2, depth)
            descriptors.append(descriptor)
        read_one = _READ[data[at]]
        at += 1
        values = Array()
        for _ in range(count):
            value, at = read_one(data, at, depth)
            for descriptor in reversed(descriptors):
                value = Described(descriptor, value)
            values.append(value)
        return values, _ended(at, end)

    return read


_READ: Final[list[Read]] = [_unknown] * 256
for _code, _read in {
    0x00: _described,
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(UInt(0)),
    0x44: _constant(ULong(0)),
    0x45: lambda data, at, depth: ([], at),
    0x50: _byte(UByte),
    0x51: _signed(Byte),
    0x52: _byte(UInt),
    0x53: _byte(ULong),
    0x54: _signed(int),
    0x55: _signed(Long),
    0x56: _byte(bool),
    0x60: _number(_U16, UShort),
    0x61: _number(_I16, Short),
    0x70: _number(_U32, UInt),
    0x71: _number(_I32, int),
    0x72: _number(_F32, Float),
    0x73: _number(_U32, _char),
    0x74: _fixed(4, Decimal),
    0x80: _number(_U64, ULong),
    0x81: _number(_I64, Long),
    0x82: _number(_F64, float),
    0x83: _number(_I64, Timestamp),
    0x84: _fixed(8, Decimal),
    0x94: _fixed(16, Decimal),
    0x98: _fixed(16, lambda content: UUID(bytes=content)),
    0xA0: _bytes8(bytes),
    0xA1: _bytes8(_text),
    0xA3: _bytes8(_symbol),
    0xB0: _bytes32(bytes),
    0xB1: _bytes32(_text),
    0xB3: _bytes32(_symbol),
    0xC0: _list(_head8),
    0xC1: _map(_head8),
    0xD0: _list(_head32),
    0xD1: _map(_head32),
    0xE0: _array(_head8),
    0xF0: _array(_head32),
}.items():
    _READ[_code] = _read


# ---- writing


def encode(value: object) -> bytes:
    """The bytes of a value.

    Raises:
        CodecError: it has a type or size that cannot be written.
    """
    write = _WRITE.get(type(value))
    if write is None:
        write = next((each for kind, each in _WRITE.items() if isinstance(value, kind)), None)
    if write is None:
        raise CodecError(f"a {type(value).__name__} cannot be written")
    try:
        return write(value)
    except (struct.error, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise CodecError(f"{str(value)[:40]!r} cannot be written: {error}") from error


def encode_list(values: Sequence[object]) -> bytes:
    """A list whose last elements are left out if they are None, as the fields of described lists are."""
    count = len(values)
    while count and values[count - 1] is None:
        count -= 1
    if not count:
        return b"\x45"
    return _compound(0xC0, [encode(value) for value in values[:count]], count)


def described(code: int, content: bytes) -> bytes:
    """Encoded content, described by a number of the specification's."""
    return b"\0\x53%c%b" % (code, content) if code < 256 else b"\0\x80%b%b" % (_U64.pack(code), content)


def encode_binary(content: bytes) -> bytes:
    """A `binary`."""
    size = len(content)
    return b"\xa0%c%b" % (size, content) if size < 256 else b"\xb0%b%b" % (_U32.pack(size), content)


def encode_string(content: str) -> bytes:
    """A `string`; lone surrogates, which Java's strings can hold, become question marks."""
    data = content.encode("utf-8", "replace")
    size = len(data)
    return b"\xa1%c%b" % (size, data) if size < 256 else b"\xb1%b%b" % (_U32.pack(size), data)


def _encode_symbol(content: str) -> bytes:
    data = content.encode("ascii")
    size = len(data)
    return b"\xa3%c%b" % (size, data) if size < 256 else b"\xb3%b%b" % (_U32.pack(size), data)


def _encode_uint(value: int) -> bytes:
    if not value:
        return b"\x43"
    return b"\x52%c" % value if 0 < value < 256 else b"\x70%b" % _U32.pack(value)


def _encode_ulong(value: int) -> bytes:
    if not value:
        return b"\x44"
    return b"\x53%c" % value if 0 < value < 256 else b"\x80%b" % _U64.pack(value)


def _encode_int(value: int) -> bytes:
    if -128 <= value < 128:
        return b"\x54%c" % (value & 0xFF)
    if -(2**31) <= value < 2**31:
        return b"\x71%b" % _I32.pack(value)
    return b"\x81%b" % _I64.pack(value)


def _encode_long(value: int) -> bytes:
    return b"\x55%c" % (value & 0xFF) if -128 <= value < 128 else b"\x81%b" % _I64.pack(value)


def _compound(code: int, items: list[bytes], count: int) -> bytes:
    content = b"".join(items)
    size = len(content)
    if size < 255 and count < 256:
        return b"%c%c%c%b" % (code, size + 1, count, content)
    return b"%c%b%b" % (code + 0x10, _TWO_U32.pack(size + 4, count), content)


def _encode_map(values: Mapping[Any, Any]) -> bytes:
    items = [encode(each) for pair in values.items() for each in pair]
    return _compound(0xC1, items, len(items))


def _encode_sequence(values: Sequence[Any]) -> bytes:
    if not values:
        return b"\x45"
    return _compound(0xC0, [encode(value) for value in values], len(values))


def _encode_array(values: Array) -> bytes:
    """An array in which every element has the widest form of its type."""
    if not values:
        return b"\xf0%b\x40" % _TWO_U32.pack(5, 0)
    forms = [_wide(value) for value in values]
    if any(form[0] != forms[0][0] for form in forms):
        raise CodecError("an array's elements are of several types")
    content = b"".join((forms[0][0], *(form[1] for form in forms)))
    return b"\xf0%b%b" % (_TWO_U32.pack(len(content) + 4, len(values)), content)


def _wide(value: object) -> tuple[bytes, bytes]:
    """Constructor and content of a value in the widest form of its type."""
    if isinstance(value, Described):
        constructor, content = _wide(value.value)
        return b"\0%b%b" % (encode(value.descriptor), constructor), content
    data = encode(value)
    code = data[0]
    wider, content = data[:1], data[1:]
    if code in _WIDER:
        number, form = _WIDER[code]
        wider, content = bytes((number,)), form.pack(decode(data)[0])
    elif code in (0x41, 0x42):
        wider, content = b"\x56", b"\1" if value else b"\0"
    elif code == 0x45:
        wider, content = b"\xd0", _TWO_U32.pack(4, 0)
    elif code in (0xA0, 0xA1, 0xA3):
        wider, content = bytes((code + 0x10,)), _U32.pack(data[1]) + data[2:]
    elif code in (0xC0, 0xC1):
        wider, content = bytes((code + 0x10,)), _TWO_U32.pack(data[1] + 3, data[2]) + data[3:]
    return wider, content


_WIDER: Final = {
    0x43: (0x70, _U32),
    0x44: (0x80, _U64),
    0x52: (0x70, _U32),
    0x53: (0x80, _U64),
    0x54: (0x71, _I32),
    0x55: (0x81, _I64),
}

_WRITE: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda value: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    UByte: lambda value: b"\x50" + value.to_bytes(1, "big"),
    UShort: lambda value: b"\x60" + _U16.pack(value),
    UInt: _encode_uint,
    ULong: _encode_ulong,
    Timestamp: lambda value: b"\x83" + _I64.pack(value),
    Byte: lambda value: b"\x51" + value.to_bytes(1, "big", signed=True),
    Short: lambda value: b"\x61" + _I16.pack(value),
    Long: _encode_long,
    int: _encode_int,
    Float: lambda value: b"\x72" + _F32.pack(value),
    float: lambda value: b"\x82" + _F64.pack(value),
    Char: lambda value: b"\x73" + _U32.pack(ord(value)),
    Symbol: _encode_symbol,
    str: encode_string,
    Decimal: lambda value: {4: b"\x74", 8: b"\x84", 16: b"\x94"}[len(value)] + value,
    bytes: encode_binary,
    UUID: lambda value: b"\x98" + value.bytes,
    Described: lambda value: b"\0" + encode(value.descriptor) + encode(value.value),
    dict: _encode_map,
    Array: _encode_array,
    list: _encode_sequence,
    tuple: _encode_sequence,
}
"""Subclasses stand before what they derive from, for types that are derived from both."""
