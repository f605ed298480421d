"""Queues: order, acknowledgement, prefetch, redelivery, fairness."""

import pytest
from support.region import QUEUE, MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.errors import RequestInvalid, ResourceExhausted
from broker.region.consumer import DELIVERED_NONE, AckKind
from broker.region.limits import RegionLimits
from broker.region.usage import UsageLimits
from journal.errors import MessageDamaged
from journal.record import RemoveMessage


def test_a_persistent_message_is_dispatched_only_when_its_batch_is_durable() -> None:
    """What a crash could still lose is not shown to anybody."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    batch = peer.send("m1")
    region.dispatch()
    assert peer.client.ids() == []
    region.durable(batch - 1)
    region.dispatch()
    assert peer.client.ids() == []
    region.durable(batch)
    region.dispatch()
    assert peer.client.ids() == ["m1"]


def test_a_non_persistent_message_is_dispatched_at_once_and_not_journaled() -> None:
    """Non-persistent traffic waits for no disk."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    settle(region)
    batches = len(region.store.batches)
    assert peer.send("m1", persistent=False) == 0
    region.dispatch()
    assert peer.client.ids() == ["m1"]
    assert len(region.store.batches) == batches


def test_a_non_persistent_message_does_not_overtake_a_persistent_one() -> None:
    """One producer's messages keep their order whatever their delivery mode."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1")
    peer.send("m2", persistent=False)
    region.dispatch()
    assert peer.client.ids() == []
    settle(region)
    assert peer.client.ids() == ["m1", "m2"]


def test_the_prefetch_bounds_what_is_dispatched() -> None:
    """A consumer holds at most its prefetch, and gets one more per acknowledgement."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=2)
    for index in range(4):
        peer.send(f"m{index}")
    settle(region)
    assert peer.client.ids() == ["m0", "m1"]
    peer.acknowledge(peer.client.refs()[0])
    settle(region)
    assert peer.client.ids() == ["m0", "m1", "m2"]


def test_delivered_acknowledgements_widen_the_prefetch() -> None:
    """A client that holds messages in a transaction or for client acknowledgement is not starved."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=2)
    for index in range(4):
        peer.send(f"m{index}")
    settle(region)
    peer.acknowledge(*peer.client.refs()[:2], kind=AckKind.DELIVERED)
    settle(region)
    assert peer.client.ids() == ["m0", "m1", "m2", "m3"]


def test_a_range_acknowledges_all_from_first_to_last() -> None:
    """A standard acknowledgement covers a range in order of dispatch."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    for index in range(5):
        peer.send(f"m{index}")
    settle(region)
    refs = peer.client.refs()
    peer.acknowledge(refs[1], refs[3])
    assert list(region.store.state.queues[QUEUE.uri]) == [refs[0], refs[4]]


def test_a_range_without_first_begins_at_the_oldest() -> None:
    """Clients that leave the first id out mean everything up to the last."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    refs = peer.client.refs()
    peer.acknowledge(0, refs[1])
    assert list(region.store.state.queues[QUEUE.uri]) == [refs[2]]


def test_an_individual_acknowledgement_covers_one() -> None:
    """Individual acknowledgement leaves the older ones alone."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    refs = peer.client.refs()
    peer.acknowledge(0, refs[1], kind=AckKind.INDIVIDUAL)
    assert list(region.store.state.queues[QUEUE.uri]) == [refs[0], refs[2]]


def test_message_ids_do_where_refs_are_not_echoed() -> None:
    """A client that does not send the broker's number back is understood by the message id."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    refs = peer.client.refs()
    peer.connection.acknowledge("k", AckKind.STANDARD, 0, 0, first_id="m0", last_id="m1")
    assert list(region.store.state.queues[QUEUE.uri]) == [refs[2]]


def test_closing_a_consumer_redelivers_in_order_with_a_counter() -> None:
    """What was dispatched and not acknowledged comes again, first, in order, flagged as redelivered."""
    region = new_region()
    first, second = Peer(region, "c1"), Peer(region, "c2")
    first.consume(prefetch_size=3)
    for index in range(5):
        first.send(f"m{index}")
    settle(region)
    first.acknowledge(first.client.refs()[0])
    settle(region)
    first.connection.close()
    second.consume()
    settle(region)
    assert second.client.ids() == ["m1", "m2", "m3", "m4"]
    assert [counter for *_, counter in second.client.got] == [1, 1, 1, 0]


@pytest.mark.parametrize(("delivered", "counters"), [(0, [1, 1, 1]), (DELIVERED_NONE, [0, 0, 0])])
def test_the_last_delivered_ref_decides_what_counts_as_redelivered(
    delivered: int, counters: list[int]
) -> None:
    """With nothing known all count, with nothing delivered none."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    peer.connection.remove_consumer("k", delivered)
    peer.consume("again")
    settle(region)
    assert [counter for key, _, _, counter in peer.client.got if key == "again"] == counters


def test_messages_after_the_last_delivered_one_are_not_redelivered() -> None:
    """Prefetched messages that the application never saw keep their counter."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    peer.connection.remove_consumer("k", peer.client.refs()[1])
    peer.consume("again")
    settle(region)
    assert [counter for key, _, _, counter in peer.client.got if key == "again"] == [1, 1, 0]


def test_consumers_are_served_in_turn() -> None:
    """Two consumers with room get every other message each."""
    region = new_region()
    peer = Peer(region)
    peer.consume("a")
    peer.consume("b")
    for index in range(6):
        peer.send(f"m{index}")
    settle(region)
    assert peer.client.ids("a") == ["m0", "m2", "m4"]
    assert peer.client.ids("b") == ["m1", "m3", "m5"]


def test_interleaved_consumers_give_back_in_order() -> None:
    """Messages that two consumers held between them come to the third in the order sent."""
    region = new_region()
    peer = Peer(region)
    peer.consume("a", prefetch_size=3)
    peer.consume("b", prefetch_size=3)
    for index in range(8):
        peer.send(f"m{index}")
    settle(region)
    peer.connection.remove_consumer("a")
    peer.connection.remove_consumer("b")
    peer.consume("c")
    settle(region)
    assert peer.client.ids("c") == [f"m{index}" for index in range(8)]


def test_a_pull_consumer_gets_one_message_per_pull() -> None:
    """With prefetch 0 nothing comes unasked."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=0)
    peer.send("m0")
    peer.send("m1")
    settle(region)
    assert peer.client.ids() == []
    peer.connection.pull("k", 0)
    settle(region)
    assert peer.client.ids() == ["m0"]


def test_a_pull_times_out_with_no_message() -> None:
    """A pull's timeout is answered, once, when it is over."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=0)
    peer.connection.pull("k", 500)
    region.dispatch()
    assert region.deadline_ms == 1500
    region.advance(1499)
    assert peer.client.none == []
    region.advance(1500)
    region.advance(9999)
    assert peer.client.none == ["k"]


def test_a_pull_without_waiting_is_answered_at_once() -> None:
    """Timeout -1 asks for what is there."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=0)
    peer.connection.pull("k", -1)
    assert peer.client.none == ["k"]
    peer.send("m0")
    settle(region)
    peer.connection.pull("k", -1)
    assert peer.client.ids() == ["m0"]


def test_many_served_pulls_leave_no_timers_behind() -> None:
    """A client that polls with long timeouts costs one timer, not one per poll."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=0)
    for index in range(100):
        peer.send(f"m{index}")
        peer.connection.pull("k", 60_000)
        settle(region)
    assert len(peer.client.got) == 100
    assert len(region.pulls._timers) == 1


def test_an_expired_message_is_not_dispatched_and_leaves_the_journal() -> None:
    """Expiry is decided at dispatch."""
    region = new_region()
    peer = Peer(region)
    peer.send("old", expiration=1500)
    peer.send("young", expiration=2500)
    settle(region)
    region.advance(2000)
    peer.consume()
    settle(region)
    assert peer.client.ids() == ["young"]
    assert len(region.store.state.queues[QUEUE.uri]) == 1


def test_a_poison_message_goes_to_the_dead_letter_queue() -> None:
    """What an application cannot process is kept where somebody can look at it."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("bad")
    settle(region)
    peer.acknowledge(peer.client.refs()[0], kind=AckKind.POISON)
    peer.consume("dlq", Destination.queue("ActiveMQ.DLQ"))
    settle(region)
    assert peer.client.ids("dlq") == ["bad"]
    assert not region.store.state.queues[QUEUE.uri]


def test_a_browser_sees_everything_and_takes_nothing() -> None:
    """Browsing shows waiting and dispatched messages in order, ends, and consumes none."""
    region = new_region()
    peer = Peer(region)
    peer.consume("taker", prefetch_size=1)
    for index in range(3):
        peer.send(f"m{index}")
    settle(region)
    peer.consume("browser", browser=True, prefetch_size=2)
    settle(region)
    assert peer.client.ids("browser") == ["m0", "m1"]
    peer.acknowledge(*peer.client.refs("browser"), key="browser")
    settle(region)
    assert peer.client.ids("browser") == ["m0", "m1", "m2"]
    assert peer.client.none == ["browser"]
    assert len(region.store.state.queues[QUEUE.uri]) == 3


def test_a_paused_connection_gets_nothing_until_it_is_replenished() -> None:
    """A client that does not read stops being dispatched to after a bounded number of bytes."""
    region = new_region(limits=RegionLimits(dispatch_bytes_max=2000))
    peer = Peer(region)
    peer.consume()
    for index in range(10):
        peer.send(f"m{index}")
    settle(region)
    assert len(peer.client.got) == 4
    peer.connection.replenish()
    region.dispatch()
    assert len(peer.client.got) == 8
    peer.connection.pause()
    peer.connection.replenish()
    region.dispatch()
    assert peer.client.ids() == [f"m{index}" for index in range(10)]


def test_a_restarted_broker_has_what_was_durable_and_not_acknowledged() -> None:
    """A new master serves exactly the unconsumed messages, in order."""
    region = new_region()
    peer = Peer(region)
    peer.consume(prefetch_size=2)
    for index in range(4):
        peer.send(f"m{index}")
    settle(region)
    peer.acknowledge(peer.client.refs()[0])
    settle(region)
    after = restarted(region)
    again = Peer(after)
    again.consume()
    settle(after)
    assert again.client.ids() == ["m1", "m2", "m3"]
    again.send("m4")
    settle(after)
    assert again.client.ids()[-1] == "m4"


def test_a_repeat_after_a_failover_is_stored_once_and_acknowledged() -> None:
    """P3: a send that the old master had stored is dropped, whoever the new master is."""
    region = new_region()
    peer = Peer(region)
    peer.send("m0", sequence=1)
    peer.send("m1", sequence=2)
    settle(region)
    after = restarted(region)
    again = Peer(after, failover_reconnect=True)
    assert again.send("m1", sequence=2) == 0
    assert again.send("m2", sequence=3) > 0
    again.consume()
    settle(after)
    assert again.client.ids() == ["m0", "m1", "m2"]


def test_a_repeat_to_the_same_master_waits_for_the_original() -> None:
    """A repeat whose original is not durable yet is not acknowledged before it."""
    region = new_region()
    peer = Peer(region)
    batch = peer.send("m0", sequence=1)
    again = Peer(region, failover_reconnect=True)
    assert again.send("m0", sequence=1) >= batch
    assert len(region.store.state.queues[QUEUE.uri]) == 1


def test_without_failover_reconnect_nothing_is_taken_for_a_repeat() -> None:
    """A producer that starts its numbers anew, on a connection of its own, loses nothing."""
    region = new_region()
    peer = Peer(region)
    peer.send("m0", sequence=5)
    peer.send("m1", sequence=1)
    assert len(region.store.state.queues[QUEUE.uri]) == 2


def test_messages_beyond_the_resident_limit_are_read_back() -> None:
    """Long queues cost memory once, in the journal's index."""
    region = new_region(limits=RegionLimits(resident_messages_max=2))
    peer = Peer(region)
    for index in range(5):
        peer.send(f"m{index}")
    peer.consume()
    settle(region)
    assert peer.client.ids() == [f"m{index}" for index in range(5)]
    assert [message.body for message in peer.client.messages][4] == b"m4"


def test_the_same_consumer_key_twice_is_refused() -> None:
    """A consumer id names one consumer."""
    peer = Peer(new_region())
    peer.consume()
    with pytest.raises(RequestInvalid):
        peer.consume()


def test_limits_are_enforced_with_a_clear_error() -> None:
    """What a client can make grow ends at a named limit."""
    region = new_region(
        limits=RegionLimits(
            destinations_max=1,
            consumers_per_connection_max=1,
            message_bytes_max=1000,
            producers_per_connection_max=0,
        ),
        usage=UsageLimits(memory_bytes_max=500, flow_control=False),
    )
    peer = Peer(region)
    peer.consume()
    with pytest.raises(ResourceExhausted, match="at most 1 consumers"):
        peer.consume("second")
    with pytest.raises(ResourceExhausted, match="at most 1 destinations"):
        peer.send("m", Destination.queue("other"))
    with pytest.raises(ResourceExhausted, match="bytes; the limit is 1000"):
        peer.send("x" * 1000)
    with pytest.raises(ResourceExhausted, match="at most 0 producers"):
        peer.connection.add_producer("p", None)
    peer.send("n1", persistent=False)
    with pytest.raises(ResourceExhausted, match="memoryUsage, 500 bytes"):
        peer.send("n2", persistent=False)


def test_memory_of_non_persistent_messages_is_given_back() -> None:
    """Consumed, deleted or owned by a gone connection: the memory counts as free again."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("n1", persistent=False)
    region.dispatch()
    assert region.usage.volatile_bytes > 0
    peer.acknowledge(peer.client.refs()[0])
    assert region.usage.volatile_bytes == 0
    temporary = Destination.parse("temp-queue://ID:c1:1")
    peer.connection.add_destination(temporary)
    peer.send("t1", temporary)
    assert region.usage.volatile_bytes > 0
    peer.connection.close()
    assert region.usage.volatile_bytes == 0


def test_an_acknowledgement_of_something_else_is_ignored() -> None:
    """After a failover clients acknowledge what this broker never dispatched to them."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    assert peer.acknowledge(99) == 0
    assert peer.acknowledge(99, key="unknown") == 0


def test_an_unreadable_message_is_passed_over_and_stays_in_the_journal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One damaged body stops neither the queue nor the broker."""
    region = new_region()
    peer = Peer(region)
    peer.send("m0")
    peer.send("m1")
    settle(region)
    store = region.store
    assert isinstance(store, MemoryStore)
    store.batches[1][0].body = b"rubbish"
    after = restarted(region)
    again = Peer(after)
    again.consume()
    settle(after)
    assert again.client.ids() == ["m1"]
    assert "cannot be read" in caplog.text
    assert len(after.store.state.queues[QUEUE.uri]) == 2


def test_a_message_that_the_journal_has_given_up_is_passed_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has told what is damaged; the queue goes on with the next message."""
    region = new_region()
    peer = Peer(region)
    for message_id in ("m0", "m1", "m2"):
        peer.send(message_id)
    settle(region)
    after = restarted(region)
    store = after.store
    read = store.read
    first = min(store.state.queues[QUEUE.uri])

    def give_up(ref: int, destination: str) -> bytes:
        body = read(ref, destination)
        if ref == first:
            store.append([RemoveMessage(ref, destination)])
            raise MessageDamaged(f"message {ref} is lost")
        return body

    monkeypatch.setattr(store, "read", give_up)
    again = Peer(after)
    again.consume(prefetch_size=1)
    settle(after)
    assert again.client.ids() == ["m1"]
    assert first not in store.state.queues[QUEUE.uri]
    assert "passed over" not in caplog.text
