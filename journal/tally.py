"""What a master's journal has done so far: batches, how long they took, and upkeep.

Counted by whoever does it, a few additions for each batch; read from any thread. A reader may find a batch in
one number and not yet in another.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

RECORDS_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Of the records of a batch: 1 is a lone client, a busy broker makes hundreds."""
SECONDS_BOUNDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
)
"""Of a write with its sync: from what the write cache of a disk takes to what is a broken one."""


class Histogram:
    """How often a number was how large.

    Args:
        bounds: ascending; each is the largest number of its bucket.

    Attributes:
        bounds: see above.
        counts: numbers in each bucket; the last one has those above all bounds.
        sum: of the numbers.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, number: float) -> None:
        """Count one more."""
        self.counts[bisect_left(self.bounds, number)] += 1
        self.sum += number

    def copy(self) -> "Histogram":
        """The same, which does not change any more."""
        copied = Histogram(self.bounds)
        copied.counts = list(self.counts)
        copied.sum = self.sum
        return copied

    @property
    def count(self) -> int:
        """Of all numbers."""
        return sum(self.counts)


class Tally:
    """The counters of one mastership of a store.

    Attributes:
        bytes: of the records of all batches.
        records: of a batch.
        sync_s: seconds that a write and its sync took.
        commit_s: likewise of a batch: write, sync and fence check.
        checkpoints: written.
        files_compacted: data files whose live records were moved forward.
        moved_bytes: of these records.
        files_removed: files of any kind that nobody needed any more.
    """

    __slots__ = (
        "bytes",
        "checkpoints",
        "commit_s",
        "files_compacted",
        "files_removed",
        "moved_bytes",
        "records",
        "sync_s",
    )

    def __init__(self) -> None:
        self.bytes = 0
        self.records = Histogram(RECORDS_BOUNDS)
        self.sync_s = Histogram(SECONDS_BOUNDS)
        self.commit_s = Histogram(SECONDS_BOUNDS)
        self.checkpoints = self.files_compacted = self.moved_bytes = self.files_removed = 0

    def commit(self, records: int, size_bytes: int, seconds: float) -> None:
        """A batch may be acknowledged."""
        self.bytes += size_bytes
        self.records.add(records)
        self.commit_s.add(seconds)

    def copy(self) -> "Tally":
        """The same, which does not change any more."""
        copied = Tally()
        for name in ("records", "sync_s", "commit_s"):
            setattr(copied, name, getattr(self, name).copy())
        for name in ("bytes", "checkpoints", "files_compacted", "moved_bytes", "files_removed"):
            setattr(copied, name, getattr(self, name))
        return copied
