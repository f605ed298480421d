"""A broker process that redelivers, buries and expires messages, across crashes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

from mqclient import (
    AcknowledgeMode,
    Connection,
    ConnectionFactory,
    Message,
    MessageConsumer,
    RedeliveryPolicy,
    TextMessage,
)

pytestmark = pytest.mark.integration

BrokerWith = Callable[..., OurBroker]
AT_ONCE = RedeliveryPolicy(maximum_redeliveries=0, initial_redelivery_delay_ms=0, redelivery_delay_ms=0)
"""What a client gives up it gives up when it is first rolled back."""


@pytest.fixture
def broker_with(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[BrokerWith]:
    """Starts a broker on the same store each time."""
    add_user(zookeeper)
    with ExitStack() as stack:

        def start(**properties: str) -> OurBroker:
            broker = OurBroker(zookeeper, tmp_path, port=free_port(), properties=properties)
            stack.enter_context(running(broker))
            broker.wait_listening()
            return broker

        yield start


def connect(broker: OurBroker) -> Connection:
    """A started connection."""
    connection = ConnectionFactory(f"{broker.url}?jms.clientID=client", "admin", "admin").create_connection()
    connection.start()
    return connection


def take(consumer: MessageConsumer) -> Message:
    """The next message."""
    message = consumer.receive(30.0)
    assert message is not None
    return message


def give_up(connection: Connection, queue: str) -> None:
    """Roll the next message back, for good; when this returns the broker's journal knows it."""
    session = connection.create_session(transacted=True)
    session.redelivery_policy = AT_ONCE
    consumer = session.create_consumer(queue)
    take(consumer)
    session.rollback()
    assert consumer.receive_no_wait() is None
    consumer.close()
    session.close()


def test_deliveries_are_counted_across_crashes(broker_with: BrokerWith) -> None:
    """After each kill -9 JMSXDeliveryCount goes on, of queues and of durable subscriptions."""
    for count in (1, 2, 3):
        broker = broker_with()
        with connect(broker) as connection:
            session = connection.create_session(acknowledge_mode=AcknowledgeMode.CLIENT)
            consumer = session.create_consumer("counted")
            subscriber = session.create_durable_subscriber("news", "all")
            if count == 1:
                session.create_producer("counted").send(TextMessage("m"))
                session.create_producer(session.create_topic("news")).send(TextMessage("n"))
            for each in (consumer, subscriber):
                message = take(each)
                assert (message.delivery_count, message.redelivered) == (count, count > 1)
                each.close()
        broker.kill()


def test_a_delayed_redelivery_survives_a_crash(broker_with: BrokerWith) -> None:
    """What the broker is to deliver again it delivers although it was killed, and counts on."""
    policies = {
        "policy.queue.again.redeliveryPolicy.maximumRedeliveries": "1",
        "policy.queue.again.redeliveryPolicy.initialRedeliveryDelay": "1500",
    }
    broker = broker_with(**policies)
    with connect(broker) as connection:
        session = connection.create_session()
        session.create_producer("again").send(TextMessage("m"))
        give_up(connection, "again")
        session.create_producer("other").send(TextMessage("known to be durable"))
    broker.kill()
    broker = broker_with(**policies)
    with connect(broker) as connection:
        session = connection.create_session(transacted=True)
        session.redelivery_policy = AT_ONCE
        consumer = session.create_consumer("again")
        message = take(consumer)
        assert (message.delivery_count, "redeliveryDelay" in message.properties) == (2, True)
        session.rollback()
        assert consumer.receive_no_wait() is None
        dead = take(session.create_consumer("ActiveMQ.DLQ"))
        assert isinstance(dead, TextMessage)
        assert dead.text == "m"
        session.commit()


def test_a_dead_letter_survives_a_crash(broker_with: BrokerWith) -> None:
    """It is in its place once, and not where it was, with what has become of it."""
    policies = {"policy.queue.bad.deadLetterStrategy": "individualDeadLetterStrategy"}
    broker = broker_with(**policies)
    with connect(broker) as connection:
        session = connection.create_session()
        session.create_producer("bad").send(TextMessage("m"))
        give_up(connection, "bad")
        session.create_producer("other").send(TextMessage("known to be durable"))
    broker.kill()
    broker = broker_with(**policies)
    with connect(broker) as connection:
        session = connection.create_session()
        dead = take(session.create_consumer("ActiveMQ.DLQ.Queue.bad"))
        assert str(dead.properties["dlqDeliveryFailureCause"]).startswith("java.lang.Throwable: ")
        assert session.create_consumer("bad").receive(0.2) is None


def test_messages_expire_after_a_crash_although_nobody_consumes(broker_with: BrokerWith) -> None:
    """The new master finds them without being asked, and they are dead letters."""
    policies = {"policy.default.expireMessagesPeriod": "200"}
    broker = broker_with(**policies)
    with connect(broker) as connection:
        producer = connection.create_session().create_producer("short")
        for number in range(300):
            producer.send(TextMessage(str(number)), time_to_live_ms=5_000 if number % 3 else 0)
    broker.kill()
    broker = broker_with(**policies)
    with connect(broker) as connection:
        session = connection.create_session()
        consumer = session.create_consumer("ActiveMQ.DLQ")
        for _ in range(200):
            message = take(consumer)
            assert "Message Expired" in str(message.properties["dlqDeliveryFailureCause"])
        left = session.create_consumer("short")
        texts = [each.text for _ in range(100) if isinstance(each := take(left), TextMessage)]
        assert texts == [str(number) for number in range(0, 300, 3)]
