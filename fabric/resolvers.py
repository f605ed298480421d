"""Which address containers advertise: a resolver each, and one for those that come and name none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fabric.addresses import RESOLVERS, advertised, resolved
from fabric.errors import FabricError
from fabric.records import ContainerRecord
from fabric.table import Table
from fabric.znodes import read_text, with_references
from registry import paths

if TYPE_CHECKING:
    from fabric.store import ContainerStore
    from registry.session import Session

POLICY = "resolver"


def global_resolver(session: Session) -> str | None:
    """Return the resolver of containers that join and name none; None if the fabric has none."""
    return read_text(session, paths.policy(POLICY)) or None


def set_global_resolver(session: Session, resolver: str) -> None:
    """Write it. Raises FabricError for one there is not."""
    if resolver not in RESOLVERS:
        raise FabricError(f"There is no resolver {resolver}.", f"Resolvers are: {', '.join(RESOLVERS)}.")
    session.put(paths.policy(POLICY), resolver.encode())


def address_of(session: Session, fields: Mapping[str, str]) -> str:
    """Return what a container advertises; what cannot be looked up stays a placeholder."""
    return with_references(session, fields.get("ip", ""))


def set_resolver(
    containers: ContainerStore, names: Sequence[str], resolver: str, manual_ip: str | None = None
) -> None:
    """Have containers advertise another of their addresses; those that run do it at once.

    Raises:
        ContainerNotFound: there is no such container; nothing was changed.
        FabricError: one of them lacks the address; nothing was changed.
    """
    changes = {}
    for name in names:
        containers.check_exists(name)
        fields = containers.fields(name)
        if manual_ip:
            fields["manualip"] = manual_ip
        try:
            changes[name] = advertised(name, resolved(fields, resolver))
        except FabricError as error:
            raise FabricError(f"Container {name}: {error.what}", error.do_next) from error
    for name, fields in changes.items():
        for key in ("manualip", "resolver", "ip"):
            if key in fields:
                containers.set_field(name, key, fields[key])


_COLUMNS = {
    "resolver": "resolver",
    "local hostname": "localhostname",
    "local ip": "localip",
    "public hostname": "publichostname",
    "public ip": "publicip",
    "manual ip": "manualip",
}


def resolver_records(records: Sequence[ContainerRecord]) -> list[dict[str, str]]:
    """Return the resolver of each container, and its addresses, for scripts."""
    return [
        {"id": record.id, **{key: record.fields.get(key, "") for key in _COLUMNS.values()}}
        for record in records
    ]


def resolver_table(records: Sequence[ContainerRecord]) -> Table:
    """Return the table of `container-resolver-list`."""
    table = Table("id", *_COLUMNS)
    for record in resolver_records(records):
        table.add_row(*record.values())
    return table
