"""Durable subscriptions that are away for too long are removed, whatever becomes of the broker."""

import pytest
from support.region import TOPIC, MemoryStore, Peer, settle

from broker.config import BrokerConfig
from broker.errors import ConfigurationInvalid, InvalidDestination
from broker.region.limits import RegionLimits
from broker.region.region import Region

LIMITS = RegionLimits(offline_timeout_ms=10_000, offline_period_ms=1_000)


def new(now_ms: int = 1_000_000, limits: RegionLimits = LIMITS) -> Region:
    """A region that removes what is away for 10 s, and looks every second."""
    return Region(MemoryStore(), limits, now_ms=now_ms)


def successor(region: Region, later_ms: int) -> Region:
    """A new broker, so much later, over what was durable."""
    store = region.store
    assert isinstance(store, MemoryStore)
    return Region(MemoryStore(store.records(store.durable_batch)), LIMITS, now_ms=region.now_ms + later_ms)


def later(region: Region, by_ms: int) -> None:
    """Time passes."""
    region.advance(region.now_ms + by_ms)
    settle(region)


def subscribe(region: Region, connection_id: str = "c1") -> Peer:
    """A durable subscriber."""
    peer = Peer(region, connection_id, "client")
    peer.consume("k", TOPIC, subscription_name="s")
    settle(region)
    return peer


def test_a_subscription_that_is_away_too_long_is_removed() -> None:
    """With what was pending for it; not before."""
    region = new()
    subscribe(region).connection.close()
    Peer(region, "c2").send("m0", TOPIC)
    later(region, 9_000)
    assert region.subscriptions.durable
    later(region, 2_000)
    assert not region.subscriptions.durable
    assert not region.store.state.subscriptions
    assert not region.store.state.topics[TOPIC.uri]
    with pytest.raises(InvalidDestination):
        Peer(region, "c3", "client").connection.remove_subscription("s")


def test_one_with_a_consumer_is_never_away() -> None:
    """And one that comes back begins anew."""
    region = new()
    peer = subscribe(region)
    later(region, 100_000)
    peer.connection.remove_consumer("k")
    later(region, 6_000)
    peer.consume("k", TOPIC, subscription_name="s")
    later(region, 1_000)
    peer.connection.remove_consumer("k")
    later(region, 6_000)
    assert region.subscriptions.durable
    later(region, 6_000)
    assert not region.subscriptions.durable


def test_the_time_away_survives_a_takeover() -> None:
    """It counts from when the last consumer went."""
    region = new()
    subscribe(region).connection.close()
    later(region, 4_000)
    after = successor(region, 2_000)
    later(after, 2_000)
    assert after.subscriptions.durable
    later(after, 3_000)
    assert not after.subscriptions.durable


def test_who_had_a_consumer_is_away_since_the_takeover() -> None:
    """A master that dies says nothing any more; a second takeover does not begin anew."""
    region = new()
    subscribe(region)
    later(region, 50_000)
    after = successor(region, 1_000)
    later(after, 5_000)
    last = successor(after, 1_000)
    later(last, 3_000)
    assert last.subscriptions.durable
    later(last, 2_000)
    assert not last.subscriptions.durable


def test_who_is_back_before_a_takeover_is_not_away_after_it() -> None:
    """The journal hears of a return, too."""
    region = new()
    subscribe(region).connection.close()
    later(region, 8_000)
    subscribe(region, "c2")
    later(region, 0)
    after = successor(region, 1_000)
    later(after, 8_000)
    assert after.subscriptions.durable


def test_nothing_is_written_when_a_mastership_ends() -> None:
    """Its connections go after its journal is closed: what then becomes away is not journaled."""
    region = new()
    peer = subscribe(region)
    later(region, 1_000)
    store = region.store
    assert isinstance(store, MemoryStore)
    batches = len(store.batches)
    peer.connection.close()
    assert len(store.batches) == batches


@pytest.mark.parametrize(
    "limits", [RegionLimits(), RegionLimits(offline_timeout_ms=1_000, offline_period_ms=-1)]
)
def test_without_a_limit_they_stay_and_cost_nothing(limits: RegionLimits) -> None:
    """No timer, no record."""
    region = new(limits=limits)
    peer = subscribe(region)
    store = region.store
    assert isinstance(store, MemoryStore)
    batches = len(store.batches)
    peer.connection.close()
    later(region, 10**9)
    assert region.subscriptions.due_ms is None
    assert region.subscriptions.durable
    assert len(store.batches) == batches


def test_the_properties_have_the_originals_names_and_defaults() -> None:
    """Milliseconds; -1 switches them off."""
    config = BrokerConfig.from_properties({}, container="c")
    assert (config.offline_timeout_ms, config.offline_period_ms) == (-1, 300_000)
    names = ("offlineDurableSubscriberTimeout", "offlineDurableSubscriberTaskSchedule")
    config = BrokerConfig.from_properties(dict.fromkeys(names, "60000"), container="c")
    assert (config.offline_timeout_ms, config.offline_period_ms) == (60_000, 60_000)
    config = BrokerConfig.from_properties(dict.fromkeys(names, "-1"), container="c")
    assert (config.offline_timeout_ms, config.offline_period_ms) == (-1, -1)
    for wrong in ("0", "-2", "soon"):
        with pytest.raises(ConfigurationInvalid, match=names[0]):
            BrokerConfig.from_properties({names[0]: wrong}, container="c")
