"""A message waiting in a queue or for a subscriber, and the order of those that wait."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from journal.index import Backlog, MessageIndex

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.transaction import Transaction

_by_ref: Final = attrgetter("ref")


class Entry:
    """One message's stay in one place.

    Attributes:
        ref: the store-wide number of the message; order of refs is order of sends.
        message: None while only the journal holds it.
        batch: may be dispatched once this batch is durable; 0 at once.
        stored: the journal holds it and must hear of its end.
        redelivery_counter: deliveries that ended without acknowledgement.
        delivered: the consumer said it has handed it to the application; it then does not fill the prefetch.
        transaction: the open transaction that acknowledged it.
        done: consumed or expired; a browser passes over it.
        priority: by which it waits.
    """

    __slots__ = (
        "batch",
        "delivered",
        "done",
        "message",
        "priority",
        "redelivery_counter",
        "ref",
        "stored",
        "transaction",
    )

    def __init__(self, ref: int, message: Message | None, batch: int, stored: bool) -> None:
        self.ref = ref
        self.message = message
        self.batch = batch
        self.stored = stored
        self.redelivery_counter: int = 0
        self.delivered = False
        self.transaction: Transaction | None = None
        self.done = False
        self.priority = 4  # the normal one

    def is_untouched(self, durable_batch: int) -> bool:
        """Whether the journal's index says all there is to say of it."""
        return self.stored and self.batch <= durable_batch and not self.redelivery_counter

    def __repr__(self) -> str:
        return f"Entry({self.ref}, batch={self.batch}, redelivered={self.redelivery_counter})"


class Pending:
    """Entries that wait, oldest first.

    Three parts, each older than the next: `front` (given back by consumers, or loaded), `backlog` (what is in
    the journal and has not been touched; it costs nothing here, however much it is) and `tail` (sent since).
    Messages that are not persistent and stand among those of the backlog are `strays`.

    Args:
        backlog: what the journal holds.
        index: finds the journal's index of this place, for what is left to it later.
        forget: told of each entry that is left to it.
    """

    __slots__ = ("_forget", "_index", "backlog", "front", "strays", "tail")

    def __init__(
        self,
        backlog: Backlog | None = None,
        index: Callable[[], MessageIndex | None] | None = None,
        forget: Callable[[Entry], None] | None = None,
    ) -> None:
        self._index = index
        self._forget = forget
        self.front: deque[Entry] = deque()
        self.backlog = Backlog(MessageIndex()) if backlog is None else backlog
        self.strays: deque[Entry] = deque()
        self.tail: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self.front) + len(self.backlog) + len(self.strays) + len(self.tail)

    def __iter__(self) -> Iterator[Entry]:
        """Every entry in order; the untouched ones are made for the occasion."""
        yield from self.front
        untouched = (Entry(ref, None, 0, True) for ref in self.backlog)
        yield from heapq.merge(untouched, self.strays, key=_by_ref)
        yield from self.tail

    def append(self, entry: Entry, resident_max: int, durable_batch: int) -> None:
        """Add the youngest; if many wait, those in the middle are left to the journal's index.

        The first and the last to be dispatched keep their messages, at most `resident_max` each; what lies
        between takes no memory here.
        """
        tail = self.tail
        tail.append(entry)
        if len(tail) < 2 * resident_max:
            return
        if not self.front and not self.backlog and not self.strays:
            self.front.extend(tail.popleft() for _ in range(resident_max))
            return
        if not self.backlog:
            index = None if self._index is None else self._index()
            if index is None:
                return
            self.backlog.follow(index)
        while len(tail) > resident_max // 2 and tail[0].batch <= durable_batch:
            entry = tail.popleft()
            if not entry.stored:
                self.strays.append(entry)
                continue
            if entry.message is not None and self._forget is not None:
                self._forget(entry)
            self.backlog.append(entry.ref)

    @property
    def at_hand(self) -> int:
        """How many are more than a number in the journal's index."""
        return len(self.front) + len(self.strays) + len(self.tail)

    def firsts(self) -> list[int]:
        """Numbers, the lowest of those at hand among them."""
        return [part[0].ref for part in (self.front, self.strays, self.tail) if part]

    def entries(self) -> Iterator[Entry]:
        """Those that are more than a number in the journal's index, in order."""
        yield from self.front
        yield from self.strays
        yield from self.tail

    def page(self, after_ref: int, last_ref: int, count: int) -> list[Entry]:
        """The oldest entries with numbers above one, up to another; at most so many."""
        untouched = (Entry(ref, None, 0, True) for ref in self.backlog.after(after_ref))
        known = [
            (entry for entry in part if entry.ref > after_ref)
            for part in (self.front, self.strays, self.tail)
        ]
        merged = heapq.merge(untouched, *known, key=_by_ref)
        return list(itertools.takewhile(lambda entry: entry.ref <= last_ref, itertools.islice(merged, count)))

    def among(self, refs: Collection[int]) -> list[Entry]:
        """The entries of these numbers that wait."""
        wanted = set(refs)
        found = [entry for entry in self.entries() if entry.ref in wanted]
        wanted.difference_update(entry.ref for entry in found)
        return found + [Entry(ref, None, 0, True) for ref in sorted(wanted) if self.backlog.has(ref)]

    def withdraw(self, entries: Sequence[Entry]) -> None:
        """Take entries of a page out; the journal must lose those it has in the next append."""
        wanted = {entry.ref for entry in entries}
        last = max(wanted, default=0)
        for part in (self.front, self.strays, self.tail):
            kept = []
            while part and part[0].ref <= last:
                entry = part.popleft()
                if entry.ref in wanted:
                    wanted.discard(entry.ref)
                else:
                    kept.append(entry)
            part.extendleft(reversed(kept))
        for ref in wanted:
            self.backlog.remove(ref)

    def head(self) -> deque[Entry]:
        """The deque whose left end is the oldest entry; empty if nothing waits."""
        front = self.front
        if not front:
            strays = self.strays
            if self.backlog:
                ref = self.backlog.popleft()
                while strays and strays[0].ref < ref:
                    front.append(strays.popleft())
                front.append(Entry(ref, None, 0, True))
            elif strays:
                self.front, self.strays = strays, front
            else:
                return self.tail
        return self.front

    def insert(self, entry: Entry) -> None:
        """Put an entry that has never waited here where it belongs by its number.

        Among those that are only numbers it becomes one of them, as soon as the journal's index has it.
        """
        tail = self.tail
        if tail and entry.ref > tail[0].ref:
            at = len(tail)
            while tail[at - 1].ref > entry.ref:
                at -= 1
            tail.insert(at, entry)
        elif not self.backlog.insert(entry.ref):
            self.give_back((entry,))

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Put dispatched entries back where they were: in order of their refs, before all younger ones."""
        returned = sorted(entries, key=_by_ref)
        if not returned:
            return
        last = returned[-1].ref
        front = self.front
        if front and front[-1].ref < returned[0].ref:  # consumers that leave in turn
            front.extend(returned)
            return
        older: list[Entry] = []
        while front and front[0].ref < last:
            older.append(front.popleft())
        merged = sorted(older + returned, key=_by_ref) if older else returned
        front.extendleft(reversed(merged))
