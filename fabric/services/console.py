"""The web console in a container: the PID ``io.fabric8.console``.

The port is bound at once; what the console consists of is imported when the first page is asked for, so that
a root container nobody looks at stays small.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python.threadpool import ThreadPool

from fabric.addresses import is_loopback
from fabric.errors import FabricError
from fabric.listening import listen, log_not_published, wanted_ports
from fabric.reactor import in_pool, in_thread
from registry import paths
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress

    from broker.certificates import CertificateStore
    from broker.reactor import ListeningPort
    from broker.security import RegistryAuthenticator
    from fabric.services import ServiceContext
    from fabric.web.connections import Connections
    from fabric.web.console import Console

log = logging.getLogger("fabric.web")

PORT: Final = "${port:8181,8191}"
URL_FIELD: Final = "http"
"""Field of the container's configuration that says where its console is. Source: fabric8."""
KEY_STORE: Final = "ssl.keyStore"
NOT_ENCRYPTED: Final = (
    "the console listens on {address} without TLS: passwords can be read on the way. "
    "Give io.fabric8.console the property protocol = https, after: fabric certificate-create"
)
THREADS_MAX: Final = 20
"""For what blocks: waits for ZooKeeper and for brokers."""


class ConsoleFactory:
    """Factory of consoles."""

    pid_prefix = "io.fabric8.console"

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> ConsoleService:
        """Make a console. Raises FabricError for a configuration that cannot be used."""
        from broker.errors import CertificatesUnusable, ConfigurationInvalid  # noqa: PLC0415 - starts small

        ports = wanted_ports(pid, properties, PORT, context)
        try:
            certificates = read_certificates(properties, context)
        except (ConfigurationInvalid, CertificatesUnusable) as error:
            raise FabricError(
                f"The configuration {pid} cannot be used: {error}", "Correct it with: fabric profile-edit"
            ) from error
        bind_address = properties.get("bindAddress") or context.bind_address
        return ConsoleService(context, ports, bind_address, certificates)


def read_certificates(properties: Mapping[str, str], context: ServiceContext) -> CertificateStore | None:
    """What the console shows to browsers, None if it speaks HTTP.

    It speaks TLS if `ssl.keyStore` names a certificate, or if `protocol` is `https`: then the container's
    own, made by `certificate-create`, is shown if no other is named.

    Raises:
        ConfigurationInvalid, CertificatesUnusable: as they say.
    """
    from broker.errors import ConfigurationInvalid  # noqa: PLC0415 - a container without a console stays small

    protocol = properties.get("protocol", "").strip().lower()
    if protocol not in ("", "http", "https"):
        raise ConfigurationInvalid(f"protocol is {protocol!r}; possible are: http, https.")
    if protocol == "http" or not (protocol or properties.get(KEY_STORE)):
        return None
    from broker.certificates import CertificateStore  # noqa: PLC0415 - likewise
    from broker.tls_config import TlsConfig  # noqa: PLC0415 - likewise

    own = {KEY_STORE: str(context.home.container_certificate(context.container))}
    given = {key: value for key, value in properties.items() if value}
    config = TlsConfig.parse({**own, **given}, "console", required=True, speaks_tls=True)
    assert config is not None
    return CertificateStore(config, "console")


class ConsoleService:
    """Listens, and makes the console when somebody comes."""

    def __init__(
        self,
        context: ServiceContext,
        ports: range,
        bind_address: str,
        certificates: CertificateStore | None = None,
    ) -> None:
        self._context = context
        self._ports = ports
        self._bind_address = bind_address
        self._certificates = certificates
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
        scheme = "http" if self._certificates is None else "https"
        return f"{scheme}://{self._context.advertised_host}:{self._listening.getHost().port}"

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
        if self._certificates is None and not is_loopback(self._bind_address):
            found["notice"] = NOT_ENCRYPTED.format(address=self._bind_address)
        if self._certificates is not None and (notice := self._certificates.notice(time.time())):
            found["notice"] = notice
        return found

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
                is_secure=self._certificates is not None,
                figures=lambda: gather(context),
                providers=self._users,
                url=lambda: self.url,
            )
        )
        return Connections(build_site(self._console), self._certificates)


class Door(ServerFactory):
    """Lets clients in to a site that is made for the first of them."""

    noisy = False

    def __init__(self, open_site: Callable[[], Connections]) -> None:
        self._open_site = open_site
        self._site: Connections | None = None

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # noqa: N802 - Twisted's name
        """One client's connection."""
        if self._site is None:
            self._site = self._open_site()
            cast("Any", self._site).doStart()
        return cast("Protocol", self._site.buildProtocol(addr))

    def close(self) -> None:
        """The site ends."""
        if self._site is not None:
            cast("Any", self._site).doStop()


factory = ConsoleFactory()
