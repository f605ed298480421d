"""Subscribers that are too slow: how many messages wait for them, and which are discarded."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.region import TOPIC, Peer, new_region, settle

from broker.policies import DEFAULT_POLICY, PolicyMap
from broker.primitive_map import encode_map
from broker.region.entry import Entry
from broker.region.eviction import evicted, pending_limit
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.region.usage import UsageLimits

PREFIX = "policy.topic.>."


def slow_region(**properties: str) -> Region:
    """A region with properties for all topics, dots in their names as underscores."""
    return new_region(policies={PREFIX + name.replace("_", "."): value for name, value in properties.items()})


def left(region: Region, peer: Peer, key: str = "k") -> list[str]:
    """What a consumer with a prefetch of 1 gets in the end."""
    settle(region)
    while peer.connection.consumers[key].dispatched:
        peer.acknowledge(next(iter(peer.connection.consumers[key].dispatched)), key=key)
        settle(region)
    return peer.client.ids(key)


def fill(region: Region, count: int = 6, prefetch_size: int = 1, **options: object) -> Peer:
    """A consumer, and more messages than it has room for."""
    peer = Peer(region)
    peer.consume("k", TOPIC, prefetch_size, **options)
    for index in range(count):
        peer.send(f"m{index}", TOPIC, persistent=bool(index % 2))
    return peer


def test_the_oldest_are_discarded_by_default() -> None:
    """Of those beyond the prefetch; and they are counted."""
    region = slow_region(
        pendingMessageLimitStrategy="constantPendingMessageLimitStrategy",
        **{"pendingMessageLimitStrategy_limit": "2"},
    )
    assert left(region, fill(region)) == ["m0", "m4", "m5"]
    assert region.targets[TOPIC].statistics.discarded == 3


def test_the_limit_can_follow_the_prefetch() -> None:
    """`multiplier` times it."""
    region = slow_region(
        pendingMessageLimitStrategy="prefetchRatePendingMessageLimitStrategy",
        pendingMessageLimitStrategy_multiplier="1.5",
    )
    assert left(region, fill(region, 8, 2)) == ["m0", "m1", "m5", "m6", "m7"]


def test_a_consumer_can_ask_for_less() -> None:
    """`consumer.maximumPendingMessageLimit`; it cannot ask for more than the policy allows."""
    region = slow_region(pendingMessageLimitStrategy_limit="3")
    assert left(region, fill(region, pending_limit=1)) == ["m0", "m5"]
    region = slow_region(pendingMessageLimitStrategy_limit="3")
    assert left(region, fill(region, pending_limit=100)) == ["m0", "m3", "m4", "m5"]


def test_without_a_limit_nothing_is_discarded_and_producers_wait() -> None:
    """-1: what waits is counted as memory, and sends that find none wait."""
    region = new_region(
        policies={f"{PREFIX}pendingMessageLimitStrategy.limit": "-1"},
        usage=UsageLimits(memory_bytes_max=3000),
    )
    peer = Peer(region)
    peer.consume("k", TOPIC, 1)
    for index in range(8):
        peer.submit(f"m{index}", TOPIC, persistent=False)
        region.dispatch()
    assert len(peer.answered()) < 8
    assert peer.refused() == []
    assert region.usage.volatile_bytes > 0
    assert left(region, peer) == [f"m{index}" for index in range(8)]
    assert len(peer.answered()) == 8
    assert region.usage.volatile_bytes == 0


def test_what_waits_without_a_limit_is_free_when_its_consumer_goes() -> None:
    """Dispatched or not."""
    region = slow_region(pendingMessageLimitStrategy_limit="-1")
    peer = fill(region)
    settle(region)
    assert region.usage.volatile_bytes > 0
    peer.connection.remove_consumer("k")
    assert region.usage.volatile_bytes == 0


def test_the_bytes_of_one_subscriber_are_bounded_in_any_case() -> None:
    """Its last message excepted."""
    region = new_region(limits=RegionLimits(topic_pending_bytes_max=5_000))
    peer = Peer(region)
    peer.consume("k", TOPIC, 1)
    for index in range(5):
        peer.send(f"m{index}", TOPIC, body_bytes=2_000)
    peer.send("large", TOPIC, body_bytes=20_000)
    assert left(region, peer) == ["large"]


def test_the_lowest_priority_goes_first() -> None:
    """Among these the oldest."""
    region = slow_region(
        pendingMessageLimitStrategy_limit="3",
        messageEvictionStrategy="oldestMessageWithLowestPriorityEvictionStrategy",
    )
    peer = Peer(region)
    peer.consume("k", TOPIC, 1)
    for index, priority in enumerate((4, 9, 1, 4, 1, 9, 4)):
        peer.send(f"m{index}", TOPIC, priority=priority)
    assert left(region, peer) == ["m0", "m1", "m5", "m6"]


def ranked_region(**properties: str) -> Region:
    """A region in which priorities count for subscribers."""
    return slow_region(pendingSubscriberPolicy="vmCursor", **properties)


def send_ranked(peer: Peer, priorities: Sequence[int]) -> None:
    """Messages whose names tell their priorities."""
    for index, priority in enumerate(priorities):
        peer.send(f"m{index}-{priority}", TOPIC, persistent=bool(index % 2), priority=priority)


@pytest.mark.parametrize("limit", ["100", "-1"])
def test_priorities_count_where_a_policy_for_what_waits_is_set(limit: str) -> None:
    """`pendingSubscriberPolicy` with `prioritizedMessages`: the highest first, and the oldest of these."""
    region = ranked_region(pendingMessageLimitStrategy_limit=limit)
    peer = fill(region, 0)
    send_ranked(peer, (4, 4, 9, 0, 4, 9))
    assert left(region, peer) == ["m2-9", "m5-9", "m0-4", "m1-4", "m4-4", "m3-0"]


@pytest.mark.parametrize(
    "properties", [{}, {"pendingSubscriberPolicy": "fileCursor", "prioritizedMessages": "false"}]
)
def test_priorities_do_not_count_otherwise(properties: dict[str, str]) -> None:
    """As in ActiveMQ, both must be asked for; here priorities are by default."""
    region = slow_region(**properties)
    peer = fill(region, 0)
    send_ranked(peer, (4, 4, 9, 0))
    assert left(region, peer) == ["m0-4", "m1-4", "m2-9", "m3-0"]


def test_the_oldest_is_discarded_whatever_its_priority() -> None:
    """The order in which they wait does not choose what a slow subscriber loses."""
    region = ranked_region(pendingMessageLimitStrategy_limit="2")
    peer = fill(region, 0)
    send_ranked(peer, (4, 9, 0, 4, 9))
    assert left(region, peer) == ["m1-9", "m4-9", "m3-4"]


def test_by_bytes_too_the_oldest_is_discarded() -> None:
    """The bound of what waits in memory."""
    region = new_region(
        policies={f"{PREFIX}pendingSubscriberPolicy": "vmCursor"},
        limits=RegionLimits(topic_pending_bytes_max=7_500),
    )
    peer = fill(region, 1)
    settle(region)
    for index, priority in enumerate((9, 0, 4, 9)):
        peer.send(f"n{index}", TOPIC, body_bytes=2_000, priority=priority)
    assert left(region, peer) == ["m0", "n3", "n2"]


def test_what_a_shared_subscriber_leaves_waits_by_its_priority() -> None:
    """Its messages go to another before the younger ones of the same priority, behind the higher ones."""
    region = ranked_region()
    peer = Peer(region)
    peer.consume("a", TOPIC, 2, shared=True, durable=False, subscription_name="s")
    send_ranked(peer, (4, 0))
    settle(region)
    assert peer.client.ids("a") == ["m0-4", "m1-0"]
    peer.consume("b", TOPIC, 1, shared=True, durable=False, subscription_name="s")
    for name, priority in (("n0", 9), ("n1", 9), ("n2", 4), ("n3", 0)):
        peer.send(name, TOPIC, priority=priority)
    peer.connection.remove_consumer("a")
    assert left(region, peer, "b") == ["n0", "n1", "m0-4", "n2", "m1-0", "n3"]


def test_the_last_of_each_value_stays() -> None:
    """Earlier ones with the same value of the property, and those without it, go together."""
    region = slow_region(
        pendingMessageLimitStrategy_limit="4",
        messageEvictionStrategy="uniquePropertyMessageEvictionStrategy",
        messageEvictionStrategy_propertyName="share",
    )
    peer = Peer(region)
    peer.consume("k", TOPIC, 1)
    for index, share in enumerate(("a", "a", "b", "a", "", "b")):
        properties = encode_map({"share": share}) if share else None
        peer.send(f"m{index}", TOPIC, timestamp=index, properties=properties)
    assert left(region, peer) == ["m0", "m3", "m5"]


def test_if_all_differ_the_oldest_goes() -> None:
    """A property that tells nothing evicts as by default."""
    region = slow_region(
        pendingMessageLimitStrategy_limit="2",
        messageEvictionStrategy="uniquePropertyMessageEvictionStrategy",
        messageEvictionStrategy_propertyName="share",
    )
    peer = Peer(region)
    peer.consume("k", TOPIC, 1)
    for index in range(5):
        peer.send(f"m{index}", TOPIC, properties=encode_map({"share": [index]}))
    assert left(region, peer) == ["m0", "m3", "m4"]


def test_a_shared_subscription_has_the_room_of_all_its_consumers() -> None:
    """Only what none of them has room for is too much; what one gives back is not."""
    region = slow_region(pendingMessageLimitStrategy_limit="1")
    first, second = Peer(region, "c1"), Peer(region, "c2")
    for peer in (first, second):
        peer.consume("k", TOPIC, 2, subscription_name="s", shared=True, durable=False)
    for index in range(7):
        first.send(f"m{index}", TOPIC, persistent=False)
    settle(region)
    assert (first.client.ids(), second.client.ids()) == (["m0", "m2"], ["m1", "m3"])
    first.connection.close()
    second.acknowledge(*second.client.refs())
    settle(region)
    second.acknowledge(*second.client.refs()[2:])
    settle(region)
    assert second.client.ids() == ["m1", "m3", "m0", "m2", "m6"]


def test_prefetch_of_subscribers_follows_the_policy() -> None:
    """`topicPrefetch` and `durableTopicPrefetch`, for those that ask for the clients' defaults."""
    region = slow_region(topicPrefetch="7", durableTopicPrefetch="5")
    peer = Peer(region, "c1", "client")
    peer.consume("default", TOPIC, 32_767)
    peer.consume("own", TOPIC, 50)
    peer.consume("durable", TOPIC, 100, subscription_name="s")
    assert peer.client.prefetch_sizes == {"default": 7, "durable": 5}


@given(
    limit=st.integers(-1, 100),
    multiplier=st.floats(-1, 10),
    prefetch_size=st.integers(0, 1_000),
    own_limit=st.integers(-5, 100),
)
def test_the_limit_is_the_lower_of_the_policys_and_the_consumers(
    limit: int, multiplier: float, prefetch_size: int, own_limit: int
) -> None:
    """Whatever they are; without one nothing is discarded."""
    for properties in (
        {"limit": str(limit)},
        {"": "prefetchRatePendingMessageLimitStrategy", "multiplier": f"{multiplier:f}"},
    ):
        names = {
            (PREFIX + "pendingMessageLimitStrategy." + name).rstrip("."): value
            for name, value in properties.items()
        }
        policy = PolicyMap.parse(names).of(TOPIC)
        found = pending_limit(policy, prefetch_size, 0)
        assert found >= -1
        both = pending_limit(policy, prefetch_size, own_limit)
        if own_limit <= 0:
            assert both == found
        else:
            assert both == (own_limit if found < 0 else min(found, own_limit))


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, 1, "1", 2])), min_size=1, max_size=20))
def test_something_is_always_evicted_and_never_a_younger_one_of_the_same_kind(
    messages: list[tuple[int, object]],
) -> None:
    """Whatever the strategy."""
    peer = Peer(new_region())
    entries = []
    for index, (priority, share) in enumerate(messages):
        properties = encode_map({"share": share}) if share is not None else None  # type: ignore[dict-item] # any value
        message = peer.message(f"m{index}", TOPIC, priority=priority, properties=properties, timestamp=index)
        entries.append(Entry(index, message, 0, False))
    names = {
        f"{PREFIX}messageEvictionStrategy.propertyName": "share",
        f"{PREFIX}messageEvictionStrategy": "uniquePropertyMessageEvictionStrategy",
    }
    unique = evicted(PolicyMap.parse(names).of(TOPIC), entries)
    kept = [
        repr(share) for place, (_, share) in enumerate(messages) if place not in unique and share is not None
    ]
    assert unique
    assert len(kept) == len(set(kept))
    names[f"{PREFIX}messageEvictionStrategy"] = "oldestMessageWithLowestPriorityEvictionStrategy"
    (place,) = evicted(PolicyMap.parse(names).of(TOPIC), entries)
    assert messages[place][0] == min(priority for priority, _ in messages)
    assert all(priority > messages[place][0] for priority, _ in messages[:place])
    assert evicted(DEFAULT_POLICY, entries) == {0}
