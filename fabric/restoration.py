"""Puts a backup back into a fabric: an empty one, or one whose content it replaces.

What the backup does not know stays as it is. What belongs to the fabric that is restored into stays, too: its
ensemble, and how its running containers are reached. Everything here blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fabric.backup import Backup
from fabric.bootstrap import shipped_profiles
from fabric.errors import FabricError, ProfileError
from fabric.profiles import parse_profile
from fabric.records import RESTART_REQUESTED, START_REQUESTED
from fabric.store import ContainerStore, ProfileStore
from fabric.users import MADE_BY_FABRIC
from fabric.znodes import read_children
from registry import paths
from registry.users import UserStore

if TYPE_CHECKING:
    from registry.session import Session

OF_THE_ENSEMBLE: Final = "fabric-ensemble-"
"""How the profiles begin that describe the servers of the ensemble, which is another one here."""
REASONS_MAX: Final = 10

_SEQUENTIAL: Final = re.compile(r"\d{10}")


class NotEmpty(FabricError):
    """A fabric that is in use is not restored into by accident."""

    def __init__(self, reasons: Sequence[str]) -> None:
        shown = "; ".join(reasons[:REASONS_MAX])
        more = f"; and {len(reasons) - REASONS_MAX} more" if len(reasons) > REASONS_MAX else ""
        super().__init__(
            f"The fabric is not empty: {shown}{more}. Nothing was restored.",
            "--force replaces what the backup knows otherwise; --dry-run shows what that is.",
        )


@dataclass(slots=True)
class Plan:
    """What a restoration does.

    Attributes:
        created: znodes that are made, with their data.
        changed: znodes that are written, with their data.
        same: how many are as the backup has them.
        sequential: those of the created ones that ZooKeeper numbers.
        kept: what the backup has otherwise and is left alone, each with the reason.
        occupied: what says that the fabric is not empty.
    """

    created: dict[str, bytes] = field(default_factory=dict)
    changed: dict[str, bytes] = field(default_factory=dict)
    same: int = 0
    sequential: set[str] = field(default_factory=set)
    kept: dict[str, str] = field(default_factory=dict)
    occupied: list[str] = field(default_factory=list)


class Restoration:
    """One restoration into one fabric."""

    def __init__(self, session: Session, backup: Backup) -> None:
        self._session = session
        self._backup = backup
        self._containers = ContainerStore(session)
        self._profiles = ProfileStore(session)
        self._running = {record.id for record in self._containers.all() if record.connected}

    def plan(self) -> Plan:
        """What would be done; nothing is changed."""
        plan = Plan(occupied=self._occupied())
        for path, data in self._backup.znodes.items():
            reason = self._reason_to_keep(path)
            if reason:
                plan.kept[path] = reason
                continue
            self._place(plan, path, self._adapted(path, data))
        return plan

    @property
    def holds_encrypted(self) -> bool:
        """Whether profiles of the backup hold values that only the master key of its fabric opens."""
        return any(b"${crypt:" in data for data in self._backup.znodes.values())

    def _place(self, plan: Plan, path: str, data: bytes) -> None:
        parent, _, name = path.rpartition("/")
        numbered = path.startswith(f"{paths.history()}/") and _SEQUENTIAL.fullmatch(name)
        if numbered and parent not in plan.created and read_children(self._session, parent):
            plan.kept[path] = "this profile has a history here"
            return
        node = self._session.get_or_none(path)
        if node is None:
            plan.created[path] = data
            if numbered:
                plan.sequential.add(path)
        elif node.data == data:
            plan.same += 1
        else:
            plan.changed[path] = data

    def _reason_to_keep(self, path: str) -> str:
        name = path.rpartition("/")[2]
        if any(
            path == one or path.startswith(f"{one}/") for one in (paths.ensemble(), paths.ensemble_servers())
        ):
            return "the ensemble is another one"
        if path.startswith(f"{paths.crypt()}/") and self._session.exists(path):
            return "the master key is that of this fabric"
        if "/profiles/" in path and name.startswith(OF_THE_ENSEMBLE):
            return "the ensemble is another one"
        if name in (START_REQUESTED, RESTART_REQUESTED):
            return "it was asked for in another time"
        for container in self._running:
            if path.startswith(f"{paths.container_config(container)}/"):
                return f"container {container} runs"
        return ""

    def _adapted(self, path: str, data: bytes) -> bytes:
        """A container keeps the profiles of the ensemble it has here, and none of another one."""
        parent, _, container = path.rpartition("/")
        if not (parent.startswith(f"{paths.versions()}/") and parent.endswith("/containers")):
            return data
        given = data.decode().split()
        here = [one for one in self._containers.profiles(container) if one.startswith(OF_THE_ENSEMBLE)]
        kept = [one for one in given if not one.startswith(OF_THE_ENSEMBLE)]
        position = kept.index("fabric") + 1 if "fabric" in kept else 0
        return " ".join([*kept[:position], *here, *kept[position:]]).encode()

    # ---- whether it is empty

    def _occupied(self) -> list[str]:
        """What somebody has put into this fabric since it was created, unless the backup has it alike."""
        versions, names = self._profiles.versions(), self._containers.names()
        found = [f"it has container {name}" for name in names if self._containers.field(name, "parent")]
        if len(versions) > 1:
            found.append(f"it has the versions {', '.join(versions)}")
        for version in versions:
            found += [f"it has profile {one} of version {version}" for one in self._own_profiles(version)]
        users = [name for name in UserStore(self._session).list() if not name.startswith(MADE_BY_FABRIC)]
        if len(users) > 1:
            found.append(f"it has the users {', '.join(users)}")
        return found

    def _own_profiles(self, version: str) -> list[str]:
        shipped = {profile.id: profile for profile in shipped_profiles()}
        found = []
        for profile_id in self._profiles.profile_ids(version):
            document = self._profiles.document(profile_id, version)[0]
            if profile_id.startswith(OF_THE_ENSEMBLE) or document == self._backup.znodes.get(
                paths.profile(version, profile_id)
            ):
                continue
            try:
                if parse_profile(profile_id, document) == shipped.get(profile_id):
                    continue
            except ProfileError:
                pass
            found.append(profile_id)
        return found

    # ---- doing it

    def run(
        self, plan: Plan, *, force: bool, say: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        """Write what is planned; a repetition of an interrupted run completes it.

        Args:
            plan: of `plan`.
            force: also into a fabric that is not empty.
            say: told how many znodes of how many are written.

        Raises:
            NotEmpty: as it says; nothing was written.
        """
        if plan.occupied and not force:
            raise NotEmpty(plan.occupied)
        written: Mapping[str, bytes] = {**plan.created, **plan.changed}
        versions_before = {name: self._containers.version(name) for name in self._containers.names()}
        for number, path in enumerate(sorted(written, key=turn), start=1):
            if path in plan.sequential:
                self._session.create(f"{path.rpartition('/')[0]}/", written[path], sequential=True)
            else:
                self._session.put(path, written[path])
            say(number, len(written))
        for name, before in versions_before.items():
            if before and self._containers.version(name) != before:
                self._session.delete(paths.version_container(before, name), missing_ok=True)


def turn(path: str) -> tuple[int, str]:
    """When a znode is written: what others refer to first; that a container is to be started last of all."""
    if path.startswith(f"{paths.containers_config()}/"):
        order = 4 if path.endswith("/desired") else 3
    elif path.startswith(f"{paths.config_containers()}/"):
        order = 2
    elif "/containers/" in path or path == paths.default_version():
        order = 1
    else:
        order = 0
    return order, path
