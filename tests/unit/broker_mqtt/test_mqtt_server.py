"""The broker's side of an MQTT connection: logins, messages, subscriptions, and what wrong ones cost."""

from __future__ import annotations

from typing import Any

import pytest
from support.mqtt_peer import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    PUBREC,
    SUBACK,
    UNSUBACK,
    ack,
    disconnect,
    publish,
    read_replies,
    unsubscribe,
)
from support.mqtt_world import MqttBroker, MqttClient
from support.region import Peer, new_region, settle

from broker.authorization import Authorization
from broker.conversion import body_of
from broker.destination import Destination
from broker.message import BodyKind, Message, decode_message, encode_message
from broker.mqtt import translation
from broker.primitive_map import encode_map
from broker.properties import properties_of
from broker.region.usage import UsageLimits

TOPIC = Destination.topic("a.b")


@pytest.fixture
def broker() -> MqttBroker:
    """A broker in memory."""
    return MqttBroker()


# ---- logins


@pytest.mark.parametrize(("version", "code"), [(3, 4), (4, 4), (5, 0x86)])
def test_a_wrong_password(broker: MqttBroker, version: int, code: int) -> None:
    """It is refused with the protocol's own code, and the connection ends."""
    client = MqttClient(broker, version=version, password=b"wrong", clean=True)
    assert client.connack.code == code
    assert client.server.closing
    assert broker.region.connections == {}


@pytest.mark.parametrize(("version", "code"), [(3, 5), (4, 5), (5, 0x87)])
def test_anonymous_clients_are_refused(broker: MqttBroker, version: int, code: int) -> None:
    """Nobody does anything without a user."""
    client = MqttClient(broker, version=version, user=None, password=None, clean=True)
    assert client.connack.code == code


def test_a_client_without_an_id_gets_one(broker: MqttBroker) -> None:
    """5.0 tells it; older clients need not know it."""
    assigned = MqttClient(broker, "").connack.value(0x12)
    assert assigned in broker.region.client_ids
    assert MqttClient(broker, "", version=4, clean=True).connack.code == 0


def test_an_id_that_cannot_be_stored(broker: MqttBroker) -> None:
    """It is not valid."""
    assert MqttClient(broker, "x" * 5000).connack.code == 0x85


def test_a_login_may_take_its_time(broker: MqttBroker) -> None:
    """What a client says meanwhile is done afterwards."""
    broker.users.at_once = False
    client = MqttClient(broker, settle=False)
    client.say(publish("a/b", b"early", 1, 1))
    assert client.server.reading_paused
    assert client.replies == []
    broker.users.waiting.pop()()
    broker.settle()
    assert [each.kind for each in client.drain()] == [CONNACK, PUBACK]
    assert not client.server.reading_paused


def test_the_older_connection_of_an_id_ends(broker: MqttBroker) -> None:
    """It is told why, and the new one works."""
    old = MqttClient(broker)
    new = MqttClient(broker)
    assert old.take(DISCONNECT).code == 0x8E
    assert old.server.closing
    assert new.subscribe(("a/b", 0)) == [0]


def test_an_id_is_taken_from_clients_of_other_protocols_too(broker: MqttBroker) -> None:
    """As ActiveMQ's MQTT connectors do (`allowLinkStealing`)."""
    other = Peer(broker.region, client_id="c1")
    assert MqttClient(broker).connack.code == 0
    assert other.client.disconnected == "another connection with the same client id came"


def test_a_broker_that_ends_says_so(broker: MqttBroker) -> None:
    """5.0 has a code for it."""
    client = MqttClient(broker)
    ((reply,), rest) = read_replies(client.server.last_words("no master any more"), 5)
    assert (reply.kind, reply.code, rest) == (DISCONNECT, 0x8B, b"")
    assert client.server.last_words("again") == b""


def test_a_fault_ends_the_connection(broker: MqttBroker) -> None:
    """With the reason for the log."""
    client = MqttClient(broker)
    client.say(b"\x00\x00")
    assert client.take(DISCONNECT).code >= 0x80
    assert "type 0" in client.server.close_reason
    client.say(publish("a/b"))
    client.server.receive_eof()
    assert client.replies == []


def test_silence_ends_the_connection(broker: MqttBroker) -> None:
    """After one and a half times the keep alive; one that is not read from is excused."""
    client = MqttClient(broker, keep_alive_s=10)
    assert client.server.deadline_s == 15.0
    client.server.handle_deadline(20.0)
    broker.settle()
    assert client.take(DISCONNECT).code == 0x8D
    assert client.server.deadline_s is None


# ---- messages


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_reaches_its_subscribers(broker: MqttBroker, version: int, qos: int) -> None:
    """With the lower QoS of publisher and subscription."""
    subscribers = [MqttClient(broker, f"s{each}", version=version, clean=True) for each in range(3)]
    for each, client in enumerate(subscribers):
        assert client.subscribe(("a/+", each)) == [each]
    MqttClient(broker, version=version, clean=True).publish("a/b", b"\0payload", qos)
    for each, client in enumerate(subscribers):
        assert [(m.topic, m.payload, m.qos, m.retain, m.dup) for m in client.messages()] == [
            ("a/b", b"\0payload", min(qos, each), False, False)
        ]


def test_nothing_is_acknowledged_before_it_is_durable(broker: MqttBroker) -> None:
    """PUBACK and PUBREC wait for the journal, and keep their order."""
    client = MqttClient(broker)
    client.say(
        publish("a/b", b"1", 1, 1), publish("a/b", b"2", 2, 2), publish("$x", b"3", 1, 3), settle=False
    )
    broker.turn()
    assert client.replies == []
    assert client.server.held_batch
    broker.settle()
    assert [(each.kind, each.packet_id) for each in client.drain()] == [(PUBACK, 1), (PUBREC, 2), (PUBACK, 3)]


def test_what_others_see_of_a_message(broker: MqttBroker) -> None:
    """A bytes message with the QoS in a property; persistent if that is above 0."""
    peer = Peer(broker.region)
    peer.consume("k", TOPIC)
    client = MqttClient(broker)
    client.publish("a/b", b"zero")
    client.publish(
        "a/b",
        b"one",
        1,
        values=[(1, 1), (2, 60), (3, "text/plain"), (8, "re/ply"), (9, b"corr"), (0x26, ("n", "v"))],
    )
    zero, one = peer.client.messages
    assert (zero.body_kind, zero.body, zero.persistent) == (BodyKind.BYTES, b"zero", False)
    assert properties_of(zero) == {"ActiveMQ.MQTT.QoS": 0}
    assert (one.persistent, one.expiration, one.correlation_id) == (True, 61_000, "corr")
    assert one.reply_to == Destination.topic("re.ply")
    assert properties_of(one) == {
        "n": "v",
        "ActiveMQ.MQTT.QoS": 1,
        "ActiveMQ.MQTT.ContentType": "text/plain",
        "ActiveMQ.MQTT.PayloadFormat": 1,
    }


def test_a_stored_message_is_the_same(broker: MqttBroker) -> None:
    """What is read back from the journal equals what was stored."""
    message = translation.from_publish(
        translation.Publish("a/b", b"x", 1, properties=translation.Properties(user=(("a", "1"), ("a", "2")))),
        "ID:1",
        5,
    )
    read = decode_message(encode_message(message))
    assert read == message
    assert translation.outgoing(read) == translation.outgoing(message)
    assert translation.outgoing(read).properties == b"\x26\0\1a\0\1\x31\x26\0\1a\0\1\x32"
    with pytest.raises(translation.MessageInvalid):
        translation.read_wire(b"\0")
    with pytest.raises(translation.MessageInvalid):
        translation.read_wire(message.wire[:30] if message.wire else b"")


def test_properties_go_from_publisher_to_subscriber(broker: MqttBroker) -> None:
    """Unchanged and in order, with what the subscription and the time add."""
    client = MqttClient(broker)
    client.subscribe(("a/b", 1), values=((0x0B, 300),))
    values = [(1, 1), (3, "t"), (8, "r"), (9, b"c"), (0x26, ("n", "1")), (0x26, ("n", "2")), (2, 60)]
    client.publish("a/b", b"x", 1, values=values)
    (message,) = client.messages()
    assert message.values == [*values[:6], (2, 60), (0x0B, 300)]


def test_messages_of_other_protocols(broker: MqttBroker) -> None:
    """Text as UTF-8, maps and streams as JSON; headers and properties as 5.0 has them."""
    client = MqttClient(broker)
    client.subscribe(("a/b", 2))
    peer = Peer(broker.region)
    for number, value in enumerate(("grün", {"a": 1}, [1, "x"], b"\0")):
        kind, body = body_of(value)
        peer.connection.send(
            Message(
                f"m{number}",
                TOPIC,
                persistent=bool(number),
                body_kind=kind,
                body=body,
                type="T",
                correlation_id="ID:MQTT_BINARY:FF",
                reply_to=Destination.topic("re.ply"),
                properties=encode_map({"n": 1, "ActiveMQ.MQTT.ContentType": "t"}),
            )
        )
    broker.settle()
    messages = client.messages()
    assert [each.payload for each in messages] == ["grün".encode(), b'{"a":1}', b'[1,"x"]', b"\0"]
    assert [each.qos for each in messages] == [0, 1, 1, 1]
    assert messages[0].values == [
        (1, 1),
        (3, "t"),
        (8, "re/ply"),
        (9, b"\xff"),
        (0x26, ("JMSType", "T")),
        (0x26, ("n", "1")),
    ]
    assert messages[3].value(1) is None


def test_a_client_gets_no_more_than_it_takes(broker: MqttBroker) -> None:
    """Its receive maximum holds for all subscriptions together; what is too large for it is not sent."""
    client = MqttClient(broker, values=((0x21, 2), (0x27, 100)))
    client.subscribe(("a/b", 1), ("a/+", 2))
    sender = MqttClient(broker, "sender")
    sender.publish("a/b", bytes(200), 1)
    for payload in (b"1", b"2", b"3"):
        sender.publish("a/b", payload, 2)
    first = client.drain()
    assert len(first) == 2
    for each in first:
        client.say(ack(PUBACK if each.qos == 1 else PUBREC, each.packet_id))
    rest = client.messages()
    assert sorted(each.payload for each in [*first, *rest]) == [b"1", b"1", b"2", b"2", b"3", b"3"]


def test_a_refused_message_is_done_with(broker: MqttBroker) -> None:
    """A client of 5.0 may refuse what it is sent: it does not come again."""
    client = MqttClient(broker, expiry_s=100)
    client.subscribe(("a/b", 2))
    for qos in (1, 2):
        client.publish("a/b", b"x", qos)
        message = client.take(PUBLISH)
        client.say(ack(PUBACK if qos == 1 else PUBREC, message.packet_id, 0x83))
    assert client.drain() == []
    client.vanish()
    assert MqttClient(broker, expiry_s=100).payloads() == []


# ---- refusals


def test_a_topic_that_nobody_may_use(broker: MqttBroker) -> None:
    """Denied with the right code; older clients are disconnected, since they cannot be told."""
    broker = MqttBroker(authorization=Authorization.parse({"authorization.topic.>.write": "nobody"}))
    client = MqttClient(broker)
    client.say(publish("a/b", b"x", 1, 1), publish("a/b", b"x", 2, 2), publish("a/b"))
    assert [(each.kind, each.code) for each in client.drain()] == [(PUBACK, 0x87), (PUBREC, 0x87)]
    older = MqttClient(broker, "older", version=4, clean=True)
    older.say(publish("a/b", b"x", 1, 1, version=4))
    assert older.server.closing
    assert older.drain() == []


def test_a_filter_that_cannot_be_subscribed_to(broker: MqttBroker) -> None:
    """It gets a code of its own, and the others their subscription."""
    client = MqttClient(broker)
    assert client.subscribe(("x" * 5000, 1), ("a/b", 1)) == [0x8F, 1]
    older = MqttClient(broker, "older", version=4, clean=True)
    assert older.subscribe(("x" * 5000, 1), ("a/b", 1)) == [0x80, 1]


def full(qos: int, **limits: Any) -> MqttClient:
    """A client that publishes to a durable subscription, whose broker has no space for a third message."""
    broker = MqttBroker(new_region(usage=UsageLimits(store_bytes_max=2, **limits)))
    MqttClient(broker, "d", expiry_s=9).subscribe(("a/b", 1))
    broker.clients[0].vanish()
    client = MqttClient(broker, expiry_s=9)
    for number in range(1, 4):
        client.say(publish("a/b", b"%d" % number, qos, number))
    return client


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
def test_a_message_waits_for_space(qos: int, kind: int) -> None:
    """It is answered when there is some."""
    client = full(qos)
    assert [(each.kind, each.packet_id) for each in client.drain()] == [(kind, 1), (kind, 2)]
    subscriber = MqttClient(client.broker, "d", expiry_s=9)
    assert subscriber.payloads() == [b"1", b"2", b"3"]
    assert [(each.kind, each.packet_id, each.code) for each in client.drain()] == [(kind, 3, 0)]


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
def test_a_message_that_has_no_space(qos: int, kind: int) -> None:
    """A quota is exceeded, at once or after a while."""
    for limits in ({"refuse_at_once": True}, {"refuse_after_ms": 100}):
        client = full(qos, **limits)
        client.broker.wait_ms(1_000)
        assert [(each.kind, each.code) for each in client.drain()] == [(kind, 0), (kind, 0), (kind, 0x97)]


# ---- subscriptions


def test_subscribing_again_changes_the_subscription(broker: MqttBroker) -> None:
    """There is still one, with the new QoS and identifier."""
    client = MqttClient(broker)
    client.subscribe(("a/b", 0))
    client.subscribe(("a/b", 1), values=((0x0B, 5),))
    client.publish("a/b", b"x", 1)
    assert [(each.qos, each.value(0x0B)) for each in client.messages()] == [(1, 5)]


def test_unsubscribing(broker: MqttBroker) -> None:
    """Nothing comes any more; what was not subscribed to has a code of its own."""
    client = MqttClient(broker, expiry_s=9)
    client.subscribe(("a/b", 1), ("c", 0))
    client.say(unsubscribe(5, ["a/b", "x", "c"]))
    assert client.take(UNSUBACK).codes == [0, 0x11, 0]
    client.publish("a/b", b"x", 1)
    assert client.drain() == []
    assert broker.region.subscriptions.durable == {}


def test_no_local(broker: MqttBroker) -> None:
    """A client does not get what it has published itself."""
    client = MqttClient(broker)
    client.subscribe(("a/b", 1 | 4))
    client.publish("a/b", b"own", 1)
    MqttClient(broker, "other").publish("a/b", b"other's", 1)
    assert client.payloads() == [b"other's"]


def test_topics_with_a_dollar(broker: MqttBroker) -> None:
    """A wildcard at the beginning does not mean them; clients may publish to them only if that is allowed."""
    client = MqttClient(broker)
    client.subscribe(("#", 0), ("+/b", 0), ("$x/b", 0))
    client.publish("$x/b", b"x", 1)
    assert client.drain() == []
    broker.config = MqttBroker(publish_dollar_topics=True).config
    MqttClient(broker, "allowed").publish("$x/b", b"y", 2)
    assert client.payloads() == [b"y"]


def test_a_wildcard_means_no_advisories(broker: MqttBroker) -> None:
    """`#` is all that clients publish."""
    client = MqttClient(broker)
    client.subscribe(("#", 0))
    MqttClient(broker, "other")
    assert client.drain() == []


def test_a_slow_subscription_ends_its_connection(broker: MqttBroker) -> None:
    """There is no other way to say so; the region's other reasons are administrative."""
    client = MqttClient(broker)
    client.subscribe(("a/b", 0))
    assert client.server.connection is not None
    client.server.close_consumer(client.server.connection.consumers["a/b"])
    broker.settle()
    assert client.take(DISCONNECT).code == 0x97
    client = MqttClient(broker)
    client.server.disconnect("no more")
    broker.settle()
    assert client.take(DISCONNECT).code == 0x98


def test_topic_names_are_not_queues(broker: MqttBroker) -> None:
    """A message to a topic does not reach the queue of that name."""
    peer = Peer(broker.region)
    peer.consume("k", Destination.queue("a.b"))
    MqttClient(broker).publish("a/b")
    settle(broker.region)
    assert peer.client.messages == []


# ---- $SYS


def test_system_topics(broker: MqttBroker) -> None:
    """A subscriber is told what there is, and then what changes; nobody else may speak there."""
    client = MqttClient(broker)
    assert client.subscribe(("$SYS/broker/clients/+", 1), ("$SYS/broker/uptime", 0)) == [1, 0]
    told = {each.topic: (each.payload, each.retain, each.qos) for each in client.messages()}
    assert told == {
        "$SYS/broker/clients/connected": (b"1", True, 0),
        "$SYS/broker/uptime": (b"0 seconds", True, 0),
    }
    other = MqttClient(broker, "other")
    other.say(publish("$SYS/broker/uptime", b"x", 1, 1))
    assert other.take(PUBACK).code == 0x87
    broker.wait_ms(10_000)
    assert [(each.topic, each.payload) for each in client.messages()] == [
        ("$SYS/broker/clients/connected", b"2"),
        ("$SYS/broker/uptime", b"10 seconds"),
    ]
    client.say(disconnect())
    broker.wait_ms(10_000)


def test_the_codes_of_a_suback(broker: MqttBroker) -> None:
    """One for each filter, in order."""
    client = MqttClient(broker)
    assert client.subscribe(("a", 2), ("b", 0), ("c/#", 1)) == [2, 0, 1]
    assert all(each.kind != SUBACK for each in client.drain())


@pytest.mark.parametrize("between", [b"", publish("other", b"", 1, packet_id=9)])
def test_acknowledgements_that_arrive_together(broker: MqttBroker, between: bytes) -> None:
    """The journal hears of those that come one behind the other at once, and before anything else."""
    client = MqttClient(broker, expiry_s=100)
    client.subscribe(("a/b", 1))
    for number in range(1, 5):
        client.say(publish("a/b", b"%d" % number, 1, packet_id=number))
    got = [each for each in client.drain() if each.kind == PUBLISH]
    before = len(broker.store.batches)
    first, *others = [ack(PUBACK, each.packet_id) for each in got]
    client.say(first, between, *others)
    kinds = [{type(record).__name__ for record in batch} for batch in broker.store.batches[before:]]
    if between:
        assert kinds[0] == kinds[-1] == {"AcknowledgeSubscription"}
        assert len(kinds) == 3
    else:
        assert kinds == [{"AcknowledgeSubscription"}]
    (subscription,) = broker.store.state.subscriptions.values()
    assert not subscription.pending
