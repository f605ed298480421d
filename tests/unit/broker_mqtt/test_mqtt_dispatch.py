"""Messages to the client: QoS 0, 1 and 2, identifiers, its receive maximum, packet size and aliases."""

import pytest
from support import mqtt_peer as peer
from support.mqtt_connection import OLDER, VERSIONS, Link, connected

from broker.mqtt import limits
from broker.mqtt.connection import TOO_LARGE, State
from broker.mqtt.events import ProtocolViolation
from broker.mqtt.packets import Properties, Puback, Pubcomp, Pubrec
from broker.mqtt.property_codec import write_properties
from broker.mqtt.reasons import ReasonCode

RECEIVE_MAXIMUM, ALIASES, PACKET_BYTES, ALIAS = 0x21, 0x22, 0x27, 0x23


def violation(link: Link, data: bytes) -> int:
    """What ends the connection."""
    (event,) = link.say(data)
    assert isinstance(event, ProtocolViolation)
    return event.code


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_of_all_qualities(version: int) -> None:
    """Everything that a PUBLISH can say leaves as it was given."""
    link = connected(version)
    assert link.connection.send_publish(b"a/b", b"") == 0
    assert link.connection.send_publish("é".encode(), bytes(300), 1, retain=True) == 1
    assert link.connection.send_publish(b"c", b"x", 2) == 2
    first, second, third = link.hear()
    assert (first.topic, first.payload, first.qos, first.retain, first.dup) == ("a/b", b"", 0, False, False)
    assert (second.topic, second.payload, second.qos, second.packet_id) == ("é", bytes(300), 1, 1)
    assert second.retain
    assert (third.topic, third.payload, third.qos, third.packet_id) == ("c", b"x", 2, 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_properties_are_for_5_only(version: int) -> None:
    """Older clients get the message without them."""
    link = connected(version)
    written = write_properties(
        Properties(content_type="a", subscription_ids=(1, 300), user=(("b", "c"),) * 2)
    )
    link.connection.send_publish(b"t", b"x", properties=written)
    (reply,) = link.hear()
    assert reply.payload == b"x"
    expected = [(0x03, "a"), (0x0B, 1), (0x0B, 300), (0x26, ("b", "c")), (0x26, ("b", "c"))]
    assert reply.values == (expected if version == 5 else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_qos_1(version: int) -> None:
    """The client's answer is an event, and its identifier can be used again."""
    link = connected(version)
    packet_id = link.connection.send_publish(b"t", b"x", 1)
    assert link.say(peer.ack(peer.PUBACK, packet_id)) == [Puback(packet_id)]
    assert link.say(peer.ack(peer.PUBACK, packet_id)) == []
    assert link.connection.send_publish(b"t", b"x", 1, packet_id=packet_id) == packet_id


@pytest.mark.parametrize("version", VERSIONS)
def test_qos_2(version: int) -> None:
    """Recorded, released, complete; the identifier stays taken until it is forgotten."""
    link = connected(version)
    packet_id = link.connection.send_publish(b"t", b"x", 2)
    assert link.say(peer.ack(peer.PUBREC, packet_id)) == [Pubrec(packet_id)]
    assert link.say(peer.ack(peer.PUBREC, packet_id)) == []
    assert [reply.kind for reply in link.hear()] == [peer.PUBLISH]
    link.connection.send_pubrel(packet_id)
    assert link.say(peer.ack(peer.PUBREC, packet_id)) == []
    assert [(reply.kind, reply.packet_id) for reply in link.hear()] == [(peer.PUBREL, packet_id)] * 2
    assert link.say(peer.ack(peer.PUBCOMP, packet_id)) == [Pubcomp(packet_id)]
    assert link.say(peer.ack(peer.PUBCOMP, packet_id)) == []
    with pytest.raises(AssertionError):
        link.connection.send_publish(b"t", b"x", 1, packet_id=packet_id)
    link.connection.forget_sent(packet_id)
    assert link.connection.send_publish(b"t", b"x", 1, packet_id=packet_id) == packet_id


def test_a_message_that_the_client_refuses() -> None:
    """It is the end of the exchange, for both qualities."""
    link = connected()
    one, two = link.connection.send_publish(b"t", b"x", 1), link.connection.send_publish(b"t", b"x", 2)
    assert link.say(
        peer.ack(peer.PUBACK, one, 0x80, [(0x1F, "no"), (0x26, ("a", "b"))]), peer.ack(peer.PUBREC, two, 0x99)
    ) == [Puback(one, 0x80, Properties(reason_string="no", user=(("a", "b"),))), Pubrec(two, 0x99)]
    assert link.connection.send_quota == limits.SEND_MAXIMUM
    link.connection.forget_sent(two)
    link.hear()
    assert link.say(peer.ack(peer.PUBREC, two)) == []
    assert [(reply.kind, reply.code) for reply in link.hear()] == [(peer.PUBREL, 0x92)]


@pytest.mark.parametrize(("version", "code"), [(3, 0), (4, 0), (5, 0x92)])
def test_recording_what_is_not_known(version: int, code: int) -> None:
    """The client can give it up."""
    link = connected(version)
    assert link.say(peer.ack(peer.PUBREC, 9)) == []
    assert [(reply.kind, reply.packet_id, reply.code) for reply in link.hear()] == [(peer.PUBREL, 9, code)]


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_to_what_was_not_sent_are_ignored(version: int) -> None:
    """They can be late, of an earlier connection."""
    link = connected(version)
    assert link.say(peer.ack(peer.PUBACK, 9), peer.ack(peer.PUBCOMP, 9)) == []
    assert link.hear() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_of_the_wrong_kind(version: int) -> None:
    """QoS 1 is answered with PUBACK, QoS 2 with PUBREC and then PUBCOMP."""
    for qos, kind in ((1, peer.PUBREC), (2, peer.PUBACK), (2, peer.PUBCOMP)):
        link = connected(version)
        packet_id = link.connection.send_publish(b"t", b"x", qos)
        assert violation(link, peer.ack(kind, packet_id)) == ReasonCode.PROTOCOL_ERROR


# ---- identifiers


def test_identifiers_go_round() -> None:
    """They are used one after another, those in use are left out, 0 is none."""
    link = connected(sent=[2])
    given = [link.connection.send_publish(b"t", b"", 1) for _ in range(3)]
    assert given == [1, 3, 4]
    for each in given:
        link.say(peer.ack(peer.PUBACK, each))
    for _ in range(5, limits.PACKET_IDS_MAX + 1):
        packet_id = link.connection.send_publish(b"t", b"", 1)
        link.say(peer.ack(peer.PUBACK, packet_id))
    assert packet_id == limits.PACKET_IDS_MAX
    assert link.connection.next_packet_id() == 1


def test_identifiers_can_be_chosen_before() -> None:
    """What is stored before it is sent has its identifier already."""
    link = connected()
    packet_id = link.connection.next_packet_id()
    assert link.connection.send_publish(b"t", b"", 2, packet_id=packet_id) == packet_id
    assert link.connection.next_packet_id() != packet_id


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_earlier_connection_has_not_finished(version: int) -> None:
    """Messages are sent again with their identifiers, what was recorded is released."""
    link = connected(version, clean=False, present=True, sent=[3, 9, 7, 8])
    link.connection.send_publish(b"t", b"1", 1, packet_id=9, dup=True)
    link.connection.send_publish(b"t", b"2", 2, packet_id=3, dup=True)
    link.connection.send_pubrel(7)
    link.connection.forget_sent(8)
    replies = link.hear()
    assert [(reply.kind, reply.packet_id, reply.dup) for reply in replies] == [
        (peer.PUBLISH, 9, True),
        (peer.PUBLISH, 3, True),
        (peer.PUBREL, 7, False),
    ]
    assert link.say(peer.ack(peer.PUBACK, 9), peer.ack(peer.PUBREC, 3), peer.ack(peer.PUBCOMP, 7)) == [
        Puback(9),
        Pubrec(3),
        Pubcomp(7),
    ]


def test_late_answers_to_an_earlier_connections_messages() -> None:
    """They count as if the message had been sent again."""
    link = connected(clean=False, present=True, sent=[3, 9])
    assert link.say(peer.ack(peer.PUBACK, 9), peer.ack(peer.PUBREC, 3)) == [Puback(9), Pubrec(3)]
    assert link.connection.send_quota == limits.SEND_MAXIMUM


# ---- the client's limits


def test_the_clients_receive_maximum() -> None:
    """Only so many are sent; the client's final answers make room."""
    link = connected(values=[(RECEIVE_MAXIMUM, 2)])
    connection = link.connection
    assert connection.send_quota == 2
    one, two = connection.send_publish(b"t", b"", 1), connection.send_publish(b"t", b"", 2)
    assert connection.send_quota == 0
    with pytest.raises(AssertionError):
        connection.send_publish(b"t", b"", 1)
    assert connection.send_publish(b"t", b"") == 0
    link.say(peer.ack(peer.PUBREC, two))
    assert connection.send_quota == 0
    connection.send_pubrel(two)
    link.say(peer.ack(peer.PUBCOMP, two))
    assert connection.send_quota == 1
    link.say(peer.ack(peer.PUBACK, one))
    assert connection.send_quota == 2


def test_a_full_client_is_still_answered() -> None:
    """Everything but messages goes on."""
    link = connected(values=[(RECEIVE_MAXIMUM, 1)])
    link.connection.send_publish(b"t", b"", 1)
    link.say(peer.publish("t", b"", 1, 1), peer.pingreq())
    link.connection.send_puback(1)
    assert [reply.kind for reply in link.hear()] == [peer.PUBLISH, peer.PINGRESP, peer.PUBACK]


def test_releasing_again_makes_no_room_beyond_the_maximum() -> None:
    """What an earlier connection sent does not count for this one."""
    link = connected(values=[(RECEIVE_MAXIMUM, 1)], clean=False, present=True, sent=[5])
    link.connection.send_pubrel(5)
    link.say(peer.ack(peer.PUBCOMP, 5))
    assert link.connection.send_quota == 1


@pytest.mark.parametrize("version", OLDER)
def test_older_clients_get_as_many_as_the_owner_wants(version: int) -> None:
    """They name no maximum."""
    assert connected(5, values=[(RECEIVE_MAXIMUM, 65_535)]).connection.send_quota == limits.SEND_MAXIMUM
    assert connected(version, send_maximum=3).connection.send_quota == 3


def test_the_clients_packet_size() -> None:
    """A larger message is not sent, and leaves nothing behind."""
    link = connected(values=[(PACKET_BYTES, 50)])
    connection = link.connection
    assert connection.send_publish(b"t", bytes(44)) == 0
    assert connection.send_publish(b"t", bytes(45)) == TOO_LARGE
    assert connection.send_publish(b"t", bytes(42), 1) == 1
    assert connection.send_publish(b"t", bytes(43), 1) == TOO_LARGE
    assert [reply.size for reply in link.hear()] == [50, 50]
    assert connection.send_quota == limits.SEND_MAXIMUM - 1


def test_an_answer_that_is_too_large_ends_the_connection() -> None:
    """A client cannot take less than it asks for."""
    for packet in (peer.subscribe(1, [("t", 0)] * 30), peer.unsubscribe(1, ["t"] * 30)):
        link = connected(values=[(PACKET_BYTES, 20)])
        assert violation(link, packet) == ReasonCode.PACKET_TOO_LARGE
        assert link.last_words() == (peer.DISCONNECT, ReasonCode.PACKET_TOO_LARGE)
        assert link.connection.state is State.CLOSED


def test_a_client_that_cannot_take_its_connack() -> None:
    """It gets none, and its owner knows."""
    link = Link()
    link.say(peer.connect(values=[(PACKET_BYTES, 8)]))
    assert not link.connection.accept(link.now_s)
    assert link.hear() == []
    assert link.connection.state is State.CLOSED


def test_aliases_save_names() -> None:
    """As many as the client and we allow, each said once."""
    link = connected(values=[(ALIASES, 2)])
    for topic in (b"a", b"b", b"c", b"a", b"b", b"c"):
        link.connection.send_publish(topic, b"", properties=write_properties(Properties(payload_format=1)))
    assert [(reply.topic, reply.value(ALIAS), reply.value(0x01)) for reply in link.hear()] == [
        ("a", 1, 1),
        ("b", 2, 1),
        ("c", None, 1),
        ("", 1, 1),
        ("", 2, 1),
        ("c", None, 1),
    ]


def test_no_aliases_unless_the_client_allows_them() -> None:
    """Absent means none."""
    link = connected()
    link.connection.send_publish(b"a", b"")
    link.connection.send_publish(b"a", b"")
    assert [(reply.topic, reply.values) for reply in link.hear()] == [("a", []), ("a", [])]
