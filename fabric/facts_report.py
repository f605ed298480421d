"""Keeps what a container says about its host current: see `fabric.facts`."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fabric.facts import INTERVAL_S, StoreFacts, write_facts
from fabric.reactor import in_thread
from journal.errors import JournalError
from journal.files import PosixFiles
from journal.identity import read_store_id
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.reactor import DelayedCall
    from fabric.services import ServiceContext

log = logging.getLogger(__name__)

FIRST_S: Final = (1.0, 10.0)
"""When it is said after a start: once there are services, and once a new store has been claimed."""


class FactsReport:
    """Says it soon after the start, and then from time to time. Lives in the reactor's thread."""

    def __init__(self, context: ServiceContext, now: Callable[[], float] = time.time) -> None:
        self._context = context
        self._now = now
        self._delays_s = list(FIRST_S)
        self._next: DelayedCall | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin."""
        self._schedule()

    def stop(self) -> None:
        """Say nothing more."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None

    def _schedule(self) -> None:
        delay_s = self._delays_s.pop(0) if self._delays_s else INTERVAL_S
        self._next = self._context.reactor.callLater(delay_s, self._report)

    def _report(self) -> None:
        stores = [service.store() for service in self._context.services.values() if hasattr(service, "store")]
        writing = in_thread(self._context.reactor, self._write, stores)
        writing.addErrback(_log_not_written)
        # Not before: a store on a mount that hangs must not take one thread after the other.
        writing.addBoth(lambda _: None if self._stopped else self._schedule())

    def _write(self, stores: list[tuple[str, str, Path]]) -> None:
        """Blocks, in a thread."""
        found = [look_at(group, broker, directory) for group, broker, directory in stores]
        write_facts(self._context.session, self._context.container, socket.gethostname(), found, self._now)


def look_at(group: str, broker: str, directory: Path) -> StoreFacts:
    """A broker's store as it is seen from here."""
    try:
        return StoreFacts(group, broker, str(directory), read_store_id(PosixFiles(directory)) or "")
    except JournalError as error:
        return StoreFacts(group, broker, str(directory), problem=str(error))


def _log_not_written(failure: Failure) -> None:
    if failure.check(RegistryError):
        log.info("What this host is like could not be written: %s", failure.getErrorMessage())
    else:
        log.error("Looking at this host failed:\n%s", failure.getTraceback())
