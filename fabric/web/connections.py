"""The console's connections: so many at a time, encrypted if there are certificates.

TLS is what brokers use: their certificates, their settings, read again when the files change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from broker.errors import TlsFailed
from broker.tls import TlsChannel

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.web.server import Site

    from broker.certificates import CertificateStore

log = logging.getLogger("fabric.web")

CONNECTIONS_MAX: Final = 2_000
"""Open at a time: a browser holds up to six, and an event stream one."""


class Connections(WrappingFactory):
    """Lets clients in to the site.

    Args:
        site: what they are let in to.
        certificates: None: the connections are not encrypted.
    """

    noisy = False

    def __init__(self, site: Site, certificates: CertificateStore | None) -> None:
        cast("Any", super()).__init__(site)
        self.certificates = certificates
        self._is_full = False

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: ANN401, N802 - Twisted's types are incomplete
        """One client's connection, None if there are too many."""
        if len(self.protocols) >= CONNECTIONS_MAX:
            if not self._is_full:
                log.warning("%d connections are open: no more are taken until some end", CONNECTIONS_MAX)
            self._is_full = True
            return None
        self._is_full = False
        inner = self.wrappedFactory.buildProtocol(addr)
        if self.certificates is None:
            return ProtocolWrapper(self, inner)
        return TlsConnection(self, inner, self.certificates)


class TlsConnection(ProtocolWrapper):
    """One client's encryption."""

    def __init__(self, factory: Connections, inner: Any, certificates: CertificateStore) -> None:  # noqa: ANN401 - likewise
        super().__init__(cast("Any", factory), inner)
        self._channel = TlsChannel(certificates.context(time.monotonic()), server_side=True)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Decrypt, and hand on."""
        channel = self._channel
        try:
            plain = channel.receive_data(data)
        except TlsFailed as error:
            log.debug("TLS with %s: %s", getattr(cast("Any", self).getPeer(), "host", ""), error)
            self._flush()
            cast("Any", super()).loseConnection()
            return
        self._flush()
        if plain:
            cast("Any", super()).dataReceived(plain)
        if channel.is_closed and not self.disconnecting:
            self.loseConnection()

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._channel.is_open and not self.disconnecting:
            self._channel.send(data)
            self._flush()

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802 - Twisted's name
        """Encrypt and send."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Say that nothing more is sent, and close."""
        if not self.disconnecting:
            self._channel.close()
            self._flush()
            cast("Any", super()).loseConnection()

    def _flush(self) -> None:
        data = self._channel.data_to_send()
        if data:
            cast("Any", super()).write(data)
