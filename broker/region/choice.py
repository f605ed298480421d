"""Who gets what, where it is not simply the next message for the next consumer.

A queue has one of these from when a consumer has a selector, is exclusive or has another priority than the
rest, or a message belongs to a group or has another priority than the normal one. Otherwise it needs none,
and is quicker.

Consumers with the same selector and priority are a *party*: what one of them wants, all want. Each party
looks at what waits by itself, once: priority by priority, in the order of numbers, as far as its consumers
have room. What it does not want it leaves where it is, for others, and never looks at again. So a message
that nobody present wants holds up none behind it, and a consumer that is full holds up nobody.

Parties whose consumers have the highest priority go first; among equals each takes one message in turn.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

from broker.message import first_of_group
from broker.region.entry import Entry
from broker.region.ring import Ring
from journal.index import MessageIndex
from journal.record import NORMAL_PRIORITY

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy
    from broker.properties import Matches
    from broker.region.consumer import Consumer
    from broker.region.queue import Queue

LOOKED_AT_MAX: Final = 2_000
"""Messages in memory that nobody wanted, looked at in one turn: 5 ms. Then others have their turn."""
READ_COST: Final = 10
"""As many is one that has to be read back."""
GROUPS_MAX: Final = 100_000
"""Groups of a queue whose owner is remembered; beyond that the one not heard of for longest begins anew.
ActiveMQ remembers 1,024."""
FOUND_SLACK: Final = 1_000
GROUP_CANDIDATES_MAX: Final = 100
"""Consumers with room that are compared when a group begins: it goes to the one with the fewest groups."""
PRIORITY_MAX: Final = 127
"""An exclusive consumer of this priority takes the queue from any other. Source: ActiveMQ's `Queue`."""

Key = tuple[int, int]
"""The priority, negated, and the number: lower goes first."""


def is_exclusive(consumer: Consumer, policy: Policy) -> bool:
    """Whether a consumer wants all messages for itself."""
    return consumer.options.exclusive or policy.all_consumers_exclusive


def priority_of(consumer: Consumer, policy: Policy) -> int:
    """A consumer's priority, as far as it counts in its queue."""
    return consumer.options.priority if policy.use_consumer_priority else 0


def is_choosy(consumer: Consumer, other: Consumer, policy: Policy) -> bool:
    """Whether it matters to a consumer of a queue what it gets and when."""
    return (
        consumer.matches is not None
        or is_exclusive(consumer, policy)
        or policy.strict_order_dispatch
        or priority_of(consumer, policy) != priority_of(other, policy)
    )


def is_open(consumer: Consumer) -> bool:
    """Whether a consumer can take a message."""
    return not consumer.closed and consumer.can_accept()


class Party:
    """Consumers of one selector and one priority.

    Attributes:
        priority: theirs.
        matches: what decides for their selector; None: they want everything.
        members: how many they are.
        ring: those that may have room.
        seen: per priority of messages: what waited up to this number has been put on a page.
        pages: per priority: numbers still to be looked at, ascending.
        returned: what lies behind `seen` and is to be looked at; it was given back. A heap.
    """

    __slots__ = ("matches", "members", "pages", "priority", "returned", "ring", "seen")

    def __init__(self, priority: int, matches: Matches | None) -> None:
        self.priority = priority
        self.matches = matches
        self.members = 0
        self.ring = Ring()
        self.seen: dict[int, int] = {}
        self.pages: dict[int, deque[int]] = {}
        self.returned: list[Key] = []


class Choice:
    """What waits in a queue, and which of its consumers gets it."""

    def __init__(self, queue: Queue) -> None:
        """Take over what waits in the queue, and its consumers."""
        self._queue = queue
        self._region = queue.region
        self._waiting: dict[int, MessageIndex] = {}
        self._priorities: list[int] = []
        """Those of `_waiting`, negated, ascending."""
        self.entries: OrderedDict[int, Entry] = OrderedDict()
        """Of those that wait, the ones that are more than a number."""
        self._parties: dict[tuple[int, Matches | None], Party] = {}
        self._party_of: dict[Consumer, Party] = {}
        self._due: dict[Party, None] = {}
        self._sole: Consumer | None = None
        """The exclusive consumer that gets everything."""
        self._owners: OrderedDict[str, Consumer] = OrderedDict()
        """Of message groups."""
        self._owned: dict[Consumer, int] = {}
        """How many groups each of them has."""
        self._strict = queue.policy.strict_order_dispatch
        """The first consumer that has room gets it, in the order in which they came."""
        self._reserved: dict[Consumer, list[Key]] = {}
        """What belongs to the owner of a group, who had no room. Heaps."""
        self._parked: dict[Consumer, list[Key]] = {}
        """What belongs to the owner of a group, who does not want it."""
        self._opened: dict[Consumer, None] = {}
        self._looked_at = 0
        self._dispatched: list[int] = []
        self.is_settled = True
        """Nothing but its consumers made it necessary."""
        self._take_over()

    def _take_over(self) -> None:
        queue = self._queue
        backlog = queue.pending.backlog
        index = queue.index()
        if backlog and index is not None:
            after, last = backlog.bounds
            state = self._region.store.state
            ranks = state.ranks.get(queue.uri) if queue.policy.prioritized_messages else None
            for priority, ranked in (ranks or {NORMAL_PRIORITY: index}).items():
                self._index(priority, ranked.part(after, last))
        for entry in queue.pending.entries():
            self._index(entry.priority).add(entry.ref, 0, 1)
            self.entries[entry.ref] = entry
        for consumer in queue.consumers:
            consumer.ready = False
            self.attach(consumer)

    def _index(self, priority: int, made: MessageIndex | None = None) -> MessageIndex:
        """What waits of a priority."""
        index = self._waiting.get(priority)
        if index is None:
            index = self._waiting[priority] = MessageIndex() if made is None else made
            insort(self._priorities, -priority)
            self.is_settled = self.is_settled and priority == NORMAL_PRIORITY
        return index

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to choose."""
        if not self.is_settled or self._strict or self._sole is not None or len(self._parties) > 1:
            return True
        return any(party.matches is not None for party in self._parties.values())

    # ---- messages

    def add(self, entry: Entry) -> None:
        """The youngest; where many wait, the oldest are left to the journal's index."""
        entries = self.entries
        self._index(entry.priority).add(entry.ref, 0, 1)
        entries[entry.ref] = entry
        if len(entries) > 2 * self._region.limits.resident_messages_max:
            ref, oldest = next(iter(entries.items()))
            if oldest.is_untouched(self._region.durable_batch):
                self._queue.usage.release(oldest)
                del entries[ref]
            else:
                entries.move_to_end(ref)
        self._due.update(dict.fromkeys(self._parties.values()))

    def give_back(self, entries: Iterable[Entry]) -> None:
        """They wait again, where they were."""
        for entry in entries:
            self._index(entry.priority).add(entry.ref, 0, 1)
            self.entries[entry.ref] = entry
            self._return(-entry.priority, entry.ref)

    def page(self, after_ref: int, last_ref: int, count: int) -> list[Entry]:
        """The oldest entries with numbers above one, up to another; at most so many."""
        found: list[tuple[int, int]] = []
        for priority, index in self._waiting.items():
            some = index.some_after(after_ref)
            if some and some[-1][0] < index.last_ref:
                last_ref = min(last_ref, some[-1][0])  # what lies behind it is not known of this priority
            found += [(ref, priority) for ref, _, _ in some]
        found.sort()
        entries = [self._entry(priority, ref) for ref, priority in found[:count] if ref <= last_ref]
        return [entry for entry in entries if entry is not None]

    def among(self, refs: Collection[int]) -> list[Entry]:
        """The entries of these numbers that wait."""
        found = [
            self._entry(priority, ref)
            for priority, index in self._waiting.items()
            for ref in refs
            if ref in index
        ]
        return [entry for entry in found if entry is not None]

    def withdraw(self, entries: Iterable[Entry]) -> None:
        """Take entries of a page out; the journal must lose those it has in the next append."""
        for entry in entries:
            self._waiting[entry.priority].remove(entry.ref)
            self.entries.pop(entry.ref, None)

    def _return(self, priority: int, ref: int) -> None:
        """Parties that are past it look at it again."""
        for party in self._parties.values():
            if ref <= party.seen.get(-priority, -1):
                returned = party.returned
                heappush(returned, (priority, ref))
                if len(returned) > len(self) + FOUND_SLACK:  # the same ones, again and again
                    returned[:] = sorted({key for key in returned if key[1] in self._waiting[-key[0]]})
            self._due[party] = None

    # ---- consumers

    def attach(self, consumer: Consumer) -> None:
        """A consumer more; what nobody wanted so far is looked at for it."""
        policy = self._queue.policy
        priority = priority_of(consumer, policy)
        key = priority, consumer.matches
        party = self._parties.get(key)
        if party is None:
            party = self._parties[key] = Party(*key)
        party.members += 1
        self._party_of[consumer] = party
        if is_exclusive(consumer, policy):
            sole = self._sole
            if sole is None or priority == PRIORITY_MAX or priority > priority_of(sole, policy):
                self._sole = consumer
                for owner in (*self._reserved, *self._parked):
                    self._unreserve(owner)
        self.open(consumer)

    def open(self, consumer: Consumer) -> None:
        """A consumer can take messages (again)."""
        party = self._party_of[consumer]
        if not consumer.ready and not consumer.closed:
            consumer.ready = True
            party.ring.append(consumer)
            if self._strict and len(party.ring) > 1:
                ready = set(party.ring)
                party.ring = Ring(each for each in self._queue.consumers if each in ready)
        self._due[party] = None
        if consumer in self._reserved:
            self._opened[consumer] = None

    def detach(self, consumer: Consumer) -> None:
        """A consumer less: its groups, and what was reserved for it, are for others."""
        party = self._party_of.pop(consumer)
        party.members -= 1
        if consumer.ready:
            party.ring.leave(consumer)
        if not party.members:
            del self._parties[party.priority, party.matches]
            self._due.pop(party, None)
        if consumer is self._sole:
            policy = self._queue.policy
            exclusive = (each for each in self._party_of if is_exclusive(each, policy))
            self._sole = max(exclusive, key=lambda each: priority_of(each, policy), default=None)
            self._due.update(dict.fromkeys(self._parties.values()))
        if self._owners:
            for group in [group for group, owner in self._owners.items() if owner is consumer]:
                del self._owners[group]
        self._owned.pop(consumer, None)
        self._opened.pop(consumer, None)
        self._unreserve(consumer)

    def _unreserve(self, owner: Consumer) -> None:
        """What was kept for the owner of a group is for others."""
        for key in (*self._reserved.pop(owner, ()), *self._parked.pop(owner, ())):
            self._return(*key)

    # ---- dispatch

    def dispatch(self) -> None:
        """Give consumers what they want and can take."""
        expired: list[Entry] = []
        self._looked_at = 0
        opened, self._opened = self._opened, {}
        for consumer in opened:
            self._give_reserved(consumer, expired)
        due, self._due = self._due, {}
        levels: dict[int, deque[Party]] = {}
        for party in due:
            levels.setdefault(party.priority, deque()).append(party)
        for level in sorted(levels, reverse=True):
            parties = levels[level]
            while parties:
                if self._give_one(parties[0], expired):
                    parties.rotate(-1)
                else:
                    parties.popleft()
        if self._dispatched:
            self._queue.statistics.dispatch(self._dispatched, self._region)
            self._dispatched = []
        if expired:
            self._queue.expire(expired)

    def _give_one(self, party: Party, expired: list[Entry]) -> bool:
        """One message for one consumer of a party; False if there is none, or no room."""
        while True:
            consumer = self._with_room(party)
            if consumer is None:
                return False
            found = self._next(party, expired)
            if found is None:
                return False
            entry, message = found
            group = message.group_id if self._sole is None else None
            if group and (message.group_sequence == 1 or group not in self._owners):
                consumer = self._begin_group(group, party)
                message = first_of_group(message)
            elif group:
                owner = self._owner(group, consumer, entry, message)
                if owner is None:
                    continue
                consumer = owner
            if consumer is party.ring[0] and not self._strict:
                party.ring.rotate(-1)
            self._give(consumer, entry, message)
            return True

    def _with_room(self, party: Party) -> Consumer | None:
        """Whose turn it is in a party."""
        ring, sole = party.ring, self._sole
        while ring:
            consumer = ring[0]
            if consumer.closed or not consumer.can_accept():
                ring.popleft()
                consumer.ready = False
                if (self._queue.watched or self._queue.advised) and len(self):
                    self._queue.notice_slow(consumer)
            elif sole is None or sole is consumer:
                return consumer
            elif self._party_of[sole] is party and sole.ready:
                ring.remove(sole)
                ring.appendleft(sole)
            else:
                return None
        return None

    def _give(self, consumer: Consumer, entry: Entry, message: Message) -> None:
        """Dispatch it; a group that it closes has no owner any more."""
        self._waiting[entry.priority].remove(entry.ref)
        self.entries.pop(entry.ref, None)
        if message.group_id and message.group_sequence < 0:
            self._end_group(message.group_id)
        consumer.dispatch(entry, message)
        self._dispatched.append(entry.ref)
        if self._queue.advised:
            self._region.advisories.dispatched(self._queue, consumer, message)

    # ---- groups

    def _begin_group(self, group: str, party: Party) -> Consumer:
        """A new group, or one that begins anew with the sequence 1, for whom has the fewest.

        Source: ActiveMQ's `Queue`, which sorts its consumers by that.
        """
        self.is_settled = False
        self._end_group(group)
        candidates = [each for each in islice(party.ring, GROUP_CANDIDATES_MAX) if is_open(each)]
        owned = self._owned
        owner = min(candidates, key=lambda each: owned.get(each, 0))
        self._owners[group] = owner
        owned[owner] = owned.get(owner, 0) + 1
        if len(self._owners) > GROUPS_MAX:
            self._end_group(next(iter(self._owners)))
        return owner

    def _end_group(self, group: str) -> None:
        """It has no owner any more."""
        owner = self._owners.pop(group, None)
        if owner is not None:
            self._owned[owner] -= 1

    def _owner(self, group: str, consumer: Consumer, entry: Entry, message: Message) -> Consumer | None:
        """The consumer that gets a message of a group now; None: it is reserved for one that cannot."""
        owner = self._owners[group]
        self._owners.move_to_end(group)
        if owner is consumer:
            return owner
        key = -entry.priority, entry.ref
        if owner.matches is not None and not owner.matches(message, entry):
            self._parked.setdefault(owner, []).append(key)
        elif owner in self._reserved or not owner.can_accept():
            heappush(self._reserved.setdefault(owner, []), key)
            self._shut(owner)
        else:
            return owner
        self._pass(entry)
        return None

    def _shut(self, owner: Consumer) -> None:
        """It is to say when it has room."""
        if owner.ready:
            owner.ready = False
            self._party_of[owner].ring.remove(owner)

    def _pass(self, entry: Entry) -> None:
        """It stays where it is; if it is only a number there, what was read takes no memory."""
        if entry.ref in self.entries:
            self._looked_at += 1
        else:
            self._looked_at += READ_COST
            self._queue.usage.release(entry)

    def _give_reserved(self, consumer: Consumer, expired: list[Entry]) -> None:
        """An owner of groups has room again."""
        reserved = self._reserved.pop(consumer, [])
        while reserved and consumer.can_accept():
            key = heappop(reserved)
            entry = self._entry(-key[0], key[1])
            message = None if entry is None else self._message(entry, expired)
            if entry is not None and message is not None:
                self._give(consumer, entry, message)
        if reserved:
            self._reserved[consumer] = reserved
            self._shut(consumer)

    # ---- looking at what waits

    def _next(self, party: Party, expired: list[Entry]) -> tuple[Entry, Message] | None:
        """The next message that a party wants; it is then behind the party."""
        matches, durable = party.matches, self._region.durable_batch
        for negated in self._priorities:
            priority = -negated
            while True:
                if self._looked_at >= LOOKED_AT_MAX:
                    self._due[party] = None
                    self._region.unfinished[self._queue] = None
                    return None
                ref, numbers = self._candidate(party, priority)
                if ref is None:
                    break
                entry = self._entry(priority, ref)
                if entry is not None and entry.batch > durable:
                    self._due[party] = None
                    self._region.blocked[self._queue] = None
                    break
                if numbers is None:
                    heappop(party.returned)
                else:
                    numbers.popleft()
                message = None if entry is None else self._message(entry, expired)
                if entry is None or message is None:
                    continue
                if matches is None or matches(message, entry):
                    return entry, message
                self._pass(entry)
        return None

    def _candidate(self, party: Party, priority: int) -> tuple[int | None, deque[int] | None]:
        """The next number to be looked at, and its page; None instead of a page: it was given back."""
        page = party.pages.get(priority)
        if not page:
            seen = party.seen.get(priority, -1)
            refs = [ref for ref, _, _ in self._waiting[priority].some_after(seen)]
            if refs:
                page = party.pages[priority] = deque(refs)
                party.seen[priority] = refs[-1]
        returned = party.returned
        while returned and -returned[0][0] == priority:
            if returned[0][1] not in self._waiting[priority]:
                heappop(returned)
                continue
            if not page or returned[0][1] <= page[0]:
                return returned[0][1], None
            break
        return (page[0], page) if page else (None, None)

    def _entry(self, priority: int, ref: int) -> Entry | None:
        """What waits under a number; None: it does not any more."""
        entry = self.entries.get(ref)
        if entry is None and ref in self._waiting[priority]:
            entry = Entry(ref, None, 0, True)
            entry.priority = priority
        return entry

    def _message(self, entry: Entry, expired: list[Entry]) -> Message | None:
        """The message of an entry; None: it cannot be read or has expired, and waits no more."""
        message = entry.message or self._queue.fetch(entry)
        if message is not None and not (message.expiration and message.expiration <= self._region.now_ms):
            return message
        self._waiting[entry.priority].remove(entry.ref)
        self.entries.pop(entry.ref, None)
        if message is None:
            self._region.pass_over(entry)
        else:
            expired.append(entry)
        return None
