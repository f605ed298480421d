"""Message groups that come and go, and the policies about who gets what."""

from __future__ import annotations

import functools

import pytest
from support.region import Peer, new_region, settle

from broker.openwire import message_reader, translation
from broker.region.consumer import DELIVERED_NONE
from broker.region.region import Region


def two_peers(region: Region) -> tuple[Peer, Peer]:
    """A producer and a consumer."""
    return Peer(region, "producer"), Peer(region, "consumer")


# ---- groups


def test_a_new_group_goes_to_whom_has_the_fewest() -> None:
    """A consumer that comes later gets new groups until it has as many as the others; none moves."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a")
    for index in range(3):
        producer.send(f"old{index}", group_id=f"old{index}")
    settle(region)
    consumer.consume("b")
    for index in range(4):
        producer.send(f"new{index}", group_id=f"new{index}")
    producer.send("old0 again", group_id="old0")
    settle(region)
    assert consumer.client.ids("b") == ["new0", "new1", "new2"]
    assert consumer.client.ids("a") == ["old0", "old1", "old2", "new3", "old0 again"]


def test_a_group_begins_anew_with_the_sequence_1() -> None:
    """Whoever has the fewest groups gets it then, as from ActiveMQ; until then it stays."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a")
    producer.send("x1", group_id="x", group_sequence=1)
    producer.send("y1", group_id="y", group_sequence=1)
    settle(region)
    consumer.consume("b")
    producer.send("x2", group_id="x", group_sequence=2)
    producer.send("x1 again", group_id="x", group_sequence=1)
    producer.send("x2 again", group_id="x", group_sequence=2)
    settle(region)
    assert consumer.client.ids("a") == ["x1", "y1", "x2"]
    assert consumer.client.ids("b") == ["x1 again", "x2 again"]


def test_a_consumer_is_told_which_message_of_a_group_is_its_first() -> None:
    """`JMSXGroupFirstForConsumer`: set when a group begins, and when it comes to another consumer."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a")
    send = functools.partial(send_frame, producer)
    send("m1", "x")
    send("m2", "x")
    settle(region)
    consumer.connection.remove_consumer("a", DELIVERED_NONE)
    consumer.consume("b")
    settle(region)
    seen = [
        (name, translation.from_message(message).jmsx_group_first_for_consumer)
        for (_, name, _, _), message in zip(consumer.client.got, consumer.client.messages, strict=True)
    ]
    assert seen == [("m1", True), ("m2", False), ("m1", True), ("m2", False)]


def send_frame(producer: Peer, name: str, group: str) -> None:
    """Send as OpenWire's clients do."""
    plain = producer.message(name, group_id=group)
    assert message_reader.WIRE_FIRSTS
    producer.connection.send(translation.to_message(translation.from_message(plain)))


# ---- policies


def test_all_consumers_can_be_exclusive_by_policy() -> None:
    """`allConsumersExclusiveByDefault`: the first has the queue; one of a higher priority takes it."""
    region = new_region(policies={"policy.queue.>.allConsumersExclusiveByDefault": "true"})
    producer, consumer = two_peers(region)
    for key, priority in (("a", 0), ("b", 0)):
        consumer.consume(key, priority=priority)
    producer.send("m1")
    producer.send("m2")
    settle(region)
    assert consumer.client.ids("a") == ["m1", "m2"]
    consumer.consume("high", priority=1)
    producer.send("m3")
    settle(region)
    assert consumer.client.ids("high") == ["m3"]
    consumer.connection.remove_consumer("high")
    settle(region)
    assert consumer.client.ids("a") == ["m1", "m2", "m3"]
    assert consumer.client.ids("b") == []


@pytest.mark.parametrize(("priority", "expected"), [(126, "a"), (127, "b")])
def test_the_highest_priority_takes_an_exclusive_queue_in_any_case(priority: int, expected: str) -> None:
    """Among exclusive consumers of priority 127 the latest counts, as with ActiveMQ."""
    region = new_region()
    producer, consumer = two_peers(region)
    consumer.consume("a", exclusive=True, priority=priority)
    consumer.consume("b", exclusive=True, priority=priority)
    producer.send("m1")
    settle(region)
    assert consumer.client.ids(expected) == ["m1"]


def test_priorities_of_consumers_can_be_switched_off() -> None:
    """`useConsumerPriority=false`: they take turns."""
    region = new_region(policies={"policy.queue.>.useConsumerPriority": "false"})
    producer, consumer = two_peers(region)
    consumer.consume("low")
    consumer.consume("high", priority=9)
    for index in range(4):
        producer.send(f"m{index}")
    settle(region)
    assert len(consumer.client.ids("low")) == len(consumer.client.ids("high")) == 2


def test_strict_order_fills_one_consumer_before_the_next() -> None:
    """`strictOrderDispatch`: always the first that has room, in the order in which they came."""
    region = new_region(policies={"policy.queue.>.strictOrderDispatch": "true"})
    producer, consumer = two_peers(region)
    for key in "abc":
        consumer.consume(key, prefetch_size=2)
    for index in range(5):
        producer.send(f"m{index}")
    settle(region)
    assert [consumer.client.ids(key) for key in "abc"] == [["m0", "m1"], ["m2", "m3"], ["m4"]]
    consumer.acknowledge(consumer.client.refs("b")[0], key="b")
    consumer.acknowledge(consumer.client.refs("a")[0], key="a")
    producer.send("m5")
    producer.send("m6")
    producer.send("m7")
    settle(region)
    assert [consumer.client.ids(key)[-1] for key in "abc"] == ["m5", "m6", "m7"]


def test_a_queue_waits_for_so_many_consumers() -> None:
    """`consumersBeforeDispatchStarts`: the last that is needed starts the dispatch, for all of them."""
    region = new_region(policies={"policy.queue.>.consumersBeforeDispatchStarts": "2"})
    producer, consumer = two_peers(region)
    for index in range(4):
        producer.send(f"m{index}")
    consumer.consume("a")
    settle(region)
    assert consumer.client.ids() == []
    consumer.consume("b")
    settle(region)
    assert [consumer.client.ids(key) for key in "ab"] == [["m0", "m2"], ["m1", "m3"]]
    for key in "ab":
        consumer.connection.remove_consumer(key, DELIVERED_NONE)
    consumer.consume("c")
    settle(region)
    assert consumer.client.ids("c") == []


@pytest.mark.parametrize(
    ("policy", "wait_ms"),
    [
        ({"consumersBeforeDispatchStarts": "3"}, 1_000),
        ({"consumersBeforeDispatchStarts": "3", "timeBeforeDispatchStarts": "50"}, 50),
        ({"timeBeforeDispatchStarts": "200"}, 200),
    ],
)
def test_a_queue_does_not_wait_longer_than_it_is_told(policy: dict[str, str], wait_ms: int) -> None:
    """`timeBeforeDispatchStarts`, a second if only consumers are counted: from the first consumer on."""
    region = new_region(policies={f"policy.queue.>.{name}": value for name, value in policy.items()})
    producer, consumer = two_peers(region)
    producer.send("m1")
    consumer.consume("a")
    region.advance(1000 + wait_ms - 1)
    settle(region)
    assert consumer.client.ids() == []
    assert region.deadline_ms == 1000 + wait_ms
    region.advance(1000 + wait_ms)
    settle(region)
    assert consumer.client.ids() == ["m1"]
