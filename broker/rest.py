"""What a socket did not take at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from broker.reactor import Socket


def send_some(socket: Socket, data: bytes) -> int:
    """Send what the socket takes at once; returns how many bytes that were.

    0 if it fails: the reactor, to which the rest is left, finds the error again and ends the connection.
    """
    try:
        return socket.getHandle().send(data)
    except OSError:
        return 0


@implementer(IPullProducer)
class Rest:
    """Bytes that Twisted keeps for a socket; it says when they are sent."""

    def __init__(self, on_sent: Callable[[], None]) -> None:
        self._on_sent = on_sent
        self._is_awaited = False

    def leave(self, socket: Socket, data: bytes) -> None:
        """Leave this to the socket; `on_sent` is called when it has taken all of it."""
        socket.write(data)
        socket.registerProducer(self, False)  # which calls `resumeProducing` once
        self._is_awaited = True

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Its buffer is empty."""
        if self._is_awaited:
            self._on_sent()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The connection is gone; `connectionLost` follows."""
