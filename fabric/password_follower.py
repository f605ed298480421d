"""The ensemble's password, followed by a container: it is noted for its host, and the registry is told so.

The session adopts a new password by itself, see `registry.password`. A process that was away while the
password was changed finds the registry closed; it looks again whether somebody has noted the new one on this
host.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fabric.errors import FabricError
from fabric.reactor import Reactor, in_thread
from registry import paths
from registry.errors import AuthenticationFailed, LoginFailed, NoPermission, RegistryError
from registry.password import ToldPassword
from registry.session import SessionState

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.home import Home
    from registry.session import Session
    from registry.watches import Watch

log = logging.getLogger(__name__)

RETRY_S = 5.0

REMEDY = (
    "If the ensemble's password was changed while this host was away, type here: "
    "fabric ensemble-password --note"
)


def explained(error: RegistryError) -> str:
    """Say of an error what to do about it, if it may come from a change of the password."""
    is_password = isinstance(error, AuthenticationFailed) and not isinstance(error, LoginFailed)
    return f"{error} {REMEDY}" if is_password else str(error)


class PasswordFollower:
    """Follows what the ensemble's password is. Lives in the reactor's thread."""

    def __init__(self, reactor: Reactor, session: Session, home: Home, container: str) -> None:
        """Make it; nothing happens before `start`.

        Args:
            reactor: The container's.
            session: With the registry.
            home: Of this host, where the password is noted.
            container: Which tells the registry that it has taken the password over.
        """
        self._reactor = reactor
        self._session = session
        self._home = home
        self._container = container
        self._wanted: ToldPassword | None = None
        self._watch: Watch | None = None
        self._cancelled = False
        self._complained = False

    def start(self) -> None:
        """Begin to follow it."""
        self._watch = self._session.follow_password(self._told)
        self._session.add_state_listener(self._state_changed)

    def cancel(self) -> None:
        """Follow it no longer."""
        self._cancelled = True
        self._session.remove_state_listener(self._state_changed)
        if self._watch is not None:
            self._watch.cancel()

    def _told(self, told: ToldPassword) -> None:
        self._wanted = told
        self._take_over(told)

    def _take_over(self, told: ToldPassword) -> None:
        if not self._cancelled and told is self._wanted:
            taking = in_thread(self._reactor, self._note, told)
            taking.addErrback(self._not_noted, told)

    def _note(self, told: ToldPassword) -> None:
        """Note it for the processes that come, then say so (blocking, in a thread)."""
        self._home.change_registry_address(zookeeper_password=told.password)
        path = paths.ensemble_password_taken(self._container)
        node = self._session.get_or_none(path)
        if node is None or node.data != told.step.encode():
            self._session.put(path, told.step.encode())
            log.info("The ensemble's password that is told now is taken over")

    def _not_noted(self, failure: Failure, told: ToldPassword) -> None:
        if isinstance(failure.value, RegistryError | FabricError):
            log.warning("The ensemble's new password is not taken over: %s", failure.getErrorMessage())
        else:
            log.error("The ensemble's new password is not taken over:\n%s", failure.getTraceback())
        self._reactor.callLater(RETRY_S, self._take_over, told)

    # What to do when it was changed without us.

    def _state_changed(self, state: SessionState) -> None:
        if state is SessionState.CONNECTED:
            self._look()

    def _look(self) -> None:
        if not self._cancelled:
            in_thread(self._reactor, self._knock).addCallbacks(self._let_in, self._not_let_in)

    def _knock(self) -> None:
        """See whether the registry opens, if need be with what is noted now (blocking, in a thread)."""
        try:
            self._session.get_or_none(paths.ROOT)
        except NoPermission:
            noted = self._home.read_registry_address().zookeeper_password
            if noted == self._session.password:
                raise
            self._session.adopt(ToldPassword("", noted))
            self._session.get_or_none(paths.ROOT)

    def _let_in(self, _: None) -> None:
        self._complained = False

    def _not_let_in(self, failure: Failure) -> None:
        if failure.check(NoPermission):
            if not self._complained:
                self._complained = True
                log.error("The registry does not open to the ensemble's password known here. %s", REMEDY)
            self._reactor.callLater(RETRY_S, self._look)
        elif not failure.check(RegistryError):  # which tells its state when it is back
            log.error("Looking whether the registry opens failed:\n%s", failure.getTraceback())
