"""A client of the AMQP server without sockets: Qpid Proton's engine, in the role of a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proton import (
    Collector,
    Connection,
    Delivery,
    Described,
    Endpoint,
    Event,
    Link,
    Message,
    Receiver,
    Sender,
    Terminus,
    Transport,
    symbol,
    ulong,
)
from support.memory_broker import MemoryBroker

from broker.amqp.server import AmqpServer
from broker.region.region import Region

QUEUE = "workshop.test"


class Broker(MemoryBroker[AmqpServer, "Client"]):
    """The broker of these clients."""

    connector = "amqp"
    make = AmqpServer

    def __init__(self, region: Region | None = None, **config: Any) -> None:
        super().__init__(region, **config)
        self.now_s = 1.0

    def settle(self) -> None:
        """The journal makes everything durable, what can be dispatched is, everybody reads and is read."""
        for _ in range(4):
            for client in self.clients:
                client.read()
            super().settle()

    def turn(self) -> None:
        """What can be dispatched is, and everybody reads; nothing becomes durable."""
        self.region.dispatch()
        for client in self.clients:
            client.read()
            connection = client.server.connection
            if connection is not None and not connection.closed:
                connection.replenish()


class Client:
    """One connection.

    Attributes:
        deliveries: messages that have come, by link, with their deliveries.
        sent: bytes that it has sent, for whoever wants to send them again.
    """

    def __init__(
        self,
        broker: Broker,
        name: str = "c1",
        *,
        user: str = "admin",
        password: str = "admin",
        mechanisms: str = "PLAIN",
        prepare: Callable[[AmqpServer], None] = lambda server: None,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        self.broker = broker
        self.server = broker.server()
        prepare(self.server)
        self.connection = Connection()
        self.connection.container = name
        if properties:
            self.connection.properties = dict(properties)
        self.transport = Transport()
        if mechanisms:
            sasl = self.transport.sasl()
            sasl.allow_insecure_mechs = True
            sasl.allowed_mechs(mechanisms)
        if mechanisms == "PLAIN":
            self.connection.user = user
            self.connection.password = password
        self._collector = Collector()
        self.connection.collect(self._collector)
        self.transport.bind(self.connection)
        self.connection.open()
        self.session = self.connection.session()
        self.session.open()
        self.came: dict[str, list[tuple[Message, Delivery]]] = {}
        self.sent = b""
        self.received = b""
        self._tags = 0
        self.is_over = False
        broker.clients.append(self)
        self.read()

    # ---- bytes

    def read(self) -> None:
        """Carries bytes both ways until nobody has anything to say."""
        for _ in range(1000):
            there = self._to_send()
            back = self.server.data_to_send()
            if not there and not back:
                return
            if there:
                self.sent += there
                self.server.receive_data(there, self.broker.now_s)
            self.received += back
            self._push(back)
            self._take_events()
        raise AssertionError("the two go on for ever")

    def _to_send(self) -> bytes:
        data = b""
        while (size := self.transport.pending()) > 0:
            data += bytes(self.transport.peek(size) or b"")
            self.transport.pop(size)
        return data

    def _push(self, data: bytes) -> None:
        while data:
            room = self.transport.capacity()
            if room <= 0:
                self.is_over = True
                return
            self.transport.push(data[:room])
            data = data[room:]

    def _take_events(self) -> None:
        while (event := self._collector.peek()) is not None:
            if event.type == Event.DELIVERY and isinstance(event.link, Receiver):
                self._take(event.delivery, event.link)
            self._collector.pop()

    def _take(self, delivery: Delivery, link: Receiver) -> None:
        if delivery.readable and not delivery.partial:
            message = Message()
            content = link.recv(delivery.pending)
            message.decode(bytes(content))
            message.encoded = bytes(content)
            link.advance()
            self.came.setdefault(link.name, []).append((message, delivery))

    # ---- links

    def sender(self, address: str | None = QUEUE, name: str = "s", **options: Any) -> Sender:
        """A link on which it sends."""
        link = self.session.sender(name)
        link.target.address = address
        self._attach(link, link.target, options)
        return link

    def receiver(
        self, address: str | None = QUEUE, name: str = "r", credit: int = 100, **options: Any
    ) -> Receiver:
        """A link on which it receives."""
        link = self.session.receiver(name)
        link.source.address = address
        self._attach(link, link.source, options)
        if credit:
            link.flow(credit)
        self.broker.settle()
        return link

    def _attach(self, link: Link, terminus: Terminus, options: dict[str, Any]) -> None:
        for key, value in options.items():
            if key == "capabilities":
                _fill_symbols(terminus.capabilities, value)
            elif key == "selector":
                described = Described(ulong(0x0000468C00000004), value)
                terminus.filter.put_dict({symbol("jms-selector"): described})
            elif key == "no_local":
                terminus.filter.put_dict({symbol("no-local"): Described(ulong(0x0000468C00000003), [])})
            elif key == "settled":
                link.snd_settle_mode = Link.SND_SETTLED
            else:
                setattr(terminus, key, value)
        link.open()
        self.broker.settle()

    def send(self, link: Sender, message: Message | str, *, settled: bool = False, **fields: Any) -> Delivery:
        """Sends a message; its answer comes when the journal is done."""
        if isinstance(message, str):
            message = Message(message, durable=True)
        for key, value in fields.items():
            setattr(message, key, value)
        return self.send_bytes(link, bytes(message.encode()), settled=settled)

    def send_bytes(self, link: Sender, content: bytes, *, settled: bool = False) -> Delivery:
        """Sends an encoded message."""
        self._tags += 1
        delivery = link.delivery(f"{self._tags}")
        link.send(content)
        link.advance()
        if settled:
            delivery.settle()
        self.read()
        return delivery

    def take(self, link: Receiver | str = "r") -> list[tuple[Message, Delivery]]:
        """Takes what has come on a link."""
        self.broker.settle()
        return self.came.pop(link if isinstance(link, str) else link.name, [])

    def bodies(self, link: Receiver | str = "r") -> list[Any]:
        """Takes what has come on a link and accepts it; returns the bodies."""
        taken = self.take(link)
        for _, delivery in taken:
            self.dispose(delivery, Delivery.ACCEPTED)
        self.broker.settle()
        return [message.body for message, _ in taken]

    def dispose(self, delivery: Delivery, state: int, *, settled: bool = True) -> None:
        """Says what became of a message."""
        delivery.update(state)
        if settled:
            delivery.settle()
        self.read()

    def condition(self, endpoint: Endpoint) -> tuple[str, str]:
        """What ended a link, or the connection."""
        self.broker.settle()
        condition = endpoint.remote_condition
        assert condition is not None, "it was not ended for any reason"
        return condition.name, condition.description or ""

    def drop(self) -> None:
        """The socket is gone."""
        self.broker.clients.remove(self)
        self.server.connection_lost("gone")


def _fill_symbols(data: Any, names: list[str]) -> None:
    data.clear()
    data.put_array(False, data.SYMBOL)
    data.enter()
    for name in names:
        data.put_symbol(symbol(name))
    data.exit()
