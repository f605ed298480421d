"""The library as a program uses it, against the model broker on a real socket."""

import threading
import time
from collections.abc import Sequence

import pytest
from support.model_broker_server import ModelBroker
from support.mqclient_programs import QUICK, connect, receive, send
from support.waiting import wait_until

from broker.openwire.commands import ActiveMQQueue
from broker.openwire.commands import Message as MessageCommand
from mqclient import (
    AcknowledgeMode,
    BytesMessage,
    Connection,
    ConnectionFactory,
    MapMessage,
    Message,
    ObjectMessage,
    Queue,
    StreamMessage,
    TextMessage,
)
from mqclient.errors import (
    AuthenticationFailed,
    ClientError,
    ConnectionFailed,
    IllegalState,
    InvalidDestination,
    InvalidSelector,
    MessageFormatError,
    TimedOut,
)


def test_all_kinds_of_messages_arrive_as_they_were_sent(connection: Connection) -> None:
    """Bodies, headers and properties survive the way."""
    session = connection.create_session()
    producer, consumer = session.create_producer("kinds"), session.create_consumer("kinds")
    for message, attribute in (
        (TextMessage("Grüße \0 \U0001f600"), "text"),
        (TextMessage(None), "text"),
        (TextMessage(""), "text"),
        (BytesMessage(b"\0\xff"), "data"),
        (MapMessage({"a": 1, "b": 2.5, "c": None, "d": b"x", "e": True, "f": 2**40}), "entries"),
        (StreamMessage([1, "two", b"3", None]), "values"),
        (ObjectMessage(b"\xac\xed"), "data"),
    ):
        message.correlation_id, message.type, message.reply_to = "c", "t", Queue("answers")
        message.properties = {"number": 1, "text": "x", "JMSXGroupID": "g"}
        producer.send(message, priority=7, time_to_live_ms=60_000)
        received = consumer.receive(30.0)
        assert type(received) is type(message)
        assert getattr(received, attribute) == getattr(message, attribute)
        assert received.message_id == message.message_id
        assert (received.correlation_id, received.type, received.reply_to) == ("c", "t", Queue("answers"))
        assert received.properties == {"number": 1, "text": "x"}
        assert (received.group_id, received.priority) == ("g", 7)
        assert received.expiration == received.timestamp + 60_000
        assert (received.redelivered, received.delivery_count) == (False, 1)


def test_compressed_bodies_arrive(broker: ModelBroker) -> None:
    """With jms.useCompression bodies travel deflated and arrive as they were."""
    with connect(broker, "?jms.useCompression=true") as connection:
        session = connection.create_session()
        producer, consumer = session.create_producer("q"), session.create_consumer("q")
        for message in (TextMessage("x" * 1000), BytesMessage(b"y" * 1000)):
            producer.send(message)
            received = consumer.receive(30.0)
            assert body(received) == body(message)
        sent = [each for each in broker.connections[-1].received if isinstance(each, MessageCommand)]
        assert [(each.compressed, len(each.content or b"") < 100) for each in sent] == [(True, True)] * 2


def body(message: Message | None) -> str | bytes | None:
    """The text or the bytes."""
    return message.text if isinstance(message, TextMessage) else message.data


def test_messages_wait_until_the_connection_is_started(broker: ModelBroker) -> None:
    """As in JMS, a connection delivers nothing before start."""
    with ConnectionFactory(broker.url).create_connection() as connection:
        send(connection, "1")
        consumer = connection.create_session().create_consumer("work")
        assert consumer.receive(0.05) is None
        connection.start()
        assert receive(consumer, 1) == ["1"]


def test_client_acknowledgement_covers_the_session(connection: Connection, broker: ModelBroker) -> None:
    """One acknowledge() covers everything received before; nothing is lost when it is missing."""
    send(connection, "1", "2", "3")
    session = connection.create_session(acknowledge_mode=AcknowledgeMode.CLIENT)
    consumer = session.create_consumer("work")
    assert receive(consumer, 1) == ["1"]
    second = consumer.receive(30.0)
    assert second is not None
    second.acknowledge()
    session.close()
    assert receive(connection.create_session().create_consumer("work"), 1) == ["3"]


def test_individual_acknowledgement_covers_one(connection: Connection) -> None:
    """What was not acknowledged itself comes back."""
    send(connection, "1", "2", "3")
    session = connection.create_session(acknowledge_mode=AcknowledgeMode.INDIVIDUAL)
    consumer = session.create_consumer("work")
    messages = [consumer.receive(30.0) for _ in range(3)]
    assert messages[1] is not None
    messages[1].acknowledge()
    session.close()
    assert receive(connection.create_session().create_consumer("work"), 2) == ["1", "3"]


def test_dups_ok_acknowledges_in_the_end(connection: Connection, broker: ModelBroker) -> None:
    """Lazy acknowledgements are sent when nothing more comes."""
    send(connection, "1", "2", "3")
    consumer = connection.create_session(acknowledge_mode=AcknowledgeMode.DUPS_OK).create_consumer("work")
    assert receive(consumer, 3) == ["1", "2", "3"]
    assert consumer.receive(0.05) is None
    wait_until(lambda: broker.store.bodies() == [])


def test_recover_delivers_again_in_order(connection: Connection) -> None:
    """After recover() unacknowledged messages come again, before new ones, and say so."""
    send(connection, "1", "2", "3")
    session = connection.create_session(acknowledge_mode=AcknowledgeMode.CLIENT)
    session.redelivery_policy = QUICK
    consumer = session.create_consumer("work")
    assert receive(consumer, 2) == ["1", "2"]
    session.recover()
    again = consumer.receive(30.0)
    assert isinstance(again, TextMessage)
    assert (again.text, again.redelivered, again.delivery_count) == ("1", True, 2)
    assert receive(consumer, 2) == ["2", "3"]


def test_a_message_that_is_rolled_back_too_often_is_dead(connection: Connection, broker: ModelBroker) -> None:
    """After maximumRedeliveries a message goes to the dead letter queue and the next one comes."""
    send(connection, "bad", "good")
    session = connection.create_session(transacted=True)
    session.redelivery_policy = QUICK
    consumer = session.create_consumer("work")
    for _ in range(3):
        assert receive(consumer, 1) == ["bad"]
        session.rollback()
    assert receive(consumer, 1) == ["good"]
    session.commit()
    assert [message.content for message in broker.store.dead] == [b"\0\0\0\3bad"]


@pytest.mark.parametrize(("delay", "order"), [("60000", ["good"]), ("1", ["bad", "good"])])
def test_a_message_that_waits_holds_up_none_behind_it(
    broker: ModelBroker, delay: str, order: Sequence[str]
) -> None:
    """With `jms.nonBlockingRedelivery` others are delivered meanwhile, and it comes later."""
    options = f"?jms.nonBlockingRedelivery=true&jms.redeliveryPolicy.initialRedeliveryDelay={delay}"
    with connect(broker, options) as connection:
        send(connection, "bad", "good")
        session = connection.create_session(transacted=True)
        consumer = session.create_consumer("work")
        assert receive(consumer, 1) == ["bad"]
        session.rollback()
        assert sorted(receive(consumer, len(order)), key=str) == order


def test_an_expired_message_is_not_delivered(connection: Connection, broker: ModelBroker) -> None:
    """A message whose time has passed on its way is acknowledged as expired."""
    session = connection.create_session()
    producer = session.create_producer("work")
    producer.send(TextMessage("old"), time_to_live_ms=1)
    producer.send(TextMessage("new"))
    time_to_expire = time.time() + 0.01
    wait_until(lambda: time.time() > time_to_expire)
    assert receive(session.create_consumer("work"), 1) == ["new"]
    wait_until(lambda: broker.store.bodies() == [])


def test_a_message_that_cannot_be_read_is_dead(connection: Connection, broker: ModelBroker) -> None:
    """A damaged body does not stop the consumer."""
    send(connection, "bad", "good")
    work = ActiveMQQueue(physical_name="work")
    broker.with_last(lambda model: setattr(model.store.messages[work][0], "content", b"\0\0\0\x09x"))
    assert receive(connection.create_session().create_consumer("work"), 1) == ["good"]
    wait_until(lambda: len(broker.store.dead) == 1)


def test_transactions_commit_and_roll_back(connection: Connection, broker: ModelBroker) -> None:
    """Sends count when committed; receives come back when rolled back."""
    session = connection.create_session(transacted=True)
    session.redelivery_policy = QUICK
    producer, consumer = session.create_producer("work"), session.create_consumer("work")
    producer.send(TextMessage("undone"))
    session.rollback()
    producer.send(TextMessage("done"))
    assert consumer.receive(0.05) is None
    session.commit()
    assert receive(consumer, 1) == ["done"]
    session.rollback()
    assert receive(consumer, 1) == ["done"]
    session.commit()
    assert broker.store.bodies() == []


def test_a_consumer_closed_in_a_transaction_is_closed_after_it(
    connection: Connection, broker: ModelBroker
) -> None:
    """What it received can still be committed."""
    send(connection, "1")
    session = connection.create_session(transacted=True)
    consumer = session.create_consumer("work")
    assert receive(consumer, 1) == ["1"]
    consumer.close()
    session.commit()
    assert broker.store.bodies() == []


def test_pulling_consumers_ask_for_each_message(connection: Connection, broker: ModelBroker) -> None:
    """With prefetch 0 nothing is sent ahead, and the broker says when there is nothing."""
    session = connection.create_session()
    consumer = session.create_consumer("work?consumer.prefetchSize=0")
    assert consumer.receive(0.01) is None
    assert consumer.receive_no_wait() is None
    send(connection, "1", "2")
    assert receive(consumer, 2) == ["1", "2"]
    with pytest.raises(IllegalState):
        consumer.set_message_listener(print)


def test_browsing_leaves_messages_where_they_are(connection: Connection, broker: ModelBroker) -> None:
    """A browser sees everything and takes nothing."""
    send(connection, "1", "2")
    with connection.create_session().create_browser("work") as browser:
        assert [message.text for message in browser if isinstance(message, TextMessage)] == ["1", "2"]
    assert len(broker.store.bodies()) == 2


def test_listeners_get_messages_one_at_a_time(connection: Connection) -> None:
    """A listener that fails gets its message again."""
    seen: list[tuple[str | None, int]] = []

    def listen(message: Message) -> None:
        assert isinstance(message, TextMessage)
        seen.append((message.text, message.delivery_count))
        if len(seen) == 1:
            raise ValueError("the listener fails")

    session = connection.create_session()
    session.redelivery_policy = QUICK
    consumer = session.create_consumer("work")
    consumer.set_message_listener(listen)
    send(connection, "1", "2")
    wait_until(lambda: len(seen) == 3)
    assert seen == [("1", 1), ("1", 2), ("2", 1)]
    with pytest.raises(IllegalState):
        consumer.receive(0)


def test_asynchronous_sends_stay_within_their_window(broker: ModelBroker) -> None:
    """A send beyond the window waits for an answer; flush waits for all."""
    broker.prepare = lambda connection: setattr(connection, "answers", True)
    with connect(broker, "?jms.useAsyncSend=true&jms.asyncSendWindow=2") as connection:
        producer = connection.create_session().create_producer("work")
        broker.freeze()
        producer.send(TextMessage("1"))
        producer.send(TextMessage("2"))
        third = threading.Thread(target=producer.send, args=(TextMessage("3"),))
        third.start()
        with pytest.raises(TimedOut):
            producer.flush(0.05)
        assert third.is_alive()
        broker.thaw()
        third.join(5.0)
        producer.flush(5.0)
        assert len(broker.store.bodies()) == 3


def test_a_refused_asynchronous_send_is_told_later(broker: ModelBroker) -> None:
    """The error of a send that nobody waits for comes with the next flush."""
    broker.prepare = lambda model: model.refuse.update(
        ActiveMQTextMessage="javax.jms.ResourceAllocationException"
    )
    with connect(broker, "?jms.useAsyncSend=true") as connection:
        producer = connection.create_session().create_producer("work")
        producer.send(TextMessage("1"))
        with pytest.raises(ClientError, match="ResourceAllocation"):
            producer.flush(5.0)
        producer.flush(5.0)


def test_completion_is_called_with_each_message(connection: Connection) -> None:
    """With on_completion send returns at once and the answer comes later."""
    done: list[tuple[Message, ClientError | None]] = []
    producer = connection.create_session().create_producer("work")
    messages = [TextMessage(str(number)) for number in range(5)]
    for message in messages:
        producer.send(message, on_completion=lambda sent, error: done.append((sent, error)))
    producer.flush(5.0)
    wait_until(lambda: len(done) == 5)
    assert done == [(message, None) for message in messages]


def test_a_send_times_out(broker: ModelBroker) -> None:
    """With jms.sendTimeout a broker that does not answer is not waited for."""
    with connect(broker, "?jms.sendTimeout=50&jms.closeTimeout=50") as connection:
        producer = connection.create_session().create_producer("work")
        broker.freeze()
        with pytest.raises(TimedOut):
            producer.send(TextMessage("1"))
        broker.thaw()


def test_a_wrong_password_is_told_at_once(broker: ModelBroker) -> None:
    """A refused login is not repeated for ever, with failover either."""
    broker.password = "right"
    with pytest.raises(AuthenticationFailed):
        connect(broker, password="wrong")
    assert len(broker.connections) == 1
    connect(broker, password="right").close()


def test_no_broker_without_failover_fails_at_once() -> None:
    """A plain URL to a closed port is an error, not a wait."""
    with ModelBroker() as broker:
        url = broker.url
    with pytest.raises(ConnectionFailed, match="refused"):
        ConnectionFactory(url).create_connection()


def test_refusals_are_told_to_the_caller(broker: ModelBroker, connection: Connection) -> None:
    """What the broker refuses is raised where it was asked for."""
    broker.with_last(lambda model: model.refuse.update(ConsumerInfo="javax.jms.InvalidSelectorException"))
    with pytest.raises(InvalidSelector):
        connection.create_session().create_consumer("work", "nonsense")


def test_misuse_is_told(connection: Connection) -> None:
    """Calls that do not fit raise what is wrong with them."""
    session = connection.create_session()
    producer = session.create_producer("work")
    with pytest.raises(IllegalState, match="not transacted"):
        session.commit()
    with pytest.raises(IllegalState, match="only"):
        producer.send(TextMessage("1"), destination=Queue("other"))
    with pytest.raises(InvalidDestination, match="no destination"):
        session.create_producer().send(TextMessage("1"))
    with pytest.raises(InvalidDestination, match="needs a name"):
        session.create_consumer("")
    with pytest.raises(InvalidDestination, match="not a queue"):
        session.create_browser("topic://news")
    with pytest.raises(InvalidDestination, match="not a topic"):
        session.create_durable_subscriber("queue://work", "name")
    with pytest.raises(IllegalState, match="client id"):
        session.create_durable_subscriber("news", "name")
    with pytest.raises(IllegalState, match="received message"):
        TextMessage("1").acknowledge()
    bad = TextMessage("1")
    bad.properties = {"bytes": b"1"}
    with pytest.raises(MessageFormatError, match="property bytes"):
        producer.send(bad)
    producer.close()
    with pytest.raises(IllegalState, match="closed"):
        producer.send(TextMessage("1"))
    session.close()
    with pytest.raises(IllegalState, match="closed"):
        session.create_producer("work")


def test_an_anonymous_producer_sends_anywhere(connection: Connection) -> None:
    """Without a destination of its own each send names one."""
    session = connection.create_session()
    session.create_producer().send(TextMessage("1"), destination=Queue("work"))
    assert receive(session.create_consumer("work"), 1) == ["1"]


def test_large_messages_arrive(connection: Connection) -> None:
    """A message larger than any buffer is written in pieces."""
    session = connection.create_session()
    producer, consumer = session.create_producer("work"), session.create_consumer("work")
    producer.send(BytesMessage(b"x" * 5_000_000))
    message = consumer.receive(30.0)
    assert isinstance(message, BytesMessage)
    assert len(message.data) == 5_000_000
