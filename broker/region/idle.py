"""Deletes destinations that nobody has used for a while, where their policy says so.

Idle is a destination without messages, consumers, durable subscriptions and producers, to which nothing was
sent since it was last looked at. Source: ActiveMQ, `gcInactiveDestinations`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from broker.region.queue import Queue

if TYPE_CHECKING:
    from broker.region.region import Region
    from broker.region.topic import Topic

_log: Final = logging.getLogger("broker.region")


class IdleDestinations:
    """Looks at all destinations from time to time.

    Attributes:
        due_ms: when it looks next; None: never.
    """

    def __init__(self, region: Region, period_ms: int, deleted_max: int) -> None:
        """Make it.

        Args:
            region: whose destinations.
            period_ms: how often; 0: never.
            deleted_max: how many are deleted at a time; 0: all that are idle.
        """
        self._region = region
        self._period_ms = period_ms
        self._deleted_max = deleted_max
        self._seen: dict[Queue | Topic, tuple[int, int]] = {}
        """Since when it is idle, and what had been sent to it by then."""
        self.due_ms: int | None = region.now_ms + period_ms if period_ms else None

    def run(self) -> None:
        """It is due: delete what has been idle for long enough, in one append."""
        region = self._region
        now_ms = region.now_ms
        self.due_ms = now_ms + self._period_ms
        seen: dict[Queue | Topic, tuple[int, int]] = {}
        old: list[Queue | Topic] = []
        held = region.redelivery.places()
        for target in region.targets.values():
            if not target.policy.gc_inactive_destinations or not self._is_idle(target) or target in held:
                continue
            since_ms, enqueued = self._seen.get(target, (now_ms, target.statistics.enqueued))
            if enqueued != target.statistics.enqueued:
                since_ms = now_ms
            seen[target] = since_ms, target.statistics.enqueued
            if now_ms - since_ms >= target.policy.inactive_before_gc_ms:
                old.append(target)
        self._seen = seen
        if self._deleted_max:
            del old[self._deleted_max :]
        for target in old:
            del self._seen[target]
            _log.info("%s has been idle for %d ms: deleted", target.uri, target.policy.inactive_before_gc_ms)
        region.delete(old)

    def _is_idle(self, target: Queue | Topic) -> bool:
        if target.owner is not None or target.consumers or target.destination in self._region.producers:
            return False
        if isinstance(target, Queue):
            locked = target.uri in self._region.store.state.branches.locked
            return not target.waiting and not target.index() and not locked
        return not target.subscriptions
