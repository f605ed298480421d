"""The address that a container advertises, followed: another resolver or address counts at once.

`ip` refers to the field that the resolver names, so whichever of the fields changes, `ip` is looked up anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from fabric.addresses import RESOLVERS
from fabric.reactor import in_thread
from fabric.resolvers import address_of
from fabric.znodes import read_text
from registry import paths
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from fabric.reactor import Reactor
    from registry.session import Session
    from registry.watches import Watch

log = logging.getLogger(__name__)


class OwnAddress:
    """Follows one container's address. Lives in the reactor's thread."""

    def __init__(
        self, reactor: Reactor, session: Session, container: str, on_address: Callable[[str], None]
    ) -> None:
        """Make it; nothing happens before `start`.

        Args:
            reactor: The container's.
            session: With the registry.
            container: Its name.
            on_address: Called with the address whenever it was looked up, changed or not.
        """
        self._reactor = reactor
        self._session = session
        self._container = container
        self._on_address = on_address
        self._watches: list[Watch] = []
        self._is_looking = False
        self._look_again = False

    def start(self) -> None:
        """Begin to follow it."""
        for field in ("ip", *RESOLVERS):
            path = paths.container_config_field(self._container, field)
            self._watches.append(self._session.watch_data(path, self._changed))

    def cancel(self) -> None:
        """Follow it no longer."""
        for watch in self._watches:
            watch.cancel()
        self._watches.clear()

    def _changed(self, data: bytes | None) -> None:
        del data
        if self._is_looking:
            self._look_again = True
            return
        self._is_looking = True
        looking: Deferred[str] = in_thread(self._reactor, self._look_up)
        looking.addCallbacks(self._found, self._not_found)

    def _look_up(self) -> str:
        path = paths.container_config_field(self._container, "ip")
        return address_of(self._session, {"ip": read_text(self._session, path) or ""})

    def _found(self, address: str) -> None:
        self._is_looking = False
        if self._look_again:
            self._look_again = False
            self._changed(None)
        elif self._watches and address and "${" not in address:
            self._on_address(address)

    def _not_found(self, failure: Failure) -> None:
        """ZooKeeper is away; the watches deliver anew when it is back."""
        self._is_looking = self._look_again = False
        failure.trap(RegistryError)
        log.warning("The container's address could not be looked up: %s", failure.getErrorMessage())
