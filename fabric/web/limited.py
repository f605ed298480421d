"""Twisted's HTTP server with limits for what a request may bring, and for how many one address may send.

It says nothing of requests in the log: pages that refresh themselves would fill it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, ClassVar, Final, cast

import msgspec
from twisted.web.server import Request, Site

from fabric.web.errors import Refused, error_body
from fabric.web.requests import NO_RATE, Requests
from fabric.web.routes import API, JSON
from fabric.web.settings import WebSettings

BODY_BYTES_MAX: Final = 1024 * 1024
"""Of one request, as ZooKeeper's largest znode; a larger message is sent by a client of a broker."""
UNLIMITED: Final = WebSettings()

_TOO_LARGE: Final = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

log = logging.getLogger("fabric.web")


class TooManyRequests(Refused):
    """One address has asked too much."""

    def __init__(self, address: str, wait_s: float) -> None:
        seconds = math.ceil(wait_s)
        super().__init__(
            429,
            f"More requests come from {address} than its {NO_RATE}.",
            f"Try again in {seconds} s.",
            {"Retry-After": str(seconds), "Cache-Control": "no-store"},
        )


class LimitedRequest(Request):
    """A request whose body is not kept beyond the limit, and that is answered if its address asks little.

    Attributes:
        remote: the address of who asks, also behind a proxy; set before it is answered.
    """

    body_bytes_max: ClassVar = BODY_BYTES_MAX
    remote = ""
    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """Refuse a body that says that it is too long.

        What is allowed stays in memory. Twisted would take a temporary file for some, and a container that
        systemd guards has no place for one.
        """
        self.content = BytesIO()
        if length is not None and length > self.body_bytes_max:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Refuse a body that turns out to be too long."""
        self._received += len(data)
        if self._received > self.body_bytes_max:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]  # its annotations lack some

    def process(self) -> None:
        """Answer, unless the body was refused, or its address asks too much: then nothing is done."""
        if self._refused:
            return
        site: LimitedSite = cast("Any", self.channel).site
        self.remote = site.client_of(self)
        wait_s = site.wait_s(self.remote)
        if wait_s > 0:
            self._put_off(TooManyRequests(self.remote, wait_s))
        else:
            super().process()  # type: ignore[no-untyped-call]  # likewise

    def _put_off(self, refused: TooManyRequests) -> None:
        is_api = self.path.startswith(f"{API}/".encode())
        content = msgspec.json.encode(error_body(refused)) if is_api else f"{refused}\n".encode()
        headers = {
            "Content-Type": JSON if is_api else "text/plain; charset=utf-8",
            "Content-Length": str(len(content)),
            "X-Content-Type-Options": "nosniff",
            **refused.headers,
        }
        self.setResponseCode(refused.status)
        for name, value in headers.items():
            self.responseHeaders.setRawHeaders(name, [value])
        cast("Any", self).write(content)
        cast("Any", self).finish()

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


class LimitedSite(Site):
    """A site that answers so many requests of one address.

    Attributes:
        requests: counts them.

    Args:
        resource: answers.
        settings: how many it answers, and who says whose they are.
        who: listens, for the log.
        seconds: monotonic.
        options: of Twisted's site.
    """

    noisy = False

    def __init__(
        self,
        resource: object,
        settings: WebSettings = UNLIMITED,
        who: str = "console",
        seconds: Callable[[], float] = time.monotonic,
        **options: Any,  # noqa: ANN401 - Twisted's
    ) -> None:
        super().__init__(resource, **options)  # type: ignore[no-untyped-call]  # likewise
        self.requests = Requests(settings)
        self._who = who
        self._seconds = seconds

    def client_of(self, request: Request) -> str:
        """The address a request comes from."""
        peer = str(getattr(request.getClientAddress(), "host", ""))
        forwarded = request.requestHeaders.getRawHeaders("x-forwarded-for", [])
        return self.requests.client_of(peer, ",".join(forwarded)) if forwarded else peer

    def wait_s(self, address: str) -> float:
        """Count a request; 0: it is answered."""
        now_s = self._seconds()
        wait_s = self.requests.wait_s(address, now_s)
        if wait_s > 0 and (lines := self.requests.lines(address, now_s)):
            log.warning(
                "%s: requests from %s refused: more than its %s; refused so: %d",
                self._who,
                address,
                NO_RATE,
                lines,
            )
        return wait_s

    def log(self, request: object) -> None:
        """Log nothing."""
