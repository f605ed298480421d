"""What all subscriptions of topics have in common: a line of messages of their own, and what they want."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from broker.properties import compiled
from broker.region.entry import Pending

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.account import Account
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry
    from broker.region.recovery import Remembered
    from broker.region.region import Region
    from broker.region.topic import Topic
    from broker.region.usage import Usage
    from journal.index import MessageIndex
    from journal.record import Record


class Sender(Protocol):
    """Who has sent a message: a connection, perhaps one that is gone."""

    @property
    def client_id(self) -> str | None:
        """Its client's."""
        ...


class TopicSubscription:
    """One line of messages of a topic, or of several.

    Attributes:
        key: its client id and name; both are empty if it has none.
        topics: what it takes from.
        home: the topic, also when the subscription has ended; None if there may be several.
        usage: what its messages are counted in: the topic's, or the broker's if there may be several.
        pending: what waits for it.
        durable: it stays without consumers, and the journal knows what waits for it.
        matches: what decides for its selector; None: it wants everything.
        no_local: it does not want what its own connection, or client, sends.
        is_choosy: it may not want a message. All that is asked of one that wants everything.
        discarded: messages that it was too slow for.
    """

    durable = False
    key = "", ""

    def __init__(self, region: Region, *, selector: str | None, no_local: bool, is_spread: bool) -> None:
        self.region = region
        self.topics: list[Topic] = []
        self.home: Topic | None = None
        self.is_spread = is_spread
        self.usage: Usage | Account = region.usage
        self.pending = Pending()
        self.matches = compiled(selector) if selector is not None and selector.strip() else None
        self.no_local = no_local
        self.is_choosy = no_local or self.matches is not None
        self.discarded = 0

    @property
    def consumers(self) -> Sequence[Consumer]:
        """Those that take from it now."""
        raise NotImplementedError

    @property
    def keeps(self) -> bool:
        """Whether messages that are not persistent wait in it until they are consumed."""
        return False

    # ---- topics

    def join(self, topic: Topic) -> None:
        """Take messages of one more topic."""
        self.topics.append(topic)
        topic.subscriptions[self] = None
        if not self.is_spread:
            self.home = topic
            self.usage = topic.usage

    def leave(self) -> None:
        """Take no more messages."""
        for topic in self.topics:
            del topic.subscriptions[self]
        self.topics = []

    def topic_of(self, entry: Entry) -> Topic | None:
        """Where a message came from; None if that is not known any more."""
        if self.home is not None:
            return self.home
        if entry.message is not None:
            destination = entry.message.destination
            return next((topic for topic in self.topics if topic.destination == destination), None)
        uri = self.region.store.state.topic_of(entry.ref)
        return next((topic for topic in self.topics if topic.uri == uri), None)

    def by_topic(self, entries: Sequence[Entry]) -> Iterable[tuple[Topic, Sequence[Entry]]]:
        """The entries by where they came from, for what is counted."""
        if self.home is not None:
            return ((self.home, entries),)
        groups: dict[Topic, list[Entry]] = {}
        for entry in entries:
            topic = self.topic_of(entry)
            if topic is not None:
                groups.setdefault(topic, []).append(entry)
        return list(groups.items())

    # ---- messages

    def wants(self, message: Message, sender: Sender | None) -> bool:
        """Whether its selector matches, and it is not what its own client has sent."""
        if self.no_local and sender is not None and self.is_own(sender):
            return False
        return self.matches is None or self.matches(message, None)

    def is_own(self, sender: Sender) -> bool:
        """Whether what this connection sends is local to it."""
        return any(consumer.connection is sender for consumer in self.consumers)

    def offer(self, message: Message, ref: int, batch: int, stored: bool) -> None:
        """Line up a message that it wants."""
        raise NotImplementedError

    def recover(self, messages: Iterable[Remembered]) -> None:
        """Line up messages that were sent before its consumer came."""
        region = self.region
        for message, batch in messages:
            if not self.is_choosy or self.wants(message, None):
                ref = region.next_ref
                region.next_ref = ref + 1
                self.offer(message, ref, batch, False)

    def message_of(self, entry: Entry) -> Message | None:
        """The entry's message, read back if need be."""
        if entry.message is not None:
            return entry.message
        uri = self.region.store.state.topic_of(entry.ref) if self.home is None else self.home.uri
        return self.region.read_back(entry, uri, self.usage, self.redelivered())

    def redelivered(self) -> MessageIndex | None:
        """What the journal knows of messages that were delivered before."""
        return None

    def discard(self, entries: Sequence[Entry]) -> None:
        """It was too slow for these."""
        self.discarded += len(entries)
        for topic, group in self.by_topic(entries):
            topic.statistics.discarded += len(group)
            if topic.advised:
                self.region.advisories.discarded(topic, self, group)

    def settle(self, dispatched: list[Entry], expired: list[Entry]) -> None:
        """Account for what one round of dispatch has done."""
        region = self.region
        if dispatched:
            for topic, group in self.by_topic(dispatched):
                topic.statistics.dispatch([entry.ref for entry in group], region)
                if topic.advised:
                    self._advise_dispatched(topic, group)
        if expired:
            for topic, group in self.by_topic(expired):
                topic.statistics.expired += len(group)
            region.dead_letters.expire(self, expired)
        home = self.home
        if home is not None and (home.advised or home.watched):
            self._notice_slow(home)

    def _advise_dispatched(self, topic: Topic, entries: Sequence[Entry]) -> None:
        """Tell listeners of messages that consumers have now."""
        for entry in entries:
            message = self.message_of(entry)
            consumer = next((each for each in self.consumers if entry.ref in each.dispatched), None)
            if message is not None and consumer is not None:
                self.region.advisories.dispatched(topic, consumer, message)

    def _notice_slow(self, topic: Topic) -> None:
        """Tell of a consumer that has no room while much waits.

        Source: ActiveMQ's subscriptions.
        """
        for consumer in self.consumers:
            much = 0 if self.durable else max(consumer.prefetch_size, 1)
            if len(self.pending) > much and not consumer.can_accept():
                if topic.advised:
                    self.region.advisories.slow(topic, consumer)
                if topic.watched:
                    self.region.slow.noticed(consumer)

    def drop_bodies(self) -> None:
        """Keep no persistent message in memory: the journal has them."""

    # ---- as the source of its consumers

    def dispatch(self) -> None:
        """Give waiting messages to consumers that have room."""
        raise NotImplementedError

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """These are done with."""
        raise NotImplementedError

    def give_back(self, entries: list[Entry]) -> None:
        """Dispatched and not acknowledged."""
        raise NotImplementedError

    def detach(self, consumer: Consumer) -> None:
        """A consumer is closed."""
        raise NotImplementedError

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again."""
        del consumer
        self.region.dirty[self] = None


class Round:
    """The consumers of one subscription, taking turns.

    Attributes:
        consumers: all of them, in the order in which they came.
        ring: those that may have room; whose turn it is stands first.
    """

    __slots__ = ("consumers", "ring")

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self.ring: deque[Consumer] = deque()

    def add(self, consumer: Consumer) -> None:
        """One more."""
        self.consumers.append(consumer)
        self.open(consumer)

    def open(self, consumer: Consumer) -> None:
        """It may have room again."""
        if not consumer.ready and not consumer.closed:
            consumer.ready = True
            self.ring.append(consumer)

    def remove(self, consumer: Consumer) -> None:
        """One less."""
        self.consumers.remove(consumer)
        if consumer.ready:
            consumer.ready = False
            self.ring.remove(consumer)

    def with_room(self) -> Consumer | None:
        """Whose turn it is; None: nobody has room."""
        ring = self.ring
        while ring:
            consumer = ring[0]
            if consumer.can_accept():
                return consumer
            ring.popleft()
            consumer.ready = False
        return None
