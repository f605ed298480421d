"""The open transactions of one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import (
    InvalidDestination,
    ResourceExhausted,
    SendBlocked,
    SpaceLacking,
    TransactionRefused,
    TransactionUnknown,
)
from broker.region.routing import Arrivals
from broker.region.transaction import Transaction

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry


class OpenTransactions:
    """Begun and not yet ended; what is done in one counts when it is committed."""

    def __init__(self, connection: RegionConnection) -> None:
        self._connection = connection
        self._region = connection.region
        self._open: dict[str, Transaction] = {}

    def __len__(self) -> int:
        return len(self._open)

    # ---- the steps of one

    def begin(self, name: str) -> None:
        """Start a local transaction; a second start of an open one changes nothing.

        Raises:
            ResourceExhausted: too many are open.
        """
        limit = self._region.limits.transactions_per_connection_max
        if len(self._open) >= limit:
            raise ResourceExhausted(f"A connection has at most {limit} open transactions.")
        self._open.setdefault(name, Transaction())

    def commit(self, name: str) -> int:
        """Do all of it, in one batch.

        Raises:
            SendBlocked: it has to wait: give it to `block`.
            TransactionUnknown: there is no such transaction.
            TransactionRefused: there was no space for one of its sends; all of it is rolled back.
            ResourceExhausted, InvalidDestination: a send cannot be done; all of it is rolled back.
        """
        transaction = self.find(name)
        try:
            self._check_commit(name, transaction)
            batch = self._do(transaction)
        except (InvalidDestination, ResourceExhausted, TransactionRefused):
            del self._open[name]
            self._undo(transaction)
            raise
        del self._open[name]
        return batch

    def rollback(self, name: str) -> None:
        """Forget its sends; what it acknowledged is unacknowledged again.

        The client redelivers to itself, as JMS clients do; messages of a consumer that is closed meanwhile
        go back to their queue.

        Raises:
            TransactionUnknown: there is no such transaction.
        """
        transaction = self.find(name)
        blocked = self._connection.blocked
        if blocked:
            blocked.drop(name)
        del self._open[name]
        self._undo(transaction)

    def close(self) -> None:
        """The connection ends: all are rolled back."""
        for transaction in self._open.values():
            self._undo(transaction)
        self._open.clear()

    # ---- what is done in one

    def find(self, name: str) -> Transaction:
        """The open transaction of that name.

        Raises:
            TransactionUnknown: there is none.
        """
        transaction = self._open.get(name)
        if transaction is None:
            raise TransactionUnknown(f"Transaction '{name}' has not been started.")
        return transaction

    def send(self, name: str, message: Message) -> None:
        """Keep a message until the commit.

        Raises:
            TransactionUnknown: there is no such transaction.
            ResourceExhausted: it holds too much now, and is rolled back.
        """
        transaction = self.find(name)
        transaction.sends.append(message)
        transaction.bytes_held += message.size_bytes
        self._check_size(name, transaction)

    def acknowledge(self, name: str, consumer: Consumer, entries: list[Entry]) -> None:
        """Lock dispatched messages until the transaction's outcome; its consumer has room for others.

        Raises:
            TransactionUnknown: there is no such transaction.
            ResourceExhausted: it holds too much now, and is rolled back.
        """
        transaction = self.find(name)
        for entry in entries:
            if entry.transaction is None:
                entry.transaction = transaction
                transaction.acknowledged.append((consumer, entry))
        consumer.mark_delivered(entries)
        consumer.source.consumer_opened(consumer)
        self._check_size(name, transaction)

    def refuse(self, name: str, error: SpaceLacking, *, ending: bool) -> None:
        """There was no space for a part of it in time, so that it cannot be committed any more.

        Args:
            name: whose part; unknown ones are ignored.
            error: what its sender is told.
            ending: the part is its commit.
        """
        transaction = self._open.get(name)
        if transaction is None:
            return
        transaction.refused = error
        if ending:
            self.rollback(name)

    def _check_size(self, name: str, transaction: Transaction) -> None:
        """Past the limit it is rolled back."""
        limits = self._region.limits
        if (
            transaction.operations > limits.transaction_operations_max
            or transaction.bytes_held > limits.transaction_bytes_max
        ):
            self.rollback(name)
            raise ResourceExhausted(
                f"A transaction holds at most {limits.transaction_operations_max} operations and "
                f"{limits.transaction_bytes_max} bytes; it has been rolled back."
            )

    # ---- the end of one

    def _check_commit(self, name: str, transaction: Transaction) -> None:
        """Its sends have found space, and the disk has room for all of them at once.

        A `storeUsage` that is used up stops sends, not commits: what was let in may be finished.
        """
        blocked = self._connection.blocked
        if blocked and blocked.holds(name):
            raise SendBlocked("The commit waits for its sends.")
        if transaction.refused is not None:
            raise TransactionRefused(f"Transaction '{name}' has been rolled back: {transaction.refused}")
        usage = self._region.usage
        if (usage.is_short or transaction.bytes_held > self._region.limits.long_bytes) and any(
            message.persistent for message in transaction.sends
        ):
            usage.check_room(transaction.bytes_held)

    def _do(self, transaction: Transaction) -> int:
        """Do all of a transaction in one append.

        Raises:
            InvalidDestination, ResourceExhausted: a send cannot be done; nothing has been done.
        """
        region = self._region
        arrivals = Arrivals.of(region, transaction.sends, self._connection)
        records = arrivals.records
        for consumer, entry in transaction.acknowledged:
            entry.transaction = None
            consumer.forget([entry])
            consumer.source.consumed([entry], records)
            if not consumer.ready:
                consumer.source.consumer_opened(consumer)
        batch = region.append(records) if records else 0
        arrivals.accept(batch)
        return batch

    def _undo(self, transaction: Transaction) -> None:
        """Messages whose consumer is closed wait again."""
        for consumer, entry in transaction.acknowledged:
            entry.transaction = None
            if consumer.closed:
                consumer.source.give_back([entry])
