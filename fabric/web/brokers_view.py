"""Brokers as the view of the registry shows them: from memory, found once for each revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabric.clusters import ClusterRow
from fabric.errors import ProfileInvalid
from fabric.mq_status import BrokerGroup, broker_groups
from fabric.profiles import Profile

if TYPE_CHECKING:
    from fabric.web.view import FabricView


def key_of(row: ClusterRow) -> tuple[str, str]:
    """Group and name of a broker."""
    return row.cluster.rpartition("/")[2], row.id


def groups_of(view: FabricView, version: str) -> list[BrokerGroup]:
    """The brokers that a version's profiles describe. Raises `VersionNotFound`."""
    return view.once(
        f"brokers of {version}", lambda: _read_groups(view, view.profiles.known_version(version))
    )


def versions_in_use(view: FabricView) -> list[str]:
    """The default version, and those that containers have."""
    used = {record.version for record in view.all_containers()} | {view.profiles.default_version()}
    return [version for version in view.profiles.versions() if version in used]


def connected_root(view: FabricView) -> str:
    """A container that can have children, best one that runs; empty: there is none."""
    roots = [record for record in view.all_containers() if record.parent is None]
    return next((record.id for record in sorted(roots, key=lambda one: not one.connected)), "")


def _read_groups(view: FabricView, version: str) -> list[BrokerGroup]:
    return broker_groups(
        version,
        _readable_profiles(view, version),
        view.all_containers(),
        view.profiles.requirements(),
        view.brokers(),
    )


def _readable_profiles(view: FabricView, version: str) -> dict[str, Profile]:
    """All profiles but those whose document cannot be understood: they do not hide the others' brokers."""
    found = {}
    for profile_id in view.profiles.profile_ids(version):
        try:
            found[profile_id] = view.profiles.get(profile_id, version)
        except ProfileInvalid:
            continue
    return found
