"""A small blocking OpenWire client for tests: every frame it sends and receives is in the test's hand."""

import select
import socket
import time
from collections import deque
from types import TracebackType
from typing import Self, TypeVar

from broker.openwire.commands import (
    ActiveMQQueue,
    ActiveMQTextMessage,
    BaseCommand,
    ConnectionId,
    ConnectionInfo,
    ConsumerId,
    ConsumerInfo,
    DataStructure,
    ExceptionResponse,
    MessageAck,
    MessageDispatch,
    MessageId,
    ProducerId,
    ProducerInfo,
    Response,
    SessionId,
    SessionInfo,
)
from broker.openwire.wireformat import CommandReceived, WireFormat, WireFormatOptions

C = TypeVar("C", bound=DataStructure)


class Refused(Exception):
    """The broker answered with an exception."""


class OpenWirePeer:
    """One connection with one session, at most one producer and any number of consumers."""

    def __init__(
        self,
        port: int,
        connection_id: str = "ID:test-1-1:1",
        *,
        timeout_s: float = 30.0,
        receive_buffer_bytes: int = 0,
    ) -> None:
        self.connection_id = connection_id
        self.timeout_s = timeout_s
        self.socket = socket.socket()
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", port))
        self.wire = WireFormat(WireFormatOptions(max_inactivity_duration_ms=0), now_s=time.monotonic())
        self.received: deque[DataStructure] = deque()
        self._command_id = 0
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    # ---- frames

    def tell(self, command: BaseCommand, *, wait: bool = False) -> int:
        """Send a command; returns its id."""
        self._command_id += 1
        command.command_id = self._command_id
        command.response_required = wait
        self.wire.send(command)
        self._flush()
        return self._command_id

    def ask(self, command: BaseCommand) -> Response:
        """Send a command and wait for its answer.

        Raises:
            Refused: the answer is an exception.
        """
        return self.answer(self.tell(command, wait=True))

    def answer(self, command_id: int) -> Response:
        """Wait for the answer to a command."""
        while True:
            for command in self.received:
                if isinstance(command, Response) and command.correlation_id == command_id:
                    self.received.remove(command)
                    if isinstance(command, ExceptionResponse):
                        assert command.exception is not None
                        raise Refused(f"{command.exception.class_name}: {command.exception.message}")
                    return command
            self._read()

    def has_answer(self, command_id: int, within_s: float = 0.05) -> bool:
        """Whether the answer to a command has come; `answer` takes it."""
        ready, _, _ = select.select([self.socket], [], [], within_s)
        if ready:
            self._read()
        return any(
            isinstance(command, Response) and command.correlation_id == command_id
            for command in self.received
        )

    def wait(self, kind: type[C]) -> C:
        """Wait for the next command of a kind."""
        while True:
            for command in self.received:
                if isinstance(command, kind):
                    self.received.remove(command)
                    return command
            self._read()

    def wait_closed(self) -> None:
        """Wait until the broker closes the connection."""
        try:
            while True:
                self._read()
        except ConnectionError:
            pass

    def _flush(self) -> None:
        self.socket.sendall(self.wire.data_to_send())

    def _read(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        for event in self.wire.receive_data(data, time.monotonic()):
            if isinstance(event, CommandReceived):
                self.received.append(event.command)
        self._flush()

    # ---- what clients do

    def log_in(
        self,
        user: str | None = "admin",
        password: str | None = "admin",
        *,
        client_id: str | None = None,
        failover_reconnect: bool = False,
    ) -> Self:
        """Log in and open the session and the producer."""
        self.ask(
            ConnectionInfo(
                connection_id=ConnectionId(self.connection_id),
                client_id=client_id,
                user_name=user,
                password=password,
                failover_reconnect=failover_reconnect,
            )
        )
        self.tell(SessionInfo(session_id=SessionId(self.connection_id, 1)))
        self.tell(ProducerInfo(producer_id=self._producer_id()))
        return self

    def _producer_id(self) -> ProducerId:
        return ProducerId(connection_id=self.connection_id, value=1, session_id=1)

    def message(
        self, queue: str, text: str, sequence: int, *, persistent: bool = True
    ) -> ActiveMQTextMessage:
        """A message to send."""
        producer_id = self._producer_id()
        encoded = text.encode("ascii")
        return ActiveMQTextMessage(
            producer_id=producer_id,
            destination=ActiveMQQueue(queue),
            message_id=MessageId(None, producer_id, sequence, 0),
            persistent=persistent,
            priority=4,
            content=len(encoded).to_bytes(4, "big") + encoded,
        )

    def send(self, queue: str, text: str, sequence: int, *, persistent: bool = True) -> None:
        """Send and wait for the acknowledgement."""
        self.ask(self.message(queue, text, sequence, persistent=persistent))

    def consume(self, queue: str, number: int = 1, *, prefetch_size: int = 1000) -> None:
        """Open a consumer."""
        self.ask(
            ConsumerInfo(
                consumer_id=ConsumerId(self.connection_id, 1, number),
                destination=ActiveMQQueue(queue),
                prefetch_size=prefetch_size,
            )
        )

    def next_text(self, *, acknowledge: bool = True) -> str:
        """Wait for a message, acknowledge it, and return its text."""
        dispatch = self.wait(MessageDispatch)
        message = dispatch.message
        assert message is not None
        assert message.content is not None
        if acknowledge:
            self.acknowledge(dispatch)
        return message.content[4:].decode("ascii")

    def acknowledge(self, dispatch: MessageDispatch, *, wait: bool = False) -> None:
        """Acknowledge one dispatched message."""
        message = dispatch.message
        assert message is not None
        ack = MessageAck(
            destination=dispatch.destination,
            consumer_id=dispatch.consumer_id,
            ack_type=2,
            first_message_id=message.message_id,
            last_message_id=message.message_id,
            message_count=1,
        )
        if wait:
            self.ask(ack)
        else:
            self.tell(ack)

    def drain(self, queue: str, count: int) -> list[str]:
        """Consume so many messages; they are gone for good when this returns."""
        self.consume(queue, 9)
        texts = []
        for number in range(count):
            dispatch = self.wait(MessageDispatch)
            self.acknowledge(dispatch, wait=number == count - 1)
            assert dispatch.message is not None
            assert dispatch.message.content is not None
            texts.append(dispatch.message.content[4:].decode("ascii"))
        return texts
