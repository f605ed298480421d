"""The broker's side of one OpenWire connection, without its socket.

::

    negotiating ─WireFormatInfo─▶ anonymous ─ConnectionInfo─▶ authenticating ─accepted─▶ open
         │                            │                            │ refused              │
         └────────────────────────────┴──────────▶ closing ◀───────┴── fault, ShutdownInfo ┘

What a command means for the region is said in :mod:`broker.openwire.opened`. What is to be answered waits
here for the journal: :meth:`OpenWireServer.durable` lets it go. What a client does wrong is answered with an
ExceptionResponse if it asked for an answer and with a ConnectionError otherwise; what is no OpenWire ends the
connection.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.errors import AccessDenied, ClientError, RequestInvalid, SendBlocked
from broker.openwire import advisories, commands, translation
from broker.openwire.commands import (
    BaseCommand,
    BrokerId,
    BrokerInfo,
    ConnectionControl,
    ConnectionError,
    ConnectionId,
    ConnectionInfo,
    ConsumerControl,
    DataStructure,
    ExceptionResponse,
    MessageDispatch,
    Response,
    ShutdownInfo,
    TransactionId,
    TransactionInfo,
)
from broker.openwire.errors import CodecError
from broker.openwire.message_reader import read_message
from broker.openwire.opened import OpenConsumer, OpenedConnection
from broker.openwire.throwable import Throwable
from broker.openwire.transactions import Answer, Later, answer_to
from broker.openwire.wireformat import (
    CommandReceived,
    Event,
    MessagesReceived,
    Negotiated,
    WireFormat,
    WireFormatOptions,
)
from broker.serving import ServerContext, ServerSide

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.consumer import Consumer

ANONYMOUS_FRAME_SIZE_MAX: Final = 1024 * 1024
"""Bytes of a frame before login. A ConnectionInfo holds at most six strings of 64 KiB."""

ERROR_CHARACTERS_MAX: Final = 1_000
"""Characters of an error's text told to a client; it may quote the client's own strings."""

_log: Final = logging.getLogger("broker.openwire")

translation.STRUCTURES.update(advisories.STRUCTURES)

_OF_THE_CONNECTION: Final = frozenset(
    {BrokerInfo, ConnectionInfo, ShutdownInfo, ConnectionError, ConnectionControl}
)

_INT: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">q")
_RESPONSE: Final = struct.Struct(">iBi?i")
assert _RESPONSE.size == 14


class OpenWireServer(ServerSide[BaseCommand | int, Event]):
    """Serves one client; an answer that is a number is a Response to that command.

    Args:
        context: see `ServerContext`.
        remote: the client's address, for the log.
        now_s: monotonic seconds.
        wake: called when there is something to send that no call of the owner's brought about.
    """

    def __init__(self, context: ServerContext, remote: str, now_s: float, wake: Callable[[], None]) -> None:
        super().__init__(context, remote, wake)
        config = context.config
        self._broker = BrokerInfo(
            broker_id=BrokerId(context.broker_id),
            broker_name=context.broker_name,
            broker_url=context.broker_url,
        )
        options = WireFormatOptions(
            max_inactivity_duration_ms=config.inactivity_ms,
            max_frame_size_bytes=config.frame_bytes_max,
            tight_encoding_enabled=config.tight_encoding,
            cache_enabled=config.cache,
            cache_size=config.cache_size,
            stack_trace_enabled=config.stack_traces,
            version=config.openwire_version,
            max_inactivity_duration_initial_delay_ms=config.inactivity_initial_ms,
        )
        self._wire = WireFormat(options, now_s=now_s, raw_messages=True)
        self._is_plain = False
        self._id = ""  # the connection's, once it is known
        self._opened: OpenedConnection | None = None

    # ---- the socket's owner

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`handle_deadline` must be called, monotonic seconds."""
        return None if self.closing else self._wire.deadline_s

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Takes what arrived."""
        if self.closing:
            return
        if self.is_logging_in and (excess := self.overflow(data)):
            self._fail(excess)
            return
        for event in self._wire.receive_data(data, now_s):
            self._take(event)

    def receive_eof(self) -> None:
        """The client sends no more."""
        for event in self._wire.receive_eof():
            self._take(event)
        if not self.closing:
            self.close("")

    def let_go(self, answer: BaseCommand | int) -> None:
        """Sends an answer that had to wait."""
        if isinstance(answer, int):
            self._respond(answer)
        else:
            self._wire.send(answer)

    def data_to_send(self) -> bytes:
        """Takes all bytes to be written."""
        return self._wire.data_to_send()

    def handle_deadline(self, now_s: float) -> None:
        """Sends a keep-alive, or gives a silent client up; one that is not read from cannot be heard."""
        if self.reading_paused:
            self._wire.excuse(now_s)
        for event in self._wire.handle_deadline(now_s):
            self._take(event)

    # ---- the region

    def dispatch(self, consumer: Consumer, message: Message, ref: int, redelivery_counter: int) -> None:
        """Sends a message to a consumer."""
        opened = self._consumer(consumer)
        try:
            if self._is_plain:
                frame, at = translation.dispatch_frame(message, ref)
                head = opened.head or self._make_head(opened)
                send = self._wire.send_frame
                send(_INT.pack(len(head) + len(frame) + 4) + head + frame[:at])
                send(_LONG.pack(ref) + frame[at + 8 :] + _INT.pack(redelivery_counter))
                return
            command = translation.from_message(message, ref)
            assert command.message_id is not None
            command.message_id.broker_sequence_id = ref
            command.redelivery_counter = redelivery_counter
            self._dispatch(opened, command, redelivery_counter)
        except CodecError as error:
            self._fail(f"message {message.message_id} cannot be written in this encoding: {error}")

    def dispatch_none(self, consumer: Consumer) -> None:
        """Tells a browser that it has seen all, or a pulling consumer that its time is over."""
        self._dispatch(self._consumer(consumer), None)

    def set_prefetch(self, consumer: Consumer, prefetch_size: int) -> None:
        """Tells a consumer that its destination's policy has another prefetch than the clients' default."""
        opened = self._consumer(consumer)
        self._wire.send(
            ConsumerControl(
                consumer_id=opened.consumer_id, destination=opened.destination, prefetch=prefetch_size
            )
        )

    def close_consumer(self, consumer: Consumer) -> None:
        """Tells a client that its consumer is closed, as if it had closed it itself."""
        opened = self._consumer(consumer)
        self._wire.send(ConsumerControl(consumer_id=opened.consumer_id, close=True))
        assert self._opened is not None
        self._opened.forget_consumer(consumer.key)

    def _consumer(self, consumer: Consumer) -> OpenConsumer:
        key = consumer.key
        assert self._opened is not None
        assert isinstance(key, tuple)
        return self._opened.consumers[key]

    def _make_head(self, opened: OpenConsumer) -> bytes:
        """What stands before the message in this consumer's frames, the size excepted."""
        empty = MessageDispatch(consumer_id=opened.consumer_id, destination=opened.destination)
        frame = self._wire.codec.encode(empty)
        opened.head = frame[4:-5] + b"\1"  # a message is present; it and the redelivery counter follow
        return opened.head

    def _dispatch(
        self, opened: OpenConsumer, message: commands.Message | None, redelivery_counter: int = 0
    ) -> None:
        self._wire.send(
            MessageDispatch(
                consumer_id=opened.consumer_id,
                destination=opened.destination,
                message=message,
                redelivery_counter=redelivery_counter,
            )
        )

    # ---- events

    def _take(self, event: Event) -> None:
        if self.closing:
            return
        if self.is_logging_in:
            self.keep(event)
        elif isinstance(event, MessagesReceived):
            for frame in event.frames:
                self._take_frame(frame)
                if self.closing:
                    return
        elif isinstance(event, CommandReceived):
            self._take_command(event.command)
        elif isinstance(event, Negotiated):
            self._is_plain = self._wire.is_plain
            self._wire.frame_size_max = min(ANONYMOUS_FRAME_SIZE_MAX, event.agreed.max_frame_size_bytes)
        else:
            self._fail(str(event))

    def _take_frame(self, frame: bytes) -> None:
        """A message that stands for itself."""
        try:
            received = None if self._opened is None else read_message(frame)
            if received is None:
                self._take_command(translation.read_frame(frame), frame)
                return
        except CodecError as error:
            self._fail(str(error))
            return
        assert self._opened is not None
        message, command_id, response_required, transaction_id = received
        try:
            batch = self._opened.send(message, transaction_id)
        except ClientError as error:
            self._refuse_send(self._opened, transaction_id, command_id, response_required, error)
        except SendBlocked:
            self._block_send(self._opened, message, transaction_id, command_id, response_required)
        else:
            self._answer_message(message, command_id, response_required, batch)

    def _take_command(self, command: DataStructure, frame: bytes | None = None) -> None:
        if not isinstance(command, BaseCommand):
            self._fail(f"{type(command).__name__} is no command")
            return
        opened = self._opened
        try:
            if opened is None or command.__class__ in _OF_THE_CONNECTION:
                answer = self._carry_out(command)
            elif isinstance(command, commands.Message):
                self._send(opened, command, frame)
                return
            else:
                answer = opened.carry_out(command)
        except ClientError as error:
            self._refuse(command.command_id, command.response_required, error)
            if self._opened is None:
                self.close(str(error))
        except SendBlocked:
            self._block_commit(command)
        else:
            if answer is not None and command.response_required:
                self._answer(command.command_id, answer)

    def _carry_out(self, command: BaseCommand) -> Answer | None:
        """Does what concerns the connection itself; None: it is answered later or not at all."""
        match command:
            case ConnectionInfo():
                self._log_in(command)
                return None
            case ShutdownInfo():
                self._shut_down(command)
                return None
            case ConnectionError():
                self._client_failed(command)
                return 0
            case ConnectionControl():
                return 0  # Apache's failover transport says that it is fault tolerant before it logs in again
            case BrokerInfo():
                self._refuse_broker(command)
                return None
        raise AccessDenied("The connection has not logged in.")

    def _send(self, opened: OpenedConnection, command: commands.Message, frame: bytes | None) -> None:
        transaction_id = command.transaction_id
        try:
            message = _translated(command, frame)
            batch = opened.send(message, transaction_id)
        except ClientError as error:
            self._refuse_send(opened, transaction_id, command.command_id, command.response_required, error)
        except SendBlocked:
            self._block_send(opened, message, transaction_id, command.command_id, command.response_required)
        else:
            self._answer_message(message, command.command_id, command.response_required, batch)

    def _refuse_send(
        self,
        opened: OpenedConnection,
        transaction_id: TransactionId | None,
        command_id: int,
        response_required: bool,
        error: ClientError,
    ) -> None:
        """A message cannot be taken."""
        if transaction_id is not None and not response_required:
            try:
                opened.refuse_commit(transaction_id, error)  # its client would commit without knowing
            except ClientError as other:
                error = other
        self._refuse(command_id, response_required, error)

    # ---- sends that wait for space

    def _block_send(
        self,
        opened: OpenedConnection,
        message: Message,
        transaction_id: TransactionId | None,
        command_id: int,
        response_required: bool,
    ) -> None:
        """Answers a send when there is space for its message."""

        def answer(outcome: int | ClientError) -> None:
            if isinstance(outcome, ClientError):
                self._refuse(command_id, response_required, outcome)
            else:
                self._answer_message(message, command_id, response_required, outcome)

        opened.block_send(message, transaction_id, answer)

    def _block_commit(self, command: BaseCommand) -> None:
        """Answers a commit when its sends have found space."""
        assert isinstance(command, TransactionInfo)
        assert self._opened is not None

        def answer(outcome: int | ClientError) -> None:
            if isinstance(outcome, ClientError):
                self._refuse(command.command_id, command.response_required, outcome)
            elif command.response_required:
                self._answer(command.command_id, answer_to(command, outcome))

        self._opened.block_commit(command, answer)

    def _shut_down(self, command: ShutdownInfo) -> None:
        if command.response_required:
            self._respond(command.command_id)
        self.close("")

    def _refuse_broker(self, peer: BrokerInfo) -> None:
        """Another broker's network connector goes away, instead of finding out later what does not work."""
        refusal = RequestInvalid("Network connectors of other brokers are not served here.")
        self._refuse(peer.command_id, peer.response_required, refusal)
        self.close(f"a network connector of the broker {peer.broker_name!r} is not served here")

    def _client_failed(self, error: ConnectionError) -> None:
        exception = error.exception or Throwable(None, None)
        _log.info("%s reports %s: %s", self.remote, exception.class_name, exception.message)

    # ---- answers

    def _answer(self, command_id: int, answer: Answer) -> None:
        """Answers now, or when a batch is durable."""
        if isinstance(answer, Response):
            answer.correlation_id = command_id
            self._wire.send(answer)
        elif isinstance(answer, Later):
            answer.response.correlation_id = command_id
            self.answer(answer.batch, answer.response)
        else:
            self.answer(answer, command_id)

    def _answer_message(self, message: Message, command_id: int, response_required: bool, batch: int) -> None:
        """Answers a send; a one-way send of a producer with a window gives it room for more."""
        if response_required:
            self._answer(command_id, batch)
            return
        assert self._opened is not None
        acknowledgement = self._opened.producer_ack(message)
        if acknowledgement is not None:
            self.answer(batch, acknowledgement)

    def _respond(self, command_id: int) -> None:
        if self._is_plain:
            self._wire.send_frame(_RESPONSE.pack(10, Response.TYPE_CODE, 0, False, command_id))
        else:
            self._wire.send(Response(correlation_id=command_id))

    def _refuse(self, command_id: int, response_required: bool, error: ClientError) -> None:
        """Tells the client that a command failed."""
        exception = Throwable(error.jms_class, str(error)[:ERROR_CHARACTERS_MAX])
        if response_required:
            self._wire.send(ExceptionResponse(correlation_id=command_id, exception=exception))
        else:
            self._wire.send(ConnectionError(exception=exception, connection_id=ConnectionId(self._id)))

    # ---- the connection's beginning and end

    def _log_in(self, info: ConnectionInfo) -> None:
        if self._id:
            raise RequestInvalid("The connection has logged in already.")
        if info.connection_id is None or not info.connection_id.value:
            raise RequestInvalid("A connection needs an id.")
        self._id = info.connection_id.value
        if self._wire.agreed is not None:
            self._wire.frame_size_max = self._wire.agreed.max_frame_size_bytes
        self.log_in(info.user_name, info.password, lambda verdict: self._finish_login(info, verdict))

    def resume(self) -> None:
        """Goes on with what came while the login was checked."""
        for event in self.kept():
            self._take(event)

    def _finish_login(self, info: ConnectionInfo, verdict: ClientError | None) -> None:
        """Goes on after the login was checked."""
        try:
            if verdict is not None:
                raise verdict
            self.connection = self.region.connect(
                self,
                self._id,
                info.client_id,
                user=self.user,
                failover_reconnect=info.failover_reconnect,
                remote=self.remote,
            )
        except ClientError as error:
            self._refuse(info.command_id, info.response_required, error)
            self.close(f"login of {self.user!r} refused: {error}")
            return
        self._opened = OpenedConnection(self.connection, self._id)
        if info.response_required:
            self._respond(info.command_id)
        self._wire.send(self._broker)
        if info.manageable:
            self._advise_where_to_go(rebalance=not info.failover_reconnect)
            if self.context.config.update_cluster_clients:
                self.context.cluster.listeners[self._cluster_changed] = None

    def _cluster_changed(self) -> None:
        self._advise_where_to_go(rebalance=True)
        self.wake()

    def _advise_where_to_go(self, *, rebalance: bool) -> None:
        """Tells a failover client which brokers there are, so that it needs to know only one of them.

        Args:
            rebalance: it may go to the first of them at once; one that has just come back may not.
        """
        config = self.context.config
        rebalance = rebalance and config.rebalance_cluster_clients
        urls: list[str] = []
        if config.update_cluster_clients:
            urls = self.context.cluster.urls_of(config.scheme, turned=rebalance)
        self._wire.send(
            ConnectionControl(connected_brokers=",".join(urls), rebalance_connection=bool(urls) and rebalance)
        )

    def _fail(self, reason: str) -> None:
        """Ends the connection because of what the client did."""
        exception = Throwable("java.io.IOException", reason[:ERROR_CHARACTERS_MAX])
        self._wire.send_last(ConnectionError(exception=exception))
        self.close(reason)

    def ended(self) -> None:
        """Nothing more is read."""
        self.context.cluster.listeners.pop(self._cluster_changed, None)
        self._wire.close()


def _translated(command: commands.Message, frame: bytes | None) -> Message:
    """The broker's form of a message.

    Raises:
        RequestInvalid: it has something that cannot be kept.
    """
    try:
        return translation.to_message(command, frame)
    except CodecError as error:
        raise RequestInvalid(f"The message cannot be kept: {error}.") from error
