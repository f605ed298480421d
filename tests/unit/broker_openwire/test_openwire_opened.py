"""What each OpenWire command means for the region."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from support.openwire_client import QUEUE, Broker, Client
from support.region import restarted

from broker.openwire import opened
from broker.openwire.commands import (
    ActiveMQQueue,
    ActiveMQTempQueue,
    ActiveMQTopic,
    BaseCommand,
    ConnectionControl,
    ConnectionError,
    ConnectionId,
    ConsumerControl,
    ConsumerId,
    ControlCommand,
    DataArrayResponse,
    DestinationInfo,
    FlushCommand,
    LocalTransactionId,
    MessageAck,
    MessageDispatch,
    MessageId,
    MessagePull,
    ProducerAck,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    RemoveSubscriptionInfo,
    Response,
    SessionId,
    SessionInfo,
    ShutdownInfo,
    TransactionInfo,
    XATransactionId,
)
from broker.openwire.constants import AckType, DestinationOperation, TransactionType
from broker.openwire.throwable import Throwable
from broker.openwire.wireformat import WireFormatOptions

ENCODINGS = [
    WireFormatOptions(tight_encoding_enabled=tight, cache_enabled=cache, version=version)
    for (tight, cache), version in itertools.product(itertools.product([False, True], repeat=2), [12, 9])
]
TX = LocalTransactionId(7, ConnectionId("c1"))


@pytest.fixture
def broker() -> Broker:
    """A broker in memory."""
    return Broker()


@pytest.fixture
def client(broker: Broker) -> Client:
    """A client that has logged in and opened session 1."""
    return Client(broker)


# ---- messages


@pytest.mark.parametrize("options", ENCODINGS, ids=str)
@pytest.mark.parametrize("reader_options", ENCODINGS[::3], ids=str)
def test_messages_go_from_any_encoding_to_any(
    options: WireFormatOptions, reader_options: WireFormatOptions
) -> None:
    """Whatever sender and receiver negotiated, the message arrives with all its fields."""
    broker = Broker(tight_encoding=True, cache=True)
    sender, reader = Client(broker, "c1", options), Client(broker, "c2", reader_options)
    reader.request(reader.consumer())
    sent = replace(
        sender.text("hello"),
        correlation_id="é",
        reply_to=ActiveMQTempQueue("ID:x:1"),
        type="t",
        group_id="g",
        group_sequence=3,
        user_id="u",
        timestamp=99,
        marshalled_properties=b"\0\0\0\0",
        compressed=True,
    )
    sender.request(sent)
    (got,) = reader.received()
    assert got is not None
    assert got.message_id is not None
    assert got.message_id.broker_sequence_id > 0
    got.message_id.broker_sequence_id = 0
    assert replace(got, command_id=0, response_required=False) == replace(
        sent,
        command_id=0,
        response_required=False,
        jmsx_group_first_for_consumer=reader_options.version >= 10,
    )
    reader.request(reader.ack(got))
    broker.settle()
    assert reader.received() == []


def test_a_persistent_send_is_answered_when_it_is_durable(client: Client) -> None:
    """The answer to a send leaves after the journal's batch, not before."""
    client.request(client.producer())
    command_id = client.say(client.text("x"), answer=True)
    assert client.answer(command_id) is None
    assert client.server.held_batch > 0
    client.server.durable(client.server.held_batch - 1)
    client.read()
    assert client.answer(command_id) is None
    client.broker.settle()
    assert type(client.answer(command_id)) is Response
    assert client.server.held_batch == 0


def test_answers_leave_in_the_order_of_their_batches(client: Client) -> None:
    """Each batch lets go its own answers."""
    ids = [client.say(client.text(str(number)), answer=True) for number in range(3)]
    first = client.server.held_batch
    client.server.durable(first)
    client.read()
    assert [client.answer(each) is not None for each in ids] == [True, False, False]


def test_a_send_without_answer_gets_none(client: Client) -> None:
    """A one-way send costs no answer."""
    client.say(client.text("x"))
    client.broker.settle()
    assert client.told == []


def test_a_failed_send_without_answer_is_reported(client: Client) -> None:
    """What goes wrong with a one-way send is told as a ConnectionError; the connection lives on."""
    client.say(client.text("x", None))
    assert client.errors() == ["A destination is needed."]
    client.say(client.text("x", ActiveMQTempQueue("ID:gone:1")))
    assert "does not exist" in client.errors()[0]
    assert not client.server.closing


def test_a_message_without_id_is_refused(client: Client) -> None:
    """A message must say which it is."""
    for message_id in (None, MessageId(), MessageId(text_view="")):
        message = replace(client.text("x"), message_id=message_id)
        assert client.refusal(message)[1] == "A message needs an id."


def test_a_message_of_another_connections_producer_is_refused(client: Client) -> None:
    """Nobody can use up the sequence numbers by which others' repeats are found."""
    message = replace(client.text("x"), producer_id=ProducerId("c2", 1, 1))
    assert client.refusal(message)[1] == "The producer c2:1:1 is not of this connection."


def test_a_connection_whose_name_begins_alike_is_another(client: Client) -> None:
    """c1 is not c10."""
    message = replace(client.text("x"), producer_id=ProducerId("c10", 1, 1))
    assert "is not of this connection" in client.refusal(message)[1]


def test_a_window_is_opened_again_when_the_message_is_durable(client: Client) -> None:
    """A producer with a window hears of each message it did not ask an answer for."""
    client.request(client.producer(window_size=10_000))
    client.say(replace(client.text("12345"), marshalled_properties=b"1234"))
    assert client.take(ProducerAck) == []
    client.broker.settle()
    (ack,) = client.take(ProducerAck)
    assert (ack.producer_id, ack.size) == (ProducerId("c1", 1, 1), 1024 + 5 + 4)
    client.say(client.text("volatile", persistent=False))
    assert len(client.take(ProducerAck)) == 1
    client.request(client.text("answered"))
    assert client.take(ProducerAck) == []


def test_repeats_after_a_failover_are_dropped(broker: Broker) -> None:
    """A send that the journal has already is answered, and stored once."""
    client = Client(broker)
    client.request(client.text("once"))
    broker = Broker(restarted(broker.region))
    again = Client(broker, login=False)
    again.request(again.info(failover_reconnect=True))
    again.request(SessionInfo(session_id=SessionId("c1", 1)))
    again.request(again.producer())
    again.request(again.text("once"))
    again.request(again.text("twice"))
    again.request(again.consumer())
    assert again.texts() == ["once", "twice"]


# ---- consumers


def test_acknowledged_messages_are_gone(client: Client) -> None:
    """What is acknowledged does not come again; the rest does, marked as redelivered."""
    for text in ("1", "2", "3"):
        client.request(client.text(text))
    client.request(client.consumer())
    first, second, third = client.received()
    assert first is not None
    assert second is not None
    assert third is not None
    client.say(client.ack(second, first=first))
    client.request(RemoveInfo(object_id=ConsumerId("c1", 1, 1), last_delivered_sequence_id=0))
    client.request(client.consumer(2))
    (again,) = client.received(2)
    assert again is not None
    assert (again.content, again.redelivery_counter) == (b"3", 1)


def test_acknowledgement_by_text_alone(client: Client) -> None:
    """A client that does not echo the broker's number is understood by the message's id."""
    client.request(client.text("1"))
    client.request(client.consumer())
    (message,) = client.received()
    assert message is not None
    assert message.message_id is not None
    ack = client.ack(message)
    ack.first_message_id = ack.last_message_id = replace(message.message_id, broker_sequence_id=0)
    client.request(ack)
    client.request(RemoveInfo(object_id=SessionId("c1", 1)))
    client.request(SessionInfo(session_id=SessionId("c1", 1)))
    client.request(client.consumer())
    assert client.received() == []


def test_a_browser_ends_with_an_empty_dispatch(client: Client) -> None:
    """A browser sees what there is, and then that this was all; nothing is consumed."""
    client.request(client.text("1"))
    client.request(client.consumer(browser=True))
    message, end = client.received()
    assert message is not None
    assert message.content == b"1"
    assert end is None
    client.request(client.consumer(2))
    assert client.texts(2) == ["1"]


def test_pulling(client: Client) -> None:
    """A consumer without prefetch gets a message when it asks, and an empty dispatch if there is none."""
    client.request(client.consumer(prefetch_size=0))
    pull = MessagePull(consumer_id=ConsumerId("c1", 1, 1), destination=QUEUE, timeout=-1)
    client.say(pull)
    assert client.received() == [None]
    client.request(client.text("1"))
    assert client.received() == []
    client.say(replace(pull, timeout=0))
    assert client.texts() == ["1"]


def test_the_prefetch_can_change(client: Client) -> None:
    """A consumer may ask for more while it is open."""
    for text in ("1", "2", "3"):
        client.request(client.text(text))
    client.request(client.consumer(prefetch_size=1))
    assert client.texts() == ["1"]
    client.request(ConsumerControl(consumer_id=ConsumerId("c1", 1, 1), prefetch=3))
    assert client.texts() == ["2", "3"]
    client.request(ConsumerControl(consumer_id=ConsumerId("c1", 1, 1), close=True))
    client.request(client.consumer(1))
    assert client.texts() == ["1", "2", "3"]


def test_poison_goes_to_the_dead_letter_queue(client: Client) -> None:
    """A message that its consumer gives up is found in the dead letter queue, under its own id."""
    client.request(client.text("1"))
    client.request(client.consumer())
    (message,) = client.received()
    assert message is not None
    client.request(client.ack(message, AckType.POISON))
    client.request(client.consumer(2, ActiveMQQueue("ActiveMQ.DLQ")))
    (dead,) = client.received(2)
    assert dead is not None
    assert dead.content == b"1"
    assert dead.destination == ActiveMQQueue("ActiveMQ.DLQ")
    assert dead.message_id is not None
    assert message.message_id is not None
    assert dead.message_id.producer_id == message.message_id.producer_id
    assert dead.message_id.producer_sequence_id == message.message_id.producer_sequence_id


def test_what_was_stored_comes_back_after_a_restart(broker: Broker) -> None:
    """A message read back from the journal is dispatched as it came."""
    client = Client(broker)
    client.request(replace(client.text("kept"), user_id="u", data_structure=ConnectionId("d")))
    broker = Broker(restarted(broker.region))
    for options in ENCODINGS[::2]:
        reader = Client(broker, "c2", options)
        reader.request(reader.consumer())
        (message,) = reader.received()
        assert message is not None
        assert (message.content, message.user_id, message.data_structure) == (b"kept", "u", ConnectionId("d"))
        reader.server.connection_lost("")
        broker.clients.clear()


def test_the_names_of_shared_subscriptions(broker: Broker) -> None:
    """`shared:` and `shared-durable:` before a subscription's name let several consumers take from it."""
    client = Client(broker, login=False)
    client.request(client.info(client_id="ID:made-up"))
    client.request(SessionInfo(session_id=SessionId("c1", 1)))
    topic = ActiveMQTopic("prices")
    for number, name in enumerate(("shared:s", "shared:s", "shared-durable:s", "shared-durable:s")):
        client.request(client.consumer(number + 1, destination=topic, subscription_name=name))
    region = broker.region
    assert list(region.store.state.subscriptions) == [("", "s")]
    assert [len(each.consumers) for each in region.subscriptions.shared.values()] == [2]
    for name in ("shared:", "shared-durable:"):
        refused = client.consumer(9, destination=topic, subscription_name=name)
        assert client.refusal(refused)[1] == "A shared subscription needs a name."
    for number in (3, 4):
        client.request(RemoveInfo(object_id=client.consumer(number).consumer_id))
    client.request(RemoveSubscriptionInfo(subscription_name="shared-durable:s", client_id="ID:made-up"))
    assert not region.store.state.subscriptions


def test_topics_and_durable_subscriptions(broker: Broker) -> None:
    """A durable subscriber gets what was sent while it was away, until it unsubscribes."""
    topic = ActiveMQTopic("prices")
    client = Client(broker, login=False)
    client.request(client.info(client_id="durable"))
    client.request(SessionInfo(session_id=SessionId("c1", 1)))
    client.request(client.consumer(destination=topic, subscription_name="s"))
    client.request(RemoveInfo(object_id=ConsumerId("c1", 1, 1)))
    client.request(client.text("away", topic))
    client.request(client.consumer(2, destination=topic, subscription_name="s"))
    assert client.texts(2) == ["away"]
    remove = RemoveSubscriptionInfo(subscription_name="s", client_id="durable")
    assert client.refusal(replace(remove)) == ("javax.jms.JMSException", "Durable consumer is in use")
    client.request(RemoveInfo(object_id=ConsumerId("c1", 1, 2)))
    assert client.refusal(replace(remove, client_id="other"))[0] == "javax.jms.InvalidClientIDException"
    client.request(replace(remove))
    assert "No durable subscription" in client.refusal(replace(remove))[1]
    assert client.refusal(replace(remove, subscription_name=None))[1] == "A subscription needs a name."


# ---- transactions


def test_a_transaction_is_done_at_its_commit(client: Client) -> None:
    """Sends of a transaction are seen after its commit, which is answered when it is durable."""
    client.request(client.consumer())
    client.say(TransactionInfo(connection_id=ConnectionId("c1"), transaction_id=TX, type=0))
    client.say(client.text("1", transaction=TX))
    client.say(client.text("2", transaction=TX))
    assert client.texts() == []
    command_id = client.say(
        TransactionInfo(transaction_id=TX, type=TransactionType.COMMIT_ONE_PHASE), answer=True
    )
    assert client.answer(command_id) is None
    first, second = client.received()
    assert client.answer(command_id) is not None
    assert first is not None
    assert second is not None
    assert first.transaction_id is None
    client.say(TransactionInfo(transaction_id=TX, type=TransactionType.BEGIN))
    client.say(client.ack(second, first=first, transaction=TX))
    client.say(TransactionInfo(transaction_id=TX, type=TransactionType.END))
    client.request(TransactionInfo(transaction_id=TX, type=TransactionType.ROLLBACK))
    client.request(RemoveInfo(object_id=ConsumerId("c1", 1, 1)))
    client.request(client.consumer(2))
    assert client.texts(2) == ["1", "2"]


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (TransactionInfo(transaction_id=TX, type=2), "has not been started"),
        (TransactionInfo(transaction_id=TX, type=1), "knows no step 1"),
        (TransactionInfo(transaction_id=TX, type=99), "knows no step 99"),
        (TransactionInfo(type=0), "A transaction needs an id."),
        (TransactionInfo(transaction_id=XATransactionId(1, b"", b"b"), type=0), "at most 64 bytes"),
        (TransactionInfo(transaction_id=XATransactionId(1, b"g", None), type=99), "knows no step 99"),
        (TransactionInfo(transaction_id=XATransactionId(1, b"g", b"b"), type=2), "has not been started"),
        (
            TransactionInfo(transaction_id=LocalTransactionId(1, ConnectionId("c2")), type=0),
            "belongs to another connection",
        ),
        (TransactionInfo(transaction_id=LocalTransactionId(1, None), type=0), "belongs to another"),
    ],
    ids=str,
)
def test_wrong_transactions_are_refused(client: Client, info: TransactionInfo, text: str) -> None:
    """Unknown, foreign and senseless transactions are clear errors."""
    assert text in client.refusal(replace(info))[1]


def test_what_was_refused_unheard_is_not_committed_around(client: Client) -> None:
    """A send that nobody waited for is refused: the commit fails, and the other sends do not count."""
    client.request(client.consumer())
    client.say(TransactionInfo(connection_id=ConnectionId("c1"), transaction_id=TX, type=0))
    client.say(client.text("1", transaction=TX))
    client.say(replace(client.text("2", transaction=TX), destination=ActiveMQQueue("a.*")))
    refused = client.refusal(TransactionInfo(transaction_id=TX, type=TransactionType.COMMIT_ONE_PHASE))
    assert refused[0] == "javax.jms.TransactionRolledBackException"
    assert "a.*" in refused[1]
    client.broker.settle()
    assert client.texts() == []


def test_recovery_of_distributed_transactions_finds_none(client: Client) -> None:
    """A client that looks for prepared transactions gets an empty list."""
    answer = client.request(TransactionInfo(connection_id=ConnectionId("c1"), type=TransactionType.RECOVER))
    assert isinstance(answer, DataArrayResponse)
    assert answer.data == ()


# ---- temporary destinations and advisories


def test_temporary_destinations_are_advised(broker: Broker) -> None:
    """Clients that listen to the advisories hear of every temporary destination, at once and later."""
    owner, other = Client(broker, "c1"), Client(broker, "c2")
    first, second = ActiveMQTempQueue("c1:1"), ActiveMQTempQueue("c1:2")
    owner.request(DestinationInfo(connection_id=ConnectionId("c1"), destination=first))
    advisories = ActiveMQTopic("ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic")
    info = replace(other.consumer(destination=advisories), consumer_id=ConsumerId("c2", -1, 1))
    other.request(info)
    owner.request(DestinationInfo(connection_id=ConnectionId("c1"), destination=second))
    remove = DestinationInfo(
        connection_id=ConnectionId("c1"), destination=first, operation_type=DestinationOperation.REMOVE
    )
    owner.request(remove)
    broker.settle()
    told = []
    for dispatch in other.take(MessageDispatch):
        assert dispatch.message is not None
        assert dispatch.message.destination == ActiveMQTopic("ActiveMQ.Advisory.TempQueue")
        data = dispatch.message.data_structure
        assert isinstance(data, DestinationInfo)
        told.append((data.destination, data.operation_type))
        other.request(replace(other.ack(dispatch.message), consumer_id=ConsumerId("c2", -1, 1)))
    assert told == [(first, 0), (second, 0), (first, 1)]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (SessionInfo(), "A session needs an id."),
        (SessionInfo(session_id=SessionId("c2", 1)), "The connection c2 has not been opened here."),
        (ProducerInfo(), "A producer needs an id."),
        (ProducerInfo(producer_id=ProducerId("c1", 1, 5)), "The session c1:5 has not been opened."),
        (
            ProducerInfo(producer_id=ProducerId("c1", 1, 1), destination=ActiveMQQueue(" ")),
            "A destination needs a name.",
        ),
        (MessagePull(), "The consumer has not been opened here."),
        (MessagePull(consumer_id=ConsumerId("c1", 1, 9)), "does not exist"),
        (MessageAck(consumer_id=ConsumerId("c1", 1, 1)), "needs the id of the last message"),
        (
            MessageAck(consumer_id=ConsumerId("c1", 1, 1), ack_type=77, last_message_id=MessageId()),
            "no acknowledgement of type 77",
        ),
        (MessageAck(consumer_id=ConsumerId("c2", 1, 1)), "has not been opened here"),
        (ConsumerControl(consumer_id=ConsumerId("c1", 1, 1), prefetch=-1), "cannot be -1"),
        (DestinationInfo(), "A destination is needed."),
        (DestinationInfo(destination=ActiveMQQueue("q"), operation_type=9), "no operation 9"),
        (RemoveInfo(), "is to be named"),
        (RemoveInfo(object_id=SessionId("c2", 1)), "has not been opened here"),
        (RemoveInfo(object_id=ConnectionId("c2")), "has not been opened here"),
        (MessageDispatch(), "MessageDispatch is not supported here."),
        (ProducerAck(), "ProducerAck is not supported here."),
    ],
    ids=str,
)
def test_wrong_commands_are_refused(client: Client, command: BaseCommand, text: str) -> None:
    """Whatever is missing, unknown, foreign or out of range is a clear error; the connection goes on."""
    assert text in client.refusal(replace(command))[1]
    client.say(replace(command))
    assert text in client.errors()[0]
    client.request(FlushCommand())


def test_wrong_consumers_are_refused(client: Client) -> None:
    """A consumer must be new, of an open session, of a destination, and ask for what there is."""
    assert client.refusal(client.consumer(consumer_id=None))[1] == "A consumer needs an id."
    assert "has not been opened" in client.refusal(client.consumer(consumer_id=ConsumerId("c1", 9, 1)))[1]
    assert client.refusal(client.consumer(prefetch_size=-5))[1] == "A prefetch size cannot be -5."
    assert client.refusal(client.consumer(selector="a = = 1"))[0] == "javax.jms.InvalidSelectorException"
    assert client.refusal(client.consumer(destination=None))[0] == "javax.jms.InvalidDestinationException"
    client.request(client.consumer())
    assert client.refusal(client.consumer())[1] == "The consumer c1:1:1 exists already."
    client.request(client.producer())
    assert client.refusal(client.producer())[1] == "The producer c1:1:1 exists already."


def test_sessions_have_a_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection cannot open sessions without end."""
    monkeypatch.setattr(opened, "SESSIONS_MAX", 3)
    client.request(SessionInfo(session_id=SessionId("c1", 2)))
    client.request(SessionInfo(session_id=SessionId("c1", 3)))
    refused = client.refusal(SessionInfo(session_id=SessionId("c1", 4)))
    assert refused == ("javax.jms.ResourceAllocationException", "A connection has at most 3 sessions.")


def test_removing_what_is_not_there_is_no_error(client: Client) -> None:
    """After a failover a client may close what the new broker never knew."""
    for object_id in (ConsumerId("c1", 5, 5), ProducerId("c1", 5, 5), SessionId("c1", 5)):
        assert type(client.request(RemoveInfo(object_id=object_id))) is Response


def test_what_is_closed_has_acknowledged_for_good(client: Client) -> None:
    """The answer to a close waits for the acknowledgements before it, so that no crash brings them back."""
    client.request(client.consumer())
    client.request(client.text("1"))
    (got,) = client.received()
    assert got is not None
    client.say(client.ack(got))
    closing = client.say(RemoveInfo(object_id=ConsumerId("c1", 1, 1)), answer=True)
    assert client.answer(closing) is None
    client.broker.settle()
    assert type(client.answer(closing)) is Response


def test_a_session_takes_its_consumers_and_producers_along(client: Client) -> None:
    """What belongs to a session is closed with it, and can be opened again."""
    client.request(client.consumer())
    client.request(client.producer())
    client.request(RemoveInfo(object_id=SessionId("c1", 1)))
    assert "has not been opened" in client.refusal(client.consumer())[1]
    client.request(SessionInfo(session_id=SessionId("c1", 1)))
    client.request(client.consumer())
    client.request(client.producer())
    client.request(RemoveInfo(object_id=ProducerId("c1", 1, 1)))
    client.request(client.producer())


def test_a_connection_takes_all_along(client: Client) -> None:
    """A client that removes its connection and shuts down leaves nothing, and no reason in the log."""
    client.request(client.consumer())
    client.request(client.text("1"))
    client.request(RemoveInfo(object_id=ConnectionId("c1")))
    client.say(ShutdownInfo(), answer=True)
    assert len(client.take(Response)) == 1
    assert client.server.closing
    assert client.server.close_reason == ""
    assert client.broker.region.connections == {}


@pytest.mark.parametrize(
    "command",
    [FlushCommand(), ControlCommand(command="x"), ConnectionControl(), ConnectionError(exception=None)],
    ids=str,
)
def test_commands_that_ask_for_nothing_are_answered(client: Client, command: BaseCommand) -> None:
    """They are accepted, whatever they say."""
    assert type(client.request(replace(command))) is Response


def test_a_client_may_report_an_error(client: Client) -> None:
    """What a client reports goes to the log and harms nothing."""
    client.say(ConnectionError(exception=Throwable("a.B", "text")))
    assert client.told == []
    assert not client.server.closing
