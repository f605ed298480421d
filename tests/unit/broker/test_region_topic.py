"""Topics and durable subscriptions."""

import pytest
from support.region import TOPIC, MemoryStore, Peer, new_region, restarted, settle, take

from broker.destination import Destination
from broker.errors import InvalidClientId, InvalidDestination, RequestInvalid, ResourceExhausted
from broker.region.limits import RegionLimits
from broker.region.usage import UsageLimits
from journal.record import AddMessage


def test_every_subscriber_gets_every_message_sent_while_it_listens() -> None:
    """A topic message goes to all who listen when it is sent, and to nobody who comes later."""
    region = new_region()
    peer = Peer(region)
    peer.send("m0", TOPIC)
    peer.consume("a", TOPIC)
    peer.consume("b", TOPIC)
    peer.send("m1", TOPIC)
    peer.send("m2", TOPIC, persistent=False)
    settle(region)
    assert peer.client.ids("a") == ["m1", "m2"]
    assert peer.client.ids("b") == ["m1", "m2"]


def test_a_topic_message_nobody_waits_for_is_journaled_and_gone() -> None:
    """Its batch carries the fence check and the producer's sequence; the index keeps nothing."""
    region = new_region()
    peer = Peer(region)
    assert peer.send("m0", TOPIC) > 0
    assert not region.store.state.topics.get(TOPIC.uri)
    assert region.store.state.last_producer_sequence("c1:1:1") == 1


def test_no_local_subscribers_do_not_hear_themselves() -> None:
    """What a connection sends is not given to its own noLocal consumers."""
    region = new_region()
    peer, other = Peer(region, "c1"), Peer(region, "c2")
    peer.consume("k", TOPIC, no_local=True)
    peer.send("own", TOPIC)
    other.send("other", TOPIC)
    settle(region)
    assert peer.client.ids() == ["other"]


def test_a_slow_subscriber_loses_its_oldest_beyond_prefetch_and_limit() -> None:
    """A non-durable subscriber that does not keep up costs bounded memory."""
    region = new_region(policies={"policy.topic.>.pendingMessageLimitStrategy.limit": "2"})
    peer = Peer(region)
    peer.consume("slow", TOPIC, prefetch_size=1)
    for index in range(6):
        peer.send(f"m{index}", TOPIC)
    settle(region)
    peer.acknowledge(peer.client.refs()[0], key="slow")
    settle(region)
    peer.acknowledge(peer.client.refs()[1], key="slow")
    settle(region)
    assert peer.client.ids() == ["m0", "m4", "m5"]


def test_a_burst_that_fits_the_prefetch_is_not_discarded_while_it_waits_for_the_disk() -> None:
    """A subscriber that has room is not slow, however long the sync takes."""
    region = new_region(policies={"policy.topic.>.pendingMessageLimitStrategy.limit": "0"})
    peer = Peer(region)
    peer.consume("k", TOPIC, prefetch_size=100)
    for index in range(100):
        peer.send(f"m{index}", TOPIC)
    settle(region)
    assert len(peer.client.got) == 100


def durable(peer: Peer, key: str = "k", name: str = "sub", destination: Destination = TOPIC) -> int:
    """Open a durable subscriber."""
    return peer.consume(key, destination, subscription_name=name)


def test_what_a_subscriber_has_not_acknowledged_ends_with_it() -> None:
    """A subscription that is not durable keeps nothing for the next one."""
    region = new_region()
    peer = Peer(region)
    peer.consume("k", TOPIC)
    peer.send("m1", TOPIC)
    settle(region)
    assert peer.client.ids("k") == ["m1"]
    peer.connection.remove_consumer("k")
    peer.consume("again", TOPIC)
    settle(region)
    assert peer.client.ids("again") == []


def test_a_durable_subscriber_gets_what_was_sent_while_it_was_away() -> None:
    """A durable subscription lasts beyond its consumer."""
    region = new_region()
    sender = Peer(region, "c0")
    peer = Peer(region, "c1", "client")
    assert durable(peer) > 0
    peer.connection.close()
    sender.send("m0", TOPIC)
    sender.send("volatile", TOPIC, persistent=False)
    sender.send("m1", TOPIC)
    again = Peer(region, "c2", "client")
    durable(again)
    settle(region)
    assert again.client.ids() == ["m0", "m1"]


def test_a_durable_subscription_survives_the_broker() -> None:
    """What a durable subscriber has not acknowledged is there after a takeover, in order."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    durable(peer)
    for index in range(3):
        peer.send(f"m{index}", TOPIC)
    settle(region)
    peer.acknowledge(peer.client.refs()[0])
    settle(region)
    after = restarted(region)
    again = Peer(after, "c1", "client")
    durable(again)
    settle(after)
    assert again.client.ids() == ["m1", "m2"]
    again.acknowledge(*again.client.refs())
    assert not after.store.state.topics[TOPIC.uri]


def test_unacknowledged_messages_of_a_durable_subscriber_come_again() -> None:
    """Closing without acknowledgement redelivers, first and in order."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    durable(peer)
    for index in range(3):
        peer.send(f"m{index}", TOPIC)
    settle(region)
    peer.connection.remove_consumer("k")
    durable(peer, "again")
    settle(region)
    assert peer.client.ids("again") == ["m0", "m1", "m2"]
    assert [counter for key, _, _, counter in peer.client.got if key == "again"] == [1, 1, 1]


def test_a_durable_subscription_needs_a_client_id() -> None:
    """Without one nobody could say whose it is."""
    with pytest.raises(InvalidClientId):
        durable(Peer(new_region()))


def test_an_active_subscription_has_one_consumer() -> None:
    """The second consumer of the same subscription is refused."""
    peer = Peer(new_region(), "c1", "client")
    durable(peer)
    with pytest.raises(RequestInvalid, match="in use"):
        durable(peer, "second")
    with pytest.raises(RequestInvalid, match="in use"):
        peer.connection.remove_subscription("sub")


def test_the_same_name_for_another_topic_is_a_new_subscription() -> None:
    """JMS: changing the topic ends the old subscription."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    durable(peer)
    peer.connection.remove_consumer("k")
    peer.send("old", TOPIC)
    other = Destination.topic("other")
    durable(peer, "k", "sub", other)
    peer.send("new", other)
    settle(region)
    assert peer.client.ids() == ["new"]
    assert not region.store.state.topics.get(TOPIC.uri)


def test_an_ended_subscription_keeps_nothing() -> None:
    """After unsubscribing nothing is held for it, and a second time is refused."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    durable(peer)
    peer.connection.remove_consumer("k")
    peer.send("m0", TOPIC)
    assert peer.connection.remove_subscription("sub") > 0
    assert not region.store.state.topics.get(TOPIC.uri)
    with pytest.raises(InvalidDestination, match="No durable subscription exists"):
        peer.connection.remove_subscription("sub")


def test_a_no_local_durable_subscriber_never_gets_its_own() -> None:
    """What its own client sent is acknowledged for it at once: it does not come after a restart either."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    peer.consume("k", TOPIC, subscription_name="sub", no_local=True)
    peer.send("own", TOPIC)
    settle(region)
    assert peer.client.ids() == []
    assert not region.store.state.topics.get(TOPIC.uri)


def test_durable_subscriptions_are_bounded() -> None:
    """A client cannot make subscriptions without end."""
    region = new_region(limits=RegionLimits(durable_subscriptions_max=1))
    peer = Peer(region, "c1", "client")
    durable(peer)
    with pytest.raises(ResourceExhausted):
        durable(peer, "k2", "sub2")


def test_a_topic_cannot_be_browsed() -> None:
    """Only queues have something to look at."""
    with pytest.raises(InvalidDestination, match="browsed"):
        Peer(new_region()).consume("k", TOPIC, browser=True)


def test_a_topic_message_is_stored_once_however_many_want_it() -> None:
    """Subscriptions share the message."""
    region = new_region()
    for index in range(3):
        durable(Peer(region, f"c{index}", f"client{index}"))
    Peer(region, "sender").send("m0", TOPIC)
    store = region.store
    assert isinstance(store, MemoryStore)
    assert sum(isinstance(record, AddMessage) for record in store.records()) == 1


def test_an_expired_message_is_not_given_to_a_subscriber() -> None:
    """Expiry is decided at dispatch, and a durable subscription keeps nothing of it."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    durable(peer)
    peer.send("old", TOPIC, expiration=1500)
    peer.send("young", TOPIC)
    region.advance(2000)
    settle(region)
    assert peer.client.ids() == ["young"]
    assert len(region.store.state.topics[TOPIC.uri]) == 1


def test_a_durable_subscribers_volatile_messages_are_counted_and_bounded() -> None:
    """Non-persistent messages for an active durable subscriber take bounded memory, and give it back."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000))
    peer = Peer(region, "c1", "client")
    durable(peer)
    for index in range(3):
        peer.send(f"n{index}", TOPIC, persistent=False)
    settle(region)
    assert peer.client.ids() == ["n0", "n1"]
    peer.acknowledge(peer.client.refs()[0])
    assert 0 < region.usage.volatile_bytes < 1000
    peer.connection.remove_consumer("k")
    peer.connection.remove_subscription("sub")
    assert region.usage.volatile_bytes == 0


def test_a_long_backlog_of_a_durable_subscriber_is_read_back_in_order() -> None:
    """What waits for an absent subscriber lies in the journal, not in memory."""
    region = new_region(limits=RegionLimits(resident_messages_max=1))
    peer = Peer(region, "c1", "client")
    durable(peer)
    for index in range(4):
        peer.send(f"m{index}", TOPIC)
    settle(region)
    assert peer.client.ids() == ["m0", "m1", "m2", "m3"]


def test_an_unreadable_message_does_not_stop_a_subscriber(caplog: pytest.LogCaptureFixture) -> None:
    """One damaged body is passed over, with a line in the log."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    durable(peer)
    peer.send("bad", TOPIC)
    peer.send("good", TOPIC)
    settle(region)
    store = region.store
    assert isinstance(store, MemoryStore)
    bad = store.batches[1][0]
    assert isinstance(bad, AddMessage)
    bad.body = b"rubbish"
    after = restarted(region)
    again = Peer(after, "c1", "client")
    durable(again)
    settle(after)
    assert again.client.ids() == ["good"]
    assert "cannot be read" in caplog.text


def test_a_temporary_topic_reaches_its_subscribers_and_ends_with_its_owner() -> None:
    """Temporary topics are never journaled."""
    region = new_region()
    owner, other = Peer(region, "c1"), Peer(region, "c2")
    temporary = Destination.parse("temp-topic://ID:c1:1")
    owner.consume("k", temporary)
    assert other.send("m1", temporary) == 0
    region.dispatch()
    assert owner.client.ids() == ["m1"]
    owner.connection.close()
    with pytest.raises(InvalidDestination):
        other.send("m2", temporary)


def test_a_topic_in_a_transaction_reaches_everybody_at_its_commit() -> None:
    """Topic sends wait for the commit as queue sends do."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    durable(peer)
    peer.consume("plain", TOPIC)
    peer.connection.begin("tx")
    peer.send("m1", TOPIC, transaction="tx")
    settle(region)
    assert peer.client.ids() == []
    peer.connection.commit("tx")
    settle(region)
    assert sorted(key for key, *_ in peer.client.got) == ["k", "plain"]


def test_a_topic_with_subscribers_is_not_deleted() -> None:
    """Deleting a topic needs its subscriptions gone."""
    region = new_region()
    peer = Peer(region)
    peer.consume("k", TOPIC)
    with pytest.raises(InvalidDestination, match="active subscription"):
        peer.connection.remove_destination(TOPIC)
    peer.connection.remove_consumer("k")
    assert peer.connection.remove_destination(TOPIC) == 0


def test_a_slow_subscriber_keeps_a_bounded_number_of_bytes() -> None:
    """Its oldest messages are discarded, the last one is kept however large it is, others lose nothing."""
    region = new_region(limits=RegionLimits(topic_pending_bytes_max=3000))
    peer = Peer(region)
    peer.consume("slow", TOPIC, prefetch_size=1)
    peer.consume("fast", TOPIC)
    names = [f"m{number}" for number in range(8)]
    for name in names:
        peer.send(name, TOPIC, persistent=False, body_bytes=500)
        region.dispatch()
    peer.send("large", TOPIC, persistent=False, body_bytes=9000)
    region.dispatch()
    while peer.connection.consumers["slow"].dispatched:
        take(region, peer, "slow")
    assert peer.client.ids("slow") == ["m0", "large"]
    assert peer.client.ids("fast") == [*names, "large"]
