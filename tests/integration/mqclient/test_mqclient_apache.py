"""Our client against Apache's broker, which has not read our specification."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker
from support.mqclient_programs import QUICK, receive
from support.zookeeper import free_port

from mqclient import (
    AcknowledgeMode,
    BytesMessage,
    Connection,
    ConnectionFactory,
    DeliveryMode,
    MapMessage,
    StreamMessage,
    TextMessage,
)
from mqclient.errors import AuthenticationFailed, InvalidClientId, InvalidSelector

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def url(programs: JavaPrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An Apache broker."""
    with apache_broker(programs, tmp_path_factory.mktemp("data")) as url:
        yield url


@pytest.fixture(params=["", "?wireFormat.tightEncodingEnabled=true&wireFormat.cacheEnabled=true"])
def connection(request: pytest.FixtureRequest, url: str) -> Iterator[Connection]:
    """A connection in loose encoding, and one in tight encoding with a cache."""
    with ConnectionFactory(url + request.param, "admin", "admin").create_connection() as made:
        made.start()
        yield made


@pytest.fixture
def queue(counter: Iterator[int] = itertools.count()) -> str:  # noqa: B008 - one counter for all is the point
    """A queue nobody has used."""
    return f"ours.{next(counter)}"


def test_bodies(connection: Connection, queue: str) -> None:
    """All kinds of messages go there and come back."""
    session = connection.create_session()
    producer, consumer = session.create_producer(queue), session.create_consumer(queue)
    for message, attribute in (
        (TextMessage("Grüße \0 \U0001f600"), "text"),
        (BytesMessage(b"\0\xff" * 50_000), "data"),
        (MapMessage({"a": 1, "b": 2.5, "c": None, "d": b"x", "e": True, "f": 2**40}), "entries"),
        (StreamMessage([1, "two", b"3", None]), "values"),
    ):
        message.properties = {"number": 1, "text": "x"}
        producer.send(message, priority=7)
        received = consumer.receive(30.0)
        assert type(received) is type(message)
        assert getattr(received, attribute) == getattr(message, attribute)
        assert (received.properties, received.message_id) == (message.properties, message.message_id)


def test_acknowledge_modes(connection: Connection, queue: str) -> None:
    """What was acknowledged is gone, what was not comes back as redelivered."""
    producer = connection.create_session().create_producer(queue)
    for number in range(6):
        producer.send(TextMessage(str(number)))
    session = connection.create_session(acknowledge_mode=AcknowledgeMode.CLIENT)
    consumer = session.create_consumer(queue)
    messages = [consumer.receive(30.0) for _ in range(3)]
    assert messages[1] is not None
    messages[1].acknowledge()
    assert receive(consumer, 1) == ["3"]
    session.close()
    individual = connection.create_session(acknowledge_mode=AcknowledgeMode.INDIVIDUAL)
    consumer = individual.create_consumer(queue)
    messages = [consumer.receive(30.0) for _ in range(3)]
    assert [message.redelivered for message in messages if message] == [True, False, False]
    assert messages[1] is not None
    messages[1].acknowledge()
    individual.close()
    lazy = connection.create_session(acknowledge_mode=AcknowledgeMode.DUPS_OK).create_consumer(queue)
    assert receive(lazy, 2) == ["3", "5"]
    assert lazy.receive(0.2) is None


def test_transactions(connection: Connection, queue: str) -> None:
    """Commit and rollback, for sends and receives."""
    session = connection.create_session(transacted=True)
    session.redelivery_policy = QUICK
    producer, consumer = session.create_producer(queue), session.create_consumer(queue)
    producer.send(TextMessage("undone"))
    session.rollback()
    for number in range(3):
        producer.send(TextMessage(str(number)))
    session.commit()
    assert receive(consumer, 3) == ["0", "1", "2"]
    session.rollback()
    assert receive(consumer, 3) == ["0", "1", "2"]
    session.commit()
    assert consumer.receive(0.2) is None


def test_dead_letters(connection: Connection, queue: str) -> None:
    """A message rolled back too often moves to Apache's dead letter queue."""
    session = connection.create_session(transacted=True)
    session.redelivery_policy = QUICK
    producer, consumer = session.create_producer(queue), session.create_consumer(queue)
    producer.send(TextMessage(f"bad {queue}"))
    session.commit()
    for _ in range(3):
        receive(consumer, 1)
        session.rollback()
    assert consumer.receive(0.2) is None
    dead = connection.create_session().create_consumer("ActiveMQ.DLQ")
    assert receive(dead, 1) == [f"bad {queue}"]


def test_browsing_and_pulling(connection: Connection, queue: str) -> None:
    """A browser takes nothing; a pulling consumer takes what it asks for."""
    session = connection.create_session()
    producer = session.create_producer(queue)
    for number in range(30):
        producer.send(TextMessage(str(number)), DeliveryMode.NON_PERSISTENT)
    with session.create_browser(queue) as browser:
        texts = [message.text for message in browser if isinstance(message, TextMessage)]
    assert texts == [str(number) for number in range(30)]
    consumer = session.create_consumer(f"{queue}?consumer.prefetchSize=0")
    assert receive(consumer, 30) == texts
    assert consumer.receive(0.2) is None
    assert consumer.receive_no_wait() is None


def test_durable_subscribers(url: str, queue: str) -> None:
    """A durable subscriber gets what was sent while it was away."""
    factory = ConnectionFactory(url, "admin", "admin")
    with factory.create_connection(f"client {queue}") as connection:
        connection.start()
        session = connection.create_session()
        session.create_durable_subscriber(queue, "subscriber").close()
        session.create_producer(f"topic://{queue}").send(TextMessage("while away"))
        subscriber = session.create_durable_subscriber(queue, "subscriber")
        assert receive(subscriber, 1) == ["while away"]
        subscriber.close()
        session.unsubscribe("subscriber")


def test_request_and_reply(connection: Connection, queue: str) -> None:
    """Temporary queues carry answers."""
    session = connection.create_session()
    answers = session.create_temporary_queue()
    question = TextMessage("question")
    question.reply_to = answers
    session.create_producer(queue).send(question)
    asked = session.create_consumer(queue).receive(30.0)
    assert asked is not None
    assert asked.reply_to == answers
    session.create_producer().send(TextMessage("answer"), destination=asked.reply_to)
    consumer = session.create_consumer(answers)
    assert receive(consumer, 1) == ["answer"]
    consumer.close()
    session.delete_temporary(answers)


def test_selectors(connection: Connection, queue: str) -> None:
    """A consumer gets what matches; a selector that is none is refused."""
    session = connection.create_session()
    producer = session.create_producer(queue)
    for colour in ("red", "blue"):
        message = TextMessage(colour)
        message.properties = {"colour": colour}
        producer.send(message)
    assert receive(session.create_consumer(queue, "colour = 'blue'"), 1) == ["blue"]
    with pytest.raises(InvalidSelector):
        session.create_consumer(queue, "no selector ((")


def test_refused_logins(url: str) -> None:
    """A wrong password and a client id in use are told."""
    with pytest.raises(AuthenticationFailed):
        ConnectionFactory(f"failover:({url})", "admin", "wrong").create_connection()
    factory = ConnectionFactory(url, "admin", "admin")
    with factory.create_connection("twice"), pytest.raises(InvalidClientId):
        factory.create_connection("twice")


def test_a_restarted_broker_is_found_again(programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's broker is killed and started again on its store: nothing is lost, repeats are dropped."""
    port = free_port()
    with apache_broker(programs, tmp_path / "data", port=port) as url:
        factory = ConnectionFactory(f"failover:({url})?maxReconnectDelay=100", "admin", "admin")
        connection = factory.create_connection()
        connection.start()
        session = connection.create_session()
        producer, consumer = session.create_producer("q"), session.create_consumer("q")
        for number in range(20):
            producer.send(TextMessage(str(number)))
        assert receive(consumer, 10) == [str(number) for number in range(10)]
    with apache_broker(programs, tmp_path / "data", port=port), connection:
        for number in range(20, 30):
            producer.send(TextMessage(str(number)))
        assert receive(consumer, 20) == [str(number) for number in range(10, 30)]
        assert consumer.receive(0.2) is None
