"""Limits of the store, of memory and of temporary files: which sends wait or are refused, who goes on."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.errors import SendBlocked, SpaceLacking, TransactionRefused, TransactionUnknown
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.region.usage import SETTLED_MS, UsageLimits

OTHER = Destination.queue("other")
FULL = UsageLimits(store_bytes_max=2)
"""A record of a `MemoryStore` has one byte, so this is two messages."""


def store_of(region: Region) -> MemoryStore:
    """Its journal."""
    assert isinstance(region.store, MemoryStore)
    return region.store


def full_region(usage: UsageLimits = FULL) -> tuple[Region, Peer]:
    """A region whose `storeUsage` is used up, and who did that."""
    region = new_region(usage=usage)
    peer = Peer(region)
    peer.submit("m1")
    peer.submit("m2")
    settle(region)
    return region, peer


def take(region: Region, peer: Peer, key: str = "k") -> None:
    """The consumer acknowledges the oldest that it has."""
    peer.acknowledge(next(iter(peer.connection.consumers[key].dispatched)), key=key)
    settle(region)


def test_a_send_beyond_store_usage_waits_for_a_consumer() -> None:
    """P10: a producer is held without an answer until messages were consumed, and goes on by itself."""
    region, peer = full_region()
    peer.submit("m3")
    peer.submit("m4")
    settle(region)
    assert peer.answered() == ["m1", "m2"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.answered() == ["m1", "m2", "m3"]
    take(region, peer)
    take(region, peer)
    take(region, peer)
    assert peer.answered() == ["m1", "m2", "m3", "m4"]
    assert peer.client.ids() == ["m1", "m2", "m3", "m4"]
    assert not region.usage.is_short


def test_whoever_makes_space_is_not_stopped() -> None:
    """On the blocked connection itself: acknowledgements, browsers, pulls, rollbacks, closing go on."""
    region, peer = full_region()
    peer.connection.begin("tx")
    peer.submit("m3")
    peer.consume("browser", browser=True)
    peer.consume("k")
    settle(region)
    assert peer.client.ids("browser") == ["m1", "m2"]
    assert peer.client.ids("k") == ["m1", "m2"]
    peer.acknowledge(peer.client.refs("k")[0], transaction="tx")
    peer.connection.rollback("tx")
    assert peer.answered() == ["m1", "m2"]
    peer.connection.remove_consumer("k")
    assert peer.connection.add_consumer("again", QUEUE) == 0


def test_later_sends_of_the_connection_keep_their_place() -> None:
    """P4: what is sent behind a blocked send waits behind it, non-persistent messages too."""
    region, peer = full_region()
    peer.submit("m3")
    peer.submit("n4", persistent=False)
    settle(region)
    assert peer.answered() == ["m1", "m2"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.answered() == ["m1", "m2", "m3", "n4"]
    take(region, peer)
    assert peer.client.ids() == ["m1", "m2", "m3", "n4"]


def test_other_connections_send_what_needs_no_store() -> None:
    """A used up store stops persistent messages only."""
    region, peer = full_region()
    peer.submit("m3")
    other = Peer(region, "c2")
    other.submit("n1", persistent=False)
    temporary = Destination.parse("temp-queue://ID:c2:1")
    other.connection.add_destination(temporary)
    other.submit("t1", temporary)
    assert other.answered() == ["n1", "t1"]


def test_blocked_connections_take_turns() -> None:
    """One place becomes free at a time, and no connection gets them all."""
    region, first = full_region()
    second = Peer(region, "c2")
    for number in (1, 2, 3):
        first.submit(f"a{number}")
        second.submit(f"b{number}")
    taker = Peer(region, "c3")
    taker.consume()
    settle(region)
    for _ in range(6):
        take(region, taker)
    settle(region)
    assert taker.client.ids()[2:] == ["a1", "b1", "a2", "b2", "a3", "b3"]


def test_a_persistent_message_to_a_topic_waits_too() -> None:
    """It takes space in the journal, even if only for a while."""
    region, peer = full_region()
    peer.submit("t1", TOPIC)
    assert peer.answered() == ["m1", "m2"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.answered() == ["m1", "m2", "t1"]


def test_dead_letters_are_never_refused() -> None:
    """What the broker moves itself was taken before."""
    region, peer = full_region()
    peer.consume()
    settle(region)
    peer.acknowledge(peer.client.refs()[0], kind=AckKind.POISON)
    settle(region)
    peer.consume("dlq", Destination.queue("ActiveMQ.DLQ"))
    settle(region)
    assert peer.client.ids("dlq") == ["m1"]


def test_a_repeated_send_needs_no_space() -> None:
    """P3: what the journal has already is answered, however full it is."""
    region, _ = full_region()
    region = restarted(region, usage=FULL)
    region.dispatch()
    back = Peer(region, failover_reconnect=True)
    back.submit("m1")
    back.submit("m2")
    back.submit("m3")
    assert back.answered() == ["m1", "m2"]


@pytest.mark.parametrize(
    "usage",
    [
        UsageLimits(store_bytes_max=2, refuse_at_once=True),
        UsageLimits(store_bytes_max=2, flow_control=False),
        UsageLimits(store_bytes_max=2, flow_control=False, refuse_after_ms=1000),
    ],
)
def test_a_send_is_refused_at_once_if_so_configured(usage: UsageLimits) -> None:
    """With sendFailIfNoSpace, or without flow control, the error names the limit and what to do."""
    region, peer = full_region(usage)
    with pytest.raises(
        SpaceLacking, match="storeUsage, 2 bytes, is used up: consume persistent messages"
    ) as caught:
        peer.send("m3")
    assert caught.value.jms_class == "javax.jms.ResourceAllocationException"
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.send("m4")


def test_a_send_is_refused_when_it_has_waited_long_enough() -> None:
    """The time of `sendFailIfNoSpaceAfterTimeout` counts for each send from its own arrival."""
    region, peer = full_region(UsageLimits(store_bytes_max=2, refuse_after_ms=500))
    peer.submit("m3")
    region.advance(1200)
    region.dispatch()
    peer.submit("m4")
    assert region.deadline_ms == 1500
    region.advance(1499)
    region.dispatch()
    assert peer.refused() == []
    region.advance(1500)
    region.dispatch()
    assert peer.refused() == ["m3: SpaceLacking"]
    region.advance(1700)
    region.dispatch()
    assert peer.refused() == ["m3: SpaceLacking", "m4: SpaceLacking"]
    assert not region.usage.waiting


def test_a_full_disk_blocks_until_it_is_not_full() -> None:
    """P10: the journal says so, whatever `storeUsage` allows; no restart is needed."""
    region = new_region()
    peer = Peer(region)
    store_of(region).full = True
    region.dispatch()
    peer.submit("m1")
    region.dispatch()
    assert peer.outcomes == []
    assert region.deadline_ms is not None
    store_of(region).full = False
    region.dispatch()
    assert peer.answered() == ["m1"]


def test_a_message_too_long_for_the_disk_waits() -> None:
    """A message for which the disk has no room would end the mastership; it is not even begun."""
    region = new_region(limits=RegionLimits(long_bytes=1000))
    store_of(region).room_bytes = 1500
    peer = Peer(region)
    peer.submit("long", body_bytes=3000)
    peer.submit("topic", TOPIC, body_bytes=3000)
    peer.connection.begin("tx")
    assert peer.outcomes == []
    region.advance(5000)
    store_of(region).room_bytes = 10_000
    region.dispatch()
    assert peer.answered() == ["long", "topic"]


# ---- transactions


def test_a_transacted_send_waits_and_its_commit_waits_for_it() -> None:
    """A transaction is committed with all of its sends or not at all."""
    region, peer = full_region()
    peer.connection.begin("tx")
    peer.submit("m3", transaction="tx")
    peer.submit_commit("tx")
    settle(region)
    assert peer.answered() == ["m1", "m2"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.answered() == ["m1", "m2", "m3", "commit tx"]
    take(region, peer)
    assert peer.client.ids() == ["m1", "m2", "m3"]


def test_a_transaction_whose_send_was_refused_cannot_be_committed() -> None:
    """The send was one-way: its sender learns it at the commit, and nothing of the transaction counts."""
    region, peer = full_region(UsageLimits(store_bytes_max=2, refuse_at_once=True))
    peer.connection.begin("tx")
    peer.send("n3", transaction="tx", persistent=False)
    with pytest.raises(SpaceLacking):
        peer.send("m4", transaction="tx")
    with pytest.raises(TransactionRefused, match="storeUsage") as caught:
        peer.connection.commit("tx")
    assert caught.value.jms_class == "javax.jms.TransactionRolledBackException"
    with pytest.raises(TransactionUnknown):
        peer.connection.commit("tx")
    peer.consume()
    settle(region)
    assert peer.client.ids() == ["m1", "m2"]


def test_a_transaction_whose_send_has_waited_too_long_cannot_be_committed() -> None:
    """Also if the commit waits already."""
    region, peer = full_region(UsageLimits(store_bytes_max=2, refuse_after_ms=500))
    peer.connection.begin("tx")
    peer.submit("m3", transaction="tx")
    peer.submit_commit("tx")
    region.advance(2000)
    region.dispatch()
    assert peer.refused() == ["m3: SpaceLacking", "commit tx: SpaceLacking"]
    with pytest.raises(TransactionUnknown):
        peer.connection.commit("tx")


def test_a_rollback_takes_blocked_sends_back() -> None:
    """They count as sent, and as undone; what is behind them waits on."""
    region, peer = full_region()
    peer.connection.begin("tx")
    peer.submit("m3", transaction="tx")
    peer.submit("m4")
    peer.connection.rollback("tx")
    assert peer.answered() == ["m1", "m2", "m3"]
    peer.consume()
    settle(region)
    take(region, peer)
    take(region, peer)
    assert peer.client.ids() == ["m1", "m2", "m4"]


def test_what_was_sent_before_the_limit_may_be_committed() -> None:
    """`storeUsage` stops sends, not commits."""
    region = new_region(usage=FULL)
    peer = Peer(region)
    peer.connection.begin("tx")
    peer.send("a", transaction="tx")
    peer.send("b")
    peer.send("c")
    settle(region)
    assert peer.connection.commit("tx")


@pytest.mark.parametrize("refuse", [False, True])
def test_a_commit_waits_for_a_full_disk(refuse: bool) -> None:
    """A commit needs space for all of its sends at once; the broker does not risk its end for it."""
    region = new_region(usage=UsageLimits(refuse_at_once=refuse))
    peer = Peer(region)
    peer.connection.begin("tx")
    peer.submit("a", transaction="tx")
    store_of(region).full = True
    region.dispatch()
    peer.submit_commit("tx")
    region.dispatch()
    assert peer.answered() == ["a"]
    assert peer.refused() == (["commit tx: SpaceLacking"] if refuse else [])
    store_of(region).full = False
    region.dispatch()
    assert peer.answered() == (["a"] if refuse else ["a", "commit tx"])


def test_acknowledgements_commit_on_a_full_disk() -> None:
    """A transaction that only consumes makes space."""
    region, peer = full_region()
    peer.consume()
    settle(region)
    store_of(region).full = True
    region.dispatch()
    peer.connection.begin("tx")
    peer.acknowledge(*peer.client.refs(), transaction="tx")
    assert peer.connection.commit("tx")


# ---- a connection's end


def test_blocked_sends_of_a_closed_connection_are_forgotten() -> None:
    """They were not answered: their client sends them again."""
    region, peer = full_region()
    peer.submit("m3")
    peer.connection.close()
    taker = Peer(region, "c2")
    taker.consume()
    settle(region)
    take(region, taker)
    assert taker.client.ids() == ["m1", "m2"]
    assert not region.usage.waiting
    assert not region.usage.is_short


def test_a_connection_with_much_blocked_is_not_read() -> None:
    """Blocked sends take bounded memory: beyond that the transport stops reading."""
    region = new_region(usage=FULL, limits=RegionLimits(blocked_bytes_max=2000))
    peer = Peer(region)
    for number in range(4):
        peer.submit(f"m{number}", body_bytes=400)
        settle(region)
    assert not peer.connection.is_flooded
    peer.submit("m4", body_bytes=400)
    assert peer.connection.is_flooded
    peer.consume()
    settle(region)
    take(region, peer)
    assert not peer.connection.is_flooded


# ---- memory


def test_bodies_beyond_memory_usage_are_read_back() -> None:
    """Persistent messages are never stopped by memory: the journal has their bodies."""
    region = new_region(usage=UsageLimits(memory_bytes_max=2000))
    peer = Peer(region)
    for number in range(20):
        peer.send(f"m{number}", QUEUE if number % 2 else OTHER, body_bytes=100)
        region.dispatch()
    assert region.usage.memory_bytes < 3000
    peer.consume()
    peer.consume("other", OTHER)
    settle(region)
    assert peer.client.ids("k") == [f"m{number}" for number in range(1, 20, 2)]
    assert peer.client.ids("other") == [f"m{number}" for number in range(0, 20, 2)]
    peer.acknowledge(*peer.client.refs("k"))
    peer.acknowledge(*peer.client.refs("other"), key="other")
    assert region.usage.memory_bytes == 0


def test_non_persistent_messages_push_bodies_out_of_memory() -> None:
    """What is in the journal makes room for what is nowhere else, also what consumers hold."""
    region = new_region(usage=UsageLimits(memory_bytes_max=2000))
    peer = Peer(region)
    peer.consume("durable", TOPIC, subscription_name=None)
    peer.consume()
    peer.send("m1", body_bytes=400)
    settle(region)
    peer.send("m2", OTHER, body_bytes=400)
    peer.send("n1", OTHER, persistent=False, body_bytes=1000)
    peer.send("n2", OTHER, persistent=False, body_bytes=1000)
    region.dispatch()
    assert region.usage.memory_bytes == region.usage.volatile_bytes
    peer.connection.remove_consumer("k")
    peer.consume("again")
    peer.consume("other", OTHER)
    settle(region)
    assert peer.client.ids("again") == ["m1"]
    assert peer.client.ids("other") == ["m2", "n1", "n2"]


def test_a_durable_subscribers_bodies_are_dropped_too(tmp_path: Path) -> None:
    """One message for two subscribers is read back for each of them."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1500), temporary=tmp_path)
    region.usage.spool.count_max = 100
    peers = [Peer(region, f"c{number}", f"client{number}") for number in (1, 2)]
    for peer in peers:
        peer.consume("k", TOPIC, subscription_name="s", prefetch_size=1)
    for number in range(6):
        peers[0].send(f"m{number}", TOPIC, body_bytes=300)
        peers[0].send(f"n{number}", TOPIC, persistent=False, body_bytes=300)
        settle(region)
    assert region.usage.spool.count > 0
    for peer in peers:
        for _ in range(12):
            take(region, peer)
        assert peer.client.ids() == [f"{kind}{number}" for number in range(6) for kind in "mn"]
    assert (region.usage.memory_bytes, region.usage.spool.bytes_used) == (0, 0)


def test_non_persistent_messages_beyond_memory_usage_are_spooled(tmp_path: Path) -> None:
    """They come back in order, among persistent ones, and the space is free again when they are consumed."""
    region = new_region(usage=UsageLimits(memory_bytes_max=3000), temporary=tmp_path)
    peer = Peer(region)
    sent = []
    for number in range(14):
        sent.append(f"m{number}")
        peer.send(sent[-1], persistent=number % 3 == 0, body_bytes=200)
        region.dispatch()
    assert region.usage.spool.count > 0
    assert region.usage.memory_bytes <= 3000 + 800
    peer.consume(prefetch_size=3)
    settle(region)
    for _ in range(14):
        take(region, peer)
    assert peer.client.ids() == sent
    assert all(message.body is not None and len(message.body) == 200 for message in peer.client.messages)
    assert (region.usage.memory_bytes, region.usage.spool.count, region.usage.spool.bytes_used) == (0, 0, 0)


def test_a_spooled_message_that_comes_back_is_redelivered(tmp_path: Path) -> None:
    """It stays in the spool until it is acknowledged."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000), temporary=tmp_path)
    peer = Peer(region)
    for number in range(4):
        peer.send(f"n{number}", persistent=False)
    peer.consume()
    region.dispatch()
    peer.connection.remove_consumer("k")
    peer.consume("browser", browser=True)
    peer.consume("again")
    region.dispatch()
    assert peer.client.ids("browser") == peer.client.ids("again") == [f"n{number}" for number in range(4)]
    assert peer.client.got[-1][3] == 1
    peer.acknowledge(*peer.client.refs("again"), key="again")
    assert region.usage.spool.count == 0


def test_a_deleted_queue_gives_its_memory_back(tmp_path: Path) -> None:
    """Messages in memory and in the spool go with their queue."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000), temporary=tmp_path)
    peer = Peer(region)
    for number in range(4):
        peer.send(f"n{number}", persistent=False)
    peer.connection.remove_destination(QUEUE)
    assert (region.usage.memory_bytes, region.usage.spool.count, region.usage.spool.bytes_used) == (0, 0, 0)


def test_without_temporary_storage_memory_usage_blocks() -> None:
    """Non-persistent sends wait when memory and temporary storage are used up; persistent ones do not."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000))
    peer = Peer(region)
    for number in range(3):
        peer.submit(f"n{number}", persistent=False)
    region.dispatch()
    assert peer.answered() == ["n0", "n1"]
    other = Peer(region, "c2")
    other.submit("m1")
    other.connection.begin("tx")
    other.submit("n3", persistent=False, transaction="tx")
    assert other.answered() == ["m1"]
    peer.consume()
    region.dispatch()
    take(region, peer)
    assert peer.answered() == ["n0", "n1", "n2"]


def test_temp_usage_bounds_the_spool(tmp_path: Path) -> None:
    """Refused with the name of both limits, if so configured."""
    usage = UsageLimits(memory_bytes_max=1000, temp_bytes_max=200, refuse_at_once=True)
    region = new_region(usage=usage, temporary=tmp_path)
    region.usage.spool.count_max = 100
    peer = Peer(region)
    with pytest.raises(SpaceLacking, match=r"memoryUsage, 1000 bytes.*tempUsage 200 bytes"):
        for number in range(10):
            peer.send(f"n{number}", persistent=False)
    assert region.usage.spool.count > 0
    region.close()


def test_a_failing_temporary_disk_refuses_sends_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker serves on, says what fails, and takes messages again when it works."""
    folder = tmp_path / "not a folder"
    folder.write_bytes(b"")
    region = new_region(usage=UsageLimits(memory_bytes_max=1000), temporary=folder)
    peer = Peer(region)
    peer.send("n0", persistent=False)
    peer.send("n1", persistent=False)
    with pytest.raises(SpaceLacking, match="cannot write to"):
        peer.send("n2", persistent=False)
    region.dispatch()
    assert "cannot write to" in region.usage.problem
    assert "non-persistent messages" in caplog.text
    peer.send("m1")
    folder.unlink()
    peer.send("n3", persistent=False)
    peer.consume()
    settle(region)
    assert peer.client.ids() == ["n0", "n1", "m1", "n3"]
    region.close()


def test_a_transaction_finds_its_place_in_any_case() -> None:
    """Its sends were taken when there was space; the commit is not refused for memory."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000))
    peer = Peer(region)
    peer.connection.begin("tx")
    for number in range(5):
        peer.send(f"n{number}", persistent=False, transaction="tx")
    peer.connection.commit("tx")
    peer.consume()
    region.dispatch()
    assert peer.client.ids() == [f"n{number}" for number in range(5)]


# ---- what operators see


def test_a_shortage_is_logged_once_with_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """One line when space becomes short, one when it is there again; none in between, however it swings."""
    caplog.set_level(logging.INFO)
    region, peer = full_region(UsageLimits(store_bytes_max=20))
    for number in range(3, 30):
        peer.submit(f"m{number}")
        settle(region)
    peer.consume()
    settle(region)
    for _ in range(5):
        take(region, peer)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Sends of persistent messages wait; consumers go on. storeUsage, 20 bytes" in caplog.text
    assert "storeUsage, 20 bytes" in region.usage.problem
    region.advance(4500)
    for _ in range(10):
        take(region, peer)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "There is space for persistent messages again" in caplog.text
    assert "of 20 bytes are used" in caplog.text
    assert region.usage.problem == ""


def test_a_shortage_that_does_not_come_back_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    """Just below the limit and quiet: the end is logged after a while."""
    caplog.set_level(logging.INFO)
    region, peer = full_region(UsageLimits(store_bytes_max=20))
    for number in range(3, 21):
        peer.submit(f"m{number}")
    peer.consume()
    settle(region)
    take(region, peer)
    assert region.usage.problem
    region.advance(2000)
    region.dispatch()
    assert region.deadline_ms == 1000 + SETTLED_MS
    region.advance(1000 + SETTLED_MS)
    region.dispatch()
    assert region.usage.problem == ""
    assert region.deadline_ms is None


def test_the_report_is_json() -> None:
    """Used, limit and percent of each kind, and who waits."""
    region, peer = full_region()
    peer.submit("m3")
    report = json.loads(json.dumps(region.usage.report()))
    assert report["store"] == {"used": 2, "limit": 2, "percent": 100}
    assert report["temp"]["used"] == 0
    assert report["blockedSends"] == report["blockedConnections"] == 1
    assert report["diskFull"] is False


def test_a_send_says_that_it_waits() -> None:
    """Whoever calls `send` without keeping what is blocked notices."""
    _, peer = full_region()
    with pytest.raises(SendBlocked, match="storeUsage"):
        peer.send("m3")
