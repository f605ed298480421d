"""OpenWire's destinations and messages to the broker's own, and back.

Every message that comes by OpenWire is kept in one form, whatever its client negotiated: the frame of version
12 in loose encoding without cache, without its size (:data:`WIRE_FORMAT`). Such a frame stands for itself, so
it can be journaled and dispatched as it is; only the broker's sequence number in its message id is filled in.
The message frames of versions 10 and 11 are the same.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from broker import modified_utf8
from broker.advisory import AdvisoryMessage
from broker.destination import Destination, DestinationKind
from broker.errors import InvalidDestination, RequestInvalid
from broker.message import BodyKind, Message
from broker.openwire import commands
from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQBlobMessage,
    ActiveMQBytesMessage,
    ActiveMQDestination,
    ActiveMQMapMessage,
    ActiveMQMessage,
    ActiveMQObjectMessage,
    ActiveMQQueue,
    ActiveMQStreamMessage,
    ActiveMQTempQueue,
    ActiveMQTempTopic,
    ActiveMQTextMessage,
    ActiveMQTopic,
    DataStructure,
    MessageId,
    ProducerId,
)
from broker.openwire.errors import CodecError
from broker.openwire.limits import TIGHT_STRING_SIZE_MAX

WIRE_FORMAT = "openwire12"
"""What `Message.wire_format` says of frames kept by this module."""

_KINDS: dict[type[ActiveMQDestination], DestinationKind] = {
    ActiveMQQueue: DestinationKind.QUEUE,
    ActiveMQTopic: DestinationKind.TOPIC,
    ActiveMQTempQueue: DestinationKind.TEMP_QUEUE,
    ActiveMQTempTopic: DestinationKind.TEMP_TOPIC,
}
_DESTINATION_CLASSES = {kind: each for each, kind in _KINDS.items()}

BODIES: dict[type[commands.Message], BodyKind] = {
    ActiveMQMessage: BodyKind.NONE,
    ActiveMQTextMessage: BodyKind.TEXT,
    ActiveMQBytesMessage: BodyKind.BYTES,
    ActiveMQMapMessage: BodyKind.MAP,
    ActiveMQStreamMessage: BodyKind.STREAM,
    ActiveMQObjectMessage: BodyKind.OBJECT,
    ActiveMQBlobMessage: BodyKind.BLOB,
}
_MESSAGE_CLASSES = {kind: each for each, kind in BODIES.items()}

STRUCTURES: dict[type, Callable[[Any], DataStructure]] = {}
"""What writes the data structure of an advisory, by what it is about; see `broker.openwire.advisories`."""

_BYTES_PER_UNIT = 6
"""Of modified UTF-8, at most, for one character of Python."""
_LIKE_OWN = re.compile(r"(.{1,4096}):(0|-?[1-9][0-9]{0,18}):(0|-?[1-9][0-9]{0,18}):(0|-?[1-9][0-9]{0,18})")
"""An id that its numbers give again, digit by digit."""

_codec = Codec(12, size_prefix=False)


def to_destination(given: ActiveMQDestination | None) -> Destination:
    """The broker's form of a destination.

    Raises:
        InvalidDestination: there is none, or it has no name.
    """
    if given is None or given.physical_name is None:
        raise InvalidDestination("A destination is needed.")
    if not given.physical_name.strip():
        raise InvalidDestination("A destination needs a name.")
    return Destination(_KINDS[given.__class__], given.physical_name)


def from_destination(destination: Destination) -> ActiveMQDestination:
    """OpenWire's form of a destination."""
    return _DESTINATION_CLASSES[destination.kind](destination.name)


def producer_name(producer_id: ProducerId) -> str:
    """A producer's id as text, the way JMS clients show it."""
    return f"{producer_id.connection_id}:{producer_id.session_id}:{producer_id.value}"


def message_name(message_id: MessageId) -> str:
    """A message's id as text, the way JMS clients show it."""
    if message_id.text_view:
        return message_id.text_view
    if message_id.producer_id is None:
        return ""
    return f"{producer_name(message_id.producer_id)}:{message_id.producer_sequence_id}"


def to_message(command: commands.Message, frame: bytes | None = None) -> Message:
    """The broker's form of a message.

    Args:
        command: what the client sent; its transaction is dropped.
        frame: its frame if it is of :data:`WIRE_FORMAT`.

    Raises:
        RequestInvalid: it has no id.
        InvalidDestination: it has no destination.
        CodecError: it cannot be kept.
    """
    message_id = command.message_id
    if message_id is None or not (name := message_name(message_id)):
        raise RequestInvalid("A message needs an id.")
    if frame is None or command.transaction_id is not None:
        command.transaction_id = None
        frame = _codec.encode(command)
    producer_id = command.producer_id or message_id.producer_id
    reply_to, origin = command.reply_to, command.original_destination
    return Message(
        message_id=name,
        destination=to_destination(command.destination),
        producer_id="" if producer_id is None else producer_name(producer_id),
        producer_sequence_id=message_id.producer_sequence_id,
        persistent=command.persistent,
        priority=min(max(command.priority, 0), 9),
        expiration=max(command.expiration, 0),
        timestamp=command.timestamp,
        correlation_id=command.correlation_id,
        reply_to=None if reply_to is None or not reply_to.physical_name else to_destination(reply_to),
        type=command.type,
        group_id=command.group_id,
        group_sequence=command.group_sequence,
        user_id=command.user_id,
        properties=command.marshalled_properties,
        body_kind=BODIES[command.__class__],
        body=command.content,
        compressed=command.compressed,
        wire_format=WIRE_FORMAT,
        wire=frame,
        origin=None if origin is None or not origin.physical_name else to_destination(origin),
    )


def read_frame(frame: bytes) -> commands.Message:
    """The command of a frame of :data:`WIRE_FORMAT`.

    Raises:
        CodecError: it is none, or no message.
    """
    command = _codec.decode(frame)
    if not isinstance(command, commands.Message):
        raise CodecError(f"a {type(command).__name__} is no message")
    return command


def from_message(message: Message, ref: int = 0) -> commands.Message:
    """OpenWire's form of a message.

    A text of another protocol that is too long for a string of OpenWire is cut.

    Args:
        message: it.
        ref: the broker's number of it, where its own id is a text that need not be unique.

    Raises:
        CodecError: its stored frame is damaged.
    """
    if message.wire is not None and message.wire_format == WIRE_FORMAT:
        return read_frame(message.wire)
    message_id = _message_id(message.message_id, ref)
    about = message.about if isinstance(message, AdvisoryMessage) else None
    return _MESSAGE_CLASSES[message.body_kind](
        producer_id=message_id.producer_id,
        destination=from_destination(message.destination),
        message_id=message_id,
        persistent=message.persistent,
        priority=message.priority,
        expiration=message.expiration,
        timestamp=message.timestamp,
        correlation_id=_cut(message.correlation_id),
        reply_to=None if message.reply_to is None else from_destination(message.reply_to),
        type=_cut(message.type),
        group_id=_cut(message.group_id),
        group_sequence=message.group_sequence,
        user_id=_cut(message.user_id),
        original_destination=None if message.origin is None else from_destination(message.origin),
        marshalled_properties=message.properties,
        content=message.body,
        compressed=message.compressed,
        data_structure=None if about is None else STRUCTURES[about.__class__](about),
        jmsx_group_first_for_consumer=message.group_first,
    )


def _message_id(name: str, ref: int) -> MessageId:
    """The id of a text: three numbers behind the connection's name, as OpenWire's own ids are, or any.

    By producer and number Java's client tells whether it had the message before, so that a text that may come
    twice (a client has chosen it) goes with the broker's number.
    """
    match = _LIKE_OWN.fullmatch(name)
    if match is not None:
        session, value, sequence = map(int, match.groups()[1:])
        if all(-(2**63) <= each < 2**63 for each in (session, value, sequence)):
            return MessageId(None, ProducerId(match[1], value, session), sequence)
    name = _cut(name) or ""
    return MessageId(name, ProducerId(name, 0, 0), ref)


def _cut(text: str | None) -> str | None:
    """A text, or as much of it as every encoding's strings can hold."""
    if text is None or len(text) * _BYTES_PER_UNIT <= TIGHT_STRING_SIZE_MAX:
        return text
    data = modified_utf8.encode(text)
    if len(data) <= TIGHT_STRING_SIZE_MAX:
        return text
    end = TIGHT_STRING_SIZE_MAX
    while data[end] & 0xC0 == 0x80:  # within a character
        end -= 1
    return modified_utf8.decode(data[:end])


def dispatch_frame(message: Message, ref: int = 0) -> tuple[bytes, int]:
    """A message's frame of :data:`WIRE_FORMAT`, and where the broker's sequence number stands in it.

    Args:
        message: it.
        ref: see `from_message`.

    Raises:
        CodecError: it cannot be written, or its stored frame is damaged.
    """
    frame = message.wire
    if frame is None or message.wire_format != WIRE_FORMAT:
        frame = _codec.encode(from_message(message, ref))
        if not isinstance(message, AdvisoryMessage):
            return frame, sequence_position(frame)
        message.wire, message.wire_format = frame, WIRE_FORMAT  # others listen, too
    at = message.native
    if at.__class__ is not int:
        at = sequence_position(frame)
        message.native = at
    assert isinstance(at, int)
    return frame, at


_HEAD = struct.calcsize(">Bi?")  # type, command id, response required
_LENGTH = struct.Struct(">H")


def sequence_position(frame: bytes) -> int:
    """Where the broker's sequence number is in a message's frame.

    Raises:
        CodecError: it is not there.
    """
    try:
        at = _HEAD
        for _ in ("producer", "destination", "transaction", "original destination"):
            at = _skip_nested(frame, at)
        if not frame[at] or frame[at + 1] != MessageId.TYPE_CODE:
            raise CodecError("a message has no id")
        at = _skip_string(frame, at + 2)
        return _skip_nested(frame, at) + 8
    except (struct.error, IndexError) as error:
        raise CodecError(f"a message is damaged: {error}") from error


def _skip_string(frame: bytes, at: int) -> int:
    return at + 3 + _LENGTH.unpack_from(frame, at + 1)[0] if frame[at] else at + 1


def _skip_nested(frame: bytes, at: int) -> int:
    if not frame[at]:
        return at + 1
    code = frame[at + 1]
    at += 2
    if code == commands.LocalTransactionId.TYPE_CODE:
        return _skip_nested(frame, at + 8)
    if code == ProducerId.TYPE_CODE:
        return _skip_string(frame, at) + 16
    if code == commands.ConnectionId.TYPE_CODE or code in _DESTINATION_CODES:
        return _skip_string(frame, at)
    raise CodecError(f"a message has a structure of type {code} before its id")


_DESTINATION_CODES = frozenset(each.TYPE_CODE for each in _KINDS)


def readdress(
    frame: bytes, destination: Destination, original: Destination, expiration: int | None = None
) -> bytes:
    """A frame of :data:`WIRE_FORMAT` with another destination; nothing else of it is read.

    Args:
        frame: of a message.
        destination: where the message goes.
        original: what it was sent to, for its consumers.
        expiration: milliseconds since the epoch; None: as it is.

    Raises:
        CodecError: it is damaged, or cannot be written.
    """
    if expiration is not None:
        command = read_frame(frame)
        command.expiration = expiration
        frame = _codec.encode(command)
    try:
        destination_at = _skip_nested(frame, _HEAD)
        transaction_at = _skip_nested(frame, destination_at)
        original_at = _skip_nested(frame, transaction_at)
        rest_at = _skip_nested(frame, original_at)
    except (struct.error, IndexError) as error:
        raise CodecError(f"a message is damaged: {error}") from error
    return b"".join(
        (
            frame[:destination_at],
            b"\1",
            _codec.encode(from_destination(destination)),
            frame[transaction_at:original_at],
            b"\1",
            _codec.encode(from_destination(original)),
            frame[rest_at:],
        )
    )


def mark_first(frame: bytes) -> bytes:
    """A frame of :data:`WIRE_FORMAT` whose last field, `jmsx_group_first_for_consumer`, is true."""
    return frame[:-1] + b"\1"


def rewrite(message: Message, original: Destination | None) -> bytes:
    """The frame of :data:`WIRE_FORMAT` of a message some of whose attributes have changed.

    What its frame says of times, routes and the like stays; how often it was redelivered begins anew.

    Args:
        message: with a frame.
        original: what it was sent to, if it goes on to another destination now.

    Raises:
        CodecError: it is damaged, or cannot be written.
    """
    assert message.wire is not None
    command = read_frame(message.wire)
    command.destination = from_destination(message.destination)
    if original is not None:
        command.original_destination = from_destination(original)
    command.expiration = message.expiration
    command.timestamp = message.timestamp
    command.persistent = message.persistent
    command.marshalled_properties = message.properties
    command.redelivery_counter = 0
    return _codec.encode(command)
