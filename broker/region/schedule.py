"""The messages of a region that are due later.

They wait in the journal and in no destination. Here is, of each, one number: when it is due and which it is.
When its time has come it is sent, and the journal hears of that in the same append: it is delivered once for
each time it is due, whatever crashes. What was due while no broker served is sent at once, for the last of
its times only.

The journal's index decides what is scheduled; a number here that it does not know any more says nothing. So
they are read from it little by little when a broker begins, and cancelling costs no search.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.errors import BrokerError, ClientError, ResourceExhausted
from broker.message import encode_message
from broker.region.routing import Arrivals
from broker.scheduled import (
    DUE_MS_MAX,
    FOR_EVER,
    MARK,
    Terms,
    delivered,
    job_id_of,
    ref_of,
    terms_of,
    without_cron,
)
from journal.record import SCHEDULED, AddScheduled, RemoveMessage, Reschedule

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.region import Region
    from journal.record import Record

SENT_MAX: Final = 100
"""Messages sent in one turn, each in 0.15 ms: thousands that are due at the same second hold up nobody."""
SENT_BYTES_MAX: Final = 1024 * 1024
"""Bytes of these: most have to be read back."""
READ_MAX: Final = 5_000
"""Times read from the index in one turn, when a broker begins: about 5 ms."""
STALE_MAX: Final = 10_000
"""Numbers of cancelled messages that are kept beyond as many as are scheduled."""
RETRY_MS: Final = 1_000
"""Until messages are sent for which the disk has no room."""
UNREADABLE_RETRY_MS: Final = 60_000
"""Until a message is tried again that cannot be read; each attempt is logged."""
GROWTH_BYTES: Final = 1_024
"""A message is so much longer at most when it is sent: it tells the name of its schedule."""
_REF_BITS: Final = 64
_REF: Final = (1 << _REF_BITS) - 1

_log: Final = logging.getLogger("broker.region")

Task = Iterator[None]
"""Work that is done a part per turn."""


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """One that is due later, for people.

    Attributes:
        job_id: names the schedule; `Schedule.remove` takes it.
        due_ms: when it is due next, milliseconds since the epoch.
        repeats: how often again after that; -1 for ever.
        cron: the expression; empty: none.
        message: as it was sent.
    """

    job_id: str
    due_ms: int
    repeats: int
    cron: str
    message: Message


class Schedule:
    """Takes messages that are due later, and sends them then.

    Args:
        region: whose.
        enabled: ActiveMQ's `schedulerSupport`: otherwise they are messages like others, and those that were
            scheduled before stay where they are.
    """

    def __init__(self, region: Region, *, enabled: bool = True) -> None:
        self._region = region
        self.enabled = enabled
        self._heap: list[int] = []
        self._later_ms: dict[int, int] = {}
        """Messages that are tried again, and when."""
        self._paused_until_ms = 0
        self._tasks: deque[Task] = deque()
        state = region.store.state
        self._unread: int | None = -1 if enabled and state.scheduled else None
        """The index has been read up to this number; None: all of it."""

    def __len__(self) -> int:
        """How many messages are due later."""
        return len(self._region.store.state.scheduled)

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called; None: never."""
        if self._unread is not None or self._tasks:
            return self._region.now_ms
        if not self._heap:
            return None
        return max(self._heap[0] >> _REF_BITS, self._paused_until_ms)

    # ---- messages in

    def wants(self, message: Message) -> bool:
        """Whether a message is due later.

        Raises:
            RequestInvalid: what it says of that makes no sense.
        """
        properties = message.properties
        if properties is None or MARK not in properties or not self.enabled:
            return False
        return terms_of(message) is not None

    def send(self, message: Message) -> int:
        """Take a message that is due later; returns the batch that makes it durable, persistent or not.

        Raises:
            ClientError: it cannot be taken.
        """
        records = self.records([message])
        size = len(records[0].body)
        if size > self._region.limits.long_bytes:
            self._region.usage.check_room(size)
        batch = self._region.append(records)
        self.accept(records)
        return batch

    def records(self, messages: Sequence[Message]) -> list[AddScheduled]:
        """The journal's records of messages that are due later; give them to `accept` when appended.

        Raises:
            ResourceExhausted: they are too many, or one is too large.
        """
        limits, region = self._region.limits, self._region
        if messages and len(self) + len(messages) > limits.scheduled_max:
            raise ResourceExhausted(f"A broker keeps at most {limits.scheduled_max} scheduled messages.")
        records: list[AddScheduled] = []
        for message in messages:
            body = encode_message(message)
            if len(body) + GROWTH_BYTES > limits.message_bytes_max:
                most = limits.message_bytes_max - GROWTH_BYTES
                raise ResourceExhausted(
                    f"The message has {len(body)} bytes; if scheduled the limit is {most}."
                )
            terms = terms_of(message)
            assert terms is not None
            producer = message.producer_id, message.producer_sequence_id
            due_ms = terms.first_due_ms(region.now_ms)
            records.append(AddScheduled(region.next_ref, *producer, body, due_ms, terms.repeats))
            region.next_ref += 1
        return records

    def accept(self, records: Sequence[AddScheduled]) -> None:
        """These are in the journal: remember when they are due."""
        for record in records:
            self._note(record.due_ms, record.ref)

    def _note(self, due_ms: int, ref: int) -> None:
        heapq.heappush(self._heap, due_ms << _REF_BITS | ref)
        if len(self._heap) > 2 * len(self) + STALE_MAX:
            self._heap = []
            self._unread = -1

    # ---- messages out

    def run(self) -> None:
        """Do what is due, as much of it as fits a turn."""
        if self._unread is not None:
            self._read(self._unread)
            return
        self._work()
        region, heap = self._region, self._heap
        now_ms = region.now_ms
        if now_ms < self._paused_until_ms:
            return
        state = region.store.state
        count = size = 0
        while heap and heap[0] >> _REF_BITS <= now_ms and count < SENT_MAX and size < SENT_BYTES_MAX:
            code = heapq.heappop(heap)
            ref, noted_ms = code & _REF, code >> _REF_BITS
            due = state.due(ref)
            if due is None or noted_ms not in (due[0], self._later_ms.get(ref)):
                continue
            place = state.scheduled.place(ref)
            size += 0 if place is None else place.length
            count += 1
            if region.store.is_behind or (region.store.full and count > 1):
                heapq.heappush(heap, code)
                self._paused_until_ms = now_ms + RETRY_MS
                return
            self._later_ms.pop(ref, None)
            self._deliver(ref, *due)
        if region.store.full:  # what is delivered can be consumed, which may be what makes space
            self._paused_until_ms = now_ms + RETRY_MS

    def _work(self) -> None:
        """Do a part of the first task."""
        for _ in self._tasks[0] if self._tasks else ():
            return
        if self._tasks:
            self._tasks.popleft()

    def _read(self, after_ref: int) -> None:
        """Read some of the index's times."""
        times = self._region.store.state.due_times
        for _ in range(READ_MAX // 512 + 1):
            found = times.some_after(after_ref)
            if not found:
                self._unread = None
                return
            for ref, due_ms, _ in found:
                heapq.heappush(self._heap, due_ms << _REF_BITS | ref)
            self._unread = after_ref = found[-1][0]

    def _deliver(self, ref: int, due_ms: int, repeats: int) -> None:
        """Send a message and say when it is due again, in one append."""
        region = self._region
        message = region.load(ref, SCHEDULED)
        if message is None:
            if region.store.state.due(ref) is not None:
                self._try_later(ref)
            return
        terms = _terms_of(message)
        next_ms = _next_ms(terms, due_ms, repeats, region.now_ms)
        begun: list[AddScheduled] = []
        if terms.cron is not None and terms.repeats:
            begun = [self._begin(message, terms)]
        end: list[Record] = [*begun]
        if next_ms is None:
            end.append(RemoveMessage(ref, SCHEDULED))
        else:
            left = repeats if terms.cron is not None or repeats == FOR_EVER else repeats - 1
            end.append(Reschedule(ref, next_ms, left))
        if begun:
            region.append(end)
            self.accept(begun)
        else:
            made = delivered(message, job_id_of(message, ref), region.next_ref, region.now_ms)
            self._send(made, end)
        if next_ms is not None:
            self._note(next_ms, ref)

    def _begin(self, message: Message, terms: Terms) -> AddScheduled:
        """One of the times of a cron expression begins a schedule of its own."""
        region = self._region
        due_ms = min(region.now_ms + terms.pause_ms, DUE_MS_MAX)
        record = AddScheduled(
            region.next_ref, "", 0, encode_message(without_cron(message)), due_ms, terms.repeats
        )
        region.next_ref += 1
        return record

    def _send(self, message: Message, end: list[Record]) -> None:
        """Send a message whose time has come; `end` is appended along with it."""
        region = self._region
        sender = region.connections.get(message.producer_id.rsplit(":", 2)[0])
        message.producer_id = ""  # it has been noted as a send of that producer before
        try:
            arrivals = Arrivals(region, region.routing.routes(message), sender)
        except ClientError as error:
            _log.warning("Scheduled message %s becomes a dead letter: %s", message.message_id, error)
            region.dead_letters.undeliverable(message, str(error), end)
            return
        batch = region.append(arrivals.records + end)
        arrivals.accept(batch, volatile_batch=batch)

    def _try_later(self, ref: int) -> None:
        later_ms = self._region.now_ms + UNREADABLE_RETRY_MS
        self._later_ms[ref] = later_ms
        heapq.heappush(self._heap, later_ms << _REF_BITS | ref)

    # ---- what is scheduled

    def find(self, first_ms: int = 0, last_ms: int = DUE_MS_MAX) -> list[int]:
        """The numbers of the messages that are due within a time, the next first."""
        times = self._region.store.state.due_times
        found = [(place.location, ref) for ref, place in times.entries_after(-1)]
        return [ref for due_ms, ref in sorted(found) if first_ms <= due_ms <= last_ms]

    def describe(self, ref: int) -> ScheduledMessage | None:
        """A scheduled message; None if it is none any more, or cannot be read."""
        due = self._region.store.state.due(ref)
        message = None if due is None else self._region.load(ref, SCHEDULED, quietly=True)
        if due is None or message is None:
            return None
        cron = _terms_of(message).cron
        return ScheduledMessage(job_id_of(message, ref), *due, "" if cron is None else cron.text, message)

    def remove(self, job_id: str) -> int | None:
        """Cancel a schedule; returns the batch that says so, None if there is none of this name."""
        ref = ref_of(job_id)
        found = self.describe(ref)
        if found is None or found.job_id != job_id:
            return None
        return self.remove_refs([ref])

    def remove_refs(self, refs: Sequence[int]) -> int:
        """Cancel schedules by their numbers; returns the batch that says so."""
        return self._region.append([RemoveMessage(ref, SCHEDULED) for ref in refs])

    def begin(self, task: Task) -> None:
        """Do some work, a part per turn, after what was begun before."""
        self._tasks.append(task)


def _terms_of(message: Message) -> Terms:
    """The schedule of a message that was taken for one; if it cannot be read any more, this was its time."""
    try:
        terms = terms_of(message)
    except BrokerError:
        terms = None
    return terms or Terms(0, 0, 0, None)


def _next_ms(terms: Terms, due_ms: int, repeats: int, now_ms: int) -> int | None:
    """When a message that is due now is due again; None: it is not."""
    if terms.cron is not None:
        return terms.cron.next_ms(now_ms)
    if not repeats:
        return None
    next_ms = due_ms + terms.period_ms
    return min(next_ms if next_ms > now_ms else now_ms + terms.period_ms, DUE_MS_MAX)
