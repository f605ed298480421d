"""Who may connect: every client says user and password, which are checked against hashed records.

The hashes are slow on purpose: a check runs in a thread, concurrent checks of the same credentials share one,
and what was found right is remembered under a keyed hash for as long as the user's record stays the same.
"""

from __future__ import annotations

import hmac
import os
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from broker.errors import AccessDenied, ClientError, ResourceExhausted
from registry.users import UserRecord, UserStore, hash_password, verify_password
from registry.watches import Watch

Verdict = ClientError | None
"""None: accepted."""
RunInThread = Callable[[Callable[[], bool], Callable[[bool], None]], None]
"""Runs the first in a thread and gives its result to the second in the owner's thread."""

CHECKS_MAX: Final = 1_000
"""Different credentials waiting to be checked; the original admits 1000 connections at a time."""
CHECKED_TOGETHER: Final = 2
"""Hashes computed at a time: each takes a core and 8 MiB for about 20 ms."""
REMEMBERED_MAX: Final = 1_000
"""Credentials remembered as right."""
CREDENTIAL_CHARACTERS_MAX: Final = 1_024
"""Longest user name and password looked at."""
GROUP_PREFIX: Final = "_g_:"
"""Before the name of a group in a user's roles, as in `_g_:admin`, the original's first user. A group has the
role of its name."""
_REFUSED: Final = "User name [{user}] or password is invalid."


class Authenticator(Protocol):
    """Decides whether a client may connect."""

    @property
    def takes_tokens(self) -> bool:
        """Whether somebody may show a token instead of a password, now."""
        ...

    def authenticate(self, user: str | None, password: str | None, done: Callable[[Verdict], None]) -> None:
        """Check credentials; `done` is called once, at once or later, in the owner's thread.

        Args:
            user: as the client gave it.
            password: likewise.
            done: gets None if they are right, `AccessDenied` if not, another error if nobody can say now.
        """
        ...

    def admit(self, user: str, done: Callable[[Verdict], None]) -> None:
        """As `authenticate`, for who has proven in another way who he is: he only has to be a user."""
        ...

    def name_of(self, user: str, password: str | None) -> str:
        """Who somebody with these credentials is, once they were accepted: a token names its user itself."""
        ...


class Users(Authenticator, Protocol):
    """Knows the users, too."""

    def roles_of(self, user: str) -> Collection[str]:
        """The roles of a user now; none if nobody knows him."""
        ...

    def call_when_changed(self, changed: Callable[[], None] | None) -> None:
        """Call this, and no other, whenever users have changed."""
        ...


class PasswordAuthenticator:
    """Checks against records in memory. No record, no password, no user: no access."""

    def __init__(self, run_in_thread: RunInThread, users: Mapping[str, UserRecord] | None = None) -> None:
        self._run_in_thread = run_in_thread
        self._users: Mapping[str, UserRecord] | None = users
        self._key = os.urandom(32)
        self._right: dict[bytes, str] = {}
        self._checks: dict[tuple[bytes, str], list[Callable[[Verdict], None]]] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._running = 0
        self._unanswered: list[Callable[[], None]] = []
        self._nobody: str | None = None
        self._changed: Callable[[], None] | None = None

    @property
    def takes_tokens(self) -> bool:
        """See `Authenticator.takes_tokens`."""
        return False

    def roles_of(self, user: str) -> Collection[str]:
        """See `Authenticator.roles_of`."""
        record = None if self._users is None else self._users.get(user)
        return () if record is None else [role.removeprefix(GROUP_PREFIX) for role in record.roles]

    def stamp_of(self, user: str) -> str:
        """What is another with each password of a user, made anew or not; empty if nobody knows him."""
        record = None if self._users is None else self._users.get(user)
        return "" if record is None else record.password_hash

    def call_when_changed(self, changed: Callable[[], None] | None) -> None:
        """See `Authenticator.call_when_changed`."""
        self._changed = changed

    def call_when_known(self, done: Callable[[Verdict], None]) -> None:
        """Call once the records are known, perhaps at once: with None, or an error if too many wait."""
        if self._users is None:
            self._wait_for_users(lambda: done(None), done)
        else:
            done(None)

    def set_users(self, users: Mapping[str, UserRecord]) -> None:
        """The records have changed (or are known now); who waited for them is answered."""
        self._users = users
        waiting, self._unanswered = self._unanswered, []
        for ask_again in waiting:
            ask_again()
        if self._changed is not None:
            self._changed()

    def authenticate(self, user: str | None, password: str | None, done: Callable[[Verdict], None]) -> None:
        """See `Authenticator.authenticate`."""
        if not user or password is None:
            done(AccessDenied("User name and password are required."))
            return
        if max(len(user), len(password)) > CREDENTIAL_CHARACTERS_MAX:
            done(AccessDenied("User name or password is too long."))
            return
        if self._users is None:
            self._wait_for_users(lambda: self.authenticate(user, password, done), done)
            return
        record = self._users.get(user)
        stored = "" if record is None else record.password_hash
        fingerprint = self._fingerprint(user, password)
        if stored and self._right.get(fingerprint) == stored:
            done(None)
            return
        key = (fingerprint, stored)
        if key in self._checks:
            self._checks[key].append(done)
        elif len(self._checks) >= CHECKS_MAX:
            done(ResourceExhausted("Too many logins are being checked; try again."))
        else:
            self._checks[key] = [done]
            self._queue.append(lambda: self._check(key, user, password))
            self._next()

    def admit(self, user: str, done: Callable[[Verdict], None]) -> None:
        """See `Authenticator.admit`."""
        if self._users is None:
            self._wait_for_users(lambda: self.admit(user, done), done)
        elif user in self._users:
            done(None)
        else:
            done(AccessDenied(f"The certificate is of {user[:CREDENTIAL_CHARACTERS_MAX]!r}, who is no user."))

    def name_of(self, user: str, password: str | None) -> str:
        """See `Authenticator.name_of`."""
        del password
        return user

    def _wait_for_users(self, ask_again: Callable[[], None], done: Callable[[Verdict], None]) -> None:
        if len(self._unanswered) >= CHECKS_MAX:
            done(ResourceExhausted("The users are not known yet; try again."))
        else:
            self._unanswered.append(ask_again)

    def _fingerprint(self, user: str, password: str) -> bytes:
        text = f"{len(user)}:{user}{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, "sha256")

    def _next(self) -> None:
        while self._queue and self._running < CHECKED_TOGETHER:
            self._running += 1
            self._queue.popleft()()

    def _check(self, key: tuple[bytes, str], user: str, password: str) -> None:
        """Verify in a thread; an unknown user costs the same time as a wrong password."""
        stored = key[1]

        def verify() -> bool:
            if stored:
                return verify_password(password, stored)
            if self._nobody is None:
                self._nobody = hash_password("nobody")
            verify_password(password, self._nobody)
            return False

        self._run_in_thread(verify, lambda right: self._checked(key, user, right))

    def _checked(self, key: tuple[bytes, str], user: str, right: bool) -> None:
        self._running -= 1
        fingerprint, stored = key
        if right:
            if len(self._right) >= REMEMBERED_MAX:
                del self._right[next(iter(self._right))]
            self._right[fingerprint] = stored
        for done in self._checks.pop(key):
            done(None if right else AccessDenied(_REFUSED.format(user=user)))
        self._next()


class RegistryAuthenticator(PasswordAuthenticator):
    """Checks against the users in the registry; while ZooKeeper is away, against those last seen."""

    def __init__(self, store: UserStore, run_in_thread: RunInThread) -> None:
        super().__init__(run_in_thread)
        self._store = store
        self._watch: Watch | None = None

    def start(self) -> None:
        """Begin to follow the registry's users."""
        if self._watch is None:
            self._watch = self._store.watch(self.set_users)

    def close(self) -> None:
        """Stop following."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
