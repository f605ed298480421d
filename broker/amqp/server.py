"""The broker's side of one AMQP 1.0 connection, without its socket.

::

    logging in ─accepted─▶ waiting ─open─▶ open ─┐
        │ refused            │ refused           │ close, fault
        └────────────────────┴──▶ closing ◀──────┘

Proton keeps what AMQP knows of sessions and links (`broker.amqp.engine`); what links are to the region is
said in `broker.amqp.ends` and `broker.amqp.transactions`. A transfer is settled when what it brought is
durable.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Never

from broker.amqp import errors
from broker.amqp.addresses import QUEUE_PREFIX, TOPIC_PREFIX
from broker.amqp.deliveries import Deliveries
from broker.amqp.ends import Receiving, Sending, find_subscription, open_receiving, open_sending
from broker.amqp.engine import ProtonConnection
from broker.amqp.errors import condition_of
from broker.amqp.events import (
    ACCEPTED,
    TRANSACTIONAL,
    Attached,
    Closed,
    Detached,
    Disposed,
    Ended,
    Event,
    Failed,
    Flowed,
    Link,
    Opened,
    TooLong,
    Transferred,
)
from broker.amqp.handshake import ANONYMOUS, EXTERNAL, PLAIN, XOAUTH2, Handshake, LoginAsked, Outcome
from broker.amqp.inbound import take_parsed, template_of
from broker.amqp.limits import COORDINATOR_CREDIT, ERROR_CHARACTERS_MAX
from broker.amqp.outbound import outgoing
from broker.amqp.rewriting import rewrite
from broker.amqp.transactions import Coordinating, Transactions
from broker.amqp.types import Symbol
from broker.errors import AccessDenied, BrokerError, ClientError, CodecError, MessageInvalid, SendBlocked
from broker.naming import MessageNames, new_connection_id
from broker.region import settling
from broker.region.consumer import DELIVERED_NONE
from broker.serving import ServerContext, ServerSide

if TYPE_CHECKING:
    from broker.amqp.events import Pointer
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer

PRODUCT: Final = "Fabric"
CAPABILITIES: Final = ("ANONYMOUS-RELAY", "DELAYED_DELIVERY", "SHARED-SUBS", "sole-connection-for-container")
"""What we offer, as the AMQP JMS mapping names it."""
ANONYMOUS_USER: Final = "anonymous"
"""Who has logged in as nobody in particular. Source: ActiveMQ's `simpleAuthenticationPlugin`."""

_log: Final = logging.getLogger("broker.amqp")

Answer = tuple[Receiving, "Pointer"] | Callable[[], None]
"""Of a message that has come; or of something rarer."""


class AmqpServer(ServerSide[Answer, Never]):
    """Serves one client.

    Args:
        context: see `ServerContext`.
        remote: the client's address, for the log.
        now_s: monotonic seconds.
        wake: called when there is something to send that no call of the owner's brought about.
    """

    def __init__(self, context: ServerContext, remote: str, now_s: float, wake: Callable[[], None]) -> None:
        super().__init__(context, remote, wake)
        self._now_s = now_s
        self._deadline_s: float | None = None
        self._names: MessageNames
        self._handshake: Handshake | None = None
        self._links = itertools.count(1)
        config = context.config
        self._engine = ProtonConnection(
            config.amqp_frame_bytes_max, config.frame_bytes_max, config.inactivity_ms
        )
        self._producer_credit = config.producer_credit
        self._sendings: dict[object, Sending] = {}
        self._deliveries = Deliveries(self._engine, self.answer)
        self._transactions = Transactions(self._engine, self.answer, self._deliveries)
        self._draining: dict[Sending, None] = {}
        self._unsendable: list[tuple[Sending, int, str]] = []

    # ---- the socket's owner

    @property
    def deadline_s(self) -> float | None:
        """When `handle_deadline` must be called, monotonic seconds."""
        if self.closing:
            return None
        return 0.0 if self._draining else self._deadline_s

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Takes what arrived."""
        self._now_s = now_s
        if self.closing:
            return
        handshake = self._handshake or self._begin()
        if handshake.is_done:
            self._take_data(data)
            return
        for event in handshake.receive_data(data):
            if isinstance(event, LoginAsked):
                self._log_in(event)
            else:
                self.close(event.reason)
        if handshake.is_done and not self.is_logging_in:
            self.resume()

    def receive_eof(self) -> None:
        """The client sends no more."""
        if not self.closing:
            self._take_all(self._engine.receive_eof())
        if not self.closing:
            self.close("")

    def connection_lost(self, reason: str) -> None:
        """The socket is gone: the region takes back what the client had."""
        super().connection_lost(reason)
        self._engine.free()

    def data_to_send(self) -> bytes:
        """Takes all bytes to be written."""
        if self._draining or self._unsendable or self._deliveries.presettled:
            self._settle_turn()
        data = self._engine.data_to_send()
        handshake = self._handshake
        return data if handshake is None else handshake.data_to_send() + data

    def handle_deadline(self, now_s: float) -> None:
        """Sends a keep-alive, or gives a silent client up; one that is not read from cannot be heard."""
        self._now_s = now_s
        if self._deadline_s is not None and self._deadline_s <= now_s:
            self._tick()

    def last_words(self, reason: str) -> bytes:
        """What a client is told that has to look for another broker; one that has not begun is told nothing.

        Where the next one is, is not known: see `docs/reference/amqp.md`.
        """
        if self.connection is None:
            return b""
        self._engine.close(errors.CONNECTION_FORCED, reason)
        return self._engine.data_to_send()

    def let_go(self, answer: Answer) -> None:
        """Sends an answer that had to wait."""
        if isinstance(answer, tuple):
            receiving, delivery = answer
            if receiving.link.is_open:
                self._engine.settle(delivery, ACCEPTED)
                self._answered(receiving)
        else:
            answer()

    # ---- who is there

    def _begin(self) -> Handshake:
        anonymous = self.context.config.anonymous
        mechanisms = [PLAIN]
        if self.context.users.takes_tokens:
            mechanisms.append(XOAUTH2)
        if anonymous:
            mechanisms.append(ANONYMOUS)
        if self.transport_user is not None:
            mechanisms.insert(0, EXTERNAL)
        self._handshake = Handshake(mechanisms, bare=anonymous)
        return self._handshake

    def _log_in(self, asked: LoginAsked) -> None:
        if asked.mechanism == ANONYMOUS:
            self.user = ANONYMOUS_USER
            self._decided(None)
        elif asked.mechanism == XOAUTH2:  # the token says whose it is; it is nobody's password
            self.log_in(None, asked.password, self._decided)
        else:  # that of EXTERNAL has been proven by a certificate
            self.log_in(asked.user, asked.password, self._decided)

    def _decided(self, verdict: ClientError | None) -> None:
        assert self._handshake is not None
        if verdict is None:
            self._handshake.accept()
            return
        self._handshake.refuse(Outcome.AUTH if isinstance(verdict, AccessDenied) else Outcome.SYS_TEMP)
        self.close(f"login of {self.user!r} refused: {verdict}")

    def resume(self) -> None:
        """Goes on with what came while the login was checked."""
        handshake = self._handshake
        if handshake is not None and handshake.is_done and not self.closing:
            self.user = self.user or ANONYMOUS_USER
            self._take_data(handshake.rest())

    def _open(self, event: Opened) -> None:
        if self.connection is not None:
            reason = "The connection is open already."
            self._engine.close("amqp:illegal-state", reason)
            self.close(reason)
            return
        connection_id = new_connection_id(self.context.broker_id)
        self._names = MessageNames(connection_id)
        try:
            self.connection = self.region.connect(
                self, connection_id, event.container_id or None, user=self.user, remote=self.remote
            )
        except ClientError as error:
            self._engine.open(self.context.broker_name, (), {"amqp:connection-establishment-failed": True})
            field = {"invalid-field": Symbol("container-id")}
            self._engine.close(condition_of(error), str(error)[:ERROR_CHARACTERS_MAX], field)
            self.close(str(error))
            return
        self._engine.open(
            self.context.broker_name,
            CAPABILITIES,
            {
                "product": PRODUCT,
                "queue-prefix": QUEUE_PREFIX,
                "topic-prefix": TOPIC_PREFIX,
            },
        )
        self._tick()

    def _tick(self) -> None:
        self._deadline_s, events = self._engine.tick(self._now_s, excused=self.reading_paused)
        self._take_all(events)

    # ---- events

    def _take_data(self, data: bytes) -> None:
        for events in self._engine.receive_data(data):
            self._take_all(events)

    def _take_all(self, events: list[Event]) -> None:
        deliveries = self._deliveries
        for event in events:
            if self.closing:
                return
            if isinstance(event, Disposed):
                self._disposed(event)
                continue
            if deliveries.accepted:
                deliveries.acknowledge(self.connection)
            if isinstance(event, Transferred):
                self._transferred(event)
            else:
                self._take(event)
        if deliveries.accepted:
            deliveries.acknowledge(self.connection)

    def _take(self, event: Event) -> None:
        match event:
            case Flowed():
                self._flowed(event.link)
            case Attached():
                self._attached(event.link)
            case Detached():
                self._detached(event.link, event.closed)
            case Ended():
                self._engine.answer_end(event.session)
            case TooLong():
                self._end_receiving(event.link)
            case Opened():
                self._open(event)
            case Closed():
                self._engine.close()
                self.close(f"{event.condition}: {event.text}" if event.condition else "")
            case Failed():
                self.close(event.reason)

    # ---- messages that come

    def _transferred(self, event: Transferred) -> None:
        connection = self.connection
        owner = event.link.owner
        if connection is None or not event.link.is_open:
            return
        if isinstance(owner, Coordinating):
            self._transactions.take(connection, owner, event)
            return
        assert isinstance(owner, Receiving)
        try:
            message = self._read(owner, event.content)
            transaction = None
            if event.state == TRANSACTIONAL:
                transaction = self._transactions.of_transfer(event.delivery)
        except BrokerError as error:
            self._refuse(owner, event, error)
            return
        self._send(connection, owner, event, message, transaction)

    def _read(self, receiving: Receiving, content: bytes) -> Message:
        now_ms, new_id, template = self.region.now_ms, self._names.next, receiving.template
        if template is not None:
            like = template.take(content, now_ms, new_id)
            if like is not None:
                return like
        message, parsed = take_parsed(content, receiving.destination, now_ms, new_id)
        if receiving.destination is not None:
            receiving.template = template_of(message, parsed)
        return message

    def _send(
        self,
        connection: RegionConnection,
        receiving: Receiving,
        event: Transferred,
        message: Message,
        transaction: str | None,
    ) -> None:
        try:
            batch = connection.send(message, transaction)
        except ClientError as error:
            self._refuse(receiving, event, error, transaction)
        except SendBlocked:
            self._block(connection, receiving, event, message, transaction)
        else:
            self._sent(receiving, event, batch, transaction)

    def _block(
        self,
        connection: RegionConnection,
        receiving: Receiving,
        event: Transferred,
        message: Message,
        transaction: str | None,
    ) -> None:
        """A message waits for space."""

        def answer(outcome: int | ClientError) -> None:
            if isinstance(outcome, ClientError):
                self._refuse(receiving, event, outcome, transaction)
            else:
                self._sent(receiving, event, outcome, transaction)

        connection.block(message, lambda: connection.send(message, transaction), answer, transaction)

    def _sent(self, receiving: Receiving, event: Transferred, batch: int, transaction: str | None) -> None:
        """A message is taken: say so once it is durable."""
        if not receiving.link.is_open:
            return
        if event.settled:
            self._engine.settle(event.delivery)
            self._answered(receiving)
        elif transaction is None:
            self.answer(batch, (receiving, event.delivery))
        else:
            self._transactions.accept_transfer(event.delivery, transaction)
            self._answered(receiving)

    def _refuse(
        self,
        receiving: Receiving,
        event: Transferred,
        error: BrokerError,
        transaction: str | None = None,
    ) -> None:
        """A message cannot be taken."""
        if transaction is not None and isinstance(error, ClientError) and self.connection is not None:
            self.connection.transactions.refuse(transaction, error, ending=False)
        if not receiving.link.is_open:
            return
        if event.settled:
            _log.warning("%s: a message that nobody waits for is lost: %s", self.remote, error)
            self._engine.settle(event.delivery)
        else:
            condition = errors.DECODE_ERROR if isinstance(error, CodecError) else condition_of(error)
            self._engine.reject(event.delivery, condition, str(error)[:ERROR_CHARACTERS_MAX])
        self._answered(receiving)

    def _answered(self, receiving: Receiving) -> None:
        """One message less is under way: in time its sender may send more."""
        receiving.answered += 1
        if 2 * receiving.answered >= self._producer_credit:
            self._engine.flow(receiving.link, receiving.answered)
            receiving.answered = 0

    # ---- messages that go

    def dispatch(self, consumer: Consumer, message: Message, ref: int, redelivery_counter: int) -> None:
        """Sends a message to a consumer."""
        sending = self._sendings[consumer.key]
        link = sending.link
        try:
            content, at = outgoing(message, redelivery_counter, self.region.now_ms)
        except (CodecError, MessageInvalid) as error:
            self._unsendable.append((sending, ref, f"It cannot be written in AMQP: {error}"))
            return
        if link.presettled:
            self._engine.send(link, content, at, settled=True)
            self._deliveries.presettled.append((sending, ref))
        else:
            sending.unsettled[self._engine.send(link, content, at, settled=False)] = ref

    def dispatch_none(self, consumer: Consumer) -> None:
        """A browser has seen all: it hears so when it drains."""

    def set_prefetch(self, consumer: Consumer, prefetch_size: int) -> None:
        """A client's credit is its own affair."""

    def close_consumer(self, consumer: Consumer) -> None:
        """Tells a client that its consumer is closed."""
        sending = self._sendings.pop(consumer.key, None)
        if sending is not None:
            self._draining.pop(sending, None)
            self._engine.end_link(sending.link, errors.DETACH_FORCED, "The consumer has been closed.")
            sending.unsettled.clear()

    def _flowed(self, link: Link) -> None:
        sending = link.owner
        connection = self.connection
        if not isinstance(sending, Sending) or connection is None or not link.is_open:
            return
        if sending.key not in connection.consumers:
            return
        credit = self._engine.credit(link)
        connection.set_credit(sending.key, credit)
        if credit and self._engine.drains(link):
            self._draining[sending] = None
        else:
            self._draining.pop(sending, None)

    def _disposed(self, event: Disposed) -> None:
        sending = event.link.owner
        if isinstance(sending, Sending) and self.connection is not None:
            if event.state == TRANSACTIONAL:
                self._transactions.dispose(self.connection, sending, event)
            else:
                self._deliveries.dispose(self.connection, sending, event)

    def _settle_turn(self) -> None:
        """What has to wait until the region has dispatched."""
        connection = self.connection
        if connection is None or connection.closed:
            self._draining.clear()
            return
        woken = self._deliveries.finish_presettled(connection)
        unsendable, self._unsendable = self._unsendable, []
        for sending, ref, cause in unsendable:
            settling.give_up(connection, sending.key, ref, cause)
            woken = True
        for sending in list(self._draining):
            consumer = connection.consumers.get(sending.key)
            if consumer is None or not sending.link.is_open:
                del self._draining[sending]
            elif self.region.dirty or consumer.source in self.region.unfinished:
                woken = True
            elif connection.dispatch_budget > 0:
                del self._draining[sending]
                consumer.credit = 0
                self._engine.drained(sending.link)
        if woken:
            self.wake()

    # ---- links

    def _attached(self, link: Link) -> None:
        connection = self.connection
        if connection is None or not link.is_open:
            return
        try:
            if link.sends:
                self._open_sending(connection, link)
            elif link.target.kind == "coordinator":
                link.owner = Coordinating(link)
                self._engine.attach(link, link.source, link.target)
                self._engine.flow(link, COORDINATOR_CREDIT)
            else:
                receiving, target = open_receiving(connection, link, next(self._links))
                link.owner = receiving
                self._engine.attach(link, link.source, target)
                self._engine.flow(link, self._producer_credit)
        except BrokerError as error:
            self._engine.refuse(link, condition_of(error), str(error)[:ERROR_CHARACTERS_MAX])

    def _open_sending(self, connection: RegionConnection, link: Link) -> None:
        number = next(self._links)
        if not link.source.kind:
            sending, source = find_subscription(connection, link, number)
            batch = 0
        else:
            sending, source, batch = open_sending(connection, link, number)
        link.owner = sending
        self._sendings[sending.key] = sending
        self._engine.attach(link, source, link.target)
        del batch

    def _detached(self, link: Link, closed: bool) -> None:
        """The client has ended a link."""
        owner, link.owner = link.owner, None
        connection = self.connection
        batch = 0
        if connection is not None:
            match owner:
                case Receiving():
                    connection.remove_producer(owner.producer_id)
                    self._drop_temporary(connection, owner)
                    batch = self.region.last_batch
                case Sending():
                    batch = self._remove_sending(connection, owner, closed)
                case Coordinating():
                    self._transactions.roll_back_all(connection, owner)
        self.answer(batch, lambda: self._engine.answer_detach(link, closed=closed))

    def _end_receiving(self, link: Link) -> None:
        """A message is longer than the limit: the link has said so, and ends."""
        owner, link.owner = link.owner, None
        if isinstance(owner, Receiving) and self.connection is not None:
            self.connection.remove_producer(owner.producer_id)
            self._drop_temporary(self.connection, owner)
        text = f"A message has more than {self.context.config.frame_bytes_max} bytes."
        self._engine.end_link(link, errors.MESSAGE_SIZE_EXCEEDED, text)

    def _remove_sending(self, connection: RegionConnection, sending: Sending, closed: bool) -> int:
        self._sendings.pop(sending.key, None)
        self._draining.pop(sending, None)
        sending.unsettled.clear()
        connection.remove_consumer(sending.key, DELIVERED_NONE)
        self._drop_temporary(connection, sending)
        if closed and sending.subscription:
            try:
                return connection.remove_subscription(sending.subscription, common=sending.common)
            except ClientError as error:  # others use it, or it is gone already
                _log.debug("%s: subscription %s stays: %s", self.remote, sending.subscription, error)
        return self.region.last_batch

    def _drop_temporary(self, connection: RegionConnection, end: Receiving | Sending) -> None:
        """A dynamic node goes with its link."""
        if end.temporary and end.destination is not None:
            try:
                connection.remove_destination(end.destination)
            except ClientError as error:  # others still use it; it goes with the connection
                _log.debug("%s: %s stays: %s", self.remote, end.destination, error)

    # ---- the end

    def ended(self) -> None:
        """Nothing more is read; the client is told why."""
        self._draining.clear()
        self._engine.close(errors.CONNECTION_FORCED, self.close_reason[:ERROR_CHARACTERS_MAX])


__all__ = ["AmqpServer", "rewrite"]
