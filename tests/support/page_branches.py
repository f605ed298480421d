"""Prepared branches, for the reader that was written from the page alone."""

import json
import struct
from typing import Any

from support.page_state import Branch, Entry, PageState


def branch_of(work: str | bytes) -> Branch:
    """What a prepared branch did, from JSON."""
    fields = json.loads(work)
    acknowledged = {(client_id, name): entries for client_id, name, entries in fields["acknowledged"]}
    return Branch(fields["sent"], fields["consumed"], acknowledged)


def branch_in(record: bytes, length: int) -> tuple[str, Branch]:
    """A record of type 32."""
    xid = record[12 : 12 + length].decode("utf-8", "surrogatepass")
    at = 12 + length
    for _ in range(2):
        (size,) = struct.unpack_from("<H", record, at)
        at += 2 + size
    _, size = struct.unpack_from("<QI", record, at)
    return xid, branch_of(record[at + 12 : at + 12 + size])


def take(places: dict[str, dict[int, Entry]], destination: str, ref: int) -> Entry | None:
    """Take a message out; an empty place goes."""
    messages = places.get(destination, {})
    entry = messages.pop(ref, None)
    if not messages:
        places.pop(destination, None)
    return entry


def load_branch(state: PageState, xid: str, prepared: int, fields: list[Any]) -> None:
    """A section `b` of a checkpoint."""
    if prepared:
        state.branches[xid] = branch_of(fields[3])
    else:
        note(state, xid, *fields)


def replace(state: PageState, ref: int, destination: str, entry: Entry) -> bool:
    """The location of a message changes, wherever it is; False if it is nowhere."""
    for places in (state.queues, state.topics, state.sent, state.locked):
        if ref in places.get(destination, {}):
            places[destination][ref] = entry
            return True
    return False


def add_sent(state: PageState, ref: int, destination: str, entry: Entry) -> None:
    """Types 1 and 49 with `prepared:` before the destination."""
    if not replace(state, ref, destination, entry):
        state.sent.setdefault(destination, {})[ref] = entry


def prepare(state: PageState, xid: str, branch: Branch) -> None:
    """Type 32."""
    if xid in state.branches:
        return
    for queue, entries in branch.consumed.items():
        for ref, *_ in entries:
            if ref in state.queues.get(queue, {}):
                state.locked.setdefault(queue, {})[ref] = state.queues[queue].pop(ref)
                state.expirations.pop((queue, ref), None)
                state.redelivered.pop((queue, ref), None)
    for key, entries in list(branch.acknowledged.items()):
        subscription = state.subscriptions.get(key)
        pending = set() if subscription is None else subscription.pending
        branch.acknowledged[key] = [held for held in entries if held[0] in pending]
        for ref, *_ in entries:
            pending.discard(ref)
            if subscription is not None:
                subscription.redelivered.pop(ref, None)
    state.branches[xid] = branch


def note(state: PageState, xid: str, committed: bool, heuristic: bool) -> None:
    """An outcome."""
    state.heuristic.pop(xid, None)
    state.ended.pop(xid, None)
    (state.heuristic if heuristic else state.ended)[xid] = committed
