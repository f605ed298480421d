"""The connector: replies that wait, clients that do not read, limits."""

import logging

import pytest
from support.connector import PEER, Bench
from support.region import Peer
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from broker.connector import GOODBYE_S, HANDSHAKE_S_MAX, LINGER_S, UNSENT_BYTES_MAX, TransportConnector
from broker.connectors import ConnectorConfig, PortRange
from broker.errors import PortUnavailable


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
    _, socket, _, _ = bench.consumer()
    sender = Peer(bench.region, "sender")
    sender.send("m1")
    sender.send("m2")
    bench.sync()
    assert socket.writes[-1] == b"DD"


def test_a_full_socket_stops_dispatch_until_it_is_empty() -> None:
    """A client that does not read gets nothing more until it has read what it was sent."""
    bench = Bench()
    _, socket, _, _ = bench.consumer()
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
    _, socket, _, connection = bench.consumer()
    connection.dispatch_budget = 1500
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
    protocol, _, server, _ = bench.consumer()
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
    protocol, socket, server, _ = bench.consumer()
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
