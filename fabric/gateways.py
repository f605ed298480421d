"""The gateways of a fabric as they stand in the registry: what `gateway-list` and the API show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fabric.gateway.opening import PLAIN_SCHEMES
from fabric.table import Table
from fabric.znodes import read_children
from registry import paths

if TYPE_CHECKING:
    from registry.session import Session

NOTHING: Final = "-"
_PROTOCOLS: Final = {schemes[0]: protocol for protocol, schemes in PLAIN_SCHEMES.items()}


@dataclass(frozen=True, slots=True)
class MasterSeen:
    """One way to a master, as a gateway sees it.

    Attributes:
        broker, container: whose it is.
        url: where.
        state: `untried`, `trying`, `up` or `down`.
    """

    broker: str
    container: str
    url: str
    state: str


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """One gateway.

    Attributes:
        group: of brokers.
        gateway: its name.
        container: where it runs.
        brokers: patterns of those that it leads to.
        services: urls for clients.
        masters: what it knows.
    """

    group: str
    gateway: str
    container: str
    brokers: tuple[str, ...]
    services: tuple[str, ...]
    masters: tuple[MasterSeen, ...]

    def to_json(self) -> dict[str, Any]:
        """The row for scripts."""
        return {
            "group": self.group,
            "gateway": self.gateway,
            "container": self.container,
            "brokers": list(self.brokers),
            "services": list(self.services),
            "masters": [
                {"broker": one.broker, "container": one.container, "url": one.url, "state": one.state}
                for one in self.masters
            ],
        }

    def led_to(self, service: str) -> list[MasterSeen]:
        """Where clients of one of the services are led, a line for each broker; those in use first."""
        schemes = PLAIN_SCHEMES.get(_PROTOCOLS.get(service.partition("://")[0], ""), ())
        best: dict[str, tuple[bool, int, MasterSeen]] = {}
        for one in self.masters:
            scheme = one.url.partition("://")[0]
            if scheme in schemes:
                rank = one.state != "up", schemes.index(scheme), one
                if one.broker not in best or rank[:2] < best[one.broker][:2]:
                    best[one.broker] = rank
        return [one for _, _, one in best.values()]


def read_gateways(session: Session, group: str = "") -> list[GatewayRow]:
    """Read the gateways, sorted by group, name and container. Blocks.

    Args:
        session: With the registry.
        group: Those of this group of brokers only; empty: all.

    Raises:
        RegistryError: the registry cannot be read.
    """
    rows = []
    for each in [group] if group else read_children(session, paths.gateways()):
        parent = paths.gateway_group(each)
        for name in read_children(session, parent):
            node = session.get_or_none(paths.member(parent, name))
            row = None if node is None else parse_gateway(each, node.data)
            if row is not None:
                rows.append(row)
    return sorted(rows, key=lambda row: (row.group, row.gateway, row.container))


def parse_gateway(group: str, data: bytes) -> GatewayRow | None:
    """Read a gateway's record; None if it is not ready yet, or is none."""
    try:
        record = json.loads(data)
        if record.get("ready") is not True:
            return None
        return GatewayRow(
            group=group,
            gateway=str(record["id"]),
            container=str(record["container"]),
            brokers=tuple(map(str, record.get("brokers", ()))),
            services=tuple(map(str, record.get("services", ()))),
            masters=tuple(_master(one) for one in record.get("masters", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _master(content: Mapping[str, Any]) -> MasterSeen:
    fields = (str(content[key]) for key in ("broker", "container", "url", "state"))
    return MasterSeen(*fields)


def gateway_table(rows: Iterable[GatewayRow]) -> Table:
    """Return the table of `gateway-list`: a line for each service and each broker that it leads to."""
    table = Table("gateway", "container", "group", "service", "broker", "master", "url", "state")
    for row in rows:
        key = (row.gateway, row.container, row.group)
        for service in row.services:
            led = row.led_to(service)
            for one in led:
                table.add_row(*key, service, one.broker, one.container, one.url, one.state)
            if not led:
                table.add_row(*key, service, *[NOTHING] * 3, "no master")
    return table
