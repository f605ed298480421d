"""A queue: each message goes to one consumer, in order, round-robin among those with room."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from broker.errors import ResourceExhausted
from broker.message import Message, encode_message
from broker.region.entry import Entry, Pending
from journal.index import Backlog, MessageIndex
from journal.record import AddMessage, Record, RemoveMessage

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.region import Region

_by_ref: Final = attrgetter("ref")


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
        self.pending = Pending(backlog, self.index, region.usage.release)
        self.consumers: list[Consumer] = []
        self._round: deque[Consumer] = deque()
        self.enqueued = 0
        self.dequeued = 0
        self.expired = 0

    @property
    def keeps(self) -> bool:
        """Whether messages that are not persistent wait here until they are consumed."""
        return True

    # ---- messages in

    def send(self, message: Message, sender: RegionConnection) -> int:
        """Take a message; returns the batch that makes it durable, 0 if it is not journaled."""
        del sender
        region = self.region
        ref = region.next_ref
        if message.persistent and self.stored:
            record = self.record(message, ref)
            if len(record.body) > region.limits.long_bytes:
                region.usage.check_room(len(record.body))
            batch = region.append((record,))
            self.accept(message, ref, batch, True)
            return batch
        self._line_up(region.usage.hold(ref, message))
        return 0

    def record(self, message: Message, ref: int) -> AddMessage:
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
        if stored:
            entry = Entry(ref, None, batch, True)
            if len(self.pending.tail) < region.limits.resident_messages_max:
                region.usage.keep(entry, message)
        else:
            entry = region.usage.hold(ref, message, always=True)
        self._line_up(entry)

    def _line_up(self, entry: Entry) -> None:
        region = self.region
        region.next_ref = entry.ref + 1
        self.pending.append(entry, region.limits.resident_messages_max, region.durable_batch)
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
                region.pass_over(entry)
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
        """The entry's message, read back if need be."""
        return entry.message or self.region.read_back(entry, self.uri)

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """These are done with: the stored ones are removed from the journal."""
        release = self.region.usage.release
        for entry in entries:
            entry.done = True
            if entry.stored:
                records.append(RemoveMessage(entry.ref, self.uri))
            release(entry)
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
        for entry in self.pending.entries():
            entry.done = True
            self.region.usage.release(entry)
        self.pending = Pending()

    def drop_bodies(self) -> None:
        """Keep no persistent message in memory: the journal has them."""
        drop_body = self.region.usage.drop_body
        for entry in self._entries():
            drop_body(entry)

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

    # ---- what waits

    def index(self) -> MessageIndex | None:
        """The journal's index of this queue."""
        return self.region.store.state.queues.get(self.uri)

    def _entries(self) -> Iterator[Entry]:
        """All but those that are only in the index."""
        for consumer in self.consumers:
            yield from consumer.dispatched.values()
        yield from self.pending.entries()

    def page(self, after_ref: int, last_ref: int) -> list[Entry]:
        """Some of the messages not yet acknowledged and durable, oldest first, those at consumers included.

        Args:
            after_ref: begin above this number.
            last_ref: end there.

        Returns:
            At most `RegionLimits.browse_page_messages` persistent ones, and all between; empty: that was all.
        """
        index, durable = self.index(), self.region.durable_batch
        refs = self._stored_refs(index, after_ref, last_ref)
        end = refs[-1] if refs else last_ref
        known = {entry.ref: entry for entry in self._entries() if after_ref < entry.ref <= end}
        page = [known.pop(ref) if ref in known else Entry(ref, None, 0, True) for ref in refs]
        page.extend(entry for entry in known.values() if not entry.stored)
        page.sort(key=_by_ref)
        shown = [entry for entry in page if entry.batch <= durable]
        return shown if shown or not page else self.page(end, last_ref)

    def _stored_refs(self, index: MessageIndex | None, after_ref: int, last_ref: int) -> list[int]:
        if index is None or not self.stored:
            return []
        page = self.region.limits.browse_page_messages
        return [ref for ref, _, _ in index.some_after(after_ref)[:page] if ref <= last_ref]
