"""Bytes to frames and back, limits, heart-beats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.stomp.connection import Event, ProtocolViolation, StompConnection
from broker.stomp.headers import Version
from broker.stomp.limits import ANONYMOUS_BYTES_MAX, COMMAND_BYTES_MAX, HEAD_BYTES_MAX

SEND = b"SEND\ndestination:/queue/a\n\nhello\0"


def opened(data_bytes_max: int = 1000, frame_bytes_max: int = 10_000) -> StompConnection:
    """A connection whose client has logged in."""
    connection = StompConnection(data_bytes_max, frame_bytes_max, 0.0)
    connection.open()
    return connection


def events_of(data: bytes, *, data_bytes_max: int = 1000) -> list[Event]:
    """What some bytes say."""
    return opened(data_bytes_max).receive_data(data, 0.0)


def violation_of(data: bytes) -> str:
    """Why some bytes end the connection."""
    connection = opened()
    events = connection.receive_data(data, 0.0)
    assert isinstance(events[-1], ProtocolViolation), events
    assert connection.is_closed
    assert connection.data_to_send().startswith(b"ERROR\nmessage:")
    assert connection.receive_data(SEND, 0.0) == []
    return events[-1].reason


def test_a_frame() -> None:
    """A frame is its command, its headers and its body."""
    assert events_of(SEND) == [(b"SEND", b"\ndestination:/queue/a", b"hello", False)]


def test_without_headers_and_body() -> None:
    """Both may be missing."""
    assert events_of(b"DISCONNECT\n\n\0") == [(b"DISCONNECT", b"", b"", False)]


def test_content_length() -> None:
    """With a content-length the body may hold anything; the header is taken out of the others."""
    data = b"SEND\na:1\ncontent-length:5\nb:2\n\n\0\n\n\0\0\0"
    assert events_of(data) == [(b"SEND", b"\na:1\nb:2", b"\0\n\n\0\0", True)]


def test_line_feeds_between_frames() -> None:
    """Any number of line feeds, and the zero bytes of clients that send one too many, may stand between."""
    assert len(events_of(b"\n\n" + SEND + b"\n\r\n" + SEND + b"\0\n" + SEND)) == 3


def test_carriage_returns() -> None:
    """Lines may end in CR LF; what that means for headers is decided later."""
    data = b"SEND\r\ndestination:/queue/a\r\n\r\nhello\n\nyou\0"
    assert events_of(data) == [(b"SEND", b"\ndestination:/queue/a\r", b"hello\n\nyou", False)]
    assert events_of(b"DISCONNECT\r\n\r\n\0") == [(b"DISCONNECT", b"", b"", False)]


FRAGMENTS = st.sampled_from(
    [
        SEND,
        b"\n",
        b"\r\n",
        b"\0",
        b"ACK\nid:1-2\n\n\0",
        b"SEND\ndestination:/queue/a\ncontent-length:3\n\n\0\0\0\0",
        b"SEND\r\ndestination:/queue/a\r\n\r\nx\0",
        b"SEND\ncontent-length:12\n\nx\0",
        b"SEND\ncontent-length:x\n\nx\0",
        b"SEND\na:" + b"x" * 40 + b"\n\n" + b"y" * 70 + b"\0",
        b"NOTHING\n\n\0",
        b"SEND",
        b"x",
        b":",
    ]
)


@given(st.lists(FRAGMENTS, max_size=6), st.data())
def test_any_split_gives_the_same_events(parts: list[bytes], data: st.DataObject) -> None:
    """How the bytes are cut up on their way makes no difference."""
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    whole, cut = (opened(data_bytes_max=60, frame_bytes_max=90) for _ in range(2))
    expected = whole.receive_data(stream, 0.0)
    events = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += cut.receive_data(stream[begin:end], 0.0)
    assert events == expected
    assert cut.data_to_send() == whole.data_to_send()


@given(st.binary(max_size=200))
def test_no_bytes_are_too_much(data: bytes) -> None:
    """Whatever comes, there are events."""
    events = opened().receive_data(data, 0.0)
    assert all(isinstance(each, tuple | ProtocolViolation) for each in events)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "Unknown STOMP action: GET / HTTP/1.1"),
        (b"\x16\x03\x01" + b"x" * COMMAND_BYTES_MAX, "Unknown STOMP action: "),
        (b"SEND\ncontent-length:-1\n\n\0", "The content-length is not a whole number."),
        (b"SEND\ncontent-length:1e3\n\n\0", "The content-length is not a whole number."),
        (b"SEND\ncontent-length:1001\n\n", "The maximum data length was exceeded."),
        (b"SEND\n\n" + b"x" * 1001, "The maximum data length was exceeded."),
        (b"SEND\ncontent-length:1\n\nab\0", "Behind as many bytes as content-length says"),
        (b"SEND\n" + b"a:b\n" * (HEAD_BYTES_MAX // 4), "The maximum frame size was exceeded while"),
    ],
)
def test_what_is_no_frame(data: bytes, reason: str) -> None:
    """The client is told what is wrong, and nothing more is read."""
    assert violation_of(data).startswith(reason)


def test_frames_before_the_mistake_count() -> None:
    """What came whole before is an event."""
    events = events_of(SEND + b"WHAT\n\n\0" + SEND)
    assert [type(each) for each in events] == [tuple, ProtocolViolation]


def test_before_the_login_little_is_kept() -> None:
    """Who has not logged in cannot make this side keep a long body or long headers."""
    for start in (b"CONNECT\n\n", b"CONNECT\n"):
        connection = StompConnection(10_000_000, 10_000_000, 0.0)
        events = connection.receive_data(start, 0.0)
        for _ in range(ANONYMOUS_BYTES_MAX // 1000 + 2):
            events += connection.receive_data(b"x" * 1000, 0.0)
        assert isinstance(events[-1], ProtocolViolation)


def test_a_long_body_in_small_pieces_is_copied_once() -> None:
    """A body that comes byte by byte is not looked at again and again."""
    connection = opened(10_000_000, 20_000_000)
    connection.receive_data(b"SEND\ncontent-length:200000\n\n", 0.0)
    for _ in range(200_000):
        assert connection.receive_data(b"x", 0.0) == []
    assert len(connection.receive_data(b"\0", 0.0)) == 1


def test_heart_beats_of_this_side() -> None:
    """Where nothing is sent for nearly as long as was agreed, a line feed is."""
    connection = opened()
    connection.beat(0.0, 10.0)
    assert connection.deadline_s == 9.0
    assert connection.handle_deadline(9.0) == []
    assert connection.data_to_send() == b"\n"
    assert connection.deadline_s == 18.0
    connection.receive_data(b"\n", 15.0)
    connection.send(b"x")
    connection.data_to_send()
    assert connection.deadline_s == 24.0


def test_a_silent_client_is_given_up() -> None:
    """Any byte shows that the client lives; without one it is told that it is given up."""
    connection = opened()
    connection.beat(5.0, 0.0)
    connection.receive_data(b"\n", 3.0)
    assert connection.deadline_s == 8.0
    assert connection.handle_deadline(7.9) == []
    (event,) = connection.handle_deadline(8.0)
    assert event == ProtocolViolation("Nothing was heard of the client for 5.0 s.")
    assert connection.data_to_send().startswith(b"ERROR\n")
    assert connection.deadline_s is None


def test_who_is_not_read_from_is_excused() -> None:
    """Silence counts only where somebody listens."""
    connection = opened()
    connection.beat(5.0, 0.0)
    connection.excuse(4.0)
    assert connection.deadline_s == 9.0


def test_without_heart_beats_there_is_no_deadline() -> None:
    """Nobody is given up who has not promised to speak."""
    assert opened().deadline_s is None


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (Version.V1_0, b"a:b:c d \\\n"),
        (Version.V1_1, b"a:b\\cc\\nd\r\\\\\n"),
        (Version.V1_2, b"a:b\\cc\\nd\\r\\\\\n"),
    ],
)
def test_headers_are_escaped_by_version(version: Version, line: bytes) -> None:
    """1.0 has no escapes, 1.1 none for the carriage return; a line feed cannot begin a header in any."""
    connection = opened()
    connection.version = version
    connection.send_frame("ERROR", {"a": "b:c\nd" + ("\r" if version > Version.V1_0 else " ") + "\\"})
    assert connection.data_to_send() == b"ERROR\n" + line + b"\n\0\n"
