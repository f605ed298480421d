"""Where a message goes: to its destination, to several, and to what is fed by them.

What is sent to several places becomes one message in each, and one append to the journal: all or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from broker.destination import Destination, DestinationKind
from broker.errors import InvalidDestination, MessageInvalid, RequestInvalid, ResourceExhausted
from broker.message import Message, readdressed
from broker.policies import ONE, REST, matches
from broker.region.queue import Queue

if TYPE_CHECKING:
    from broker.forwarding import Forwarding
    from broker.region.connection import RegionConnection
    from broker.region.region import Region
    from broker.region.topic import Topic
    from journal.record import AddMessage, Record

COPIES_MAX: Final = 10_000
"""Copies of one message; as many as there can be destinations."""

Route = tuple["Queue | Topic", Message]
_target_of: Final = itemgetter(0)


class Forwards:
    """What one destination feeds.

    Attributes:
        stays: messages stay in the destination itself, too.
        destinations: made if they do not exist.
        queues: of a virtual topic; they come and go.
    """

    __slots__ = ("destinations", "queues", "stays")

    def __init__(self, stays: bool, destinations: tuple[Destination, ...], queues: dict[Queue, None]) -> None:
        self.stays = stays
        self.destinations = destinations
        self.queues = queues


class Routing:
    """Knows what feeds what.

    Attributes:
        forwarding: as configured.
    """

    def __init__(self, region: Region, forwarding: Forwarding) -> None:
        self._region = region
        self.forwarding = forwarding
        self._fed: dict[str, dict[Queue, None]] = {}

    # ---- destinations come and go

    def made(self, target: Queue | Topic) -> None:
        """There is a new destination: find out what it feeds and what feeds it."""
        destination = target.destination
        if destination.is_temporary:
            return
        queues: dict[Queue, None] = {}
        if isinstance(target, Queue):
            for topic in self._topics_of(destination):
                self._fed.setdefault(topic, {})[target] = None
        elif any(each.covers(destination.name.split(".")) for each in self.forwarding.virtual_topics):
            queues = self._fed.setdefault(destination.name, {})
        composite = self.forwarding.composite_of(destination)
        mirror = self.forwarding.mirror_of(destination)
        further = () if composite is None else composite.forward_to
        stays = composite is None or not composite.forward_only
        if stays and mirror is not None:
            further = (*further, mirror)
        is_virtual = destination.kind is DestinationKind.TOPIC and self._fed.get(destination.name) is queues
        if is_virtual or further:
            target.forwards = Forwards(stays, further, queues)

    def gone(self, target: Queue | Topic) -> None:
        """A destination was deleted."""
        if isinstance(target, Queue):
            for topic in self._topics_of(target.destination):
                queues = self._fed.get(topic)
                if queues is not None:
                    queues.pop(target, None)
                    if not queues and Destination.topic(topic) not in self._region.targets:
                        del self._fed[topic]
        elif not self._fed.get(target.destination.name, True):
            del self._fed[target.destination.name]

    def queues_wanted(self, destination: Destination) -> list[Destination]:
        """The queues that wildcard consumers of a new virtual topic's queues wait for."""
        wildcards = self._region.wildcards.patterns()
        if not wildcards or destination.kind is not DestinationKind.TOPIC:
            return []
        return [
            queue
            for wildcard in wildcards
            if wildcard.kind is DestinationKind.QUEUE
            for queue in self._queues_between(wildcard, destination)
        ]

    def queues_listened_to(self, wildcard: Destination) -> list[Destination]:
        """The queues that a new wildcard consumer waits for, one for each virtual topic there is."""
        if wildcard.kind is not DestinationKind.QUEUE:
            return []
        topics = [Destination.topic(name) for name in self._fed]
        return [
            queue
            for topic in topics
            if topic in self._region.targets
            for queue in self._queues_between(wildcard, topic)
        ]

    def _queues_between(self, wildcard: Destination, topic: Destination) -> Iterator[Destination]:
        """`Consumer.A.VirtualTopic.X`, for `Consumer.A.VirtualTopic.>` and `VirtualTopic.X`."""
        pattern, elements = wildcard.name.split("."), topic.name.split(".")
        for virtual in self.forwarding.virtual_topics:
            consumer = pattern[: len(virtual.prefix)]
            queue = (*consumer, *elements, *virtual.postfix)
            if (
                virtual.covers(elements)
                and ONE not in consumer
                and REST not in consumer
                and matches(virtual.prefix, consumer)
                and matches(pattern, queue)
            ):
                yield Destination.queue(".".join(queue))

    def _topics_of(self, queue: Destination) -> list[str]:
        elements = queue.name.split(".")
        found = (each.topic_of(elements) for each in self.forwarding.virtual_topics)
        return [topic for topic in found if topic is not None]

    # ---- messages

    def routes(self, message: Message) -> list[Route]:
        """Where a message goes, and as what; destinations that do not exist are made.

        Raises:
            InvalidDestination: one of them cannot be sent to.
            ResourceExhausted: there are too many destinations, or it would be too many messages.
            RequestInvalid: the message cannot be readdressed.
        """
        found: dict[Queue | Topic, Message] = {}
        try:
            for member in message.destination.members():
                self._add(message, member, found, set())
        except MessageInvalid as error:
            raise RequestInvalid(str(error)) from error
        if not found:
            raise InvalidDestination(f"{message.destination} is forwarded only in a circle.")
        return list(found.items())

    def _add(
        self,
        message: Message,
        destination: Destination,
        found: dict[Queue | Topic, Message],
        path: set[Destination],
    ) -> None:
        """Add a destination and what it feeds; nothing is fed twice, nor feeds itself in a circle."""
        if destination in path:
            return
        target = self._region.target(destination)
        if message.destination != destination:
            message = readdressed(message, destination)
        forwards = target.forwards
        if forwards is None or forwards.stays:
            found.setdefault(target, message)
        if len(found) > COPIES_MAX:
            raise ResourceExhausted(f"A message goes to at most {COPIES_MAX} destinations at once.")
        if forwards is None:
            return
        path = path | {destination}
        for further in (*forwards.destinations, *[queue.destination for queue in forwards.queues]):
            self._add(message, further, found, path)

    def targets(self, destination: Destination) -> list[Queue | Topic]:
        """The destination, or each that a composite one lists, made if it does not exist.

        Raises:
            InvalidDestination, ResourceExhausted: see `Region.target`.
        """
        return [self._region.target(member) for member in destination.members()]


class Arrivals:
    """Messages that arrive together: first their records, then, once these are appended, their places.

    Attributes:
        records: of the persistent ones; to be appended before `accept`, with nothing sent in between.
    """

    def __init__(
        self,
        region: Region,
        routes: Sequence[Route],
        connection: RegionConnection | None,
        scheduled: Sequence[Message] = (),
        drafts: Sequence[AddMessage | None] = (),
    ) -> None:
        """Make the records.

        Args:
            region: where they arrive.
            routes: where they go.
            connection: sent them; None: the broker itself.
            scheduled: further messages, which are due later.
            drafts: for each of `routes` its record but for the number, if there is one; none for any: empty.

        Raises:
            ResourceExhausted: a message is too large.
        """
        self._scheduled = region.schedule.records(scheduled) if scheduled else []
        self._region = region
        self._routes = routes
        self._connection = connection
        self._first_ref = region.next_ref
        self.records: list[Record] = [*self._scheduled]
        append = self.records.append
        drawn = drafts or repeat(None, len(routes))
        for ref, ((target, message), draft) in enumerate(zip(routes, drawn, strict=True), self._first_ref):
            if draft is not None:
                draft.ref = ref
                append(draft)
                continue
            if not (message.persistent and target.stored):
                continue
            if isinstance(target, Queue):
                append(target.record(message, ref))
            else:
                self.records.extend(target.records(message, ref, connection))

    @classmethod
    def of(
        cls,
        region: Region,
        messages: Sequence[Message],
        connection: RegionConnection | None,
        drafts: Sequence[AddMessage | None] = (),
    ) -> Arrivals:
        """What becomes of messages that were sent together.

        Args:
            region: where they arrive.
            messages: in the order sent.
            connection: sent them; None: the broker itself.
            drafts: for each of them what `Queue.draft` made of it where it seemed to go; empty: nothing.

        Raises:
            ClientError: one of them cannot be taken.
        """
        routes: list[Route] = []
        scheduled: list[Message] = []
        drawn: list[AddMessage | None] = []
        targets = region.targets
        destination: Destination | None = None
        target: Queue | Topic | None = None
        for message, draft in zip(messages, drafts or repeat(None, len(messages)), strict=True):
            if message.properties is not None and region.schedule.wants(message):
                scheduled.append(message)
                continue
            if message.destination is not destination:  # most have the one before's
                destination = message.destination
                target = targets.get(destination)
            if target is not None and target.forwards is None:
                routes.append((target, message))
                drawn.append(draft if target.stored else None)
            else:
                destination = None  # a destination may come into being
                found = region.routing.routes(message)
                routes += found
                drawn += [None] * len(found)
        return cls(region, routes, connection, scheduled, drawn)

    def accept(self, batch: int, *, volatile_batch: int = 0) -> None:
        """Put them where they belong.

        Args:
            batch: holds their records.
            volatile_batch: those that are not stored wait for this one.
        """
        if self._scheduled:
            self._region.schedule.accept(self._scheduled)
        ref = self._first_ref
        for target, routes in groupby(self._routes, key=_target_of):
            messages = [message for _, message in routes]
            if isinstance(target, Queue):
                target.accept_all(messages, ref, batch, volatile_batch)
                ref += len(messages)
                continue
            for message in messages:
                stored = message.persistent and target.stored
                target.accept(message, ref, batch if stored else volatile_batch, stored, self._connection)
                ref += 1


def send_along(region: Region, routes: Sequence[Route], connection: RegionConnection | None) -> int:
    """Take a message for all the places it goes to; returns the batch, 0 if nothing is journaled.

    Raises:
        ClientError: it cannot be taken; nothing was.
    """
    if len(routes) == 1:
        target, message = routes[0]
        return target.send(message, connection)
    size = sum(copy.size_bytes for target, copy in routes if copy.persistent and target.stored)
    if size > region.limits.long_bytes:
        region.usage.check_room(size)
    arrivals = Arrivals(region, routes, connection)
    batch = region.append(arrivals.records) if arrivals.records else 0
    arrivals.accept(batch)
    return batch
