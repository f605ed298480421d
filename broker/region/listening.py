"""A subscription that lasts as long as its consumer; what waits for it is in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from broker.policies import DEFAULT_POLICY, OLDEST_EVICTION
from broker.region.consumer import TOPIC_PREFETCH
from broker.region.entry import Entry, Pending
from broker.region.eviction import NO_LIMIT, evicted, pending_limit
from broker.region.subscription import TopicSubscription

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.topic import Topic
    from journal.record import Record

_by_ref: Final = attrgetter("ref")


class ListeningSubscription(TopicSubscription):
    """One consumer's own line of messages; if the consumer is too slow, messages are discarded."""

    def __init__(self, region: Region, consumer: Consumer, *, is_spread: bool = False) -> None:
        super().__init__(
            region, selector=consumer.selector, no_local=consumer.options.no_local, is_spread=is_spread
        )
        self.consumer: Consumer | None = None
        self._policy = DEFAULT_POLICY
        self._limit = 0
        self._pending_bytes = 0
        self._ranked = False

    @property
    def consumers(self) -> Sequence[Consumer]:
        """Its consumer."""
        return () if self.consumer is None else (self.consumer,)

    @property
    def keeps(self) -> bool:
        """Whether nothing is discarded: then producers have to wait for space."""
        return self._limit == NO_LIMIT

    def offer(self, message: Message, ref: int, batch: int, stored: bool) -> None:
        """Line up a message; if too many wait, some are discarded."""
        del stored
        tail = self.pending.tail
        if self._limit == NO_LIMIT:
            entry = self.usage.hold(ref, message, always=True)
            entry.batch = batch
        else:
            entry = Entry(ref, message, batch, False)
        if self._ranked:
            entry.priority = message.priority
            tail.insert(bisect_right(tail, -message.priority, key=_rank), entry)
        else:
            tail.append(entry)
        if self._limit != NO_LIMIT:
            self._pending_bytes += message.size_bytes
            if len(tail) > self._limit or self._pending_bytes > self.region.limits.topic_pending_bytes_max:
                self._discard_some()
        self.region.dirty[self] = None

    def _count_again(self, entries: Iterable[Entry]) -> None:
        """These wait once more."""
        if self._limit != NO_LIMIT:
            self._pending_bytes += sum(entry.message.size_bytes for entry in entries if entry.message)

    def line_up_again(self, entries: Iterable[Entry]) -> None:
        """A consumer is gone that had these: they wait where they have waited."""
        if not self._ranked:
            self.pending.give_back(entries)
            return
        tail = self.pending.tail
        for entry in sorted(entries, key=_by_ref, reverse=True):
            tail.insert(bisect_left(tail, -entry.priority, key=_rank), entry)

    def window_free(self) -> int:
        """How many messages its consumers have room for."""
        return 0 if self.consumer is None else max(self.consumer.window_free(), 0)

    def _discard_some(self) -> None:
        """A subscriber that is too slow keeps so many and so much; its last message in any case.

        Those that its consumers have room for are not discarded because they are many.
        """
        tail, bytes_max = self.pending.tail, self.region.limits.topic_pending_bytes_max
        first = max(self.window_free() - len(self.pending.front), 0)
        while len(tail) > first + self._limit:
            if self._policy.eviction_strategy == OLDEST_EVICTION and not self._ranked:
                self._discard((tail[first],))
                del tail[first]
                continue
            places = evicted(self._policy, list(islice(tail, first, None)))
            gone = [tail[first + place] for place in places]
            for place in sorted(places, reverse=True):
                del tail[first + place]
            self._discard(gone)
        while self._pending_bytes > bytes_max and len(tail) > 1:
            oldest = min(range(len(tail)), key=lambda place: tail[place].ref) if self._ranked else 0
            self._discard((tail[oldest],))
            del tail[oldest]

    def _discard(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert entry.message is not None
            self._pending_bytes -= entry.message.size_bytes
        self.discard(entries)

    def dispatch(self) -> None:
        """Give waiting messages to the consumer until its prefetch is full or the next is not durable yet."""
        region, consumer, waiting = self.region, self.consumer, self.pending.tail
        expired: list[Entry] = []
        dispatched: list[Entry] = []
        while waiting and consumer is not None and consumer.can_accept():
            entry = waiting[0]
            if entry.batch > region.durable_batch:
                region.blocked[self] = None
                break
            waiting.popleft()
            message = self.take(entry, expired)
            if message is not None:
                consumer.dispatch(entry, message)
                dispatched.append(entry)
        self.settle(dispatched, expired)

    def take(self, entry: Entry, expired: list[Entry]) -> Message | None:
        """The message of an entry that waits no more; None if it cannot be read, or has expired."""
        message = entry.message or self.message_of(entry)
        if message is None:
            self.region.pass_over(entry)
            return None
        if self._limit != NO_LIMIT:
            self._pending_bytes -= message.size_bytes
        if message.expiration and message.expiration <= self.region.now_ms:
            expired.append(entry)
            return None
        return message

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """Nobody has to hear it."""
        del records
        self.release(entries)
        for topic, group in self.by_topic(entries):
            topic.statistics.dequeued += len(group)

    def give_back(self, entries: list[Entry]) -> None:
        """Its consumer is gone, and it with it."""
        self.release(entries)

    def release(self, entries: Iterable[Entry]) -> None:
        """What these hold is free again."""
        if self._limit == NO_LIMIT:
            for entry in entries:
                self.usage.release(entry)

    def attach(self, consumer: Consumer, policy: Policy) -> None:
        """Its consumer."""
        consumer.source = self
        self._policy = policy
        self._ranked = policy.ranks_subscribers
        consumer.apply_prefetch(policy.topic_prefetch, TOPIC_PREFETCH)
        self._limit = pending_limit(policy, consumer.prefetch_size, consumer.options.pending_limit)
        self.consumer = consumer
        self.region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """It ends with its consumer."""
        del consumer
        self.consumer = None
        self.leave()
        self.release(self.pending.entries())
        self.pending = Pending()


def _rank(entry: Entry) -> int:
    """What sorts a line by priority, the highest first."""
    return -entry.priority


def listen(topic: Topic, consumer: Consumer) -> None:
    """Give a consumer, or one part of it, a line of its own at a topic."""
    subscription = ListeningSubscription(topic.region, consumer)
    subscription.join(topic)
    subscription.attach(consumer, topic.policy)
    if consumer.options.retroactive or topic.policy.always_retroactive:
        subscription.recover(topic.remembered())
