"""Kept messages that go on to another destination, or of which the broker has changed something.

The body is never touched, and of the rest only what has changed: a message that was dead for a while is what
it was, in its own types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.amqp import names, sections
from broker.amqp.inbound import Parsed, parse
from broker.amqp.types import Timestamp, described, encode, encode_list
from broker.amqp.values import jms_property
from broker.amqp.wire import WIRE_FORMAT, read_head, write_head
from broker.errors import CodecError, MessageInvalid
from broker.message import WIRE_ADDRESSERS, WIRE_REWRITERS
from broker.primitive_map import decode_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.destination import Destination
    from broker.message import Message

_SCHEDULES: Final = frozenset(names.SCHEDULED) | {names.DELIVERY_TIME}


def readdress(
    wire: bytes, destination: Destination, original: Destination, expiration: int | None = None
) -> bytes:
    """A kept message with another destination.

    Args:
        wire: stays as it is.
        destination: where it goes.
        original: what it was sent to.
        expiration: milliseconds since the epoch; None: as it is.

    Raises:
        MessageInvalid: it is damaged.
    """
    try:
        head = read_head(wire)
        content = wire[head.length :]
        if expiration is not None and expiration != head.expiration:
            parsed = parse(content)
            parsed.header = parsed.header._replace(ttl=None)
            fields = _expiring(parsed, expiration)
            content = _assembled(parsed, parsed.annotations, fields, parsed.application)
            head = head._replace(expiration=expiration)
        return write_head(head._replace(destination=destination, origin=original)) + content
    except CodecError as error:
        raise MessageInvalid(f"The stored message cannot be changed: {error}.") from error


def rewrite(message: Message, original: Destination | None) -> bytes:
    """The form to keep of a message some of whose attributes have changed.

    Raises:
        MessageInvalid: it is damaged.
    """
    assert message.wire is not None
    try:
        head = read_head(message.wire)
        parsed = parse(message.wire[head.length :])
        fields = parsed.fields
        if message.expiration != head.expiration:
            fields = _expiring(parsed, message.expiration)
        if message.timestamp != parsed.number(sections.CREATION_TIME):
            fields = _with_field(fields, sections.CREATION_TIME, Timestamp(message.timestamp))
        parsed.header = parsed.header._replace(durable=message.persistent, ttl=None)
        properties = (decode_map(message.properties) if message.properties else None) or {}
        annotations = parsed.annotations
        if not any(name.startswith(names.SCHEDULED_PREFIX) for name in properties):
            annotations = {key: value for key, value in annotations.items() if key not in _SCHEDULES}
        application = _application(parsed, properties)
        head = head._replace(
            destination=message.destination,
            origin=original or head.origin,
            expiration=message.expiration,
        )
        return write_head(head) + _assembled(parsed, annotations, fields, application)
    except CodecError as error:
        raise MessageInvalid(f"The stored message cannot be changed: {error}.") from error


def _expiring(parsed: Parsed, expiration: int) -> list[object]:
    """Its properties, when it is to expire at another time."""
    if not parsed.number(sections.ABSOLUTE_EXPIRY_TIME):
        return parsed.fields
    return _with_field(
        parsed.fields, sections.ABSOLUTE_EXPIRY_TIME, Timestamp(expiration) if expiration else None
    )


def _with_field(fields: list[object], index: int, value: object) -> list[object]:
    changed = [*fields, *[None] * (index + 1 - len(fields))]
    changed[index] = value
    return changed


def _application(parsed: Parsed, properties: Mapping[str, object]) -> dict[object, object]:
    """The application's properties; those that have not changed keep their types."""
    own = {str(key): (key, value) for key, value in parsed.application.items()}
    changed: dict[object, object] = {}
    for name, value in properties.items():
        if name in own and jms_property(own[name][1]) == value:
            key, kept = own[name]
            changed[key] = kept
        elif not name.startswith((names.PREFIX, names.SCHEDULED_PREFIX)) or name in own:
            changed[name] = value
    return changed


def _assembled(
    parsed: Parsed,
    annotations: dict[object, object],
    fields: list[object],
    application: dict[object, object],
) -> bytes:
    """The message, with what is given instead of its own; what is the same keeps its bytes."""
    header = parsed.header
    parts = []
    if sections.HEADER in parsed.found or header.durable:
        parts.append(sections.write_header(header) or described(sections.HEADER, encode_list([])))
    for code, value, own in (
        (sections.MESSAGE_ANNOTATIONS, annotations, parsed.annotations),
        (sections.PROPERTIES, fields, parsed.fields),
        (sections.APPLICATION_PROPERTIES, application, parsed.application),
    ):
        section = parsed.found.get(code)
        if value == own:
            if section is not None:
                parts.append(parsed.data[section.begin : section.end])
        elif value:
            content = encode_list(value) if isinstance(value, list) else encode(value)
            parts.append(described(code, content))
    parts += [parsed.data[section.begin : section.end] for section in parsed.bodies]
    footer = parsed.found.get(sections.FOOTER)
    if footer is not None:
        parts.append(parsed.data[footer.begin : footer.end])
    return b"".join(parts)


WIRE_ADDRESSERS[WIRE_FORMAT] = readdress
WIRE_REWRITERS[WIRE_FORMAT] = rewrite
