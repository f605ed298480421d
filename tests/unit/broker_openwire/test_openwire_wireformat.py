"""Frames, negotiation and keep-alive of one connection."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.openwire import limits
from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQTextMessage,
    BrokerInfo,
    ConnectionId,
    ConnectionInfo,
    DataStructure,
    KeepAliveInfo,
    Response,
    SessionId,
    SessionInfo,
    WireFormatInfo,
)
from broker.openwire.wireformat import (
    CommandReceived,
    Event,
    MessagesReceived,
    Negotiated,
    PeerInactive,
    ProtocolViolation,
    WireFormat,
    WireFormatOptions,
)
from broker.primitive_map import encode_map

APACHE = WireFormatOptions(tight_encoding_enabled=True, cache_enabled=True, stack_trace_enabled=True)
COMMANDS: list[DataStructure] = [
    ConnectionInfo(1, True, ConnectionId("c"), "client", "password", "user"),
    SessionInfo(2, False, SessionId("c", 1)),
    ActiveMQTextMessage(3, content=b"\0\0\0\1x"),
    SessionInfo(4, False, SessionId("c", 1)),
    BrokerInfo(5, broker_name="b" * 300),
]


def exchange(one: WireFormat, other: WireFormat, now_s: float = 0.0) -> tuple[list[Event], list[Event]]:
    """Carries bytes both ways until there are none; returns what each end saw."""
    seen: tuple[list[Event], list[Event]] = ([], [])
    while True:
        there, back = one.data_to_send(), other.data_to_send()
        if not there and not back:
            return seen
        seen[1].extend(other.receive_data(there, now_s))
        seen[0].extend(one.receive_data(back, now_s))


def opened(
    one: WireFormatOptions = APACHE, other: WireFormatOptions = APACHE
) -> tuple[WireFormat, WireFormat]:
    """Two ends that have negotiated."""
    ends = WireFormat(one, now_s=0.0), WireFormat(other, now_s=0.0)
    exchange(*ends)
    return ends


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=6)))
def test_flags_are_on_if_both_ends_want_them(flags: tuple[bool, ...]) -> None:
    """Each combination of wishes gives the same encoding at both ends, and commands go through both ways."""
    names = ("tight_encoding_enabled", "cache_enabled", "stack_trace_enabled")
    mine, theirs = dict(zip(names, flags[:3], strict=True)), dict(zip(names, flags[3:], strict=True))
    one, other = opened(WireFormatOptions(**mine), WireFormatOptions(**theirs))
    for end in (one, other):
        assert end.agreed is not None
        assert {name: getattr(end.agreed, name) for name in names} == {
            name: mine[name] and theirs[name] for name in names
        }
        for command in COMMANDS:
            end.send(command)
    assert exchange(one, other) == ([CommandReceived(each) for each in COMMANDS],) * 2


@pytest.mark.parametrize("version", range(1, 13))
def test_the_smaller_version_is_used(version: int) -> None:
    """A peer of any older version is spoken to in that version."""
    one, other = opened(APACHE, WireFormatOptions(version=version))
    assert one.codec.version == other.codec.version == version


def test_a_newer_version_is_answered_with_ours() -> None:
    """A peer of a version to come is spoken to in version 12."""
    one = WireFormat(APACHE, now_s=0.0)
    (event,) = one.receive_data(Codec().encode(WireFormatOptions(version=99).to_info()), 0.0)
    assert isinstance(event, Negotiated)
    assert one.codec.version == 12


def test_sizes_and_times_are_the_smaller_ones() -> None:
    """Frame size, cache size and inactivity are the minimum; what a peer leaves out does not lower sizes."""
    one, _ = opened(
        WireFormatOptions(max_frame_size_bytes=5000, cache_size=500, max_inactivity_duration_ms=3000),
        WireFormatOptions(max_frame_size_bytes=9000, cache_size=200, max_inactivity_duration_ms=9000),
    )
    assert one.agreed is not None
    agreed = one.agreed
    assert (agreed.max_frame_size_bytes, agreed.cache_size, agreed.max_inactivity_duration_ms) == (
        5000,
        200,
        3000,
    )
    end = WireFormat(WireFormatOptions(), now_s=0.0)
    end.receive_data(Codec().encode(WireFormatInfo(version=1)), 0.0)
    assert end.agreed is not None
    assert end.agreed.max_frame_size_bytes == limits.FRAME_SIZE_MAX_DEFAULT
    assert end.agreed.max_inactivity_duration_ms == 0


def test_the_offer_arrives_whole() -> None:
    """What one end offers is what the other end reads."""
    offer = WireFormatOptions(host="h", provider_name="p", provider_version="1", platform_details="x")
    assert WireFormatOptions.from_info(offer.to_info()) == offer


def test_commands_wait_for_the_negotiation() -> None:
    """What is sent before the peer's offer came is sent after it, in the agreed encoding."""
    one, other = WireFormat(APACHE, now_s=0.0), WireFormat(APACHE, now_s=0.0)
    for command in COMMANDS:
        one.send(command)
    assert not one.is_negotiated
    _, seen = exchange(one, other)
    assert seen[1:] == [CommandReceived(each) for each in COMMANDS]
    assert one.is_negotiated


@given(cuts=st.lists(st.integers(0, 2000), max_size=12), tight=st.booleans(), cache=st.booleans())
@settings(max_examples=60, deadline=None)
def test_cuts_change_nothing(cuts: list[int], tight: bool, cache: bool) -> None:
    """The events are the same wherever the bytes are split."""
    options = WireFormatOptions(tight_encoding_enabled=tight, cache_enabled=cache)
    data = _stream(options)
    whole = WireFormat(options, now_s=0.0).receive_data(data, 0.0)
    end = WireFormat(options, now_s=0.0)
    pieces: list[Event] = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        pieces += end.receive_data(data[start:stop], 0.0)
    assert pieces == whole
    assert len(whole) == len(COMMANDS) + 1


def test_every_split_point() -> None:
    """Byte by byte, and split once at every byte, the events are those of the whole."""
    data = _stream(APACHE)
    whole = WireFormat(APACHE, now_s=0.0).receive_data(data, 0.0)
    for at in range(len(data) + 1):
        end = WireFormat(APACHE, now_s=0.0)
        assert end.receive_data(data[:at], 0.0) + end.receive_data(data[at:], 0.0) == whole
    end = WireFormat(APACHE, now_s=0.0)
    assert [event for byte in data for event in end.receive_data(bytes((byte,)), 0.0)] == whole
    assert end.receive_eof() == []


def _stream(options: WireFormatOptions) -> bytes:
    """All that one end says: its offer and some commands."""
    sender, receiver = WireFormat(options, now_s=0.0), WireFormat(options, now_s=0.0)
    data = sender.data_to_send()
    sender.receive_data(receiver.data_to_send(), 0.0)
    for command in COMMANDS:
        sender.send(command)
    return data + sender.data_to_send()


def test_raw_messages_come_as_frames() -> None:
    """An owner who asked for it gets messages as they came, if frames stand for themselves."""
    for tight, cache in itertools.product([False, True], repeat=2):
        options = WireFormatOptions(tight_encoding_enabled=tight, cache_enabled=cache)
        end = WireFormat(options, now_s=0.0, raw_messages=True)
        events = end.receive_data(_stream(options), 0.0)
        message = COMMANDS[2]
        if tight or cache:
            assert events[3] == CommandReceived(message)
        else:
            frame = Codec(size_prefix=False).encode(message)
            assert events[3] == MessagesReceived([frame])
            sized, other = Codec().encode(message), Codec().encode(KeepAliveInfo(response_required=True))
            runs = end.receive_data(sized + sized + other + sized + b"\0\0\0\0", 1.0)
            assert runs[:2] == [MessagesReceived([frame, frame]), MessagesReceived([frame])]
            assert isinstance(runs[2], ProtocolViolation)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "does not speak OpenWire"),
        (b"\0\0\0\0", "impossible size of 0"),
        (b"\xff\xff\xff\xff", "impossible size of -1"),
        (Codec().encode(KeepAliveInfo()), "first command is KeepAliveInfo"),
        (Codec().encode(WireFormatInfo(magic=b"ActiveMX", version=12)), "magic is wrong"),
        (Codec().encode(WireFormatInfo(version=0)), "speaks OpenWire version 0"),
        (Codec().encode(WireFormatInfo(version=12, marshalled_properties=b"\0")), "a map is damaged"),
        (
            Codec().encode(
                WireFormatInfo(version=12, marshalled_properties=encode_map({str(i): i for i in range(65)}))
            ),
            "more than 64 properties",
        ),
        (
            Codec().encode(WireFormatInfo(version=12, marshalled_properties=encode_map({"Host": "x" * 513}))),
            "'Host' of a WireFormatInfo is too long",
        ),
        (
            Codec().encode(WireFormatInfo(version=12, marshalled_properties=encode_map({"a": {}}))),
            "'a' of a WireFormatInfo is nested",
        ),
    ],
)
def test_a_wrong_first_frame_is_a_violation(data: bytes, reason: str) -> None:
    """Whoever does not begin with a proper WireFormatInfo is told so once and then ignored."""
    end = WireFormat(WireFormatOptions(), now_s=0.0)
    (event,) = end.receive_data(data, 0.0)
    assert isinstance(event, ProtocolViolation)
    assert reason in str(event)
    assert end.receive_data(Codec().encode(WireFormatOptions().to_info()), 0.0) == []
    assert end.receive_eof() == []
    assert end.deadline_s is None


def test_properties_of_wrong_types_count_as_absent() -> None:
    """A peer whose property has an odd type is taken to have said nothing."""
    data = encode_map({"CacheEnabled": 1, "MaxFrameSize": "big", "Host": 5})
    offer = WireFormatOptions.from_info(WireFormatInfo(version=3, marshalled_properties=data))
    assert (offer.cache_enabled, offer.max_frame_size_bytes, offer.host) == (False, 0, None)


def test_good_events_come_before_the_violation() -> None:
    """Commands before a damaged frame are delivered; the violation is last."""
    one, other = opened()
    one.send(COMMANDS[0])
    events = other.receive_data(one.data_to_send() + b"\0\0\0\1\x0d", 0.0)
    assert events[0] == CommandReceived(COMMANDS[0])
    assert str(events[1]) == "type 13 is unknown"
    other.send(KeepAliveInfo())
    assert other.data_to_send() == b""


def test_a_frame_above_the_limit_is_a_violation_at_its_size() -> None:
    """The announcement of a huge frame is refused before any of its bytes is kept."""
    _, other = opened(APACHE, WireFormatOptions(max_frame_size_bytes=1000))
    (event,) = other.receive_data(b"\0\0\x03\xe9", 0.0)
    assert str(event) == "Frame size of 1001 bytes is larger than the maximum of 1000 bytes"


def test_the_owner_can_lower_the_limit_for_a_while() -> None:
    """Before a client has logged in, its frames may be limited further."""
    one, other = opened()
    other.frame_size_max = 50
    one.send(ConnectionInfo(client_id="x" * 60))
    (event,) = other.receive_data(one.data_to_send(), 0.0)
    assert isinstance(event, ProtocolViolation)


def test_a_second_offer_is_a_violation() -> None:
    """The encoding is negotiated once."""
    one, other = opened()
    one.send(WireFormatOptions().to_info())
    (event,) = other.receive_data(one.data_to_send(), 0.0)
    assert str(event) == "the peer sent a second WireFormatInfo"


def test_the_end_inside_a_frame_is_a_violation() -> None:
    """A connection that ends in the middle of a frame says so; between frames it just ends."""
    one, other = opened()
    assert one.receive_eof() == []
    other.receive_data(b"\0\0", 0.0)
    (event,) = other.receive_eof()
    assert str(event) == "the connection ended inside a frame"


def test_keep_alive_is_answered_if_asked_for() -> None:
    """A KeepAliveInfo that wants an answer gets one; neither becomes an event."""
    one, other = opened()
    one.send(KeepAliveInfo(response_required=True))
    assert other.receive_data(one.data_to_send(), 0.0) == []
    assert one.receive_data(answer := other.data_to_send(), 0.0) == []
    assert answer
    assert one.data_to_send() == b""


def test_a_silent_end_sends_keep_alives() -> None:
    """After a third of the inactivity time without sending a KeepAliveInfo goes; a busy end sends none."""
    one, other = opened()
    assert one.deadline_s == 10.0
    one.send(COMMANDS[0])
    one.data_to_send()
    one.handle_deadline(10.0)
    assert one.data_to_send() == b""
    one.receive_data(b"", 19.0)
    assert one.deadline_s == 20.0
    one.handle_deadline(20.0)
    assert other.receive_data(one.data_to_send(), 20.0) == []


def test_a_silent_peer_counts_as_dead() -> None:
    """A peer that has sent nothing for the inactivity time is dead, once; one that sends anything is not."""
    one, other = opened()
    one.receive_data(b"\0", 25.0)
    assert one.handle_deadline(54.9) == []
    (event,) = one.handle_deadline(55.0)
    assert isinstance(event, PeerInactive)
    assert "silent for more than 30 s" in str(event)
    assert one.handle_deadline(99.0) == []
    assert other.deadline_s == 10.0


def test_inactivity_can_be_off() -> None:
    """With a duration of 0 at either end nobody watches the time."""
    one, other = opened(APACHE, WireFormatOptions(max_inactivity_duration_ms=0))
    assert one.deadline_s is None
    assert other.handle_deadline(1e9) == []


@pytest.mark.parametrize(("delay_ms", "deadline_s"), [(10_000, 110.0), (0, 115.0)])
def test_a_peer_that_offers_nothing_is_given_up(delay_ms: int, deadline_s: float) -> None:
    """Without the peer's WireFormatInfo the connection ends, also when inactivity limits are off."""
    end = WireFormat(WireFormatOptions(max_inactivity_duration_initial_delay_ms=delay_ms), now_s=100.0)
    assert end.deadline_s == deadline_s
    assert end.handle_deadline(deadline_s - 1) == []
    (event,) = end.handle_deadline(deadline_s)
    assert str(event) == "the peer did not send its wire format in time"


def test_a_last_command_can_follow_a_violation() -> None:
    """The peer can be told what it did wrong, in the agreed encoding."""
    one, other = opened()
    assert other.receive_data(b"\0\0\0\0", 0.0)
    other.send_last(Response(correlation_id=7))
    assert one.receive_data(other.data_to_send(), 0.0) == [CommandReceived(Response(correlation_id=7))]
    fresh = WireFormat(APACHE, now_s=0.0)
    fresh.data_to_send()
    fresh.send_last(Response())
    assert fresh.data_to_send() == b""


def test_a_closed_end_ignores_the_peer() -> None:
    """After close, nothing that comes in is looked at, and what was to be sent is still there."""
    one, other = opened()
    one.send(COMMANDS[0])
    other.send(COMMANDS[0])
    other.close()
    assert other.receive_data(one.data_to_send(), 0.0) == []
    assert other.data_to_send()
