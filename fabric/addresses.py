"""How containers are reached: the fields of their records from which `ip`, what they advertise, is taken.

Each field is one answer to the question how others reach a container; the resolver names the one that is
told. `ip` refers to it, so another resolver is another reference and nothing else.

Source: fabric8 `ZkDefs` for the names.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress

from fabric.errors import FabricError
from registry.address import EVERYWHERE, LOOPBACK

RESOLVERS = ("localip", "localhostname", "publicip", "publichostname", "manualip")
PUBLIC = ("publicip", "publichostname")
PORTS = (0, 65535)
"""All of them."""

ZOOKEEPER_PORT = 2181
"""Where it listens if its address names no port."""

_TEST_NET = ("192.0.2.1", 9)
"""Nobody's address (RFC 5737, TEST-NET-1), discard port."""


def address_fields(
    bind_address: str,
    resolver: str | None,
    manual_ip: str | None,
    *,
    towards: tuple[str, int] = _TEST_NET,
) -> dict[str, str]:
    """Return the fields of a container that listens on `bind_address` of this host.

    Without a resolver it is ``manualip`` if such an address is given, ``localip`` on a single address, and
    the host's name if it listens everywhere. The address advertised is the field the resolver names.

    Args:
        bind_address: Where it listens.
        resolver: Which field is told to others; None: as above.
        manual_ip: The address of the resolver ``manualip``.
        towards: A host and port; of several addresses the host has, the one it is reached from is its own.

    Raises:
        FabricError: the resolver is unknown or lacks its address.
    """
    everywhere = bind_address in EVERYWHERE
    fields = {
        "bindaddress": bind_address,
        "localhostname": socket.gethostname() if everywhere else bind_address,
        "localip": address_towards(*towards) if everywhere else bind_address,
    }
    if manual_ip:
        fields["manualip"] = manual_ip
    default = "manualip" if manual_ip else "localhostname" if everywhere else "localip"
    chosen = resolver or default
    if chosen in PUBLIC:
        fields |= own_public_fields() if everywhere else dict.fromkeys(PUBLIC, bind_address)
    return resolved(fields, chosen)


def child_fields(
    parent: Mapping[str, str], bind_address: str | None, resolver: str | None, manual_ip: str | None
) -> dict[str, str]:
    """Return the fields of a child: its parent's, on whose host it runs, unless something else is said.

    Raises:
        FabricError: as `address_fields`.
    """
    if bind_address is not None and bind_address != parent.get("bindaddress"):
        return address_fields(bind_address, resolver, manual_ip)
    fields = {key: parent[key] for key in ("bindaddress", *RESOLVERS) if key in parent}
    if manual_ip:
        fields["manualip"] = manual_ip
    default = "manualip" if manual_ip else parent.get("resolver", "localip")
    return resolved(fields, resolver or default)


def inherited_fields(
    parent: Mapping[str, str],
    *,
    bind_address: str | None = None,
    resolver: str | None = None,
    manual_ip: str | None = None,
    min_port: int | None = None,
    max_port: int | None = None,
) -> dict[str, str]:
    """Return the fields of a child's record: how it is reached, and the ports it may use.

    Raises:
        FabricError: as `address_fields`.
    """
    fields = child_fields(parent, bind_address, resolver, manual_ip)
    for key, given in (("minimumport", min_port), ("maximumport", max_port)):
        value = parent.get(key) if given is None else given
        if value is not None:
            fields[key] = str(value)
    return fields


def port_fields(port_min: int, port_max: int) -> dict[str, str]:
    """Return the fields of the ports a container may use; none if it may use all."""
    if (port_min, port_max) == PORTS:
        return {}
    return {"minimumport": str(port_min), "maximumport": str(port_max)}


def advertised(name: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields with `ip`, which refers to the one that the container's resolver names."""
    return {**fields, "ip": f"${{zk:{name}/{fields['resolver']}}}"}


def resolved(fields: Mapping[str, str], resolver: str) -> dict[str, str]:
    """Return the fields with another resolver.

    Raises:
        FabricError: it is unknown or lacks its address.
    """
    if resolver not in RESOLVERS:
        raise FabricError(f"There is no resolver {resolver}.", f"Resolvers are: {', '.join(RESOLVERS)}.")
    if not fields.get(resolver):
        raise FabricError(
            f"The resolver {resolver} needs an address.",
            "Give it with --manual-ip ADDRESS."
            if resolver == "manualip"
            else "The container has none: use the resolver manualip with --manual-ip ADDRESS.",
        )
    return {**fields, "resolver": resolver}


def address_towards(host: str, port: int) -> str:
    """Return the address from which this host reaches another one; nothing is sent for it."""
    with suppress(OSError):
        for family, kind, protocol, _, target in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(target)
                return str(probe.getsockname()[0])
    return LOOPBACK


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this host itself."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def is_address(host: str) -> bool:
    """Whether it is an address and not a name."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def public_fields(name: str, addresses: Iterable[str]) -> dict[str, str]:
    """Return what a host's full name says of how it is reached from elsewhere; nothing if it says nothing.

    >>> public_fields("a.example.org", ["127.0.1.1", "203.0.113.9"])
    {'publichostname': 'a.example.org', 'publicip': '203.0.113.9'}
    >>> public_fields("a", ["127.0.1.1"])
    {}
    """
    fields = {"publichostname": name} if "." in name and not is_loopback(name) else {}
    reachable = [address for address in addresses if not is_loopback(address)]
    return fields | ({"publicip": reachable[0]} if reachable else {})


def own_public_fields() -> dict[str, str]:
    """Return `public_fields` of this host. May have to wait for a name server."""
    name = socket.getfqdn()
    found: list[str] = []
    with suppress(OSError):
        found = [str(answer[4][0]) for answer in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    return public_fields(name, found)


def host_fields(bind_address: str, zookeeper_url: str) -> dict[str, str]:
    """Return the fields that say what this host's own name and address are now.

    They are facts of the host only for a container that listens everywhere: nothing else is returned.
    """
    if bind_address not in EVERYWHERE:
        return {}
    return {
        "localhostname": socket.gethostname(),
        "localip": address_towards(*first_server(zookeeper_url)),
    }


def certified_names(fields: Mapping[str, str], more: Iterable[str] = (), *, is_here: bool) -> list[str]:
    """Return the names and addresses that a container's certificate is for.

    Args:
        fields: of its record.
        more: what it is called besides.
        is_here: whether it is on this host.
    """
    own = [fields[key] for key in (*RESOLVERS, "bindaddress") if fields.get(key)]
    if is_here:
        own += [socket.gethostname(), "localhost", LOOPBACK]
    return [host for host in dict.fromkeys((*own, *more)) if host not in EVERYWHERE]


def first_server(zookeeper_url: str) -> tuple[str, int]:
    """Return host and port of an ensemble's first server.

    >>> first_server("zk1:2182,zk2:2182/fabrics/a")
    ('zk1', 2182)
    """
    first = zookeeper_url.partition("/")[0].partition(",")[0]
    host, colon, port = first.rpartition(":")
    if not colon or not port.isdecimal():
        return first, ZOOKEEPER_PORT
    return host.strip("[]"), int(port)
