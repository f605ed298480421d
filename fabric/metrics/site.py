"""The metrics of a container over HTTP: one page, `/metrics`, for who has a password or a token of a viewer.

Figures are gathered in the reactor's thread and written down in another one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, cast

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from fabric.metrics.container import add_certificate, gather
from fabric.metrics.exposition import render
from fabric.reactor import in_thread
from fabric.web.errors import Refused
from fabric.web.limited import BodilessRequest, LimitedSite
from fabric.web.roles import Role

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.services import ServiceContext
    from fabric.web.gate import Gate
    from fabric.web.settings import WebSettings

log = logging.getLogger("fabric.metrics")

ANSWERS_MAX: Final = 4
"""Answers that are made at a time; more are refused with 503."""
IDLE_S_MAX: Final = 60
"""A connection on which nothing arrives for so long is closed."""
REALM: Final = b'Basic realm="fabric"'


def build_metrics_site(context: ServiceContext, gate: Gate, settings: WebSettings) -> LimitedSite:
    """The HTTP server of the metrics."""
    root = Resource()
    root.putChild(b"metrics", MetricsPage(context, gate))  # type: ignore[arg-type]  # a zope interface
    return LimitedSite(root, settings, "metrics", requestFactory=BodilessRequest, timeout=IDLE_S_MAX)


class MetricsPage(Resource):
    """``/metrics``."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, context: ServiceContext, gate: Gate) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self._context = context
        self._gate = gate
        self._answers = 0

    def render_GET(self, request: Request) -> int:  # noqa: N802 - Twisted's name
        """Answer, later."""
        if request.postpath:
            _refuse(request, Refused(404, "There is nothing but /metrics."))
            return NOT_DONE_YET
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        answering = Deferred.fromCoroutine(self._answer(request, gone))
        answering.addErrback(lambda failure: self._failed(request, failure, gone))
        return NOT_DONE_YET

    async def _answer(self, request: Request, gone: list[object]) -> None:
        if self._answers >= ANSWERS_MAX:
            raise Refused(503, "Too many ask at a time.", headers={"Retry-After": "1"})
        self._answers += 1
        try:
            await self._check(request)
            figures = gather(self._context)
            accept = request.getHeader("accept")

            def write() -> tuple[str, bytes]:
                add_certificate(figures[0], self._context.home)
                return render(figures, accept)

            content_type, text = await in_thread(self._context.reactor, write)
        finally:
            self._answers -= 1
        if not gone:
            request.setHeader("content-type", content_type)
            request.setHeader("cache-control", "no-store")
            request.write(text) if request.method != b"HEAD" else None
            request.finish()

    async def _check(self, request: Request) -> None:
        """Whether he may see it. Raises `Refused`."""
        value = request.getHeader("authorization")
        headers = {} if value is None else {"authorization": value}
        identity = await self._gate.identify(headers, cast("BodilessRequest", request).remote)
        if identity is None:
            raise Refused(401, "User name and password are required.")
        assert identity.role >= Role.VIEWER, "the lowest"

    def _failed(self, request: Request, failure: Failure, gone: list[object]) -> None:
        refused = failure.value
        if not isinstance(refused, Refused):
            log.error("The metrics could not be written:\n%s", failure.getTraceback())
            refused = Refused(500, "The metrics could not be written; the log of the container says why.")
        if not gone:
            _refuse(request, refused)


def _refuse(request: Request, refused: Refused) -> None:
    request.setResponseCode(refused.status)
    request.setHeader("content-type", "text/plain; charset=utf-8")
    for name, value in refused.headers.items():
        request.setHeader(name, value)
    if refused.status == 401:
        request.setHeader("www-authenticate", REALM)
    request.write(f"{refused}\n".encode())
    request.finish()
