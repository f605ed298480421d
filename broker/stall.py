"""A store that does not answer: noticed by a thread of its own, since every other may be waiting for it.

A disk that fails says so, and a master that is fenced finds out. But a file system whose server has gone says
nothing at all, and whoever writes to it waits, perhaps for ever: the writer's thread, or the owner's, which
commits small batches itself. ZooKeeper sees a living process meanwhile, so no slave would take over. So a
thread that touches no file looks at what the disk owes, and gives way after a while.

That is safe at any time, and if it is wrong it costs one failover: what the disk still does for the old
master is not acknowledged once the fence has fallen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

LOOKS: Final = 16
"""The time-out is counted in so many looks of a thread: a process that was frozen itself, and wakes, has not
waited for the disk while it slept."""

_log: Final = logging.getLogger("broker")


class Patience:
    """Counts how often the same answer was still owed. Pure."""

    def __init__(self) -> None:
        self._asked_s = 0.0
        self._count = 0

    def look(self, asked_s: float) -> bool:
        """Whether what is owed now was owed for too long.

        Args:
            asked_s: when it was asked for; 0.0: nothing is owed.
        """
        if not asked_s or asked_s != self._asked_s:
            self._asked_s, self._count = asked_s, 0
            return False
        self._count += 1
        return self._count >= LOOKS - 1


class StallWatch:
    """Gives way when the store does not answer; and again when it has answered and stops once more.

    Args:
        name: of the broker.
        asked_s: when the disk was asked for what it owes, 0.0 if it owes nothing; called in the thread.
        give_way: called in the thread; whether there is somebody to give way to. If not, it is asked again.
        timeout_s: how long the store may take.
    """

    def __init__(
        self, name: str, asked_s: Callable[[], float], give_way: Callable[[], bool], timeout_s: float
    ) -> None:
        self._name = name
        self._asked_s = asked_s
        self._give_way = give_way
        self._timeout_s = timeout_s
        self._patience = Patience()
        self._given_up = 0.0  # the question that we gave way over
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"stall-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Look no more; returns at once."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._timeout_s / LOOKS):
            self.look()

    def look(self) -> None:
        """Look once."""
        asked_s = self._asked_s()
        if self._patience.look(asked_s) and asked_s != self._given_up and self._give_way():
            self._given_up = asked_s
            _log.error(
                "Broker %s: the store has not answered for %g s; giving way to another broker.",
                self._name,
                self._timeout_s,
            )
