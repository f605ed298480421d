"""What was acknowledged and what arrived, written down by two threads and added up per round."""

import itertools
import math
import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Findings:
    """One round: the longest gap between two acknowledged sends, and what became of the messages."""

    gap_ms: float
    acknowledged: int
    lost: int
    duplicated: int
    redelivered: int
    gap_from: float = math.nan
    """When the gap began, monotonic seconds."""
    gap_after_s: float = math.nan
    """How many seconds after the fault that was; negative: it began before."""
    machine_ms: float = 0.0
    """How long of it the machine itself stood still, for everybody."""

    def __str__(self) -> str:
        return (
            f"{self.gap_ms:.0f} ms from {self.gap_after_s:.1f} s after the fault,"
            f" of them {self.machine_ms:.0f} ms the machine's own,"
            f" {self.acknowledged} acknowledged, {self.lost} lost,"
            f" {self.duplicated} duplicated, {self.redelivered} redelivered"
        )


@dataclass(slots=True)
class Ledger:
    """The acknowledged sends of one round by number, and how often each number arrived.

    The messages of a round go to two queues in turn. Even numbers are consumed while the fault happens; one
    that arrives twice there may be a rightful redelivery, since the broker died before it knew of the first.
    Odd numbers are consumed after the round: one that arrives twice there was stored twice, which must not
    happen.
    """

    acknowledged_at: dict[int, float] = field(default_factory=dict)
    received: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, number: int, seconds: float) -> None:
        """A send was acknowledged at a moment."""
        with self._lock:
            self.acknowledged_at[number] = seconds

    def receive(self, number: int) -> None:
        """A message arrived."""
        with self._lock:
            self.received[number] += 1

    def acknowledged_after(self, seconds: float) -> int:
        """How many sends were acknowledged after a moment."""
        with self._lock:
            return sum(1 for at in self.acknowledged_at.values() if at > seconds)

    def missing(self, parity: int) -> int:
        """How many acknowledged messages of one queue (0: even numbers, 1: odd ones) have not arrived."""
        with self._lock:
            return sum(1 for n in self.acknowledged_at if n % 2 == parity and not self.received[n])

    def findings(self, since: float) -> Findings:
        """Add up; a gap counts when it ended after a moment, that of the fault."""
        with self._lock:
            times = sorted(self.acknowledged_at.values())
            spans = [
                (later - earlier, earlier) for earlier, later in itertools.pairwise(times) if later > since
            ]
            gap, gap_from = max(spans, default=(math.inf, math.nan))
            again = {number: count - 1 for number, count in self.received.items() if count > 1}
            return Findings(
                gap_ms=gap * 1000,
                acknowledged=len(times),
                lost=sum(1 for number in self.acknowledged_at if not self.received[number]),
                duplicated=sum(count for number, count in again.items() if number % 2),
                redelivered=sum(count for number, count in again.items() if number % 2 == 0),
                gap_from=gap_from,
                gap_after_s=gap_from - since,
            )
