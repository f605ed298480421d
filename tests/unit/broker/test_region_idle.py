"""Deletion of destinations that nobody uses."""

from __future__ import annotations

from support.region import MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.region.limits import RegionLimits
from broker.region.region import Region
from journal.record import RemoveDestination

QUEUE = Destination.queue("a")
TOPIC = Destination.topic("t")
IDLE = {"policy.default.gcInactiveDestinations": "true", "policy.default.inactiveTimoutBeforeGC": "5000"}
LIMITS = RegionLimits(purge_period_ms=1000)


def sweep_until(region: Region, now_ms: int) -> None:
    """Time passes, and the owner calls whenever it is to."""
    while (due_ms := region.deadline_ms) is not None and due_ms <= now_ms:
        region.advance(due_ms)
        settle(region)
    region.advance(now_ms)


def idle_region(policies: dict[str, str] | None = None, limits: RegionLimits = LIMITS) -> Region:
    """A region at second 1 with a queue and a topic."""
    region = new_region(policies=IDLE if policies is None else policies, limits=limits)
    region.target(QUEUE)
    region.target(TOPIC)
    return region


def test_idle_destinations_are_deleted_after_their_time() -> None:
    """They go when they have been idle for as long as the policy says, in the journal, too."""
    region = idle_region()
    sweep_until(region, 6_999)
    assert set(region.targets) == {QUEUE, TOPIC}
    sweep_until(region, 7_000)
    assert region.targets == {}
    assert restarted(region).targets == {}


def test_by_default_nothing_is_deleted() -> None:
    """Without the policy, or without the period, destinations stay for ever."""
    for region in (idle_region({}), idle_region(limits=RegionLimits())):
        sweep_until(region, 1_000_000)
        assert set(region.targets) == {QUEUE, TOPIC}


def test_what_is_in_use_stays() -> None:
    """Messages, consumers, wildcard consumers, durable subscriptions and producers keep a destination."""
    region = idle_region()
    names = ["full", "volatile", "consumed", "composite", "produced", "wild.x"]
    used = {Destination.queue(name) for name in names} | {Destination.topic("durable")}
    peer = Peer(region, client_id="id")
    for destination in used:
        region.target(destination)
    peer.send("m1", Destination.queue("full"))
    peer.send("m2", Destination.queue("volatile"), persistent=False)
    peer.consume("c", Destination.queue("consumed"))
    peer.consume("w", Destination.queue("wild.>"))
    peer.connection.add_producer("p1", Destination.queue("produced,composite"))
    peer.connection.add_producer("p2", None)
    peer.consume("d", Destination.topic("durable"), subscription_name="s")
    peer.connection.remove_consumer("d")
    sweep_until(region, 100_000)
    assert set(region.targets) == used
    peer.connection.close()
    sweep_until(region, 200_000)
    assert set(region.targets) == {Destination.queue("full"), Destination.queue("volatile")} | {
        Destination.topic("durable")
    }


def test_use_between_two_looks_counts() -> None:
    """What was sent and consumed meanwhile begins the time anew."""
    region = idle_region()
    sweep_until(region, 5_500)
    peer = Peer(region)
    peer.send("m1", QUEUE)
    peer.consume(destination=QUEUE)
    settle(region)
    peer.acknowledge(*peer.client.refs())
    peer.connection.remove_consumer("k")
    sweep_until(region, 7_000)
    assert set(region.targets) == {QUEUE}
    sweep_until(region, 11_000)
    assert region.targets == {}


def test_only_so_many_are_deleted_at_a_time() -> None:
    """A sweep is bounded; the rest goes with the next ones. One append tells the journal."""
    region = idle_region(limits=RegionLimits(purge_period_ms=1000, purged_max=3))
    for number in range(5):
        region.target(Destination.queue(f"q{number}"))
    sweep_until(region, 7_000)
    assert len(region.targets) == 4
    sweep_until(region, 9_000)
    assert region.targets == {}
    assert isinstance(region.store, MemoryStore)
    removals = [batch for batch in region.store.batches if isinstance(batch[0], RemoveDestination)]
    assert [len(batch) for batch in removals] == [2, 3, 1]


def test_temporary_destinations_end_with_their_connection_only() -> None:
    """However idle they are, their owner can rely on them."""
    region = idle_region()
    temporary = Destination.parse("temp-queue://ID:c1:1")
    Peer(region).connection.add_destination(temporary)
    sweep_until(region, 100_000)
    assert set(region.targets) == {temporary}


def test_a_message_in_an_open_transaction_keeps_its_queue() -> None:
    """A persistent message acknowledged in a transaction whose consumer has gone may come back."""
    region = idle_region()
    peer = Peer(region)
    peer.consume(destination=QUEUE)
    peer.send("m1", QUEUE)
    settle(region)
    peer.connection.begin("t")
    peer.acknowledge(*peer.client.refs(), transaction="t")
    peer.connection.remove_consumer("k")
    sweep_until(region, 100_000)
    peer.connection.rollback("t")
    other = Peer(region, "c2")
    other.consume(destination=QUEUE)
    settle(region)
    assert other.client.ids() == ["m1"]
