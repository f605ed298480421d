"""The client that costs nothing says what Apache's says, and believes nothing but real answers."""

import pytest
from perf.lean_client import AnswerReader, AnswerUnexpected, MessageFrame

from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQBytesMessage,
    ActiveMQQueue,
    ConsumerId,
    ExceptionResponse,
    KeepAliveInfo,
    MessageDispatch,
    ProducerId,
    Response,
)
from broker.openwire.message_reader import read_message

PRODUCER = ProducerId("ID:bench", 1, 1)


def answer(command_id: int) -> bytes:
    """The broker's answer to a command."""
    return Codec(12).encode(Response(correlation_id=command_id))


def test_frames_are_filled_in() -> None:
    """Each frame is a whole message with its own id, sequence and time."""
    frame = MessageFrame("bench.sync", PRODUCER, b"body")
    for number in (1, 7, 70_000):
        data = frame.filled(number + 1, number, number + 2)
        command = Codec(12).decode(data[4:])
        assert isinstance(command, ActiveMQBytesMessage)
        assert command.message_id is not None
        assert (command.command_id, command.response_required) == (number + 1, True)
        assert (command.message_id.producer_sequence_id, command.timestamp) == (number, number + 2)
        assert (command.destination, command.content) == (ActiveMQQueue("bench.sync"), b"body")


def test_frames_take_the_broker_s_fast_way() -> None:
    """They are read as frames of ordinary clients are, not by the codec."""
    received = read_message(MessageFrame("bench.sync", PRODUCER, b"body").filled(1, 2, 3)[4:])
    assert received is not None
    assert (received.message.message_id, received.message.persistent) == ("ID:bench:1:1:2", True)


def test_answers_are_counted_however_they_are_cut() -> None:
    """Bytes may come in any pieces; a keep-alive is no answer."""
    data = answer(1) + Codec(12).encode(KeepAliveInfo()) + answer(2) + answer(3)
    for size in range(1, len(data) + 1):
        reader = AnswerReader()
        assert sum(reader.count(data[at : at + size]) for at in range(0, len(data), size)) == 3


@pytest.mark.parametrize(
    "told", [ExceptionResponse(correlation_id=1), MessageDispatch(consumer_id=ConsumerId("c", 1, 1))]
)
def test_anything_else_ends_the_benchmark(told: Response | MessageDispatch) -> None:
    """A refused message is not counted as stored."""
    with pytest.raises(AnswerUnexpected):
        AnswerReader().count(Codec(12).encode(told))
