"""Queues whose consumers choose: selectors, priorities, exclusive consumers, groups."""

from __future__ import annotations

from typing import Any

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, restarted, settle

from broker.errors import InvalidSelector
from broker.primitive_map import encode_map
from broker.region import choice
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.region import Region


def coloured(colour: str) -> dict[str, Any]:
    """The fields of a message with a property."""
    return {"properties": encode_map({"colour": colour})}


def two_peers(region: Region) -> tuple[Peer, Peer]:
    """A producer and a consumer."""
    return Peer(region, "producer"), Peer(region, "consumer")


# ---- selectors


@pytest.mark.parametrize("persistent", [True, False])
def test_a_consumer_gets_only_what_it_selects(persistent: bool) -> None:
    """What does not match waits for others, and holds up nothing behind it."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume(selector="colour = 'red'")
    for index in range(6):
        producer.send(f"m{index}", persistent=persistent, **coloured("red" if index % 3 == 2 else "blue"))
    settle(region)
    assert consumer.client.ids() == ["m2", "m5"]

    consumer.consume("all")
    settle(region)
    assert consumer.client.ids("all") == ["m0", "m1", "m3", "m4"]


def test_an_invalid_selector_is_refused_with_its_position() -> None:
    """The consumer is not opened, and hears where the selector is wrong."""
    region = new_region()
    peer = Peer(region)
    with pytest.raises(InvalidSelector, match="position 10"):
        peer.consume(selector="colour = = 'red'")
    peer.consume()
    with pytest.raises(InvalidSelector, match="position"):
        peer.consume("t", TOPIC, selector="colour = = 'red'")


def test_a_full_consumer_does_not_hold_up_one_with_another_selector() -> None:
    """Messages that only a full consumer wants let those behind them through."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("red", prefetch_size=1, selector="colour = 'red'")
    consumer.consume("blue", selector="colour = 'blue'")
    for index in range(4):
        producer.send(f"m{index}", **coloured("red" if index < 3 else "blue"))
    settle(region)
    assert consumer.client.ids("red") == ["m0"]
    assert consumer.client.ids("blue") == ["m3"]

    consumer.acknowledge(consumer.client.refs("red")[0], key="red")
    settle(region)
    assert consumer.client.ids("red") == ["m0", "m1"]


def test_what_a_closed_consumer_gives_back_comes_first_again() -> None:
    """Redelivered messages go to whoever selects them, before younger ones, and say that they are."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("one", prefetch_size=2, selector="colour = 'red'")
    for index in range(4):
        producer.send(f"m{index}", **coloured("red"))
    settle(region)
    consumer.consume("two", selector="colour = 'red'", prefetch_size=10)
    settle(region)
    assert consumer.client.ids("two") == ["m2", "m3"]
    consumer.connection.remove_consumer("one")
    settle(region)
    assert [got[1::2] for got in consumer.client.got if got[0] == "two"][2:] == [("m0", 1), ("m1", 1)]


def test_a_consumer_selects_from_what_a_new_master_finds() -> None:
    """After a takeover the messages are read back, and what is not wanted still waits."""
    region = new_region()
    producer = Peer(region, "producer")
    for index in range(5):
        producer.send(f"m{index}", **coloured("red" if index == 3 else "blue"))
    settle(region)
    after = restarted(region)
    consumer = Peer(after, "consumer")
    consumer.consume(selector="colour = 'red'")
    settle(after)
    assert consumer.client.ids() == ["m3"]
    consumer.consume("all")
    settle(after)
    assert consumer.client.ids("all") == ["m0", "m1", "m2", "m4"]


def test_a_long_search_goes_on_in_the_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits while a selector is held against a long queue; the search asks for another turn."""
    monkeypatch.setattr(choice, "LOOKED_AT_MAX", 3)
    region = new_region()
    producer, consumer = two_peers(region)
    for index in range(8):
        producer.send(f"m{index}", **coloured("red" if index == 7 else "blue"))
    consumer.consume(selector="colour = 'red'")
    settle(region)
    turns = 1
    while region.deadline_ms is not None:
        region.dispatch()
        turns += 1
    assert consumer.client.ids() == ["m7"]
    assert turns == 3


def test_memory_stays_bounded_while_nobody_selects_what_waits() -> None:
    """Many waiting messages are numbers only, and what was read to look at it takes no memory."""
    region = new_region(limits=RegionLimits(resident_messages_max=5))
    producer, consumer = two_peers(region)
    consumer.consume(selector="colour = 'red'")
    for index in range(100):
        producer.send(f"m{index}", **coloured("blue"))
        settle(region)
    target = region.targets[QUEUE]
    assert target.waiting == 100
    one = producer.message("x", **coloured("blue")).size_bytes
    assert region.usage.memory_bytes <= 11 * one
    consumer.consume("all")
    settle(region)
    assert consumer.client.ids("all") == [f"m{index}" for index in range(100)]
    for ref in consumer.client.refs("all"):
        consumer.acknowledge(ref, key="all")
    assert region.usage.memory_bytes == 0


def test_a_queue_becomes_simple_again() -> None:
    """When nothing waits and nobody chooses any more the queue takes its quicker way."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("all")
    consumer.consume("red", selector="colour = 'red'")
    producer.send("m0", **coloured("red"))
    settle(region)
    assert region.targets[QUEUE]._choice is not None
    consumer.connection.remove_consumer("red")
    settle(region)
    producer.send("m1", **coloured("blue"))
    settle(region)
    assert region.targets[QUEUE]._choice is None
    assert set(consumer.client.ids("all")) >= {"m1"}


def test_a_browser_sees_only_what_it_selects() -> None:
    """A browser's selector leaves out the rest, and its end is told."""
    region = new_region()
    producer, consumer = two_peers(region)
    for index in range(6):
        producer.send(f"m{index}", **coloured("red" if index % 2 else "blue"))
    settle(region)
    consumer.consume("b", browser=True, selector="colour = 'red'")
    settle(region)
    assert consumer.client.ids() == ["m1", "m3", "m5"]
    assert consumer.client.none == ["b"]


# ---- priorities of messages


@pytest.mark.parametrize("persistent", [True, False])
def test_a_higher_priority_goes_first(persistent: bool) -> None:
    """Of what waits the highest priority is dispatched first, and each in the order of sending."""
    region = new_region()
    producer, consumer = two_peers(region)
    for index, priority in enumerate((4, 9, 0, 4, 9)):
        producer.send(f"m{index}", priority=priority, persistent=persistent)
    consumer.consume()
    settle(region)
    assert consumer.client.ids() == ["m1", "m4", "m0", "m3", "m2"]


def test_priorities_survive_a_takeover() -> None:
    """A new master dispatches by priority without having read the messages."""
    region = new_region()
    producer = Peer(region, "producer")
    for index, priority in enumerate((4, 9, 0, 4, 9)):
        producer.send(f"m{index}", priority=priority)
    settle(region)
    after = restarted(region)
    consumer = Peer(after, "consumer")
    consumer.consume()
    settle(after)
    assert consumer.client.ids() == ["m1", "m4", "m0", "m3", "m2"]


def test_without_the_policy_priorities_mean_nothing() -> None:
    """With `prioritizedMessages=false` the order is that of sending, after a takeover too."""
    off = {"policy.queue.>.prioritizedMessages": "false"}
    region = new_region(policies=off)
    producer, consumer = two_peers(region)
    for index, priority in enumerate((4, 9, 0)):
        producer.send(f"m{index}", priority=priority)
    settle(region)
    after = restarted(region, policies=off)
    consumer = Peer(after, "consumer")
    consumer.consume()
    settle(after)
    assert consumer.client.ids() == ["m0", "m1", "m2"]


def test_a_message_given_back_keeps_its_priority() -> None:
    """A redelivered message of a low priority does not overtake one of a higher."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("one", prefetch_size=1)
    producer.send("low", priority=1)
    settle(region)
    producer.send("high", priority=9)
    producer.send("normal")
    settle(region)
    consumer.connection.remove_consumer("one")
    consumer.consume("two")
    settle(region)
    assert consumer.client.ids("two") == ["high", "normal", "low"]


# ---- consumers' priority, exclusive ones


def test_the_consumer_with_the_highest_priority_goes_first() -> None:
    """Others get messages only when it has no room; equals take turns."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("low", priority=1)
    consumer.consume("high", prefetch_size=2, priority=5)
    for index in range(4):
        producer.send(f"m{index}")
    settle(region)
    assert consumer.client.ids("high") == ["m0", "m1"]
    assert consumer.client.ids("low") == ["m2", "m3"]


def test_an_exclusive_consumer_gets_everything_until_it_closes() -> None:
    """The others stand by; when it goes, the next exclusive one takes over, and then all."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("plain")
    consumer.consume("first", exclusive=True, prefetch_size=1)
    consumer.consume("second", exclusive=True)
    for index in range(3):
        producer.send(f"m{index}")
    settle(region)
    assert consumer.client.ids() == ["m0"]
    assert consumer.client.ids("first") == ["m0"]
    consumer.connection.remove_consumer("first")
    settle(region)
    assert consumer.client.ids("second") == ["m0", "m1", "m2"]
    consumer.connection.remove_consumer("second")
    settle(region)
    assert consumer.client.ids("plain") == ["m0", "m1", "m2"]


def test_of_exclusive_consumers_the_highest_priority_wins() -> None:
    """One that comes later with a higher priority takes over."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("first", exclusive=True)
    consumer.consume("better", exclusive=True, priority=1)
    producer.send("m0")
    settle(region)
    assert consumer.client.ids("better") == ["m0"]


# ---- groups


def test_a_group_belongs_to_one_consumer() -> None:
    """All messages of a group go to the same consumer; other groups are spread."""
    region = new_region()
    producer, consumer = two_peers(region)
    for key in "ab":
        consumer.consume(key)
    for index in range(12):
        producer.send(f"{index % 4}.{index}", group_id=f"g{index % 4}")
    settle(region)
    groups = [{name[0] for name in consumer.client.ids(key)} for key in "ab"]
    assert not groups[0] & groups[1]
    assert [len(each) for each in groups] == [2, 2]


def test_a_full_owner_keeps_its_group_in_order_and_holds_up_nobody() -> None:
    """Messages of its group wait for it; those of others behind them are dispatched."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a", prefetch_size=1)
    consumer.consume("b")
    for name, group in (("m0", "x"), ("m1", "x"), ("m2", "y"), ("m3", "x"), ("m4", "y")):
        producer.send(name, group_id=group)
    settle(region)
    assert consumer.client.ids("a") == ["m0"]
    assert consumer.client.ids("b") == ["m2", "m4"]
    for expected in ("m1", "m3"):
        consumer.acknowledge(consumer.client.refs("a")[-1], key="a")
        settle(region)
        assert consumer.client.ids("a")[-1] == expected


def test_the_groups_of_a_gone_consumer_get_new_owners() -> None:
    """What waited for the owner, and what it gives back, goes to the others, in order."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a", prefetch_size=1)
    for index in range(3):
        producer.send(f"m{index}", group_id="x")
    settle(region)
    consumer.consume("b")
    settle(region)
    assert consumer.client.ids("b") == []
    consumer.connection.remove_consumer("a")
    settle(region)
    assert consumer.client.ids("b") == ["m0", "m1", "m2"]


def test_a_negative_sequence_closes_the_group() -> None:
    """After it, the group's next message finds a new owner."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a")
    consumer.consume("b")
    producer.send("m0", group_id="x", group_sequence=1)
    producer.send("m1", group_id="x", group_sequence=-1)
    producer.send("m2", group_id="x", group_sequence=1)
    settle(region)
    assert consumer.client.ids("a") == ["m0", "m1"]
    assert consumer.client.ids("b") == ["m2"]


def test_a_rolled_back_and_redelivered_group_message_stays_with_its_owner() -> None:
    """A message marked redelivered is still its owner's, who acknowledges it as any other."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a")
    producer.send("m0", group_id="x")
    settle(region)
    ref = consumer.client.refs("a")[0]
    consumer.acknowledge(ref, key="a", kind=AckKind.REDELIVERED)
    consumer.acknowledge(ref, key="a")
    settle(region)
    assert not region.store.state.queues[QUEUE.uri]


# ---- prefetch by policy


def test_a_policy_sets_the_prefetch_of_those_that_ask_for_the_default() -> None:
    """Who asks for another prefetch keeps it; who is given one is told."""
    region = new_region(policies={"policy.queue.>.queuePrefetch": "2"})
    producer, consumer = two_peers(region)
    consumer.consume("default", prefetch_size=1000)
    consumer.consume("own", prefetch_size=1)
    for index in range(5):
        producer.send(f"m{index}")
    settle(region)
    assert len(consumer.client.ids("default")) == 2
    assert len(consumer.client.ids("own")) == 1
    assert consumer.client.prefetch_sizes == {"default": 2}


def test_a_prefetch_of_nought_makes_consumers_pull() -> None:
    """Nothing is dispatched until the consumer asks for it."""
    region = new_region(policies={"policy.queue.>.queuePrefetch": "0"})
    producer, consumer = two_peers(region)
    consumer.consume()
    producer.send("m0")
    producer.send("m1")
    settle(region)
    assert consumer.client.ids() == []
    consumer.connection.pull("k", 0)
    settle(region)
    assert consumer.client.ids() == ["m0"]


def test_a_puller_with_a_selector_is_told_that_there_is_nothing() -> None:
    """A pull that does not wait is answered at once, although other messages wait."""
    region = new_region()
    producer, consumer = two_peers(region)
    producer.send("m0", **coloured("blue"))
    settle(region)
    consumer.consume(prefetch_size=0, selector="colour = 'red'")
    consumer.connection.pull("k", -1)
    assert consumer.client.none == ["k"]
    consumer.connection.pull("k", 0)
    producer.send("m1", **coloured("red"))
    settle(region)
    assert consumer.client.ids() == ["m1"]
