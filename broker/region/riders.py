"""Records that have to be durable with a message: they ride in the append that stores or removes it.

A protocol that answers for exactly one delivery notes what it has received in the batch of the message: a
crash finds both or none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from journal.record import AcknowledgeSubscription, AddMessage, AddScheduled, Record, RemoveMessage

if TYPE_CHECKING:
    from broker.region.region import Region

_CARRIERS: Final = frozenset({AddMessage, AddScheduled, AcknowledgeSubscription, RemoveMessage})


def with_riders(region: Region, records: Sequence[Record]) -> Sequence[Record]:
    """The records of an append, with those that wait for it."""
    if not any(type(record) in _CARRIERS for record in records):
        return records  # a destination that is made on the way
    riders, region.riders = region.riders, []
    return [*riders, *records]


def in_one_append(region: Region, records: Sequence[Record], act: Callable[[], int]) -> int:
    """Do something together with records; returns the batch of both.

    Args:
        region: where.
        records: appended in any case, if `act` does not raise.
        act: sends or acknowledges a message, and returns the batch to wait for.
    """
    outer, region.riders = region.riders, [*region.riders, *records]
    try:
        batch = act()
    except BaseException:
        region.riders = outer
        raise
    riders, region.riders = region.riders, []
    return region.append(riders) if riders else batch
