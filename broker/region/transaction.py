"""A transaction that is open: sends and acknowledgements kept until its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from broker.errors import SendBlocked, TransactionRefused
from broker.region.routing import Arrivals

if TYPE_CHECKING:
    from broker.errors import ClientError
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry
    from broker.region.region import Region
    from broker.region.routing import Route
    from journal.record import AddMessage, Record

_consumer_of: Final = itemgetter(0)


@dataclass(slots=True, eq=False)
class Transaction:
    """What one open transaction has done so far.

    Attributes:
        name: of a branch its xid.
        connection: that began it.
        sends: in the order sent.
        drafts: for each of them its record but for the number, if it can be made before the outcome.
        acknowledged: with the consumer that acknowledged it, in that order.
        bytes_held: what the sends cost in memory.
        refused: why a send of it was refused, which its sender may not have heard: it must not be committed.
        ended: it is not open any more.
        repeats: the journal knows it from before this reconnection: what is done in it was done then.
        volatile: once it is prepared, what it sent that the journal does not keep.
    """

    name: str
    connection: RegionConnection
    sends: list[Message] = field(default_factory=list)
    drafts: list[AddMessage | None] = field(default_factory=list)
    acknowledged: list[tuple[Consumer, Entry]] = field(default_factory=list)
    bytes_held: int = 0
    refused: ClientError | None = None
    ended: bool = False
    repeats: bool = False
    volatile: list[Route] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """Sends and acknowledged messages together."""
        return len(self.sends) + len(self.acknowledged)

    def keep(self, message: Message, draft: AddMessage | None = None) -> None:
        """A message is sent when this is committed; see `drafts`."""
        self.sends.append(message)
        self.drafts.append(draft)
        self.bytes_held += message.size_bytes

    def check(self, region: Region) -> None:
        """Its sends have found space, and the disk has room for all of them at once.

        A `storeUsage` that is used up stops sends, not commits: what was let in may be finished.

        Raises:
            SendBlocked: not yet.
            TransactionRefused: one of them was refused.
            ResourceExhausted: there is no room.
        """
        blocked = self.connection.blocked
        if blocked and blocked.holds(self.name):
            raise SendBlocked("The commit waits for its sends.")
        if self.refused is not None:
            raise TransactionRefused(f"Transaction '{self.name}' has been rolled back: {self.refused}")
        usage = region.usage
        if (usage.is_short or self.bytes_held > region.limits.long_bytes) and any(
            message.persistent for message in self.sends
        ):
            usage.check_room(self.bytes_held)

    def commit(self, region: Region, *further: Record) -> int:
        """Do all of it in one append, with further records.

        Raises:
            InvalidDestination, ResourceExhausted: a send cannot be done; nothing has been done.
        """
        arrivals = Arrivals.of(region, self.sends, self.connection, self.drafts)
        records = arrivals.records
        self.finish(records)
        records.extend(further)
        batch = region.append(records) if records else 0
        arrivals.accept(batch)
        return batch

    def finish(self, records: list[Record]) -> None:
        """What it acknowledged is done with: append what the journal must know."""
        for consumer, taken in groupby(self.acknowledged, key=_consumer_of):
            entries = [entry for _, entry in taken]
            for entry in entries:
                entry.transaction = None
            consumer.forget(entries)
            consumer.source.consumed(entries, records)
            if not consumer.ready:
                consumer.source.consumer_opened(consumer)

    def roll_back(self, *, at_once: bool = False) -> None:
        """What it acknowledged is not acknowledged any more; messages whose consumer is closed wait again.

        Args:
            at_once: so do those of consumers whose client will not hear of it, as delivered once more.
        """
        for consumer, entry in self.acknowledged:
            entry.transaction = None
            if at_once and not consumer.closed:
                consumer.forget([entry])
                entry.redelivery_counter += 1
            if at_once or consumer.closed:
                consumer.source.give_back([entry])
