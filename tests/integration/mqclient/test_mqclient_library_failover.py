"""What a program sees of failovers: against model brokers on real sockets."""

import threading

import pytest
from support.model_broker import ModelStore
from support.model_broker_server import ModelBroker
from support.mqclient_programs import QUICK, connect, receive, send
from support.waiting import wait_until

from mqclient import (
    AcknowledgeMode,
    Connection,
    ConnectionFactory,
    DeliveryMode,
    TextMessage,
)
from mqclient.errors import (
    ClientError,
    ConnectionClosed,
    ConnectionFailed,
    FailoverTimeout,
    TransactionRolledBack,
)


def cut_and_wait(broker: ModelBroker, connection: Connection) -> None:
    """Cut the connection and wait until the client has noticed."""
    noticed = threading.Event()
    connection.on_interrupted = lambda _: noticed.set()
    broker.cut()
    assert noticed.wait(5.0)


def test_a_failover_does_not_show(connection: Connection, broker: ModelBroker) -> None:
    """Sends, receives and acknowledgements go on after the connection was cut, once each and in order."""
    told: list[str] = []
    connection.on_interrupted = connection.on_resumed = told.append
    session = connection.create_session()
    producer, consumer = session.create_producer("work"), session.create_consumer("work")
    received = []
    for number in range(30):
        producer.send(TextMessage(str(number)))
        if number % 10 == 5:
            broker.cut()
        received += receive(consumer, 1)
    assert received == [str(number) for number in range(30)]
    wait_until(lambda: broker.store.bodies() == [])
    wait_until(lambda: len(told) >= 6)
    assert connection.broker_url == broker.url


def test_a_send_that_was_stored_but_not_answered_is_stored_once(broker: ModelBroker) -> None:
    """The repeat carries the first id, by which the broker drops it."""
    with connect(broker) as connection:
        producer = connection.create_session().create_producer("work")
        broker.with_last(lambda model: setattr(model, "answers", False))
        sender = threading.Thread(target=producer.send, args=(TextMessage("1"),))
        sender.start()
        wait_until(lambda: len(broker.store.bodies()) == 1)
        broker.cut()
        sender.join(5.0)
        assert not sender.is_alive()
    assert broker.store.repeats_dropped == 1
    assert len(broker.store.bodies()) == 1


def test_an_acknowledgement_lost_with_the_connection_is_repeated(broker: ModelBroker) -> None:
    """A consumed message that the next broker dispatches again is not delivered twice."""
    with connect(broker) as connection:
        send(connection, "1", "2")
        consumer = connection.create_session().create_consumer("work")
        broker.with_last(lambda model: setattr(model, "deaf", True))
        assert receive(consumer, 1) == ["1"]
        cut_and_wait(broker, connection)
        assert receive(consumer, 1) == ["2"]
        wait_until(lambda: broker.store.bodies() == [])
        assert consumer.receive(0.05) is None


def test_a_held_message_can_be_acknowledged_after_a_failover(
    connection: Connection, broker: ModelBroker
) -> None:
    """With CLIENT a message received before a failover comes once, and acknowledging it works."""
    send(connection, "1", "2")
    session = connection.create_session(acknowledge_mode=AcknowledgeMode.CLIENT)
    consumer = session.create_consumer("work")
    first = consumer.receive(30.0)
    assert first is not None
    broker.cut()
    assert receive(consumer, 1) == ["2"]
    first.acknowledge()
    wait_until(lambda: broker.store.bodies() == [])


def test_a_transaction_survives_a_failover(connection: Connection, broker: ModelBroker) -> None:
    """What was sent and received before the failover is committed after it, once."""
    send(connection, "in")
    session = connection.create_session(transacted=True)
    producer, consumer = session.create_producer("out"), session.create_consumer("work")
    assert receive(consumer, 1) == ["in"]
    producer.send(TextMessage("out 1"))
    cut_and_wait(broker, connection)
    producer.send(TextMessage("out 2"))
    session.commit()
    assert [content[4:] for content in broker.store.bodies() if content] == [b"out 1", b"out 2"]


def test_a_transaction_whose_messages_went_elsewhere_is_rolled_back(broker: ModelBroker) -> None:
    """If the new broker gives the consumed messages to somebody else, commit must not count."""
    options = "?jms.failoverRedeliveryWaitPeriod=50"
    with connect(broker, options) as connection, connect(broker) as other:
        send(connection, "1")
        session = connection.create_session(transacted=True)
        session.redelivery_policy = QUICK
        consumer = session.create_consumer("work")
        assert receive(consumer, 1) == ["1"]
        broker.store.messages.clear()
        broker.cut()
        with pytest.raises(TransactionRolledBack):
            session.commit()
        send(other, "2")
        assert receive(consumer, 1) == ["2"]
        session.commit()


def test_a_commit_in_doubt_is_told(connection: Connection, broker: ModelBroker) -> None:
    """A commit whose answer is lost raises TransactionRolledBack, and the session works on."""
    session = connection.create_session(transacted=True)
    producer = session.create_producer("work")
    producer.send(TextMessage("1"))
    broker.with_last(lambda model: setattr(model, "answers", False))
    failures: list[BaseException] = []

    def commit() -> None:
        try:
            session.commit()
        except ClientError as error:
            failures.append(error)

    committer = threading.Thread(target=commit)
    committer.start()
    wait_until(lambda: broker.store.committed == 1)
    broker.cut()
    committer.join(5.0)
    assert [type(failure) for failure in failures] == [TransactionRolledBack]
    producer.send(TextMessage("2"))
    session.commit()


def test_sends_wait_for_a_broker_no_longer_than_asked(broker: ModelBroker) -> None:
    """With the option timeout a send during an outage fails in time."""
    with connect(broker, "?timeout=100") as connection:
        producer = connection.create_session().create_producer("work")
        broker.stop_listening()
        with pytest.raises(FailoverTimeout, match="Failover timeout of 100 ms reached"):
            producer.send(TextMessage("1"))
        with pytest.raises(FailoverTimeout):
            producer.send(TextMessage("2"), DeliveryMode.NON_PERSISTENT)


def test_non_persistent_sends_wait_for_the_connection(connection: Connection, broker: ModelBroker) -> None:
    """A one-way send during an outage is not lost, but sent when a broker is there."""
    producer = connection.create_session().create_producer("work")
    cut_and_wait(broker, connection)
    producer.send(TextMessage("1"), DeliveryMode.NON_PERSISTENT)
    wait_until(lambda: len(broker.store.bodies()) == 1)


def test_close_ends_blocked_calls(connection: Connection, broker: ModelBroker) -> None:
    """Closing the connection in one thread ends receive and send in others."""
    ends: list[object] = []
    session, other = connection.create_session(), connection.create_session()
    consumer, producer = session.create_consumer("work"), other.create_producer("elsewhere")
    broker.with_last(lambda model: setattr(model, "answers", False))

    def receive_long() -> None:
        ends.append(consumer.receive())

    def send_long() -> None:
        try:
            producer.send(TextMessage("1"))
        except ConnectionClosed as closed:
            ends.append(type(closed))

    threads = [threading.Thread(target=each) for each in (receive_long, send_long)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(broker.store.bodies()) == 1)
    broker.stop_listening()
    connection.close()
    for thread in threads:
        thread.join(5.0)
    assert sorted(map(str, ends)) == sorted(map(str, [None, ConnectionClosed]))
    with pytest.raises(ConnectionClosed):
        connection.create_session()


def test_attempts_at_start_are_limited() -> None:
    """The option startupMaxReconnectAttempts ends the wait for the first broker."""
    with ModelBroker() as broker:
        url = broker.url
    with pytest.raises(ConnectionFailed):
        ConnectionFactory(f"failover:({url})?startupMaxReconnectAttempts=2").create_connection()


def test_failover_finds_the_other_broker() -> None:
    """With two brokers on one store, the program does not see which one serves."""
    store = ModelStore()
    with ModelBroker(store) as one, ModelBroker(store) as two:
        factory = ConnectionFactory(f"failover:({one.url},{two.url})?randomize=false")
        with factory.create_connection() as connection:
            assert connection.broker_url == one.url
            one.stop_listening()
            send(connection, "1")
            assert connection.broker_url == two.url


def test_tracked_non_persistent_sends_are_repeated(broker: ModelBroker) -> None:
    """With trackMessages=true a non-persistent send whose connection is lost is sent again."""
    with connect(broker, "?trackMessages=true") as connection:
        producer = connection.create_session().create_producer("work")
        broker.with_last(lambda model: setattr(model, "deaf", True))
        producer.send(TextMessage("1"), DeliveryMode.NON_PERSISTENT)
        cut_and_wait(broker, connection)
        producer.flush(5.0)
        assert len(broker.store.bodies()) == 1


def test_many_threads_share_a_connection_through_failovers(broker: ModelBroker) -> None:
    """Each thread's messages pass once and in order, however often the connection is cut."""
    threads_count, messages_count, cuts = 6, 60, 8
    numbers = [str(number) for number in range(messages_count)]
    received: dict[str, list[str | None]] = {}
    over = threading.Event()

    def work(connection: Connection, name: str) -> None:
        session = connection.create_session()
        producer, consumer = session.create_producer(name), session.create_consumer(name)
        received[name] = []
        for number in numbers:
            producer.send(TextMessage(number))
            received[name] += receive(consumer, 1)
        while not over.wait(0.02):  # what a cut kept from being acknowledged comes again, and not to us
            late = consumer.receive(0.02)
            if late is not None:
                received[name].append("late")
        session.close()

    with connect(broker) as connection:
        threads = [
            threading.Thread(target=work, args=(connection, f"queue {index}"))
            for index in range(threads_count)
        ]
        for thread in threads:
            thread.start()
        for cut in range(1, cuts + 1):
            target = cut * threads_count * messages_count // (cuts + 2)
            wait_until(lambda: sum(map(len, list(received.values()))) >= target, 30.0)  # noqa: B023 - used now
            broker.cut()
        total = threads_count * messages_count
        wait_until(
            lambda: sum(map(len, list(received.values()))) >= total and not broker.store.bodies(), 30.0
        )
        over.set()
        for thread in threads:
            thread.join(30.0)
    assert received == {f"queue {index}": numbers for index in range(threads_count)}
