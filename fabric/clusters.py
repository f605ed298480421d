"""Who is in which cluster, and who of them is master: what `cluster-list` and the console show.

Source: fabric8 `ClusterListAction`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fabric.table import Table
from fabric.znodes import read_children, with_references
from registry import paths

if TYPE_CHECKING:
    from registry.session import Session

NOBODY = "-"
_INDENT = "   "


@dataclass(frozen=True, slots=True)
class Member:
    """One member's znode, as its JSON describes it."""

    path: str
    id: str
    container: str
    services: tuple[str, ...]
    serving: bool
    """Whether it is a master: it offers services, or says that it is started."""
    ready: bool

    @property
    def cluster(self) -> str:
        """The path of its group."""
        return self.path.rpartition("/")[0]

    @property
    def sequence(self) -> str:
        """The name of its znode; of two, the later one compares higher."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """The members of one group that have the same id: one broker's master and slaves."""

    cluster: str
    id: str
    members: tuple[Member, ...]

    @property
    def masters(self) -> list[str]:
        """Containers that serve."""
        return [member.container for member in self.members if member.serving]

    @property
    def slaves(self) -> list[str]:
        """Containers that wait."""
        return [member.container for member in self.members if not member.serving]

    @property
    def services(self) -> list[str]:
        """What the masters offer."""
        return [service for member in self.members for service in member.services]

    def to_json(self) -> dict[str, Any]:
        """The row for scripts; the cluster's name is relative to all clusters' parent."""
        return {
            "cluster": relative(self.cluster, paths.clusters()),
            "id": self.id,
            "masters": self.masters,
            "slaves": self.slaves,
            "services": self.services,
            "members": [
                {
                    "path": member.path,
                    "container": member.container,
                    "ready": member.ready,
                    "services": list(member.services),
                }
                for member in self.members
            ],
        }


def parse_member(path: str, data: bytes, resolve: Callable[[str], str] = str) -> Member | None:
    """Read a member's JSON; None if there is none, or if it cannot be understood.

    Args:
        path: Of its znode.
        data: Its content.
        resolve: Replaces the placeholders in a service.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    member_id = _first(content, "id", "container")
    services = content.get("services")
    if member_id is None or not (services is None or isinstance(services, list)):
        return None
    return Member(
        path=path,
        id=str(member_id),
        container=str(_first(content, "container", "agent") or ""),
        services=tuple(resolve(str(service)) for service in services or ()),
        serving=content.get("started") is True if services is None else bool(services),
        ready=content.get("ready", True) is not False,
    )


def _first(content: Mapping[str, Any], *keys: str) -> Any:  # noqa: ANN401 - JSON
    return next((content[key] for key in keys if content.get(key) is not None), None)


def group_members(members: Iterable[Member]) -> list[ClusterRow]:
    """Group members by cluster and id, sorted; of several of one container the latest counts."""
    latest: dict[tuple[str, str, str], Member] = {}
    for member in sorted(members, key=lambda member: member.sequence):
        latest[member.cluster, member.id, member.container] = member
    rows: dict[tuple[str, str], list[Member]] = {}
    for (cluster, member_id, _), member in latest.items():
        rows.setdefault((cluster, member_id), []).append(member)
    return [
        ClusterRow(cluster, member_id, tuple(sorted(found, key=lambda member: member.sequence)))
        for (cluster, member_id), found in sorted(rows.items())
    ]


def read_members(session: "Session", path: str, resolve: Callable[[str], str] = str) -> list[Member]:
    """Read all members at any depth below a path."""
    members = []
    for name in read_children(session, path):
        child = f"{path.rstrip('/')}/{name}"
        node = session.get_or_none(child)
        member = parse_member(child, node.data, resolve) if node else None
        if member is not None:
            members.append(member)
        members.extend(read_members(session, child, resolve))
    return members


def read_clusters(session: "Session", path: str) -> list[ClusterRow]:
    """Read the brokers at any depth below a path, with the addresses that their services refer to."""
    return group_members(read_members(session, path, lambda service: with_references(session, service)))


def cluster_path(path: str) -> str:
    """Return the znode a user's path means: an absolute one itself, any other below all clusters' parent."""
    if path.startswith("/"):
        return "/" + path.strip("/")
    return f"{paths.clusters()}/{path.strip('/')}".rstrip("/")


def relative(path: str, base: str) -> str:
    """Return the path as seen from `base`, `.` for `base` itself."""
    if path == base:
        return "."
    return path.removeprefix(base).lstrip("/")


def cluster_table(rows: Iterable[ClusterRow], base: str) -> Table:
    """Return the table of `cluster-list`: a line per cluster, its members indented below it."""
    table = Table("cluster", "masters", "slaves", "services")
    shown = None
    for row in rows:
        if row.cluster != shown:
            table.add_row(relative(row.cluster, base))
            shown = row.cluster
        table.add_row(_INDENT + row.id, _joined(row.masters), _joined(row.slaves), _joined(row.services))
    return table


def verbose_table(rows: Iterable[ClusterRow], base: str) -> Table:
    """Return the table of `cluster-list --verbose`: a line per service, with each member's znode."""
    table = Table("cluster", "masters", "slaves", "services", "zk path", "ready")
    shown = None
    for row in rows:
        if row.cluster != shown:
            table.add_row(relative(row.cluster, base))
            shown = row.cluster
        name = _INDENT + row.id
        for member in row.members:
            master = member.container if member.serving else NOBODY
            slave = NOBODY if member.serving else member.container
            ready = "yes" if member.ready else "no"
            services = member.services or (NOBODY,)
            table.add_row(name, master, slave, services[0], member.path, ready)
            for service in services[1:]:
                table.add_row("", "", "", service)
            name = ""
    return table


def _joined(texts: list[str]) -> str:
    return ", ".join(texts) or NOBODY
