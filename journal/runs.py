"""Records that come many at a time: what a transaction sent, what it acknowledged.

A run is of messages of one producer with consecutive numbers that come into one queue, or of consecutive
messages that leave it, while nothing but the queue's index has to know. It is applied as a whole, with the
same outcome as one after the other, which a property test holds it to. Measured for runs of a hundred: 0.25
instead of 0.64 µs for a message that comes, 0.34 instead of 1.9 µs for one that leaves.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from journal.index import Place
from journal.record import FILE_SHIFT, NORMAL_PRIORITY, AddMessage, AnyRecord, RemoveMessage
from journal.state import State

RUN_MIN: Final = 4
"""Shorter runs are not worth it."""


def apply_all(state: State, records: Sequence[AnyRecord], lengths: Sequence[int], location: int) -> None:
    """Takes records into account that stand one behind the other.

    Args:
        state: to be changed.
        records: any.
        lengths: of each, in bytes.
        location: where the first stands, packed.
    """
    apply = state.apply
    at, count = 0, len(records)
    while at < count:
        kind, end = type(records[at]), at
        if count - at >= RUN_MIN and state.takes_runs and not state.ranks:
            if kind is AddMessage:
                end = _add(state, records, lengths, at, location)
            elif kind is RemoveMessage:
                end = _remove(state, records, at)
        if end == at:
            apply(records[at], location, lengths[at])
            end = at + 1
        location += sum(lengths[at:end])
        at = end


def _add(state: State, records: Sequence[AnyRecord], lengths: Sequence[int], at: int, location: int) -> int:
    """Applies the run of messages that come which begins at a place, if it is one; gives where it ends."""
    first = records[at]
    assert isinstance(first, AddMessage)
    messages = state.queues.get(first.destination)
    if messages is None:
        return at
    ref, queue, producer_id = first.ref, first.destination, first.producer_id
    sequence = first.producer_sequence_id - 1
    end = at
    while end < len(records):
        record = records[end]
        if (
            type(record) is not AddMessage
            or record.ref != ref
            or record.destination != queue
            or record.producer_id != producer_id
            or record.producer_sequence_id <= sequence
            or record.priority != NORMAL_PRIORITY
            or record.expiration
        ):
            break
        sequence = record.producer_sequence_id
        ref += 1
        end += 1
    if end - at < RUN_MIN:
        return at
    run = lengths[at:end]
    places = list(accumulate(run, initial=location))
    behind = places.pop()
    file = location >> FILE_SHIFT
    if file != behind >> FILE_SHIFT or not messages.extend(first.ref, places, run):
        return at
    state.next_ref = max(state.next_ref, ref)
    if producer_id:
        state.producers.record(producer_id, sequence)
    state.use(location, behind - location)
    return end


def _remove(state: State, records: Sequence[AnyRecord], at: int) -> int:
    """Likewise of messages that leave."""
    first = records[at]
    assert isinstance(first, RemoveMessage)
    messages = state.queues.get(first.destination)
    if messages is None or state.expiring or state.redelivered:
        return at
    ref, queue = first.ref, first.destination
    end = at
    while end < len(records):
        record = records[end]
        if type(record) is not RemoveMessage or record.ref != ref or record.destination != queue:
            break
        ref += 1
        end += 1
    if end - at < RUN_MIN:
        return at
    locations, lengths = messages.take(first.ref, end - at)
    if locations and min(locations) >> FILE_SHIFT == max(locations) >> FILE_SHIFT:
        state.unuse(Place(locations[0], sum(lengths)))
    else:
        for location, length in zip(locations, lengths, strict=True):
            state.unuse(Place(location, length))
    return at + len(lengths)
