"""A connector and its turn on a fake reactor, over a region with a journal in memory."""

from collections.abc import Callable
from typing import Any

from support.region import QUEUE, MemoryStore, RecordingClient
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport

from broker.connector import ClientTransport, TransportConnector
from broker.connectors import ConnectorConfig, PortRange
from broker.region.connection import RegionConnection
from broker.region.consumer import ConsumerOptions
from broker.region.region import Region
from broker.turn import Turn

PEER = IPv4Address("TCP", "192.0.2.1", 40_000)


class FakeServer(RecordingClient):
    """A protocol whose every received byte is echoed, and whose log-in is the byte `L`."""

    def __init__(self, region: Region, wake: Callable[[], None]) -> None:
        super().__init__()
        self.region = region
        self.wake = wake
        self.connection: RegionConnection | None = None
        self.closing = False
        self.close_reason = ""
        self.reading_paused = False
        self.held_batch = 0
        self.deadline_s: float | None = None
        self.deadlines = 0
        self.out = b"hello "
        self.lost: str | None = None
        self.on_data: Callable[[], None] | None = None

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Echo."""
        del now_s
        self.out += data
        if self.on_data is not None:
            on_data, self.on_data = self.on_data, None
            on_data()
        if data == b"L":
            self.connection = self.region.connect(self, "c1", None)

    def durable(self, batch: int) -> None:
        """Answer."""
        if batch >= self.held_batch:
            self.out += b"durable"
            self.held_batch = 0

    def data_to_send(self) -> bytes:
        """All, with a mark for each dispatch."""
        out, self.out = self.out + b"D" * len(self.got), b""
        self.got.clear()
        return out

    def handle_deadline(self, now_s: float) -> None:
        """Count, and keep alive."""
        self.deadline_s = now_s + 100.0
        self.deadlines += 1
        self.out += b"keep-alive"

    def last_words(self, reason: str) -> bytes:
        """None."""
        del reason
        return b""

    def connection_lost(self, reason: str) -> None:
        """Give back."""
        self.lost = reason
        if self.connection is not None:
            self.connection.close()


class Socket(StringTransport):
    """A transport that counts its writes and knows TCP's options."""

    def __init__(self) -> None:
        super().__init__(peerAddress=PEER)
        self.writes: list[bytes] = []
        self.aborted = False
        self.half_closed = False
        self.reading = True
        self.room = 1 << 30
        self.buffered = b""

    def getHandle(self) -> "Socket":  # noqa: N802 - Twisted's name
        """The kernel's side is in here, too."""
        return self

    def send(self, data: bytes) -> int:
        """Take what there is room for."""
        taken = data[: self.room]
        self.room -= len(taken)
        if taken:
            self.writes.append(taken)
        return len(taken)

    def write(self, data: bytes) -> None:
        """Keep it until there is room."""
        self.buffered += data

    def registerProducer(self, producer: object, streaming: bool) -> None:  # noqa: N802 - Twisted's name
        """A pull producer is asked at once, as Twisted does."""
        assert not streaming
        self.producer = producer
        producer.resumeProducing()

    def drain(self) -> None:
        """The client has read everything."""
        self.room = 1 << 30
        buffered, self.buffered = self.buffered, b""
        if buffered:
            self.writes.append(buffered)
            self.producer.resumeProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        """No nagling."""

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        """Keep alive."""

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Read nothing."""
        self.reading = False

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Read again."""
        self.reading = True

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        """Once or more often."""
        self.producer = None

    def loseWriteConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing more is sent."""
        self.half_closed = True

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Closed at once."""
        self.aborted = True


class Bench:
    """A connector on a fake reactor, over a region with a journal in memory."""

    def __init__(self, **config: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.store = MemoryStore()
        self.region = Region(self.store)
        self.flushes = 0
        self.flushed_batch = 0
        self.flushed_alone = False
        self.passes = 0
        self.syncs_at_once = False
        self.commit_s = 0.0
        self.unwritten_bytes = 0
        self.now_ms = 1000
        self.turn = Turn(
            self.reactor,
            self.region,
            self,
            clock_ms=lambda: self.now_ms,
            monotonic_s=self.reactor.seconds,
            passes=lambda: self.passes,
        )
        self.connector = TransportConnector(
            self.reactor,
            ConnectorConfig("openwire", "openwire", "tcp", PortRange(0, 0), **config),
            "127.0.0.1",
        )
        self.servers: list[FakeServer] = []
        self.connector.accept(self.turn, self.build)

    def flush(self, *, alone: bool = False) -> None:
        """The journal's writer is woken, or commits at once."""
        self.flushes += 1
        self.flushed_alone = alone
        self.flushed_batch = self.region.last_batch
        if self.syncs_at_once:
            self.sync()

    def build(self, remote: str, now_s: float, wake: Callable[[], None]) -> FakeServer:
        """A server per client."""
        del remote, now_s
        self.servers.append(FakeServer(self.region, wake))
        return self.servers[-1]

    def client(self) -> tuple[ClientTransport, Socket, FakeServer]:
        """A new client."""
        protocol = self.connector.buildProtocol(PEER)
        assert protocol is not None
        socket = Socket()
        protocol.makeConnection(socket)
        return protocol, socket, self.servers[-1]

    def consumer(
        self, options: ConsumerOptions | None = None
    ) -> tuple[ClientTransport, Socket, FakeServer, RegionConnection]:
        """A new client that has logged in and consumes the queue."""
        protocol, socket, server = self.client()
        protocol.dataReceived(b"L")
        self.end_turn()
        assert server.connection is not None
        server.connection.add_consumer("k", QUEUE, options)
        return protocol, socket, server, server.connection

    def end_turn(self) -> None:
        """This pass of the reactor is over."""
        self.passes += 1
        self.reactor.advance(0)

    def sync(self) -> None:
        """The journal makes everything durable."""
        self.commit(len(self.store.batches))

    def commit(self, batch: int) -> None:
        """The journal makes everything up to a batch durable."""
        self.store.durable_batch = batch
        self.turn.durable(batch)
