"""The turn: one write and one commit for all that came, what waits for what, and the time."""

import pytest
from support.connector import Bench, FakeServer, Socket
from support.region import Peer

from broker.commit_delay import DELAY_SHARE
from broker.connector import ClientTransport
from broker.region.consumer import ConsumerOptions
from broker.turn import GATHER_S_MAX, SWEEP_S, UNAWAITED_S
from journal.options import BUSY_BYTES


def test_a_turn_writes_once_per_connection_and_flushes_once() -> None:
    """However much arrives, each connection gets one write, and the journal is woken once."""
    bench = Bench()
    protocol, socket, server = bench.client()
    other, other_socket, _ = bench.client()
    server.held_batch = 7
    for byte in b"abc":
        protocol.dataReceived(bytes([byte]))
        other.dataReceived(bytes([byte]))
    assert socket.writes == []
    bench.end_turn()
    assert socket.writes == other_socket.writes == [b"hello abc"]
    assert bench.flushes == 1


def test_what_nobody_waits_for_is_committed_soon_and_once() -> None:
    """A sync for an acknowledgement alone would hold up whoever sends next; and none is left lying."""
    bench = Bench()
    protocol, _, server = bench.client()
    sender = Peer(bench.region, "sender")
    sender.send("n1")
    protocol.dataReceived(b"x")
    bench.end_turn()
    sender.send("n2")
    protocol.dataReceived(b"x")
    bench.end_turn()
    assert bench.flushes == 0
    bench.reactor.advance(UNAWAITED_S)
    assert bench.flushes == 1
    bench.sync()
    bench.reactor.advance(UNAWAITED_S)
    assert bench.flushes == 1  # there is nothing more
    sender.send("n3")
    server.held_batch = 3
    protocol.dataReceived(b"x")
    bench.end_turn()
    assert bench.flushes > 1  # with what somebody waits for it goes at once


def test_what_a_consumer_waits_for_is_committed_at_once() -> None:
    """A message that would be dispatched is awaited like a reply."""
    bench = Bench()
    _, socket, _, _ = bench.consumer()
    bench.sync()
    flushes = bench.flushes
    Peer(bench.region, "sender").send("n1")
    bench.turn.schedule()
    bench.end_turn()
    assert bench.flushes == flushes + 1
    bench.sync()
    assert socket.writes[-1] == b"D"


def test_a_reply_that_waits_only_once_it_is_written_is_committed_at_once() -> None:
    """What a client is to hear may come of the dispatch itself, or of what it is written."""
    bench = Bench()
    _, _, server = bench.client()
    bench.end_turn()
    flushes = bench.flushes
    server.held_batch = 7
    server.wake()
    bench.turn.schedule()
    bench.turn.touch(next(iter(bench.connector.transports)))
    bench.end_turn()
    assert bench.flushes == flushes + 1


def busy_bench() -> tuple[Bench, list[tuple[ClientTransport, Socket, FakeServer]]]:
    """Four clients of which none is alone; whatever they send has to wait for the journal."""
    bench = Bench()
    clients = [bench.client() for _ in range(4)]
    for protocol, _, _ in clients:
        protocol.dataReceived(b"hello ")
    bench.end_turn()
    for _, socket, server in clients:
        socket.writes.clear()
        server.held_batch = 7
    return bench, clients


def test_clients_that_ask_one_after_the_other_are_committed_together() -> None:
    """While each pass of the reactor brings one more that will wait, the sync is put off; then it is not."""
    bench, clients = busy_bench()
    for protocol, _, _ in clients[:2]:
        protocol.dataReceived(b"x")
    bench.reactor.callLater(0, clients[2][0].dataReceived, b"x")
    bench.reactor.callLater(0, lambda: bench.reactor.callLater(0, clients[3][0].dataReceived, b"x"))
    bench.end_turn()
    assert bench.flushes == 1
    assert [socket.writes for _, socket, _ in clients] == [[b"x"]] * 4
    bench.turn.durable(7)
    assert [socket.writes[-1] for _, socket, _ in clients] == [b"durable"] * 4


def test_nothing_is_gathered_while_the_disk_is_at_work() -> None:
    """What comes meanwhile is committed together all the same, and the journal had better know of it."""
    bench, clients = busy_bench()
    for protocol, _, _ in clients[:2]:
        protocol.dataReceived(b"x")
    bench.end_turn()
    assert bench.flushes == 1
    for protocol, _, _ in clients[2:]:
        protocol.dataReceived(b"x")
    seen: list[int] = []
    bench.reactor.callLater(0, lambda: seen.append(bench.flushes))
    bench.end_turn()
    assert seen == [2], "in the first pass"


def test_gathering_ends() -> None:
    """However many come one after the other, those who are first do not wait for ever."""
    bench, clients = busy_bench()

    def later() -> None:
        bench.reactor.rightNow += GATHER_S_MAX
        clients[2][0].dataReceived(b"x")

    for protocol, _, _ in clients[:2]:
        protocol.dataReceived(b"x")
    bench.reactor.callLater(0, later)
    bench.end_turn()
    assert bench.flushes == 1
    assert clients[2][1].writes == [b"x"]


def slow_bench() -> tuple[Bench, list[tuple[ClientTransport, Socket, FakeServer]]]:
    """Four clients whose sends wait for a disk that takes 8 ms for a commit."""
    bench, clients = busy_bench()
    bench.commit_s = 0.008
    return bench, clients


def ask(bench: Bench, *clients: tuple[ClientTransport, Socket, FakeServer]) -> None:
    """Each of them sends something that is journaled, in one pass of the reactor."""
    sender = Peer(bench.region, f"sender {bench.region.last_batch}")
    for number, (protocol, _, server) in enumerate(clients):
        sender.send(f"n{number}")
        server.held_batch = bench.region.last_batch
        protocol.dataReceived(b"x")
    bench.end_turn()


def test_on_a_slow_disk_those_who_are_answered_are_waited_for() -> None:
    """Two halves that take turns become one: what is asked meanwhile waits for whom the commit answers."""
    bench, clients = slow_bench()
    ask(bench, *clients[:2])
    assert bench.flushes == 1
    ask(bench, *clients[2:])
    assert bench.flushes == 1, "the disk is at work"
    bench.commit(bench.flushed_batch)
    assert bench.flushes == 1, "those who were answered are waited for"
    ask(bench, clients[0])
    assert bench.flushes == 2, "with one more than the last time"
    ask(bench, clients[1])
    bench.commit(bench.flushed_batch)
    ask(bench, clients[2])
    ask(bench, clients[3])
    assert bench.flushes == 2
    ask(bench, clients[0])
    assert bench.flushes == 3, "with all four"


def test_on_a_slow_disk_nobody_waits_for_ever() -> None:
    """Whoever was answered may have nothing more to say."""
    bench, clients = slow_bench()
    ask(bench, *clients[:2])
    ask(bench, *clients[2:])
    bench.commit(bench.flushed_batch)
    assert bench.flushes == 1
    bench.reactor.advance(bench.commit_s * DELAY_SHARE)
    assert bench.flushes == 2
    assert not [call for call in bench.reactor.getDelayedCalls() if call.getTime() < SWEEP_S / 2]


def test_on_a_slow_disk_a_lone_client_is_committed_at_once() -> None:
    """There is nobody to wait for."""
    bench, clients = slow_bench()
    for commits in range(1, 4):
        ask(bench, clients[0])
        assert bench.flushes == commits
        bench.commit(bench.flushed_batch)


def test_on_a_slow_disk_much_is_committed_at_once() -> None:
    """What keeps the disk at work by itself is not put off."""
    bench, clients = slow_bench()
    bench.unwritten_bytes = BUSY_BYTES + 1
    ask(bench, *clients[:2])
    ask(bench, *clients[2:])
    assert bench.flushes == 2


def test_a_turn_that_is_halted_commits_nothing_later() -> None:
    """Whoever stops the broker commits what is left."""
    bench, clients = slow_bench()
    ask(bench, *clients[:2])
    ask(bench, *clients[2:])
    bench.commit(bench.flushed_batch)
    bench.turn.halt()
    bench.reactor.advance(1.0)
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


def test_the_journal_is_told_who_waits_alone() -> None:
    """What the only client that speaks waits for can be committed at once, however much it is."""
    bench = Bench()
    protocol, _, server = bench.client()
    other, _, _ = bench.client()
    protocol.dataReceived(b"a")
    bench.end_turn()
    peer = Peer(bench.region, "peer")
    peer.send("n1")
    server.held_batch = bench.region.last_batch
    protocol.dataReceived(b"b")
    assert bench.flushed_alone
    bench.sync()
    peer.send("n2")
    server.held_batch = bench.region.last_batch
    other.dataReceived(b"1")
    protocol.dataReceived(b"c")
    bench.end_turn()
    assert bench.flushes > 1
    assert not bench.flushed_alone


def test_what_a_lone_client_asks_is_dispatched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal commits at once, its answer and what comes of it cost one look at the region."""
    bench = Bench()
    _, socket, _, _ = bench.consumer()
    sender, sender_socket, server = bench.client()
    sender.dataReceived(b"x")
    bench.end_turn()
    bench.syncs_at_once = True
    dispatch = bench.region.dispatch
    dispatched: list[int] = []

    def counted() -> None:
        dispatched.append(len(sender_socket.writes))
        dispatch()

    monkeypatch.setattr(bench.region, "dispatch", counted)
    Peer(bench.region, "peer").send("n1")
    server.held_batch = bench.region.last_batch
    sender.dataReceived(b"y")
    bench.end_turn()
    assert sender_socket.writes[1:] == [b"ydurable"]
    assert dispatched == [len(sender_socket.writes)], "once, behind the answer"
    assert socket.writes[-1] == b"D"


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


def test_a_mistake_in_a_dispatch_withholds_nothing_from_others() -> None:
    """A programming error shows in the log; the journal is still flushed and replies are still written."""
    bench = Bench()
    _, _, server, _ = bench.consumer()
    server.dispatch = None
    Peer(bench.region, "sender").send("n1", persistent=False)
    other, other_socket, other_server = bench.client()
    other_server.held_batch = 7
    other.dataReceived(b"x")
    flushes = bench.flushes
    with pytest.raises(TypeError):
        bench.end_turn()
    assert bench.flushes == flushes + 1
    assert other_socket.writes == [b"hello x"]


def test_a_wait_counts_from_its_arrival_however_long_nothing_happened() -> None:
    """The region is told the time before what arrives: an idle broker's clock must not stand still."""
    bench = Bench()
    protocol, _, server, connection = bench.consumer(ConsumerOptions(prefetch_size=0))
    bench.now_ms = 3_600_000
    server.on_data = lambda: connection.pull("k", 500)
    protocol.dataReceived(b"pull")
    bench.end_turn()
    assert server.none == []
    bench.now_ms += 500
    protocol.dataReceived(b"x")
    bench.end_turn()
    assert server.none == ["k"]
