"""A subscription that lasts as long as its consumer; what waits for it is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from broker.region.consumer import TOPIC_PREFETCH
from broker.region.entry import Entry, Pending
from broker.region.subscription import TopicSubscription

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.topic import Topic
    from journal.record import Record


class ListeningSubscription(TopicSubscription):
    """One consumer's own line of messages; if the consumer is too slow, messages are discarded."""

    def __init__(self, region: Region, consumer: Consumer, *, is_spread: bool = False) -> None:
        super().__init__(
            region, selector=consumer.selector, no_local=consumer.options.no_local, is_spread=is_spread
        )
        self.consumer: Consumer | None = None
        self._pending_bytes = 0

    @property
    def consumers(self) -> Sequence[Consumer]:
        """Its consumer."""
        return () if self.consumer is None else (self.consumer,)

    def offer(self, message: Message, ref: int, batch: int, stored: bool) -> None:
        """Line up a message; too many that wait cost the oldest."""
        del stored
        entry = Entry(ref, message, batch, False)
        self.pending.tail.append(entry)
        self.line_up(entry)
        self._discard_oldest()
        self.region.dirty[self] = None

    def line_up(self, entry: Entry) -> None:
        """Count what an entry that waits takes of memory."""
        assert entry.message is not None
        self._pending_bytes += entry.message.size_bytes

    def window_free(self) -> int:
        """How many messages its consumers have room for."""
        return 0 if self.consumer is None else max(self.consumer.window_free(), 0)

    def _discard_oldest(self) -> None:
        """A subscriber that is too slow keeps so many and so much; its last message in any case."""
        limits, tail = self.region.limits, self.pending.tail
        if len(tail) <= limits.topic_pending_max and self._pending_bytes <= limits.topic_pending_bytes_max:
            return
        room = self.window_free() + limits.topic_pending_max
        while len(tail) > room or (self._pending_bytes > limits.topic_pending_bytes_max and len(tail) > 1):
            entry = tail.popleft()
            assert entry.message is not None
            self._pending_bytes -= entry.message.size_bytes
            self.discard((entry,))

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
        self._pending_bytes -= message.size_bytes
        if message.expiration and message.expiration <= self.region.now_ms:
            expired.append(entry)
            return None
        return message

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """Nobody has to hear it."""
        del records
        for topic, group in self.by_topic(entries):
            topic.statistics.dequeued += len(group)

    def give_back(self, entries: list[Entry]) -> None:
        """Its consumer is gone, and it with it."""
        self.release(entries)

    def release(self, entries: Iterable[Entry]) -> None:
        """What these hold is free again."""

    def attach(self, consumer: Consumer, policy: Policy) -> None:
        """Its consumer."""
        consumer.source = self
        consumer.apply_prefetch(policy.topic_prefetch, TOPIC_PREFETCH)
        self.consumer = consumer
        self.region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """It ends with its consumer."""
        del consumer
        self.consumer = None
        self.leave()
        self.release(self.pending.entries())
        self.pending = Pending()


def listen(topic: Topic, consumer: Consumer) -> None:
    """Give a consumer, or one part of it, a line of its own at a topic."""
    subscription = ListeningSubscription(topic.region, consumer)
    subscription.join(topic)
    subscription.attach(consumer, topic.policy)
