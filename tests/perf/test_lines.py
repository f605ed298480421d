"""The load generator beside the sink that only answers, and the frames it makes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from perf import amqp_frames as amqp
from perf.amqp_lines import Amqp, message, transfer_head
from perf.lines import Address, LoadFailed, Maker, run_pairs
from perf.mqtt_lines import Mqtt, packet, publish
from perf.rivals import Rival, sink
from perf.stomp_lines import Stomp

SIZE = 300
MAKERS = {"stomp": Stomp(), "mqtt": Mqtt(), "amqp": Amqp()}


@pytest.fixture(scope="module")
def answering() -> Iterator[Rival]:
    """A sink."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(sink(SIZE))


@pytest.mark.parametrize(("pairs", "window"), [(1, 1), (3, 7), (2, 500)])
@pytest.mark.parametrize("protocol", MAKERS)
def test_what_is_sent_is_acknowledged_and_consumed(
    protocol: str, pairs: int, window: int, answering: Rival
) -> None:
    """Every message is counted once as acknowledged and once as consumed, wherever reading cuts the bytes."""
    make: Maker = MAKERS[protocol]
    outcome = run_pairs(
        make,
        answering.addresses[protocol],
        f"q{pairs}.{window}",
        pairs=pairs,
        window=window,
        size=SIZE,
        seconds=0.05,
    )
    assert outcome.messages >= pairs * window
    assert outcome.seconds >= 0.05


def test_a_refusal_ends_the_load() -> None:
    """Whoever is answered with something else than expected says what came."""

    def refuse(listening: socket.socket) -> None:
        connected, _ = listening.accept()
        connected.sendall(b"no")
        connected.recv(100)
        connected.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=refuse, args=(listening,))
        thread.start()
        address = Address(listening.getsockname()[1])
        with pytest.raises(LoadFailed, match="was expected; there came b'no'"):
            run_pairs(Mqtt(), address, "q", pairs=1, window=1, size=SIZE, seconds=0.01)
        thread.join()


def test_the_lengths_of_mqtt_packets() -> None:
    """The remaining length has seven bits in a byte, the lowest first."""
    assert packet(0x10, b"x" * 127)[:2] == b"\x10\x7f"
    assert packet(0x10, b"x" * 128)[:3] == b"\x10\x80\x01"
    assert publish("ab", 0x0102, b"c") == b"\x32\x07\x00\x02ab\x01\x02c"


def test_amqp_values_are_read_as_they_are_written() -> None:
    """A frame's performative has the fields that were put into it; absent ones are None."""
    frames = amqp.frame(transfer_head(7), message(b"body"))
    told = amqp.performative(frames)
    assert told is not None
    assert told.code == amqp.TRANSFER
    assert (told.number(0), told.number(1), told.field(2)) == (0, 7, b"\0\0\0\7")
    assert told.field(5) is False
    assert told.field(9) is None
    assert amqp.performative(b"\0\0\0\x08\2\0\0\0") is None


def test_amqp_frames_that_are_not_whole_are_left() -> None:
    """Only whole frames are found; the rest begins where the next one does."""
    one = amqp.frame(amqp.described(amqp.CLOSE))
    assert amqp.whole_frames(one + one[:-1]) == ([0], len(one))
    assert amqp.whole_frames(one * 2) == ([0, len(one)], 2 * len(one))
