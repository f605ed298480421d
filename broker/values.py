"""Reads single values from the properties of a broker's PID; every refusal names the property."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from broker.errors import ConfigurationInvalid

DAY_MS: Final = 86_400_000
PERIOD_MS_MAX: Final = 10 * 365 * DAY_MS
"""Longest time after which anything is done."""


def number(values: Mapping[str, str], key: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`.

    Raises:
        ConfigurationInvalid: it is not.
    """
    text = values.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ConfigurationInvalid(f"{key} {text!r} is not a whole number from {low} to {high}.")
    return int(text)


def period(values: Mapping[str, str], key: str, default: int) -> int:
    """Milliseconds above 0; -1: never.

    Raises:
        ConfigurationInvalid: it is neither.
    """
    return -1 if values.get(key) == "-1" else number(values, key, default, 1, PERIOD_MS_MAX)


def flag(values: Mapping[str, str], key: str, default: str = "false") -> bool:
    """`true` or `false`.

    Raises:
        ConfigurationInvalid: it is neither.
    """
    text = (values.get(key) or default).lower()
    if text not in ("true", "false"):
        raise ConfigurationInvalid(f"{key} {text!r} is neither true nor false.")
    return text == "true"


def path(key: str, text: str) -> Path:
    """A path in which nothing is left to be resolved.

    Raises:
        ConfigurationInvalid: a placeholder is left.
    """
    if "${" in text:
        raise ConfigurationInvalid(f"{key} {text!r} holds a placeholder that nothing resolves.")
    return Path(text)
