"""Bytes of other people's clients read, and bytes of another server written, by ours.

``mosquitto-2.0.11.tsv`` holds whole connections, as a recording proxy saw them: program, version of the
protocol, who sent it, and the bytes. The clients are Mosquitto's ``mosquitto_pub`` and ``mosquitto_sub``
2.0.11 (Debian's 2.0.11-1.2+deb12u1) and Eclipse Paho for Python 2.2.0, the server is Mosquitto 2.0.11.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from support import mqtt_peer as peer
from support.mqtt_connection import Link
from support.mqtt_peer import Reply

from broker.mqtt import codec, limits
from broker.mqtt.codec import ClientPacket
from broker.mqtt.connection import State
from broker.mqtt.framing import Framing
from broker.mqtt.packets import (
    NO_PROPERTIES,
    Connect,
    Disconnect,
    PacketType,
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
from broker.mqtt.property_codec import OF_CONNACK, write_properties

GOLDEN = Path(__file__).with_name("mosquitto-2.0.11.tsv")
PUB, SUB, PAHO = "mosquitto_pub QoS 2", "mosquitto_sub", "paho"


class Recorded(NamedTuple):
    """One direction of a connection."""

    program: str
    version: int
    side: str
    data: bytes


def recorded(side: str) -> list[Recorded]:
    """All connections, in one direction."""
    rows = [line.split("\t") for line in GOLDEN.read_text("ascii").splitlines()]
    found = [Recorded(each[0], int(each[1]), each[2], bytes.fromhex(each[3])) for each in rows]
    return [each for each in found if each.side == side]


def packets_of(data: bytes) -> list[ClientPacket]:
    """What a client said, without the judgement of a connection that has not sent what is answered."""
    framing = Framing(limits.LENGTH_MAX)
    packets = framing.receive(data)
    framing.go_on()
    packets += framing.receive(b"")
    assert framing.error is None
    assert not framing.is_inside
    return packets


def said(program: str, version: int) -> list[ClientPacket]:
    """What a program said."""
    (found,) = [each for each in recorded("client") if each[:2] == (program, version)]
    return packets_of(found.data)


@pytest.mark.parametrize("each", recorded("client"), ids=lambda each: f"{each.program} {each.version}")
def test_everything_a_client_said_is_understood(each: Recorded) -> None:
    """It begins with CONNECT and ends with DISCONNECT."""
    packets = packets_of(each.data)
    connect = packets[0]
    assert isinstance(connect, Connect)
    assert connect.version == each.version
    assert isinstance(packets[-1], Disconnect)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_message_with_all_options(version: int) -> None:
    """What was given on Mosquitto's command line arrives."""
    connect, message = said(PUB, version)[:2]
    assert isinstance(connect, Connect)
    assert (connect.client_id, connect.keep_alive_s, connect.clean_start) == ("pub1", 30, True)
    assert (connect.user_name, connect.password) == ("user", b"pass")
    will, properties, connect_properties = NO_PROPERTIES, NO_PROPERTIES, NO_PROPERTIES
    if version == 5:
        will = Properties(will_delay_s=9)
        properties = Properties(
            content_type="text/plain",
            payload_format=1,
            message_expiry_s=60,
            response_topic="re/ply",
            correlation_data=b"c1",
            user=(("a", "1"), ("a", "2")),
            topic_alias=3,
        )
        connect_properties = Properties(
            request_problem_information=0,
            session_expiry_s=120,
            receive_maximum=7,
            maximum_packet_size=4096,
            topic_alias_maximum=5,
            user=(("k", "v"),),
        )
    assert connect.will == Will("w/t", b"gone", 1, True, will)
    assert message == Publish("g/é/x", "héllo".encode(), 2, True, False, 1, properties)
    assert connect.properties == connect_properties


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_subscriber(version: int) -> None:
    """Its subscriptions, and its answers to messages of all qualities."""
    packets = said(SUB, version)
    properties = Properties(subscription_ids=(300,)) if version == 5 else NO_PROPERTIES
    assert [each for each in packets if isinstance(each, Subscribe | Unsubscribe)] == [
        Subscribe(1, (Subscription("live/+", 2), Subscription("g/#", 2)), properties),
        Unsubscribe(2, ("none/x",)),
    ]
    assert any(isinstance(each, Pubrec) for each in packets)
    assert any(isinstance(each, Puback) for each in packets)
    assert any(isinstance(each, Pubcomp) for each in packets)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_paho(version: int) -> None:
    """Its will, its subscriptions, its messages."""
    events = said(PAHO, version)
    connect = events[0]
    assert isinstance(connect, Connect)
    assert connect.will == Will("w/paho", b"\0\1", 2)
    first, second = Subscription("p/#", 2), Subscription("q/+", 1)
    properties, of_message = NO_PROPERTIES, NO_PROPERTIES
    if version == 5:
        first = Subscription("p/#", 2, retain_as_published=True, retain_handling=1)
        second = Subscription("$share/g/s/+", 1)
        properties = Properties(subscription_ids=(5,))
        of_message = Properties(response_topic="r", correlation_data=b"\xff", user=(("a", "1"),))
    messages = [event for event in events if isinstance(event, Publish)]
    assert events[1] == Subscribe(1, (first, second), properties)
    assert messages == [
        Publish("p/0", b"x"),
        Publish("p/1", bytes(range(200)), 1, packet_id=messages[1].packet_id, properties=of_message),
        Publish("p/2", b"x", 2, packet_id=messages[2].packet_id),
    ]
    assert any(isinstance(event, Pubrel) for event in events)


# ---- the other server


def properties_of(values: list[peer.Property]) -> bytes:
    """Properties as ours writes them, of what was read."""
    return peer.properties(values)


def rewritten(reply: Reply, version: int) -> bytes:
    """A packet of the server, by our writers."""
    is_v5 = version == 5
    values = properties_of(reply.values)
    match reply.kind:
        case peer.CONNACK:
            told = Properties() if is_v5 else None
            data = codec.write_connack(reply.session_present, reply.code, told)
            return data if not is_v5 else packet_with(data, values)
        case peer.PUBLISH:
            inner = values[1:] if is_v5 else None
            return codec.write_publish(
                0x30 | reply.flags, reply.topic.encode(), reply.packet_id, reply.payload, inner
            )
        case peer.SUBACK | peer.UNSUBACK:
            kind = PacketType(reply.kind)
            return codec.write_suback(kind, reply.packet_id, reply.codes, Properties() if is_v5 else None)
        case peer.PINGRESP:
            return codec.PINGRESP
    return codec.write_ack(PacketType(reply.kind), reply.packet_id, reply.code)


def packet_with(data: bytes, values: bytes) -> bytes:
    """A packet whose empty properties, its last byte, are replaced."""
    return peer.packet(data[0], data[2:-1] + values)


@pytest.mark.parametrize("each", recorded("server"), ids=lambda each: f"{each.program} {each.version}")
def test_our_writers_write_what_another_server_wrote(each: Recorded) -> None:
    """Byte for byte, with the properties in its order."""
    replies, rest = peer.read_replies(each.data, each.version)
    assert not rest
    assert replies[0].kind == peer.CONNACK
    assert b"".join(rewritten(reply, each.version) for reply in replies) == each.data


def test_our_connack_has_the_properties_of_the_other() -> None:
    """Only their order is another."""
    (each,) = [row for row in recorded("server") if row[:2] == (PAHO, 5)]
    connack = peer.read_replies(each.data, 5)[0][0]
    ours = codec.write_connack(False, 0, Properties(receive_maximum=20, topic_alias_maximum=10))
    assert sorted(peer.read_replies(ours, 5)[0][0].values) == sorted(connack.values)
    assert {number for number, _ in connack.values} <= OF_CONNACK
    assert write_properties(Properties(receive_maximum=20)) == b"\x21\0\x14"


def test_a_connection_that_was_recorded_ends_well() -> None:
    """All of it is understood, and its DISCONNECT closes the connection."""
    (each,) = [row for row in recorded("client") if row[:2] == ("mosquitto_pub QoS 1", 4)]
    link = Link(4)
    link.say(each.data)
    link.connection.accept(link.now_s)
    assert link.say() == [Publish("g/é/x", "héllo".encode(), 1, packet_id=1), Disconnect()]
    assert link.connection.state is State.CLOSED
