"""The open transactions of one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import (
    ClientError,
    InvalidDestination,
    ResourceExhausted,
    TransactionRefused,
    TransactionUnknown,
)
from broker.region.transaction import Transaction
from broker.xa import XID, not_known

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry
    from broker.region.queue import Queue


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
        self._check_count()
        if name not in self._open:
            self._open[name] = Transaction(name, self._connection)

    def join(self, transaction: Transaction) -> None:
        """Take part in a branch of a distributed transaction.

        Raises:
            ResourceExhausted: too many are open.
        """
        if transaction.name not in self._open:
            self._check_count()
        self._open[transaction.name] = transaction

    def leave(self, name: str) -> None:
        """The branch has an outcome; unknown ones are ignored."""
        self._open.pop(name, None)

    def _check_count(self) -> None:
        limit = self._region.limits.transactions_per_connection_max
        if len(self._open) >= limit:
            for name in [name for name, each in self._open.items() if each.ended]:
                del self._open[name]
        if len(self._open) >= limit:
            raise ResourceExhausted(f"A connection has at most {limit} open transactions.")

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
            transaction.check(self._region)
            batch = transaction.commit(self._region)
        except (InvalidDestination, ResourceExhausted, TransactionRefused):
            del self._open[name]
            transaction.roll_back()
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
        blocked = transaction.connection.blocked
        if blocked:
            blocked.drop(name)
        del self._open[name]
        transaction.ended = True
        if name.startswith(XID):
            self._region.branches.gone(transaction)
        transaction.roll_back()

    def close(self) -> None:
        """The connection ends: all that it has begun are rolled back, but for prepared branches."""
        for transaction in list(self._open.values()):
            if transaction.connection is self._connection and not transaction.ended:
                self.rollback(transaction.name)
        self._open.clear()

    # ---- what is done in one

    def find(self, name: str) -> Transaction:
        """The open transaction of that name.

        Raises:
            TransactionUnknown, BranchRefused: there is none.
        """
        transaction = self._open.get(name)
        if transaction is None or transaction.ended:
            if name.startswith(XID):
                raise not_known(name)
            raise TransactionUnknown(f"Transaction '{name}' has not been started.")
        return transaction

    def is_repeated(self, name: str) -> bool:
        """Whether the journal knows an open branch already; see `Transaction.repeats`."""
        transaction = self._open.get(name)
        return transaction is not None and transaction.repeats

    def send(self, name: str, message: Message, queue: Queue | None = None) -> None:
        """Keep a message until the commit.

        Args:
            name: of the transaction.
            message: it.
            queue: that it goes to now, as it is, and that is stored; what the journal will hold of it is made
                at once, while the next one is on its way, so that there is less to be done at the commit.

        Raises:
            TransactionUnknown: there is no such transaction.
            ResourceExhausted: it holds too much now, and is rolled back.
        """
        transaction = self._open.get(name)
        if transaction is None or transaction.ended:
            transaction = self.find(name)
        if transaction.repeats:
            self._region.repeats_dropped += 1
            return
        transaction.keep(message, None if queue is None else queue.draft(message))
        limits = self._region.limits
        if (
            transaction.bytes_held > limits.transaction_bytes_max
            or len(transaction.sends) >= limits.transaction_operations_max
        ):
            self._check_size(name, transaction)

    def acknowledge(self, name: str, consumer: Consumer, entries: list[Entry]) -> None:
        """Lock dispatched messages until the transaction's outcome; its consumer has room for others.

        Raises:
            TransactionUnknown: there is no such transaction.
            ResourceExhausted: it holds too much now, and is rolled back.
        """
        transaction = self.find(name)
        if transaction.repeats:
            return
        for entry in entries:
            if entry.transaction is None:
                entry.transaction = transaction
                transaction.acknowledged.append((consumer, entry))
        consumer.mark_delivered(entries)
        consumer.source.consumer_opened(consumer)
        self._check_size(name, transaction)

    def refuse(self, name: str, error: ClientError, *, ending: bool) -> None:
        """A part of it was refused, which its sender may not have heard: it cannot be committed any more.

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
            len(transaction.sends) + len(transaction.acknowledged) > limits.transaction_operations_max
            or transaction.bytes_held > limits.transaction_bytes_max
        ):
            self.rollback(name)
            raise ResourceExhausted(
                f"A transaction holds at most {limits.transaction_operations_max} operations and "
                f"{limits.transaction_bytes_max} bytes; it has been rolled back."
            )
