"""How an MQTT connection begins: CONNECT, and what is answered."""

from typing import Any

import pytest
from support import mqtt_peer as peer
from support.mqtt_connection import OLDER, VERSIONS, Link, connected

from broker.mqtt import limits
from broker.mqtt.connection import State
from broker.mqtt.events import ProtocolViolation
from broker.mqtt.packets import Connect, Properties, Publish, Will
from broker.mqtt.reasons import ReasonCode

RECEIVE_MAXIMUM, ALIASES, PACKET_BYTES, KEEP_ALIVE = 0x21, 0x22, 0x27, 0x13


def refusal(link: Link, data: bytes) -> ReasonCode:
    """What a CONNECT is refused for."""
    (event,) = link.say(data)
    assert isinstance(event, ProtocolViolation), event
    assert link.connection.state is State.CLOSED
    assert link.say(peer.connect()) == []
    return ReasonCode(event.code)


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_a_client_can_say(version: int) -> None:
    """All fields of a CONNECT arrive, in all versions."""
    link = Link(version)
    data = peer.connect(
        "ünïque",
        version=version,
        clean=False,
        keep_alive_s=65_535,
        will=("w/é", b"\0\xff", 2, True),
        user="user",
        password=b"\0pass\xff",
    )
    assert link.say(data) == [
        Connect(version, "ünïque", False, 65_535, Will("w/é", b"\0\xff", 2, True), "user", b"\0pass\xff")
    ]
    assert link.connection.version == version
    assert link.connection.state is State.CONNECTING
    assert link.hear() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_as_little_as_a_client_can_say(version: int) -> None:
    """Everything else may be absent."""
    assert Link(version).say(peer.connect("", version=version)) == [Connect(version, "", True, 0)]


def test_all_properties_of_a_connect() -> None:
    """They arrive, in whatever order they came."""
    values = [
        (0x26, ("a", "1")),
        (0x27, 4096),
        (0x11, 60),
        (0x21, 7),
        (0x26, ("a", "2")),
        (0x22, 3),
        (0x19, 1),
        (0x17, 0),
    ]
    will_values = [
        (0x18, 5),
        (0x01, 1),
        (0x02, 30),
        (0x03, "text/plain"),
        (0x08, "re/ply"),
        (0x09, b"\0\1"),
        (0x26, ("x", "y")),
    ]
    (event,) = Link().say(peer.connect(will=("w", b"", 0, False), will_values=will_values, values=values))
    assert isinstance(event, Connect)
    assert event.properties == Properties(
        session_expiry_s=60,
        receive_maximum=7,
        maximum_packet_size=4096,
        topic_alias_maximum=3,
        request_response_information=1,
        request_problem_information=0,
        user=(("a", "1"), ("a", "2")),
    )
    assert event.will is not None
    assert event.will.properties == Properties(
        will_delay_s=5,
        payload_format=1,
        message_expiry_s=30,
        content_type="text/plain",
        response_topic="re/ply",
        correlation_data=b"\0\1",
        user=(("x", "y"),),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_what_follows_a_connect_waits_for_its_answer(version: int) -> None:
    """A client may go on at once; it is heard after the CONNACK."""
    link = Link(version)
    hello = peer.publish("t", b"1", version=version)
    (event,) = link.say(peer.connect(version=version), hello)
    assert isinstance(event, Connect)
    assert link.say(hello) == []
    link.connection.accept(link.now_s)
    assert link.say() == [Publish("t", b"1"), Publish("t", b"1")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refused_client_is_heard_no_more(version: int) -> None:
    """Nothing behind a CONNECT that is refused counts."""
    link = Link(version)
    link.say(peer.connect(version=version), peer.publish("t", version=version))
    link.connection.refuse(ReasonCode.NOT_AUTHORIZED, "not you")
    assert link.say(peer.publish("t", version=version)) == []
    assert link.last_words() == (peer.CONNACK, 0x87 if version == 5 else 5)
    link.connection.accept(link.now_s)
    assert link.hear() == []


def test_too_much_before_the_answer() -> None:
    """What waits is bounded."""
    link = Link()
    link.say(peer.connect(), bytes(limits.WAITING_BYTES_MAX))
    (event,) = link.say(b"\0")
    assert isinstance(event, ProtocolViolation)
    assert link.last_words() == (peer.CONNACK, ReasonCode.QUOTA_EXCEEDED)


# ---- accepted


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("present", [False, True])
def test_a_session_that_goes_on_is_told(version: int, present: bool) -> None:
    """3.1 has no way to say it."""
    link = Link(version)
    link.say(peer.connect(version=version, clean=False))
    link.connection.accept(link.now_s, session_present=present)
    (connack,) = link.hear()
    assert connack.session_present is (present and version > 3)


def test_a_client_is_told_our_limits() -> None:
    """What we take stands in the CONNACK, besides what its owner has to say."""
    link = Link(packet_bytes_max=5000, receive_maximum=9, topic_aliases_max=4)
    link.say(peer.connect(""))
    link.connection.accept(
        link.now_s, properties=Properties(assigned_client_id="made-up", session_expiry_s=7)
    )
    (connack,) = link.hear()
    assert dict(connack.values) == {
        0x11: 7,
        0x12: "made-up",
        RECEIVE_MAXIMUM: 9,
        ALIASES: 4,
        PACKET_BYTES: 5000,
    }


def test_no_alias_is_offered_if_none_is_allowed() -> None:
    """An absent maximum means 0."""
    link = Link(topic_aliases_max=0)
    link.say(peer.connect())
    link.connection.accept(link.now_s)
    (connack,) = link.hear()
    assert connack.value(ALIASES) is None


@pytest.mark.parametrize(
    ("wanted", "told", "holds"), [(0, 60, 60), (61, 60, 60), (60, None, 60), (5, None, 5)]
)
def test_a_keep_alive_that_is_too_long_is_replaced(wanted: int, told: int | None, holds: int) -> None:
    """A client of 5.0 is told another; what it is not told holds as it wants it."""
    link = Link(keep_alive_s_max=60)
    link.say(peer.connect(keep_alive_s=wanted))
    link.connection.accept(link.now_s)
    (connack,) = link.hear()
    assert connack.value(KEEP_ALIVE) == told
    assert link.connection.keep_alive_s == holds


@pytest.mark.parametrize("version", OLDER)
def test_older_clients_keep_their_keep_alive(version: int) -> None:
    """They cannot be told another."""
    link = connected(version, keep_alive_s=600, keep_alive_s_max=60)
    assert link.connection.keep_alive_s == 600


def test_explanations_that_are_too_large_are_left_out() -> None:
    """A client's limit holds for the answer to its CONNECT, too."""
    values = [(PACKET_BYTES, 30)]
    link = Link()
    link.say(peer.connect(values=values))
    link.connection.refuse(ReasonCode.NOT_AUTHORIZED, "x" * 100)
    (connack,) = link.hear()
    assert (connack.code, connack.values) == (0x87, [])
    assert connack.size <= 30


# ---- refused


@pytest.mark.parametrize(
    ("code", "return_code"),
    [(0x84, 1), (0x85, 2), (0x88, 3), (0x89, 3), (0x86, 4), (0x87, 5), (0x97, 3), (0x80, None), (0x9B, None)],
)
def test_older_clients_get_the_nearest_return_code(code: int, return_code: int | None) -> None:
    """If there is none the connection ends without an answer."""
    link = Link(4)
    link.say(peer.connect(version=4))
    link.connection.refuse(ReasonCode(code), "why")
    assert [reply.code for reply in link.hear()] == ([] if return_code is None else [return_code])
    assert link.connection.state is State.CLOSED


def test_a_refusal_says_why_and_where_else() -> None:
    """5.0 has a reason for people and another server's address."""
    link = Link()
    link.say(peer.connect())
    link.connection.refuse(ReasonCode.SERVER_MOVED, "gone", server_reference="there:1883")
    (connack,) = link.hear()
    assert (connack.code, connack.session_present) == (0x9D, False)
    assert dict(connack.values) == {0x1F: "gone", 0x1C: "there:1883"}


def test_a_server_that_shuts_down() -> None:
    """A CONNACK has no code for that: it is not available."""
    link = Link()
    link.say(peer.connect())
    link.connection.refuse(ReasonCode.SERVER_SHUTTING_DOWN)
    assert link.last_words() == (peer.CONNACK, ReasonCode.SERVER_UNAVAILABLE)


def test_a_code_that_does_not_exist_is_our_mistake() -> None:
    """Every packet has its own reason codes."""
    link = connected()
    link.say(peer.publish("t", b"", 1, 1), peer.subscribe(2, [("t", 0)]), peer.unsubscribe(3, ["t"]))
    for misuse in (
        lambda: link.connection.send_puback(1, ReasonCode.PACKET_TOO_LARGE),
        lambda: link.connection.send_suback(2, [3]),
        lambda: link.connection.send_unsuback(3, [1]),
        lambda: link.connection.disconnect(ReasonCode.PACKET_IDENTIFIER_IN_USE),
    ):
        with pytest.raises(AssertionError):
            misuse()


@pytest.mark.parametrize(
    ("name", "level"), [("MQTT", 3), ("MQTT", 6), ("MQTT", 0x84), ("MQIsdp", 4), ("MQIsdp", 0x83)]
)
def test_versions_that_are_not_spoken(name: str, level: int) -> None:
    """The client is told the return code for that, which is the same in all known versions."""
    link = Link(4)
    body = peer.field_of(name) + bytes([level, 2, 0, 0]) + peer.field_of("c1")
    assert refusal(link, peer.packet(0x10, body)) == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
    assert link.last_words() == (peer.CONNACK, 1)


@pytest.mark.parametrize(
    "data",
    [
        peer.packet(0x10, peer.field_of("HTTP") + bytes(20)),
        peer.packet(0x10, peer.field_of("mqtt") + bytes([4, 2, 0, 0]) + peer.field_of("c1")),
        b"GET / HTTP/1.1\r\n\r\n",
        peer.publish("t", version=4),
        peer.pingreq(),
        b"\x11\0",
        b"\x1f",
        b"\0",
    ],
)
def test_what_is_no_mqtt_gets_no_answer(data: bytes) -> None:
    """The connection ends; its first byte can be enough to know."""
    link = Link()
    refusal(link, data)
    assert link.hear() == []


FLAWED: list[tuple[str, tuple[int, ...], dict[str, Any], ReasonCode]] = [
    ("reserved flag", (4, 5), {"flags": 1}, ReasonCode.MALFORMED_PACKET),
    ("will QoS without will", (4, 5), {"flags": 0x08}, ReasonCode.MALFORMED_PACKET),
    ("will retain without will", (4, 5), {"flags": 0x20}, ReasonCode.MALFORMED_PACKET),
    ("will QoS 3", VERSIONS, {"will": ("w", b"", 3, False)}, ReasonCode.MALFORMED_PACKET),
    ("will topic with wildcard", VERSIONS, {"will": ("w/#", b"", 0, False)}, ReasonCode.MALFORMED_PACKET),
    ("empty will topic", VERSIONS, {"will": ("", b"", 0, False)}, ReasonCode.MALFORMED_PACKET),
    ("password alone", OLDER, {"password": b"p"}, ReasonCode.MALFORMED_PACKET),
    ("null in the client id", VERSIONS, {"client_id": "a\0"}, ReasonCode.MALFORMED_PACKET),
    ("null in the user", VERSIONS, {"user": "a\0"}, ReasonCode.MALFORMED_PACKET),
    ("will flag without will", VERSIONS, {"flags": 0x04}, ReasonCode.MALFORMED_PACKET),
    ("user flag without user", (4, 5), {"flags": 0x80}, ReasonCode.MALFORMED_PACKET),
    ("password flag without password", (5,), {"flags": 0x40}, ReasonCode.MALFORMED_PACKET),
    ("receive maximum 0", (5,), {"values": [(0x21, 0)]}, ReasonCode.PROTOCOL_ERROR),
    ("packet size 0", (5,), {"values": [(0x27, 0)]}, ReasonCode.PROTOCOL_ERROR),
    ("problem information 2", (5,), {"values": [(0x17, 2)]}, ReasonCode.PROTOCOL_ERROR),
    ("response information 2", (5,), {"values": [(0x19, 2)]}, ReasonCode.PROTOCOL_ERROR),
    ("expiry twice", (5,), {"values": [(0x11, 1), (0x11, 1)]}, ReasonCode.PROTOCOL_ERROR),
    ("another packet's property", (5,), {"values": [(0x1F, "x")]}, ReasonCode.PROTOCOL_ERROR),
    (
        "authentication method",
        (5,),
        {"values": [(0x15, "SCRAM-SHA-1")]},
        ReasonCode.BAD_AUTHENTICATION_METHOD,
    ),
    ("data without a method", (5,), {"values": [(0x16, b"x")]}, ReasonCode.PROTOCOL_ERROR),
    (
        "no id for a kept session",
        OLDER,
        {"client_id": "", "clean": False},
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    ),
]


@pytest.mark.parametrize(
    ("version", "options", "code"),
    [
        pytest.param(version, options, code, id=f"{name} {version}")
        for name, versions, options, code in FLAWED
        for version in versions
    ],
)
def test_flawed_connects(version: int, options: dict[str, Any], code: ReasonCode) -> None:
    """A client of 5.0 is told what is wrong, an older one only if there is a return code for it."""
    link = Link(version)
    assert refusal(link, peer.connect(version=version, **options)) == code
    replies = link.hear()
    if version == 5:
        assert [(reply.kind, reply.code, reply.session_present) for reply in replies] == [
            (peer.CONNACK, code, False)
        ]
    elif code == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID:
        assert [reply.code for reply in replies] == [2]
    else:
        assert replies == []


def test_a_connect_that_goes_on() -> None:
    """Bytes behind the last field are a fault."""
    data = peer.connect(version=4)
    longer = bytes([data[0], data[1] + 1]) + data[2:] + b"\0"
    assert refusal(Link(4), longer) == ReasonCode.MALFORMED_PACKET


def test_a_user_that_is_absent_in_3_1() -> None:
    """The oldest version lets the flags stand without the fields."""
    (event,) = Link(3).say(peer.connect(version=3, flags=0xC0))
    assert event == Connect(3, "c1")


def test_bits_that_3_1_does_not_use() -> None:
    """What became an error later is none there."""
    (event,) = Link(3).say(peer.connect(version=3, flags=0x01))
    assert event == Connect(3, "c1")


def test_a_password_needs_no_user_in_5() -> None:
    """It may be all that a client has."""
    (event,) = Link().say(peer.connect(password=b"token"))
    assert isinstance(event, Connect)
    assert (event.user_name, event.password) == (None, b"token")


def test_the_largest_connect() -> None:
    """A CONNECT has a limit of its own, which is known before it has come."""
    link = Link()
    head = b"\x10" + peer.varint(limits.CONNECT_BYTES_MAX)
    assert refusal(link, head) == ReasonCode.PACKET_TOO_LARGE
    assert link.hear() == []


def test_all_texts_at_their_longest() -> None:
    """What can be said in 3.1.1 is within the limit."""
    long = "x" * limits.TEXT_BYTES_MAX
    will = (long, long.encode(), 1, False)
    data = peer.connect(long, version=4, will=will, user=long, password=long.encode())
    (event,) = Link(4).say(data)
    assert isinstance(event, Connect)
    assert event.will is not None
    assert {len(event.client_id), len(event.will.topic), len(event.will.payload)} == {limits.TEXT_BYTES_MAX}


def test_a_second_connect() -> None:
    """It is a fault, whatever it says."""
    link = connected()
    (event,) = link.say(peer.connect())
    assert isinstance(event, ProtocolViolation)
    assert link.last_words() == (peer.DISCONNECT, ReasonCode.PROTOCOL_ERROR)
