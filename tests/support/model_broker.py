"""A small broker for tests of the client, whose store outlives its connections.

It stores persistent sends once (by producer id and sequence), dispatches in order within the prefetch size,
and dispatches again what a lost connection had not acknowledged. It is pure: bytes in, bytes out.
"""

from dataclasses import dataclass, field, replace

from broker.openwire.commands import (
    ActiveMQDestination,
    BaseCommand,
    ConnectionInfo,
    ConsumerId,
    ConsumerInfo,
    DataStructure,
    ExceptionResponse,
    Message,
    MessageAck,
    MessageDispatch,
    MessagePull,
    ProducerAck,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    Response,
    SessionId,
    ShutdownInfo,
    TransactionId,
    TransactionInfo,
)
from broker.openwire.constants import AckType, TransactionType
from broker.openwire.throwable import Throwable
from broker.openwire.wireformat import CommandReceived, WireFormat, WireFormatOptions

ANSWERED_KINDS = (AckType.STANDARD, AckType.INDIVIDUAL, AckType.POISON, AckType.EXPIRED)


@dataclass
class ModelStore:
    """What survives: messages by place, the last sequence of each producer, and what went wrong."""

    messages: dict[ActiveMQDestination, list[Message]] = field(default_factory=dict)
    sequences: dict[ProducerId, int] = field(default_factory=dict)
    repeats_dropped: int = 0
    dead: list[Message] = field(default_factory=list)
    owners: dict[int, object] = field(default_factory=dict)
    committed: int = 0

    def add(self, message: Message) -> None:
        """Store a message once."""
        assert message.producer_id is not None and message.message_id is not None
        assert message.destination is not None
        sequence = message.message_id.producer_sequence_id
        if message.persistent and sequence <= self.sequences.get(message.producer_id, -1):
            self.repeats_dropped += 1
            return
        self.sequences[message.producer_id] = sequence
        self.messages.setdefault(message.destination, []).append(message)

    def bodies(self) -> list[bytes | None]:
        """The contents of all messages."""
        return [message.content for messages in self.messages.values() for message in messages]


@dataclass
class _Consumer:
    info: ConsumerInfo
    dispatched: list[Message] = field(default_factory=list)
    pulls: int = 0


class ModelConnection:
    """One connection of a client; `received` is everything it said.

    Attributes:
        answers: False: commands are obeyed and not answered, as by a broker that is about to die.
        answers_commits, answers_messages: the same for some commands only.
        acknowledges_sends: one-way sends of producers with a window are acknowledged.
        deaf: what the client says is lost.
        refuse: what to answer with an exception: a command class's name to a Java class's name.
    """

    def __init__(self, store: ModelStore, *, password: str | None = None, now_s: float = 0.0) -> None:
        self.store = store
        self.received: list[DataStructure] = []
        self.answers = True
        self.answers_commits = True
        self.answers_messages = True
        self.dispatches = True
        self.acknowledges_sends = True
        self._windows: dict[ProducerId | None, int] = {}
        self.deaf = False
        self.refuse: dict[str, str] = {}
        self.is_closed = False
        self._password = password
        self._wire = WireFormat(WireFormatOptions(provider_name="model"), now_s=now_s)
        self._consumers: dict[ConsumerId, _Consumer] = {}
        self._transactions: dict[TransactionId | None, list[BaseCommand]] = {}

    def receive_data(self, data: bytes, now_s: float = 0.0) -> None:
        """Take bytes of the client."""
        if self.deaf:
            return
        for event in self._wire.receive_data(data, now_s):
            if isinstance(event, CommandReceived):
                assert isinstance(event.command, BaseCommand)
                self._take(event.command)
        self.dispatch()

    def data_to_send(self) -> bytes:
        """Bytes for the client."""
        return self._wire.data_to_send()

    def send(self, command: DataStructure) -> None:
        """Say something unasked."""
        self._wire.send(command)

    def close(self) -> None:
        """The connection is gone: what it had not acknowledged may be dispatched again."""
        self.is_closed = True
        for consumer_id in list(self._consumers):
            self._remove(consumer_id)

    def dispatch(self) -> None:
        """Dispatch what there is room for; call it when another connection may have added something."""
        if self.dispatches:
            self._dispatch()

    def names(self) -> list[str]:
        """The names of the commands that came, in order."""
        return [type(command).__name__ for command in self.received]

    def _take(self, command: BaseCommand) -> None:
        self.received.append(command)
        java_class = self._reason_to_refuse(command)
        if java_class is not None:
            self._answer(command, ExceptionResponse(exception=Throwable(java_class, f"{java_class} it is")))
            return
        match command:
            case ConsumerInfo(consumer_id=ConsumerId() as consumer_id):
                self._consumers[consumer_id] = _Consumer(command)
            case RemoveInfo():
                self._remove(command.object_id)
            case ProducerInfo():
                self._windows[command.producer_id] = command.window_size
            case MessagePull(consumer_id=ConsumerId() as consumer_id):
                self._pull(consumer_id, command.timeout)
            case TransactionInfo():
                self._step(command)
            case Message() | MessageAck():
                self._work(command)
            case ShutdownInfo():
                self.is_closed = True
            case _:
                pass
        self._answer(command, Response())
        if isinstance(command, Message) and not command.response_required and self.acknowledges_sends:
            self.acknowledge_send(command)

    def acknowledge_send(self, message: Message) -> None:
        """Give a producer with a window room for as much as its message took."""
        if self._windows.get(message.producer_id):
            size = 1024 + len(message.content or b"") + len(message.marshalled_properties or b"")
            self.send(ProducerAck(producer_id=message.producer_id, size=size))

    def _remove(self, object_id: DataStructure | None) -> None:
        for consumer_id in list(self._consumers):
            session_id = SessionId(connection_id=consumer_id.connection_id, value=consumer_id.session_id)
            if object_id in (consumer_id, session_id):
                for message in self._consumers.pop(consumer_id).dispatched:
                    self.store.owners.pop(id(message), None)

    def _reason_to_refuse(self, command: BaseCommand) -> str | None:
        if isinstance(command, ConnectionInfo) and self._password not in (None, command.password):
            return "java.lang.SecurityException"
        return self.refuse.get(type(command).__name__)

    def _answer(self, command: BaseCommand, response: Response) -> None:
        if isinstance(command, Message):
            answers = self.answers_messages
        elif isinstance(command, TransactionInfo) and command.type == TransactionType.COMMIT_ONE_PHASE:
            answers = self.answers_commits
        else:
            answers = True
        if command.response_required and self.answers and answers:
            response.correlation_id = command.command_id
            self._wire.send(response)

    def _step(self, command: TransactionInfo) -> None:
        if command.type == TransactionType.BEGIN:
            self._transactions[command.transaction_id] = []
            return
        work = self._transactions.pop(command.transaction_id)
        if command.type == TransactionType.COMMIT_ONE_PHASE:
            self.store.committed += 1
            for each in work:
                self._do(each)

    def _work(self, command: Message | MessageAck) -> None:
        if command.transaction_id is not None:
            self._transactions[command.transaction_id].append(command)
        else:
            self._do(command)

    def _do(self, command: BaseCommand) -> None:
        if isinstance(command, Message):
            self.store.add(replace(command, transaction_id=None))
        elif isinstance(command, MessageAck) and command.ack_type in ANSWERED_KINDS:
            self._acknowledge(command)

    def _acknowledge(self, ack: MessageAck) -> None:
        assert ack.consumer_id is not None and ack.destination is not None
        consumer = self._consumers[ack.consumer_id]
        ids = [message.message_id for message in consumer.dispatched]
        first, last = ids.index(ack.first_message_id), ids.index(ack.last_message_id)
        assert last - first + 1 == ack.message_count, "a range must cover what it counts"
        done = consumer.dispatched[first : last + 1]
        del consumer.dispatched[first : last + 1]
        if ack.ack_type == AckType.POISON:
            self.store.dead += done
        for message in done:
            del self.store.owners[id(message)]
            self.store.messages[ack.destination].remove(message)

    def _pull(self, consumer_id: ConsumerId, timeout: int) -> None:
        self._consumers[consumer_id].pulls += 1
        self._dispatch()
        if timeout and self._consumers[consumer_id].pulls:
            self._consumers[consumer_id].pulls -= 1
            self._wire.send(MessageDispatch(consumer_id=consumer_id))

    def _dispatch(self) -> None:
        """Give each queue's messages to its consumers, each message to one."""
        for consumer in self._consumers.values():
            destination = consumer.info.destination
            assert destination is not None
            for message in list(self.store.messages.get(destination, [])):
                room = consumer.info.prefetch_size - len(consumer.dispatched) + consumer.pulls
                if room <= 0 or id(message) in self.store.owners:
                    continue
                consumer.pulls = max(0, consumer.pulls - 1)
                consumer.dispatched.append(message)
                self.store.owners[id(message)] = self
                self._wire.send(
                    MessageDispatch(
                        consumer_id=consumer.info.consumer_id, destination=destination, message=message
                    )
                )
            if consumer.info.browser:
                self._wire.send(MessageDispatch(consumer_id=consumer.info.consumer_id))
                consumer.info = replace(consumer.info, prefetch_size=0, browser=False)
