"""Whose certificates of brokers are believed, where a gateway speaks TLS with them."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

log: Final = logging.getLogger("fabric.gateway")


class BrokerTrust:
    """The authorities in a PEM file, which is read when it is needed, and again when it has changed.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is such a file."""
        return self._path.exists()

    def context(self) -> ssl.SSLContext | None:
        """What TLS goes by; None: the file cannot be used, and the log says why."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                self._context = ssl.create_default_context(cafile=str(self._path))
                self._stamp = stamp
        except OSError as error:  # ssl.SSLError is one
            log.warning(
                "%s, which says whose certificates of brokers are good, is of no use: %s",
                self._path,
                error.strerror or error,
            )
            return self._context
        return self._context
