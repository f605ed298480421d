"""SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH and the silence of clients."""

from collections.abc import Callable

import pytest
from support import mqtt_peer as peer
from support.mqtt_connection import OLDER, VERSIONS, Link, connected

from broker.mqtt import limits
from broker.mqtt.connection import State
from broker.mqtt.events import ClientSilent, ProtocolViolation
from broker.mqtt.packets import Disconnect, Properties, Subscribe, Subscription, Unsubscribe
from broker.mqtt.reasons import ReasonCode

IN_USE = ReasonCode.PACKET_IDENTIFIER_IN_USE


# ---- SUBSCRIBE and UNSUBSCRIBE


@pytest.mark.parametrize("version", VERSIONS)
def test_subscribing(version: int) -> None:
    """Filters arrive in their order, and so do the answers."""
    link = connected(version)
    assert link.say(peer.subscribe(7, [("a/+", 0), ("#", 2), ("a/+", 1)], version=version)) == [
        Subscribe(7, (Subscription("a/+", 0), Subscription("#", 2), Subscription("a/+", 1)))
    ]
    link.connection.send_suback(7, [0, 2, ReasonCode.NOT_AUTHORIZED], "not the last")
    (suback,) = link.hear()
    assert (suback.packet_id, suback.codes) == (7, [0, 2, 0x87 if version == 5 else 0x80])
    assert suback.values == ([(0x1F, "not the last")] if version == 5 else [])


def test_the_options_of_a_subscription() -> None:
    """5.0 has four of them and an identifier."""
    link = connected()
    data = peer.subscribe(
        1, [("a", 0b00_00_0100), ("b", 0b00_01_1001), ("c", 0b00_10_0000)], values=[(0x0B, 300)]
    )
    (event,) = link.say(data)
    assert event == Subscribe(
        1,
        (
            Subscription("a", no_local=True),
            Subscription("b", 1, retain_as_published=True, retain_handling=1),
            Subscription("c", retain_handling=2),
        ),
        Properties(subscription_ids=(300,)),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribing(version: int) -> None:
    """Only a client of 5.0 is told what became of each filter."""
    link = connected(version)
    assert link.say(peer.unsubscribe(7, ["a/+", "$share/g/#"], version=version)) == [
        Unsubscribe(7, ("a/+", "$share/g/#"))
    ]
    link.connection.send_unsuback(7, [0, 0x11])
    (unsuback,) = link.hear()
    assert (unsuback.packet_id, unsuback.codes) == (7, [0, 0x11] if version == 5 else [])


def test_3_1_may_say_that_it_asks_again() -> None:
    """Its requests have the flags of a message of QoS 1."""
    link = connected(3)
    for data in (peer.subscribe(1, [("t", 0xFD)], version=3), peer.unsubscribe(2, ["t"], version=3)):
        (event,) = link.say(bytes([data[0] | 8]) + data[1:])
        assert isinstance(event, Subscribe | Unsubscribe)
        if isinstance(event, Subscribe):
            assert event.subscriptions == (Subscription("t", 1),)


FLAWED: list[tuple[str, tuple[int, ...], Callable[[int], bytes], int]] = [
    ("no filter", VERSIONS, lambda version: peer.subscribe(1, [], version=version), 0x82),
    ("no filter to remove", VERSIONS, lambda version: peer.unsubscribe(1, [], version=version), 0x82),
    ("identifier 0", VERSIONS, lambda version: peer.subscribe(0, [("t", 0)], version=version), 0x82),
    ("identifier 0 to remove", VERSIONS, lambda version: peer.unsubscribe(0, ["t"], version=version), 0x82),
    ("QoS 3", VERSIONS, lambda version: peer.subscribe(1, [("t", 3)], version=version), 0x82),
    ("reserved bit", (4,), lambda version: peer.subscribe(1, [("t", 4)], version=version), 0x81),
    ("reserved bits", (5,), lambda version: peer.subscribe(1, [("t", 0x40)], version=version), 0x81),
    ("retain handling 3", (5,), lambda version: peer.subscribe(1, [("t", 0x30)], version=version), 0x82),
    ("no local shared", (5,), lambda version: peer.subscribe(1, [("$share/g/t", 4)], version=version), 0x82),
    ("two identifiers", (5,), lambda _: peer.subscribe(1, [("t", 0)], values=[(0x0B, 1), (0x0B, 2)]), 0x82),
    ("subscription identifier 0", (5,), lambda _: peer.subscribe(1, [("t", 0)], values=[(0x0B, 0)]), 0x82),
    ("wrong filter", VERSIONS, lambda version: peer.subscribe(1, [("a#", 0)], version=version), 0x81),
    ("wrong filter to remove", VERSIONS, lambda version: peer.unsubscribe(1, ["a+"], version=version), 0x81),
    ("empty filter", VERSIONS, lambda version: peer.subscribe(1, [("", 0)], version=version), 0x81),
    ("options cut off", OLDER, lambda _: peer.packet(0x82, b"\0\1\0\1t"), 0x81),
    ("filter cut off", OLDER, lambda _: peer.packet(0x82, b"\0\1\0\5t"), 0x81),
    ("identifier cut off", VERSIONS, lambda _: peer.packet(0xA2, b"\0"), 0x81),
    ("filter no UTF-8", OLDER, lambda _: peer.packet(0xA2, b"\0\1\0\1\xff"), 0x81),
    ("flags of SUBSCRIBE", VERSIONS, lambda _: peer.packet(0x80, b"\0\1\0\1t\0"), 0x81),
    ("flags of UNSUBSCRIBE", (4, 5), lambda _: peer.packet(0xAA, b"\0\1\0\1t\0"), 0x81),
    ("flags of PUBREL", VERSIONS, lambda _: peer.packet(0x60, b"\0\1"), 0x81),
    ("flags of PUBACK", VERSIONS, lambda _: peer.packet(0x42, b"\0\1"), 0x81),
    ("flags of PINGREQ", VERSIONS, lambda _: peer.packet(0xC1), 0x81),
    ("flags of DISCONNECT", VERSIONS, lambda _: peer.packet(0xE2), 0x81),
    ("flags of AUTH", (5,), lambda _: peer.packet(0xF1), 0x81),
    ("a body of PINGREQ", VERSIONS, lambda _: peer.packet(0xC0, b"\0"), 0x81),
    ("a body of DISCONNECT", OLDER, lambda _: peer.packet(0xE0, b"\0"), 0x81),
    ("more than a PUBACK", OLDER, lambda _: peer.packet(0x40, b"\0\1\0"), 0x81),
    ("more than a PUBACK has", (5,), lambda _: peer.packet(0x40, b"\0\1\0\0\0"), 0x81),
    ("less than a PUBACK", VERSIONS, lambda _: peer.packet(0x40, b"\0"), 0x81),
    ("a PUBREL of 0", VERSIONS, lambda _: peer.ack(peer.PUBREL, 0), 0x82),
    ("an impossible code", (5,), lambda _: peer.ack(peer.PUBACK, 1, 0x92), 0x82),
    ("an impossible code of PUBREL", (5,), lambda _: peer.ack(peer.PUBREL, 1, 0x80), 0x82),
    ("another packet's property", (5,), lambda _: peer.ack(peer.PUBACK, 1, 0, [(0x11, 1)]), 0x82),
    ("a server's CONNACK", VERSIONS, lambda _: peer.packet(0x20, b"\0\0"), 0x82),
    ("a server's SUBACK", VERSIONS, lambda _: peer.packet(0x90, b"\0\1\0"), 0x82),
    ("a server's UNSUBACK", VERSIONS, lambda _: peer.packet(0xB0, b"\0\1"), 0x82),
    ("a server's PINGRESP", VERSIONS, lambda _: peer.packet(0xD0), 0x82),
    ("type 0", VERSIONS, lambda _: peer.packet(0x00), 0x82),
    ("AUTH", VERSIONS, lambda _: peer.packet(0xF0), 0x82),
    ("a will to stay after all", (5,), lambda _: peer.disconnect(0, [(0x11, 60)]), 0x82),
    ("a server's reason", (5,), lambda _: peer.disconnect(0x8E), 0x82),
    ("a server's reference", (5,), lambda _: peer.disconnect(0, [(0x1C, "x")]), 0x82),
    ("too many filters", VERSIONS, lambda version: peer.unsubscribe(1, ["t"] * 5001, version=version), 0x97),
    (
        "too many subscriptions",
        VERSIONS,
        lambda version: peer.subscribe(1, [("t", 0)] * 5001, version=version),
        0x97,
    ),
]


@pytest.mark.parametrize(
    ("version", "write", "code"),
    [
        pytest.param(version, write, code, id=f"{name} {version}")
        for name, versions, write, code in FLAWED
        for version in versions
    ],
)
def test_flawed_packets(version: int, write: Callable[[int], bytes], code: int) -> None:
    """They end the connection; a client of 5.0 is told why."""
    link = connected(version)
    (event,) = link.say(write(version), peer.pingreq())
    assert isinstance(event, ProtocolViolation)
    assert event.code == code
    assert event.source
    assert [(reply.kind, reply.code) for reply in link.hear()] == (
        [(peer.DISCONNECT, code)] if version == 5 else []
    )
    assert link.say(peer.pingreq()) == []
    assert link.hear() == []


def test_as_many_filters_as_are_allowed() -> None:
    """The limit itself is no fault."""
    (event,) = connected().say(peer.subscribe(1, [("t", 0)] * limits.FILTERS_MAX))
    assert isinstance(event, Subscribe)


@pytest.mark.parametrize(
    "write", [lambda: peer.subscribe(5, [("t", 0)] * 2), lambda: peer.unsubscribe(5, ["t"] * 2)]
)
def test_a_request_with_an_identifier_in_use(write: Callable[[], bytes]) -> None:
    """Each of its filters is refused; an older client is disconnected."""
    link = connected()
    link.say(peer.publish("t", b"", 1, 5))
    assert link.say(write()) == []
    (reply,) = link.hear()
    assert (reply.packet_id, reply.codes) == (5, [IN_USE, IN_USE])
    link.connection.send_puback(5)
    assert len(link.say(write())) == 1
    old = connected(4)
    old.say(peer.subscribe(5, [("t", 0)], version=4))
    (event,) = old.say(peer.unsubscribe(5, ["t"], version=4))
    assert isinstance(event, ProtocolViolation)


def test_a_client_that_wants_no_explanations_of_its_requests() -> None:
    """It gets codes only."""
    link = connected(values=[(0x17, 0)])
    link.say(peer.subscribe(1, [("t", 0)]), peer.unsubscribe(2, ["t"]))
    link.connection.send_suback(1, [0x87], "why")
    link.connection.send_unsuback(2, [0x87], "why")
    assert [reply.values for reply in link.hear()] == [[], []]


# ---- PINGREQ and silence


@pytest.mark.parametrize("version", VERSIONS)
def test_pings_are_answered(version: int) -> None:
    """At their place among the other answers."""
    link = connected(version)
    link.say(peer.publish("t", b"", 1, 1, version=version))
    link.connection.send_puback(1)
    assert link.say(peer.pingreq()) == []
    assert [reply.kind for reply in link.hear()] == [peer.PUBACK, peer.PINGRESP]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_silent_client_counts_as_dead(version: int) -> None:
    """After one and a half times its keep alive; 5.0 is told."""
    link = connected(version, keep_alive_s=10)
    connection = link.connection
    assert connection.deadline_s == 1015.0
    assert connection.handle_deadline(1014.9) == []
    (event,) = connection.handle_deadline(1015.0)
    assert isinstance(event, ClientSilent)
    assert "15 s" in str(event)
    assert [(reply.kind, reply.code) for reply in link.hear()] == (
        [(peer.DISCONNECT, 0x8D)] if version == 5 else []
    )
    assert connection.deadline_s is None
    assert connection.handle_deadline(2000.0) == []


def test_every_packet_is_a_sign_of_life() -> None:
    """The time counts from the last one."""
    link = connected(keep_alive_s=10)
    for each in (peer.pingreq(), peer.publish("t"), peer.ack(peer.PUBACK, 1)):
        link.now_s += 14
        link.say(each)
        assert link.connection.deadline_s == link.now_s + 15


def test_a_packet_that_never_ends_is_none() -> None:
    """One byte now and then is silence; a large packet on a slow line is not."""
    link = connected(keep_alive_s=10)
    data = peer.publish("t", bytes(100_000))
    link.say(data[:10])
    link.now_s += 10
    link.say(data[10:11])
    assert link.connection.deadline_s == 1015.0
    link.say(data[11:2000])
    assert link.connection.deadline_s == 1025.0
    link.now_s += 10
    link.say(data[2000:2100])
    assert link.connection.deadline_s == 1025.0
    assert len(link.say(data[2100:])) == 1
    assert link.connection.deadline_s == 1035.0


def test_who_is_not_read_from_cannot_be_heard() -> None:
    """Its silence is excused."""
    link = connected(keep_alive_s=10)
    link.connection.excuse(1010.0)
    assert link.connection.handle_deadline(1015.0) == []
    assert link.connection.deadline_s == 1025.0


@pytest.mark.parametrize("version", VERSIONS)
def test_no_keep_alive_no_deadline(version: int) -> None:
    """The client may be silent for ever, and before the CONNACK its owner's rules hold."""
    assert connected(version).connection.deadline_s is None
    link = Link(version)
    assert link.connection.deadline_s is None
    link.say(peer.connect(version=version, keep_alive_s=10))
    assert link.connection.deadline_s is None


# ---- the end


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_leaves(version: int) -> None:
    """What follows is ignored, even nonsense in the same read."""
    link = connected(version)
    assert link.say(peer.disconnect(), peer.publish("t", version=version)) == [Disconnect()]
    assert link.connection.state is State.CLOSED
    link.connection.send_publish(b"t", b"")
    link.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    assert link.hear() == []
    assert link.connection.receive_eof() == []
    link = connected(version)
    assert link.say(peer.disconnect(), b"\xff\xff\xff\xff\xff") == [Disconnect()]


def test_a_client_leaves_with_reasons() -> None:
    """With its will, another expiry of its session, and what it has to say."""
    link = connected(values=[(0x11, 10)])
    assert link.say(peer.disconnect(4, [(0x11, 0), (0x1F, "bye"), (0x26, ("a", "b"))])) == [
        Disconnect(4, Properties(session_expiry_s=0, reason_string="bye", user=(("a", "b"),)))
    ]
    link = connected(values=[(0x11, 10)])
    assert link.say(peer.disconnect(0, [(0x11, 60)])) == [Disconnect(0, Properties(session_expiry_s=60))]
    link = connected()
    assert link.say(peer.disconnect(0, [(0x11, 0)])) == [Disconnect(0, Properties(session_expiry_s=0))]
    assert connected().say(peer.disconnect(0x81)) == [Disconnect(0x81)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_server_ends_a_connection(version: int) -> None:
    """5.0 is told why and where else; nothing follows."""
    link = connected(version)
    link.say(peer.publish("t", b"", 1, 1, version=version))
    link.connection.disconnect(ReasonCode.USE_ANOTHER_SERVER, "moved", server_reference="there:1883")
    link.connection.send_puback(1)
    link.connection.send_publish(b"t", b"")
    replies = link.hear()
    assert [(reply.kind, reply.code, dict(reply.values)) for reply in replies] == (
        [(peer.DISCONNECT, 0x9C, {0x1F: "moved", 0x1C: "there:1883"})] if version == 5 else []
    )
    assert link.say(peer.pingreq()) == []


def test_a_server_that_leaves_before_the_connack() -> None:
    """There is no DISCONNECT before a CONNACK."""
    link = Link()
    link.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    assert link.hear() == []
    link = Link()
    link.say(peer.connect())
    link.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    assert link.hear() == []
    assert link.connection.state is State.CLOSED


@pytest.mark.parametrize(("cut", "is_fault"), [(0, False), (1, True), (3, True)])
def test_the_end_of_the_stream(cut: int, is_fault: bool) -> None:
    """Inside a packet it is a fault, for the log."""
    link = connected()
    link.say(peer.publish("t")[:cut])
    events = link.connection.receive_eof()
    assert [isinstance(event, ProtocolViolation) for event in events] == [True] * is_fault
    assert link.connection.receive_eof() == []
    assert link.hear() == []


def test_the_end_of_the_stream_before_the_answer() -> None:
    """What waits is no part of a packet that is missing."""
    link = Link()
    link.say(peer.connect(), peer.pingreq())
    assert link.connection.receive_eof() == []


def test_explanations_that_are_too_large() -> None:
    """They are left out of every packet that would become larger than the client takes."""
    link = connected(values=[(0x27, 40)])
    link.say(peer.subscribe(1, [("t", 0)]), peer.unsubscribe(2, ["t"]), peer.publish("t", b"", 2, 3))
    link.connection.send_suback(1, [0x87], "x" * 40)
    link.connection.send_unsuback(2, [0x87], "x" * 40)
    link.connection.send_pubrec(3, 0x87, "x" * 40)
    link.connection.disconnect(ReasonCode.NOT_AUTHORIZED, "x" * 40)
    replies = link.hear()
    assert [reply.kind for reply in replies] == [peer.SUBACK, peer.UNSUBACK, peer.PUBREC, peer.DISCONNECT]
    assert [reply.values for reply in replies] == [[]] * 4
