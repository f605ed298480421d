"""Connections to the console or the metrics: so many at a time and of one address, encrypted, proxied.

::

    socket ─▶ Connection ─▶ HTTP
                │
                ├ PROXY header, from who is trusted with it
                └ TLS

TLS and limits are what brokers use: their certificates, read again when the files change, their counters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from broker.admission import Admission
from broker.errors import ProxyHeaderInvalid, TlsFailed
from broker.proxy_protocol import is_within, leading_header
from broker.tls import TlsChannel

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from broker.proxy_protocol import Address
    from fabric.web.limited import LimitedSite
    from fabric.web.settings import WebSettings

log = logging.getLogger("fabric.web")

NO_PLACE: Final = "maximumConnections"


class Connections(WrappingFactory):
    """Lets clients in to the site.

    Attributes:
        admission: of addresses.

    Args:
        site: what they are let in to.
        settings: how much it takes.
        who: listens, for the log.
        seconds: monotonic.
    """

    noisy = False

    def __init__(
        self,
        site: LimitedSite,
        settings: WebSettings,
        who: str = "console",
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        cast("Any", super()).__init__(site)
        self.admission = Admission(settings.limits)
        self._site = site
        self._refused = 0
        self._settings = settings
        self._who = who
        self._seconds = seconds
        self._is_full = False

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: ANN401, N802 - Twisted's types are incomplete
        """One client's connection, None if there are too many."""
        settings = self._settings
        if len(self.protocols) >= settings.connections_max:
            self._refused += 1
            if not self._is_full:
                log.warning(
                    "%s: %d connections are open: no more are taken until some end",
                    self._who,
                    settings.connections_max,
                )
            self._is_full = True
            return None
        self._is_full = False
        host = str(getattr(addr, "host", ""))
        is_proxied = is_within(host, settings.proxies)
        counts = bool(host) and not is_proxied and not is_within(host, settings.forwarders)
        if counts and not self.admits(host):
            return None
        channel = None
        if settings.certificates is not None:
            channel = TlsChannel(settings.certificates.context(self._seconds()), server_side=True)
        inner = self.wrappedFactory.buildProtocol(addr)
        return Connection(self, inner, host if counts else "", channel, is_proxied=is_proxied)

    def admits(self, address: str) -> bool:
        """Count a connection of an address in, unless it has too many."""
        now_s = self._seconds()
        reason = self.admission.admit(address, now_s)
        if reason and (lines := self.admission.lines(address, reason, now_s)):
            log.warning(
                "%s: connection from %s refused: more than its %s; refused so: %d",
                self._who,
                address,
                reason,
                lines,
            )
        return not reason

    @property
    def requires_proxy(self) -> bool:
        """Whether a proxy has to say whose connection it is."""
        return self._settings.requires_proxy

    @property
    def refusals(self) -> dict[str, int]:
        """Connections that were closed at once, by the limit that they were beyond."""
        return (
            {NO_PLACE: self._refused, **self.admission.refused} if self._refused else self.admission.refused
        )

    @property
    def requests_refused(self) -> int:
        """Requests that were not answered."""
        return self._site.requests.refused

    def close_all(self) -> None:
        """Close all connections."""
        for connection in list(self.protocols):
            connection.loseConnection()


class Connection(ProtocolWrapper):
    """One client's connection.

    Args:
        factory: it is one of whose.
        inner: speaks HTTP.
        address: whose it counts as; empty: nobody's.
        channel: its TLS; None: it is plain.
        is_proxied: what comes first may be a PROXY header.
    """

    def __init__(
        self,
        factory: Connections,
        inner: Any,  # noqa: ANN401 - likewise
        address: str,
        channel: TlsChannel | None,
        *,
        is_proxied: bool,
    ) -> None:
        super().__init__(cast("Any", factory), inner)
        self._door = factory
        self._address = address
        self._channel = channel
        self._is_proxied = is_proxied
        self._first = b""
        self._client: Address | None = None

    def getPeer(self) -> Any:  # noqa: ANN401, N802 - likewise
        """The client, also behind a proxy."""
        if self._client is None:
            return cast("Any", super()).getPeer()
        kind = IPv6Address if ":" in self._client.host else IPv4Address
        return kind("TCP", self._client.host, self._client.port)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take the header off, decrypt, and hand on."""
        if self.disconnecting:
            return
        if self._is_proxied:
            data = self._without_header(data)
        if self._channel is not None:
            self._decrypt(self._channel, data)
        elif data:
            cast("Any", super()).dataReceived(data)

    def connectionLost(  # noqa: N802 - Twisted's name
        self, reason: Failure | None = None
    ) -> None:
        """It is gone."""
        if self._address:
            self._door.admission.left(self._address)
        cast("Any", super()).connectionLost(reason)

    def _without_header(self, data: bytes) -> bytes:
        """What comes behind the header; nothing while it is not there yet, or cannot be read."""
        self._first += data
        try:
            header = leading_header(self._first, required=self._door.requires_proxy)
        except ProxyHeaderInvalid as error:
            log.warning("Connection from %s closed: %s", self.getPeer().host, error)
            self._hang_up()
            return b""
        if header is None:
            return b""
        rest, self._first, self._is_proxied = self._first[header.size :], b"", False
        self._client = header.client
        if header.client is not None:
            if not self._door.admits(header.client.host):
                self._hang_up()
                return b""
            self._address = header.client.host
        return rest

    def _decrypt(self, channel: TlsChannel, data: bytes) -> None:
        if not data:
            return
        try:
            plain = channel.receive_data(data)
        except TlsFailed as error:
            log.debug("TLS with %s: %s", self.getPeer().host, error)
            self._flush(channel)
            self._hang_up()
            return
        self._flush(channel)
        if plain:
            cast("Any", super()).dataReceived(plain)
        if channel.is_closed and not self.disconnecting:
            self.loseConnection()

    def write(self, data: bytes) -> None:
        """Encrypt, if it is, and send."""
        if self._channel is None:
            cast("Any", super()).write(data)
        elif self._channel.is_open and not self.disconnecting:
            self._channel.send(data)
            self._flush(self._channel)

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802 - Twisted's name
        """Likewise."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Say that nothing more is sent, and close."""
        if not self.disconnecting:
            if self._channel is not None:
                self._channel.close()
                self._flush(self._channel)
            self._hang_up()

    def _hang_up(self) -> None:
        cast("Any", super()).loseConnection()

    def _flush(self, channel: TlsChannel) -> None:
        data = channel.data_to_send()
        if data:
            cast("Any", super()).write(data)
