"""What holds for the servers of all protocols, whatever bytes come, and however they are cut."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import amqp_frames
from support.served import Served
from support.valid_streams import STREAMS, TOKENS, Stream

from broker.connectors import CONNECTORS

ALL = {
    f"{protocol}, {stream.name}": (protocol, stream)
    for protocol, make in STREAMS.items()
    for stream in make()
}

EDITS = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 12) | st.integers(0, 500), st.binary(max_size=12)),
    min_size=1,
    max_size=6,
)
"""Where, how much goes, what comes."""


@functools.cache
def whole(name: str) -> bytes:
    """What a stream is answered with that comes in one piece."""
    protocol, stream = ALL[name]
    return Served(protocol, stream.properties).answers(stream.data)


def test_every_connector_has_streams() -> None:
    """No kind of connector is left out; TLS says the same, encrypted."""
    assert STREAMS.keys() == CONNECTORS.keys()
    assert TOKENS.keys() == STREAMS.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_stream_is_understood(name: str) -> None:
    """What honest clients say does not end in a fault, so that splitting and changing it means something."""
    protocol, stream = ALL[name]
    served = Served(protocol, stream.properties)
    served.connect()
    served.feed(stream.data)
    served.settle()
    assert served.server.close_reason == ""
    assert served.region.targets


@pytest.mark.parametrize("name", ALL)
def test_byte_by_byte_is_the_same(name: str) -> None:
    """A client that sends single bytes is told the same as one that sends all at once."""
    protocol, stream = ALL[name]
    served = Served(protocol, stream.properties)
    assert served.answers(stream.data, range(1, len(stream.data))) == whole(name)


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_any_split_is_the_same(name: str, data: st.DataObject) -> None:
    """However a stream is cut, the client is told the same."""
    protocol, stream = ALL[name]
    cuts = data.draw(st.lists(st.integers(1, len(stream.data) - 1), max_size=8))
    assert Served(protocol, stream.properties).answers(stream.data, cuts) == whole(name)


@pytest.mark.parametrize("name", ALL)
@given(edits=EDITS, in_head=st.booleans(), cut=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_nothing_escapes(name: str, edits: list[tuple[int, int, bytes]], in_head: bool, cut: int) -> None:
    """Whatever is changed in a stream, the server answers or closes; nobody else notices."""
    protocol, stream = ALL[name]
    served = Served(protocol, stream.properties)
    data = edited(stream, edits, in_head=in_head)
    served.connect()
    served.feed(data, [cut % (len(data) + 1)])
    served.settle()
    served.pass_time(1.0)
    served.hang_up()
    assert not served.region.connections
    assert len(served.said) < 1 << 20
    assert served.answers(stream.data)


def edited(stream: Stream, edits: list[tuple[int, int, bytes]], *, in_head: bool) -> bytes:
    """A stream with changes behind its login, or anywhere."""
    data = bytearray(stream.data if in_head else stream.tail)
    for where, gone, come in edits:
        at = where % (len(data) + 1)
        data[at : at + gone] = come
    return bytes(data) if in_head else stream.head + bytes(data)


def test_an_amqp_connection_is_opened_once() -> None:
    """A second `open` ends the connection, and the region is left with nothing of the first."""
    served = Served("amqp")
    again = amqp_frames.frame(amqp_frames.OPEN, "c2", "host")
    said = served.answers(amqp_frames.plain_login() + amqp_frames.opened() + again)
    assert b"amqp:illegal-state" in said
    assert not served.region.connections


def test_connections_of_all_protocols_have_different_names() -> None:
    """The region takes the same name for the same client that has come back, and ends the older one."""
    names: list[str] = []
    for protocol in ("amqp", "mqtt", "stomp"):
        stream = STREAMS[protocol]()[0]
        served = Served(protocol, counting_on=bool(names))
        served.connect()
        served.feed(stream.head)
        served.settle()
        assert served.server.connection is not None
        names.append(served.server.connection.connection_id)
    assert len(set(names)) == 3
