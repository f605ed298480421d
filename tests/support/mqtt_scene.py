"""Clients of a real broker, packet by packet: how they connect, publish and take what comes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import mqtt_peer as peer
from support.mqtt_peer import MqttPeer, Property, Reply
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

VERSIONS = (3, 4, 5)
SESSION_EXPIRY, WILL_DELAY, MESSAGE_EXPIRY = 0x11, 0x18, 0x02
RECEIVE_MAXIMUM, PACKET_BYTES = 0x21, 0x27
_numbers = itertools.count(1)


def started_broker(zookeeper: ZooKeeperForTests, folder: Path) -> Iterator[int]:
    """A broker that serves MQTT; gives the port."""
    add_user(zookeeper)
    port = free_port()
    properties = {"connectors": "openwire mqtt", "mqtt-port": str(port)}
    broker = OurBroker(zookeeper, folder, port=free_port(), properties=properties)
    with running(broker):
        broker.wait_listening()
        yield port


def unique(text: str) -> str:
    """A name that no other test uses."""
    return f"{text}{next(_numbers)}"


def client(port: int, name: str = "", version: int = 5, *, present: bool = False, **options: Any) -> MqttPeer:
    """A client that has connected; without a name one of its own, without `clean=False` a new session."""
    each = MqttPeer(port, version)
    connack = each.log_in(name or unique("c"), **options)
    if (connack.code, connack.session_present) != (0, present):
        each.socket.close()
        raise AssertionError(f"the session was to be {'present' if present else 'new'}: {connack}")
    return each


def kept(
    port: int,
    name: str,
    version: int,
    *,
    present: bool = False,
    values: tuple[Property, ...] = (),
    **options: Any,
) -> MqttPeer:
    """A client whose session is kept."""
    if version == 5:
        values = ((SESSION_EXPIRY, 600), *values)
    return client(port, name, version, present=present, clean=False, values=values, **options)


def publish(each: MqttPeer, topic: str, payload: bytes = b"", qos: int = 1, **options: Any) -> int:
    """Publish a message and wait for the last answer; returns that one's code."""
    packet_id = next(_numbers) % 60_000 + 1 if qos else 0
    each.say(peer.publish(topic, payload, qos, packet_id, version=each.version, **options))
    if not qos:
        return 0
    answer = each.wait(peer.PUBACK if qos == 1 else peer.PUBREC)
    assert answer.packet_id == packet_id
    if qos == 2 and answer.code < 0x80:
        each.say(peer.ack(peer.PUBREL, packet_id))
        answer = each.wait(peer.PUBCOMP)
        assert answer.packet_id == packet_id
    return answer.code


def take(each: MqttPeer) -> Reply:
    """The next message, answered as its QoS wants it."""
    message = each.wait(peer.PUBLISH)
    if message.qos == 1:
        each.say(peer.ack(peer.PUBACK, message.packet_id))
    elif message.qos == 2:
        each.say(peer.ack(peer.PUBREC, message.packet_id))
        pubrel = each.wait(peer.PUBREL)
        assert pubrel.packet_id == message.packet_id
        each.say(peer.ack(peer.PUBCOMP, message.packet_id))
    return message


def take_until(each: MqttPeer, last: bytes) -> list[Reply]:
    """The messages before one with a payload, which is taken, too."""
    taken = []
    while (message := take(each)).payload != last:
        taken.append(message)
    return taken


def payloads(messages: list[Reply]) -> list[bytes]:
    """Of messages."""
    return [message.payload for message in messages]


def leave(each: MqttPeer) -> None:
    """Say goodbye, and wait until the server has closed the connection."""
    each.say(peer.disconnect())
    each.wait_closed()


def break_off(each: MqttPeer) -> None:
    """Go without a word."""
    each.socket.close()


def let_time_pass(port: int, seconds: int) -> None:
    """Wait until the broker's clock is so much later: it sends a will with that delay then."""
    topic = unique("time/")
    watcher = client(port)
    watcher.subscribe((topic, 0))
    gone = client(
        port,
        will=(topic, b"", 0, False),
        will_values=[(WILL_DELAY, seconds)],
        values=[(SESSION_EXPIRY, seconds + 60)],
    )
    break_off(gone)
    watcher.wait(peer.PUBLISH)
    leave(watcher)
