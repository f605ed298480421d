"""A consumer: its prefetch, what was dispatched to it, and what it acknowledges."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

from broker.properties import compiled

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.region.entry import Entry
    from journal.record import Record

NO_WAIT_MS: Final = -1
"""Pull timeout: answer at once, with or without a message."""
FOR_EVER_MS: Final = 0
"""Pull timeout: wait for a message."""
DELIVERED_UNKNOWN: Final = 0
"""Last delivered ref: nothing is known, so all that was dispatched counts as delivered."""
DELIVERED_NONE: Final = -1
"""Last delivered ref: nothing reached the application."""


QUEUE_PREFETCH: Final = 1_000
"""What ActiveMQ's clients ask for if nobody says anything else."""
BROWSER_PREFETCH: Final = 500
"""The same for browsers."""
TOPIC_PREFETCH: Final = 32_767
"""The same for subscribers of topics."""
DURABLE_TOPIC_PREFETCH: Final = 100
"""The same for durable ones."""


class AckKind(IntEnum):
    """What an acknowledgement says; the numbers are those of OpenWire's `MessageAck.ackType`."""

    DELIVERED = 0
    POISON = 1
    STANDARD = 2
    REDELIVERED = 3
    INDIVIDUAL = 4
    UNMATCHED = 5
    EXPIRED = 6


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """What a consumer asks for.

    Attributes:
        prefetch_size: messages dispatched ahead of acknowledgement; 0: only on `pull`.
        browser: sees the queue's messages without consuming them.
        selector: gets only messages that match; None or blank: all.
        no_local: a topic consumer does not get what its own connection sent.
        subscription_name: names the subscription that a topic consumer takes from.
        durable: such a subscription stays when its consumers are gone.
        shared: it may have several consumers; without this it is durable, and its client's.
        common: a shared one belongs to clients of any id, also if its own has chosen one.
        exclusive: one consumer of the queue that wants this gets all of its messages.
        priority: consumers of a queue with a higher one go first.
        pending_limit: messages that may wait for a topic consumer that is not durable, beyond its prefetch;
            0: as its topic's policy says.
        network: it is another broker's.
        advisories: a wildcard that matches advisory topics means these, too.
        retroactive: a topic consumer gets what the topic's policy remembers of earlier messages.
    """

    prefetch_size: int = 1000
    browser: bool = False
    selector: str | None = None
    no_local: bool = False
    subscription_name: str | None = None
    durable: bool = True
    shared: bool = False
    common: bool = False
    exclusive: bool = False
    priority: int = 0
    retroactive: bool = False
    pending_limit: int = 0
    network: bool = False
    advisories: bool = True


class Dispatching(Protocol):
    """What has its turn when the region dispatches."""

    def dispatch(self) -> None:
        """Do what can be done now."""
        ...


class Source(Protocol):
    """Where a consumer's messages come from: a queue, a topic subscription, a browse, the advisories."""

    def dispatch(self) -> None:
        """Give consumers what they can take."""
        ...

    def consumer_opened(self, consumer: Consumer) -> None:
        """The consumer can take messages again."""
        ...

    def detach(self, consumer: Consumer) -> None:
        """The consumer is closed; its dispatched entries come by `give_back`."""
        ...

    def give_back(self, entries: list[Entry]) -> None:
        """Take back what was dispatched and not acknowledged."""
        ...

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """The entries are acknowledged for good: append what the journal must know to `records`."""
        ...

    def message_of(self, entry: Entry) -> Message | None:
        """The entry's message, read back from the journal if need be; None if it cannot be read."""
        ...


class Consumer:
    """One consumer or browser of a connection."""

    __slots__ = (
        "acknowledged_count",
        "closed",
        "connection",
        "credit",
        "delivered_count",
        "destination",
        "dispatched",
        "key",
        "matches",
        "options",
        "prefetch_size",
        "pull_timer_ms",
        "pulls",
        "ready",
        "selector",
        "slow",
        "source",
    )

    def __init__(
        self, key: Hashable, destination: Destination, options: ConsumerOptions, connection: RegionConnection
    ) -> None:
        self.key = key
        self.destination = destination
        self.options = options
        self.connection = connection
        self.selector = selector = (options.selector or "").strip()
        """"" if it has none."""
        self.matches = compiled(selector) if selector else None
        """What decides for its selector; None: it wants everything."""
        self.prefetch_size = options.prefetch_size
        self.dispatched: dict[int, Entry] = {}
        self.delivered_count = 0
        self.acknowledged_count = 0
        """How many messages it has done with."""
        self.pulls: deque[int] = deque()
        """Deadlines of unanswered pulls, in ms since the epoch; 0 none."""
        self.credit = 0
        """Messages that it takes without a prefetch, whatever it acknowledges."""
        self.pull_timer_ms = 0
        """When its earliest timer goes off; 0 none is set."""
        self.ready = False
        """It stands in its source's round."""
        self.slow = False
        """It was full while messages waited for it, and has not caught up since."""
        self.closed = False
        self.source: Source

    def can_accept(self) -> bool:
        """Its prefetch, or an unanswered pull, and its connection have room for one message."""
        if self.connection.dispatch_budget <= 0:
            return False
        if self.prefetch_size:
            return len(self.dispatched) - self.delivered_count < self.prefetch_size
        return self.credit > 0 or bool(self.pulls)

    def window_free(self) -> int:
        """How many messages its prefetch, or its credit, has room for."""
        if self.credit:
            return self.credit
        return self.prefetch_size - len(self.dispatched) + self.delivered_count

    def dispatch(self, entry: Entry, message: Message) -> None:
        """Hand the message to the client."""
        self.dispatched[entry.ref] = entry
        if not self.prefetch_size:
            if self.credit:
                self.credit -= 1
            elif self.pulls:
                self.pulls.popleft()
        connection = self.connection
        content = message.wire or message.body
        connection.dispatch_budget -= 512 if content is None else 512 + len(content)
        connection.region.touched[connection] = None
        connection.client.dispatch(self, message, entry.ref, entry.redelivery_counter)

    def dispatch_none(self) -> None:
        """Tell the client that there is no message."""
        connection = self.connection
        connection.region.touched[connection] = None
        connection.client.dispatch_none(self)

    def apply_prefetch(self, prefetch_size: int, default: int) -> None:
        """Take the prefetch of its destination's policy, if it asked for no other than the clients' default.

        Source: ActiveMQ's `PolicyEntry`.
        """
        if self.options.prefetch_size == default != prefetch_size:
            self.prefetch_size = prefetch_size
            connection = self.connection
            connection.region.touched[connection] = None
            connection.client.set_prefetch(self, prefetch_size)

    def set_prefetch(self, prefetch_size: int) -> None:
        """Change the prefetch; what is dispatched stays dispatched."""
        self.prefetch_size = prefetch_size
        self.source.consumer_opened(self)

    def find(self, first_ref: int, last_ref: int) -> list[Entry]:
        """The dispatched entries from first to last in order of dispatch; empty if an end is not among them.

        Args:
            first_ref: 0: from the oldest.
            last_ref: the last one meant.
        """
        dispatched = self.dispatched
        last = dispatched.get(last_ref)
        if last is None:
            return []
        if first_ref == last_ref:
            return [last]
        found: list[Entry] = []
        inside = not first_ref
        for ref, entry in dispatched.items():
            inside = inside or ref == first_ref
            if inside:
                found.append(entry)
            if ref == last_ref:
                break
        return found

    def ref_of(self, message_id: str) -> int:
        """The ref of a dispatched message, for clients that do not echo it; 0 if it is not among them."""
        for ref, entry in self.dispatched.items():
            message = self.source.message_of(entry)
            if message is not None and message.message_id == message_id:
                return ref
        return 0

    def mark_delivered(self, entries: list[Entry]) -> None:
        """The application has these; the prefetch makes room for as many more."""
        for entry in entries:
            if not entry.delivered:
                entry.delivered = True
                self.delivered_count += 1

    def forget(self, entries: list[Entry]) -> None:
        """The entries are acknowledged: they no longer fill the prefetch."""
        dispatched = self.dispatched
        self.acknowledged_count += len(entries)
        for entry in entries:
            if dispatched.pop(entry.ref, None) is not None and entry.delivered:
                entry.delivered = False
                self.delivered_count -= 1

    def end(self) -> None:
        """Its destination is deleted, or wants no more of it."""
        self.connection.remove_consumer(self.key)

    def close(self, last_delivered_ref: int) -> None:
        """Give back all that is dispatched, except what an open transaction has acknowledged.

        Args:
            last_delivered_ref: those up to this one count as delivered, so their redelivery counter grows;
                `DELIVERED_UNKNOWN` and `DELIVERED_NONE` as named.
        """
        self.closed = True
        counting = last_delivered_ref == DELIVERED_UNKNOWN or last_delivered_ref in self.dispatched
        returned: list[Entry] = []
        counted: list[Entry] = []
        for ref, entry in self.dispatched.items():
            if counting:
                entry.redelivery_counter += 1
                counted.append(entry)
                counting = ref != last_delivered_ref
            entry.delivered = False
            if entry.transaction is None:
                returned.append(entry)
        self.dispatched = {}
        self.delivered_count = 0
        if counted:
            self.connection.region.redelivery.note(self, counted)
        self.source.detach(self)
        self.source.give_back(returned)
