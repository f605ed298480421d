"""OpenWire clients whose sends wait for space: no answer until there is, and everything else goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.openwire_client import Broker, Client
from support.region import MemoryStore, new_region

from broker.openwire.commands import (
    ConnectionId,
    ControlCommand,
    ExceptionResponse,
    LocalTransactionId,
    MessageDispatch,
    ProducerAck,
    Response,
    TransactionInfo,
)
from broker.openwire.constants import TransactionType
from broker.openwire.wireformat import WireFormatOptions
from broker.region.limits import RegionLimits
from broker.region.usage import UsageLimits


def full_broker(usage: UsageLimits | None = None, limits: RegionLimits | None = None) -> Broker:
    """A broker whose store takes two messages."""
    return Broker(new_region(usage=usage or UsageLimits(store_bytes_max=2), limits=limits))


@pytest.fixture
def broker() -> Broker:
    """One that blocks."""
    return full_broker()


@pytest.fixture
def client(broker: Broker) -> Client:
    """A client that has used the store up."""
    client = Client(broker)
    fill(client)
    return client


def fill(client: Client) -> None:
    """Two messages are two records."""
    for text in ("1", "2"):
        client.request(client.text(text))


def consume(client: Client, count: int = 1) -> list[str]:
    """Receive and acknowledge so many messages, which have come already or come now."""
    texts = []
    for _ in range(count):
        client.broker.settle()
        dispatch = next(each for each in client.told if isinstance(each, MessageDispatch))
        client.told.remove(dispatch)
        assert dispatch.message is not None
        texts.append((dispatch.message.content or b"").decode())
        client.request(client.ack(dispatch.message))
    return texts


def test_a_synchronous_send_is_answered_when_there_is_space(client: Client) -> None:
    """P10: the producer waits; a consumer on the same connection goes on, and so the producer does."""
    command_id = client.say(client.text("3"), answer=True)
    client.broker.settle()
    assert client.answer(command_id) is None
    client.request(client.consumer())
    assert consume(client) == ["1"]
    client.broker.settle()
    assert isinstance(client.answer(command_id), Response)
    assert consume(client, 2) == ["2", "3"]


def test_the_answer_waits_for_the_journal_too(client: Client) -> None:
    """P1: a send that found space is acknowledged when it is durable, not before."""
    client.request(client.consumer())
    command_id = client.say(client.text("3"), answer=True)
    dispatch = client.take(MessageDispatch)[0] if client.told else None
    client.broker.settle()
    dispatch = dispatch or client.take(MessageDispatch)[0]
    assert dispatch.message is not None
    client.say(client.ack(dispatch.message))
    client.broker.turn()
    assert not client.broker.region.usage.waiting
    assert client.answer(command_id) is None
    client.broker.settle()
    assert client.answer(command_id) is not None


def test_a_producers_window_opens_when_its_message_found_space(broker: Broker) -> None:
    """An asynchronous producer with a window gets no ProducerAck for a message that waits."""
    client = Client(broker)
    client.request(client.producer(window_size=10_000))
    for text in ("1", "2", "3"):
        client.say(client.text(text))
        broker.settle()
    assert len(client.take(ProducerAck)) == 2
    client.request(client.consumer())
    consume(client)
    broker.settle()
    assert len(client.take(ProducerAck)) == 1
    assert client.errors() == []


def test_other_connections_notice_nothing(client: Client) -> None:
    """A consumer, and what needs no store, on a connection of their own."""
    client.say(client.text("3"))
    other = Client(client.broker, "c2")
    assert isinstance(other.request(other.text("n", persistent=False)), Response)
    other.request(other.consumer())
    assert consume(other, 3) == ["1", "2", "n"]


def test_a_refused_send_names_the_limit() -> None:
    """sendFailIfNoSpace: JMS clients see a ResourceAllocationException; one-way sends end in the listener."""
    client = Client(full_broker(UsageLimits(store_bytes_max=2, refuse_at_once=True)))
    fill(client)
    class_name, text = client.refusal(client.text("3"))
    assert class_name == "javax.jms.ResourceAllocationException"
    assert text.startswith("storeUsage, 2 bytes, is used up")
    client.say(client.text("4"))
    assert client.errors() == [text]
    assert not client.server.closing


def test_a_send_is_refused_after_its_time() -> None:
    """A send waits no longer than `sendFailIfNoSpaceAfterTimeout`."""
    broker = full_broker(UsageLimits(store_bytes_max=2, refuse_after_ms=100))
    client = Client(broker)
    fill(client)
    command_id = client.say(client.text("3"), answer=True)
    broker.region.advance(2000)
    broker.settle()
    answer = client.answer(command_id)
    assert isinstance(answer, ExceptionResponse)
    assert answer.exception is not None
    assert answer.exception.class_name == "javax.jms.ResourceAllocationException"


def transaction(client: Client, type_: TransactionType) -> TransactionInfo:
    """A step of transaction 1."""
    connection_id = ConnectionId(client.name)
    return TransactionInfo(
        connection_id=connection_id, transaction_id=LocalTransactionId(1, connection_id), type=type_
    )


def test_a_commit_waits_for_its_blocked_sends(client: Client) -> None:
    """Transacted sends are one-way; the commit is where their client waits."""
    client.request(transaction(client, TransactionType.BEGIN))
    transaction_id = LocalTransactionId(1, ConnectionId(client.name))
    client.say(client.text("3", transaction=transaction_id))
    command_id = client.say(transaction(client, TransactionType.COMMIT_ONE_PHASE), answer=True)
    client.broker.settle()
    assert client.answer(command_id) is None
    client.request(client.consumer())
    assert consume(client, 2) == ["1", "2"]
    client.broker.settle()
    assert isinstance(client.answer(command_id), Response)
    assert consume(client) == ["3"]


def test_a_commit_after_a_refused_send_is_refused() -> None:
    """Nothing of a transaction counts that is not whole."""
    client = Client(full_broker(UsageLimits(store_bytes_max=2, refuse_at_once=True)))
    fill(client)
    client.request(transaction(client, TransactionType.BEGIN))
    client.say(client.text("3", transaction=LocalTransactionId(1, ConnectionId(client.name))))
    assert len(client.errors()) == 1
    class_name, _ = client.refusal(transaction(client, TransactionType.COMMIT_ONE_PHASE))
    assert class_name == "javax.jms.TransactionRolledBackException"


def test_a_rollback_does_not_wait(client: Client) -> None:
    """It makes space, if anything."""
    client.request(transaction(client, TransactionType.BEGIN))
    client.say(client.text("3", transaction=LocalTransactionId(1, ConnectionId(client.name))))
    assert isinstance(client.request(transaction(client, TransactionType.ROLLBACK)), Response)
    assert not client.broker.region.usage.waiting


def test_a_flood_of_blocked_sends_is_not_read_and_not_given_up() -> None:
    """Beyond a limit nothing is read; a client that is not read from is not taken for silent."""
    broker = full_broker(limits=RegionLimits(blocked_bytes_max=3000))
    options = WireFormatOptions(max_inactivity_duration_ms=1000, max_inactivity_duration_initial_delay_ms=0)
    broker.config = replace(broker.config, inactivity_ms=1000)
    client = Client(broker, options=options)
    fill(client)
    for number in range(10):
        client.say(client.text(f"blocked {number}" * 20))
    assert client.server.reading_paused
    client.server.handle_deadline(5.0)
    assert not client.server.closing
    other = Client(broker, "c2")
    other.request(other.consumer())
    consume(other, 12)
    assert not client.server.reading_paused
    client.server.handle_deadline(6.5)
    assert client.server.closing


def test_a_client_that_leaves_takes_its_blocked_sends_along(client: Client) -> None:
    """They were never acknowledged."""
    client.say(client.text("3"), answer=True)
    client.server.connection_lost("gone")
    other = Client(client.broker, "c2")
    other.request(other.consumer())
    assert consume(other, 2) == ["1", "2"]
    assert other.texts() == []
    assert isinstance(other.request(ControlCommand()), Response)
    store = client.broker.region.store
    assert isinstance(store, MemoryStore)
    assert store.live_bytes == 0
