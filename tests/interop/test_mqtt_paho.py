"""Eclipse Paho's Python client against a broker process of ours: 3.1.1 and 5.0, also through takeovers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop
WAIT_S = 20.0
FOREVER_S = 0xFFFFFFFF


class Pair:
    """Two brokers with one store and one port for MQTT: who is killed is followed by the other."""

    def __init__(self, zookeeper: ZooKeeperForTests, folder: Path) -> None:
        self.port = free_port()
        properties = {"connectors": "openwire mqtt", "mqtt-port": str(self.port)}
        self.master = self._start(zookeeper, folder, "first", properties)
        self.master.wait_listening()
        self._again = lambda name: self._start(zookeeper, folder, name, properties)
        self._number = 0

    @staticmethod
    def _start(
        zookeeper: ZooKeeperForTests, folder: Path, name: str, properties: dict[str, str]
    ) -> OurBroker:
        return OurBroker(zookeeper, folder, port=free_port(), container=name, properties=properties)

    def take_over(self) -> None:
        """Kill the master; a new process goes on with its store."""
        self.master.kill()
        self._number += 1
        self.master = self._again(f"next{self._number}")
        self.master.wait_listening()


@pytest.fixture(scope="module")
def pair(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The brokers of this file."""
    add_user(zookeeper)
    pair = Pair(zookeeper, tmp_path_factory.mktemp("mqtt"))
    try:
        yield pair
    finally:
        with running(pair.master):
            pass


class Client:
    """A client whose callbacks only write down what they are told."""

    def __init__(
        self,
        port: int,
        client_id: str,
        *,
        version: int = 5,
        expiry_s: int = 0,
        will: dict[str, Any] | None = None,
    ) -> None:
        self.got: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.connected: queue.Queue[tuple[bool, int]] = queue.Queue()
        self.disconnected: queue.Queue[int] = queue.Queue()
        self.subscribed = threading.Event()
        self.codes: list[int] = []
        protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
        options = {} if version == 5 else {"clean_session": not expiry_s}
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=protocol, reconnect_on_failure=True, **options
        )
        self.version = version
        self.paho.reconnect_delay_set(1, 1)
        self.paho.username_pw_set("admin", "admin")
        self.paho.on_message = lambda _client, _data, message: self.got.put(message)
        self.paho.on_connect = self._connected
        self.paho.on_disconnect = lambda _c, _d, _flags, code, _p: self.disconnected.put(code.value)
        self.paho.on_subscribe = self._subscribed
        if will is not None:
            self.paho.will_set(**will)
        arguments: dict[str, Any] = {}
        if version == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry_s
            arguments = {"clean_start": not expiry_s, "properties": properties}
        self.paho.connect("127.0.0.1", port, keepalive=30, **arguments)
        self.paho.loop_start()

    def _connected(self, _client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        self.connected.put((flags.session_present, code.value))

    def _subscribed(self, _client: Any, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        self.codes = [each.value for each in codes]
        self.subscribed.set()

    def wait_connected(self) -> bool:
        """Whether the session was there already."""
        present, code = self.connected.get(timeout=WAIT_S)
        assert code == 0
        return present

    def subscribe(self, topic: str, qos: int = 1, **options: Any) -> None:
        """Subscribe, and wait for the answer."""
        self.subscribed.clear()
        if self.version == 5:
            self.paho.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            self.paho.subscribe(topic, qos)
        assert self.subscribed.wait(WAIT_S)

    def publish(self, topic: str, payload: bytes, qos: int = 1, **options: Any) -> None:
        """Publish, and wait until the exchange is over."""
        self.paho.publish(topic, payload, qos, **options).wait_for_publish(WAIT_S)

    def next(self) -> paho.MQTTMessage:
        """The next message."""
        return self.got.get(timeout=WAIT_S)

    def payloads(self, count: int) -> list[bytes]:
        """So many messages."""
        return [self.next().payload for _ in range(count)]

    def close(self) -> None:
        """Say goodbye."""
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self) -> None:
        """Go without a word."""
        self.paho.on_disconnect = None
        self.paho.loop_stop()
        sock = self.paho.socket()
        assert sock is not None
        sock.close()


@pytest.fixture
def clients(pair: Pair) -> Iterator[Any]:
    """Makes clients, and closes them."""
    made: list[Client] = []

    def make(client_id: str, **options: Any) -> Client:
        made.append(Client(pair.port, client_id, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_and_subscribe(clients: Any, version: int, qos: int) -> None:
    """Each QoS, both versions, a wildcard."""
    client = clients(f"p{version}{qos}", version=version)
    assert not client.wait_connected()
    client.subscribe(f"t{version}/+/{qos}", qos)
    assert client.codes == [qos]
    client.publish(f"t{version}/x/{qos}", b"hello", qos)
    message = client.next()
    assert (message.topic, message.payload, message.qos) == (f"t{version}/x/{qos}", b"hello", qos)


def test_properties_of_5_0(clients: Any) -> None:
    """Response topic, correlation data, user properties, content type, expiry, subscription identifier."""
    client = clients("props")
    client.wait_connected()
    client.subscribe("props", 1)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "answers"
    properties.CorrelationData = b"\xff\0"
    properties.ContentType = "text/plain"
    properties.MessageExpiryInterval = 100
    properties.UserProperty = [("a", "1"), ("a", "2")]
    client.publish("props", b"x", 1, properties=properties)
    found = client.next().properties
    assert (found.ResponseTopic, found.CorrelationData, found.ContentType) == (
        "answers",
        b"\xff\0",
        "text/plain",
    )
    assert found.UserProperty == [("a", "1"), ("a", "2")]
    assert 95 <= found.MessageExpiryInterval <= 100


def test_a_wrong_password(pair: Pair) -> None:
    """It is refused with the right code."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "wrong", protocol=paho.MQTTv5)
    codes: queue.Queue[int] = queue.Queue()
    client.on_connect = lambda _c, _d, _f, code, _p: codes.put(code.value)
    client.username_pw_set("admin", "wrong")
    client.connect("127.0.0.1", pair.port)
    client.loop_start()
    try:
        assert codes.get(timeout=WAIT_S) == 0x86
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("version", [4, 5])
def test_a_takeover(clients: Any, pair: Pair, version: int) -> None:
    """Kill -9: the client's own reconnecting finds its session, retained messages and what waits."""
    subscriber = clients(f"s{version}", version=version, expiry_s=FOREVER_S)
    sender = clients(f"o{version}", version=version)
    assert not subscriber.wait_connected()
    sender.wait_connected()
    subscriber.subscribe(f"over{version}/#", 2)
    sender.publish(f"over{version}/1", b"before", 2)
    sender.publish(f"kept{version}", b"kept", 1, retain=True)
    assert subscriber.payloads(1) == [b"before"]
    pair.take_over()
    assert subscriber.wait_connected()
    sender.wait_connected()
    sender.publish(f"over{version}/2", b"after", 2)
    assert subscriber.payloads(1) == [b"after"]
    subscriber.subscribe(f"kept{version}", 1)
    message = subscriber.next()
    assert (message.payload, message.retain) == (b"kept", True)


def test_a_stream_through_a_takeover(clients: Any, pair: Pair) -> None:
    """A stream of QoS 2 whose master is killed in the middle arrives whole and in order.

    Paho publishes anew what it had released already if it has to try twice to connect again, so that some
    may come twice; MQTT.js does not, see `test_mqttjs.py`.
    """
    subscriber = clients("once-s", expiry_s=FOREVER_S)
    sender = clients("once-o", expiry_s=FOREVER_S)
    subscriber.wait_connected()
    sender.wait_connected()
    subscriber.subscribe("once", 2)
    numbers = [b"%d" % number for number in range(300)]
    for number in numbers:
        sender.paho.publish("once", number, 2)  # the client keeps what is not under way yet
    wait_until(lambda: subscriber.got.qsize() > 20, WAIT_S)
    pair.take_over()
    sender.wait_connected()
    sender.publish("once", b"last", 2)
    got = list(iter(lambda: subscriber.next().payload, b"last"))
    assert list(dict.fromkeys(got)) == numbers


def test_a_will(clients: Any) -> None:
    """It is published when its client vanishes."""
    listener = clients("will-l")
    listener.wait_connected()
    listener.subscribe("will/+", 1)
    gone = clients("will-g", will={"topic": "will/g", "payload": b"alas", "qos": 1})
    gone.wait_connected()
    gone.vanish()
    assert listener.payloads(1) == [b"alas"]


def test_the_same_id_again(clients: Any) -> None:
    """The older connection is told that it was taken over."""
    old = clients("twin")
    old.wait_connected()
    old.paho.reconnect_delay_set(60, 60)
    new = clients("twin")
    new.wait_connected()
    assert old.disconnected.get(timeout=WAIT_S) == 0x8E


def test_shared_subscriptions(clients: Any) -> None:
    """Each message goes to one member."""
    members = [clients(f"share{number}") for number in range(2)]
    for each in members:
        each.wait_connected()
        each.subscribe("$share/g/shared", 1)
    for number in range(10):
        members[0].publish("shared", b"%d" % number, 1)
    wait_until(lambda: sum(each.got.qsize() for each in members) >= 10, WAIT_S)
    got = [sorted(each.payloads(each.got.qsize())) for each in members]
    assert sorted([*got[0], *got[1]]) == sorted(b"%d" % number for number in range(10))
    assert all(got)
