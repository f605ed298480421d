"""A small index as records: a new epoch that finds little alive carries all of it over.

Its first batch then holds everything that counts, the data files before it can go, and the next takeover
reads nothing else. A large index stays where it is; the log of the lower epochs is sealed and kept.
"""

from collections.abc import Callable, Sequence

from journal.branches import plain
from journal.index import Place
from journal.record import (
    PREPARED,
    SCHEDULED,
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    AnyRecord,
    Memory,
    Record,
    Redelivered,
    Stored,
)
from journal.state import State


def is_small(state: State, adopted: Sequence[AnyRecord], *, messages_max: int, bytes_max: int) -> bool:
    """Whether carrying the index over costs a takeover next to nothing.

    Args:
        state: the index so far.
        adopted: records still to come.
        messages_max: live messages and adopted records; a takeover handles 200 in a millisecond.
        bytes_max: of the records of messages.
    """
    branches = state.branches
    count = sum(map(len, state.places().values()))
    count += len(state.subscriptions) + len(state.notes)
    count += len(branches.prepared) + len(branches.ended) + len(branches.heuristic)
    if count + len(adopted) > messages_max:
        return False
    size = sum(len(record.body) for record in adopted if isinstance(record, Stored))
    return state.live_bytes + state.notes.bytes + size <= bytes_max


def carried(state: State, adopted: Sequence[AnyRecord], read: Callable[[Place], bytes]) -> list[Record]:
    """The records that build the same index in an empty one.

    Args:
        state: the index so far; the adopted records are applied to it.
        adopted: records still to come.
        read: gives the body of a message in the state by its place.

    Raises:
        MessageDamaged: one cannot be read; the state is as it was.
    """
    held: dict[tuple[str, int], bytes] = {}
    for name, messages in state.places().items():
        held.update(((plain(name), ref), read(place)) for ref, place in messages.entries_after(-1))
    for record in adopted:
        state.apply(record, 0, 1)
        if isinstance(record, AddMessage | AddScheduled):
            held[plain(record.destination), record.ref] = record.body
    branches = state.branches
    records: list[Record] = [Memory(state.next_ref, state.producers.known())]
    records += [AddDestination(name) for name in (*state.queues, *state.topics)]
    records += [
        AddSubscription(
            each.client_id,
            each.name,
            each.destination,
            each.selector,
            each.no_local,
            each.shared,
            each.away_since_ms,
        )
        for each in state.subscriptions.values()
    ]
    records += [
        AddMessage(
            ref, name, "", 0, held[name, ref], state.priority_of(ref, name), state.expiration_of(ref, name)
        )
        for name, messages in state.queues.items()
        for ref in messages
    ]
    records += [
        AddMessage(ref, name, "", 0, held[name, ref])
        for name, messages in branches.locked.items()
        for ref in messages
    ]
    published = [(ref, name) for name, messages in state.topics.items() for ref in messages]
    records += [  # in the order sent: a durable subscription to a wildcard receives from several topics
        AddMessage(
            ref, name, "", 0, held[name, ref], state.priority_of(ref, name), state.expiration_of(ref, name)
        )
        for ref, name in sorted(published)
    ]
    records += [
        AddScheduled(ref, "", 0, held[SCHEDULED, ref], *state.due(ref) or (0, 0)) for ref in state.scheduled
    ]
    locked = {
        (*key, each.ref)
        for branch in branches.prepared.values()
        for key, held_by in branch.acknowledged.items()
        for each in held_by
    }
    for each in state.subscriptions.values():
        records += [
            AcknowledgeSubscription(each.client_id, each.name, ref)
            for topic in state.topics_of(each)
            for ref in state.topics[topic]
            if ref not in each.pending and (each.client_id, each.name, ref) not in locked
        ]
    records += [
        AddMessage(ref, PREPARED + name, "", 0, held[name, ref])
        for name, messages in branches.sent.items()
        for ref in messages
    ]
    records += _redelivered(state)
    records += state.notes.records()
    return [*records, *branches.prepared.values(), *branches.outcomes()]


def _redelivered(state: State) -> list[Record]:
    """Which messages were delivered before."""
    records: list[Record] = [
        Redelivered(ref, name, place.length, place.location)
        for name, redelivered in state.redelivered.items()
        for ref, place in redelivered.entries_after(-1)
    ]
    for each in state.subscriptions.values():
        records += [
            Redelivered(ref, each.destination, place.length, place.location, each.client_id, each.name)
            for ref, place in each.redelivered.entries_after(-1)
        ]
    return records
