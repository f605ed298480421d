"""A broker as a service: takes part in the election, serves while it is the master.

::

             startService                take_over                     begun
    offline ──────────────▶ slave ─────────────────▶ taking over ───────────────▶ master
                              ▲                        │                           │
                              ├─ cannot: wait, rejoin ─┘     fenced, failed: abort │
                              ├──────────────────────────────────────────────────── ┤
                              └──────── stepping down ◀───────────── step_down ──── ┘

    stopService: from everywhere to offline.

The role itself lies in the election's machine (`registry.election`); here is what the broker does about it.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from broker.cluster import Cluster
from broker.errors import BrokerError
from broker.figures import BrokerFigures
from broker.mastership import Mastership
from broker.protocols import prepare
from broker.reactor import in_thread
from broker.timeline import FAILED, FENCED, Timeline
from journal.errors import JournalError, StoreFenced
from journal.files import PosixFiles
from journal.follower import FollowerThread
from registry.election import BrokerElection
from registry.errors import RegistryError

if TYPE_CHECKING:
    from broker.config import BrokerConfig
    from broker.reactor import DelayedCall, Reactor
    from broker.security import Users
    from broker.store_identity import StoreIdentity
    from registry.session import Session

RETRY_DELAY_MIN_S: Final = 0.25
"""First pause after a failure; it doubles up to `startRetryDelay`."""
STABLE_S: Final = 10.0
"""A mastership that lasted so long was a success: the next failure begins with the first pause again."""

_log: Final = logging.getLogger("broker")


class BrokerService(Service):
    """One broker of a container. All methods are called in the reactor's thread."""

    def __init__(
        self,
        reactor: Reactor,
        config: BrokerConfig,
        session: Session,
        *,
        container: str,
        advertised_host: str,
        bind_address: str,
        users: Users,
        store: StoreIdentity | None = None,
    ) -> None:
        """Make it; nothing happens before `startService`.

        Args:
            reactor: runs it.
            config: what the broker is to be.
            session: a started session whose callbacks come to the reactor's thread.
            container: where the broker runs; its name in the group.
            advertised_host: host in the published URLs.
            bind_address: where the connectors listen.
            users: who may connect.
            store: makes sure that the store is this broker's before it joins the election; None: it is.
        """
        self._log = logging.LoggerAdapter(_log, {"broker": config.name, "group": config.group})
        self._reactor = reactor
        self._store = store
        self._store_id = ""
        self._retry: DelayedCall | None = None
        self._config = config
        self._session = session
        self._container = container
        self._advertised_host = advertised_host
        self._bind_address = bind_address
        self._users = users
        self._cluster = Cluster()
        self._election: BrokerElection | None = None
        self._mastership: Mastership | None = None
        self._taking_over: Deferred[None] | None = None
        self._follower: FollowerThread | None = None
        self._unwanted = False
        self._timeline = Timeline(
            reactor, session, group=config.group, broker=config.name, container=container
        )
        self._services: tuple[str, ...] = ()
        self._failures = 0
        self._error = ""

    @property
    def config(self) -> BrokerConfig:
        """What the broker is to be now."""
        return self._config

    # ---- Twisted

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Join the election, once it is sure that the store is ours."""
        self.running = True
        if self._store is None:
            self._join()
        else:
            self._look_at_store(self._store)

    def _look_at_store(self, store: StoreIdentity) -> None:
        self._retry = None
        in_thread(self._reactor, store.establish).addCallbacks(self._store_is_ours, self._store_is_not_ours)

    def _store_is_ours(self, store_id: str) -> None:
        self._store_id = store_id
        if self.running:
            self._error = ""
            self._failures = 0
            self._join()

    def _store_is_not_ours(self, failure: Failure) -> None:
        if not isinstance(failure.value, BrokerError | JournalError | RegistryError):
            _log.error("Broker %s: %s", self._config.name, failure.getTraceback())
        if not self.running or self._store is None:
            return
        delay_s = self._next_delay_s()
        self._error = failure.getErrorMessage()
        _log.error(
            "Broker %s does not join its group.  Will try again in %d millis: %s",
            self._config.name,
            delay_s * 1000,
            self._error,
        )
        self._retry = self._reactor.callLater(delay_s, self._look_at_store, self._store)

    def _join(self) -> None:
        self._unwanted = False
        self._election = BrokerElection(
            self._session,
            self._config.group,
            self._config.name,
            self._container,
            self,
            on_group_changed=self._group_changed,
            on_published=self._timeline.publish,
        )
        prepare(self._config.connectors)
        self._log.info("Broker %s is waiting to become the master", self._config.name)
        self._users.call_when_changed(self._change_rights)
        self._follow()
        self._election.start()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop serving, and leave the group so that a slave takes over at once."""
        self.running = False
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._users.call_when_changed(None)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        election, self._election = self._election, None
        self._unwanted = True
        self._unfollow()
        if self._taking_over is not None:
            await self._taking_over
        mastership, self._mastership = self._mastership, None
        self._services = ()
        if mastership is not None:
            self._log.info("Stopping the broker %s.", self._config.name)
            await mastership.close()
        if election is not None:
            left: Deferred[None] = Deferred()
            election.stop(lambda: None if left.called else left.callback(None))
            await left
        if mastership is not None:
            await mastership.drop_clients()
        self._timeline.close()

    def reconfigure(self, config: BrokerConfig) -> bool:
        """Take over a new configuration while running.

        Returns:
            Whether it was done: only the authorization, or the number of metrics, differs. Otherwise the
            broker has to be made anew.
        """
        before, shown_max = self._config, config.metrics_destinations
        if replace(before, authorization=config.authorization, metrics_destinations=shown_max) != config:
            return False
        self._config = config
        if before.authorization != config.authorization:
            self._log.info("Broker %s: the authorization has changed", config.name)
            self._change_rights()
        return True

    def advertise(self, host: str) -> None:
        """Publish another host in the URLs, at once if it serves. Connections stay as they are."""
        self._advertised_host = host
        if self._mastership is None or self._election is None or not self._services:
            return
        self._services = tuple(self._mastership.urls_at(host))
        _log.info("Broker %s is published at %s", self._config.name, ", ".join(self._services))
        self._election.publish(self._services)

    def _change_rights(self) -> None:
        if self._mastership is not None:
            self._mastership.change_rights(self._config.authorization)

    def status(self) -> dict[str, object]:
        """What the broker is now.

        Returns:
            `role` (`offline`, `slave`, `taking over`, `master`, `stepping down`), `broker`, `group`,
            `settled` (whether the group has decided about it), `services`, `connections`, `usage` (see
            `broker.region.usage.Usage.report`; empty while it does not serve), `notice` (what is
            incomplete although it works), and `error`: why the last attempt to serve failed, or what the
            master lacks, or empty, also if another broker serves since.
        """
        election, mastership = self._election, self._mastership
        return {
            "role": "offline" if election is None else election.state.value,
            "settled": election is not None and election.settled,
            "broker": self._config.name,
            "group": self._config.group,
            "services": list(self._services),
            "connections": 0 if mastership is None else mastership.clients,
            "usage": {} if mastership is None else mastership.usage(),
            "notice": "" if mastership is None else mastership.notice,
            "error": "" if election is not None and election.other_serves else self._fault(),
        }

    def figures(self) -> BrokerFigures:
        """What metrics are made of; see there."""
        config, election, mastership = self._config, self._election, self._mastership
        return BrokerFigures(
            name=config.name,
            group=config.group,
            role="offline" if election is None else election.state.value,
            takeovers=self._timeline.figures(),
            master=None if mastership is None else mastership.figures(config.metrics_destinations),
        )

    def _fault(self) -> str:
        return self._error or ("" if self._mastership is None else self._mastership.problem)

    def _group_changed(self) -> None:
        """Clients may want to know where else they could go."""
        if self._election is not None:
            self._cluster.update(self._election.services)

    # ---- a slave's journal

    def _follow(self) -> None:
        """Keep the index warm, so that taking over does not depend on the backlog."""
        self._unfollow()
        self._follower = FollowerThread(PosixFiles(self._config.data))
        self._follower.start()

    def _unfollow(self) -> None:
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.end()

    # ---- the election

    def take_over(self) -> None:
        """We are elected: serve."""
        self._log.info("Broker %s is now the master, starting the broker.", self._config.name)
        self._unwanted = False
        self._taking_over = Deferred.fromCoroutine(self._take_over())
        self._taking_over.addErrback(self._crashed)

    async def _take_over(self) -> None:
        follower, self._follower = self._follower, None
        config = self._config
        assert self._election is not None
        takeover = self._timeline.begin(self._election)
        mastership = Mastership(
            self._reactor,
            config,
            bind_address=self._bind_address,
            advertised_host=self._advertised_host,
            owner=f"{self._container} (pid {os.getpid()} on {socket.gethostname()})",
            users=self._users,
            on_failed=self._lost,
            follower=follower,
            cluster=self._cluster,
            takeover=takeover,
            check_store=None if self._store is None else partial(self._store.check, self._store_id),
            give_way=self._election.give_way,
        )
        try:
            self._log.info("Broker %s is being started.", self._config.name)
            await mastership.begin()
        except (BrokerError, JournalError) as error:
            self._taking_over = None
            self._cannot(error)
            return
        self._taking_over = None
        self._mastership = mastership
        if self._config is not config:
            self._change_rights()
        election = self._election
        if election is None:
            return
        if self._unwanted:
            await self._step_down()
            return
        self._error = ""
        self._services = tuple(mastership.urls_at(self._advertised_host))
        self._log.info("Broker %s has started.", self._config.name)
        election.publish(self._services)

    def _crashed(self, failure: Failure) -> None:
        """A programming error while taking over: somebody else may have more luck."""
        self._taking_over = None
        self._log.error("Broker %s: %s", self._config.name, failure.getTraceback())
        self._cannot(BrokerError(failure.getErrorMessage()))

    def _cannot(self, error: BrokerError | JournalError) -> None:
        """We cannot serve: leave it to another, and try again later."""
        self._timeline.fail()
        delay_s = self._next_delay_s()
        self._error = _fault_of(error)
        self._log.error(
            "Broker %s failed to start.  Will try again in %d millis: %s",
            self._config.name,
            delay_s * 1000,
            error,
        )
        if self._election is not None:
            self._follow()
            self._election.failed(delay_s)

    def _lost(self, mastership: Mastership, error: JournalError) -> None:
        """The journal was taken over by another broker, or has failed. All connections are closed already."""
        if mastership is not self._mastership:
            return
        self._mastership = None
        self._services = ()
        self._timeline.lose(FENCED if isinstance(error, StoreFenced) else FAILED)
        if time.monotonic() - mastership.began_s > STABLE_S:
            self._failures = 0
        if isinstance(error, StoreFenced) and not self._failures:
            self._failures = 1
            delay_s = 0.0
        else:
            delay_s = self._next_delay_s()
        self._error = _fault_of(error)
        self._log.warning(
            "Broker '%s' shut down, giving up being master: %s%s",
            self._config.name,
            error,
            f" Will try again in {delay_s * 1000:.0f} millis." if delay_s else "",
        )
        if self._election is not None:
            self._follow()
            self._election.failed(delay_s)
            self._log.info("Broker %s is waiting to become the master", self._config.name)

    def _next_delay_s(self) -> float:
        delay_s = min(RETRY_DELAY_MIN_S * float(2**self._failures), self._config.start_retry_delay_ms / 1000)
        self._failures = min(self._failures + 1, 16)
        return delay_s

    def step_down(self, reason: str) -> None:
        """Another broker is ahead of us: stop serving."""
        self._log.info("Broker %s is now a slave, stopping the broker. %s", self._config.name, reason)
        self._unwanted = True
        if self._mastership is not None:
            Deferred.fromCoroutine(self._step_down()).addErrback(self._crashed)

    async def _step_down(self) -> None:
        mastership, self._mastership = self._mastership, None
        self._services = ()
        self._timeline.lose("")
        if mastership is not None:
            await mastership.close()
            mastership.drop_clients()
        if self._election is not None:
            self._follow()
            self._election.stopped()
            self._log.info("Broker %s is waiting to become the master", self._config.name)


def _fault_of(error: BrokerError | JournalError) -> str:
    """What an operator has to know; that another broker was faster is how elections end."""
    return "" if isinstance(error, StoreFenced) else str(error)
