"""What a consumer says of messages by their numbers, in any order, as AMQP's clients do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from broker.region.consumer import AckKind

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry


def acknowledge(connection: RegionConnection, key: Hashable, refs: Sequence[int]) -> int:
    """These are consumed, in one append; returns the batch that says so.

    What is not dispatched to the consumer, or what a transaction holds, is passed over.
    """
    consumer, entries = _entries(connection, key, refs)
    if consumer is None or not entries:
        return 0
    consumer.forget(entries)
    if not consumer.ready:
        consumer.source.consumer_opened(consumer)
    return connection.region.finish(consumer.source, entries)


def release(connection: RegionConnection, key: Hashable, refs: Sequence[int], *, counted: bool) -> None:
    """These are not taken: they wait again, where they were, for any consumer.

    Args:
        connection: the consumer's.
        key: the consumer's.
        refs: passed over are those that are not dispatched to it, or that a transaction holds.
        counted: their delivery has failed.
    """
    consumer, entries = _entries(connection, key, refs)
    if consumer is None or not entries:
        return
    consumer.forget(entries)
    consumer.acknowledged_count -= len(entries)
    if counted:
        for entry in entries:
            entry.redelivery_counter += 1
        connection.region.redelivery.note(consumer, entries)
    consumer.source.give_back(entries)
    consumer.source.consumer_opened(consumer)


def give_up(connection: RegionConnection, key: Hashable, ref: int, cause: str) -> int:
    """This one is wanted by nobody like the consumer: it becomes a dead letter, or is delivered again later.

    Returns:
        The batch that says so.
    """
    return connection.acknowledge(key, AckKind.POISON, ref, ref, cause=cause)


def _entries(
    connection: RegionConnection, key: Hashable, refs: Sequence[int]
) -> tuple[Consumer | None, list[Entry]]:
    consumer = connection.consumers.get(key)
    if consumer is None:
        return None, []
    dispatched = consumer.dispatched
    found = [dispatched[ref] for ref in refs if ref in dispatched]
    return consumer, [entry for entry in found if entry.transaction is None]
