"""Messages of AMQP clients as the broker has them.

What every message is asked for on its way through is read when it arrives; the rest is read out of its bytes
if somebody asks, mostly a client of another protocol.

Source: the AMQP JMS mapping; ActiveMQ's `JMSMappingInboundTransformer`, for the names and types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from broker.amqp import names, sections
from broker.amqp.addresses import destination_of, kind_of_number
from broker.amqp.ids import id_text
from broker.amqp.sections import Header, Section
from broker.amqp.types import decode
from broker.amqp.values import jms_property, jms_value
from broker.amqp.wire import WIRE_FORMAT, Head, read_head, write_head
from broker.conversion import json_text, text_body
from broker.destination import Destination
from broker.errors import BrokerError, CodecError, InvalidDestination, MessageInvalid
from broker.message import WIRE_READERS, BodyKind, Message
from broker.primitive_map import Long, Short, Value, encode_map, encode_stream

_new_message: Final = Message.__new__
_BINARY_LONG: Final = 0xB0
_BINARY: Final = (0xA0, _BINARY_LONG)
"""Constructors of a binary."""
_INT_MASK: Final = (1 << 32) - 1
_TEXTUAL: Final = frozenset({"xml", "json", "javascript", "ecmascript", "xml-dtd", "x-yaml", "yaml"})
"""Of `application/…`: what is text. Source: ActiveMQ's `AmqpContentTypeSupport`."""


@dataclass(slots=True)
class Parsed:
    """An encoded message, as far as it has been read.

    Attributes:
        data: the bytes in which the sections are.
        found: its sections by their codes; of a body in several the first.
        bodies: the sections of the body.
    """

    data: bytes
    found: dict[int, Section]
    bodies: list[Section]
    header: Header = sections.NO_HEADER
    fields: list[Any] = field(default_factory=list)
    annotations: dict[Any, Any] = field(default_factory=dict)
    application: dict[Any, Any] = field(default_factory=dict)
    footer: dict[Any, Any] = field(default_factory=dict)

    def field(self, index: int) -> object:
        """A field of the properties, None if there is none."""
        return self.fields[index] if index < len(self.fields) else None

    def text(self, index: int) -> str | None:
        """A field that is text, None if it is not."""
        fields = self.fields
        if index >= len(fields):  # in line: most messages have few fields
            return None
        value = fields[index]
        return value if isinstance(value, str) else None

    def number(self, index: int) -> int:
        """A field that is a number, 0 if it is none."""
        value = self.field(index)
        return int(value) if isinstance(value, int) else 0

    @property
    def content_type(self) -> str | None:
        """What the body's bytes are."""
        return self.text(sections.CONTENT_TYPE)


def parse(data: bytes, at: int = 0) -> Parsed:
    """Everything of a message but its body.

    Raises:
        CodecError: it is damaged.
    """
    found: dict[int, Section] = {}
    bodies: list[Section] = []
    parsed = Parsed(data, found, bodies)
    for section in sections.split(data, at):
        code = section.code
        found.setdefault(code, section)
        if code in (sections.DATA, sections.SEQUENCE, sections.VALUE):
            bodies.append(section)
        elif code == sections.HEADER:
            parsed.header = sections.read_header(data, section)
        elif code == sections.PROPERTIES:
            parsed.fields = sections.fields(data, section)
        elif code == sections.MESSAGE_ANNOTATIONS:
            parsed.annotations = sections.entries(data, section)
        elif code == sections.APPLICATION_PROPERTIES:
            parsed.application = sections.entries(data, section)
        elif code == sections.FOOTER:
            parsed.footer = sections.entries(data, section)
    return parsed


# ---- a message arrives


class Template:
    """What the messages of a link have in common that differ in their body only.

    Simple producers send such: durable or not, a priority, application properties that are always the same,
    one `data` section, and no properties of their own such as a message-id. Measured: 1.9 instead of 5.1 µs
    for each message that is like the one before.

    Args:
        start: all before the length of the body.
        message: one of them.
    """

    __slots__ = ("_body_at", "_destination", "_is_long", "_persistent", "_priority", "_properties", "_start")

    def __init__(self, start: bytes, message: Message) -> None:
        self._start = start
        self._body_at = len(start)
        self._is_long = start[-1] == _BINARY_LONG
        self._destination = message.destination
        self._persistent = message.persistent
        self._priority = message.priority
        self._properties = message.properties

    def take(self, data: bytes, now_ms: int, new_id: Callable[[], str]) -> Message | None:
        """The broker's form of a message, as `take` would make it; None: it differs in more than its body."""
        if not data.startswith(self._start):
            return None
        at = self._body_at
        length = data[at : at + 4] if self._is_long else data[at : at + 1]
        if at + len(length) + int.from_bytes(length, "big") != len(data) or not length:
            return None
        destination = self._destination
        written = write_head(Head(destination, None, 0, now_ms, new_id()))
        return _made(destination, self._persistent, self._priority, 0, None, self._properties, written, data)


def template_of(message: Message, parsed: Parsed) -> Template | None:
    """What other messages may have in common with one that was taken; None: they will not."""
    bodies, data = parsed.bodies, parsed.data
    if parsed.annotations or parsed.header.ttl or len(bodies) != 1:
        return None
    if any(each is not None for each in parsed.fields):
        return None
    (body,) = bodies
    if body.code != sections.DATA or body.end != len(data) or data[body.value_at] not in _BINARY:
        return None
    return Template(data[: body.value_at + 1], message)


def take(data: bytes, destination: Destination | None, now_ms: int, new_id: Callable[[], str]) -> Message:
    """The broker's form of a message; see `take_parsed`."""
    return take_parsed(data, destination, now_ms, new_id)[0]


def take_parsed(
    data: bytes, destination: Destination | None, now_ms: int, new_id: Callable[[], str]
) -> tuple[Message, Parsed]:
    """The broker's form of a message, and the message as it was read.

    Args:
        data: as it came.
        destination: the link's; None: the message says where it goes.
        now_ms: the time.
        new_id: makes an id for a message that has none.

    Raises:
        CodecError: it is damaged.
        InvalidDestination: there is none.
    """
    parsed = parse(data)
    own = parsed.found.get(sections.DELIVERY_ANNOTATIONS)
    if own is not None:
        data = data[: own.begin] + data[own.end :]
        parsed = parse(data)
    if destination is None:
        destination = _addressee(parsed)
    expiration = _expiration(parsed, now_ms)
    own_id = new_id() if parsed.field(sections.MESSAGE_ID) is None else ""
    written = write_head(Head(destination, None, expiration, now_ms, own_id))
    group_id = parsed.text(sections.GROUP_ID) if parsed.fields else None
    properties = _properties(parsed, now_ms)
    priority = min(parsed.header.priority, 9)
    message = _made(
        destination, parsed.header.durable, priority, expiration, group_id, properties, written, data
    )
    return message, parsed


def _made(  # noqa: PLR0917 - called for every message: names would cost as much as the rest
    destination: Destination,
    persistent: bool,
    priority: int,
    expiration: int,
    group_id: str | None,
    properties: bytes | None,
    written: bytes,
    data: bytes,
) -> Message:
    """A message of which only this was read so far."""
    message = _new_message(Message)
    message.destination = destination
    message.producer_id = ""
    message.producer_sequence_id = 0  # the journal's record asks for it: reading it would be reading all
    message.persistent = persistent
    message.priority = priority
    message.expiration = expiration
    message.group_id = group_id
    message.properties = properties
    message.wire_format = WIRE_FORMAT
    message.wire = written + data
    message.native = len(written)
    message.decoded = None
    return message


def _addressee(parsed: Parsed) -> Destination:
    to = parsed.text(sections.TO)
    if not to:
        raise InvalidDestination("A message to an anonymous terminus needs the field `to`.")
    return destination_of(to, kind_of_number(parsed.annotations.get(names.JMS_DESTINATION)))


def _expiration(parsed: Parsed, now_ms: int) -> int:
    """When it expires: what it says itself goes before its time to live."""
    if parsed.fields and (absolute := parsed.number(sections.ABSOLUTE_EXPIRY_TIME)) > 0:
        return absolute
    ttl = parsed.header.ttl
    return now_ms + ttl if ttl else 0


# ---- its properties


def _properties(parsed: Parsed, arrival_ms: int) -> bytes | None:
    """What clients of other protocols, and selectors, see as the message's properties."""
    found = parsed.found
    has_fields = bool(parsed.fields)
    marks = (
        sections.HEADER in found,
        parsed.header.first_acquirer,
        sections.PROPERTIES in found,
        parsed.content_type if has_fields else None,
        parsed.text(sections.CONTENT_ENCODING) if has_fields else None,
        parsed.text(sections.REPLY_TO_GROUP_ID) if has_fields else None,
        _encoding(parsed),
    )
    if not (parsed.annotations or parsed.application or parsed.footer):
        return _encoded_marks(marks)
    values: dict[str, Value] = {}
    _schedule(parsed.annotations, arrival_ms, values)
    for key, value in parsed.annotations.items():
        values[names.MESSAGE_ANNOTATION + str(key)] = jms_property(value)
    for key, value in parsed.application.items():
        values[str(key)] = jms_property(value)
    for key, value in parsed.footer.items():
        values[names.FOOTER + str(key)] = jms_property(value)
    return encode_map({**values, **_marks(marks)})


def _marks(marks: tuple[Any, ...]) -> dict[str, Value]:
    """What is remembered of a message so that it can be written as it was."""
    header, first_acquirer, properties, content_type, content_encoding, reply_to_group, encoding = marks
    values: dict[str, Value] = {}
    if header:
        values[names.HEADER] = True
    if first_acquirer is not None:
        values[names.FIRST_ACQUIRER] = first_acquirer
    if properties:
        values[names.PROPERTIES] = True
    for name, value in (
        (names.CONTENT_TYPE, content_type),
        (names.CONTENT_ENCODING, content_encoding),
        (names.REPLY_TO_GROUP_ID, reply_to_group),
    ):
        if value is not None:
            values[name] = str(value)
    if encoding:
        values[names.ORIGINAL_ENCODING] = Short(encoding)
    else:
        values[names.NATIVE] = True
    return values


@lru_cache(maxsize=1_024)
def _encoded_marks(marks: tuple[Any, ...]) -> bytes:
    """Messages without properties of their own have but a few combinations of these."""
    return encode_map(_marks(marks))


def _schedule(annotations: dict[Any, Any], arrival_ms: int, values: dict[str, Value]) -> None:
    """When it is due, in the properties that the broker goes by."""
    due_ms = annotations.get(names.DELIVERY_TIME)
    if isinstance(due_ms, int) and due_ms > arrival_ms:
        values[names.SCHEDULED[names.DELIVERY_DELAY]] = Long(due_ms - arrival_ms)
    for annotation, name in names.SCHEDULED.items():
        value = annotations.get(annotation)
        if isinstance(value, str):
            values[name] = str(value)
        elif isinstance(value, int) and value > 0:
            values[name] = Long(value)


# ---- its body


def _encoding(parsed: Parsed) -> int:
    """What the body is, in the numbers of `JMS_AMQP_ORIGINAL_ENCODING`; 0: nothing that JMS has."""
    if not parsed.bodies:
        return names.NULL
    section = parsed.bodies[0]
    if section.code == sections.DATA:
        return names.DATA
    if section.code == sections.SEQUENCE:
        return names.SEQUENCE
    return _OF_VALUES.get(parsed.data[section.value_at], names.UNKNOWN)


_OF_VALUES: Final = {
    0x40: names.VALUE_NULL,
    0xA1: names.VALUE_STRING,
    0xB1: names.VALUE_STRING,
    0xA0: names.VALUE_BINARY,
    0xB0: names.VALUE_BINARY,
    0xC1: names.VALUE_MAP,
    0xD1: names.VALUE_MAP,
    0x45: names.VALUE_LIST,
    0xC0: names.VALUE_LIST,
    0xD0: names.VALUE_LIST,
}
"""By the constructor of an `amqp-value`."""


def _body(parsed: Parsed, at: int) -> tuple[BodyKind, bytes | None]:
    """The body as other protocols read it.

    Args:
        parsed: the message.
        at: where it begins in its bytes, for what JMS has no body like.
    """
    try:
        encoding = _encoding(parsed)
        if encoding == names.NULL:
            return _empty(parsed.content_type), None
        if encoding == names.VALUE_NULL:
            is_plain = parsed.annotations.get(names.JMS_MESSAGE_TYPE) == names.TYPE_MESSAGE
            return (BodyKind.NONE if is_plain else BodyKind.TEXT), None
        if encoding != names.UNKNOWN:
            values = [decode(parsed.data, section.value_at)[0] for section in parsed.bodies]
            return _BODIES[encoding](values, parsed.content_type)
    except CodecError:
        pass  # it came through the scan of its sections: let others have it as it is
    return BodyKind.BYTES, parsed.data[at:]


def _empty(content_type: str | None) -> BodyKind:
    if content_type is None or content_type == names.OCTET_STREAM:
        return BodyKind.BYTES
    if content_type == names.JAVA_OBJECT:
        return BodyKind.OBJECT
    return BodyKind.TEXT if is_textual(content_type) else BodyKind.NONE


def is_textual(content_type: str) -> bool:
    """Whether a content type is that of text in UTF-8."""
    kind, _, parameters = content_type.lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "') or "utf-8"
    if charset not in ("utf-8", "us-ascii"):
        return False
    first, _, second = kind.strip().partition("/")
    suffix = second.rpartition("+")[2]
    return first == "text" or (first == "application" and (second in _TEXTUAL or suffix in ("xml", "json")))


def _data(values: list[Any], content_type: str | None) -> tuple[BodyKind, bytes]:
    if not all(isinstance(value, bytes) for value in values):
        raise CodecError("a data section is not binary")
    content = values[0] if len(values) == 1 else b"".join(values)
    if content_type == names.JAVA_OBJECT:
        return BodyKind.OBJECT, content
    if content_type is not None and is_textual(content_type):
        try:
            return BodyKind.TEXT, text_body(content.decode())
        except UnicodeDecodeError:
            pass
    return BodyKind.BYTES, content


def _stream(values: list[Any], content_type: str | None) -> tuple[BodyKind, bytes]:
    del content_type
    if not all(isinstance(value, list) for value in values):
        raise CodecError("a sequence is no list")
    flat = [jms_value(each) for value in values for each in value]
    nested = (dict, list)  # Java's streams hold none
    return BodyKind.STREAM, encode_stream(
        [json_text(each) if isinstance(each, nested) else each for each in flat]
    )


_BODIES: Final[dict[int, Callable[[list[Any], str | None], tuple[BodyKind, bytes]]]] = {
    names.DATA: _data,
    names.SEQUENCE: _stream,
    names.VALUE_STRING: lambda values, _: (BodyKind.TEXT, text_body(values[0])),
    names.VALUE_BINARY: lambda values, content_type: (
        BodyKind.OBJECT if content_type == names.JAVA_OBJECT else BodyKind.BYTES,
        values[0],
    ),
    names.VALUE_MAP: lambda values, _: (
        BodyKind.MAP,
        encode_map({str(jms_value(key)): jms_value(value) for key, value in values[0].items()}),
    ),
    names.VALUE_LIST: _stream,
}


# ---- all of it


def read(wire: bytes) -> Message:
    """A kept message, whole.

    Raises:
        MessageInvalid: it is damaged.
    """
    try:
        head = read_head(wire)
        parsed = parse(wire, head.length)
        kind, body = _body(parsed, head.length)
        user_id = parsed.field(sections.USER_ID)
        legacy_type = parsed.annotations.get(names.JMS_TYPE)
        subject = parsed.text(sections.SUBJECT)
        return Message(
            message_id=id_text(parsed.field(sections.MESSAGE_ID)) or head.message_id,
            destination=head.destination,
            persistent=parsed.header.durable,
            priority=min(parsed.header.priority, 9),
            expiration=head.expiration,
            timestamp=parsed.number(sections.CREATION_TIME),
            correlation_id=id_text(parsed.field(sections.CORRELATION_ID)),
            reply_to=_reply_to(parsed),
            type=str(legacy_type) if subject is None and legacy_type is not None else subject,
            group_id=parsed.text(sections.GROUP_ID),
            group_sequence=_signed(parsed.number(sections.GROUP_SEQUENCE)),
            user_id=user_id.decode("utf-8", "replace") if isinstance(user_id, bytes) else None,
            properties=_properties(parsed, head.arrival_ms),
            body_kind=kind,
            body=body,
            wire_format=WIRE_FORMAT,
            wire=wire,
            native=head.length,
            origin=head.origin,
        )
    except CodecError as error:
        raise MessageInvalid(f"The stored message cannot be read: {error}.") from error


def _reply_to(parsed: Parsed) -> Destination | None:
    address = parsed.text(sections.REPLY_TO)
    if not address:
        return None
    try:
        return destination_of(address, kind_of_number(parsed.annotations.get(names.JMS_REPLY_TO)))
    except BrokerError:
        return None  # no name that other protocols could answer to


def _signed(number: int) -> int:
    """A group's sequence number, as Java has it."""
    number &= _INT_MASK
    return number - (1 << 32) if number >> 31 else number


WIRE_READERS[WIRE_FORMAT] = read
