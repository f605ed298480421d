"""A topic: each message goes to every subscription that exists when it is sent, and wants it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.errors import ResourceExhausted
from broker.message import Message, encode_message
from broker.region.account import account_of
from broker.region.durable import DurableSubscription
from broker.region.entry import Entry
from broker.region.recovery import Recovery, Remembered
from broker.region.retained import RETAIN_BYTES
from broker.region.stamping import stamps
from broker.region.statistics import Statistics
from journal.record import AcknowledgeSubscription, AddMessage, Audience, Record

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from broker.region.routing import Forwards
    from broker.region.subscription import Sender, TopicSubscription


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
        self.stamps = stamps(self.policy)
        """Messages get the broker's time."""
        self.subscriptions: dict[TopicSubscription, None] = {}
        self.statistics = Statistics(region.now_ms)
        self.advised = region.advisories.advised(self.policy)
        """Which advisories there are to be of what happens here."""
        self.recovery = Recovery(self.policy)
        self.watched = bool(self.policy.slow_consumer_strategy)
        """Consumers that are too slow are ended."""
        self._remembers = self.recovery.is_on
        self.retaining = False
        """What is being sent is retained already, or does not have to be."""

    @property
    def consumers(self) -> list[Consumer]:
        """The consumers of its active subscriptions."""
        return [consumer for each in self.subscriptions for consumer in each.consumers]

    @property
    def consumer_count(self) -> int:
        """How many consumers it has."""
        return len(self.consumers)

    @property
    def waiting(self) -> int:
        """How many messages wait for subscribers that are there."""
        return sum(len(each.pending) for each in self.subscriptions if each.consumers)

    @property
    def in_flight(self) -> int:
        """How many messages consumers have and did not acknowledge."""
        return sum(len(each.dispatched) for each in self.consumers)

    @property
    def keeps(self) -> bool:
        """Whether messages that are not persistent wait here until they are consumed."""
        return any(each.keeps for each in self.subscriptions)

    def send(self, message: Message, sender: RegionConnection | None) -> int:
        """Offer a message to every subscription; returns the batch that makes it durable, 0 if not journaled.

        A persistent message is journaled even if no durable subscription wants it: the batch carries its
        producer's sequence (resends are detected) and its fence check (a zombie acknowledges nothing).
        """
        properties = message.properties
        if properties is not None and RETAIN_BYTES in properties and not self.retaining:
            return self._send_retained(message, sender)
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

    def _send_retained(self, message: Message, sender: RegionConnection | None) -> int:
        """The same with what makes it, or the end of it, the topic's retained message."""
        self.retaining = True
        try:
            return self.region.retained.send(self, message, lambda: self.send(message, sender))
        finally:
            self.retaining = False

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
        added = AddMessage(
            ref,
            self.uri,
            message.producer_id,
            message.producer_sequence_id,
            body,
            message.priority,
            message.expiration,
        )
        durable = [each for each in self.subscriptions if each.durable]
        wanting = [each for each in durable if not each.is_choosy or each.wants(message, sender)]
        if len(wanting) == len(durable):
            return [added]
        return [Audience(ref, self.uri, tuple(each.key for each in wanting)), added]

    def unwanted(self, message: Message, ref: int, sender: Sender | None) -> list[Record]:
        """Which durable subscriptions do not want a message that a branch has held."""
        return [
            AcknowledgeSubscription(*each.key, ref)
            for each in self.subscriptions
            if each.is_choosy and each.durable and not each.wants(message, sender)
        ]

    def accept(
        self, message: Message, ref: int, batch: int, stored: bool, sender: RegionConnection | None
    ) -> None:
        """Offer a message that is in the journal (or need not be) to every subscription."""
        self.region.next_ref = ref + 1
        statistics = self.statistics
        statistics.enqueued += 1
        statistics.enqueued_bytes += len(message.wire or message.body or b"")
        if self._remembers or (message.properties and RETAIN_BYTES in message.properties):
            self._remember(message, batch)
        taken = False
        for subscription in self.subscriptions:
            if not subscription.is_choosy or subscription.wants(message, sender):
                subscription.offer(message, ref, batch, stored)
                taken = True
        if self.advised:
            self.region.advisories.delivered(self, message, taken=taken)

    def admit(self, message: Message, ref: int, batch: int, sender: Sender | None) -> None:
        """Offer a message that a branch has held; there may be younger ones."""
        self.statistics.enqueued += 1
        self.statistics.enqueued_bytes += len(message.wire or message.body or b"")
        if self._remembers or (message.properties and RETAIN_BYTES in message.properties):
            self._remember(message, batch)
        taken = False
        for subscription in self.subscriptions:
            if not subscription.is_choosy or subscription.wants(message, sender):
                if isinstance(subscription, DurableSubscription):
                    subscription.admit(Entry(ref, None, batch, True))
                else:
                    subscription.offer(message, ref, batch, True)
                taken = True
        if self.advised:
            self.region.advisories.delivered(self, message, taken=taken)

    def _remember(self, message: Message, batch: int) -> None:
        if self._remembers:
            self.recovery.add(message, batch, self.region.now_ms)
        if not self.retaining and message.properties and RETAIN_BYTES in message.properties:
            self.region.retained.accept(self, message)

    def remembered(self, *, all_: bool = True) -> Iterator[Remembered]:
        """What a retroactive consumer gets: the retained message, and `all_` that its policy remembers."""
        yield from self.region.retained.of(self)
        if all_ and self._remembers:
            yield from self.recovery.messages(self.region.now_ms)
