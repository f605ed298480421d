"""Asynchronous sends as in JMS 2.0, and producer windows: against model brokers on real sockets."""

import threading

import pytest
from support.model_broker import ModelConnection
from support.model_broker_server import ModelBroker
from support.mqclient_programs import connect
from support.waiting import wait_until

from broker.openwire.commands import Message as MessageCommand
from mqclient import Connection, DeliveryMode, Message, TextMessage
from mqclient.errors import ClientError, ConnectionClosed, IllegalState, ResourceExhausted


class Listener:
    """A completion listener that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, str]] = []
        self.threads: set[int] = set()

    def on_completion(self, message: Message) -> None:
        """The broker has it."""
        assert isinstance(message, TextMessage)
        self.told.append((message.text, "done"))
        self.threads.add(threading.get_ident())

    def on_exception(self, message: Message, error: ClientError) -> None:
        """It has not, or nobody knows."""
        assert isinstance(message, TextMessage)
        self.told.append((message.text, type(error).__name__))


def done(*names: str) -> list[tuple[str | None, str]]:
    """What a listener is told of sends that went well."""
    return [(name, "done") for name in names]


def test_a_listener_is_told_in_the_order_of_the_sends(connection: Connection) -> None:
    """Also where a later send is answered first; by one other thread, and before close returns."""
    listener = Listener()
    session = connection.create_session()
    producer = session.create_producer("work")
    modes = (DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT)
    for number in range(20):
        producer.send(TextMessage(str(number)), modes[number % 2], on_completion=listener)
    session.close()
    assert listener.told == done(*map(str, range(20)))
    assert len(listener.threads) == 1
    assert threading.get_ident() not in listener.threads


def test_a_refusal_is_told_to_the_listener_and_to_nobody_else(broker: ModelBroker) -> None:
    """The error has its own class; neither flush nor close raises it again."""
    broker.prepare = lambda model: model.refuse.update(
        ActiveMQTextMessage="javax.jms.ResourceAllocationException"
    )
    with connect(broker) as connection:
        listener = Listener()
        producer = connection.create_session().create_producer("work")
        producer.send(TextMessage("1"), on_completion=listener)
        producer.flush(5.0)
        producer.close()
    assert listener.told == [("1", ResourceExhausted.__name__)]


def test_each_send_completes_once_across_a_failover(broker: ModelBroker) -> None:
    """What the lost broker stored without an answer is sent again, stored once and told once."""
    with connect(broker) as connection:
        listener = Listener()
        producer = connection.create_session().create_producer("work")
        broker.with_last(lambda model: setattr(model, "answers_messages", False))
        for number in range(10):
            producer.send(TextMessage(str(number)), on_completion=listener)
        wait_until(lambda: len(broker.store.bodies()) == 10)
        assert not listener.told
        broker.cut()
        producer.flush(5.0)
        producer.close()
        assert listener.told == done(*map(str, range(10)))
    assert len(broker.store.bodies()) == 10


def test_what_is_unanswered_at_the_end_is_told_as_unknown(broker: ModelBroker) -> None:
    """A connection that ends without its answers tells the truth: nobody knows."""
    with connect(broker, "?jms.closeTimeout=50") as connection:
        listener = Listener()
        broker.with_last(lambda model: setattr(model, "answers_messages", False))
        producer = connection.create_session().create_producer("work")
        producer.send(TextMessage("1"), on_completion=listener)
        wait_until(lambda: len(broker.store.bodies()) == 1)
        with pytest.raises(ClientError):
            producer.close()
    assert listener.told == [("1", ConnectionClosed.__name__)]


def test_a_commit_waits_for_its_completions(broker: ModelBroker, connection: Connection) -> None:
    """In a transaction each send is told before the commit; the messages count with it."""
    listener = Listener()
    session = connection.create_session(transacted=True)
    producer = session.create_producer("work")
    for number in range(3):
        producer.send(TextMessage(str(number)), on_completion=listener)
    session.commit()
    assert listener.told == done("0", "1", "2")
    assert len(broker.store.bodies()) == 3
    producer.send(TextMessage("3"), on_completion=listener)
    session.rollback()
    assert listener.told == done("0", "1", "2", "3")
    assert len(broker.store.bodies()) == 3


def test_a_transaction_with_completions_survives_a_failover(broker: ModelBroker) -> None:
    """Unanswered sends of it are part of what is replayed, and told once."""
    with connect(broker) as connection:
        listener = Listener()
        session = connection.create_session(transacted=True)
        producer = session.create_producer("work")
        broker.with_last(lambda model: setattr(model, "answers_messages", False))
        for number in range(3):
            producer.send(TextMessage(str(number)), on_completion=listener)
        broker.cut()
        session.commit()
        assert listener.told == done("0", "1", "2")
    assert len(broker.store.bodies()) == 3


def test_a_listener_cannot_end_what_it_belongs_to(connection: Connection) -> None:
    """Closing, committing and rolling back from within are refused; sending is not."""
    refused: list[str] = []
    session = connection.create_session(transacted=True)
    producer = session.create_producer("work")

    def end_everything(message: Message, error: ClientError | None) -> None:
        del message, error
        for end in (session.commit, session.rollback, producer.close, session.close, connection.close):
            with pytest.raises(IllegalState):
                end()
            refused.append(end.__name__)

    producer.send(TextMessage("1"), on_completion=end_everything)
    session.commit()
    assert refused == ["commit", "rollback", "close", "close", "close"]


def test_a_listener_that_fails_does_not_stop_the_others(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged; the next completion is told."""
    listener = Listener()
    producer = connection.create_session().create_producer("work")

    def fail(message: Message, error: ClientError | None) -> None:
        raise ValueError(f"{message} {error}")

    producer.send(TextMessage("1"), on_completion=fail)
    producer.send(TextMessage("2"), on_completion=listener)
    producer.close()
    assert listener.told == done("2")
    assert "A completion listener has failed" in caplog.text


# ---- producer windows


def silent(model: ModelConnection) -> None:
    """Acknowledge no one-way sends."""
    model.acknowledges_sends = False


@pytest.mark.parametrize("transacted", [False, True])
def test_one_way_sends_wait_for_their_window(broker: ModelBroker, transacted: bool) -> None:
    """With jms.producerWindowSize a producer is at most so many bytes ahead of its broker."""
    broker.prepare = silent
    with connect(broker, "?jms.producerWindowSize=5000&jms.closeTimeout=50") as connection:
        producer = connection.create_session(transacted).create_producer("work")
        producer.delivery_mode = DeliveryMode.NON_PERSISTENT
        sent: list[int] = []

        def run() -> None:
            for number in range(10):
                producer.send(TextMessage("x" * 1000))
                sent.append(number)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: len(sent) == 3)
        model = broker.connections[-1]
        wait_until(lambda: len(messages(model)) == 3)
        assert thread.is_alive()

        def go_on(served: ModelConnection) -> None:
            served.acknowledges_sends = True
            for message in messages(served):
                served.acknowledge_send(message)

        broker.with_last(go_on)
        thread.join(5.0)
        assert len(sent) == 10


def test_a_window_is_free_again_after_a_failover(broker: ModelBroker) -> None:
    """The new broker knows nothing of what was under way to the lost one."""
    broker.prepare = silent
    with connect(broker, "?jms.producerWindowSize=2000&jms.closeTimeout=50") as connection:
        producer = connection.create_session().create_producer("work")
        producer.delivery_mode = DeliveryMode.NON_PERSISTENT
        for _ in range(2):
            producer.send(TextMessage("x" * 10))
        thread = threading.Thread(target=producer.send, args=(TextMessage("x"),))
        thread.start()
        broker.cut()
        thread.join(5.0)
        assert not thread.is_alive()


def messages(model: ModelConnection) -> list[MessageCommand]:
    """The messages that a broker got by a connection."""
    return [each for each in model.received if isinstance(each, MessageCommand)]
