"""A broker process whose consumers choose: selectors, priorities and prefetch by policy, across a crash."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

from mqclient import Connection, ConnectionFactory, MessageConsumer, TextMessage
from mqclient.errors import InvalidSelector

pytestmark = pytest.mark.integration

BrokerWith = Callable[..., OurBroker]


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
    connection = ConnectionFactory(broker.url, "admin", "admin").create_connection()
    connection.start()
    return connection


def take(consumer: MessageConsumer, count: int) -> list[str | None]:
    """The texts of the next messages."""
    found: list[str | None] = []
    for _ in range(count):
        message = consumer.receive(30.0)
        assert isinstance(message, TextMessage)
        found.append(message.text)
    return found


def send_coloured(connection: Connection, queue: str, count: int) -> None:
    """Messages of three priorities, every fifth of them red."""
    producer = connection.create_session().create_producer(queue)
    for number in range(count):
        message = TextMessage(str(number))
        message.properties = {"colour": "red" if number % 5 == 0 else "blue", "number": number}
        producer.send(message, priority=(4, 9, 1)[number % 3])


def by_priority(numbers: list[int]) -> list[str]:
    """The order in which they are to come."""
    return [str(each) for each in sorted(numbers, key=lambda each: (-(4, 9, 1)[each % 3], each))]


def test_selectors_and_priorities_survive_a_crash(broker_with: BrokerWith) -> None:
    """After kill -9 consumers get what they select of the backlog, the highest priority first."""
    broker = broker_with()
    with connect(broker) as connection:
        send_coloured(connection, "chosen", 300)
    broker.kill()
    broker = broker_with()
    with connect(broker) as connection:
        session = connection.create_session()
        red = session.create_consumer("chosen", "colour = 'red' AND number >= 100")
        assert take(red, 40) == by_priority(list(range(100, 300, 5)))
        red.close()
    broker.kill()
    broker = broker_with()
    with connect(broker) as connection:
        left = [each for each in range(300) if each % 5 or each < 100]
        assert take(connection.create_session().create_consumer("chosen"), len(left)) == by_priority(left)


def test_an_invalid_selector_is_told_to_the_program(broker_with: BrokerWith) -> None:
    """The client's error says where the selector is wrong, and the connection goes on."""
    with connect(broker_with()) as connection:
        session = connection.create_session()
        with pytest.raises(InvalidSelector, match="position 10"):
            session.create_consumer("q", "colour = = 'red'")
        session.create_producer("q").send(TextMessage("still here"))
        assert take(session.create_consumer("q"), 1) == ["still here"]


def test_a_policy_makes_consumers_pull(broker_with: BrokerWith) -> None:
    """With `queuePrefetch=0` a consumer holds one message, the others are for the next consumer."""
    broker = broker_with(**{"policy.queue.pulled.>.queuePrefetch": "0"})
    with connect(broker) as first, connect(broker) as second:
        consumer = first.create_session().create_consumer("pulled.a")
        producer = first.create_session().create_producer("pulled.a")
        for number in range(3):
            producer.send(TextMessage(str(number)))
        assert take(consumer, 1) == ["0"]
        assert take(second.create_session().create_consumer("pulled.a"), 2) == ["1", "2"]
