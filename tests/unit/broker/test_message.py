"""Messages and destinations, and their form in the journal."""

import dataclasses
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.destination import NAME_CHARACTERS_MAX, Destination, DestinationKind
from broker.errors import InvalidDestination, MessageInvalid
from broker.message import WIRE_READERS, BodyKind, Message, decode_message, encode_message, readdressed

NAMES = st.text(st.sampled_from(string.ascii_letters + ".-_:ü$/ "), min_size=1).filter(str.strip)
DESTINATIONS = st.builds(Destination, st.sampled_from(DestinationKind), NAMES)
TEXTS = st.none() | st.text(st.characters(exclude_categories=()), max_size=50)
BYTES = st.none() | st.binary(max_size=200)
LONGS = st.integers(-(2**63), 2**63 - 1)
MESSAGES = st.builds(
    Message,
    message_id=st.text(),
    destination=DESTINATIONS,
    producer_id=st.text(),
    producer_sequence_id=LONGS,
    persistent=st.booleans(),
    priority=st.integers(0, 9),
    expiration=LONGS,
    timestamp=LONGS,
    correlation_id=TEXTS,
    reply_to=st.none() | DESTINATIONS,
    type=TEXTS,
    group_id=TEXTS,
    group_sequence=st.integers(-(2**31), 2**31 - 1),
    user_id=TEXTS,
    properties=BYTES,
    body_kind=st.sampled_from(BodyKind),
    body=BYTES,
    compressed=st.booleans(),
    wire_format=st.text().filter(lambda name: name not in WIRE_READERS),  # whose frames have a form
    wire=BYTES,
    origin=st.none() | DESTINATIONS,
)


@given(MESSAGES)
def test_what_is_encoded_comes_back(message: Message) -> None:
    """A message read back from the journal is the message that was sent, lone surrogates included."""
    assert decode_message(encode_message(message)) == message


def test_a_readable_frame_is_all_that_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal holds the frame of a protocol that can read it again, and not its parts beside it."""
    message = Message("ID:1", Destination.queue("q"), body=b"body", wire=b"head body tail", wire_format="w1")
    assert decode_message(encode_message(message)) == message
    monkeypatch.setitem(WIRE_READERS, "w1", lambda wire: dataclasses.replace(message, wire=wire))
    encoded = encode_message(message)
    assert len(encoded) == 20 + len(message.wire or b"")
    assert decode_message(encoded) == message
    assert decode_message(b"\2\2w1head body tail") == message
    with pytest.raises(MessageInvalid, match="its header says"):
        decode_message(encoded[:-1])
    with pytest.raises(MessageInvalid, match="shorter than its header"):
        decode_message(encoded[:10])
    monkeypatch.delitem(WIRE_READERS, "w1")
    with pytest.raises(MessageInvalid, match="'w1'"):
        decode_message(encoded)


@given(MESSAGES, st.data())
def test_a_shortened_body_is_refused(message: Message, data: st.DataObject) -> None:
    """A torn message is never taken for a whole one."""
    encoded = encode_message(message)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(MessageInvalid):
        decode_message(encoded[:cut])


@given(st.binary(max_size=300))
def test_rubbish_is_refused_and_raises_nothing_else(data: bytes) -> None:
    """Whatever the journal returns, reading it fails in one way only."""
    with pytest.raises(MessageInvalid):
        decode_message(data)


def test_a_newer_format_is_refused_by_its_number() -> None:
    """A body that a newer broker wrote says so."""
    encoded = encode_message(Message("ID:1", Destination.queue("q")))
    with pytest.raises(MessageInvalid, match="form 9"):
        decode_message(b"\x09" + encoded[1:])


def test_a_frame_is_read_when_somebody_asks_for_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What dispatch needs of a message that is read back stands beside its frame; the rest is read once."""
    read = []

    def reader(wire: bytes) -> Message:
        read.append(wire)
        return dataclasses.replace(message, wire=wire, native=None)

    message = Message(
        "ID:1", Destination.queue("q"), expiration=5, body=b"b", wire=b"frame", wire_format="w1", native=7
    )
    monkeypatch.setitem(WIRE_READERS, "w1", reader)
    back = decode_message(encode_message(message))
    assert (back.wire, back.wire_format, back.expiration, back.native) == (b"frame", "w1", 5, 7)
    assert back.size_bytes == message.size_bytes
    assert encode_message(back) == encode_message(message)
    assert read == []
    assert (back.message_id, back.body, back.priority, back.native) == ("ID:1", b"b", 4, 7)
    assert back == message
    assert read == [b"frame"]
    assert not hasattr(back, "no_such_thing")
    moved = dataclasses.replace(decode_message(encode_message(message)), wire=None, wire_format="")
    assert moved.body == b"b"


def test_the_prepared_form_is_not_stored() -> None:
    """`native` is a protocol's own, in memory only, unless it is a number."""
    message = Message("ID:1", Destination.queue("q"), native=object())
    assert decode_message(encode_message(message)).native is None
    assert message == dataclasses.replace(message, native=None)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("queue://a.b", DestinationKind.QUEUE, "a.b"),
        ("topic://a", DestinationKind.TOPIC, "a"),
        ("temp-queue://ID:x:1", DestinationKind.TEMP_QUEUE, "ID:x:1"),
        ("temp-topic://ID:x:1", DestinationKind.TEMP_TOPIC, "ID:x:1"),
        ("bare", DestinationKind.QUEUE, "bare"),
    ],
)
def test_destinations_are_read(text: str, kind: DestinationKind, name: str) -> None:
    """The four schemes, and a bare name for a queue."""
    destination = Destination.parse(text)
    assert (destination.kind, destination.name) == (kind, name)


@pytest.mark.parametrize(
    "text", ["", "queue://", "queue://  ", "foo://x", "x" * (NAME_CHARACTERS_MAX + 1), "\ud800"]
)
def test_impossible_destinations_are_refused(text: str) -> None:
    """No name, an unknown scheme, or too long a name."""
    with pytest.raises(InvalidDestination):
        Destination.parse(text)


@given(DESTINATIONS)
def test_a_destination_is_its_text(destination: Destination) -> None:
    """Text and destination name the same place, and equal destinations are one key."""
    again = Destination.parse(str(destination))
    assert again == destination
    assert hash(again) == hash(destination)


def test_composites_and_patterns_are_told_from_names() -> None:
    """A comma lists destinations; `*` and `>` are wildcards only as whole elements."""
    assert Destination.queue("a,b").is_composite
    assert Destination.queue("a.*.b").is_pattern
    assert Destination.queue("a.>").is_pattern
    assert not Destination.queue("a*.b>").is_pattern


@given(MESSAGES, st.none() | st.integers(0, 2**63 - 1))
def test_readdressed_messages_keep_all_but_their_place(message: Message, expiration: int | None) -> None:
    """It knows where it was, the rest stays as it was; a frame that nobody can readdress goes."""
    moved = readdressed(message, Destination.topic("t"), expiration=expiration)
    assert moved == dataclasses.replace(
        message,
        destination=Destination.topic("t"),
        expiration=message.expiration if expiration is None else expiration,
        wire=None,
        wire_format="",
        origin=message.destination,
    )
