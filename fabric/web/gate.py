"""Who asks, and whether he may: logins of browsers, HTTP Basic, bearer tokens; pages of other sites."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import quote

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError

from broker.errors import AccessDenied
from broker.security import Authenticator, Verdict
from fabric.web import cookies
from fabric.web.errors import NotAllowed, NotLoggedIn, Refused
from fabric.web.roles import Role, role_of
from fabric.web.routes import Identity, Route
from fabric.web.sessions import LoginSession, LoginSessions, LoginThrottle
from fabric.web.tokens import PREFIX

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from fabric.reactor import Reactor
    from fabric.web.known_tokens import KnownTokens
    from fabric.web.tokens import TokenRecord

log = logging.getLogger("fabric.audit")

COOKIE: Final = "fabric"
CSRF_HEADER: Final = "x-csrf-token"
NAME_CHARACTERS_MAX: Final = 64
"""Of a user's name, as it is counted and logged; longer ones are nobody's."""


CHECKS_WAITING_MAX: Final = 20
"""Of one user from one address: one password is checked after the other, so that guesses count."""
CHECK_S_MAX: Final = 10.0
"""How long a password's check may take; the users may not have been read yet."""


class KnownUsers(Authenticator, Protocol):
    """Checks passwords and knows the roles."""

    def call_when_known(self, done: Callable[[Verdict], None]) -> None:
        """Call once the users are known: with None, or with why nobody can say."""
        ...

    def roles_of(self, user: str) -> Collection[str]:
        """The roles of a user now."""
        ...

    def stamp_of(self, user: str) -> str:
        """What is another with each password of a user."""
        ...


class Gate:
    """Decides about each request.

    Attributes:
        sessions: the logins of browsers.
        when_tried: called with user, address and what became of it when somebody logs in, or may not.
        when_ended: called when a login or a token has ended: what it has open must end, too.
    """

    def __init__(self, users: KnownUsers, clock: Reactor, *, is_secure: bool, tokens: KnownTokens) -> None:
        """Make it.

        Args:
            users: Who may log in.
            clock: Monotonic.
            is_secure: The console is served over TLS.
            tokens: The API tokens.
        """
        self.sessions = LoginSessions()
        self.when_ended: Callable[[], None] = lambda: None
        self.when_tried: Callable[[str, str, str], None] = lambda user, remote, outcome: None
        self._throttle = LoginThrottle()
        self._users = users
        self._clock = clock
        self._is_secure = is_secure
        self._tokens = tokens
        self._checking: dict[tuple[str, str], DeferredLock] = {}

    # ---- every request

    async def admit(self, route: Route, headers: Mapping[str, str], remote: str) -> Identity | None:
        """Who asks, if the route is for him.

        Args:
            route: What he asks for.
            headers: By names in lower case.
            remote: His address.

        Raises:
            NotLoggedIn, NotAllowed, Refused: it is not.
        """
        if route.changes:
            _check_same_site(headers)
        identity = await self.identify(headers, remote)
        if route.role is None:
            return identity
        if identity is None:
            raise NotLoggedIn
        if identity.session and route.changes:
            given = headers.get(CSRF_HEADER, "").encode()
            if not hmac.compare_digest(given, identity.csrf.encode()):
                raise Refused(403, "This page is out of date.", "Load it again.")
        if identity.role < route.role:
            error = NotAllowed(identity.user, route.role.label)
            error.identity = identity
            raise error
        return identity

    async def identify(self, headers: Mapping[str, str], remote: str) -> Identity | None:
        """Who asks, None if the request does not say it. Raises `Refused` for what is wrong."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            user, password = _basic(value)
            return await self.check_password(user, password, remote)
        if scheme.lower() == "bearer":
            token = value.strip()
            if token.startswith(f"{PREFIX}_"):
                return await self._check_token(token, remote)
            return await self.check_realm_token(token, remote)
        return self.identity_of(cookies.found(headers, COOKIE, is_secure=self._is_secure))

    def identity_of(self, token: str, *, use: bool = True) -> Identity | None:
        """Whose login of a browser it is, None if it is over."""
        session = self.sessions.find(token, self._clock.seconds(), use=use) if token else None
        if session is None:
            return None
        role = role_of(self._users.roles_of(session.user))
        if role is None or session.stamp != self._users.stamp_of(session.user):
            self.sessions.end(session.token)  # he is gone, or has no roles, or another password
            return None
        return Identity(session.user, role, session.token, session.csrf, stamp=session.stamp)

    def still_holds(self, identity: Identity) -> bool:
        """Whether who was admitted would be admitted as the same now; it does not keep a login alive."""
        if identity.session:
            now = self.identity_of(identity.session, use=False)
        elif identity.token:
            record = self._tokens.get(identity.token)
            now = None if record is None else self._identity_of_token(record)
        else:
            role = role_of(self._users.roles_of(identity.user))
            now = None if role is None else Identity(identity.user, role)
        same = identity.stamp == self._users.stamp_of(identity.user)
        return now is not None and now.role >= identity.role and same

    def _identity_of_token(self, record: TokenRecord) -> Identity | None:
        """Whom a token stands for: its user, if he still may anything."""
        role, most = role_of(self._users.roles_of(record.user)), record.most
        if role is None or most is None:
            return None
        stamp = self._users.stamp_of(record.user)
        return Identity(record.user, min(role, most), token=record.id, stamp=stamp)

    # ---- logging in

    async def log_in(self, user: str, password: str, remote: str) -> LoginSession:
        """A new login of a browser. Raises `Refused`."""
        return self._begin(await self.check_password(user, password, remote), remote)

    def let_in(self, user: str, remote: str, realm: str) -> LoginSession:
        """The same of who has proven at a realm who he is. Raises `Refused` if none of his roles counts."""
        return self._begin(self._identity_of_user(user), remote, realm)

    def _begin(self, identity: Identity, remote: str, realm: str = "") -> LoginSession:
        log.info("User %s has logged in from %s", identity.user, remote)
        self.when_tried(identity.user, remote, "done")
        return self.sessions.begin(identity.user, identity.stamp, self._clock.seconds(), realm)

    def log_out(self, identity: Identity) -> LoginSession | None:
        """End a browser's login; returns what it was."""
        ended = self.sessions.end(identity.session)
        self.when_ended()
        return ended

    def end_user(self, user: str) -> None:
        """End all logins of a user."""
        self.sessions.end_user(user)
        self.when_ended()

    async def check_password(self, user: str, password: str, remote: str) -> Identity:
        """Who he is, if his password is right and one of his roles counts. Raises `Refused`."""
        key = (user[:NAME_CHARACTERS_MAX], remote)
        lock = self._checking.setdefault(key, DeferredLock())
        if len(lock.waiting) >= CHECKS_WAITING_MAX:
            raise Refused(429, "Too many passwords are being checked.", "Try again in a second.")
        await lock.acquire()
        try:
            await self._check(key, user, password)
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._checking.pop(key, None)
        return self._identity_of_user(self._users.name_of(user, password))

    async def _check_token(self, token: str, remote: str) -> Identity:
        """Who has shown a token of the fabric's. Raises `Refused`."""
        record = await self._tokens.find(token)
        identity = None
        if record is not None:
            verdict = await self._answer(self._users.call_when_known)
            if verdict is not None:
                raise Refused(503, str(verdict))
            identity = self._identity_of_token(record)
        if identity is None:
            raise self._unknown_token(remote)
        return identity

    def _unknown_token(self, remote: str) -> NotLoggedIn:
        self.when_tried("", remote, "refused: unknown, revoked or expired token")
        return NotLoggedIn("The token is not known, was revoked, or has expired.")

    async def check_realm_token(self, token: str, remote: str) -> Identity:
        """Who has shown a token that one of the realms vouches for. Raises `Refused`."""
        verdict = await self._verdict("", token)
        if isinstance(verdict, AccessDenied):
            raise self._unknown_token(remote)
        if verdict is not None:
            raise Refused(503, str(verdict))
        return self._identity_of_user(self._users.name_of("", token))

    def _identity_of_user(self, user: str) -> Identity:
        """A user who has proven who he is. Raises `Refused` if none of his roles counts."""
        role = role_of(self._users.roles_of(user))
        if role is None:
            names = ", ".join(role.label for role in Role)
            raise Refused(403, f"User {user} has none of the roles {names}.", "Ask an administrator for one.")
        return Identity(user, role, stamp=self._users.stamp_of(user))

    async def _verdict(self, user: str, password: str) -> Verdict:
        """What the users say of credentials. Raises `Refused` if they say nothing."""
        return await self._answer(lambda done: self._users.authenticate(user, password, done))

    async def _answer(self, ask: Callable[[Callable[[Verdict], None]], None]) -> Verdict:
        """What the users answer. Raises `Refused` if it is nothing."""
        checked: Deferred[Verdict] = Deferred()
        ask(lambda verdict: None if checked.called else checked.callback(verdict))
        checked.addTimeout(CHECK_S_MAX, cast("IReactorTime", self._clock))
        try:
            return await checked
        except TimeoutError:
            raise Refused(503, "The users are not known yet.", "Is ZooKeeper up?") from None

    async def _check(self, key: tuple[str, str], user: str, password: str) -> None:
        """Check a password unless it is too early for that. Raises `Refused`."""
        wait_s = self._throttle.wait_s(*key, self._clock.seconds())
        if wait_s > 0:
            raise Refused(
                429,
                "Too many wrong passwords.",
                f"Try again in {wait_s:.0f} s." if wait_s >= 1 else "Try again in a second.",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        verdict = await self._verdict(user, password)
        if isinstance(verdict, AccessDenied):
            self._throttle.failed(*key, self._clock.seconds())
            log.warning("Wrong password or unknown user: %r from %s", key[0], key[1])
            self.when_tried(key[0], key[1], "refused: wrong password or unknown user")
            raise NotLoggedIn("User name or password is wrong.")
        if verdict is not None:
            raise Refused(503, str(verdict))
        self._throttle.succeeded(*key)

    def cookie(self, token: str) -> str:
        """The header value that keeps a login in a browser; an empty token takes it away."""
        return cookies.to_set(COOKIE, token, is_secure=self._is_secure)


def _check_same_site(headers: Mapping[str, str]) -> None:
    """Refuse changes that a page of another site asks a browser for, with whatever credentials it has.

    Browsers say where a request comes from; programs say nothing.
    """
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        same = origin is None or origin.partition("://")[2] == headers.get("host", "")
    if not same:
        raise Refused(403, "This request comes from another site.", "Use the console's own pages.")


def challenge(headers: Mapping[str, str]) -> dict[str, str]:
    """How to log in, for answers with 401. Told of Basic, browsers would ask in a window of their own."""
    is_browser = "sec-fetch-mode" in headers or "hx-request" in headers or "cookie" in headers
    ways = 'Bearer realm="fabric"' if is_browser else 'Basic realm="fabric", Bearer realm="fabric"'
    return {"WWW-Authenticate": ways}


def login_location(url: str) -> str:
    """Where a browser logs in, and comes back from to a page of ours."""
    return f"/login?next={quote(url, safe='')}"


def safe_location(url: str) -> str:
    """A place of ours: where a browser may be sent by what a link says."""
    if not url.startswith("/") or url.startswith("//") or "\\" in url or not url.isprintable():
        return "/"
    return quote(url, safe="/?&=#%:;,+@!$'()*~[]")


def _basic(value: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(400, "The Authorization header is not HTTP Basic's.") from None
    user, _, password = text.partition(":")
    return user, password
