"""One term of a broker as the master: its journal, its region, its connectors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from broker.admission import LoginGuard, Refusals
from broker.authorization import Rights
from broker.cluster import Cluster
from broker.config import IGNORE_MISSING
from broker.connector import TransportConnector
from broker.errors import ProtocolUnavailable
from broker.failed_logins import LoginAudit
from broker.figures import gather
from broker.identity import BrokerIdentity, program_version
from broker.management.audit import audit_login
from broker.management.endpoint import ManagementEndpoint
from broker.management.management import Management
from broker.protocols import broker_id, lack, server_builder
from broker.ranking import Ranking
from broker.reactor import in_thread
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.serving import ServerContext
from broker.stall import StallWatch
from broker.takeover import Phase, Takeover
from broker.turn import Turn
from broker.usage import usage_limits
from journal.errors import JournalError, StoreIncomplete
from journal.journal import Journal
from journal.options import JournalOptions

if TYPE_CHECKING:
    from broker.authorization import Authorization
    from broker.certificates import CertificateStore
    from broker.config import BrokerConfig
    from broker.figures import MasterFigures
    from broker.reactor import Reactor
    from broker.region.usage import UsageLimits
    from broker.security import Users
    from journal.files import Files
    from journal.follower import FollowerThread

CLOSE_S_MAX: Final = 10.0
"""How long the last batch may take when the broker is stopped."""
LAST_WORDS_S: Final = 0.005
"""How long clients are still read from when the broker is stopped: a few passes of the reactor."""

_log: Final = logging.getLogger("broker")


class Mastership:
    """Made when the broker is elected, used once: `begin`, then `close` and `drop_clients`, or `abort`."""

    def __init__(
        self,
        reactor: Reactor,
        config: BrokerConfig,
        *,
        bind_address: str,
        advertised_host: str,
        owner: str,
        users: Users,
        on_failed: Callable[[Mastership, JournalError], None],
        follower: FollowerThread | None = None,
        files: Files | None = None,
        cluster: Cluster | None = None,
        takeover: Takeover | None = None,
        check_store: Callable[[], None] | None = None,
        give_way: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make it; nothing happens before `begin`.

        Args:
            reactor: runs it.
            config: of the broker.
            bind_address: where the connectors listen.
            advertised_host: host in the URLs.
            owner: who we are, for people who look into the store.
            users: who may connect.
            on_failed: called once when the journal has failed or was fenced; `abort` has been done then.
            follower: has followed the journal so far; ours from now on.
            files: another disk, for benchmarks.
            cluster: where the brokers of the group serve.
            takeover: is told what is reached.
            check_store: called in a thread before the journal is taken over; raises `StoreIsAnother`.
            give_way: lets another broker take over, if one waits; called in a thread of its own.
        """
        self._reactor = reactor
        self._config = config
        self._owner = owner
        self._advertised_host = advertised_host
        self._users = users
        self._on_failed = on_failed
        self._authorization = config.authorization
        self._follower = follower
        self._files = files
        self._cluster = cluster or Cluster()
        self._takeover = takeover or Takeover()
        self._check_store = check_store
        self._opening_s = 0.0  # since when the store is asked for an epoch
        self._stall: StallWatch | None = None
        if config.store_timeout_ms:
            self._stall = StallWatch(config.name, self._asked_s, give_way, config.store_timeout_ms / 1000)
        self._first_ref = 0  # of a message that would be the first sent; 0: one was, or none can be
        self._first_batch = 0  # in which it is; 0: there is none
        self._ranking = Ranking()
        self._guard = LoginGuard(time.monotonic)
        self._logins = LoginAudit(reactor, time.monotonic, audit_login)
        self._lacking = [text for text in map(lack, config.connectors) if text]
        self._served = [each for each in config.connectors if not lack(each)]
        self._connectors = [TransportConnector(reactor, each, bind_address) for each in self._served]
        self._ports: list[int] = []
        self._certificates: list[CertificateStore | None] = []
        self._temporary = config.usage.temporary or config.data.absolute().parent
        self._usage: UsageLimits | None = None
        self._journal: Journal | None = None
        self._turn: Turn | None = None
        self.region: Region | None = None
        self.management: Management | None = None
        self._endpoint: ManagementEndpoint | None = None
        self.began_s = 0.0

    async def begin(self) -> list[str]:
        """Bind the ports, take the journal over, serve.

        Returns:
            The URL of each connector.

        Raises:
            PortUnavailable, CertificatesUnusable, ProtocolUnavailable: a connector cannot listen, or none
                can; nobody was fenced.
            StoreIsAnother: the directory does not hold the broker's store any more.
            JournalError: the journal cannot be opened.
        """
        done = False
        try:
            self._prepare()
            for connector in self._connectors:
                self._ports.append(connector.bind())
            if self._stall is not None:
                self._stall.start()
            self._journal = await in_thread(self._reactor, self._open)
            done = True
        finally:
            if not done:
                self._stop_listening()
                self._stop_watching()
        journal, urls = self._journal, self.urls_at(self._advertised_host)
        self._first_ref = journal.state.next_ref
        this_broker, now_ms = broker_id(), int(time.time() * 1000)
        self.region = region = Region(
            journal,
            RegionLimits(
                offline_timeout_ms=self._config.offline_timeout_ms,
                offline_period_ms=self._config.offline_period_ms,
                purge_period_ms=self._config.purge_period_ms,
                purged_max=self._config.purged_max,
            ),
            now_ms=now_ms,
            usage=self._usage,
            temporary=self._temporary,
            policies=self._config.policies,
            forwarding=self._config.forwarding,
            rights=Rights(self._authorization, self._users.roles_of),
            scheduling=self._config.scheduler_support,
            identity=self._identity(this_broker, urls, now_ms),
            advisory_support=self._config.advisory_support,
        )
        self._turn = turn = Turn(self._reactor, region, journal)
        self._manage(region, turn)
        self.began_s = time.monotonic()
        served = zip(self._connectors, self._served, self._certificates, urls, strict=True)
        for connector, config, certificates, url in served:
            context = ServerContext(
                config,
                region,
                self._users,
                this_broker,
                self._config.name,
                url,
                self._cluster,
                guard=self._guard,
                logins=self._logins,
            )
            connector.accept(turn, server_builder(context, certificates))
        self._takeover.reach(Phase.LISTENING)
        turn.schedule()  # there may be something to do that nobody asks for
        return urls

    def urls_at(self, host: str) -> list[str]:
        """The URL of each connector, for clients that reach this host by a name or an address of it."""
        return [
            f"{config.scheme}://{host}:{port}" for config, port in zip(self._served, self._ports, strict=True)
        ]

    def _prepare(self) -> None:
        """Read the certificates, and tell which connectors have to be left out."""
        for text in self._lacking:
            _log.error("Broker %s: %s", self._config.name, text)
        if not self._served:
            raise ProtocolUnavailable(" ".join(self._lacking))
        for config in self._served:
            store = None
            if config.tls is not None:
                from broker.certificates import CertificateStore  # noqa: PLC0415 - only where TLS is spoken

                store = CertificateStore(config.tls, config.name)
            self._certificates.append(store)

    def _identity(self, this_broker: str, urls: list[str], now_ms: int) -> BrokerIdentity:
        """What it says of itself; of several connectors of one scheme the first is meant."""
        config = self._config
        schemes = [connector.scheme for connector in self._served]
        return BrokerIdentity(
            broker_id=this_broker,
            name=config.name,
            urls=dict(reversed(list(zip(schemes, urls, strict=True)))),
            data_directory=str(config.data.absolute()),
            services=tuple(urls),
            group=config.group,
            version=program_version(),
            started=now_ms,
        )

    def _manage(self, region: Region, turn: Turn) -> None:
        """Let operators look and change."""
        self.management = Management(region, turn.schedule)
        self._endpoint = ManagementEndpoint(self.management)

    def _open(self) -> Journal:
        """Open the journal, and find out what there is to use. In a thread."""
        self._opening_s = time.monotonic()
        thread, self._follower = self._follower, None
        follower = None if thread is None else thread.stop()
        if self._check_store is not None:
            self._check_store()
        ignore_missing = self._config.ignore_missing_data_files
        try:
            journal = Journal.open(
                self._config.data,
                owner=self._owner,
                post=self._reactor.callFromThread,
                on_durable=self._durable,
                on_failed=self._failed,
                on_full=self._full,
                files=self._files,
                options=JournalOptions(create=True, accept_missing=ignore_missing),
                follower=follower,
                on_claimed=self._claimed,
            )
        except StoreIncomplete as error:
            if ignore_missing:
                raise
            raise StoreIncomplete(f"{error}, with {IGNORE_MISSING}=true") from error
        self._takeover.reach(Phase.RECOVERED)
        self._takeover.epoch = journal.epoch
        self._usage = usage_limits(self._config, self._temporary)
        return journal

    def _claimed(self) -> None:
        """The epoch is ours: the store has answered. Reading it may take as long as it takes."""
        self._opening_s = 0.0
        self._takeover.reach(Phase.CLAIMED)

    def _asked_s(self) -> float:
        """When the store was asked for what it has not answered yet, 0.0 if it owes nothing. Any thread."""
        return self._opening_s if self._journal is None else self._journal.asked_s

    def _durable(self, batch: int) -> None:
        if self._turn is not None:
            if self._first_ref:
                self._look_for_send(batch)
            self._turn.durable(batch)

    def _look_for_send(self, batch: int) -> None:
        """Whether the first message that was sent to this master is durable now."""
        assert self._journal is not None and self.region is not None
        if not self._first_batch and self._journal.state.next_ref > self._first_ref:
            self._first_batch = self.region.last_batch
        if self._first_batch and batch >= self._first_batch:
            self._first_ref = 0
            self._takeover.reach(Phase.FIRST_SEND)

    def _full(self, full: bool) -> None:
        """The disk is full, or not any more: sends wait, or go on."""
        del full
        if self._turn is not None:
            self._turn.schedule()

    def _failed(self, error: JournalError) -> None:
        self.abort()
        self._on_failed(self, error)

    def change_rights(self, authorization: Authorization) -> None:
        """Users have other roles, or something else is configured: it counts from now on."""
        self._authorization = authorization
        if self.region is not None and self._turn is not None:
            self.region.rights.change(authorization)
            self.region.review_rights()
            self._turn.schedule()

    @property
    def clients(self) -> int:
        """Connections there are now."""
        return sum(len(connector.transports) for connector in self._connectors)

    @property
    def refusals(self) -> Refusals:
        """What addresses were refused because they took too much."""
        total = Refusals(logins=self._guard.refused)
        for connector in self._connectors:
            for reason, count in connector.admission.refused.items():
                total.connections[reason] = total.connections.get(reason, 0) + count
        return total

    def usage(self) -> dict[str, object]:
        """What the messages take of the store, of memory and of temporary storage; JSON-able."""
        return {} if self.region is None else self.region.usage.report()

    def figures(self, destinations_max: int) -> MasterFigures | None:
        """What there is and what has happened; None before it serves.

        Args:
            destinations_max: how many destinations are looked at one by one.
        """
        if self.region is None or self._journal is None:
            return None
        return gather(self.region, self._journal, self._ranking, destinations_max, self.refusals)

    @property
    def problem(self) -> str:
        """What an operator should see to while the broker serves; empty if there is nothing."""
        return "" if self.region is None else self.region.usage.problem

    @property
    def notice(self) -> str:
        """What does not listen, for lack of what could be installed, and certificates that end soon."""
        stores = [store for store in self._certificates if store is not None]
        ends = dict.fromkeys(store.notice(time.time()) for store in stores)  # connectors may share them
        return " ".join([*self._lacking, *filter(None, ends)])

    async def close(self) -> None:
        """Take nothing more, and make durable what was taken; its replies still leave.

        What clients have already sent is read for a moment more: an acknowledgement left in the kernel would
        be a message delivered twice.
        """
        self._stop_listening()
        self._stop_watching()
        if self._turn is not None:
            self._turn.stop_dispatch()
            pause: Deferred[None] = Deferred()
            self._reactor.callLater(LAST_WORDS_S, pause.callback, None)
            await pause
            for connector in self._connectors:
                connector.freeze_clients()
            self._turn.halt()
        if self._journal is not None:
            self._journal.flush()
            try:
                await in_thread(self._reactor, self._journal.close, CLOSE_S_MAX)
            except JournalError as error:
                _log.error("The journal in %s was not closed cleanly: %s", self._config.data, error)
        self._end_audit()
        if self.region is not None:
            self.region.close()

    def drop_clients(self) -> Deferred[None]:
        """Close the connections; they go to the next master. Fires when they are closed."""
        return Deferred.fromCoroutine(self._drop_clients())

    async def _drop_clients(self) -> None:
        for gone in [connector.drop_clients() for connector in self._connectors]:
            await gone

    def abort(self) -> None:
        """Close everything now: nothing more is acknowledged."""
        self._stop_listening()
        self._stop_watching()
        if self._turn is not None:
            self._turn.halt()
        for connector in self._connectors:
            connector.abort_clients()
        self._end_audit()
        if self.region is not None:
            self.region.close()

    def _end_audit(self) -> None:
        """Tell what is not told yet: failed logins, and jobs that end with the mastership."""
        self._logins.close()
        if self._endpoint is not None:
            self._endpoint.close()

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.end()

    def _stop_listening(self) -> None:
        for connector in self._connectors:
            connector.stop_listening()
