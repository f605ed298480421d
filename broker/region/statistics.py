"""What has happened at destinations: counters, and how long messages waited.

Every queue and topic has its `Statistics`; `total` adds them up for the whole broker, with those of
destinations that are gone. What there is now (messages, consumers, what is in flight) is not counted but
looked at: `Queue.size`, `in_flight`, `consumers`, `Region.producers`.

Times come from the numbers of messages, which ascend: a region remembers what number it had reached when.
So a message costs nothing here when it comes, and those dispatched together are counted together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.region.region import Region

MARKS_MAX: Final = 4_096
"""Moments that are remembered, 80 bytes each. When they are more, the older ones are thinned out."""
SHARE_OF_AGE: Final = 100
"""To about a hundredth of its age the arrival of an old message is known then, of a recent one to the
millisecond: 1,500 moments are enough for a month."""


class Statistics:
    """Counters of one destination, or of several.

    Attributes:
        since_ms: since when they count, milliseconds since the epoch.
        enqueued: messages sent to it.
        enqueued_bytes: of these, as they were sent.
        dispatched: messages given to consumers, each time again if they were given back.
        dequeued: messages done with: acknowledged, expired, moved to a dead letter queue.
        expired: of these, those whose time was over.
        discarded: messages that a slow subscriber of a topic did not take in time.
        timed: dispatches whose wait is in the sums below.
        wait_ms_sum: from arrival to dispatch. Of a message that the broker found in its journal the wait
            counts from the moment it became the master.
        wait_ms_shortest: the shortest of them; None: there is none.
        wait_ms_max: the longest.
    """

    __slots__ = (
        "dequeued",
        "discarded",
        "dispatched",
        "enqueued",
        "enqueued_bytes",
        "expired",
        "since_ms",
        "timed",
        "wait_ms_max",
        "wait_ms_shortest",
        "wait_ms_sum",
    )

    def __init__(self, since_ms: int = 0) -> None:
        self.reset(since_ms)

    def reset(self, since_ms: int) -> None:
        """Begin anew."""
        self.since_ms = since_ms
        self.enqueued = self.enqueued_bytes = 0
        self.dispatched = self.dequeued = self.expired = self.discarded = 0
        self.timed = self.wait_ms_sum = self.wait_ms_max = 0
        self.wait_ms_shortest: int | None = None

    @property
    def wait_ms_min(self) -> int:
        """The shortest wait; 0 if there is none."""
        return self.wait_ms_shortest or 0

    @property
    def wait_ms_average(self) -> float:
        """From arrival to dispatch."""
        return self.wait_ms_sum / self.timed if self.timed else 0.0

    @property
    def enqueued_bytes_average(self) -> float:
        """Of one message."""
        return self.enqueued_bytes / self.enqueued if self.enqueued else 0.0

    def dispatch(self, refs: Sequence[int], region: Region) -> None:
        """Messages were dispatched; all at once, since most of them came at the same moment."""
        count = len(refs)
        self.dispatched += count
        self.timed += count
        now_ms, waited_ms = region.now_ms, region.arrivals.waited_ms
        if count == 1:  # a lone client's: half the time
            wait_ms = waited_ms(refs[0], now_ms)
            self.wait_ms_sum += wait_ms
            known_ms = self.wait_ms_shortest
            if known_ms is None or wait_ms < known_ms:
                self.wait_ms_shortest = wait_ms
            self.wait_ms_max = max(self.wait_ms_max, wait_ms)
            return
        longest_ms, shortest_ms = waited_ms(min(refs), now_ms), waited_ms(max(refs), now_ms)
        if longest_ms == shortest_ms:
            self.wait_ms_sum += longest_ms * count
        else:
            self.wait_ms_sum += sum(waited_ms(ref, now_ms) for ref in refs)
        self._bound(shortest_ms, longest_ms)

    def _bound(self, shortest_ms: int, longest_ms: int) -> None:
        known_ms = self.wait_ms_shortest
        self.wait_ms_shortest = shortest_ms if known_ms is None else min(known_ms, shortest_ms)
        self.wait_ms_max = max(self.wait_ms_max, longest_ms)

    def add(self, other: Statistics, times: int = 1) -> None:
        """Count what another destination has counted, too.

        Args:
            other: the other.
            times: -1 takes it away again, but for the shortest and the longest wait.
        """
        self.enqueued += times * other.enqueued
        self.enqueued_bytes += times * other.enqueued_bytes
        self.dispatched += times * other.dispatched
        self.dequeued += times * other.dequeued
        self.expired += times * other.expired
        self.discarded += times * other.discarded
        self.timed += times * other.timed
        self.wait_ms_sum += times * other.wait_ms_sum
        if times > 0 and other.wait_ms_shortest is not None:
            self._bound(other.wait_ms_shortest, other.wait_ms_max)


class ArrivalTimes:
    """When messages came, by their numbers.

    Attributes:
        next_ref: no message has this number, or a higher one, yet.
    """

    __slots__ = ("_firsts", "_now_ms", "_times", "next_ref")

    def __init__(self, next_ref: int, now_ms: int) -> None:
        """Begin: lower numbers, found in the journal, come now."""
        self.next_ref = next_ref
        self._now_ms = now_ms
        self._firsts = [0]
        self._times = [now_ms]

    def mark(self, next_ref: int, now_ms: int) -> None:
        """Those below `next_ref` that had not come before came now."""
        now_ms = self._now_ms = max(now_ms, self._now_ms)  # a clock may be set back
        if now_ms != self._times[-1]:
            self._firsts.append(self.next_ref)
            self._times.append(now_ms)
            if len(self._firsts) > MARKS_MAX:
                self._thin_out()
        self.next_ref = next_ref

    def _thin_out(self) -> None:
        """What came soon after what is remembered, and long ago, came with that."""
        marks = list(zip(self._firsts, self._times, strict=True))
        self._firsts, self._times = [], []
        kept_ms = marks[0][1] - self._now_ms - 1
        for first, time_ms in marks:
            if (time_ms - kept_ms) * SHARE_OF_AGE > self._now_ms - time_ms:
                self._firsts.append(first)
                self._times.append(time_ms)
                kept_ms = time_ms

    def waited_ms(self, ref: int, now_ms: int) -> int:
        """How long ago a message came; 0 if that is not marked yet: it comes just now."""
        if ref >= self.next_ref:
            return 0
        return max(now_ms - self._times[bisect_right(self._firsts, ref) - 1], 0)


def total(region: Region) -> Statistics:
    """What all destinations of a broker have counted, those that are gone included."""
    past = region.statistics
    found = Statistics(past.since_ms)
    found.add(past)
    for target in region.targets.values():
        found.add(target.statistics)
    return found


def reset_total(region: Region) -> None:
    """Count the whole broker anew; its destinations go on counting.

    The shortest and the longest wait of what there is now stay.
    """
    past = region.statistics
    past.reset(region.now_ms)
    for target in region.targets.values():
        past.add(target.statistics, -1)


def reset_all(region: Region) -> None:
    """Count anew everywhere."""
    region.statistics.reset(region.now_ms)
    for target in region.targets.values():
        target.statistics.reset(region.now_ms)
