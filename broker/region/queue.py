"""A queue: each message goes to one consumer, in order, round-robin among those with room."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from broker.errors import ResourceExhausted
from broker.message import Message, encode_message
from broker.region.account import account_of
from broker.region.choice import Choice, is_choosy
from broker.region.consumer import QUEUE_PREFETCH
from broker.region.entry import Entry, Pending
from broker.region.ring import Ring
from broker.region.spool import expiration_of
from broker.region.stamping import stamps
from broker.region.statistics import Statistics
from journal.index import Backlog, MessageIndex
from journal.record import NORMAL_PRIORITY, AddMessage, Held, Record, RemoveMessage

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.routing import Forwards

CONSUMERS_AWAITED_MS: Final = 1_000
"""How long a queue waits for its consumers if `timeBeforeDispatchStarts` does not say."""

_by_ref: Final = attrgetter("ref")


class Queue:
    """One queue, its waiting messages and its consumers."""

    def __init__(
        self,
        region: Region,
        destination: Destination,
        backlog: Backlog | None = None,
        owner: RegionConnection | None = None,
    ) -> None:
        self.region = region
        self.destination = destination
        self.uri = destination.uri
        self.policy = region.policies.of(destination)
        self.usage = account_of(region.usage, self.policy, self.uri)
        self.forwards: Forwards | None = None
        self.owner = owner
        """The connection a temporary queue belongs to."""
        self.watched = bool(self.policy.slow_consumer_strategy)
        """Consumers that are too slow are ended."""
        self.paused = False
        """Nothing is dispatched; sends go on."""
        self.stored = not destination.is_temporary
        self.stamps = stamps(self.policy)
        """Messages get the broker's time."""
        self.pending = Pending(backlog, self.index, self.usage.release)
        self.consumers: dict[Consumer, None] = {}
        self._round = Ring()
        self._choice: Choice | None = None
        """Who gets what, if it is not simply the next message for the next consumer."""
        self._admitted_batch = 0
        """Of the last commit of a branch; its messages may stand anywhere among those that wait."""
        self._starts_ms = 0
        """Nothing is dispatched before; 0: it goes on."""
        self.statistics = Statistics(region.now_ms)
        self.advised = region.advisories.advised(self.policy)
        """Which advisories there are to be of what happens here."""
        self.browsers = 0
        """How many there are."""
        if self.policy.prioritized_messages and self.uri in region.store.state.ranks:
            self._choose()

    @property
    def keeps(self) -> bool:
        """Whether messages that are not persistent wait here until they are consumed."""
        return True

    # ---- messages in

    def send(self, message: Message, sender: RegionConnection | None) -> int:
        """Take a message; returns the batch that makes it durable, 0 if it is not journaled."""
        del sender
        region = self.region
        ref = region.next_ref
        if message.persistent and self.stored:
            record = self.record(message, ref)
            if len(record.body) > region.limits.long_bytes:
                self.usage.check_room(len(record.body))
            batch = region.append((record,))
            self.accept(message, ref, batch, True)
            return batch
        self._line_up(self.usage.hold(ref, message), message.priority)
        if message.expiration:
            region.expiry.watch(self)
        self.statistics.enqueued_bytes += len(message.wire or message.body or b"")
        if self.advised:
            region.advisories.delivered(self, message, taken=bool(self.consumers))
        return 0

    def draft(self, message: Message) -> AddMessage | None:
        """The record of a message that may be sent here later, but for its number.

        None: it is not persistent, or too large, which is told when it is sent.
        """
        if not (message.persistent and self.stored):
            return None
        try:
            return self.record(message, 0)
        except ResourceExhausted:
            return None

    def record(self, message: Message, ref: int) -> AddMessage:
        """The journal's record of a persistent message.

        Raises:
            ResourceExhausted: the message is larger than the limit.
        """
        body = encode_message(message)
        if len(body) > self.region.limits.message_bytes_max:
            raise ResourceExhausted(
                f"The message has {len(body)} bytes; the limit is {self.region.limits.message_bytes_max}."
            )
        producer_id, sequence = message.producer_id, message.producer_sequence_id
        expiration = message.expiration
        return AddMessage(ref, self.uri, producer_id, sequence, body, message.priority, expiration)

    def accept(self, message: Message, ref: int, batch: int, stored: bool) -> None:
        """Put a message that is in the journal (or need not be) at the end."""
        region = self.region
        if stored:
            entry = Entry(ref, None, batch, True)
            waiting = self.pending.tail if self._choice is None else self._choice.entries
            if len(waiting) < region.limits.resident_messages_max:
                self.usage.keep(entry, message)
        else:
            entry = self.usage.hold(ref, message, always=True)
            entry.batch = batch
            if message.expiration:
                region.expiry.watch(self)
        self._line_up(entry, message.priority)
        self.statistics.enqueued_bytes += len(message.wire or message.body or b"")
        if self.advised:
            region.advisories.delivered(self, message, taken=bool(self.consumers))

    def accept_all(self, messages: Sequence[Message], ref: int, batch: int, volatile_batch: int) -> None:
        """The same for several, which have the numbers from one on.

        Args:
            messages: in the order sent.
            ref: of the first.
            batch: of the stored ones.
            volatile_batch: of the others.
        """
        done = self._accept_plain(messages, ref, batch)
        for number, message in enumerate(messages[done:], ref + done):
            stored = message.persistent and self.stored
            self.accept(message, number, batch if stored else volatile_batch, stored)

    def _accept_plain(self, messages: Sequence[Message], ref: int, batch: int) -> int:
        """Take those at the beginning that are stored, and among which nothing is to choose; says how many.

        In one loop, which takes a third of the time.
        """
        if not self.stored or self._choice is not None or self.advised:
            return 0
        region, keep, append, tail = self.region, self.usage.keep, self.pending.append, self.pending.tail
        resident_max, durable_batch = region.limits.resident_messages_max, region.durable_batch
        number, size = ref, 0
        for message in messages:
            if message.priority != NORMAL_PRIORITY or not message.persistent:
                break
            entry = Entry(number, None, batch, True)
            if len(tail) < resident_max:
                keep(entry, message)
            append(entry, resident_max, durable_batch)
            size += len(message.wire or message.body or b"")
            number += 1
        if number > ref:
            region.next_ref = number
            self.statistics.enqueued += number - ref
            self.statistics.enqueued_bytes += size
            region.dirty[self] = None
        return number - ref

    def _line_up(self, entry: Entry, priority: int) -> None:
        region = self.region
        region.next_ref = entry.ref + 1
        if self._choice is not None or priority != 4:  # a constant: 30 ns less than its name
            self._rank(entry, priority)
        if self._choice is None:
            self.pending.append(entry, region.limits.resident_messages_max, region.durable_batch)
        else:
            self._choice.add(entry)
        self.statistics.enqueued += 1
        region.dirty[self] = None

    def _rank(self, entry: Entry, priority: int) -> None:
        """Give a message its priority, if that counts here; the first unusual one makes the queue choose."""
        if self.policy.prioritized_messages:
            entry.priority = priority
        if self._choice is None and entry.priority != NORMAL_PRIORITY:
            self._choose()

    def admit(self, held: Held, batch: int) -> None:
        """A message that a branch has held is here once the batch is durable, among those of its age."""
        self.statistics.enqueued += 1
        self._admitted_batch = batch
        self._insert(Entry(held.ref, None, batch, True), held.priority)

    def take_back(self, held: Held) -> None:
        """A message that a branch of an earlier broker has acknowledged waits again."""
        entry = Entry(held.ref, None, 0, True)
        entry.redelivery_counter = held.counter
        self._insert(entry, held.priority)

    def _insert(self, entry: Entry, priority: int) -> None:
        self._rank(entry, priority)
        if self._choice is None:
            self.pending.insert(entry)
        else:
            self._choice.give_back((entry,))
        self.region.dirty[self] = None

    # ---- messages out

    def dispatch(self) -> None:
        """Give waiting messages to consumers until either run out or the next one is not durable yet."""
        if self._is_held():
            return
        if self._choice is not None:
            self._choice.dispatch()
            self._settle()
            return
        region, pending, ring = self.region, self.pending, self._round
        expired: list[Entry] = []
        dispatched: list[int] = []
        while ring:
            waiting = pending.head()
            if not waiting:
                break
            entry = waiting[0]
            if entry.batch > region.durable_batch:
                region.blocked[self] = None
                break
            consumer = ring[0]
            if consumer.closed or not consumer.can_accept():
                self._shut(consumer)
                continue
            waiting.popleft()
            message = entry.message or self.fetch(entry)
            if message is None:
                region.pass_over(entry)
                continue
            if message.expiration and message.expiration <= region.now_ms:
                expired.append(entry)
                continue
            if message.group_id:
                waiting.appendleft(entry)
                self._choose()
                region.dirty[self] = None
                break
            ring.rotate(-1)
            consumer.dispatch(entry, message)
            dispatched.append(entry.ref)
            if self.advised:
                region.advisories.dispatched(self, consumer, message)
        if dispatched:
            self.statistics.dispatch(dispatched, region)
        if expired:
            self.expire(expired)

    def _is_held(self) -> bool:
        """Nothing is dispatched now."""
        if self.paused or (self._starts_ms and self._is_starting()):
            return True
        if self._admitted_batch > self.region.durable_batch:
            self.region.blocked[self] = None
            return True
        return False

    def _shut(self, consumer: Consumer) -> None:
        """Messages wait, but the next consumer of the round has no room."""
        self._round.popleft()
        consumer.ready = False
        if not consumer.closed:
            self.notice_slow(consumer)

    def notice_slow(self, consumer: Consumer) -> None:
        """A consumer has no room while messages wait."""
        if self.watched:
            self.region.slow.noticed(consumer)
        if self.advised:
            self.region.advisories.slow(self, consumer)

    def expire(self, entries: list[Entry]) -> None:
        """Their time is over: they are not dispatched any more."""
        self.statistics.expired += len(entries)
        self.region.dead_letters.expire(self, entries)

    def message_of(self, entry: Entry) -> Message | None:
        """The entry's message, read back if need be."""
        return entry.message or self.region.read_back(entry, self.uri, self.usage, self.redelivered())

    def fetch(self, entry: Entry) -> Message | None:
        """The message of an entry to be dispatched; None: it cannot be read, or not be delivered yet."""
        return None if self.region.redelivery.delays(self, entry) else self.message_of(entry)

    def redelivered(self) -> MessageIndex | None:
        """What the journal knows of messages that were delivered before."""
        return self.region.store.state.redelivered.get(self.uri)

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """These are done with: the stored ones are removed from the journal."""
        if self.advised:
            self.region.advisories.consumed(self, self, entries)
        release = self.usage.release
        for entry in entries:
            entry.done = True
            if entry.stored:
                records.append(RemoveMessage(entry.ref, self.uri))
            release(entry)
        self.statistics.dequeued += len(entries)

    def give_back(self, entries: list[Entry]) -> None:
        """Dispatched and not acknowledged: they wait again, where they were."""
        if entries:
            (self.pending if self._choice is None else self._choice).give_back(entries)
            self.region.dirty[self] = None
            if self.region.targets.get(self.destination) is not self:
                self.drop()

    def drop(self) -> None:
        """The queue is deleted: what waits in it is gone."""
        for entry in self._at_hand():
            entry.done = True
            self.usage.release(entry)
        self.pending = Pending()
        if self._choice is not None:
            self._choose()

    def drop_bodies(self) -> None:
        """Keep no persistent message in memory: the journal has them."""
        drop_body = self.usage.drop_body
        for entry in self._entries():
            drop_body(entry)

    # ---- what operators do

    def pause(self) -> None:
        """Dispatch nothing; what is at consumers stays there. Source: ActiveMQ's `QueueView.pause`."""
        self.paused = True

    def resume(self) -> None:
        """Dispatch again."""
        self.paused = False
        self.region.dirty[self] = None

    def waiting_page(self, after_ref: int, last_ref: int, count: int) -> list[Entry]:
        """Some of the entries that wait, oldest first, also those that are not durable yet.

        Args:
            after_ref: begin above this number.
            last_ref: end there.
            count: at most so many; there may be more behind them, unless it is none.
        """
        waiting = self.pending if self._choice is None else self._choice
        return waiting.page(after_ref, last_ref, count)

    def waiting_among(self, refs: Collection[int]) -> list[Entry]:
        """The entries of these numbers that wait."""
        return (self.pending if self._choice is None else self._choice).among(refs)

    def expired_volatile(self, now_ms: int, count: int) -> tuple[list[Entry], bool]:
        """Non-persistent entries that have expired, at most so many; and whether any others are to expire."""
        found: list[Entry] = []
        more = False
        for entry in self._at_hand():
            if entry.stored or not (expiration := expiration_of(entry)):
                continue
            if expiration > now_ms or len(found) >= count:
                more = True
            else:
                found.append(entry)
        return found, more

    def withdraw(self, entries: Sequence[Entry]) -> None:
        """Take entries of a page of this turn out of those that wait.

        Whoever does it goes on with `consumed` and appends the records before anything else happens.
        """
        (self.pending if self._choice is None else self._choice).withdraw(entries)
        self.region.dirty[self] = None

    # ---- consumers

    def attach(self, consumer: Consumer) -> None:
        """Add a consumer to the round."""
        consumer.source = self
        consumer.apply_prefetch(self.policy.queue_prefetch, QUEUE_PREFETCH)
        self.consumers[consumer] = None
        if self.policy.waits_for_consumers:
            self._await_consumers()
        if self._choice is not None:
            self._choice.attach(consumer)
            self.region.dirty[self] = None
        elif is_choosy(consumer, next(iter(self.consumers)), self.policy):
            self._choose()
            self.region.dirty[self] = None
        else:
            self.consumer_opened(consumer)

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again: back into the round."""
        if self._choice is not None:
            if not consumer.closed:
                self._choice.open(consumer)
        elif not consumer.ready and not consumer.closed:
            consumer.ready = True
            self._round.append(consumer)
        self.region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """Take a consumer out."""
        del self.consumers[consumer]
        if self._choice is not None:
            self._choice.detach(consumer)
            self.region.dirty[self] = None
        elif consumer.ready:
            self._round.leave(consumer)

    def _await_consumers(self) -> None:
        """A consumer more: dispatch starts some time after the first, or with the last that is needed.

        Source: ActiveMQ's `consumersBeforeDispatchStarts` and `timeBeforeDispatchStarts`.
        """
        policy, region = self.policy, self.region
        if len(self.consumers) == 1:
            self._starts_ms = region.now_ms + (policy.before_start_ms or CONSUMERS_AWAITED_MS)
            region.alarms.set(self._starts_ms, self)
        if 0 < policy.consumers_before_start <= len(self.consumers):
            self._starts_ms = 0

    def _is_starting(self) -> bool:
        """Whether it is too early to dispatch."""
        if self.region.now_ms < self._starts_ms:
            return True
        self._starts_ms = 0
        return False

    # ---- who gets what

    def _choose(self) -> None:
        """From now on it matters which consumer gets which message."""
        self._round.clear()
        self._choice = Choice(self)
        self.pending = Pending()

    def _settle(self) -> None:
        """Nothing waits, and there is nothing to choose any more: the quicker way again."""
        choice = self._choice
        if choice is None or choice.is_needed or len(choice):
            return
        self._choice = None
        self.pending = Pending(None, self.index, self.usage.release)
        for consumer in self.consumers:
            consumer.ready = False
            self.consumer_opened(consumer)

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self.pending if self._choice is None else self._choice)

    @property
    def consumer_count(self) -> int:
        """How many consumers it has, browsers included."""
        return len(self.consumers) + self.browsers

    @property
    def at_hand(self) -> int:
        """Of those that wait, how many are more than a number in the index; most are in memory."""
        return self.pending.at_hand if self._choice is None else len(self._choice.entries)

    @property
    def first_ref(self) -> int | None:
        """The number of the oldest message it holds; None: it holds none."""
        index = self.index() if self.stored else None
        found = [] if index is None else [ref for ref, _, _ in index.some_after(-1)[:1]]
        found += self.pending.firsts() if self._choice is None else list(islice(self._choice.entries, 1))
        found += [min(each.dispatched) for each in self.consumers if each.dispatched]
        return min(found, default=None)

    @property
    def in_flight(self) -> int:
        """How many messages consumers have and did not acknowledge."""
        return sum(len(each.dispatched) for each in self.consumers)

    @property
    def size(self) -> int:
        """How many messages it holds: those that wait, and those in flight."""
        return self.waiting + self.in_flight

    # ---- what waits

    def index(self) -> MessageIndex | None:
        """The journal's index of this queue."""
        return self.region.store.state.queues.get(self.uri)

    def _entries(self) -> Iterator[Entry]:
        """All but those that are only in the index."""
        for consumer in self.consumers:
            yield from consumer.dispatched.values()
        yield from self._at_hand()

    def _at_hand(self) -> Iterator[Entry]:
        """Of those that wait, the ones that are more than a number in the index."""
        return self.pending.entries() if self._choice is None else iter(self._choice.entries.values())

    def page(self, after_ref: int, last_ref: int) -> list[Entry]:
        """Some of the messages not yet acknowledged and durable, oldest first, those at consumers included.

        Args:
            after_ref: begin above this number.
            last_ref: end there.

        Returns:
            At most `RegionLimits.browse_page_messages` persistent ones, and all between; empty: that was all.
        """
        index, durable = self.index(), self.region.durable_batch
        refs = self._stored_refs(index, after_ref, last_ref)
        end = refs[-1] if refs else last_ref
        known = {entry.ref: entry for entry in self._entries() if after_ref < entry.ref <= end}
        page = [known.pop(ref) if ref in known else Entry(ref, None, 0, True) for ref in refs]
        page.extend(entry for entry in known.values() if not entry.stored)
        page.sort(key=_by_ref)
        if noted := self.redelivered():
            for entry in page:
                place = noted.place(entry.ref)
                if place is not None:
                    entry.redelivery_counter = max(entry.redelivery_counter, place.length)
        shown = [entry for entry in page if entry.batch <= durable]
        return shown if shown or not page else self.page(end, last_ref)

    def _stored_refs(self, index: MessageIndex | None, after_ref: int, last_ref: int) -> list[int]:
        if index is None or not self.stored:
            return []
        page = self.region.limits.browse_page_messages
        return [ref for ref, _, _ in index.some_after(after_ref)[:page] if ref <= last_ref]
