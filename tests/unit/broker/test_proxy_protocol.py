"""The PROXY protocol: what is written is read, by Twisted's reader too, and what cannot be is refused."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.protocols.haproxy import _v1parser, _v2parser

from broker.errors import ConfigurationInvalid, ProxyHeaderInvalid
from broker.proxy_protocol import (
    V1_BYTES_MAX,
    V2_BYTES_MAX,
    Address,
    begins_header,
    header_v1,
    header_v2,
    is_within,
    read_header,
    read_networks,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

ports = st.integers(0, 65_535)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


def ends(client: object, server: object) -> tuple[Address, Address]:
    """Two ends of a connection."""
    return Address(str(client), 40_000), Address(str(server), 61_616)


@given(st.integers(4, 4) | st.just(6), st.data(), ports, st.sampled_from([header_v1, header_v2]), st.binary())
def test_what_is_written_is_read(
    version: int, data: st.DataObject, port: int, write: object, rest: bytes
) -> None:
    """Whatever the addresses and whatever follows, the client comes out, and no sooner than at the end."""
    client = Address(str(data.draw(st.ip_addresses(v=version))), port)
    server = Address(str(data.draw(st.ip_addresses(v=version))), 61_616)
    header = write(client, server)
    found = read_header(header + rest)
    assert found is not None
    assert (found.client, found.size) == (client, len(header))
    for end in range(len(header)):
        assert read_header(header[:end]) is None
        assert begins_header(header[:end]) is (None if end < (6 if write is header_v1 else 12) else True)


@given(st.ip_addresses(v=4), ports)
def test_twisted_reads_the_same(host: ipaddress.IPv4Address, port: int) -> None:
    """Another reader finds the same client in both versions."""
    client, server = Address(str(host), port), Address("192.0.2.9", 61_616)
    first = _v1parser.V1Parser.parse(header_v1(client, server).rstrip())
    second = _v2parser.V2Parser.parse(header_v2(client, server))
    for info in (first, second):
        assert (info.source.host, info.source.port) == (client.host, client.port)
        assert (info.destination.host, info.destination.port) == (server.host, server.port)


def test_examples() -> None:
    """Provenance: the specification's example of version 1; version 2 written down by its table."""
    line = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"
    found = read_header(line)
    assert found is not None
    assert found.client == Address("255.255.255.255", 65_535)
    six = SIGNATURE + b"\x21\x21\x00\x24" + bytes(15) + b"\x01" + bytes(15) + b"\x02" + b"\x9c\x40\xf0\xb0"
    found = read_header(six)
    assert found is not None
    assert found.client == Address("::1", 40_000)
    assert header_v2(Address("::1", 40_000), Address("::2", 61_616)) == six


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        SIGNATURE + b"\x20\x00\x00\x00",
        SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x21\x31\x00\x04abcd",
        header_v1(*ends("192.0.2.1", "::1")),
        header_v2(*ends("192.0.2.1", "::1")),
    ],
)
def test_a_proxy_that_speaks_for_itself(header: bytes) -> None:
    """There is no client; the header is passed over all the same."""
    found = read_header(header + b"rest")
    assert found is not None
    assert (found.client, found.size) == (None, len(header))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "nobody understands"),
        (b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", "nobody understands"),
        (b"PROXY TCP4 ::1 192.0.2.2 1 2\r\n", "of TCP4"),
        (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "for an address"),
        (b"PROXY TCP4 192.0.2.1 \xff\xfe 1 2\r\n", "for an address"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "for a port"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", "for a port"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 100000000000\r\n", "for a port"),
        (b"PROXY " + b"x" * V1_BYTES_MAX, f"more than {V1_BYTES_MAX} bytes"),
        (SIGNATURE + b"\x22\x11\x00\x0c", "command 0x22"),
        (SIGNATURE + b"\x11\x11\x00\x0c", "command 0x11"),
        (SIGNATURE + b"\x21\x13\x00\x0c", "family 0x13"),
        (SIGNATURE + b"\x21\x11\x00\x0b", "within its addresses"),
        (SIGNATURE + b"\x21\x11\xff\xff", f"at most {V2_BYTES_MAX}"),
        (b"CONNECT\n", "no PROXY header"),
    ],
)
def test_what_cannot_be(header: bytes, told: str) -> None:
    """It is refused with words that say what came."""
    with pytest.raises(ProxyHeaderInvalid, match=told):
        read_header(header)


@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    for beginning in (b"", b"PROXY ", SIGNATURE):
        try:
            found = read_header(beginning + data)
        except ProxyHeaderInvalid:
            continue
        assert found is None or found.size <= len(beginning + data)


@pytest.mark.parametrize(
    "first",
    [
        b"CONNECT\n",
        b"\x10\x10\0\x04MQTT",
        b"AMQP\0\x01\0\0",
        b"GET /",
        b"\0\0\0\xf0\x01ActiveMQ",
        b"\x16\x03",
    ],
)
def test_no_protocol_begins_like_a_header(first: bytes) -> None:
    """So a header can be told from its absence."""
    assert begins_header(first) is False


def test_networks() -> None:
    """Addresses and networks, of both versions; an IPv4 client of an IPv6 socket is an IPv4 client."""
    networks = read_networks("x", "192.0.2.7, 10.0.0.0/8 fd00::/8")
    for host in ("192.0.2.7", "10.9.8.7", "fd12::1", "::ffff:10.0.0.1", "fd12::1%eth0"):
        assert is_within(host, networks), host
    for host in ("192.0.2.8", "11.0.0.1", "fe80::1", "somewhere", ""):
        assert not is_within(host, networks), host
    assert read_networks("x", "") == ()
    with pytest.raises(ConfigurationInvalid, match="x names 'host', which is neither"):
        read_networks("x", "10.0.0.1 host")
    with pytest.raises(ConfigurationInvalid, match="neither an address nor a network"):
        read_networks("x", "10.0.0.1/8")
