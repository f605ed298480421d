"""A topic: each message goes to every subscription that exists when it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.errors import ResourceExhausted, SendBlocked, SpaceLacking
from broker.message import Message, encode_message
from broker.region.account import account_of
from broker.region.entry import Entry, Pending
from broker.region.statistics import Statistics
from journal.index import Backlog, MessageIndex
from journal.record import AcknowledgeSubscription, AddMessage, Record

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.routing import Forwards


class Topic:
    """One topic and its subscriptions."""

    def __init__(
        self, region: Region, destination: Destination, owner: RegionConnection | None = None
    ) -> None:
        self.region = region
        self.destination = destination
        self.uri = destination.uri
        self.policy = region.policies.of(destination)
        self.usage = account_of(region.usage, self.policy, self.uri)
        self.forwards: Forwards | None = None
        self.owner = owner
        self.stored = not destination.is_temporary
        self.subscriptions: list[TopicSubscription] = []
        self.statistics = Statistics(region.now_ms)

    @property
    def consumers(self) -> list[Consumer]:
        """The consumers of its active subscriptions."""
        return [each.consumer for each in self.subscriptions if each.consumer is not None]

    @property
    def in_flight(self) -> int:
        """How many messages consumers have and did not acknowledge."""
        return sum(len(each.dispatched) for each in self.consumers)

    @property
    def keeps(self) -> bool:
        """Whether messages that are not persistent wait here until they are consumed."""
        return any(each.durable and each.consumer is not None for each in self.subscriptions)

    def send(self, message: Message, sender: RegionConnection) -> int:
        """Offer a message to every subscription; returns the batch that makes it durable, 0 if not journaled.

        A persistent message is journaled even if no durable subscription wants it: the batch carries its
        producer's sequence (resends are detected) and its fence check (a zombie acknowledges nothing).
        """
        region = self.region
        ref = region.next_ref
        batch = 0
        stored = message.persistent and self.stored
        if stored:
            records = self.records(message, ref, sender)
            size = message.size_bytes
            if size > region.limits.long_bytes:
                self.usage.check_room(size)
            batch = region.append(records)
        self.accept(message, ref, batch, stored, sender)
        return batch

    def records(self, message: Message, ref: int, sender: RegionConnection | None) -> list[Record]:
        """The journal's records of a persistent message; without a sender it is the broker's own.

        Raises:
            ResourceExhausted: the message is larger than the limit.
        """
        body = encode_message(message)
        if len(body) > self.region.limits.message_bytes_max:
            raise ResourceExhausted(
                f"The message has {len(body)} bytes; the limit is {self.region.limits.message_bytes_max}."
            )
        records: list[Record] = [
            AddMessage(ref, self.uri, message.producer_id, message.producer_sequence_id, body)
        ]
        records.extend(
            AcknowledgeSubscription(each.client_id, each.name, ref)
            for each in self.subscriptions
            if each.durable and not each.wants(sender)
        )
        return records

    def accept(
        self, message: Message, ref: int, batch: int, stored: bool, sender: RegionConnection | None
    ) -> None:
        """Offer a message that is in the journal (or need not be) to every subscription."""
        self.region.next_ref = ref + 1
        statistics = self.statistics
        statistics.enqueued += 1
        statistics.enqueued_bytes += len(message.wire or message.body or b"")
        for subscription in self.subscriptions:
            if subscription.wants(sender):
                subscription.offer(message, ref, batch, stored)


class TopicSubscription:
    """One subscriber's own line of messages; at most one consumer at a time takes from it.

    Attributes:
        client_id: with `name` the identity of a durable subscription; both empty if it is not durable.
        consumer: None while a durable subscription is not active.
    """

    def __init__(
        self,
        topic: Topic,
        client_id: str = "",
        name: str = "",
        *,
        no_local: bool = False,
        backlog: Backlog | None = None,
    ) -> None:
        self.topic = topic
        self.region = topic.region
        self.client_id = client_id
        self.name = name
        self.no_local = no_local
        self.durable = bool(name)
        self.pending = Pending(backlog, self._index, topic.usage.release)
        self.consumer: Consumer | None = None
        self.discarded = 0
        self._pending_bytes = 0
        """Of a subscriber that is not durable: what it does not take in time is dropped."""
        topic.subscriptions.append(self)

    def _index(self) -> MessageIndex | None:
        subscription = self.region.store.state.subscriptions.get((self.client_id, self.name))
        return None if subscription is None else subscription.pending

    def wants(self, sender: RegionConnection | None) -> bool:
        """Not what its own connection sent, if it said so."""
        if not self.no_local or sender is None:
            return True
        if self.consumer is not None:
            return self.consumer.connection is not sender
        return sender.client_id != self.client_id

    def offer(self, message: Message, ref: int, batch: int, stored: bool) -> None:
        """Line up a message. A non-durable subscriber that is too slow loses its oldest."""
        consumer = self.consumer
        tail = self.pending.tail
        if self.durable:
            if consumer is None and not stored:
                return
            resident_max = self.region.limits.resident_messages_max
            if stored:
                entry = Entry(ref, None, batch, True)
                if consumer is not None and len(tail) < resident_max:
                    self.topic.usage.keep(entry, message)
            else:
                try:
                    entry = self.topic.usage.hold(ref, message)
                    entry.batch = batch
                except (SendBlocked, SpaceLacking):
                    self.discarded += 1
                    self.topic.statistics.discarded += 1
                    return
            self.pending.append(entry, resident_max, self.region.durable_batch)
        elif consumer is not None:
            tail.append(Entry(ref, message, batch, False))
            self._pending_bytes += message.size_bytes
            self._discard_oldest(consumer)
        if consumer is not None:
            self.region.dirty[self] = None

    def _discard_oldest(self, consumer: Consumer) -> None:
        """A subscriber that is too slow keeps so many and so much; its last message in any case."""
        limits, tail = self.region.limits, self.pending.tail
        room = max(consumer.window_free(), 0) + limits.topic_pending_max
        while len(tail) > room or (self._pending_bytes > limits.topic_pending_bytes_max and len(tail) > 1):
            message = tail.popleft().message
            assert message is not None
            self._pending_bytes -= message.size_bytes
            self.discarded += 1
            self.topic.statistics.discarded += 1

    def dispatch(self) -> None:
        """Give waiting messages to the consumer until its prefetch is full or the next is not durable yet."""
        consumer, region, pending = self.consumer, self.region, self.pending
        expired: list[Entry] = []
        dispatched: list[int] = []
        while consumer is not None and consumer.can_accept():
            waiting = pending.head()
            if not waiting:
                break
            entry = waiting[0]
            if entry.batch > region.durable_batch:
                region.blocked[self] = None
                break
            waiting.popleft()
            message = entry.message or self.message_of(entry)
            if message is None:
                region.pass_over(entry)
                continue
            if not self.durable:
                self._pending_bytes -= message.size_bytes
            if message.expiration and message.expiration <= region.now_ms:
                expired.append(entry)
                continue
            consumer.dispatch(entry, message)
            dispatched.append(entry.ref)
        if dispatched:
            self.topic.statistics.dispatch(dispatched, region)
        if expired:
            self.topic.statistics.expired += len(expired)
            region.dead_letters.expire(self, expired)

    def message_of(self, entry: Entry) -> Message | None:
        """The entry's message, read back if need be."""
        return entry.message or self.region.read_back(entry, self.topic.uri, self.topic.usage)

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """These are done with: the journal hears it if the subscription is durable."""
        self.topic.statistics.dequeued += len(entries)
        if not self.durable:
            return
        for entry in entries:
            if entry.stored:
                records.append(AcknowledgeSubscription(self.client_id, self.name, entry.ref))
            self.topic.usage.release(entry)

    def give_back(self, entries: list[Entry]) -> None:
        """Dispatched and not acknowledged: a durable subscription keeps it for its next consumer."""
        if self.durable:
            self.pending.give_back(entries)

    def attach(self, consumer: Consumer) -> None:
        """Make it active."""
        consumer.source = self
        self.consumer = consumer
        self.region.dirty[self] = None

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again."""
        del consumer
        self.region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """The consumer is gone: a durable subscription waits for the next, any other ends."""
        del consumer
        self.consumer = None
        if not self.durable:
            self.topic.subscriptions.remove(self)

    def drop(self) -> None:
        """A durable subscription is ended: what waits in it is gone."""
        self.topic.subscriptions.remove(self)
        for entry in self.pending.entries():
            self.topic.usage.release(entry)
        self.pending = Pending()

    def drop_bodies(self) -> None:
        """Keep no persistent message of a durable subscription in memory: the journal has them."""
        if not self.durable:
            return
        if self.consumer is not None:
            for entry in self.consumer.dispatched.values():
                self.topic.usage.drop_body(entry)
        for entry in self.pending.entries():
            self.topic.usage.drop_body(entry)
