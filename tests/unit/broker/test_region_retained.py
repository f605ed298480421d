"""Retained messages are in the journal: they survive masters, and are stored with what retains them."""

from typing import Any

import pytest
from support.region import TOPIC, MemoryStore, Peer, new_region, settle

from broker.destination import Destination
from broker.errors import RequestInvalid
from broker.primitive_map import encode_map
from broker.properties import properties_of
from broker.region import retained
from broker.region.region import Region
from broker.region.riders import in_one_append
from journal.record import AddMessage, AddScheduled, AddSubscription, Note, Record, RemoveDestination

RETAIN: dict[str, Any] = {"properties": encode_map({"ActiveMQ.Retain": True})}
PLACE = "retained://prices"


def store_of(region: Region) -> MemoryStore:
    """The region's journal."""
    assert isinstance(region.store, MemoryStore)
    return region.store


def retaining(*names: str, topic: Destination = TOPIC, **fields: object) -> Region:
    """A region to whose topic these messages were sent, each to be retained."""
    region = new_region()
    peer = Peer(region, "sender")
    for name in names:
        peer.send(name, topic, **{**RETAIN, **fields})
    settle(region)
    return region


def successor(region: Region) -> Region:
    """The next master over the same journal."""
    return new_region(store_of(region).records())


def got(region: Region, topic: Destination = TOPIC, **options: object) -> list[str]:
    """What a retroactive consumer gets."""
    peer = Peer(region, f"late {len(region.connections)}", f"client {len(region.connections)}")
    peer.consume("k", topic, retroactive=True, **options)
    settle(region)
    return peer.client.ids()


def test_the_next_master_knows_it() -> None:
    """With its topic, and only the last one."""
    region = successor(retaining("m0", "m1"))
    assert got(region) == ["m1"]
    assert len(region.retained) == 1


def test_a_wildcard_finds_topics_that_nobody_has_used_since() -> None:
    """Consumers and durable subscriptions to wildcards get what these topics retain."""
    region = retaining("m0", topic=Destination.topic("a.b"))
    assert got(successor(region), Destination.topic("a.>")) == ["m0"]
    assert got(successor(region), Destination.topic(">"), subscription_name="s") == ["m0"]
    assert got(successor(region), Destination.topic("b.>")) == []


def test_a_topic_that_was_deleted_still_retains() -> None:
    """A wildcard makes it again."""
    region = retaining("m0", topic=Destination.topic("a.b"))
    region.delete([region.targets[Destination.topic("a.b")]])
    assert got(region, Destination.topic("a.*")) == ["m0"]


def test_the_message_and_what_is_retained_are_one_append() -> None:
    """A crash finds both or none; so it is when the retained message goes."""
    region = retaining("m0", "m1")
    kinds = [[type(record) for record in batch] for batch in store_of(region).batches]
    assert [kind.count(AddMessage) for kind in kinds] == [2, 2]
    peer = Peer(region)
    message = peer.message("m2", TOPIC, **RETAIN)
    message.body = b""
    peer.connection.send(message)
    batch = store_of(region).batches[-1]
    assert RemoveDestination(PLACE) in batch
    assert any(isinstance(record, AddMessage) for record in batch)
    assert PLACE not in region.store.state.queues
    assert len(region.retained) == 0


def test_what_is_not_persistent_is_retained_too() -> None:
    """It is stored, although its sender does not wait for that."""
    region = successor(retaining("m0", persistent=False))
    assert got(region) == ["m0"]


def test_a_durable_subscription_gets_a_copy_of_its_own() -> None:
    """It waits for it under the next master, marked as retained; other subscriptions do not see it."""
    region = retaining("m0")
    peer = Peer(region, "c", "client")
    peer.consume("other", TOPIC, subscription_name="other")
    peer.consume("k", TOPIC, subscription_name="s")
    batch = region.retained.offer(peer.connection.consumers["k"])
    assert batch == len(store_of(region).batches)
    settle(region)
    assert peer.client.ids("k") == ["m0"]
    assert peer.client.ids("other") == []
    peer = Peer(successor(region), "c", "client")
    peer.consume("k", TOPIC, subscription_name="s")
    settle(peer.region)
    assert peer.client.ids() == ["m0"]
    assert properties_of(peer.client.messages[0])["ActiveMQ.Retained"] is True


def test_consumers_that_are_not_durable_get_it_from_memory() -> None:
    """Of one topic, or of all that a wildcard names."""
    region = retaining("m0", topic=Destination.topic("a.b"))
    peer = Peer(region)
    for key, name in (("one", "a.b"), ("all", "a.*"), ("none", "b.*")):
        peer.consume(key, Destination.topic(name))
        assert region.retained.offer(peer.connection.consumers[key]) == 0
    settle(region)
    assert {(key, name) for key, name, _, _ in peer.client.got} == {("one", "m0"), ("all", "m0")}


def test_it_goes_when_its_time_is_over() -> None:
    """Whether somebody asks for it or not."""
    region = retaining("m0", expiration=2000)
    assert got(region) == ["m0"]
    region.advance(2000)
    assert got(region) == []
    assert PLACE not in region.store.state.queues
    region = successor(retaining("m0", expiration=2000))
    region.targets.clear()
    Peer(region).send("m1", Destination.topic("other"))
    region.advance(100_000)
    assert PLACE not in region.store.state.queues
    assert len(region.retained) == 0


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message above it is sent and not retained; one topic can still retain another."""
    monkeypatch.setattr(retained, "RETAINED_MAX", 1)
    region = retaining("m0")
    peer = Peer(region, "more")
    peer.send("m1", Destination.topic("other"), **RETAIN)
    assert got(region, Destination.topic("other")) == []
    peer.send("m2", TOPIC, **RETAIN)
    assert got(region) == ["m2"]


def test_a_temporary_topic_retains_nothing() -> None:
    """It ends with its connection."""
    region = new_region()
    topic = Destination.parse("temp-topic://x")
    peer = Peer(region)
    region.add_temporary(topic, peer.connection)
    peer.send("m0", topic, **RETAIN)
    assert len(region.retained) == 0


# ---- riders


def note_batches(region: Region) -> list[list[type[Record]]]:
    """The kinds of records of the batches that have a note."""
    batches = store_of(region).batches
    return [[type(each) for each in batch] for batch in batches if Note("o", "k", b"v") in batch]


def test_a_record_rides_with_a_message() -> None:
    """It is in the batch of the message, not in that of a queue that is made on the way."""
    region = new_region()
    peer = Peer(region)
    batch = in_one_append(region, [Note("o", "k", b"v")], lambda: peer.send("m0"))
    assert batch == len(store_of(region).batches)
    assert note_batches(region) == [[Note, AddMessage]]


def test_a_record_is_stored_also_if_the_message_is_not() -> None:
    """A message that is not persistent has no batch."""
    region = new_region()
    peer = Peer(region)
    peer.send("first")
    batch = in_one_append(region, [Note("o", "k", b"v")], lambda: peer.send("m0", persistent=False))
    assert batch == len(store_of(region).batches)
    assert note_batches(region) == [[Note]]


def test_a_record_goes_with_a_refused_message() -> None:
    """Nothing is stored, and the next message is alone."""
    region = new_region()
    peer = Peer(region)

    def refuse() -> int:
        raise RequestInvalid("no")

    with pytest.raises(RequestInvalid):
        in_one_append(region, [Note("o", "k", b"v")], refuse)
    peer.send("m0")
    assert note_batches(region) == []


def test_a_record_rides_with_a_scheduled_message_and_an_acknowledgement() -> None:
    """Whatever stores or removes a message."""
    region = new_region()
    peer = Peer(region, client_id="c")
    later = {"properties": encode_map({"AMQ_SCHEDULED_DELAY": 1000})}
    in_one_append(region, [Note("o", "k", b"v")], lambda: peer.send("m0", **later))
    assert note_batches(region) == [[Note, AddScheduled]]
    region = new_region([AddSubscription("c", "s", TOPIC.uri, "", False)])
    peer = Peer(region, client_id="c")
    peer.consume("k", TOPIC, subscription_name="s")
    peer.send("m1", TOPIC)
    settle(region)
    in_one_append(region, [Note("o", "k", b"v")], lambda: peer.acknowledge(*peer.client.refs()))
    assert [len(each) for each in note_batches(region)] == [2]
