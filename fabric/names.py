"""The names of containers, profiles, versions and brokers, and the rules they obey.

Names become znodes, folders and parts of profile ids, so all kinds obey one pattern.

Source: fabric8 `FabricValidations`, which also gives the wording of the errors.
"""

import fnmatch
import re
from collections.abc import Container, Iterable, Sequence

from fabric.errors import ContainerNotFound, InvalidName

NAME_LENGTH_MAX = 128
"""Characters of a name: a broker profile's id joins two of them and must fit a file name (255 bytes)."""

CHILD_COUNT_MAX = 99
"""Containers created by one command, as in the original."""

NAMED_MAX = 10
"""How many names a message gives."""

_NAME = re.compile(r"[a-zA-Z0-9]+[.a-zA-Z0-9_-]*")


def validate_container_name(name: str) -> str:
    """Return the name, or raise `InvalidName`."""
    return _validate("Container", name, "letters, numbers, and _ or - characters")


def validate_profile_name(name: str) -> str:
    """Return the profile id, or raise `InvalidName`."""
    return _validate("Profile", name, "letters, numbers, and . _ or - characters")


def validate_version_name(name: str) -> str:
    """Return the version id, or raise `InvalidName`."""
    return _validate("Version", name, "letters, numbers, and . _ or - characters")


def validate_broker_name(name: str) -> str:
    """Return the broker's name, or raise `InvalidName`."""
    return _validate("Broker", name, "letters, numbers, and . _ or - characters")


def validate_group_name(name: str) -> str:
    """Return the name of a group of brokers, or raise `InvalidName`."""
    return _validate("Group", name, "letters, numbers, and . _ or - characters")


def validate_user_name(name: str) -> str:
    """Return the user's name, or raise `InvalidName`."""
    return _validate("User", name, "letters, numbers, and . _ or - characters")


def _validate(kind: str, name: str, rule: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{kind} name {name!r} is invalid. {kind} name must be: {rule}",
            "It starts with a letter or a number.",
        )
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidName(
            f"{kind} name '{name[:20]}…' is invalid. It has {len(name)} characters, "
            f"{NAME_LENGTH_MAX} are allowed.",
            "Choose a shorter one.",
        )
    return name


def version_key(version: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts versions as people count them.

    >>> sorted(["1.10", "1.2", "1.2.qa"], key=version_key)
    ['1.2', '1.2.qa', '1.10']
    """
    pieces = re.findall(r"[0-9]+|[^0-9.]+", version)
    return tuple((0, int(piece)) if piece.isdigit() else (1, piece) for piece in pieces)


def next_version(versions: Iterable[str]) -> str:
    """The version after the last one: its last number is counted up.

    >>> next_version(["1.9", "1.10"])
    '1.11'
    """
    last = max(versions, key=version_key, default="0")
    number = re.search(r"[0-9]+$", last)
    if number is None:
        return f"{last}.1"
    return f"{last[: number.start()]}{int(number.group()) + 1}"


def numbered_names(name: str, number: int, taken: Container[str] = frozenset()) -> list[str]:
    """Names for `number` containers: `name`, `name2`, `name3` …, none of them in `taken`.

    A single container gets exactly `name`. Of several the first is `name` too, if it is free; the digits at
    its end are then counted up from 2.

    Raises:
        InvalidName: the number is not between 1 and 99, or the name breaks the rules.

    Source: A-MQ 6.2, whose lab shows `brokercontainer` and `brokercontainer2`.
    """
    validate_container_name(name)
    if not 1 <= number <= CHILD_COUNT_MAX:
        raise InvalidName(f"The number of containers must be between 1 and {CHILD_COUNT_MAX}.")
    if number == 1:
        return [name]
    names = [] if name in taken else [name]
    stem = name.rstrip("0123456789") or name + "-"
    suffix = 2
    while len(names) < number:
        candidate = f"{stem}{suffix}"
        if candidate not in taken and candidate not in names:
            names.append(validate_container_name(candidate))
        suffix += 1
    return names


def expand(patterns: Sequence[str], known: Iterable[str]) -> list[str]:
    """Return the containers that the names and globs stand for, each once, in their order.

    Raises:
        ContainerNotFound: a name is not known, or a glob fits nothing.
    """
    names = sorted(known)
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not fitting:
            raise ContainerNotFound(pattern)
        found.update(dict.fromkeys(fitting))
    return list(found)


def enumerated(names: Iterable[str]) -> str:
    """Name things in a message, sorted, and not endlessly many of them."""
    ordered = sorted(names)
    more = f" and {len(ordered) - NAMED_MAX} more" if len(ordered) > NAMED_MAX else ""
    return ", ".join(ordered[:NAMED_MAX]) + more
