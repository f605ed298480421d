"""Messages on their way from AMQP to the broker's own form, and back."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from proton import Described, Message, byte, int32, symbol, timestamp, ubyte, uint, ulong
from support.region import Peer, new_region

from broker.amqp.ids import id_text, id_value
from broker.amqp.inbound import is_textual, take
from broker.amqp.outbound import outgoing
from broker.amqp.rewriting import rewrite  # noqa: F401 - enters itself
from broker.conversion import text_body
from broker.destination import Destination
from broker.errors import CodecError
from broker.message import (
    WIRE_READERS,
    BodyKind,
    decode_message,
    encode_message,
    readdressed,
    rewritten,
)
from broker.message import Message as Neutral
from broker.primitive_map import Byte, Long, Short, decode_map, decode_stream, encode_map, encode_stream

QUEUE = Destination.queue("q")
NOW_MS = 1_000_000


def taken(message: Message | bytes, destination: Destination | None = QUEUE) -> Neutral:
    """The broker's form of a message that has come."""
    content = message if isinstance(message, bytes) else bytes(message.encode())
    return take(content, destination, NOW_MS, lambda: "made-up:1")


def sent(message: Neutral, counter: int = 0) -> Message:
    """What a client gets."""
    content, at = outgoing(message, counter, NOW_MS)
    got = Message()
    got.decode(content[at:])
    return got


def properties(message: Neutral) -> dict[str, Any]:
    """The properties that others see."""
    return dict(decode_map(message.properties) or {}) if message.properties else {}


FULL = Message(
    "body",
    durable=True,
    priority=7,
    id="m1",
    user_id=b"alice",
    address="queue://q",
    subject="kind",
    reply_to="topic://answers",
    correlation_id=UUID(int=5),
    content_type=symbol("text/plain"),
    creation_time=3.0,
    group_id="g",
    group_sequence=3,
    reply_to_group_id="rg",
    properties={"text": "x", "number": 5, "small": byte(1), "wide": ulong(7), "yes": True, "half": 0.5},
    annotations={symbol("x-opt-own"): "note"},
)


def test_a_queue_takes_a_message_without_reading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sections are read when somebody asks for what is in them, not to store and to send it."""

    def read(wire: bytes) -> Neutral:
        raise AssertionError(wire)

    message = taken(Message("body", durable=True, id="m1", properties={"text": "x"}))
    monkeypatch.setitem(WIRE_READERS, message.wire_format, read)
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=QUEUE)
    assert peer.connection.send(message)
    region.durable(region.last_batch)
    monkeypatch.setattr(peer.client, "dispatch", lambda *_: None)
    region.dispatch()
    assert peer.connection.consumers["k"].dispatched


def test_every_field_has_its_place() -> None:
    """As the AMQP JMS mapping says."""
    message = taken(FULL)
    assert message.message_id == "m1"
    assert message.persistent
    assert message.priority == 7
    assert message.user_id == "alice"
    assert message.type == "kind"
    assert message.reply_to == Destination.topic("answers")
    assert message.correlation_id == f"AMQP_UUID:{UUID(int=5)}"
    assert message.timestamp == 3_000
    assert (message.group_id, message.group_sequence) == ("g", 3)
    assert (message.body_kind, message.body) == (BodyKind.TEXT, text_body("body"))
    assert properties(message) == {
        "text": "x",
        "number": 5,
        "small": 1,
        "wide": 7,
        "yes": True,
        "half": 0.5,
        "JMS_AMQP_HEADER": True,
        "JMS_AMQP_PROPERTIES": True,
        "JMS_AMQP_ContentType": "text/plain",
        "JMS_AMQP_ReplyToGroupID": "rg",
        "JMS_AMQP_MA_x-opt-own": "note",
        "JMS_AMQP_ORIGINAL_ENCODING": 5,
    }
    assert isinstance(properties(message)["small"], Byte)


def test_it_goes_out_as_it_came() -> None:
    """Byte for byte."""
    content, at = outgoing(taken(FULL), 0, NOW_MS)
    assert content[at:] == bytes(FULL.encode())


def test_the_journal_keeps_it() -> None:
    """What is read back is what was written, group or none."""
    for message in (taken(FULL), taken(Message("x", id="m2"))):
        back = decode_message(encode_message(message))
        assert back == message
        assert back.message_id == message.message_id
        assert outgoing(back, 0, NOW_MS)[0] == message.wire


def test_a_redelivery_is_counted_in_the_header() -> None:
    """The rest stays as it is."""
    got = sent(taken(FULL), 2)
    assert got.delivery_count == 2
    assert (got.body, got.priority, got.durable, got.annotations) == ("body", 7, True, FULL.annotations)
    assert sent(taken(Message("x")), 1).delivery_count == 1


def test_a_time_to_live() -> None:
    """It becomes an expiration, and what is left of it goes out."""
    message = taken(Message("x", ttl=5.0))
    assert message.expiration == NOW_MS + 5_000
    assert sent(message).ttl == 5.0
    content, at = outgoing(message, 0, NOW_MS + 4_000)
    got = Message()
    got.decode(content[at:])
    assert got.ttl == 1.0


def test_an_absolute_expiry_goes_before_it() -> None:
    """It is what the message itself says."""
    message = taken(Message("x", ttl=5.0, expiry_time=2_000.0))
    assert message.expiration == 2_000_000


def test_delivery_annotations_are_a_hop_s_own() -> None:
    """They are not passed on."""
    message = Message("x", instructions={symbol("x-opt-hop"): 1})
    got = sent(taken(message))
    assert not got.instructions
    assert got.body == "x"


def test_a_message_without_id_gets_one() -> None:
    """For clients of other protocols."""
    assert taken(Message("x")).message_id == "made-up:1"
    assert decode_message(encode_message(taken(Message("x")))).message_id == "made-up:1"


@pytest.mark.parametrize(
    ("body", "kind", "content"),
    [
        ("text", BodyKind.TEXT, text_body("text")),
        (b"bytes", BodyKind.BYTES, b"bytes"),
        (None, BodyKind.BYTES, None),
        ({"a": 1, "b": b"x"}, BodyKind.MAP, encode_map({"a": Long(1), "b": b"x"})),
        ([1, "two", 3.5], BodyKind.STREAM, encode_stream([Long(1), "two", 3.5])),
    ],
)
def test_bodies(body: Any, kind: BodyKind, content: bytes | None) -> None:
    """What JMS has a body for."""
    message = taken(Message(body))
    assert message.body_kind is kind
    assert message.body == content


def test_null_is_text_without_text() -> None:
    """Unless the message says that it is none."""
    assert taken(b"\0\x53\x77\x40").body_kind is BodyKind.TEXT
    plain = b"\0\x53\x72\xc1\x17\x02\xa3\x12x-opt-jms-msg-type\x51\x00\0\x53\x77\x40"
    assert taken(plain).body_kind is BodyKind.NONE


def test_inferred_bodies() -> None:
    """Sections of data and sequences."""
    message = taken(Message(b"data", inferred=True))
    assert (message.body_kind, message.body) == (BodyKind.BYTES, b"data")
    message = taken(Message([int32(1), "two"], inferred=True))
    assert message.body_kind is BodyKind.STREAM
    assert decode_stream(message.body or b"") == [1, "two"]
    text = taken(Message(b"{}", inferred=True, content_type=symbol("application/json")))
    assert (text.body_kind, text.body) == (BodyKind.TEXT, text_body("{}"))


def test_a_body_that_jms_has_none_like() -> None:
    """Others get the whole message, and an AMQP client that gets it from them what it was."""
    original = Message(Described(symbol("own"), [uint(1)]), id="m1")
    message = taken(original)
    assert message.body_kind is BodyKind.BYTES
    assert properties(message)["JMS_AMQP_NATIVE"] is True
    assert message.body == bytes(original.encode())
    again = sent(replace(message, wire=None, wire_format="", native=None))
    assert again.body == original.body


def test_schedules() -> None:
    """Annotations become the properties that the broker goes by."""
    message = taken(Message("x", annotations={symbol("x-opt-delivery-delay"): 500}))
    assert properties(message)["AMQ_SCHEDULED_DELAY"] == 500
    message = taken(Message("x", annotations={symbol("x-opt-delivery-time"): timestamp(NOW_MS + 700)}))
    assert properties(message)["AMQ_SCHEDULED_DELAY"] == 700
    assert properties(decode_message(encode_message(message)))["AMQ_SCHEDULED_DELAY"] == 700


def neutral(**fields: Any) -> Neutral:
    """A message of another protocol's."""
    given: dict[str, Any] = {"message_id": "ID:host-1:1:1:1", "destination": QUEUE}
    return Neutral(**{**given, **fields})


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (BodyKind.TEXT, text_body("täxt\U0001f600"), "täxt\U0001f600"),
        (BodyKind.TEXT, None, None),
        (BodyKind.BYTES, b"raw", b"raw"),
        (BodyKind.MAP, encode_map({"a": 1, "l": Long(2)}), {"a": 1, "l": 2}),
        (BodyKind.STREAM, encode_stream(["a", Short(1)]), ["a", 1]),
        (BodyKind.OBJECT, b"\xac\xed", b"\xac\xed"),
        (BodyKind.NONE, None, None),
    ],
)
def test_bodies_of_others(kind: BodyKind, body: bytes | None, expected: Any) -> None:
    """As AMQP has them."""
    got = sent(neutral(body_kind=kind, body=body))
    assert got.body == expected
    if kind is BodyKind.OBJECT:
        assert got.content_type == "application/x-java-serialized-object"


@pytest.mark.parametrize("kind", [BodyKind.TEXT, BodyKind.BYTES])
def test_compressed_bodies(kind: BodyKind) -> None:
    """They are inflated, as AMQP has no word for it."""
    plain = text_body("long") if kind is BodyKind.TEXT else b"long"
    packed = zlib.compress(plain)
    if kind is BodyKind.BYTES:
        packed = len(plain).to_bytes(4, "big") + packed
    got = sent(neutral(body_kind=kind, body=packed, compressed=True))
    assert got.body == ("long" if kind is BodyKind.TEXT else b"long")


def test_a_damaged_body_cannot_be_written() -> None:
    """It says so."""
    for message in (
        neutral(body_kind=BodyKind.TEXT, body=b"\0"),
        neutral(body_kind=BodyKind.BYTES, body=b"\0\0\0\1x", compressed=True),
        neutral(body_kind=BodyKind.STREAM, body=b"\xff"),
    ):
        with pytest.raises(CodecError):
            outgoing(message, 0, NOW_MS)


def test_headers_of_others() -> None:
    """Every one has its field."""
    got = sent(
        neutral(
            persistent=True,
            priority=9,
            expiration=NOW_MS + 1_000,
            timestamp=5_000,
            correlation_id="c",
            reply_to=Destination.topic("answers"),
            type="kind",
            group_id="g",
            group_sequence=2,
            user_id="bob",
            properties=encode_map({"a": Long(1), "JMS_AMQP_FT_f": "x", "JMS_AMQP_MA_own": "y"}),
        ),
        counter=1,
    )
    assert got.id == "ID:host-1:1:1:1"
    assert got.address == "queue://q"
    assert got.reply_to == "topic://answers"
    assert (got.durable, got.priority, got.ttl, got.delivery_count) == (True, 9, 1.0, 1)
    assert (got.subject, got.correlation_id, got.user_id) == ("kind", "c", b"bob")
    assert (got.creation_time, got.expiry_time) == (5.0, (NOW_MS + 1_000) / 1_000)
    assert (got.group_id, got.group_sequence) == ("g", 2)
    assert got.properties == {"a": 1}
    annotations = {str(key): value for key, value in got.annotations.items()}
    assert annotations == {"own": "y", "x-opt-jms-msg-type": 0, "x-opt-jms-dest": 0, "x-opt-jms-reply-to": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (UUID(int=1), f"AMQP_UUID:{UUID(int=1)}"),
        (7, "AMQP_ULONG:7"),
        (b"\1\xff", "AMQP_BINARY:01FF"),
        ("AMQP_UUID:x", "AMQP_STRING:AMQP_UUID:x"),
    ],
)
def test_ids(value: Any, text: str) -> None:
    """Text tells the type."""
    assert id_text(value) == text
    assert id_value(text) == value


def test_ids_that_are_none() -> None:
    """They stay text."""
    for text in ("AMQP_UUID:x", "AMQP_ULONG:-1", "AMQP_ULONG:x", "AMQP_BINARY:0"):
        assert id_value(text) == text
    assert id_text(None) is None


@pytest.mark.parametrize(
    ("content_type", "textual"),
    [
        ("text/plain", True),
        ("text/html; charset=utf-8", True),
        ("text/plain;charset=iso-8859-1", False),
        ("application/json", True),
        ("application/atom+xml", True),
        ("application/octet-stream", False),
        ("image/png", False),
        ("", False),
    ],
)
def test_content_types(content_type: str, textual: bool) -> None:
    """Which data is text."""
    assert is_textual(content_type) is textual


def test_a_message_that_goes_on() -> None:
    """Another destination; the annotated message stays as it is."""
    message = taken(FULL)
    moved = readdressed(message, Destination.topic("other"))
    assert moved.origin == QUEUE
    assert decode_message(encode_message(moved)) == moved
    content, at = outgoing(moved, 0, NOW_MS)
    assert content[at:] == bytes(FULL.encode())


def test_a_dead_letter_keeps_its_types() -> None:
    """Properties are added; what was there before is as it was, but for the expiry."""
    original = Message("x", durable=True, expiry_time=2_000.0, properties={"wide": ulong(7), "u": ubyte(1)})
    message = taken(original)
    added = {**(decode_map(message.properties or b"") or {}), "dlqDeliveryFailureCause": "why"}
    changed = replace(
        message, destination=Destination.queue("dead"), expiration=0, properties=encode_map(added)
    )
    dead = rewritten(changed, message.destination)
    assert dead.wire is not None
    back = decode_message(encode_message(dead))
    assert (back.destination, back.origin, back.expiration) == (Destination.queue("dead"), QUEUE, 0)
    assert properties(back) == added
    got = sent(back)
    assert got.body == "x"
    assert got.expiry_time == 0
    assert got.properties == {"wide": 7, "u": 1, "dlqDeliveryFailureCause": "why"}
    assert type(got.properties["wide"]) is ulong
    assert type(got.properties["u"]) is ubyte


def test_a_scheduled_message_that_is_due() -> None:
    """Its schedule is taken off, so that nobody schedules it again."""
    message = taken(Message("x", annotations={symbol("x-opt-delivery-delay"): 500, symbol("own"): 1}))
    left = {key: value for key, value in properties(message).items() if not key.startswith("AMQ_")}
    due = rewritten(replace(message, properties=encode_map({**left, "scheduledJobId": "j"})))
    got = sent(due)
    assert {str(key): value for key, value in got.annotations.items()} == {"own": 1}
    back = properties(decode_message(encode_message(due)))
    assert "AMQ_SCHEDULED_DELAY" not in back
    assert back["scheduledJobId"] == "j"


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"\0\x53\x99\x45",
        b"\0\x53\x77\x40\0\x53\x70\x45",
        b"\0\x53\x75\xa0\x01x\0\x53\x77\x40",
        b"\0\x53\x70\xc1\x01\x00",
        b"\0\x53\x74\x45",
        b"\0\x53\x77\xb0\xff\xff\xff\xff",
        b"\0\x53\x70\xc0\x04\x01\xa1\x01x",
    ],
)
def test_damaged_messages(content: bytes) -> None:
    """They are refused as they come."""
    with pytest.raises(CodecError):
        taken(content)


def test_a_damaged_body_is_left_to_the_reader() -> None:
    """Nobody reads bodies on their way; whoever does gets them whole."""
    content = b"\0\x53\x77\xa1\x02\xff\xff"
    message = taken(content)
    assert message.body_kind is BodyKind.BYTES
    assert message.body == content
