"""A gateway: listens, looks at the registry, leads clients to masters and drops them when these are gone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory

from broker.proxy_protocol import is_within
from fabric.gateway.balance import make_balance
from fabric.gateway.broker_trust import BrokerTrust
from fabric.gateway.config import AUTO
from fabric.gateway.link import Link, Phase
from fabric.gateway.opening import PLAIN_SCHEMES, TLS, TLS_SCHEMES
from fabric.gateway.publication import Publication
from fabric.gateway.side import LINGER_S
from fabric.gateway.tally import Tally
from fabric.gateway.targets import Targets
from fabric.listening import listen
from registry.discovery import Master, MastersView

if TYPE_CHECKING:
    import ssl

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from broker.certificates import CertificateStore
    from broker.reactor import DelayedCall, ListeningPort
    from broker.tls_config import TlsConfig
    from fabric.gateway.config import GatewayConfig, PortConfig
    from fabric.gateway.side import Side
    from fabric.gateway.targets import Target
    from fabric.services import ServiceContext

log: Final = logging.getLogger("fabric.gateway")

BACKLOG: Final = 1024
"""Connections the kernel holds while all clients come back at once after a takeover."""
NOTICE_S: Final = 5.0
"""A master that is missing for longer than a takeover takes is worth a notice."""
IDLE_LOOKS: Final = 4
"""How often within `idle_ms` it is looked for connections on which nothing moves."""
_TLS_ONLY: Final = frozenset(scheme for schemes in TLS_SCHEMES.values() for scheme in schemes) - {"auto"}
_SOFT: Final = (
    "sticky_clients_max",
    "connections_max",
    "connections_per_address_max",
    "wait_ms",
    "detection_ms",
    "connect_ms",
    "idle_ms",
    "buffer_bytes",
)
"""What can change while the gateway runs: it is looked at whenever it matters."""


class Gateway:
    """One gateway. Everything happens in the reactor's thread.

    Attributes:
        reactor: runs it.
        config: what it is to be.
        certificates: to end TLS; None: it is passed through.
        links: all clients.
        tally: what has happened.
    """

    def __init__(self, context: ServiceContext, config: GatewayConfig, now_s: float) -> None:
        """Make it; nothing happens before `start`.

        Raises:
            CertificatesUnusable: those it shall show.
        """
        self.reactor = context.reactor
        self.config = config
        self.certificates = None if config.tls is None else _certificates(config.tls)
        self.links: dict[Link, None] = {}
        self.tally = Tally()
        self._context = context
        self._trust = BrokerTrust(config.broker_trust or context.home.authority_certificate)
        self.targets = Targets(
            make_balance(config.balance, sticky_clients_max=config.sticky_clients_max),
            config.leads_to,
            self._wanted_schemes(),
        )
        self._waiting: dict[Link, None] = {}
        self._by_address: Counter[str] = Counter()
        self._counted: dict[Link, str] = {}
        self._listening: dict[str, ListeningPort] = {}
        self._masters = MastersView(
            context.session, config.group, self._masters_told, on_empty=self._group_is_empty
        )
        self._publication = Publication(context.session, config, context.container)
        self._timer: DelayedCall | None = None
        self._idle_timer: DelayedCall | None = None
        self._gone: Deferred[None] | None = None
        self._made_s = now_s

    # ---- its life

    def start(self) -> None:
        """Listen, and begin to look at the registry.

        Raises:
            FabricError: a port is taken; then it listens on none.
        """
        address = self.config.bind_address or self._context.bind_address
        try:
            for port in self.config.ports:
                who = f"The gateway {self.config.name}"
                self._listening[port.name] = listen(
                    self._context, port.candidates, _Door(self, port), address, who, backlog=BACKLOG
                )
        except Exception:
            self._stop_listening()
            raise
        self.targets.begin(self.reactor.seconds())
        log.info(
            "Gateway %s leads to group %s: %s", self.config.name, self.config.group, ", ".join(self.urls)
        )
        self._masters.start()
        self._publish()
        self._look_for_idle()

    def stop(self) -> Deferred[None]:
        """Let nobody in, and drop who is there; fires when they are gone."""
        self._stop_listening()
        self._masters.close()
        for timer in (self._timer, self._idle_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._waiting.clear()
        self._gone = Deferred()
        gone = self._gone
        for link in list(self.links):
            link.drop()
        self._tell_gone()
        left: Deferred[None] = Deferred()
        self._publication.end(lambda: None if left.called else left.callback(None))
        return gone.addCallback(lambda _: left)

    def _stop_listening(self) -> None:
        for port in self._listening.values():
            port.stopListening()
        self._listening.clear()

    def reconfigure(self, config: GatewayConfig) -> bool:
        """Take over other limits and times while clients are there; False: it has to be made anew."""
        soft = {name: getattr(config, name) for name in _SOFT if name != "sticky_clients_max"}
        if replace(self.config, **soft) != config:
            return False
        self.config = config
        self._look_for_idle()
        return True

    def readvertise(self) -> None:
        """Tell the registry where it is reached now; clients stay."""
        if self._listening:
            self._publish()

    @property
    def urls(self) -> list[str]:
        """What clients can be given."""
        host = self._context.advertised_host
        return [
            f"{PLAIN_SCHEMES[protocol][0]}://{host}:{self._listening[port.name].getHost().port}"
            for port in self.config.ports
            if port.name in self._listening
            for protocol in PLAIN_SCHEMES
            if protocol in port.protocols
        ]

    @property
    def waiting(self) -> int:
        """Clients that nobody serves at present."""
        return len(self._waiting)

    def notice(self, now_s: float) -> str:
        """What people should know although the gateway works."""
        if self.targets.lacking_s(now_s) <= NOTICE_S:
            return ""
        return f"No broker of group {self.config.group} serves; clients wait for it."

    # ---- clients

    def arrived(self, port: PortConfig, host: str) -> Side | None:
        """Let a client in, or not.

        Args:
            port: where it has come.
            host: its address.
        """
        config = self.config
        self.tally.accepted += 1
        if len(self.links) >= config.connections_max:
            self._limit("connections", f"maximumConnections is {config.connections_max}", host)
            return None
        is_proxied = is_within(host, config.proxies)
        if not is_proxied and not self._may_come(host):
            return None
        link = Link(self, port, is_proxied=is_proxied)
        self.links[link] = None
        if not is_proxied:
            self._count(link, host)
        return link.client

    def admit(self, link: Link) -> bool:
        """See `LinkOwner`."""
        host = link.address.host
        if link in self._counted or self._may_come(host):
            self._count(link, host)
            return True
        return False

    def _may_come(self, host: str) -> bool:
        most = self.config.connections_per_address_max
        if not most or self._by_address[host] < most:
            return True
        self._limit("connections of an address", f"maximumConnectionsPerAddress is {most}", host)
        return False

    def _count(self, link: Link, host: str) -> None:
        if link not in self._counted:
            self._counted[link] = host
            self._by_address[host] += 1

    def _limit(self, kind: str, reason: str, host: str) -> None:
        """Many come at a time: every doubling is worth a line."""
        self.tally.refused[kind] += 1
        refused = self.tally.refused[kind]
        if refused & (refused - 1) == 0:
            log.warning(
                "Gateway %s: connection from %s refused: %s; refused so far: %d",
                self.config.name,
                host,
                reason,
                refused,
            )

    def refuse(self, link: Link, kind: str, reason: str) -> None:
        """See `LinkOwner`."""
        self.tally.refused[kind] += 1
        client = f"{link.address.host}:{link.address.port}"
        log.warning("Gateway %s: connection from %s closed: %s", self.config.name, client, reason)

    def link_opened(self, link: Link, waited_s: float) -> None:
        """See `LinkOwner`."""
        self.tally.opened += 1
        self.tally.waited_s += waited_s
        target = link.target
        log.debug("Gateway %s: %s is led to %s", self.config.name, link.address, target and target.url)

    def link_closed(self, link: Link) -> None:
        """See `LinkOwner`."""
        self._waiting.pop(link, None)
        if link in self.links:
            del self.links[link]
            self.tally.add(link)
        host = self._counted.pop(link, None)
        if host is not None:
            self._by_address[host] -= 1
            if not self._by_address[host]:
                del self._by_address[host]
        self._tell_gone()

    def _tell_gone(self) -> None:
        if self._gone is not None and not self.links:
            gone, self._gone = self._gone, None
            gone.callback(None)

    # ---- masters

    def _masters_told(self, masters: tuple[Master, ...]) -> None:
        self.targets.set_masters(masters, self.reactor.seconds())
        self._look()

    def _group_is_empty(self) -> None:
        """Those that we know may serve on, or be gone: ask themselves."""
        self.targets.doubt(self.reactor.seconds())
        self._look()

    def _look(self) -> None:
        """Do what is due: try masters, drop who is led to none, lead who waits."""
        now_s = self.reactor.seconds()
        for target in self.targets.due(now_s):
            self._try(target)
        lost = set(self.targets.lost(now_s))
        if lost:
            self._drop(lost)
        if self.targets.has_master:
            for link in list(self._waiting):
                if link in self._waiting:
                    del self._waiting[link]
                    self.wants_master(link)
        self._publish()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        deadline_s = self.targets.deadline_s
        if deadline_s is not None and self._listening:
            self._timer = self.reactor.callLater(max(0.0, deadline_s - now_s), self._look)

    def _drop(self, lost: set[Target]) -> None:
        dropped = [link for link in self.links if link.target in lost]
        self.tally.dropped += len(dropped)
        for link in dropped:
            link.drop()
        for target in lost:
            log.info(
                "Gateway %s: %s of broker %s is not the master any more",
                self.config.name,
                target.url,
                target.broker,
            )

    def _try(self, target: Target) -> None:
        seconds = self.config.connect_ms / 1000
        probe = _Attempt(_Probe(lambda: self._tried(target, True)), lambda _: self._tried(target, False))
        self.reactor.connectTCP(target.host, target.port, probe, timeout=seconds)

    def _tried(self, target: Target, is_reached: bool) -> None:
        before = target.health
        self.targets.tried(target, is_reached, self.reactor.seconds())
        if target.health is not before and self._listening:
            self._look()

    def reached(self, link: Link, target: Target, is_reached: bool) -> None:
        """See `LinkOwner`."""
        del link
        self._tried(target, is_reached)

    def wants_master(self, link: Link) -> None:
        """See `LinkOwner`."""
        target = self.targets.choose(link.schemes, link.address.host)
        if target is None:
            self._waiting[link] = None
        else:
            link.lead(target)

    def connect(self, link: Link, side: Side, target: Target) -> None:
        """See `LinkOwner`."""

        def failed(reason: str) -> None:
            log.info("Gateway %s: %s cannot be reached: %s", self.config.name, target.url, reason)
            link.not_reached(side)

        attempt = _Attempt(side, failed)
        self.reactor.connectTCP(target.host, target.port, attempt, timeout=self.config.connect_ms / 1000)

    # ---- TLS with brokers

    def _wanted_schemes(self) -> set[str]:
        schemes = set().union(*PLAIN_SCHEMES.values())
        return schemes.union(*TLS_SCHEMES.values())

    def broker_schemes(self, schemes: tuple[str, ...], protocol: str) -> tuple[str, ...]:
        """See `LinkOwner`."""
        wish = self.config.broker_tls
        if protocol == TLS or wish == "never" or (wish == AUTO and not self._trust.is_known):
            return schemes
        encrypted = tuple(scheme for scheme in TLS_SCHEMES[protocol] if scheme != "auto")
        return encrypted if wish == "always" else (*schemes, *encrypted)

    def broker_tls(self, target: Target) -> ssl.SSLContext | None:
        """See `LinkOwner`."""
        return self._trust.context() if target.scheme in _TLS_ONLY else None

    # ---- what is told

    def _publish(self) -> None:
        masters = [
            {
                "broker": target.broker,
                "container": target.container,
                "url": target.url,
                "state": target.health.value,
            }
            for target in self.targets
        ]
        self._publication.update(self.urls, masters)

    def _look_for_idle(self) -> None:
        if self._idle_timer is not None and self._idle_timer.active():
            self._idle_timer.cancel()
        idle_s = self.config.idle_ms / 1000
        if not idle_s or not self._listening:
            return
        now_s = self.reactor.seconds()
        for link in list(self.links):
            moved = link.moved
            if link.phase is not Phase.OPEN or moved != link.marked[0]:
                link.marked = (moved, now_s)
            elif now_s - link.marked[1] >= idle_s:
                self.refuse(link, "idle", f"nothing has moved for {idle_s:g} s")
                link.drop(LINGER_S)
        self._idle_timer = self.reactor.callLater(idle_s / IDLE_LOOKS, self._look_for_idle)


def _certificates(config: TlsConfig) -> CertificateStore:
    from broker.certificates import CertificateStore  # noqa: PLC0415 - a gateway without TLS stays small

    return CertificateStore(config, "gateway")


class _Door(ServerFactory):
    """Lets clients in at one port."""

    noisy = False

    def __init__(self, gateway: Gateway, port: PortConfig) -> None:
        self._gateway = gateway
        self._port = port

    def buildProtocol(  # noqa: N802 - Twisted's name
        self, addr: IAddress | None
    ) -> Protocol | None:
        """One client."""
        return self._gateway.arrived(self._port, cast("Any", addr).host)


class _Attempt(ClientFactory):
    """One connection to a broker."""

    noisy = False

    def __init__(self, protocol: Protocol, failed: Callable[[str], None]) -> None:
        self._made = protocol
        self._failed = failed

    def buildProtocol(  # noqa: N802 - Twisted's name
        self, addr: IAddress | None
    ) -> Protocol | None:
        """It is there."""
        del addr
        return self._made

    def clientConnectionFailed(  # noqa: N802 - Twisted's name
        self, connector: object, reason: Failure
    ) -> None:
        """It is not."""
        del connector
        self._failed(reason.getErrorMessage())


class _Probe(Protocol):
    """Connects and says nothing."""

    def __init__(self, reached: Callable[[], None]) -> None:
        self._reached = reached

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """That is all."""
        cast("Any", self.transport).loseConnection()
        self._reached()
