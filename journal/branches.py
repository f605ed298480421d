"""Prepared branches of distributed transactions: what they sent and took, until their outcome is known.

::

    a message was sent in a branch        prepare           commit: into its queue or topic
      added as `prepared:<destination>` ──▶ sent ─────────▶ roll back: gone

    a message was acknowledged in one     prepare           commit: gone
      in its queue ─────────────────────▶ locked ─────────▶ roll back: back into its queue, where it was

A message keeps its number and its record on the way. So does one that was acknowledged by a durable
subscription: it is pending for it no more, and stays with its topic until the outcome.

The outcome of a branch is remembered for a while, since its transaction manager may ask again after a
takeover; one that an administrator decided is remembered until the manager has been told and forgets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from journal.index import MessageIndex, Place
from journal.record import (
    PREPARED,
    SCHEDULED,
    CommitBranch,
    Held,
    PrepareBranch,
    Redelivered,
    RemoveMessage,
    RollBackBranch,
)

if TYPE_CHECKING:
    from journal.state import State

ENDED_MAX: Final = 500
"""Branches whose outcome is remembered: a manager asks again within seconds after a takeover, and has as many
branches open at a time as it has threads."""


LOCKED: Final = "locked:"
"""Stands before the queue in the name of an index of locked messages; never in a record that adds one."""


class Branches:
    """The branches of a store. Read it freely; only `State.apply` changes it.

    Attributes:
        prepared: by xid, in the order of preparation.
        sent: by destination, the messages that they sent.
        locked: by queue, the messages that they acknowledged.
        heuristic: by xid, whether an administrator committed it (or rolled it back).
        ended: by xid, whether it was committed (or rolled back); the last ones.
    """

    __slots__ = ("ended", "heuristic", "locked", "prepared", "sent")

    def __init__(self) -> None:
        self.prepared: dict[str, PrepareBranch] = {}
        self.sent: dict[str, MessageIndex] = {}
        self.locked: dict[str, MessageIndex] = {}
        self.heuristic: dict[str, bool] = {}
        self.ended: dict[str, bool] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to know."""
        return bool(self.prepared or self.sent or self.heuristic or self.ended)

    def indexes(self) -> Iterator[tuple[str, MessageIndex]]:
        """The messages that wait for an outcome, by destination with `PREPARED` or `LOCKED` before it."""
        yield from ((PREPARED + name, messages) for name, messages in self.sent.items())
        yield from ((LOCKED + name, messages) for name, messages in self.locked.items())

    def messages(self, name: str) -> MessageIndex | None:
        """One of `indexes`; None if there is none of that name."""
        if name.startswith(PREPARED):
            return self.sent.get(name.removeprefix(PREPARED))
        return self.locked.get(name.removeprefix(LOCKED)) if name.startswith(LOCKED) else None

    def take(self, name: str, ref: int) -> Place | None:
        """Takes a message out of one of `indexes`, which goes if it is empty; None if it is not there."""
        messages = self.messages(name)
        place = None if messages is None else messages.remove(ref)
        if messages is not None and not messages:
            (self.sent if name.startswith(PREPARED) else self.locked).pop(plain(name))
        return place

    def note(self, xid: str, *, committed: bool, heuristic: bool) -> None:
        """A branch has an outcome."""
        self.heuristic.pop(xid, None)
        self.ended.pop(xid, None)
        if heuristic:
            self.heuristic[xid] = committed
            return
        self.ended[xid] = committed
        while len(self.ended) > ENDED_MAX:
            del self.ended[next(iter(self.ended))]

    def outcomes(self) -> list[CommitBranch | RollBackBranch]:
        """The records that tell the outcomes again."""
        known = [(xid, committed, True) for xid, committed in self.heuristic.items()]
        known += [(xid, committed, False) for xid, committed in self.ended.items()]
        return [
            (CommitBranch if committed else RollBackBranch)(xid, heuristic)
            for xid, committed, heuristic in known
        ]


def plain(name: str) -> str:
    """The destination in the name of an index, or in a record."""
    return name.removeprefix(PREPARED).removeprefix(LOCKED)


def written_as(name: str) -> str:
    """The destination in the record of a message, by the name of the index that has it."""
    return name.removeprefix(LOCKED)


def names_of(name: str) -> tuple[str, str, str]:
    """The indexes that may have a message of the same destination."""
    destination = plain(name)
    return destination, PREPARED + destination, LOCKED + destination


def prepare(state: State, record: PrepareBranch, _location: int, _length: int) -> None:
    """Locks what the branch acknowledged; what it sent was added before."""
    branches = state.branches
    if record.xid in branches.prepared:
        return
    for queue, entries in record.consumed.items():
        for held in entries:
            _lock(state, queue, held.ref)
    acknowledged: dict[tuple[str, str], list[Held]] = {}
    for key, entries in record.acknowledged.items():
        subscription = state.subscriptions.get(key)
        if subscription is not None:
            acknowledged[key] = [
                held for held in entries if subscription.pending.remove(held.ref) is not None
            ]
            for held in entries:
                subscription.redelivered.remove(held.ref)
    branches.prepared[record.xid] = replace(record, acknowledged=acknowledged)


def _lock(state: State, queue: str, ref: int) -> None:
    """A message leaves its queue, and its record still counts."""
    messages = state.queues.get(queue)
    place = None if messages is None else messages.place(ref)
    if place is not None:
        state.apply(RemoveMessage(ref, queue), 0, 0)
        state.use(*place)
        state.branches.locked.setdefault(queue, MessageIndex()).add(ref, *place)


def commit(state: State, record: CommitBranch, _location: int, _length: int) -> None:
    """What the branch sent is where it was sent to; what it acknowledged is gone."""
    branch = state.branches.prepared.pop(record.xid, None)
    state.branches.note(record.xid, committed=True, heuristic=record.heuristic)
    if branch is None:
        return
    for destination, entries in branch.sent.items():
        for held in entries:
            if destination == SCHEDULED:  # the branch's commit schedules it anew
                _drop(state, PREPARED + destination, held.ref)
            else:
                _put(state, PREPARED + destination, held)
    for queue, entries in branch.consumed.items():
        for held in entries:
            _drop(state, LOCKED + queue, held.ref)
    for entries in branch.acknowledged.values():
        for held in entries:
            state.release(held.ref)


def roll_back(state: State, record: RollBackBranch, _location: int, _length: int) -> None:
    """What the branch sent is gone; what it acknowledged waits again."""
    branch = state.branches.prepared.pop(record.xid, None)
    state.branches.note(record.xid, committed=False, heuristic=record.heuristic)
    if branch is None:
        return
    for destination, entries in branch.sent.items():
        for held in entries:
            _drop(state, PREPARED + destination, held.ref)
    for queue, entries in branch.consumed.items():
        for held in entries:
            _put(state, LOCKED + queue, held)
            if held.counter:
                state.apply(Redelivered(held.ref, queue, held.counter), 0, 0)
    for (client_id, name), entries in branch.acknowledged.items():
        subscription = state.subscriptions.get((client_id, name))
        for held in entries:
            if subscription is not None and held.ref in state.waiting_index:
                subscription.pending.add(held.ref, 0, 1)
                if held.counter:
                    state.apply(
                        Redelivered(held.ref, subscription.destination, held.counter, 0, client_id, name),
                        0,
                        0,
                    )


def _put(state: State, name: str, held: Held) -> None:
    """A message comes out of one of the indexes into its queue or topic."""
    place = state.branches.take(name, held.ref)
    if place is not None:
        state.unuse(place)
        state.add_message(held.ref, plain(name), "", 0, *place, held.priority, held.expiration)


def _drop(state: State, name: str, ref: int) -> None:
    """A message that one of the indexes has is live no more."""
    place = state.branches.take(name, ref)
    if place is not None:
        state.unuse(place)


def add(state: State, ref: int, destination: str, location: int, length: int) -> None:
    """A message whose record has `PREPARED` before its destination."""
    found = state.holder(ref, destination)
    if found is None:
        state.branches.sent.setdefault(plain(destination), MessageIndex()).add(ref, location, length)
        state.use(location, length)
    else:
        state.move(found[1], ref, location, length)


def drop_subscription(state: State, key: tuple[str, str]) -> None:
    """A durable subscription is gone: what branches acknowledged for it is not to come back."""
    prepared = state.branches.prepared
    for xid, branch in list(prepared.items()):
        if key in branch.acknowledged:
            for held in branch.acknowledged[key]:
                state.release(held.ref)
            others = {each: refs for each, refs in branch.acknowledged.items() if each != key}
            prepared[xid] = replace(branch, acknowledged=others)


def drop_queue(state: State, queue: str) -> None:
    """A queue is gone, with what branches have acknowledged in it."""
    for _, place in state.branches.locked.pop(queue, MessageIndex()).entries_after(-1):
        state.unuse(place)
