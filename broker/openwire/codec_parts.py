"""What the generated functions of a codec call: caches, arrays, exceptions, and the variable-sized values.

``w`` takes a part of the frame, ``f`` takes or gives a flag, ``b`` are the frame's bytes and ``p`` a position
in them, ``d`` is the depth of nesting and ``r`` the codec; see :mod:`broker.openwire.codec_source`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Never

from broker import modified_utf8
from broker.openwire.commands import DataStructure
from broker.openwire.errors import CodecError, FrameTooLarge
from broker.openwire.limits import (
    ARRAY_LENGTH_MAX,
    CACHE_FREE_PLACES,
    CACHE_SIZE_MAX,
    CAUSES_MAX,
    LOOSE_STRING_SIZE_MAX,
    NESTING_DEPTH_MAX,
    TIGHT_STRING_SIZE_MAX,
)
from broker.openwire.memo import Memo
from broker.openwire.schema import BY_CODE
from broker.openwire.throwable import StackTraceElement, Throwable

if TYPE_CHECKING:
    from broker.openwire.codec import Codec

__all__ = ["NESTING_DEPTH_MAX", "Struct"]

Write = Callable[[bytes], object]
Flag = Callable[[bool], object]
NextFlag = Callable[[], bool]
LooseEncoder = Callable[[DataStructure, Write, "Codec"], None]
Decoder = Callable[[bytes, int, int, "Codec"], tuple[DataStructure, int]]
TightEncoder = Callable[[DataStructure, Write, Flag, "Codec"], None]

# Unsigned, so that a negative length leads behind the end of the frame and is refused there.
LENGTH = struct.Struct(">i").pack
LENGTH_AT = struct.Struct(">I").unpack_from
INDEX = struct.Struct(">h").pack
INDEX_AT = struct.Struct(">h").unpack_from
NEW = struct.Struct(">?h").pack
NEW_PRESENT = struct.Struct(">?h?").pack
ABSENT = b"\0"
PRESENT = b"\1"
_COUNT = struct.Struct(">H")
_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_UNSIGNED = struct.Struct(">I")

text = modified_utf8.decode

# Ids and destinations by their bytes in loose encoding, type byte included: the same in all versions.
KNOWN: Memo[DataStructure] = Memo()

# Types that carry one more flag when they are nested in tight encoding.
MARSHAL_AWARE = frozenset(
    code for code, each in BY_CODE.items() if each.is_marshal_aware or each.name == "WireFormatInfo"
)


class SendCache:
    """What the peer was told to remember, and under which number.

    A ring: the oldest entry goes when fewer than :data:`CACHE_FREE_PLACES` places are free at the start of a
    frame. Null may be an entry. Source: the sender in Apache's OpenWireFormat.
    """

    def __init__(self, size: int) -> None:
        self._size = size if 0 < size <= CACHE_SIZE_MAX else CACHE_SIZE_MAX
        self._keep = max(self._size - CACHE_FREE_PLACES, 0)
        self._numbers: dict[DataStructure | None, int] = {}
        self._next = 0
        self._added: list[DataStructure | None] = []
        self.index = self._numbers.get

    def begin(self) -> None:
        """Makes room before a frame is written."""
        self._added.clear()
        while len(self._numbers) > self._keep:
            del self._numbers[next(iter(self._numbers))]

    def add(self, entry: DataStructure | None) -> int:
        """The number under which the peer shall remember an entry; -1 if there is no room for it."""
        if len(self._numbers) >= self._size:
            return -1
        number = self._next
        self._next = (number + 1) % self._size
        self._numbers[entry] = number
        self._added.append(entry)
        return number

    def roll_back(self) -> None:
        """Forgets what was added since :meth:`begin`, for the frame was not sent."""
        while self._added:
            self._next = self._numbers.pop(self._added.pop())


class ReceiveCache:
    """What the peer told us to remember."""

    def __init__(self, size: int) -> None:
        self._size = size if 0 < size <= CACHE_SIZE_MAX else CACHE_SIZE_MAX
        self._entries: dict[int, DataStructure | None] = {}

    def store(self, number: int, entry: DataStructure | None) -> None:
        """Remembers an entry, unless the sender had no room for it (-1)."""
        if number == -1:
            return
        if not 0 <= number < self._size:
            raise CodecError(f"{number} is no place in a cache of {self._size}")
        self._entries[number] = entry

    def load(self, number: int, kind: type[DataStructure]) -> DataStructure | None:
        """The entry of a number, which must be of the kind its field holds."""
        try:
            entry = self._entries[number]
        except KeyError:
            raise CodecError(f"nothing was cached as {number}") from None
        if entry is not None and not isinstance(entry, kind):
            raise CodecError(f"a {type(entry).__name__} was cached as {number}, not a {kind.__name__}")
        return entry


def too_deep() -> Never:
    """Refuses structures nested beyond the limit."""
    raise CodecError(f"structures are nested more than {NESTING_DEPTH_MAX} deep")


def check_frame_size(size: int, size_max: int) -> None:
    """Refuses a frame above the limit."""
    if size > size_max:
        raise FrameTooLarge(size, size_max)


def _length(b: bytes, p: int) -> int:
    (length,) = _COUNT.unpack_from(b, p)
    if length > ARRAY_LENGTH_MAX:
        raise CodecError("an array has a negative length")
    return int(length)


# Loose


def loose_string(value: str) -> bytes:
    """A string that is present."""
    data = modified_utf8.encode(value)
    if len(data) > LOOSE_STRING_SIZE_MAX:
        raise CodecError(f"a string of {len(data)} bytes is longer than {LOOSE_STRING_SIZE_MAX}")
    return _COUNT.pack(len(data)) + data


def _encode_loose_string(value: str | None, w: Write) -> None:
    w(b"\0" if value is None else b"\1" + loose_string(value))


def _decode_loose_string(b: bytes, p: int) -> tuple[str | None, int]:
    if not b[p]:
        return None, p + 1
    end = p + 3 + _COUNT.unpack_from(b, p + 1)[0]
    return text(b[p + 3 : end]), end


def encode_loose_array(
    values: Sequence[DataStructure | None], w: Write, r: Codec, encoders: Mapping[type, LooseEncoder]
) -> None:
    """An array that is present."""
    w(INDEX(len(values)))
    for value in values:
        w(b"\0" if value is None else b"\1")
        if value is not None:
            encoders[value.__class__](value, w, r)


def decode_loose_array(
    b: bytes, p: int, d: int, r: Codec, decoders: Mapping[int, Decoder]
) -> tuple[tuple[DataStructure | None, ...], int]:
    """An array that is present."""
    values: list[DataStructure | None] = []
    length = _length(b, p)
    p += 2
    for _ in range(length):
        value = None
        p += 1
        if b[p - 1]:
            value, p = decoders[b[p]](b, p + 1, d + 1, r)
        values.append(value)
    return tuple(values), p


def encode_loose_throwable(value: Throwable, w: Write, r: Codec) -> None:
    """An exception that is present."""
    _encode_loose_string(value.class_name, w)
    _encode_loose_string(value.message, w)
    if r.stack_trace:
        w(INDEX(len(value.stack)))
        for line in value.stack:
            _encode_loose_string(line.class_name, w)
            _encode_loose_string(line.method_name, w)
            _encode_loose_string(line.file_name, w)
            w(_INT.pack(line.line_number))
        w(b"\0" if value.cause is None else b"\1")
        if value.cause is not None:
            encode_loose_throwable(value.cause, w, r)


def decode_loose_throwable(b: bytes, p: int, r: Codec, causes: int = 0) -> tuple[Throwable, int]:
    """An exception that is present."""
    class_name, p = _decode_loose_string(b, p)
    message, p = _decode_loose_string(b, p)
    if not r.stack_trace:
        return Throwable(class_name, message), p
    stack = []
    length = _length(b, p)
    p += 2
    for _ in range(length):
        line_class, p = _decode_loose_string(b, p)
        method, p = _decode_loose_string(b, p)
        file, p = _decode_loose_string(b, p)
        stack.append(StackTraceElement(line_class, method, file, _INT.unpack_from(b, p)[0]))
        p += 4
    cause = None
    p += 1
    if b[p - 1]:
        _check_causes(causes)
        cause, p = decode_loose_throwable(b, p, r, causes + 1)
    return Throwable(class_name, message, tuple(stack), cause), p


def _check_causes(causes: int) -> None:
    if causes >= CAUSES_MAX:
        raise CodecError(f"an exception has more than {CAUSES_MAX} causes")


# Tight


def encode_tight_long(value: int, w: Write, f: Flag) -> None:
    """A number that is not zero: 16 or 32 bits if it fits them unsigned, otherwise 64."""
    if 0 < value <= 0xFFFF:
        f(False)
        f(True)
        w(_COUNT.pack(value))
    elif 0 < value <= 0xFFFFFFFF:
        f(True)
        f(False)
        w(_UNSIGNED.pack(value))
    else:
        f(True)
        f(True)
        w(_LONG.pack(value))


def decode_tight_long(b: bytes, p: int, f: NextFlag) -> tuple[int, int]:
    """A number of 0, 16, 32 or 64 bits."""
    wide, odd = f(), f()
    if wide:
        return (_LONG.unpack_from(b, p)[0], p + 8) if odd else (_UNSIGNED.unpack_from(b, p)[0], p + 4)
    return (_COUNT.unpack_from(b, p)[0], p + 2) if odd else (0, p)


def encode_tight_string(value: str, w: Write, f: Flag) -> None:
    """A string that is present; the second flag says whether it is ASCII without NUL."""
    data = modified_utf8.encode(value)
    if len(data) > TIGHT_STRING_SIZE_MAX:
        raise CodecError(f"a string of {len(data)} bytes is longer than {TIGHT_STRING_SIZE_MAX}")
    f(True)
    f(data.isascii())
    w(_COUNT.pack(len(data)))
    w(data)


def _encode_tight_string_or_null(value: str | None, w: Write, f: Flag) -> None:
    if value is None:
        f(False)
    else:
        encode_tight_string(value, w, f)


def decode_tight_string(b: bytes, p: int, f: NextFlag) -> tuple[str, int]:
    """A string whose presence was read."""
    ascii_only = f()
    end = p + 2 + _COUNT.unpack_from(b, p)[0]
    data = b[p + 2 : end]
    return (data.decode("latin-1") if ascii_only else text(data)), end


def _decode_tight_string_or_null(b: bytes, p: int, f: NextFlag) -> tuple[str | None, int]:
    return decode_tight_string(b, p, f) if f() else (None, p)


def encode_tight_nested(
    value: DataStructure, w: Write, f: Flag, r: Codec, encoders: Mapping[type, TightEncoder]
) -> None:
    """A structure whose presence was written."""
    encoder = encoders[value.__class__]
    w(bytes((value.TYPE_CODE,)))
    if value.TYPE_CODE in MARSHAL_AWARE:
        f(False)
    encoder(value, w, f, r)


def decode_tight_nested(
    b: bytes, p: int, d: int, r: Codec, decoders: Mapping[int, Decoder]
) -> tuple[DataStructure | None, int]:
    """A structure or null."""
    f = r.next_flag
    if not f():
        return None, p
    code = b[p]
    decoder = decoders[code]
    if code in MARSHAL_AWARE and f():
        raise CodecError("a structure that was marshalled before is not supported inside another")
    return decoder(b, p + 1, d + 1, r)


def encode_tight_array(
    values: Sequence[DataStructure | None],
    w: Write,
    f: Flag,
    r: Codec,
    encoders: Mapping[type, TightEncoder],
) -> None:
    """An array that is present."""
    w(INDEX(len(values)))
    for value in values:
        f(value is not None)
        if value is not None:
            encode_tight_nested(value, w, f, r, encoders)


def decode_tight_array(
    b: bytes, p: int, d: int, r: Codec, decoders: Mapping[int, Decoder]
) -> tuple[tuple[DataStructure | None, ...] | None, int]:
    """An array or null."""
    if not r.next_flag():
        return None, p
    values: list[DataStructure | None] = []
    length = _length(b, p)
    p += 2
    for _ in range(length):
        value, p = decode_tight_nested(b, p, d, r, decoders)
        values.append(value)
    return tuple(values), p


def encode_tight_throwable(value: Throwable | None, w: Write, f: Flag, r: Codec) -> None:
    """An exception or null."""
    f(value is not None)
    if value is None:
        return
    _encode_tight_string_or_null(value.class_name, w, f)
    _encode_tight_string_or_null(value.message, w, f)
    if r.stack_trace:
        w(INDEX(len(value.stack)))
        for line in value.stack:
            _encode_tight_string_or_null(line.class_name, w, f)
            _encode_tight_string_or_null(line.method_name, w, f)
            _encode_tight_string_or_null(line.file_name, w, f)
            w(_INT.pack(line.line_number))
        encode_tight_throwable(value.cause, w, f, r)


def decode_tight_throwable(b: bytes, p: int, r: Codec, causes: int = 0) -> tuple[Throwable | None, int]:
    """An exception or null."""
    f = r.next_flag
    if not f():
        return None, p
    _check_causes(causes - 1)
    class_name, p = _decode_tight_string_or_null(b, p, f)
    message, p = _decode_tight_string_or_null(b, p, f)
    if not r.stack_trace:
        return Throwable(class_name, message), p
    stack = []
    length = _length(b, p)
    p += 2
    for _ in range(length):
        line_class, p = _decode_tight_string_or_null(b, p, f)
        method, p = _decode_tight_string_or_null(b, p, f)
        file, p = _decode_tight_string_or_null(b, p, f)
        stack.append(StackTraceElement(line_class, method, file, _INT.unpack_from(b, p)[0]))
        p += 4
    cause, p = decode_tight_throwable(b, p, r, causes + 1)
    return Throwable(class_name, message, tuple(stack), cause), p
