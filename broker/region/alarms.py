"""When sources of messages want to be looked at again."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.region.consumer import Source


class Alarms:
    """Times, milliseconds since the epoch, and who is to be woken then."""

    def __init__(self) -> None:
        self._alarms: list[tuple[int, int, Source]] = []
        self._count = 0

    def set(self, due_ms: int, source: Source) -> None:
        """Wake a source; once for each call."""
        self._count += 1
        heapq.heappush(self._alarms, (due_ms, self._count, source))

    @property
    def due_ms(self) -> int | None:
        """When the next is due; None: there is none."""
        return self._alarms[0][0] if self._alarms else None

    def due(self, now_ms: int) -> list[Source]:
        """Take those that are due."""
        found = []
        while self._alarms and self._alarms[0][0] <= now_ms:
            found.append(heapq.heappop(self._alarms)[2])
        return found
