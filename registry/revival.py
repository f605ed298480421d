"""A kazoo client whose connection's thread ends although nobody has closed it, and how it is started again.

kazoo's thread tries for ever to connect, but an error that it does not expect ends it, and so does a refused
authentication. Nothing would come of the session any more: no state, no watch, no answer.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from kazoo.exceptions import WriterNotClosedException

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.25
PAUSE_MAX_S: Final = 5.0
"""How long it is waited before a thread that has ended is started again; what ends it may last."""


class Revival:
    """Starts one client again, for as long as it is wanted."""

    def __init__(self, client: Any, url: str) -> None:  # noqa: ANN401 - kazoo is not typed
        self.error: Exception | None = None
        """Of what the thread has ended last; None once there was a connection after it."""
        self._client = client
        self._url = url
        self._pause_s = PAUSE_S
        self._over = threading.Event()
        self._lock = threading.Lock()  # a client that is ended is not started again
        client.on_end = self._ended

    def connected(self) -> None:
        """There is a connection. In kazoo's connection thread."""
        self.error = None
        self._pause_s = PAUSE_S

    def dispose(self) -> None:
        """End the client. Takes as long as a server needs to answer, or to be given up."""
        self._over.set()
        with self._lock:
            try:
                self._client.stop()
                self._client.close()
            except WriterNotClosedException:
                log.warning("A ZooKeeper connection did not end in time; it is left behind")

    def _ended(self, error: Exception | None) -> None:
        """Start it again if it is wanted. In kazoo's connection thread, as the last thing it does."""
        if self._over.is_set():
            return
        self.error = error
        why = repr(error) if error else "ZooKeeper refused to authenticate us"
        log.error(
            "ZooKeeper at %s: the connection's thread has ended (%s); it is started again",
            self._url,
            why,
            exc_info=error,
        )
        # The thread cannot restart itself: kazoo waits for its end first.
        threading.Thread(target=self._start_again, name="registry-revive", daemon=True).start()

    def _start_again(self) -> None:
        started = False
        while not started and not self._over.wait(self._pause_s):
            self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)
            with self._lock:
                started = self._over.is_set() or self._start()

    def _start(self) -> bool:
        try:
            self._client.start_async()
        except Exception as error:  # noqa: BLE001 - no more threads or files, or kazoo's own; it may pass
            self.error = error
            log.error("ZooKeeper at %s: the connection cannot be started: %r", self._url, error)
            return False
        return True
