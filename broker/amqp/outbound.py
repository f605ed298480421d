"""Messages as AMQP clients get them.

What came by AMQP goes out as it came, but for the header; everything else is written from the neutral
attributes.

Source: the AMQP JMS mapping; ActiveMQ's `JMSMappingOutboundTransformer`, for the names and types.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from broker.amqp import names, sections
from broker.amqp.addresses import number_of
from broker.amqp.ids import id_value
from broker.amqp.sections import Header, Section, read_header, write_header
from broker.amqp.types import Symbol, Timestamp, UInt, described, encode, encode_list, skip
from broker.amqp.wire import WIRE_FORMAT, head_length
from broker.conversion import decode_text, inflated
from broker.errors import CodecError
from broker.message import BodyKind, Message
from broker.primitive_map import Byte, decode_map, decode_stream
from broker.properties import properties_of

_TTL_MAX: Final = (1 << 32) - 1
_BARE_HEADER: Final = b"\0\x53\x70"


def outgoing(message: Message, redelivery_counter: int, now_ms: int) -> tuple[bytes, int]:
    """The bytes of a message for one delivery, and where in them it begins.

    Raises:
        CodecError: it cannot be written.
        MessageInvalid: its stored form is damaged.
    """
    wire = message.wire
    if wire is None or message.wire_format != WIRE_FORMAT:
        return written(message, redelivery_counter, now_ms), 0
    at = message.native
    if at.__class__ is not int:
        at = message.native = head_length(wire)
    assert isinstance(at, int)
    if not redelivery_counter and not message.expiration:
        return wire, at
    header, end = sections.NO_HEADER, at
    if wire.startswith(_BARE_HEADER, at):
        section = Section(sections.HEADER, at, at + 3, skip(wire, at + 3))
        header, end = read_header(wire, section), section.end
    else:
        found = next(iter(sections.split(wire, at)), None)
        if found is not None and found.code == sections.HEADER:
            header, end = read_header(wire, found), found.end
    counted = min(header.delivery_count + redelivery_counter, _TTL_MAX)
    header = header._replace(delivery_count=counted, ttl=_ttl(message.expiration, now_ms))
    return write_header(header) + wire[end:], 0


def _ttl(expiration: int, now_ms: int) -> int | None:
    """Milliseconds that a message has left."""
    return min(max(expiration - now_ms, 1), _TTL_MAX) if expiration else None


def written(message: Message, redelivery_counter: int, now_ms: int) -> bytes:
    """A message that did not come by AMQP.

    Raises:
        CodecError: it cannot be written.
    """
    properties = dict(properties_of(message))
    first_acquirer = properties.pop(names.FIRST_ACQUIRER, None)
    header = write_header(
        Header(
            message.persistent,
            message.priority,
            _ttl(message.expiration, now_ms),
            first_acquirer if isinstance(first_acquirer, bool) else None,
            redelivery_counter,
        )
    )
    if properties.get(names.NATIVE) is True and message.body_kind is BodyKind.BYTES and message.body:
        return _native(header, _inflated(message))
    maps = _sorted_out(message, properties)
    body = _body(message, properties)
    parts = [header]
    if maps.delivery:
        parts.append(described(sections.DELIVERY_ANNOTATIONS, encode(maps.delivery)))
    parts.append(described(sections.MESSAGE_ANNOTATIONS, encode(maps.annotations)))
    parts.append(described(sections.PROPERTIES, encode_list(_fields(message, properties))))
    if maps.application:
        parts.append(described(sections.APPLICATION_PROPERTIES, encode(maps.application)))
    parts.append(body)
    if maps.footer:
        parts.append(described(sections.FOOTER, encode(maps.footer)))
    return b"".join(parts)


def _native(header: bytes, body: bytes) -> bytes:
    """A body that is a whole AMQP message."""
    found = sections.split(body)
    begin = found[0].end if found and found[0].code == sections.HEADER else 0
    return header + body[begin:]


class _Maps:
    """The properties of a message by the sections to which they belong."""

    def __init__(self) -> None:
        self.delivery: dict[Symbol, object] = {}
        self.annotations: dict[Symbol, object] = {}
        self.application: dict[str, object] = {}
        self.footer: dict[Symbol, object] = {}


def _sorted_out(message: Message, properties: dict[str, object]) -> _Maps:
    maps = _Maps()
    for key, value in properties.items():
        if key.startswith(names.PREFIX):
            for prefix, place in (
                (names.MESSAGE_ANNOTATION, maps.annotations),
                (names.DELIVERY_ANNOTATION, maps.delivery),
                (names.FOOTER, maps.footer),
            ):
                if key.startswith(prefix):
                    place[Symbol(key.removeprefix(prefix))] = value
        elif not key.startswith(names.SCHEDULED_PREFIX):
            maps.application[key] = value
    annotations = maps.annotations
    annotations[Symbol(names.JMS_MESSAGE_TYPE)] = Byte(_TYPES[message.body_kind])
    annotations[Symbol(names.JMS_DESTINATION)] = Byte(number_of(message.destination))
    if message.reply_to is not None:
        annotations[Symbol(names.JMS_REPLY_TO)] = Byte(number_of(message.reply_to))
    return maps


_TYPES: Final = {
    BodyKind.NONE: names.TYPE_MESSAGE,
    BodyKind.TEXT: names.TYPE_TEXT,
    BodyKind.BYTES: names.TYPE_BYTES,
    BodyKind.MAP: names.TYPE_MAP,
    BodyKind.STREAM: names.TYPE_STREAM,
    BodyKind.OBJECT: names.TYPE_OBJECT,
    BodyKind.BLOB: names.TYPE_MESSAGE,
}


def _fields(message: Message, properties: dict[str, object]) -> list[object]:
    content_type = properties.get(names.CONTENT_TYPE)
    if content_type is None and message.body_kind is BodyKind.OBJECT:
        content_type = names.JAVA_OBJECT
    content_encoding = properties.get(names.CONTENT_ENCODING)
    reply_to_group = properties.get(names.REPLY_TO_GROUP_ID)
    return [
        id_value(message.message_id) if message.message_id else None,
        message.user_id.encode("utf-8", "replace") if message.user_id is not None else None,
        message.destination.uri,
        message.type,
        None if message.reply_to is None else message.reply_to.uri,
        None if message.correlation_id is None else id_value(message.correlation_id),
        _symbol(content_type),
        _symbol(content_encoding),
        Timestamp(message.expiration) if message.expiration else None,
        Timestamp(message.timestamp) if message.timestamp else None,
        message.group_id,
        UInt(message.group_sequence) if message.group_sequence > 0 else None,
        None if reply_to_group is None else str(reply_to_group),
    ]


def _symbol(value: object) -> Symbol | None:
    return None if value is None or not str(value).isascii() else Symbol(value)


# ---- bodies


def _body(message: Message, properties: dict[str, object]) -> bytes:
    given = properties.get(names.ORIGINAL_ENCODING)
    encoding = given if isinstance(given, int) else names.UNKNOWN
    content = _inflated(message)
    try:
        return _WRITERS[message.body_kind](message, content, encoding)
    except struct.error as error:
        raise CodecError(f"a body is damaged: {error}") from error


def _value(value: object) -> bytes:
    return described(sections.VALUE, encode(value))


def _data(content: bytes) -> bytes:
    return described(sections.DATA, encode(content))


def _text(message: Message, content: bytes, encoding: int) -> bytes:
    if message.body is None:
        return b"" if encoding == names.NULL else _value(None)
    text = decode_text(content)
    if text is None:
        return _value(None)
    if encoding == names.DATA:
        return _data(text.encode("utf-8", "replace"))
    return _value(text)


def _bytes(message: Message, content: bytes, encoding: int) -> bytes:
    if encoding == names.NULL and message.body is None:
        return b""
    return _value(content) if encoding == names.VALUE_BINARY else _data(content)


def _map(message: Message, content: bytes, encoding: int) -> bytes:
    del message, encoding
    return _value(decode_map(content) or {} if content else {})


def _stream(message: Message, content: bytes, encoding: int) -> bytes:
    del message
    values = decode_stream(content)
    if encoding == names.SEQUENCE:
        return described(sections.SEQUENCE, encode(values))
    return _value(values)


_WRITERS: Final[dict[BodyKind, Callable[[Message, bytes, int], bytes]]] = {
    BodyKind.NONE: lambda message, content, encoding: b"" if encoding == names.NULL else _value(None),
    BodyKind.TEXT: _text,
    BodyKind.BYTES: _bytes,
    BodyKind.MAP: _map,
    BodyKind.STREAM: _stream,
    BodyKind.OBJECT: _bytes,
    BodyKind.BLOB: lambda message, content, encoding: _data(content),
}


def _inflated(message: Message) -> bytes:
    """The body, not compressed.

    Raises:
        CodecError: it is damaged, or becomes too long.
    """
    body = message.body or b""
    return inflated(message.body_kind, body) if message.compressed and body else body
