"""Who listens to the advisories, and what is said to them.

Nothing is computed for an advisory that nobody listens to: what happens now and then asks `heard`, what
happens to every message asks its destination's `advised`, which is empty as long as its policy does not want
such advisories or nobody listens to that kind.

Advisories are not journaled, need no destination, and are not advised of themselves. They leave before the
messages of a turn: a client must have heard of a temporary destination before it is asked to answer to it.

Source: ActiveMQ's `AdvisoryBroker`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from broker import advisory
from broker.advisory import (
    About,
    AboutConnection,
    AboutConsumer,
    AboutDestination,
    AboutMessage,
    AboutProducer,
    AboutSubscription,
    AdvisoryMessage,
)
from broker.authorization import Permission
from broker.destination import ADVISORY_PREFIX, Destination, is_advisory
from broker.errors import MessageInvalid
from broker.message import Message, readdressed
from broker.policies import matches
from broker.primitive_map import Long, Value, encode_map
from broker.region.advisory_line import AdvisoryLine
from broker.region.parts import matching
from broker.region.topic import Topic

if TYPE_CHECKING:
    from broker.identity import BrokerIdentity
    from broker.policies import Policy
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.durable import DurableSubscription
    from broker.region.entry import Entry
    from broker.region.queue import Queue
    from broker.region.region import Region
    from broker.region.subscription import TopicSubscription

    Target = Queue | Topic

_NOTHING: Final[frozenset[str]] = frozenset()
_BY_POLICY: Final = (
    ("advisory_for_delivery", advisory.DELIVERED),
    ("advisory_for_consumed", advisory.CONSUMED),
    ("advisory_for_dispatched", advisory.DISPATCHED),
    ("advisory_for_discarding_messages", advisory.DISCARDED),
    ("advisory_for_slow_consumers", advisory.SLOW_CONSUMER),
    ("advisory_for_fast_producers", advisory.FAST_PRODUCER),
    ("advisory_when_full", advisory.FULL),
    ("send_advisory_if_no_consumers", advisory.NO_CONSUMER),
)
"""Advisories that are sent only where a policy says so."""
_Key = TypeVar("_Key")
_log: Final = logging.getLogger("broker.region")


class Advisories:
    """The advisory topics of a region.

    Attributes:
        heard: the kinds that anybody listens to.
        due: lines that may have something to dispatch.
        sent: advisories so far.
    """

    def __init__(self, region: Region, identity: BrokerIdentity, *, enabled: bool) -> None:
        """Make them.

        Args:
            region: whose.
            identity: of the broker, told in each advisory.
            enabled: anything is said at all.
        """
        self.heard = _NOTHING
        self.due: dict[AdvisoryLine, None] = {}
        self.sent = 0
        self._region = region
        self._enabled = enabled
        self._kinds: Counter[str] = Counter()
        self._by_name: dict[str, dict[AdvisoryLine, None]] = {}
        self._by_pattern: dict[tuple[str, ...], dict[AdvisoryLine, None]] = {}
        self._source_id = f"{identity.broker_id}:0:0"
        self._origin: dict[str, Value] = {
            "originBrokerName": identity.name,
            "originBrokerId": identity.broker_id,
            "originBrokerURL": identity.url,
        }

    # ---- listeners

    def attach(self, consumer: Consumer, members: Iterable[Destination]) -> None:
        """A consumer listens; it hears first of what there is.

        Args:
            consumer: the line becomes its source.
            members: the topics and wildcards with advisories that it named.
        """
        line = AdvisoryLine(consumer, tuple(members), self._region)
        for name in line.names:
            self._by_name.setdefault(name, {})[line] = None
        for pattern in line.patterns:
            self._by_pattern.setdefault(pattern, {})[line] = None
        self._kinds.update(_kinds_of(line))
        self._review_heard()
        if self._enabled:
            line.begin(self._existing(line))

    def detach(self, line: AdvisoryLine) -> None:
        """A listener is gone."""
        self.due.pop(line, None)
        for name in line.names:
            _remove(self._by_name, name, line)
        for pattern in line.patterns:
            _remove(self._by_pattern, pattern, line)
        self._kinds.subtract(_kinds_of(line))
        self._review_heard()

    def _review_heard(self) -> None:
        heard = frozenset(kind for kind, count in self._kinds.items() if count) if self._enabled else _NOTHING
        if heard == self.heard:
            return
        of_messages = frozenset(kind for _, kind in _BY_POLICY)
        changed = (heard ^ self.heard) & of_messages
        self.heard = heard
        if changed:
            for target in self._region.targets.values():
                target.advised = self.advised(target.policy)

    def advised(self, policy: Policy) -> frozenset[str]:
        """What is to be said of the messages of a destination: its policy wants it, and somebody listens."""
        heard = self.heard
        if not heard:
            return _NOTHING
        return frozenset(kind for name, kind in _BY_POLICY if kind in heard and getattr(policy, name))

    def _listeners(self, topic: str) -> list[AdvisoryLine]:
        """Those who are for a topic, and may read it."""
        found = dict(self._by_name.get(topic, {}))
        if self._by_pattern:
            elements = topic.split(".")
            for pattern, lines in self._by_pattern.items():
                if matches(pattern, elements):
                    found.update(lines)
        rights = self._region.rights
        if not (found and rights.restricted):
            return list(found)
        place = Destination.topic(topic)
        return [
            line for line in found if rights.allows(line.consumer.connection.user, Permission.READ, place)
        ]

    def dispatch(self) -> None:
        """Give listeners what they can take."""
        while self.due:
            line, _ = self.due.popitem()
            line.dispatch()

    def offer(self, message: Message) -> None:
        """A client has sent a message to an advisory topic: the listeners get it."""
        for line in self._listeners(message.destination.name):
            line.offer(message)

    # ---- saying it

    def _tell(self, topic: str, about: About | None, **properties: Value) -> None:
        lines = self._listeners(topic)
        if lines:
            message = self._message(topic, about, properties)
            for line in lines:
                line.offer(message)

    def _message(self, topic: str, about: About | None, properties: Mapping[str, Value]) -> Message:
        self.sent += 1
        return AdvisoryMessage(
            message_id=f"{self._source_id}:{self.sent}",
            destination=Destination.topic(topic),
            persistent=False,
            priority=0,
            type=advisory.MESSAGE_TYPE,
            properties=encode_map({**self._origin, **properties}),
            about=about,
        )

    # ---- who is there

    def connection_changed(self, connection: RegionConnection, *, added: bool) -> None:
        """A connection was opened, or closed."""
        if advisory.CONNECTION in self.heard:
            self._tell(f"{ADVISORY_PREFIX}{advisory.CONNECTION}", AboutConnection(connection, added))

    def consumer_changed(self, consumer: Consumer, *, added: bool) -> None:
        """A consumer was opened, or closed."""
        if advisory.CONSUMER not in self.heard or _is_listener(consumer):
            return
        destination = consumer.destination
        if not added and destination.is_temporary and destination not in self._region.targets:
            return
        topic = advisory.by_family(advisory.CONSUMER, destination)
        if self._listeners(topic):
            self._tell(
                topic, AboutConsumer(consumer, added), consumerCount=consumer_count(self._region, destination)
            )

    def subscription_removed(self, connection_id: str, subscription: DurableSubscription) -> None:
        """A durable subscription was ended."""
        if advisory.CONSUMER not in self.heard:
            return
        destination = subscription.destination
        self._tell(
            advisory.by_family(advisory.CONSUMER, destination),
            AboutSubscription(connection_id, *subscription.key),
            consumerCount=consumer_count(self._region, destination),
        )

    def producer_changed(self, producer_id: str, destination: Destination | None, *, added: bool) -> None:
        """A producer was opened, or closed."""
        if advisory.PRODUCER not in self.heard or destination is None or is_advisory(destination):
            return
        if not added and destination.is_temporary and destination not in self._region.targets:
            return
        topic = advisory.by_family(advisory.PRODUCER, destination)
        if self._listeners(topic):
            self._tell(
                topic,
                AboutProducer(producer_id, destination, added),
                producerCount=producer_count(self._region, destination),
            )

    def destination_changed(self, target: Target, *, added: bool) -> None:
        """A destination was made, or deleted."""
        kind = advisory.destination_kind(target.destination)
        if kind in self.heard and not is_advisory(target.destination):
            self._tell(_topic_of_destination(target), _about_destination(target, added))

    def _existing(self, line: AdvisoryLine) -> Iterator[Message]:
        """What a new listener is told of what there is.

        A wildcard for everything is told only who is the master, as in ActiveMQ. What there is is noted at
        once, the messages are made one by one.
        """
        region = self._region
        kinds = {advisory.kind_of(name) for name in line.names}
        kinds |= {pattern[2] for pattern in line.patterns if len(pattern) > 2}
        found: list[Iterable[tuple[str, About | None]]] = []
        if advisory.CONNECTION in kinds:
            topic = f"{ADVISORY_PREFIX}{advisory.CONNECTION}"
            connections = list(region.connections.values())
            found.append((topic, AboutConnection(each, True)) for each in connections)
        if line.wants(master := f"{ADVISORY_PREFIX}{advisory.MASTER}"):
            found.append([(master, None)])
        if not kinds.isdisjoint(advisory.OF_DESTINATIONS):
            targets = [
                target
                for target in region.targets.values()
                if advisory.destination_kind(target.destination) in kinds
                and not is_advisory(target.destination)
            ]
            found.append((_topic_of_destination(each), _about_destination(each, True)) for each in targets)
        if advisory.PRODUCER in kinds:
            found.append([each for each in self._existing_producers() if line.wants(each[0])])
        if advisory.CONSUMER in kinds:
            found.append([each for each in self._existing_consumers() if line.wants(each[0])])
        return self._retold(line, chain.from_iterable(found))

    def _existing_producers(self) -> Iterator[tuple[str, About]]:
        for connection in self._region.connections.values():
            for producer_id, destination in connection.producers.items():
                if destination is not None and not is_advisory(destination):
                    topic = advisory.by_family(advisory.PRODUCER, destination)
                    yield topic, AboutProducer(producer_id, destination)

    def _existing_consumers(self) -> Iterator[tuple[str, About]]:
        for connection in self._region.connections.values():
            for consumer in connection.consumers.values():
                if not _is_listener(consumer):
                    topic = advisory.by_family(advisory.CONSUMER, consumer.destination)
                    yield topic, AboutConsumer(consumer)

    def _retold(self, line: AdvisoryLine, found: Iterable[tuple[str, About | None]]) -> Iterator[Message]:
        region, user = self._region, line.consumer.connection.user
        for topic, about in found:
            if not (
                line.wants(topic) and region.rights.allows(user, Permission.READ, Destination.topic(topic))
            ):
                continue
            properties: dict[str, Value] = {}
            if isinstance(about, AboutConsumer):
                properties["consumerCount"] = consumer_count(region, about.consumer.destination)
            elif isinstance(about, AboutProducer) and about.destination is not None:
                properties["producerCount"] = producer_count(region, about.destination)
            yield self._message(topic, about, properties)

    # ---- what happens to messages; asked only where `advised` or `heard` says so

    def _tell_of_message(
        self, kind: str, destination: Destination, policy: Policy, message: Message, **properties: Value
    ) -> None:
        if is_advisory(destination):
            return
        named = advisory.by_family if kind == advisory.EXPIRED else advisory.by_destination
        topic = named(kind, destination)
        if not self._listeners(topic):
            return
        try:
            if kind != advisory.DEAD:
                properties["orignalMessageId"] = message.message_id
            if kind not in (advisory.DEAD, advisory.EXPIRED):
                properties["orignalDestination"] = destination.uri
            self._tell(topic, AboutMessage(message, policy.include_body_for_advisory), **properties)
        except MessageInvalid as error:
            _log.warning(
                "A message of %s is damaged, what happened to it is not told: %s", destination, error
            )

    def delivered(self, target: Target, message: Message, *, taken: bool) -> None:
        """A message has come; `taken`: there is a consumer who may get it."""
        if advisory.DELIVERED in target.advised:
            self._tell_of_message(advisory.DELIVERED, target.destination, target.policy, message)
        if taken or message.persistent or advisory.NO_CONSUMER not in target.advised:
            return
        topic = advisory.by_family(advisory.NO_CONSUMER, target.destination)
        lines = self._listeners(topic)
        if lines:
            message = readdressed(message, Destination.topic(topic))
            for line in lines:
                line.offer(message)

    def dispatched(self, target: Target, consumer: Consumer, message: Message) -> None:
        """A message was dispatched to a consumer; a slow one has caught up when no more wait."""
        if consumer.slow and not target.waiting:
            consumer.slow = False
        if advisory.DISPATCHED in target.advised:
            name = consumer_name(consumer)
            self._tell_of_message(
                advisory.DISPATCHED, target.destination, target.policy, message, consumerId=name
            )

    def consumed(self, target: Target, source: Queue | TopicSubscription, entries: Iterable[Entry]) -> None:
        """Messages were acknowledged, or are done with otherwise; the journal still has them."""
        if advisory.CONSUMED in target.advised:
            for entry in entries:
                message = source.message_of(entry)
                if message is not None:
                    self._tell_of_message(advisory.CONSUMED, target.destination, target.policy, message)

    def discarded(self, topic: Topic, subscription: TopicSubscription, entries: Iterable[Entry]) -> None:
        """A slow subscriber did not take messages in time."""
        if advisory.DISCARDED not in topic.advised:
            return
        names = [consumer_name(consumer) for consumer in subscription.consumers]
        for entry in entries:
            if entry.message is not None:
                self._tell_of_message(
                    advisory.DISCARDED,
                    topic.destination,
                    topic.policy,
                    entry.message,
                    discardedCount=subscription.discarded,
                    consumerId=names[0] if names else "",
                )

    def expired(self, destination: Destination, policy: Policy, message: Message) -> None:
        """A message's time was over."""
        if advisory.EXPIRED in self.heard:
            self._tell_of_message(advisory.EXPIRED, destination, policy, message)

    def buried(self, destination: Destination, policy: Policy, message: Message) -> None:
        """A message of a destination has become a dead letter."""
        if advisory.DEAD in self.heard:
            self._tell_of_message(advisory.DEAD, destination, policy, message)

    # ---- what goes badly

    def slow(self, target: Target, consumer: Consumer) -> None:
        """A consumer is full while messages wait for it; said once, until it has caught up.

        One that pulls is not slow, nor one whose connection alone is.
        """
        if consumer.slow or not consumer.prefetch_size or consumer.window_free() > 0:
            return
        consumer.slow = True
        if advisory.SLOW_CONSUMER in target.advised:
            topic = advisory.by_destination(advisory.SLOW_CONSUMER, target.destination)
            self._tell(topic, AboutConsumer(consumer), consumerId=consumer_name(consumer))

    def full(self, target: Target, producer_id: str, usage_name: str, used_bytes: int) -> None:
        """There is no space for what is sent to a destination."""
        if advisory.FULL in target.advised:
            topic = advisory.by_destination(advisory.FULL, target.destination)
            self._tell(topic, None, usageName=usage_name, usageCount=Long(used_bytes))
        if advisory.FAST_PRODUCER in target.advised:
            topic = advisory.by_destination(advisory.FAST_PRODUCER, target.destination)
            self._tell(topic, AboutProducer(producer_id, target.destination), producerId=producer_id)


class AdvisoryTopic(Topic):
    """A topic with advisories to which a client itself sends."""

    def accept(
        self, message: Message, ref: int, batch: int, stored: bool, sender: RegionConnection | None
    ) -> None:
        """The listeners get it."""
        super().accept(message, ref, batch, stored, sender)
        self.region.advisories.offer(message)


def consumer_count(region: Region, destination: Destination) -> int:
    """How many consumers there are of a destination, of several, or of all that match a wildcard."""
    count = 0
    for member in destination.members():
        if member.is_pattern:
            targets = matching(region, member)
        else:
            target = region.targets.get(member)
            targets = [] if target is None else [target]
        count += sum(target.consumer_count for target in targets)
    return count


def producer_count(region: Region, destination: Destination) -> int:
    """How many producers there are for a destination, or for several."""
    return sum(region.producers.get(member, 0) for member in destination.members())


def consumer_name(consumer: Consumer) -> str:
    """A consumer's id as text: `CONNECTION:SESSION:CONSUMER`."""
    return ":".join((consumer.connection.connection_id, *map(str, consumer_numbers(consumer))))


def consumer_numbers(consumer: Consumer) -> tuple[int, int]:
    """The session and the number of a consumer, where its protocol has them."""
    key = consumer.key
    if isinstance(key, tuple) and len(key) == 2 and all(isinstance(each, int) for each in key):
        return key
    known = list(consumer.connection.consumers)
    return -1, known.index(key) if key in known else 0


def _topic_of_destination(target: Target) -> str:
    return f"{ADVISORY_PREFIX}{advisory.destination_kind(target.destination)}"


def _about_destination(target: Target, added: bool) -> AboutDestination:
    owner = target.owner
    return AboutDestination(target.destination, "" if owner is None else owner.connection_id, added)


def _is_listener(consumer: Consumer) -> bool:
    """Whether it is not advised of: it names an advisory topic."""
    return any(is_advisory(member) for member in consumer.destination.members())


def _kinds_of(line: AdvisoryLine) -> frozenset[str]:
    names = (*line.names, *(".".join(pattern) for pattern in line.patterns))
    return frozenset[str]().union(*map(advisory.kinds_heard, names))


def _remove(index: dict[_Key, dict[AdvisoryLine, None]], key: _Key, line: AdvisoryLine) -> None:
    lines = index.get(key)
    if lines is not None:
        lines.pop(line, None)
        if not lines:
            del index[key]
