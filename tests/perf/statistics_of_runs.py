"""Figures over the repetitions of a benchmark: pure functions, and the tables they are printed in."""

import contextlib
import math
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from fabric.doctor.scene import halting

SYNC_SAMPLES = 200
SYNC_BYTES = 4096


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed (nearest rank).

    With 30 rounds the 99th percentile is the largest value: a tail is never smoothed away.
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    rank = max(1, math.ceil(percent / 100 * len(ordered)))
    return ordered[rank - 1]


def median(values: Sequence[float]) -> float:
    """The middle value, nan without values."""
    return statistics.median(values) if values else math.nan


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; the first column to the left, figures to the right."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(headings), f"|{rule}|", *map(line, rows)])


def sync_time_ms(directory: Path) -> float:
    """The median time of an fdatasync after an append, on the disk of the benchmark."""
    probe = directory / "sync-probe"
    descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    times = []
    try:
        for _ in range(SYNC_SAMPLES):
            os.write(descriptor, bytes(SYNC_BYTES))
            started = time.perf_counter()
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - started) * 1000)
    finally:
        os.close(descriptor)
        probe.unlink()
    return median(times)


def machine(directory: Path) -> dict[str, str]:
    """What the figures depend on."""
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "fdatasync": f"{sync_time_ms(directory):.2f} ms",
    }
    with contextlib.suppress(OSError):
        driver, poll_ns = halting()
        facts["waiting processors"] = f"{driver}, {poll_ns / 1000:g} µs awake" if poll_ns else driver
    return facts
