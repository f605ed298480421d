"""The client's failover core with a clock, in front of model brokers in memory."""

import random
from collections.abc import Callable

from support.model_broker import ModelConnection, ModelStore

from broker.openwire.commands import (
    ActiveMQQueue,
    ActiveMQTextMessage,
    BaseCommand,
    ConnectionId,
    ConnectionInfo,
    LocalTransactionId,
    MessageId,
    ProducerId,
)
from broker.openwire.wireformat import WireFormat, WireFormatOptions
from mqclient import replay
from mqclient.events import (
    CloseSocket,
    Event,
    OpenSocket,
    Request,
)
from mqclient.failover import FailoverTransport
from mqclient.options import FailoverOptions
from mqclient.url import BrokerAddress, parse_address

A, B = parse_address("tcp://a:1"), parse_address("tcp://b:1")
QUEUE = ActiveMQQueue(physical_name="work")
CONNECTION = "ID:test-0:1"
PRODUCER = ProducerId(connection_id=CONNECTION, session_id=1, value=1)
TRANSACTION = LocalTransactionId(value=1, connection_id=ConnectionId(value=CONNECTION))


class Client:
    """The core with a clock, and the model brokers it talks to, one after the other."""

    def __init__(self, options: FailoverOptions | None = None, *, follow_broker: bool = False) -> None:
        self.now_s = 1000.0
        self.store = ModelStore()
        self.password: str | None = None
        self.broker: ModelConnection | None = None
        self.prepare: Callable[[ModelConnection], None] = lambda broker: None
        self.events: list[Event] = []
        self.done: list[Request] = []
        self._sequence = 0
        info = ConnectionInfo(connection_id=ConnectionId(value=CONNECTION), password="right")
        self.core = FailoverTransport(
            replay.ConnectionState(info),
            options,
            make_wire=lambda _, now_s: WireFormat(WireFormatOptions(), now_s=now_s),
            rng=random.Random(1),
            follow_broker=follow_broker,
        )

    def take(self, events: list[Event]) -> None:
        """Remember events; a closed socket ends the broker's connection."""
        self.events += events
        if any(isinstance(event, CloseSocket) for event in events):
            self.broker = None

    def opening(self) -> BrokerAddress | None:
        """The address the core wants to connect to."""
        wanted = [event for event in self.events if isinstance(event, OpenSocket | CloseSocket)]
        return wanted[-1].address if wanted and isinstance(wanted[-1], OpenSocket) else None

    def start(self, *addresses: BrokerAddress) -> None:
        """Start, and let the first broker answer."""
        self.take(self.core.start(addresses or (A,), self.now_s))

    def connect(self) -> ModelConnection:
        """Let the broker that is asked for answer everything."""
        self.accept()
        self.exchange()
        assert self.broker is not None
        return self.broker

    def accept(self) -> None:
        """Complete TCP only."""
        while self.opening() is None:
            self.pass_time()
        self.broker = ModelConnection(self.store, password=self.password, now_s=self.now_s)
        self.prepare(self.broker)
        self.take(self.core.socket_opened(self.now_s))

    def pass_time(self) -> None:
        """Go to the core's next deadline."""
        deadline_s = self.core.deadline_s
        assert deadline_s is not None, "it waits for ever"
        self.now_s = max(self.now_s, deadline_s)
        self.take(self.core.handle_deadline(self.now_s))

    def exchange(self) -> None:
        """Carry bytes both ways until both are silent."""
        while self.broker is not None:
            upwards = self.core.data_to_send()
            if upwards:
                self.broker.receive_data(upwards, self.now_s)
            downwards = self.broker.data_to_send()
            if downwards:
                self.take(self.core.receive_data(downwards, self.now_s))
            if not upwards and not downwards:
                return

    def lose(self) -> None:
        """Cut the connection; what is on its way is gone."""
        self.core.data_to_send()
        self.broker = None
        self.take(self.core.socket_lost("cut", self.now_s))

    def request(self, command: BaseCommand) -> Request:
        """Ask for something; nothing is carried yet."""
        request = Request(command, self.done.append)
        self.core.request(request, self.now_s)
        return request

    def message(self, *, transacted: bool = False) -> ActiveMQTextMessage:
        """A new message of the one producer."""
        self._sequence += 1
        return ActiveMQTextMessage(
            producer_id=PRODUCER,
            destination=QUEUE,
            persistent=True,
            content=str(self._sequence).encode(),
            message_id=MessageId(producer_id=PRODUCER, producer_sequence_id=self._sequence),
            transaction_id=TRANSACTION if transacted else None,
        )

    def seen(self, kind: type[Event]) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def connected(*, options: FailoverOptions | None = None) -> Client:
    """A client on its first broker for long enough that a loss is no failed attempt."""
    client = Client(options or FailoverOptions())
    client.start()
    client.connect()
    client.now_s += 2
    return client
