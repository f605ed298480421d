"""Consumers of wildcards and of composite destinations."""

from __future__ import annotations

import random

import pytest
from support.region import Peer, new_region, settle

from broker.destination import Destination, DestinationKind, is_advisory
from broker.errors import InvalidDestination, ResourceExhausted
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits


def queue(name: str) -> Destination:
    """A queue."""
    return Destination.queue(name)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (">", ["a", "a.b", "a.b.c", "b"]),
        ("a.>", ["a", "a.b", "a.b.c"]),
        ("a.*", ["a.b"]),
        ("*", ["a", "b"]),
        ("*.b.*", ["a.b.c"]),
        ("x.>", []),
    ],
)
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("kind", [DestinationKind.QUEUE, DestinationKind.TOPIC])
def test_a_wildcard_takes_from_all_that_match(
    pattern: str, expected: list[str], existing: bool, kind: DestinationKind
) -> None:
    """A wildcard consumer is attached to what exists and to what is made later; other kinds are not its."""
    region = new_region()
    peer = Peer(region)
    other = DestinationKind.TOPIC if kind is DestinationKind.QUEUE else DestinationKind.QUEUE
    if not existing:
        peer.consume(destination=Destination(kind, pattern))
    for name in ("a", "a.b", "a.b.c", "b"):
        region.target(Destination(kind, name))
        region.target(Destination(other, name))
    if existing:
        peer.consume(destination=Destination(kind, pattern))
    for name in ("a", "a.b", "a.b.c", "b"):
        peer.send(name, Destination(kind, name))
        peer.send(f"not {name}", Destination(other, name))
    settle(region)
    messages = [each for each in peer.client.messages if not is_advisory(each.destination)]
    assert sorted(each.message_id for each in messages) == expected
    assert {each.destination.name for each in messages} == set(expected)


def test_a_composite_consumer_takes_from_each_of_its_destinations() -> None:
    """Queues, topics and wildcards may stand together; each destination counts once."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=queue("a, b ,topic://t,,queue://a,w.*"))
    for name in ("a", "b", "c", "w.x"):
        peer.send(name, queue(name))
    peer.send("t", Destination.topic("t"))
    settle(region)
    assert sorted(peer.client.ids()) == ["a", "b", "t", "w.x"]


def test_acknowledgements_reach_the_queue_a_message_came_from() -> None:
    """What a wildcard consumer acknowledges is gone from its queue, in one record each."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=queue(">"))
    for name in ("a", "b"):
        peer.send(f"{name}1", queue(name))
        peer.send(f"{name}2", queue(name))
    settle(region)
    refs = peer.client.refs()
    peer.acknowledge(refs[0], refs[-1])
    assert {uri: len(index) for uri, index in region.store.state.queues.items()} == {
        "queue://a": 0,
        "queue://b": 0,
    }
    assert peer.connection.consumers["k"].dispatched == {}


def test_the_window_is_one_for_all_destinations() -> None:
    """The prefetch bounds what is dispatched from all destinations together, and all have their turn."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=queue(">"), prefetch_size=2)
    for number in range(4):
        for name in ("a", "b", "c"):
            peer.send(f"{name}{number}", queue(name))
    settle(region)
    order = []
    while peer.client.got:
        assert len(peer.client.got) <= 2
        _, message_id, ref, _ = peer.client.got.pop(0)
        order.append(message_id)
        peer.acknowledge(ref)
        settle(region)
    assert sorted(order) == sorted(f"{name}{number}" for name in "abc" for number in range(4))
    for name in "abc":
        assert [each for each in order if each[0] == name] == [f"{name}{number}" for number in range(4)]
    assert {each[0] for each in order[:6]} == {"a", "b", "c"}


def test_what_is_not_acknowledged_goes_back_to_its_queue() -> None:
    """When a wildcard consumer closes, others get its messages as redelivered, from the same queues."""
    region = new_region()
    first, second = Peer(region, "c1"), Peer(region, "c2")
    first.consume(destination=queue("a.*"))
    first.send("m1", queue("a.x"))
    first.send("m2", queue("a.y"))
    settle(region)
    first.acknowledge(first.client.refs()[0])
    first.connection.remove_consumer("k")
    second.consume("x", queue("a.x"))
    second.consume("y", queue("a.y"))
    settle(region)
    taken = first.client.ids()[0]
    assert [(message_id, counter) for _, message_id, _, counter in second.client.got] == [
        ({"m1": "m2", "m2": "m1"}[taken], 1)
    ]
    assert region.wildcards.patterns() == []


def test_a_transaction_spans_the_destinations_of_a_wildcard() -> None:
    """What it acknowledged is gone at commit, and back in its queues at rollback and close."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=queue(">"))
    peer.send("m1", queue("a"))
    peer.send("m2", queue("b"))
    settle(region)
    refs = peer.client.refs()
    peer.connection.begin("t")
    peer.acknowledge(refs[0], refs[-1], transaction="t")
    peer.connection.remove_consumer("k")
    peer.connection.rollback("t")
    other = Peer(region, "c2")
    other.consume(destination=queue(">"))
    settle(region)
    assert sorted(other.client.ids()) == ["m1", "m2"]
    refs = other.client.refs()
    other.connection.begin("t")
    other.acknowledge(refs[0], refs[-1], transaction="t")
    other.connection.commit("t")
    assert all(not len(index) for index in region.store.state.queues.values())


@pytest.mark.parametrize("timeout_ms", [-1, 0])
def test_a_pull_takes_from_any_of_the_destinations(timeout_ms: int) -> None:
    """Without a prefetch, one pull brings one message, wherever it waits, and then none."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=queue(">"), prefetch_size=0)
    for name in ("a", "b"):
        peer.send(name, queue(name))
    settle(region)
    assert peer.client.got == []
    for count in (1, 2):
        peer.connection.pull("k", timeout_ms)
        settle(region)
        assert len(peer.client.got) == count
    assert sorted(peer.client.ids()) == ["a", "b"]
    peer.connection.pull("k", -1)
    assert peer.client.none == ["k"]


def test_a_poison_message_of_a_wildcard_is_buried() -> None:
    """Poison goes from the queue it came from to the dead letter queue, and the wildcard may see it there."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=queue("a.*"))
    peer.send("m1", queue("a.x"))
    settle(region)
    peer.acknowledge(*peer.client.refs(), kind=AckKind.POISON)
    index = region.store.state.queues
    assert len(index["queue://a.x"]) == 0
    assert len(index["queue://ActiveMQ.DLQ"]) == 1


def test_a_wildcards_selector_holds_in_each_queue() -> None:
    """What a wildcard consumer does not select waits for others in its queue."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=queue("a.*"), selector="JMSPriority > 5")
    for name in ("a.x", "a.y"):
        peer.send(f"high {name}", queue(name), priority=9)
        peer.send(f"low {name}", queue(name), priority=1)
    settle(region)
    assert sorted(peer.client.ids()) == ["high a.x", "high a.y"]
    peer.consume("rest", queue("a.>"))
    settle(region)
    assert sorted(peer.client.ids("rest")) == ["low a.x", "low a.y"]


def test_deleting_a_temporary_member_ends_only_that_part() -> None:
    """A composite consumer of a temporary queue goes on with the others when it is deleted."""
    region = new_region()
    peer = Peer(region)
    temporary = Destination.parse("temp-queue://ID:c1:1")
    peer.connection.add_destination(temporary)
    peer.consume(destination=queue("a,temp-queue://ID:c1:1"))
    with pytest.raises(InvalidDestination, match="active subscription"):
        peer.connection.remove_destination(temporary)
    region._drop_temporary(region.targets[temporary])
    peer.send("m1", queue("a"))
    settle(region)
    assert peer.client.ids() == ["m1"]
    assert "k" in peer.connection.consumers


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        (",", {}, "at least one name"),
        ("a.>.b", {}, "only at the end"),
        ("temp-queue://*,a", {}, "no wildcards for temporary"),
        ("a,b", {"browser": True}, "A browser of several"),
        ("a,mailto://b", {}, "unknown scheme"),
        ("a,temp-queue://ID:other:1", {}, "belongs to another"),
    ],
)
def test_impossible_destinations_are_refused(name: str, options: dict[str, bool], text: str) -> None:
    """A consumer that cannot be is refused with the reason, and nothing of it stays."""
    region = new_region()
    Peer(region, "other").connection.add_destination(Destination.parse("temp-queue://ID:other:1"))
    peer = Peer(region)
    with pytest.raises(InvalidDestination, match=text):
        peer.consume(destination=queue(name), **options)
    assert peer.connection.consumers == {}
    assert all(not target.consumers for target in region.targets.values())
    assert region.wildcards.patterns() == []


def test_wildcards_make_no_destinations() -> None:
    """A wildcard itself is no destination, and takes no place among them."""
    region = new_region(limits=RegionLimits(destinations_max=1))
    peer = Peer(region)
    peer.consume(destination=queue("a.>"))
    assert region.targets == {}
    peer.send("m1", queue("a.b"))
    with pytest.raises(ResourceExhausted, match="at most 1 destinations"):
        peer.send("m2", queue("a.c"))
    settle(region)
    assert peer.client.ids() == ["m1"]


@pytest.mark.parametrize("seed", range(30))
def test_no_message_is_lost_or_doubled_whatever_happens(seed: int) -> None:
    """Wildcard and plain consumers come and go over the same queues: each message is acknowledged once."""
    chance = random.Random(seed)
    region = new_region()
    producer = Peer(region, "p")
    peers = [Peer(region, f"c{number}") for number in range(3)]
    names = ["a.x", "a.y", "b"]
    sent, acknowledged, opened = 0, [], 0
    for _ in range(300):
        peer = chance.choice(peers)
        consumers = list(peer.connection.consumers)
        step = chance.random()
        if step < 0.4:
            sent += 1
            producer.send(f"m{sent}", queue(chance.choice(names)), persistent=chance.random() < 0.7)
        elif step < 0.5 and len(consumers) < 3:
            opened += 1
            name = chance.choice([">", "a.*", "a.x,b", "b"])
            peer.consume(f"k{opened}", queue(name), chance.choice([1, 2, 1000]))
        elif step < 0.58 and consumers:
            peer.connection.remove_consumer(chance.choice(consumers))
        elif consumers:
            key = chance.choice(consumers)
            dispatched = list(peer.connection.consumers[key].dispatched)
            if dispatched:
                ref = chance.choice(dispatched)
                ids = {each: message_id for _, message_id, each, _ in peer.client.got}
                acknowledged.append(ids[ref])
                peer.acknowledge(ref, key=key, kind=AckKind.INDIVIDUAL)
        if chance.random() < 0.5:
            settle(region)
    for peer in peers:
        peer.connection.close()
    last = Peer(region, "last")
    last.consume(destination=queue(">"))
    settle(region)
    left = last.client.ids()
    assert sorted(acknowledged + left) == sorted(f"m{number}" for number in range(1, sent + 1))
