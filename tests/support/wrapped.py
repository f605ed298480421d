"""A protocol of one's own inside of TLS, WebSocket and `auto`, for their unit tests."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from broker.connectors import ConnectorConfig, PortRange
from broker.serving import ServerContext


class EchoServer:
    """Says hello, and what it hears in capitals; `bye` ends it, `bad` ends it for a reason."""

    def __init__(self, context: ServerContext, remote: str, now_s: float, wake: Callable[[], None]) -> None:
        del now_s
        self.context = context
        self.remote = remote
        self.wake = wake
        self.connection: Any = None
        self.closing = False
        self.close_reason = ""
        self.reading_paused = False
        self.held_batch = 7
        self.deadline_s: float | None = 42.0
        self.heard = b""
        self.out = b"hello "
        self.lost: list[str] = []
        self.durables: list[int] = []
        self.deadlines: list[float] = []

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Echo."""
        del now_s
        self.heard += data
        self.out += data.upper()
        if b"bad" in self.heard:
            self.close_reason = "it is bad"
        self.closing = self.closing or b"bad" in self.heard or b"bye" in self.heard

    def connection_lost(self, reason: str) -> None:
        """Remember."""
        self.lost.append(reason)
        if not self.closing:
            self.closing = True
            self.close_reason = reason

    def durable(self, batch: int) -> None:
        """Remember."""
        self.durables.append(batch)

    def data_to_send(self) -> bytes:
        """All."""
        out, self.out = self.out, b""
        return out

    def last_words(self, reason: str) -> bytes:
        """Good-bye."""
        return b"good-bye: " + reason.encode()

    def handle_deadline(self, now_s: float) -> None:
        """Remember."""
        self.deadlines.append(now_s)


def context(**config: Any) -> ServerContext:
    """What a connector's servers share, without a region."""
    made = ConnectorConfig("c", config.pop("protocol", "auto"), "auto", PortRange(0, 0), **config)
    nothing: Any = SimpleNamespace(durable_batch=0)
    return ServerContext(made, nothing, nothing, "ID:b", "b", "auto://h:1")
