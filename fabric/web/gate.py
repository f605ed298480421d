"""Who asks, and whether he may: logins of browsers, HTTP Basic, bearer tokens; pages of other sites."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Collection, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from twisted.internet.defer import Deferred

from broker.security import Authenticator, Verdict
from fabric.web.errors import NotAllowed, NotLoggedIn, Refused
from fabric.web.roles import Role, role_of
from fabric.web.routes import Identity, Route
from fabric.web.sessions import LoginSession, LoginSessions, LoginThrottle

COOKIE: Final = "fabric"
SECURE_COOKIE: Final = "__Host-fabric"
"""Of a console with TLS; browsers take it from this host only, and only over TLS."""
CSRF_HEADER: Final = "x-csrf-token"


class KnownUsers(Authenticator, Protocol):
    """Checks passwords and knows the roles."""

    def roles_of(self, user: str) -> Collection[str]:
        """The roles of a user now."""
        ...


TokenLookup = Callable[[str], "Identity | None"]
"""Whom a bearer token stands for."""


class Gate:
    """Decides about each request."""

    def __init__(
        self, users: KnownUsers, seconds: Callable[[], float], *, is_secure: bool, token: TokenLookup
    ) -> None:
        """Make it.

        Args:
            users: Who may log in.
            seconds: The time, monotonic.
            is_secure: The console is served over TLS.
            token: Finds the owner of an API token.
        """
        self.sessions = LoginSessions()
        self._throttle = LoginThrottle()
        self._users = users
        self._seconds = seconds
        self._is_secure = is_secure
        self._token = token

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
        identity = await self.identify(headers, remote)
        if identity is not None and identity.session and route.changes:
            self._check_same_site(identity, headers)
        if route.role is None:
            return identity
        if identity is None:
            raise NotLoggedIn
        if identity.role < route.role:
            raise NotAllowed(identity.user, route.role.label)
        return identity

    async def identify(self, headers: Mapping[str, str], remote: str) -> Identity | None:
        """Who asks, None if the request does not say it. Raises `Refused` for what is wrong."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            user, password = _basic(value)
            return await self.check_password(user, password, remote)
        if scheme.lower() == "bearer":
            identity = self._token(value.strip())
            if identity is None:
                raise Refused(401, "The token is not known, or has expired.")
            return identity
        return self.identity_of(self._cookie(headers))

    def identity_of(self, token: str, *, use: bool = True) -> Identity | None:
        """Whose login of a browser it is, None if it is over."""
        session = self.sessions.find(token, self._seconds(), use=use) if token else None
        if session is None:
            return None
        role = role_of(self._users.roles_of(session.user))
        if role is None:  # his roles were taken away, or he is gone
            self.sessions.end(session.token)
            return None
        return Identity(session.user, role, session.token, session.csrf)

    def _check_same_site(self, identity: Identity, headers: Mapping[str, str]) -> None:
        """A change in the name of a browser's login comes from a page of ours."""
        site = headers.get("sec-fetch-site", "same-origin")
        origin = headers.get("origin")
        host = headers.get("host", "")
        if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != host):
            raise Refused(403, "This request comes from another site.", "Use the console's own pages.")
        if not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), identity.csrf.encode()):
            raise Refused(403, "This page is out of date.", "Load it again.")

    # ---- logging in

    async def log_in(self, user: str, password: str, remote: str) -> LoginSession:
        """A new login of a browser. Raises `Refused`."""
        identity = await self.check_password(user, password, remote)
        return self.sessions.begin(identity.user, self._seconds())

    def log_out(self, identity: Identity) -> None:
        """End a browser's login."""
        self.sessions.end(identity.session)

    async def check_password(self, user: str, password: str, remote: str) -> Identity:
        """Who he is, if his password is right and one of his roles counts. Raises `Refused`."""
        keys = (f"user {user}", f"address {remote}")
        wait_s = self._throttle.wait_s(keys, self._seconds())
        if wait_s > 0:
            raise Refused(
                429,
                "Too many wrong passwords.",
                f"Try again in {wait_s:.0f} s." if wait_s >= 1 else "Try again in a second.",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        checked: Deferred[Verdict] = Deferred()
        self._users.authenticate(user, password, checked.callback)
        verdict = await checked
        if verdict is not None:
            self._throttle.failed(keys, self._seconds())
            raise Refused(401, "User name or password is wrong.")
        role = role_of(self._users.roles_of(user))
        if role is None:
            names = ", ".join(role.label for role in Role)
            raise Refused(403, f"User {user} has none of the roles {names}.", "Ask an administrator for one.")
        self._throttle.succeeded(keys)
        return Identity(user, role)

    # ---- cookies

    @property
    def _cookie_name(self) -> str:
        return SECURE_COOKIE if self._is_secure else COOKIE

    def cookie(self, token: str) -> str:
        """The header value that keeps a login in a browser; an empty token takes it away."""
        age = "" if token else "; Max-Age=0"
        secure = "; Secure" if self._is_secure else ""
        return f"{self._cookie_name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{age}"

    def _cookie(self, headers: Mapping[str, str]) -> str:
        jar = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return ""
        morsel = jar.get(self._cookie_name)
        return "" if morsel is None else morsel.value


def login_location(url: str) -> str:
    """Where a browser logs in, and comes back from to a page of ours."""
    return f"/login?next={quote(url, safe='')}"


def safe_location(url: str) -> str:
    """A place of ours: where a browser may be sent by what a link says."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc or not url.startswith("/") or url.startswith(("//", "/\\")):
        return "/"
    return url


def _basic(value: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(400, "The Authorization header is not HTTP Basic's.") from None
    user, _, password = text.partition(":")
    return user, password
