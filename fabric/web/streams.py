"""An event stream as the answer to one request: written as fast as its client reads, and no faster."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from fabric.web.events import SLOW_S_MAX

if TYPE_CHECKING:
    from twisted.web.server import Request as WebRequest

RETRY: bytes = b"retry: 1000\n\n"
"""How soon a browser connects again, in milliseconds."""


@implementer(IPushProducer)
class RequestListener:
    """An event stream. While its client takes nothing, what has changed is kept, each topic once.

    Attributes:
        ended: fires when the answer is complete.

    Args:
        request: to be answered.
        is_welcome: whether who asks is still logged in.
        now_s: monotonic seconds.
    """

    def __init__(
        self, request: WebRequest, is_welcome: Callable[[], bool], now_s: Callable[[], float]
    ) -> None:
        self._request = request
        self._is_welcome = is_welcome
        self._now_s = now_s
        self._waiting: set[str] = set()
        self._paused_s: float | None = None
        self._over = False
        self.ended: Deferred[None] = Deferred()

    def begin(self) -> None:
        """Send the first line."""
        self._request.registerProducer(self, True)
        self._request.write(RETRY)

    def over(self) -> None:
        """The client has gone."""
        self._over = True

    def tell(self, topics: Collection[str]) -> None:
        """See `fabric.web.events.Listener`."""
        self._waiting.update(topics)
        self._write_waiting()

    def say_alive(self) -> None:
        """See `fabric.web.events.Listener`."""
        if self._paused_s is None and not self._over:
            self._request.write(b": alive\n\n")

    def end(self) -> None:
        """See `fabric.web.events.Listener`."""
        if not self._over:
            self._over = True
            self._request.unregisterProducer()
            if self._paused_s is not None:  # what is written would not arrive
                self._request.loseConnection()
            else:
                self.ended.callback(None)

    def may_go_on(self) -> bool:
        """See `fabric.web.events.Listener`."""
        if self._paused_s is not None and self._now_s() - self._paused_s > SLOW_S_MAX:
            return False
        return self._is_welcome()

    def _write_waiting(self) -> None:
        if self._waiting and self._paused_s is None and not self._over:
            told, self._waiting = sorted(self._waiting), set()
            self._request.write("".join(f"event: {topic}\ndata: {{}}\n\n" for topic in told).encode())

    # ---- what the connection asks for

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The client reads too slowly."""
        self._paused_s = self._now_s()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The client has read."""
        self._paused_s = None
        self._write_waiting()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The client has gone."""
        self._over = True
