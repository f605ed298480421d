"""Expired messages are found without a consumer."""

from pathlib import Path

import pytest
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.region import expiry
from broker.region.limits import RegionLimits
from broker.region.queue import Queue
from broker.region.region import Region
from broker.region.usage import UsageLimits

DLQ = Destination.queue("ActiveMQ.DLQ")


def held(region: Region, destination: Destination = QUEUE) -> int:
    """How many persistent messages a queue holds."""
    return len(region.store.state.queues.get(destination.uri, ()))


def pass_time(region: Region, ms: int, turns: int = 1) -> None:
    """So long later, and the turns that a sweep takes."""
    region.advance(region.now_ms + ms)
    settle(region)
    for _ in range(turns - 1):
        region.advance(region.now_ms)
        settle(region)


def test_messages_expire_although_nobody_consumes() -> None:
    """After `expireMessagesPeriod`, 30 s by default, they are dead letters; others stay."""
    region = new_region()
    peer = Peer(region)
    peer.send("short", expiration=2_000)
    peer.send("long", expiration=90_000)
    peer.send("for ever")
    settle(region)
    assert region.deadline_ms == 31_000
    pass_time(region, 29_999)
    assert (held(region), held(region, DLQ)) == (3, 0)
    pass_time(region, 1)
    assert (held(region), held(region, DLQ)) == (2, 1)
    assert region.targets[QUEUE].statistics.expired == 1
    peer.consume()
    settle(region)
    assert peer.client.ids() == ["long", "for ever"]


def test_nothing_is_done_where_nothing_expires() -> None:
    """A broker whose messages never expire has no timer for it, and notes nothing of them."""
    region = new_region()
    Peer(region).send("m0")
    settle(region)
    assert region.deadline_ms is None
    assert region.store.state.expiring == {}


@pytest.mark.parametrize(("period", "left"), [("0", 1), ("5000", 0)])
def test_the_period_is_the_policys(period: str, left: int) -> None:
    """Each destination has its own; 0 switches it off."""
    region = new_region(policies={"policy.queue.>.expireMessagesPeriod": period})
    Peer(region).send("m0", expiration=2_000)
    settle(region)
    pass_time(region, 5_000)
    assert held(region) == left


def test_a_new_master_knows_what_expires_without_reading_it() -> None:
    """The index says so; with `processExpired=false` no body is ever read."""
    policies = {"policy.queue.>.deadLetterStrategy.processExpired": "false"}
    region = new_region(policies=policies)
    peer = Peer(region)
    for number in range(20):
        peer.send(f"m{number}", expiration=2_000 if number % 2 else 0)
    settle(region)
    after = restarted(region, policies=policies)
    assert isinstance(after.store, MemoryStore)
    bodies, after.store.bodies = after.store.bodies, {}
    pass_time(after, 30_000)
    assert held(after) == 10
    assert after.store.state.expiring == {}
    after.store.bodies = bodies
    again = Peer(after)
    again.consume()
    settle(after)
    assert again.client.ids() == [f"m{number}" for number in range(0, 20, 2)]


def test_a_sweep_takes_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many have expired, one turn is short; the sweep goes on until none is left."""
    monkeypatch.setattr(expiry, "EXPIRED_MAX", 7)
    region = new_region(limits=RegionLimits(resident_messages_max=5))
    peer = Peer(region)
    for number in range(40):
        peer.send(f"m{number}", expiration=2_000)
    settle(region)
    pass_time(region, 30_000)
    assert (held(region), held(region, DLQ)) == (33, 7)
    assert region.deadline_ms == region.now_ms
    pass_time(region, 0, turns=7)
    assert (held(region), held(region, DLQ)) == (0, 40)
    assert region.targets[QUEUE].statistics.expired == 40
    assert region.deadline_ms is None


def test_what_consumers_have_does_not_expire() -> None:
    """It is theirs until they acknowledge it or give it back."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=2)
    for number in range(4):
        peer.send(f"m{number}", expiration=2_000)
    settle(region)
    pass_time(region, 30_000)
    assert (held(region), held(region, DLQ)) == (2, 2)
    for ref in peer.client.refs():
        peer.acknowledge(ref)
    settle(region)
    assert (held(region), held(region, DLQ)) == (0, 2)


def test_a_consumers_transaction_keeps_what_it_acknowledged() -> None:
    """Also if the consumer is closed: the commit counts, not the clock."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0", expiration=2_000)
    settle(region)
    peer.connection.begin("tx")
    peer.acknowledge(peer.client.refs()[0], transaction="tx")
    peer.connection.remove_consumer("k")
    pass_time(region, 30_000)
    peer.connection.commit("tx")
    settle(region)
    assert (held(region), held(region, DLQ)) == (0, 0)


def test_messages_that_are_not_persistent_expire_too(tmp_path: Path) -> None:
    """In memory and in temporary files; memory and files are given back."""
    region = new_region(usage=UsageLimits(memory_bytes_max=8_000), temporary=tmp_path)
    peer = Peer(region)
    for number in range(30):
        peer.send(f"m{number}", expiration=2_000 if number % 3 else 0, persistent=False, body_bytes=100)
    settle(region)
    assert region.usage.spool.count > 0
    pass_time(region, 30_000)
    queue = region.targets[QUEUE]
    assert queue.statistics.expired == 20
    assert region.deadline_ms is None
    peer.consume()
    settle(region)
    assert peer.client.ids() == [f"m{number}" for number in range(0, 30, 3)]
    peer.acknowledge(*peer.client.refs())
    assert region.usage.volatile_bytes == region.usage.spool.count == 0


def test_a_choosing_queue_sweeps_too() -> None:
    """Priorities, groups and selectors change nothing about it."""
    region = new_region()
    peer = Peer(region)
    peer.consume(selector="JMSType = 'wanted'")
    for number in range(6):
        peer.send(f"m{number}", expiration=2_000 if number % 2 else 0, priority=number, persistent=number > 1)
    settle(region)
    pass_time(region, 30_000)
    assert (held(region), held(region, DLQ)) == (2, 2)
    assert region.targets[QUEUE].statistics.expired == 3
    peer.consume("rest")
    settle(region)
    assert peer.client.ids("rest") == ["m4", "m2", "m0"]


def test_durable_subscriptions_are_swept() -> None:
    """Each that has not consumed it by then gives it up; one dead letter is enough."""
    region = new_region()
    peers = [Peer(region, name, name) for name in "abc"]
    for peer in peers:
        peer.consume(destination=TOPIC, subscription_name="s")
    for peer in peers[1:]:
        peer.connection.close()
    peers[0].send("m0", TOPIC, expiration=2_000)
    peers[0].send("m1", TOPIC)
    settle(region)
    peers[0].acknowledge(*peers[0].client.refs())
    settle(region)
    after = restarted(region)
    pass_time(after, 30_000)
    assert list(after.store.state.topics[TOPIC.uri]) == [2]
    assert held(after, DLQ) == 1
    peer = Peer(after, "b", "b")
    peer.consume(destination=TOPIC, subscription_name="s")
    settle(after)
    assert peer.client.ids() == ["m1"]


def test_a_paused_queue_is_left_alone() -> None:
    """As in the original."""
    region = new_region()
    Peer(region).send("m0", expiration=2_000)
    settle(region)
    queue = region.targets[QUEUE]
    assert isinstance(queue, Queue)
    queue.pause()
    pass_time(region, 30_000)
    assert held(region) == 1


def test_a_deleted_queue_is_not_swept() -> None:
    """A sweep that is under way passes it over."""
    region = new_region()
    peer = Peer(region)
    peer.send("m0", expiration=2_000, persistent=False)
    peer.connection.remove_destination(QUEUE)
    pass_time(region, 30_000)
    assert held(region, DLQ) == 0
