"""The program's messages as OpenWire's, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from broker.conversion import decode_text, deflated, inflated, text_body
from broker.message import BodyKind
from broker.openwire.commands import (
    ActiveMQBytesMessage,
    ActiveMQMapMessage,
    ActiveMQMessage,
    ActiveMQObjectMessage,
    ActiveMQStreamMessage,
    ActiveMQTextMessage,
)
from broker.openwire.commands import Message as MessageCommand
from broker.openwire.errors import CodecError
from broker.primitive_map import Long, Value, decode_map, decode_stream, encode_map, encode_stream
from broker.scheduled import DELAY, JOB_ID
from mqclient import destination as destinations
from mqclient.errors import MessageFormatError
from mqclient.identity import message_id_text
from mqclient.message import (
    BodyValue,
    BytesMessage,
    MapMessage,
    Message,
    ObjectMessage,
    PropertyValue,
    StreamMessage,
    TextMessage,
)
from mqclient.modes import DeliveryMode

REDELIVERY_DELAY = "redeliveryDelay"
"""The property by which a broker says that it delivers a message again."""
DELIVERY_TIME = "JMS_FABRIC_DeliveryTime"
"""Carries the `delivery_time` of a delayed message, which OpenWire has no place for."""

GROUP_ID, GROUP_SEQUENCE = "JMSXGroupID", "JMSXGroupSeq"


def to_command(message: Message, *, compress: bool = False) -> MessageCommand:
    """A command with body, properties and the program's headers; send adds its own.

    Raises:
        MessageFormatError: a value cannot be sent.
    """
    try:
        command = _body_to_command(message)
        command.marshalled_properties = _properties_to_bytes(message)
    except CodecError as error:
        raise MessageFormatError(str(error)) from error
    if compress and command.content:
        _compress(command)
    command.correlation_id = message.correlation_id
    command.type = message.type
    command.group_id = message.group_id
    command.group_sequence = message.group_sequence
    if message.reply_to is not None:
        command.reply_to = destinations.to_command(message.reply_to)
    return command


def delay(command: MessageCommand, delay_ms: int, delivery_time: int) -> None:
    """Have the broker keep a message for a while; see `MessageProducer.delivery_delay_ms`."""
    properties = decode_map(command.marshalled_properties) if command.marshalled_properties else None
    made = {**(properties or {}), DELAY: Long(delay_ms), DELIVERY_TIME: Long(delivery_time)}
    made.pop(JOB_ID, None)  # of an earlier schedule: it would keep the broker from making a new one
    command.marshalled_properties = encode_map(made)


def is_redelivered_by_broker(command: MessageCommand) -> bool:
    """Whether the broker delivers a message again, after a delay, by its own policy."""
    properties = command.marshalled_properties
    return properties is not None and REDELIVERY_DELAY.encode() in properties


def from_command(command: MessageCommand, redeliveries: int) -> Message:
    """The program's message for a command that was dispatched.

    Raises:
        MessageFormatError: its body or its properties are damaged.
    """
    try:
        message = _body_from_command(command)
        properties = decode_map(command.marshalled_properties) if command.marshalled_properties else None
    except CodecError as error:
        raise MessageFormatError(str(error)) from error
    message.properties = cast(dict[str, PropertyValue], properties or {})
    delivery_time = message.properties.pop(DELIVERY_TIME, None)
    if command.message_id is not None:
        message.message_id = message_id_text(command.message_id)
    message.destination = destinations.from_command(command.destination)
    message.reply_to = destinations.from_command(command.reply_to)
    message.correlation_id = command.correlation_id
    message.type = command.type
    message.delivery_mode = DeliveryMode.PERSISTENT if command.persistent else DeliveryMode.NON_PERSISTENT
    message.priority = command.priority
    message.expiration = command.expiration
    message.timestamp = command.timestamp
    message.delivery_time = delivery_time if isinstance(delivery_time, int) else command.timestamp
    message.group_id = command.group_id
    message.group_sequence = command.group_sequence
    message.group_first = command.jmsx_group_first_for_consumer
    message.user_id = command.user_id
    message.redelivered = redeliveries > 0
    message.delivery_count = redeliveries + 1
    return message


def _body_to_command(message: Message) -> MessageCommand:
    command: MessageCommand = ActiveMQMessage()
    match message:
        case TextMessage(text=str() as text):
            command = ActiveMQTextMessage(content=text_body(text))
        case TextMessage():
            command = ActiveMQTextMessage()
        case BytesMessage(data=data):
            command = ActiveMQBytesMessage(content=bytes(data))
        case MapMessage(entries=entries):
            command = ActiveMQMapMessage(content=encode_map(cast(Mapping[str, Value], entries)))
        case StreamMessage(values=values):
            command = ActiveMQStreamMessage(content=encode_stream(values))
        case ObjectMessage(data=data):
            command = ActiveMQObjectMessage(content=bytes(data))
        case _:
            pass
    return command


def _body_from_command(command: MessageCommand) -> Message:
    content = _content(command)
    reader = _BODY_READERS.get(type(command))
    return reader(content) if reader is not None else Message()


def _text_message(content: bytes | None) -> Message:
    return TextMessage(None if content is None else decode_text(content))


def _map_message(content: bytes | None) -> Message:
    entries = decode_map(content) if content else None
    return MapMessage(cast(dict[str, BodyValue], entries or {}))


def _stream_message(content: bytes | None) -> Message:
    return StreamMessage(cast(list[BodyValue], decode_stream(content or b"")))


_BODY_READERS: dict[type[MessageCommand], Callable[[bytes | None], Message]] = {
    ActiveMQTextMessage: _text_message,
    ActiveMQBytesMessage: lambda content: BytesMessage(content or b""),
    ActiveMQMapMessage: _map_message,
    ActiveMQStreamMessage: _stream_message,
    ActiveMQObjectMessage: lambda content: ObjectMessage(content or b""),
}


def _properties_to_bytes(message: Message) -> bytes | None:
    properties = dict(message.properties)
    if GROUP_ID in properties:
        message.group_id = str(properties.pop(GROUP_ID))
    if GROUP_SEQUENCE in properties:
        message.group_sequence = int(cast(int, properties.pop(GROUP_SEQUENCE)))
    if not properties:
        return None
    for name, value in properties.items():
        if not name:
            raise MessageFormatError("a property needs a name")
        if not isinstance(value, bool | int | float | str | None):
            raise MessageFormatError(f"property {name} is a {type(value).__name__}, which no property may be")
    return encode_map(cast(Mapping[str, Value], properties))


def _compress(command: MessageCommand) -> None:
    assert command.content is not None
    command.content = deflated(_deflated_kind(command), command.content)
    command.compressed = True


def _content(command: MessageCommand) -> bytes | None:
    content = command.content
    return (
        content if content is None or not command.compressed else inflated(_deflated_kind(command), content)
    )


def _deflated_kind(command: MessageCommand) -> BodyKind:
    """What tells how a body is compressed: as bytes, or as all others."""
    return BodyKind.BYTES if isinstance(command, ActiveMQBytesMessage) else BodyKind.NONE
