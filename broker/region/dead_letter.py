"""Where messages go that nobody could process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.destination import Destination
from broker.region.queue import Queue

if TYPE_CHECKING:
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry
    from journal.record import Record

DEAD_LETTER_QUEUE: Final = Destination.queue("ActiveMQ.DLQ")
"""Where poison messages go. Source: ActiveMQ's shared dead letter strategy."""


def bury(consumer: Consumer, entries: list[Entry]) -> int:
    """Move poison messages to the dead letter queue; non-persistent ones are dropped.

    Source: ActiveMQ, `SharedDeadLetterStrategy` with `processNonPersistent=false`.
    """
    region = consumer.connection.region
    entries = [entry for entry in entries if entry.transaction is None]
    consumer.forget(entries)
    consumer.source.consumer_opened(consumer)
    dead = [consumer.source.message_of(entry) for entry in entries if entry.stored]
    records: list[Record] = []
    consumer.source.consumed(entries, records)
    queue = region.target(DEAD_LETTER_QUEUE)
    assert isinstance(queue, Queue)
    moved = [
        replace(
            message,
            destination=DEAD_LETTER_QUEUE,
            expiration=0,
            producer_id="",
            wire=None,
            wire_format="",
            native=None,
        )
        for message in dead
        if message is not None
    ]
    ref = region.next_ref
    records = [queue.record(message, ref + index) for index, message in enumerate(moved)] + records
    batch = region.append(records) if records else 0
    for index, message in enumerate(moved):
        queue.accept(message, ref + index, batch, True)
    return batch
