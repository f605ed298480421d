"""Messages that are due later: stored at once, delivered once for each time they are due."""

from collections import Counter
from typing import Any

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, restarted, settle
from support.scheduling import advance, schedule, store_of

from broker.destination import Destination
from broker.errors import InvalidDestination, RequestInvalid, ResourceExhausted
from broker.primitive_map import decode_map
from broker.region.limits import RegionLimits
from broker.region.queue import Queue
from broker.region.region import Region
from broker.region.schedule import READ_MAX, RETRY_MS, SENT_MAX, STALE_MAX, UNREADABLE_RETRY_MS
from broker.region.usage import UsageLimits
from journal.record import SCHEDULED, AddMessage, AddScheduled, RemoveMessage, Reschedule

MINUTE_MS = 60_000


def waiting(region: Region, destination: Destination = QUEUE) -> int:
    """How many messages wait in a queue."""
    queue = region.targets[destination]
    assert isinstance(queue, Queue)
    return queue.size


def properties(peer: Peer, number: int = -1) -> dict[str, Any]:
    """The properties of a message that a client got."""
    return decode_map(peer.client.messages[number].properties or b"") or {}


def test_a_message_comes_when_it_is_due_and_not_before() -> None:
    """It is in the journal and in no queue until then."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    batch = peer.send("m1", **schedule(delay=500, colour="red"))
    assert batch == region.last_batch
    assert region.deadline_ms == 1_500
    advance(region, 1_499)
    assert peer.client.got == []
    assert waiting(region) == 0
    advance(region, 1_500)
    assert peer.client.ids() == ["m1"]
    assert properties(peer) == {"colour": "red", "scheduledJobId": "c1:1:1:1"}
    assert len(region.schedule) == 0
    assert region.deadline_ms is None


def test_delivery_and_the_schedules_end_are_one_append() -> None:
    """No crash can lie between them."""
    region = new_region()
    Peer(region).send("m1", **schedule(delay=500))
    advance(region, 1_500)
    added, removed = store_of(region).batches[-1]
    assert isinstance(added, AddMessage)
    assert removed == RemoveMessage(1, SCHEDULED)


def test_a_message_is_repeated() -> None:
    """First after the delay, then so many times more, each a period later, with an id of its own."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", **schedule(delay=100, period=1_000, repeat=2))
    seen = []
    for now_ms in (1_099, 1_100, 2_099, 2_100, 3_100, 99_000):
        advance(region, now_ms)
        seen.append(len(peer.client.got))
    assert seen == [0, 1, 1, 2, 3, 3]
    assert len(set(peer.client.ids())) == 3
    assert {properties(peer, i)["scheduledJobId"] for i in range(3)} == {"c1:1:1:1"}
    assert [b[-1] for b in store_of(region).batches if isinstance(b[0], AddMessage)] == [
        Reschedule(1, 2_100, 1),
        Reschedule(1, 3_100, 0),
        RemoveMessage(1, SCHEDULED),
    ]


def test_without_a_delay_the_period_comes_first() -> None:
    """As in the original."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", **schedule(period=1_000, repeat=-1))
    advance(region, 1_999)
    assert peer.client.got == []
    advance(region, 6_000)
    assert len(peer.client.got) == 5
    assert len(region.schedule) == 1


def test_repetitions_without_a_period_come_at_once() -> None:
    """All at the same time, as many as there are in a turn."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", **schedule(delay=100, repeat=9))
    advance(region, 1_100)
    assert len(peer.client.got) == 10


def test_what_was_due_while_no_broker_served_is_sent_at_once_and_once() -> None:
    """Of the times that were missed only the last counts; the period goes on from now."""
    region = new_region()
    peer = Peer(region)
    peer.send("once", **schedule(delay=100))
    peer.send("often", **schedule(delay=100, period=1_000, repeat=-1))
    settle(region)
    again = restarted(region)
    peer = Peer(again)
    peer.consume()
    advance(again, 50_000)
    again.advance(50_000)
    first = len(peer.client.got)
    advance(again, 51_000)
    assert (peer.client.ids()[0], len(peer.client.got) - first) == ("once", 1)


def test_missed_times_of_a_repeated_message_are_one_delivery() -> None:
    """A broker that was away for an hour does not deliver an hour's repetitions."""
    region = new_region()
    Peer(region).send("m1", **schedule(delay=100, period=1_000, repeat=-1))
    settle(region)
    again = restarted(region)
    for _ in range(5):
        again.advance(3_600_000)
        settle(again)
    assert waiting(again) == 1
    assert again.deadline_ms == 3_601_000


def test_a_crash_before_the_delivery_is_durable_brings_the_schedule_back() -> None:
    """The new master sends it again, for the first time as far as anybody has seen."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", **schedule(delay=100))
    settle(region)
    region.advance(1_100)
    region.dispatch()
    assert peer.client.got == []
    again = restarted(region)
    peer = Peer(again)
    peer.consume()
    advance(again, 1_100)
    assert peer.client.ids() == ["m1"]
    again = restarted(again)
    assert (waiting(again), len(again.schedule)) == (1, 0)


def test_a_message_that_is_not_persistent_is_scheduled_all_the_same() -> None:
    """Its schedule is stored; once it is due it is a message like others that are not persistent."""
    region = new_region()
    assert Peer(region).send("m1", persistent=False, **schedule(delay=100)) == region.last_batch
    settle(region)
    again = restarted(region)
    peer = Peer(again)
    peer.consume()
    advance(again, 1_100)
    assert peer.client.ids() == ["m1"]
    assert not peer.client.messages[0].persistent
    assert len(again.store.state.queues[QUEUE.uri]) == 0


def test_a_volatile_delivery_waits_until_the_schedule_knows_of_it() -> None:
    """Or a master that was fenced meanwhile would deliver what its successor delivers, too."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", persistent=False, **schedule(delay=100))
    settle(region)
    region.advance(1_100)
    region.dispatch()
    assert peer.client.got == []
    settle(region)
    assert peer.client.ids() == ["m1"]


@pytest.mark.parametrize("persistent", [True, False])
def test_a_resent_message_is_scheduled_once(persistent: bool) -> None:
    """After a failover a producer sends again what was not acknowledged."""
    region = new_region()
    Peer(region).send("m1", persistent=persistent, sequence=7, **schedule(delay=100))
    settle(region)
    again = restarted(region)
    peer = Peer(again, failover_reconnect=True)
    peer.send("m1", persistent=persistent, sequence=7, **schedule(delay=100))
    peer.send("m2", persistent=persistent, sequence=8, **schedule(delay=100))
    assert len(again.schedule) == 2
    assert again.repeats_dropped == 1


def test_a_delivery_is_no_send_of_its_producer() -> None:
    """What the producer sent meanwhile is still known, and what it sends again is not taken for new."""
    region = new_region()
    peer = Peer(region)
    peer.send("m1", sequence=1, **schedule(delay=100))
    peer.send("m2", sequence=2)
    advance(region, 1_100)
    assert region.store.state.last_producer_sequence("c1:1:1") == 2


def test_a_transaction_schedules_when_it_commits() -> None:
    """The delay counts from the commit; a rollback schedules nothing."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    for transaction in ("t1", "t2"):
        peer.connection.begin(transaction)
        peer.send(f"later {transaction}", transaction=transaction, **schedule(delay=100))
        peer.send(f"now {transaction}", transaction=transaction)
    advance(region, 2_000)
    assert len(region.schedule) == 0
    peer.connection.rollback("t2")
    peer.connection.commit("t1")
    kinds = [type(record) for record in store_of(region).batches[-1]]
    assert kinds == [AddScheduled, AddMessage]
    advance(region, 2_099)
    assert peer.client.ids() == ["now t1"]
    advance(region, 2_100)
    assert peer.client.ids() == ["now t1", "later t1"]


def test_topics_composites_and_virtual_topics() -> None:
    """It goes wherever it would have gone, to those who are there when it is due."""
    region = new_region()
    peer = Peer(region, client_id="me")
    peer.send("topic", TOPIC, **schedule(delay=100))
    peer.send("both", Destination.queue("a,b"), **schedule(delay=100))
    peer.send("virtual", Destination.topic("VirtualTopic.X"), **schedule(delay=100))
    names = {
        "t": TOPIC,
        "a": Destination.queue("a"),
        "b": Destination.queue("b"),
        "v": Destination.queue("Consumer.A.VirtualTopic.X"),
    }
    for key, destination in names.items():
        peer.consume(key, destination)
    advance(region, 1_100)
    assert {key: peer.client.ids(key) for key in names} == {
        "t": ["topic"],
        "a": ["both"],
        "b": ["both"],
        "v": ["virtual"],
    }


def test_no_local_holds_for_what_its_connection_scheduled() -> None:
    """As long as that connection is there."""
    region = new_region()
    peer, other = Peer(region), Peer(region, "c2")
    peer.consume("k", TOPIC, no_local=True)
    other.consume("k", TOPIC, no_local=True)
    peer.send("m1", TOPIC, **schedule(delay=100))
    advance(region, 1_100)
    assert (peer.client.ids(), other.client.ids()) == ([], ["m1"])


def test_a_destination_that_is_gone_makes_a_dead_letter() -> None:
    """Nothing is lost because a temporary queue ended before the message was due."""
    region = new_region()
    owner, peer = Peer(region, "c2"), Peer(region)
    temporary = Destination.parse("temp-queue://c2:1")
    owner.connection.add_destination(temporary)
    peer.send("m1", temporary, **schedule(delay=100))
    owner.connection.close()
    advance(region, 1_100)
    assert waiting(region, Destination.queue("ActiveMQ.DLQ")) == 1
    assert len(region.schedule) == 0


def test_a_destination_that_cannot_be_is_refused_at_the_send() -> None:
    """A mistake is told to whoever made it, not found in a log when the message is due."""
    peer = Peer(new_region())
    for destination in (Destination.queue("a.>"), Destination.parse("temp-queue://nobody:1")):
        with pytest.raises(InvalidDestination):
            peer.send("m1", destination, **schedule(delay=100))


def test_a_schedule_that_is_none_is_refused_and_nothing_is_stored() -> None:
    """Within a transaction, too, whose other messages can still be committed."""
    region = new_region()
    peer = Peer(region)
    peer.connection.begin("t")
    peer.send("m1", transaction="t")
    for wrong in (schedule(delay="soon"), schedule(cron="61 * * * *"), schedule(delay=1, repeat=-1)):
        for transaction in (None, "t"):
            with pytest.raises(RequestInvalid):
                peer.send("m2", transaction=transaction, **wrong)
    peer.connection.commit("t")
    assert (len(region.schedule), waiting(region)) == (0, 1)


def test_a_broker_without_scheduler_delivers_at_once() -> None:
    """With `schedulerSupport=false` the properties mean nothing, and what was scheduled before stays."""
    region = new_region(policies={"schedulerSupport": "false"})
    peer = Peer(region)
    peer.consume()
    peer.send("m1", **schedule(delay=100))
    settle(region)
    assert properties(peer) == {"AMQ_SCHEDULED_DELAY": 100}
    enabled = new_region()
    Peer(enabled).send("m2", **schedule(delay=100))
    settle(enabled)
    disabled = restarted(enabled, policies={"schedulerSupport": "false"})
    advance(disabled, 9_000)
    assert (len(disabled.schedule), disabled.deadline_ms) == (1, None)


def test_an_expression_is_due_again_and_again() -> None:
    """At each of its minutes, and never twice in one."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", **schedule(cron="* * * * *"))
    advance(region, 3 * MINUTE_MS + 5)
    assert len(peer.client.got) == 3
    assert region.deadline_ms == 4 * MINUTE_MS
    assert len(set(peer.client.ids())) == 3


def test_an_expression_with_repetitions_begins_a_schedule_each_time() -> None:
    """The original's: the first of its times waits for the delay, and each begins with the delay."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", **schedule(delay=1_000, period=2_000, repeat=2, cron="* * * * *"))
    at: list[int] = []
    for now_ms in range(0, 3 * MINUTE_MS, 500):
        advance(region, max(now_ms, region.now_ms))
        at += [now_ms] * (len(peer.client.got) - len(at))
    first, second = MINUTE_MS + 2_000, 2 * MINUTE_MS + 1_000
    assert at == [first, first + 2_000, first + 4_000, second, second + 2_000, second + 4_000]
    assert len({properties(peer, i)["scheduledJobId"] for i in range(6)}) == 2
    assert all("AMQ_SCHEDULED_CRON" not in properties(peer, i) for i in range(6))


def test_times_to_live_begin_when_a_message_is_due() -> None:
    """A message that was to live for a minute is not dead when it comes after an hour."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m1", expiration=61_000, timestamp=1_000, **schedule(delay=3_600_000))
    advance(region, 3_601_000)
    assert peer.client.ids() == ["m1"]
    assert peer.client.messages[0].expiration == 3_661_000


def test_a_message_that_has_expired_may_be_scheduled() -> None:
    """Only what is delivered at once is dead on arrival."""
    region = new_region()
    peer = Peer(region)
    peer.send("m1", expiration=500, timestamp=400, **schedule(delay=100))
    assert len(region.schedule) == 1


# ---- limits


def test_there_may_be_so_many() -> None:
    """One more is refused with the limit, also at a commit; those before stay."""
    region = new_region(limits=RegionLimits(scheduled_max=2))
    peer = Peer(region)
    for each in ("m1", "m2"):
        peer.send(each, **schedule(delay=100))
    with pytest.raises(ResourceExhausted, match="2 scheduled"):
        peer.send("m3", **schedule(delay=100))
    peer.connection.begin("t")
    peer.send("m4", transaction="t", **schedule(delay=100))
    with pytest.raises(ResourceExhausted, match="2 scheduled"):
        peer.connection.commit("t")
    advance(region, 1_100)
    peer.send("m5", **schedule(delay=100))
    assert len(region.schedule) == 1


def test_a_message_that_could_not_be_delivered_is_refused() -> None:
    """What is too large by the time it is due is too large when it is sent."""
    region = new_region(limits=RegionLimits(message_bytes_max=4_000))
    peer = Peer(region)
    with pytest.raises(ResourceExhausted, match="if scheduled the limit is 2976"):
        peer.send("m1", body_bytes=3_000, **schedule(delay=100))
    peer.send("m2", body_bytes=2_500, **schedule(delay=100))
    advance(region, 1_100)
    assert waiting(region) == 1


def test_many_that_are_due_at_once_are_sent_in_turns() -> None:
    """A turn sends so many; between turns others are heard, and the order stays."""
    region = new_region()
    peer = Peer(region)
    for number in range(SENT_MAX + 10):
        peer.send(f"m{number}", **schedule(delay=100))
    peer.send("first", **schedule(delay=50))
    region.advance(1_100)
    assert waiting(region) == SENT_MAX
    assert region.deadline_ms == 1_100
    region.advance(1_100)
    assert waiting(region) == SENT_MAX + 11
    peer.consume(prefetch_size=10_000)
    settle(region)
    assert peer.client.ids() == ["first", *(f"m{number}" for number in range(SENT_MAX + 10))]


def test_a_large_schedule_is_read_in_turns() -> None:
    """A new master serves at once, however much is scheduled, and sends when it knows what is first."""
    count = 2 * READ_MAX + 5
    body = store_of(scheduled_region(1)).bodies[1]
    records = [AddScheduled(ref, "", 0, body, 2_000 + count - ref, 0) for ref in range(1, count + 1)]
    region = new_region(records)
    turns = 0
    while region.deadline_ms == region.now_ms:
        region.advance(region.now_ms)
        turns += 1
    assert turns in (3, 4)
    assert region.deadline_ms == 2_000


def scheduled_region(count: int) -> Region:
    """A region with so many scheduled messages."""
    region = new_region()
    peer = Peer(region)
    for number in range(count):
        peer.send(f"m{number}", **schedule(delay=100 + number))
    settle(region)
    return region


def test_what_is_sent_while_the_schedule_is_read_is_sent_once() -> None:
    """It is in the index that is read, and known already."""
    again = restarted(scheduled_region(3))
    peer = Peer(again)
    peer.consume()
    peer.send("new", **schedule(delay=100))
    advance(again, 2_000)
    assert Counter(peer.client.ids()) == Counter(["m0", "m1", "m2", "new"])


def test_cancelled_messages_leave_nothing_behind() -> None:
    """Scheduling and cancelling for ever takes no more memory than what is scheduled."""
    region = new_region()
    peer = Peer(region)
    for number in range(3 * STALE_MAX):
        peer.send("m", sequence=number + 1, **schedule(delay=10**9))
        region.schedule.remove_refs([region.next_ref - 1])
        assert len(region.schedule._heap) <= STALE_MAX + 2
    peer.send("last", **schedule(delay=100))
    advance(region, 1_100)
    assert waiting(region) == 1


# ---- a disk that is full, slow or damaged


def test_a_full_disk_gets_one_a_second() -> None:
    """What cannot be consumed before it is delivered may be what has to go to make space."""
    region = new_region()
    peer = Peer(region)
    for number in range(5):
        peer.send(f"m{number}", **schedule(delay=100))
    settle(region)
    store_of(region).full = True
    region.advance(2_000)
    region.advance(2_000 + RETRY_MS - 1)
    assert waiting(region) == 1
    region.advance(2_000 + RETRY_MS)
    assert waiting(region) == 2
    store_of(region).full = False
    advance(region, 2_000 + 2 * RETRY_MS)
    assert waiting(region) == 5


def test_a_disk_that_is_behind_gets_none() -> None:
    """A moment later it has caught up."""
    region = new_region()
    Peer(region).send("m1", **schedule(delay=100))
    store_of(region).is_behind = True
    region.advance(1_100)
    assert waiting(region) == 0
    store_of(region).is_behind = False
    advance(region, 1_100 + RETRY_MS)
    assert waiting(region) == 1


def test_a_used_up_store_holds_no_delivery_up() -> None:
    """Scheduled messages count as used; if they had to wait for space there would never be any."""
    region = new_region(usage=UsageLimits(store_bytes_max=2, refuse_at_once=True))
    peer = Peer(region)
    for each in ("m1", "m2"):
        peer.send(each, **schedule(delay=100))
    region.dispatch()
    with pytest.raises(ResourceExhausted, match="storeUsage"):
        peer.send("m3", **schedule(delay=100))
    advance(region, 1_100)
    assert waiting(region) == 2


def test_a_message_that_is_damaged_is_passed_over() -> None:
    """The journal gives it up; the others are delivered."""
    region = scheduled_region(2)
    store = store_of(region)
    store.bodies[1] = b"\xff damaged"
    advance(region, 1_500)
    assert waiting(region) == 1
    assert len(region.schedule) == 1
    assert region.deadline_ms is not None
    assert region.deadline_ms >= 2_100
    store.append([RemoveMessage(1, SCHEDULED)])
    advance(region, 2 * UNREADABLE_RETRY_MS)
    assert region.deadline_ms is None
