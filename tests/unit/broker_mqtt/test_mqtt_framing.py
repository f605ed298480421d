"""How a stream of bytes becomes packets: lengths, limits, splits, mutations, time."""

import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import mqtt_peer as peer
from support.mqtt_connection import OLDER, VERSIONS, Link, connected

from broker.mqtt import limits
from broker.mqtt.connection import State
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.events import Event, ProtocolViolation
from broker.mqtt.packets import Connect, Publish, Subscribe, Unsubscribe
from broker.mqtt.property_codec import read_length, read_varint, write_length
from broker.mqtt.reasons import ReasonCode

# ---- variable byte integers


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4), (268_435_455, 4)],
)
def test_lengths_at_their_bounds(value: int, size: int) -> None:
    """As short as possible. Source: MQTT 5.0, table 1-1."""
    data = write_length(value)
    assert len(data) == size
    assert data == peer.varint(value)
    assert read_length(b"x" + data + b"y", 1, 2 + size) == (value, 1 + size)
    assert read_varint(data, 0, size) == (value, size)
    for cut in range(size):
        assert read_length(data, 0, cut)[1] == 0
        with pytest.raises(PacketInvalid):
            read_varint(data, 0, cut)


@pytest.mark.parametrize("data", [b"\x80\x80\x80\x80", b"\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x01"])
def test_a_length_of_five_bytes(data: bytes) -> None:
    """There is none, which is known at the fourth."""
    for end in range(4, len(data) + 1):
        with pytest.raises(PacketInvalid):
            read_length(data, 0, end)


@pytest.mark.parametrize("data", [b"\x80\x00", b"\x81\x80\x00", b"\xff\x80\x80\x00"])
def test_needless_bytes(data: bytes) -> None:
    """A number is written as short as possible in 5.0; older clients may fill up a length."""
    with pytest.raises(PacketInvalid):
        read_varint(data, 0, len(data))
    link = connected(5)
    (event,) = link.say(b"\xc0" + b"\x80\x00")
    assert isinstance(event, ProtocolViolation)
    for version in OLDER:
        link = connected(version)
        assert link.say(b"\xc0\x80\x80\x00") == []
        assert [reply.kind for reply in link.hear()] == [peer.PINGRESP]


@pytest.mark.parametrize("version", VERSIONS)
def test_needless_bytes_in_the_first_length(version: int) -> None:
    """What holds there the CONNECT itself says."""
    data = peer.connect(version=version)
    (event,) = Link(version).say(data[:1], bytes([data[1] | 0x80, 0]), data[2:])
    assert isinstance(event, ProtocolViolation if version == 5 else Connect)


# ---- limits


@pytest.mark.parametrize("version", VERSIONS)
def test_the_largest_packet(version: int) -> None:
    """The limit is of the whole packet, and one byte more is known from its header."""
    data = peer.publish("t", bytes(90), version=version)
    link = connected(version, packet_bytes_max=len(data))
    assert len(link.say(data)) == 1
    longer = peer.publish("t", bytes(91), version=version)
    (event,) = link.say(longer[:2])
    assert isinstance(event, ProtocolViolation)
    assert event.code == ReasonCode.PACKET_TOO_LARGE
    assert [reply.code for reply in link.hear()] == ([0x95] if version == 5 else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_one_byte_at_a_time(version: int) -> None:
    """It is served like any other."""
    link = Link(version)
    events: list[Event] = []
    for each in peer.connect(version=version):
        events += link.say(bytes([each]))
    assert len(events) == 1
    link.connection.accept(link.now_s)
    link.hear()
    for each in peer.publish("t", b"x", 1, 1, version=version) + peer.pingreq():
        events += link.say(bytes([each]))
    assert len(events) == 2
    assert [reply.kind for reply in link.hear()] == [peer.PINGRESP]


# ---- any split

TEXT = st.text(max_size=5)
TOPIC = st.text("ab/$é", min_size=1, max_size=8)
FILTER = st.sampled_from(["a", "a/+", "#", "$share/g/a", "+/b/#"])
USER = st.lists(
    st.tuples(st.just(0x26), st.tuples(TEXT.filter(lambda t: "\0" not in t), st.just("v"))), max_size=2
)


def properties_of(version: int) -> st.SearchStrategy[list[Any]]:
    """User properties, for 5.0."""
    return USER if version == 5 else st.just([])


def packets(version: int) -> st.SearchStrategy[bytes]:
    """Packets of a client that keeps to the rules more or less."""
    packet_id = st.integers(0, 4)
    values = properties_of(version)
    publishes = st.builds(
        lambda topic, payload, qos, each, dup, v: peer.publish(
            topic, payload, qos, each, dup=dup, version=version, values=v
        ),
        TOPIC,
        st.binary(max_size=200),
        st.integers(0, 2),
        packet_id,
        st.booleans(),
        values,
    )
    subscribes = st.builds(
        lambda each, filters, v: peer.subscribe(each, filters, version=version, values=v),
        packet_id,
        st.lists(st.tuples(FILTER, st.integers(0, 2)), max_size=3),
        values,
    )
    unsubscribes = st.builds(
        lambda each, filters, v: peer.unsubscribe(each, filters, version=version, values=v),
        packet_id,
        st.lists(FILTER, max_size=3),
        values,
    )
    acks = st.builds(peer.ack, st.integers(4, 7), packet_id)
    return st.one_of(publishes, publishes, subscribes, unsubscribes, acks, st.just(peer.pingreq()))


STREAMS = st.sampled_from(VERSIONS).flatmap(
    lambda version: st.tuples(
        st.just(version),
        st.builds(
            lambda parts, end: b"".join(parts) + end,
            st.lists(packets(version), max_size=8),
            st.sampled_from([b"", peer.disconnect(), b"\x00\x00", b"\x30"]),
        ),
    )
)


def answer(link: Link, events: list[Event]) -> None:
    """Answer everything at once, as an owner without a disk would."""
    connection = link.connection
    for event in events:
        if isinstance(event, Publish) and event.qos:
            (connection.send_puback if event.qos == 1 else connection.send_pubrec)(event.packet_id)
        elif isinstance(event, Subscribe):
            connection.send_suback(event.packet_id, [0] * len(event.subscriptions))
        elif isinstance(event, Unsubscribe):
            connection.send_unsuback(event.packet_id, [0] * len(event.filters))
        elif type(event).__name__ == "Pubrel":
            connection.send_pubcomp(event.packet_id)  # type: ignore[union-attr]  # by its name


def history(version: int, chunks: list[bytes]) -> tuple[list[Event], bytes]:
    """All events of a connection and all that it was sent, if nothing is answered before the end."""
    link = Link(version, receive_maximum=3, packet_bytes_max=300)
    events: list[Event] = []
    for chunk in chunks:
        events += link.say(chunk)
        if link.connection.state is State.CONNECTING:
            link.connection.accept(link.now_s)
            events += link.say()
    sent = link.connection.data_to_send()
    events += link.connection.receive_eof()
    return events, sent


@given(STREAMS, st.lists(st.integers(0, 2000), max_size=6))
def test_any_split_gives_the_same_events(stream: tuple[int, bytes], cuts: list[int]) -> None:
    """Where reads end is chance."""
    version, body = stream
    data = peer.connect(version=version) + body
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    chunks = [data[begin:end] for begin, end in itertools.pairwise(places)]
    whole = history(version, [data])
    assert history(version, chunks) == whole
    assert history(version, [bytes([each]) for each in data]) == whole


# ---- anything else


@given(st.sampled_from(VERSIONS), st.binary(max_size=300))
def test_any_bytes_are_an_event_or_nothing(version: int, data: bytes) -> None:
    """No exception comes out, before the login or after."""
    Link(version).say(data)
    link = connected(version)
    answer(link, link.say(data))
    link.connection.data_to_send()


MUTATIONS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255), st.sampled_from("=+-")), max_size=4)


def mutated(data: bytes, mutations: list[tuple[int, int, str]]) -> bytes:
    """Some bytes replaced, inserted, removed."""
    out = bytearray(data)
    for place, byte, what in mutations:
        at = place % (len(out) + 1)
        out[at : at + (what != "+")] = b"" if what == "-" else bytes([byte])
    return bytes(out)


@settings(max_examples=300)
@given(STREAMS, MUTATIONS, st.booleans())
def test_mutated_streams(
    stream: tuple[int, bytes], mutations: list[tuple[int, int, str]], login: bool
) -> None:
    """No exception comes out, nothing follows a violation, and the answers stay packets."""
    version, body = stream
    link = Link(version) if login else connected(version)
    data = mutated((peer.connect(version=version) if login else b"") + body, mutations)
    events: list[Event] = []
    for begin in range(0, len(data), 7):
        new = link.say(data[begin : begin + 7])
        answer(link, new)
        events += new
        if link.connection.state is State.CONNECTING:
            link.connection.accept(link.now_s)
    link.version = link.connection.version or 4  # the answer to an unknown version is in the older form
    last = [isinstance(event, ProtocolViolation) for event in events]
    assert True not in last[:-1]
    link.hear()


HOSTILE: list[tuple[str, Callable[[int], bytes]]] = [
    ("many small packets", lambda size: peer.pingreq() * (size // 2)),
    ("many messages", lambda size: peer.publish("a/b") * (size // 8)),
    ("user properties", lambda size: peer.publish("t", values=[(0x26, ("", ""))] * (size // 50))),
    ("filters", lambda size: peer.subscribe(1, [("a/+/#", 0)] * (size // 8))),
    ("levels", lambda size: peer.subscribe(1, [("+/" * (size // 2), 0)])),
    ("a long topic", lambda size: peer.publish("a/" * (size // 2))),
    ("a large payload", lambda size: peer.publish("t", bytes(size))),
]


def calls(data: bytes) -> int:
    """Functions called while some data comes in small reads, and is answered."""
    link = connected(packet_bytes_max=limits.LENGTH_MAX)
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for at in range(0, len(data), 1000):
            answer(link, link.say(data[at : at + 1000]))
            link.connection.data_to_send()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("write", [write for _, write in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_no_input_costs_more_than_linear_work(write: Callable[[int], bytes]) -> None:
    """Ten times the bytes in small reads are ten times the work, not a hundred times."""
    small, large = write(4_000), write(40_000)
    assert calls(large) < 12 * calls(small) + 200
