"""The messages that topics retain for subscribers to come, one per topic; they are in the journal.

A retained message is a copy of its own, in a place of the journal beside the topic; of those the journal's
index knows the names, and one is read when somebody wants it. Sent and retained is one append.

Source: ActiveMQ's `RetainedMessageSubscriptionRecoveryPolicy`; MQTT 5.0, §3.3.1.3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.destination import Destination, DestinationKind
from broker.errors import BrokerError, CodecError
from broker.message import Message, encode_message, rewritten
from broker.policies import matches
from broker.primitive_map import decode_map, encode_map
from broker.region.durable import DurableSubscription
from broker.region.parts import Parts
from broker.region.riders import in_one_append
from broker.region.subscription import TopicSubscription
from journal.record import RETAINED as PLACE
from journal.record import AddMessage, Audience, Record, RemoveDestination, RemoveMessage

if TYPE_CHECKING:
    from broker.region.consumer import Consumer
    from broker.region.recovery import Remembered
    from broker.region.region import Region
    from broker.region.topic import Topic

RETAIN: Final = "ActiveMQ.Retain"
"""The property that makes a topic keep a message until the next such one; one without a body ends that."""
RETAIN_BYTES: Final = RETAIN.encode()
RETAINED: Final = "ActiveMQ.Retained"
"""The property by which consumers know a message that was kept so."""
RETAINED_MAX: Final = 10_000
"""Topics that retain a message: as many as there can be destinations."""

_log: Final = logging.getLogger("broker.region")


class Retained:
    """The retained messages of one region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._names = self._found()
        """The names of the topics, each with its elements."""
        self._dormant = set(self._names)
        """Those that nobody has used since the mastership began, or since they were deleted."""

    def __len__(self) -> int:
        """How many topics retain one."""
        return len(self._names)

    def _found(self) -> dict[str, list[str]]:
        uris = [uri for uri in self._region.store.state.queues if uri.startswith(PLACE)]
        return {uri[len(PLACE) :]: uri[len(PLACE) :].split(".") for uri in uris}

    # ---- messages come

    def send(self, topic: Topic, message: Message, send: Callable[[], int]) -> int:
        """Send a message, and retain it if that is wanted, in one append; returns the batch."""
        try:
            return in_one_append(self._region, self.keep(topic, message), send)
        except BaseException:
            self._names = self._found()
            raise

    def keep(self, topic: Topic, message: Message) -> list[Record]:
        """What the journal is told of a message that may have to be retained; takes a number for it."""
        place = PLACE + topic.destination.name
        kept = self._kept(message) if topic.stored else None
        former = self._region.store.state.queues.get(place)
        if kept is None:
            return []
        if not message.body:
            if former is None:
                return []
            self._names.pop(topic.destination.name, None)
            return [RemoveDestination(place)]
        if former is None:
            if len(self._names) >= RETAINED_MAX:
                _log.warning("%s retains nothing: %d topics do already", topic.uri, len(self._names))
                return []
            name = topic.destination.name
            self._names[name] = name.split(".")
        ref = self._region.next_ref
        self._region.next_ref = ref + 1
        removed = [] if former is None else [RemoveMessage(each, place) for each in former]
        return [*removed, AddMessage(ref, place, "", 0, encode_message(kept), expiration=kept.expiration)]

    def accept(self, topic: Topic, message: Message) -> None:
        """Retain a message that is in the journal already, or is not going to be."""
        records = self.keep(topic, message)
        if records:
            self._region.append(records)

    @staticmethod
    def _kept(message: Message) -> Message | None:
        """The message as it is kept; None if it does not want to be."""
        try:
            properties = decode_map(message.properties or b"") or {}
            if str(properties.get(RETAIN)).lower() != "true":
                return None
            changed = {name: value for name, value in properties.items() if name != RETAIN}
            changed[RETAINED] = True
            return rewritten(replace(message, properties=encode_map(changed)))
        except CodecError:
            return None
        except BrokerError as error:
            _log.error("Message %s cannot be retained: %s", message.message_id, error)
            return None

    # ---- and are wanted

    def of(self, topic: Topic) -> Iterator[Remembered]:
        """The message that a topic retains, if there is one."""
        place = PLACE + topic.destination.name
        state = self._region.store.state
        for ref in list(state.queues.get(place, ())):
            expiration = state.expiration_of(ref, place)
            if expiration and expiration <= self._region.now_ms:
                self._forget(place)
                return
            message = self._region.load(ref, place)
            if message is not None:
                yield message, self._region.last_batch

    def names(self, pattern: Destination) -> list[str]:
        """The names of the topics that retain one and match a destination, which may be a wildcard."""
        found: list[str] = []
        for member in pattern.members():
            if not member.is_pattern:
                found += [member.name] if member.name in self._names else []
            else:
                wanted = member.name.split(".")
                found += [name for name, elements in self._names.items() if matches(wanted, elements)]
        return found

    def restore(self, pattern: Destination) -> None:
        """Make the topics again that retain something and match a wildcard: a consumer takes from them."""
        if self._dormant:
            for name in self._dormant.intersection(self.names(pattern)):
                self._dormant.discard(name)
                self._region.restore_topic(Destination.topic(name))

    def gone(self, destination: Destination) -> None:
        """A destination was deleted; what it retains stays."""
        if destination.name in self._names and destination.kind is DestinationKind.TOPIC:
            self._dormant.add(destination.name)

    def offer(self, consumer: Consumer) -> int:
        """Give a consumer what its topics retain; returns the batch that makes that durable, 0 if none does.

        A durable subscription gets copies of its own, which outlive this master.
        """
        source, batch = consumer.source, 0
        if isinstance(source, Parts):
            for part in source.members.values():
                self._offer_to(part, part.destination)
        else:
            batch = self._offer_to(consumer, consumer.destination)
        return batch

    def _offer_to(self, consumer: Consumer, destination: Destination) -> int:
        source, batch = consumer.source, 0
        assert isinstance(source, TopicSubscription)
        names = set(self.names(destination))
        for topic in source.topics:
            if topic.destination.name not in names:
                continue
            if isinstance(source, DurableSubscription):
                for message, _ in self.of(topic):
                    batch = self._store(source, topic, message)
            else:
                source.recover(self.of(topic))
        return batch

    def _store(self, subscription: DurableSubscription, topic: Topic, message: Message) -> int:
        """A durable subscription's own copy."""
        region = self._region
        ref = region.next_ref
        region.next_ref = ref + 1
        body = encode_message(message)
        batch = region.append(
            [
                Audience(ref, topic.uri, (subscription.key,)),
                AddMessage(ref, topic.uri, "", 0, body, message.priority, message.expiration),
            ]
        )
        subscription.offer(message, ref, batch, True)
        return batch

    # ---- and end

    def _forget(self, place: str) -> None:
        self._names.pop(place[len(PLACE) :], None)
        self._region.append((RemoveDestination(place),))

    def sweep(self) -> None:
        """Forget those whose time is over."""
        state, now_ms = self._region.store.state, self._region.now_ms
        for place, refs in list(state.expiring.items()):
            if place.startswith(PLACE) and all(each.location <= now_ms for _, each in refs.entries_after(-1)):
                self._forget(place)
