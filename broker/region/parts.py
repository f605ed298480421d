"""Consumers of several destinations: wildcards and composite destinations.

Such a consumer has one window, and a *part* at each of its destinations: a consumer of its own to the queue
or topic, which asks the whole whether there is room and gives it what is dispatched. A wildcard's parts come
and go with the destinations that match it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from broker.advisory import speaks_at, speaks_only_at
from broker.authorization import Permission
from broker.destination import Destination
from broker.errors import InvalidDestination
from broker.policies import REST, matches
from broker.region.consumer import Consumer

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.consumer import Source
    from broker.region.entry import Entry
    from broker.region.queue import Queue
    from broker.region.region import Region
    from broker.region.topic import Topic
    from journal.record import Record


class ConsumerPart(Consumer):
    """What a consumer of several destinations is to one of them."""

    __slots__ = ("parts", "waiting", "whole")

    def __init__(self, parts: Parts, destination: Destination) -> None:
        whole = parts.whole
        super().__init__(whole.key, destination, whole.options, whole.connection)
        self.parts = parts
        self.whole = whole
        self.waiting = False
        """Its source has stopped since the window was full, and must be told when there is room."""

    def can_accept(self) -> bool:
        """The window of the whole has room for one message."""
        if self.whole.can_accept():
            return True
        self.parts.wait(self)
        return False

    def apply_prefetch(self, prefetch_size: int, default: int) -> None:
        """The window is the whole's, which has no policy."""

    def window_free(self) -> int:
        """How many messages the window of the whole has room for."""
        return self.whole.window_free()

    def dispatch(self, entry: Entry, message: Message) -> None:
        """Hand the message to the client, as the whole's."""
        self.dispatched[entry.ref] = entry
        self.parts.origins[entry.ref] = self
        self.whole.dispatch(entry, message)

    def end(self) -> None:
        """Its destination is deleted: the others go on."""
        self.parts.remove(self)


class Parts:
    """The parts of one consumer; to the consumer they are its source.

    Attributes:
        whole: the consumer its client knows.
        members: its part at each of its destinations.
        origins: which part a message that is not acknowledged came by, by its ref; no two destinations share
            a ref.
    """

    def __init__(self, whole: Consumer) -> None:
        self.whole = whole
        self.members: dict[Destination, ConsumerPart] = {}
        self.listener: ConsumerPart | None = None
        """Its part that listens to the advisories."""
        self.origins: dict[int, ConsumerPart] = {}
        self._region = whole.connection.region
        self._waiting: deque[ConsumerPart] = deque()
        whole.source = self

    # ---- destinations come and go

    def add(self, target: Queue | Topic) -> None:
        """Take messages from one more destination, unless it has it already or the user may not read it."""
        connection = self.whole.connection
        if target.destination in self.members or not self._region.rights.allows(
            connection.user, Permission.READ, target.destination
        ):
            return
        part = ConsumerPart(self, target.destination)
        self.members[target.destination] = part
        connection.attach_to(target, part)
        self.wait(part)

    def listen(self, members: Sequence[Destination]) -> None:
        """Take advisories, too."""
        self.listener = part = ConsumerPart(self, self.whole.destination)
        self._region.advisories.attach(part, members)

    def remove(self, part: ConsumerPart) -> None:
        """Take no more from a destination; what it gave is given back."""
        if self.members.get(part.destination) is part:
            del self.members[part.destination]
            entries = [entry for entry in part.dispatched.values() if entry.transaction is None]
            self.whole.forget(entries)
            self.whole.acknowledged_count -= len(entries)
            part.closed = True
            part.source.detach(part)
            self.give_back(entries)

    def place_of(self, entry: Entry) -> Source:
        """The queue or subscription that a dispatched message came from."""
        return self.origins[entry.ref].source

    # ---- the window

    def wait(self, part: ConsumerPart) -> None:
        """This part is to be told when there is room."""
        if not part.waiting:
            part.waiting = True
            self._waiting.append(part)

    def consumer_opened(self, consumer: Consumer) -> None:
        """There may be room."""
        del consumer
        if self._waiting:
            self._region.dirty[self] = None

    def dispatch(self) -> None:
        """Let those go on that have waited longest, until there is no more room."""
        whole, waiting = self.whole, self._waiting
        for _ in range(len(waiting)):
            if not whole.can_accept():
                return
            part = waiting.popleft()
            part.waiting = False
            if not part.closed:
                part.source.consumer_opened(part)
                part.source.dispatch()
        if whole.pulls:
            for part in self._all():
                part.source.dispatch()

    # ---- messages

    def message_of(self, entry: Entry) -> Message | None:
        """The entry's message, read back if need be."""
        return self.place_of(entry).message_of(entry)

    def put_aside(self, entries: Sequence[Entry]) -> None:
        """These are no consumer's any more, and do not wait yet."""
        self._grouped(entries)

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """These are done with, each where it came from."""
        for part, group in self._grouped(entries):
            part.source.consumed(group, records)

    def give_back(self, entries: list[Entry]) -> None:
        """Dispatched and not acknowledged: each goes back to where it came from."""
        for part, group in self._grouped(entries):
            part.source.give_back(group)

    def _grouped(self, entries: Iterable[Entry]) -> list[tuple[ConsumerPart, list[Entry]]]:
        """By the part they came by, in order; they are no longer that part's."""
        groups: dict[ConsumerPart, list[Entry]] = {}
        for entry in entries:
            part = self.origins.pop(entry.ref)
            part.dispatched.pop(entry.ref, None)
            groups.setdefault(part, []).append(entry)
        return list(groups.items())

    def detach(self, consumer: Consumer) -> None:
        """The consumer is closed; its dispatched entries come by `give_back`."""
        del consumer
        self._region.wildcards.forget(self)
        self._waiting.clear()
        for part in self._all():
            part.closed = True
            part.dispatched = {}
            part.source.detach(part)
        self.members = {}
        self.listener = None

    def _all(self) -> list[ConsumerPart]:
        parts = list(self.members.values())
        return parts if self.listener is None else [*parts, self.listener]


class Wildcards:
    """The consumers that want to know of new destinations."""

    def __init__(self) -> None:
        self._patterns: dict[Destination, tuple[tuple[str, ...], dict[Parts, None]]] = {}

    def add(self, pattern: Destination, parts: Parts) -> None:
        """Attach these parts to each destination that is made from now on and matches."""
        _, members = self._patterns.setdefault(pattern, (tuple(pattern.name.split(".")), {}))
        members[parts] = None

    def forget(self, parts: Parts) -> None:
        """The consumer is closed."""
        for pattern, (_, members) in list(self._patterns.items()):
            members.pop(parts, None)
            if not members:
                del self._patterns[pattern]

    def made(self, target: Queue | Topic) -> None:
        """There is a new destination."""
        if not self._patterns:
            return
        destination = target.destination
        elements = destination.name.split(".")
        for pattern, (wanted, members) in list(self._patterns.items()):
            if pattern.kind is destination.kind and matches(wanted, elements):
                for parts in list(members):
                    parts.add(target)

    def review(self, region: Region) -> None:
        """Users may read other destinations now."""
        for pattern, (_, members) in list(self._patterns.items()):
            for target in matching(region, pattern):
                for parts in list(members):
                    parts.add(target)

    def patterns(self) -> list[Destination]:
        """The wildcards that consumers listen to."""
        return list(self._patterns)


def place_of(consumer: Consumer, entry: Entry) -> Source:
    """The queue, subscription or browse that a message came from which was dispatched to this consumer."""
    source = consumer.source
    return source.place_of(entry) if isinstance(source, Parts) else source


def destinations_of(consumer: Consumer) -> tuple[Destination, ...]:
    """What a consumer takes from now; of advisories, the topics it has named."""
    source = consumer.source
    if isinstance(source, Parts):
        return tuple(source.members)
    return tuple(member for member in consumer.destination.members() if not member.is_pattern)


def attach_parts(consumer: Consumer) -> None:
    """Attach a consumer to all destinations that its wildcard or composite destination names.

    Raises:
        InvalidDestination: a member has no name, or a wildcard is no wildcard for consumers.
        ResourceExhausted: there are too many destinations.
    """
    connection, region = consumer.connection, consumer.connection.region
    heard = [each for each in consumer.destination.members() if speaks_at(each)]
    if not consumer.options.advisories:
        heard = []
    members = [member for member in consumer.destination.members() if not speaks_only_at((member,))]
    patterns = [member for member in members if member.is_pattern]
    for pattern in (*patterns, *heard):
        check_pattern(pattern)
    targets = [region.target(member, consuming=connection) for member in members if not member.is_pattern]
    for target in targets:
        if target.owner is not None and target.owner is not connection:
            raise InvalidDestination(f"{target.destination} belongs to another connection.")
    for pattern in patterns:
        for queue in region.routing.queues_listened_to(pattern):
            if queue in region.targets or region.rights.allows(connection.user, Permission.ADMIN, queue):
                region.target(queue)
    parts = Parts(consumer)
    for target in targets:
        parts.add(target)
    for pattern in patterns:
        region.retained.restore(pattern)
        for target in matching(region, pattern):
            parts.add(target)
        region.wildcards.add(pattern, parts)
    if heard:
        parts.listen(heard)


def check_pattern(pattern: Destination) -> None:
    """Whether it is a wildcard that a consumer can have.

    Raises:
        InvalidDestination: it is temporary, or `>` stands before its end.
    """
    if pattern.is_temporary:
        raise InvalidDestination(f"There are no wildcards for temporary destinations: {pattern}.")
    if REST in pattern.name.split(".")[:-1]:
        raise InvalidDestination(f"In a wildcard `{REST}` stands only at the end: {pattern}.")


def matching(region: Region, pattern: Destination) -> list[Queue | Topic]:
    """The destinations there are that match a wildcard, sorted by name."""
    wanted = pattern.name.split(".")
    found = [
        target
        for destination, target in region.targets.items()
        if destination.kind is pattern.kind and matches(wanted, destination.name.split("."))
    ]
    found.sort(key=lambda target: target.uri)
    return found
