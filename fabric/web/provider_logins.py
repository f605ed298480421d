"""Logging in to the console by the pages of an OpenID provider."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast
from urllib.parse import quote

from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError

from broker.security import Verdict
from fabric.realms import BrowserLogin, Found, LoginRefused, RealmUnavailable
from fabric.realms.code_flow import CALLBACK
from fabric.realms.fetching import shown
from fabric.web.errors import Refused
from fabric.web.gate import CHECK_S_MAX
from fabric.web.pending_logins import PendingLogin, PendingLogins
from fabric.web.shared import Shared

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from fabric.web.console import Console
    from fabric.web.sessions import LoginSession

T = TypeVar("T")

log: Final = logging.getLogger("fabric.web")

ASKED_TOGETHER: Final = 4
"""Questions to providers at a time; each has one of the console's threads."""
WAITING_MAX: Final = 50
"""Questions that wait for a thread."""


class ProviderUsers(Protocol):
    """Knows the providers and those they vouch for; see `fabric.authenticator`."""

    def browser_logins(self) -> Sequence[BrowserLogin]:
        """Who logs people in with pages of his own, now."""
        ...

    def enter(self, found: Found, done: Callable[[Verdict], None]) -> None:
        """Let somebody in; `done` gets what is wrong with him, or None, at once or later."""
        ...


class NoProviders:
    """There are none."""

    def browser_logins(self) -> Sequence[BrowserLogin]:
        """See `ProviderUsers`."""
        return ()

    def enter(self, found: Found, done: Callable[[Verdict], None]) -> None:
        """See `ProviderUsers`."""
        raise AssertionError((found, done))


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to log in, for the login page.

    Attributes:
        title: what people call the provider.
        address: where it begins.
    """

    title: str
    address: str


class ProviderLogins:
    """The console's logins by way of providers. Lives in the reactor's thread.

    Args:
        console: whose they are.
        users: see `ProviderUsers`.
        own_url: where browsers reach the console, without a slash at the end.
    """

    def __init__(self, console: Console, users: ProviderUsers, own_url: Callable[[], str]) -> None:
        self._console = console
        self._users = users
        self._own_url = own_url
        self._pending = PendingLogins()
        self._threads = DeferredSemaphore(ASKED_TOGETHER)

    def offers(self, next_url: str) -> list[Offer]:
        """The ways to log in, each at the address to which browsers come back."""
        return [
            Offer(
                login.title,
                f"{self._redirect_url(login).removesuffix('/callback')}?next={quote(next_url, safe='')}",
            )
            for login in self._users.browser_logins()
        ]

    async def begin(self, realm: str, next_url: str, remote: str) -> tuple[str, PendingLogin]:
        """Where the browser goes, and what it began. Raises `Refused`."""
        login = self._login(realm)
        now_s = self._console.reactor.seconds()
        pending = self._pending.begin(realm, self._redirect_url(login), next_url, remote, now_s)
        try:
            return await self._ask(lambda: login.begin(pending.attempt)), pending
        except RealmUnavailable as error:
            raise self._unavailable(login, remote, error) from error

    def come_back(self, realm: str, state: str, browser: str) -> PendingLogin:
        """What a browser has begun that comes back from a provider. Raises `Refused`."""
        pending = self._pending.take(realm, state, browser, self._console.reactor.seconds())
        if pending is None:
            raise Refused(
                400,
                "This login is not waited for: it has been used, took longer than ten minutes, or began in "
                "another browser or at another address of this console.",
                "Log in again.",
            )
        return pending

    def refused(self, pending: PendingLogin, error: str, description: str, remote: str) -> Refused:
        """What somebody is told whom the provider has sent back with an error."""
        words = ": ".join(shown(text) for text in (error, description) if text)
        return self._refused(self._login(pending.realm), "", remote, f"It says {words}.")

    async def finish(self, pending: PendingLogin, code: str, issuer: str, remote: str) -> LoginSession:
        """Log in who has come back with a code. Raises `Refused`."""
        login = self._login(pending.realm)
        try:
            found = await self._ask(lambda: login.finish(pending.attempt, code, issuer))
        except RealmUnavailable as error:
            raise self._unavailable(login, remote, error) from error
        except LoginRefused as error:
            raise self._refused(login, "", remote, str(error)) from error
        verdict = await self._verdict(found)
        if verdict is not None:
            raise self._refused(login, found.name, remote, str(verdict))
        try:
            return self._console.gate.let_in(found.name, remote, login.realm)
        except Refused as error:
            self._tried(login, found.name, remote, error.what)
            raise

    async def leave(self, realm: str) -> str:
        """Where somebody goes who has logged out, to end his login at the provider, too; empty: nowhere."""
        try:
            login = self._login(realm)
            back_url = self._redirect_url(login).removesuffix(CALLBACK.format(realm=realm)) + "/login"
            return await self._ask(lambda: login.leave(back_url))
        except (Refused, RealmUnavailable) as error:
            log.warning("A logout did not reach the provider of %s: %s", realm, error)
            return ""

    # ---- what may go wrong

    def _login(self, realm: str) -> BrowserLogin:
        for login in self._users.browser_logins():
            if login.realm == realm:
                return login
        raise Refused(404, f"Nobody logs in by {shown(realm, 64)!r} here.", "Log in another way.")

    def _refused(self, login: BrowserLogin, user: str, remote: str, why: str) -> Refused:
        self._tried(login, user, remote, why)
        what = f"The login with {login.title} was refused. {why}"
        return Refused(403, what, "Try again, or log in another way.")

    def _unavailable(self, login: BrowserLogin, remote: str, error: RealmUnavailable) -> Refused:
        log.warning("The realm %s cannot log %s in: %s", login.realm, remote, error)
        return Refused(
            503,
            f"{login.title} cannot say now who you are. The container's log says why.",
            "Try again, or log in with user and password.",
        )

    def _tried(self, login: BrowserLogin, user: str, remote: str, why: str) -> None:
        log.warning("Login by %s of %r from %s was refused: %s", login.realm, user, remote, why)
        self._console.gate.when_tried(user, remote, f"refused: by {login.realm}: {why}")

    # ---- asking

    def _redirect_url(self, login: BrowserLogin) -> str:
        return login.redirect_url or self._own_url() + CALLBACK.format(realm=login.realm)

    async def _verdict(self, found: Found) -> Verdict:
        checked: Deferred[Verdict] = Deferred()
        self._users.enter(found, lambda verdict: None if checked.called else checked.callback(verdict))
        checked.addTimeout(CHECK_S_MAX, cast("IReactorTime", self._console.reactor))
        try:
            return await checked
        except TimeoutError:
            raise Refused(503, "The users are not known yet.", "Is ZooKeeper up?") from None

    async def _ask(self, call: Callable[[], T]) -> T:
        """Ask a provider in a thread, a few at a time; who goes away meanwhile does not free the thread."""
        if len(self._threads.waiting) >= WAITING_MAX:
            raise Refused(503, "Too many people log in at the same time.", "Try again in a moment.")
        return await Shared(self._in_turn(call)).result()

    async def _in_turn(self, call: Callable[[], T]) -> T:
        await self._threads.acquire()
        try:
            return await self._console.blocking(call)
        finally:
            self._threads.release()
