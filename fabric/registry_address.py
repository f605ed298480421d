"""Where the registry is, followed: the fabric's own ensemble may get other servers.

What a container hears of in the registry it notes for its host, so that commands and later processes find the
ensemble, and its session looks for servers there from then on. An address that nobody answers at is not taken
over: the registry may say it in words that this host does not understand.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from fabric.ensemble_health import addresses_of
from fabric.errors import FabricError
from fabric.home import Home
from fabric.reactor import Reactor, in_thread
from fabric.store import ContainerStore
from registry import paths
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from registry.session import Session
    from registry.watches import Watch

log = logging.getLogger(__name__)

PROBE_S = 2.0
"""How long a server may take to accept a connection."""

RETRY_S = 5.0


class AddressFollower:
    """Follows where the ensemble is. Lives in the reactor's thread."""

    def __init__(self, reactor: Reactor, session: Session, home: Home, on_url: Callable[[str], None]) -> None:
        """Make it; nothing happens before `start`.

        Args:
            reactor: The container's.
            session: With the registry; it is told of other servers.
            home: Of this host, where the address is noted.
            on_url: Called with an address that was taken over.
        """
        self._reactor = reactor
        self._session = session
        self._home = home
        self._on_url = on_url
        self._wanted = ""
        self._watch: Watch | None = None

    def start(self) -> None:
        """Begin to follow it."""
        self._watch = self._session.watch_data(paths.ensemble_url(), self._changed)

    def cancel(self) -> None:
        """Follow it no longer."""
        self._wanted = ""
        if self._watch is not None:
            self._watch.cancel()

    def _changed(self, data: bytes | None) -> None:
        url = (data or b"").decode(errors="replace")
        self._wanted = url
        if url and url != self._session.url:
            self._take_over(url)

    def _take_over(self, url: str) -> None:
        if url != self._wanted:
            return  # it has changed again, or we have ended
        taking = in_thread(self._reactor, self._note, url)
        taking.addCallbacks(self._noted, self._not_noted, callbackArgs=(url,), errbackArgs=(url,))

    def _note(self, url: str) -> bool:
        """Note it, if it is the fabric's own ensemble's and somebody answers (blocking, in a thread)."""
        if not ContainerStore(self._session).ensemble_members():
            return False  # each host has its own way to an ensemble that is others'
        if not any(_accepts(address) for address in addresses_of(url)):
            raise FabricError(f"None of the ensemble's servers {url} is reached from this host.")
        self._session.move_to(url)
        self._home.change_registry_address(zookeeper_url=url)
        return True

    def _noted(self, is_noted: bool, url: str) -> None:
        if is_noted:
            log.info("The registry is at %s now", url)
            self._on_url(url)

    def _not_noted(self, failure: Failure, url: str) -> None:
        if isinstance(failure.value, RegistryError | FabricError):
            log.warning("The ensemble's new address is not taken over: %s", failure.getErrorMessage())
        else:
            log.error("The ensemble's new address is not taken over:\n%s", failure.getTraceback())
        self._reactor.callLater(RETRY_S, self._take_over, url)


def _accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, PROBE_S).close()
    except OSError:
        return False
    return True
