"""A transport connector: listens, and carries bytes between sockets and a protocol's sans-I/O server.

A client that does not read costs a bounded number of bytes: its socket takes no more, dispatch to it stops,
and if it asks on without reading answers it is not read either. A client that sends garbage loses its own
connection and costs one log line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory

from broker.admission import Admission
from broker.errors import PortUnavailable
from broker.proxy_protocol import is_within
from broker.remote import remote_of
from broker.rest import Rest, send_some

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from broker.connectors import ConnectorConfig
    from broker.reactor import ListeningPort, Reactor, Socket
    from broker.region.connection import RegionConnection
    from broker.turn import Turn

BACKLOG: Final = 1024
"""Connections the kernel holds for us while all clients come back at once after a takeover."""
UNSENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Above this many unsent bytes a client is not read from: it asks, and does not read the answers."""
HANDSHAKE_S_MAX: Final = 30.0
"""Time from connect to an accepted login. Source: ActiveMQ's `connectAttemptTimeout`."""
LINGER_S: Final = 2.0
"""How long a connection we close may take to read what was sent before."""
GOODBYE_S: Final = 0.25
"""The same when a broker ends its mastership: it is elsewhere that its clients have to be."""

_log: Final = logging.getLogger("broker")


class ProtocolServer(Protocol):
    """The broker's side of one connection of some protocol, without its socket.

    Attributes:
        connection: the region's side once the client is authenticated.
        closing: close the transport when what is to be sent has been written.
        close_reason: for the log.
    """

    @property
    def connection(self) -> RegionConnection | None:
        """See above."""
        ...

    @property
    def closing(self) -> bool:
        """See above."""
        ...

    @property
    def close_reason(self) -> str:
        """See above."""
        ...

    @property
    def reading_paused(self) -> bool:
        """What arrives would only be kept: better not read from the socket."""
        ...

    @property
    def held_batch(self) -> int:
        """The lowest batch that a reply waits for, 0 if none does."""
        ...

    @property
    def deadline_s(self) -> float | None:
        """When `handle_deadline` wants to be called, monotonic seconds; None never."""
        ...

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Take what arrived."""
        ...

    def connection_lost(self, reason: str) -> None:
        """The socket is gone."""
        ...

    def durable(self, batch: int) -> None:
        """Release replies that waited for this batch or a lower one."""
        ...

    def data_to_send(self) -> bytes:
        """Take all bytes to be written."""
        ...

    def handle_deadline(self, now_s: float) -> None:
        """The deadline is over."""
        ...

    def last_words(self, reason: str) -> bytes:
        """What is told to a client that has to look for another broker."""
        ...


BuildServer = Callable[[str, float, Callable[[], None]], ProtocolServer]
"""Makes a server for a peer's address at a time; the last argument asks for a turn."""


class ClientTransport(TwistedProtocol):
    """One client's socket."""

    def __init__(self, connector: TransportConnector, turn: Turn, address: str = "") -> None:
        self._connector = connector
        self._address = address  # counted in, as long as the connection lasts; empty: it is not
        self._turn = turn
        self._server: ProtocolServer
        self._socket: Socket
        self._bound = False
        self._rest: Rest | None = None
        self._unsent = 0
        self._deaf = False
        self._closing = False
        self._frozen = False
        self._made_s = 0.0
        self.remote = ""

    # ---- Twisted

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Begin the dialogue."""
        self._socket = cast("Socket", self.transport)
        peer = self._socket.getPeer()
        self.remote = remote_of(peer.host, peer.port)
        self._socket.setTcpNoDelay(True)
        self._socket.setTcpKeepAlive(True)
        self._made_s = self._turn.monotonic_s()
        self._server = self._connector.build_server(self.remote, self._made_s, lambda: self._turn.touch(self))
        self._connector.transports[self] = None
        self._turn.add(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take what arrived; the turn's end does the rest."""
        if self._closing:
            return
        server = self._server
        server.receive_data(data, self._turn.begin())
        if not self._bound and server.connection is not None:
            self._bind(server.connection)
        if server.held_batch:
            self._turn.hold(self)
        self._turn.heard(self)

    def connectionLost(  # noqa: N802 - Twisted's name
        self, reason: Failure | None = None
    ) -> None:
        """Give back what the client held."""
        self._closing = True
        self._connector.transports.pop(self, None)
        if self._address:
            self._connector.admission.left(self._address)
        connection = self._server.connection
        self._server.connection_lost("" if reason is None else reason.getErrorMessage())
        self._turn.remove(self, connection)
        self._connector.client_left()

    # ---- the turn

    def durable(self, batch: int) -> None:
        """Replies leave."""
        self._server.durable(batch)
        if self._server.held_batch:
            self._turn.hold(self)

    def write(self) -> None:
        """One write for all that this turn has to say."""
        server = self._server
        if not self._bound and server.connection is not None:
            self._bind(server.connection)
        if server.held_batch:
            self._turn.hold(self)
        data = server.data_to_send()
        if data:
            self._send(data)
        self._pace_reading()
        connection = server.connection
        if connection is not None and connection.dispatch_budget <= 0 and self._rest is None:
            connection.replenish()
            self._turn.schedule()
        if server.closing and not self._closing:
            self._close(server.close_reason)

    def _send(self, data: bytes) -> None:
        """Send what the socket takes at once; Twisted sends the rest when it takes more.

        Measured: 80 instead of 100 µs for a request and its answer, since the detour over the reactor's next
        pass costs two `epoll_ctl` and an `epoll_wait`.
        """
        if self._rest is not None:
            self._unsent += len(data)
            self._socket.write(data)
            return
        taken = send_some(self._socket, data)
        if taken < len(data):
            self._unsent = len(data) - taken
            self._rest = Rest(self.rest_is_sent)
            self._rest.leave(self._socket, data[taken:])
            connection = self._server.connection
            if connection is not None:
                connection.pause()

    def check_deadline(self, now_s: float) -> None:
        """Keep alive, or give a silent peer up."""
        server = self._server
        if self._closing:
            return
        if server.connection is None and now_s - self._made_s > HANDSHAKE_S_MAX:
            self._close(f"no login within {HANDSHAKE_S_MAX:g} s")
            return
        deadline_s = server.deadline_s
        if deadline_s is not None and deadline_s <= now_s:
            server.handle_deadline(now_s)
            self._turn.touch(self)

    # ---- pace

    def rest_is_sent(self) -> None:
        """The socket has taken everything."""
        self._socket.unregisterProducer()
        self._rest = None
        self._unsent = 0
        self._pace_reading()
        connection = self._server.connection
        if connection is not None:
            connection.replenish()
        self._turn.schedule()

    def _pace_reading(self) -> None:
        """Do not read from a client that does not read itself, or that waits for its login."""
        deaf = self._server.reading_paused or self._unsent > UNSENT_BYTES_MAX
        if deaf is not self._deaf and not self._closing and not self._frozen:
            self._deaf = deaf
            if deaf:
                self._socket.pauseProducing()
            else:
                self._socket.resumeProducing()

    def freeze(self) -> None:
        """Read nothing more; what is to be sent still leaves."""
        self._frozen = True
        if not self._closing:
            self._socket.pauseProducing()

    def drop(self) -> None:
        """Say good-bye, and close as soon as the client has heard it.

        What it still sends is read and forgotten: a socket that is closed with something unread is reset, and
        a reset can overtake our last words.
        """
        self._connector.reactor.callLater(GOODBYE_S, self._socket.abortConnection)
        if self._closing:
            return
        self._closing = True
        if words := self._server.last_words("This broker is not the master any more."):
            self._socket.write(words)
        self._socket.unregisterProducer()
        self._socket.loseWriteConnection()
        self._socket.resumeProducing()

    def abort(self) -> None:
        """Close at once; what is not sent is not sent."""
        self._closing = True
        self._socket.abortConnection()

    def _bind(self, connection: RegionConnection) -> None:
        self._bound = True
        self._turn.bind(self, connection)
        if self._rest is not None:
            connection.pause()

    def _close(self, reason: str) -> None:
        self._closing = True
        if reason:
            connection = getattr(self._server, "connection", None)  # TLS and the like have none themselves
            _log.warning(
                "%s: connection from %s closed: %s",
                self._connector.name,
                self.remote,
                reason,
                extra={
                    "connector": self._connector.name,
                    "connection": self.remote,
                    "client_id": getattr(connection, "client_id", None) or "",
                },
            )
        self._socket.unregisterProducer()
        self._socket.loseConnection()
        self._connector.reactor.callLater(LINGER_S, self._socket.abortConnection)


class TransportConnector(ServerFactory):
    """Listens on one port for one protocol, while the broker is the master.

    The port is bound before the journal is opened: a taken port is noticed before anybody is fenced, and
    clients that come early wait in the kernel instead of being refused.
    """

    noisy = False

    def __init__(self, reactor: Reactor, config: ConnectorConfig, bind_address: str) -> None:
        self.reactor = reactor
        self.name = config.name
        self.build_server: BuildServer
        self.transports: dict[ClientTransport, None] = {}
        self._config = config
        self._bind_address = bind_address
        self._turn: Turn
        self._listening: ListeningPort | None = None
        self._refused = 0
        self.admission = Admission(config.limits)
        self._gone: Deferred[None] | None = None

    def bind(self) -> int:
        """Bind the first free port of the range; nothing is accepted before `accept`.

        Returns:
            The port.

        Raises:
            PortUnavailable: all are taken, or the address is not this host's.
        """
        problem: CannotListenError | None = None
        for port in self._config.ports.candidates:
            try:
                listening = self.reactor.listenTCP(port, self, backlog=BACKLOG, interface=self._bind_address)
            except CannotListenError as error:
                problem = error
                continue
            listening.stopReading()
            self._listening = listening
            return int(listening.getHost().port)
        ports = self._config.ports
        wanted = f"port {ports.low}" if ports.low == ports.high else f"ports {ports.low} to {ports.high}"
        raise PortUnavailable(
            f"The connector {self.name} cannot listen on {self._bind_address or '*'}, {wanted}: "
            f"{problem.socketError if problem else 'no port'}."
        )

    def accept(self, turn: Turn, build_server: BuildServer) -> None:
        """Serve those who have come and those who come."""
        self._turn = turn
        self.build_server = build_server
        if self._listening is not None:
            self._listening.startReading()

    def buildProtocol(  # noqa: N802 - Twisted's name
        self, addr: IAddress | None
    ) -> ClientTransport | None:
        """Admit a client, or close its connection if there are too many."""
        if len(self.transports) >= self._config.connections_max:
            self._refused += 1
            if self._refused & (self._refused - 1) == 0:
                _log.warning(
                    "%s: connection from %s refused: maximumConnections is %d; refused so far: %d",
                    self.name,
                    addr,
                    self._config.connections_max,
                    self._refused,
                )
            return None
        address = self._counted(getattr(addr, "host", ""))
        now_s = self._turn.monotonic_s()
        if reason := address and self.admission.admit(address, now_s):
            if lines := self.admission.lines(address, reason, now_s):
                _log.warning(
                    "%s: connection from %s refused: more than its %s; refused so: %d",
                    self.name,
                    address,
                    reason,
                    lines,
                )
            return None
        return ClientTransport(self, self._turn, address)

    def _counted(self, address: str) -> str:
        """The address whose connections are counted; empty: a proxy's, whose clients have their own."""
        limits = self._config.limits
        free = limits.trusts(address) or is_within(address, self._config.proxies)
        return "" if free else address

    def stop_listening(self) -> None:
        """Free the port."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.stopListening()

    def freeze_clients(self) -> None:
        """Read nothing more from anybody; what is to be sent still leaves."""
        for client in list(self.transports):
            client.freeze()

    def drop_clients(self) -> Deferred[None]:
        """Close all connections once their last replies are written; fires when they are."""
        gone: Deferred[None] = Deferred()
        self._gone = gone
        for client in list(self.transports):
            client.drop()
        self.client_left()
        return gone

    def client_left(self) -> None:
        """Tell who waits for that if it was the last one."""
        if self._gone is not None and not self.transports:
            gone, self._gone = self._gone, None
            gone.callback(None)

    def abort_clients(self) -> None:
        """Close all connections at once."""
        for client in list(self.transports):
            client.abort()
