"""Open transactions and the failover core."""

import pytest
from support.failover_client import PRODUCER, TRANSACTION, Client, connected

from broker.openwire.commands import (
    ProducerInfo,
    RemoveInfo,
    TransactionInfo,
)
from broker.openwire.constants import TransactionType
from mqclient import replay
from mqclient.errors import (
    TransactionRolledBack,
)
from mqclient.events import (
    Request,
)


def begin(client: Client) -> None:
    """Begin the transaction."""
    client.core.send(TransactionInfo(transaction_id=TRANSACTION, type=int(TransactionType.BEGIN)))


def step(client: Client, type_: TransactionType) -> Request:
    """Commit or roll back."""
    return client.request(TransactionInfo(transaction_id=TRANSACTION, type=int(type_)))


def test_an_open_transaction_is_replayed() -> None:
    """A transaction that a failover interrupts before its commit is committed at the next broker."""
    client = connected()
    begin(client)
    client.core.send(client.message(transacted=True))
    client.exchange()
    client.lose()
    client.core.send(client.message(transacted=True))
    client.connect()
    commit = step(client, TransactionType.COMMIT_ONE_PHASE)
    client.exchange()
    assert commit.error is None
    assert client.store.bodies() == [b"1", b"2"]


def test_a_commit_asked_for_during_an_outage_is_not_in_doubt() -> None:
    """A commit that was never sent is sent to the next broker."""
    client = connected()
    begin(client)
    client.core.send(client.message(transacted=True))
    client.lose()
    commit = step(client, TransactionType.COMMIT_ONE_PHASE)
    client.connect()
    assert (client.done, commit.error) == ([commit], None)
    assert client.store.bodies() == [b"1"]


def test_a_commit_in_doubt_is_told_as_rolled_back() -> None:
    """A commit whose answer was lost raises TransactionRolledBack and is not repeated."""
    client = connected()
    assert client.broker is not None
    begin(client)
    client.core.send(client.message(transacted=True))
    client.broker.answers = False
    commit = step(client, TransactionType.COMMIT_ONE_PHASE)
    client.exchange()
    client.lose()
    assert isinstance(commit.error, TransactionRolledBack)
    assert client.connect().names() == ["ConnectionInfo"]


def test_a_rollback_is_answered_here_during_an_outage() -> None:
    """A lost connection has rolled back everything."""
    client = connected()
    begin(client)
    client.core.send(client.message(transacted=True))
    client.exchange()
    client.lose()
    rollback = step(client, TransactionType.ROLLBACK)
    assert (client.done, rollback.error) == ([rollback], None)
    assert client.connect().names() == ["ConnectionInfo"]


def test_a_producer_closed_in_a_transaction_is_replayed_with_it() -> None:
    """The broker knows the producer of each repeated send, so that it can drop repeats."""
    client = connected()
    client.request(ProducerInfo(producer_id=PRODUCER))
    begin(client)
    client.core.send(client.message(transacted=True))
    client.request(RemoveInfo(object_id=PRODUCER))
    client.exchange()
    client.lose()
    assert client.connect().names() == [
        "ConnectionInfo",
        "ProducerInfo",
        "TransactionInfo",
        "ActiveMQTextMessage",
        "RemoveInfo",
    ]


def test_a_transaction_too_large_to_replay_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for replays is bounded; beyond it a failover ends the transaction, and commit says so."""
    monkeypatch.setattr(replay, "TRANSACTION_REPLAY_BYTES_MAX", 1)
    client = connected()
    begin(client)
    client.core.send(client.message(transacted=True))
    client.core.send(client.message(transacted=True))
    client.exchange()
    client.lose()
    client.connect()
    client.core.send(client.message(transacted=True))
    commit = step(client, TransactionType.COMMIT_ONE_PHASE)
    client.exchange()
    assert isinstance(commit.error, TransactionRolledBack)
    assert client.store.bodies() == []
