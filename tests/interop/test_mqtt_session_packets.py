"""MQTT packet by packet against a real broker: sessions, wills, retained messages, delivery."""

import pytest
from support import mqtt_peer as peer
from support.mqtt_scene import (
    SESSION_EXPIRY,
    VERSIONS,
    WILL_DELAY,
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

SUBSCRIPTION_ID = 0x0B
NO_LOCAL, AS_PUBLISHED, IF_NEW, NEVER = 4, 8, 0x10, 0x20


# ---- sessions


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_goes_on(mqtt_port: int, version: int) -> None:
    """Its subscriptions stay, and what was published meanwhile is delivered."""
    name, topic = unique("kept"), unique("kept/")
    each = kept(mqtt_port, name, version)
    each.subscribe((topic, 1))
    publish(each, topic, b"first")
    assert take(each).payload == b"first"
    leave(each)
    with client(mqtt_port) as sender:
        publish(sender, topic, b"second", 1)
        publish(sender, topic, b"third", 2)
    with kept(mqtt_port, name, version, present=version > 3) as each:
        assert payloads([take(each), take(each)]) == [b"second", b"third"]
        publish(each, topic, b"fourth")
        assert take(each).payload == b"fourth"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clean_start_forgets(mqtt_port: int, version: int) -> None:
    """Nothing is left of the earlier session, neither for the clean one nor after it."""
    name, topic = unique("clean"), unique("clean/")
    each = kept(mqtt_port, name, version)
    each.subscribe((topic, 1))
    leave(each)
    with client(mqtt_port) as sender:
        publish(sender, topic, b"lost")
    for clean in (True, False):
        opened = client(mqtt_port, name, version) if clean else kept(mqtt_port, name, version)
        with opened as each:
            each.subscribe((topic, 1))
            publish(each, topic, b"new")
            assert take(each).payload == b"new"
            leave(each)


def test_a_session_expires(mqtt_port: int) -> None:
    """With its connection, if that is what the client wants, at its beginning or at its end."""
    name, topic = unique("expired"), unique("expired/")
    for values, goodbye in (((), None), (((SESSION_EXPIRY, 600),), 0)):
        each = client(mqtt_port, name, clean=False, values=values)
        each.subscribe((topic, 1))
        each.say(peer.disconnect(0, [] if goodbye is None else [(SESSION_EXPIRY, goodbye)]))
        each.wait_closed()
    with client(mqtt_port, name, clean=False, values=[(SESSION_EXPIRY, 1)]):
        pass
    let_time_pass(mqtt_port, 2)
    with client(mqtt_port, name, clean=False):
        pass


def test_a_goodbye_can_keep_a_session(mqtt_port: int) -> None:
    """For longer than it was to be kept."""
    name = unique("longer")
    each = client(mqtt_port, name, clean=False, values=[(SESSION_EXPIRY, 1)])
    each.say(peer.disconnect(0, [(SESSION_EXPIRY, 600)]))
    each.wait_closed()
    let_time_pass(mqtt_port, 2)
    client(mqtt_port, name, clean=False, present=True).socket.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_id_belongs_to_one_connection(mqtt_port: int, version: int) -> None:
    """The older one ends, and 5.0 is told why; the session goes on with the newer."""
    name, topic = unique("taken"), unique("taken/")
    with kept(mqtt_port, name, version) as older:
        older.subscribe((topic, 1))
        with kept(mqtt_port, name, version, present=version > 3) as newer:
            replies = older.wait_closed()
            assert [(reply.kind, reply.code) for reply in replies] == (
                [(peer.DISCONNECT, 0x8E)] if version == 5 else []
            )
            publish(newer, topic, b"x")
            assert take(newer).payload == b"x"


# ---- wills


@pytest.mark.parametrize("version", VERSIONS)
def test_a_will_is_published(mqtt_port: int, version: int) -> None:
    """When its client is gone without a word; it is not retained unless it says so."""
    topic = unique("will/")
    with client(mqtt_port, version=version) as watcher:
        watcher.subscribe((topic, 2))
        break_off(client(mqtt_port, version=version, will=(topic, b"gone", 1, False)))
        will = take(watcher)
        assert (will.payload, will.qos, will.retain) == (b"gone", 1, False)
        watcher.subscribe((f"{topic}/#", 1), packet_id=2)
        publish(watcher, f"{topic}/x", b"end")
        assert take_until(watcher, b"end") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_retained_will(mqtt_port: int, version: int) -> None:
    """It is the topic's retained message."""
    topic = unique("will/")
    with client(mqtt_port, version=version) as watcher:
        watcher.subscribe((topic, 1))
        break_off(client(mqtt_port, version=version, will=(topic, b"gone", 1, True)))
        assert not take(watcher).retain
    with client(mqtt_port, version=version) as late:
        late.subscribe((topic, 1))
        will = take(late)
        assert (will.payload, will.retain) == (b"gone", True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_goodbye_deletes_the_will(mqtt_port: int, version: int) -> None:
    """It is not published then."""
    topic = unique("will/")
    with client(mqtt_port, version=version) as watcher:
        watcher.subscribe((topic, 1))
        leave(client(mqtt_port, version=version, will=(topic, b"gone", 1, False)))
        publish(watcher, topic, b"end")
        assert take_until(watcher, b"end") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_will_nothing_is_published(mqtt_port: int, version: int) -> None:
    """Whatever else the client did."""
    topic = unique("will/")
    with client(mqtt_port, version=version) as watcher:
        watcher.subscribe((topic, 1))
        each = client(mqtt_port, version=version)
        publish(each, topic, b"own")
        break_off(each)
        publish(watcher, topic, b"end")
        assert payloads(take_until(watcher, b"end")) == [b"own"]


def test_a_goodbye_with_will(mqtt_port: int) -> None:
    """A client of 5.0 can leave and have its will published."""
    topic = unique("will/")
    with client(mqtt_port) as watcher:
        watcher.subscribe((topic, 1))
        with client(mqtt_port, will=(topic, b"gone", 1, False)) as each:
            each.say(peer.disconnect(4))
            assert take(watcher).payload == b"gone"


def test_a_fault_publishes_the_will(mqtt_port: int) -> None:
    """Who breaks the protocol has not said goodbye."""
    topic = unique("will/")
    with client(mqtt_port) as watcher:
        watcher.subscribe((topic, 1))
        with client(mqtt_port, will=(topic, b"gone", 1, False)) as each:
            each.say(b"\0\0")
            assert take(watcher).payload == b"gone"


def test_a_will_waits_for_its_delay(mqtt_port: int) -> None:
    """It is not sent if its client is back before; it is at the session's end, if that comes first."""
    topic, name = unique("will/"), unique("back")
    with client(mqtt_port) as watcher:
        watcher.subscribe((topic, 1))
        break_off(kept(mqtt_port, name, 5, will=(topic, b"back", 1, False), will_values=[(WILL_DELAY, 1)]))

        def is_back() -> bool:
            with peer.MqttPeer(mqtt_port) as again:
                return again.log_in(name, clean=False, values=[(SESSION_EXPIRY, 600)]).session_present

        wait_until(is_back)
        break_off(
            kept(mqtt_port, unique("w"), 5, will=(topic, b"late", 1, False), will_values=[(WILL_DELAY, 2)])
        )
        break_off(client(mqtt_port, will=(topic, b"ended", 1, False), will_values=[(WILL_DELAY, 600)]))
        assert payloads([take(watcher), take(watcher)]) == [b"ended", b"late"]


def test_the_properties_of_a_will(mqtt_port: int) -> None:
    """They are those of its message, in their order."""
    topic = unique("will/")
    sent: list[peer.Property] = [
        (0x01, 1),
        (0x03, "text/plain"),
        (0x08, "re/ply"),
        (0x09, b"\0\xff"),
        (0x26, ("b", "1")),
        (0x26, ("a", "2")),
        (0x26, ("b", "1")),
    ]
    with client(mqtt_port) as watcher:
        watcher.subscribe((topic, 0))
        break_off(client(mqtt_port, will=(topic, b"gone", 0, False), will_values=sent))
        assert sorted(take(watcher).values, key=lambda each: each[0]) == sent


# ---- retained messages


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_messages(mqtt_port: int, version: int, qos: int) -> None:
    """New subscriptions get the last one, which says so; all others get it as any message."""
    topic = unique("kept/")
    with client(mqtt_port, version=version) as watcher, client(mqtt_port, version=version) as late:
        watcher.subscribe((topic, 2))
        for payload, retain in ((b"1", True), (b"2", True), (b"3", False)):
            publish(watcher, topic, payload, qos, retain=retain)
            message = take(watcher)
            assert (message.payload, message.retain, message.qos) == (payload, False, qos)
        late.subscribe((f"{topic}/#", 2))
        message = take(late)
        assert (message.topic, message.payload, message.retain, message.qos) == (topic, b"2", True, qos)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_message_removes_the_retained_one(mqtt_port: int, version: int) -> None:
    """It is delivered, and is none that is retained itself."""
    topic = unique("kept/")
    with client(mqtt_port, version=version) as watcher, client(mqtt_port, version=version) as late:
        watcher.subscribe((topic, 1))
        publish(watcher, topic, b"1", retain=True)
        publish(watcher, topic, b"", retain=True)
        assert payloads([take(watcher), take(watcher)]) == [b"1", b""]
        late.subscribe((topic, 1))
        publish(watcher, topic, b"end")
        assert take_until(late, b"end") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_messages_outlive_sessions(mqtt_port: int, version: int) -> None:
    """They belong to their topic."""
    topic = unique("kept/")
    each = client(mqtt_port, version=version)
    publish(each, topic, b"1", retain=True)
    leave(each)
    with client(mqtt_port, version=version) as late:
        late.subscribe((topic, 1))
        assert take(late).payload == b"1"


def test_retain_handling(mqtt_port: int) -> None:
    """With each subscription, only with a new one, or never."""
    topic = unique("kept/")
    with client(mqtt_port) as each:
        publish(each, topic, b"1", retain=True)
        counts = []
        for options in (IF_NEW, IF_NEW, 0, 0, NEVER):
            each.subscribe((topic, 1 | options))
            publish(each, topic, b"end")
            counts.append(len(take_until(each, b"end")))
        assert counts == [1, 0, 1, 1, 0]
    with client(mqtt_port) as each:
        each.subscribe((topic, 1 | NEVER))
        publish(each, topic, b"end")
        assert take_until(each, b"end") == []


def test_retain_as_published(mqtt_port: int) -> None:
    """A subscription can keep the flag."""
    topic = unique("kept/")
    with client(mqtt_port) as each, client(mqtt_port) as other:
        each.subscribe((topic, 1 | AS_PUBLISHED))
        other.subscribe((topic, 1))
        publish(each, topic, b"1", retain=True)
        publish(each, topic, b"2")
        assert [take(each).retain, take(each).retain] == [True, False]
        assert [take(other).retain, take(other).retain] == [False, False]


# ---- subscriptions


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_filter_matches(mqtt_port: int, version: int) -> None:
    """Levels may be empty, and names are taken as they are."""
    base = unique("match")
    topics = [
        base,
        f"{base}/",
        f"{base}/a",
        f"{base}//a",
        f"{base}/a/b",
        f"{base}/A",
        f"{base}/é",
        f"{base}.a",
    ]
    expected = {
        f"{base}/#": topics[:7],
        f"{base}/+": [topics[1], topics[2], topics[5], topics[6]],
        f"{base}/+/a": [topics[3]],
        f"{base}/a/+": [topics[4]],
        f"{base}/é": [topics[6]],
        f"{base}.a": [topics[7]],
    }
    with client(mqtt_port, version=version) as sender:
        for topic_filter, names in expected.items():
            with client(mqtt_port, version=version) as each:
                each.subscribe((topic_filter, 1), (unique("end/"), 1))
                end = unique("end/")
                each.subscribe((end, 1), packet_id=2)
                for name in topics:
                    publish(sender, name, name.encode())
                publish(sender, end, b"end")
                assert [message.topic for message in take_until(each, b"end")] == names, topic_filter


@pytest.mark.parametrize("version", VERSIONS)
def test_the_lower_qos_counts(mqtt_port: int, version: int) -> None:
    """Of the message's and the subscription's."""
    topic = unique("qos/")
    with client(mqtt_port, version=version) as sender:
        for granted in (0, 1, 2):
            with client(mqtt_port, version=version) as each:
                each.subscribe((topic, granted))
                for qos in (0, 1, 2):
                    publish(sender, topic, b"x", qos)
                    assert take(each).qos == min(granted, qos)


@pytest.mark.parametrize("version", VERSIONS)
def test_subscribing_again_replaces(mqtt_port: int, version: int) -> None:
    """There is one subscription then, with the new QoS, and the retained message comes again."""
    topic = unique("again/")
    with client(mqtt_port, version=version) as each:
        publish(each, topic, b"kept", 1, retain=True)
        each.subscribe((topic, 1))
        publish(each, topic, b"1", 1)
        assert each.subscribe((topic, 0)).codes == [0]
        publish(each, topic, b"2", 1)
        publish(each, topic, b"end", 1)
        messages = take_until(each, b"end")
        assert payloads(messages) == [b"kept", b"1", b"kept", b"2"]
        assert messages[-1].qos == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribing(mqtt_port: int, version: int) -> None:
    """Filters are compared as they are written; each is answered, also if there was none."""
    topic, other = unique("un/"), unique("un/")
    with client(mqtt_port, version=version) as each:
        each.subscribe((topic, 1), (other, 1), ("un/+", 1))
        each.say(peer.unsubscribe(5, [topic, "un/#", "un/+"], version=version))
        unsuback = each.wait(peer.UNSUBACK)
        assert unsuback.packet_id == 5
        assert unsuback.codes == ([0, 0x11, 0] if version == 5 else [])
        publish(each, topic, b"no more")
        publish(each, other, b"end")
        assert take_until(each, b"end") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribing_completes_what_has_begun(mqtt_port: int, version: int) -> None:
    """A message of QoS 2 that is under way is delivered to its end."""
    topic = unique("un/")
    with client(mqtt_port, version=version) as each:
        each.subscribe((topic, 2))
        publish(each, topic, b"x", 2)
        message = each.wait(peer.PUBLISH)
        each.say(peer.unsubscribe(5, [topic], version=version))
        each.wait(peer.UNSUBACK)
        each.say(peer.ack(peer.PUBREC, message.packet_id))
        assert each.wait(peer.PUBREL).packet_id == message.packet_id
        each.say(peer.ack(peer.PUBCOMP, message.packet_id))
        each.ping()


def test_overlapping_subscriptions(mqtt_port: int) -> None:
    """The highest QoS counts, and every identifier is said."""
    base = unique("over")
    with client(mqtt_port) as each:
        each.subscribe((f"{base}/#", 1), packet_id=1, values=[(SUBSCRIPTION_ID, 1)])
        each.subscribe((f"{base}/+", 2), packet_id=2, values=[(SUBSCRIPTION_ID, 268_435_455)])
        each.subscribe((f"{base}/a", 0), packet_id=3)
        end = unique("end/")
        each.subscribe((end, 2), packet_id=4)
        publish(each, f"{base}/a", b"x", 2)
        publish(each, end, b"end", 2)
        messages = take_until(each, b"end")
        assert max(message.qos for message in messages) == 2
        ids = {value for message in messages for number, value in message.values if number == SUBSCRIPTION_ID}
        assert ids == {1, 268_435_455}


def test_no_local(mqtt_port: int) -> None:
    """What a client publishes itself is not delivered to it, what others do is."""
    topic = unique("local/")
    with client(mqtt_port) as each, client(mqtt_port) as other:
        each.subscribe((topic, 1 | NO_LOCAL))
        publish(each, topic, b"own")
        publish(other, topic, b"other's")
        assert take(each).payload == b"other's"


def test_shared_subscriptions(mqtt_port: int) -> None:
    """Each message goes to one client of the group, with its QoS, and to all who are not in it."""
    topic, group = unique("shared/"), unique("group")
    with (
        client(mqtt_port) as one,
        client(mqtt_port) as other,
        client(mqtt_port) as alone,
        client(mqtt_port) as sender,
    ):
        for each in (one, other):
            assert each.subscribe((f"$share/{group}/{topic}", 1)).codes == [1]
        alone.subscribe((topic, 2))
        wanted = {str(number).encode() for number in range(20)}
        for payload in sorted(wanted):
            publish(sender, topic, payload, 2)
        assert {take(alone).payload for _ in wanted} == wanted
        got: set[bytes] = set()
        count = 0

        def all_came() -> bool:
            nonlocal count
            for each in (one, other):
                each.ping()
                while any(reply.kind == peer.PUBLISH for reply in each.replies):
                    message = take(each)
                    assert message.qos == 1
                    got.add(message.payload)
                    count += 1
            return got == wanted

        wait_until(all_came)
        assert count == len(wanted)


@pytest.mark.parametrize("version", VERSIONS)
def test_topics_of_the_server(mqtt_port: int, version: int) -> None:
    """Filters that begin with a wildcard do not match them."""
    topic = unique("dollar/")
    with client(mqtt_port, version=version) as each:
        each.subscribe(("#", 0), ("+/broker/version", 0))
        publish(each, topic, b"end", 0)
        assert [message.topic for message in take_until(each, b"end") if message.topic[0] == "$"] == []
        each.subscribe(("$SYS/#", 0), packet_id=2)
        assert take(each).topic.startswith("$SYS/")
