"""Logins of browsers, and who has given wrong passwords too often. Pure: the time comes from outside.

Source: OWASP, session management and authentication cheat sheets.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

IDLE_S_MAX: Final = 30 * 60.0
"""A browser that asks for nothing for so long is logged out. A page that is open asks by itself."""
AGE_S_MAX: Final = 12 * 3600.0
"""After so long everybody logs in again."""
SESSIONS_MAX: Final = 1_000
"""Logins kept; the one unused for longest goes first."""
SESSIONS_OF_USER_MAX: Final = 50
"""Logins of one user kept, so that nobody pushes the others out."""
TOKEN_BYTES: Final = 32

FREE_FAILURES: Final = 5
"""Wrong passwords of a user from one address that cost nothing."""
FREE_FAILURES_AROUND: Final = 50
"""Wrong passwords of a user from everywhere, and of everybody from one address, that cost nothing: many
people may come through one proxy."""
DELAY_S_MIN: Final = 1.0
DELAY_S_MAX: Final = 60.0
"""After each further one nothing is checked for this long, doubling from the one to the other."""
FORGET_S: Final = 15 * 60.0
"""Failures count for so long after the last one."""
WATCHED_MAX: Final = 10_000
"""Users and addresses whose failures are counted."""
KNOWN_MAX: Final = 10_000
"""Places from where a user has logged in that are remembered."""


@dataclass(slots=True)
class LoginSession:
    """One browser's login.

    Attributes:
        token: what the browser holds.
        csrf: what the pages of this login send with each change.
        stamp: of the user's password when he logged in; another password ends the login.
        realm: by whose provider's pages he came; empty: by a password.
    """

    token: str
    csrf: str
    user: str
    stamp: str
    began_s: float
    used_s: float
    realm: str = ""


class LoginSessions:
    """All logins of browsers."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, LoginSession] = OrderedDict()

    def begin(self, user: str, stamp: str, now_s: float, realm: str = "") -> LoginSession:
        """A new login, with tokens nobody has seen before."""
        session = LoginSession(_token(), _token(), user, stamp, now_s, now_s, realm)
        own = [token for token, other in self._sessions.items() if other.user == user]
        for token in own[: max(0, len(own) - SESSIONS_OF_USER_MAX + 1)]:
            del self._sessions[token]
        self._sessions[session.token] = session
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return session

    def find(self, token: str, now_s: float, *, use: bool = True) -> LoginSession | None:
        """The login with a token, if it has not expired; unless `use` is false its idle time starts anew."""
        session = self._sessions.get(token)
        if session is None:
            return None
        if now_s - session.used_s > IDLE_S_MAX or now_s - session.began_s > AGE_S_MAX:
            del self._sessions[token]
            return None
        if use:
            session.used_s = now_s
            self._sessions.move_to_end(token)
        return session

    def any(self, now_s: float) -> bool:
        """Whether anybody is logged in."""
        return any(self.find(token, now_s, use=False) for token in list(self._sessions))

    def end(self, token: str) -> LoginSession | None:
        """Log out; returns the login that was."""
        return self._sessions.pop(token, None)

    def end_user(self, user: str) -> None:
        """Log a user out everywhere."""
        for token in [token for token, session in self._sessions.items() if session.user == user]:
            del self._sessions[token]


class LoginThrottle:
    """Slows down who gives wrong passwords.

    A user's failures from one address count strictly. All of a user's, and all of an address's, count too,
    but not for a user at an address from where he has logged in before: whoever guesses elsewhere, or shares
    his proxy, does not lock him out.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, user: str, address: str, now_s: float) -> float:
        """How long nothing is checked for this user at this address; 0: a password is checked now."""
        own = self._wait_s((user, address), FREE_FAILURES, now_s)
        if (user, address) in self._known:
            return own
        return max(own, *(self._wait_s(key, FREE_FAILURES_AROUND, now_s) for key in _around(user, address)))

    def failed(self, user: str, address: str, now_s: float) -> None:
        """A password was wrong."""
        for key in ((user, address), *_around(user, address)):
            count, last_s = self._failures.pop(key, (0, now_s))
            count = 0 if now_s - last_s > FORGET_S else count
            self._failures[key] = (count + 1, now_s)
        while len(self._failures) > WATCHED_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, user: str, address: str) -> None:
        """A password was right: what was wrong before was a slip. Others' failures go on to count."""
        self._failures.pop((user, address), None)
        self._known[user, address] = None
        self._known.move_to_end((user, address))
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _wait_s(self, key: tuple[str, str], free: int, now_s: float) -> float:
        count, last_s = self._failures.get(key, (0, now_s))
        if count < free or now_s - last_s > FORGET_S:
            return 0.0
        delay_s = min(DELAY_S_MIN * 2.0 ** min(count - free, 30), DELAY_S_MAX)
        return max(0.0, last_s + delay_s - now_s)


def _around(user: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The keys of a user from everywhere and of everybody from an address."""
    return (user, ""), ("", address)


def _token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)
