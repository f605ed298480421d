"""Logins that have left for a provider's pages and may come back. Pure: the time comes from outside.

Each is known by its state, ends by being taken once, and belongs to the browser that began it.

Source: RFC 6819, 4.4.1.8 and OpenID Connect Core 1.0, 3.1.2.1, for what state and nonce keep out.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from fabric.realms import Attempt

PENDING_S_MAX: Final = 600.0
"""How long somebody may take at his provider's pages."""
PENDING_MAX: Final = 10_000
"""Logins that are waited for; the oldest goes first. Each takes about a kilobyte."""
PENDING_OF_ADDRESS_MAX: Final = 100
"""The same of one address, so that nobody pushes the others' out; many people may come through one proxy."""
TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """One login that has not come back yet.

    Attributes:
        realm: whose provider was asked.
        attempt: what it was asked.
        browser: what the browser holds that has begun it.
        next: where it goes then.
        remote: its address.
        began_s: monotonic.
    """

    realm: str
    attempt: Attempt
    browser: str = field(repr=False)
    next: str
    remote: str
    began_s: float


class PendingLogins:
    """All of them."""

    def __init__(self) -> None:
        self._logins: OrderedDict[str, PendingLogin] = OrderedDict()

    def __len__(self) -> int:
        """How many are waited for."""
        return len(self._logins)

    def begin(self, realm: str, redirect_url: str, next_url: str, remote: str, now_s: float) -> PendingLogin:
        """A new one, with tokens nobody has seen before."""
        attempt = Attempt(_token(), _token(), _token(), redirect_url)
        login = PendingLogin(realm, attempt, _token(), next_url, remote, now_s)
        self._forget(now_s)
        own = [state for state, other in self._logins.items() if other.remote == remote]
        for state in own[: max(0, len(own) - PENDING_OF_ADDRESS_MAX + 1)]:
            del self._logins[state]
        self._logins[attempt.state] = login
        while len(self._logins) > PENDING_MAX:
            self._logins.popitem(last=False)
        return login

    def take(self, realm: str, state: str, browser: str, now_s: float) -> PendingLogin | None:
        """Take the one with a state, once; None if there is none, or none of this browser and realm."""
        self._forget(now_s)
        login = self._logins.get(state)
        if login is None or login.realm != realm or not browser:
            return None
        if not hmac.compare_digest(login.browser.encode(), browser.encode()):
            return None
        return self._logins.pop(state)

    def _forget(self, now_s: float) -> None:
        while self._logins:
            first = next(iter(self._logins.values()))
            if now_s - first.began_s <= PENDING_S_MAX:
                return
            del self._logins[first.attempt.state]


def _token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)
