"""A client of the OpenWire server without sockets: it says commands and keeps what it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from support.memory_broker import MemoryBroker

from broker.openwire import commands
from broker.openwire.commands import (
    ActiveMQDestination,
    ActiveMQQueue,
    ActiveMQTextMessage,
    BaseCommand,
    ConnectionError,
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
    TransactionId,
)
from broker.openwire.server import OpenWireServer
from broker.openwire.wireformat import CommandReceived, WireFormat, WireFormatOptions

QUEUE = ActiveMQQueue("workshop.test")
Kind = TypeVar("Kind", bound=DataStructure)


class Broker(MemoryBroker[OpenWireServer, "Client"]):
    """The broker of these clients."""

    connector = "openwire"
    make = OpenWireServer


class Client:
    """One connection.

    Attributes:
        told: everything the broker said that has not been taken, oldest first.
    """

    def __init__(
        self,
        broker: Broker,
        name: str = "c1",
        options: WireFormatOptions | None = None,
        *,
        login: bool = True,
    ) -> None:
        self.broker = broker
        self.name = name
        self.server = broker.server()
        self.wire = WireFormat(options or WireFormatOptions(), now_s=0.0)
        self.told: list[DataStructure] = []
        self._command_id = 0
        self._sequence = 0
        broker.clients.append(self)
        self.read()
        if login:
            self.request(self.info())
            self.request(SessionInfo(session_id=SessionId(name, 1)))
            self.told.clear()

    def info(self, **fields: Any) -> ConnectionInfo:
        """A login that is accepted, unless fields say otherwise."""
        given = ConnectionInfo(
            connection_id=ConnectionId(self.name), user_name="admin", password="admin", client_id=None
        )
        return replace(given, **fields)

    def say(self, command: BaseCommand, *, answer: bool = False) -> int:
        """Sends a command; returns its id."""
        self._command_id += 1
        command.command_id = self._command_id
        command.response_required = answer
        self.wire.send(command)
        self.read()
        return self._command_id

    def read(self) -> None:
        """Carries bytes both ways."""
        while True:
            there, back = self.wire.data_to_send(), self.server.data_to_send()
            if not there and not back:
                return
            self.server.receive_data(there, 0.0)
            for event in self.wire.receive_data(back, 0.0):
                if isinstance(event, CommandReceived):
                    self.told.append(event.command)

    def answer(self, command_id: int) -> Response | None:
        """Takes the answer to a command, None if it has not come."""
        for told in self.told:
            if isinstance(told, Response) and told.correlation_id == command_id:
                self.told.remove(told)
                return told
        return None

    def request(self, command: BaseCommand) -> Response:
        """Sends a command and takes its answer, once the journal is done."""
        command_id = self.say(command, answer=True)
        answer = self.answer(command_id)
        if answer is None:
            self.broker.settle()
            answer = self.answer(command_id)
        assert answer is not None, f"no answer to {command}"
        return answer

    def refusal(self, command: BaseCommand) -> tuple[str, str]:
        """Sends a command that is refused; returns the exception's class and text."""
        answer = self.request(command)
        assert isinstance(answer, ExceptionResponse), answer
        assert answer.exception is not None
        return answer.exception.class_name or "", answer.exception.message or ""

    def take(self, kind: type[Kind]) -> list[Kind]:
        """Takes all that the broker said of one kind."""
        taken = [told for told in self.told if isinstance(told, kind)]
        self.told = [told for told in self.told if not isinstance(told, kind)]
        return taken

    def errors(self) -> list[str]:
        """Takes the texts of all errors that answered no command."""
        return [each.exception.message or "" for each in self.take(ConnectionError) if each.exception]

    # ---- what clients do

    def consumer(
        self, number: int = 1, destination: ActiveMQDestination = QUEUE, **fields: Any
    ) -> ConsumerInfo:
        """A consumer of session 1."""
        info = ConsumerInfo(
            consumer_id=ConsumerId(self.name, 1, number), destination=destination, prefetch_size=1000
        )
        return replace(info, **fields)

    def producer(self, number: int = 1, **fields: Any) -> ProducerInfo:
        """A producer of session 1."""
        return replace(ProducerInfo(producer_id=ProducerId(self.name, number, 1)), **fields)

    def text(
        self,
        text: str,
        destination: ActiveMQDestination | None = QUEUE,
        transaction: TransactionId | None = None,
        *,
        persistent: bool = True,
    ) -> ActiveMQTextMessage:
        """A message of producer 1."""
        self._sequence += 1
        producer_id = ProducerId(self.name, 1, 1)
        return ActiveMQTextMessage(
            producer_id=producer_id,
            destination=destination,
            transaction_id=transaction,
            message_id=MessageId(None, producer_id, self._sequence),
            persistent=persistent,
            priority=4,
            content=text.encode(),
        )

    def received(self, number: int = 1) -> list[commands.Message | None]:
        """Takes the messages dispatched to a consumer; None stands for «there is none»."""
        self.broker.settle()
        mine = ConsumerId(self.name, 1, number)
        got = [each for each in self.take(MessageDispatch) if each.consumer_id == mine]
        for each in got:
            if each.message is not None:
                each.message.redelivery_counter = each.redelivery_counter
        return [each.message for each in got]

    def texts(self, number: int = 1) -> list[str]:
        """Takes the contents of the messages dispatched to a consumer."""
        return [(each.content or b"").decode() for each in self.received(number) if each is not None]

    def ack(
        self,
        message: commands.Message,
        ack_type: int = 2,
        *,
        number: int = 1,
        first: commands.Message | None = None,
        transaction: TransactionId | None = None,
    ) -> MessageAck:
        """An acknowledgement of a message that was received, or of the range up to it."""
        return MessageAck(
            destination=message.destination,
            transaction_id=transaction,
            consumer_id=ConsumerId(self.name, 1, number),
            ack_type=ack_type,
            first_message_id=(first or message).message_id,
            last_message_id=message.message_id,
            message_count=1,
        )
