"""Cookies of the console: random tokens that scripts cannot read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

SECURE_PREFIX: Final = "__Host-"
"""Of a console with TLS; browsers take such a cookie from this host only, and only over TLS."""


def to_set(
    name: str,
    token: str,
    *,
    is_secure: bool,
    same_site: Literal["Strict", "Lax"] = "Strict",
    age_s_max: int | None = None,
) -> str:
    """The value of `Set-Cookie`.

    Args:
        name: without the prefix.
        token: what is kept; empty: nothing any more.
        is_secure: the console is served over TLS.
        same_site: Lax: also sent when a link of another site leads here.
        age_s_max: how long it is kept; None: as long as the browser runs.
    """
    secure = "; Secure" if is_secure else ""
    age = "; Max-Age=0" if not token else "" if age_s_max is None else f"; Max-Age={age_s_max}"
    return f"{_full(name, is_secure)}={token}; Path=/; HttpOnly; SameSite={same_site}{secure}{age}"


def found(headers: Mapping[str, str], name: str, *, is_secure: bool) -> str:
    """The token in a request's cookies, empty if there is none; what others have set does not matter."""
    for pair in headers.get("cookie", "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == _full(name, is_secure):
            return value
    return ""


def _full(name: str, is_secure: bool) -> str:
    return f"{SECURE_PREFIX}{name}" if is_secure else name
