"""The sessions of MQTT: what they keep over connections, masters that are killed, and time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mqtt_peer import (
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    ack,
    disconnect,
    publish,
    unsubscribe,
)
from support.mqtt_world import MqttBroker, MqttClient
from support.region import Peer

from broker.authorization import Authorization
from broker.destination import Destination
from broker.mqtt.packets import Will
from broker.mqtt.sessions import WILL_GRACE_MS
from broker.mqtt.translation import decode_will, encode_will
from journal.record import AcknowledgeSubscription, AddMessage, Note

WILL = ("gone", b"alas", 1, False)
DELAY = 0x18


@pytest.fixture
def broker() -> MqttBroker:
    """A broker in memory."""
    return MqttBroker()


def back(broker: MqttBroker, client_id: str = "c1", *, expiry_s: int = 1000) -> MqttClient:
    """A client comes back to its session."""
    client = MqttClient(broker, client_id, expiry_s=expiry_s)
    assert client.connack.session_present
    return client


def listener(broker: MqttBroker, topic: str = "#") -> MqttClient:
    """A client that hears everything."""
    client = MqttClient(broker, "listener")
    client.subscribe((topic, 2))
    return client


# ---- what waits


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("kill", [False, True])
def test_messages_wait_for_a_session(broker: MqttBroker, version: int, kill: bool) -> None:
    """Those of QoS 1 and 2, with a new master, too; subscriptions of QoS 0 are still there."""
    expiry_s = 1000 if version == 5 else 0
    client = MqttClient(broker, version=version, expiry_s=expiry_s)
    assert not client.connack.session_present
    client.subscribe(("a/+", 2), ("zero", 0))
    client.vanish()
    sender = MqttClient(broker, "sender")
    sender.publish("a/1", b"1", 1)
    sender.publish("a/2", b"2", 2)
    if kill:
        broker.kill()
    client = MqttClient(broker, version=version, expiry_s=expiry_s)
    assert client.connack.session_present
    messages = client.messages()
    assert [(each.topic, each.payload, each.qos) for each in messages] == [("a/1", b"1", 1), ("a/2", b"2", 2)]
    MqttClient(broker, "sender").publish("zero", b"z")
    assert client.payloads() == [b"z"]


def test_a_clean_start_ends_the_session(broker: MqttBroker) -> None:
    """With its subscriptions and what waits in them."""
    MqttClient(broker, expiry_s=1000).subscribe(("a", 1))
    client = MqttClient(broker, expiry_s=1000, clean=True)
    assert not client.connack.session_present
    client.publish("a", b"x", 1)
    assert client.drain() == []
    assert broker.region.subscriptions.durable == {}


@pytest.mark.parametrize("kill", [False, True])
def test_a_session_expires(broker: MqttBroker, kill: bool) -> None:
    """After its interval, whoever is the master then."""
    client = MqttClient(broker, expiry_s=100)
    client.subscribe(("a", 1))
    client.vanish()
    broker.wait_ms(60_000)
    if kill:
        broker.kill()
    broker.wait_ms(39_000)
    assert "c1" in broker.sessions.by_id
    broker.wait_ms(1_000)
    assert broker.sessions.by_id == {}
    assert broker.region.subscriptions.durable == {}
    assert broker.store.state.notes.view() == {}
    assert not MqttClient(broker, expiry_s=100).connack.session_present


def test_a_session_whose_client_was_connected_when_the_master_died(broker: MqttBroker) -> None:
    """Its interval begins with the new master."""
    MqttClient(broker, expiry_s=100).subscribe(("a", 1))
    broker.wait_ms(1_000_000)
    broker.kill()
    broker.wait_ms(99_000)
    broker.kill()
    broker.wait_ms(1_000)
    assert broker.sessions.by_id == {}


def test_a_disconnect_changes_the_expiry(broker: MqttBroker) -> None:
    """To a shorter or longer one."""
    client = MqttClient(broker, expiry_s=100)
    client.say(disconnect(0, [(0x11, 5)]))
    broker.wait_ms(5_000)
    assert broker.sessions.by_id == {}


def test_sessions_that_end_with_their_connection_are_not_stored(broker: MqttBroker) -> None:
    """Nothing of them is written at all."""
    client = MqttClient(broker)
    client.subscribe(("a", 2))
    client.publish("a", b"x", 2)
    client.messages()
    client.vanish()
    assert not [each for each in broker.records() if isinstance(each, Note)]
    assert broker.sessions.by_id == {}


def test_a_session_for_ever(broker: MqttBroker) -> None:
    """It outlives every master."""
    MqttClient(broker, version=4).subscribe(("a", 1))
    broker.kill()
    broker.wait_ms(10**12)
    assert MqttClient(broker, version=4).connack.session_present


def test_a_changed_qos_loses_nothing(broker: MqttBroker) -> None:
    """The durable subscription stays when the QoS of its filter changes."""
    client = MqttClient(broker, expiry_s=1000)
    client.subscribe(("a", 1))
    MqttClient(broker, "sender").publish("a", b"x", 2)
    assert client.take(PUBLISH).qos == 1
    client.subscribe(("a", 2))
    assert list(broker.region.subscriptions.durable) == [("c1", "AT_LEAST_ONCE:a")]
    client.vanish()
    broker.kill()
    assert [(each.payload, each.qos) for each in back(broker).messages()] == [(b"x", 2)]


def test_unsubscribing_ends_what_waits(broker: MqttBroker) -> None:
    """Also what waits for the client's room."""
    client = MqttClient(broker, expiry_s=1000, values=((0x21, 1),))
    client.subscribe(("a", 1))
    sender = MqttClient(broker, "sender")
    for payload in (b"1", b"2"):
        sender.publish("a", payload, 1)
    client.say(unsubscribe(5, ["a"]))
    first = client.take(PUBLISH)
    client.say(ack(PUBACK, first.packet_id))
    assert client.payloads() == []
    broker.kill()
    assert back(broker).payloads() == []


# ---- exactly once


@pytest.mark.parametrize("settle", [False, True])
def test_a_message_of_qos_2_is_taken_once(broker: MqttBroker, settle: bool) -> None:
    """A client that repeats it to the next master is answered, and heard once; also if nothing was stored."""
    client = MqttClient(broker, expiry_s=1000)
    keeper = MqttClient(broker, "keeper", expiry_s=1000)
    keeper.subscribe(("a", 2))
    packet = publish("a", b"x", 2, 5)
    batches = len(broker.store.batches)
    client.say(packet)
    broker.kill(batches=None if settle else batches)
    client = back(broker)
    client.say(publish("a", b"x", 2, 5, dup=True))
    assert client.take(PUBREC).packet_id == 5
    client.say(ack(PUBREL, 5))
    assert client.take(PUBCOMP).code == 0
    broker.kill()
    client = back(broker)
    client.say(ack(PUBREL, 5))
    assert client.take(PUBCOMP).code == 0  # the first answer may have been lost
    client.say(publish("a", b"another", 2, 5))
    assert client.take(PUBREC).code == 0
    assert back(broker, "keeper").payloads() == [b"x", b"another"]


def test_the_identifier_and_its_message_are_one_batch(broker: MqttBroker) -> None:
    """There is no moment in which a crash could find one of them."""
    client = MqttClient(broker, expiry_s=1000)
    client.say(publish("a", b"x", 2, 5))
    batches = [batch for batch in broker.store.batches if Note("mqtt:c1", "in:5", b"\1") in batch]
    assert [[type(each) for each in batch] for batch in batches] == [[Note, AddMessage]]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_client_of_qos_2_gets_each_message_once(deaths: list[int]) -> None:
    """Whenever masters are killed: before or after any batch of the exchange, and again.

    The client does as the specification says: what it has an identifier of it does not take again.
    """
    broker = MqttBroker()
    MqttClient(broker, expiry_s=1000).subscribe(("a", 2))
    sender = MqttClient(broker, "sender")
    for number in range(3):
        sender.publish("a", b"%d" % number, 2)
    taken: list[bytes] = []
    known: set[int] = set()
    for death in [*deaths, 10**6]:
        client = MqttClient(broker, expiry_s=1000)
        assert client.connack.session_present
        for _ in range(death):
            step = next((each for each in client.replies if each.kind in (PUBLISH, PUBREL)), None)
            if step is None:
                break
            client.replies.remove(step)
            if step.kind == PUBREL:
                known.discard(step.packet_id)
                client.say(ack(PUBCOMP, step.packet_id), settle=death % 2 == 0)
            else:
                if step.packet_id not in known:
                    taken.append(step.payload)
                    known.add(step.packet_id)
                client.say(ack(PUBREC, step.packet_id), settle=death % 3 > 0)
            client.read()
            if not client.replies:
                broker.settle()
        broker.kill(batches=broker.store.durable_batch)
    assert taken == [b"0", b"1", b"2"]
    assert known == set()
    assert not [key for key in broker.store.state.notes.of("mqtt:c1") if key.startswith("out:")]


def test_the_exchange_goes_on_with_the_next_master(broker: MqttBroker) -> None:
    """PUBLISH comes again with the same identifier and DUP; after PUBREC only PUBREL does."""
    client = MqttClient(broker, expiry_s=1000)
    client.subscribe(("a", 2))
    MqttClient(broker, "sender").publish("a", b"x", 2)
    first = client.take(PUBLISH)
    assert not first.dup
    broker.kill()
    client = back(broker)
    again = client.take(PUBLISH)
    assert (again.packet_id, again.dup, again.payload) == (first.packet_id, True, b"x")
    client.say(ack(PUBREC, first.packet_id))
    assert client.take(PUBREL).packet_id == first.packet_id
    (batch,) = [
        batch for batch in broker.store.batches if any(isinstance(e, AcknowledgeSubscription) for e in batch)
    ]
    assert any(isinstance(each, Note) for each in batch)
    broker.kill()
    client = back(broker)
    assert [each.kind for each in client.replies] == [PUBREL]
    client.say(ack(PUBCOMP, client.take(PUBREL).packet_id))
    broker.kill()
    assert back(broker).drain() == []


def test_identifiers_are_stored_before_they_are_used(broker: MqttBroker) -> None:
    """A message of QoS 2 leaves when its identifier is durable."""
    client = MqttClient(broker, expiry_s=1000)
    client.subscribe(("a", 2))
    MqttClient(broker, "sender").say(publish("a", b"x", 2, 1))
    broker.store.durable_batch = len(broker.store.batches)
    client.drain()
    client.vanish()
    client = MqttClient(broker, expiry_s=1000)
    assert client.take(PUBLISH).dup
    assert broker.store.state.notes.of("mqtt:c1")


def test_a_message_that_is_gone_frees_its_identifier(broker: MqttBroker) -> None:
    """It has expired meanwhile: the client may forget its identifier, or would mistake another for it."""
    client = MqttClient(broker, expiry_s=1000)
    client.subscribe(("a", 2))
    MqttClient(broker, "sender").publish("a", b"x", 2, values=[(2, 1)])
    packet_id = client.take(PUBLISH).packet_id
    broker.kill()
    broker.wait_ms(100_000)
    client = back(broker)
    if not client.replies:  # it expired when it was to be dispatched
        client.vanish()
        client = back(broker)
    assert [(each.kind, each.packet_id) for each in client.drain()] == [(PUBREL, packet_id)]
    client.say(ack(PUBCOMP, packet_id))
    assert not [key for key in broker.store.state.notes.of("mqtt:c1") if key.startswith("out:")]


def test_what_was_not_acknowledged_comes_again_in_order(broker: MqttBroker) -> None:
    """With DUP, and with the same identifiers as long as the master is the same."""
    client = MqttClient(broker, expiry_s=1000)
    client.subscribe(("a", 1))
    sender = MqttClient(broker, "sender")
    for payload in (b"1", b"2", b"3"):
        sender.publish("a", payload, 1)
    first = client.drain()
    client.say(ack(PUBACK, first[1].packet_id))
    client.vanish()
    client = back(broker)
    again = client.messages()
    assert [(each.payload, each.packet_id, each.dup) for each in again] == [
        (b"1", first[0].packet_id, True),
        (b"3", first[2].packet_id, True),
    ]
    client.vanish()
    assert back(broker).drain() == []


# ---- wills


@pytest.mark.parametrize("version", [4, 5])
def test_a_client_that_vanishes_leaves_its_will(broker: MqttBroker, version: int) -> None:
    """One that says goodbye does not; one may ask for it."""
    hears = listener(broker)
    MqttClient(broker, version=version, clean=True, will=WILL).vanish()
    assert [(each.topic, each.payload, each.qos) for each in hears.messages()] == [("gone", b"alas", 1)]
    MqttClient(broker, version=version, clean=True, will=WILL).say(disconnect())
    assert hears.drain() == []
    MqttClient(broker, will=WILL).say(disconnect(4))
    assert hears.payloads() == [b"alas"]


def test_a_will_may_wait(broker: MqttBroker) -> None:
    """Until its delay or the end of the session, whichever is first; a client that comes back stops it."""
    hears = listener(broker)
    delayed = {"will": WILL, "will_values": ((DELAY, 50),)}
    MqttClient(broker, expiry_s=1000, **delayed).vanish()
    broker.wait_ms(49_000)
    MqttClient(broker, expiry_s=1000, **delayed).vanish()
    broker.wait_ms(49_000)
    assert hears.drain() == []
    broker.wait_ms(1_000)
    assert hears.payloads() == [b"alas"]
    MqttClient(broker, expiry_s=10, clean=True, **delayed).vanish()
    broker.wait_ms(10_000)
    assert hears.payloads() == [b"alas"]


def test_the_will_of_a_connection_that_is_taken_over(broker: MqttBroker) -> None:
    """It is published, unless it has a delay and the session goes on."""
    hears = listener(broker)
    MqttClient(broker, expiry_s=1000, will=WILL)
    MqttClient(broker, expiry_s=1000, will=WILL, will_values=((DELAY, 9),))
    assert hears.payloads() == [b"alas"]
    MqttClient(broker, expiry_s=1000)
    assert hears.payloads() == []
    MqttClient(broker, expiry_s=1000, will=WILL, will_values=((DELAY, 9),))
    MqttClient(broker, clean=True)
    assert hears.payloads() == [b"alas"]


@pytest.mark.parametrize("expiry_s", [0, 1000])
def test_a_will_outlives_its_master(broker: MqttBroker, expiry_s: int) -> None:
    """A client that does not come back within the grace after a takeover is gone."""
    MqttClient(broker, expiry_s=expiry_s, will=WILL)
    broker.kill()
    hears = listener(broker)
    broker.wait_ms(WILL_GRACE_MS - 1)
    assert hears.drain() == []
    broker.kill()
    hears = listener(broker)
    broker.wait_ms(WILL_GRACE_MS)
    assert hears.payloads() == [b"alas"]
    broker.kill()
    hears = listener(broker)
    broker.wait_ms(WILL_GRACE_MS)
    assert hears.drain() == []


@pytest.mark.parametrize("clean", [False, True])
def test_a_client_that_comes_back_after_a_takeover_leaves_no_will(broker: MqttBroker, clean: bool) -> None:
    """It has not gone: its master has."""
    MqttClient(broker, expiry_s=1000, will=WILL)
    broker.kill()
    hears = listener(broker)
    MqttClient(broker, expiry_s=1000, clean=clean)
    broker.wait_ms(10 * WILL_GRACE_MS)
    assert hears.drain() == []
    assert "will" not in broker.store.state.notes.of("mqtt:c1")


def test_a_will_that_its_client_took_back_stays_away(broker: MqttBroker) -> None:
    """A goodbye is stored, too."""
    MqttClient(broker, expiry_s=1000, will=WILL).say(disconnect())
    broker.settle()
    broker.kill()
    hears = listener(broker)
    broker.wait_ms(10 * WILL_GRACE_MS)
    assert hears.drain() == []


def test_a_will_that_is_retained(broker: MqttBroker) -> None:
    """Whoever comes later learns of it; user properties go with it."""
    will = ("gone", b"alas", 1, True)
    MqttClient(broker, will=will, will_values=((0x26, ("n", "v")),)).vanish()
    (message,) = listener(broker).messages()
    assert (message.payload, message.retain, message.value(0x26)) == (b"alas", True, ("n", "v"))


def test_a_will_that_nobody_may_publish() -> None:
    """Its client is not let in."""
    broker = MqttBroker(authorization=Authorization.parse({"authorization.topic.gone.write": "nobody"}))
    assert MqttClient(broker, will=WILL).connack.code in (0x86, 0x87)


def test_a_will_is_stored_as_it_is() -> None:
    """And a damaged one is none."""
    will = Will("t", b"\0x", 2, True)
    assert decode_will(encode_will(will)) == will
    assert decode_will(b"\0") is None


# ---- retained messages


@pytest.mark.parametrize("expiry_s", [0, 1000])
def test_retained_messages(broker: MqttBroker, expiry_s: int) -> None:
    """A new subscription gets them, marked; later messages are not, unless that is asked for."""
    sender = MqttClient(broker, "sender")
    sender.publish("a/1", b"old", 1, retain=True)
    sender.publish("a/1", b"new", 1, retain=True)
    sender.publish("a/2", b"gone", 1, retain=True)
    sender.publish("a/2", b"", 1, retain=True)
    broker.kill()
    client = MqttClient(broker, expiry_s=expiry_s)
    client.subscribe(("a/+", 1))
    assert [(each.payload, each.retain, each.qos) for each in client.messages()] == [(b"new", True, 1)]
    sender = MqttClient(broker, "sender")
    sender.publish("a/1", b"live", 1, retain=True)
    assert [each.retain for each in client.messages()] == [False]
    client.subscribe(("a/+", 1 | 8 | 0x20))
    sender.publish("a/1", b"live", 1, retain=True)
    assert [each.retain for each in client.messages()] == [True]


def test_retain_handling(broker: MqttBroker) -> None:
    """0: always; 1: if the subscription is new; 2: never."""
    MqttClient(broker, "sender").publish("a", b"kept", 1, retain=True)
    client = MqttClient(broker, expiry_s=1000)
    for options, expected in ((0x21, []), (1, [b"kept"]), (0x11, [])):
        client.subscribe(("a", options))
        assert client.payloads() == expected
    client.say(unsubscribe(5, ["a"]))
    client.subscribe(("a", 0x11))
    assert client.payloads() == [b"kept"]


def test_a_retained_message_that_was_not_acknowledged_comes_again(broker: MqttBroker) -> None:
    """It belongs to the session, also with the next master."""
    MqttClient(broker, "sender").publish("a", b"kept", 1, retain=True)
    client = MqttClient(broker, expiry_s=1000)
    client.subscribe(("a", 1))
    assert client.take(PUBLISH).payload == b"kept"
    broker.kill()
    assert [(each.payload, each.retain) for each in back(broker).messages()] == [(b"kept", True)]


def test_retained_messages_keep_all_properties(broker: MqttBroker) -> None:
    """User properties whose names repeat, too."""
    values = [(3, "t"), (0x26, ("n", "1")), (0x26, ("n", "2"))]
    MqttClient(broker, "sender").publish("a", b"kept", 1, retain=True, values=values)
    client = MqttClient(broker)
    client.subscribe(("a", 1))
    assert client.take(PUBLISH).values == values


def test_consumers_of_other_protocols_see_them(broker: MqttBroker) -> None:
    """If they are retroactive."""
    MqttClient(broker, "sender").publish("a/b", b"kept", 0, retain=True)
    peer = Peer(broker.region)

    peer.consume("k", Destination.topic("a.b"), retroactive=True)
    broker.settle()
    assert [each.body for each in peer.client.messages] == [b"kept"]


# ---- shared subscriptions


def test_each_message_goes_to_one_member(broker: MqttBroker) -> None:
    """Of sessions of all kinds; other groups have their own."""
    members = [MqttClient(broker, "m1", expiry_s=1000), MqttClient(broker, "m2")]
    for client in members:
        assert client.subscribe(("$share/g/a/+", 1)) == [1]
    other = MqttClient(broker, "other")
    other.subscribe(("$share/h/a/+", 0))
    sender = MqttClient(broker, "sender")
    for number in range(4):
        sender.publish("a/b", b"%d" % number, 1)
    got = [client.payloads() for client in members]
    assert sorted([*got[0], *got[1]]) == [b"0", b"1", b"2", b"3"]
    assert all(got)
    assert other.payloads() == [b"0", b"1", b"2", b"3"]


def test_a_member_that_vanishes_leaves_its_messages_to_the_others(broker: MqttBroker) -> None:
    """And without any member there the messages wait for a stored one."""
    first, second = MqttClient(broker, "m1", expiry_s=1000), MqttClient(broker, "m2", expiry_s=1000)
    for client in (first, second):
        client.subscribe(("$share/g/a", 1))
    sender = MqttClient(broker, "sender")
    sender.publish("a", b"1", 1)
    sender.publish("a", b"2", 1)
    first.drain()
    first.vanish()
    assert sorted(second.payloads()) == [b"1", b"2"]
    second.vanish()
    sender.publish("a", b"3", 1)
    broker.kill()
    assert back(broker, "m1").payloads() == [b"3"]


def test_a_shared_subscription_ends_with_its_last_member(broker: MqttBroker) -> None:
    """By unsubscribing, by the end of sessions; one that a master left without members is given a while."""
    first, second = MqttClient(broker, "m1"), MqttClient(broker, "m2")
    for client in (first, second):
        client.subscribe(("$share/g/a", 1))
    first.vanish()
    assert list(broker.region.subscriptions.durable) == [("", "$share/g/a")]
    second.say(unsubscribe(3, ["$share/g/a"]))
    assert broker.region.subscriptions.durable == {}
    MqttClient(broker, "m1").subscribe(("$share/g/a", 1))
    broker.kill()
    broker.wait_ms(30_000)
    client = MqttClient(broker, "m1")
    client.subscribe(("$share/g/a", 1))
    broker.wait_ms(100_000)
    assert list(broker.region.subscriptions.durable) == [("", "$share/g/a")]
    broker.kill()
    broker.wait_ms(60_000)
    assert broker.region.subscriptions.durable == {}
