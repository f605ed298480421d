"""Profiles as lists and pages show them: with their containers and what is required of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fabric.errors import ProfileInvalid, RequirementsInvalid
from fabric.overlay import DELETED, lineage
from fabric.profiles import Profile
from fabric.requirements import ProfileRequirements, Requirements

if TYPE_CHECKING:
    from fabric.web.view import FabricView

GROUPS: Final = (("mq-broker-", "Brokers"), ("mq-", "Messaging"), ("fabric", "Fabric"))
"""How the ids of profiles begin that stand together in lists, and what these are headed with."""

OTHERS: Final = "Other"

CONFIDENTIAL_WORDS: Final = ("password", "passphrase", "secret", "token")
"""A key whose name holds one of them has a value that only administrators see."""

HIDDEN_VALUE: Final = "••••••"


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A profile of a version.

    Attributes:
        problem: why its document cannot be used; empty if it can.
        running: the containers that have it and are connected.
        containers: all that have it.
    """

    id: str
    profile: Profile | None
    problem: str
    running: tuple[str, ...]
    containers: tuple[str, ...]
    requirements: ProfileRequirements

    @property
    def minimum(self) -> int | None:
        """The containers required, None if nothing is."""
        return self.requirements.minimum_instances

    @property
    def missing(self) -> int:
        """How many containers there should be more."""
        return max(0, (self.minimum or 0) - len(self.containers))

    @property
    def health(self) -> str:
        """The kind of badge for how many run: `bad`, `warn`, `ok`, or `soft` if none are required."""
        count, maximum = len(self.running), self.requirements.maximum_instances
        if maximum is not None and count > maximum:
            return "warn"
        if not self.minimum:
            return "ok" if count else "soft"
        if count == 0:
            return "bad"
        return "warn" if count < self.minimum else "ok"

    @property
    def health_text(self) -> str:
        """The badge in words."""
        count, maximum = len(self.running), self.requirements.maximum_instances
        if maximum is not None and count > maximum:
            return f"this profile allows {maximum} containers to be running but is currently running {count}"
        if not self.minimum:
            return f"{count} running, none required"
        return (
            f"this profile requires {self.minimum} containers to be running "
            f"but is currently running {count} containers"
            if count < self.minimum
            else f"{count} running, {self.minimum} required"
        )


def profile_rows(view: FabricView, version: str) -> list[ProfileRow]:
    """All profiles of a version, by id."""
    return view.once(f"profiles {version}", lambda: _read_rows(view, version))


def _read_rows(view: FabricView, version: str) -> list[ProfileRow]:
    requirements = requirements_of(view)
    users: dict[str, list[str]] = {}
    running: dict[str, list[str]] = {}
    for record in view.all_containers():
        if record.version == version:
            for profile_id in record.profiles:
                users.setdefault(profile_id, []).append(record.id)
                if record.connected:
                    running.setdefault(profile_id, []).append(record.id)
    rows = []
    for profile_id in view.profiles.profile_ids(version):
        profile, problem = None, ""
        try:
            profile = view.profiles.get(profile_id, version)
        except ProfileInvalid as error:
            problem = error.what
        rows.append(
            ProfileRow(
                profile_id,
                profile,
                problem,
                tuple(running.get(profile_id, ())),
                tuple(users.get(profile_id, ())),
                requirements.of(profile_id),
            )
        )
    return rows


def requirements_of(view: FabricView) -> Requirements:
    """The requirements; none if they cannot be understood, which the health page says."""
    try:
        return view.profiles.requirements()
    except RequirementsInvalid:
        return Requirements()


def grouped(rows: list[ProfileRow]) -> list[tuple[str, list[ProfileRow]]]:
    """The rows below headings."""
    found: dict[str, list[ProfileRow]] = {heading: [] for _, heading in GROUPS}
    found[OTHERS] = []
    for row in rows:
        heading = next((heading for prefix, heading in GROUPS if row.id.startswith(prefix)), OTHERS)
        found[heading].append(row)
    return [(heading, some) for heading, some in found.items() if some]


def profile_choices(
    view: FabricView, version: str, without: Collection[str] = ()
) -> list[tuple[str, list[ProfileRow]]]:
    """The profiles that a container can be given, below headings."""
    rows = profile_rows(view, version) if version else []
    return grouped(
        [
            row
            for row in rows
            if row.profile is not None
            and not row.profile.abstract
            and not row.profile.hidden
            and row.id not in without
        ]
    )


# ---- what a profile amounts to, and who says so


@dataclass(frozen=True, slots=True)
class Layer:
    """What one profile says about a key."""

    profile: str
    value: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a PID: who sets it, and who has set it in vain.

    Attributes:
        layers: the deciding one first, then those it covers.
    """

    key: str
    layers: tuple[Layer, ...]

    @property
    def is_deleted(self) -> bool:
        """Whether the deciding profile takes it away."""
        return self.layers[0].value == DELETED


def settings_of(profile_ids: Collection[str], profiles: dict[str, Profile]) -> dict[str, list[Setting]]:
    """The settings of some profiles and their ancestors by PID, both sorted.

    Raises:
        ParentMissing, ProfileCycle: as `fabric.overlay.lineage`.
    """
    layers: dict[str, dict[str, list[Layer]]] = {}
    for profile_id in lineage(profile_ids, profiles):
        for pid, values in profiles[profile_id].configuration.items():
            known = layers.setdefault(pid, {})
            if DELETED in values:
                for covered in known.values():
                    covered.insert(0, Layer(profile_id, DELETED))
                continue
            for key, value in values.items():
                known.setdefault(key, []).insert(0, Layer(profile_id, value))
    return {
        pid: [Setting(key, tuple(found)) for key, found in sorted(keys.items())]
        for pid, keys in sorted(layers.items())
    }


def is_secret(key: str) -> bool:
    """Whether the value of a key is for administrators only."""
    return any(word in key.lower() for word in CONFIDENTIAL_WORDS)
