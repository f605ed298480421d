"""What each command of a client that has logged in means for the region.

:class:`OpenedConnection` keeps what OpenWire knows and the region does not: sessions, how consumers are
addressed, the windows of producers. What a command returns is the journal's batch that its answer has to wait
for, or the answer itself.

Source: Apache ActiveMQ's ``TransportConnection``, for what clients expect.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.errors import (
    ClientError,
    IdUnknown,
    InvalidClientId,
    InvalidDestination,
    RequestInvalid,
    ResourceExhausted,
)
from broker.openwire import transactions, translation
from broker.openwire.commands import (
    ActiveMQDestination,
    BaseCommand,
    ConnectionId,
    ConsumerControl,
    ConsumerId,
    ConsumerInfo,
    ControlCommand,
    DataArrayResponse,
    DataResponse,
    DataStructure,
    DestinationInfo,
    ExceptionResponse,
    FlushCommand,
    IntegerResponse,
    MessageAck,
    MessagePull,
    ProducerAck,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    RemoveSubscriptionInfo,
    Response,
    SessionId,
    SessionInfo,
    TransactionId,
    TransactionInfo,
)
from broker.openwire.constants import SHARED, SHARED_DURABLE, DestinationOperation, TransactionType
from broker.openwire.transactions import Answer, answer_to, prepared_ids, transaction_name
from broker.region.consumer import AckKind, ConsumerOptions

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.message import Message
    from broker.region.connection import RegionConnection

SESSIONS_MAX: Final = 10_000
"""Sessions of one connection; clients open one per thread or request."""

CONNECTION_SESSION: Final = -1
"""The session that every connection has without opening it; clients hear advisories there."""

MESSAGE_OVERHEAD_BYTES: Final = 1024
"""What a message counts against a producer's window beyond its content; both ends must agree.
Source: Apache ActiveMQ's ``Message.getSize``."""

CAUSE_CHARACTERS_MAX: Final = 4_096
"""Of what a client says of a message that it gives up; it is kept with the message."""

_ACK_KINDS: Final = {int(kind): kind for kind in AckKind}

BlockedAnswer = Callable[[int | ClientError], None]
"""Told how a send or commit went that had to wait."""

ConsumerKey = tuple[int, int]
"""Session and number: what tells the consumers of one connection apart."""


@dataclass(slots=True)
class OpenConsumer:
    """How messages are addressed to one consumer.

    Attributes:
        consumer_id: as the client named it.
        destination: as the client named it.
        head: a place for the connection's encoder, for what stands before every message.
    """

    consumer_id: ConsumerId
    destination: ActiveMQDestination
    head: bytes = b""


@dataclass(slots=True)
class _OpenProducer:
    producer_id: ProducerId
    window_size: int


class OpenedConnection:
    """One client's sessions, consumers and producers over its connection in the region.

    Args:
        region_connection: what does the work.
        connection_id: as the client named the connection.
    """

    def __init__(self, region_connection: RegionConnection, connection_id: str) -> None:
        self.consumers: dict[ConsumerKey, OpenConsumer] = {}
        self._region_connection = region_connection
        self._id = connection_id
        self._prefix = f"{connection_id}:"
        self._sessions: set[int] = {CONNECTION_SESSION}
        self._producers: dict[str, _OpenProducer] = {}
        self._known: TransactionId | None = None
        self._known_name = ""

    def carry_out(self, command: BaseCommand) -> Answer:
        """Does what a command other than a message asks for.

        Raises:
            ClientError: it cannot be done; nothing was.
        """
        carry_out = _COMMANDS.get(command.__class__)
        if carry_out is None:
            raise RequestInvalid(f"{type(command).__name__} is not supported here.")
        return carry_out(self, command)

    def send(self, message: Message, transaction_id: TransactionId | None) -> int:
        """Takes a message.

        Raises:
            ClientError: it cannot be taken.
        """
        # Others' producer ids would spoil the detection of their repeats.
        if not message.producer_id.startswith(self._prefix):
            raise IdUnknown(f"The producer {message.producer_id} is not of this connection.")
        transaction = None if transaction_id is None else self._transaction(transaction_id)
        return self._region_connection.send(message, transaction)

    def refuse_commit(self, transaction_id: TransactionId, error: ClientError) -> None:
        """A send of a transaction was refused, and its sender did not wait for the answer."""
        name = self._transaction(transaction_id)
        self._region_connection.transactions.refuse(name, error, ending=False)

    def block_send(
        self, message: Message, transaction_id: TransactionId | None, answer: BlockedAnswer
    ) -> None:
        """Keeps a message that had to be blocked until there is space for it."""
        transaction = None if transaction_id is None else self._transaction(transaction_id)
        self._region_connection.block(
            message, lambda: self.send(message, transaction_id), answer, transaction
        )

    def block_commit(self, info: TransactionInfo, answer: BlockedAnswer) -> None:
        """Keeps a commit until its sends have found space."""
        assert info.transaction_id is not None
        transaction = self._transaction(info.transaction_id)
        carry_out = transactions.carry_out
        self._region_connection.block_commit(
            transaction, lambda: carry_out(self._region_connection, info, transaction), answer
        )

    def producer_ack(self, message: Message) -> ProducerAck | None:
        """What gives the message's producer room for more, None if it has no window."""
        producer = self._producers.get(message.producer_id)
        if producer is None or producer.window_size <= 0:
            return None
        size = MESSAGE_OVERHEAD_BYTES + len(message.body or b"") + len(message.properties or b"")
        return ProducerAck(producer_id=producer.producer_id, size=size)

    # ---- sessions

    def _check_session(self, connection_id: str | None, session: int) -> None:
        if connection_id != self._id:
            raise IdUnknown(f"The connection {connection_id} has not been opened here.")
        if session not in self._sessions:
            raise IdUnknown(f"The session {connection_id}:{session} has not been opened.")

    def _open_session(self, info: SessionInfo) -> Answer:
        if info.session_id is None:
            raise RequestInvalid("A session needs an id.")
        self._check_session(info.session_id.connection_id, CONNECTION_SESSION)
        if len(self._sessions) > SESSIONS_MAX:
            raise ResourceExhausted(f"A connection has at most {SESSIONS_MAX} sessions.")
        self._sessions.add(info.session_id.value)
        return 0

    def _remove(self, info: RemoveInfo) -> Answer:
        """Closes what the id names; what is closed already stays closed, as after a failover.

        The answer says that what was sent and acknowledged before is durable.
        """
        last_ref = info.last_delivered_sequence_id
        match info.object_id:
            case ConsumerId() as consumer_id:
                self._remove_consumer(self._consumer_key(consumer_id), last_ref)
            case ProducerId() as producer_id:
                self._remove_producer(translation.producer_name(producer_id))
            case SessionId(connection_id=connection_id, value=session):
                self._check_session(connection_id, CONNECTION_SESSION)
                self._remove_session(session, last_ref)
            case ConnectionId(value=connection_id):
                self._check_session(connection_id, CONNECTION_SESSION)
                for session in list(self._sessions):
                    self._remove_session(session, last_ref)
            case _:
                raise RequestInvalid("A connection, session, consumer or producer is to be named.")
        return self._region_connection.region.last_batch

    def _remove_session(self, session: int, last_delivered_ref: int) -> None:
        for key in [key for key in self.consumers if key[0] == session]:
            self._remove_consumer(key, last_delivered_ref)
        for name, producer in list(self._producers.items()):
            if producer.producer_id.session_id == session:
                self._remove_producer(name)
        if session != CONNECTION_SESSION:
            self._sessions.discard(session)

    # ---- consumers

    def _open_consumer(self, info: ConsumerInfo) -> Answer:
        consumer_id = info.consumer_id
        if consumer_id is None:
            raise RequestInvalid("A consumer needs an id.")
        self._check_session(consumer_id.connection_id, consumer_id.session_id)
        _check_prefetch(info.prefetch_size)
        destination = translation.to_destination(info.destination)
        assert info.destination is not None
        if info.subscription_name in (SHARED, SHARED_DURABLE):
            raise RequestInvalid("A shared subscription needs a name.")
        self._check_own(destination)
        key = (consumer_id.session_id, consumer_id.value)
        if key in self.consumers:
            raise RequestInvalid(f"The consumer {self._id}:{key[0]}:{key[1]} exists already.")
        self.consumers[key] = OpenConsumer(consumer_id, info.destination)
        try:
            return self._region_connection.add_consumer(key, destination, _options(info))
        except ClientError:
            del self.consumers[key]
            raise

    def forget_consumer(self, key: Hashable) -> None:
        """The broker has closed a consumer."""
        assert isinstance(key, tuple)
        self.consumers.pop(key, None)

    def _remove_consumer(self, key: ConsumerKey, last_delivered_ref: int) -> None:
        self.consumers.pop(key, None)
        self._region_connection.remove_consumer(key, last_delivered_ref)

    def _consumer_key(self, consumer_id: ConsumerId | None) -> ConsumerKey:
        if consumer_id is None or consumer_id.connection_id != self._id:
            raise IdUnknown("The consumer has not been opened here.")
        return consumer_id.session_id, consumer_id.value

    def _control_consumer(self, control: ConsumerControl) -> Answer:
        key = self._consumer_key(control.consumer_id)
        if control.close:
            self._remove_consumer(key, 0)
        else:
            _check_prefetch(control.prefetch)
            self._region_connection.set_prefetch(key, control.prefetch)
        return 0

    def _pull(self, pull: MessagePull) -> Answer:
        key = self._consumer_key(pull.consumer_id)
        self._region_connection.pull(key, pull.timeout)
        return 0

    def _acknowledge(self, ack: MessageAck) -> Answer:
        key = self._consumer_key(ack.consumer_id)
        first, last = ack.first_message_id, ack.last_message_id
        if last is None:
            raise RequestInvalid("An acknowledgement needs the id of the last message.")
        kind = _ACK_KINDS.get(ack.ack_type)
        if kind is None:
            raise RequestInvalid(f"There is no acknowledgement of type {ack.ack_type}.")
        last_ref = last.broker_sequence_id
        return self._region_connection.acknowledge(
            key,
            kind,
            0 if first is None else first.broker_sequence_id,
            last_ref,
            count=ack.message_count,
            transaction=None if ack.transaction_id is None else self._transaction(ack.transaction_id),
            first_id="" if last_ref or first is None else translation.message_name(first),
            last_id="" if last_ref else translation.message_name(last),
            cause="" if ack.poison_cause is None else str(ack.poison_cause)[:CAUSE_CHARACTERS_MAX],
        )

    # ---- producers

    def _open_producer(self, info: ProducerInfo) -> Answer:
        producer_id = info.producer_id
        if producer_id is None:
            raise RequestInvalid("A producer needs an id.")
        self._check_session(producer_id.connection_id, producer_id.session_id)
        destination = None if info.destination is None else translation.to_destination(info.destination)
        name = translation.producer_name(producer_id)
        if name in self._producers:
            raise RequestInvalid(f"The producer {name} exists already.")
        self._region_connection.add_producer(name, destination)
        self._producers[name] = _OpenProducer(producer_id, info.window_size)
        return 0

    def _remove_producer(self, name: str) -> None:
        if self._producers.pop(name, None) is not None:
            self._region_connection.remove_producer(name)

    # ---- transactions

    def _transaction(self, transaction_id: TransactionId) -> str:
        if transaction_id is not self._known:  # a transaction's sends share it, see `message_reader`
            self._known_name = transaction_name(transaction_id, self._id)
            self._known = transaction_id
        return self._known_name

    def _transact(self, info: TransactionInfo) -> Answer:
        if info.type == TransactionType.RECOVER:
            return prepared_ids(self._region_connection)
        if info.transaction_id is None:
            raise RequestInvalid("A transaction needs an id.")
        name = self._transaction(info.transaction_id)
        return answer_to(info, transactions.carry_out(self._region_connection, info, name))

    # ---- destinations and subscriptions

    def _change_destination(self, info: DestinationInfo) -> Answer:
        destination = translation.to_destination(info.destination)
        match info.operation_type:
            case DestinationOperation.ADD:
                self._check_own(destination)
                return self._region_connection.add_destination(destination)
            case DestinationOperation.REMOVE:
                return self._region_connection.remove_destination(destination)
        raise RequestInvalid(f"A destination knows no operation {info.operation_type}.")

    def _check_own(self, destination: Destination) -> None:
        """A temporary destination is named after its connection: nobody else makes it, or takes from it.

        Source: ActiveMQ's `TempQueue` and `TempTopic`, which read the connection out of the name.
        """
        for member in destination.members():
            if member.is_temporary and not member.name.startswith(self._prefix):
                raise InvalidDestination(f"{member} belongs to another connection.")

    def _remove_subscription(self, info: RemoveSubscriptionInfo) -> Answer:
        if not info.subscription_name:
            raise InvalidDestination("A subscription needs a name.")
        if info.client_id is not None and info.client_id != self._region_connection.client_id:
            raise InvalidClientId("Only the client that made a durable subscription can remove it.")
        name = info.subscription_name.removeprefix(SHARED_DURABLE)
        return self._region_connection.remove_subscription(name)

    def _flush(self, command: FlushCommand) -> Answer:
        """The answer says that everything taken so far is durable."""
        del command
        return self._region_connection.region.last_batch

    def _accept(self, command: BaseCommand) -> Answer:
        """Commands that ask for nothing this broker would have to do."""
        del command
        return 0


def _options(info: ConsumerInfo) -> ConsumerOptions:
    name = info.subscription_name
    return ConsumerOptions(
        prefetch_size=info.prefetch_size,
        browser=info.browser,
        selector=info.selector,
        no_local=info.no_local,
        subscription_name=None if name is None else name.removeprefix(SHARED).removeprefix(SHARED_DURABLE),
        shared=name is not None and name.startswith((SHARED, SHARED_DURABLE)),
        durable=name is None or not name.startswith(SHARED),
        exclusive=info.exclusive,
        priority=info.priority,
        retroactive=info.retroactive,
        pending_limit=info.maximum_pending_message_limit,
        network=info.network_subscription,
    )


def _check_prefetch(prefetch_size: int) -> None:
    if prefetch_size < 0:
        raise RequestInvalid(f"A prefetch size cannot be {prefetch_size}.")


_COMMANDS: Final[dict[type[DataStructure], Callable[..., Answer]]] = {
    SessionInfo: OpenedConnection._open_session,
    ConsumerInfo: OpenedConnection._open_consumer,
    ProducerInfo: OpenedConnection._open_producer,
    TransactionInfo: OpenedConnection._transact,
    DestinationInfo: OpenedConnection._change_destination,
    RemoveSubscriptionInfo: OpenedConnection._remove_subscription,
    RemoveInfo: OpenedConnection._remove,
    MessageAck: OpenedConnection._acknowledge,
    MessagePull: OpenedConnection._pull,
    ConsumerControl: OpenedConnection._control_consumer,
    ControlCommand: OpenedConnection._accept,
    FlushCommand: OpenedConnection._flush,
    Response: OpenedConnection._accept,
    ExceptionResponse: OpenedConnection._accept,
    DataResponse: OpenedConnection._accept,
    DataArrayResponse: OpenedConnection._accept,
    IntegerResponse: OpenedConnection._accept,
}
