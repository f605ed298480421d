"""The connector and the turn: one write per turn, replies that wait, clients that do not read, limits."""

import logging
from collections.abc import Callable

import pytest
from support.region import QUEUE, MemoryStore, Peer, RecordingClient
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from broker.connector import (
    GOODBYE_S,
    HANDSHAKE_S_MAX,
    LINGER_S,
    UNSENT_BYTES_MAX,
    ClientTransport,
    TransportConnector,
)
from broker.connectors import ConnectorConfig, PortRange
from broker.errors import PortUnavailable
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

    def writeSomeData(self, data: bytes) -> int:  # noqa: N802 - Twisted's name
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

    def __init__(self, **config: int) -> None:
        self.reactor = MemoryReactorClock()
        self.store = MemoryStore()
        self.region = Region(self.store)
        self.flushes = 0
        self.now_ms = 1000
        self.turn = Turn(
            self.reactor,
            self.region,
            self.flush,
            clock_ms=lambda: self.now_ms,
            monotonic_s=self.reactor.seconds,
        )
        self.connector = TransportConnector(
            self.reactor,
            ConnectorConfig("openwire", "openwire", "tcp", PortRange(0, 0), **config),
            "127.0.0.1",
        )
        self.servers: list[FakeServer] = []
        self.connector.accept(self.turn, self.build)

    def flush(self) -> None:
        """The journal's writer is woken."""
        self.flushes += 1

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

    def end_turn(self) -> None:
        """This pass of the reactor is over."""
        self.reactor.advance(0)

    def sync(self) -> None:
        """The journal makes everything durable."""
        self.store.durable_batch = len(self.store.batches)
        self.turn.durable(self.store.durable_batch)


def test_a_turn_writes_once_per_connection_and_flushes_once() -> None:
    """However much arrives, each connection gets one write, and the journal is woken once."""
    bench = Bench()
    protocol, socket, _ = bench.client()
    other, other_socket, _ = bench.client()
    for byte in b"abc":
        protocol.dataReceived(bytes([byte]))
        other.dataReceived(bytes([byte]))
    assert socket.writes == []
    bench.end_turn()
    assert socket.writes == other_socket.writes == [b"hello abc"]
    assert bench.flushes == 1


def test_a_lone_client_is_answered_at_once_and_several_are_gathered() -> None:
    """Nothing is to be gained by waiting for others where nobody else speaks; where somebody does, it is."""
    bench = Bench()
    protocol, socket, _ = bench.client()
    other, other_socket, _ = bench.client()
    protocol.dataReceived(b"a")
    bench.end_turn()
    protocol.dataReceived(b"b")
    assert socket.writes == [b"hello a", b"b"]
    other.dataReceived(b"1")
    protocol.dataReceived(b"c")
    assert (socket.writes[2:], other_socket.writes[1:]) == ([], [])
    bench.end_turn()
    assert (socket.writes[2:], other_socket.writes[1:]) == ([b"c"], [b"1"])
    protocol.dataReceived(b"d")
    assert socket.writes[3:] == []  # the pass before had heard two
    bench.end_turn()
    protocol.dataReceived(b"e")
    assert socket.writes[3:] == [b"d", b"e"]


def test_a_turn_that_was_held_up_is_told_the_time_again() -> None:
    """A process that stood still in the middle of a turn does not take what it reads then for older."""
    bench = Bench()
    bench.turn.begin()
    assert bench.region.now_ms == 1000
    bench.turn.schedule()
    bench.now_ms += 5000
    bench.turn.begin()
    assert bench.region.now_ms == 1000
    bench.reactor.rightNow += 5.0
    bench.turn.begin()
    assert bench.region.now_ms == 6000


def test_held_replies_leave_when_their_batch_is_durable() -> None:
    """P1: nothing is acknowledged before its sync; then it is, in the same turn."""
    bench = Bench()
    protocol, socket, server = bench.client()
    bench.end_turn()
    server.held_batch = 7
    protocol.dataReceived(b"x")
    bench.end_turn()
    bench.turn.durable(6)
    assert socket.writes == [b"hello ", b"x"]
    bench.turn.durable(7)
    assert socket.writes[-1] == b"durable"


def test_dispatches_reach_the_connection_they_are_for() -> None:
    """What the region dispatches is written in the same turn, though nothing arrived from that client."""
    bench = Bench()
    protocol, socket, server = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    assert server.connection is not None
    server.connection.add_consumer("k", QUEUE)
    sender = Peer(bench.region, "sender")
    sender.send("m1")
    sender.send("m2")
    bench.sync()
    assert socket.writes[-1] == b"DD"


def test_a_full_socket_stops_dispatch_until_it_is_empty() -> None:
    """A client that does not read gets nothing more until it has read what it was sent."""
    bench = Bench()
    protocol, socket, server = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    assert server.connection is not None
    server.connection.add_consumer("k", QUEUE)
    Peer(bench.region, "sender").send("m1")
    socket.room = 0
    bench.sync()
    sender = Peer(bench.region, "sender")
    sender.send("m2", sequence=2)
    bench.sync()
    assert socket.writes == [b"hello L"]
    assert socket.buffered == b"D"
    socket.drain()
    bench.end_turn()
    assert socket.writes == [b"hello L", b"D", b"D"]
    assert socket.producer is None


def test_a_large_dispatch_goes_out_in_bounded_portions() -> None:
    """A prefetch of thousands is not put into the socket's buffer at once."""
    bench = Bench()
    protocol, socket, server = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    assert server.connection is not None
    server.connection.add_consumer("k", QUEUE)
    server.connection.dispatch_budget = 1500
    sender = Peer(bench.region, "sender")
    for index in range(5):
        sender.send(f"m{index}")
    bench.sync()
    assert socket.writes[-1] == b"DDD"
    bench.end_turn()
    assert socket.writes[-1] == b"DD"


def test_a_client_that_asks_without_reading_is_not_read() -> None:
    """Answers nobody reads are bounded too."""
    bench = Bench()
    protocol, socket, server = bench.client()
    bench.end_turn()
    socket.room = 10
    server.out = bytes(UNSENT_BYTES_MAX)
    protocol.dataReceived(b"x")
    bench.end_turn()
    assert socket.reading
    server.out = bytes(100)
    protocol.dataReceived(b"x")
    bench.end_turn()
    assert not socket.reading
    socket.drain()
    assert socket.reading
    assert len(b"".join(socket.writes)) == UNSENT_BYTES_MAX + 108


def test_reading_waits_for_the_login() -> None:
    """While credentials are checked nothing more is read from the socket."""
    bench = Bench()
    protocol, socket, server = bench.client()
    server.reading_paused = True
    protocol.dataReceived(b"x")
    bench.end_turn()
    assert not socket.reading
    server.reading_paused = False
    server.wake()
    bench.end_turn()
    assert socket.reading


def test_a_closing_server_closes_its_socket_after_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    """The last words are written, one line is logged, and a peer that does not read them is cut off."""
    bench = Bench()
    protocol, socket, server = bench.client()
    server.closing = True
    server.close_reason = "rubbish"
    protocol.dataReceived(b"x")
    bench.end_turn()
    protocol.dataReceived(b"ignored")
    bench.end_turn()
    assert socket.writes == [b"hello x"]
    assert socket.disconnecting
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "openwire: connection from tcp://192.0.2.1:40000 closed: rubbish"
    ]
    assert not socket.aborted
    bench.reactor.advance(LINGER_S)
    assert socket.aborted


def test_a_lost_connection_gives_back_what_it_had() -> None:
    """Its messages are dispatched to others at the end of the turn."""
    bench = Bench()
    protocol, _, server = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    assert server.connection is not None
    server.connection.add_consumer("k", QUEUE)
    other = Peer(bench.region, "other")
    other.send("m1")
    bench.sync()
    other.consume()
    protocol.connectionLost(Failure(ConnectionDone()))
    bench.end_turn()
    assert other.client.ids() == ["m1"]
    assert server.lost is not None
    assert not bench.connector.transports


def test_connections_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Past maximumConnections a client is closed at once; the log says so, ever more rarely."""
    bench = Bench(connections_max=2)
    first, _, _ = bench.client()
    bench.client()
    for _ in range(10):
        assert bench.connector.buildProtocol(PEER) is None
    assert len(caplog.records) == 4
    first.connectionLost(Failure(ConnectionDone()))
    bench.client()


def test_a_silent_client_is_checked_by_the_clock() -> None:
    """Deadlines are looked at once a second; a client that never logs in is closed."""
    bench = Bench()
    protocol, _, server = bench.client()
    protocol.dataReceived(b"L")
    _, stranger_socket, _ = bench.client()
    server.deadline_s = 5.0
    for _ in range(4):
        bench.reactor.advance(1.0)
    assert server.deadlines == 0
    for _ in range(int(HANDSHAKE_S_MAX)):
        bench.reactor.advance(1.0)
    assert server.deadlines == 1
    assert stranger_socket.disconnecting


def test_pulls_are_answered_by_the_clock() -> None:
    """A pull's timeout is answered although nothing else happens."""
    bench = Bench()
    protocol, _, _ = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    peer = Peer(bench.region, "puller")
    peer.consume(prefetch_size=0)
    now_ms = 1000
    bench.turn._clock_ms = lambda: now_ms
    bench.region.advance(now_ms)
    peer.connection.pull("k", 500)
    bench.turn.schedule()
    bench.end_turn()
    now_ms = 1500
    bench.reactor.advance(0.5)
    assert peer.client.none == ["k"]


def test_a_halted_turn_only_lets_durable_replies_leave() -> None:
    """While the broker stops, what was taken is answered and nothing else is done."""
    bench = Bench()
    protocol, socket, server = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    assert server.connection is not None
    server.connection.add_consumer("k", QUEUE)
    Peer(bench.region, "sender").send("m1")
    server.held_batch = 1
    bench.turn.hold(protocol)
    bench.connector.stop_listening()
    bench.turn.stop_dispatch()
    protocol.dataReceived(b"last words")
    bench.end_turn()
    assert socket.writes[-1] == b"last words"
    bench.connector.freeze_clients()
    bench.turn.halt()
    assert not socket.reading
    bench.sync()
    assert socket.writes[-1] == b"durable"
    assert not socket.reading
    gone: list[object] = []
    bench.connector.drop_clients().addCallback(gone.append)
    assert socket.half_closed
    assert socket.reading, "what is left unread would reset the connection"
    bench.reactor.advance(GOODBYE_S)
    assert socket.aborted
    assert not gone
    protocol.connectionLost()
    assert gone == [None]


def test_clients_are_dropped_when_they_have_gone_or_time_is_up() -> None:
    """Without clients that is at once; who leaves is waited for, and so is who was being closed."""
    bench = Bench()
    gone: list[object] = []
    bench.connector.drop_clients().addCallback(gone.append)
    assert gone == [None]
    (first, _, _), (second, second_socket, server) = bench.client(), bench.client()
    server.closing = True
    second.dataReceived(b"x")
    bench.end_turn()
    assert second_socket.disconnecting
    bench.connector.drop_clients().addCallback(gone.append)
    assert not second_socket.half_closed
    first.connectionLost()
    assert gone == [None]
    bench.reactor.advance(GOODBYE_S)
    assert second_socket.aborted
    second.connectionLost()
    assert gone == [None, None]


def test_the_first_free_port_of_a_range_is_taken() -> None:
    """A taken port is passed over; a range with none free is said."""
    reactor = MemoryReactorClock()
    taken = {61616, 61617}
    listen = reactor.listenTCP

    def listen_unless_taken(port: int, factory: object, **options: object) -> object:
        if port in taken:
            raise CannotListenError("127.0.0.1", port, OSError("Address already in use"))
        return listen(port, factory, **options)

    reactor.listenTCP = listen_unless_taken
    config = ConnectorConfig("openwire", "openwire", "tcp", PortRange(61616, 61618))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twisted.internet.testing._FakePort.stopReading", lambda port: None, raising=False)
        assert TransportConnector(reactor, config, "127.0.0.1").bind() == 61618
        taken.add(61618)
        with pytest.raises(PortUnavailable, match="ports 61616 to 61618"):
            TransportConnector(reactor, config, "127.0.0.1").bind()


def test_a_mistake_in_a_dispatch_withholds_nothing_from_others() -> None:
    """A programming error shows in the log; the journal is still flushed and replies are still written."""
    bench = Bench()
    protocol, _, server = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    assert server.connection is not None
    server.connection.add_consumer("k", QUEUE)
    server.dispatch = None
    Peer(bench.region, "sender").send("n1", persistent=False)
    other, other_socket, _ = bench.client()
    other.dataReceived(b"x")
    flushes = bench.flushes
    with pytest.raises(TypeError):
        bench.end_turn()
    assert bench.flushes == flushes + 1
    assert other_socket.writes == [b"hello x"]


def test_a_wait_counts_from_its_arrival_however_long_nothing_happened() -> None:
    """The region is told the time before what arrives: an idle broker's clock must not stand still."""
    bench = Bench()
    protocol, _, server = bench.client()
    protocol.dataReceived(b"L")
    bench.end_turn()
    bench.now_ms = 3_600_000
    assert server.connection is not None
    server.connection.add_consumer("k", QUEUE, ConsumerOptions(prefetch_size=0))
    server.on_data = lambda: server.connection.pull("k", 500)
    protocol.dataReceived(b"pull")
    bench.end_turn()
    assert server.none == []
    bench.now_ms += 500
    protocol.dataReceived(b"x")
    bench.end_turn()
    assert server.none == ["k"]
