"""Realms: who knows users beside the registry, such as an LDAP server or an OpenID provider.

Realms are found through the entry point group ``fabric.authenticators``: a function that is given the realm's
name and its properties, and returns a `Realm`. An installed package can add its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from fabric.errors import FabricError

ENTRY_POINT_GROUP: Final = "fabric.authenticators"
ROLE_PREFIX: Final = "role."


class RealmUnavailable(Exception):
    """A realm cannot say now; the text says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody whose credentials are right.

    Attributes:
        name: as he is known here.
        roles: what he may.
        realm: who says so.
        until: when that ends, seconds since 1970; 0: it has no end of its own.
    """

    name: str
    roles: tuple[str, ...]
    realm: str
    until: float = 0.0


class LoginRefused(Exception):
    """Somebody is not let in; the text says why, and may be shown to him."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login in a browser, which leads by way of the provider's own pages.

    Attributes:
        state: names it to the provider, who gives it back.
        nonce: stands in the token that comes of it.
        verifier: proves that who has begun it is who ends it (RFC 7636).
        redirect_url: where the browser comes back to.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_url: str = ""


class BrowserLogin(Protocol):
    """Logs people in who show a browser's page of their provider who they are.

    Attributes:
        realm: the realm's name.
        title: what people call the provider.
        redirect_url: where browsers come back to; empty: to the console's own address.
    """

    realm: str
    title: str
    redirect_url: str

    def begin(self, attempt: Attempt) -> str:
        """Where the browser goes. Blocks, in one of several threads. Raises `RealmUnavailable`."""
        ...

    def finish(self, attempt: Attempt, code: str, issuer: str) -> Found:
        """Who has come back. Blocks likewise.

        Args:
            attempt: what he began.
            code: what the provider gave him.
            issuer: who says that it has given it; empty: nobody.

        Raises:
            LoginRefused: he is not let in.
            RealmUnavailable: nobody can say.
        """
        ...

    def leave(self, back_url: str) -> str:
        """Where a browser goes that logs out, to end its login there, too; empty: nowhere. Blocks likewise.

        Args:
            back_url: where it comes back to.

        Raises:
            RealmUnavailable: nobody can say.
        """
        ...


class Realm(Protocol):
    """Checks credentials.

    A realm may also have `takes_tokens`, which is true if it is shown tokens instead of passwords, and
    `browser_login`, which is a `BrowserLogin` or None.

    Attributes:
        name: as in the property `realms`.
        notice: what is wrong with how it is configured, for operators; empty: nothing.
    """

    name: str
    notice: str

    def accepts(self, user: str, password: str) -> bool:
        """Whether credentials of this kind are its own to check. Takes no time."""
        ...

    def check(self, user: str, password: str) -> Found | None:
        """Who that is; None if the credentials are wrong. Blocks, in one of several threads.

        Raises:
            RealmUnavailable: it cannot say.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...


MakeRealm = Callable[[str, Mapping[str, str]], Realm]


class RealmInvalid(FabricError):
    """The properties of a realm cannot be used."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "Correct it with: fabric profile-edit")


def mapped_roles(properties: Mapping[str, str], groups: list[str]) -> tuple[str, ...]:
    """The roles of somebody's groups: `role.<group> = role, role`. Groups that are not named give none."""
    roles = [properties.get("defaultRoles", "")]
    roles += [properties.get(f"{ROLE_PREFIX}{group}", "") for group in groups]
    return tuple(dict.fromkeys(name for text in roles for name in text.replace(",", " ").split()))


def needed(realm: str, properties: Mapping[str, str], key: str) -> str:
    """A property that has to be there. Raises `RealmInvalid`."""
    value = properties.get(key, "").strip()
    if not value:
        raise RealmInvalid(f"{realm}.{key} is missing.")
    return value


def duration_s(realm: str, properties: Mapping[str, str], key: str, default_ms: int) -> float:
    """A time that is given in milliseconds. Raises `RealmInvalid`."""
    text = properties.get(key) or str(default_ms)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 3_600_000:
        raise RealmInvalid(f"{realm}.{key} {text!r} is not a number of milliseconds from 1 to 3600000.")
    return int(text) / 1000
