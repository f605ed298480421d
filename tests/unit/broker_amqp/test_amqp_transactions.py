"""Local transactions over AMQP."""

from __future__ import annotations

from typing import Any

import pytest
from proton import Delivery, Described, Message, Sender, Terminus, symbol, ulong
from support.amqp_client import QUEUE, Broker, Client

from broker.destination import Destination

TRANSACTIONAL = 0x34


class Transactor:
    """A client with a coordinator."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.client = Client(broker)
        link = self.client.session.sender("coordinator")
        link.target.type = Terminus.COORDINATOR
        link.target.capabilities.put_object([symbol("amqp:local-transactions")])
        link.open()
        broker.settle()
        self.link = link

    def command(self, name: str, fields: list[Any]) -> Delivery:
        """Says something to the coordinator."""
        delivery = self.client.send(self.link, Message(Described(symbol(name), fields)))
        self.broker.settle()
        return delivery

    def declare(self) -> bytes:
        """Begins a transaction."""
        delivery = self.command("amqp:declare:list", [None])
        assert delivery.remote_state == 0x33
        return bytes(delivery.remote.data[0])

    def discharge(self, txn_id: bytes, *, fail: bool = False) -> Delivery:
        """Ends it."""
        return self.command("amqp:discharge:list", [txn_id, fail])

    def send(self, sender: Sender, body: str, txn_id: bytes) -> Delivery:
        """Sends in it."""
        self.client._tags += 1
        delivery = sender.delivery(f"t{self.client._tags}")
        delivery.local.data = [txn_id, None]
        delivery.update(TRANSACTIONAL)
        sender.send(Message(body, durable=True).encode())
        sender.advance()
        self.client.read()
        self.broker.settle()
        return delivery

    def accept(self, delivery: Delivery, txn_id: bytes, *, settled: bool = True) -> None:
        """Accepts a message in it."""
        delivery.local.data = [txn_id, Described(ulong(0x24), [])]
        delivery.update(TRANSACTIONAL)
        if settled:
            delivery.settle()
        self.client.read()
        self.broker.settle()


@pytest.fixture
def transactor() -> Transactor:
    """One client."""
    return Transactor(Broker())


def size(broker: Broker) -> int:
    """How much the queue holds."""
    return broker.region.targets[Destination.queue(QUEUE)].size


def test_commit(transactor: Transactor) -> None:
    """What was sent is there, what was accepted is gone, and both at once."""
    client = transactor.client
    sender = client.sender()
    client.send(sender, "before")
    client.receiver()
    ((_, delivery),) = client.take()
    txn_id = transactor.declare()
    sent = transactor.send(sender, "within", txn_id)
    assert sent.remote_state == TRANSACTIONAL
    transactor.accept(delivery, txn_id)
    assert size(transactor.broker) == 1
    discharged = transactor.discharge(txn_id)
    assert discharged.remote_state == Delivery.ACCEPTED
    assert client.bodies() == ["within"]
    assert size(transactor.broker) == 0


@pytest.mark.parametrize("settled", [True, False])
def test_rollback(transactor: Transactor, settled: bool) -> None:
    """What was sent is gone; what was accepted comes again if it was settled, and can be accepted if not."""
    client = transactor.client
    sender = client.sender()
    client.send(sender, "before")
    client.receiver()
    ((_, delivery),) = client.take()
    txn_id = transactor.declare()
    transactor.send(sender, "within", txn_id)
    transactor.accept(delivery, txn_id, settled=settled)
    assert transactor.discharge(txn_id, fail=True).remote_state == Delivery.ACCEPTED
    if settled:
        ((again, delivery),) = client.take()
        assert again.body == "before"
        assert again.delivery_count == 1
    else:
        assert client.take() == []
    client.dispose(delivery, Delivery.ACCEPTED)
    transactor.broker.settle()
    assert size(transactor.broker) == 0


def test_an_unknown_transaction(transactor: Transactor) -> None:
    """It is refused by its own condition, for transfers, dispositions and the coordinator."""
    client = transactor.client
    assert transactor.discharge(b"nothing").remote.condition.name == "amqp:transaction:unknown-id"
    sender = client.sender()
    sent = transactor.send(sender, "one", b"nothing")
    assert sent.remote.condition.name == "amqp:transaction:unknown-id"
    client.send(sender, "two")
    receiver = client.receiver()
    ((_, delivery),) = client.take()
    transactor.accept(delivery, b"nothing")
    assert client.condition(receiver)[0] == "amqp:transaction:unknown-id"


def test_a_closed_coordinator_rolls_back(transactor: Transactor) -> None:
    """What it has begun is undone."""
    client = transactor.client
    txn_id = transactor.declare()
    sender = client.sender()
    transactor.send(sender, "one", txn_id)
    transactor.link.close()
    transactor.broker.settle()
    assert size(transactor.broker) == 0
    assert client.server.connection is not None
    assert len(client.server.connection.transactions) == 0


def test_no_command(transactor: Transactor) -> None:
    """Anything else is rejected."""
    delivery = transactor.client.send(transactor.link, "begin!")
    transactor.broker.settle()
    assert delivery.remote_state == Delivery.REJECTED
