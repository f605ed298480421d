"""Distributed transactions over OpenWire: what a transaction manager is answered."""

import pytest
from support.openwire_client import Broker, Client
from support.region import new_region

from broker.openwire.commands import (
    ConnectionId,
    DataArrayResponse,
    IntegerResponse,
    Response,
    TransactionInfo,
    XATransactionId,
)
from broker.openwire.constants import TransactionType
from broker.region.usage import UsageLimits

XID = XATransactionId(7, b"global", b"\x00\xff")
XA_EXCEPTION = "javax.transaction.xa.XAException"


@pytest.fixture
def broker() -> Broker:
    """A broker in memory."""
    return Broker(new_region())


@pytest.fixture
def client(broker: Broker) -> Client:
    """A client that has logged in."""
    return Client(broker)


def step(kind: TransactionType) -> TransactionInfo:
    """One step of the branch."""
    return TransactionInfo(
        connection_id=ConnectionId("c1"), transaction_id=None if kind == 5 else XID, type=kind
    )


def prepared(client: Client) -> tuple[object, ...] | None:
    """The branches that wait for an outcome."""
    answer = client.request(step(TransactionType.RECOVER))
    assert isinstance(answer, DataArrayResponse)
    return answer.data


def test_a_branch_from_its_beginning_to_its_end(broker: Broker, client: Client) -> None:
    """P1: preparation and commit are answered when they are durable."""
    client.request(client.consumer())
    client.say(step(TransactionType.BEGIN))
    client.say(client.text("1", transaction=XID))
    client.request(step(TransactionType.END))
    command_id = client.say(step(TransactionType.PREPARE), answer=True)
    assert client.answer(command_id) is None
    broker.settle()
    answer = client.answer(command_id)
    assert isinstance(answer, IntegerResponse)
    assert answer.result == 0
    assert prepared(client) == (XID,)
    other = Client(broker, "c2")
    command_id = other.say(step(TransactionType.COMMIT_TWO_PHASE), answer=True)
    assert other.answer(command_id) is None
    assert client.texts() == ["1"]
    assert isinstance(other.answer(command_id), Response)
    assert prepared(client) == ()


def test_a_branch_that_did_nothing_is_read_only(client: Client) -> None:
    """XA_RDONLY, at once."""
    client.say(step(TransactionType.BEGIN))
    answer = client.request(step(TransactionType.PREPARE))
    assert isinstance(answer, IntegerResponse)
    assert answer.result == 3


def test_refusals_carry_the_code_of_xa(client: Client) -> None:
    """As an XAException, at the end of whose text clients find the code."""
    kind, text = client.refusal(step(TransactionType.COMMIT_TWO_PHASE))
    assert kind == XA_EXCEPTION
    assert text == (
        "Transaction 'XID:[7,globalId=676c6f62616c,branchId=00ff]' has not been started. xaErrorCode:-4"
    )
    client.say(step(TransactionType.BEGIN))
    client.say(client.text("1", transaction=XID))
    assert client.refusal(step(TransactionType.COMMIT_TWO_PHASE))[1].endswith(" xaErrorCode:-6")
    assert client.refusal(step(TransactionType.FORGET))[1].endswith(" xaErrorCode:-6")
    client.request(step(TransactionType.ROLLBACK))
    assert client.refusal(step(TransactionType.ROLLBACK))[1].endswith(" xaErrorCode:-4")


def test_what_an_administrator_decided_is_told_and_forgotten(broker: Broker, client: Client) -> None:
    """The manager gets a heuristic outcome until it forgets the branch."""
    client.say(step(TransactionType.BEGIN))
    client.say(client.text("1", transaction=XID))
    client.request(step(TransactionType.PREPARE))
    (branch,) = broker.region.prepared_transactions()
    broker.region.heuristic_rollback(branch.xid)
    broker.settle()
    assert prepared(client) == (XID,)
    assert client.refusal(step(TransactionType.COMMIT_TWO_PHASE))[1].endswith(" xaErrorCode:6")
    client.request(step(TransactionType.FORGET))
    assert prepared(client) == ()


def test_a_preparation_waits_for_the_space_that_its_sends_wait_for() -> None:
    """It is answered when they have found it."""
    broker = Broker(new_region(usage=UsageLimits(store_bytes_max=2)))
    client = Client(broker)
    for text in ("1", "2"):
        client.request(client.text(text))
    client.say(step(TransactionType.BEGIN))
    client.say(client.text("3", transaction=XID))
    command_id = client.say(step(TransactionType.PREPARE), answer=True)
    broker.settle()
    assert client.answer(command_id) is None
    client.request(client.consumer())
    first, _ = client.received()
    assert first is not None
    client.request(client.ack(first))
    broker.settle()
    broker.settle()
    answer = client.answer(command_id)
    assert isinstance(answer, IntegerResponse)
    assert answer.result == 0
