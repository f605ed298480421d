"""How often a message was delivered, kept across takeovers, and delivery again by the broker."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.policies import DEFAULT_POLICY, PolicyMap
from broker.properties import properties_of
from broker.region.consumer import DELIVERED_NONE, AckKind
from broker.region.redelivery import DELAY_MS_MAX, redelivery_delay_ms
from broker.region.region import Region

DLQ = Destination.queue("ActiveMQ.DLQ")
SOON: Mapping[str, str] = {
    "policy.queue.>.redeliveryPolicy.maximumRedeliveries": "2",
    "policy.queue.>.redeliveryPolicy.initialRedeliveryDelay": "500",
    "policy.queue.>.redeliveryPolicy.redeliveryDelay": "800",
    "policy.topic.>.redeliveryPolicy.maximumRedeliveries": "1",
}


def counters(peer: Peer, key: str = "k") -> list[tuple[str, int]]:
    """Message ids and redelivery counters, as dispatched to a consumer."""
    return [(message_id, counter) for each, message_id, _, counter in peer.client.got if each == key]


def give_up(peer: Peer, key: str = "k") -> None:
    """A consumer gives up the message that it got last."""
    ref = peer.client.refs(key)[-1]
    peer.connection.acknowledge(key, AckKind.POISON, ref, ref, cause="too often")


def pass_time(region: Region, ms: int) -> None:
    """So long later."""
    region.advance(region.now_ms + ms)
    settle(region)


def refused_once(policies: Mapping[str, str] = SOON, **fields: object) -> tuple[Region, Peer]:
    """A consumer has given up the first of two messages."""
    region = new_region(policies=policies)
    peer = Peer(region)
    peer.consume(prefetch_size=1)
    peer.send("m0", **fields)
    peer.send("m1", **fields)
    settle(region)
    give_up(peer)
    settle(region)
    return region, peer


def test_a_new_master_knows_how_often_a_message_was_delivered() -> None:
    """JMSXDeliveryCount goes on where it was, for each message by itself."""
    region = new_region()
    for number in range(3):
        peer = Peer(region, f"c{number}")
        peer.consume()
        if not number:
            peer.send("m0")
            peer.send("m1")
        settle(region)
        peer.connection.remove_consumer("k", peer.client.refs()[0 if number else 1])
        settle(region)
        region = restarted(region)
    peer = Peer(region, "last")
    peer.consume()
    settle(region)
    assert counters(peer) == [("m0", 3), ("m1", 1)]


def test_what_never_reached_the_application_is_not_counted() -> None:
    """A consumer that closes and has read nothing has redelivered nothing, and nothing is written."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    assert isinstance(region.store, MemoryStore)
    batches = len(region.store.batches)
    peer.connection.remove_consumer("k", DELIVERED_NONE)
    assert len(region.store.batches) == batches


def test_each_durable_subscription_counts_for_itself() -> None:
    """What one subscriber could not process is new to another, also after a takeover."""
    region = new_region()
    for name in ("a", "b"):
        peer = Peer(region, name, name)
        peer.consume(destination=TOPIC, subscription_name="s")
    peer.send("m0", TOPIC)
    settle(region)
    peer.connection.close()
    settle(region)
    after = restarted(region)
    for name, counter in (("a", 0), ("b", 1)):
        peer = Peer(after, name, name)
        peer.consume(destination=TOPIC, subscription_name="s")
        settle(after)
        assert counters(peer) == [("m0", counter)]


def test_a_browser_sees_how_often_a_message_was_delivered() -> None:
    """Also of one that the new master has only in its index."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    peer.connection.remove_consumer("k")
    settle(region)
    after = restarted(region)
    again = Peer(after)
    again.consume(browser=True)
    settle(after)
    assert counters(again) == [("m0", 1)]


def test_a_wildcard_consumers_deliveries_are_counted_where_they_belong() -> None:
    """The counter is the queue's, whoever consumed from it."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=Destination.queue("workshop.*"))
    peer.send("m0")
    settle(region)
    peer.connection.close()
    settle(region)
    after = restarted(region)
    again = Peer(after)
    again.consume()
    settle(after)
    assert counters(again) == [("m0", 1)]


# ---- by the broker


def test_what_is_given_up_is_delivered_again_after_a_while() -> None:
    """Meanwhile others are delivered; then it comes again, and says that the broker did it."""
    region, peer = refused_once()
    assert counters(peer) == [("m0", 0), ("m1", 0)]
    assert DLQ.uri not in region.store.state.queues
    peer.acknowledge(peer.client.refs()[-1])
    pass_time(region, 499)
    assert peer.client.ids() == ["m0", "m1"]
    assert region.deadline_ms == region.now_ms + 1
    pass_time(region, 1)
    assert counters(peer)[2:] == [("m0", 1)]
    assert "redeliveryDelay" in properties_of(peer.client.messages[-1])
    peer.acknowledge(peer.client.refs()[-1])
    settle(region)
    assert not region.store.state.queues[QUEUE.uri]
    assert not region.store.state.redelivered


def test_after_the_last_redelivery_it_is_a_dead_letter() -> None:
    """The first delay is the initial one, the others are the ordinary one."""
    region, peer = refused_once()
    peer.acknowledge(peer.client.refs()[-1])
    for delay_ms in (500, 800):
        pass_time(region, delay_ms)
        give_up(peer)
        settle(region)
    assert counters(peer) == [("m0", 0), ("m1", 0), ("m0", 1), ("m0", 2)]
    assert len(region.store.state.queues[DLQ.uri]) == 1
    assert not region.store.state.queues[QUEUE.uri]


def test_a_delay_goes_on_after_a_takeover() -> None:
    """The new master knows which message must wait, and for how long; the counter goes on, too."""
    region, _ = refused_once()
    after = restarted(region, policies=SOON)
    peer = Peer(after)
    peer.consume()
    settle(after)
    assert counters(peer) == [("m1", 0)]
    after.advance(after.now_ms)
    assert after.deadline_ms == 1_500
    pass_time(after, 500)
    assert counters(peer) == [("m1", 0), ("m0", 1)]
    assert "redeliveryDelay" in properties_of(peer.client.messages[-1])


def test_a_redelivered_message_that_is_given_back_may_come_at_once() -> None:
    """The delay is over for good; that the broker redelivered it is still said."""
    region, peer = refused_once()
    pass_time(region, 500)
    peer.connection.close()
    settle(region)
    after = restarted(region, policies=SOON)
    again = Peer(after)
    again.consume()
    after.advance(2_000)
    settle(after)
    assert counters(again) == [("m0", 1), ("m1", 1)]


def test_messages_that_are_not_persistent_are_redelivered_too() -> None:
    """In the life of a broker."""
    region, peer = refused_once(persistent=False)
    peer.acknowledge(peer.client.refs()[-1])
    pass_time(region, 500)
    assert counters(peer)[2:] == [("m0", 1)]
    assert "redeliveryDelay" in properties_of(peer.client.messages[-1])
    peer.acknowledge(peer.client.refs()[-1])
    assert region.usage.memory_bytes == region.usage.volatile_bytes == 0


def test_a_choosing_queue_redelivers_too() -> None:
    """Whoever selects the message gets it, when its time has come."""
    region = new_region(policies=SOON)
    peer = Peer(region)
    peer.consume(selector="JMSType = 'a'")
    peer.send("m0", type="a", priority=9)
    settle(region)
    give_up(peer)
    settle(region)
    after = restarted(region, policies=SOON)
    again = Peer(after)
    again.consume(selector="JMSType = 'a'")
    settle(after)
    assert counters(again) == []
    pass_time(after, 500)
    assert counters(again) == [("m0", 1)]


def test_a_durable_subscriber_is_redelivered_to_alone() -> None:
    """The original would send the message to the topic again, for everybody."""
    region = new_region(policies=SOON)
    peers = [Peer(region, name, name) for name in ("a", "b")]
    for peer in peers:
        peer.consume(destination=TOPIC, subscription_name="s")
    peers[0].send("m0", TOPIC)
    settle(region)
    give_up(peers[0])
    pass_time(region, 1_000)
    assert [counters(peer) for peer in peers] == [[("m0", 0), ("m0", 1)], [("m0", 0)]]
    give_up(peers[0])
    settle(region)
    assert len(region.store.state.queues[DLQ.uri]) == 1


def test_a_subscription_that_ends_takes_what_waits_for_it_along() -> None:
    """Nothing comes back to nobody."""
    region = new_region(policies=SOON)
    peer = Peer(region, "a", "a")
    peer.consume(destination=TOPIC, subscription_name="s")
    peer.send("m0", TOPIC)
    settle(region)
    give_up(peer)
    peer.connection.remove_consumer("k")
    peer.connection.remove_subscription("s")
    pass_time(region, 1_000)
    assert region.deadline_ms is None
    assert region.usage.memory_bytes == 0


def test_a_deleted_queue_takes_what_waits_for_it_along() -> None:
    """Likewise."""
    region, peer = refused_once(persistent=False)
    peer.acknowledge(peer.client.refs()[-1])
    peer.connection.remove_consumer("k")
    peer.connection.remove_destination(QUEUE)
    pass_time(region, 1_000)
    assert region.usage.memory_bytes == 0


@pytest.mark.parametrize(
    "policies",
    [
        {**SOON, "policy.queue.>.sendToDlqIfMaxRetriesExceeded": "false"},
        {"policy.queue.>.fallbackToDeadLetter": "false"},
    ],
)
def test_it_can_be_dropped_in_the_end(policies: Mapping[str, str]) -> None:
    """Where nobody wants dead letters of it."""
    region, peer = refused_once(policies)
    if len(policies) > 1:
        for delay_ms in (500, 800):
            peer.acknowledge(peer.client.refs()[-1])
            pass_time(region, delay_ms)
            give_up(peer)
    settle(region)
    assert DLQ.uri not in region.store.state.queues
    assert len(region.store.state.queues[QUEUE.uri]) <= 1


def test_an_expired_message_is_not_redelivered() -> None:
    """It is a dead letter at once."""
    region = new_region(policies=SOON)
    peer = Peer(region)
    peer.consume()
    peer.send("m0", expiration=1_200)
    settle(region)
    region.advance(1_300)
    give_up(peer)
    settle(region)
    assert len(region.store.state.queues[DLQ.uri]) == 1


def test_a_wildcard_consumer_gets_it_again() -> None:
    """From the queue it came from, with room in its window meanwhile."""
    region = new_region(policies=SOON)
    peer = Peer(region)
    peer.consume(destination=Destination.queue("workshop.*"), prefetch_size=1)
    peer.send("m0")
    peer.send("m1")
    settle(region)
    give_up(peer)
    settle(region)
    assert counters(peer) == [("m0", 0), ("m1", 0)]
    peer.acknowledge(peer.client.refs()[-1])
    pass_time(region, 500)
    assert counters(peer)[2:] == [("m0", 1)]
    peer.acknowledge(peer.client.refs()[-1])
    settle(region)
    assert not region.store.state.queues[QUEUE.uri]


# ---- delays


def delays(count: int, **properties: str) -> list[int]:
    """The first delays of a policy."""
    given = {f"policy.queue.>.redeliveryPolicy.{name}": value for name, value in properties.items()}
    policy = PolicyMap.parse(given).of(QUEUE)
    return [redelivery_delay_ms(policy, counter, 1) for counter in range(count)]


def test_delays_are_those_of_the_original() -> None:
    """`RedeliveryPolicy` of ActiveMQ, with its defaults."""
    assert delays(3) == [1_000, 1_000, 1_000]
    assert delays(3, initialRedeliveryDelay="10") == [10, 1_000, 1_000]
    assert delays(4, useExponentialBackOff="true") == [1_000, 5_000, 25_000, 125_000]
    assert delays(5, useExponentialBackOff="true", backOffMultiplier="2", maximumRedeliveryDelay="3000") == [
        1_000,
        2_000,
        3_000,
        3_000,
        3_000,
    ]


@given(st.integers(0, 10_000), st.integers(0, 2**63 - 1))
def test_delays_have_bounds(counter: int, ref: int) -> None:
    """However often, and with collision avoidance: the spread is at most its percentage."""
    given_ = {
        "policy.queue.>.redeliveryPolicy.useExponentialBackOff": "true",
        "policy.queue.>.redeliveryPolicy.maximumRedeliveryDelay": "60000",
        "policy.queue.>.redeliveryPolicy.useCollisionAvoidance": "true",
    }
    policy = PolicyMap.parse(given_).of(QUEUE)
    assert 0 <= redelivery_delay_ms(policy, counter, ref) <= 69_000
    unbounded = PolicyMap.parse(dict([next(iter(given_.items()))])).of(QUEUE)
    assert 0 <= redelivery_delay_ms(unbounded, counter, ref) <= DELAY_MS_MAX
    assert redelivery_delay_ms(DEFAULT_POLICY, counter, ref) == 1_000
