"""Servers around another protocol's server: encryption, WebSocket frames, recognition.

::

    socket ─▶ TlsServer ─▶ AutoServer ─▶ WebSocketServer ─▶ StompServer

    any of the first three may lack

To the socket's owner each is a `broker.connector.ProtocolServer` like any other, so that plain TCP pays
nothing for it. Until the innermost one is known there is no login, and the time for that is limited by the
owner (`broker.connector.HANDSHAKE_S_MAX`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.connector import ProtocolServer
    from broker.region.connection import RegionConnection
    from broker.serving import ServerContext

MakeServer = Callable[["ServerContext", str, float, Callable[[], None]], "ProtocolServer"]
"""Makes one client's server: of what the connector shares, the client's address, the time, what asks for a
turn."""


class Wrapper:
    """What the servers around others have in common: they are what is inside, as soon as there is something.

    Attributes:
        inner: what is inside; None until it is known.

    Args:
        context: see `ServerContext`.
        remote: the client's address.
        wake: asks for a turn.
    """

    def __init__(self, context: ServerContext, remote: str, wake: Callable[[], None]) -> None:
        self.inner: ProtocolServer | None = None
        self._context = context
        self._remote = remote
        self._wake = wake
        self._closing = False
        self._reason = ""

    @property
    def connection(self) -> RegionConnection | None:
        """See `ProtocolServer`."""
        return None if self.inner is None else self.inner.connection

    @property
    def closing(self) -> bool:
        """See `ProtocolServer`."""
        return self._closing or (self.inner is not None and self.inner.closing)

    @property
    def close_reason(self) -> str:
        """See `ProtocolServer`."""
        return self._reason or ("" if self.inner is None else self.inner.close_reason)

    @property
    def reading_paused(self) -> bool:
        """See `ProtocolServer`."""
        return self.inner is not None and self.inner.reading_paused

    @property
    def held_batch(self) -> int:
        """See `ProtocolServer`."""
        return 0 if self.inner is None else self.inner.held_batch

    @property
    def deadline_s(self) -> float | None:
        """See `ProtocolServer`."""
        return None if self.inner is None else self.inner.deadline_s

    def handle_deadline(self, now_s: float) -> None:
        """See `ProtocolServer`."""
        if self.inner is not None:
            self.inner.handle_deadline(now_s)

    def durable(self, batch: int) -> None:
        """See `ProtocolServer`."""
        if self.inner is not None:
            self.inner.durable(batch)

    def connection_lost(self, reason: str) -> None:
        """See `ProtocolServer`."""
        self._closing = True
        if self.inner is not None:
            self.inner.connection_lost(reason)

    def last_words(self, reason: str) -> bytes:
        """See `ProtocolServer`."""
        return b"" if self.inner is None else self.inner.last_words(reason)

    def begin(self, make: MakeServer, now_s: float) -> ProtocolServer:
        """What is inside is known: make it."""
        self.inner = make(self._context, self._remote, now_s, self._wake)
        return self.inner

    def fail(self, reason: str) -> None:
        """The connection cannot go on; what is to be sent is still sent."""
        self._reason = reason
        self.connection_lost(reason)
