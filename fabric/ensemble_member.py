"""A container's part in the ensemble: it runs a server while it is asked to, and says where.

What it is asked stands in the registry, see `fabric.ensembles`; what it runs stands in its folder too, so
that the server is there before the registry is.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredLock

from fabric.addresses import certified_names
from fabric.ensemble_settings import CLIENT_PORT, free_port_in, member_settings
from fabric.ensembles import ServerRequest, ServerState, parse_request, servers_known
from fabric.errors import FabricError
from fabric.home import ContainerHome, ManagedZooKeeper
from fabric.reactor import Reactor, in_thread
from fabric.server_certificates import secured
from fabric.services.zookeeper import ManagedServer
from fabric.store import ContainerStore
from registry import paths
from registry.address import LOOPBACK
from registry.encryption import SECURE_PORT
from registry.errors import RegistryError
from registry.quorum import parse_servers
from registry.server import find_zookeeper

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.services import ServiceContext
    from registry.session import Session
    from registry.watches import Watch

log = logging.getLogger(__name__)


class EnsembleMembership:
    """Runs the container's server as it is asked. Lives in the reactor's thread."""

    def __init__(
        self,
        reactor: Reactor,
        session: Session,
        files: ContainerHome,
        context: ServiceContext,
        on_server: Callable[[ManagedServer | None], None],
    ) -> None:
        """Make it; nothing happens before `start`.

        Args:
            reactor: The container's.
            session: With the registry.
            files: The container's.
            context: The container's; its managed server is kept current.
            on_server: Called when there is another server, or none any more.
        """
        self._reactor = reactor
        self._session = session
        self._files = files
        self._context = context
        self._on_server = on_server
        self._one_at_a_time = DeferredLock()
        self._watch: Watch | None = None
        self._cancelled = False

    def start(self) -> None:
        """Begin to follow what is asked."""
        server = self._context.managed_zookeeper
        if server is not None and server.settings.server:
            self._listen_to(server)
            in_thread(self._reactor, self._introduce, server.settings).addErrback(_log_not_said)
        path = paths.ensemble_server(self._files.name)
        self._watch = self._session.watch_data(path, self._asked)

    def cancel(self) -> None:
        """Follow it no longer; the server goes on."""
        self._cancelled = True
        if self._watch is not None:
            self._watch.cancel()

    def readvertise(self) -> None:
        """The container is reached elsewhere."""
        server = self._context.managed_zookeeper
        if server is not None and server.settings.server:
            in_thread(self._reactor, self._say_where, server).addErrback(_log_not_said)

    def _listen_to(self, server: ManagedServer) -> None:
        """Tell whoever waits for the server why it does not start, and when it has."""

        async def say() -> None:
            if not self._cancelled and self._context.managed_zookeeper is server:
                await in_thread(self._reactor, self._say_where, server)

        def in_turn() -> None:
            saying: Deferred[None] = self._one_at_a_time.run(lambda: Deferred.fromCoroutine(say()))
            saying.addErrback(_log_not_said)

        server.on_change = in_turn

    def _asked(self, data: bytes | None) -> None:
        if data is None:
            return  # never asked; a server that runs goes on
        try:
            request = parse_request(data)
        except FabricError as error:
            log.error("%s", error)
            return
        self._follow(request)

    def _follow(self, request: ServerRequest) -> None:
        if self._cancelled:
            return
        step = self._run if request.wanted else self._end
        doing: Deferred[None] = self._one_at_a_time.run(lambda: Deferred.fromCoroutine(step(request)))
        doing.addErrback(self._not_done, request)

    def _not_done(self, failure: Failure, request: ServerRequest) -> None:
        if self._cancelled:
            return
        if isinstance(failure.value, RegistryError | FabricError | OSError):
            log.error("The ensemble's server: %s", failure.getErrorMessage())
        else:
            log.error("The ensemble's server:\n%s", failure.getTraceback())
        state = ServerState(error=failure.getErrorMessage())
        in_thread(self._reactor, self._write, state).addErrback(_log_not_said)

    async def _run(self, request: ServerRequest) -> None:
        server = self._context.managed_zookeeper
        if server is None:
            settings = await in_thread(self._reactor, self._prepare, request)
            if self._cancelled:
                return
            server = ManagedServer(self._reactor, settings)
            self._context.managed_zookeeper = server
            self._on_server(server)
            self._listen_to(server)
            server.start()
        if server.settings.server:
            await in_thread(self._reactor, self._say_where, server)

    def _prepare(self, request: ServerRequest) -> ManagedZooKeeper:
        """Choose where the server listens, and note it (blocking, in a thread)."""
        find_zookeeper()
        context = self._context
        port_range = context.port_min, context.port_max
        taken = {
            port
            for server in servers_known(self._session)
            for port in (server.client_port, server.quorum_port, server.election_port)
        }
        is_tls = self._session.channel.tls
        wanted = SECURE_PORT if is_tls else CLIENT_PORT
        port = free_port_in(context.bind_address, wanted, port_range, taken)
        directory = self._files.path / "zookeeper"
        shutil.rmtree(directory, ignore_errors=True)  # what another server left would be taken for its own
        settings = ManagedZooKeeper(port, context.bind_address, str(directory), request.tick_time_ms)
        if is_tls:
            plain_port = free_port_in(LOOPBACK, CLIENT_PORT, port_range, {*taken, port})
            settings = self._secured(settings, plain_port)
        settings = member_settings(
            settings,
            request.id,
            address=context.advertised_host,
            secret=self._session.get(paths.ensemble_secret()).data.decode(),
            port_range=port_range,
            others=request.others,
            taken=taken,
        )
        self._files.write_managed_zookeeper(settings)
        return settings

    def _secured(self, settings: ManagedZooKeeper, plain_port: int) -> ManagedZooKeeper:
        name = self._files.name
        hosts = certified_names(ContainerStore(self._session).fields(name), is_here=True)
        authority = self._session.channel.ca
        return secured(settings, self._context.home, name, hosts, plain_port=plain_port, authority=authority)

    async def _end(self, request: ServerRequest) -> None:
        server = self._context.managed_zookeeper
        if server is not None and request.id in parse_servers(server.settings.server):
            log.info("The ensemble's server %d ends, and its data with it", request.id)
            ended: Deferred[None] = Deferred()
            server.stop(lambda: ended.callback(None))
            await ended
            self._context.managed_zookeeper = None
            self._on_server(None)
            await in_thread(self._reactor, self._forget, server.settings)
        await in_thread(self._reactor, self._say_none)

    def _say_none(self) -> None:
        """Say that there is no server any more (blocking, in a thread)."""
        name = self._files.name
        for path in (paths.ensemble_server_certificates(name), paths.ensemble_server_state(name)):
            self._session.delete(path, missing_ok=True)

    def _forget(self, settings: ManagedZooKeeper) -> None:
        self._files.forget_managed_zookeeper()
        shutil.rmtree(Path(settings.data_directory), ignore_errors=True)

    def _introduce(self, settings: ManagedZooKeeper) -> None:
        """Tell the registry of a server that it does not know yet (blocking, in a thread)."""
        path = paths.ensemble_server(self._files.name)
        if not self._session.exists(path):
            (number,) = parse_servers(settings.server)
            self._session.put(path, ServerRequest(number).to_bytes())
        if not self._session.exists(paths.ensemble_secret()):
            self._session.put(paths.ensemble_secret(), settings.secret.encode())

    def _say_where(self, managed: ManagedServer) -> None:
        """Say where the server is, and what is wrong with it (blocking, in a thread)."""
        (server,) = parse_servers(managed.settings.server).values()
        voting = replace(server, votes=True)  # as the ensemble is to have it
        url = f"{self._context.advertised_host}:{managed.settings.port}"
        self._write(ServerState(voting.line(), url, managed.error or ""))

    def _write(self, state: ServerState) -> None:
        path = paths.ensemble_server_state(self._files.name)
        node = self._session.get_or_none(path)
        if node is None or node.data != state.to_bytes():
            self._session.put(path, state.to_bytes())


def _log_not_said(failure: Failure) -> None:
    failure.trap(RegistryError)
    log.warning("The registry was not told of the ensemble's server: %s", failure.getErrorMessage())
