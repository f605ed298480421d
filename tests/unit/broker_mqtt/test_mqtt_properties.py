"""The properties of 5.0: every one comes back as it was written, and every flaw is found."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import mqtt_peer as peer

from broker.mqtt import limits
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.packets import NO_PROPERTIES, Properties
from broker.mqtt.property_codec import (
    OF_ACK,
    OF_AUTH,
    OF_CONNACK,
    OF_CONNECT,
    OF_DISCONNECT,
    OF_MESSAGE,
    OF_PUBLISH,
    OF_SUBSCRIBE,
    OF_UNSUBSCRIBE,
    OF_WILL,
    read_properties,
    write_length,
    write_properties,
)
from broker.mqtt.reasons import ReasonCode

ALL = frozenset(peer.KINDS)
TEXT = st.text(max_size=8).filter(lambda text: "\0" not in text)
TOPIC = st.text("ab/é", min_size=1, max_size=8)
FLAG = st.none() | st.integers(0, 1)
SHORT = st.none() | st.integers(1, 65_535)
INT = st.none() | st.integers(1, 2**32 - 1)
MAYBE = st.none() | TEXT
BYTES = st.none() | st.binary(max_size=8)

PROPERTIES = st.builds(
    Properties,
    payload_format=FLAG,
    message_expiry_s=INT,
    content_type=MAYBE,
    response_topic=st.none() | TOPIC,
    correlation_data=BYTES,
    subscription_ids=st.lists(st.integers(1, limits.LENGTH_MAX), max_size=3).map(tuple),
    session_expiry_s=INT,
    assigned_client_id=MAYBE,
    server_keep_alive_s=SHORT,
    authentication_method=MAYBE,
    authentication_data=BYTES,
    request_problem_information=FLAG,
    will_delay_s=INT,
    request_response_information=FLAG,
    response_information=MAYBE,
    server_reference=MAYBE,
    reason_string=MAYBE,
    receive_maximum=SHORT,
    topic_alias_maximum=SHORT,
    topic_alias=SHORT,
    maximum_qos=FLAG,
    retain_available=FLAG,
    user=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    maximum_packet_size=INT,
    wildcard_subscription_available=FLAG,
    subscription_ids_available=FLAG,
    shared_subscription_available=FLAG,
)


def read(data: bytes, allowed: frozenset[int] = ALL) -> Properties:
    """All of some properties, behind their length."""
    properties, rest = read_properties(data, 0, len(data), allowed)
    assert rest == len(data)
    return properties


@given(PROPERTIES)
def test_all_properties_come_back(properties: Properties) -> None:
    """Whatever they are."""
    data = write_properties(properties)
    assert read(write_length(len(data)) + data) == properties


@given(PROPERTIES, st.permutations(sorted(ALL)))
def test_their_order_does_not_matter(properties: Properties, order: list[int]) -> None:
    """Except for those of one kind among each other."""
    data = write_properties(properties, order)
    assert read(write_length(len(data)) + data) == properties


@given(PROPERTIES)
def test_what_is_cut_off_is_found(properties: Properties) -> None:
    """At every place."""
    data = write_properties(properties)
    whole = write_length(len(data)) + data
    for end in range(len(whole)):
        with pytest.raises(PacketInvalid):
            read_properties(whole, 0, end, ALL)


@given(st.binary(max_size=60))
def test_any_bytes_are_properties_or_invalid(data: bytes) -> None:
    """What is read can be written."""
    try:
        properties, _ = read_properties(data, 0, len(data), ALL)
    except PacketInvalid:
        return
    written = write_properties(properties)
    assert read(write_length(len(written)) + written) == properties


def test_no_properties_are_shared() -> None:
    """Most packets have none."""
    assert read(b"\0") is NO_PROPERTIES
    assert write_properties(NO_PROPERTIES) == b""


def test_only_some_can_be_written() -> None:
    """What goes from publisher to subscriber."""
    properties = Properties(payload_format=1, message_expiry_s=5, topic_alias=3, user=(("a", "b"),))
    data = write_properties(properties, OF_MESSAGE)
    assert read(write_length(len(data)) + data) == Properties(payload_format=1, user=(("a", "b"),))


#: Where each property may stand in what a client sends, and in a CONNACK. Source: MQTT 5.0, table 2-4.
PLACES = {
    "connect": (OF_CONNECT, {0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27}),
    "will": (OF_WILL, {0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26}),
    "publish": (OF_PUBLISH, {0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26}),
    "subscribe": (OF_SUBSCRIBE, {0x0B, 0x26}),
    "unsubscribe": (OF_UNSUBSCRIBE, {0x26}),
    "acknowledgement": (OF_ACK, {0x1F, 0x26}),
    "disconnect": (OF_DISCONNECT, {0x11, 0x1F, 0x26}),
    "auth": (OF_AUTH, {0x15, 0x16, 0x1F, 0x26}),
    "connack": (
        OF_CONNACK,
        {
            0x11,
            0x12,
            0x13,
            0x15,
            0x16,
            0x1A,
            0x1C,
            0x1F,
            0x21,
            0x22,
            0x24,
            0x25,
            0x26,
            0x27,
            0x28,
            0x29,
            0x2A,
        },
    ),
}
VALUES: dict[str, Any] = {"B": 1, "H": 1, "I": 1, "text": "x", "bytes": b"x", "varint": 1, "pair": ("x", "y")}


@pytest.mark.parametrize("place", PLACES)
def test_a_property_stands_where_it_belongs(place: str) -> None:
    """Everywhere else it is a protocol error."""
    allowed, expected = PLACES[place]
    for number, kind in peer.KINDS.items():
        data = peer.properties([(number, VALUES[kind])])
        if number in expected:
            read(data, allowed)
            continue
        with pytest.raises(PacketInvalid) as caught:
            read(data, allowed)
        assert caught.value.code == ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize("number", sorted(ALL - {0x0B, 0x26}))
def test_a_property_stands_once(number: int) -> None:
    """Only those of the user and subscription identifiers may be repeated."""
    with pytest.raises(PacketInvalid) as caught:
        read(peer.properties([(number, VALUES[peer.KINDS[number]])] * 2))
    assert caught.value.code == ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize("number", [0x00, 0x04, 0x07, 0x0A, 0x10, 0x14, 0x1B, 0x20, 0x2B, 0x7F, 0x80, 0xFF])
def test_a_property_that_is_none(number: int) -> None:
    """The packet is malformed."""
    with pytest.raises(PacketInvalid) as caught:
        read(bytes([2, number, 0]))
    assert caught.value.code == ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize("kind", ["text", "pair"])
@pytest.mark.parametrize("raw", [b"\xff", b"a\0", b"\xed\xa0\x80"])
def test_a_text_in_a_property_is_checked(kind: str, raw: bytes) -> None:
    """As every other, both texts of a pair."""
    for number in (number for number, each in peer.KINDS.items() if each == kind):
        good, bad = peer.field_of(b"x"), peer.field_of(raw)
        for content in [bad] if kind == "text" else [bad + good, good + bad]:
            with pytest.raises(PacketInvalid) as caught:
                read(peer.varint(len(content) + 1) + bytes([number]) + content)
            assert caught.value.code == ReasonCode.MALFORMED_PACKET


def test_as_many_user_properties_as_are_allowed() -> None:
    """The limit itself is no fault, one more is."""
    values: list[peer.Property] = [(0x26, ("", ""))] * limits.USER_PROPERTIES_MAX
    assert len(read(peer.properties(values)).user) == limits.USER_PROPERTIES_MAX
    with pytest.raises(PacketInvalid) as caught:
        read(peer.properties([*values, (0x26, ("", ""))]))
    assert caught.value.code == ReasonCode.QUOTA_EXCEEDED
