"""The web console in a container: the PID ``io.fabric8.console``.

The port is bound at once; what the console consists of is imported when the first page is asked for, so that
a root container nobody looks at stays small.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python.threadpool import ThreadPool

from fabric.listening import listen, log_not_published, wanted_ports
from fabric.reactor import in_pool, in_thread
from registry import paths
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress

    from broker.reactor import ListeningPort
    from broker.security import RegistryAuthenticator
    from fabric.metrics.model import Figures
    from fabric.services import ServiceContext
    from fabric.web.connections import Connections
    from fabric.web.console import Console
    from fabric.web.settings import WebSettings

log = logging.getLogger("fabric.web")

PORT: Final = "${port:8181,8191}"
URL_FIELD: Final = "http"
"""Field of the container's configuration that says where its console is. Source: fabric8."""
CONNECTIONS_MAX: Final = 2_000
"""Open at a time: a browser holds up to six, and an event stream one."""
THREADS_MAX: Final = 20
"""For what blocks: waits for ZooKeeper and for brokers."""


class ConsoleFactory:
    """Factory of consoles."""

    pid_prefix = "io.fabric8.console"

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> ConsoleService:
        """Make a console. Raises FabricError for a configuration that cannot be used."""
        from fabric.web.settings import read_settings  # noqa: PLC0415 - a container without one stays small

        ports = wanted_ports(pid, properties, PORT, context)
        settings = read_settings(pid, properties, context, "console", CONNECTIONS_MAX)
        bind_address = properties.get("bindAddress") or context.bind_address
        return ConsoleService(context, ports, bind_address, settings)


class ConsoleService:
    """Listens, and makes the console when somebody comes."""

    def __init__(
        self,
        context: ServiceContext,
        ports: range,
        bind_address: str,
        settings: WebSettings,
    ) -> None:
        self._context = context
        self._ports = ports
        self._bind_address = bind_address
        self._settings = settings
        self._listening: ListeningPort | None = None
        self._door = Door(self._open)
        self._pool = ThreadPool(0, THREADS_MAX, "console")
        self._console: Console | None = None
        self._users: RegistryAuthenticator | None = None

    @property
    def url(self) -> str:
        """Where it is; empty while it does not listen."""
        if self._listening is None:
            return ""
        return f"{self._settings.scheme}://{self._context.advertised_host}:{self._listening.getHost().port}"

    def startService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Listen on the first free port, and say in the registry where."""
        self._listening = listen(self._context, self._ports, self._door, self._bind_address, "The console")
        self._pool.start()
        log.info("The console is at %s", self.url)
        return in_thread(self._context.reactor, self._publish, self.url)

    def readvertise(self) -> None:
        """Say anew where it is."""
        in_thread(self._context.reactor, self._publish, self.url).addErrback(
            log_not_published, "the console is"
        )

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop listening, end all streams."""
        if self._listening is not None:
            self._listening.stopListening()
            self._listening = None
        if self._console is not None:
            self._console.close()
        if self._users is not None:
            self._users.close()
        self._door.close()
        return in_thread(self._context.reactor, self._stop_blocking)

    def status(self) -> Mapping[str, object]:
        """Return where it is; `notice`: what is sent to it can be read on the way, or soon not at all."""
        found: dict[str, object] = {"role": "console", "services": [self.url] if self.url else []}
        notice = self._settings.notice(ConsoleFactory.pid_prefix, "the console listens", self._bind_address)
        if notice:
            found["notice"] = notice
        return found

    def figures(self) -> Figures:
        """What it has counted."""
        from fabric.metrics.web import web_figures  # noqa: PLC0415 - only where metrics are asked for

        return web_figures(self._door.site, "console", self._context.container)

    def _stop_blocking(self) -> None:
        self._pool.stop()
        try:
            self._publish("")
        except RegistryError as error:
            log.warning("The registry could not be told that the console has stopped: %s", error)

    def _publish(self, url: str) -> None:
        """Write where it is (blocking, in a thread)."""
        path = paths.container_config_field(self._context.container, URL_FIELD)
        self._context.session.put(path, url.encode())

    def _open(self) -> Connections:
        """Make the console for the first client."""
        from fabric.authenticator import FabricAuthenticator  # noqa: PLC0415 - see above
        from fabric.metrics.container import gather  # noqa: PLC0415 - likewise
        from fabric.web.connections import Connections  # noqa: PLC0415 - likewise
        from fabric.web.console import Console, Surroundings  # noqa: PLC0415 - likewise
        from fabric.web.site import build_site  # noqa: PLC0415 - likewise

        context = self._context

        def run_blocking(call: Callable[[], object]) -> Deferred[object]:
            return in_pool(context.reactor, self._pool, call)

        self._users = FabricAuthenticator(context)
        self._users.start()
        self._console = Console(
            Surroundings(
                context.reactor,
                context.session,
                context.home,
                context.container,
                self._users,
                run_blocking,
                is_secure=self._settings.certificates is not None,
                figures=lambda: gather(context),
                providers=self._users,
                url=lambda: self.url,
            )
        )
        return Connections(build_site(self._console, self._settings), self._settings)


class Door(ServerFactory):
    """Lets clients in to a site that is made for the first of them.

    Attributes:
        site: None before.
    """

    noisy = False

    def __init__(self, open_site: Callable[[], Connections]) -> None:
        self._open_site = open_site
        self.site: Connections | None = None

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # noqa: N802 - Twisted's name
        """One client's connection."""
        if self.site is None:
            self.site = self._open_site()
            cast("Any", self.site).doStart()
        return cast("Protocol", self.site.buildProtocol(addr))

    def close(self) -> None:
        """The site ends."""
        if self.site is not None:
            cast("Any", self.site).doStop()


factory = ConsoleFactory()
