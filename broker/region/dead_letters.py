"""Where messages go that nobody can consume any more: given up by a consumer, or expired.

What becomes of them is the destination's `deadLetterStrategy`. A dead letter is a message of its own, in one
append with the removal of the message that it was: it is never in both places, nor in none.

Source: ActiveMQ, `RegionBroker.sendToDeadLetterQueue` and its dead letter strategies.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.advisory import EXPIRED
from broker.destination import Destination
from broker.errors import BrokerError, ClientError
from broker.message import Message, rewritten
from broker.policies import INDIVIDUAL_DEAD_LETTERS, NO_DEAD_LETTERS, NOT_BY_BROKER
from broker.primitive_map import Long, Value
from broker.properties import with_properties
from broker.region.consumer import AckKind
from broker.region.parts import place_of
from broker.region.queue import Queue
from broker.region.routing import Arrivals
from broker.region.subscription import TopicSubscription
from broker.region.topic import Topic

if TYPE_CHECKING:
    from broker.policies import Policy
    from broker.region.consumer import Consumer, Source
    from broker.region.entry import Entry
    from broker.region.region import Region
    from broker.region.routing import Route
    from journal.record import Record

SHARED: Final = Destination.queue("ActiveMQ.DLQ")
"""Where what cannot have its own place goes, however many destinations there are."""
CAUSE: Final = "dlqDeliveryFailureCause"
ORIGINAL_EXPIRATION: Final = "originalExpiration"
ORIGINAL_DELIVERY_MODE: Final = "originalDeliveryMode"
AUDITED_MAX: Final = 10_000
"""Dead letters of topics that are remembered, so that what fails several subscribers is kept once."""

_log: Final = logging.getLogger("broker.region")


class DeadLetters:
    """Buries what the destinations of one region give up.

    Attributes:
        count: dead letters so far.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._audited: OrderedDict[tuple[Destination, int], None] = OrderedDict()
        self.count = 0

    def give_up(self, consumer: Consumer, entries: list[Entry], kind: AckKind, cause: str) -> int:
        """A consumer has given messages up, or found them expired; what a transaction holds stays with it.

        Args:
            consumer: has them.
            entries: in the order of their dispatch.
            kind: `POISON` or `EXPIRED`.
            cause: of the former, in the consumer's words.

        Returns:
            The batch that says so.
        """
        entries = [entry for entry in entries if entry.transaction is None]
        consumer.forget(entries)
        records: list[Record] = []
        if kind is AckKind.POISON:
            entries = self._region.redelivery.take(consumer, entries, records)
        places = [(place_of(consumer, entry), entry) for entry in entries]
        consumer.source.consumer_opened(consumer)
        if kind is AckKind.EXPIRED:
            self._advise(places)
        letters = self._letters(places, cause, expired=kind is AckKind.EXPIRED)
        consumer.source.consumed(entries, records)
        return self._post(letters, records)

    def expire(self, source: Queue | TopicSubscription, entries: Sequence[Entry]) -> int:
        """Entries that are neither dispatched nor wait any more have expired; returns the batch."""
        places: list[tuple[Source, Entry]] = [(source, entry) for entry in entries]
        self._advise(places)
        letters = self._letters(places, "", expired=True)
        records: list[Record] = []
        source.consumed(entries, records)
        return self._post(letters, records)

    def refuse(self, routes: Sequence[Route]) -> int:
        """A message had expired when it arrived; returns the batch that makes its dead letters durable."""
        letters: list[Message] = []
        for target, message in routes:
            target.statistics.expired += 1
            self._region.advisories.expired(target.destination, target.policy, message)
            letter = self._letter(target.policy, target.destination, None, message, "", expired=True)
            if letter is not None:
                letter.producer_id = message.producer_id  # sent again it is to be known as a repeat
                letters.append(letter)
        return self._post(letters, [])

    def undeliverable(self, message: Message, cause: str, records: list[Record]) -> int:
        """A message that was taken before cannot go where it was to go.

        Args:
            message: it.
            cause: why not.
            records: what else there is to record in the same append.

        Returns:
            The batch.
        """
        policy = self._region.policies.of(message.destination)
        letter = self._letter(policy, message.destination, None, message, cause, expired=False)
        return self._post([] if letter is None else [letter], records)

    def _advise(self, places: Sequence[tuple[Source, Entry]]) -> None:
        """Tell listeners of messages that have expired."""
        advisories = self._region.advisories
        if EXPIRED not in advisories.heard:
            return
        for source, entry in places:
            target = source.topic_of(entry) if isinstance(source, TopicSubscription) else source
            message = source.message_of(entry)
            if message is not None and isinstance(target, Queue | Topic):
                advisories.expired(target.destination, target.policy, message)

    # ---- letters

    def _letters(self, places: Sequence[tuple[Source, Entry]], cause: str, *, expired: bool) -> list[Message]:
        """What is to be kept of some messages."""
        letters: list[Message] = []
        for source, entry in places:
            if isinstance(source, Queue):
                policy, destination, subscription = source.policy, source.destination, None
            elif isinstance(source, TopicSubscription) and source.durable:
                topic, subscription = source.topic_of(entry), source
                if topic is None:
                    continue
                policy, destination = topic.policy, topic.destination
            else:
                continue
            if _is_dropped(policy, expired=expired) or _is_discarded(
                policy, True, expired=expired
            ):  # before it is read, perhaps from the disk
                continue
            message = source.message_of(entry)
            if message is None:
                continue
            letter = self._letter(policy, destination, subscription, message, cause, expired=expired)
            if letter is None or (subscription is not None and self._is_known(policy, letter, entry)):
                continue
            letters.append(letter)
        return letters

    def _letter(
        self,
        policy: Policy,
        destination: Destination,
        subscription: TopicSubscription | None,
        message: Message,
        cause: str,
        *,
        expired: bool,
    ) -> Message | None:
        """A message as it goes to the dead letters; None: it does not."""
        if _is_discarded(policy, message.persistent, expired=expired):
            return None
        place = dead_letter_destination(policy, destination, subscription)
        if place == destination:
            _log.info("A message of %s is given up for good: it was a dead letter already", destination)
            return None
        if expired:
            cause = f"java.lang.Throwable: Message Expired. Expiration:{message.expiration}"
        try:
            letter = self._written(message, self._open(place), policy.dead_letter_ttl_ms, cause)
        except BrokerError as error:
            _log.error("A message of %s cannot become a dead letter and is lost: %s", destination, error)
            return None
        self._region.advisories.buried(destination, policy, message)
        return letter

    def _is_known(self, policy: Policy, letter: Message, entry: Entry) -> bool:
        """Whether another subscriber's dead letter in the same place is the same message.

        It is known by its number: what is sent again, by whomever, is another one.
        """
        if not policy.dead_letter_audit:
            return False
        audited, key = self._audited, (letter.destination, entry.ref)
        if key in audited:
            return True
        audited[key] = None
        if len(audited) > AUDITED_MAX:
            audited.popitem(last=False)
        return False

    def _open(self, place: Destination) -> Destination:
        """Make the destination if it does not exist; if that cannot be, the shared queue is the one."""
        try:
            self._region.target(place)
        except ClientError as error:
            _log.warning("%s cannot be made, %s is taken: %s", place, SHARED, error)
            self._region.target(SHARED, always=True)
            return SHARED
        return place

    def _written(self, message: Message, place: Destination, ttl_ms: int, cause: str) -> Message:
        """The letter: the message with what has become of it.

        Raises:
            MessageInvalid: it is damaged.
        """
        added: dict[str, Value] = {}
        if not message.persistent:
            added[ORIGINAL_DELIVERY_MODE] = "NON_PERSISTENT"
        if cause:
            added[CAUSE] = cause
        first: dict[str, Value] = {} if ttl_ms else {ORIGINAL_EXPIRATION: Long(message.expiration)}
        letter = replace(
            message,
            destination=place,
            expiration=self._region.now_ms + ttl_ms if ttl_ms else 0,
            persistent=True,
            properties=with_properties(message, added, first),
        )
        letter = rewritten(letter, message.destination)
        letter.producer_id = ""  # it is not a send of that producer
        return letter

    def _post(self, letters: list[Message], records: list[Record]) -> int:
        """Store the letters, and what else there is to record, in one append; returns the batch."""
        region = self._region
        self.count += len(letters)
        try:
            routes = [route for letter in letters for route in region.routing.routes(letter)]
            arrivals = Arrivals(region, routes, None)
        except ClientError as error:
            _log.error("%d dead letters cannot be kept and are lost: %s", len(letters), error)
            return region.append(records) if records else 0
        records = arrivals.records + records
        batch = region.append(records) if records else 0
        arrivals.accept(batch)
        return batch


def dead_letter_destination(
    policy: Policy, destination: Destination, subscription: TopicSubscription | None
) -> Destination:
    """Where the dead letters of a destination go.

    Args:
        policy: the destination's.
        destination: of the message.
        subscription: whose message it is, if it is a durable subscription's.
    """
    if policy.dead_letter_strategy != INDIVIDUAL_DEAD_LETTERS:
        return Destination.parse(policy.dead_letter_queue)
    if destination.is_queue:
        prefix, suffix = policy.dead_letter_queue_prefix, policy.dead_letter_queue_suffix
        is_queue = policy.use_queue_for_queue_messages
    else:
        prefix, suffix = policy.dead_letter_topic_prefix, policy.dead_letter_topic_suffix
        is_queue = policy.use_queue_for_topic_messages
    name = prefix + destination.name
    if subscription is not None and policy.dead_letters_per_subscriber:
        name += f".{subscription.key[0]}:{subscription.key[1]}"
    return Destination.queue(name + suffix) if is_queue else Destination.topic(name + suffix)


def _is_dropped(policy: Policy, *, expired: bool) -> bool:
    """Whether what is given up is nobody's: the broker redelivers it no more, or never would have."""
    if expired:
        return False
    if policy.maximum_redeliveries == NOT_BY_BROKER:
        return not policy.fallback_to_dead_letter
    return not policy.send_to_dlq_if_max_retries_exceeded


def _is_discarded(policy: Policy, persistent: bool, *, expired: bool) -> bool:
    return (
        policy.dead_letter_strategy == NO_DEAD_LETTERS
        or (expired and not policy.process_expired)
        or not (persistent or policy.process_non_persistent)
    )
