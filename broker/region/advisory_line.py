"""What one listener still has to hear of the advisories."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from broker.destination import Destination
from broker.policies import matches
from broker.region.entry import Entry

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.consumer import Consumer
    from broker.region.region import Region
    from journal.record import Record

_log: Final = logging.getLogger("broker.region")


class AdvisoryLine:
    """The source of a consumer of advisory topics, however many it names: one line for all of them.

    Attributes:
        names: topics.
        patterns: wildcards, by their elements.
        discarded: advisories it did not take in time.
    """

    def __init__(self, consumer: Consumer, members: Iterable[Destination], region: Region) -> None:
        """Make it.

        Args:
            consumer: takes from it.
            members: topics with advisories, and wildcards.
            region: whose.
        """
        self.consumer = consumer
        self.names = frozenset(member.name for member in members if not member.is_pattern)
        self.patterns = [tuple(member.name.split(".")) for member in members if member.is_pattern]
        self.discarded = 0
        self._region = region
        self._existing: Iterator[Message] | None = None
        self._pending: deque[Message] = deque()
        self._pending_bytes = 0
        consumer.source = self

    def wants(self, topic: str) -> bool:
        """Whether it is for the advisories of a topic."""
        if topic in self.names:
            return True
        if not self.patterns:
            return False
        elements = topic.split(".")
        return any(matches(pattern, elements) for pattern in self.patterns)

    def begin(self, existing: Iterator[Message]) -> None:
        """It first hears of what there is already; told as far as it has room, made only then."""
        self._existing = existing
        self._region.advisories.due[self] = None

    def offer(self, message: Message) -> None:
        """Line up an advisory. A listener that is too slow loses the oldest."""
        limits, pending = self._region.limits, self._pending
        pending.append(message)
        self._pending_bytes += message.size_bytes
        room = max(self.consumer.window_free(), 0) + limits.advisories_pending_max
        while len(pending) > room or (
            self._pending_bytes > limits.topic_pending_bytes_max and len(pending) > 1
        ):
            self._pending_bytes -= pending.popleft().size_bytes
            self._discard()
        self._region.advisories.due[self] = None

    def _discard(self) -> None:
        self.discarded += 1
        if self.discarded & (self.discarded - 1) == 0:
            _log.warning(
                "%s does not take its advisories in time; lost so far: %d",
                self.consumer.connection.connection_id,
                self.discarded,
            )

    # ---- what a consumer asks of its source

    def dispatch(self) -> None:
        """Give the consumer what it can take."""
        consumer, region = self.consumer, self._region
        while (self._pending or self._existing is not None) and consumer.can_accept():
            message = self._next()
            if message is None:
                return
            entry = Entry(region.next_ref, message, 0, False)
            if consumer.matches is None or consumer.matches(message, entry):
                region.next_ref += 1
                consumer.dispatch(entry, message)

    def _next(self) -> Message | None:
        if self._existing is not None:
            message = next(self._existing, None)
            if message is not None:
                return message
            self._existing = None
        if not self._pending:
            return None
        message = self._pending.popleft()
        self._pending_bytes -= message.size_bytes
        return message

    def message_of(self, entry: Entry) -> Message | None:
        """The entry's message."""
        return entry.message

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again."""
        del consumer
        self._region.advisories.due[self] = None

    def detach(self, consumer: Consumer) -> None:
        """The listener is gone."""
        del consumer
        self._existing = None
        self._pending.clear()
        self._region.advisories.detach(self)

    def give_back(self, entries: list[Entry]) -> None:
        """Nobody else waits for it."""

    def consumed(self, entries: Sequence[Entry], records: list[Record]) -> None:
        """Nothing is kept."""
