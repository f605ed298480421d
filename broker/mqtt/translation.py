"""MQTT's messages as the broker's, and the other way round.

A message that came by MQTT keeps what its subscribers are sent, as :data:`WIRE_FORMAT`::

    flags        1 byte: QoS, 4 retain, 8 retained
    timestamp    8 bytes, milliseconds since the epoch
    expiration   8 bytes, likewise; 0 never
    lengths      2 bytes of the message id, 2 of the topic, 4 of the properties
    message id, topic, properties of 5.0 that go to subscribers unchanged, payload

Everybody else sees the neutral attributes: a bytes message, or a text message if the payload format indicator
says that it is UTF-8, persistent if its QoS is above 0, whose
properties are the user properties and those named below. Source: ActiveMQ's `MQTTProtocolConverter`.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from broker.conversion import as_text, marshalled, payload_of, text_body_of_utf8, utf8_text
from broker.destination import Destination, DestinationKind
from broker.errors import CodecError, MessageInvalid
from broker.message import WIRE_READERS, WIRE_REWRITERS, BodyKind, Message
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.limits import CACHED_TOPICS_MAX, TEXT_BYTES_MAX, USER_PROPERTIES_MAX
from broker.mqtt.packets import NO_PROPERTIES, Properties, Publish, Will
from broker.mqtt.property_codec import OF_MESSAGE, read_properties, write_length, write_properties
from broker.mqtt.topics import destination_name, topic_of
from broker.properties import properties_of

WIRE_FORMAT: Final = "mqtt"
QOS_PROPERTY: Final = "ActiveMQ.MQTT.QoS"
"""With which QoS a message was published, a number."""
CONTENT_TYPE_PROPERTY: Final = "ActiveMQ.MQTT.ContentType"
"""The content type, a text."""
PAYLOAD_FORMAT_PROPERTY: Final = "ActiveMQ.MQTT.PayloadFormat"
"""The payload format indicator, a number: 1 is UTF-8."""
RETAIN_PROPERTY: Final = "ActiveMQ.Retain"
RETAINED_PROPERTY: Final = "ActiveMQ.Retained"
TYPE_PROPERTY: Final = "JMSType"
GROUP_ID_PROPERTY: Final = "JMSXGroupID"
GROUP_SEQUENCE_PROPERTY: Final = "JMSXGroupSeq"
"""The user properties that have a message's type and group, of messages that came by another protocol."""
OWN_PREFIX: Final = "ActiveMQ."
"""What the names of properties begin with that mean something to the broker; user properties of such names
are not for others."""
BINARY_CORRELATION: Final = "ID:MQTT_BINARY:"
"""Stands before correlation data in hexadecimal, where they are no text."""

_log: Final = logging.getLogger("broker.mqtt")
_HEAD: Final = struct.Struct(">BqqHHI")
assert _HEAD.size == 25
_QOS: Final = 3
_RETAIN: Final = 4
_RETAINED: Final = 8
_EXPIRY: Final = struct.Struct(">BI")


class Outgoing(NamedTuple):
    """What a subscriber is sent of a message.

    Attributes:
        topic: UTF-8; empty: no topic name stands for the message's destination.
        payload: any bytes.
        qos: with which it was published.
        retain: its publisher wanted it retained.
        retained: it was.
        properties: for clients of 5.0, written; the rest is the subscription's and the moment's.
    """

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    retained: bool
    properties: bytes


@lru_cache(CACHED_TOPICS_MAX)
def destination_of(topic: str) -> Destination:
    """The destination of a topic name or filter."""
    return Destination.topic(destination_name(topic))


@lru_cache(CACHED_TOPICS_MAX)
def _topic_bytes(name: str) -> bytes:
    return topic_of(name).encode("utf-8", "replace")


# ---- from MQTT


def from_publish(packet: Publish | Will, message_id: str, now_ms: int) -> Message:
    """The message of a PUBLISH or of a will."""
    properties = packet.properties
    expiry_s = properties.message_expiry_s
    kept = b"" if properties is NO_PROPERTIES else write_properties(properties, OF_MESSAGE)
    return _message(
        packet.qos | (_RETAIN if packet.retain else 0),
        now_ms,
        0 if expiry_s is None else now_ms + max(1000 * expiry_s, 1),
        message_id,
        packet.topic,
        properties if kept else NO_PROPERTIES,
        kept,
        packet.payload,
    )


def _message(  # noqa: PLR0917 - the fields of the frame, in their order
    flags: int,
    timestamp: int,
    expiration: int,
    message_id: str,
    topic: str,
    properties: Properties,
    kept: bytes,
    payload: bytes,
    wire: bytes | None = None,
) -> Message:
    if wire is None:
        id_, name = message_id.encode(), topic.encode()
        head = _HEAD.pack(flags, timestamp, expiration, len(id_), len(name), len(kept))
        wire = b"%b%b%b%b%b" % (head, id_, name, kept, payload)
    message = Message(
        message_id,
        destination_of(topic),
        persistent=bool(flags & _QOS),
        expiration=expiration,
        timestamp=timestamp,
        properties=_plain(flags) if properties is NO_PROPERTIES else _marshalled(flags, properties),
        body_kind=BodyKind.BYTES,
        body=payload,
        wire_format=WIRE_FORMAT,
        wire=wire,
    )
    if properties is not NO_PROPERTIES:
        if properties.payload_format == 1:
            with contextlib.suppress(CodecError):  # its publisher is wrong: bytes
                message.body, message.body_kind = text_body_of_utf8(payload), BodyKind.TEXT
        if properties.response_topic:
            message.reply_to = destination_of(properties.response_topic)
        if properties.correlation_data is not None:
            message.correlation_id = _correlation_id(properties.correlation_data)
    return message


@lru_cache(64)
def _plain(flags: int) -> bytes | None:
    return marshalled(_own(flags))


def _own(flags: int) -> dict[str, object]:
    own: dict[str, object] = {QOS_PROPERTY: flags & _QOS}
    if flags & _RETAIN:
        own[RETAIN_PROPERTY] = True
    if flags & _RETAINED:
        own[RETAINED_PROPERTY] = True
    return own


def _marshalled(flags: int, properties: Properties) -> bytes | None:
    values: dict[str, object] = {
        name: value for name, value in properties.user if not name.startswith(OWN_PREFIX)
    }
    if properties.content_type is not None:
        values[CONTENT_TYPE_PROPERTY] = properties.content_type
    if properties.payload_format is not None:
        values[PAYLOAD_FORMAT_PROPERTY] = properties.payload_format
    return marshalled({**values, **_own(flags)})


def _correlation_id(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return BINARY_CORRELATION + data.hex().upper()


def _split(wire: bytes) -> tuple[int, int, int, bytes, bytes, bytes, bytes]:
    """Flags, timestamp, expiration, message id, topic, properties, payload.

    Raises:
        MessageInvalid: it is none.
    """
    try:
        flags, timestamp, expiration, of_id, of_topic, of_properties = _HEAD.unpack_from(wire)
    except struct.error as error:
        raise MessageInvalid("The stored message is shorter than its header.") from error
    at = _HEAD.size + of_id
    begin = at + of_topic
    end = begin + of_properties
    if end > len(wire):
        raise MessageInvalid("The stored message is shorter than its header says.")
    return flags, timestamp, expiration, wire[_HEAD.size : at], wire[at:begin], wire[begin:end], wire[end:]


def read_wire(wire: bytes) -> Message:
    """The message of a frame.

    Raises:
        MessageInvalid: it is none.
    """
    flags, timestamp, expiration, id_, topic, kept, payload = _split(wire)
    try:
        return _message(
            flags, timestamp, expiration, id_.decode(), topic.decode(), _read(kept), kept, payload, wire
        )
    except (UnicodeDecodeError, PacketInvalid) as error:
        raise MessageInvalid(f"The stored message cannot be read: {error}.") from error


def _read(kept: bytes) -> Properties:
    if not kept:
        return NO_PROPERTIES
    data = write_length(len(kept)) + kept
    return read_properties(data, 0, len(data), frozenset(OF_MESSAGE))[0]


def rewrite(message: Message, original: Destination | None) -> bytes | None:
    """The frame of a message of which only times, and whether it is retained, are other than before.

    Raises:
        MessageInvalid: its frame is damaged.
    """
    assert message.wire is not None
    flags, _, _, id_, topic, kept, payload = _split(message.wire)
    values = properties_of(replace(message, decoded=None))
    flags = (
        flags & _QOS | (RETAIN_PROPERTY in values and _RETAIN) | (RETAINED_PROPERTY in values and _RETAINED)
    )
    head = _HEAD.pack(flags, message.timestamp, message.expiration, len(id_), len(topic), len(kept))
    wire = b"%b%b%b%b%b" % (head, id_, topic, kept, payload)
    same = read_wire(wire)
    changed = original is not None or same.destination != message.destination
    changed = changed or same.persistent != message.persistent or properties_of(same) != values
    return None if changed else wire


WIRE_READERS[WIRE_FORMAT] = read_wire
WIRE_REWRITERS[WIRE_FORMAT] = rewrite


# ---- to MQTT


def outgoing(message: Message) -> Outgoing:
    """What subscribers are sent of a message."""
    if message.wire_format == WIRE_FORMAT and message.wire is not None:
        flags, _, _, _, topic, kept, payload = _split(message.wire)
        return Outgoing(topic, payload, flags & _QOS, bool(flags & _RETAIN), bool(flags & _RETAINED), kept)
    values = properties_of(message)
    qos = values.get(QOS_PROPERTY)
    name = message.destination.name
    return Outgoing(
        _topic_bytes(name) if len(name) <= TEXT_BYTES_MAX // 4 else b"",
        payload_of(message),
        qos if isinstance(qos, int) and 0 <= qos <= 2 else int(message.persistent),
        _is_true(values.get(RETAIN_PROPERTY)),
        _is_true(values.get(RETAINED_PROPERTY)),
        write_properties(_properties(message), OF_MESSAGE),
    )


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def _properties(message: Message) -> Properties:
    """The properties of 5.0 of a message that came by another protocol."""
    values = properties_of(message)
    properties = Properties()
    content_type, format_ = values.get(CONTENT_TYPE_PROPERTY), values.get(PAYLOAD_FORMAT_PROPERTY)
    if isinstance(content_type, str) and _fits(content_type):
        properties.content_type = content_type
    if format_ in (0, 1):
        properties.payload_format = 1 if format_ == 1 else 0
    elif message.body_kind in (BodyKind.TEXT, BodyKind.MAP, BodyKind.STREAM):
        properties.payload_format = 1
    reply_to = message.reply_to
    if reply_to is not None and reply_to.kind in (DestinationKind.TOPIC, DestinationKind.TEMP_TOPIC):
        topic = topic_of(reply_to.name)
        if topic and "+" not in topic and "#" not in topic and _fits(topic):
            properties.response_topic = topic
    if message.correlation_id is not None:
        properties.correlation_data = _correlation_data(message.correlation_id)
    user = [] if message.type is None else [(TYPE_PROPERTY, message.type)]
    if message.group_id is not None:
        user += [
            (GROUP_ID_PROPERTY, message.group_id),
            (GROUP_SEQUENCE_PROPERTY, str(message.group_sequence)),
        ]
    user += [(name, as_text(value)) for name, value in values.items() if not name.startswith(OWN_PREFIX)]
    properties.user = tuple(
        (name, value) for name, value in user[:USER_PROPERTIES_MAX] if _fits(name) and _fits(value)
    )
    return properties


def _fits(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return utf8_text(text, TEXT_BYTES_MAX) is not None


def _correlation_data(correlation_id: str) -> bytes | None:
    if correlation_id.startswith(BINARY_CORRELATION):
        try:
            return bytes.fromhex(correlation_id.removeprefix(BINARY_CORRELATION))
        except ValueError:
            pass
    data = correlation_id.encode("utf-8", "replace")
    return data if len(data) <= TEXT_BYTES_MAX else None


def expiry_property(expiration: int, now_ms: int) -> bytes:
    """What is left of a message's lifetime, written."""  # [MQTT-3.3.2-6]
    return _EXPIRY.pack(2, min(max(-(-(expiration - now_ms) // 1000), 1), 0xFFFFFFFF))


def subscription_property(subscription_id: int) -> bytes:
    """The identifier of a subscription, written."""
    return b"\x0b" + write_length(subscription_id) if subscription_id else b""


# ---- wills


def encode_will(will: Will) -> bytes:
    """A will as it is stored."""
    properties = write_properties(will.properties)
    topic = will.topic.encode()
    flags = will.qos | (_RETAIN if will.retain else 0)
    return struct.pack(">BHI", flags, len(topic), len(properties)) + topic + properties + will.payload


def decode_will(data: bytes) -> Will | None:
    """The reverse; None if it cannot be read, which is logged."""
    try:
        flags, of_topic, of_properties = struct.unpack_from(">BHI", data)
        at = 7 + of_topic
        end = at + of_properties
        text = write_length(of_properties) + data[at:end]
        properties, _ = read_properties(text, 0, len(text), frozenset({*OF_MESSAGE, 2, 0x18}))
        return Will(data[7:at].decode(), data[end:], flags & _QOS, bool(flags & _RETAIN), properties)
    except (struct.error, CodecError, UnicodeDecodeError) as error:
        _log.error("A stored will cannot be read: %s", error)
        return None
