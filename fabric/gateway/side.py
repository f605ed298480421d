"""One socket of a link between a client and a broker: what arrives is handed on, what is not taken waits.

Nothing is read from one side while the other has not taken what came before, so that in each direction no
more waits than is read at a time, however slow a reader is. Little is done per read: measured, bytes pass at
the speed of two sockets and a fraction of a microsecond per KiB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from zope.interface import implementer

from broker.errors import TlsFailed
from broker.proxy_protocol import Address
from broker.rest import Rest, send_some

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from broker.reactor import Socket
    from broker.tls import TlsChannel

LINGER_S: Final = 2.0
"""How long a side that we close may take to read what was sent before."""


class Owner(Protocol):
    """What has two sides. See `fabric.gateway.link.Link`."""

    def side_made(self, side: Side) -> None:
        """It is connected."""

    def side_ended(self, side: Side) -> None:
        """It sends nothing more."""

    def side_failed(self, side: Side, reason: str) -> None:
        """Its TLS cannot go on."""

    def side_lost(self, side: Side) -> None:
        """It is gone."""


def _forget(data: bytes) -> None:
    del data


@implementer(IHalfCloseableProtocol)
class Side(TwistedProtocol):
    """One of the two sockets.

    Attributes:
        socket: once it is made.
        is_made: it has been connected.
        channel: its TLS; None: plain.
        moved: bytes that have come from it, as they were on the wire.
        ended: it sends nothing more.
        lost: it is gone.
        take: gets what comes from it.
        peer: the other side, which is paused while this one is full; None: there is none yet.
    """

    def __init__(self, owner: Owner, take: Callable[[bytes], None]) -> None:
        self.socket: Socket
        self.channel: TlsChannel | None = None
        self.is_made = False
        self.moved = 0
        self.ended = False
        self.lost = False
        self.take = take
        self.peer: Side | None = None
        self._owner = owner
        self._rest: Rest | None = None
        self._finishing = False

    # ---- Twisted

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Begin."""
        self.socket = cast("Socket", self.transport)
        self.is_made = True
        self.socket.setTcpNoDelay(True)
        self.socket.setTcpKeepAlive(True)
        self._owner.side_made(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Hand on."""
        self.moved += len(data)
        if self.channel is None:
            self.take(data)
        else:
            self.decrypt(data)

    def readConnectionLost(self) -> None:  # noqa: N802 - Twisted's name
        """It sends nothing more, and may still read."""
        self._end()

    def writeConnectionLost(self) -> None:  # noqa: N802 - Twisted's name
        """We send nothing more; nothing is left to be done."""

    def connectionLost(  # noqa: N802 - Twisted's name
        self, reason: Failure | None = None
    ) -> None:
        """It is gone."""
        del reason
        self.lost = self.ended = True
        self._rest = None
        self.take = _forget
        self._owner.side_lost(self)

    # ---- what comes

    def decrypt(self, data: bytes) -> None:
        """Take ciphertext."""
        channel = self.channel
        assert channel is not None
        if self.ended:
            return
        try:
            plain = channel.receive_data(data)
        except TlsFailed as error:
            self._write(channel.data_to_send())  # why, in TLS's words
            self._owner.side_failed(self, str(error))
            return
        if answer := channel.data_to_send():
            self._write(answer)
        if plain or channel.is_open:
            self.take(plain)
        if channel.is_closed:
            self._end()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._owner.side_ended(self)

    def pause(self) -> None:
        """Read nothing."""
        if not self.lost:
            self.socket.pauseProducing()

    def resume(self) -> None:
        """Read again, if there can be anything to read."""
        if not self.ended:
            self.socket.resumeProducing()

    # ---- what goes

    def send(self, data: bytes) -> None:
        """Send what the socket takes; the other side is not read until it has taken all."""
        if self.channel is not None and data:
            self.channel.send(data)
            data = self.channel.data_to_send()
        self._write(data)

    def send_plain(self, data: bytes) -> None:
        """Send it in front of TLS."""
        self._write(data)

    def _write(self, data: bytes) -> None:
        """One system call for what the socket takes at once; a detour over the reactor costs three more."""
        if self.lost or self._finishing or not data:
            return
        if self._rest is not None:
            self.socket.write(data)
            return
        taken = send_some(self.socket, data)
        if taken < len(data):
            self._rest = Rest(self._rest_is_sent)
            self._rest.leave(self.socket, data[taken:])
            if self.peer is not None:
                self.peer.pause()

    def _rest_is_sent(self) -> None:
        self.socket.unregisterProducer()
        self._rest = None
        if self.peer is not None:
            self.peer.resume()

    # ---- the end

    def finish(self) -> None:
        """Send nothing more; what has been sent still arrives."""
        if self.lost or self._finishing:
            return
        if self.channel is not None:
            self.channel.close()
            self._write(self.channel.data_to_send())
        self._finishing = True
        self._let_go()
        self.socket.loseWriteConnection()

    def _let_go(self) -> None:
        """Twisted ends nothing that somebody waits for."""
        if self._rest is not None:
            self._rest = None
            self.socket.unregisterProducer()

    def drain(self) -> None:
        """Read what still comes, and forget it: a socket closed with something unread is reset."""
        self.take = _forget
        self.channel = None
        self.peer = None
        self.resume()

    def close(self) -> None:
        """Close when what has been sent is written."""
        if self.is_made and not self.lost:
            self._let_go()
            self.socket.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        if self.is_made and not self.lost:
            self._let_go()
            self.socket.abortConnection()

    def read_bytes_max(self, count: int) -> None:
        """How much is read at a time, and so may wait for the other side."""
        cast("Any", self.socket).bufferSize = count

    def address(self) -> Address:
        """Where it comes from."""
        peer = self.socket.getPeer()
        return Address(peer.host, peer.port)
