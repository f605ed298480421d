"""What becomes of dispatched messages, and the audit of acknowledgements."""

import pytest

from broker.openwire.commands import (
    ActiveMQQueue,
    ActiveMQTextMessage,
    ActiveMQTopic,
    ConsumerId,
    MessageDispatch,
    MessageId,
    ProducerId,
)
from broker.openwire.constants import AckType
from mqclient.audit import AcknowledgementAudit
from mqclient.delivery import Arrival, Delivery, DeliveryLedger, acknowledgement, new_delivery, ranges

PRODUCER = ProducerId(connection_id="ID:p", session_id=1, value=1)


def dispatched(
    ledger: DeliveryLedger,
    number: int,
    *,
    consumer: int = 1,
    topic: bool = False,
    subscription: str | None = None,
) -> Delivery:
    """Message ``number``, dispatched to a consumer now; the broker's own number differs each time."""
    destination = ActiveMQTopic(physical_name="x") if topic else ActiveMQQueue(physical_name="x")
    message_id = MessageId(
        producer_id=PRODUCER, producer_sequence_id=number, broker_sequence_id=ledger.epoch * 100 + number
    )
    dispatch = MessageDispatch(
        consumer_id=ConsumerId(connection_id="ID:c", session_id=1, value=consumer),
        destination=destination,
        message=ActiveMQTextMessage(message_id=message_id, destination=destination),
    )
    return new_delivery(dispatch, ledger.epoch, subscription)


@pytest.fixture
def ledger() -> DeliveryLedger:
    """A ledger on its first connection."""
    made = DeliveryLedger(AcknowledgementAudit())
    made.resumed(1)
    return made


def fail_over(ledger: DeliveryLedger) -> None:
    """Lose the connection and get another one."""
    epoch = ledger.epoch
    ledger.interrupted()
    ledger.resumed(epoch + 1)


def test_a_new_message_is_delivered(ledger: DeliveryLedger) -> None:
    """The ordinary case."""
    delivery = dispatched(ledger, 1)
    assert ledger.arrive(delivery) == (Arrival.DELIVER, delivery)


def test_an_acknowledged_message_is_not_delivered_again_after_a_failover(ledger: DeliveryLedger) -> None:
    """A lost acknowledgement is repeated, whichever consumer gets the message."""
    assert ledger.acknowledge(dispatched(ledger, 1))
    fail_over(ledger)
    assert ledger.arrive(dispatched(ledger, 1, consumer=2))[0] is Arrival.REPEATED
    fail_over(ledger)
    assert ledger.arrive(dispatched(ledger, 1))[0] is Arrival.REPEATED


def test_without_a_failover_nothing_is_suppressed(ledger: DeliveryLedger) -> None:
    """A message that somebody puts back into its queue is delivered again."""
    ledger.acknowledge(dispatched(ledger, 1))
    assert ledger.arrive(dispatched(ledger, 1))[0] is Arrival.DELIVER


def test_a_message_acknowledged_during_the_outage_is_suppressed(ledger: DeliveryLedger) -> None:
    """There is nobody to tell, so the next broker is told when it dispatches the message."""
    delivery = dispatched(ledger, 1)
    ledger.hold(delivery)
    ledger.interrupted()
    assert not ledger.acknowledge(delivery)
    ledger.resumed(2)
    assert ledger.arrive(dispatched(ledger, 1))[0] is Arrival.REPEATED


def test_topics_are_judged_for_each_consumer(ledger: DeliveryLedger) -> None:
    """Each subscriber has its own copy: what one acknowledged, another still gets."""
    ledger.acknowledge(dispatched(ledger, 1, consumer=1, topic=True))
    fail_over(ledger)
    assert ledger.arrive(dispatched(ledger, 1, consumer=2, topic=True))[0] is Arrival.DELIVER
    assert ledger.arrive(dispatched(ledger, 1, consumer=1, topic=True))[0] is Arrival.REPEATED


def test_a_held_message_is_adopted(ledger: DeliveryLedger) -> None:
    """What the program holds is not given to it twice, and its acknowledgement goes to the new broker."""
    held = dispatched(ledger, 1)
    ledger.hold(held)
    fail_over(ledger)
    again = dispatched(ledger, 1, consumer=2)
    assert ledger.arrive(again) == (Arrival.ADOPTED, held)
    assert ledger.acknowledge(held)
    ack = acknowledgement([held], AckType.STANDARD)
    assert ack.consumer_id == again.consumer_id
    assert ack.last_message_id == again.message_id


def test_a_released_message_is_delivered_again(ledger: DeliveryLedger) -> None:
    """After a rollback the program wants it."""
    held = dispatched(ledger, 1)
    ledger.hold(held)
    ledger.release(held)
    fail_over(ledger)
    assert ledger.arrive(dispatched(ledger, 1))[0] is Arrival.DELIVER


def test_ranges_cover_what_one_consumer_was_dispatched(ledger: DeliveryLedger) -> None:
    """One acknowledgement for each consumer; what was dispatched again stands alone."""
    ones = [dispatched(ledger, number, consumer=1) for number in (1, 2)]
    two = dispatched(ledger, 3, consumer=2)
    adopted = dispatched(ledger, 4, consumer=1)
    adopted.adopted = True
    assert ranges([ones[0], two, adopted, ones[1]]) == [ones, [two], [adopted]]
    ack = acknowledgement(ones, AckType.STANDARD)
    assert (ack.first_message_id, ack.last_message_id) == (ones[0].message_id, ones[1].message_id)
    assert ack.message_count == 2


def test_the_next_consumer_of_a_durable_subscription_gets_nothing_twice(ledger: DeliveryLedger) -> None:
    """P3: an acknowledgement is lost, and meanwhile the program has opened the subscription again."""
    delivery = dispatched(ledger, 1, topic=True, subscription="news")
    ledger.hold(delivery)
    assert ledger.acknowledge(delivery)
    ledger.interrupted()
    ledger.resumed(2)
    again = dispatched(ledger, 1, consumer=2, topic=True, subscription="news")
    assert ledger.arrive(again)[0] is Arrival.REPEATED
    other = dispatched(ledger, 1, consumer=3, topic=True, subscription="other")
    assert ledger.arrive(other)[0] is Arrival.DELIVER


def test_the_audit_forgets_the_oldest() -> None:
    """Its memory is bounded."""
    audit = AcknowledgementAudit(messages_max=2)
    for number in range(3):
        audit.acknowledged("queue", number)
    audit.interrupted()
    assert [audit.is_repeat("queue", number) for number in range(3)] == [False, True, True]


def test_the_audit_asks_for_the_place() -> None:
    """The same message in another queue is another matter."""
    audit = AcknowledgementAudit()
    audit.lost("queue", 1)
    assert not audit.is_repeat("copy", 1)
    assert audit.is_repeat("queue", 1)
