"""How many containers a profile needs, and how many it has.

Stored as one JSON document whose fields are the original's; fields we do not know are kept. Nothing enforces
the numbers: they drive `fabric status` and the console.

Source: fabric8 `FabricRequirements`, `ProfileRequirements`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fabric.errors import RequirementsInvalid
from fabric.records import ContainerRecord
from registry import paths

INSTANCES_MAX = 10_000
"""Containers a requirement may ask for: more than one ZooKeeper ensemble serves well."""

_PROFILE_FIELDS = ("profile", "minimumInstances", "maximumInstances", "dependentProfiles")


@dataclass(frozen=True, slots=True)
class ProfileRequirements:
    """What one profile needs; None and empty say nothing."""

    profile: str
    minimum_instances: int | None = None
    maximum_instances: int | None = None
    dependent_profiles: tuple[str, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def validate(self) -> "ProfileRequirements":
        """Return it, or raise `RequirementsInvalid`."""
        for what, number in (("minimum", self.minimum_instances), ("maximum", self.maximum_instances)):
            if number is not None and not 0 <= number <= INSTANCES_MAX:
                raise RequirementsInvalid(
                    f"The {what} of profile {self.profile} must be between 0 "
                    f"and {INSTANCES_MAX}, not {number}."
                )
        low, high = self.minimum_instances, self.maximum_instances
        if low is not None and high is not None and low > high:
            raise RequirementsInvalid(
                f"The minimum of profile {self.profile}, {low}, is above its maximum, {high}.",
                "Give both with --minimum and --maximum.",
            )
        return self


@dataclass(frozen=True, slots=True)
class Requirements:
    """The requirements of all profiles of the fabric."""

    profiles: tuple[ProfileRequirements, ...] = ()
    version: str | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def of(self, profile: str) -> ProfileRequirements:
        """What the profile needs; nothing, if it is not named."""
        return next((one for one in self.profiles if one.profile == profile), ProfileRequirements(profile))

    def with_profile(self, changed: ProfileRequirements) -> "Requirements":
        """Set what one profile needs. Raises `RequirementsInvalid`."""
        others = [one for one in self.profiles if one.profile != changed.profile]
        ordered = sorted([*others, changed.validate()], key=lambda one: one.profile)
        return replace(self, profiles=tuple(ordered))

    def without_profile(self, profile: str) -> "Requirements":
        """Forget what one profile needs."""
        return replace(self, profiles=tuple(one for one in self.profiles if one.profile != profile))

    def with_minimum(self, profile: str, minimum: int) -> "Requirements":
        """Raise the minimum of a profile to `minimum`; a higher one stays, and the maximum follows it."""
        now = self.of(profile)
        raised = max(minimum, now.minimum_instances or 0)
        high = now.maximum_instances
        return self.with_profile(
            replace(
                now,
                minimum_instances=raised,
                maximum_instances=None if high is None else max(high, raised),
            )
        )


def parse_requirements(document: bytes) -> Requirements:
    """Read the JSON document; an empty one holds no requirements. Raises `RequirementsInvalid`."""
    if not document.strip():
        return Requirements()
    try:
        content = json.loads(document)
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
        return Requirements(
            profiles=tuple(_profile(one) for one in content.get("profileRequirements") or ()),
            version=content.get("version"),
            unknown={k: v for k, v in content.items() if k not in ("profileRequirements", "version")},
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RequirementsInvalid(
            f"The stored requirements cannot be understood: {error}.",
            f"`fabric zk-get {paths.requirements()}` shows them, `fabric zk-set` corrects them.",
        ) from error


def _profile(content: Mapping[str, Any]) -> ProfileRequirements:
    dependent = content.get("dependentProfiles") or ()
    if isinstance(dependent, str):
        raise ValueError("dependentProfiles is not a list")
    return ProfileRequirements(
        profile=str(content["profile"]),
        minimum_instances=_number(content.get("minimumInstances")),
        maximum_instances=_number(content.get("maximumInstances")),
        dependent_profiles=tuple(str(one) for one in dependent),
        unknown={name: value for name, value in content.items() if name not in _PROFILE_FIELDS},
    ).validate()


def _number(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number of containers")
    return value


def serialize_requirements(requirements: Requirements) -> bytes:
    """Write the JSON document, without fields that say nothing."""
    content: dict[str, Any] = {
        **requirements.unknown,
        "profileRequirements": [_content(one) for one in requirements.profiles],
    }
    if requirements.version is not None:
        content["version"] = requirements.version
    return json.dumps(content, indent=2).encode()


def _content(one: ProfileRequirements) -> dict[str, Any]:
    fields = {
        "profile": one.profile,
        "minimumInstances": one.minimum_instances,
        "maximumInstances": one.maximum_instances,
        "dependentProfiles": list(one.dependent_profiles) or None,
        **one.unknown,
    }
    return {name: value for name, value in fields.items() if value is not None}


def health_percent(instances: int, minimum: int | None) -> int:
    """Instances in percent of the minimum: 0 without instances, 100 without a minimum."""
    if instances <= 0:
        return 0
    if not minimum or minimum < 0:
        return 100
    return instances * 100 // minimum


def profile_status(requirements: Requirements, containers: list[ContainerRecord]) -> list[dict[str, Any]]:
    """Return a record per profile that is required or in use, sorted by profile."""
    counts = {one.profile: 0 for one in requirements.profiles}
    for container in containers:
        for profile in container.profiles:
            counts[profile] = counts.get(profile, 0) + int(container.connected)
    return [
        {
            "profile": profile,
            "instances": instances,
            "minimum": requirements.of(profile).minimum_instances,
            "maximum": requirements.of(profile).maximum_instances,
            "health": health_percent(instances, requirements.of(profile).minimum_instances),
        }
        for profile, instances in sorted(counts.items())
    ]
