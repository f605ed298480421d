"""Browsing and cancelling what is scheduled, by messages."""

from collections.abc import Mapping
from typing import Any

import pytest
from support.region import MemoryStore, Peer, new_region, settle

from broker.authorization import Authorization, Rights
from broker.destination import Destination
from broker.errors import AccessDenied, InvalidDestination, RequestInvalid
from broker.primitive_map import Long, decode_map, encode_map
from broker.region.region import Region
from broker.region.schedule_requests import REMOVED_MAX, SHOWN_MAX

MANAGEMENT = Destination.topic("ActiveMQ.Scheduler.Management")
ANSWERS = Destination.queue("answers")
TURNS_MAX = 100


def scheduled_region(*delays_ms: int) -> tuple[Region, Peer]:
    """A region with messages that are due after these delays; its time is 1000."""
    region = new_region()
    peer = Peer(region)
    for delay_ms in delays_ms:
        properties = encode_map({"AMQ_SCHEDULED_DELAY": Long(delay_ms)})
        peer.send(f"m{delay_ms}", properties=properties)
    settle(region)
    return region, peer


def request(peer: Peer, action: object, **properties: Any) -> int:
    """Ask for something, with the answers to a queue."""
    asked: dict[str, Any] = {"AMQ_SCHEDULER_ACTION": action, **properties}
    encoded = encode_map({name: value for name, value in asked.items() if value is not None})
    return peer.send("request", MANAGEMENT, persistent=False, properties=encoded, reply_to=ANSWERS)


def work(region: Region) -> int:
    """Let what was begun be done; returns in how many turns."""
    for turn in range(TURNS_MAX):
        if region.deadline_ms != region.now_ms:
            settle(region)
            return turn
        region.advance(region.now_ms)
    raise AssertionError("it does not end")


def answers(region: Region) -> list[Mapping[str, Any]]:
    """The properties of the answers, with the id of what was scheduled as `body`."""
    peer = Peer(region, "reader")
    peer.consume(destination=ANSWERS, prefetch_size=10_000)
    settle(region)
    found = [
        {**(decode_map(message.properties or b"") or {}), "body": (message.body or b"").decode()}
        for message in peer.client.messages
    ]
    peer.connection.close()
    return found


def test_what_is_scheduled_is_shown_in_the_order_in_which_it_is_due() -> None:
    """Each as a message that is not persistent, with its schedule and the name to cancel it by."""
    region, peer = scheduled_region(300, 100, 200)
    request(peer, "BROWSE")
    work(region)
    shown = answers(region)
    assert [each["body"] for each in shown] == ["m100", "m200", "m300"]
    assert [each["AMQ_SCHEDULED_DELAY"] for each in shown] == [100, 200, 300]
    assert [each["scheduledJobId"] for each in shown] == ["c1:1:1:2", "c1:1:1:3", "c1:1:1:1"]
    assert len(region.schedule) == 3


def test_only_what_is_due_within_a_time_is_shown() -> None:
    """Both ends count, as in the original."""
    region, peer = scheduled_region(100, 200, 300)
    for start, end in ((1_200, 1_300), ("1200", "1300")):
        request(
            peer,
            "BROWSE",
            ACTION_START_TIME=start,
            ACTION_END_TIME=end,
        )
        work(region)
    assert [each["body"] for each in answers(region)] == ["m200", "m300"] * 2


def test_one_is_cancelled() -> None:
    """The receipt waits until that is durable; it is not delivered, the others are."""
    region, peer = scheduled_region(100, 200)
    batch = request(peer, "REMOVE", scheduledJobId="c1:1:1:1")
    assert batch == region.last_batch
    assert isinstance(region.store, MemoryStore)
    assert batch == len(region.store.batches)
    assert [each.message.body for each in map(region.schedule.describe, region.schedule.find()) if each] == [
        b"m200"
    ]


@pytest.mark.parametrize("job_id", ["c1:1:1:9", "c2:1:1:1", "", "nonsense"])
def test_what_is_not_scheduled_cannot_be_cancelled(job_id: str) -> None:
    """Nothing happens, as in the original: it may just have been delivered."""
    region, peer = scheduled_region(100)
    request(peer, "REMOVE", scheduledJobId=job_id)
    assert len(region.schedule) == 1


def test_all_or_those_of_a_time_are_cancelled() -> None:
    """What was asked for first is done first."""
    region, peer = scheduled_region(100, 200, 300, 400)
    request(peer, "REMOVEALL", AMQ_SCHEDULER_ACTION_START_TIME=1_200, AMQ_SCHEDULER_ACTION_END_TIME=1_300)
    request(peer, "BROWSE")
    request(peer, "REMOVEALL")
    work(region)
    assert [each["body"] for each in answers(region)] == ["m100", "m400"]
    assert len(region.schedule) == 0


def test_long_work_is_done_in_turns() -> None:
    """Others are heard in between."""
    region, peer = scheduled_region(*range(1_000, 1_000 + SHOWN_MAX + 1))
    request(peer, "BROWSE")
    assert work(region) == 2
    assert len(answers(region)) == SHOWN_MAX + 1
    assert REMOVED_MAX > SHOWN_MAX


@pytest.mark.parametrize(
    ("action", "properties"),
    [
        ("LOOK", {}),
        (None, {}),
        (5, {}),
        ("REMOVE", {}),
        ("REMOVE", {"scheduledJobId": 5}),
        ("BROWSE", {"AMQ_SCHEDULER_ACTION_START_TIME": "now", "AMQ_SCHEDULER_ACTION_END_TIME": 5}),
        ("REMOVEALL", {"AMQ_SCHEDULER_ACTION_START_TIME": 1.5, "AMQ_SCHEDULER_ACTION_END_TIME": 5}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(action: object, properties: dict[str, Any]) -> None:
    """And changes nothing; the original ignores most of them."""
    region, peer = scheduled_region(100)
    with pytest.raises(RequestInvalid):
        request(peer, action, **properties)
    assert len(region.schedule) == 1


def test_damaged_properties_are_refused() -> None:
    """They ask for nothing."""
    region, peer = scheduled_region(100)
    with pytest.raises(RequestInvalid):
        peer.send("request", MANAGEMENT, properties=b"\0\0\0\5AMQ_SCHEDULER_ACTION")
    assert len(region.schedule) == 1


def test_browsing_needs_somewhere_to_answer_to() -> None:
    """Without a JMSReplyTo nobody would see it."""
    _, peer = scheduled_region(100)
    with pytest.raises(RequestInvalid, match="JMSReplyTo"):
        peer.send("request", MANAGEMENT, properties=encode_map({"AMQ_SCHEDULER_ACTION": "BROWSE"}))


def test_an_answer_that_nobody_can_get_ends_it() -> None:
    """A temporary queue that is gone meanwhile costs nobody else anything."""
    region, peer = scheduled_region(100)
    asker = Peer(region, "c9")
    temporary = Destination.parse("temp-queue://c9:1")
    asker.connection.add_destination(temporary)
    asker.send(
        "request",
        MANAGEMENT,
        properties=encode_map({"AMQ_SCHEDULER_ACTION": "BROWSE"}),
        reply_to=temporary,
    )
    asker.connection.close()
    work(region)
    request(peer, "BROWSE")
    work(region)
    assert len(answers(region)) == 1


def test_nobody_can_consume_there() -> None:
    """What is sent there is a request to the broker."""
    _, peer = scheduled_region()
    with pytest.raises(InvalidDestination):
        peer.consume(destination=MANAGEMENT)


def test_only_who_may_administer_may_ask() -> None:
    """To send there is not enough; and answers go only where the asker may send himself."""
    rights = Rights(
        Authorization.parse(
            {
                "authorization.topic.ActiveMQ.Scheduler.Management.write": "users,operators,lookers",
                "authorization.topic.ActiveMQ.Scheduler.Management.admin": "operators,lookers",
                "authorization.queue.>.write": "operators",
                "authorization.queue.>.admin": "operators",
            }
        ),
        lambda user: frozenset({user}),
    )
    region = Region(MemoryStore(), now_ms=1_000, rights=rights)
    for user, allowed in (("operators", True), ("users", False), ("lookers", False)):
        peer = Peer(region, user)
        peer.connection.user = user
        if allowed:
            request(peer, "BROWSE")
        else:
            with pytest.raises(AccessDenied):
                request(peer, "BROWSE")
