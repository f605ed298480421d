"""What the protocols need to read and write each other's messages.

A message's body and properties are kept in one encoding, whatever protocol it came by: OpenWire's, the
richest (`broker.message.BodyKind`, `broker.primitive_map`). This module has both ways: a body as text, bytes
or Python value, and back; properties as a dict, and back; texts that another protocol can carry.

==========  ================================  =================================  ==========================
body kind   as bytes (`payload_of`)           as text (`text_of`)                as value (`value_of`)
==========  ================================  =================================  ==========================
NONE        none                              empty                              None
TEXT        UTF-8                             the text                           str
BYTES       the bytes                         UTF-8, other bytes as U+FFFD       bytes
MAP         JSON object                       likewise                           dict
STREAM      JSON array                        likewise                           list
OBJECT      the bytes, never opened           as BYTES                           bytes
BLOB        none, or what came with it        as BYTES                           bytes
==========  ================================  =================================  ==========================

In JSON bytes are hexadecimal, and numbers that JSON lacks are texts.

Reading never fails: a consumer cannot do anything about a message that somebody else has damaged. Such a body
is given as the bytes it is, and logged.

Source: Apache ActiveMQ's converters of MQTT and STOMP for text and bytes; they show maps and streams as Java
prints them, or not at all.
"""

from __future__ import annotations

import json
import logging
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from broker import modified_utf8
from broker.errors import CodecError
from broker.message import BodyKind
from broker.primitive_map import (
    PRIMITIVE_DEPTH_MAX,
    Byte,
    Char,
    Float,
    Long,
    Short,
    Value,
    decode_map,
    decode_stream,
    encode_map,
    encode_stream,
)

if TYPE_CHECKING:
    from broker.message import Message

INFLATED_BYTES_MAX: Final = 100 * 1024 * 1024
"""Bytes of a compressed body once inflated. Source: ActiveMQ 6's `maxInflatedDataSize`."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What JSON knows."""

_LENGTH: Final = struct.Struct(">i")
assert _LENGTH.size == 4
_FLOAT: Final = struct.Struct(">f")
_NOTHING: Final = _LENGTH.pack(0)
_BEYOND_BMP: Final = re.compile(rb"[\xf0-\xf4]")
_log: Final = logging.getLogger("broker.conversion")


# ---- bodies, out


def payload_of(message: Message) -> bytes:
    """The body for a protocol that knows only bytes."""
    body = message.body
    if body is None:
        return b""
    kind = message.body_kind
    if kind is BodyKind.BYTES and not message.compressed:
        return body
    try:
        content = inflated(kind, body) if message.compressed else body
        if kind is BodyKind.TEXT:
            return utf8_of_text_body(content)
        if kind is BodyKind.MAP or kind is BodyKind.STREAM:
            return json_text(_value(kind, content)).encode("utf-8", "replace")
    except CodecError as error:
        _log_damage(message, error)
        return body
    return content


def text_of(message: Message) -> str:
    """The body for a protocol, or a person, that knows only text."""
    return payload_of(message).decode("utf-8", "replace")


def value_of(message: Message) -> Value:
    """The body for a protocol that has values of many types."""
    body, kind = message.body, message.body_kind
    if body is None or kind is BodyKind.NONE:
        return None
    try:
        return _value(kind, inflated(kind, body) if message.compressed else body)
    except CodecError as error:
        _log_damage(message, error)
        return body


def _value(kind: BodyKind, content: bytes) -> Value:
    if kind is BodyKind.TEXT:
        return decode_text(content)
    if kind is BodyKind.MAP:
        return (decode_map(content) if content else None) or {}
    if kind is BodyKind.STREAM:
        return decode_stream(content)
    return content


def _log_damage(message: Message, error: CodecError) -> None:
    _log.warning("Message %s has a damaged body: %s", message.message_id, error)


def inflated(kind: BodyKind, body: bytes) -> bytes:
    """A compressed body as it was.

    Args:
        kind: bytes messages have their length before the deflated bytes, others have not. It counts: Apache's
            client deflates all of its buffer, which is longer.
        body: what came.

    Raises:
        CodecError: it is damaged, or larger than `INFLATED_BYTES_MAX`.
    """
    inflater = zlib.decompressobj()
    try:
        if kind is BodyKind.BYTES:
            (length,) = _LENGTH.unpack_from(body)
            if 0 <= length <= INFLATED_BYTES_MAX:
                content = inflater.decompress(body[_LENGTH.size :], length) if length else b""
                if len(content) < length:
                    raise CodecError("the compressed body is cut off")
                return content
        else:
            content = inflater.decompress(body, INFLATED_BYTES_MAX)
            if not inflater.unconsumed_tail:
                if not inflater.eof:
                    raise CodecError("the compressed body is cut off")
                return content
    except (struct.error, zlib.error) as error:
        raise CodecError(f"the compressed body is damaged: {error}") from error
    raise CodecError(f"the compressed body is larger than {INFLATED_BYTES_MAX} bytes")


def deflated(kind: BodyKind, content: bytes) -> bytes:
    """The compressed form of a body; see `inflated`."""
    data = zlib.compress(content)
    return _LENGTH.pack(len(content)) + data if kind is BodyKind.BYTES else data


def decode_text(content: bytes) -> str | None:
    """The text of a body of kind TEXT; None is Java's null.

    Raises:
        CodecError: it is damaged.
    """
    data = _text_bytes(content)
    return None if data is None else modified_utf8.decode(data)


def utf8_of_text_body(content: bytes) -> bytes:
    """The text of a body of kind TEXT in UTF-8, half characters of Java's strings as `?`; null is empty.

    Most texts are the same in both encodings, and are copied.

    Raises:
        CodecError: it is damaged.
    """
    data = _text_bytes(content)
    if data is None:
        return b""
    if data.isascii():
        return data
    if b"\xed" in data or b"\xc0\x80" in data or max(data) >= 0xF0:
        return modified_utf8.decode(data).encode("utf-8", "replace")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise CodecError("a text is not modified UTF-8") from None
    return data


def _text_bytes(content: bytes) -> bytes | None:
    if len(content) < _LENGTH.size:
        raise CodecError("the text is cut off")
    (length,) = _LENGTH.unpack_from(content)
    if length < 0:
        return None
    if len(content) != _LENGTH.size + length:
        raise CodecError(f"a text of {len(content) - _LENGTH.size} bytes says that it has {length}")
    return content[_LENGTH.size :]


# ---- bodies, in


def text_body(text: str) -> bytes:
    """The body of kind TEXT of a text."""
    data = modified_utf8.encode(text)
    return _LENGTH.pack(len(data)) + data


def text_body_of_utf8(data: bytes) -> bytes:
    """The body of kind TEXT of a text in UTF-8; most texts are the same in both encodings, and are copied.

    Raises:
        CodecError: it is not UTF-8.
    """
    if data.isascii():
        if b"\0" in data:
            data = data.replace(b"\0", b"\xc0\x80")
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CodecError(f"the text is not UTF-8: {error.reason} at byte {error.start}") from None
        if b"\0" in data or _BEYOND_BMP.search(data):
            data = modified_utf8.encode(text)
    return _LENGTH.pack(len(data)) + data


def body_of(value: object) -> tuple[BodyKind, bytes | None]:
    """The kind and bytes of a body that is a text, bytes, a map, a list, nothing, or a single other value.

    A single number or truth value becomes its text. In a stream, maps and lists become JSON, since Java's
    streams hold none; keys of maps that are not texts become texts.

    Raises:
        CodecError: it is nested deeper than `PRIMITIVE_DEPTH_MAX`, or too large.
    """
    if value is None:
        return BodyKind.NONE, None
    if isinstance(value, str):
        return BodyKind.TEXT, text_body(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return BodyKind.BYTES, bytes(value)
    if isinstance(value, Mapping):
        entries = storable(value)
        assert isinstance(entries, dict)
        return BodyKind.MAP, encode_map(entries)
    if isinstance(value, Sequence):
        values = storable(value)
        assert isinstance(values, list)
        flat = [json_text(each) if isinstance(each, dict | list) else each for each in values]
        return BodyKind.STREAM, encode_stream(flat)
    return BodyKind.TEXT, text_body(as_text(value))


# ---- properties and other values


def marshalled(values: Mapping[str, object]) -> bytes | None:
    """The bytes of a message's properties: None if there are none.

    Types stay as they are (see `broker.primitive_map` for the narrow ones); what properties cannot hold
    becomes text. Properties without a name are left out, since Java knows none.

    Raises:
        CodecError: a name is longer than 65,535 bytes, or a value nested too deep.
    """
    kept = {name: _property(value) for name, value in values.items() if name}
    return encode_map(kept) if kept else None


def _property(value: object) -> Value:
    return as_text(value) if isinstance(value, bytes | bytearray | memoryview) else storable(value)


def storable(value: object, depth: int = 0) -> Value:
    """A Python value of any kind as a property, map or stream can hold it.

    Numbers beyond 64 bits and values of other classes become text, tuples and the like lists.

    Raises:
        CodecError: it is nested deeper than `PRIMITIVE_DEPTH_MAX`.
    """
    kind = value.__class__
    if value is None or kind in _AS_THEY_ARE:
        return value  # type: ignore[return-value] # one of `Value`'s, by its class
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, Char):
        return value if len(value) == 1 and value <= "\uffff" else str(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return _nested(value, depth)


def _nested(value: object, depth: int) -> Value:
    if not isinstance(value, Mapping | Sequence | set | frozenset) or isinstance(value, str):
        return str(value)
    if depth >= PRIMITIVE_DEPTH_MAX:
        raise CodecError(f"values are nested more than {PRIMITIVE_DEPTH_MAX} deep")
    if isinstance(value, Mapping):
        return {as_text(name): storable(each, depth + 1) for name, each in value.items()}
    return [storable(each, depth + 1) for each in value]


_AS_THEY_ARE: Final = frozenset({bool, Byte, Short, Long, Float, float, str, bytes})


def as_text(value: object) -> str:
    """A property's value for a protocol whose properties are texts.

    Truth values are `true` and `false`, numbers the shortest text that is read as the same number, bytes
    hexadecimal, maps and lists JSON, nothing is empty.
    """
    if value is None:
        return ""
    for kinds, write in _TEXTS:
        if isinstance(value, kinds):
            return write(value)
    return str(value)


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value.__class__ is Float:
        for digits in range(6, 9):
            text = f"{value:.{digits}g}"
            if _FLOAT.pack(float(text)) == _FLOAT.pack(value):
                return repr(float(text))
    return repr(float(value))


def json_text(value: object) -> str:
    """A value as JSON."""
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


_TEXTS: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...]] = (
    (str, str),
    (bool, lambda value: "true" if value else "false"),
    (int, lambda value: str(int(value))),
    (float, _float_text),
    ((bytes, bytearray, memoryview), lambda value: bytes(value).hex()),
    ((Mapping, list, tuple), json_text),
)
"""In the order in which they are looked for."""


def plain(value: object) -> Json:
    """A value of a property or a body as JSON has it: numbers of all sizes are numbers, bytes hexadecimal."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {whole_characters(str(name)): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return whole_characters(str(value))


# ---- texts that others can carry


def whole_characters(text: str) -> str:
    """A text without the half characters that Java's strings may hold and UTF-8 may not."""
    return text.encode("utf-8", "replace").decode()


def utf8_text(text: str, bytes_max: int) -> bytes | None:
    """A text for a protocol whose texts are UTF-8 of a limited length without NUL; None: it cannot carry it.

    Half characters become `?`.
    """
    data = text.encode("utf-8", "replace")
    return None if len(data) > bytes_max or b"\0" in data else data
