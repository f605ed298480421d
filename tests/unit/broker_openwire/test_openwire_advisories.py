"""Advisories as OpenWire writes them."""

from dataclasses import replace

import pytest
from support.openwire_client import Broker, Client
from support.region import new_region

from broker.openwire.commands import (
    ActiveMQDestination,
    ActiveMQMessage,
    ActiveMQQueue,
    ActiveMQTextMessage,
    ActiveMQTopic,
    ConnectionId,
    ConnectionInfo,
    ConsumerId,
    ConsumerInfo,
    DataStructure,
    DestinationInfo,
    MessageDispatch,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    RemoveSubscriptionInfo,
    SessionId,
    SessionInfo,
)
from broker.openwire.wireformat import WireFormatOptions
from broker.primitive_map import decode_map

PREFIX = "ActiveMQ.Advisory."
PLAIN = WireFormatOptions()
TIGHT = WireFormatOptions(tight_encoding_enabled=True, cache_enabled=True)


def listener(broker: Broker, name: str, options: WireFormatOptions = PLAIN) -> Client:
    """A client that listens."""
    client = Client(broker, f"l{len(broker.clients)}", options=options)
    client.request(client.consumer(destination=ActiveMQTopic(PREFIX + name)))
    return client


def heard(client: Client) -> list[tuple[ActiveMQDestination | None, DataStructure | None]]:
    """Topics and what the advisories carry."""
    client.broker.settle()
    found = []
    for dispatch in client.take(MessageDispatch):
        assert isinstance(dispatch.message, ActiveMQMessage)
        assert dispatch.message.type == "Advisory"
        found.append((dispatch.message.destination, dispatch.message.data_structure))
    return found


@pytest.mark.parametrize("options", [PLAIN, TIGHT])
def test_consumers_and_producers_are_told_as_their_commands(options: WireFormatOptions) -> None:
    """What opened them, and the removal of their ids; in every encoding."""
    broker = Broker(tight_encoding=options.tight_encoding_enabled, cache=options.cache_enabled)
    consumers, producers = listener(broker, "Consumer.>", options), listener(broker, "Producer.>", options)
    client = Client(broker, "c1", options)
    queue = ActiveMQQueue("workshop.test")
    client.request(client.consumer(7, queue, prefetch_size=5, selector="a = 1", priority=3))
    client.request(client.producer(9, destination=queue))
    client.request(RemoveInfo(object_id=ProducerId("c1", 9, 1)))
    client.request(RemoveInfo(object_id=ConsumerId("c1", 1, 7)))
    topic = ActiveMQTopic(f"{PREFIX}Consumer.Queue.workshop.test")
    assert heard(consumers) == [
        (
            topic,
            ConsumerInfo(
                consumer_id=ConsumerId("c1", 1, 7),
                destination=queue,
                prefetch_size=5,
                dispatch_async=True,
                selector="a = 1",
                priority=3,
            ),
        ),
        (topic, RemoveInfo(object_id=ConsumerId("c1", 1, 7))),
    ]
    topic = ActiveMQTopic(f"{PREFIX}Producer.Queue.workshop.test")
    assert heard(producers) == [
        (topic, ProducerInfo(producer_id=ProducerId("c1", 9, 1), destination=queue)),
        (topic, RemoveInfo(object_id=ProducerId("c1", 9, 1))),
    ]


def test_connections_are_told_without_their_password() -> None:
    """The user's name may be known."""
    broker = Broker()
    client = listener(broker, "Connection")
    Client(broker, "c1").request(RemoveInfo(object_id=ConnectionId("c1")))
    own, opened = heard(client)[:2]
    assert isinstance(own[1], ConnectionInfo)
    assert opened == (
        ActiveMQTopic(f"{PREFIX}Connection"),
        ConnectionInfo(
            connection_id=ConnectionId("c1"),
            user_name="admin",
            password="",
            manageable=True,
            client_ip="tcp://127.0.0.1:2",
        ),
    )


def test_the_end_of_destinations_and_subscriptions_is_told() -> None:
    """As their commands."""
    broker = Broker()
    client = listener(broker, "Consumer.>,ActiveMQ.Advisory.Topic")
    other = Client(broker, "c1", login=False)
    other.request(other.info(client_id="client"))
    other.request(SessionInfo(session_id=SessionId("c1", 1)))
    topic = ActiveMQTopic("prices")
    other.request(other.consumer(destination=topic, subscription_name="s"))
    other.request(RemoveInfo(object_id=ConsumerId("c1", 1, 1)))
    removal = RemoveSubscriptionInfo(
        connection_id=ConnectionId("c1"), client_id="client", subscription_name="s"
    )
    other.request(replace(removal))
    other.request(DestinationInfo(destination=topic, operation_type=1))
    told = heard(client)
    assert told[0] == (ActiveMQTopic(f"{PREFIX}Topic"), DestinationInfo(destination=topic))
    assert told[-2:] == [
        (ActiveMQTopic(f"{PREFIX}Consumer.Topic.prices"), removal),
        (ActiveMQTopic(f"{PREFIX}Topic"), DestinationInfo(destination=topic, operation_type=1)),
    ]


def test_a_message_is_told_without_its_body() -> None:
    """Unless the policy says otherwise; its properties name it."""
    policies = {
        "policy.queue.>.advisoryForDelivery": "true",
        "policy.queue.with.>.includeBodyForAdvisory": "true",
    }
    broker = Broker(new_region(policies=policies))
    client = listener(broker, "MessageDelivered.>")
    sender = Client(broker, "c1")
    sender.request(sender.producer())
    for name in ("without", "with"):
        sender.request(sender.text("a", ActiveMQQueue(name)))
    broker.settle()
    told = [dispatch.message for dispatch in client.take(MessageDispatch)]
    assert [each.destination for each in told if each is not None] == [
        ActiveMQTopic(f"{PREFIX}MessageDelivered.Queue.without"),
        ActiveMQTopic(f"{PREFIX}MessageDelivered.Queue.with"),
    ]
    bodies = []
    for each in told:
        assert each is not None
        assert isinstance(each.data_structure, ActiveMQTextMessage)
        bodies.append(each.data_structure.content)
        properties = decode_map(each.marshalled_properties or b"") or {}
        assert properties["orignalMessageId"] == f"c1:1:1:{len(bodies)}"
    assert bodies == [None, b"a"]


def test_all_listeners_are_sent_the_same_frame() -> None:
    """It is written once, however many listen; each acknowledges its own."""
    broker = Broker()
    clients = [listener(broker, "Queue") for _ in range(5)]
    sender = Client(broker, "c1")
    sender.request(sender.producer())
    sender.request(sender.text("a"))
    broker.settle()
    for client in clients:
        (message,) = client.received()
        assert message is not None
        client.request(client.ack(message))
        assert client.server.connection is not None
        (consumer,) = client.server.connection.consumers.values()
        assert not consumer.dispatched
