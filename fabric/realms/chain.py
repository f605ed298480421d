"""Asks realms one after the other, off the reactor's thread, and remembers what they said.

A realm is asked once for the same credentials, however many clients show them at a time; only so many checks
go on together, so that a thousand clients that come back after a failover are no storm for a directory. A
realm that does not answer is left alone for a while, and the next one is asked.
"""

from __future__ import annotations

import hmac
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Final

from broker.errors import AccessDenied, ResourceExhausted
from broker.security import Verdict
from fabric.realms import BrowserLogin, Found, Realm, RealmUnavailable
from registry.errors import InvalidRecord
from registry.users import check_user_name

log: Final = logging.getLogger("fabric.realms")

CHECKED_TOGETHER: Final = 4
"""Checks that go on at a time; each has a thread, and a connection to the realm's server."""
CHECKS_MAX: Final = 1_000
"""Different credentials that wait to be checked, as of the registry's users."""
REMEMBERED_MAX: Final = 10_000
"""Credentials, and users with their roles, that are remembered."""
CREDENTIAL_CHARACTERS_MAX: Final = 8_192
"""Longest user name, password or token looked at."""
RIGHT_S: Final = 300.0
"""So long right credentials are right without another question."""
WRONG_S: Final = 5.0
"""The same of wrong ones: a client in a loop does not reach the server."""
GRACE_S: Final = 600.0
"""After that, what was right is still taken for right while the realm's server does not answer."""
REST_S: Final = 5.0
"""A realm that could not say is not asked for so long."""

Answer = tuple[Found | None, tuple[str, ...]]
"""Who it is, and which realms could not say."""
RunAnswer = Callable[[Callable[[], Answer], Callable[[Answer], None]], None]
"""Runs the first in a thread and gives its result to the second in the owner's thread."""
Done = Callable[[Verdict], None]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was said of some credentials; times are monotonic."""

    found: Found | None
    until_s: float
    grace_s: float


class RealmChain:
    """Realms in their order. Lives in the owner's thread, but for `_ask`.

    Attributes:
        changes: counts how often somebody has come back with other roles.

    Args:
        realms: in the order in which they are asked.
        run: see `RunAnswer`.
        seconds: monotonic.
        right_s, grace_s: see `RIGHT_S` and `GRACE_S`.
        now: seconds since 1970.
    """

    def __init__(
        self,
        realms: Sequence[Realm],
        run: RunAnswer,
        seconds: Callable[[], float] = time.monotonic,
        *,
        right_s: float = RIGHT_S,
        grace_s: float = GRACE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.changes = 0
        self._realms = list(realms)
        self._run = run
        self._seconds = seconds
        self._now = now
        self._right_s = right_s
        self._grace_s = grace_s
        self._key = os.urandom(32)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._people: OrderedDict[str, Found] = OrderedDict()
        self._waiting: dict[bytes, list[tuple[Done, Container[str]]]] = {}
        self._queue: deque[tuple[bytes, str, str]] = deque()
        self._running = 0
        self._resting: dict[str, float] = {}

    @property
    def realms(self) -> Sequence[Realm]:
        """The realms."""
        return self._realms

    @property
    def takes_tokens(self) -> bool:
        """Whether any realm is shown tokens."""
        return any(getattr(realm, "takes_tokens", False) for realm in self._realms)

    @property
    def browser_logins(self) -> list[BrowserLogin]:
        """The realms whose providers log people in with pages of their own."""
        found = (getattr(realm, "browser_login", None) for realm in self._realms)
        return [login for login in found if login is not None]

    def take_over(self, other: RealmChain) -> None:
        """Who was let in by realms that there still are keeps his roles; nothing else is remembered."""
        names = {realm.name for realm in self._realms}
        self._people.update((name, found) for name, found in other._people.items() if found.realm in names)

    # ---- who is known

    def roles_of(self, user: str) -> Sequence[str]:
        """The roles of somebody who was let in; none if nobody knows him."""
        found = self._people.get(user)
        return () if found is None else found.roles

    def stamp_of(self, user: str) -> str:
        """What is another when somebody has come back with other roles or from another realm."""
        found = self._people.get(user)
        return "" if found is None else " ".join((found.realm, *found.roles))

    def name_of(self, user: str, password: str | None) -> str:
        """Who has shown these credentials."""
        known = self._known.get(self._fingerprint(user, password or ""))
        return user if known is None or known.found is None else known.found.name

    def enter(self, found: Found, taken: Container[str] = ()) -> Verdict:
        """Let somebody in whom a realm has vouched for; `taken` as of `check`."""
        return self._verdict(found.name, found, taken)

    # ---- checks

    def check(self, user: str, password: str, done: Done, taken: Container[str] = ()) -> None:
        """Check credentials; `done` is called at once or later.

        Args:
            user: as the client gave it; may be empty beside a token.
            password: or a token.
            done: see `broker.security.Authenticator`.
            taken: names that no realm may give to anybody.
        """
        if max(len(user), len(password)) > CREDENTIAL_CHARACTERS_MAX:
            done(AccessDenied("User name or password is too long."))
            return
        key = self._fingerprint(user, password)
        known = self._known.get(key)
        if known is not None and self._seconds() < known.until_s:
            done(self._verdict(user, known.found, taken))
        elif key in self._waiting:
            self._waiting[key].append((done, taken))
        elif len(self._waiting) >= CHECKS_MAX:
            done(ResourceExhausted("Too many logins are being checked; try again."))
        else:
            self._waiting[key] = [(done, taken)]
            self._queue.append((key, user, password))
            self._next()

    def _next(self) -> None:
        while self._queue and self._running < CHECKED_TOGETHER:
            self._running += 1
            key, user, password = self._queue.popleft()
            self._start(key, user, password)

    def _start(self, key: bytes, user: str, password: str) -> None:
        resting = {name for name, until_s in self._resting.items() if self._seconds() < until_s}
        asked = [realm for realm in self._realms if realm.accepts(user, password)]
        self._run(
            lambda: _ask(asked, resting, user, password),
            lambda answer: self._answered(key, user, answer, resting),
        )

    def _answered(self, key: bytes, user: str, answer: Answer, resting: set[str]) -> None:
        self._running -= 1
        found, away = answer
        now_s = self._seconds()
        for name in set(away) - resting:
            self._resting[name] = now_s + REST_S
        known = self._known.get(key)
        if found is None and away and known is not None and known.found and now_s < known.grace_s:
            found = known.found
        elif found is not None or not away:
            self._remember(key, found, now_s)
        for done, taken in self._waiting.pop(key):
            if found is None and away:
                done(ResourceExhausted(f"Logins cannot be checked now ({', '.join(away)}); try again."))
            else:
                done(self._verdict(user, found, taken))
        self._next()

    def _remember(self, key: bytes, found: Found | None, now_s: float) -> None:
        right_s = self._right_s
        grace_s = self._grace_s
        if found is None:
            right_s, grace_s = WRONG_S, 0.0
        elif found.until:
            left_s = max(0.0, found.until - self._now())
            right_s, grace_s = min(right_s, left_s), max(0.0, min(grace_s, left_s - right_s))
        self._known.pop(key, None)
        self._known[key] = _Known(found, now_s + right_s, now_s + right_s + grace_s)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)

    def _verdict(self, user: str, found: Found | None, taken: Container[str]) -> Verdict:
        """Let somebody in, unless his name is another's."""
        if found is None:
            return AccessDenied(f"User name [{user}] or password is invalid.")
        try:
            check_user_name(found.name)
        except InvalidRecord as error:
            return AccessDenied(f"The realm {found.realm} names somebody who can be no user: {error}")
        before = self._people.get(found.name)
        if found.name in taken or (before is not None and before.realm != found.realm):
            owner = "the registry" if before is None else f"the realm {before.realm}"
            log.warning("%s of the realm %s is refused: that is a user of %s", found.name, found.realm, owner)
            return AccessDenied(f"User {found.name} of the realm {found.realm} is a user of {owner}, too.")
        if before is not None and before.roles != found.roles:
            self.changes += 1
        self._people.pop(found.name, None)
        self._people[found.name] = found
        while len(self._people) > REMEMBERED_MAX:
            self._people.popitem(last=False)
        return None

    def _fingerprint(self, user: str, password: str) -> bytes:
        text = f"{len(user)}:{user}{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, "sha256")


def _ask(realms: Sequence[Realm], resting: set[str], user: str, password: str) -> Answer:
    """Ask one after the other. In a thread."""
    away: list[str] = []
    for realm in realms:
        if realm.name in resting:
            away.append(realm.name)
            continue
        try:
            found = realm.check(user, password)
        except RealmUnavailable as error:
            log.warning(
                "The realm %s cannot check logins; it is left alone for a while: %s", realm.name, error
            )
            away.append(realm.name)
        except Exception:  # foreign code: whatever it raises must not hold up logins
            log.exception("The realm %s has failed", realm.name)
            away.append(realm.name)
        else:
            if found is not None:
                return found, tuple(away)
    return None, tuple(away)
