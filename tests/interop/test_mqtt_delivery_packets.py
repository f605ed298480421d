"""MQTT packet by packet against a real broker: what is delivered, how often, in which order."""

import pytest
from support import mqtt_peer as peer
from support.mqtt_scene import (
    MESSAGE_EXPIRY,
    PACKET_BYTES,
    RECEIVE_MAXIMUM,
    VERSIONS,
    break_off,
    client,
    kept,
    leave,
    let_time_pass,
    payloads,
    publish,
    take,
    take_until,
    unique,
)
from support.waiting import wait_until

pytestmark = pytest.mark.interop


# ---- again, once, at most


@pytest.mark.parametrize("version", VERSIONS)
def test_unacknowledged_messages_come_again(mqtt_port: int, version: int) -> None:
    """In their order, with their identifiers, saying so; what was acknowledged does not."""
    name, topic = unique("again"), unique("again/")
    each = kept(mqtt_port, name, version)
    each.subscribe((topic, 1))
    for number in range(5):
        publish(each, topic, b"%d" % number)
    first = [each.wait(peer.PUBLISH) for _ in range(5)]
    assert [message.dup for message in first] == [False] * 5
    each.say(peer.ack(peer.PUBACK, first[0].packet_id))
    each.ping()
    break_off(each)
    with kept(mqtt_port, name, version, present=version > 3) as each:
        again = [take(each) for _ in range(4)]
        assert payloads(again) == [b"1", b"2", b"3", b"4"]
        assert [message.packet_id for message in again] == [message.packet_id for message in first[1:]]
        assert all(message.dup for message in again)
        leave(each)
    with kept(mqtt_port, name, version, present=version > 3) as each:
        publish(each, topic, b"end")
        assert take_until(each, b"end") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_exactly_once_from_a_client(mqtt_port: int, version: int) -> None:
    """However often a message is sent and however often its connection is lost before it is released."""
    name, topic = unique("once"), unique("once/")
    with client(mqtt_port) as watcher:
        watcher.subscribe((topic, 2))
        each = kept(mqtt_port, name, version)
        each.say(peer.publish(topic, b"x", 2, 7, version=version))
        assert each.wait(peer.PUBREC).packet_id == 7
        each.say(peer.publish(topic, b"x", 2, 7, dup=True, version=version))
        assert each.wait(peer.PUBREC).packet_id == 7
        break_off(each)
        with kept(mqtt_port, name, version, present=version > 3) as each:
            each.say(peer.publish(topic, b"x", 2, 7, dup=True, version=version))
            assert each.wait(peer.PUBREC).packet_id == 7
            for _ in range(2):
                each.say(peer.ack(peer.PUBREL, 7))
                assert each.wait(peer.PUBCOMP).packet_id == 7
            each.say(peer.publish(topic, b"y", 2, 7, version=version))
            assert each.wait(peer.PUBREC).packet_id == 7
            each.say(peer.ack(peer.PUBREL, 7))
            assert each.wait(peer.PUBCOMP).packet_id == 7
            assert payloads([take(watcher), take(watcher)]) == [b"x", b"y"]


@pytest.mark.parametrize("version", VERSIONS)
def test_exactly_once_to_a_client(mqtt_port: int, version: int) -> None:
    """PUBLISH again until PUBREC, then PUBREL again until PUBCOMP."""
    name, topic = unique("once"), unique("once/")
    each = kept(mqtt_port, name, version)
    each.subscribe((topic, 2))
    publish(each, topic, b"x", 2)
    first = each.wait(peer.PUBLISH)
    break_off(each)
    each = kept(mqtt_port, name, version, present=version > 3)
    again = each.wait(peer.PUBLISH)
    assert (again.packet_id, again.dup, again.payload) == (first.packet_id, True, b"x")
    each.say(peer.ack(peer.PUBREC, first.packet_id))
    assert each.wait(peer.PUBREL).packet_id == first.packet_id
    break_off(each)
    with kept(mqtt_port, name, version, present=version > 3) as each:
        reply = each.next()
        assert (reply.kind, reply.packet_id) == (peer.PUBREL, first.packet_id)
        each.say(peer.ack(peer.PUBCOMP, first.packet_id))
        publish(each, topic, b"end", 2)
        assert take_until(each, b"end") == []


def test_what_a_client_refuses_is_not_sent_again(mqtt_port: int) -> None:
    """Neither to it nor to others of its group."""
    topic, group, name = unique("refused/"), unique("group"), unique("refuses")
    each = kept(mqtt_port, name, 5)
    each.subscribe((topic, 2), (f"$share/{group}/{topic}", 1))
    for qos in (1, 2):
        publish(each, topic, b"x", qos)
        for _ in range(2):
            message = each.wait(peer.PUBLISH)
            each.say(peer.ack(peer.PUBACK if message.qos == 1 else peer.PUBREC, message.packet_id, 0x80))
    each.ping()
    break_off(each)
    with kept(mqtt_port, name, 5, present=True) as each, client(mqtt_port) as other:
        other.subscribe((f"$share/{group}/{topic}", 1))
        each.say(peer.unsubscribe(9, [f"$share/{group}/{topic}"]))
        each.wait(peer.UNSUBACK)
        publish(other, topic, b"end")
        assert take_until(each, b"end") == []
        assert take_until(other, b"end") == []


def test_a_shared_message_of_qos_2_stays_with_its_client(mqtt_port: int) -> None:
    """Once it has begun to receive it."""
    topic, group, name = unique("stays/"), unique("group"), unique("holder")
    each = kept(mqtt_port, name, 5)
    each.subscribe((f"$share/{group}/{topic}", 2))
    publish(each, topic, b"x", 2)
    message = each.wait(peer.PUBLISH)
    each.say(peer.ack(peer.PUBREC, message.packet_id))
    each.wait(peer.PUBREL)
    with client(mqtt_port) as other:
        other.subscribe((f"$share/{group}/{topic}", 2))
        break_off(each)
        with kept(mqtt_port, name, 5, present=True) as each:
            assert each.wait(peer.PUBREL).packet_id == message.packet_id
            each.say(peer.ack(peer.PUBCOMP, message.packet_id))
        publish(other, topic, b"end", 2)
        assert b"x" not in payloads(take_until(other, b"end"))


def test_shared_messages_of_a_session_that_ends(mqtt_port: int) -> None:
    """They go to another client of the group."""
    topic, group = unique("ends/"), unique("group")
    with client(mqtt_port) as other:
        each = client(mqtt_port)
        each.subscribe((f"$share/{group}/{topic}", 1))
        publish(each, topic, b"x")
        each.wait(peer.PUBLISH)
        other.subscribe((f"$share/{group}/{topic}", 1))
        break_off(each)
        assert take(other).payload == b"x"


# ---- order and flags


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_keep_their_order(mqtt_port: int, version: int, qos: int) -> None:
    """Of one client, topic and QoS."""
    topic = unique("order/")
    wanted = [b"%d" % number for number in range(100)]
    with client(mqtt_port, version=version) as watcher, client(mqtt_port, version=version) as sender:
        watcher.subscribe((topic, 2))
        sender.say(
            *(peer.publish(topic, payload, qos, at + 1, version=version) for at, payload in enumerate(wanted))
        )
        if qos == 2:
            ids = [sender.wait(peer.PUBREC).packet_id for _ in wanted]
            sender.say(*(peer.ack(peer.PUBREL, packet_id) for packet_id in ids))
        messages = [watcher.wait(peer.PUBLISH) for _ in wanted]
        assert payloads(messages) == wanted
        assert len({message.packet_id for message in messages}) == (100 if qos else 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_dup_flag_is_not_passed_on(mqtt_port: int, version: int) -> None:
    """It says something about one connection only."""
    topic = unique("dup/")
    with client(mqtt_port, version=version) as watcher, client(mqtt_port, version=version) as sender:
        watcher.subscribe((topic, 1))
        publish(sender, topic, b"x", 1, dup=True)
        assert not take(watcher).dup


# ---- the client's limits


def test_the_clients_receive_maximum(mqtt_port: int) -> None:
    """No message above it; QoS 0 and all answers go on."""
    topic = unique("max/")
    with client(mqtt_port, values=[(RECEIVE_MAXIMUM, 2)]) as each, client(mqtt_port) as sender:
        each.subscribe((topic, 2))
        for payload in (b"1", b"2", b"3", b"4"):
            publish(sender, topic, payload, 1)
        publish(sender, topic, b"5", 2)
        first, second = each.wait(peer.PUBLISH), each.wait(peer.PUBLISH)
        each.subscribe((f"{topic}/0", 0), packet_id=2)
        publish(sender, f"{topic}/0", b"0", 0)
        while (message := each.wait(peer.PUBLISH)).qos:
            raise AssertionError(f"{message.payload!r} came too early")
        each.say(peer.ack(peer.PUBACK, first.packet_id), peer.ack(peer.PUBACK, second.packet_id))
        assert payloads([first, second, *(take(each) for _ in range(3))]) == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_is_too_large_is_discarded(mqtt_port: int, qos: int) -> None:
    """For this client; it counts as delivered."""
    topic, name = unique("large/"), unique("small")
    each = kept(mqtt_port, name, 5, values=((PACKET_BYTES, 200),))
    with client(mqtt_port) as other:
        for watcher in (each, other):
            watcher.subscribe((topic, qos))
        publish(other, topic, bytes(300), qos)
        publish(other, topic, b"end", qos)
        assert take_until(each, b"end") == []
        assert payloads(take_until(other, b"end")) == [bytes(300)]
    leave(each)
    with kept(mqtt_port, name, 5, present=True) as each:
        publish(each, topic, b"end", qos)
        assert take_until(each, b"end") == []


# ---- properties and expiry

PROPERTIES: list[peer.Property] = [
    (0x01, 1),
    (0x03, "text/plain; é"),
    (0x08, "re/ply"),
    (0x09, b"\0\xff\x80"),
    (0x26, ("b", "1")),
    (0x26, ("a", "2")),
    (0x26, ("b", "1")),
    (0x26, ("", "")),
]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_are_passed_on(mqtt_port: int, qos: int) -> None:
    """Unaltered, with those of the user in their order; older clients get the message without."""
    topic = unique("props/")
    with client(mqtt_port) as each, client(mqtt_port, version=4) as old:
        each.subscribe((topic, 2))
        old.subscribe((topic, 2))
        publish(each, topic, b"x", qos, values=PROPERTIES)
        assert sorted(take(each).values, key=lambda value: value[0]) == PROPERTIES
        assert take(old).payload == b"x"


@pytest.mark.parametrize(
    "values", [[(0x01, 0)], [(0x03, "")], [(0x08, "$SYS/x")], [(0x09, b"")], [(0x26, ("", ""))]]
)
def test_odd_properties_are_passed_on(mqtt_port: int, values: list[peer.Property]) -> None:
    """Each alone, however empty."""
    topic = unique("props/")
    with client(mqtt_port) as each:
        each.subscribe((topic, 1))
        publish(each, topic, b"x", 1, values=values)
        assert take(each).values == values


def test_messages_expire(mqtt_port: int) -> None:
    """What has expired is not delivered; what has not says how long it has left."""
    name, topic = unique("expires"), unique("expires/")
    each = kept(mqtt_port, name, 5)
    each.subscribe((topic, 1))
    leave(each)
    with client(mqtt_port) as sender:
        publish(sender, topic, b"short", 1, values=[(MESSAGE_EXPIRY, 1)])
        publish(sender, topic, b"long", 1, values=[(MESSAGE_EXPIRY, 600)])
        publish(sender, topic, b"end", 1)
    let_time_pass(mqtt_port, 2)
    with kept(mqtt_port, name, 5, present=True) as each:
        (message,) = take_until(each, b"end")
        assert message.payload == b"long"
        assert 0 < message.value(MESSAGE_EXPIRY) < 600


def test_what_has_been_sent_does_not_expire(mqtt_port: int) -> None:
    """An exchange that has begun goes on to its end."""
    name, topic = unique("sent"), unique("sent/")
    each = kept(mqtt_port, name, 5)
    each.subscribe((topic, 2))
    publish(each, topic, b"x", 2, values=[(MESSAGE_EXPIRY, 1)])
    message = each.wait(peer.PUBLISH)
    each.say(peer.ack(peer.PUBREC, message.packet_id))
    each.wait(peer.PUBREL)
    break_off(each)
    let_time_pass(mqtt_port, 2)
    with kept(mqtt_port, name, 5, present=True) as each:
        assert each.wait(peer.PUBREL).packet_id == message.packet_id
        each.say(peer.ack(peer.PUBCOMP, message.packet_id))
        each.ping()


def test_a_slow_client_does_not_hold_up_others(mqtt_port: int) -> None:
    """It reads nothing, they get everything."""
    topic = unique("slow/")
    with client(mqtt_port) as slow, client(mqtt_port) as each:
        slow.subscribe((topic, 0))
        each.subscribe((topic, 0))
        for number in range(200):
            publish(each, topic, b"%d" % number + bytes(50_000), 0)
            take(each)
        publish(each, topic, b"end", 1)
        wait_until(lambda: take(each).payload == b"end")
