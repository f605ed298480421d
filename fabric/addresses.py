"""How containers are reached: the fields of their records from which `ip`, what they advertise, is taken."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from fabric.errors import FabricError

RESOLVERS = ("localip", "localhostname", "manualip")
LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

_TEST_NET = ("192.0.2.1", 9)
"""Nobody's address (RFC 5737, TEST-NET-1), discard port."""


def address_fields(bind_address: str, resolver: str | None, manual_ip: str | None) -> dict[str, str]:
    """Return the fields of a container that listens on `bind_address` of this host.

    Without a resolver it is ``manualip`` if such an address is given, ``localip`` on a single address, and
    the host's name if it listens everywhere. The address advertised is the field the resolver names.

    Raises:
        FabricError: the resolver is unknown or lacks its address.
    """
    everywhere = bind_address in EVERYWHERE
    fields = {
        "bindaddress": bind_address,
        "localhostname": socket.gethostname() if everywhere else bind_address,
        "localip": _own_address() if everywhere else bind_address,
    }
    if manual_ip:
        fields["manualip"] = manual_ip
    default = "manualip" if manual_ip else "localhostname" if everywhere else "localip"
    return _resolved(fields, resolver or default)


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
    return _resolved(fields, resolver or default)


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


def _resolved(fields: dict[str, str], resolver: str) -> dict[str, str]:
    if resolver not in RESOLVERS:
        raise FabricError(f"There is no resolver {resolver}.", f"Resolvers are: {', '.join(RESOLVERS)}.")
    if resolver not in fields:
        raise FabricError(f"The resolver {resolver} needs an address.", "Give it with --manual-ip ADDRESS.")
    return {**fields, "resolver": resolver}


def _own_address() -> str:
    """Return the address this host reaches others from; nothing is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_TEST_NET)
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])
