"""The short way from a message's frame to the broker's message, held to the long one."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.openwire_strategies import structures

from broker.destination import Destination
from broker.errors import ClientError, MessageInvalid
from broker.message import decode_message, encode_message, readdressed
from broker.openwire import memo, message_reader, schema, translation
from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQBytesMessage,
    ActiveMQQueue,
    ActiveMQTempTopic,
    ActiveMQTextMessage,
    ActiveMQTopic,
    ConnectionId,
    ConsumerId,
    LocalTransactionId,
    Message,
    MessageId,
    ProducerId,
    XATransactionId,
)
from broker.openwire.errors import CodecError
from broker.openwire.message_reader import message_of_frame, read_message

PRODUCER = ProducerId("ID:host-1-2-3:1", 2, 3)
MESSAGE = ActiveMQTextMessage(
    command_id=7,
    response_required=True,
    producer_id=PRODUCER,
    destination=ActiveMQQueue("workshop.test"),
    message_id=MessageId(None, PRODUCER, 5),
    persistent=True,
    priority=4,
    timestamp=99,
    content=b"\0\0\0\1x",
)
PLAIN = [
    MESSAGE,
    replace(MESSAGE, destination=ActiveMQTopic("é😀"), response_required=False, content=None),
    replace(MESSAGE, reply_to=ActiveMQTempTopic("ID:x:1"), correlation_id="é", type="t", user_id="u"),
    replace(MESSAGE, group_id="g", group_sequence=-1, marshalled_properties=b"", content=b""),
    replace(MESSAGE, group_sequence=3, priority=-5, expiration=-1, compressed=True),
    replace(MESSAGE, priority=99, expiration=123, arrival=5, redelivery_counter=6, droppable=True),
    replace(MESSAGE, correlation_id="", type="", user_id="", broker_in_time=1, broker_out_time=2),
]
TRANSACTED = replace(MESSAGE, transaction_id=LocalTransactionId(9, ConnectionId("ID:host-1-2-3:1")))
RARE = [
    replace(MESSAGE, producer_id=None),
    replace(MESSAGE, destination=None),
    replace(MESSAGE, destination=ActiveMQQueue(None)),
    replace(MESSAGE, destination=ActiveMQQueue(" ")),
    replace(MESSAGE, transaction_id=XATransactionId(1, b"g", b"b")),
    replace(MESSAGE, original_transaction_id=LocalTransactionId(1, ConnectionId("c"))),
    replace(MESSAGE, original_destination=ActiveMQQueue("q")),
    replace(MESSAGE, message_id=None),
    replace(MESSAGE, message_id=MessageId("text", PRODUCER, 5)),
    replace(MESSAGE, message_id=MessageId(None, None, 5)),
    replace(MESSAGE, message_id=MessageId(None, ProducerId("other", 2, 3), 5)),
    replace(MESSAGE, reply_to=ActiveMQQueue(None)),
    replace(MESSAGE, data_structure=ConnectionId("c")),
    replace(MESSAGE, target_consumer_id=ConsumerId("c", 1, 1)),
    replace(MESSAGE, broker_path=()),
    replace(MESSAGE, cluster=()),
    replace(MESSAGE, transaction_id=LocalTransactionId(1, None)),
    replace(MESSAGE, transaction_id=LocalTransactionId(1, ConnectionId(None))),
]


def written(message: Message) -> bytes:
    """The frame that is kept."""
    return Codec(size_prefix=False).encode(message)


@pytest.mark.parametrize("message", PLAIN, ids=range(len(PLAIN)))
def test_plain_messages_are_read_as_the_codec_reads_them(message: Message) -> None:
    """Both ways give equal messages, and know what the sender wants to hear; also from memory."""
    for _ in range(2):
        frame = written(message)
        received = read_message(frame)
        assert received is not None
        assert received.message == translation.to_message(translation.read_frame(frame), frame)
        assert (received.command_id, received.response_required) == (7, message.response_required)
        assert received.message.native == translation.sequence_position(frame)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("q", "r")),
            st.sampled_from((None, 1, 2)),
            st.sampled_from((0, -1, 77)),
            st.sampled_from((b"", b"body")),
            st.sampled_from((None, b"", b"properties")),
            st.sampled_from((None, "type")),
            st.sampled_from((2, 3)),
        ),
        max_size=30,
    )
)
@settings(deadline=None)
def test_what_is_like_the_message_before_is_read_as_any_other(
    sent: list[tuple[str, int | None, int, bytes, bytes | None, str | None, int]],
) -> None:
    """Producers may change the destination, the transaction and all else from message to message."""
    for number, (name, transaction, expiration, content, properties, type_, value) in enumerate(sent):
        producer = replace(PRODUCER, value=value)
        plain = replace(
            MESSAGE,
            command_id=number,
            producer_id=producer,
            message_id=MessageId(None, producer, number),
            destination=ActiveMQQueue(name),
            expiration=expiration,
            timestamp=number,
            content=content,
            marshalled_properties=properties,
            type=type_,
        )
        transaction_id = None
        if transaction is not None:
            transaction_id = LocalTransactionId(transaction, ConnectionId("c"))
        received = read_message(written(replace(plain, transaction_id=transaction_id)))
        assert received is not None
        assert (received.command_id, received.transaction_id) == (number, transaction_id)
        assert received.message.wire == written(plain)
        assert received.message.native == translation.sequence_position(written(plain))
        assert received.message == translation.to_message(plain, written(plain))


def test_what_is_like_the_message_before_is_read_when_it_is_asked_for() -> None:
    """What the region does not ask for is not looked at; unlike ones are soon not tried any more."""
    producer = ProducerId("ID:host-1-2-3:1", 2, 4)
    usual = replace(MESSAGE, producer_id=producer, message_id=MessageId(None, producer, 5))
    assert read_message(written(usual)) is not None
    received = read_message(written(usual))
    assert received is not None
    message = received.message
    with pytest.raises(AttributeError):
        object.__getattribute__(message, "message_id")
    assert (message.message_id, message.body, message.timestamp) == (
        "ID:host-1-2-3:1:4:2:5",
        b"\0\0\0\1x",
        99,
    )
    for _ in range(message_reader.MISSES_MAX + 1):
        assert read_message(written(replace(usual, type="t"))) is not None
    received = read_message(written(usual))
    assert received is not None
    assert object.__getattribute__(received.message, "message_id") == "ID:host-1-2-3:1:4:2:5"


@pytest.mark.parametrize("message", RARE, ids=range(len(RARE)))
def test_rare_messages_are_left_to_the_codec(message: Message) -> None:
    """What the short way does not know it does not guess."""
    assert read_message(written(message)) is None


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_both_ways_agree_on_any_message(data: st.DataObject) -> None:
    """Whatever a message holds, the short way gives what the codec's gives, or leaves it to it."""
    each = data.draw(st.sampled_from(schema.concrete("Message", 12)))
    message = data.draw(structures(each, 12, depth=1))
    frame = written(message)
    received = read_message(frame)
    if received is not None:
        assert received.message == translation.to_message(message, frame)


def test_a_transaction_is_taken_out_of_the_frame() -> None:
    """What is kept is the message as if it stood for itself; the transaction is told beside it."""
    for _ in range(2):
        received = read_message(written(TRANSACTED))
        assert received is not None
        assert received.transaction_id == TRANSACTED.transaction_id
        plain = read_message(written(MESSAGE))
        assert plain is not None
        assert received.message == plain.message
        assert received.message.native == plain.message.native
        assert (received.command_id, received.response_required) == (7, True)
        assert plain.transaction_id is None


@pytest.mark.parametrize("message", [*PLAIN, TRANSACTED], ids=range(len(PLAIN) + 1))
def test_damage_is_found_by_both_ways(message: Message) -> None:
    """A frame cut anywhere, or with bytes behind its end, is refused."""
    frame = written(message)
    for at in range(len(frame)):
        with pytest.raises(CodecError):
            if read_message(frame[:at]) is None:
                translation.read_frame(frame[:at])
    with pytest.raises(CodecError, match="it ends at byte"):
        read_message(frame + b"\0")


@given(at=st.integers(0, 200), byte=st.integers(0, 255), which=st.sampled_from(PLAIN))
@settings(max_examples=500, deadline=None)
def test_changed_bytes_mean_the_same_to_both_ways(at: int, byte: int, which: Message) -> None:
    """With any byte changed, the short way accepts nothing that the codec refuses, and reads the same."""
    frame = bytearray(written(which))
    frame[at % len(frame)] = byte
    changed = bytes(frame)
    received = None
    with contextlib.suppress(CodecError):
        received = read_message(changed)
    if received is not None:
        command = translation.read_frame(changed)
        with contextlib.suppress(ClientError):
            assert received.message == translation.to_message(command, changed)


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """More producers and destinations than are remembered are read all the same."""
    monkeypatch.setattr(memo, "ENTRIES_MAX", 3)
    for number in range(10):
        producer = ProducerId("c", number, 1)
        received = read_message(
            written(
                ActiveMQBytesMessage(
                    producer_id=producer,
                    destination=ActiveMQQueue(f"q{number}"),
                    message_id=MessageId(None, producer, 1),
                )
            )
        )
        assert received is not None
        assert (received.message.message_id, received.message.destination.name) == (
            f"c:1:{number}:1",
            f"q{number}",
        )
    assert len(message_reader._producers) <= 3
    long = ProducerId("c" * 600, 1, 1)
    before = len(message_reader._producers)
    message = replace(MESSAGE, producer_id=long, message_id=MessageId(None, long, 1))
    assert read_message(written(message)) is not None
    assert len(message_reader._producers) == before


def test_a_kept_frame_is_read_however_rare_it_is() -> None:
    """What was kept is read back the short way or the long one; what cannot have been kept is an error."""
    kept = written(replace(MESSAGE, data_structure=ConnectionId("c")))
    assert message_of_frame(kept).wire == kept
    assert message_of_frame(written(MESSAGE)).message_id == "ID:host-1-2-3:1:3:2:5"
    for frame in (written(replace(MESSAGE, message_id=None)), b"", b"\x0a\0\0\0\0\0"):
        with pytest.raises(MessageInvalid):
            message_of_frame(frame)


KEPT = [*PLAIN, TRANSACTED, RARE[0], *RARE[4:7], RARE[8], *RARE[10:]]


@pytest.mark.parametrize("message", KEPT, ids=range(len(KEPT)))
def test_the_journal_gives_back_the_same_message(message: Message) -> None:
    """A journal body holds the frame, and reading it gives an equal message."""
    kept = translation.to_message(message, None)
    assert decode_message(encode_message(kept)) == kept


@pytest.mark.parametrize("message", [*PLAIN, RARE[0], RARE[6]], ids=range(len(PLAIN) + 2))
@pytest.mark.parametrize("expiration", [None, 0, 77])
def test_readdressed_messages_are_what_they_were(message: Message, expiration: int | None) -> None:
    """Another destination changes nothing else, says where the message was sent to, and can be kept again."""
    kept = message_of_frame(written(message))
    target = Destination.queue("dé")
    moved = readdressed(kept, target, expiration=expiration)
    expected = replace(
        translation.read_frame(written(message)),
        destination=ActiveMQQueue("dé"),
        original_destination=translation.from_destination(kept.destination),
    )
    if expiration is not None:
        expected = replace(expected, expiration=expiration)
    assert moved.wire is not None
    assert translation.read_frame(moved.wire) == expected
    assert moved == message_of_frame(moved.wire)
    assert translation.dispatch_frame(moved)[0] == moved.wire
    assert readdressed(moved, kept.destination).destination == kept.destination


def test_damaged_messages_are_not_readdressed() -> None:
    """A frame that ends too early is an error of the message."""
    kept = message_of_frame(written(PLAIN[0]))
    assert kept.wire is not None
    with pytest.raises(MessageInvalid, match="readdressed"):
        readdressed(replace(kept, wire=kept.wire[:9]), Destination.queue("d"))
