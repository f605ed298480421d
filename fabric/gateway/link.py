"""One client's way through the gateway, from its first byte to the end.

::

    opening ──protocol known──▶ waiting ──master up──▶ connecting ──accepted──▶ open
       │                          │  ▲                    │                      │
       │ too late, garbage        │  └──── not reached ───┘                      │ a side ends, is dropped
       │                          │ nobody came, client left                     │
       └──────────────────────────┴──────────▶ closing ◀─────────────────────────┘
                                                  │ both sockets are gone
                                                  ▼
                                               closed

The gateway decides where a link is led and when it is dropped; the link knows its two sides.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from broker.proxy_protocol import Address, header_v1, header_v2
from broker.tls import TlsChannel
from fabric.gateway.opening import OPENING_BYTES, TLS, Opening, Refused, refusal, schemes_of
from fabric.gateway.side import LINGER_S, Side

if TYPE_CHECKING:
    import ssl

    from broker.certificates import CertificateStore
    from broker.reactor import DelayedCall
    from fabric.gateway.config import GatewayConfig, PortConfig
    from fabric.gateway.targets import Target
    from fabric.reactor import Reactor

GOODBYE_S: Final = 0.25
"""How long a client whose master is gone may take to hear that: it is elsewhere that it has to be."""
HALF_CLOSED_S: Final = 30.0
"""How long a broker may go on to send to a client that sends nothing more."""
NO_MASTER: Final = "No broker serves at present; try again later."


class Phase(Enum):
    """See the module's drawing."""

    OPENING = "opening"
    WAITING = "waiting"
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class LinkOwner(Protocol):
    """What a link asks of the gateway.

    Attributes:
        reactor: for its times.
        config: of the gateway.
        certificates: to end TLS; None: it is passed through.
    """

    reactor: Reactor
    config: GatewayConfig
    certificates: CertificateStore | None

    def admit(self, link: Link) -> bool:
        """Whether a client whose address has only now been told may come in."""

    def wants_master(self, link: Link) -> None:
        """It waits for somebody to be led to."""

    def broker_schemes(self, schemes: tuple[str, ...], protocol: str) -> tuple[str, ...]:
        """Where else such a client can be led."""

    def broker_tls(self, target: Target) -> ssl.SSLContext | None:
        """How to speak TLS with a broker for a client that speaks none; None: not at all."""

    def connect(self, link: Link, side: Side, target: Target) -> None:
        """Connect `side`; `Link.not_reached` is called if that fails."""

    def reached(self, link: Link, target: Target, is_reached: bool) -> None:
        """Somebody has answered there, or nobody has."""

    def refuse(self, link: Link, kind: str, reason: str) -> None:
        """The client cannot be served; for log and figures."""

    def link_opened(self, link: Link, waited_s: float) -> None:
        """Bytes pass."""

    def link_closed(self, link: Link) -> None:
        """Its sockets are gone."""


class Link:
    """One client, and the broker that it is led to.

    Attributes:
        client, broker: the sides; the broker's is None until it is looked for.
        port: where the client came in.
        phase: how far it is.
        protocol: what the client speaks; empty: not known yet.
        schemes: of urls that it can be led to, the best first.
        target: where it is led; None: nowhere yet.
        address: the client's own, as far as known.
        marked: the bytes and the time of the last look at whether anything moves.
    """

    def __init__(self, owner: LinkOwner, port: PortConfig, *, is_proxied: bool = False) -> None:
        self.client = Side(self, self._begin)
        self.broker: Side | None = None
        self.port = port
        self.phase = Phase.OPENING
        self.protocol = ""
        self.schemes: tuple[str, ...] = ()
        self.target: Target | None = None
        self.address = Address("", 0)
        self.marked = (0, 0.0)
        self._owner = owner
        self._timer: DelayedCall | None = None
        self._first = b""
        self._since_s = 0.0
        self._passes_tls = False
        config = owner.config
        self._opening = Opening(
            port.protocols,
            plain=not config.requires_tls,
            accepts_proxy=is_proxied,
            requires_proxy=is_proxied and config.requires_proxy,
        )

    @property
    def moved(self) -> int:
        """Bytes in both directions."""
        return self.client.moved + (0 if self.broker is None else self.broker.moved)

    # ---- the first bytes

    def _begin(self, data: bytes) -> None:
        """Find out what the client speaks."""
        if self.phase is not Phase.OPENING:
            return
        if self.client.channel is not None and not data:
            return
        found = self._opening.receive_data(data)
        if self._opening.client not in (None, self.address):
            self.address = self._opening.client or self.address
            if not self._owner.admit(self):
                self._close_client()
                return
        if isinstance(found, Refused):
            self._refuse("protocol", found.reason)
        elif found is not None and found.protocol == TLS and self._owner.certificates is not None:
            self._end_tls(self._owner.certificates, found.first)
        elif found is not None:
            self.protocol, self._first = found.protocol, found.first
            self._passes_tls = found.protocol == TLS
            schemes = schemes_of(found.protocol, self.port.protocols)
            self.schemes = self._owner.broker_schemes(schemes, found.protocol)
            self._wait()

    def _end_tls(self, store: CertificateStore, first: bytes) -> None:
        self._opening = Opening(self.port.protocols, tls=False)
        self.client.channel = TlsChannel(store.context(self._owner.reactor.seconds()), server_side=True)
        self.client.decrypt(first)

    def _keep(self, data: bytes) -> None:
        """It goes on before it is led anywhere: keep a little, and leave the rest in its socket."""
        self._first += data
        if len(self._first) >= OPENING_BYTES:
            self.client.pause()

    # ---- the way to a broker

    def _wait(self) -> None:
        self._since_s = self._owner.reactor.seconds()
        self.client.take = self._keep
        self.phase = Phase.WAITING
        self._set_timer(self._owner.config.wait_ms / 1000, self._nobody_came)
        self._owner.wants_master(self)

    def lead(self, target: Target) -> None:
        """Somebody is there."""
        assert self.phase is Phase.WAITING, self.phase
        self.phase = Phase.CONNECTING
        self.target = target
        target.connections += 1
        self.broker = Side(self, self._broker_speaks)
        self._owner.connect(self, self.broker, target)

    def not_reached(self, side: Side) -> None:
        """The broker did not answer: wait for another one, or for it to come back."""
        if self.phase is not Phase.CONNECTING or side is not self.broker:
            return
        target = self._give_back()
        self.broker = None
        self.phase = Phase.WAITING
        self._owner.reached(self, target, False)
        if self.phase is not Phase.WAITING:
            return
        if self.client.ended:
            self._close_client()
        else:
            self._owner.wants_master(self)

    def side_made(self, side: Side) -> None:
        """See `Owner`."""
        if side is self.client:
            side.read_bytes_max(OPENING_BYTES)
            if not self.address.host:
                self.address = side.address()
            self._set_timer(self._owner.config.detection_ms / 1000, self._too_slow)
        elif self.phase is not Phase.CONNECTING or side is not self.broker:
            side.abort()
        else:
            self._begin_broker(side)

    def _begin_broker(self, side: Side) -> None:
        version = self._owner.config.sends_proxy
        if version:
            end = self.client.socket.getHost()
            server = Address(end.host, end.port)
            side.send_plain((header_v1 if version == 1 else header_v2)(self.address, server))
        assert self.target is not None
        context = None if self._passes_tls else self._owner.broker_tls(self.target)
        if context is None:
            self._open()
            return
        side.channel = TlsChannel(context, server_side=False, server_name=self.target.host)
        side.channel.begin()
        side.send_plain(side.channel.data_to_send())

    def _broker_speaks(self, data: bytes) -> None:
        """Its TLS stands."""
        if self.phase is Phase.CONNECTING:
            self._open()
            if data:
                self.client.send(data)

    def _open(self) -> None:
        client, broker, target = self.client, self.broker, self.target
        assert broker is not None
        assert target is not None
        self.phase = Phase.OPEN
        self._set_timer(None)
        for side in (client, broker):
            side.read_bytes_max(self._owner.config.buffer_bytes)
        client.peer, broker.peer = broker, client
        client.take, broker.take = broker.send, client.send
        first, self._first = self._first, b""
        client.resume()
        broker.send(first)
        now_s = self._owner.reactor.seconds()
        self.marked = (self.moved, now_s)
        self._owner.reached(self, target, True)
        self._owner.link_opened(self, now_s - self._since_s)
        if client.ended:
            self.side_ended(client)

    # ---- the end

    def _too_slow(self) -> None:
        spoken = "TLS" if self.client.channel is not None else "the first bytes"
        self._refuse("slow", f"{spoken} took more than {self._owner.config.detection_ms} ms")

    def _nobody_came(self) -> None:
        seconds = self._owner.config.wait_ms / 1000
        if self.phase is Phase.CONNECTING and self.broker is not None:
            broker, self.broker = self.broker, None
            broker.abort()
        self._refuse("no master", f"no master to be led to within {seconds:g} s")

    def _refuse(self, kind: str, reason: str) -> None:
        self._owner.refuse(self, kind, reason)
        if kind == "no master" and (words := refusal(self.protocol, self._first, NO_MASTER)):
            self.client.send(words)
        self._close_client()

    def drop(self, linger_s: float = GOODBYE_S) -> None:
        """The master is gone, or the gateway ends: so does this."""
        if self.phase in (Phase.CLOSING, Phase.CLOSED):
            return
        if self.broker is not None:
            self.broker.abort()
        self._close_client(linger_s)

    def side_ended(self, side: Side) -> None:
        """See `Owner`: what has come of it still arrives; then the other side hears of the end."""
        if side is self.client and self.phase is Phase.CLOSING:
            side.close()
        elif side is self.client and self.phase is Phase.CONNECTING:
            pass  # it has said all it had to say
        elif self.phase is Phase.OPEN and side is self.client and self.broker and not self.broker.ended:
            self.broker.finish()
            self._set_timer(HALF_CLOSED_S, self.drop)
        elif self.phase is Phase.OPEN or side is self.client:
            self._close_broker()
            self._close_client()

    def side_failed(self, side: Side, reason: str) -> None:
        """See `Owner`."""
        if side is self.client:
            self._owner.refuse(self, "tls", f"TLS: {reason}")
            self._close_broker()
            self._close_client()
        elif self.phase is Phase.CONNECTING:
            self._owner.refuse(self, "broker tls", f"TLS with {self.target and self.target.url}: {reason}")
            side.abort()
            self.not_reached(side)
        else:
            self.drop(LINGER_S)

    def side_lost(self, side: Side) -> None:
        """See `Owner`."""
        if side is self.client:
            self._close_broker()
            self._closed()
        elif side is self.broker and self.phase is Phase.CONNECTING:
            self.not_reached(side)
        elif side is self.broker and self.phase is Phase.OPEN:
            self._close_client()

    def _close_client(self, linger_s: float = LINGER_S) -> None:
        """Tell the client that nothing more comes, and let it read what it has not read."""
        if self.phase in (Phase.CLOSING, Phase.CLOSED):
            return
        self.phase = Phase.CLOSING
        self._set_timer(linger_s, self.client.abort)
        was_ended = self.client.ended
        self.client.finish()
        self.client.drain()
        if was_ended:
            self.client.close()

    def _close_broker(self) -> None:
        """What the client has said still arrives, if the broker reads it soon."""
        if self.broker is not None and not self.broker.lost and self.phase is not Phase.CLOSING:
            self.broker.close()
            self._owner.reactor.callLater(LINGER_S, self.broker.abort)

    def _closed(self) -> None:
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._set_timer(None)
        self._first = b""
        if self.target is not None:
            self._give_back()
        self._owner.link_closed(self)

    def _give_back(self) -> Target:
        target, self.target = self.target, None
        assert target is not None
        target.connections -= 1
        return target

    def _set_timer(self, delay_s: float | None, call: object = None) -> None:
        """One time is waited for at a time."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if delay_s is not None:
            assert callable(call)
            self._timer = self._owner.reactor.callLater(delay_s, call)
