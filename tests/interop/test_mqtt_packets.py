"""MQTT packet by packet against a real broker: logins, answers and their order, faults."""

import pytest
from support import mqtt_peer as peer
from support.mqtt_peer import MqttPeer
from support.mqtt_scene import VERSIONS, client, leave, publish, take, unique

pytestmark = pytest.mark.interop


# ---- logins


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "name", ["a", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ", "é/+#.,"]
)
def test_client_ids(mqtt_port: int, version: int, name: str) -> None:
    """Those that every server must accept, and others."""
    with client(mqtt_port, name, version) as each:
        each.ping()
        leave(each)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_an_id(mqtt_port: int, version: int) -> None:
    """It gets one that nobody else has; in 5.0 it is told."""
    with MqttPeer(mqtt_port, version) as one, MqttPeer(mqtt_port, version) as other:
        connacks = [each.log_in("") for each in (one, other)]
        assert [connack.code for connack in connacks] == [0, 0]
        if version == 5:
            ids = {connack.value(0x12) for connack in connacks}
            assert len(ids) == 2
            assert all(ids)
        one.ping()
        other.ping()


@pytest.mark.parametrize("version", (3, 4))
def test_no_session_without_an_id(mqtt_port: int, version: int) -> None:
    """Nobody could come back to it."""
    with MqttPeer(mqtt_port, version) as each:
        connack = each.log_in("", clean=False)
        assert (connack.code, connack.session_present) == (2, False)
        assert each.wait_closed() == []


@pytest.mark.parametrize(("version", "codes"), [(3, {4, 5}), (4, {4, 5}), (5, {0x86, 0x87})])
def test_wrong_passwords(mqtt_port: int, version: int, codes: set[int]) -> None:
    """The client is told, the connection ends, and what came behind the CONNECT is not done."""
    topic = unique("wrong/")
    with client(mqtt_port) as watcher, MqttPeer(mqtt_port, version) as each:
        watcher.subscribe((topic, 1))
        each.say(
            peer.connect("x", version=version, user="admin", password=b"guess"),
            peer.publish(topic, b"smuggled", 1, 1, version=version),
        )
        connack = each.next()
        assert (connack.kind, connack.session_present) == (peer.CONNACK, False)
        assert connack.code in codes
        assert each.wait_closed() == []
        publish(watcher, topic, b"own")
        assert take(watcher).payload == b"own"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_sent_before_the_connack(mqtt_port: int, version: int) -> None:
    """A client need not wait; it is answered in order."""
    topic = unique("early/")
    with MqttPeer(mqtt_port, version) as each:
        each.say(
            peer.connect(unique("e"), version=version, user="admin", password=b"admin"),
            peer.subscribe(1, [(topic, 1)], version=version),
            peer.publish(topic, b"x", 1, 2, version=version),
            peer.pingreq(),
        )
        assert each.next().kind == peer.CONNACK
        assert each.wait(peer.SUBACK).codes == [1]
        assert each.wait(peer.PUBACK).packet_id == 2
        each.wait(peer.PINGRESP)
        assert take(each).payload == b"x"


@pytest.mark.parametrize("wanted", [0, 1])
def test_no_response_information(mqtt_port: int, wanted: int) -> None:
    """There is none, whether it is asked for or not."""
    with MqttPeer(mqtt_port) as each:
        assert each.log_in(unique("r"), values=[(0x19, wanted)]).value(0x1A) is None


def test_a_client_that_cannot_take_its_connack(mqtt_port: int) -> None:
    """Its connection ends, since nothing can be told it."""
    with MqttPeer(mqtt_port) as each:
        each.say(peer.connect(unique("t"), user="admin", password=b"admin", values=[(0x27, 8)]))
        assert each.wait_closed() == []


# ---- answers


@pytest.mark.parametrize("version", VERSIONS)
def test_subscribing(mqtt_port: int, version: int) -> None:
    """One answer with the granted QoS of each filter, in order."""
    base = unique("s/")
    with client(mqtt_port, version=version) as each:
        filters = [(f"{base}/a", 0), (f"{base}/+", 2), (f"{base}/b/#", 1), (f"{base}/a", 1)]
        suback = each.subscribe(*filters, packet_id=77)
        assert (suback.packet_id, suback.codes) == (77, [0, 2, 1, 1])


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_keep_their_order(mqtt_port: int, version: int) -> None:
    """However many are under way."""
    topic = unique("order/")
    with client(mqtt_port, version=version) as each:
        once, twice = range(1, 101), range(101, 201)
        for one, two in zip(once, twice, strict=True):
            each.say(
                peer.publish(topic, b"1", 1, one, version=version),
                peer.publish(topic, b"2", 2, two, version=version),
            )
        assert [each.wait(peer.PUBACK).packet_id for _ in once] == list(once)
        assert [each.wait(peer.PUBREC).packet_id for _ in twice] == list(twice)
        each.say(*(peer.ack(peer.PUBREL, two) for two in twice))
        assert [each.wait(peer.PUBCOMP).packet_id for _ in twice] == list(twice)


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_that_are_not_allowed(mqtt_port: int, version: int) -> None:
    """Nobody publishes on the server's own topics: 5.0 is told, older clients are only answered."""
    with client(mqtt_port, version=version) as each:
        code = publish(each, "$SYS/broker/version", b"mine")
        assert code >= 0x80 or version < 5
        each.ping()


# ---- faults


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (peer.packet(0x00), 0x82),
        (peer.packet(0x36, b"\0\1t\0\1"), 0x81),
        (peer.publish("a/#", b"x", version=4), 0x81),
        (b"\x30\xff\xff\xff\xff\x7f", 0x81),
        (peer.connect(), 0x82),
        (peer.packet(0xF0), 0x82),
    ],
    ids=["type 0", "QoS 3", "wildcard", "length", "CONNECT", "AUTH"],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_fault_ends_the_connection(mqtt_port: int, version: int, data: bytes, code: int) -> None:
    """5.0 is told why; nobody else notices."""
    with client(mqtt_port) as other, client(mqtt_port, version=version) as each:
        each.say(data)
        replies = each.wait_closed()
        assert [(reply.kind, reply.code) for reply in replies] == (
            [(peer.DISCONNECT, code)] if version == 5 else []
        )
        other.ping()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_that_is_too_long(mqtt_port: int, version: int) -> None:
    """No destination has such a name: it is refused, and nobody else notices."""
    with client(mqtt_port) as other, client(mqtt_port, version=version) as each:
        each.say(peer.publish("a" * 60_000, b"x", 1, 1, version=version))
        reply = None if version < 5 else each.next()
        assert reply is None or reply.code >= 0x80
        other.ping()


def test_a_client_that_begins_and_waits(mqtt_port: int) -> None:
    """Half a packet holds nobody up; its end without the rest is the client's own affair."""
    with MqttPeer(mqtt_port) as slow, client(mqtt_port) as other:
        slow.say(peer.connect("slow", user="admin", password=b"admin")[:7])
        other.ping()
        slow.socket.close()
        other.ping()


def test_a_client_that_closes_its_side(mqtt_port: int) -> None:
    """What it said before is done, and its connection ends."""
    topic = unique("half/")
    with client(mqtt_port) as watcher, client(mqtt_port) as each:
        watcher.subscribe((topic, 1))
        each.say(peer.publish(topic, b"last", 1, 1))
        each.socket.shutdown(1)
        each.wait_closed()
        assert take(watcher).payload == b"last"
