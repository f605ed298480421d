"""Producers and consumers: the product's failover core, replay and ledger, and a small program each."""

from __future__ import annotations

import random
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from simulation.cluster.clock import Process, Timer
from simulation.cluster.network import Stream
from simulation.cluster.promises import Order, Terms, body_of, is_topic, name_in
from simulation.cluster.zookeeper import ZooKeeperClient

from broker.openwire.commands import (
    ActiveMQBytesMessage,
    ActiveMQDestination,
    ActiveMQQueue,
    ActiveMQTopic,
    BaseCommand,
    ConnectionId,
    ConnectionInfo,
    ConsumerId,
    ConsumerInfo,
    LocalTransactionId,
    MessageDispatch,
    MessageId,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    SessionId,
    SessionInfo,
    TransactionInfo,
)
from broker.openwire.constants import AckType, TransactionType
from broker.openwire.wireformat import CommandReceived, WireFormat, WireFormatOptions
from broker.primitive_map import Long, encode_map
from broker.scheduled import DELAY
from journal.record import NORMAL_PRIORITY
from mqclient.audit import AcknowledgementAudit
from mqclient.delivery import Arrival, Delivery, DeliveryLedger, acknowledgement, new_delivery, ranges
from mqclient.errors import ClientError, TransactionRolledBack
from mqclient.events import CloseSocket, Event, Failed, Interrupted, OpenSocket, Request, Resumed
from mqclient.failover import FailoverTransport
from mqclient.options import FailoverOptions
from mqclient.replay import ConnectionState
from mqclient.url import BrokerAddress, parse_address
from registry.discovery import DiscoveryView
from registry.nonblocking import NonblockingSession

if TYPE_CHECKING:
    from simulation.cluster.plan import ConsumerPlan, ProducerPlan
    from simulation.cluster.world import World

OPTIONS: Final = FailoverOptions(initial_reconnect_delay=20, max_reconnect_delay=400)
SESSION: Final = 1
SUBSCRIPTION: Final = "news"


address_of = cache(parse_address)


def destination_of(name: str) -> ActiveMQDestination:
    """The queue or topic of a plan."""
    return ActiveMQTopic(physical_name=name) if is_topic(name) else ActiveMQQueue(physical_name=name)


class SimulatedClient(Process):
    """A program with one connection."""

    def __init__(
        self, world: World, name: str, rng: random.Random, *, discovers: bool, client_id: str | None = None
    ) -> None:
        super().__init__(world.clock, name, rng)
        self.world = world
        self.discovers = discovers
        self.alive = True
        self.connection_id = f"ID:{name}"
        self._stream: Stream | None = None
        self._attempt = 0
        self._timer: Timer | None = None
        info = ConnectionInfo(
            connection_id=ConnectionId(value=self.connection_id), client_id=client_id, fault_tolerant=True
        )
        self.core = FailoverTransport(
            ConnectionState(info),
            OPTIONS,
            make_wire=lambda _, now_s: WireFormat(WireFormatOptions(), now_s=now_s),
            rng=rng,
        )

    def start(self) -> None:
        """Connect, and open what is needed."""
        if self.discovers:
            self._discover()
        urls = () if self.discovers else [broker.url for broker in self.world.brokers]
        self._take(self.core.start([address_of(url) for url in urls], self.clock.now_s))
        self._request(SessionInfo(session_id=SessionId(connection_id=self.connection_id, value=SESSION)))
        self.open()
        self._flush()

    def _discover(self) -> None:
        """Follow the registry; see `mqclient.discovery`."""
        client = ZooKeeperClient(self.world.network, self, self.world.zookeeper)
        session = NonblockingSession(
            "zookeeper:2181",
            None,
            post=self.post,
            set_timer=self.call_later,
            client_factory=lambda *_: client,
        )
        session.start()
        DiscoveryView(session, "default", self._discovered).start()

    def _discovered(self, urls: tuple[str, ...]) -> None:
        addresses = [address_of(url) for url in urls]
        self._take(self.core.set_addresses(addresses, self.clock.now_s))

    def open(self) -> None:
        """Open what is needed in the session."""

    def on_event(self, event: Event) -> None:
        """Something happened to the connection."""

    # ---- the edge; see `mqclient.network.Link`

    def _request(self, command: BaseCommand) -> None:
        self.core.request(Request(command, self._answered), self.clock.now_s)

    def _answered(self, request: Request) -> None:
        if request.error is not None:
            self.refused(request.error)

    def refused(self, error: ClientError) -> None:
        """Something was refused."""
        self.world.promises.break_(f"{self.name} is refused: {error!r}")

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Resumed) and self._timer is not None:
                self._timer.cancel()
            if isinstance(event, Resumed | Interrupted):
                self.world.note(self.name, f"{type(event).__name__.lower()}: {event.address.host}")
            match event:
                case OpenSocket(address=address):
                    self._open(address)
                case CloseSocket():
                    self._close()
                case Failed(error=error):
                    self.world.promises.break_(f"{self.name} gives up: {error!r}")
                case _:
                    self.on_event(event)
        self._flush()

    def _open(self, address: BrokerAddress) -> None:
        self._attempt += 1
        number = self._attempt
        broker = self.world.broker_at(address.host)

        def done(stream: Stream | None) -> None:
            if number != self._attempt:
                if stream is not None:
                    stream.close()
            elif stream is None:
                self._take(self.core.socket_lost("refused", self.clock.now_s))
            else:
                self._stream = stream
                stream.on_data = lambda data: self._received(stream, data)
                stream.on_lost = lambda reason: self._lost(stream, reason)
                self._take(self.core.socket_opened(self.clock.now_s))
                for data in stream.unread:
                    self._received(stream, data)

        self.world.network.connect(self, broker, broker.admit, done)

    def _close(self) -> None:
        self._attempt += 1
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _received(self, stream: Stream, data: bytes) -> None:
        if stream is self._stream:
            self._take(self.core.receive_data(data, self.clock.now_s))

    def _lost(self, stream: Stream, reason: str) -> None:
        if stream is self._stream:
            self._stream = None
            self._attempt += 1
            self._take(self.core.socket_lost(reason, self.clock.now_s))

    def _flush(self) -> None:
        data = self.core.data_to_send()
        if data and self._stream is not None:
            self._stream.send(data)
        timer = self._timer
        if self.core.connected and timer is not None and timer.active():
            return  # in a connection deadlines only move away; `_due` looks again
        deadline_s = self.core.deadline_s
        if deadline_s is None or (timer is not None and timer.active() and timer.due_s <= deadline_s):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self.call_later(max(deadline_s - self.clock.now_s, 0.0), self._due)

    def _due(self) -> None:
        self._timer = None
        deadline_s = self.core.deadline_s
        if deadline_s is not None and deadline_s <= self.clock.now_s + 1e-9:
            self._take(self.core.handle_deadline(max(self.clock.now_s, deadline_s)))
        else:
            self._flush()


class Producer(SimulatedClient):
    """Sends its messages, some ahead of the answers."""

    def __init__(self, world: World, name: str, plan: ProducerPlan, rng: random.Random) -> None:
        super().__init__(world, name, rng, discovers=plan.discovers)
        self.plan = plan
        self.unanswered = 0
        self._sent = 0
        self._transactions = 0
        self._id = ProducerId(connection_id=self.connection_id, session_id=SESSION, value=1)
        self._queue = destination_of(plan.queue)

    @property
    def is_done(self) -> bool:
        """Whether all is sent and answered."""
        return self._sent == self.plan.messages and not self.unanswered

    def open(self) -> None:
        """A producer."""
        self._request(ProducerInfo(producer_id=self._id, destination=self._queue))
        self._next()

    def _next(self) -> None:
        """Send now, and again later."""
        while self._sent < self.plan.messages and self.unanswered < self.plan.window:
            if self.plan.transaction:
                self._send_together()
            else:
                self._send()
            if self.random.random() < 0.6:
                break
        self._flush()
        if self._sent < self.plan.messages:
            self.call_later(self.random.random() * 2 * self.plan.pause_s, self._next)

    def _send(self) -> None:
        self.unanswered += 1
        name, message = self._message()
        self.core.request(Request(message, lambda request: self._told([name], request)), self.clock.now_s)

    def _send_together(self) -> None:
        """Some messages in a transaction; see `mqclient.session` and `mqclient.producer`."""
        self.unanswered += 1
        self._transactions += 1
        connection_id = ConnectionId(value=self.connection_id)
        transaction = LocalTransactionId(value=self._transactions, connection_id=connection_id)

        def step(kind: TransactionType) -> TransactionInfo:
            return TransactionInfo(connection_id=connection_id, transaction_id=transaction, type=int(kind))

        self.core.send(step(TransactionType.BEGIN))
        names = []
        while len(names) < self.plan.transaction and self._sent < self.plan.messages:
            name, message = self._message()
            names.append(name)
            message.transaction_id = transaction
            self.core.send(message)
        self.world.promises.transactions.append(frozenset(names))
        commit = Request(step(TransactionType.COMMIT_ONE_PHASE), lambda request: self._told(names, request))
        self.core.request(commit, self.clock.now_s)

    def _message(self) -> tuple[str, ActiveMQBytesMessage]:
        """The next message, and its name."""
        self._sent += 1
        name = f"{self.name}/{self._sent}"
        message = ActiveMQBytesMessage(
            producer_id=self._id,
            destination=self._queue,
            persistent=True,
            content=body_of(name, self.random.choice((40, 300, 700))),
            message_id=MessageId(producer_id=self._id, producer_sequence_id=self._sent),
        )
        self.world.promises.sending(name, self.plan.queue, self._terms(message))
        self.world.note(self.name, f"sends {name}")
        return name, message

    def _terms(self, message: ActiveMQBytesMessage) -> Terms:
        """Give a message the terms that it is to have, by chance."""
        plan, now_s = self.plan, self.clock.now_s
        priority = self.random.choice(plan.priorities) if plan.priorities else NORMAL_PRIORITY
        message.priority = priority
        if plan.lives_s and self.random.random() < 0.5:
            message.expiration = int((now_s + plan.lives_s) * 1000)
            return Terms(priority, expires_s=message.expiration / 1000)
        if plan.delay_s and self.random.random() < 0.5:
            delay_ms = int(plan.delay_s * self.random.choice((500, 1000)))
            message.marshalled_properties = encode_map({DELAY: Long(delay_ms)})
            return Terms(priority, due_s=now_s + delay_ms / 1000)
        return Terms(priority)

    def _told(self, names: list[str], request: Request) -> None:
        self.unanswered -= 1
        if request.error is None:
            self.world.note(self.name, f"is told that {', '.join(names)} is safe")
            for name in names:
                self.world.promises.told(name)
        elif isinstance(request.error, TransactionRolledBack):
            self.world.note(self.name, f"does not know what became of {', '.join(names)}")
            self.world.count("transaction in doubt")
        else:
            self.refused(request.error)
        self.world.progress()


class Consumer(SimulatedClient):
    """Takes messages and acknowledges them, each or several at once."""

    def __init__(
        self, world: World, name: str, plan: ConsumerPlan, rng: random.Random, *, is_alone: bool
    ) -> None:
        self._subscriber = name if is_topic(plan.queue) else ""
        super().__init__(world, name, rng, discovers=plan.discovers, client_id=self._subscriber or None)
        self.plan = plan
        self._id = ConsumerId(connection_id=self.connection_id, session_id=SESSION, value=1)
        self._ledger = DeliveryLedger(AcknowledgementAudit())
        self._order = Order(
            world.promises,
            name,
            plan.queue,
            is_alone=is_alone,
            is_stepwise=plan.prefetch_size == plan.together == 1,
            subscriber=self._subscriber,
        )
        self._waiting: deque[Delivery] = deque()
        self._held: dict[Delivery, None] = {}
        self._returned = 0
        self._is_open = False
        """Whether it was told that its consumer is open; until then a program waits."""
        self._busy = False

    def open(self) -> None:
        """A consumer."""
        info = ConsumerInfo(
            consumer_id=self._id,
            destination=destination_of(self.plan.queue),
            prefetch_size=self.plan.prefetch_size,
            subscription_name=SUBSCRIPTION if self._subscriber else None,
        )
        self.core.request(Request(info, self._opened), self.clock.now_s)

    def _opened(self, request: Request) -> None:
        self._answered(request)
        self._is_open = True
        if self._subscriber:
            self.world.promises.subscribed(self._subscriber, self.plan.queue)

    def _begin_anew(self) -> None:
        """Close the consumer, which gives back what it has not acknowledged; then open another."""
        self.world.note(self.name, "gives back what it has not acknowledged")
        self.world.count("given back")
        self._is_open = False
        remove = RemoveInfo(object_id=self._id, last_delivered_sequence_id=0)
        self.core.request(Request(remove, self._closed), self.clock.now_s)
        for delivery in (*self._held, *self._waiting):
            self._ledger.release(delivery)
        self._held.clear()
        self._waiting.clear()
        self._id = ConsumerId(connection_id=self.connection_id, session_id=SESSION, value=self._id.value + 1)

    def _closed(self, request: Request) -> None:
        self._answered(request)
        self._order.connected()
        self.open()

    def on_event(self, event: Event) -> None:
        """See `mqclient.connection` and `mqclient.consumer`."""
        match event:
            case CommandReceived(command=MessageDispatch() as dispatch):
                self._arrived(dispatch)
            case Resumed():
                self._ledger.resumed(self.core.epoch)
                self._order.connected()
            case Interrupted():
                self._ledger.interrupted()
                self._waiting.clear()
            case _:
                pass

    def _arrived(self, dispatch: MessageDispatch) -> None:
        assert dispatch.consumer_id is not None
        if dispatch.consumer_id.value != self._id.value:
            return  # it was under way when that consumer was closed
        name = self._name(dispatch)
        if not name:
            return
        self._order.dispatched(name, self.clock.now_s)
        self.world.note(self.name, f"is given {name}")
        arrived = new_delivery(dispatch, self._ledger.epoch, SUBSCRIPTION if self._subscriber else None)
        arrival, delivery = self._ledger.arrive(arrived)
        if arrival is Arrival.DELIVER:
            self._waiting.append(delivery)
            self._work_later()
        elif arrival is Arrival.REPEATED:
            self._tell([delivery])

    def _work_later(self) -> None:
        if not self._busy:
            self._busy = True
            self.call_later(self.random.random() * 2 * self.plan.work_s, self._work)

    def _work(self) -> None:
        """The program gets a message and deals with it."""
        self._busy = False
        if self._waiting:
            delivery = self._waiting.popleft()
            self._order.delivered(self._name(delivery.dispatch))
            self._ledger.hold(delivery)
            self._held[delivery] = None
            if self._returned < self.plan.returns and self._is_open and self.random.random() < 0.4:
                self._returned += 1
                self._begin_anew()
        if len(self._held) >= self.plan.together or not self._waiting:
            self._acknowledge()
        if self._waiting:
            self._work_later()
        self._flush()

    def _acknowledge(self) -> None:
        held, self._held = list(self._held), {}
        for together in ranges(held):
            for delivery in together:
                self._order.acknowledged(self._name(delivery.dispatch))
            told = [delivery for delivery in together if self._ledger.acknowledge(delivery)]
            names = ", ".join(self._name(delivery.dispatch) for delivery in together)
            self.world.note(self.name, f"acknowledges {names}{'' if told else ', to nobody'}")
            if told:
                self._tell(told)
        self.world.progress()

    def _tell(self, deliveries: list[Delivery]) -> None:
        """Acknowledge to the broker, which may dispatch the next."""
        self.core.send(acknowledgement(deliveries, AckType.STANDARD))
        broker = None if self._stream is None else self._stream.peer.process
        mastership = getattr(broker, "mastership", None)
        self._order.asked(None if mastership is None else mastership.reign, self.clock.now_s)

    def _name(self, dispatch: Any) -> str:
        content = dispatch.message.content
        name = name_in(content)
        if not name:
            self.world.promises.break_(f"{self.name} gets a message with another body: {content[:40]!r}")
        return name
