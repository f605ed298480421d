"""The metrics of a container over HTTP: the PID ``io.fabric8.metrics``.

One page, ``/metrics``, for who has a password or a token of a viewer at least. Figures are gathered in the
reactor's thread and written down in another one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from fabric.authenticator import FabricAuthenticator
from fabric.listening import listen, log_not_published, wanted_ports
from fabric.metrics.container import add_certificate, gather
from fabric.metrics.exposition import render
from fabric.metrics.targets import URL_FIELD
from fabric.reactor import in_thread
from fabric.web.errors import Refused
from fabric.web.gate import Gate
from fabric.web.limited import BodilessRequest, SilentSite
from fabric.web.roles import Role
from fabric.web.tokens import KnownTokens, TokenStore
from registry import paths
from registry.session import SessionState

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.protocols.policies import ProtocolWrapper
    from twisted.python.failure import Failure

    from broker.reactor import ListeningPort
    from fabric.services import ServiceContext
    from registry.watches import Watch

log = logging.getLogger("fabric.metrics")

PORT: Final = "${port:9400,9499}"
CONNECTIONS_MAX: Final = 50
"""Whoever draws curves has one; each has a thread's work at most."""
ANSWERS_MAX: Final = 4
"""Answers that are made at a time; more are refused with 503."""
IDLE_S_MAX: Final = 60
"""A connection on which nothing arrives for so long is closed."""
REALM: Final = b'Basic realm="fabric"'


class MetricsFactory:
    """Factory of metrics services."""

    pid_prefix = "io.fabric8.metrics"

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> MetricsService:
        """Make one. Raises FabricError for a configuration that cannot be used."""
        ports = wanted_ports(pid, properties, PORT, context)
        return MetricsService(context, ports, properties.get("bindAddress") or context.bind_address)


class MetricsService:
    """Listens, and says in the registry where."""

    def __init__(
        self,
        context: ServiceContext,
        ports: range,
        bind_address: str,
    ) -> None:
        """Make it; nothing happens before `startService`.

        Args:
            context: Of the container.
            ports: To be tried in order.
            bind_address: Where it listens.
        """
        self._context = context
        self._ports = ports
        self._bind_address = bind_address
        self._listening: ListeningPort | None = None
        self._users = FabricAuthenticator(context)
        self._tokens = KnownTokens(time.time)
        self._token_watch: Watch | None = None
        gate = Gate(self._users, context.reactor, is_secure=False, tokens=self._tokens)
        self._site = MetricsSite(context, gate)

    @property
    def url(self) -> str:
        """Where it is; empty while it does not listen."""
        if self._listening is None:
            return ""
        return f"http://{self._context.advertised_host}:{self._listening.getHost().port}/metrics"

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Listen on the first free port, and say in the registry where."""
        self._users.start()
        self._token_watch = TokenStore(self._context.session).watch(self._tokens.set_records)
        self._listening = listen(
            self._context, self._ports, self._site, self._bind_address, "The metrics service"
        )
        log.info("The metrics are at %s", self.url)
        self._context.session.add_state_listener(self._registry_changed)
        self._publish()

    def readvertise(self) -> None:
        """Say anew where it is."""
        self._publish()

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Stop listening, and take the address out of the registry if that is there."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.stopListening()
        self._site.close()
        self._users.close()
        if self._token_watch is not None:
            self._token_watch.cancel()
        self._context.session.remove_state_listener(self._registry_changed)
        path = paths.container_config_field(self._context.container, URL_FIELD)
        self._context.session.delete_later(path, lambda _: None)

    def status(self) -> Mapping[str, object]:
        """Return where it is."""
        return {"role": "metrics", "services": [self.url] if self.url else []}

    def _registry_changed(self, state: SessionState) -> None:
        if state is SessionState.CONNECTED:
            self._publish()

    def _publish(self) -> None:
        """Write where it is; what cannot be written now is when ZooKeeper is back."""
        path = paths.container_config_field(self._context.container, URL_FIELD)
        writing: Deferred[None] = in_thread(
            self._context.reactor, self._context.session.put, path, self.url.encode()
        )
        writing.addErrback(log_not_published, "the metrics are")


class MetricsSite(WrappingFactory):
    """The HTTP server, for so many clients and no more."""

    noisy = False

    def __init__(self, context: ServiceContext, gate: Gate) -> None:
        root = Resource()
        root.putChild(b"metrics", MetricsPage(context, gate))  # type: ignore[arg-type]  # a zope interface
        site = SilentSite(root, requestFactory=BodilessRequest, timeout=IDLE_S_MAX)  # type: ignore[no-untyped-call]  # likewise
        super().__init__(site)  # type: ignore[no-untyped-call]  # Twisted's annotations are incomplete

    def buildProtocol(  # type: ignore[override]  # noqa: N802 - Twisted's name, and any factory may refuse
        self, addr: IAddress | None
    ) -> ProtocolWrapper | None:
        """Admit a client, unless there are too many."""
        if len(self.protocols) >= CONNECTIONS_MAX or addr is None:
            return None
        return super().buildProtocol(addr)

    def close(self) -> None:
        """Close all connections."""
        for channel in list(self.protocols):
            channel.loseConnection()


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
        remote = getattr(request.getClientAddress(), "host", "")
        headers = {} if value is None else {"authorization": value}
        identity = await self._gate.identify(headers, remote)
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


factory = MetricsFactory()
