"""Who may use the services of a container: the registry's users, and those of the container's realms.

A name that is a user's in the registry is the registry's alone, so that no other server can make itself an
administrator of the fabric, and a broken one locks nobody out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from broker.errors import AccessDenied
from broker.security import RegistryAuthenticator, Verdict
from fabric.reactor import in_thread
from fabric.services.authentication import PID
from registry.users import UserStore

if TYPE_CHECKING:
    from fabric.realms import BrowserLogin, Found
    from fabric.realms.chain import RealmChain
    from fabric.services import ServiceContext


class FabricAuthenticator(RegistryAuthenticator):
    """Checks against the registry's users and the realms.

    Args:
        context: of the container.
    """

    def __init__(self, context: ServiceContext) -> None:
        def run_in_thread(call: Callable[[], bool], done: Callable[[bool], None]) -> None:
            in_thread(context.reactor, call).addCallback(done)

        super().__init__(UserStore(context.session), run_in_thread)
        self._context = context
        self._changes = 0

    @property
    def _chain(self) -> RealmChain | None:
        """The container's realms, if it has any now."""
        service = self._context.services.get(PID)
        chain: RealmChain | None = getattr(service, "chain", None)
        return chain

    @property
    def takes_tokens(self) -> bool:
        """See `Authenticator.takes_tokens`."""
        chain = self._chain
        return chain is not None and chain.takes_tokens

    def browser_logins(self) -> Sequence[BrowserLogin]:
        """The realms whose providers log people in with pages of their own."""
        chain = self._chain
        return () if chain is None else chain.browser_logins

    def _is_ours(self, user: str) -> bool:
        return self._users is not None and user in self._users

    def authenticate(self, user: str | None, password: str | None, done: Callable[[Verdict], None]) -> None:
        """See `Authenticator.authenticate`."""
        chain = self._chain
        if chain is None or not password or self._is_ours(user or ""):
            super().authenticate(user, password, done)
        elif self._users is None:
            self._wait_for_users(lambda: self.authenticate(user, password, done), done)
        else:
            chain.check(
                user or "", password, lambda verdict: self._decided(chain, verdict, done), self._users
            )

    def enter(self, found: Found, done: Callable[[Verdict], None]) -> None:
        """Let somebody in whom one of the realms has vouched for; `done` as of `authenticate`."""
        chain = self._chain
        if chain is None:
            done(AccessDenied(f"There is no realm {found.realm} any more."))
        elif self._users is None:
            self._wait_for_users(lambda: self.enter(found, done), done)
        else:
            self._decided(chain, chain.enter(found, self._users), done)

    def _decided(self, chain: RealmChain, verdict: Verdict, done: Callable[[Verdict], None]) -> None:
        if verdict is None and chain.changes != self._changes:
            self._changes = chain.changes
            if self._changed is not None:
                self._changed()
        done(verdict)

    def name_of(self, user: str, password: str | None) -> str:
        """See `Authenticator.name_of`."""
        chain = self._chain
        return user if chain is None or self._is_ours(user) else chain.name_of(user, password)

    def roles_of(self, user: str) -> Collection[str]:
        """See `Users.roles_of`."""
        chain = self._chain
        return super().roles_of(user) if chain is None or self._is_ours(user) else chain.roles_of(user)

    def stamp_of(self, user: str) -> str:
        """See `PasswordAuthenticator.stamp_of`."""
        chain = self._chain
        return super().stamp_of(user) if chain is None or self._is_ours(user) else chain.stamp_of(user)
