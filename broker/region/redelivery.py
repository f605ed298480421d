"""Messages that are delivered again: how often they were, and when they may be.

The journal notes how many deliveries of a message have ended without acknowledgement, so that a new master
knows it. Where a destination has a `redeliveryPolicy`, what a consumer gives up is not a dead letter at once:
it waits for a while, out of line, and then goes back to where it was.

Source: ActiveMQ's `RedeliveryPolicy` and `RedeliveryPlugin`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from broker.message import rewritten
from broker.policies import NOT_BY_BROKER
from broker.primitive_map import Long
from broker.properties import with_properties
from broker.region.durable import DurableSubscription
from broker.region.parts import Parts, place_of
from broker.region.queue import Queue
from broker.region.spool import expiration_of
from journal.record import Redelivered

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy
    from broker.region.consumer import Consumer, Source
    from broker.region.entry import Entry
    from broker.region.region import Region
    from journal.index import MessageIndex
    from journal.record import Record

DELAY_PROPERTY: Final = "redeliveryDelay"
"""Tells ActiveMQ's clients that the broker redelivers: they do not count against their own policy then."""
NOTED_MAX: Final = 10_000
"""Messages noted for one consumer that ends; of what else it had the counters are in memory only."""
DELAY_MS_MAX: Final = 10 * 31_536_000_000
_DOUBLED_MAX: Final = 64
"""Steps of back-off that are worked out; longer delays than these give are beyond any bound."""

Place = Queue | DurableSubscription


class Redelivery:
    """What one region delivers again."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._heap: list[tuple[int, int]] = []
        """When, and the number in `_held`."""
        self._held: dict[int, tuple[Place, Entry]] = {}
        self._last = 0

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called; None: never."""
        return self._heap[0][0] if self._heap else None

    def __len__(self) -> int:
        """How many messages wait out of line."""
        return len(self._heap)

    def run(self) -> None:
        """Give back what has waited for long enough."""
        now_ms, heap = self._region.now_ms, self._heap
        due: dict[Place, list[Entry]] = {}
        while heap and heap[0][0] <= now_ms:
            place, entry = self._held.pop(heappop(heap)[1])
            due.setdefault(place, []).append(entry)
        for place, entries in due.items():
            place.give_back(entries)

    def places(self) -> set[Place]:
        """Where those will wait again that wait out of line."""
        return {place for place, _ in self._held.values()}

    # ---- counters

    def note(self, consumer: Consumer, entries: Sequence[Entry]) -> None:
        """Deliveries to a consumer have ended without acknowledgement: let the journal know how many."""
        records = [
            record
            for entry in entries[:NOTED_MAX]
            if (record := self._record(place_of(consumer, entry), entry)) is not None
        ]
        if records:
            self._region.append(records)

    def _record(self, place: Source, entry: Entry, not_before_ms: int = 0) -> Record | None:
        """What the journal notes of an entry; None if it does not hold it."""
        if not entry.stored or not isinstance(place, Place):
            return None
        if not not_before_ms and (noted := place.redelivered()) and (known := noted.place(entry.ref)):
            not_before_ms = known.location  # it stays a redelivery of the broker's
        counter = entry.redelivery_counter
        if isinstance(place, Queue):
            return Redelivered(entry.ref, place.uri, counter, not_before_ms)
        return Redelivered(entry.ref, place.destination.uri, counter, not_before_ms, *place.key)

    # ---- delays

    def delays(self, place: Place, entry: Entry) -> bool:
        """Whether an entry that the journal holds may not be delivered yet; then it waits out of line."""
        noted = place.redelivered()
        known = noted.place(entry.ref) if noted and entry.stored else None
        if known is None or known.location <= self._region.now_ms:
            return False
        entry.redelivery_counter = max(entry.redelivery_counter, known.length)
        self._hold(place, entry, known.location)
        return True

    def _hold(self, place: Place, entry: Entry, until_ms: int) -> None:
        self._last += 1
        self._held[self._last] = place, entry
        heappush(self._heap, (until_ms, self._last))

    def take(self, consumer: Consumer, entries: Sequence[Entry], records: list[Record]) -> list[Entry]:
        """Of what a consumer gives up, take what is to be delivered again later.

        Args:
            consumer: they are not its any more.
            entries: not held by a transaction.
            records: takes what the journal must know.

        Returns:
            The others.
        """
        left: list[Entry] = []
        for entry in entries:
            place = place_of(consumer, entry)
            policy = policy_of(place, entry)
            if policy is None or not isinstance(place, Place) or not self._is_wanted(policy, place, entry):
                left.append(entry)
                continue
            delay_ms = redelivery_delay_ms(policy, entry.redelivery_counter, entry.ref)
            entry.redelivery_counter += 1
            until_ms = self._region.now_ms + delay_ms
            record = self._record(place, entry, until_ms)
            if isinstance(consumer.source, Parts):
                consumer.source.put_aside([entry])
            consumer.acknowledged_count -= 1
            if record is None:
                self._hold(place, self._marked(place, entry), until_ms)
            else:
                records.append(record)
                place.usage.drop_body(entry)  # what is read back is marked
                self._hold(place, entry, until_ms)
        return left

    def _is_wanted(self, policy: Policy, place: Place, entry: Entry) -> bool:
        if policy.maximum_redeliveries == NOT_BY_BROKER:
            return False
        if 0 <= policy.maximum_redeliveries <= entry.redelivery_counter:
            return False
        if entry.stored:
            state = self._region.store.state
            uri = place.uri if isinstance(place, Queue) else state.topic_of(entry.ref)
            expiration = state.expiration_of(entry.ref, uri)
        else:
            expiration = expiration_of(entry)
        return not 0 < expiration <= self._region.now_ms

    def _marked(self, place: Place, entry: Entry) -> Entry:
        """A non-persistent entry anew, with a message that says that the broker redelivers it."""
        message = place.message_of(entry)
        if message is None:
            return entry
        place.usage.release(entry)
        made = place.usage.hold(entry.ref, marked(message), always=True)
        made.redelivery_counter, made.priority = entry.redelivery_counter, entry.priority
        return made


def policy_of(place: Source, entry: Entry) -> Policy | None:
    """The policy of the destination that a message came from; None: it is nobody's to keep."""
    if isinstance(place, Queue):
        return place.policy
    topic = place.topic_of(entry) if isinstance(place, DurableSubscription) else None
    return None if topic is None else topic.policy


def recalled(entry: Entry, message: Message, noted: MessageIndex) -> Message:
    """A message that was read back, and its entry, as what was noted of them says."""
    known = noted.place(entry.ref)
    if known is None:
        return message
    entry.redelivery_counter = max(entry.redelivery_counter, known.length)
    return marked(message) if known.location else message


def marked(message: Message) -> Message:
    """A message that says that the broker redelivers it."""
    properties = with_properties(message, {DELAY_PROPERTY: Long(1)})
    return rewritten(replace(message, properties=properties))


def redelivery_delay_ms(policy: Policy, counter: int, ref: int) -> int:
    """How long a message waits before it is delivered again.

    Args:
        policy: of its destination.
        counter: deliveries that ended without acknowledgement before.
        ref: its number; it decides how it avoids collisions, so that the same happens again.
    """
    delay_ms = float(policy.initial_redelivery_delay_ms)
    longest_ms = policy.maximum_redelivery_delay_ms
    for _ in range(min(counter, _DOUBLED_MAX)):
        if not (delay_ms > 0 and policy.use_exponential_back_off and policy.back_off_multiplier > 1):
            delay_ms = policy.redelivery_delay_ms
            continue
        delay_ms = min(delay_ms * policy.back_off_multiplier, DELAY_MS_MAX)
        if 0 <= longest_ms < delay_ms:
            delay_ms = max(longest_ms, policy.redelivery_delay_ms)
    if policy.use_collision_avoidance and counter:
        spread = ((ref * 2_654_435_761 + counter * 40_503) % 65_536) / 32_768 - 1  # from -1 to 1
        delay_ms += delay_ms * spread * policy.collision_avoidance_percent / 100
    return int(delay_ms)
