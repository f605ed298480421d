"""A profile: parents, attributes and configuration by PID, and the YAML document it is stored as.

    parents: [mq-base]
    attributes: {abstract: true}        # also: hidden
    configuration:
      io.fabric8.mq.fabric.server-broker:
        connectors: openwire
    resources:                          # texts that belong to the profile, by file name
      notes.txt: |
        ...

Every value is text, exactly as it is typed: YAML's own idea of `yes` or `010` does not apply.
Fields this version does not know are kept when a document is written again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from fabric.errors import ProfileInvalid
from fabric.names import validate_profile_name

DOCUMENT_BYTES_MAX = 1_000_000
"""Size of a profile document: a znode holds at most 1 MiB (ZooKeeper's `jute.maxbuffer`)."""

AGENT_PID = "io.fabric8.agent"
"""The PID of the container's own settings; `system.<key>` in it can be used as `${key}` in all others."""

ATTRIBUTE_PREFIX = "attribute."
"""`attribute.<name>` in the agent's PID is another way to write an attribute, the original's."""

ABSTRACT, HIDDEN = "abstract", "hidden"

_FIELDS = ("parents", "attributes", "configuration", "resources")


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile of one version; treated as immutable."""

    id: str
    parents: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def abstract(self) -> bool:
        """Whether it only serves as a parent."""
        return self.attributes.get(ABSTRACT, "") == "true"

    @property
    def hidden(self) -> bool:
        """Whether lists leave it out unless asked."""
        return self.attributes.get(HIDDEN, "") == "true"


def parse_profile(profile_id: str, document: bytes) -> Profile:
    """Read a profile document.

    Raises:
        ProfileInvalid: it is too large, not UTF-8, not YAML, or not of the shape above.
    """
    if len(document) > DOCUMENT_BYTES_MAX:
        raise _invalid(profile_id, f"it has {len(document)} bytes, {DOCUMENT_BYTES_MAX} are allowed")
    try:
        content = yaml.load(document.decode(), Loader=yaml.BaseLoader)  # nosec B506  # noqa: S506 - makes only text
    except UnicodeDecodeError as error:
        raise _invalid(profile_id, "it is not UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _invalid(profile_id, f"it is not YAML: {' '.join(str(error).split())}") from error
    content = content or {}
    if not isinstance(content, dict):
        raise _invalid(profile_id, "it has no fields such as `parents` and `configuration`")
    return Profile(
        id=profile_id,
        parents=_names(profile_id, content.get("parents") or []),
        attributes=_texts(profile_id, "attributes", content.get("attributes") or {}),
        configuration=_configuration(profile_id, content.get("configuration") or {}),
        resources=_texts(profile_id, "resources", content.get("resources") or {}),
        unknown={str(name): value for name, value in content.items() if name not in _FIELDS},
    )


def parse_typed_profile(profile_id: str, document: bytes) -> Profile:
    """Read a document that somebody has just typed: what YAML would silently drop is refused as well.

    Raises:
        ProfileInvalid: as `parse_profile`; or a key stands twice in one place.
    """
    profile = parse_profile(profile_id, document)
    pending = [yaml.compose(document.decode(), Loader=yaml.BaseLoader)]
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(keys):
                twice = next(key for place, key in enumerate(keys) if key in keys[:place])
                line = node.start_mark.line + 1
                raise _invalid(profile_id, f"`{twice}` stands twice in what begins in line {line}")
            pending.extend(value for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
    return profile


def serialize_profile(profile: Profile) -> bytes:
    """Write a profile document.

    Raises:
        ProfileInvalid: it would be too large to be stored.
    """
    content: dict[str, Any] = dict(profile.unknown)
    if profile.parents:
        content["parents"] = list(profile.parents)
    if profile.attributes:
        content["attributes"] = dict(profile.attributes)
    if profile.configuration:
        content["configuration"] = {pid: dict(values) for pid, values in profile.configuration.items()}
    if profile.resources:
        content["resources"] = dict(profile.resources)
    document = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000).encode()
    if len(document) > DOCUMENT_BYTES_MAX:
        raise _invalid(profile.id, f"it has {len(document)} bytes, {DOCUMENT_BYTES_MAX} are allowed")
    return document


def _names(profile_id: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _invalid(profile_id, "`parents` is not a list of profiles")
    return unique(validate_profile_name(name) for name in value)


def _texts(profile_id: str, where: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _invalid(profile_id, f"`{where}` has no keys and values")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise _invalid(profile_id, f"the value of `{key}` in `{where}` is not a text")
    return dict(value)


def _configuration(profile_id: str, value: object) -> dict[str, Mapping[str, str]]:
    if not isinstance(value, dict):
        raise _invalid(profile_id, "`configuration` has no PIDs")
    return {
        str(pid): _texts(profile_id, f"configuration of {pid}", values or {}) for pid, values in value.items()
    }


def _invalid(profile_id: str, reason: str) -> ProfileInvalid:
    return ProfileInvalid(
        f"The document of profile {profile_id} cannot be used: {reason}.",
        f"`fabric profile-edit {profile_id}` without options opens it in an editor.",
    )


def unique(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids in their order, each once."""
    return tuple(dict.fromkeys(ids))


def set_value(profile: Profile, pid: str, key: str, value: str) -> Profile:
    """Give a key of a PID a value."""
    if pid == AGENT_PID and key.startswith(ATTRIBUTE_PREFIX):
        attribute = key.removeprefix(ATTRIBUTE_PREFIX)
        return replace(profile, attributes={**profile.attributes, attribute: value})
    return _with_values(profile, pid, {**profile.configuration.get(pid, {}), key: value})


def append_value(profile: Profile, pid: str, key: str, value: str, delimiter: str) -> Profile:
    """Add a value to the list of values of a key, unless it is in it."""
    values = _split(profile.configuration.get(pid, {}).get(key, ""), delimiter)
    return set_value(profile, pid, key, delimiter.join(unique([*values, value])))


def remove_value(profile: Profile, pid: str, key: str, value: str, delimiter: str) -> Profile:
    """Take a value out of the list of values of a key; the key goes with its last value."""
    values = _split(profile.configuration.get(pid, {}).get(key, ""), delimiter)
    rest = [other for other in values if other != value]
    if rest:
        return set_value(profile, pid, key, delimiter.join(rest))
    return delete_key(profile, pid, key)


def delete_key(profile: Profile, pid: str, key: str) -> Profile:
    """Delete a key of a PID; the PID stays, since an empty PID can be one that means something."""
    if pid == AGENT_PID and key.startswith(ATTRIBUTE_PREFIX):
        attribute = key.removeprefix(ATTRIBUTE_PREFIX)
        rest = {other: value for other, value in profile.attributes.items() if other != attribute}
        return replace(profile, attributes=rest)
    values = profile.configuration.get(pid, {})
    if key not in values:
        return profile
    return _with_values(profile, pid, {other: value for other, value in values.items() if other != key})


def delete_pid(profile: Profile, pid: str) -> Profile:
    """Delete a PID with all its keys."""
    rest = {other: values for other, values in profile.configuration.items() if other != pid}
    return replace(profile, configuration=rest)


def import_pid(profile: Profile, pid: str, inherited: Mapping[str, str]) -> Profile:
    """Copy the inherited values of a PID into the profile, under those it has itself."""
    return _with_values(profile, pid, {**inherited, **profile.configuration.get(pid, {})})


def _with_values(profile: Profile, pid: str, values: Mapping[str, str]) -> Profile:
    return replace(profile, configuration={**profile.configuration, pid: values})


def _split(values: str, delimiter: str) -> list[str]:
    return [value for value in values.split(delimiter) if value]
