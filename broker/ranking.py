"""Which destinations have figures of their own, so that their number stays bounded; the rest is one sum.

Counters that are watched from outside must never go back, or whoever draws rates from them sees a jump. So
what a destination counted before it got figures of its own stays in the sum of the rest, and what it counted
while it had them never enters it: the ranking remembers both.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.destination import Destination, is_advisory
from broker.region.queue import Queue

if TYPE_CHECKING:
    from broker.region.statistics import Statistics
    from broker.region.topic import Topic

KEEPING: Final = 2
"""Who has figures keeps them until another one weighs so many times as much."""

Counters = tuple[int, ...]
COUNTERS: Final = (
    "enqueued",
    "enqueued_bytes",
    "dispatched",
    "dequeued",
    "expired",
    "discarded",
    "timed",
    "wait_ms_sum",
)
"""The counters of `broker.region.statistics.Statistics` that are looked at, in the order of `Counters`."""
_NONE: Final = (0,) * len(COUNTERS)


def counters_of(statistics: Statistics) -> Counters:
    """The counters as they are now."""
    return tuple(getattr(statistics, name) for name in COUNTERS)


def _sum(one: Counters, other: Counters, times: int = 1) -> Counters:
    return tuple(a + times * b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True, slots=True)
class _Shown:
    """A destination with figures of its own.

    Attributes:
        statistics: its counters, kept also when it is gone: another one of its name has others.
        before: what it had counted when it got figures, and so stands in the rest.
    """

    statistics: Statistics
    before: Counters

    @property
    def counted(self) -> Counters:
        """What it has counted since."""
        return _sum(counters_of(self.statistics), self.before, -1)


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a look has found.

    Attributes:
        shown: the destinations with figures of their own.
        rest: the counters of all others, those that are gone included.
    """

    shown: Sequence[Queue | Topic]
    rest: Counters


class Ranking:
    """Chooses at every look; one for each mastership."""

    def __init__(self) -> None:
        self._shown: dict[Destination, _Shown] = {}
        self._away: Counters = _NONE  # counted with figures of their own, by those that have them no more
        self._total: Counters = _NONE
        self._looked_ms = -1

    def look(self, targets: Iterable[Queue | Topic], total: Counters, shown_max: int, now_ms: int) -> Ranked:
        """Choose those with the most messages and traffic; temporary ones and advisories never.

        Args:
            targets: all destinations.
            total: their counters and those of destinations that are gone.
            shown_max: how many are chosen.
            now_ms: the time.
        """
        if self._looked_ms < 0 or any(now < then for now, then in zip(total, self._total, strict=True)):
            self._shown, self._away, self._looked_ms = {}, _NONE, -1  # the first look, or all begin anew
        chosen = self._choose(targets, shown_max)
        before, self._shown = self._shown, {}
        for target in chosen:
            statistics = target.statistics
            known = before.get(target.destination)
            if known is not None and known.statistics is statistics:
                del before[target.destination]
            else:
                is_new = statistics.since_ms >= self._looked_ms
                known = _Shown(statistics, _NONE if is_new else counters_of(statistics))
            self._shown[target.destination] = known
        for gone in before.values():
            self._away = _sum(self._away, gone.counted)
        taken = self._away
        for known in self._shown.values():
            taken = _sum(taken, known.counted)
        self._total, self._looked_ms = total, now_ms
        return Ranked(chosen, tuple(max(number, 0) for number in _sum(total, taken, -1)))

    def _choose(self, targets: Iterable[Queue | Topic], shown_max: int) -> list[Queue | Topic]:
        eligible = [
            each for each in targets if not (each.destination.is_temporary or is_advisory(each.destination))
        ]
        if len(eligible) <= shown_max:
            return eligible
        return heapq.nlargest(shown_max, eligible, key=self._weight)

    def _weight(self, target: Queue | Topic) -> int:
        statistics = target.statistics
        weight = statistics.enqueued + statistics.dispatched
        if isinstance(target, Queue):
            weight += target.waiting
        return weight * KEEPING + 1 if target.destination in self._shown else weight
