"""Versions: sets of profiles that containers move between, forwards and back. Everything here blocks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from fabric.errors import FabricError, VersionExists, VersionInUse
from fabric.history import diff_lines
from fabric.names import next_version, validate_version_name, version_key
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.errors import NodeExists, RegistryError

if TYPE_CHECKING:
    from registry.session import Session

VERSIONS_MAX: Final = 200
"""Each is a copy of all profiles, and ZooKeeper holds them in memory."""

DESCRIPTION_CHARACTERS_MAX: Final = 500


class NotNewer(FabricError):
    """A container is upgraded to a version after its own."""

    def __init__(self, container: str, now: str, version: str) -> None:
        super().__init__(
            f"Container {container} has version {now}, which is after {version}.",
            f"Take it back with: fabric container-rollback {version} {container}",
        )


class NotOlder(FabricError):
    """A container is rolled back to a version before its own."""

    def __init__(self, container: str, now: str, version: str) -> None:
        super().__init__(
            f"Container {container} has version {now}, which is before {version}.",
            f"Move it with: fabric container-upgrade {version} {container}",
        )


class Direction(Enum):
    """Which way a container may move."""

    UP = "up"
    DOWN = "down"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version.

    Attributes:
        containers: the names of those that use it.
        profiles: how many it has.
    """

    id: str
    is_default: bool
    containers: tuple[str, ...]
    profiles: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class ProfileDifference:
    """A profile that two versions do not have alike.

    Attributes:
        kind: `added`, `removed` or `changed`, seen from the first version.
        lines: as `diff -u` has them.
    """

    profile: str
    kind: str
    lines: tuple[str, ...]


class VersionStore:
    """Creates, compares and deletes versions, and moves containers between them."""

    def __init__(self, session: Session, author: str = "") -> None:
        self._session = session
        self._profiles = ProfileStore(session, author)
        self._containers = ContainerStore(session)

    def all(self) -> list[VersionRecord]:
        """All versions, sorted as people count them."""
        default = self._profiles.default_version()
        users: dict[str, list[str]] = {}
        for name in self._containers.names():
            users.setdefault(self._containers.version(name), []).append(name)
        return [
            VersionRecord(
                version,
                version == default,
                tuple(users.get(version, ())),
                len(self._profiles.profile_ids(version)),
                self.description(version),
            )
            for version in self._profiles.versions()
        ]

    def description(self, version: str) -> str:
        """What somebody wrote about a version."""
        node = self._session.get_or_none(paths.version(version))
        try:
            return str(json.loads(node.data)["description"]) if node and node.data else ""
        except (ValueError, TypeError, KeyError):
            return ""

    def create(self, version: str = "", *, parent: str = "", description: str = "") -> tuple[str, str]:
        """Make a version as a copy of another one, by default the last of all.

        Args:
            version: Its name; default: the one after the last.
            parent: What is copied.
            description: At most `DESCRIPTION_CHARACTERS_MAX` characters.

        Returns:
            The version and its parent.

        Raises:
            VersionExists, VersionNotFound, InvalidName: as they say.
        """
        known = self._profiles.versions()
        made = validate_version_name(version or next_version(known))
        copied = self._profiles.known_version(parent) if parent else known[-1]
        if len(known) >= VERSIONS_MAX:
            raise FabricError(f"There are {len(known)} versions already.", "Delete those nobody uses.")
        if len(description) > DESCRIPTION_CHARACTERS_MAX:
            raise FabricError(f"A description has at most {DESCRIPTION_CHARACTERS_MAX} characters.")
        record = json.dumps({"description": description}).encode() if description else b""
        try:
            self._session.create(paths.version(made), record)
        except NodeExists:
            raise VersionExists(made) from None
        try:
            self._profiles.create_version(made)
            for profile_id in self._profiles.profile_ids(copied):
                document = self._profiles.document(profile_id, copied)[0]
                self._session.put(paths.profile(made, profile_id), document)
        except RegistryError:
            self._session.delete(paths.version(made), recursive=True, missing_ok=True)
            raise
        return made, copied

    def delete(self, version: str) -> None:
        """Delete a version with its profiles and their history.

        Raises:
            VersionNotFound: there is none.
            VersionInUse: it is the default one, or containers use it.
        """
        self._profiles.known_version(version)
        if version == self._profiles.default_version():
            raise VersionInUse(
                f"Version {version} is the default version and cannot be deleted.",
                "Make another one the default first: `fabric version-set-default`.",
            )
        users = [name for name in self._containers.names() if self._containers.version(name) == version]
        if users:
            raise VersionInUse(
                f"Version {version} cannot be deleted: containers use it: {', '.join(users)}.",
                "Move them first: `fabric container-upgrade` or `fabric container-rollback`.",
            )
        self._session.delete(paths.version(version), recursive=True, missing_ok=True)
        self._profiles.history.forget_version(version)

    def set_default(self, version: str) -> str:
        """Make a version the one new containers get. Returns the one before. Raises `VersionNotFound`."""
        before = self._profiles.default_version()
        self._profiles.set_default_version(version)
        return before

    def compare(self, first: str, second: str) -> list[ProfileDifference]:
        """What the second version has otherwise than the first. Raises `VersionNotFound`."""
        old, new = self._documents(first), self._documents(second)
        found = []
        for profile_id in sorted(old.keys() | new.keys()):
            before, after = old.get(profile_id), new.get(profile_id)
            if before != after:
                kind = "added" if before is None else "removed" if after is None else "changed"
                lines = diff_lines(before or "", after or "", before_name=first, after_name=second)
                found.append(ProfileDifference(profile_id, kind, tuple(lines)))
        return found

    def _documents(self, version: str) -> dict[str, str]:
        self._profiles.known_version(version)
        return {
            profile_id: self._profiles.document(profile_id, version)[0].decode(errors="replace")
            for profile_id in self._profiles.profile_ids(version)
        }

    def move(self, container: str, version: str, direction: Direction = Direction.ANY) -> str:
        """Give a container the same profiles of another version. Returns the one it had.

        Its profiles there are written first, so that its agent never finds none.

        Raises:
            VersionNotFound, ContainerNotFound: as they say.
            ProfileNotFound, ProfileIsAbstract: the version lacks one of its profiles.
            NotNewer, NotOlder: it would move the other way.
        """
        self._profiles.known_version(version)
        self._containers.check_exists(container)
        now = self._containers.version(container)
        if now == version:
            return now
        if direction is Direction.UP and not _is_after(version, now):
            raise NotNewer(container, now, version)
        if direction is Direction.DOWN and _is_after(version, now):
            raise NotOlder(container, now, version)
        profiles = self._containers.profiles(container, now)
        self._profiles.check_assignable(profiles, version)
        self._session.put(paths.version_container(version, container), " ".join(profiles).encode())
        self._session.put(paths.config_container(container), version.encode())
        if now:
            self._session.delete(paths.version_container(now, container), missing_ok=True)
        return now

    def movable(self, version: str, direction: Direction) -> list[str]:
        """The containers that would move in this direction, sorted. Raises `VersionNotFound`."""
        self._profiles.known_version(version)
        wanted = direction is Direction.UP
        versions = {name: self._containers.version(name) for name in self._containers.names()}
        return [
            name for name, now in versions.items() if now != version and _is_after(version, now) is wanted
        ]


def _is_after(version: str, other: str) -> bool:
    return version_key(version) > version_key(other)
