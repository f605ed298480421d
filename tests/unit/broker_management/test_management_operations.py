"""What management changes: each thing once, durable when it says so, and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.management import all_messages, finished, ids, managed, send_text
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle

from broker.destination import Destination, DestinationKind
from broker.management.errors import (
    NotFound,
    NotPermitted,
    NotPossible,
    RequestMalformed,
    SelectorInvalid,
    TooMany,
)
from broker.management.jobs import KEPT_MAX, RUNNING_MAX, Caller
from broker.management.requests import (
    BrowseRequest,
    ConnectionRequest,
    DestinationRequest,
    JobRequest,
    ListRequest,
    MoveRequest,
    Nothing,
    QueueRequest,
    SelectRequest,
    SendRequest,
    SubscriptionRequest,
)
from broker.management.transfers import UNREAD_STEP
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.region.usage import UsageLimits

OTHER = Destination.queue("other")
DLQ = Destination.queue("ActiveMQ.DLQ")
LIMITS = RegionLimits(resident_messages_max=3)


def filled(count: int = 6, *, persistent: bool = True, limits: RegionLimits | None = None) -> Region:
    """A region whose queue holds m0, m1, …; every other one of type `odd`."""
    region = new_region(limits=limits)
    peer = Peer(region, "filler")
    for number in range(count):
        peer.send(f"m{number}", persistent=persistent, type="odd" if number % 2 else None)
    settle(region)
    return region


# Purging


@pytest.mark.parametrize("persistent", [True, False])
def test_a_queue_is_purged(persistent: bool) -> None:
    """Nothing waits any more, in memory or in the journal; the queue stays."""
    region = filled(persistent=persistent)
    _, operator = managed(region)
    info = finished(region, operator.purge(SelectRequest(QUEUE.name)))
    assert (info.state, info.changed, info.looked_at, info.total) == ("done", 6, 6, 6)
    assert ids(operator) == []
    assert region.usage.memory_bytes == 0
    assert QUEUE in restarted(region).targets
    assert operator.queue(QueueRequest(QUEUE.name)).counters.dequeued == 6


def test_only_what_a_selector_matches_is_purged() -> None:
    """The rest stays as it is, and in order."""
    region = filled()
    _, operator = managed(region)
    info = finished(region, operator.purge(SelectRequest(QUEUE.name, selector="JMSType = 'odd'")))
    assert (info.changed, info.looked_at) == (3, 6)
    assert ids(operator) == ["m0", "m2", "m4"]
    assert ids(managed(restarted(region))[1]) == ["m0", "m2", "m4"]


def test_messages_are_removed_by_id_by_number_and_by_count() -> None:
    """Those that are not there are counted as skipped where they were named by number."""
    region = filled()
    _, operator = managed(region)
    assert finished(region, operator.purge(SelectRequest(QUEUE.name, ids=["m1", "mX"]))).changed == 1
    (first, *_) = all_messages(operator)
    info = finished(region, operator.purge(SelectRequest(QUEUE.name, refs=[first.ref, 999])))
    assert (info.changed, info.skipped, info.total) == (1, 1, 2)
    assert ids(operator) == ["m2", "m3", "m4", "m5"]
    assert finished(region, operator.purge(SelectRequest(QUEUE.name, count=3))).changed == 3
    assert ids(operator) == ["m5"]


def test_what_consumers_have_is_left_to_them() -> None:
    """It is told how many these are; they can still be acknowledged."""
    region = filled()
    _, operator = managed(region)
    peer = Peer(region)
    peer.consume(prefetch_size=2)
    settle(region)
    info = finished(region, operator.purge(SelectRequest(QUEUE.name)))
    assert (info.changed, info.left) == (4, 2)
    peer.acknowledge(*peer.client.refs())
    settle(region)
    assert peer.client.ids() == ["m0", "m1"]
    assert ids(operator) == []


def test_what_comes_while_a_long_purge_runs_stays() -> None:
    """A step a turn; between them others send and consume; a crash in between has done whole steps."""
    region = filled(2 * UNREAD_STEP + 5)
    _, operator = managed(region)
    job = operator.purge(SelectRequest(QUEUE.name))
    assert isinstance(region.store, MemoryStore)
    batches = len(region.store.batches)
    region.dispatch()
    assert len(region.store.batches) == batches + 1
    assert len(region.store.batches[-1]) == UNREAD_STEP
    region.dispatch()
    assert len(region.store.batches) == batches + 1, "it waits for the disk"
    settle(region)
    Peer(region, "late").send("late")
    settle(region)
    again = restarted(region)
    assert managed(again)[1].queue(QueueRequest(QUEUE.name)).size in (5 + 1, UNREAD_STEP + 5 + 1)
    assert finished(region, job).changed == 2 * UNREAD_STEP + 5
    assert ids(operator) == ["late"]


def test_a_job_can_be_cancelled() -> None:
    """What it has done stays done."""
    region = filled(UNREAD_STEP + 1)
    management, operator = managed(region)
    job = operator.purge(SelectRequest(QUEUE.name))
    region.dispatch()
    assert operator.cancel(JobRequest(job.number)).state == "cancelled"
    settle(region)
    assert ids(operator) == [f"m{UNREAD_STEP}"]
    assert management.jobs.running() == []
    with pytest.raises(NotPossible, match="is over"):
        operator.cancel(JobRequest(job.number))
    with pytest.raises(NotFound):
        operator.job(JobRequest(99))


# Moving and copying


@pytest.mark.parametrize("persistent", [True, False])
def test_messages_are_moved_in_one_append(persistent: bool) -> None:
    """To a queue that is made for it, in order; each is in exactly one of both."""
    region = filled(persistent=persistent)
    _, operator = managed(region)
    info = finished(region, operator.move(MoveRequest(QUEUE.name, "other", selector="JMSType = 'odd'")))
    assert (info.changed, info.target) == (3, "queue://other")
    assert (ids(operator), ids(operator, "other")) == (["m0", "m2", "m4"], ["m1", "m3", "m5"])
    if persistent:
        _, again = managed(restarted(region))
        assert (ids(again), ids(again, "other")) == (["m0", "m2", "m4"], ["m1", "m3", "m5"])


def test_copies_leave_the_originals() -> None:
    """Also to a topic: whoever subscribes gets them."""
    region = filled(2)
    _, operator = managed(region)
    peer = Peer(region)
    peer.consume(destination=TOPIC)
    finished(region, operator.copy(MoveRequest(QUEUE.name, "other")))
    assert (ids(operator), ids(operator, "other")) == (["m0", "m1"], ["m0", "m1"])
    finished(region, operator.copy(MoveRequest(QUEUE.name, TOPIC.uri)))
    assert peer.client.ids() == ["m0", "m1"]


def test_a_moved_message_does_not_spoil_the_detection_of_repeats() -> None:
    """Its producer's later sends are no repeats of it, nor are its earlier ones forgotten."""
    region = filled(3)
    _, operator = managed(region)
    finished(region, operator.move(MoveRequest(QUEUE.name, "other", ids=["m0"])))
    assert region.store.state.last_producer_sequence("filler:1:1") == 3


def test_moves_go_where_sends_would_go() -> None:
    """A composite queue forwards what is moved to it."""
    policies = {"forwarding.queue.both.forwardTo": "queue://a, queue://b"}
    region = new_region(policies=policies)
    Peer(region).send("m")
    settle(region)
    _, operator = managed(region)
    info = finished(region, operator.move(MoveRequest(QUEUE.name, "a")))
    assert info.state == "done"
    assert ids(operator, "a") == ["m"]


def test_bad_moves_are_refused_before_anything_is_done() -> None:
    """Into itself, from nowhere, to several, with a selector that is none: its position is told."""
    region = filled()
    _, operator = managed(region)
    with pytest.raises(NotPossible, match="are there already"):
        operator.move(MoveRequest(QUEUE.name, QUEUE.uri))
    with pytest.raises(NotFound, match="no queue nowhere"):
        operator.move(MoveRequest("nowhere", "other"))
    with pytest.raises(RequestMalformed, match="not several"):
        operator.move(MoveRequest(QUEUE.name, "a,b"))
    with pytest.raises(SelectorInvalid, match="5"):
        operator.move(MoveRequest(QUEUE.name, "other", selector="a = = 1"))
    with pytest.raises(RequestMalformed, match="'count'"):
        operator.purge(SelectRequest(QUEUE.name, count=-1))
    with pytest.raises(RequestMalformed, match="at most 10000"):
        operator.purge(SelectRequest(QUEUE.name, refs=list(range(10_001))))
    assert OTHER not in region.targets
    assert len(ids(operator)) == 6


def test_a_full_store_stops_copies_not_purges() -> None:
    """The error is the one that senders get; purging makes space."""
    region = filled()
    region.usage.limits = UsageLimits(store_bytes_max=1)
    _, operator = managed(region)
    info = finished(region, operator.copy(MoveRequest(QUEUE.name, "other")))
    assert (info.state, info.changed) == ("failed", 0)
    assert "storeUsage" in info.error
    assert finished(region, operator.move(MoveRequest(QUEUE.name, "other"))).changed == 6
    assert isinstance(region.store, MemoryStore)
    region.store.full = True
    info = finished(region, operator.move(MoveRequest("other", QUEUE.name)))
    assert info.state == "failed"
    assert "disk" in info.error
    assert finished(region, operator.purge(SelectRequest("other"))).changed == 6


def test_a_queue_that_is_deleted_meanwhile_ends_the_job() -> None:
    """What it had not reached is gone with it."""
    region = filled(UNREAD_STEP + 1)
    _, operator = managed(region)
    job = operator.purge(SelectRequest(QUEUE.name))
    region.dispatch()
    region.delete([region.targets[QUEUE]])
    info = finished(region, job)
    assert info.state == "failed"
    assert "deleted meanwhile" in info.error


# Dead letters


def test_dead_letters_go_back_to_where_they_were() -> None:
    """Each to its own queue; what was sent to the dead letters itself has no other place, and stays."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region)
    send_text(peer, 1, "a", QUEUE)
    send_text(peer, 2, "b", OTHER)
    send_text(peer, 3, "c", DLQ)
    for key, destination in (("k", QUEUE), ("o", OTHER)):
        peer.consume(key, destination)
        settle(region)
        peer.acknowledge(peer.client.refs(key)[0], key=key, kind=AckKind.POISON)
        peer.connection.remove_consumer(key)
    settle(region)
    letters = all_messages(operator, DLQ.name)
    assert sorted(each.original_destination for each in letters) == ["", OTHER.uri, QUEUE.uri]
    info = finished(region, operator.retry(SelectRequest(DLQ.name)))
    assert (info.state, info.changed, info.skipped) == ("done", 2, 1)
    assert (len(ids(operator)), len(ids(operator, "other")), len(ids(operator, DLQ.name))) == (1, 1, 1)
    _, again = managed(restarted(region))
    assert (len(ids(again)), len(ids(again, "other")), len(ids(again, DLQ.name))) == (1, 1, 1)
    (back,) = all_messages(operator)
    assert (back.preview, back.deliveries, back.destination) == ("a", 0, QUEUE.uri)


def test_what_no_client_has_sent_goes_back_too() -> None:
    """A message without a frame of some protocol knows where it was, in memory and in the journal."""
    region = filled(1)
    _, operator = managed(region)
    finished(region, operator.move(MoveRequest(QUEUE.name, "other")))
    (moved,) = all_messages(operator, "other")
    assert moved.original_destination == QUEUE.uri
    region = restarted(region)
    _, operator = managed(region)
    assert finished(region, operator.retry(SelectRequest("other"))).changed == 1
    assert ids(operator) == ["m0"]


# Sending


def test_a_message_is_sent() -> None:
    """With all that a client could say; the job's result is its id."""
    region = new_region()
    _, operator = managed(region)
    request = SendRequest(
        "work",
        text="hello",
        properties={"color": "red", "size": 3},
        priority=7,
        time_to_live_ms=5000,
        correlation_id="c",
        reply_to="topic://answers",
        type="t",
        group_id="g",
    )
    info = finished(region, operator.send(request))
    (message,) = all_messages(operator, "work")
    assert message.id == info.result
    assert (message.preview, message.properties) == ("hello", {"color": "red", "size": 3})
    assert (message.priority, message.expiration, message.persistent) == (7, 6000, True)
    assert (message.correlation_id, message.reply_to, message.type) == ("c", "topic://answers", "t")
    assert message.group_id == "g"
    finished(region, operator.send(SendRequest("bytes", base64="AAEC", persistent=False)))
    (message,) = all_messages(operator, "bytes")
    assert (message.preview, message.body_kind, message.persistent) == ("000102", "bytes", False)
    finished(region, operator.send(SendRequest("bytes")))
    assert [each.body_kind for each in all_messages(operator, "bytes")] == ["bytes", "none"]


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        (SendRequest("work", text="a", base64="AA=="), "not both"),
        (SendRequest("work", base64="A"), "cannot be decoded"),
        (SendRequest("work", properties={"a": [1]}), "'a'"),
        (SendRequest("work", properties={"a": 1 << 64}), "cannot be sent"),
        (SendRequest("work", priority=10), "'priority'"),
        (SendRequest("work", time_to_live_ms=-1), "'time_to_live_ms'"),
        (SendRequest(" "), "needs a name"),
        (SendRequest("work", reply_to="x://y"), "unknown scheme"),
    ],
)
def test_what_is_no_message_is_not_sent(request_: SendRequest, wrong: str) -> None:
    """The argument is named."""
    region = new_region()
    _, operator = managed(region)
    with pytest.raises(RequestMalformed, match=wrong):
        operator.send(request_)
    assert region.targets == {}


# Destinations, subscriptions, connections


def test_a_queue_is_paused_and_resumed() -> None:
    """Sends go on."""
    region = filled(1)
    _, operator = managed(region)
    finished(region, operator.pause(QueueRequest(QUEUE.name)))
    peer = Peer(region)
    peer.consume()
    peer.send("more")
    settle(region)
    assert peer.client.ids() == []
    assert operator.queue(QueueRequest(QUEUE.name)).paused
    finished(region, operator.resume(QueueRequest(QUEUE.name)))
    assert peer.client.ids() == ["m0", "more"]


def test_destinations_are_made_and_deleted() -> None:
    """With what they hold; not while somebody consumes from them."""
    region = filled(UNREAD_STEP + 1)
    _, operator = managed(region)
    finished(region, operator.create(DestinationRequest("topic://news")))
    assert [each.name for each in operator.topics(ListRequest()).items] == ["news"]
    finished(region, operator.delete(DestinationRequest("topic://news")))
    peer = Peer(region)
    peer.consume()
    with pytest.raises(NotPossible, match="1 consumers"):
        operator.delete(DestinationRequest(QUEUE.name))
    peer.connection.remove_consumer("k")
    settle(region)
    info = finished(region, operator.delete(DestinationRequest(QUEUE.name)))
    assert (info.state, info.changed) == ("done", UNREAD_STEP + 1)
    assert region.targets == {}
    assert restarted(region).targets == {}
    for name in (QUEUE.uri, "topic://news"):
        with pytest.raises(NotFound):
            operator.delete(DestinationRequest(name))


def test_what_belongs_to_others_is_not_deleted() -> None:
    """Temporary destinations, and topics with durable subscriptions."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region, client_id="me")
    peer.consume("t", Destination(DestinationKind.TEMP_QUEUE, "c1:1"))
    peer.consume("d", TOPIC, subscription_name="s")
    peer.connection.remove_consumer("d")
    with pytest.raises(NotPossible, match="belongs to a connection"):
        operator.delete(DestinationRequest("temp-queue://c1:1"))
    with pytest.raises(NotPossible, match="only be made by"):
        operator.create(DestinationRequest("temp-queue://c1:2"))
    info = finished(region, operator.delete(DestinationRequest(TOPIC.uri)))
    assert info.state == "failed"
    assert "durable subscriptions" in info.error


def test_a_subscription_is_ended() -> None:
    """With what waits for it; not while it is active."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region, client_id="me")
    peer.consume("d", TOPIC, subscription_name="s")
    with pytest.raises(NotPossible, match="active: close the connection c1"):
        operator.unsubscribe(SubscriptionRequest("me", "s"))
    peer.connection.remove_consumer("d")
    for number in range(UNREAD_STEP + 1):
        peer.send(f"m{number}", TOPIC, priority=number % 10)
    settle(region)
    info = finished(region, operator.unsubscribe(SubscriptionRequest("me", "s")))
    assert (info.state, info.changed) == ("done", UNREAD_STEP + 1)
    assert region.subscriptions.durable == {}
    assert restarted(region).subscriptions.durable == {}
    with pytest.raises(NotFound):
        operator.unsubscribe(SubscriptionRequest("me", "s"))


def test_a_connection_is_closed() -> None:
    """Its messages are others'; it hears who did it. Nobody closes the connection he asks by."""
    region = filled(1)
    management, operator = managed(region)
    peer = Peer(region)
    peer.consume()
    settle(region)
    finished(region, operator.disconnect(ConnectionRequest("c1")))
    assert peer.client.disconnected == "closed by admin"
    assert peer.connection.closed
    assert [each.state for each in all_messages(operator)] == ["waiting"]
    with pytest.raises(NotFound):
        operator.disconnect(ConnectionRequest("c1"))
    own = management.operator(Caller("admin", connection="filler"))
    with pytest.raises(NotPossible, match="the connection that asks"):
        own.disconnect(ConnectionRequest("filler"))


def test_counters_are_set_back() -> None:
    """What there is stays."""
    region = filled(2)
    _, operator = managed(region)
    finished(region, operator.reset(Nothing()))
    info = operator.broker(Nothing())
    assert (info.counters.enqueued, info.messages) == (0, 2)


# Who, how many, and what is told


def test_only_the_role_admin_may(caplog: pytest.LogCaptureFixture) -> None:
    """Whether anything is configured or not; the log says who tried, once."""
    management, _ = managed()
    for _ in range(3):
        with pytest.raises(NotPermitted, match="User bob is not authorized"):
            management.operator(Caller("bob"))
    assert caplog.messages == ["bob: refused: lacks the role admin; said once"]


def test_what_is_changed_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """With the user, his address, what, and how it ended."""
    region = filled()
    _, operator = managed(region)
    with caplog.at_level(logging.INFO, "broker.management"):
        finished(region, operator.purge(SelectRequest(QUEUE.name, selector="JMSType = 'odd'")))
    assert caplog.messages == [
        "admin (tcp://here:1): purge queue://workshop.test (selector \"JMSType = 'odd'\")",
        "admin (tcp://here:1): purge queue://workshop.test (selector \"JMSType = 'odd'\"): done, 3 messages",
    ]


def test_so_many_jobs_run_at_a_time() -> None:
    """One more is refused; those that are over make room, and are forgotten in time."""
    region = filled()
    management, operator = managed(region)
    for _ in range(RUNNING_MAX):
        operator.pause(QueueRequest(QUEUE.name))
    with pytest.raises(TooMany, match=f"{RUNNING_MAX} operations"):
        operator.pause(QueueRequest(QUEUE.name))
    settle(region)
    for _ in range(KEPT_MAX):
        finished(region, operator.resume(QueueRequest(QUEUE.name)))
    assert len(operator.jobs(Nothing())) == KEPT_MAX
    assert operator.jobs(Nothing())[0].operation == "resume"
    assert len(management.jobs.all()) == KEPT_MAX


def test_spooled_messages_are_moved(tmp_path: Path) -> None:
    """Those for which there was no memory."""
    region = new_region(usage=UsageLimits(memory_bytes_max=2000), temporary=tmp_path)
    region.usage.spool.count_max = 100
    peer = Peer(region)
    names = [f"m{number}" for number in range(10)]
    for name in names:
        peer.send(name, persistent=False)
    _, operator = managed(region)
    assert finished(region, operator.move(MoveRequest(QUEUE.name, "other"))).changed == 10
    assert ids(operator, "other") == names
    finished(region, operator.purge(SelectRequest("other")))
    assert (region.usage.spool.count, region.usage.memory_bytes) == (0, 0)


def test_a_message_that_cannot_be_read_stays_where_it_is() -> None:
    """It is skipped by what has to read it, and purged like others by what need not."""
    region = restarted(filled(3, limits=LIMITS), limits=LIMITS)
    assert isinstance(region.store, MemoryStore)
    refs = list(region.store.state.queues[QUEUE.uri])
    region.store.bodies[refs[1]] = b"\xff"
    _, operator = managed(region)
    info = finished(region, operator.move(MoveRequest(QUEUE.name, "other")))
    assert (info.changed, info.skipped) == (2, 1)
    assert len(operator.browse(BrowseRequest(queue="other")).items) == 2
    assert finished(region, operator.purge(SelectRequest(QUEUE.name))).changed == 1
