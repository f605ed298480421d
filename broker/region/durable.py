"""A durable subscription: the journal knows what waits for it, whether it has a consumer or not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from broker.authorization import Permission
from broker.errors import SendBlocked, SpaceLacking
from broker.region.consumer import DURABLE_TOPIC_PREFETCH
from broker.region.entry import Entry, Pending
from broker.region.ranked import RankedPending
from broker.region.subscription import Round, TopicSubscription
from journal.record import (
    NORMAL_PRIORITY,
    AcknowledgeSubscription,
    AddSubscription,
    Record,
    RemoveSubscription,
)

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.message import Message
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.subscription import Sender
    from journal.index import Backlog, MessageIndex


class DurableSubscription(TopicSubscription):
    """A line of persistent messages that outlives its consumers.

    At most one consumer at a time takes from it, unless it is shared: then each message goes to one of them.

    Attributes:
        key: client id and name; the client id is empty if clients of any id share it.
        destination: a topic, a wildcard, or several of these.
        selector: "" if it has none.
        away_since_ms: since when it has had no consumer; 0: it has one.
    """

    durable = True

    def __init__(
        self,
        region: Region,
        record: AddSubscription,
        destination: Destination,
        backlog: Backlog | None = None,
    ) -> None:
        self._members = destination.members()
        super().__init__(
            region,
            selector=record.selector,
            no_local=record.no_local,
            is_spread=len(self._members) > 1 or destination.is_pattern,
        )
        self.key = record.client_id, record.name
        self.destination = destination
        self.selector = record.selector
        self.shared = record.shared
        self.away_since_ms = record.away_since_ms or region.now_ms
        self.pending = Pending(backlog, self._index, self._release)
        self._round = Round()
        self._admitted_batch = 0
        """Of the last commit of a branch; its messages may stand anywhere among those that wait."""
        ranks = region.store.state.ranks
        if backlog and ranks and any(topic in ranks for topic in self._known_topics()):
            self._rank()

    @property
    def consumers(self) -> Sequence[Consumer]:
        """Those that take from it now."""
        return self._round.consumers

    @property
    def keeps(self) -> bool:
        """While it has a consumer."""
        return bool(self._round.consumers)

    def _index(self) -> MessageIndex | None:
        subscription = self.region.store.state.subscriptions.get(self.key)
        return None if subscription is None else subscription.pending

    # ---- priorities

    def _known_topics(self) -> list[str]:
        """The topics of which the journal has messages for it."""
        subscription = self.region.store.state.subscriptions.get(self.key)
        return [] if subscription is None else self.region.store.state.topics_of(subscription)

    def _rank(self) -> None:
        """From now on priorities count: a message has another one than the normal one."""
        if self._prioritized:
            ranks = self.region.store.state.ranks
            ranked = RankedPending(self._release)
            ranked.take_over(self.pending, [ranks.get(topic) for topic in self._known_topics()])
            self.pending = ranked

    @property
    def _prioritized(self) -> bool:
        """Whether its policy lets priorities count; of several topics that of the first."""
        return self.region.policies.of(self._members[0]).prioritized_messages

    def _unrank(self) -> None:
        """Nothing waits: the quicker way again."""
        self.pending = Pending(None, self._index, self._release)

    def record(self) -> AddSubscription:
        """What the journal is told of it."""
        return AddSubscription(
            *self.key,
            self.destination.uri,
            self.selector,
            self.no_local,
            self.shared,
            0 if self._round.consumers else self.away_since_ms,
        )

    def is_own(self, sender: Sender) -> bool:
        """While it is away, what its client sends counts."""
        consumers = self._round.consumers
        if consumers:
            return any(consumer.connection is sender for consumer in consumers)
        return bool(self.key[0]) and sender.client_id == self.key[0]

    # ---- messages

    def _release(self, entry: Entry) -> None:
        self.usage.release(entry)

    def offer(self, message: Message, ref: int, batch: int, stored: bool) -> None:
        """Line up a message; while nobody is there only if it is persistent."""
        region, active = self.region, bool(self._round.consumers)
        resident_max = region.limits.resident_messages_max
        if stored:
            entry = Entry(ref, None, batch, True)
            if active and len(self.pending.tail) < resident_max:
                self.usage.keep(entry, message)
        elif not active:
            return
        else:
            try:
                entry = self.usage.hold(ref, message)
                entry.batch = batch
            except (SendBlocked, SpaceLacking):
                self.discard((Entry(ref, message, 0, False),))
                return
        if message.priority != NORMAL_PRIORITY and not isinstance(self.pending, RankedPending):
            self._rank()
        if isinstance(self.pending, RankedPending):
            entry.priority = message.priority
        self.pending.append(entry, resident_max, region.durable_batch)
        if active:
            region.dirty[self] = None

    def dispatch(self) -> None:
        """Give waiting messages to consumers until nobody has room or the next is not durable yet."""
        region, pending, ring = self.region, self.pending, self._round.ring
        if self._admitted_batch > region.durable_batch:
            region.blocked[self] = None
            return
        expired: list[Entry] = []
        unread: list[Entry] = []
        dispatched: list[Entry] = []
        while (consumer := self._round.with_room()) is not None:
            waiting = pending.head()
            if not waiting:
                break
            entry = waiting[0]
            if entry.batch > region.durable_batch:
                region.blocked[self] = None
                break
            waiting.popleft()
            message = entry.message or self.fetch(entry)
            if message is None:
                region.pass_over(entry)
            elif message.expiration and message.expiration <= region.now_ms:
                expired.append(entry)
            elif self.is_spread and region.rights.restricted and not _may_read(consumer, message):
                unread.append(entry)
            else:
                ring.rotate(-1)
                consumer.dispatch(entry, message)
                dispatched.append(entry)
        if isinstance(pending, RankedPending) and not pending:
            self._unrank()
        self.settle(dispatched, expired)
        if unread:
            region.finish(self, unread)

    def redelivered(self) -> MessageIndex | None:
        """What the journal knows of messages that were delivered before."""
        subscription = self.region.store.state.subscriptions.get(self.key)
        return None if subscription is None else subscription.redelivered

    def fetch(self, entry: Entry) -> Message | None:
        """The message of an entry to be dispatched; None: it cannot be read, or not be delivered yet."""
        return None if self.region.redelivery.delays(self, entry) else self.message_of(entry)

    def waiting_among(self, refs: Collection[int]) -> list[Entry]:
        """The entries of these numbers that wait."""
        return self.pending.among(refs)

    def withdraw(self, entries: Sequence[Entry]) -> None:
        """Take entries out of those that wait; whoever does it goes on with `consumed` at once."""
        self.pending.withdraw(entries)

    def expire(self, entries: list[Entry]) -> None:
        """Their time is over: they are not dispatched any more."""
        self.settle([], entries)

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """These are done with: the journal hears it."""
        for topic, group in self.by_topic(entries):
            topic.statistics.dequeued += len(group)
            if topic.advised:
                self.region.advisories.consumed(topic, self, group)
        for entry in entries:
            if entry.stored:
                records.append(AcknowledgeSubscription(*self.key, entry.ref))
            self.usage.release(entry)

    def give_back(self, entries: list[Entry]) -> None:
        """Dispatched and not acknowledged: it waits for the next, or another, consumer."""
        if not self.topics:  # it was ended while a transaction held them
            for entry in entries:
                self.usage.release(entry)
        elif entries:
            self.pending.give_back(entries)
            self.region.dirty[self] = None

    def admit(self, entry: Entry) -> None:
        """A message that a branch has held waits, among those of its age."""
        if self.topics:
            if isinstance(self.pending, RankedPending):
                state = self.region.store.state
                entry.priority = state.priority_of(entry.ref, state.topic_of(entry.ref))
            self.pending.insert(entry)
            self._admitted_batch = entry.batch
            self.region.dirty[self] = None

    # ---- consumers

    def attach(self, consumer: Consumer) -> None:
        """A consumer takes from it."""
        consumer.source = self
        if not self.is_spread or len(self._members) == 1:
            policy = self.region.policies.of(self.destination)
            consumer.apply_prefetch(policy.durable_topic_prefetch, DURABLE_TOPIC_PREFETCH)
        self._round.add(consumer)
        self.away_since_ms = 0
        self.region.dirty[self] = None
        is_empty = not len(self.pending)
        for topic in self.topics:
            if consumer.options.retroactive or topic.policy.always_retroactive:
                self.recover(topic.remembered(all_=is_empty))

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again."""
        self._round.open(consumer)
        self.region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """A consumer less; without any it is away."""
        self._round.remove(consumer)
        if not self._round.consumers:
            self.away_since_ms = self.region.now_ms
            self.region.subscriptions.changed(self)

    # ---- the end

    def drop(self) -> Record:
        """It is ended, and what waits in it is gone; returns what the journal is told."""
        self.leave()
        for entry in self.pending.entries():
            self.usage.release(entry)
        self.pending = Pending()
        return RemoveSubscription(*self.key)

    def drop_bodies(self) -> None:
        """Keep no persistent message in memory: the journal has them."""
        drop_body = self.usage.drop_body
        for consumer in self._round.consumers:
            for entry in consumer.dispatched.values():
                drop_body(entry)
        for entry in self.pending.entries():
            drop_body(entry)


def _may_read(consumer: Consumer, message: Message) -> bool:
    """Whether a consumer's user may read what a wildcard has brought."""
    connection = consumer.connection
    return connection.region.rights.allows(connection.user, Permission.READ, message.destination)
