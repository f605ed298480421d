"""A source that consumes nothing: a browser's snapshot."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from broker.region.consumer import BROWSER_PREFETCH
from broker.region.entry import Entry
from broker.region.spool import SpooledEntry

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.consumer import Consumer
    from broker.region.queue import Queue
    from journal.record import Record


LOOKED_AT_MAX: Final = 500
"""Messages that a browser's selector does not want, looked at in one turn; most have to be read back."""


class Browse:
    """What one browser sees: the queue's messages when it was opened, less those consumed meanwhile.

    A selector leaves out what it does not want.

    They are looked up a page at a time, so that a long queue costs no more memory than a short one.
    """

    def __init__(self, queue: Queue, consumer: Consumer) -> None:
        self._queue = queue
        self._region = queue.region
        self._consumer: Consumer | None = consumer
        self._entries: deque[Entry] = deque()
        self._after_ref = 0
        self._last_ref = self._region.next_ref - 1
        self._left = self._region.limits.browse_messages_max
        self._ended = False
        consumer.source = self
        queue.browsers += 1
        consumer.apply_prefetch(queue.policy.queue_browser_prefetch, BROWSER_PREFETCH)
        self._region.dirty[self] = None

    def dispatch(self) -> None:
        """Show what the prefetch has room for; say so once when all has been shown."""
        consumer = self._consumer
        if consumer is None or self._ended:
            return
        matches, looked_at = consumer.matches, 0
        while self._left and (self._entries or self._next_page()):
            if not consumer.can_accept():
                return
            if looked_at >= LOOKED_AT_MAX:
                self._region.unfinished[self] = None
                return
            entry = self._entries.popleft()
            message = None if entry.done else self.message_of(entry)
            if message is None:
                continue
            if matches is None or matches(message, entry):
                self._left -= 1
                consumer.dispatch(_shown(entry), message)
            else:
                looked_at += 1
        self._entries.clear()
        self._ended = True
        consumer.dispatch_none()

    def _next_page(self) -> bool:
        self._entries.extend(self._queue.page(self._after_ref, self._last_ref))
        if self._entries:
            self._after_ref = self._entries[-1].ref
        return bool(self._entries)

    def message_of(self, entry: Entry) -> Message | None:
        """The message if it is still there; not kept in the queue's entry, which may wait for long."""
        if entry.message is not None:
            return entry.message
        if isinstance(entry, SpooledEntry):
            return self._region.usage.unspool(entry)
        return self._region.load(entry.ref, self._queue.uri, quietly=True)

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again."""
        del consumer
        self._region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """The browser is closed."""
        del consumer
        if self._consumer is not None:
            self._queue.browsers -= 1
        self._consumer = None
        self._entries.clear()

    def give_back(self, entries: list[Entry]) -> None:
        """Nothing was taken."""

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """Nothing is consumed by looking."""


def _shown(entry: Entry) -> Entry:
    """A copy for the browser, so that its dispatch state is not the queue's."""
    copy = Entry(entry.ref, None, entry.batch, False)
    copy.redelivery_counter = entry.redelivery_counter
    return copy
