"""The metrics of a container over HTTP: the PID ``io.fabric8.metrics``. See `fabric.metrics.site`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from fabric.listening import listen, log_not_published, wanted_ports
from fabric.metrics.targets import URL_FIELD
from fabric.reactor import in_thread
from registry import paths
from registry.session import SessionState

if TYPE_CHECKING:
    from broker.reactor import ListeningPort
    from fabric.metrics.model import Figures
    from fabric.services import ServiceContext
    from fabric.web.settings import WebSettings
    from registry.watches import Watch

log = logging.getLogger("fabric.metrics")

PORT: Final = "${port:9400,9499}"
CONNECTIONS_MAX: Final = 50
"""Whoever draws curves has one; each has a thread's work at most."""


class MetricsFactory:
    """Factory of metrics services. Their modules are imported when the first one is made."""

    pid_prefix = "io.fabric8.metrics"

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> MetricsService:
        """Make one. Raises FabricError for a configuration that cannot be used."""
        from fabric.web.settings import read_settings  # noqa: PLC0415 - a container without metrics stays small

        ports = wanted_ports(pid, properties, PORT, context)
        settings = read_settings(pid, properties, context, "metrics", CONNECTIONS_MAX)
        return MetricsService(context, ports, properties.get("bindAddress") or context.bind_address, settings)


class MetricsService:
    """Listens, and says in the registry where."""

    def __init__(
        self,
        context: ServiceContext,
        ports: range,
        bind_address: str,
        settings: WebSettings,
    ) -> None:
        """Make it; nothing happens before `startService`.

        Args:
            context: Of the container.
            ports: To be tried in order.
            bind_address: Where it listens.
            settings: How it is reached, and how much it takes.
        """
        from fabric.authenticator import FabricAuthenticator  # noqa: PLC0415 - see above
        from fabric.metrics.site import build_metrics_site  # noqa: PLC0415 - likewise
        from fabric.web.audit import ConsoleAudit  # noqa: PLC0415 - likewise
        from fabric.web.connections import Connections  # noqa: PLC0415 - likewise
        from fabric.web.gate import Gate  # noqa: PLC0415 - likewise
        from fabric.web.known_tokens import KnownTokens  # noqa: PLC0415 - likewise
        from fabric.web.tokens import TokenStore  # noqa: PLC0415 - likewise

        def run_blocking(call: Callable[[], object]) -> Deferred[object]:
            return in_thread(context.reactor, call)

        self._context = context
        self._ports = ports
        self._bind_address = bind_address
        self._settings = settings
        self._listening: ListeningPort | None = None
        self._users = FabricAuthenticator(context)
        self._store = TokenStore(context.session)
        self._tokens = KnownTokens(time.time, self._store.read_later, context.reactor)
        self._token_watch: Watch | None = None
        self._audit = ConsoleAudit(
            context.session, context.home.audit_log, run_blocking, context.reactor, origin="metrics"
        )
        is_secure = settings.certificates is not None
        gate = Gate(self._users, context.reactor, is_secure=is_secure, tokens=self._tokens)
        gate.when_tried = self._audit.login
        self._site = Connections(build_metrics_site(context, gate, settings), settings, "metrics")

    @property
    def url(self) -> str:
        """Where it is; empty while it does not listen."""
        if self._listening is None:
            return ""
        host, port = self._context.advertised_host, self._listening.getHost().port
        return f"{self._settings.scheme}://{host}:{port}/metrics"

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Listen on the first free port, and say in the registry where."""
        self._users.start()
        self._token_watch = self._store.watch(self._tokens.set_records)
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
        self._site.close_all()
        self._audit.close()
        self._users.close()
        if self._token_watch is not None:
            self._token_watch.cancel()
        self._context.session.remove_state_listener(self._registry_changed)
        path = paths.container_config_field(self._context.container, URL_FIELD)
        self._context.session.delete_later(path, lambda _: None)

    def status(self) -> Mapping[str, object]:
        """Return where it is; `notice`: what is sent to it can be read on the way, or soon not at all."""
        found: dict[str, object] = {"role": "metrics", "services": [self.url] if self.url else []}
        notice = self._settings.notice(MetricsFactory.pid_prefix, "the metrics listen", self._bind_address)
        if notice:
            found["notice"] = notice
        return found

    def figures(self) -> Figures:
        """What it has counted."""
        from fabric.metrics.web import web_figures  # noqa: PLC0415 - only where metrics are asked for

        return web_figures(self._site, "metrics", self._context.container)

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


factory = MetricsFactory()
