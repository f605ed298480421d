"""What a container's profiles amount to: inheritance, the merged configuration, and its placeholders.

A profile is laid over its parents, a later parent over an earlier one, a container's later profile over its
earlier ones. Configuration merges key by key within a PID, so the last profile that names a key decides.
The value `#deleted#` takes the key away, and as the value of the key `#deleted#` the whole PID.

Placeholders in values:

| placeholder        | becomes                                                                       |
|--------------------|-------------------------------------------------------------------------------|
| `${fabric.data}`   | the folder shared by the containers of a host (or, mounted, of several)        |
| `${runtime.data}`  | the container's own folder                                                    |
| `${runtime.id}`    | the container's name; also `${karaf.name}`                                    |
| `${container.ip}`  | the address the container advertises                                          |
| `${zk:c/field}`    | a field of container c in the registry; with a leading `/` any znode           |
| `${port:a,b}`      | the first free port of the range: left to the service when it starts          |
| `${key}`           | `system.key` of the PID `io.fabric8.agent`                                    |

What cannot be resolved stays as it is.
Source: fabric8 `ProfileServiceImpl.getOverlayProfile`, `ZooKeeperUtils.getSubstitutedData`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fabric.errors import ProfileCycle, ProfileError
from fabric.profiles import AGENT_PID, Profile, unique

DELETED = "#deleted#"

PLACEHOLDER_DEPTH_MAX = 8
"""Placeholders that lead to placeholders: `ip` is `${zk:c/localip}` and so on; a circle ends here."""

VALUE_LENGTH_MAX = 100_000
"""Characters a value may grow to by what its placeholders lead to."""

_PLACEHOLDER = re.compile(r"\$\{([^${}]*)\}")
_SYSTEM_PREFIX = "system."


class ParentMissing(ProfileError):
    """A profile names a parent that does not exist."""

    def __init__(self, parent: str, child: str | None) -> None:
        by = f", which profile {child} inherits from," if child else ""
        super().__init__(
            f"Profile {parent}{by} does not exist.",
            f"Create it with `fabric profile-create {parent}`"
            + (f", or change the parents: `fabric profile-change-parents {child} …`." if child else "."),
        )


@dataclass(frozen=True, slots=True)
class Effective:
    """What one or several profiles amount to."""

    profiles: tuple[str, ...]
    """All profiles that take part, ancestors first."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)


def lineage(profile_ids: Iterable[str], profiles: Mapping[str, Profile]) -> tuple[str, ...]:
    """Return the profiles and all their ancestors, each once, every one after its parents.

    Raises:
        ParentMissing: one of them is not in `profiles`.
        ProfileCycle: one of them is its own ancestor.
    """
    ordered: dict[str, None] = {}

    def visit(profile_id: str, path: tuple[str, ...]) -> None:
        if profile_id in path:
            raise ProfileCycle([*path[path.index(profile_id) :], profile_id])
        if profile_id in ordered:
            return
        if profile_id not in profiles:
            raise ParentMissing(profile_id, path[-1] if path else None)
        for parent in profiles[profile_id].parents:
            visit(parent, (*path, profile_id))
        ordered[profile_id] = None

    for profile_id in profile_ids:
        visit(profile_id, ())
    return tuple(ordered)


def overlay(profile_ids: Iterable[str], profiles: Mapping[str, Profile]) -> Effective:
    """Merge the profiles, a container's in their order, over all their ancestors.

    An ancestor shared by two of them is laid down once, under both.

    Raises:
        ParentMissing, ProfileCycle: as `lineage`.
    """
    ids = unique(profile_ids)
    ordered = lineage(ids, profiles)
    configuration: dict[str, dict[str, str]] = {}
    attributes: dict[str, str] = {}
    resources: dict[str, str] = {}
    for profile_id in ordered:
        profile = profiles[profile_id]
        resources.update(profile.resources)
        for pid, values in profile.configuration.items():
            _lay(configuration, pid, values)
    for profile_id in ids:  # what a profile is (abstract, hidden) is its own affair
        attributes.update(profiles[profile_id].attributes)
    return Effective(ordered, attributes, configuration, resources)


def _lay(configuration: dict[str, dict[str, str]], pid: str, values: Mapping[str, str]) -> None:
    if DELETED in values:
        configuration.pop(pid, None)
        return
    merged = configuration.setdefault(pid, {})
    for key, value in values.items():
        if value == DELETED:
            merged.pop(key, None)
        else:
            merged[key] = value


def resolve(
    configuration: Mapping[str, Mapping[str, str]],
    substitutions: Mapping[str, str],
    znode: Callable[[str], str | None] = lambda reference: None,
) -> dict[str, dict[str, str]]:
    """Replace the placeholders in all values.

    Args:
        configuration: As `overlay` merged it.
        substitutions: `fabric.data`, `runtime.data`, `runtime.id`, `container.ip`.
        znode: Gives the text behind `${zk:<reference>}`, None if there is none.
    """
    system = {
        key.removeprefix(_SYSTEM_PREFIX): value
        for key, value in configuration.get(AGENT_PID, {}).items()
        if key.startswith(_SYSTEM_PREFIX)
    }
    known = {**system, **substitutions}
    return {
        pid: {key: substitute(value, known, znode) for key, value in values.items()}
        for pid, values in configuration.items()
    }


def substitute(
    text: str,
    substitutions: Mapping[str, str],
    znode: Callable[[str], str | None] = lambda reference: None,
) -> str:
    """Replace the placeholders in a text; what cannot be resolved stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        found = znode(name.removeprefix("zk:")) if name.startswith("zk:") else substitutions.get(name)
        return match.group(0) if found is None else found

    for _ in range(PLACEHOLDER_DEPTH_MAX):
        replaced = _PLACEHOLDER.sub(value, text)
        if replaced == text or len(replaced) > VALUE_LENGTH_MAX:
            break
        text = replaced
    return text
