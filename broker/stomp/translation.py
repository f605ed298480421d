r"""Messages in STOMP's form: what SEND says, what is kept, what MESSAGE says.

A message that came by STOMP is kept as what stands in its MESSAGE frames behind the consumer's own headers,
in the escapes of version 1.2 (:data:`WIRE_FORMAT`)::

    message-id:ID\c…           the broker's
    timestamp:1700000000000    the client's, or the broker's
    destination:/queue/orders
    expires:0
    priority:4
    persistent:true            and what else the client said, in the order of ActiveMQ's headers, then its own
    content-length:5           if the frame had one

    hello

So a dispatch copies it. Everything neutral follows from it, and is read out of it when somebody asks.

Source: ActiveMQ's `FrameTranslator` and `LegacyFrameTranslator`, for names, defaults and types.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.conversion import text_body_of_utf8
from broker.destination import Destination
from broker.errors import ClientError, CodecError, InvalidDestination, MessageInvalid
from broker.message import WIRE_FIRSTS, WIRE_READERS, BodyKind, Message
from broker.primitive_map import encode_map
from broker.stomp.destinations import destination_of, has_prefix, name_of
from broker.stomp.errors import FrameInvalid
from broker.stomp.headers import Version, lines, parsed_headers

WIRE_FORMAT: Final = "stomp12"
"""What `Message.wire_format` says of messages kept in the form above."""

BYTES_TYPE: Final = "bytes"
TEXT_TYPE: Final = "text"

_DROPPED: Final = (
    "ack",
    "browser",
    "content-length",
    "message-id",
    "original-destination",
    "receipt",
    "redelivered",
    "subscription",
    "transaction",
    "JMSXUserID",
)
"""Headers of SEND that do not reach consumers, who would take them for the broker's."""

_NUMBER_DIGITS_MAX: Final = 19
_INT_MAX: Final = 2**31 - 1
_LONG_MAX: Final = 2**63 - 1

_new_message: Final = Message.__new__

Resolve = Callable[[str], Destination]
"""The destination of a name; raises `ClientError`."""


@dataclass(slots=True)
class SendTemplate:
    """What the headers of a SEND frame mean, whatever its body.

    Attributes:
        timestamp: 0: the client gave none.
        decoded: the properties.
        properties: the same, marshalled; None: there are none.
        is_text: the body is text, if it is valid UTF-8.
        tail: the headers as they are kept, from the destination on; a line feed before each.
    """

    destination: Destination
    persistent: bool
    priority: int
    expiration: int
    timestamp: int
    correlation_id: str | None
    reply_to: Destination | None
    type: str | None
    group_id: str | None
    group_sequence: int
    decoded: Mapping[str, str]
    properties: bytes | None
    is_text: bool
    tail: bytes


def template_of(headers: dict[str, str], has_length: bool, resolve: Resolve) -> SendTemplate:
    """What headers of a SEND frame mean.

    Args:
        headers: by name; taken apart.
        has_length: there was a content-length.
        resolve: the sender's names of destinations.

    Raises:
        ClientError: they cannot be meant.
    """
    for name in _DROPPED:
        headers.pop(name, None)
    destination_name = headers.pop("destination", None)
    if destination_name is None:
        raise FrameInvalid("SEND received without a Destination specified!")
    destination = resolve(destination_name)
    template = SendTemplate(
        destination=destination,
        persistent=headers.pop("persistent", "") == "true",
        priority=min(max(_number(headers, "priority", 4, _INT_MAX), 0), 9),
        expiration=max(_number(headers, "expires", 0, _LONG_MAX), 0),
        timestamp=_number(headers, "timestamp", 0, _LONG_MAX),
        correlation_id=headers.pop("correlation-id", None),
        reply_to=_reply_to(headers, resolve),
        type=headers.pop("type", None),
        group_id=headers.pop("JMSXGroupID", None) or None,
        group_sequence=_number(headers, "JMSXGroupSeq", 0, _INT_MAX),
        decoded=headers,
        properties=encode_map(headers) if headers else None,
        is_text=_is_text(headers, has_length),
        tail=b"",
    )
    template.tail = b"\n" + lines({**standard_headers(template), **headers}).encode("utf-8")[:-1]
    return template


def standard_headers(given: SendTemplate | Message) -> dict[str, str]:
    """The headers of a message that are no properties, from the destination on."""
    found = {
        "destination": name_of(given.destination),
        "expires": str(given.expiration),
        "priority": str(given.priority),
    }
    if given.persistent:
        found["persistent"] = "true"
    if given.correlation_id is not None:
        found["correlation-id"] = given.correlation_id
    if given.reply_to is not None:
        found["reply-to"] = name_of(given.reply_to)
    if given.type is not None:
        found["type"] = given.type
    if given.group_id is not None:
        found["JMSXGroupID"] = given.group_id
        found["JMSXGroupSeq"] = str(given.group_sequence)
    return found


def _number(headers: dict[str, str], name: str, default: int, high: int) -> int:
    text = headers.pop(name, None)
    if text is None:
        return default
    number = text.strip()  # of more than int() forgives: control characters separate texts, too
    digits = number.removeprefix("-")
    if not (
        digits.isascii() and digits.isdigit() and len(digits) <= _NUMBER_DIGITS_MAX and int(digits) <= high
    ):
        raise FrameInvalid(f"The header {name} {text[:100]!r} is not a whole number up to {high}.")
    return int(number)


def _reply_to(headers: dict[str, str], resolve: Resolve) -> Destination | None:
    """Where answers go; what is no destination stays a property, as ActiveMQ has it."""
    name = headers.get("reply-to")
    if name is None or not has_prefix(name):
        return None
    try:
        found = resolve(name)
    except InvalidDestination:
        return None
    del headers["reply-to"]
    return found


def _is_text(headers: Mapping[str, str], has_length: bool) -> bool:
    wanted = headers.get("amq-msg-type")
    if wanted is None:
        return not has_length
    if wanted.lower() not in (TEXT_TYPE, BYTES_TYPE):
        raise FrameInvalid(f"Unsupported message type '{wanted[:100]}'")
    return wanted.lower() == TEXT_TYPE


def message_of(
    template: SendTemplate, message_id: bytes, timestamp: int, body: bytes, has_length: bool
) -> Message:
    """A message that was sent; what is rarely asked for is read out of its kept form.

    Args:
        template: what its headers mean.
        message_id: escaped.
        timestamp: milliseconds since the epoch, if the client gave none.
        body: it.
        has_length: its frame had a content-length.
    """
    message = _new_message(Message)
    message.destination = template.destination
    message.producer_id = ""
    message.producer_sequence_id = 0
    message.persistent = template.persistent
    message.priority = template.priority
    message.expiration = template.expiration
    message.group_id = template.group_id
    message.properties = template.properties
    message.decoded = template.decoded
    message.native = None
    message.wire_format = WIRE_FORMAT
    if has_length:
        message.wire = b"message-id:%b\ntimestamp:%d%b\ncontent-length:%d\n\n%b" % (
            message_id,
            template.timestamp or timestamp,
            template.tail,
            len(body),
            body,
        )
    else:
        message.wire = b"message-id:%b\ntimestamp:%d%b\n\n%b" % (
            message_id,
            template.timestamp or timestamp,
            template.tail,
            body,
        )
    return message


# ---- out of the kept form


def read_wire(wire: bytes) -> Message:
    """The message of a kept form, with everything neutral.

    Raises:
        MessageInvalid: it is damaged.
    """
    head, end, body = wire.partition(b"\n\n")
    try:
        if not end:
            raise FrameInvalid("it has no end of its headers")
        headers = parsed_headers(b"\n" + head, Version.V1_2)
        message_id = headers.pop("message-id", "")
        timestamp = int(headers.pop("timestamp", "0"))
        has_length = "content-length" in headers
        template = template_of(headers, has_length, destination_of)
    except (ClientError, ValueError) as error:
        raise MessageInvalid(f"The stored message cannot be read: {error}.") from error
    kind, content = BodyKind.BYTES, body
    if template.is_text:
        with contextlib.suppress(CodecError):  # not UTF-8: bytes
            kind, content = BodyKind.TEXT, text_body_of_utf8(body)
    return Message(
        message_id=message_id,
        destination=template.destination,
        persistent=template.persistent,
        priority=template.priority,
        expiration=template.expiration,
        timestamp=timestamp,
        correlation_id=template.correlation_id,
        reply_to=template.reply_to,
        type=template.type,
        group_id=template.group_id,
        group_sequence=template.group_sequence,
        properties=template.properties,
        body_kind=kind,
        body=content,
        wire_format=WIRE_FORMAT,
        wire=wire,
        decoded=template.decoded,
    )


WIRE_READERS[WIRE_FORMAT] = read_wire


def _mark_first(wire: bytes) -> bytes:
    """The kept form of a message that is the first of its group for its consumer."""
    head, end, body = wire.partition(b"\n\n")
    return b"%b\nJMSXGroupFirstForConsumer:true%b%b" % (head, end, body)


WIRE_FIRSTS[WIRE_FORMAT] = _mark_first
