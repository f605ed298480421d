"""A client's first bytes: which protocol, which header, what is refused and with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy_protocol import Address, header_v1, header_v2
from fabric.gateway.opening import OPENING_BYTES, Opened, Opening, Refused, refusal, schemes_of

ALL = frozenset({"openwire", "stomp", "mqtt", "amqp", "ws"})
FIRST = {
    "openwire": b"\0\0\0\xf0\x01ActiveMQ\0\0\0\x0c",
    "stomp": b"CONNECT\naccept-version:1.2\n\n\0",
    "mqtt": b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04me",
    "amqp": b"AMQP\x03\x01\0\0",
    "ws": b"GET /ws HTTP/1.1\r\n",
}
HELLO = b"\x16\x03\x01\x02\0\x01"
CLIENT = Address("192.0.2.1", 40_000)
HERE = Address("192.0.2.9", 61_616)


@pytest.mark.parametrize("protocol", FIRST)
def test_each_protocol_on_its_ports(protocol: str) -> None:
    """It is recognised on the port of all and on its own, and refused on the others'."""
    first = FIRST[protocol]
    assert Opening(ALL).receive_data(first) == Opened(protocol, first)
    assert Opening(frozenset({protocol})).receive_data(first) == Opened(protocol, first)
    other = Opening(ALL - {protocol}).receive_data(first)
    assert other == Refused(f"{protocol} is not spoken here")


@pytest.mark.parametrize("header", [b"", header_v1(CLIENT, HERE), header_v2(CLIENT, HERE)])
@pytest.mark.parametrize("protocol", [*FIRST, "tls"])
@given(cut=st.integers(1, 20))
def test_however_the_bytes_are_cut(header: bytes, protocol: str, cut: int) -> None:
    """The outcome is the same, and nothing of what the client sent is missing."""
    first = HELLO if protocol == "tls" else FIRST[protocol]
    data = header + first
    opening = Opening(ALL, accepts_proxy=True)
    kept = b""
    found = None
    for at in range(0, len(data), cut):
        piece = data[at : at + cut]
        if found is None:
            found = opening.receive_data(piece)
        else:
            kept += piece
    assert isinstance(found, Opened)
    assert (found.protocol, found.first + kept) == (protocol, first)
    assert opening.client == (CLIENT if header else None)


def test_garbage() -> None:
    """It is refused with the bytes that came, no more of them than one wants to read."""
    found = Opening(ALL).receive_data(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")
    assert found == Refused("no protocol begins so; the first bytes are b'SSH-2.0-OpenSSH_'")


def test_a_header_is_only_read_where_one_may_come() -> None:
    """Elsewhere it is garbage: nobody can forge one through a gateway."""
    data = header_v1(CLIENT, HERE) + FIRST["stomp"]
    assert isinstance(Opening(ALL).receive_data(data), Refused)
    opening = Opening(ALL, accepts_proxy=True)
    assert opening.receive_data(data + data) == Opened("stomp", FIRST["stomp"] + data)
    assert isinstance(
        Opening(ALL, accepts_proxy=True).receive_data(header_v1(CLIENT, HERE) * 2 + data), Refused
    )


def test_a_header_that_is_required() -> None:
    """Without it, and with one that says nothing one understands, nobody comes in."""
    for data in (FIRST["stomp"], b"PROXY TCP4 x\r\n"):
        opening = Opening(ALL, accepts_proxy=True, requires_proxy=True)
        assert isinstance(opening.receive_data(data), Refused)
    opening = Opening(ALL, accepts_proxy=True, requires_proxy=True)
    assert opening.receive_data(header_v2(CLIENT, HERE)) is None
    assert opening.receive_data(FIRST["amqp"]) == Opened("amqp", FIRST["amqp"])


def test_tls() -> None:
    """It may be required, and comes once."""
    assert Opening(ALL, plain=False).receive_data(HELLO) == Opened("tls", HELLO)
    assert Opening(ALL, plain=False).receive_data(FIRST["mqtt"]) == Refused(
        "mqtt without TLS, which is required here"
    )
    assert Opening(ALL, tls=False).receive_data(HELLO) == Refused("TLS within TLS")


@given(st.binary(min_size=1, max_size=100))
def test_whatever_comes(data: bytes) -> None:
    """There is an outcome, or the bytes can still become something."""
    found = Opening(ALL, accepts_proxy=True).receive_data(data)
    assert found is None or isinstance(found, Opened | Refused)
    assert found is not None or len(data) < OPENING_BYTES


def test_where_a_client_can_be_led() -> None:
    """By its protocol; TLS on the port of all only where the broker finds out itself."""
    assert schemes_of("stomp", ALL) == ("stomp", "stomp+nio", "auto")
    assert schemes_of("tls", frozenset({"stomp"}))[0] == "stomp+ssl"
    assert schemes_of("tls", ALL) == ("auto+ssl", "auto")


def test_last_words() -> None:
    """STOMP and MQTT have words for it; the version of MQTT decides which."""
    assert refusal("stomp", b"", "later").startswith(b"ERROR\n")
    assert refusal("stomp", b"", "later").endswith(b"\0\n")
    assert refusal("mqtt", FIRST["mqtt"], "later") == b"\x20\x02\0\x03"
    assert refusal("mqtt", b"\x10\x12\0\x06MQIsdp\x03\x02\0\x3c\0\x02me", "later") == b"\x20\x02\0\x03"
    assert refusal("mqtt", b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\0\0\x04me", "later") == b"\x20\x03\0\x88\0"
    assert refusal("mqtt", b"\x10\x10\0\x04MQTT", "later") == b""
    assert refusal("amqp", FIRST["amqp"], "later") == b""
