"""What the journal has kept of STOMP's messages, subscriptions and transactions is there again."""

from __future__ import annotations

from support.region import MemoryStore, new_region
from support.stomp_client import TOPIC, Broker, Client, Frame

from broker.destination import Destination


def again(broker: Broker, batches: int | None = None) -> Broker:
    """A new broker over what the first so many batches of the journal hold."""
    store = broker.region.store
    assert isinstance(store, MemoryStore)
    return Broker(new_region(store.records(batches)))


def received(broker: Broker, destination: str, **headers: str) -> list[Frame]:
    """What a new client gets."""
    client = Client(broker, client_id="me")
    client.subscribe(destination, **headers)
    broker.settle()
    return client.messages()


def test_messages() -> None:
    """A message looks the same after a restart, also one of a group; another waits no longer."""
    broker = Broker()
    sender = Client(broker)
    for headers in ({"x": "a:b"}, {"JMSXGroupID": "g", "JMSXGroupSeq": "7"}, {"priority": "9"}):
        sender.send("a\\n", persistent="true", **headers)
        sender.send(b"\0", persistent="true", **headers)
    sender.send("not kept")
    restarted = again(broker)
    before, after = (received(each, "/queue/workshop.test") for each in (broker, restarted))
    assert len(before) == 7
    kept = [frame for frame in before if frame.body != b"not kept"]
    assert [(frame.headers, frame.body) for frame in after] == [(frame.headers, frame.body) for frame in kept]


def test_acknowledgements() -> None:
    """What was acknowledged does not come again, however many came together."""
    broker = Broker()
    client = Client(broker)
    client.subscribe(ack="client-individual")
    for number in range(4):
        client.send(f"{number}", persistent="true")
    broker.settle()
    frames = client.messages()
    client.give(b"".join(b"ACK\nid:%b\n\n\0" % frames[number].headers["ack"].encode() for number in (0, 2)))
    assert [frame.body for frame in received(again(broker), "/queue/workshop.test")] == [b"1", b"3"]


def test_durable_subscription() -> None:
    """A durable subscription goes on where it was."""
    broker = Broker()
    durable = {"activemq.subscriptionName": "s", "selector": "size > 5"}
    client = Client(broker, client_id="me")
    client.subscribe(TOPIC, **durable)
    client.request("UNSUBSCRIBE", id="1")
    for size in ("4", "6"):
        client.send(size, TOPIC, persistent="true", size=size)
    assert [frame.body for frame in received(again(broker), TOPIC, **durable)] == [b"6"]


def test_a_transaction_is_whole_or_not_there() -> None:
    """Whatever the last batch that the journal kept, either all of a transaction is there or nothing."""
    broker = Broker()
    client = Client(broker)
    client.subscribe("/queue/in", ack="client")
    client.send("in", "/queue/in", persistent="true")
    broker.settle()
    (frame,) = client.messages()
    client.say("BEGIN", transaction="t")
    client.ack(frame, transaction="t")
    client.send("1", persistent="true", transaction="t")
    client.send("2", persistent="true", transaction="t")
    client.say("COMMIT", transaction="t")
    store = broker.region.store
    assert isinstance(store, MemoryStore)
    seen = set()
    for batches in range(len(store.batches) + 1):
        region = again(broker, batches).region
        counts = []
        for name in ("in", "workshop.test"):
            queue = region.targets.get(Destination.queue(name))
            counts.append(0 if queue is None else len(region.store.state.queues.get(queue.uri, ())))
        seen.add(tuple(counts))
    assert seen == {(0, 0), (1, 0), (0, 2)}
