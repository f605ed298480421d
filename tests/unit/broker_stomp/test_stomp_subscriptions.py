"""Subscriptions, acknowledgements and transactions."""

from __future__ import annotations

import pytest
from support.region import new_region
from support.stomp_client import QUEUE, TOPIC, Broker, Client, Frame

from broker.destination import Destination
from broker.region.queue import Queue


@pytest.fixture(params=["1.0", "1.1", "1.2"])
def version(request: pytest.FixtureRequest) -> str:
    """Every version."""
    return str(request.param)


def waiting(broker: Broker, name: str = "workshop.test") -> int:
    """How many messages a queue holds."""
    queue = broker.region.targets.get(Destination.queue(name))
    assert isinstance(queue, Queue)
    return queue.size


def dispatched(client: Client, count: int, **headers: str) -> list[Frame]:
    """Messages that a client has got."""
    client.subscribe(**headers)
    for number in range(count):
        client.send(f"{number}", persistent="true")
    client.broker.settle()
    frames = client.messages()
    assert [frame.body for frame in frames] == [b"%d" % number for number in range(count)]
    return frames


def test_auto(version: str) -> None:
    """What was sent to the client is done with."""
    broker = Broker()
    dispatched(Client(broker, version), 3)
    broker.settle()
    assert waiting(broker) == 0


def test_auto_goes_on_beyond_the_prefetch() -> None:
    """What is done with makes room for more; an unknown mode means `auto`."""
    broker = Broker()
    dispatched(Client(broker), 50, ack="whatever", **{"activemq.prefetchSize": "3"})
    assert waiting(broker) == 0


def test_auto_goes_on_with_messages_that_are_not_kept() -> None:
    """Also where the journal need not hear of it."""
    broker = Broker()
    client = Client(broker)
    client.subscribe(**{"activemq.prefetchSize": "3"})
    for number in range(50):
        client.send(f"{number}")
    broker.turn()
    assert len(client.bodies()) == 50


def test_client_is_cumulative(version: str) -> None:
    """An ACK is for all messages up to that one."""
    broker = Broker()
    client = Client(broker, version)
    frames = dispatched(client, 5, ack="client")
    client.ack(frames[2], receipt="a")
    broker.settle()
    assert client.receipts() == ["a"]
    assert waiting(broker) == 2
    client.ack(frames[4])
    assert waiting(broker) == 0


def test_individual(version: str) -> None:
    """An ACK is for one message."""
    broker = Broker()
    client = Client(broker, version)
    frames = dispatched(client, 5, ack="client-individual")
    client.ack(frames[2])
    client.ack(frames[4])
    assert waiting(broker) == 3
    client.server.connection_lost("")
    other = Client(broker)
    other.subscribe()
    broker.settle()
    assert other.bodies() == [b"0", b"1", b"3"]


@pytest.mark.parametrize("mode", ["client", "client-individual"])
def test_twice(version: str, mode: str) -> None:
    """What is acknowledged cannot be acknowledged again."""
    broker = Broker()
    client = Client(broker, version)
    frames = dispatched(client, 2, ack=mode)
    client.ack(frames[1])
    client.ack(frames[1])
    assert client.error().startswith("Unexpected ACK received for message-id [")


def test_the_prefetch_holds() -> None:
    """No more messages are sent than may be unacknowledged."""
    broker = Broker()
    client = Client(broker)
    client.subscribe(ack="client-individual", **{"activemq.prefetchSize": "2"})
    for number in range(5):
        client.send(f"{number}")
    broker.settle()
    first, second = client.messages()
    assert (first.body, second.body) == (b"0", b"1")
    client.ack(second)
    broker.settle()
    assert client.bodies() == [b"2"]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_nack(version: str) -> None:
    """A message that is refused goes to the dead letters."""
    broker = Broker()
    client = Client(broker, version)
    frames = dispatched(client, 3, ack="client-individual")
    client.ack(frames[1], "NACK", receipt="n")
    broker.settle()
    assert client.receipts() == ["n"]
    assert waiting(broker) == 2
    client.subscribe("/queue/ActiveMQ.DLQ", "dead")
    broker.settle()
    (dead,) = client.messages()
    assert dead.body == b"1"
    assert dead.headers["original-destination"] == QUEUE
    assert "NACK of a STOMP client" in dead.headers["dlqDeliveryFailureCause"]


def test_nack_in_1_0() -> None:
    """1.0 knows no NACK."""
    client = Client(Broker(), "1.0")
    client.ack(dispatched(client, 1, ack="client")[0], "NACK")
    assert client.error() == "NACK received but connection is in v1.0 mode."


def test_message_ids_are_forgotten() -> None:
    """Ids of messages that are done with do not pile up."""
    broker = Broker()
    client = Client(broker, "1.1")
    client.subscribe(ack="client")
    for number in range(500):
        client.send(f"{number}")
        broker.settle()
        client.ack(client.messages()[0])
    opened = client.server._opened
    assert opened is not None
    (subscription,) = opened.subscriptions.by_key.values()
    assert subscription.refs is not None
    assert len(subscription.refs) < 100


def test_selector() -> None:
    """Headers are texts; a selector compares them with numbers all the same, as in ActiveMQ."""
    broker = Broker()
    client = Client(broker)
    client.subscribe(selector="price > 10 AND colour = 'red'")
    client.send("1", price="9", colour="red")
    client.send("2", price="11", colour="red")
    client.send("3", price="12", colour="blue")
    broker.settle()
    assert client.bodies() == [b"2"]


def test_browser() -> None:
    """A browser sees what waits, is told of the end, and takes nothing."""
    broker = Broker()
    client = Client(broker)
    client.send("1", persistent="true")
    client.send("2")
    client.subscribe(browser="true", id="b")
    broker.settle()
    *frames, end = client.messages()
    assert [frame.body for frame in frames] == [b"1", b"2"]
    assert end.headers == {"subscription": "b", "browser": "end", "destination": QUEUE, "message-id": "0"}
    assert waiting(broker) == 2


def test_browser_refusals() -> None:
    """1.0 has no browsers, and what is only looked at cannot be refused."""
    client = Client(Broker(), "1.0")
    client.subscribe(browser="true")
    assert client.error().startswith("Queue Browser feature")
    broker = Broker()
    client = Client(broker)
    client.send()
    client.subscribe(browser="true", ack="client")
    broker.settle()
    client.ack(client.messages()[0], "NACK")
    assert client.error().startswith("Cannot Nack")


def test_durable_subscriptions(version: str) -> None:
    """What is sent while the subscriber is away waits for it; UNSUBSCRIBE with the name ends that."""
    broker = Broker()
    durable = {"activemq.subscriptionName": "me"}
    client, sender = Client(broker, version, client_id="me"), Client(broker)
    client.request("SUBSCRIBE", destination=TOPIC, id="1", **durable)
    client.request("UNSUBSCRIBE", id="1")
    sender.send("up", TOPIC, persistent="true")
    broker.settle()
    assert client.messages() == []
    client.subscribe(TOPIC, **durable)
    broker.settle()
    assert client.bodies() == [b"up"]
    client.request("UNSUBSCRIBE", destination=TOPIC, id="1", **durable)
    assert broker.region.store.state.subscriptions == {}
    client.say("UNSUBSCRIBE", destination=TOPIC, id="1", **durable)
    assert client.error()


def test_unsubscribe(version: str) -> None:
    """Nothing more comes; in 1.0 the destination names the subscription, too."""
    broker = Broker()
    client = Client(broker, version)
    client.subscribe()
    client.request("UNSUBSCRIBE", **({"destination": QUEUE} if version == "1.0" else {"id": "1"}))
    client.send()
    broker.settle()
    assert client.messages() == []
    client.subscribe()
    broker.settle()
    assert client.bodies() == [b"hello"]


def test_no_local() -> None:
    """Who does not want to hear itself does not."""
    broker = Broker()
    client = Client(broker)
    client.subscribe(TOPIC, **{"activemq.noLocal": "true"})
    client.send("mine", TOPIC)
    Client(broker).send("another's", TOPIC)
    broker.settle()
    assert client.bodies() == [b"another's"]


def test_exclusive_and_priority() -> None:
    """One consumer may have it all: the exclusive one, or the one that goes first."""
    broker = Broker()
    one, two, first = Client(broker), Client(broker), Client(broker)
    one.subscribe()
    two.subscribe(**{"activemq.exclusive": "true"})
    one.subscribe("/queue/other", "2")
    first.subscribe("/queue/other", "2", **{"activemq.priority": "10"})
    for _ in range(4):
        one.send()
        one.send(destination="/queue/other")
    broker.settle()
    assert [len(each.messages()) for each in (one, two, first)] == [0, 4, 4]


def test_groups() -> None:
    """A group's messages go to one consumer, which is told when it gets the group."""
    broker = Broker()
    one, two = Client(broker), Client(broker)
    one.subscribe()
    two.subscribe()
    for number in range(6):
        one.send(f"{number}", JMSXGroupID=f"g{number % 2}", JMSXGroupSeq=f"{number}")
    broker.settle()
    groups = [each.messages() for each in (one, two)]
    assert sorted([{frame.headers["JMSXGroupID"] for frame in each} for each in groups], key=str) == [
        {"g0"},
        {"g1"},
    ]
    for each in groups:
        assert [frame.headers.get("JMSXGroupFirstForConsumer") for frame in each] == ["true", None, None]


def test_scheduled() -> None:
    """A message can be due later."""
    broker = Broker()
    client = Client(broker)
    client.subscribe()
    client.send(AMQ_SCHEDULED_DELAY="1000")
    broker.settle()
    assert client.messages() == []
    broker.region.advance(broker.region.now_ms + 1000)
    broker.settle()
    (frame,) = client.messages()
    assert frame.body == b"hello"
    assert "scheduledJobId" in frame.headers


# ---- transactions


def test_commit(version: str) -> None:
    """Sends and acknowledgements count when the transaction is committed, all at once."""
    broker = Broker()
    client, other = Client(broker, version), Client(broker)
    frames = dispatched(client, 2, ack="client")
    client.request("BEGIN", transaction="t")
    client.send("new", "/queue/other", transaction="t", persistent="true")
    client.ack(frames[1], transaction="t")
    other.subscribe("/queue/other")
    broker.settle()
    assert other.messages() == []
    assert waiting(broker) == 2
    client.request("COMMIT", transaction="t")
    assert waiting(broker) == 0
    assert other.bodies() == [b"new"]


def test_abort(version: str) -> None:
    """What was done in it was not done; messages can be acknowledged again."""
    broker = Broker()
    client = Client(broker, version)
    frames = dispatched(client, 2, ack="client-individual")
    client.say("BEGIN", transaction="t")
    client.send("new", "/queue/other", transaction="t")
    client.ack(frames[0], transaction="t")
    client.request("ABORT", transaction="t")
    assert waiting(broker) == 2
    client.ack(frames[0])
    client.ack(frames[1])
    assert waiting(broker) == 0
    client.say("COMMIT", transaction="t")
    assert client.error() == "Invalid transaction id: t"


def test_begin_twice() -> None:
    """A name is one transaction's; another may have it afterwards."""
    client = Client(Broker())
    client.request("BEGIN", transaction="t")
    client.request("COMMIT", transaction="t")
    client.request("BEGIN", transaction="t")
    client.say("BEGIN", transaction="t")
    assert client.error() == "The transaction was already started: t"


def test_lost_connection_rolls_back() -> None:
    """A transaction that is open when the connection ends has not happened."""
    broker = Broker()
    client = Client(broker)
    client.say("BEGIN", transaction="t")
    client.send("new", transaction="t")
    client.server.connection_lost("")
    assert Destination.queue("workshop.test") not in broker.region.targets or waiting(broker) == 0


@pytest.mark.parametrize("abort_connection", ["false", "true"])
def test_too_slow(abort_connection: str) -> None:
    """STOMP cannot say that a subscription alone is closed: the connection ends, others get its messages."""
    strategy = "policy.queue.>.slowConsumerStrategy"
    policies = {
        strategy: "abortSlowConsumerStrategy",
        f"{strategy}.maxSlowDuration": "1000",
        f"{strategy}.checkPeriod": "500",
        f"{strategy}.abortConnection": abort_connection,
    }
    broker = Broker(new_region(policies=policies))
    client, other = Client(broker), Client(broker)
    client.subscribe(ack="client", **{"activemq.prefetchSize": "1"})
    for number in range(3):
        other.send(f"{number}")
    for _ in range(6):
        broker.settle()
        broker.region.advance(broker.region.now_ms + 500)
    broker.settle()
    assert "slow" in client.error()
    other.subscribe()
    broker.settle()
    assert other.bodies() == [b"0", b"1", b"2"]


def test_a_policy_without_prefetch() -> None:
    """Where clients are to pull, STOMP, which cannot, gets one message at a time."""
    broker = Broker(new_region(policies={"policy.queue.>.queuePrefetch": "0"}))
    client = Client(broker)
    client.subscribe(ack="client")
    for number in range(3):
        client.send(f"{number}")
    broker.settle()
    (frame,) = client.messages()
    client.ack(frame)
    broker.settle()
    assert client.bodies() == [b"1"]


def test_messages_for_which_there_is_no_room_on_the_way_wait() -> None:
    """A subscriber whose transport takes no more is sent no more."""
    broker = Broker()
    client = Client(broker)
    client.subscribe()
    connection = client.server.connection
    assert connection is not None
    connection.pause()
    client.send()
    broker.settle()
    assert client.messages() == []
    connection.replenish()
    broker.settle()
    assert client.bodies() == [b"hello"]
