"""MQTT's packets as bytes: reads what clients send, writes what servers send.

A packet is a fixed header (type and flags in one byte, the length of the rest in one to four) and its body.
The readers take the whole data with the place of the body, so that a PUBLISH is read without a copy of it;
what they return is checked in everything that needs no knowledge of earlier packets.

Source: MQTT 3.1 §3, MQTT 3.1.1 §2 and §3, MQTT 5.0 §2 and §3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from broker.mqtt import limits, property_codec, reasons
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.packets import (
    NO_PROPERTIES,
    V3_1,
    V5,
    Auth,
    Connect,
    Disconnect,
    PacketType,
    Pingreq,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)
from broker.mqtt.property_codec import (
    read_binary,
    read_byte,
    read_properties,
    read_short,
    read_string,
    too_short,
    write_length,
    write_properties,
)
from broker.mqtt.reasons import ReasonCode
from broker.mqtt.topics import SHARE, check_filter, check_topic, read_topic

ClientPacket = (
    Connect
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Unsubscribe
    | Pingreq
    | Disconnect
    | Auth
)

_PROTOCOLS: Final = {(b"MQIsdp", 3): 3, (b"MQTT", 4): 4, (b"MQTT", 5): 5}
_ACK: Final = struct.Struct(">BBH")
assert _ACK.size == 4
_SHORT: Final = struct.Struct(">H")

PINGRESP: Final = b"\xd0\x00"


# ---- CONNECT


def read_protocol(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a CONNECT's first two fields.

    Returns:
        The version, and where the rest begins.

    Raises:
        PacketInvalid: it is not MQTT, or a version that is not spoken here.
    """
    name, at = read_binary(data, at, end)
    if name not in (b"MQTT", b"MQIsdp"):  # [MQTT-3.1.2-1]
        raise PacketInvalid("the client does not speak MQTT: its protocol name is another", "5.0 §3.1.2.1")
    level, at = read_byte(data, at, end)
    version = _PROTOCOLS.get((name, level))
    if version is None:  # [MQTT-3.1.2-2]
        raise PacketInvalid(
            f"version {level} of {name.decode()} is not supported",
            "5.0 §3.1.2.2",
            ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
        )
    return version, at


def read_connect(data: bytes, at: int, end: int, version: int) -> Connect:
    """Read the rest of a CONNECT's body.

    Args:
        data: holds it.
        at: what `read_protocol` returned.
        end: where the packet ends.
        version: likewise.

    Raises:
        PacketInvalid: it is none.
    """
    flags, at = read_byte(data, at, end)
    _check_connect_flags(flags, version)
    connect = Connect(version, "", bool(flags & 0x02))
    connect.keep_alive_s, at = read_short(data, at, end)
    if version == V5:
        connect.properties, at = read_properties(data, at, end, property_codec.OF_CONNECT)
    connect.client_id, at = read_string(data, at, end)
    if flags & 0x04:
        connect.will, at = _read_will(data, at, end, flags, version)
    # 3.1 lets user name and password be absent against their flags
    if flags & 0x80 and (at < end or version > V3_1):
        connect.user_name, at = read_string(data, at, end)
    if flags & 0x40 and (at < end or version > V3_1):
        connect.password, at = read_binary(data, at, end)
    if at != end:
        raise PacketInvalid("a CONNECT goes on behind its last field", "5.0 §3.1.3")
    return connect


def _check_connect_flags(flags: int, version: int) -> None:
    if flags & 0x01 and version > V3_1:  # [MQTT-3.1.2-3]
        raise PacketInvalid("the reserved flag of a CONNECT is set", "5.0 §3.1.2.3")
    if flags & 0x18 == 0x18:  # [MQTT-3.1.2-12]
        raise PacketInvalid("the will's QoS is 3", "5.0 §3.1.2.6")
    if not flags & 0x04 and flags & 0x38 and version > V3_1:  # [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        raise PacketInvalid("there is a QoS or retain flag of a will, but no will", "5.0 §3.1.2.5")
    if flags & 0xC0 == 0x40 and version < V5:  # 3.1.1 [MQTT-3.1.2-22]
        raise PacketInvalid("there is a password without a user name", "3.1.1 §3.1.2.9")


def _read_will(data: bytes, at: int, end: int, flags: int, version: int) -> tuple[Will, int]:
    properties = NO_PROPERTIES
    if version == V5:
        properties, at = read_properties(data, at, end, property_codec.OF_WILL)
    topic, at = read_string(data, at, end)
    payload, at = read_binary(data, at, end)
    return Will(check_topic(topic), payload, flags >> 3 & 3, bool(flags & 0x20), properties), at


# ---- PUBLISH


def read_publish(first: int, data: bytes, at: int, end: int, version: int) -> Publish:
    """Read a PUBLISH.

    Args:
        first: the packet's first byte.
        data: holds the body.
        at: where it begins.
        end: where it ends.
        version: of the connection.

    Returns:
        It; in 5.0 the topic is empty if an alias is to replace it.

    Raises:
        PacketInvalid: it is none.
    """
    begin = at + 2
    if begin > end:
        raise too_short()
    at = begin + (data[at] << 8 | data[at + 1])
    if at > end:
        raise too_short()
    qos = first >> 1 & 3
    packet_id = 0
    if qos:
        if qos == 3:  # [MQTT-3.3.1-4]
            raise PacketInvalid("the QoS of a PUBLISH is 3", "5.0 §3.3.1.2")
        if at + 2 > end:
            raise too_short()
        packet_id = data[at] << 8 | data[at + 1]
        if not packet_id:  # [MQTT-2.2.1-3]
            raise _no_packet_id()
    elif first & 0x08 and version > V3_1:  # [MQTT-3.3.1-2]
        raise PacketInvalid("a PUBLISH of QoS 0 says that it is sent again", "5.0 §3.3.1.1")
    raw = data[begin:at]
    if qos:
        at += 2
    if version == V5:
        if at < end and not data[at]:
            at += 1
            properties = NO_PROPERTIES
        else:
            properties, at = read_properties(data, at, end, property_codec.OF_PUBLISH)
        topic = read_topic(raw) if raw or properties.topic_alias is None else ""
        return Publish(topic, data[at:end], qos, bool(first & 1), bool(first & 8), packet_id, properties)
    return Publish(read_topic(raw), data[at:end], qos, bool(first & 1), bool(first & 8), packet_id)


def _no_packet_id() -> PacketInvalid:
    return PacketInvalid("a packet identifier is 0", "5.0 §2.2.1", ReasonCode.PROTOCOL_ERROR)


def write_publish(
    first: int, topic: bytes, packet_id: int, payload: bytes, properties: bytes | None = None
) -> bytes:
    """A PUBLISH.

    Args:
        first: type and flags, from 0x30.
        topic: in UTF-8.
        packet_id: left out if it is 0.
        payload: any bytes.
        properties: without their length; None before 5.0.
    """
    head = _SHORT.pack(len(topic)) + topic
    if packet_id:
        head += _SHORT.pack(packet_id)
    if properties is not None:
        size = len(properties)
        head += b"\0" if not size else write_length(size) + properties
    size = len(head) + len(payload)
    if size < 0x80:
        return b"%c%c%b%b" % (first, size, head, payload)
    return b"%c%b%b%b" % (first, write_length(size), head, payload)


# ---- the others


def _read_ack(
    data: bytes, at: int, end: int, version: int, codes: frozenset[int]
) -> tuple[int, int, Properties]:
    packet_id, at = read_short(data, at, end)
    if not packet_id:
        raise _no_packet_id()
    code = 0
    properties = NO_PROPERTIES
    if version == V5 and at < end:
        code, at = read_byte(data, at, end)
        if code not in codes:
            raise PacketInvalid(
                f"an acknowledgement has the reason code {code:#04x}", "5.0 §2.4", ReasonCode.PROTOCOL_ERROR
            )
        if at < end:
            properties, at = read_properties(data, at, end, property_codec.OF_ACK)
    if at != end:
        raise PacketInvalid("an acknowledgement goes on behind its last field", "5.0 §2.1.4")
    return packet_id, code, properties


def _read_puback(data: bytes, at: int, end: int, version: int) -> Puback:
    return Puback(*_read_ack(data, at, end, version, reasons.OF_PUBLISH))


def _read_pubrec(data: bytes, at: int, end: int, version: int) -> Pubrec:
    return Pubrec(*_read_ack(data, at, end, version, reasons.OF_PUBLISH))


def _read_pubrel(data: bytes, at: int, end: int, version: int) -> Pubrel:
    return Pubrel(*_read_ack(data, at, end, version, reasons.OF_RELEASE))


def _read_pubcomp(data: bytes, at: int, end: int, version: int) -> Pubcomp:
    return Pubcomp(*_read_ack(data, at, end, version, reasons.OF_RELEASE))


def _read_head(
    data: bytes, at: int, end: int, version: int, allowed: frozenset[int]
) -> tuple[int, Properties, int]:
    """What SUBSCRIBE and UNSUBSCRIBE begin with."""
    packet_id, at = read_short(data, at, end)
    if not packet_id:  # [MQTT-2.2.1-3]
        raise _no_packet_id()
    properties = NO_PROPERTIES
    if version == V5:
        properties, at = read_properties(data, at, end, allowed)
    if at == end:  # [MQTT-3.8.3-2], [MQTT-3.10.3-2]
        raise PacketInvalid("there is no topic filter", "5.0 §3.8.3, §3.10.3", ReasonCode.PROTOCOL_ERROR)
    return packet_id, properties, at


def _check_filters(count: int) -> None:
    if count > limits.FILTERS_MAX:
        raise PacketInvalid(
            f"a packet has more than {limits.FILTERS_MAX} topic filters",
            "a limit of this broker",
            ReasonCode.QUOTA_EXCEEDED,
        )


def _read_subscribe(data: bytes, at: int, end: int, version: int) -> Subscribe:
    packet_id, properties, at = _read_head(data, at, end, version, property_codec.OF_SUBSCRIBE)
    if len(properties.subscription_ids) > 1:
        raise PacketInvalid(
            "a SUBSCRIBE has two subscription identifiers", "5.0 §3.8.2.1.2", ReasonCode.PROTOCOL_ERROR
        )
    subscriptions: list[Subscription] = []
    while at < end:
        text, at = read_string(data, at, end)
        options, at = read_byte(data, at, end)
        if version == V3_1:
            options &= 3  # 3.1 does not use the other bits
        subscriptions.append(_subscription(check_filter(text), options, version))
        _check_filters(len(subscriptions))
    return Subscribe(packet_id, tuple(subscriptions), properties)


def _subscription(topic_filter: str, options: int, version: int) -> Subscription:
    if options & (0xC0 if version == V5 else 0xFC):  # [MQTT-3.8.3-5]; 3.1.1 [MQTT-3-8.3-4]
        raise PacketInvalid("reserved bits of subscription options are set", "5.0 §3.8.3.1")
    if options & 3 == 3:
        raise PacketInvalid("the QoS of a subscription is 3", "5.0 §3.8.3.1", ReasonCode.PROTOCOL_ERROR)
    subscription = Subscription(
        topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3
    )
    if subscription.retain_handling == 3:
        raise PacketInvalid("the retain handling is 3", "5.0 §3.8.3.1", ReasonCode.PROTOCOL_ERROR)
    if subscription.no_local and topic_filter.startswith(SHARE):  # [MQTT-3.8.3-4]
        raise PacketInvalid(
            "a shared subscription asks for no local messages", "5.0 §3.8.3.1", ReasonCode.PROTOCOL_ERROR
        )
    return subscription


def _read_unsubscribe(data: bytes, at: int, end: int, version: int) -> Unsubscribe:
    packet_id, properties, at = _read_head(data, at, end, version, property_codec.OF_UNSUBSCRIBE)
    filters: list[str] = []
    while at < end:
        text, at = read_string(data, at, end)
        filters.append(check_filter(text))
        _check_filters(len(filters))
    return Unsubscribe(packet_id, tuple(filters), properties)


def _read_pingreq(data: bytes, at: int, end: int, version: int) -> Pingreq:
    del data, version
    if at != end:
        raise PacketInvalid("a PINGREQ has a body", "5.0 §3.12")
    return Pingreq()


def _read_disconnect(data: bytes, at: int, end: int, version: int) -> Disconnect:
    code = 0
    properties = NO_PROPERTIES
    if version == V5 and at < end:
        code, at = read_byte(data, at, end)
        if code not in reasons.OF_CLIENT_DISCONNECT:
            raise PacketInvalid(
                f"a DISCONNECT has the reason code {code:#04x}", "5.0 §3.14.2.1", ReasonCode.PROTOCOL_ERROR
            )
        if at < end:
            properties, at = read_properties(data, at, end, property_codec.OF_DISCONNECT)
    if at != end:
        raise PacketInvalid("a DISCONNECT goes on behind its last field", "5.0 §3.14")
    return Disconnect(code, properties)


def _read_auth(data: bytes, at: int, end: int, version: int) -> Auth:
    del data, at, end, version
    return Auth()  # its content does not matter: see Connection


_READERS: Final[dict[int, Callable[[bytes, int, int, int], ClientPacket]]] = {
    0x40: _read_puback,
    0x50: _read_pubrec,
    0x62: _read_pubrel,
    0x70: _read_pubcomp,
    0x82: _read_subscribe,
    0xA2: _read_unsubscribe,
    0xC0: _read_pingreq,
    0xE0: _read_disconnect,
    0xF0: _read_auth,
}
"""By the first byte, which has the only flags that are allowed."""
_FLAGS: Final[dict[int, int]] = {PacketType.PUBREL: 2, PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}
"""What the lower four bits of the first byte must be where that is not 0."""
_DUP: Final = 8
_AUTH: Final = 0xF0


def read_packet(first: int, data: bytes, at: int, end: int, version: int) -> ClientPacket:
    """Read a packet of a client that has connected.

    Args:
        first: its first byte.
        data: holds the body.
        at: where it begins.
        end: where it ends.
        version: of the connection.

    Raises:
        PacketInvalid: it is none.
    """
    reader = _READERS.get(first)
    if reader is None:
        return _read_odd(first, data, at, end, version)
    if first == _AUTH and version < V5:
        raise _no_such_type(PacketType.AUTH)
    return reader(data, at, end, version)


def _read_odd(first: int, data: bytes, at: int, end: int, version: int) -> ClientPacket:
    """A PUBLISH, or a packet of 3.1 that says that it is sent again.

    Raises:
        PacketInvalid: it is neither.
    """
    kind = first >> 4
    if kind == PacketType.PUBLISH:
        return read_publish(first, data, at, end, version)
    wanted = _FLAGS.get(kind, 0)
    if kind << 4 | wanted not in _READERS or (kind == PacketType.AUTH and version < V5):
        raise _no_such_type(kind)
    if version == V3_1 and wanted and first & 0x0F == wanted | _DUP:
        return _READERS[kind << 4 | wanted](data, at, end, version)
    raise PacketInvalid(  # [MQTT-2.1.3-1]
        f"the flags of a {PacketType(kind).name} are {first & 0x0F:#x}", "5.0 §2.1.3"
    )


def _no_such_type(kind: int) -> PacketInvalid:
    return PacketInvalid(f"a client's packet has the type {kind}", "5.0 §2.1.2", ReasonCode.PROTOCOL_ERROR)


def write_packet(kind: PacketType, body: bytes, flags: int = 0) -> bytes:
    """A packet of any type."""
    return b"%c%b%b" % (kind << 4 | flags, write_length(len(body)), body)


def _written(properties: Properties) -> bytes:
    data = write_properties(properties)
    return write_length(len(data)) + data


def write_connack(session_present: bool, code: int, properties: Properties | None) -> bytes:
    """A CONNACK; without properties for 3.1 and 3.1.1, whose return code `code` is."""
    body = bytes((session_present, code))
    return write_packet(PacketType.CONNACK, body if properties is None else body + _written(properties))


def write_ack(
    kind: PacketType, packet_id: int, code: int = 0, properties: Properties = NO_PROPERTIES
) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP; with a code or properties only for 5.0."""
    flags = _FLAGS.get(kind, 0)
    if properties is NO_PROPERTIES:
        if not code:
            return _ACK.pack(kind << 4 | flags, 2, packet_id)
        return write_packet(kind, _SHORT.pack(packet_id) + bytes((code,)), flags)
    return write_packet(kind, b"%b%c%b" % (_SHORT.pack(packet_id), code, _written(properties)), flags)


def write_puback(packet_id: int) -> bytes:
    """A PUBACK that says that all is well."""
    return _ACK.pack(0x40, 2, packet_id)


def write_suback(
    kind: PacketType, packet_id: int, codes: Sequence[int], properties: Properties | None
) -> bytes:
    """A SUBACK or UNSUBACK; without properties before 5.0."""
    head = _SHORT.pack(packet_id)
    return write_packet(kind, head + (b"" if properties is None else _written(properties)) + bytes(codes))


def write_disconnect(code: int, properties: Properties = NO_PROPERTIES) -> bytes:
    """A DISCONNECT of 5.0."""
    if properties is NO_PROPERTIES:
        return write_packet(PacketType.DISCONNECT, bytes((code,)))
    return write_packet(PacketType.DISCONNECT, bytes((code,)) + _written(properties))
