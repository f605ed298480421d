r"""The PROXY protocol: what a load balancer or gateway says of the client before the client's first byte.

::

    version 1    PROXY TCP4 192.0.2.1 192.0.2.9 40000 61616\r\n
    version 2    12 bytes of signature, version and command, family, length, addresses, further fields

Neither can be the beginning of any protocol that a broker speaks, so a header can be told from its absence.

Source: HAProxy's specification of the PROXY protocol, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from broker.errors import ConfigurationInvalid, ProxyHeaderInvalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

V1_BYTES_MAX: Final = 107
"""The longest line there can be, its end included. Source: section 2.1."""
V2_BYTES_MAX: Final = 4096
"""Of a whole header of version 2. Addresses take 52; the fields behind them, which nobody here reads, seldom
more than a few hundred."""

_V1: Final = b"PROXY "
_V1_END: Final = b"\r\n"
_V1_FAMILIES: Final = {b"TCP4": 4, b"TCP6": 6}
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_HEAD: Final = struct.Struct("!12sBBH")
assert _HEAD.size == 16
_LOCAL: Final = 0x20
_PROXIED: Final = 0x21
_FAMILIES: Final = {0x11: (4, struct.Struct("!4s4sHH")), 0x21: (6, struct.Struct("!16s16sHH"))}
assert (_FAMILIES[0x11][1].size, _FAMILIES[0x21][1].size) == (12, 36)
_OTHER_FAMILIES: Final = frozenset({0x00, 0x12, 0x22, 0x31, 0x32})
"""Without an address, datagrams, sockets of one host: the connection counts as the proxy's own."""
_PORT_DIGITS_MAX: Final = 5
_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a connection: an address in digits, and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says.

    Attributes:
        client: who connected; None: the proxy speaks for itself, such as to see whether anybody is there.
        size: of the header, bytes.
    """

    client: Address | None
    size: int


def begins_header(first: bytes) -> bool | None:
    """Whether a connection that begins so begins with a header; None: more bytes have to come."""
    for beginning in (_V1, _SIGNATURE):
        if first.startswith(beginning):
            return True
        if beginning.startswith(first):
            return None
    return False


def leading_header(first: bytes, *, required: bool) -> ProxyHeader | None:
    """The header in front of a connection: one of no bytes if there is none; None if more bytes have to come.

    Args:
        first: what has come so far.
        required: there has to be one.

    Raises:
        ProxyHeaderInvalid: it says what cannot be, or is missing.
    """
    if begins_header(first) is False and not required:
        return ProxyHeader(None, 0)
    return read_header(first)


def read_header(data: bytes) -> ProxyHeader | None:
    """Read the header that these bytes begin with; None if its end has not come.

    Raises:
        ProxyHeaderInvalid: it is none, or says what cannot be.
    """
    if data.startswith(_V1):
        return _read_v1(data)
    if data.startswith(_SIGNATURE):
        return _read_v2(data)
    if _V1.startswith(data) or _SIGNATURE.startswith(data):
        return None
    raise ProxyHeaderInvalid(f"no PROXY header; the first bytes are {data[:16]!r}")


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(_V1_END, 0, V1_BYTES_MAX)
    if end < 0:
        if len(data) >= V1_BYTES_MAX:
            raise ProxyHeaderInvalid(f"a PROXY header of more than {V1_BYTES_MAX} bytes")
        return None
    size = end + len(_V1_END)
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader(None, size)
    version = _V1_FAMILIES.get(words[1])
    if version is None or len(words) != 6:
        raise ProxyHeaderInvalid(f"a PROXY header that nobody understands: {data[:end]!r}")
    _address(words[3], version)
    _port(words[5])
    return ProxyHeader(Address(_address(words[2], version), _port(words[4])), size)


def _address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError as error:
        raise ProxyHeaderInvalid(f"a PROXY header with {text!r} for an address") from error
    if address.version != version:
        raise ProxyHeaderInvalid(f"a PROXY header with {text!r} for an address of TCP{version}")
    return str(address)


def _port(text: bytes) -> int:
    if not (text.isdigit() and len(text) <= _PORT_DIGITS_MAX and int(text) <= _PORT_MAX):
        raise ProxyHeaderInvalid(f"a PROXY header with {text!r} for a port")
    return int(text)


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _HEAD.size:
        return None
    _, command, family, length = _HEAD.unpack_from(data)
    size = _HEAD.size + length
    if command not in (_LOCAL, _PROXIED):
        raise ProxyHeaderInvalid(f"a PROXY header of version 2 with the command 0x{command:02x}")
    if size > V2_BYTES_MAX:
        raise ProxyHeaderInvalid(f"a PROXY header of {size} bytes; at most {V2_BYTES_MAX} are read")
    known = _FAMILIES.get(family)
    if known is None and family not in _OTHER_FAMILIES:
        raise ProxyHeaderInvalid(f"a PROXY header of version 2 with the family 0x{family:02x}")
    if known is not None and command == _PROXIED and length < known[1].size:
        raise ProxyHeaderInvalid("a PROXY header of version 2 that ends within its addresses")
    if len(data) < size:
        return None
    if known is None or command == _LOCAL:
        return ProxyHeader(None, size)
    source, _, port, _ = known[1].unpack_from(data, _HEAD.size)
    return ProxyHeader(Address(str(ipaddress.ip_address(source)), port), size)


def header_v1(client: Address, server: Address) -> bytes:
    """The header of version 1 for a client that has connected to this address."""
    ends = [ipaddress.ip_address(each.host) for each in (client, server)]
    if ends[0].version != ends[1].version:
        return b"PROXY UNKNOWN\r\n"
    line = f"PROXY TCP{ends[0].version} {ends[0]} {ends[1]} {client.port} {server.port}\r\n"
    return line.encode("ascii")


def header_v2(client: Address, server: Address) -> bytes:
    """The same of version 2."""
    ends = [ipaddress.ip_address(each.host) for each in (client, server)]
    if ends[0].version != ends[1].version:
        return _HEAD.pack(_SIGNATURE, _PROXIED, 0, 0)
    family = 0x11 if ends[0].version == 4 else 0x21
    addresses = _FAMILIES[family][1].pack(ends[0].packed, ends[1].packed, client.port, server.port)
    return _HEAD.pack(_SIGNATURE, _PROXIED, family, len(addresses)) + addresses


def read_networks(key: str, text: str) -> tuple[Network, ...]:
    """Addresses and networks separated by commas or spaces, such as `192.0.2.7, 10.0.0.0/8`.

    Raises:
        ConfigurationInvalid: one is neither.
    """
    networks = []
    for each in text.replace(",", " ").split():
        try:
            networks.append(ipaddress.ip_network(each))
        except ValueError as error:
            raise ConfigurationInvalid(
                f"{key} names {each!r}, which is neither an address nor a network such as 10.0.0.0/8."
            ) from error
    return tuple(networks)


def is_within(host: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of these networks."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
