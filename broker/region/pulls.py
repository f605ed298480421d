"""Pulls that are answered when their time is over, if no message came."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.region.consumer import Consumer
    from broker.region.region import Region


class Pulls:
    """When which consumers of a region are told that there is no message."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._timers: list[tuple[int, int, Consumer]] = []
        self._count = 0

    def remember(self, consumer: Consumer, deadline_ms: int) -> None:
        """A pull is to be answered by then. A timer already set for earlier sets the next one itself."""
        if consumer.pull_timer_ms and consumer.pull_timer_ms <= deadline_ms:
            return
        consumer.pull_timer_ms = deadline_ms
        self._count += 1
        heapq.heappush(self._timers, (deadline_ms, self._count, consumer))

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called; None: never."""
        return self._timers[0][0] if self._timers else None

    def run(self) -> None:
        """Answer those whose time is over."""
        now_ms = self._region.now_ms
        while self._timers and self._timers[0][0] <= now_ms:
            consumer = heapq.heappop(self._timers)[2]
            consumer.pull_timer_ms = 0
            if consumer.closed:
                continue
            for deadline_ms in [each for each in consumer.pulls if 0 < each <= now_ms]:
                consumer.pulls.remove(deadline_ms)
                consumer.dispatch_none()
            waiting = [each for each in consumer.pulls if each]
            if waiting:
                self.remember(consumer, min(waiting))
