"""What the machine itself does meanwhile: a process of its own that writes and syncs, again and again.

When the disk or the processor stands still, it stands still with everybody else; it knows nothing of brokers.
``python machine_watch.py FILE`` prints a line for each pass that took long: when it began (monotonic, s), and
for how many seconds it was late.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

INTERVAL_S = 0.005
STALL_S = 0.004
"""Passes that are late by less are not counted."""
BYTES = 4096

Stall = tuple[float, float]
"""When it began and when it ended, monotonic seconds."""


def watch(path: Path) -> None:
    """Write and sync until standard input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    data = os.urandom(BYTES)
    while not ended.is_set():
        began = time.monotonic()
        os.pwrite(descriptor, data, 0)
        os.fdatasync(descriptor)
        ended.wait(INTERVAL_S)
        late = time.monotonic() - began - INTERVAL_S
        if late >= STALL_S:
            print(began, late, flush=True)


def longest_within(stalls: Iterable[Stall], start: float, end: float) -> float:
    """How much of a span the longest stall that touches it takes, in seconds."""
    return max((min(last, end) - max(first, start) for first, last in stalls), default=0.0)


class MachineWatch:
    """The process, and what it has seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stalls: list[Stall] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._folder / "machine-watch")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """End."""
        if self._process is not None:
            self._process.communicate(timeout=10)

    def longest_ms(self, start: float, end: float) -> float:
        """The longest time the machine stood still within a span of monotonic seconds."""
        return max(0.0, longest_within(list(self._stalls), start, end)) * 1000

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            began, late = map(float, line.split())
            self._stalls.append((began, began + INTERVAL_S + late))


def main(arguments: Sequence[str]) -> int:
    """Watch."""
    watch(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
