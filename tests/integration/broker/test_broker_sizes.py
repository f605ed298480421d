"""Messages as large as they may be, larger ones, and as many destinations as there may be, with processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from mqclient import BytesMessage, Connection, ConnectionFactory, TextMessage
from mqclient.errors import ClientError

pytestmark = pytest.mark.integration

MEBIBYTE = 1024 * 1024
LARGE_BYTES = 100 * MEBIBYTE - 1024
"""Of a body that fits, with its headers, a frame of 100 MiB."""
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


def is_at_work(connection: Connection) -> bool:
    """Whether somebody else can send and receive."""
    session = connection.create_session()
    session.create_producer("bystander").send(TextMessage("still here"))
    with session.create_consumer("bystander") as consumer:
        message = consumer.receive(30.0)
    return isinstance(message, TextMessage) and message.text == "still here"


def test_a_message_of_100_mebibytes(broker_with: BrokerWith) -> None:
    """It is stored, survives kill -9, and comes out as it went in, also if it was scheduled."""
    body = bytes(range(256)) * (LARGE_BYTES // 256)
    broker = broker_with()
    with connect(broker) as connection:
        producer = connection.create_session().create_producer("large")
        producer.send(BytesMessage(body))
        producer.delivery_delay_ms = 10
        producer.send(BytesMessage(body[: len(body) - 4096]))
    broker.kill()
    broker = broker_with()
    with connect(broker) as connection, connect(broker) as bystander:
        consumer = connection.create_session().create_consumer("large?consumer.prefetchSize=1")
        for size in (len(body), len(body) - 4096):
            message = consumer.receive(60.0)
            assert isinstance(message, BytesMessage)
            assert message.data == body[:size]
        assert is_at_work(bystander)


def test_a_message_above_the_limit_is_refused(broker_with: BrokerWith) -> None:
    """Its sender hears of it, nobody else does, and nothing of it is kept."""
    broker = broker_with()
    with connect(broker) as bystander:
        connection = connect(broker)
        try:
            producer = connection.create_session().create_producer("large")
            with pytest.raises(ClientError):
                producer.send(BytesMessage(bytes(100 * MEBIBYTE + 1)))
        finally:
            connection.close()
        assert is_at_work(bystander)
        assert bystander.create_session().create_consumer("large").receive_no_wait() is None


def test_more_destinations_than_there_may_be(broker_with: BrokerWith) -> None:
    """10,000 can be made; further ones are refused, by name of the limit, and disturb nobody."""
    broker = broker_with()
    with connect(broker) as connection, connect(broker) as bystander:
        assert is_at_work(bystander)
        session = connection.create_session()
        producer = session.create_producer()
        refused: list[ClientError] = []
        for number in range(10_100):
            producer.send(
                TextMessage("x"),
                destination=session.create_queue(f"many.{number}"),
                on_completion=lambda _, error: refused.append(error) if error is not None else None,
            )
        producer.flush(60.0)
        producer.close()
        wait_until(lambda: len(refused) > 100, 30.0, lambda: f"{len(refused)} were refused")
        assert {str(each) for each in refused} == {str(refused[0])}
        assert "10000 destinations" in str(refused[0])
        one_more = connection.create_session()
        with pytest.raises(ClientError, match="10000 destinations"):
            one_more.create_consumer("one.more")
        assert is_at_work(bystander)
        assert len(list(one_more.create_browser("many.5"))) == 1
