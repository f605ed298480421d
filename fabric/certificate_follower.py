"""A container's watch over the certificates of its ZooKeeper server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed

from fabric.reactor import Reactor, in_thread
from fabric.server_renewal import Outcome, ServerRenewal

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.home import Home
    from fabric.reactor import DelayedCall
    from fabric.services.zookeeper import ManagedServer

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often it is looked whether files were replaced, and how far a renewal is."""


class CertificateFollower:
    """Has a server take over the files that are put down for it. Lives in the reactor's thread."""

    def __init__(self, reactor: Reactor, server: ManagedServer, renewal: ServerRenewal) -> None:
        """Make it; nothing happens before `start`."""
        self._reactor = reactor
        self._server = server
        self._renewal = renewal
        self._timer: DelayedCall | None = None
        self._step: Deferred[None] | None = None
        self._cancelled = False

    def start(self) -> None:
        """Begin to look."""
        self._timer = self._reactor.callLater(LOOK_S, self._look)

    def cancel(self) -> Deferred[None]:
        """Look no longer; fires when nothing is under way any more. The server goes on."""
        self._cancelled = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        waiting: Deferred[None] = Deferred()
        (self._step or succeed(None)).addBoth(lambda _: waiting.callback(None))
        return waiting.addCallback(lambda _: in_thread(self._reactor, self._renewal.close))

    def _look(self) -> None:
        self._step = in_thread(self._reactor, self._renewal.step).addCallbacks(self._looked, self._failed)

    def _looked(self, outcome: Outcome) -> None:
        self._step = None
        self._server.notice = self._renewal.notice
        if self._cancelled:
            return
        if outcome is Outcome.RESTART:
            self._server.restart()
        self._timer = self._reactor.callLater(LOOK_S, self._look)

    def _failed(self, failure: Failure) -> None:
        log.error("The certificates of the ZooKeeper server are not looked at:\n%s", failure.getTraceback())
        self._looked(Outcome.PENDING)


def follow_certificates(reactor: Reactor, home: Home, container: str, server: ManagedServer | None) -> None:
    """Follow what is put down for a container's server, if it has one with TLS, until that is left alone."""
    if server is not None and server.settings.plain_port:
        follower = CertificateFollower(reactor, server, ServerRenewal(home, container, server.settings))
        server.on_end = follower.cancel
        follower.start()
