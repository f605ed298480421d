"""The index: what is live in the store, built by one function from the records.

Recovery, the master's `append` and the tests all use `State.apply`; so will the slave that follows the
journal. Every record may be applied whatever came before it: after damage, what refers to a lost one does
nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from journal import branches
from journal.branches import Branches
from journal.errors import MessageUnknown
from journal.index import MessageIndex, Place
from journal.notes import Notes
from journal.producers import PRODUCERS_MAX, LastSequences
from journal.record import (
    CHECKPOINTS_KEPT,
    FILE_SHIFT,
    NORMAL_PRIORITY,
    PREPARED,
    SCHEDULED,
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    AnyRecord,
    Audience,
    Checkpoint,
    CommitBranch,
    EpochBegin,
    EpochEnd,
    Location,
    Memory,
    MovedMessage,
    Note,
    PrepareBranch,
    Redelivered,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
    Reschedule,
    RollBackBranch,
    Stored,
)
from journal.topics import TOPIC, subscription_matches


@dataclass(slots=True)
class SubscriptionState:
    """A durable subscription, as `AddSubscription` says, and the numbers of what is pending for it."""

    client_id: str
    name: str
    destination: str
    selector: str
    no_local: bool
    shared: bool = False
    away_since_ms: int = 0
    pending: MessageIndex = field(default_factory=MessageIndex)
    redelivered: MessageIndex = field(default_factory=MessageIndex)
    """Of those that were delivered before: see `State.redelivered`."""


def packed_repeats(repeats: int) -> int:
    """How often a message is due again (-1: for ever), as the length of an index's entry, never 0."""
    return repeats + 2


def unpacked_repeats(length: int) -> int:
    """The reverse of `packed_repeats`."""
    return length - 2


class State:
    """The live messages, subscriptions and producers of a store. Read it freely, change it by `apply` only.

    Attributes:
        next_ref: one above the highest number ever given to a message.
        queues: the live messages of each queue, in the order of their numbers.
        ranks: the numbers of live messages by priority, of the queues and topics in which it is not the
            normal one for all of them: of those that have held another since they were empty.
        expiring: by queue and topic the numbers of those live messages that expire; instead of a place they
            have the time, milliseconds since the epoch.
        redelivered: by queue the numbers of those live messages that were delivered before; instead of a
            place they have the time before which they must not be delivered again (0: none), and how many
            deliveries ended without acknowledgement. Those of topics are in their subscriptions.
        topics: the messages of each topic that durable subscriptions still wait for, in order.
        subscriptions: by client id and subscription name.
        producers: the last sequence of each producer.
        usage: bytes of live messages in each data file, by `journal.record.data_file_key`.
        live_bytes: of the records of all live messages, the sum of `usage`.
        salts: of the epochs whose records were read, for the records' checksums.
        waiting_index: of the messages of topics: instead of a place it has the topic's place in
            `topic_names` and how many subscriptions wait.
        topic_names: of the topics that ever held a message.
        scheduled: the messages that are due later.
        due_times: of the same messages: instead of a place it has when they are due, in ms since the epoch,
            and how often again, by `packed_repeats`.
        branches: of distributed transactions; what they hold is in no queue.
        notes: what protocols keep for their clients.
        epoch: the last whose beginning was applied.
        checkpoints: those that count, the newest last; the one before it is kept in case it is damaged.
    """

    takes_runs: ClassVar[bool] = True
    """Many records may be applied as a whole, see `journal.runs`; not where a derived class looks at each."""

    def __init__(self, *, producers_max: int = PRODUCERS_MAX) -> None:
        self._producers_max = producers_max
        self.clear()

    def clear(self) -> None:
        """Forgets everything: a store is read anew, or built again from carried records."""
        self.next_ref = 1
        self.queues: dict[str, MessageIndex] = {}
        self.ranks: dict[str, dict[int, MessageIndex]] = {}
        self.expiring: dict[str, MessageIndex] = {}
        self.redelivered: dict[str, MessageIndex] = {}
        self.topics: dict[str, MessageIndex] = {}
        self.branches = Branches()
        self.subscriptions: dict[tuple[str, str], SubscriptionState] = {}
        self.producers = LastSequences(self._producers_max)
        self.usage: dict[int, int] = {}
        self.live_bytes = 0
        self.salts: dict[int, int] = {}
        self.notes = Notes()
        self.epoch = 0
        self.checkpoints: list[Checkpoint] = []
        self.waiting_index = MessageIndex()
        self.topic_names: list[str] = []
        self._audience: Audience | None = None
        self._topic_numbers: dict[str, int] = {}
        self.scheduled = MessageIndex()
        self.due_times = MessageIndex()
        self._subscribed: dict[
            str, list[SubscriptionState]
        ] = {}  # topic to subscriptions, filled when needed

    def apply(self, record: AnyRecord, location: int, length: int) -> None:
        """Takes one record into account; never fails.

        Args:
            record: any.
            location: where it stands, packed.
            length: of it there, in bytes.
        """
        if type(record) is AddMessage:
            self.add_message(
                record.ref,
                record.destination,
                record.producer_id,
                record.producer_sequence_id,
                location,
                length,
                record.priority,
                record.expiration,
            )
        else:
            _APPLIERS[type(record)](self, record, location, length)

    def add_message(  # noqa: PLR0917 - keywords take longer, and recovery makes millions of calls
        self,
        ref: int,
        destination: str,
        producer_id: str,
        sequence: int,
        location: int,
        length: int,
        priority: int = NORMAL_PRIORITY,
        expiration: int = 0,
    ) -> None:
        """The part of `apply` for an `AddMessage`, by its fields; for recovery, which reads millions."""
        if ref >= self.next_ref:
            self.next_ref = ref + 1
        if producer_id:
            self.producers.record(producer_id, sequence)
        messages = self.queues.get(destination)
        if messages is None:
            if destination.startswith(TOPIC):
                self._add_topic_message(ref, destination, location, length, priority, expiration)
                return
            if destination.startswith(PREPARED):
                branches.add(self, ref, destination, location, length)
                return
            messages = self.queues[destination] = MessageIndex()
        if not messages.add(ref, location, length):
            self.move(messages, ref, location, length)
            return
        usage = self.usage
        file = location >> FILE_SHIFT
        usage[file] = usage.get(file, 0) + length
        self.live_bytes += length
        if priority != NORMAL_PRIORITY or self.ranks:
            self._rank(messages, ref, destination, priority)
        if expiration:
            self._note_expiration(ref, destination, expiration)

    def _rank(self, messages: MessageIndex, ref: int, queue: str, priority: int) -> None:
        """A message has come into a queue or topic, whose messages may have several priorities."""
        ranks = self.ranks.get(queue)
        if ranks is None:
            if priority == NORMAL_PRIORITY:
                return
            normal = messages.part(-1, messages.last_ref)  # shares what it can: many may wait
            normal.remove(ref)
            ranks = self.ranks[queue] = {NORMAL_PRIORITY: normal}
        ranks.setdefault(priority, MessageIndex()).add(ref, 0, 1)

    def _forget_rank(self, messages: MessageIndex, ref: int, queue: str) -> None:
        """A message has left a queue or topic."""
        if not messages:
            self.ranks.pop(queue, None)
        for ranked in self.ranks.get(queue, {}).values():
            if ranked.remove(ref) is not None:
                return

    def priority_of(self, ref: int, destination: str) -> int:
        """The priority of a live message of a queue or topic; the normal one for others."""
        for priority, ranked in self.ranks.get(destination, {}).items():
            if ref in ranked:
                return priority
        return NORMAL_PRIORITY

    def _note_expiration(self, ref: int, destination: str, expiration: int) -> None:
        """A message that expires has come into a place."""
        expiring = self.expiring.get(destination)
        if expiring is None:
            expiring = self.expiring[destination] = MessageIndex()
        expiring.add(ref, expiration, 1)

    def expiration_of(self, ref: int, destination: str) -> int:
        """When a live message expires, milliseconds since the epoch; 0: never."""
        expiring = self.expiring.get(destination)
        place = None if expiring is None else expiring.place(ref)
        return 0 if place is None else place.location

    def last_producer_sequence(self, producer_id: str) -> int:
        """The highest sequence stored for a producer, -1 if it is not known."""
        return self.producers.get(producer_id)

    def topic_of(self, ref: int) -> str:
        """The topic of a message that durable subscriptions wait for; "" if there is none of this number."""
        place = self.waiting_index.place(ref)
        return "" if place is None else self.topic_names[place.location]

    def topics_of(self, subscription: SubscriptionState) -> list[str]:
        """The topics with messages that a durable subscription receives."""
        return [topic for topic in self.topics if subscription_matches(subscription.destination, topic)]

    def messages(self, destination: str) -> MessageIndex | None:
        """The live messages of one of `places`, None if it does not exist."""
        messages = self.queues.get(destination)
        if messages is None:
            messages = self.scheduled if destination == SCHEDULED else self.topics.get(destination)
        return self.branches.messages(destination) if messages is None else messages

    def places(self) -> Mapping[str, MessageIndex]:
        """All live messages: those of each queue and topic, of the schedule, and of prepared branches."""
        scheduled = {SCHEDULED: self.scheduled} if self.scheduled else {}
        return {**self.queues, **self.topics, **scheduled, **dict(self.branches.indexes())}

    def due(self, ref: int) -> tuple[int, int] | None:
        """When a scheduled message is due, in ms since the epoch, and how often again; None: it is none."""
        place = self.due_times.place(ref)
        return None if place is None else (place.location, unpacked_repeats(place.length))

    def holder(self, ref: int, destination: str) -> tuple[str, MessageIndex] | None:
        """The index that has a message, and its name, wherever branches have put it; None: it is not live.

        Args:
            ref: its number.
            destination: as in its record, or the name of an index that had it.
        """
        for name in (destination, *branches.names_of(destination)):
            messages = self.messages(name)
            if messages is not None and ref in messages:
                return name, messages
        return None

    def place(self, ref: int, destination: str) -> Place:
        """Where the live message with a number stands.

        Raises:
            MessageUnknown: there is none.
        """
        messages = self.messages(destination)
        place = messages.place(ref) if messages is not None else None
        if place is None and self.branches:
            found = self.holder(ref, destination)
            place = None if found is None else found[1].place(ref)
        if place is None:
            raise MessageUnknown(f"no live message of {destination} has the number {ref}")
        return place

    def waiting(self, ref: int) -> int:
        """How many durable subscriptions wait for a message of a topic."""
        place = self.waiting_index.place(ref)
        return 0 if place is None else place.length

    def move(self, messages: MessageIndex, ref: int, location: int, length: int) -> None:
        """The record of a live message in an index stands somewhere else."""
        former = messages.replace(ref, location, length)
        if former is not None:
            self.unuse(former)
            self.use(location, length)

    def use(self, location: int, length: int) -> None:
        """A record counts."""
        file = location >> FILE_SHIFT
        self.usage[file] = self.usage.get(file, 0) + length
        self.live_bytes += length

    def unuse(self, place: Place) -> None:
        """A record counts no more."""
        self.live_bytes -= place.length
        file = place.location >> FILE_SHIFT
        left = self.usage.get(file, 0) - place.length
        if left > 0:
            self.usage[file] = left
        else:
            self.usage.pop(file, None)

    def topic_number(self, topic: str) -> int:
        """A small number for a topic."""
        number = self._topic_numbers.get(topic)
        if number is None:
            number = self._topic_numbers[topic] = len(self.topic_names)
            self.topic_names.append(topic)
        return number

    def _add_topic_message(  # noqa: PLR0917 - as `add_message`
        self, ref: int, topic: str, location: int, length: int, priority: int, expiration: int
    ) -> None:
        subscriptions = self._subscribed.get(topic)
        if subscriptions is None:
            subscriptions = self._subscribed[topic] = [
                s for s in self.subscriptions.values() if subscription_matches(s.destination, topic)
            ]
        audience, self._audience = self._audience, None
        if audience is not None and (audience.ref, audience.destination) == (ref, topic):
            chosen = [self.subscriptions.get(key) for key in dict.fromkeys(audience.keys)]
            subscriptions = [s for s in chosen if s and subscription_matches(s.destination, topic)]
        if not subscriptions:
            return
        if not self.waiting_index.add(ref, self.topic_number(topic), len(subscriptions)):
            return
        messages = self.topics.get(topic)
        if messages is None:
            messages = self.topics[topic] = MessageIndex()
        messages.add(ref, location, length)
        self.use(location, length)
        for subscription in subscriptions:
            subscription.pending.add(ref, 0, 1)
        if priority != NORMAL_PRIORITY or self.ranks:
            self._rank(messages, ref, topic, priority)
        if expiration:
            self._note_expiration(ref, topic, expiration)

    def _moved_message(self, record: MovedMessage, location: int, length: int) -> None:
        """Only live messages are moved: one that is not known stood in what is lost."""
        found = self.holder(record.ref, record.destination)
        if found is not None:
            self.move(found[1], record.ref, location, length)
        else:
            self.add_message(
                record.ref,
                record.destination,
                record.producer_id,
                record.producer_sequence_id,
                location,
                length,
                record.priority,
                record.expiration,
            )

    def moved(self, record: Stored, destination: str) -> MovedMessage | AddScheduled:
        """The record with which compaction copies a live message, as of now."""
        if isinstance(record, AddScheduled):
            due_ms, repeats = self.due(record.ref) or (record.due_ms, record.repeats)
            producer = record.producer_id, record.producer_sequence_id
            return AddScheduled(record.ref, *producer, record.body, due_ms, repeats)
        return MovedMessage(
            record.ref,
            destination,
            record.producer_id,
            record.producer_sequence_id,
            record.body,
            record.priority,
            record.expiration,
        )

    def _add_scheduled(self, record: AddScheduled, location: int, length: int) -> None:
        """Of one that is known only the place changes: it was moved."""
        self.next_ref = max(self.next_ref, record.ref + 1)
        if record.producer_id:
            self.producers.record(record.producer_id, record.producer_sequence_id)
        if self.scheduled.add(record.ref, location, length):
            self.due_times.add(record.ref, record.due_ms, packed_repeats(record.repeats))
            self.use(location, length)
        else:
            self.move(self.scheduled, record.ref, location, length)

    def _reschedule(self, record: Reschedule, _location: int, _length: int) -> None:
        self.due_times.replace(record.ref, record.due_ms, packed_repeats(record.repeats))

    def _epoch_begin(self, _record: EpochBegin, location: int, _length: int) -> None:
        """The first batch of an epoch names the checkpoints that count; others turned out to be damaged."""
        epoch = Location.unpack(location).epoch
        if epoch > self.epoch:
            self.epoch = epoch
            self.checkpoints = []

    def _checkpoint(self, record: Checkpoint, _location: int, _length: int) -> None:
        if record not in self.checkpoints:
            self.checkpoints = [*self.checkpoints, record][-CHECKPOINTS_KEPT:]

    def forget_data_file(self, key: int) -> None:
        """Forgets the messages in a data file that is lost; see `usage`."""
        for destination, messages in self.places().items():
            gone = [r for r, place in messages.entries_after(-1) if place.location >> FILE_SHIFT == key]
            for ref in gone:
                self._remove_message(RemoveMessage(ref, destination), 0, 0)

    def _remove_message(self, record: RemoveMessage, _location: int, _length: int) -> None:
        messages = self.queues.get(record.destination)
        if messages is not None:
            place = messages.remove(record.ref)
            if place is not None:
                self.unuse(place)
                if self.ranks:
                    self._forget_rank(messages, record.ref, record.destination)
                if self.expiring:
                    _forget(self.expiring, record.ref, record.destination)
                if self.redelivered:
                    _forget(self.redelivered, record.ref, record.destination)
        elif record.destination == SCHEDULED:
            place = self.scheduled.remove(record.ref)
            if place is not None:
                self.unuse(place)
                self.due_times.remove(record.ref)
        elif not record.destination.startswith(TOPIC):
            place = self.branches.take(record.destination, record.ref)
            if place is not None:
                self.unuse(place)
        elif self._drop_topic_message(record.ref, record.destination):
            for subscription in self.subscriptions.values():
                subscription.pending.remove(record.ref)
                subscription.redelivered.remove(record.ref)

    def _drop_topic_message(self, ref: int, topic: str) -> bool:
        """Forgets a message of a topic; the subscriptions still have its number."""
        messages = self.topics.get(topic)
        place = messages.remove(ref) if messages is not None else None
        if place is None:
            return False
        self.unuse(place)
        self.waiting_index.remove(ref)
        if messages is not None and self.ranks:
            self._forget_rank(messages, ref, topic)
        if self.expiring:
            _forget(self.expiring, ref, topic)
        return True

    def _add_destination(self, record: AddDestination, _location: int, _length: int) -> None:
        destinations = self.topics if record.destination.startswith(TOPIC) else self.queues
        if record.destination not in destinations:
            destinations[record.destination] = MessageIndex()

    def _remove_destination(self, record: RemoveDestination, _location: int, _length: int) -> None:
        for _, place in self.queues.pop(record.destination, MessageIndex()).entries_after(-1):
            self.unuse(place)
        for notes in (self.ranks, self.redelivered, self.expiring):
            notes.pop(record.destination, None)
        branches.drop_queue(self, record.destination)
        for ref in list(self.topics.get(record.destination, ())):
            self._drop_topic_message(ref, record.destination)
            for subscription in self.subscriptions.values():
                subscription.pending.remove(ref)
                subscription.redelivered.remove(ref)
        self.topics.pop(record.destination, None)

    def _add_subscription(self, record: AddSubscription, _location: int, _length: int) -> None:
        key = record.client_id, record.name
        known = self.subscriptions.get(key)
        if known is not None and (known.destination, known.selector) == (record.destination, record.selector):
            known.no_local, known.shared = record.no_local, record.shared
            known.away_since_ms = record.away_since_ms
            return
        if known is not None:  # JMS: another topic or selector is another subscription
            self._drop_subscription(key)
        flags = record.no_local, record.shared
        self.subscriptions[key] = SubscriptionState(
            *key, record.destination, record.selector, *flags, record.away_since_ms
        )
        self._subscribed.clear()

    def _remove_subscription(self, record: RemoveSubscription, _location: int, _length: int) -> None:
        self._drop_subscription((record.client_id, record.name))

    def _drop_subscription(self, key: tuple[str, str]) -> None:
        subscription = self.subscriptions.pop(key, None)
        self._subscribed.clear()
        if subscription is not None:
            for ref in subscription.pending:
                self.release(ref)
            branches.drop_subscription(self, key)

    def _acknowledge_subscription(
        self, record: AcknowledgeSubscription, _location: int, _length: int
    ) -> None:
        subscription = self.subscriptions.get((record.client_id, record.name))
        if subscription is not None and subscription.pending.remove(record.ref) is not None:
            if subscription.redelivered:
                subscription.redelivered.remove(record.ref)
            self.release(record.ref)

    def _choose(self, record: Audience, _location: int, _length: int) -> None:
        self._audience = record

    def _redelivered(self, record: Redelivered, _location: int, _length: int) -> None:
        if record.name:
            subscription = self.subscriptions.get((record.client_id, record.name))
            if subscription is None or record.ref not in subscription.pending:
                return
            notes = subscription.redelivered
        else:
            if record.ref not in self.queues.get(record.destination, ()):
                return
            notes = self.redelivered.setdefault(record.destination, MessageIndex())
        notes.remove(record.ref)
        if record.counter:
            notes.add(record.ref, record.not_before_ms, record.counter)

    def _remember(self, record: Memory, _location: int, _length: int) -> None:
        self.next_ref = max(self.next_ref, record.next_ref)
        for producer_id, sequence in record.producers.items():
            self.producers.record(producer_id, sequence)

    def release(self, ref: int) -> None:
        """One durable subscription less waits for a message of a topic."""
        place = self.waiting_index.place(ref)
        if place is None:
            return
        if place.length > 1:
            self.waiting_index.replace(ref, place.location, place.length - 1)
        else:
            self._drop_topic_message(ref, self.topic_names[place.location])


def _forget(notes: dict[str, MessageIndex], ref: int, destination: str) -> None:
    """A message has left a place about whose messages something is noted."""
    index = notes.get(destination)
    if index is not None and index.remove(ref) is not None and not index:
        del notes[destination]


# Outside of the class: bound methods in the state would be a cycle, and a state is too large to wait for the
# garbage collector, which does not even look at what recovery has built.
_APPLIERS: Final[dict[type, Callable[..., None]]] = {
    RemoveMessage: State._remove_message,
    MovedMessage: State._moved_message,
    AddDestination: State._add_destination,
    RemoveDestination: State._remove_destination,
    AddSubscription: State._add_subscription,
    RemoveSubscription: State._remove_subscription,
    AcknowledgeSubscription: State._acknowledge_subscription,
    Memory: State._remember,
    Note: lambda state, record, *_: state.notes.take(record),
    Redelivered: State._redelivered,
    Audience: State._choose,
    PrepareBranch: branches.prepare,
    CommitBranch: branches.commit,
    RollBackBranch: branches.roll_back,
    Checkpoint: State._checkpoint,
    AddScheduled: State._add_scheduled,
    Reschedule: State._reschedule,
    EpochBegin: State._epoch_begin,
    EpochEnd: lambda *_: None,
}
