"""The reactor of processes that run brokers: Twisted's for epoll, without a logging context for each event.

Twisted names the selectable in a context of its own around each event, for what is logged meanwhile. Our own
log lines name their connection, and the context is a twentieth of what a small message costs. It also counts
its passes, so that a turn can tell what arrives together from what arrives one after the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count

from twisted.internet.main import installReactor
from twisted.python import log


def install_reactor() -> None:
    """Install it, unless the process has a reactor already or is not on Linux; to be called by mains."""
    if "twisted.internet.reactor" in sys.modules or sys.platform != "linux":
        return
    from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415 - only Linux has it

    class PollingReactor(EPollReactor):
        """Serves events as Twisted does, but for the context."""

        passes = 0

        def doPoll(self, timeout: float | None) -> None:  # noqa: N802 - Twisted's name
            """Wait for events, at most so many seconds, and serve them."""
            selectables = self._selectables
            serve: Callable[..., None] = self._doReadOrWrite
            events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
            self.passes += 1
            for descriptor, event in events:
                selectable = selectables.get(descriptor)
                if selectable is None:  # closed by what was served before
                    continue
                try:
                    serve(selectable, descriptor, event)
                except Exception:  # noqa: BLE001 - whatever it is, the others are served
                    log.err()

        doIteration = doPoll  # noqa: N815 - Twisted's name

    make: Callable[[], object] = PollingReactor
    installReactor(make())


def passes_of(reactor: object) -> Callable[[], int]:
    """How often a reactor has looked for events so far.

    One of another kind does not count: then each question is taken for a pass of its own.
    """
    if hasattr(reactor, "passes"):
        return lambda: reactor.passes
    return count().__next__
