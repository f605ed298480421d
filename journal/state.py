"""The index: what is live in the store, built by one function from the records.

Recovery, the master's `append` and the tests all use `State.apply`; so will the slave that follows the
journal. Every record may be applied whatever came before it: after damage, what refers to a lost one does
nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from journal.errors import MessageUnknown
from journal.record import (
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddSubscription,
    AnyRecord,
    EpochBegin,
    EpochEnd,
    Memory,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
)

PRODUCERS_MAX: Final = 20_000
"""Producers whose last sequence is remembered (P3).

A producer that was not among the last so many when the master failed may have one repeated send stored twice.
ActiveMQ remembers 64 by default (`failoverProducersAuditDepth`); a producer id takes about 150 bytes here.
"""
TOPIC: Final = "topic://"


@dataclass(slots=True)
class LiveMessage:
    """A message that somebody still has to consume.

    Attributes:
        ref: its number.
        body: the broker's encoded message.
        location: of its `AddMessage`, packed, see `journal.record.Location`.
        waiting: durable subscriptions that have not acknowledged it; 0 on a queue.
    """

    ref: int
    body: bytes
    location: int
    waiting: int = 0


@dataclass(slots=True)
class SubscriptionState:
    """A durable subscription and what is pending for it, in order."""

    client_id: str
    name: str
    destination: str
    selector: str
    no_local: bool
    pending: dict[int, LiveMessage] = field(default_factory=dict)


class LastSequences:
    """The last sequence of each of the producers seen last.

    Two generations instead of a list in order of use: one assignment per message, however many producers.
    Between half of the limit and the limit are remembered.
    """

    def __init__(self, limit: int = PRODUCERS_MAX) -> None:
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._young_max = max(limit // 2, 1)

    def record(self, producer_id: str, sequence: int) -> None:
        """Notes a sequence; a lower one than the last changes nothing."""
        last = self._young.get(producer_id)
        if last is None:
            last = self._old.get(producer_id, -1)
            if len(self._young) >= self._young_max:
                self._old = self._young
                self._young = {}
            self._young[producer_id] = max(sequence, last)
        elif sequence > last:
            self._young[producer_id] = sequence

    def get(self, producer_id: str) -> int:
        """The last sequence, -1 if the producer is not known."""
        last = self._young.get(producer_id)
        return self._old.get(producer_id, -1) if last is None else last

    def known(self) -> dict[str, int]:
        """All that is remembered, those seen last at the end."""
        return {producer_id: self.get(producer_id) for producer_id in (*self._old, *self._young)}

    def __len__(self) -> int:
        """Number of producers remembered."""
        return len(self._young.keys() | self._old.keys())


def subscription_matches(pattern: str, topic: str) -> bool:
    """Whether a durable subscription to a destination receives what is sent to a topic.

    Source: ActiveMQ's wildcards: `*` is one element of a name, a last `>` is all that follow.
    """
    if pattern == topic:
        return True
    if not pattern.startswith(TOPIC):
        return False
    wanted = pattern[len(TOPIC) :].split(".")
    elements = topic[len(TOPIC) :].split(".")
    for i, element in enumerate(wanted):
        if element == ">":
            return True
        if i >= len(elements) or element not in ("*", elements[i]):
            return False
    return len(wanted) == len(elements)


class State:
    """The live messages, subscriptions and producers of a store. Read it freely, change it by `apply` only.

    Attributes:
        next_ref: one above the highest number ever given to a message.
        queues: the live messages of each queue, in the order in which they were added.
        topics: the messages of each topic that durable subscriptions still wait for, in order.
        subscriptions: by client id and subscription name.
        producers: the last sequence of each producer.
    """

    def __init__(self, *, producers_max: int = PRODUCERS_MAX) -> None:
        self._producers_max = producers_max
        self._appliers: dict[type, Callable[..., None]] = {
            RemoveMessage: self._remove_message,
            AddDestination: self._add_destination,
            RemoveDestination: self._remove_destination,
            AddSubscription: self._add_subscription,
            RemoveSubscription: self._remove_subscription,
            AcknowledgeSubscription: self._acknowledge_subscription,
            Memory: self._remember,
            EpochBegin: lambda *_: None,
            EpochEnd: lambda *_: None,
        }
        self.clear()

    def clear(self) -> None:
        """Forget everything, to be built again from carried records."""
        self.next_ref = 1
        self.queues: dict[str, dict[int, LiveMessage]] = {}
        self.topics: dict[str, dict[int, LiveMessage]] = {}
        self.subscriptions: dict[tuple[str, str], SubscriptionState] = {}
        self.producers = LastSequences(self._producers_max)
        self._topic_of: dict[int, str] = {}  # the topic of each message in `topics`
        self._subscribed: dict[
            str, list[SubscriptionState]
        ] = {}  # topic to subscriptions, filled when needed

    def apply(self, record: AnyRecord, location: int) -> None:
        """Takes one record into account; never fails."""
        if type(record) is AddMessage:
            self.add_message(
                record.ref,
                record.destination,
                record.producer_id,
                record.producer_sequence_id,
                record.body,
                location,
            )
        else:
            self._appliers[type(record)](record, location)

    def add_message(  # noqa: PLR0917 - keywords take longer, and recovery makes millions of calls
        self, ref: int, destination: str, producer_id: str, sequence: int, body: bytes, location: int
    ) -> None:
        """The part of `apply` for an `AddMessage`, by its fields; for recovery, which reads millions."""
        if ref >= self.next_ref:
            self.next_ref = ref + 1
        if producer_id:
            self.producers.record(producer_id, sequence)
        messages = self.queues.get(destination)
        if messages is None:
            if destination.startswith(TOPIC):
                self._add_topic_message(ref, destination, body, location)
                return
            messages = self.queues[destination] = {}
        messages[ref] = LiveMessage(ref, body, location)

    def last_producer_sequence(self, producer_id: str) -> int:
        """The highest sequence stored for a producer, -1 if it is not known."""
        return self.producers.get(producer_id)

    def topics_of(self, subscription: SubscriptionState) -> list[str]:
        """The topics with messages that a durable subscription receives."""
        return [topic for topic in self.topics if subscription_matches(subscription.destination, topic)]

    def message(self, ref: int) -> LiveMessage:
        """The live message with a number.

        Raises:
            MessageUnknown: there is none.
        """
        for messages in (*self.queues.values(), *self.topics.values()):
            message = messages.get(ref)
            if message is not None:
                return message
        raise MessageUnknown(f"no live message has the number {ref}")

    def _add_topic_message(self, ref: int, topic: str, body: bytes, location: int) -> None:
        subscriptions = self._subscribed.get(topic)
        if subscriptions is None:
            subscriptions = self._subscribed[topic] = [
                s for s in self.subscriptions.values() if subscription_matches(s.destination, topic)
            ]
        if not subscriptions or ref in self._topic_of:
            return
        message = LiveMessage(ref, body, location, waiting=len(subscriptions))
        self._topic_of[ref] = topic
        self.topics.setdefault(topic, {})[ref] = message
        for subscription in subscriptions:
            subscription.pending[ref] = message

    def _remove_message(self, record: RemoveMessage, _location: int) -> None:
        messages = self.queues.get(record.destination)
        if messages is not None:
            messages.pop(record.ref, None)
        elif record.ref in self.topics.get(record.destination, ()):
            del self.topics[record.destination][record.ref]
            del self._topic_of[record.ref]
            for subscription in self.subscriptions.values():
                subscription.pending.pop(record.ref, None)

    def _add_destination(self, record: AddDestination, _location: int) -> None:
        destinations = self.topics if record.destination.startswith(TOPIC) else self.queues
        destinations.setdefault(record.destination, {})

    def _remove_destination(self, record: RemoveDestination, _location: int) -> None:
        self.queues.pop(record.destination, None)
        for ref in self.topics.pop(record.destination, ()):
            del self._topic_of[ref]
            for subscription in self.subscriptions.values():
                subscription.pending.pop(ref, None)

    def _add_subscription(self, record: AddSubscription, _location: int) -> None:
        key = record.client_id, record.name
        known = self.subscriptions.get(key)
        if known is not None and (known.destination, known.selector) == (record.destination, record.selector):
            known.no_local = record.no_local
            return
        if known is not None:  # JMS: another topic or selector is another subscription
            self._drop_subscription(key)
        self.subscriptions[key] = SubscriptionState(
            record.client_id, record.name, record.destination, record.selector, record.no_local
        )
        self._subscribed.clear()

    def _remove_subscription(self, record: RemoveSubscription, _location: int) -> None:
        self._drop_subscription((record.client_id, record.name))

    def _drop_subscription(self, key: tuple[str, str]) -> None:
        subscription = self.subscriptions.pop(key, None)
        self._subscribed.clear()
        if subscription is not None:
            for ref in subscription.pending:
                self._release(ref, subscription.pending[ref])

    def _acknowledge_subscription(self, record: AcknowledgeSubscription, _location: int) -> None:
        subscription = self.subscriptions.get((record.client_id, record.name))
        if subscription is not None:
            message = subscription.pending.pop(record.ref, None)
            if message is not None:
                self._release(record.ref, message)

    def _remember(self, record: Memory, _location: int) -> None:
        self.next_ref = max(self.next_ref, record.next_ref)
        for producer_id, sequence in record.producers.items():
            self.producers.record(producer_id, sequence)

    def _release(self, ref: int, message: LiveMessage) -> None:
        """One durable subscription less waits for a message of a topic."""
        message.waiting -= 1
        if message.waiting == 0:
            del self.topics[self._topic_of.pop(ref)][ref]
