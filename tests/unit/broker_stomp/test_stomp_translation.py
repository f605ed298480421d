"""Messages in STOMP's form and in the neutral one."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stomp_client import read_frames

from broker.destination import Destination
from broker.errors import ClientError, MessageInvalid
from broker.message import BodyKind, Message, decode_message, encode_message, first_of_group, readdressed
from broker.primitive_map import Long, encode_map, encode_stream
from broker.properties import properties_of
from broker.stomp.destinations import destination_of
from broker.stomp.headers import Version, lines, read_headers
from broker.stomp.limits import HEADERS_MAX
from broker.stomp.message_writer import adapted, kept_form
from broker.stomp.translation import WIRE_FORMAT, message_of, read_wire, template_of

QUEUE = Destination.queue("a")
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=10)
NUMBERS = st.integers(-5, 2**31 - 1).map(str)
HEADERS = st.fixed_dictionaries(
    {
        "destination": st.sampled_from(
            ["/queue/a", "/topic/a:b", "/remote-temp-queue/x:1", "/queue/a,topic://b"]
        )
    },
    optional={
        "persistent": st.sampled_from(["true", "false", ""]),
        "priority": NUMBERS,
        "expires": NUMBERS,
        "timestamp": NUMBERS,
        "correlation-id": TEXTS,
        "type": TEXTS,
        "reply-to": st.sampled_from(["/queue/r", "nowhere", "/topic/\u00fc"]),
        "JMSXGroupID": TEXTS,
        "JMSXGroupSeq": NUMBERS,
        "amq-msg-type": st.sampled_from(["text", "bytes"]),
        "content-type": TEXTS,
        "message-id": TEXTS,
        "\u00e4:\\": TEXTS,
    },
)


def sent(headers: dict[str, str], body: bytes = b"hello", has_length: bool = False) -> Message:
    """The message of a SEND frame."""
    template = template_of(dict(headers), has_length, destination_of)
    return message_of(template, b"ID\\cc\\c1", 77, body, has_length)


@given(HEADERS, st.binary(max_size=20), st.booleans())
def test_what_is_kept_says_it_all(headers: dict[str, str], body: bytes, has_length: bool) -> None:
    """What a message knows when it is sent is what is read out of its kept form, also from the journal."""
    message = sent(headers, body, has_length)
    assert message.wire is not None
    known = {
        name: getattr(message, name)
        for name in ("destination", "persistent", "priority", "expiration", "group_id", "properties")
    }
    whole = read_wire(message.wire)
    assert {name: getattr(whole, name) for name in known} == known
    assert message == whole
    assert decode_message(encode_message(message)) == whole
    assert properties_of(whole) == message.decoded
    assert whole.message_id == "ID:c:1"


@given(HEADERS, st.binary(max_size=20), st.booleans())
def test_the_kept_form_is_what_the_neutral_one_would_be_written_as(
    headers: dict[str, str], body: bytes, has_length: bool
) -> None:
    """A message that has lost its kept form, as one that goes on to another destination, looks the same."""
    message = sent(headers, body, has_length or b"\0" in body)  # a zero byte needs a length
    assert message.wire is not None
    kept = read_frames(b"MESSAGE\n" + message.wire + b"\0")[0]
    neutral = read_wire(message.wire)
    neutral.wire, neutral.wire_format = None, ""
    written = read_frames(b"MESSAGE\n" + kept_form(neutral) + b"\0")[0]
    for frame in (kept, written):
        frame.headers.pop("content-length", None)
    assert written == kept


def test_defaults() -> None:
    """Those of ActiveMQ: not persistent, priority 4, the broker's time."""
    message = sent({"destination": "/queue/a"})
    assert (message.persistent, message.priority, message.expiration) == (False, 4, 0)
    assert (message.timestamp, message.correlation_id, message.type) == (77, None, None)
    assert message.properties is None


def test_many_headers_come_back() -> None:
    """As many headers as a frame may have can be read back, though the broker adds some."""
    head = b"\ndestination:/queue/a" + b"".join(b"\n%d:x" % number for number in range(HEADERS_MAX - 1))
    message = sent(read_headers(head, Version.V1_2))
    assert message.wire is not None
    assert len(properties_of(read_wire(message.wire))) == HEADERS_MAX - 1


@pytest.mark.parametrize(
    "wire", [b"", b"x", b"a:b\n\n", b"destination:/queue/a\ntimestamp:x\n\n", b"\xff:\n\n"]
)
def test_damaged(wire: bytes) -> None:
    """A kept form that is none is a message that cannot be read, and nothing worse."""
    with pytest.raises(MessageInvalid):
        read_wire(wire)


def test_first_of_group() -> None:
    """The mark is a header."""
    message = first_of_group(sent({"destination": "/queue/a", "JMSXGroupID": "g"}, b"a\n\nb"))
    assert message.wire is not None
    (frame,) = read_frames(b"MESSAGE\n" + message.wire + b"\0")
    assert frame.headers["JMSXGroupFirstForConsumer"] == "true"
    assert frame.body == b"a\n\nb"


def test_readdressed() -> None:
    """A message that goes on to another destination says where it was sent to."""
    message = readdressed(sent({"destination": "/queue/a", "x": "y"}), Destination.queue("b"))
    (frame,) = read_frames(b"MESSAGE\n" + kept_form(message) + b"\0")
    assert (frame.headers["destination"], frame.headers["original-destination"]) == ("/queue/b", "/queue/a")
    assert (frame.headers["x"], frame.body) == ("y", b"hello")


def written(**attributes: object) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a message of another protocol."""
    message = Message("ID:m:1", QUEUE, **attributes)
    (frame,) = read_frames(b"MESSAGE\n" + kept_form(message) + b"\0")
    return frame.headers, frame.body


def test_another_protocols_headers() -> None:
    """All that JMS knows has its header."""
    headers, _ = written(
        timestamp=5,
        expiration=9,
        priority=7,
        correlation_id="c",
        reply_to=Destination.topic("r"),
        type="t",
        group_id="g",
        group_sequence=2,
        user_id="u",
        origin=Destination.queue("o"),
        properties=encode_map({"i": 1, "l": Long(2), "d": 2.5, "b": True, "n": None, "y": b"\1", "s": "x:y"}),
    )
    assert headers == {
        "message-id": "ID:m:1",
        "timestamp": "5",
        "destination": "/queue/a",
        "expires": "9",
        "priority": "7",
        "persistent": "true",
        "correlation-id": "c",
        "reply-to": "/topic/r",
        "type": "t",
        "JMSXGroupID": "g",
        "JMSXGroupSeq": "2",
        "JMSXUserID": "u",
        "original-destination": "/queue/o",
        **{"i": "1", "l": "2", "d": "2.5", "b": "true", "n": "null", "y": "01", "s": "x:y"},
    }


TEXT = b"\0\0\0\x09t\xc3\xbc\xed\xa0\xbd\xed\xb8\x80"
LONE = b"\0\0\0\x03\xed\xa0\xbd"


@pytest.mark.parametrize(
    ("kind", "body", "compressed", "shown", "length"),
    [
        (BodyKind.TEXT, TEXT, False, "t\u00fc\U0001f600".encode(), None),
        (BodyKind.TEXT, zlib.compress(TEXT), True, "t\u00fc\U0001f600".encode(), None),
        (BodyKind.TEXT, b"\0\0\0\3a\xc0\x80", False, b"a\0", "2"),
        (BodyKind.TEXT, LONE, False, b"?", None),
        (BodyKind.TEXT, None, False, b"", None),
        (BodyKind.BYTES, b"a\0b", False, b"a\0b", "3"),
        (BodyKind.BYTES, b"\0\0\0\3" + zlib.compress(b"a\0b"), True, b"a\0b", "3"),
        (BodyKind.BYTES, None, False, b"", "0"),
        (BodyKind.NONE, None, False, b"", None),
        (BodyKind.MAP, encode_map({"a": 1}), False, b'{"a":1}', None),
        (BodyKind.STREAM, encode_stream([1, "a"]), False, b'[1,"a"]', None),
        (BodyKind.OBJECT, b"x", False, b"x", "1"),
    ],
)
def test_another_protocols_bodies(
    kind: BodyKind, body: bytes | None, compressed: bool, shown: bytes, length: str | None
) -> None:
    """Text is UTF-8, bytes and objects have a length, maps and streams are JSON."""
    headers, seen = written(body_kind=kind, body=body, compressed=compressed)
    assert (seen, headers.get("content-length")) == (shown, length)


def test_a_damaged_body_of_another_protocol() -> None:
    """The message arrives with the bytes that it has."""
    _, body = written(body_kind=BodyKind.TEXT, body=b"no zlib", compressed=True)
    assert body == b"no zlib"


def test_first_of_another_protocols_group() -> None:
    """The mark does not depend on the protocol that it came by."""
    assert "JMSXGroupFirstForConsumer" not in written(group_id="g")[0]
    assert written(group_id="g", group_first=True)[0]["JMSXGroupFirstForConsumer"] == "true"


def test_adapted_to_1_0() -> None:
    """1.0 has no escapes."""
    wire = lines({"a:b": "c:d\ne"}).encode() + b"\n\\c"
    assert adapted(wire, Version.V1_0, str) == b"a:b:c:d e\n\n\\c"


@pytest.mark.parametrize(
    "name", ["/queue/a?x=y", " /queue/a ", "/queue/queue://a", "a", "a?x=y", "queue://a"]
)
def test_names_that_mean_a_queue(name: str) -> None:
    """Spaces and options do not count."""
    assert destination_of(name) == QUEUE


@pytest.mark.parametrize("name", ["", " ", "/queue/", "/queue/ ?x", "/queue/x://a", "x://a"])
def test_names_that_mean_nothing(name: str) -> None:
    """They are refused."""
    with pytest.raises(ClientError):
        destination_of(name)


def test_wire_format() -> None:
    """Its name stands in journals: it does not change."""
    assert WIRE_FORMAT == "stomp12"
