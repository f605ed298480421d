"""Where messages go that go to several places."""

from __future__ import annotations

import pytest
from support.region import MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.errors import InvalidDestination, ResourceExhausted, SpaceLacking
from broker.region import routing
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.region.usage import UsageLimits
from journal.record import AddMessage


def queue(name: str) -> Destination:
    """A queue."""
    return Destination.queue(name)


def topic(name: str) -> Destination:
    """A topic."""
    return Destination.topic(name)


def waiting(region: Region) -> dict[str, int]:
    """Messages in each queue."""
    settle(region)
    return {uri: len(index) for uri, index in region.store.state.queues.items() if len(index)}


def batches(region: Region) -> list[list[str]]:
    """Where the messages of each batch with messages went."""
    assert isinstance(region.store, MemoryStore)
    return [
        places
        for batch in region.store.batches
        if (places := [each.destination for each in batch if isinstance(each, AddMessage)])
    ]


# ---- composite destinations of producers


@pytest.mark.parametrize("persistent", [True, False])
def test_a_message_to_several_destinations_reaches_each(persistent: bool) -> None:
    """A composite destination's members each get the message, as one sent to them, in one append."""
    region = new_region()
    peer = Peer(region)
    peer.consume("t", topic("t"))
    peer.consume("q", queue("a"))
    peer.send("m1", queue("a, b,topic://t,a"), persistent=persistent)
    assert batches(region) == ([["queue://a", "queue://b", "topic://t"]] if persistent else [])
    settle(region)
    assert sorted((key, each) for key, each, _, _ in peer.client.got) == [("q", "m1"), ("t", "m1")]
    assert {message.destination.uri for message in peer.client.messages} == {"queue://a", "topic://t"}
    peer.consume("b", queue("b"))
    settle(region)
    assert peer.client.ids("b") == ["m1"]


def test_a_message_to_several_destinations_is_taken_whole_or_not_at_all() -> None:
    """If one destination cannot take it, none has it."""
    region = new_region(limits=RegionLimits(destinations_max=2))
    peer = Peer(region)
    with pytest.raises(ResourceExhausted):
        peer.send("m1", queue("a,b,c"))
    with pytest.raises(InvalidDestination, match="does not exist"):
        peer.send("m2", queue("a,temp-queue://ID:gone:1"))
    with pytest.raises(InvalidDestination, match="Only consumers"):
        peer.send("m3", queue("a,b.>"))
    assert batches(region) == []
    assert waiting(region) == {}


def test_a_transaction_keeps_messages_to_several_destinations_together() -> None:
    """They go to all of them at commit, in one append with the rest, and nowhere at rollback."""
    region = new_region()
    peer = Peer(region)
    peer.connection.begin("t1")
    peer.send("m1", queue("a,b"), transaction="t1")
    peer.send("m2", queue("a"), transaction="t1")
    assert waiting(region) == {}
    peer.connection.commit("t1")
    assert batches(region) == [["queue://a", "queue://b", "queue://a"]]
    peer.connection.begin("t2")
    peer.send("m3", queue("a,b"), transaction="t2")
    peer.connection.rollback("t2")
    assert waiting(region) == {"queue://a": 2, "queue://b": 1}


def test_a_producer_of_several_destinations_makes_them() -> None:
    """They exist from when the producer is opened."""
    region = new_region()
    Peer(region).connection.add_producer("c1:1:1", queue("a,topic://b"))
    assert set(region.targets) == {queue("a"), topic("b")}


def test_a_repeat_to_several_destinations_is_noticed() -> None:
    """A client that sends again after a failover finds that all copies are there."""
    region = new_region()
    Peer(region).send("m1", queue("a,b"), sequence=1)
    settle(region)
    region = restarted(region)
    peer = Peer(region, failover_reconnect=True)
    peer.send("m1", queue("a,b"), sequence=1)
    assert waiting(region) == {"queue://a": 1, "queue://b": 1}
    assert region.repeats_dropped == 1


def test_there_is_no_space_for_several_as_for_one() -> None:
    """What is refused for lack of space is refused for all destinations."""
    region = new_region(usage=UsageLimits(store_bytes_max=1, flow_control=False))
    peer = Peer(region)
    peer.send("m1", queue("a"))
    settle(region)
    with pytest.raises(SpaceLacking):
        peer.send("m2", queue("a,b"))
    assert waiting(region) == {"queue://a": 1}


# ---- virtual topics


@pytest.mark.parametrize("queues_first", [True, False])
def test_a_virtual_topic_feeds_the_queues_of_its_consumers(queues_first: bool) -> None:
    """Each consumer's queue gets what is sent to the topic once the queue exists; others get nothing."""
    region = new_region()
    peer = Peer(region)
    virtual = topic("VirtualTopic.Orders")
    if not queues_first:
        peer.send("before", virtual)
    for name in ("Consumer.A.VirtualTopic.Orders", "Consumer.B.VirtualTopic.Orders", "Consumer.A.Orders"):
        region.target(queue(name))
    peer.consume("t", virtual)
    peer.send("m1", virtual)
    settle(region)
    assert peer.client.ids() == ["m1"]
    assert waiting(region) == {
        "queue://Consumer.A.VirtualTopic.Orders": 1,
        "queue://Consumer.B.VirtualTopic.Orders": 1,
    }
    assert len(batches(region)[-1]) == 3
    peer.consume("a", queue("Consumer.A.VirtualTopic.Orders"))
    settle(region)
    assert [message.destination.name for message in peer.client.messages] == [
        "VirtualTopic.Orders",
        "Consumer.A.VirtualTopic.Orders",
    ]


def test_virtual_topics_go_on_after_a_takeover() -> None:
    """The queues that a topic feeds are found again by their names, and deleted ones are not fed."""
    region = new_region()
    name = "Consumer.A.VirtualTopic.Orders"
    region.target(queue(name))
    settle(region)
    region = restarted(region)
    peer = Peer(region)
    peer.send("m1", topic("VirtualTopic.Orders"))
    assert waiting(region) == {f"queue://{name}": 1}
    peer.connection.remove_destination(queue(name))
    peer.send("m2", topic("VirtualTopic.Orders"))
    assert waiting(region) == {}
    peer.connection.remove_destination(topic("VirtualTopic.Orders"))
    assert region.routing._fed == {}


@pytest.mark.parametrize("consumer_first", [True, False])
def test_wildcard_consumers_of_a_virtual_topics_queues_get_their_queues(consumer_first: bool) -> None:
    """`Consumer.A.VirtualTopic.>` hears of every virtual topic, and its queues keep what comes meanwhile."""
    region = new_region()
    peer = Peer(region)
    if consumer_first:
        peer.consume("w", queue("Consumer.A.VirtualTopic.>"))
    peer.send("m1", topic("VirtualTopic.x"))
    if not consumer_first:
        peer.consume("w", queue("Consumer.A.VirtualTopic.>"))
        peer.send("m1", topic("VirtualTopic.x"))
    settle(region)
    assert peer.client.ids("w") == ["m1"]
    peer.connection.remove_consumer("w")
    peer.send("m2", topic("VirtualTopic.x"))
    assert waiting(region) == {"queue://Consumer.A.VirtualTopic.x": 2}


def test_wildcards_over_all_consumers_make_no_queues() -> None:
    """A wildcard that names no consumer is nobody's queue."""
    region = new_region()
    peer = Peer(region)
    peer.consume("w", queue("Consumer.>"))
    peer.consume("x", queue(">"))
    peer.send("m1", topic("VirtualTopic.x"))
    assert set(region.targets) == {topic("VirtualTopic.x")}


def test_virtual_topics_can_be_renamed_and_switched_off() -> None:
    """Their names are configured; without them a topic is only a topic."""
    names = {"virtualTopic.name": "T.>", "virtualTopic.prefix": "C.*."}
    region = new_region(policies=names)
    region.target(queue("C.A.T.x"))
    Peer(region).send("m1", topic("T.x"))
    assert waiting(region) == {"queue://C.A.T.x": 1}
    region = new_region(policies={"useVirtualTopics": "false"})
    region.target(queue("Consumer.A.VirtualTopic.x"))
    Peer(region).send("m1", topic("VirtualTopic.x"))
    assert waiting(region) == {}


# ---- composite queues and topics, mirrors


@pytest.mark.parametrize("forward_only", [True, False])
def test_composite_queues_forward(forward_only: bool) -> None:
    """What is sent to a composite queue goes to its parts, and to itself only if that is configured."""
    region = new_region(
        policies={
            "compositeQueue.MY.>.forwardTo": "FOO, topic://BAR",
            "compositeQueue.MY.>.forwardOnly": str(forward_only).lower(),
        }
    )
    peer = Peer(region)
    peer.consume("bar", topic("BAR"))
    peer.send("m1", queue("MY.QUEUE"))
    own = {} if forward_only else {"queue://MY.QUEUE": 1}
    assert waiting(region) == {"queue://FOO": 1, **own}
    assert peer.client.ids("bar") == ["m1"]
    assert len(batches(region)) == 1


def test_composite_topics_forward_to_virtual_topics() -> None:
    """What is forwarded goes on from there as if it had been sent there."""
    region = new_region(policies={"compositeTopic.news.forwardTo": "VirtualTopic.news"})
    region.target(queue("Consumer.A.VirtualTopic.news"))
    Peer(region).send("m1", topic("news"))
    assert waiting(region) == {"queue://Consumer.A.VirtualTopic.news": 1}


def test_circles_end() -> None:
    """A message that would come back to where it was goes no further; one that stays nowhere is refused."""
    circle = {"compositeQueue.a.forwardTo": "b", "compositeQueue.b.forwardTo": "a"}
    region = new_region(policies=circle)
    with pytest.raises(InvalidDestination, match="in a circle"):
        Peer(region).send("m1", queue("a"))
    region = new_region(policies={**circle, "compositeQueue.b.forwardOnly": "false"})
    Peer(region).send("m1", queue("a"))
    assert waiting(region) == {"queue://b": 1}


def test_mirrored_queues_are_heard_on_their_topics() -> None:
    """Everything sent to a queue is also heard on its mirror; the queue itself is as always."""
    region = new_region(policies={"useMirroredQueues": "true"})
    peer = Peer(region)
    peer.consume("mirror", topic("VirtualTopic.Mirror.a"))
    peer.consume("all", topic("VirtualTopic.Mirror.>"))
    for name in ("a", "b"):
        peer.send(f"m{name}", queue(name))
    assert waiting(region) == {"queue://a": 1, "queue://b": 1}
    assert peer.client.ids("mirror") == ["ma"]
    assert sorted(peer.client.ids("all")) == ["ma", "mb"]


def test_one_message_makes_a_bounded_number_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many destinations at once are refused, and nobody gets the message."""
    monkeypatch.setattr(routing, "COPIES_MAX", 2)
    region = new_region()
    with pytest.raises(ResourceExhausted, match="at most 2 destinations at once"):
        Peer(region).send("m1", queue("a,b,c"))
    assert waiting(region) == {}
