"""What the machine does by itself is told from what the broker does."""

import math
from pathlib import Path

from perf.machine_watch import MachineWatch, longest_within
from support.waiting import wait_until


def test_only_what_lies_within_a_span_counts() -> None:
    """Of a stall that began before, the part within counts; one beside does not."""
    stalls = [(1.0, 1.3), (2.0, 2.05), (5.0, 9.0)]
    assert math.isclose(longest_within(stalls, 1.2, 2.5), 0.1)
    assert longest_within(stalls, 3.0, 4.0) <= 0
    assert longest_within([], 0.0, 1.0) == 0


def test_the_process_starts_and_ends(tmp_path: Path) -> None:
    """It writes its file, and ends when asked to."""
    watch = MachineWatch(tmp_path)
    watch.start()
    wait_until((tmp_path / "machine-watch").exists, 30, "the process writes")
    watch.stop()
    assert watch.longest_ms(0.0, 1.0) == 0
