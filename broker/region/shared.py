"""A shared subscription that is not durable: several consumers take from one line in memory.

Source: JMS 2.0, §8.3.2: it exists as long as it has a consumer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.region.listening import ListeningSubscription
from broker.region.subscription import Round

if TYPE_CHECKING:
    from broker.destination import Destination
    from broker.policies import Policy
    from broker.region.consumer import Consumer
    from broker.region.entry import Entry
    from broker.region.region import Region
    from broker.region.subscriptions import Key


class SharedSubscription(ListeningSubscription):
    """Each message goes to one of its consumers.

    Attributes:
        destination: a topic, a wildcard, or several of these.
        selector: "" if it has none.
    """

    def __init__(self, region: Region, consumer: Consumer, key: Key, destination: Destination) -> None:
        super().__init__(region, consumer, is_spread=destination.is_composite or destination.is_pattern)
        self.key = key
        self.destination = destination
        self.selector = consumer.selector
        self._round = Round()

    @property
    def consumers(self) -> Sequence[Consumer]:
        """Those that take from it now."""
        return self._round.consumers

    def window_free(self) -> int:
        """How many messages its consumers have room for."""
        return sum(max(consumer.window_free(), 0) for consumer in self._round.consumers)

    def dispatch(self) -> None:
        """Give waiting messages to consumers in turn."""
        region, pending = self.region, self.pending
        expired: list[Entry] = []
        dispatched: list[Entry] = []
        while (consumer := self._round.with_room()) is not None:
            waiting = pending.head()
            if not waiting:
                break
            entry = waiting[0]
            if entry.batch > region.durable_batch:
                region.blocked[self] = None
                break
            waiting.popleft()
            message = self.take(entry, expired)
            if message is not None:
                self._round.ring.rotate(-1)
                consumer.dispatch(entry, message)
                dispatched.append(entry)
        self.settle(dispatched, expired)

    def give_back(self, entries: list[Entry]) -> None:
        """A consumer is gone: what it has not acknowledged is for the others."""
        if not self._round.consumers:
            self.release(entries)
            return
        self.line_up_again(entries)
        self._count_again(entries)
        self.region.dirty[self] = None

    def attach(self, consumer: Consumer, policy: Policy) -> None:
        """A consumer more."""
        super().attach(consumer, policy)
        self._round.add(consumer)

    def consumer_opened(self, consumer: Consumer) -> None:
        """It can take messages again."""
        self._round.open(consumer)
        self.region.dirty[self] = None

    def detach(self, consumer: Consumer) -> None:
        """A consumer less; it ends with the last."""
        self._round.remove(consumer)
        if not self._round.consumers:
            self.region.subscriptions.forget(self)
            super().detach(consumer)
