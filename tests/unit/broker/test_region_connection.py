"""Transactions, temporary destinations, and the life of a connection."""

import pytest
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle

from broker.advisory import AboutDestination
from broker.destination import Destination
from broker.errors import (
    InvalidClientId,
    InvalidDestination,
    RequestInvalid,
    ResourceExhausted,
    TransactionUnknown,
)
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.routing import Forwards

TEMPORARY = Destination.parse("temp-queue://ID:c1:1")
ADVISORY = Destination.topic("ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic")


def test_a_transaction_is_seen_by_nobody_before_its_commit() -> None:
    """Sends wait for the commit, and then come in order."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.connection.begin("tx")
    peer.send("m0", transaction="tx")
    peer.send("m1", transaction="tx")
    settle(region)
    assert peer.client.ids() == []
    assert peer.connection.commit("tx") > 0
    settle(region)
    assert peer.client.ids() == ["m0", "m1"]


def test_a_commit_is_one_batch() -> None:
    """Sends and acknowledgements of a transaction are durable together or not at all."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("old")
    settle(region)
    store = region.store
    assert isinstance(store, MemoryStore)
    before = len(store.batches)
    peer.connection.begin("tx")
    peer.acknowledge(peer.client.refs()[0], transaction="tx")
    peer.send("new", transaction="tx")
    peer.send("topic", TOPIC, transaction="tx")
    region.target(TOPIC)
    assert len(store.batches) == before
    batch = peer.connection.commit("tx")
    assert len(store.batches) == before + 1 == batch
    assert len(store.state.queues[QUEUE.uri]) == 1


def test_what_a_transaction_sent_gets_its_numbers_at_the_commit() -> None:
    """P4: what is committed later stands behind what was sent meanwhile; a roll-back leaves no gap."""
    region = new_region()
    peer, other = Peer(region, "c1"), Peer(region, "c2")
    peer.connection.begin("late")
    other.connection.begin("gone")
    peer.send("m1", transaction="late")
    other.send("m0", transaction="gone")
    other.send("m2")
    peer.send("m3", transaction="late")
    other.connection.rollback("gone")
    peer.connection.commit("late")
    other.send("m4")
    first = region.next_ref - 4
    settle(region)
    after = Peer(restarted(region), "c3")
    after.consume("k")
    settle(after.connection.region)
    assert after.client.ids() == ["m2", "m1", "m3", "m4"]
    assert after.client.refs() == [first, first + 1, first + 2, first + 3]


def test_a_transaction_sends_to_where_its_destination_leads_at_the_commit() -> None:
    """What was made of a message while its queue led nowhere else is not used when it does by then."""
    region = new_region()
    peer = Peer(region)
    peer.connection.begin("tx")
    peer.send("m1", transaction="tx")
    further = Destination.queue("further")
    region.targets[QUEUE].forwards = Forwards(False, (further,), {})
    peer.connection.commit("tx")
    settle(region)
    queues = region.store.state.queues
    assert (len(queues[QUEUE.uri]), len(queues[further.uri])) == (0, 1)


def test_a_rolled_back_transaction_leaves_everything_as_it_was() -> None:
    """Its sends are forgotten, its messages are still the consumer's, to be acknowledged again."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    peer.connection.begin("tx")
    peer.acknowledge(peer.client.refs()[0], transaction="tx")
    peer.send("never", transaction="tx")
    peer.connection.rollback("tx")
    settle(region)
    assert peer.client.ids() == ["m0"]
    peer.acknowledge(peer.client.refs()[0])
    assert not region.store.state.queues[QUEUE.uri]


def test_a_consumer_closed_before_the_rollback_gives_its_messages_to_others() -> None:
    """Nothing is stuck in a transaction whose consumer is gone."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    peer.connection.begin("tx")
    peer.acknowledge(peer.client.refs()[0], transaction="tx")
    peer.connection.remove_consumer("k")
    peer.consume("other")
    settle(region)
    assert peer.client.ids("other") == []
    peer.connection.rollback("tx")
    settle(region)
    assert peer.client.got[-1][0] == "other"
    assert peer.client.got[-1][3] == 1


def test_a_consumer_closed_before_the_commit_has_consumed() -> None:
    """A transaction keeps what its closed consumer acknowledged."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    peer.connection.begin("tx")
    peer.acknowledge(peer.client.refs()[0], transaction="tx")
    peer.connection.remove_consumer("k")
    peer.connection.commit("tx")
    peer.consume("other")
    settle(region)
    assert peer.client.ids("other") == []
    assert not region.store.state.queues[QUEUE.uri]


def test_a_lost_connection_rolls_its_transactions_back() -> None:
    """What was acknowledged in an open transaction is delivered to somebody else."""
    region = new_region()
    peer, other = Peer(region, "c1"), Peer(region, "c2")
    peer.consume()
    peer.send("m0")
    settle(region)
    peer.connection.begin("tx")
    peer.acknowledge(peer.client.refs()[0], transaction="tx")
    peer.send("never", transaction="tx")
    peer.connection.close()
    other.consume()
    settle(region)
    assert other.client.ids() == ["m0"]


def test_a_transaction_beyond_the_prefetch_is_not_starved() -> None:
    """Messages acknowledged in an open transaction make room for as many more."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=1)
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    peer.connection.begin("tx")
    for index in range(3):
        peer.acknowledge(peer.client.refs()[index], transaction="tx")
        settle(region)
    assert peer.client.ids() == ["m0", "m1", "m2"]
    peer.connection.commit("tx")
    assert not region.store.state.queues[QUEUE.uri]


def test_a_transaction_that_acknowledges_what_it_was_not_given_is_refused() -> None:
    """After a failover a client cannot commit the consumption of messages that somebody else may have got."""
    peer = Peer(new_region())
    peer.consume()
    peer.connection.begin("tx")
    with pytest.raises(RequestInvalid, match="correlate"):
        peer.acknowledge(77, transaction="tx")


def test_an_unknown_transaction_is_refused() -> None:
    """Commit, rollback, send and acknowledgement need a transaction that is open."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    with pytest.raises(TransactionUnknown):
        peer.connection.commit("tx")
    with pytest.raises(TransactionUnknown):
        peer.connection.rollback("tx")
    with pytest.raises(TransactionUnknown):
        peer.send("m", transaction="tx")
    with pytest.raises(TransactionUnknown):
        peer.acknowledge(peer.client.refs()[0], transaction="tx")


def test_transactions_are_bounded_and_say_so() -> None:
    """A transaction past its limit is rolled back with a clear error; so are too many of them."""
    region = new_region(limits=RegionLimits(transaction_operations_max=2, transactions_per_connection_max=1))
    peer = Peer(region)
    peer.connection.begin("tx")
    peer.send("m0", transaction="tx")
    peer.send("m1", transaction="tx")
    with pytest.raises(ResourceExhausted, match="rolled back"):
        peer.send("m2", transaction="tx")
    with pytest.raises(TransactionUnknown):
        peer.connection.commit("tx")
    peer.connection.begin("a")
    with pytest.raises(ResourceExhausted):
        peer.connection.begin("b")


def test_a_commit_that_cannot_be_done_does_nothing() -> None:
    """One impossible send rolls all of it back, with the reason."""
    region = new_region(limits=RegionLimits(message_bytes_max=1000))
    peer = Peer(region)
    peer.connection.begin("tx")
    peer.send("small", transaction="tx")
    peer.send("x" * 1000, transaction="tx")
    with pytest.raises(ResourceExhausted):
        peer.connection.commit("tx")
    assert not region.store.state.queues.get(QUEUE.uri)
    with pytest.raises(TransactionUnknown):
        peer.connection.commit("tx")


def test_a_repeated_transaction_is_stored_once() -> None:
    """P3 holds for sends in transactions: the replay of a committed one adds nothing."""
    region = new_region()
    peer = Peer(region)
    peer.connection.begin("tx")
    peer.send("m0", transaction="tx", sequence=1)
    peer.connection.commit("tx")
    settle(region)
    after = restarted(region)
    again = Peer(after, failover_reconnect=True)
    again.connection.begin("tx")
    again.send("m0", transaction="tx", sequence=1)
    again.connection.commit("tx")
    assert len(after.store.state.queues[QUEUE.uri]) == 1


def test_temporary_destinations_end_with_their_connection() -> None:
    """They belong to one connection, are never journaled, and others may only send to them."""
    region = new_region()
    owner, other = Peer(region, "c1"), Peer(region, "c2")
    owner.connection.add_destination(TEMPORARY)
    owner.consume("k", TEMPORARY)
    assert other.send("reply", TEMPORARY) == 0
    region.dispatch()
    assert owner.client.ids() == ["reply"]
    with pytest.raises(InvalidDestination, match="another connection"):
        other.consume("thief", TEMPORARY)
    with pytest.raises(InvalidDestination, match="another connection"):
        other.connection.add_destination(TEMPORARY)
    owner.connection.close()
    with pytest.raises(InvalidDestination, match="does not exist"):
        other.send("late", TEMPORARY)


def test_advisory_consumers_hear_of_temporary_destinations() -> None:
    """Apache's clients learn which temporary destinations exist, before and after they ask."""
    region = new_region()
    owner, other = Peer(region, "c1"), Peer(region, "c2")
    owner.connection.add_destination(TEMPORARY)
    other.consume("advisory", ADVISORY)
    settle(region)
    assert other.client.advised == [AboutDestination(TEMPORARY, "c1", True)]
    owner.connection.remove_destination(TEMPORARY)
    settle(region)
    assert other.client.advised[-1] == AboutDestination(TEMPORARY, "c1", False)
    assert other.acknowledge(*other.client.refs(), key="advisory") == 0
    other.connection.remove_consumer("advisory")
    owner.connection.add_destination(TEMPORARY)
    settle(region)
    assert len(other.client.advised) == 2


def test_the_same_connection_id_again_replaces_the_old_connection() -> None:
    """A client that comes back before its old socket was seen dead is not refused."""
    region = new_region()
    old = Peer(region, "c1", "client")
    old.consume()
    old.send("m0")
    settle(region)
    new = Peer(region, "c1", "client")
    assert old.client.disconnected is not None
    assert old.connection.closed
    new.consume()
    settle(region)
    assert new.client.ids() == ["m0"]
    old.connection.close()
    assert region.connections["c1"] is new.connection
    assert region.client_ids["client"] is new.connection


def test_a_client_id_belongs_to_one_connection() -> None:
    """Another connection with the same client id is refused until the first is closed."""
    region = new_region()
    first = Peer(region, "c1", "client")
    with pytest.raises(InvalidClientId, match="already connected"):
        Peer(region, "c2", "client")
    first.connection.close()
    Peer(region, "c2", "client")


def test_a_destination_in_use_is_not_deleted() -> None:
    """Deleting a queue needs its consumers gone, and takes its messages with it."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    with pytest.raises(InvalidDestination, match="active subscription"):
        peer.connection.remove_destination(QUEUE)
    peer.connection.remove_consumer("k")
    assert peer.connection.remove_destination(QUEUE) > 0
    assert QUEUE.uri not in region.store.state.queues
    assert peer.connection.remove_destination(QUEUE) == 0


def test_unknown_consumers_are_ignored_or_named() -> None:
    """Removing twice is no error; pulling from nobody is."""
    peer = Peer(new_region())
    peer.connection.remove_consumer("nobody")
    with pytest.raises(RequestInvalid, match="nobody"):
        peer.connection.pull("nobody", 0)
    with pytest.raises(RequestInvalid, match="nobody"):
        peer.connection.set_prefetch("nobody", 5)


def test_a_larger_prefetch_takes_effect_at_once() -> None:
    """ConsumerControl changes how much a consumer gets."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=1)
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    peer.connection.set_prefetch("k", 3)
    settle(region)
    assert peer.client.ids() == ["m0", "m1", "m2"]


def test_producers_need_a_usable_destination() -> None:
    """A producer for a wildcard is refused when it is opened, not at its first send."""
    peer = Peer(new_region())
    peer.connection.add_producer("c1:1:1", QUEUE)
    peer.connection.add_producer("c1:1:2", None)
    with pytest.raises(InvalidDestination):
        peer.connection.add_producer("c1:1:3", Destination.queue("a.>"))
    peer.connection.remove_producer("c1:1:1")


@pytest.mark.parametrize("kind", [AckKind.UNMATCHED, AckKind.EXPIRED])
def test_expired_and_unmatched_messages_are_done_with(kind: AckKind) -> None:
    """What the client found expired or not selected is not kept."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    peer.acknowledge(peer.client.refs()[0], kind=kind)
    assert not region.store.state.queues[QUEUE.uri]


def test_what_a_client_redelivers_to_itself_counts_once() -> None:
    """As in ActiveMQ: the client counts its rollbacks, the broker the consumers that did not acknowledge."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    peer.acknowledge(peer.client.refs()[0], kind=AckKind.REDELIVERED)
    peer.connection.remove_consumer("k")
    peer.consume("again")
    settle(region)
    assert peer.client.got[-1][3] == 1


@pytest.mark.parametrize("name", ["x" * 5000, "\ud800"])
def test_names_that_the_journal_cannot_hold_are_refused(name: str) -> None:
    """Nothing a client calls itself can stop the journal."""
    region = new_region()
    with pytest.raises(RequestInvalid):
        Peer(region, name)
    with pytest.raises(InvalidClientId):
        Peer(region, "c1", name)
    with pytest.raises(RequestInvalid, match="subscription"):
        Peer(region, "c1", "client").consume("k", TOPIC, subscription_name=name)
