"""The connector `auto`: the first bytes tell the protocol, whatever pieces they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wrapped import EchoServer, context

from broker.auto import FIRST_BYTES_MAX, AutoServer, recognise
from broker.openwire.wireformat import WireFormat, WireFormatOptions


def openwire() -> bytes:
    """What our own client and Apache's say first."""
    return WireFormat(WireFormatOptions(), now_s=0.0).data_to_send()


FIRST = {
    "openwire": openwire(),
    "stomp": b"CONNECT\naccept-version:1.2\n\n\0",
    "stomp ": b"STOMP\r\nhost:h\r\n\r\n\0",
    "mqtt": b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
    "mqtt ": b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00",
    "mqtt  ": b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05",
    "amqp": b"AMQP\x03\x01\x00\x00",
    "ws": b"GET /ws HTTP/1.1\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01",
}
"""Provenance: the specifications' first frames; OpenWire from this program's encoder, which is compared with
Apache's elsewhere."""

GARBAGE = (
    b"\xff",
    b"HELO",
    b"POST / HTTP/1.1",
    b"CONNECTED\n",
    b"AMQX",
    b"\x10\x80\x80\x80\x80\x01",
    b"\x10\x04\x00\x04HTTP",
    b"\x16\x02",
    b"\x00\x00\x00\x10\x02ActiveMQ",
    b"\x00\x00\x00\x10\x01ActiveMX",
    b"\x01\x00\x00\x10\x01ActiveMQ",
)


@pytest.mark.parametrize("name", FIRST)
def test_each_protocol_is_recognised(name: str) -> None:
    """By its first bytes, and by no fewer than tell it from the others."""
    first = FIRST[name]
    assert recognise(first[:FIRST_BYTES_MAX]) == name.strip()
    verdicts = [recognise(first[:length]) for length in range(min(len(first), FIRST_BYTES_MAX) + 1)]
    decided = verdicts.index(name.strip())
    assert verdicts[:decided] == [""] * decided
    assert set(verdicts[decided:]) == {name.strip()}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_none_is_known_to_be_none(garbage: bytes) -> None:
    """As soon as no protocol can begin so."""
    assert recognise(garbage) is None


@given(st.binary(min_size=FIRST_BYTES_MAX, max_size=FIRST_BYTES_MAX))
def test_enough_bytes_always_decide(first: bytes) -> None:
    """Nobody can be kept waiting for more."""
    assert recognise(first) != ""


@given(st.sampled_from(sorted(FIRST)), st.lists(st.integers(0, 60), max_size=5))
def test_any_split_gives_the_same(name: str, cuts: list[int]) -> None:
    """The protocol's server hears every byte, the first ones included."""
    made: list[EchoServer] = []

    def make(*arguments: object) -> EchoServer:
        made.append(EchoServer(*arguments))
        return made[-1]

    data = FIRST[name] + b"and more"
    server = AutoServer({name.strip(): make}, context(), "tcp://h:1", 0.0, lambda: None)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    for start, end in zip([0, *ends], ends, strict=False):
        if start < end:
            server.receive_data(data[start:end], 1.0)
    assert [each.heard for each in made] == [data]
    assert server.data_to_send() == b"hello " + data.upper()
    assert not server.closing


def test_nothing_is_said_before_the_protocol_is_known() -> None:
    """A greeting could be the wrong one."""
    server = AutoServer({"amqp": EchoServer}, context(), "tcp://h:1", 0.0, lambda: None)
    server.receive_data(b"AM", 0.0)
    assert (server.data_to_send(), server.connection, server.held_batch) == (b"", None, 0)
    assert not server.reading_paused
    server.durable(1)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"hello there, my friend", "no protocol begins so; the first bytes are b'hello there, my '"),
        (b"AMQP\x00\x01\x00\x00", "amqp is not spoken here"),
        (b"\x16\x03\x01\x00", "tls is not spoken here"),
    ],
)
def test_garbage_is_refused_with_a_reason(first: bytes, reason: str) -> None:
    """One line of the log says what came; what follows is not looked at."""
    server = AutoServer({"stomp": EchoServer}, context(), "tcp://h:1", 0.0, lambda: None)
    server.receive_data(first, 0.0)
    server.receive_data(b"CONNECT\n", 0.0)
    assert server.closing
    assert reason in server.close_reason
    assert server.inner is None


def test_who_says_nothing_is_given_up() -> None:
    """After `protocolDetectionTimeOut`; later the protocol's own deadline counts."""
    server = AutoServer({"stomp": EchoServer}, context(detection_ms=2000), "tcp://h:1", 10.0, lambda: None)
    assert server.deadline_s == 12.0
    server.receive_data(b"STO", 11.0)
    server.handle_deadline(12.0)
    assert server.closing
    assert server.close_reason == "no protocol recognised within 2000 ms"
    other = AutoServer({"stomp": EchoServer}, context(), "tcp://h:1", 10.0, lambda: None)
    other.receive_data(b"STOMP\n", 11.0)
    assert other.deadline_s == 42.0
    other.handle_deadline(42.0)
    assert isinstance(other.inner, EchoServer)
    assert other.inner.deadlines == [42.0]
