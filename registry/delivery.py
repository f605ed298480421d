"""How callbacks get to their owner's thread when the owner has no event loop."""

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

Post = Callable[[Callable[[], None]], None]
"""Runs a function later, in the owner's thread, in the order given: ``reactor.callFromThread`` is one."""


class DeliveryThread:
    """Runs what is posted in one daemon thread of its own, in order.

    A command line tool has no reactor. Running its callbacks in kazoo's threads would let one that blocks, or
    that asks the registry something, hold up the session itself.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._posted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to run what was and will be posted."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` later. From any thread."""
        self._posted.put(call)

    def close(self) -> None:
        """Run what is posted so far, then end. Waits for it, except when called from a callback."""
        self._posted.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while (call := self._posted.get()) is not None:
            try:
                call()
            except Exception:  # one faulty callback must not end all deliveries; it is logged
                log.exception("A registry callback failed")
