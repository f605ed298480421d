"""Destinations and messages between OpenWire and the broker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker import modified_utf8
from broker.destination import Destination
from broker.message import BodyKind, Message, first_of_group
from broker.openwire import translation
from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQQueue,
    ActiveMQTempQueue,
    ActiveMQTempTopic,
    ActiveMQTextMessage,
    ActiveMQTopic,
    BrokerId,
    ConnectionId,
    KeepAliveInfo,
    LocalTransactionId,
    MessageId,
    ProducerId,
    XATransactionId,
)
from broker.openwire.errors import CodecError
from broker.openwire.translation import WIRE_FORMAT, dispatch_frame, from_message, sequence_position

PRODUCER = ProducerId("c", 1, 2)
MESSAGE = ActiveMQTextMessage(
    producer_id=PRODUCER,
    destination=ActiveMQQueue("q"),
    message_id=MessageId(None, PRODUCER, 5, 0x0102030405060708),
)


@pytest.mark.parametrize(
    "given", [ActiveMQQueue("a"), ActiveMQTopic("a"), ActiveMQTempQueue("a"), ActiveMQTempTopic("a")], ids=str
)
def test_destinations_come_back(given: ActiveMQQueue) -> None:
    """Each kind of destination is itself after both translations."""
    assert translation.from_destination(translation.to_destination(given)) == given


@pytest.mark.parametrize(
    ("name", "message_id"),
    [
        ("ID:h-1-2-3:1:4:5:6", MessageId(None, ProducerId("ID:h-1-2-3:1", 5, 4), 6)),
        ("anything", MessageId("anything", ProducerId("anything", 0, 0), 0)),
        ("a:b:c:d", MessageId("a:b:c:d", ProducerId("a:b:c:d", 0, 0), 0)),
        (f"c:1:1:{2**70}", MessageId(f"c:1:1:{2**70}", ProducerId(f"c:1:1:{2**70}", 0, 0), 0)),
        ("c:1:1:" + "9" * 19, MessageId("c:1:1:" + "9" * 19, ProducerId("c:1:1:" + "9" * 19, 0, 0), 0)),
        ("ID:h:-1:1:7", MessageId(None, ProducerId("ID:h", 1, -1), 7)),
        ("c:01:1:1", MessageId("c:01:1:1", ProducerId("c:01:1:1", 0, 0), 0)),
        ("c:1_0:1:1", MessageId("c:1_0:1:1", ProducerId("c:1_0:1:1", 0, 0), 0)),
        ("c: 1:1:1", MessageId("c: 1:1:1", ProducerId("c: 1:1:1", 0, 0), 0)),
        ("c:-0:1:1", MessageId("c:-0:1:1", ProducerId("c:-0:1:1", 0, 0), 0)),
        (":1:1:1", MessageId(":1:1:1", ProducerId(":1:1:1", 0, 0), 0)),
    ],
)
def test_messages_of_other_protocols_get_an_id(name: str, message_id: MessageId) -> None:
    """An id that looks like OpenWire's is taken apart, any other travels as text; both are shown alike."""
    message = Message(name, Destination.queue("q"), body_kind=BodyKind.BYTES, body=b"x")
    command = from_message(message)
    assert command.message_id == message_id
    assert translation.message_name(message_id) == name
    frame, at = dispatch_frame(message)
    assert frame[at : at + 8] == bytes(8)


@pytest.mark.parametrize("kind", list(BodyKind))
def test_every_kind_of_body_has_its_message(kind: BodyKind) -> None:
    """Whatever kind of body a message has, OpenWire has a message for it and keeps its fields."""
    message = Message(
        "c:2:1:5",
        Destination.queue("q"),
        correlation_id="é",
        reply_to=Destination.topic("t"),
        properties=b"\0\0\0\0",
        body_kind=kind,
        body=b"x",
        compressed=True,
    )
    kept = translation.to_message(from_message(message))
    assert replace(kept, wire=None, wire_format="", producer_id="", producer_sequence_id=0) == message
    assert kept.wire_format == WIRE_FORMAT


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE,
        replace(MESSAGE, producer_id=None),
        replace(MESSAGE, transaction_id=LocalTransactionId(1, ConnectionId("c"))),
        replace(MESSAGE, transaction_id=LocalTransactionId(1, None), original_destination=ActiveMQTopic("t")),
        replace(MESSAGE, message_id=replace(MESSAGE.message_id, text_view="text", producer_id=None)),
    ],
    ids=range(5),
)
def test_the_place_of_the_sequence_number_is_found(message: ActiveMQTextMessage) -> None:
    """Whatever stands before it, the broker's number is found where it is."""
    frame = Codec(size_prefix=False).encode(message)
    at = sequence_position(frame)
    assert frame[at : at + 8] == bytes(range(1, 9))


def test_no_place_is_an_error() -> None:
    """Frames without a message id, with a distributed transaction, or cut short, have no such place."""
    codec = Codec(size_prefix=False)
    for message in (
        replace(MESSAGE, message_id=None),
        replace(MESSAGE, transaction_id=XATransactionId(1, b"", b"")),
    ):
        with pytest.raises(CodecError):
            sequence_position(codec.encode(message))
    with pytest.raises(CodecError, match="is damaged"):
        sequence_position(codec.encode(MESSAGE)[:9])


def test_only_messages_are_read_as_messages() -> None:
    """A frame of another command is no message."""
    codec = Codec(size_prefix=False)
    for command in (KeepAliveInfo(), BrokerId("b")):
        with pytest.raises(CodecError, match="is no message"):
            translation.read_frame(codec.encode(command))


def test_a_text_as_id_goes_with_the_brokers_number() -> None:
    """Two messages whose clients chose one id differ for Java's client, which suppresses repeats."""
    message = Message("chosen", Destination.queue("q"))
    first, second = from_message(message, 7).message_id, from_message(message, 8).message_id
    assert first is not None
    assert second is not None
    assert (first.producer_sequence_id, second.producer_sequence_id) == (7, 8)
    assert translation.message_name(first) == translation.message_name(second) == "chosen"
    frame, at = dispatch_frame(message, 7)
    assert frame[at - 8 : at] == (7).to_bytes(8, "big")


def test_texts_that_are_too_long_are_cut() -> None:
    """A text of another protocol may be longer than a string of OpenWire; whole characters are left."""
    long = "ab" + "é🐇" * 20_000
    message = Message(
        long, Destination.queue("q"), correlation_id=long, type=long, group_id=long, user_id=long
    )
    command = from_message(message)
    assert command.message_id is not None
    texts = (
        command.message_id.text_view,
        command.correlation_id,
        command.type,
        command.group_id,
        command.user_id,
    )
    for text in texts:
        assert text is not None
        assert long.startswith(text.rstrip("\ud83d"))
        assert 32_760 < len(modified_utf8.encode(text)) <= 32_766
    for tight in (False, True):
        assert Codec(12, tight).encode(command)


def test_the_first_of_a_group_is_marked() -> None:
    """Whatever protocol it came by, OpenWire says that its consumer gets the group from now on."""
    message = Message("m", Destination.queue("q"), group_id="g")
    assert not from_message(message).jmsx_group_first_for_consumer
    assert from_message(first_of_group(message)).jmsx_group_first_for_consumer


def test_another_protocols_number_is_not_openwires() -> None:
    """The prepared form of another protocol's message says nothing about its frame here."""
    message = Message("m", Destination.queue("q"), wire_format="other", wire=b"x", native=3)
    frame, at = dispatch_frame(message)
    assert at == sequence_position(frame)
    assert message.native == 3
