"""What a new broker must be told before it can take the place of the lost one.

The state of one connection as commands: the connection itself, temporary destinations, sessions, consumers,
producers and open local transactions with what was sent in them. Requests that nobody has answered are
kept by :mod:`mqclient.failover`; acknowledgements in a transaction by the session, since they are valid
only after the new broker has dispatched the messages again.

Source: the order and the treatment of transactions in doubt follow Apache's ConnectionStateTracker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from broker.openwire.commands import (
    ActiveMQDestination,
    BaseCommand,
    ConnectionId,
    ConnectionInfo,
    ConsumerId,
    ConsumerInfo,
    DataStructure,
    DestinationInfo,
    Message,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    SessionId,
    SessionInfo,
    TransactionId,
    TransactionInfo,
)
from broker.openwire.constants import DestinationOperation, TransactionType

TRANSACTION_REPLAY_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of one open transaction that are kept for a replay; a larger one is rolled back by a failover."""


@dataclass(slots=True)
class OpenTransaction:
    """A local transaction that is neither committed nor rolled back.

    Attributes:
        commands: begin and sends, in order; empty once the transaction cannot be replayed.
        closed_producers: producers that were closed after they had sent in it.
        lost: a failover has ended it; commit must fail.
    """

    commands: list[BaseCommand] = field(default_factory=list)
    closed_producers: list[ProducerInfo] = field(default_factory=list)
    body_bytes: int = 0
    lost: bool = False

    @property
    def replayable(self) -> bool:
        """Whether a new broker can be given everything that happened in it."""
        return not self.lost and self.body_bytes <= TRANSACTION_REPLAY_BYTES_MAX

    def add(self, command: BaseCommand) -> None:
        """Remember one command for a replay, as long as the limit allows."""
        if isinstance(command, Message):
            self.body_bytes += len(command.content or b"")
        if self.replayable:
            self.commands.append(command)
        else:
            self.commands.clear()


class ConnectionState:
    """The commands that describe a connection, kept as they are sent; pure."""

    def __init__(self, connection: ConnectionInfo) -> None:
        self.connection = connection
        self.transactions: dict[TransactionId, OpenTransaction] = {}
        self._temporary: dict[ActiveMQDestination, DestinationInfo] = {}
        self._sessions: dict[SessionId, SessionInfo] = {}
        self._consumers: dict[ConsumerId, ConsumerInfo] = {}
        self._producers: dict[ProducerId, ProducerInfo] = {}

    def track(self, command: BaseCommand) -> bool:
        """Take in a command that is about to be sent; returns whether :meth:`replay` repeats it."""
        match command:
            case Message(transaction_id=TransactionId() as transaction_id):
                self._transaction(transaction_id).add(command)
            case SessionInfo(session_id=SessionId() as session_id):
                self._sessions[session_id] = command
            case ConsumerInfo(consumer_id=ConsumerId() as consumer_id):
                self._consumers[consumer_id] = command
            case ProducerInfo(producer_id=ProducerId() as producer_id):
                self._producers[producer_id] = command
            case TransactionInfo(
                transaction_id=TransactionId() as transaction_id, type=TransactionType.BEGIN
            ):
                self._transaction(transaction_id).add(command)
            case DestinationInfo(destination=ActiveMQDestination() as destination, operation_type=operation):
                return self._track_temporary(destination, operation, command)
            case RemoveInfo(object_id=DataStructure() as object_id):
                self._remove(object_id)
                return False
            case _:
                return False
        return True

    def refused(self, command: BaseCommand) -> None:
        """The broker refused a tracked command: it is not part of the state after all."""
        match command:
            case SessionInfo(session_id=SessionId() as session_id):
                self._sessions.pop(session_id, None)
            case ConsumerInfo(consumer_id=ConsumerId() as consumer_id):
                self._consumers.pop(consumer_id, None)
            case ProducerInfo(producer_id=ProducerId() as producer_id):
                self._producers.pop(producer_id, None)
            case DestinationInfo(destination=ActiveMQDestination() as destination):
                self._temporary.pop(destination, None)
            case _:
                pass

    def end_transaction(self, transaction_id: TransactionId) -> None:
        """A transaction was committed or rolled back."""
        self.transactions.pop(transaction_id, None)

    def login(self, *, reconnect: bool) -> ConnectionInfo:
        """The command that introduces us; ``reconnect`` makes the broker look up our producers."""
        return replace(self.connection, failover_reconnect=reconnect, response_required=True)

    def replay(self) -> Iterator[BaseCommand]:
        """Everything behind the login, in the order the broker needs it."""
        yield from self._temporary.values()
        yield from self._sessions.values()
        yield from self._consumers.values()
        yield from self._producers.values()
        for transaction in self.transactions.values():
            yield from _replay_transaction(transaction)

    def _transaction(self, transaction_id: TransactionId) -> OpenTransaction:
        return self.transactions.setdefault(transaction_id, OpenTransaction())

    def _track_temporary(
        self, destination: ActiveMQDestination, operation: int, command: DestinationInfo
    ) -> bool:
        if operation == DestinationOperation.ADD:
            self._temporary[destination] = command
            return True
        self._temporary.pop(destination, None)
        return False

    def _remove(self, object_id: DataStructure) -> None:
        match object_id:
            case ConsumerId():
                self._consumers.pop(object_id, None)
            case ProducerId():
                self._remove_producer(object_id)
            case SessionId():
                self._remove_session(object_id)
            case ConnectionId():
                self.transactions.clear()
                for table in (self._temporary, self._sessions, self._consumers, self._producers):
                    table.clear()
            case _:
                pass

    def _remove_session(self, session_id: SessionId) -> None:
        self._sessions.pop(session_id, None)
        member = (session_id.connection_id, session_id.value)
        for consumer_id in [
            each for each in self._consumers if (each.connection_id, each.session_id) == member
        ]:
            del self._consumers[consumer_id]
        for producer_id in [
            each for each in self._producers if (each.connection_id, each.session_id) == member
        ]:
            self._remove_producer(producer_id)

    def _remove_producer(self, producer_id: ProducerId) -> None:
        info = self._producers.pop(producer_id, None)
        if info is None:
            return
        for transaction in self.transactions.values():
            if any(
                isinstance(each, Message) and each.producer_id == producer_id for each in transaction.commands
            ):
                transaction.closed_producers.append(info)


def _replay_transaction(transaction: OpenTransaction) -> Iterator[BaseCommand]:
    if not transaction.replayable:
        transaction.lost = True
        transaction.commands.clear()
        return
    yield from transaction.closed_producers
    yield from transaction.commands
    for info in transaction.closed_producers:
        yield RemoveInfo(object_id=info.producer_id)
