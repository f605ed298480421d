"""Encrypted values in profiles: where they are, and which values should be encrypted. Pure.

An encrypted value, or a part of one, is the placeholder ``${crypt:…}``, as the original wrote it; what stands
in it is described in `fabric.crypt`. Only a container replaces it, when it provisions: everything else shows
the placeholder. What comes out of it is taken as it is: a password may look like a placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from fabric.errors import CryptError
from fabric.profiles import Profile

CONFIDENTIAL_WORDS: Final = (
    r"(?:password|passwd|secret|credential|private[._-]?key|api[._-]?key|access[._-]?token)"
)
"""What the name of a property, or the last part of a path, says when its value is secret."""

BRING_KEY: Final = (
    "Bring the key: `fabric crypt-export FILE` on a host that has it, `fabric crypt-import FILE` here."
)

_PLACEHOLDER: Final = re.compile(r"\$\{crypt:([^${}]*)\}")
_SECRET_NAME: Final = re.compile(CONFIDENTIAL_WORDS, re.IGNORECASE)


def placeholder(text: str) -> str:
    """What stands in a profile for an encrypted text."""
    return f"${{crypt:{text}}}"


def encrypted_texts(value: str) -> list[str]:
    """The encrypted texts in a value."""
    return _PLACEHOLDER.findall(value)


def replaced(value: str, change: Callable[[str], str]) -> str:
    """A value with something else for each of its placeholders, given what stands in it."""
    return _PLACEHOLDER.sub(lambda match: change(match[1]), value)


def is_secret_name(name: str) -> bool:
    """Whether a property of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def stands_in_clear(name: str, value: str) -> bool:
    """Whether a property holds a secret that everybody who reads the profile can read."""
    return bool(value) and is_secret_name(name) and "${" not in value and value != "#deleted#"


def clear_secrets(profile: Profile) -> Iterator[tuple[str, str]]:
    """PID and name of each property of a profile that holds a secret in the clear."""
    for pid, values in sorted(profile.configuration.items()):
        for name, value in sorted(values.items()):
            if stands_in_clear(name, value):
                yield pid, name


def changed_values(profile: Profile, change: Callable[[str, str, str], str]) -> Profile:
    """A profile with changed values; `change` is given PID, name and value of each."""
    configuration = {
        pid: {name: change(pid, name, value) for name, value in values.items()}
        for pid, values in profile.configuration.items()
    }
    return replace(profile, configuration=configuration)


@dataclass(frozen=True, slots=True)
class Decrypted:
    """Configuration as services are given it.

    Attributes:
        configuration: by PID; without the PIDs in `problems`.
        problems: what is wrong with each PID that holds something nobody here can decrypt.
    """

    configuration: Mapping[str, Mapping[str, str]] = field(repr=False)
    problems: Mapping[str, str] = field(default_factory=dict)


def decrypt_all(configuration: Mapping[str, Mapping[str, str]], decrypt: Callable[[str], str]) -> Decrypted:
    """Replace all placeholders.

    Args:
        configuration: By PID.
        decrypt: Given what stands in a placeholder, returns the text; raises `CryptError`.
    """
    found: dict[str, Mapping[str, str]] = {}
    problems: dict[str, str] = {}
    for pid, values in configuration.items():
        clear: dict[str, str] = {}
        for name, value in values.items():
            try:
                clear[name] = replaced(value, decrypt)
            except CryptError as error:
                advice = f" {error.do_next}" if error.do_next else ""
                problems.setdefault(pid, f"the property {name} cannot be decrypted: {error.what}{advice}")
        if pid not in problems:
            found[pid] = clear
    return Decrypted(found, problems)


def has_encrypted(configuration: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether any value is encrypted."""
    return any("${crypt:" in value for values in configuration.values() for value in values.values())
