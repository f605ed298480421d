"""What management tells of a broker, in pages."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from support.management import managed
from support.region import QUEUE, TOPIC, Peer, new_region, settle

from broker.destination import Destination, DestinationKind
from broker.management.errors import NotFound, RequestMalformed
from broker.management.requests import ListRequest, Nothing, QueueRequest


def test_the_broker_as_a_whole() -> None:
    """Everything is counted, what there is and what has happened; all of it is JSON."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region, client_id="me")
    peer.connection.add_producer("c1:1:1", QUEUE)
    peer.consume(prefetch_size=1)
    peer.consume("durable", TOPIC, subscription_name="s")
    peer.consume("temporary", Destination(DestinationKind.TEMP_QUEUE, "c1:1"))
    for number in range(3):
        peer.send(f"m{number}")
    settle(region)
    peer.acknowledge(peer.client.refs("k")[0])
    settle(region)
    info = operator.broker(Nothing())
    assert (info.connections, info.consumers, info.producers) == (1, 3, 1)
    assert (info.queues, info.topics, info.temporary, info.subscriptions) == (1, 1, 1, 1)
    assert (info.messages, info.counters.enqueued, info.counters.dequeued) == (2, 3, 1)
    assert info.usage.store.limit > 0
    json.dumps(asdict(info))


def test_a_queue_with_its_counters() -> None:
    """What waits and what is at consumers are told apart."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region)
    peer.connection.add_producer("c1:1:1", QUEUE)
    peer.consume(prefetch_size=2)
    for number in range(5):
        peer.send(f"m{number}")
    settle(region)
    info = operator.queue(QueueRequest(QUEUE.name))
    assert (info.size, info.waiting, info.in_flight) == (5, 3, 2)
    assert (info.consumers, info.producers, info.paused, info.temporary) == (1, 1, False, False)
    assert operator.queues(ListRequest()).items == [info]
    with pytest.raises(NotFound, match="no queue other"):
        operator.queue(QueueRequest("other"))


def test_topics_and_subscriptions() -> None:
    """A durable subscription shows its topic, whose connection has it, and what waits for it."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region, client_id="me")
    peer.consume("plain", TOPIC)
    peer.consume("durable", TOPIC, subscription_name="s", no_local=False)
    peer.connection.remove_consumer("durable")
    Peer(region, "c2").send("m1", TOPIC)
    settle(region)
    (topic,) = operator.topics(ListRequest()).items
    assert (topic.name, topic.subscriptions, topic.consumers) == ("prices", 1, 1)
    (subscription,) = operator.subscriptions(ListRequest()).items
    assert (subscription.client_id, subscription.name, subscription.topic) == ("me", "s", "prices")
    assert (subscription.active, subscription.pending, subscription.connections) == (False, 1, [])
    peer.consume("durable", TOPIC, subscription_name="s")
    settle(region)
    (subscription,) = operator.subscriptions(ListRequest(filter="prices")).items
    assert (subscription.active, subscription.pending, subscription.in_flight) == (True, 0, 1)
    assert subscription.connections == ["c1"]


def test_connections_consumers_and_producers() -> None:
    """Each names the connection it belongs to; those of one connection can be asked for."""
    region = new_region()
    _, operator = managed(region)
    peer, other = Peer(region, client_id="me"), Peer(region, "c2")
    peer.connection.user, peer.connection.remote = "ann", "tcp://10.0.0.1:5"
    peer.consume(selector="a = 1", prefetch_size=7, priority=3)
    other.consume("browser", browser=True)
    peer.connection.add_producer("c1:1:1", None)
    other.connection.add_producer("c2:1:1", QUEUE)
    peer.connection.transactions.begin("t")
    connections = operator.connections(ListRequest()).items
    assert [(each.id, each.client_id, each.user, each.remote) for each in connections] == [
        ("c1", "me", "ann", "tcp://10.0.0.1:5"),
        ("c2", "", "", ""),
    ]
    assert (connections[0].consumers, connections[0].producers, connections[0].transactions) == (1, 1, 1)
    assert [each.id for each in operator.connections(ListRequest(filter="10.0.0.1")).items] == ["c1"]
    consumer, browser = operator.consumers(ListRequest()).items
    assert (consumer.id, consumer.connection, consumer.destination) == ("c1:k", "c1", QUEUE.uri)
    assert (consumer.selector, consumer.prefetch, consumer.priority) == ("a = 1", 7, 3)
    assert browser.browser
    assert [each.id for each in operator.consumers(ListRequest(connection="c2")).items] == ["c2:browser"]
    assert [each.destination for each in operator.producers(ListRequest()).items] == ["", QUEUE.uri]
    with pytest.raises(NotFound, match="no connection c9"):
        operator.producers(ListRequest(connection="c9"))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["a.b", "a.b.c", "orders", "orders.old"]),
        ("orders", ["orders", "orders.old"]),
        ("a.>", ["a.b", "a.b.c"]),
        ("a.*", ["a.b"]),
        ("*.old", ["orders.old"]),
        ("ord*s", ["orders"]),
        ("?.b", ["a.b"]),
        (">", ["a.b", "a.b.c", "orders", "orders.old"]),
        ("nothing", []),
    ],
)
def test_filters(pattern: str, found: list[str]) -> None:
    """A wildcard, a pattern, or a part of the name."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region)
    for name in ("orders", "orders.old", "a.b", "a.b.c"):
        peer.connection.add_destination(Destination.queue(name))
    page = operator.queues(ListRequest(filter=pattern))
    assert [each.name for each in page.items] == found
    assert page.total == len(found)
    assert page.next == ""


def test_pages_show_everything_once_although_destinations_come_and_go() -> None:
    """A page begins behind the last item of the one before, whatever lies there by now."""
    region = new_region()
    _, operator = managed(region)
    peer = Peer(region)
    for number in range(10):
        peer.connection.add_destination(Destination.queue(f"q{number}"))
    first = operator.queues(ListRequest(limit=4))
    assert [each.name for each in first.items] == ["q0", "q1", "q2", "q3"]
    assert (first.total, first.next) == (10, "q3")
    peer.connection.remove_destination(Destination.queue("q3"))
    peer.connection.add_destination(Destination.queue("q35"))
    second = operator.queues(ListRequest(limit=4, after=first.next))
    assert [each.name for each in second.items] == ["q35", "q4", "q5", "q6"]
    last = operator.queues(ListRequest(limit=4, after=second.next))
    assert ([each.name for each in last.items], last.next) == (["q7", "q8", "q9"], "")


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_limit(limit: int) -> None:
    """It is named when it is passed."""
    _, operator = managed()
    with pytest.raises(RequestMalformed, match="between 1 and 1000"):
        operator.queues(ListRequest(limit=limit))
