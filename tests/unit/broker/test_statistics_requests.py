"""Statistics for clients: what is asked, what is answered, and that long lists hold nobody up."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, settle, take

from broker.authorization import Authorization, Rights
from broker.destination import Destination, DestinationKind
from broker.errors import AccessDenied, RequestInvalid, ResourceExhausted
from broker.identity import BrokerIdentity
from broker.primitive_map import Long, Value, decode_map, encode_map
from broker.region.consumer import AckKind
from broker.region.region import Region
from broker.region.statistics_requests import ANSWERS_MAX, LISTS_MAX

REPLIES = Destination(DestinationKind.TEMP_QUEUE, "asker:1")
COUNTERS = ("size", "enqueueCount", "dispatchCount", "dequeueCount", "expiredCount", "inflightCount")


def asker(region: Region) -> Peer:
    """Somebody with a queue for answers."""
    peer = Peer(region, "asker")
    peer.consume("replies", REPLIES, prefetch_size=100_000)
    return peer


def ask(
    peer: Peer, name: str, *, topic: bool = False, properties: Mapping[str, Value] | None = None
) -> list[Mapping[str, Value]]:
    """The answers to a request."""
    make = Destination.topic if topic else Destination.queue
    peer.connection.replenish()
    before = len(peer.client.messages)
    peer.send(
        "question",
        make(f"ActiveMQ.Statistics.{name}"),
        persistent=False,
        reply_to=REPLIES,
        correlation_id="7",
        properties=encode_map(properties) if properties else None,
    )
    settle(peer.region)
    answers = peer.client.messages[before:]
    assert all(each.correlation_id == "7" and each.type == "Advisory" for each in answers)
    return [decode_map(each.body or b"") or {} for each in answers]


def counters(answer: Mapping[str, Value]) -> list[Value]:
    """What a test compares."""
    return [answer[name] for name in COUNTERS]


def test_the_broker_is_described() -> None:
    """All destinations together, what is used, where it is reached."""
    region = Region(
        new_region().store,
        now_ms=1000,
        identity=BrokerIdentity("ID:b", "shop", {"tcp": "tcp://h:1"}, "/data/shop"),
    )
    peer = asker(region)
    peer.send("m")
    peer.send("t", TOPIC)
    peer.connection.add_producer("asker:1:1", QUEUE)
    (answer,) = ask(peer, "Broker")
    assert counters(answer) == [1, 2, 0, 0, 0, 0]
    assert (answer["consumerCount"], answer["producerCount"]) == (1, 1)
    assert answer["brokerName"] == "shop"
    assert answer["brokerId"] == "ID:b"
    assert answer["openwire"] == "tcp://h:1"
    assert answer["stomp"] == ""
    assert answer["dataDirectory"] == "/data/shop"
    assert answer["storeUsage"] == 1
    assert answer["memoryPercentUsage"] == 0
    assert isinstance(answer["storeLimit"], int)
    assert isinstance(answer["averageEnqueueTime"], float)


def test_the_counters_can_be_reset() -> None:
    """By a property of the request; destinations go on counting, as in ActiveMQ."""
    region = new_region()
    peer = asker(region)
    peer.send("m")
    (answer,) = ask(peer, "Broker", properties={"ActiveMQ.Statistics.Broker.Reset": True})
    assert counters(answer)[:2] == [1, 0]
    assert counters(ask(peer, f"Destination.{QUEUE.name}")[0])[:2] == [1, 1]
    peer.send("n")
    peer.connection.remove_destination(QUEUE)
    assert counters(ask(peer, "Broker")[0])[:2] == [2, 3]  # answers are messages, too


def test_a_destination_is_described() -> None:
    """What has happened to it, what it holds, since when the oldest waits."""
    region = new_region()
    peer = asker(region)
    region.advance(1_000)
    for index in range(3):
        peer.send(f"m{index}", persistent=index != 0)
    region.advance(1_250)
    peer.consume(prefetch_size=1)
    settle(region)
    name = "ActiveMQ.Statistics.Destination.Include.First.Message.Timestamp"
    (answer,) = ask(peer, f"Destination.{QUEUE.name}", properties={name: 1})
    assert counters(answer) == [3, 3, 1, 0, 0, 1]
    assert answer["destinationName"] == QUEUE.uri
    assert answer["firstMessageTimestamp"] == 1_000
    assert answer["averageEnqueueTime"] == answer["minEnqueueTime"] == answer["maxEnqueueTime"] == 250.0
    assert answer["averageMessageSize"] == 2
    assert answer["messagesCached"] == 2
    assert isinstance(answer["memoryLimit"], int)
    take(region, peer)
    (answer,) = ask(peer, f"Destination.{QUEUE.name}")
    assert counters(answer) == [2, 3, 2, 1, 0, 1]
    assert "firstMessageTimestamp" not in answer


@pytest.mark.parametrize(
    ("topic", "expected"), [(False, ["queue://a.1", "queue://a.2"]), (True, ["topic://a.1"])]
)
def test_a_wildcard_is_answered_one_by_one(topic: bool, expected: list[str]) -> None:
    """Of the kind that is asked; unknown names have no answer; an empty map may end the list."""
    region = new_region()
    for name in ("a.1", "a.2", "b"):
        region.target(Destination.queue(name))
    region.target(Destination.topic("a.1"))
    peer = asker(region)
    answers = ask(peer, "Destination.a.>", topic=topic)
    assert [answer["destinationName"] for answer in answers] == expected
    assert ask(peer, "Destination.nowhere") == []
    assert Destination.queue("nowhere") not in region.targets
    end = "ActiveMQ.Statistics.Destination.List.End.With.Null"
    assert ask(peer, "Destination.nowhere", properties={end: True}) == [{}]
    assert ask(peer, f"Destination.{end}nowhere") == [{}]
    assert ask(peer, "Destination") == []


def test_consumers_are_described() -> None:
    """Each by itself."""
    region = new_region()
    peer = asker(region)
    other = Peer(region, "c1", "client")
    other.connection.add_consumer((1, 5), QUEUE)
    other.consume("t", TOPIC)
    other.send("m0")
    other.send("m1")
    settle(region)
    other.connection.acknowledge((1, 5), AckKind.STANDARD, 0, other.client.refs()[0])
    answers = ask(peer, "Subscription")
    found = {answer["destinationName"]: answer for answer in answers}
    assert set(found) == {REPLIES.name, QUEUE.name, TOPIC.name}
    answer = found[QUEUE.name]
    assert (answer["clientId"], answer["connectionId"], answer["sessionId"]) == ("client", "c1", 1)
    assert (answer["dispatchedCounter"], answer["dequeueCounter"], answer["dispatchedQueueSize"]) == (2, 1, 1)
    assert (answer["selector"], answer["prefetchSize"], answer["slowConsumer"]) == (None, 1000, False)


def test_figures_have_the_types_of_the_original() -> None:
    """Java's `MapMessage.getLong` and `getInt` read them."""
    peer = asker(new_region())
    peer.send("question", Destination.queue("ActiveMQ.Statistics.Broker"), reply_to=REPLIES)
    settle(peer.region)
    body = decode_map(peer.client.messages[0].body or b"") or {}
    assert isinstance(body["enqueueCount"], Long)
    assert type(body["memoryPercentUsage"]) is int


def test_long_lists_are_answered_a_part_per_turn() -> None:
    """Many destinations hold up nobody."""
    region = new_region()
    count = 3 * ANSWERS_MAX + 7
    for index in range(count):
        region.target(Destination.queue(f"q.{index}"))
    peer = asker(region)
    seen = [len(ask(peer, "Destination.q.>"))]
    assert seen == [ANSWERS_MAX]
    assert region.deadline_ms == region.now_ms
    for _ in range(5):
        region.advance(region.now_ms)
        settle(region)
        seen.append(len(peer.client.messages))
    assert seen[-1] == count
    assert max(later - before for before, later in pairwise(seen)) <= ANSWERS_MAX


def test_too_many_long_lists_are_refused() -> None:
    """Who asks without end is told so; short questions are answered."""
    region = new_region()
    for index in range(ANSWERS_MAX + 1):
        region.target(Destination.queue(f"q.{index}"))
    peer = asker(region)
    for _ in range(LISTS_MAX):
        ask(peer, "Destination.q.>")
    with pytest.raises(ResourceExhausted, match="ask later"):
        ask(peer, "Destination.q.>")
    assert len(ask(peer, "Destination.q.1")) == 1
    peer.connection.close()
    for _ in range(LISTS_MAX + 1):
        region.advance(region.now_ms)
        settle(region)
    assert len(ask(asker(region), "Destination.q.>")) == ANSWERS_MAX


def test_a_request_needs_a_place_for_its_answer() -> None:
    """Without JMSReplyTo it is refused."""
    with pytest.raises(RequestInvalid, match="JMSReplyTo"):
        Peer(new_region()).send("m", Destination.queue("ActiveMQ.Statistics.Broker"))


def test_who_may_ask_is_configured() -> None:
    """By the right to write to the destinations that are asked."""
    region = Region(
        new_region().store,
        now_ms=1000,
        rights=Rights(
            Authorization.parse({"authorization.queue.ActiveMQ.Statistics.>.write": "operators"}),
            lambda user: {"operators"} if user == "op" else (),
        ),
    )
    op, other = asker(region), Peer(region, "c2")
    op.connection.user = "op"
    assert len(ask(op, "Broker")) == 1
    with pytest.raises(AccessDenied):
        ask(other, "Broker")
