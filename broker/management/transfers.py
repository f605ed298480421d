"""Jobs on the messages that wait in a queue: purge, move, copy, give back what was dead.

Only what waits is touched, never what a consumer has: it may be working on it. Closing the consumer's
connection makes it wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.errors import ClientError, MessageInvalid
from broker.management.browsing import matches_of, read
from broker.management.errors import NotPossible, RequestMalformed, TooMany
from broker.management.jobs import Job
from broker.management.requests import NAMED_MAX, MoveRequest, SelectRequest
from broker.message import readdressed
from broker.region.queue import Queue
from broker.region.routing import Arrivals

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.message import Message
    from broker.region.durable import DurableSubscription
    from broker.region.entry import Entry
    from broker.region.region import Region
    from broker.region.routing import Route
    from journal.record import Record

UNREAD_STEP: Final = 1_000
"""Messages removed in one step without being read: 10 ms."""
READ_STEP: Final = 250
"""Messages that one step reads, from the disk at worst: 10 ms."""
STEP_BYTES_MAX: Final = 1024 * 1024
"""Bytes of messages that one step reads; it ends behind the one that passes this."""

Goes = Callable[["Message"], "Destination | None"]
"""Where a message goes; None: nowhere, it stays."""


class Selection:
    """Which messages of a queue are meant."""

    def __init__(self, request: SelectRequest | MoveRequest) -> None:
        """Read it out of a request.

        Raises:
            SelectorInvalid: the selector is none.
            RequestMalformed: too many are named, or a count is negative.
        """
        named = len(request.ids or ()) + len(request.refs or ())
        if named > NAMED_MAX:
            raise RequestMalformed(f"One request names at most {NAMED_MAX} messages, not {named}.")
        if request.count < 0:
            raise RequestMalformed(f"The argument 'count' cannot be {request.count}.")
        self._matches = matches_of(request.selector)
        self._ids = None if request.ids is None else set(request.ids)
        self.refs = None if request.refs is None else sorted(set(request.refs))
        self.count = request.count
        parts = [
            f"selector {request.selector!r}" if request.selector.strip() else "",
            f"{len(request.ids or ())} ids" if request.ids is not None else "",
            f"{len(request.refs or ())} refs" if request.refs is not None else "",
            f"at most {request.count}" if request.count else "",
        ]
        self.words = ", ".join(part for part in parts if part)

    @property
    def reads(self) -> bool:
        """Whether messages must be read to know whether they are meant."""
        return self._matches is not None or self._ids is not None

    def wants(self, entry: Entry, message: Message) -> bool:
        """Whether a message is meant."""
        if self._ids is not None and message.message_id not in self._ids:
            return False
        return self._matches is None or self._matches(message, entry)


class Transfer(Job):
    """Goes through what waited in a queue when it began, oldest first.

    Args:
        region: whose.
        operation: for people.
        queue: the queue.
        selection: which messages.
        goes: where they go; None: nowhere, they are removed.
        stays: they stay in the queue, too: what goes is a copy.
        target: for people.
    """

    def __init__(
        self,
        region: Region,
        operation: str,
        queue: Queue,
        selection: Selection,
        *,
        goes: Goes | None = None,
        stays: bool = False,
        target: str = "",
    ) -> None:
        super().__init__(region, operation, queue.uri, target=target, detail=selection.words)
        self._queue = queue
        self._selection = selection
        self._goes = goes
        self._stays = stays
        self._reads = selection.reads or goes is not None
        self._after = -1
        self._last = region.next_ref - 1
        self._refs = None if selection.refs is None else list(selection.refs)
        self.total = queue.waiting if self._refs is None else len(self._refs)

    def step(self) -> tuple[int, bool]:
        """Take some messages further."""
        queue = self._queue
        if self.region.targets.get(queue.destination) is not queue:
            raise NotPossible(f"The queue {queue.destination.name} was deleted meanwhile.")
        self.check()
        entries, routes, is_last = self._choose()
        batch = self._carry_out(entries, routes)
        self.changed += len(entries)
        if is_last and self._refs is None:
            self.left = queue.in_flight
        return batch, is_last

    def check(self) -> None:
        """Whether it can go on.

        Raises:
            TooMany: there is no space for what it would store.
        """
        usage = self.region.usage
        if self._goes is not None:
            lack = usage.store_lack() or usage.volatile_lack() if self._stays else ""
            if lack or usage.store.full:
                raise TooMany(lack or usage.store_lack())

    def _choose(self) -> tuple[list[Entry], list[Route], bool]:
        """The entries of this step, where they go, and whether that is all."""
        size, limit = 0, READ_STEP if self._reads else UNREAD_STEP
        entries: list[Entry] = []
        routes: list[Route] = []
        count = self._selection.count
        for ref, entry in self._page(limit):
            if size > STEP_BYTES_MAX:
                return entries, routes, False
            self._after = ref
            self.looked_at += 1
            message = None if entry is None else self._message(entry)
            if entry is None or (self._reads and message is None):
                self.skipped += 1
                continue
            if message is not None:
                size += len(message.wire or message.body or b"")
                if not self._selection.wants(entry, message) or not self._route(message, routes):
                    continue
            entries.append(entry)
            if count and self.changed + len(entries) >= count:
                return entries, routes, True
        return entries, routes, self._is_at_end()

    def _message(self, entry: Entry) -> Message | None:
        """The message, if it is needed."""
        return read(self.region, entry, self._queue.uri) if self._reads else None

    def _page(self, limit: int) -> list[tuple[int, Entry | None]]:
        """The next entries; None: what was named does not wait."""
        waiting_page = self._queue.waiting_page
        if self._refs is None:
            return [(entry.ref, entry) for entry in waiting_page(self._after, self._last, limit)]
        refs = [ref for ref in self._refs if ref > self._after][:limit]
        return [(ref, next(iter(waiting_page(ref - 1, ref, 1)), None)) for ref in refs]

    def _is_at_end(self) -> bool:
        """Whether nothing follows what was looked at last."""
        if self._refs is not None:
            return not self._refs or self._refs[-1] <= self._after
        return not self._queue.waiting_page(self._after, self._last, 1)

    def _route(self, message: Message, routes: list[Route]) -> bool:
        """Find out where a message goes; whether it does."""
        if self._goes is None:
            return True
        try:
            destination = self._goes(message)
            if destination is not None:
                copy = readdressed(message, destination)
                copy.producer_id = ""  # it is not a send of that producer
                routes += self.region.routing.routes(copy)
                return True
        except MessageInvalid:
            pass
        self.skipped += 1
        return False

    def _carry_out(self, entries: list[Entry], routes: list[Route]) -> int:
        """Store what goes and remove what goes away in one append; returns the batch."""
        region, queue = self.region, self._queue
        if not entries:
            return 0
        size = sum(copy.size_bytes for _, copy in routes)
        if size > region.limits.long_bytes:
            region.usage.check_room(size)
        arrivals = Arrivals(region, routes, None)
        removed: list[Record] = []
        if not self._stays:
            queue.withdraw(entries)
            queue.consumed(entries, removed)
        records = arrivals.records + removed
        batch = region.append(records) if records else 0
        arrivals.accept(batch)
        return batch


class Retry(Transfer):
    """Gives dead letters back to where they were before; those for which there is no such place stay."""

    def __init__(self, region: Region, queue: Queue, selection: Selection) -> None:
        super().__init__(region, "retry", queue, selection, goes=self._home)

    def _home(self, message: Message) -> Destination | None:
        origin = message.origin
        if origin is None or origin == self._queue.destination or origin.is_composite or origin.is_pattern:
            return None
        try:
            self.region.target(origin)
        except ClientError:
            return None
        return origin


class Deletion(Transfer):
    """Deletes a queue after what waits in it, so that a long one holds nobody up."""

    def __init__(self, region: Region, queue: Queue) -> None:
        super().__init__(region, "delete", queue, Selection(SelectRequest(queue.destination.name)))
        self.check()

    def check(self) -> None:
        """Whether nobody consumes from it.

        Raises:
            NotPossible: somebody does, or it is a connection's own.
        """
        check_unused(self._queue.destination, self._queue.owner is not None, len(self._queue.consumers))

    def step(self) -> tuple[int, bool]:
        """Remove some messages; at last the queue, with what came meanwhile."""
        batch, is_last = super().step()
        if is_last:
            batch = self.region.delete([self._queue]) or batch
        return batch, is_last


def check_unused(destination: Destination, is_owned: bool, consumers: int) -> None:
    """Whether a destination can be deleted.

    Raises:
        NotPossible: it cannot.
    """
    if is_owned:
        raise NotPossible(f"{destination} belongs to a connection and ends with it: close that one.")
    if consumers:
        raise NotPossible(
            f"{destination} has {consumers} consumers or durable subscriptions: end these first, or close "
            "their connections."
        )


class Unsubscription(Job):
    """Ends a durable subscription after what waits for it, so that a long one holds nobody up."""

    def __init__(self, region: Region, subscription: DurableSubscription) -> None:
        super().__init__(region, "unsubscribe", ":".join(subscription.key))
        self._subscription = subscription
        self._after = -1
        self._last = region.next_ref - 1
        self.total = len(subscription.pending)
        self._check()

    def _check(self) -> None:
        (client_id, name), consumers = self._subscription.key, self._subscription.consumers
        if consumers:
            raise NotPossible(
                f"The durable subscription {name} of the client id {client_id} is active: close the "
                f"connection {consumers[0].connection.connection_id} first."
            )

    def step(self) -> tuple[int, bool]:
        """Remove some messages; at last the subscription."""
        self._check()
        region, subscription = self.region, self._subscription
        if region.subscriptions.durable.get(subscription.key) is not subscription:
            raise NotPossible(f"The durable subscription {self.destination} was ended meanwhile.")
        entries = subscription.pending.page(self._after, self._last, UNREAD_STEP)
        records: list[Record] = []
        if entries:
            self._after = entries[-1].ref
            subscription.pending.withdraw(entries)
            subscription.consumed(entries, records)
            self.looked_at += len(entries)
            self.changed += len(entries)
        is_last = not subscription.pending.page(self._after, self._last, 1)
        if is_last:
            records.append(region.subscriptions.end(subscription))
        return (region.append(records) if records else 0), is_last
