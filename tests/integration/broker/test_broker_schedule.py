"""Scheduled messages and broker processes: kill -9 before and while they are due, and their management."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from mqclient import Connection, ConnectionFactory, MessageConsumer, TextMessage

pytestmark = pytest.mark.integration

StartBroker = Callable[[str], OurBroker]
MANAGEMENT = "topic://ActiveMQ.Scheduler.Management"
LAST = "the last"


@pytest.fixture
def start(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[StartBroker]:
    """Starts brokers on one store, by the names of their containers: the first is the master."""
    add_user(zookeeper)
    with ExitStack() as stack:

        def begin(container: str) -> OurBroker:
            broker = OurBroker(zookeeper, tmp_path, port=free_port(), container=container)
            stack.enter_context(running(broker))
            return broker

        yield begin


def connect(*brokers: OurBroker) -> Connection:
    """A started connection to whichever is the master."""
    urls = ",".join(broker.url for broker in brokers)
    connection = ConnectionFactory(f"failover:({urls})", "admin", "admin").create_connection()
    connection.start()
    return connection


def schedule(connection: Connection, queue: str, texts: list[str], **properties: Any) -> None:
    """Sends messages that are due later; a property may depend on the place of a message."""
    producer = connection.create_session().create_producer(queue)
    for place, text in enumerate(texts):
        message = TextMessage(text)
        message.properties = {
            f"AMQ_SCHEDULED_{name.upper()}": value(place) if callable(value) else value
            for name, value in properties.items()
        }
        producer.send(message)


def text_of(consumer: MessageConsumer) -> str:
    """The text of the next message."""
    message = consumer.receive(30.0)
    assert isinstance(message, TextMessage)
    return message.text or ""


def until_last(connection: Connection, queue: str, count: int) -> list[str]:
    """What comes out of a queue: so many messages, and what is there of others up to one sent now."""
    session = connection.create_session()
    consumer = session.create_consumer(queue)
    found = [text_of(consumer) for _ in range(count)]
    session.create_producer(queue).send(TextMessage(LAST))
    while (text := text_of(consumer)) != LAST:
        found.append(text)
    return found


def browsed(connection: Connection, queue: str) -> int:
    """How many messages a queue holds."""
    return sum(1 for _ in connection.create_session().create_browser(queue))


def test_what_is_scheduled_survives_kill_9_and_is_sent_by_the_slave(start: StartBroker) -> None:
    """The master dies with its schedule before anything is due: each message comes once, none is missing."""
    master, slave = start("first"), None
    master.wait_listening()
    slave = start("second")
    texts = [f"m{number}" for number in range(200)]
    with connect(master, slave) as connection:
        schedule(connection, "later", texts, delay=lambda place: 4_000 + place)
        master.kill()
        assert until_last(connection, "later", len(texts)) == texts


def test_kill_9_while_messages_are_due_loses_and_doubles_none(start: StartBroker) -> None:
    """The master dies between two deliveries; the new one knows which have been, whichever those are."""
    master = start("first")
    master.wait_listening()
    slave = start("second")
    texts = [f"m{number}" for number in range(400)]
    with connect(master, slave) as connection:
        schedule(connection, "now", texts, delay=lambda place: 1_500 + 4 * place)
        wait_until(lambda: browsed(connection, "now") >= 20, 30.0, lambda: "the first are delivered")
        master.kill()
        found = until_last(connection, "now", len(texts))
        assert sorted(found) == sorted(texts)


def test_repetitions_go_on_after_a_restart(start: StartBroker) -> None:
    """Neither more nor fewer than were asked for."""
    broker = start("first")
    broker.wait_listening()
    with connect(broker) as connection:
        schedule(connection, "again", ["m"], delay=200, period=200, repeat=9)
        wait_until(lambda: browsed(connection, "again") >= 3, 30.0, lambda: "the first three are delivered")
    broker.kill()
    broker = start("second")
    broker.wait_listening()
    with connect(broker) as connection:
        assert until_last(connection, "again", 10) == ["m"] * 10


def test_what_is_scheduled_is_browsed_and_cancelled(start: StartBroker) -> None:
    """By messages, as with the original; what is cancelled does not come, also not after kill -9."""
    broker = start("first")
    broker.wait_listening()
    with connect(broker) as connection:
        schedule(connection, "later", ["keep", "cancel"], delay=lambda place: 3_000 + place)
        session = connection.create_session()
        answers = session.create_temporary_queue()
        consumer = session.create_consumer(answers)
        request = TextMessage()
        request.properties = {"AMQ_SCHEDULER_ACTION": "BROWSE"}
        request.reply_to = answers
        session.create_producer(MANAGEMENT).send(request)
        found = [consumer.receive(30.0), consumer.receive(30.0)]
        assert [each.text for each in found if isinstance(each, TextMessage)] == ["keep", "cancel"]
        assert found[1] is not None
        request.properties = {
            "AMQ_SCHEDULER_ACTION": "REMOVE",
            "scheduledJobId": found[1].properties["scheduledJobId"],
        }
        session.create_producer(MANAGEMENT).send(request)
    broker.kill()
    broker = start("second")
    broker.wait_listening()
    with connect(broker) as connection:
        assert until_last(connection, "later", 1) == ["keep"]


def test_a_producer_delays_its_messages(start: StartBroker) -> None:
    """JMS 2.0's delivery delay, alone and in a transaction, and the time that the consumer is told."""
    broker = start("first")
    broker.wait_listening()
    with connect(broker) as connection:
        session = connection.create_session(transacted=True)
        producer = session.create_producer("delayed")
        producer.delivery_delay_ms = 300
        sent = TextMessage("later")
        producer.send(sent)
        producer.delivery_delay_ms = 0
        producer.send(TextMessage("now"))
        session.commit()
        consumer = connection.create_session().create_consumer("delayed")
        first, second = consumer.receive(30.0), consumer.receive(30.0)
        assert isinstance(first, TextMessage)
        assert isinstance(second, TextMessage)
        assert (first.text, second.text) == ("now", "later")
        assert (first.delivery_time, second.delivery_time) == (first.timestamp, sent.delivery_time)
        assert sent.delivery_time >= sent.timestamp + 300
        assert second.properties.keys() == {"scheduledJobId"}
