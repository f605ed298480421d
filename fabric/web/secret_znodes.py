"""What of the registry is shown to nobody: the one list of secret places, and of secret values in others."""

from __future__ import annotations

import re
from typing import Final

from fabric.encrypted import CONFIDENTIAL_WORDS, is_secret_name
from registry import paths

SECRET_TREES: Final = (
    paths.users(),  # password hashes
    paths.tokens(),  # hashes of tokens
    f"{paths.authentication()}/containers",  # containers' credentials
    paths.ensemble_password(),
    paths.ensemble_secret(),
)
"""Znodes whose data, and that of those below, is secret. That they exist is none."""
MASK: Final = "••••••"

_VALUE: Final = re.compile(
    rf"""(?P<key>["']?[\w.\-]*{CONFIDENTIAL_WORDS}[\w.\-]*["']?[ \t]*[:=][ \t]*)"""
    r"""(?P<value>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,}\]][^\n,}]*)""",
    re.IGNORECASE,
)
_ENCRYPTED: Final = re.compile(r"(?:ENC\([^)\n]*\)|\$\{crypt:[^}\n]*\}|scrypt\$[^\s\"',}]*)")
_AUTHORITY: Final = re.compile(r"(?P<before>[a-z][a-z0-9+]*://[^/\s:@]*:)[^/\s@]+(?=@)", re.IGNORECASE)


def is_secret(path: str) -> bool:
    """Whether a znode's data is shown to nobody."""
    if any(path == tree or path.startswith(f"{tree}/") for tree in SECRET_TREES):
        return True
    return is_secret_name(path.rpartition("/")[2])


def without_secrets(text: str) -> str:
    """A text in which secret values are masked: those of keys that say so, encrypted ones, those in URLs."""
    text = _VALUE.sub(_masked, text)
    text = _ENCRYPTED.sub(MASK, text)
    return _AUTHORITY.sub(lambda match: match["before"] + MASK, text)


def _masked(match: re.Match[str]) -> str:
    quote = match["value"][0] if match["value"][0] in "\"'" and len(match["value"]) > 1 else ""
    return f"{match['key']}{quote}{MASK}{quote}"
