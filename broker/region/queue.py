"""A queue: each message goes to one consumer, in order, round-robin among those with room."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.errors import ResourceExhausted
from broker.message import Message, encode_message
from broker.region.entry import Entry, Pending
from journal.index import Backlog
from journal.record import AddMessage, Record, RemoveMessage

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.region import Region


class Queue:
    """One queue, its waiting messages and its consumers."""

    def __init__(
        self,
        region: Region,
        destination: Destination,
        backlog: Backlog | None = None,
        owner: RegionConnection | None = None,
    ) -> None:
        self.region = region
        self.destination = destination
        self.uri = destination.uri
        self.owner = owner
        """The connection a temporary queue belongs to."""
        self.stored = not destination.is_temporary
        self.pending = Pending(backlog, lambda: region.store.state.queues.get(self.uri))
        self.consumers: list[Consumer] = []
        self._round: deque[Consumer] = deque()
        self.enqueued = 0
        self.dequeued = 0
        self.expired = 0

    # ---- messages in

    def send(self, message: Message, sender: RegionConnection) -> int:
        """Take a message; returns the batch that makes it durable, 0 if it is not journaled."""
        del sender
        region = self.region
        ref = region.next_ref
        if message.persistent and self.stored:
            batch = region.append((self.record(message, ref),))
            self.accept(message, ref, batch, True)
            return batch
        region.hold_volatile(message.size_bytes)
        self.accept(message, ref, 0, False)
        return 0

    def record(self, message: Message, ref: int) -> Record:
        """The journal's record of a persistent message.

        Raises:
            ResourceExhausted: the message is larger than the limit.
        """
        body = encode_message(message)
        if len(body) > self.region.limits.message_bytes_max:
            raise ResourceExhausted(
                f"The message has {len(body)} bytes; the limit is {self.region.limits.message_bytes_max}."
            )
        return AddMessage(ref, self.uri, message.producer_id, message.producer_sequence_id, body)

    def accept(self, message: Message, ref: int, batch: int, stored: bool) -> None:
        """Put a message that is in the journal (or need not be) at the end."""
        region = self.region
        region.next_ref = ref + 1
        resident_max = region.limits.resident_messages_max
        resident = not stored or len(self.pending.tail) < resident_max
        entry = Entry(ref, message if resident else None, batch, stored)
        self.pending.append(entry, resident_max, region.durable_batch)
        self.enqueued += 1
        region.dirty[self] = None

    # ---- messages out

    def dispatch(self) -> None:
        """Give waiting messages to consumers until either run out or the next one is not durable yet."""
        region, pending, ring = self.region, self.pending, self._round
        expired: list[Entry] = []
        while ring:
            waiting = pending.head()
            if not waiting:
                break
            entry = waiting[0]
            if entry.batch > region.durable_batch:
                region.blocked[self] = None
                break
            consumer = ring[0]
            if not consumer.can_accept():
                ring.popleft()
                consumer.ready = False
                continue
            waiting.popleft()
            message = entry.message or self.message_of(entry)
            if message is None:
                continue
            if message.expiration and message.expiration <= region.now_ms:
                expired.append(entry)
                continue
            ring.rotate(-1)
            consumer.dispatch(entry, message)
        if expired:
            self.expired += len(expired)
            region.finish(self, expired)

    def message_of(self, entry: Entry) -> Message | None:
        """The entry's message; kept once it is read back, since it is about to be dispatched."""
        message = entry.message
        if message is None:
            message = entry.message = self.region.load(entry.ref, self.uri)
        return message

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """These are done with: the stored ones are removed from the journal."""
        for entry in entries:
            entry.done = True
            if entry.stored:
                records.append(RemoveMessage(entry.ref, self.uri))
            elif entry.message is not None:
                self.region.volatile_bytes -= entry.message.size_bytes
        self.dequeued += len(entries)

    def give_back(self, entries: list[Entry]) -> None:
        """Dispatched and not acknowledged: they wait again, where they were."""
        if entries:
            self.pending.give_back(entries)
            self.region.dirty[self] = None
            if self.region.targets.get(self.destination) is not self:
                self.drop()

    def drop(self) -> None:
        """The queue is deleted: what waits in it is gone."""
        for entry in self.pending:
            entry.done = True
            if not entry.stored and entry.message is not None:
                self.region.volatile_bytes -= entry.message.size_bytes
        self.pending = Pending()

    # ---- consumers

    def attach(self, consumer: Consumer) -> None:
        """Add a consumer to the round."""
        consumer.source = self
        self.consumers.append(consumer)
        self.consumer_opened(consumer)

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again: back into the round."""
        if not consumer.ready and not consumer.closed:
            consumer.ready = True
            self._round.append(consumer)
        self.region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """Take a consumer out."""
        self.consumers.remove(consumer)
        if consumer.ready:
            consumer.ready = False
            self._round.remove(consumer)

    def browse(self) -> list[Entry]:
        """All messages not yet acknowledged and durable, oldest first, those at consumers included."""
        entries = [entry for consumer in self.consumers for entry in consumer.dispatched.values()]
        entries.extend(self.pending)
        durable = self.region.durable_batch
        entries = [entry for entry in entries if entry.batch <= durable]
        entries.sort(key=lambda entry: entry.ref)
        return entries[: self.region.limits.browse_messages_max]
