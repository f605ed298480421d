"""The store's limits: which sends wait, which are refused, and who goes on."""

from __future__ import annotations

import json
import logging

import pytest
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle, take

from broker.destination import Destination
from broker.errors import SendBlocked, SpaceLacking, TransactionRefused, TransactionUnknown
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.region.usage import SETTLED_MS, UsageLimits

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


def test_a_new_master_of_a_full_store_blocks_from_the_start() -> None:
    """P10: nothing slips in before the first look."""
    region, _ = full_region()
    again = Peer(restarted(region, usage=FULL))
    again.submit("m3")
    assert again.answered() == []


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


@pytest.mark.parametrize("refuse", [False, True])
def test_sends_wait_for_a_disk_that_does_not_keep_up(refuse: bool) -> None:
    """P10: what waits when a disk turns out to be full must fit its reserve; nobody is refused for it."""
    region = new_region(usage=UsageLimits(refuse_at_once=refuse))
    peer = Peer(region)
    store_of(region).is_behind = True
    region.dispatch()
    peer.submit("m1")
    peer.submit("m2")
    region.dispatch()
    assert peer.outcomes == []
    store_of(region).is_behind = False
    region.dispatch()
    assert peer.answered() == ["m1", "m2"]


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
