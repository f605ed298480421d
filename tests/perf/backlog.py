"""A queue with many durable messages, filled before failovers are measured, and a slave that has read it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from perf.lean_client import LeanProducer, Load, send_windowed
from perf.process_facts import processor_s

QUEUE = "bench.backlog"
BODY_BYTES = 1024
PRODUCERS, WINDOW = 4, 250
SAMPLE_S = 1.0
REST_SHARE = 0.25
"""Of a core: a slave that only follows the benchmark's own traffic needs a tenth of it."""


def port_of(services: list[str]) -> int:
    """The port in the first URL that a broker publishes.

    Raises:
        ValueError: it publishes none.
    """
    for service in services:
        port = service.rpartition(":")[2]
        if port.isdigit():
            return int(port)
    raise ValueError(f"no port in {services}")


def fill(port: int, count: int) -> Load:
    """Send so many persistent messages of 1 KiB; returns when all of them are acknowledged."""
    body = os.urandom(BODY_BYTES)
    producers = [LeanProducer(port, QUEUE, body, f"backlog-{number}") for number in range(PRODUCERS)]
    try:
        return send_windowed(producers, WINDOW, messages=count)
    finally:
        for producer in producers:
            producer.close()


class AtRest:
    """Whether a process has used little of a core since it was asked last; to be called again and again.

    Args:
        pid: of the process.
        used_s: gives the processor time that a process has used.
        clock_s: monotonic.
    """

    def __init__(
        self,
        pid: int,
        used_s: Callable[[int], float] = processor_s,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pid = pid
        self._used_s = used_s
        self._clock_s = clock_s
        self._before = clock_s(), used_s(pid)

    def __call__(self) -> bool:
        """True once a sample is over in which it was at rest."""
        now, used = self._clock_s(), self._used_s(self._pid)
        began, before = self._before
        if now - began < SAMPLE_S:
            return False
        self._before = now, used
        return (used - before) / (now - began) < REST_SHARE
