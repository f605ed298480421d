"""Twisted's HTTP server with a limit for what a request may bring, and without a log line for each."""

from __future__ import annotations

from io import BytesIO
from typing import ClassVar, Final

from twisted.web.server import Request, Site

BODY_BYTES_MAX: Final = 1024 * 1024
"""Of one request, as ZooKeeper's largest znode; a larger message is sent by a client of a broker."""

_TOO_LARGE: Final = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class LimitedRequest(Request):
    """A request whose body is not kept beyond the limit."""

    body_bytes_max: ClassVar = BODY_BYTES_MAX
    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """Refuse a body that says that it is too long."""
        too_long = length is not None and length > self.body_bytes_max
        super().gotLength(0 if too_long else length)  # type: ignore[no-untyped-call]  # its annotations lack some
        if too_long:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Refuse a body that turns out to be too long."""
        self._received += len(data)
        if self._received > self.body_bytes_max:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]  # likewise

    def process(self) -> None:
        """Answer, unless the body was refused: what it asked for must not be done."""
        if not self._refused:
            super().process()  # type: ignore[no-untyped-call]  # likewise

    def _refuse(self) -> None:
        if not self._refused:
            self._refused = True
            if self.content is not None:
                self.content.close()
            self.content = BytesIO()
            self.channel.write(_TOO_LARGE)
            self.channel.loseConnection()


class BodilessRequest(LimitedRequest):
    """A request that may bring nothing: nobody has to keep what nobody reads."""

    body_bytes_max: ClassVar = 0


class SilentSite(Site):
    """Sites log each request; pages that refresh themselves would fill the container's log."""

    noisy = False

    def log(self, request: object) -> None:
        """Log nothing."""
