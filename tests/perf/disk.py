"""What the disk of a benchmark does by itself: the rate of one write and one sync, ours and fio's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from perf.statistics_of_runs import median, percentile

FIO_TIMEOUT_S = 120.0
FILE_BYTES = 256 * 1024 * 1024
"""As much as is written at most; allocated before, as the journal's data files are."""


@dataclass(frozen=True, slots=True)
class DiskRate:
    """Writes of one size, each followed by a sync.

    Attributes:
        size: of a write in bytes.
        per_second: writes.
        median_ms: of a write and its sync.
        worst_ms: the 99th percentile.
    """

    size: int
    per_second: float
    median_ms: float
    worst_ms: float


def own_rate(folder: Path, size: int, seconds: float) -> DiskRate:
    """Write and sync, one behind the other in a file that is allocated already, from Python."""
    data = os.urandom(size)
    path = folder / "disk-rate"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
    times: list[float] = []
    try:
        os.posix_fallocate(descriptor, 0, FILE_BYTES)
        os.fsync(descriptor)
        offset = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds and offset + size <= FILE_BYTES:
            started = time.perf_counter()
            os.pwrite(descriptor, data, offset)
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - started) * 1000)
            offset += size
        took = time.perf_counter() - began
    finally:
        os.close(descriptor)
        path.unlink()
    return DiskRate(size, len(times) / took, median(times), percentile(times, 99))


def fio_command(folder: Path, size: int, seconds: float) -> list[str]:
    """The command line: sequential writes of one size into an allocated file, `fdatasync` after each."""
    count = max(FILE_BYTES // size, 1)
    return [
        *("fio", "--name=batches", f"--directory={folder}", "--rw=write", "--ioengine=psync"),
        *(f"--bs={size}", f"--size={count * size}", "--fdatasync=1", "--fallocate=posix"),
        *(f"--runtime={seconds:g}", "--output-format=json", "--unlink=1"),
    ]


def parse_fio(text: str, size: int) -> DiskRate:
    """Read fio's report.

    Raises:
        ValueError: it is not the report of one job of writes.
    """
    start = text.find("{")  # before it fio may warn
    if start < 0:
        raise ValueError(f"fio reported no figures: {text.strip()[:200]}")
    (job,) = json.loads(text[start:])["jobs"]
    if job["error"]:
        raise ValueError(f"fio failed with error {job['error']}")
    writes, syncs = job["write"], job["sync"]["lat_ns"]
    seconds = writes["runtime"] / 1000
    if not seconds or not writes["total_ios"]:
        raise ValueError("fio has written nothing")
    middle = (writes["lat_ns"]["mean"] + syncs["mean"]) / 1e6
    worst = float(syncs["percentile"]["99.000000"]) / 1e6
    return DiskRate(size, writes["total_ios"] / seconds, middle, worst)


def fio_rate(folder: Path, size: int, seconds: float) -> DiskRate | None:
    """The same by fio; None if it is not installed."""
    if shutil.which("fio") is None:
        return None
    done = subprocess.run(
        fio_command(folder, size, seconds), capture_output=True, text=True, timeout=FIO_TIMEOUT_S, check=False
    )
    return parse_fio(done.stdout or done.stderr, size)
