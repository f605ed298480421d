"""Messages between dispatch and acknowledgement.

The connection keeps one :class:`DeliveryLedger`. It decides what becomes of a dispatched message:

===============================================  ==========================================================
the message                                      becomes
===============================================  ==========================================================
was acknowledged on a lost connection            acknowledged again, not delivered
is in the program's hands, from a lost           bound to the new connection, so that acknowledging it works;
connection                                       not delivered a second time
is neither                                       delivered
===============================================  ==========================================================

Pure; the lock of the connection is held for every call.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum

from broker.openwire.commands import (
    ActiveMQTempTopic,
    ActiveMQTopic,
    ConsumerId,
    MessageAck,
    MessageDispatch,
    MessageId,
    TransactionId,
)
from broker.openwire.constants import AckType
from broker.openwire.throwable import Throwable
from mqclient.audit import AcknowledgementAudit

NO_CONNECTION = 0
"""The epoch while there is no connection; those of connections count from 1."""

Key = tuple[Hashable, Hashable]


@dataclass(slots=True, eq=False)
class Delivery:
    """One dispatched message and what the client knows of it.

    Attributes:
        epoch: of the connection that dispatched it last; an acknowledgement is valid on that one only.
        redeliveries: how often it was delivered before.
        adopted: it was dispatched again while the program held it.
        returned: the program has had it, and gets it again.
    """

    dispatch: MessageDispatch
    consumer_id: ConsumerId
    key: Key
    epoch: int
    redeliveries: int
    adopted: bool = False
    returned: bool = False

    @property
    def message_id(self) -> MessageId:
        """The id to acknowledge."""
        assert self.dispatch.message is not None and self.dispatch.message.message_id is not None
        return self.dispatch.message.message_id


class Arrival(Enum):
    """What becomes of a dispatched message; see the module's docstring."""

    DELIVER = "deliver"
    ADOPTED = "adopted"
    REPEATED = "repeated"


def new_delivery(dispatch: MessageDispatch, epoch: int, subscription: str | None = None) -> Delivery:
    """A delivery for a dispatch that has a message.

    Args:
        dispatch: it.
        epoch: of the connection it came by.
        subscription: the name of the durable subscription, which may have another consumer after a while.
    """
    message, consumer_id = dispatch.message, dispatch.consumer_id
    assert message is not None and message.message_id is not None and consumer_id is not None
    message_id = message.message_id
    identity: Hashable = message_id.text_view or (message_id.producer_id, message_id.producer_sequence_id)
    redeliveries = max(dispatch.redelivery_counter, message.redelivery_counter)
    return Delivery(dispatch, consumer_id, (_place(dispatch, subscription), identity), epoch, redeliveries)


def _place(dispatch: MessageDispatch, subscription: str | None) -> Hashable:
    destination = dispatch.destination
    if subscription is not None:
        return "subscription", subscription
    if isinstance(destination, ActiveMQTopic | ActiveMQTempTopic):
        return dispatch.consumer_id
    return destination


class DeliveryLedger:
    """What the program holds unacknowledged, and what it has acknowledged lately."""

    def __init__(self, audit: AcknowledgementAudit) -> None:
        self.epoch = NO_CONNECTION
        self._audit = audit
        self._held: dict[Key, Delivery] = {}

    def interrupted(self) -> None:
        """The connection was lost."""
        self.epoch = NO_CONNECTION
        self._audit.interrupted()

    def resumed(self, epoch: int) -> None:
        """A new connection dispatches from now on."""
        self.epoch = epoch

    def arrive(self, delivery: Delivery) -> tuple[Arrival, Delivery]:
        """Judge a dispatched message; returns the delivery it belongs to."""
        if self._audit.is_repeat(*delivery.key):
            return Arrival.REPEATED, delivery
        held = self._held.get(delivery.key)
        if held is not None and held.epoch != delivery.epoch:
            held.dispatch = delivery.dispatch
            held.consumer_id = delivery.consumer_id
            held.epoch = delivery.epoch
            held.adopted = True
            return Arrival.ADOPTED, held
        return Arrival.DELIVER, delivery

    def hold(self, delivery: Delivery) -> None:
        """The program has received the message and has not acknowledged it."""
        self._held[delivery.key] = delivery

    def release(self, delivery: Delivery) -> None:
        """The message is not in the program's hands any more, unacknowledged."""
        if self._held.get(delivery.key) is delivery:
            del self._held[delivery.key]

    def acknowledge(self, delivery: Delivery) -> bool:
        """The program is done with the message; returns whether the present connection must be told."""
        self.release(delivery)
        if delivery.epoch != self.epoch:
            self._audit.lost(*delivery.key)
            return False
        self._audit.acknowledged(*delivery.key)
        return True


def acknowledgement(
    deliveries: Sequence[Delivery],
    ack_type: AckType,
    transaction_id: TransactionId | None = None,
    cause: str | None = None,
) -> MessageAck:
    """The command for one delivery, or for a range of one consumer, first to last as dispatched."""
    first, last = deliveries[0], deliveries[-1]
    return MessageAck(
        destination=last.dispatch.destination,
        transaction_id=transaction_id,
        consumer_id=last.consumer_id,
        ack_type=int(ack_type),
        first_message_id=first.message_id,
        last_message_id=last.message_id,
        message_count=len(deliveries),
        poison_cause=Throwable("java.lang.Throwable", cause) if cause is not None else None,
    )


def ranges(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """Split a row of deliveries into ranges that a broker has dispatched one behind the other.

    What was dispatched again after a failover stands alone, since its order is the new broker's.
    """
    found: list[list[Delivery]] = []
    by_consumer: dict[ConsumerId, list[Delivery]] = {}
    for delivery in deliveries:
        if delivery.adopted:
            found.append([delivery])
        elif delivery.consumer_id in by_consumer:
            by_consumer[delivery.consumer_id].append(delivery)
        else:
            by_consumer[delivery.consumer_id] = [delivery]
            found.append(by_consumer[delivery.consumer_id])
    return found
