"""What waits in a durable subscription some of whose messages have another priority than the normal one.

The others keep `Pending`, which is quicker. Here the numbers that wait lie in one index per priority, 20
bytes each; of some of them there is more in memory.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from broker.region.entry import Entry, Pending
from journal.index import MessageIndex
from journal.record import NORMAL_PRIORITY

_by_ref: Final = attrgetter("ref")


class RankedPending(Pending):
    """Entries that wait, those of the highest priority first, and the oldest of these.

    Attributes:
        kept: of those that wait, the ones that are more than a number.
    """

    __slots__ = ("_front", "_order", "_pages", "_waiting", "kept")

    def __init__(self, forget: Callable[[Entry], None]) -> None:
        """Make it.

        Args:
            forget: told of each entry of which only the number is kept.
        """
        super().__init__(None, None, forget)
        self._front: deque[Entry] = deque()
        """The next one, if anybody has asked for it; it is in no index."""
        self._waiting: dict[int, MessageIndex] = {}
        self._order: list[int] = []
        """The priorities, negated, ascending."""
        self._pages: dict[int, deque[int]] = {}
        """Of each priority the first numbers that wait."""
        self.kept: OrderedDict[int, Entry] = OrderedDict()

    def take_over(self, pending: Pending, topics: Sequence[Mapping[int, MessageIndex] | None]) -> None:
        """What waits in the simpler line waits here.

        Where all messages of one topic wait, the journal's indexes are shared; otherwise each message costs
        a tenth of a microsecond, and none is looked up by itself.

        Args:
            pending: the line; nothing is taken from it any more.
            topics: of each topic that may have persistent messages in it their numbers by priority; None:
                all of them have the normal one.
        """
        rest = pending.backlog.rest()
        if rest:
            after, last = pending.backlog.bounds
            parts = [
                {priority: ranked.part(after, last) for priority, ranked in (topic or {}).items()}
                for topic in topics
            ]
            if len(parts) == 1 and sum(map(len, parts[0].values())) == len(rest):
                for priority, part in parts[0].items():
                    self._rank(priority, part)
            else:
                self._sort(rest, parts)
        for entry in pending.entries():
            self._add(entry)

    def _sort(self, rest: MessageIndex, parts: Sequence[Mapping[int, MessageIndex]]) -> None:
        """Line up those that wait, among others, in the indexes of topics."""
        numbers = rest.numbers()
        left = set(numbers)
        unusual: dict[int, set[int]] = {}
        for priority, part in (item for each in parts for item in each.items()):
            if priority != NORMAL_PRIORITY:
                some = left.intersection(part.numbers())
                left -= some
                unusual.setdefault(priority, set()).update(some)
        for priority, some in unusual.items():
            self._rank(priority, MessageIndex.of_numbers(array("Q", sorted(some))))
        if unusual:
            rest = MessageIndex.of_numbers(array("Q", filter(left.__contains__, numbers)))
        self._rank(NORMAL_PRIORITY, rest)

    def _rank(self, priority: int, index: MessageIndex) -> None:
        if index:
            self._waiting[priority] = index
            insort(self._order, -priority)

    def __len__(self) -> int:
        return len(self._front) + sum(map(len, self._waiting.values()))

    def _ranked(self, priority: int) -> MessageIndex:
        index = self._waiting.get(priority)
        if index is None:
            index = self._waiting[priority] = MessageIndex()
            insort(self._order, -priority)
        return index

    def _add(self, entry: Entry) -> None:
        self._ranked(entry.priority).add(entry.ref, 0, 1)
        self.kept[entry.ref] = entry

    def append(self, entry: Entry, resident_max: int, durable_batch: int) -> None:
        """Add the youngest; if many wait, the oldest are only numbers."""
        front = self._front
        if front and entry.priority > front[0].priority:
            self.give_back((front.popleft(),))
        self._add(entry)
        if len(self.kept) > 2 * resident_max:
            ref, oldest = next(iter(self.kept.items()))
            if oldest.is_untouched(durable_batch):
                if self._forget is not None:
                    self._forget(oldest)
                del self.kept[ref]
            else:
                self.kept.move_to_end(ref)

    def insert(self, entry: Entry) -> None:
        """Put an entry that has never waited here where it belongs."""
        self.give_back((entry,))

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Put entries back where they were."""
        for entry in (*entries, *self._front):
            self._add(entry)
            self._pages.pop(entry.priority, None)
        self._front.clear()

    def head(self) -> deque[Entry]:
        """The deque whose left end is the next entry; empty if nothing waits."""
        front = self._front
        if not front:
            for negated in self._order:
                ref = self._first(-negated)
                if ref is not None:
                    front.append(self._take(-negated, ref))
                    break
        return front

    def _first(self, priority: int) -> int | None:
        index = self._waiting[priority]
        page = self._pages.get(priority)
        while page:
            if page[0] in index:
                return page[0]
            page.popleft()
        refs = [ref for ref, _, _ in index.some_after(-1)]
        self._pages[priority] = deque(refs)
        return refs[0] if refs else None

    def _take(self, priority: int, ref: int) -> Entry:
        self._waiting[priority].remove(ref)
        return self.kept.pop(ref, None) or _untouched(priority, ref)

    def __iter__(self) -> Iterator[Entry]:
        """Every entry in order; the untouched ones are made for the occasion."""
        yield from self._front
        for negated in self._order:
            for ref in self._waiting[-negated]:
                yield self.kept.get(ref) or _untouched(-negated, ref)

    def entries(self) -> Iterator[Entry]:
        """Those that are more than a number."""
        yield from self._front
        yield from self.kept.values()

    def page(self, after_ref: int, last_ref: int, count: int) -> list[Entry]:
        """The oldest entries with numbers above one, up to another; at most so many."""
        found = [entry for entry in self._front if entry.ref > after_ref]
        for priority, index in self._waiting.items():
            some = index.some_after(after_ref)
            if some and some[-1][0] < index.last_ref:
                last_ref = min(last_ref, some[-1][0])  # what lies behind it is not known of this priority
            found += [self.kept.get(ref) or _untouched(priority, ref) for ref, _, _ in some]
        found.sort(key=_by_ref)
        return [entry for entry in found if entry.ref <= last_ref][:count]

    def among(self, refs: Collection[int]) -> list[Entry]:
        """The entries of these numbers that wait."""
        found = [entry for entry in self._front if entry.ref in refs]
        for priority, index in self._waiting.items():
            found += [self.kept.get(ref) or _untouched(priority, ref) for ref in refs if ref in index]
        return found

    def withdraw(self, entries: Sequence[Entry]) -> None:
        """Take entries of a page out; the journal must lose those it has in the next append."""
        gone = {entry.ref for entry in entries}
        if self._front and self._front[0].ref in gone:
            self._front.clear()
        for entry in entries:
            self._ranked(entry.priority).remove(entry.ref)
            self.kept.pop(entry.ref, None)


def _untouched(priority: int, ref: int) -> Entry:
    entry = Entry(ref, None, 0, True)
    entry.priority = priority
    return entry
