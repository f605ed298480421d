"""Consumers: messages wait here between the network thread and the program."""

from __future__ import annotations

import logging
import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.openwire.commands import (
    ConsumerControl,
    ConsumerId,
    ConsumerInfo,
    MessageDispatch,
    MessagePull,
    RemoveInfo,
)
from broker.openwire.constants import PULL_NO_WAIT, PULL_WAIT_FOREVER, AckType
from mqclient.delivery import NO_CONNECTION, Arrival, Delivery, acknowledgement, new_delivery, ranges
from mqclient.destination import Destination, split_options, to_command
from mqclient.errors import ConnectionClosed, IllegalState, MessageFormatError
from mqclient.message import Message
from mqclient.message_codec import from_command, is_redelivered_by_broker
from mqclient.modes import AcknowledgeMode

if TYPE_CHECKING:
    from mqclient.session import Session

LOG = logging.getLogger("mqclient.consumer")

NOTHING_DELIVERED = -1
"""RemoveInfo.last_delivered_sequence_id: no message has reached the program."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a consumer consumes."""

    destination: Destination
    selector: str | None = None
    no_local: bool = False
    durable_name: str | None = None
    browser: bool = False


class MessageConsumer:
    """Made by :meth:`Session.create_consumer` and its relatives.

    Attributes:
        destination: without the options in its name.
    """

    def __init__(self, session: Session, consumer_id: ConsumerId, subscription: Subscription) -> None:
        self.session = session
        self.consumer_id = consumer_id
        self.destination, self._options = split_options(subscription.destination)
        self._subscription = subscription
        self._waiting: deque[Delivery] = deque()
        self._not_before_s = 0.0
        self._later: list[tuple[float, Delivery]] = []
        """What comes again, and when, if it holds up nothing else; the earliest first."""
        self._end_of_browse = False
        self._pull_answered = False
        self._told_prefetch: int | None = None
        """What the broker wants it to be, by a policy."""
        self._listener: Callable[[Message], None] | None = None
        self._closed = False
        self._uncounted: dict[Delivery, None] = {}
        self.last_delivered_sequence_id = NOTHING_DELIVERED

    # The program

    @property
    def prefetch_size(self) -> int:
        """How many messages the broker sends ahead."""
        if self._told_prefetch is not None:
            return self._told_prefetch
        if self._options.prefetch_size is not None:
            return self._options.prefetch_size
        options = self.session.connection.options
        if self._subscription.browser:
            return options.queue_browser_prefetch
        if self._subscription.durable_name is not None:
            return options.durable_topic_prefetch
        return options.topic_prefetch if self.destination.is_topic else options.queue_prefetch

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """Wait for a message; None when none came in time, or when the consumer is closed meanwhile.

        Args:
            timeout_s: None: wait for ever; 0: take only what is there.

        Raises:
            IllegalState: the consumer is closed or has a listener.
            ConnectionFailed: the connection is over.
        """
        if self._listener is not None:
            raise IllegalState("a consumer with a listener cannot receive")
        with self.session.connection.link.lock:
            self._check_open()
            return self._receive(timeout_s)

    def receive_no_wait(self) -> Message | None:
        """Take a message only if it is there."""
        return self.receive(0.0)

    def set_message_listener(self, listener: Callable[[Message], None]) -> None:
        """Have messages delivered by a thread of the session; an exception means "deliver it again"."""
        if self.prefetch_size == 0:
            raise IllegalState("a consumer that pulls its messages cannot have a listener")
        with self.session.connection.link.lock:
            self._check_open()
            self._listener = listener
        self.session.listen()

    @property
    def listener(self) -> Callable[[Message], None] | None:
        """The listener, if there is one."""
        return self._listener

    def close(self) -> None:
        """Stop consuming; messages that wait here go back to the broker."""
        with self.session.connection.link.lock:
            if self._closed:
                return
            self._closed = True
            self._forget_waiting()
            self.session.arrived.notify_all()
        self.session.close_consumer(self)

    @property
    def closed(self) -> bool:
        """Whether close was called, here or above."""
        return self._closed

    def __enter__(self) -> MessageConsumer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The session and the network thread; the lock is held

    def info(self) -> ConsumerInfo:
        """The command that opens this consumer."""
        options = self._options
        dispatch_async = options.dispatch_async
        if dispatch_async is None:
            dispatch_async = self.session.connection.options.dispatch_async
        return ConsumerInfo(
            consumer_id=self.consumer_id,
            browser=self._subscription.browser,
            destination=to_command(self.destination),
            prefetch_size=self.prefetch_size,
            maximum_pending_message_limit=options.maximum_pending_message_limit
            or self.session.connection.options.maximum_pending_message_limit,
            dispatch_async=dispatch_async,
            selector=self._subscription.selector or options.selector,
            subscription_name=self._subscription.durable_name,
            no_local=self._subscription.no_local or options.no_local,
            exclusive=options.exclusive or self.session.connection.options.exclusive_consumer,
            retroactive=options.retroactive or self.session.connection.options.use_retroactive_consumer,
            priority=options.priority,
        )

    def take_dispatch(self, dispatch: MessageDispatch) -> None:
        """The broker has dispatched a message, or the end of a browse or pull."""
        if dispatch.message is None or dispatch.message.message_id is None:
            self._end_of_browse = self._subscription.browser
            self._pull_answered = True
            self.session.arrived.notify_all()
            return
        connection = self.session.connection
        delivery = new_delivery(dispatch, connection.ledger.epoch, self._subscription.durable_name)
        if self._subscription.browser:
            self._enqueue(delivery)
            return
        arrival, delivery = connection.ledger.arrive(delivery)
        match arrival:
            case Arrival.DELIVER:
                self._enqueue(delivery)
            case Arrival.REPEATED:
                LOG.debug("%s was acknowledged before the failover", delivery.message_id)
                connection.link.send(acknowledgement([delivery], AckType.STANDARD))
            case Arrival.ADOPTED:
                connection.adopted(delivery)

    def control(self, control: ConsumerControl) -> None:
        """The broker changes this consumer."""
        if control.close:
            self._closed = True
            self._forget_waiting()
            last = self.last_delivered_sequence_id  # a new broker must not be told of this consumer
            self.session.connection.link.send(
                RemoveInfo(object_id=self.consumer_id, last_delivered_sequence_id=last)
            )
        else:
            self._told_prefetch = max(control.prefetch, 0)
        self.session.arrived.notify_all()

    def interrupted(self) -> None:
        """The connection was lost: what waits here will be dispatched again."""
        self._forget_waiting()
        self._uncounted.clear()
        self._pull_answered = True
        self.session.arrived.notify_all()

    def count_delivered(self, delivery: Delivery) -> None:
        """The program holds a message; now and then the broker is told, so that it goes on dispatching.

        What was browsed is acknowledged, as by Apache's client; that consumes nothing.
        """
        if self.prefetch_size == 0 or delivery.epoch == NO_CONNECTION:
            return
        self._uncounted[delivery] = None
        if len(self._uncounted) >= max(1, self.prefetch_size // 2):
            ack_type = AckType.STANDARD if self._subscription.browser else AckType.DELIVERED
            for each in ranges(list(self._uncounted)):
                self.session.connection.link.send(acknowledgement(each, ack_type))
            self._uncounted.clear()

    def forget_delivered(self, delivery: Delivery | None = None) -> None:
        """A message, or every message, was acknowledged and need not be counted."""
        if delivery is None:
            self._uncounted.clear()
        else:
            self._uncounted.pop(delivery, None)

    def redeliver(self, delivery: Delivery, not_before_s: float) -> None:
        """Deliver a message again, before all that wait."""
        delivery.redeliveries += 1
        delivery.returned = True
        if self.session.connection.options.non_blocking_redelivery:
            insort(self._later, (not_before_s, delivery), key=_when)
            return
        self._waiting.appendleft(delivery)
        self._not_before_s = not_before_s

    def closed_by_session(self) -> None:
        """The session is closed."""
        self._closed = True
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._later.clear()

    def next_delivery(self) -> Delivery | None:
        """Take what the program may have now."""
        if not self.session.connection.started:
            return None
        while self._later and self._later[0][0] <= time.monotonic():
            self._waiting.appendleft(self._later.pop(0)[1])
        while self._waiting and time.monotonic() >= self._not_before_s:
            delivery = self._waiting.popleft()
            if self._subscription.browser:
                return delivery
            reason, ack_type = self._reason_to_refuse(delivery)
            if ack_type is None:
                return delivery
            self._refuse(delivery, ack_type, reason)
        return None

    def ready_s(self) -> float | None:
        """When a message that waits may be delivered; None: none waits."""
        moments = [moment for moment, _ in self._later[:1]]
        if self._waiting:
            moments.append(self._not_before_s)
        return min(moments, default=None)

    def deliver(self, delivery: Delivery) -> Message | None:
        """Turn a delivery into the program's message; None if it cannot be read, then it is refused."""
        command = delivery.dispatch.message
        assert command is not None
        try:
            message = from_command(command, delivery.redeliveries)
        except MessageFormatError as error:
            LOG.warning("%s from %s cannot be read: %s", delivery.message_id, self.destination, error)
            self._refuse(delivery, AckType.POISON, str(error))
            return None
        mode = self.session.acknowledge_mode
        if mode in (AcknowledgeMode.CLIENT, AcknowledgeMode.INDIVIDUAL):
            message.bind(lambda: self.session.acknowledge_received(delivery))
        else:
            message.bind(_nothing)
        self.last_delivered_sequence_id = delivery.message_id.broker_sequence_id
        return message

    @property
    def at_end_of_browse(self) -> bool:
        """Whether a browser has seen everything."""
        return self._end_of_browse and not self._waiting

    # Inside

    def _receive(self, timeout_s: float | None) -> Message | None:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        pulled_epoch = None
        while True:
            delivery = self.next_delivery()
            if delivery is not None:
                message = self.deliver(delivery)
                if message is None:
                    continue
                if self._subscription.browser:
                    self.count_delivered(delivery)
                else:
                    self.session.delivered(delivery)
                return message
            if self._closed or self.at_end_of_browse:
                return None
            self._check_connection()
            epoch = self.session.connection.ledger.epoch
            if self.prefetch_size == 0 and pulled_epoch != epoch and self.session.connection.started:
                pulled_epoch = epoch
                self._pull(deadline_s)
            elif self._pull_is_over(pulled_epoch, deadline_s):
                return None
            if not self._wait(deadline_s, patient=pulled_epoch is not None):
                return None

    def _wait(self, deadline_s: float | None, *, patient: bool) -> bool:
        """Wait for an arrival; False: no time is left. A living broker tells the end of a pull itself."""
        now_s = time.monotonic()
        if deadline_s is not None and now_s >= deadline_s + (PULL_GRACE_S if patient else 0.0):
            return False
        self.session.idle()
        moments = [each for each in (deadline_s, self.ready_s()) if each is not None and each > now_s]
        if patient and deadline_s is not None:
            moments.append(deadline_s + PULL_GRACE_S)
        self.session.arrived.wait(min(moments) - now_s if moments else None)
        return True

    def _pull(self, deadline_s: float | None) -> None:
        if deadline_s is None:
            timeout_ms = PULL_WAIT_FOREVER
        else:
            left_ms = int((deadline_s - time.monotonic()) * 1000)
            timeout_ms = left_ms if left_ms > 0 else PULL_NO_WAIT
        self._pull_answered = False
        self.session.connection.link.send(
            MessagePull(
                consumer_id=self.consumer_id, destination=to_command(self.destination), timeout=timeout_ms
            )
        )

    def _pull_is_over(self, pulled_epoch: int | None, deadline_s: float | None) -> bool:
        if pulled_epoch is None or not self._pull_answered or self._waiting:
            return False
        return deadline_s is not None and pulled_epoch == self.session.connection.ledger.epoch

    def _enqueue(self, delivery: Delivery) -> None:
        if not self._closed:
            self._waiting.append(delivery)
            self.session.arrived.notify_all()

    def _reason_to_refuse(self, delivery: Delivery) -> tuple[str, AckType | None]:
        command = delivery.dispatch.message
        assert command is not None
        checks = self.session.connection.options.consumer_expiry_check_enabled
        if checks and command.expiration and command.expiration <= time.time_ns() // 1_000_000:
            return "it has expired", AckType.EXPIRED
        policy = self.session.redelivery_policy
        if policy.exceeds(delivery.redeliveries) and (
            delivery.returned or (policy.pre_dispatch_check and not is_redelivered_by_broker(command))
        ):
            return f"it was delivered {delivery.redeliveries} times", AckType.POISON
        return "", None

    def _refuse(self, delivery: Delivery, ack_type: AckType, reason: str) -> None:
        """The program never sees it: expired, or for the dead letter queue."""
        if self.session.connection.ledger.acknowledge(delivery):
            cause = reason if ack_type is AckType.POISON else None
            self.session.connection.link.send(acknowledgement([delivery], ack_type, cause=cause))

    def _check_open(self) -> None:
        self._check_connection()
        if self._closed:
            raise IllegalState("the consumer is closed")

    def _check_connection(self) -> None:
        error = self.session.connection.link.transport.error
        if error is not None and not (self._closed and isinstance(error, ConnectionClosed)):
            raise error


PULL_GRACE_S = 1.0
"""How much longer than asked for a pull waits for the broker to say that there is nothing."""


def _when(later: tuple[float, Delivery]) -> float:
    return later[0]


def _nothing() -> None:
    """Acknowledging changes nothing in this mode."""
