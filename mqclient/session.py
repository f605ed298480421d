"""Sessions: one thread's view of a connection, with its transactions and acknowledgements."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from broker.openwire.commands import (
    ConnectionId,
    ConsumerId,
    DestinationInfo,
    LocalTransactionId,
    ProducerId,
    RemoveInfo,
    RemoveSubscriptionInfo,
    SessionId,
    SessionInfo,
    TransactionInfo,
)
from broker.openwire.constants import SHARED, SHARED_DURABLE, AckType, DestinationOperation, TransactionType
from mqclient.browser import QueueBrowser
from mqclient.completions import Completions
from mqclient.consumer import NOTHING_DELIVERED, MessageConsumer, Subscription
from mqclient.delivery import Delivery, acknowledgement, ranges
from mqclient.destination import (
    Destination,
    Queue,
    TemporaryQueue,
    TemporaryTopic,
    Topic,
    parse_destination,
    to_command,
)
from mqclient.errors import ClientError, IllegalState, InvalidDestination, TransactionRolledBack
from mqclient.events import Request
from mqclient.listening import ListenerThread
from mqclient.message import BodyValue, BytesMessage, MapMessage, Message, StreamMessage, TextMessage
from mqclient.modes import AcknowledgeMode, RedeliveryPolicy
from mqclient.options import ClientOptions
from mqclient.producer import MessageProducer

if TYPE_CHECKING:
    from mqclient.connection import Connection

DUPS_OK_MESSAGES_MAX = 50
"""Messages that a DUPS_OK session acknowledges at once, unless it runs out of messages before."""


class Session:
    """Made by :meth:`Connection.create_session`. To be used by one thread at a time.

    Attributes:
        acknowledge_mode: TRANSACTED if the session is.
        redelivery_policy: what becomes of messages that are rolled back; may be replaced.
    """

    def __init__(self, connection: Connection, number: int, mode: AcknowledgeMode) -> None:
        self.connection = connection
        self.acknowledge_mode = mode
        options = connection.options
        self.redelivery_policy = redelivery_policy(options)
        self.session_id = SessionId(connection_id=connection.connection_id, value=number)
        self.arrived = threading.Condition(connection.link.lock)
        self._consumers: dict[ConsumerId, MessageConsumer] = {}
        self._producers: dict[ProducerId, MessageProducer] = {}
        self._consumer_count = 0
        self._producer_count = 0
        self._unacknowledged: dict[Delivery, None] = {}
        self._transaction_id: LocalTransactionId | None = None
        self._closing_consumers: list[MessageConsumer] = []
        self._listener_thread: ListenerThread | None = None
        self._closed = False
        self.completions = Completions(connection.link.lock, connection.notify_later)
        connection.request(SessionInfo(session_id=self.session_id))

    # Making things

    @property
    def transacted(self) -> bool:
        """Whether sends and receives count only when committed."""
        return self.acknowledge_mode is AcknowledgeMode.TRANSACTED

    def create_queue(self, name: str) -> Queue:
        """A queue's name as a destination; nothing is created at the broker."""
        return Queue(name)

    def create_topic(self, name: str) -> Topic:
        """A topic's name as a destination; nothing is created at the broker."""
        return Topic(name)

    def create_temporary_queue(self) -> TemporaryQueue:
        """Make a queue that lives as long as the connection."""
        queue = TemporaryQueue(self.connection.next_temporary_name())
        self._change_temporary(queue, DestinationOperation.ADD)
        return queue

    def create_temporary_topic(self) -> TemporaryTopic:
        """Make a topic that lives as long as the connection."""
        topic = TemporaryTopic(self.connection.next_temporary_name())
        self._change_temporary(topic, DestinationOperation.ADD)
        return topic

    def delete_temporary(self, destination: TemporaryQueue | TemporaryTopic) -> None:
        """Delete a temporary destination of this connection; it must have no consumers."""
        self._change_temporary(destination, DestinationOperation.REMOVE)

    def create_message(self) -> Message:
        """A message without a body."""
        return Message()

    def create_text_message(self, text: str | None = None) -> TextMessage:
        """A message with a text."""
        return TextMessage(text)

    def create_bytes_message(self, data: bytes = b"") -> BytesMessage:
        """A message with bytes."""
        return BytesMessage(data)

    def create_map_message(self, entries: dict[str, BodyValue] | None = None) -> MapMessage:
        """A message with named values."""
        return MapMessage(entries)

    def create_stream_message(self, values: Iterable[BodyValue] = ()) -> StreamMessage:
        """A message with a row of values."""
        return StreamMessage(values)

    def create_producer(self, destination: Destination | str | None = None) -> MessageProducer:
        """A producer for one destination, or, with None, for one named with each send."""
        self._check_open()
        self._producer_count += 1
        producer_id = ProducerId(
            connection_id=self.session_id.connection_id,
            session_id=self.session_id.value,
            value=self._producer_count,
        )
        where = as_destination(destination) if destination is not None else None
        producer = MessageProducer(self, producer_id, where)
        self._producers[producer_id] = producer
        return producer

    def create_consumer(
        self, destination: Destination | str, selector: str | None = None, *, no_local: bool = False
    ) -> MessageConsumer:
        """A consumer of a queue, or a subscriber of a topic that gets what is sent while it is there."""
        return self._subscribe(Subscription(as_destination(destination), selector, no_local=no_local))

    def create_durable_subscriber(
        self, topic: Topic | str, name: str, selector: str | None = None, *, no_local: bool = False
    ) -> MessageConsumer:
        """A subscriber that also gets what was sent while it was not there, until it is unsubscribed.

        Raises:
            IllegalState: the connection was made without a client id.
        """
        where = _topic(topic)
        if self.connection.client_id is None:
            raise IllegalState("a durable subscriber needs a connection with a client id")
        return self._subscribe(Subscription(where, selector, no_local=no_local, durable_name=name))

    def create_shared_consumer(
        self, topic: Topic | str, name: str, selector: str | None = None
    ) -> MessageConsumer:
        """One of the consumers of a shared subscription: each message goes to one of them.

        The subscription ends with its last consumer. All of them must name the same topic and selector.
        Consumers of several connections share it if these have no client ids.
        """
        return self._subscribe(Subscription(_topic(topic), selector, durable_name=SHARED + name))

    def create_shared_durable_consumer(
        self, topic: Topic | str, name: str, selector: str | None = None
    ) -> MessageConsumer:
        """The same of a subscription that stays, with what is sent to it, until it is unsubscribed."""
        return self._subscribe(Subscription(_topic(topic), selector, durable_name=SHARED_DURABLE + name))

    def create_browser(self, queue: Destination | str, selector: str | None = None) -> QueueBrowser:
        """A look at the messages of a queue, which stay there."""
        where = as_destination(queue)
        if where.is_topic:
            raise InvalidDestination(f"{where} is not a queue; only queues can be browsed")
        return QueueBrowser(self._subscribe(Subscription(where, selector, browser=True)))

    def unsubscribe(self, name: str) -> None:
        """Delete a durable subscription of this client id, or a shared one; it must have no consumer."""
        self._check_open()
        self.connection.request(
            RemoveSubscriptionInfo(
                connection_id=ConnectionId(value=self.connection.connection_id),
                subscription_name=name,
                client_id=self.connection.client_id,
            )
        )

    # Transactions and acknowledgements

    def commit(self) -> None:
        """Make what was sent and received since the last commit or rollback count.

        Raises:
            TransactionRolledBack: a failover has ended the transaction, or leaves unknown whether it was
                committed; all of it must be done again.
        """
        self._check_transacted()
        self._await_completions()
        self._wait_until_all_is_dispatched_again()
        done = threading.Event()
        with self.connection.link.lock:
            transaction_id = self._transaction_id
            if transaction_id is None:
                return
            stale = not self._all_dispatched_now()
            request = Request(
                self._transaction_info(transaction_id, TransactionType.COMMIT_ONE_PHASE), lambda _: done.set()
            )
            if not stale:
                # With the lock held all the while, so that no failover comes between them.
                for each in ranges(list(self._unacknowledged)):
                    self.connection.link.send(acknowledgement(each, AckType.STANDARD, transaction_id))
                self.connection.link.begin_request(request)
        if stale:
            self.rollback()
            raise TransactionRolledBack(
                "after the failover the broker did not dispatch again what the transaction has consumed"
            )
        try:
            self.connection.link.wait(request, done)
        except ClientError:
            with self.connection.link.lock:
                self._redeliver()
                self._transaction_id = None
            raise
        with self.connection.link.lock:
            self._transaction_id = None
            for delivery in self._unacknowledged:
                self.connection.ledger.release(delivery)
            self._unacknowledged = {}
            for consumer in self._consumers.values():
                consumer.forget_delivered()
        self._close_waiting_consumers()

    def rollback(self) -> None:
        """Undo what was sent and received since the last commit or rollback; messages are delivered again."""
        self._check_transacted()
        self._await_completions()
        with self.connection.link.lock:
            transaction_id, self._transaction_id = self._transaction_id, None
        try:
            if transaction_id is not None:
                self._finish(transaction_id, TransactionType.ROLLBACK)
        finally:
            with self.connection.link.lock:
                self._redeliver()
        self._close_waiting_consumers()

    def recover(self) -> None:
        """Have all unacknowledged messages delivered again."""
        self._check_open()
        if self.transacted:
            raise IllegalState("a transacted session is rolled back, not recovered")
        with self.connection.link.lock:
            self._redeliver()

    def ensure_transaction(self) -> LocalTransactionId | None:
        """The transaction that sends and receives belong to, begun if need be; the lock is held."""
        if not self.transacted:
            return None
        if self._transaction_id is None:
            self._transaction_id = self.connection.next_transaction_id()
            self._send_transaction_info(self._transaction_id, TransactionType.BEGIN)
        return self._transaction_id

    def delivered(self, delivery: Delivery) -> None:
        """The program gets a message; the lock is held."""
        match self.acknowledge_mode:
            case AcknowledgeMode.AUTO:
                self.acknowledge([delivery], AckType.STANDARD)
            case AcknowledgeMode.TRANSACTED:
                self.ensure_transaction()
                self.hold(delivery)
            case AcknowledgeMode.DUPS_OK:
                self.hold(delivery)
                if len(self._unacknowledged) >= DUPS_OK_MESSAGES_MAX:
                    self.acknowledge_all()
            case _:
                self.hold(delivery)

    def idle(self) -> None:
        """A receive finds nothing waiting; the lock is held."""
        if self.acknowledge_mode is AcknowledgeMode.DUPS_OK and self._unacknowledged:
            self.acknowledge_all()

    def adopted(self, delivery: Delivery) -> None:
        """A new broker has dispatched again what the program holds; the lock is held."""
        self._count_delivered(delivery)
        self.arrived.notify_all()

    def holds(self, delivery: Delivery) -> bool:
        """Whether the program has it, unacknowledged."""
        return delivery in self._unacknowledged

    def acknowledge(self, deliveries: list[Delivery], ack_type: AckType) -> None:
        """Acknowledge deliveries of one consumer, outside a transaction; the lock is held."""
        ledger = self.connection.ledger
        for delivery in deliveries:
            self._unacknowledged.pop(delivery, None)
            if delivery.consumer_id in self.connection.consumers:
                self.connection.consumers[delivery.consumer_id].forget_delivered(delivery)
        told = [delivery for delivery in deliveries if ledger.acknowledge(delivery)]
        if told:
            self.connection.link.send(acknowledgement(told, ack_type))

    def acknowledge_received(self, delivery: Delivery) -> None:
        """The program called Message.acknowledge()."""
        self._check_open()
        with self.connection.link.lock:
            if self.acknowledge_mode is AcknowledgeMode.INDIVIDUAL:
                if delivery in self._unacknowledged:
                    self.acknowledge([delivery], AckType.INDIVIDUAL)
            elif self.acknowledge_mode is AcknowledgeMode.CLIENT:
                self.acknowledge_all()

    def acknowledge_all(self) -> None:
        """Acknowledge everything the program has received; the lock is held."""
        deliveries, self._unacknowledged = list(self._unacknowledged), {}
        for each in ranges(deliveries):
            self.acknowledge(each, AckType.STANDARD)

    # Closing

    def close(self) -> None:
        """Close consumers and producers; roll back what is open, give back what is unacknowledged."""
        if self._closed:
            return
        self.completions.check_outside()
        if self._listener_thread is not None:
            self._listener_thread.stop()
        try:
            if self.connection.usable:
                self._settle()
                for producer in list(self._producers.values()):
                    producer.close()
        finally:
            if self.connection.usable:
                last = self.last_delivered_sequence_id
                self.connection.request_quietly(
                    RemoveInfo(object_id=self.session_id, last_delivered_sequence_id=last)
                )
            self.closed_by_connection()
            self.connection.forget_session(self)

    def closed_by_connection(self) -> None:
        """The connection is closed, and this session with it."""
        with self.connection.link.lock:
            self._closed = True
            for consumer_id, consumer in self._consumers.items():
                consumer.closed_by_session()
                self.connection.consumers.pop(consumer_id, None)
            for delivery in self._unacknowledged:
                self.connection.ledger.release(delivery)
            self._unacknowledged = {}
            self.arrived.notify_all()
            self.interrupted()

    def interrupted(self) -> None:
        """The broker is lost, or the session closed; the lock is held."""
        for producer in self._producers.values():
            producer.interrupted()

    def producer_acknowledged(self, producer_id: ProducerId, size: int) -> None:
        """The broker has taken so many bytes of a producer with a window; the lock is held."""
        producer = self._producers.get(producer_id)
        if producer is not None:
            producer.acknowledged(size)

    def close_consumer(self, consumer: MessageConsumer) -> None:
        """The program closes a consumer; with an open transaction that has consumed from it, later."""
        with self.connection.link.lock:
            if self.acknowledge_mode is AcknowledgeMode.DUPS_OK:
                self.acknowledge_all()
            busy = self._transaction_id is not None and any(
                each.consumer_id == consumer.consumer_id for each in self._unacknowledged
            )
            if busy:
                self._closing_consumers.append(consumer)
                return
            for delivery in [e for e in self._unacknowledged if e.consumer_id == consumer.consumer_id]:
                del self._unacknowledged[delivery]
                self.connection.ledger.release(delivery)
        self._remove_consumer(consumer)

    def forget_producer(self, producer: MessageProducer) -> None:
        """A producer was closed."""
        self._producers.pop(producer.producer_id, None)

    def listen(self) -> None:
        """A consumer got a listener: deliver in a thread of our own from now on."""
        if self._listener_thread is None:
            self._listener_thread = ListenerThread(self, lambda: list(self._consumers.values()))
            self._listener_thread.start()

    @property
    def last_delivered_sequence_id(self) -> int:
        """The broker's number of the last message that reached the program."""
        found = (consumer.last_delivered_sequence_id for consumer in self._consumers.values())
        return max(found, default=NOTHING_DELIVERED)

    @property
    def closed(self) -> bool:
        """Whether close was called, here or on the connection."""
        return self._closed

    # Inside

    def _subscribe(self, subscription: Subscription) -> MessageConsumer:
        self._check_open()
        self._consumer_count += 1
        consumer_id = ConsumerId(
            connection_id=self.session_id.connection_id,
            session_id=self.session_id.value,
            value=self._consumer_count,
        )
        consumer = MessageConsumer(self, consumer_id, subscription)
        with self.connection.link.lock:
            self._consumers[consumer_id] = consumer
            self.connection.consumers[consumer_id] = consumer
        try:
            self.connection.request(consumer.info())
        except BaseException:
            self._drop_consumer(consumer)
            raise
        return consumer

    def _remove_consumer(self, consumer: MessageConsumer) -> None:
        if self.connection.usable:
            self.connection.request_quietly(
                RemoveInfo(
                    object_id=consumer.consumer_id,
                    last_delivered_sequence_id=consumer.last_delivered_sequence_id,
                )
            )
        self._drop_consumer(consumer)

    def _drop_consumer(self, consumer: MessageConsumer) -> None:
        with self.connection.link.lock:
            self._consumers.pop(consumer.consumer_id, None)
            self.connection.consumers.pop(consumer.consumer_id, None)

    def _close_waiting_consumers(self) -> None:
        waiting, self._closing_consumers = self._closing_consumers, []
        for consumer in waiting:
            self._remove_consumer(consumer)

    def _settle(self) -> None:
        """End what is open, before the session is closed."""
        with self.connection.link.lock:
            transaction_id, self._transaction_id = self._transaction_id, None
            if self.acknowledge_mode is AcknowledgeMode.DUPS_OK:
                self.acknowledge_all()
        if transaction_id is not None:
            self._finish_quietly(transaction_id)

    def _change_temporary(self, destination: Destination, operation: DestinationOperation) -> None:
        self._check_open()
        self.connection.request(
            DestinationInfo(
                connection_id=ConnectionId(value=self.connection.connection_id),
                destination=to_command(destination),
                operation_type=int(operation),
            )
        )

    def _finish(self, transaction_id: LocalTransactionId, step: TransactionType) -> None:
        self.connection.request(self._transaction_info(transaction_id, step))

    def _finish_quietly(self, transaction_id: LocalTransactionId) -> None:
        self.connection.request_quietly(self._transaction_info(transaction_id, TransactionType.ROLLBACK))

    def _send_transaction_info(self, transaction_id: LocalTransactionId, step: TransactionType) -> None:
        self.connection.link.send(self._transaction_info(transaction_id, step))

    def _transaction_info(self, transaction_id: LocalTransactionId, step: TransactionType) -> TransactionInfo:
        return TransactionInfo(
            connection_id=ConnectionId(value=self.connection.connection_id),
            transaction_id=transaction_id,
            type=int(step),
        )

    def _wait_until_all_is_dispatched_again(self) -> None:
        """After a failover, what the transaction has consumed must arrive again before it can commit."""
        wait_s = self.connection.options.failover_redelivery_wait_period / 1000

        def settled() -> bool:
            return self._closed or self._all_dispatched_now()

        with self.connection.link.lock:
            if settled():
                return
            self.connection.wait_connected()
            self.arrived.wait_for(settled, wait_s)

    def _redeliver(self) -> None:
        """Put unacknowledged messages back before those that wait, oldest first; the lock is held."""
        deliveries, self._unacknowledged = list(self._unacknowledged), {}
        ledger, consumers = self.connection.ledger, self.connection.consumers
        for delivery in deliveries:
            ledger.release(delivery)
        present = [
            each for each in deliveries if each.epoch == ledger.epoch and each.consumer_id in consumers
        ]
        for each in ranges(present):
            self.connection.link.send(acknowledgement(each, AckType.REDELIVERED))
        redeliveries = present[-1].redeliveries if present else 0
        not_before_s = time.monotonic() + self.redelivery_policy.delay_ms(redeliveries) / 1000
        for delivery in reversed(present):
            consumers[delivery.consumer_id].redeliver(delivery, not_before_s)
        self.arrived.notify_all()

    def _count_delivered(self, delivery: Delivery) -> None:
        consumer = self.connection.consumers.get(delivery.consumer_id)
        if consumer is not None:
            consumer.count_delivered(delivery)

    def _all_dispatched_now(self) -> bool:
        epoch = self.connection.ledger.epoch
        return all(each.epoch == epoch for each in self._unacknowledged)

    def hold(self, delivery: Delivery) -> None:
        """The program has it, unacknowledged; the lock is held."""
        self._unacknowledged[delivery] = None
        self.connection.ledger.hold(delivery)
        self._count_delivered(delivery)

    def _check_open(self) -> None:
        self.connection.check_open()
        if self._closed:
            raise IllegalState("the session is closed")

    def _await_completions(self) -> None:
        """A transaction ends after its sends, and the program was told of them."""
        self.completions.check_outside()
        self.completions.wait(None)

    def _check_transacted(self) -> None:
        self._check_open()
        if not self.transacted:
            raise IllegalState("the session is not transacted")


def _topic(topic: Topic | str) -> Topic:
    where = Topic(topic) if isinstance(topic, str) and "://" not in topic else as_destination(topic)
    if not isinstance(where, Topic):
        raise InvalidDestination(f"{where} is not a topic; only topics have durable and shared subscribers")
    return where


def as_destination(destination: Destination | str) -> Destination:
    """A destination, also from its text."""
    return parse_destination(destination) if isinstance(destination, str) else destination


def redelivery_policy(options: ClientOptions) -> RedeliveryPolicy:
    """What the broker's URL says of redelivery."""
    return RedeliveryPolicy(
        maximum_redeliveries=options.maximum_redeliveries,
        initial_redelivery_delay_ms=options.initial_redelivery_delay,
        redelivery_delay_ms=options.redelivery_delay,
        use_exponential_back_off=options.redelivery_use_exponential_back_off,
        back_off_multiplier=options.redelivery_back_off_multiplier,
        maximum_redelivery_delay_ms=options.maximum_redelivery_delay,
        use_collision_avoidance=options.use_collision_avoidance,
        collision_avoidance_percent=options.collision_avoidance_percent,
        pre_dispatch_check=options.pre_dispatch_check,
    )
