"""What a store holds, as the reader that was written from the page alone sees it."""

import struct
from dataclasses import dataclass, field

Entry = tuple[int, int]
"""Location and length of a record."""


@dataclass
class Branch:
    """A prepared branch; of each message number, priority, expiration, and how often it was delivered."""

    sent: dict[str, list[list[int]]]
    consumed: dict[str, list[list[int]]]
    acknowledged: dict[tuple[str, str], list[list[int]]]


@dataclass
class Subscription:
    """A durable subscription."""

    destination: str
    selector: str
    no_local: bool
    shared: bool
    away_since_ms: int
    pending: set[int] = field(default_factory=set)
    redelivered: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass
class PageState:
    """The state of a store; of each message its location and the length of its record."""

    queues: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    topics: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    priorities: dict[tuple[str, int], int] = field(default_factory=dict)  # of messages of queues, if not 4
    expirations: dict[tuple[str, int], int] = field(default_factory=dict)
    redelivered: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)  # not before, count
    subscriptions: dict[tuple[str, str], Subscription] = field(default_factory=dict)
    scheduled: dict[int, tuple[int, int]] = field(default_factory=dict)
    due_times: dict[int, tuple[int, int]] = field(default_factory=dict)  # when, and how often again
    producers: dict[str, int] = field(default_factory=dict)
    sent: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    locked: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    branches: dict[str, Branch] = field(default_factory=dict)
    heuristic: dict[str, bool] = field(default_factory=dict)
    ended: dict[str, bool] = field(default_factory=dict)
    notes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    next_ref: int = 1
    named: list[tuple[int, int]] = field(default_factory=list)  # checkpoints, by records of the log
    damaged: bool = False


def matches(pattern: str, topic: str) -> bool:
    """Whether a durable subscription's destination matches a topic."""
    if pattern == topic:
        return True
    if not pattern.startswith("topic://"):
        return False
    names = topic.removeprefix("topic://").split(".")
    return any(agrees(name.split("."), names) for name in pattern.removeprefix("topic://").split(","))


def agrees(wanted: list[str], names: list[str]) -> bool:
    """Whether a topic's name agrees with one of those of a durable subscription."""
    for i, each in enumerate(wanted):
        if each == ">":
            return True
        if i >= len(names) or each not in {"*", names[i]}:
            return False
    return len(wanted) == len(names)


def keep_note(state: PageState, record: bytes, length: int) -> None:
    """Type 11."""
    owner = record[12 : 12 + length].decode("utf-8", "surrogatepass")
    at = 12 + length
    (size,) = struct.unpack_from("<H", record, at)
    key = record[at + 2 : at + 2 + size].decode("utf-8", "surrogatepass")
    at += 2 + size
    (size,) = struct.unpack_from("<I", record, at)
    value = record[at + 4 : at + 4 + size]
    notes = state.notes.pop(owner, {})
    if key:
        notes.pop(key, None)
        if value:
            notes[key] = value
        if notes:
            state.notes[owner] = notes
