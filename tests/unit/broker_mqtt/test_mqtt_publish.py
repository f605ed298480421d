"""Messages from the client: QoS 0, 1 and 2, aliases, the receive maximum, faults."""

import pytest
from support import mqtt_peer as peer
from support.mqtt_connection import OLDER, VERSIONS, Link, connected

from broker.mqtt.connection import State
from broker.mqtt.events import ProtocolViolation
from broker.mqtt.packets import Properties, Publish, Pubrel
from broker.mqtt.reasons import ReasonCode

ALIAS = 0x23


def violation(link: Link, *packets: bytes) -> int:
    """What ends the connection; a client of 5.0 has been told."""
    event = link.say(*packets)[-1]
    assert isinstance(event, ProtocolViolation), event
    assert link.connection.state is State.CLOSED
    replies = link.hear()
    if link.version == 5:
        assert (replies[-1].kind, replies[-1].code) == (peer.DISCONNECT, event.code)
        assert replies[-1].value(0x1F)
    else:
        assert peer.DISCONNECT not in [reply.kind for reply in replies]
    return event.code


def told(link: Link) -> list[tuple[int, int, int]]:
    """Type, packet identifier and code of all that the client has been sent."""
    return [(reply.kind, reply.packet_id, reply.code) for reply in link.hear()]


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_of_all_qualities(version: int) -> None:
    """Everything that a PUBLISH says arrives, whatever its payload."""
    link = connected(version)
    payload = bytes(range(256)) * 300
    assert link.say(
        peer.publish("a/b", version=version),
        peer.publish("é/€", payload, 1, 7, retain=True, version=version),
        peer.publish("$SYS/x", b"x", 2, 65_535, dup=True, version=version),
    ) == [
        Publish("a/b", b""),
        Publish("é/€", payload, 1, True, False, 7),
        Publish("$SYS/x", b"x", 2, False, True, 65_535),
    ]
    assert told(link) == []


def test_all_properties_of_a_message() -> None:
    """They arrive with it, those of the user in their order."""
    values = [
        (0x26, ("a", "1")),
        (0x01, 0),
        (0x02, 4_294_967_295),
        (0x03, ""),
        (0x08, "re/ply"),
        (0x09, b"\xff"),
        (0x26, ("a", "1")),
        (0x26, ("", "")),
    ]
    (event,) = connected().say(peer.publish("t", values=values))
    assert isinstance(event, Publish)
    assert event.properties == Properties(
        payload_format=0,
        message_expiry_s=4_294_967_295,
        content_type="",
        response_topic="re/ply",
        correlation_data=b"\xff",
        user=(("a", "1"), ("a", "1"), ("", "")),
    )


FLAWED = [
    ("QoS 3", VERSIONS, lambda version: peer.publish("t", b"", 3, 1, version=version), 0x81),
    ("sent again with QoS 0", (4, 5), lambda version: peer.publish("t", dup=True, version=version), 0x81),
    ("no identifier", VERSIONS, lambda version: peer.publish("t", b"", 1, 0, version=version), 0x82),
    ("wildcard +", VERSIONS, lambda version: peer.publish("a/+", version=version), 0x81),
    ("wildcard #", VERSIONS, lambda version: peer.publish("#", version=version), 0x81),
    ("no topic", VERSIONS, lambda version: peer.publish("", version=version), 0x81),
    ("null", VERSIONS, lambda version: peer.publish("a\0", version=version), 0x81),
    ("no UTF-8", VERSIONS, lambda _: peer.packet(0x30, b"\0\1\xff\0"), 0x81),
    ("topic cut off", VERSIONS, lambda _: peer.packet(0x30, b"\0\5abc"), 0x81),
    ("length cut off", VERSIONS, lambda _: peer.packet(0x30, b"\0"), 0x81),
    ("nothing", VERSIONS, lambda _: peer.packet(0x30), 0x81),
    ("identifier cut off", VERSIONS, lambda _: peer.packet(0x32, b"\0\1t\0"), 0x81),
    ("properties absent", (5,), lambda _: peer.packet(0x30, b"\0\1t"), 0x81),
    ("properties cut off", (5,), lambda _: peer.packet(0x30, b"\0\1t\5\x01"), 0x81),
    ("subscription identifier", (5,), lambda _: peer.publish("t", values=[(0x0B, 1)]), 0x82),
    ("format 2", (5,), lambda _: peer.publish("t", values=[(0x01, 2)]), 0x82),
    ("expiry twice", (5,), lambda _: peer.publish("t", values=[(0x02, 1)] * 2), 0x82),
    ("response topic with wildcard", (5,), lambda _: peer.publish("t", values=[(0x08, "a/#")]), 0x81),
    ("empty response topic", (5,), lambda _: peer.publish("t", values=[(0x08, "")]), 0x81),
    ("unknown property", (5,), lambda _: peer.packet(0x30, b"\0\1t\2\x7f\0"), 0x81),
    ("alias 0", (5,), lambda _: peer.publish("t", values=[(ALIAS, 0)]), 0x94),
    ("alias too high", (5,), lambda _: peer.publish("t", values=[(ALIAS, 11)]), 0x94),
    ("unknown alias", (5,), lambda _: peer.publish("", values=[(ALIAS, 1)]), 0x82),
    ("alias twice", (5,), lambda _: peer.publish("t", values=[(ALIAS, 1)] * 2), 0x82),
    ("too many user properties", (5,), lambda _: peer.publish("t", values=[(0x26, ("", ""))] * 1001), 0x97),
]


@pytest.mark.parametrize(
    ("version", "write", "code"),
    [
        pytest.param(version, write, code, id=f"{name} {version}")
        for name, versions, write, code in FLAWED
        for version in versions
    ],
)
def test_flawed_messages(version: int, write: object, code: int) -> None:
    """They end the connection; the good ones before are not lost."""
    link = connected(version)
    assert callable(write)
    events = link.say(
        peer.publish("good", version=version), write(version), peer.publish("t", version=version)
    )
    assert [type(event).__name__ for event in events] == ["Publish", "ProtocolViolation"]
    assert isinstance(events[1], ProtocolViolation)
    assert events[1].code == code
    assert [reply.kind for reply in link.hear()] == ([peer.DISCONNECT] if version == 5 else [])


def test_a_message_sent_again_with_qos_0_in_3_1() -> None:
    """What became an error later is none there."""
    link = connected(3)
    assert link.say(peer.publish("t", dup=True, version=3)) == [Publish("t", b"", dup=True)]


def test_aliases() -> None:
    """The event has the topic's name; a new connection knows none of the old one's."""
    link = connected()
    events = link.say(
        peer.publish("a/b", b"1", values=[(ALIAS, 10)]),
        peer.publish("", b"2", values=[(ALIAS, 10)]),
        peer.publish("c", b"3", values=[(ALIAS, 10)]),
        peer.publish("", b"4", 1, 1, values=[(ALIAS, 10)]),
    )
    topics = [event.topic for event in events if isinstance(event, Publish)]
    assert topics == ["a/b", "a/b", "c", "c"]
    assert violation(connected(), peer.publish("", b"5", values=[(ALIAS, 10)])) == ReasonCode.PROTOCOL_ERROR


# ---- QoS 1


@pytest.mark.parametrize("version", VERSIONS)
def test_qos_1(version: int) -> None:
    """Every message is answered with its identifier, which is free then."""
    link = connected(version)
    data = peer.publish("t", b"x", 1, 5, version=version)
    for _ in range(2):
        assert link.say(data) == [Publish("t", b"x", 1, packet_id=5)]
        assert told(link) == []
        link.connection.send_puback(5)
        assert told(link) == [(peer.PUBACK, 5, 0)]


def test_a_message_that_is_sent_again_while_it_is_stored() -> None:
    """An old client that repeats itself is answered once."""
    link = connected(4)
    link.say(peer.publish("t", b"x", 1, 5, version=4))
    assert link.say(peer.publish("t", b"x", 1, 5, dup=True, version=4)) == []
    link.connection.send_puback(5)
    assert told(link) == [(peer.PUBACK, 5, 0)]


def test_after_its_answer_an_identifier_is_new_whatever_dup_says() -> None:
    """The client may have reused it for another message."""
    link = connected(4)
    link.say(peer.publish("t", b"x", 1, 5, version=4))
    link.connection.send_puback(5)
    assert link.say(peer.publish("t", b"y", 1, 5, dup=True, version=4)) == [
        Publish("t", b"y", 1, False, True, 5)
    ]


@pytest.mark.parametrize("qos", [1, 2])
def test_an_identifier_in_use(qos: int) -> None:
    """A client of 5.0 is told, an older one disconnected; the first message is not disturbed."""
    link = connected()
    link.say(peer.subscribe(5, [("t", 0)]))
    assert link.say(peer.publish("t", b"", qos, 5)) == []
    kind = peer.PUBACK if qos == 1 else peer.PUBREC
    assert told(link) == [(kind, 5, ReasonCode.PACKET_IDENTIFIER_IN_USE)]
    link.connection.send_suback(5, [0])
    assert told(link) == [(peer.SUBACK, 5, 0)]
    old = connected(4)
    old.say(peer.publish("t", b"1", 1, 5, version=4))
    violation(old, peer.publish("t", b"2", 1, 5, version=4))


def test_a_refused_message() -> None:
    """5.0 has a code and a text for it; older versions only know that it was received."""
    link = connected()
    link.say(peer.publish("t", b"", 1, 5))
    link.connection.send_puback(5, ReasonCode.NOT_AUTHORIZED, "not there")
    (puback,) = link.hear()
    assert (puback.code, puback.values) == (0x87, [(0x1F, "not there")])
    old = connected(4)
    old.say(peer.publish("t", b"", 1, 5, version=4))
    old.connection.send_puback(5, ReasonCode.NOT_AUTHORIZED, "not there")
    assert told(old) == [(peer.PUBACK, 5, 0)]


def test_a_client_that_wants_no_explanations() -> None:
    """Acknowledgements have codes only; a DISCONNECT may have more."""
    link = connected(values=[(0x17, 0)])
    link.say(peer.publish("t", b"", 1, 5))
    link.connection.send_puback(5, ReasonCode.NOT_AUTHORIZED, "not there")
    (puback,) = link.hear()
    assert (puback.code, puback.values) == (0x87, [])
    violation(link, peer.publish("#"))


def test_an_explanation_that_is_too_large() -> None:
    """It is left out, the answer is not."""
    link = connected(values=[(0x27, 20)])
    link.say(peer.publish("t", b"", 1, 5))
    link.connection.send_puback(5, ReasonCode.NOT_AUTHORIZED, "x" * 20)
    (puback,) = link.hear()
    assert (puback.code, puback.values) == (0x87, [])


# ---- QoS 2


@pytest.mark.parametrize("version", VERSIONS)
def test_qos_2(version: int) -> None:
    """Received, recorded, released, complete: then the identifier is free."""
    link = connected(version)
    for _ in range(2):
        assert link.say(peer.publish("t", b"x", 2, 5, version=version)) == [
            Publish("t", b"x", 2, packet_id=5)
        ]
        assert told(link) == []
        link.connection.send_pubrec(5)
        assert told(link) == [(peer.PUBREC, 5, 0)]
        assert link.say(peer.ack(peer.PUBREL, 5)) == [Pubrel(5)]
        assert told(link) == []
        link.connection.send_pubcomp(5)
        assert told(link) == [(peer.PUBCOMP, 5, 0)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dup", [False, True])
def test_a_message_of_qos_2_counts_once(version: int, dup: bool) -> None:
    """However often it is sent before it is released, with or without the flag that says so."""
    link = connected(version)
    again = peer.publish("t", b"x", 2, 5, dup=dup, version=version)
    link.say(peer.publish("t", b"x", 2, 5, version=version))
    assert link.say(again) == []
    assert told(link) == []
    link.connection.send_pubrec(5)
    assert link.say(again, again) == []
    assert told(link) == [(peer.PUBREC, 5, 0)] * 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_of_qos_2_counts_once_over_connections(version: int) -> None:
    """The session knows what was received before."""
    link = connected(version, clean=False, present=True, received=[5, 6])
    assert link.say(peer.publish("t", b"x", 2, 5, dup=True, version=version)) == []
    assert told(link) == [(peer.PUBREC, 5, 0)]
    assert link.say(peer.ack(peer.PUBREL, 5), peer.ack(peer.PUBREL, 6)) == [Pubrel(5), Pubrel(6)]
    link.connection.send_pubcomp(5)
    link.connection.send_pubcomp(6)
    assert told(link) == [(peer.PUBCOMP, 5, 0), (peer.PUBCOMP, 6, 0)]
    assert link.say(peer.publish("t", b"y", 2, 5, dup=True, version=version)) != []


@pytest.mark.parametrize(("version", "code"), [(3, 0), (4, 0), (5, 0x92)])
def test_releasing_what_is_not_known(version: int, code: int) -> None:
    """It is complete already; a client of 5.0 is told that it was not found."""
    link = connected(version)
    assert link.say(peer.ack(peer.PUBREL, 5)) == []
    assert told(link) == [(peer.PUBCOMP, 5, code)]


def test_releasing_twice() -> None:
    """The second time nothing happens until the first is stored, which answers both."""
    link = connected()
    link.say(peer.publish("t", b"x", 2, 5))
    link.connection.send_pubrec(5)
    assert link.say(peer.ack(peer.PUBREL, 5), peer.ack(peer.PUBREL, 5)) == [Pubrel(5)]
    link.hear()
    assert link.say(peer.publish("t", b"y", 2, 5)) == []
    assert told(link) == [(peer.PUBREC, 5, ReasonCode.PACKET_IDENTIFIER_IN_USE)]
    link.connection.send_pubcomp(5)
    assert told(link) == [(peer.PUBCOMP, 5, 0)]


def test_a_refused_message_of_qos_2_is_forgotten() -> None:
    """Its identifier is free; the next message with it is a new one."""
    link = connected()
    link.say(peer.publish("t", b"x", 2, 5))
    link.connection.send_pubrec(5, ReasonCode.QUOTA_EXCEEDED, "full")
    assert told(link) == [(peer.PUBREC, 5, 0x97)]
    assert link.say(peer.publish("t", b"x", 2, 5)) == [Publish("t", b"x", 2, packet_id=5)]


@pytest.mark.parametrize("version", OLDER)
def test_old_clients_are_never_refused_a_message_of_qos_2(version: int) -> None:
    """They would release it."""
    link = connected(version)
    link.say(peer.publish("t", b"x", 2, 5, version=version))
    link.connection.send_pubrec(5, ReasonCode.QUOTA_EXCEEDED)
    assert told(link) == [(peer.PUBREC, 5, 0)]
    assert link.say(peer.ack(peer.PUBREL, 5)) == [Pubrel(5)]


# ---- the receive maximum


def test_the_receive_maximum() -> None:
    """One message more than it allows is a fault; what was answered does not count."""
    link = connected(receive_maximum=2)
    link.say(peer.publish("t", b"", 1, 1), peer.publish("t", b"", 2, 2))
    assert link.say(peer.publish("t")) == [Publish("t", b"")]
    link.connection.send_puback(1)
    assert len(link.say(peer.publish("t", b"", 1, 3))) == 1
    link.connection.send_pubrec(2)
    link.say(peer.ack(peer.PUBREL, 2))
    link.connection.send_pubcomp(2)
    assert len(link.say(peer.publish("t", b"", 1, 4))) == 1
    link.connection.send_puback(4, ReasonCode.QUOTA_EXCEEDED)
    assert len(link.say(peer.publish("t", b"", 2, 5))) == 1
    link.connection.send_pubrec(5, ReasonCode.QUOTA_EXCEEDED)
    assert len(link.say(peer.publish("t", b"", 2, 6))) == 1
    assert violation(link, peer.publish("t", b"", 1, 7)) == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


def test_a_recorded_message_counts_until_it_is_complete() -> None:
    """PUBREC alone makes no room."""
    link = connected(receive_maximum=1)
    link.say(peer.publish("t", b"", 2, 1))
    link.connection.send_pubrec(1)
    assert violation(link, peer.publish("t", b"", 1, 2)) == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


def test_what_an_earlier_connection_began_does_not_count() -> None:
    """Releasing it makes no room beyond the maximum."""
    link = connected(receive_maximum=1, received=[8])
    assert len(link.say(peer.ack(peer.PUBREL, 8))) == 1
    link.connection.send_pubcomp(8)
    assert len(link.say(peer.publish("t", b"", 1, 1))) == 1
    assert violation(link, peer.publish("t", b"", 1, 2)) == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


@pytest.mark.parametrize("version", OLDER)
def test_older_clients_know_no_receive_maximum(version: int) -> None:
    """They may use all identifiers."""
    link = connected(version, receive_maximum=1)
    assert (
        len(link.say(*(peer.publish("t", b"", 1, each, version=version) for each in range(1, 1001)))) == 1000
    )
