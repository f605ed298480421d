"""Consumers that are too slow are ended, where their destination's policy says so."""

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, settle

from broker.destination import Destination
from broker.region.region import Region

PERIOD_MS = 1_000


def watching(strategy: str = "abortSlowConsumerStrategy", **properties: str) -> Region:
    """A region that looks at all consumers every second."""
    given = {"checkPeriod": str(PERIOD_MS), "maxSlowDuration": str(2 * PERIOD_MS), **properties}
    policies = {}
    for kind in ("queue", "topic"):
        policies[f"policy.{kind}.>.slowConsumerStrategy"] = strategy
        for name, value in given.items():
            policies[f"policy.{kind}.>.slowConsumerStrategy.{name}"] = value
    return new_region(policies=policies)


def pass_time(region: Region, periods: int = 1) -> None:
    """So many checks."""
    for _ in range(periods):
        region.advance(region.now_ms + PERIOD_MS)
        settle(region)


def fill(peer: Peer, destination: Destination, count: int = 5) -> None:
    """More messages than a consumer has room for."""
    for index in range(count):
        peer.send(f"m{index}", destination)


@pytest.mark.parametrize("destination", [QUEUE, TOPIC])
def test_a_consumer_that_is_full_for_too_long_is_closed(destination: Destination) -> None:
    """Its client is told; it gets nothing more."""
    region = watching()
    peer = Peer(region)
    peer.consume("k", destination, 1)
    fill(peer, destination)
    settle(region)
    pass_time(region)
    assert peer.client.closed == []
    pass_time(region)
    assert peer.client.closed == ["k"]
    assert not peer.connection.consumers
    assert peer.client.disconnected is None
    assert not region.targets[destination].consumers


def test_what_it_had_is_for_others() -> None:
    """Queued messages are not lost with it."""
    region = watching()
    slow, other = Peer(region, "c1"), Peer(region, "c2")
    slow.consume("k", QUEUE, 1)
    fill(slow, QUEUE, 2)
    settle(region)
    pass_time(region, 2)
    other.consume()
    settle(region)
    assert other.client.ids() == ["m0", "m1"]


def test_who_catches_up_is_not_slow() -> None:
    """Nor who is full while nothing waits."""
    region = watching()
    peer, idle = Peer(region, "c1"), Peer(region, "c2")
    peer.consume("k", QUEUE, 1)
    idle.consume("k", TOPIC, 1)
    idle.send("only", TOPIC)
    fill(peer, QUEUE, 3)
    settle(region)
    pass_time(region)
    peer.acknowledge(peer.client.refs()[-1])
    peer.connection.set_prefetch("k", 10)
    settle(region)
    pass_time(region, 5)
    assert peer.client.closed == idle.client.closed == []


def test_a_consumer_that_is_slow_too_often_is_closed() -> None:
    """`maxSlowCount`, however short each time."""
    region = watching(maxSlowDuration="-1", maxSlowCount="3")
    peer = Peer(region)
    peer.consume("k", QUEUE, 1)
    fill(peer, QUEUE)
    settle(region)
    for _ in range(2):
        pass_time(region)
        assert peer.client.closed == []
        peer.acknowledge(peer.client.refs()[-1])
        settle(region)
    pass_time(region)
    assert peer.client.closed == ["k"]


def test_its_connection_can_be_ended_instead() -> None:
    """`abortConnection`."""
    region = watching(abortConnection="true")
    peer = Peer(region)
    peer.consume("k", QUEUE, 1)
    fill(peer, QUEUE)
    settle(region)
    pass_time(region, 2)
    assert "slow" in (peer.client.disconnected or "")
    assert peer.connection.closed
    assert not region.connections


@pytest.mark.parametrize(("ignored", "closed"), [("true", []), ("false", ["k"])])
def test_other_brokers_consumers_are_spared(ignored: str, closed: list[str]) -> None:
    """`ignoreNetworkConsumers`."""
    region = watching(ignoreNetworkConsumers=ignored)
    peer = Peer(region)
    peer.consume("k", QUEUE, 1, network=True)
    fill(peer, QUEUE)
    settle(region)
    pass_time(region, 3)
    assert peer.client.closed == closed


def test_a_wildcard_consumer_is_closed_as_a_whole() -> None:
    """Its client knows but one."""
    region = watching()
    peer = Peer(region)
    peer.send("m", Destination.queue("a.b"))
    peer.consume("k", Destination.queue("a.>"), 1)
    fill(peer, Destination.queue("a.c"))
    settle(region)
    pass_time(region, 3)
    assert peer.client.closed == ["k"]
    assert not peer.connection.consumers


def test_a_durable_subscription_stays_when_its_consumer_is_closed() -> None:
    """With what was pending."""
    region = watching()
    peer = Peer(region, "c1", "client")
    peer.consume("k", TOPIC, 1, subscription_name="s")
    fill(peer, TOPIC, 3)
    settle(region)
    pass_time(region, 2)
    assert peer.client.closed == ["k"]
    peer.consume("again", TOPIC, subscription_name="s")
    settle(region)
    assert peer.client.ids("again") == ["m0", "m1", "m2"]


def test_a_queue_that_chooses_knows_slow_consumers_too() -> None:
    """With selectors, groups or priorities."""
    region = watching(maxSlowDuration="-1", maxSlowCount="2")
    peer = Peer(region)
    peer.consume("k", QUEUE, 1, selector="JMSPriority > 0")
    fill(peer, QUEUE)
    settle(region)
    pass_time(region)
    peer.acknowledge(peer.client.refs()[-1])
    settle(region)
    pass_time(region)
    assert peer.client.closed == ["k"]


# ---- by acknowledgements


@pytest.mark.parametrize("destination", [QUEUE, TOPIC])
def test_a_consumer_that_acknowledges_nothing_is_closed(destination: Destination) -> None:
    """Also if it has room."""
    region = watching("abortSlowAckConsumerStrategy", maxTimeSinceLastAck="1500", maxSlowDuration="1")
    peer = Peer(region)
    peer.consume("k", destination)
    peer.send("m0", destination)
    settle(region)
    pass_time(region, 2)
    assert peer.client.closed == []
    pass_time(region)
    assert peer.client.closed == ["k"]


def test_a_consumer_that_acknowledges_now_and_then_is_not() -> None:
    """However much it has not acknowledged."""
    region = watching("abortSlowAckConsumerStrategy", maxTimeSinceLastAck="1500", maxSlowDuration="1")
    peer = Peer(region)
    peer.consume()
    fill(peer, QUEUE, 20)
    settle(region)
    for _ in range(10):
        pass_time(region)
        peer.acknowledge(next(iter(peer.connection.consumers["k"].dispatched)))
        settle(region)
    assert peer.client.closed == []


@pytest.mark.parametrize(("ignored", "closed"), [("true", []), ("false", ["k"])])
def test_idle_consumers_are_spared(ignored: str, closed: list[str]) -> None:
    """`ignoreIdleConsumers`: who has nothing to acknowledge is not slow."""
    region = watching(
        "abortSlowAckConsumerStrategy",
        maxTimeSinceLastAck="1500",
        maxSlowDuration="1",
        ignoreIdleConsumers=ignored,
    )
    peer = Peer(region)
    peer.consume()
    pass_time(region, 5)
    assert peer.client.closed == closed


def test_nobody_looks_where_no_policy_asks_for_it() -> None:
    """No timer, and none for a destination that is gone."""
    region = new_region()
    Peer(region).consume()
    assert region.slow.due_ms is None
    region = watching()
    peer = Peer(region)
    peer.connection.add_destination(QUEUE)
    assert region.slow.due_ms == region.now_ms + PERIOD_MS
    peer.connection.remove_destination(QUEUE)
    pass_time(region)
    assert region.slow.due_ms is None
