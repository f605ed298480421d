"""The process of a container: ``python -m fabric.container --home DIR NAME``.

It starts the ZooKeeper server it may have to run, connects to the registry, registers, and lets its agent
make it what its profiles ask for; another part of it supervises its child containers. SIGTERM, or `stopped`
as its desired state, ends it in order: services first, since a failover waits for them.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from twisted.internet.defer import Deferred

from broker.polling import install_reactor
from broker.process import prepare_process
from fabric.agent import Agent
from fabric.audit import AuditEntry, AuditFeed, write_entry
from fabric.certificate_follower import follow_certificates
from fabric.children import STOPPED, Children
from fabric.ensemble_member import EnsembleMembership
from fabric.ensemble_settings import as_member
from fabric.errors import FabricError
from fabric.facts_report import FactsReport
from fabric.home import Home, RegistryAddress, master_key_file
from fabric.logs import FORMAT_VARIABLE, FORMATS, LEVELS_FIELD, TEXT, ContainerLog
from fabric.notify import READY, SOCKET_VARIABLE, STOPPING, Notifier
from fabric.own_address import OwnAddress
from fabric.password_follower import PasswordFollower, explained
from fabric.process_settings import ProcessSettings
from fabric.processes import container_command, identify
from fabric.reactor import ContainerReactor, in_thread
from fabric.records import RESTART_REQUESTED
from fabric.registration import Registration
from fabric.registry_address import AddressFollower
from fabric.resolvers import address_of
from fabric.services import ServiceContext, load_factories
from fabric.services.zookeeper import ManagedServer
from fabric.software import SOFTWARE
from fabric.stores import substitutions
from registry import paths
from registry.address import EVERYWHERE, LOOPBACK
from registry.errors import RegistryError, RegistryUnavailable
from registry.session import Session

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from registry.watches import Watch

log = logging.getLogger("fabric.container")

CONNECT_TIMEOUT_S = 2.0
"""Of one attempt; short, since a stop has to wait for it."""
COMPLAINT_INTERVAL_S = 15.0
"""How often the log says that ZooKeeper is not there."""
CONNECT_RETRY_S = 0.1
AUTHENTICATION_RETRY_S = 5.0
REGISTER_RETRY_S = 1.0

ALREADY_RUNNING = 3
"""Exit code when another process runs this container."""


class Container:
    """One container process. Lives in the reactor's thread.

    Attributes:
        exit_code: of the process, at its end.
        restarts: at its end the process is to begin anew.
    """

    def __init__(
        self,
        reactor: ContainerReactor,
        home: Home,
        name: str,
        address: RegistryAddress,
        *,
        own_log: ContainerLog,
        notifier: Notifier,
    ) -> None:
        self._reactor = reactor
        self._home = home
        self._notifier = notifier
        self.restarts = False
        self._restart_request: bytes | None = None
        self._restart_known = False  # what was asked before we came is none of ours
        self._files = home.container(name)
        self.name = name
        self._address = address
        self._started_at = time.time()
        self._is_managed = True
        self._settings = ProcessSettings(self._files, own_log)
        self._session_timeout_ms = self._settings.session_timeout_ms
        self.exit_code = 0
        self._stopping = self._stop_zookeeper = False
        self._zookeeper: ManagedServer | None = None
        self._registration: Registration | None = None
        self._agent: Agent | None = None
        self._children: Children | None = None
        self._facts: FactsReport | None = None
        self._watches: list[Watch] = []
        self._own_address: OwnAddress | None = None
        self._membership: EnsembleMembership | None = None
        self._followers: list[AddressFollower | PasswordFollower] = []
        self._context: ServiceContext | None = None

    # Its start.

    def start(self) -> None:
        """Begin. What goes wrong is logged and tried again."""
        settings = self._files.read_managed_zookeeper()
        if settings is not None:
            member = as_member(self._files, settings, self._address.zookeeper_url)
            server = ManagedServer(self._reactor, member)
            self._server_changed(server)
            server.start()
        Deferred.fromCoroutine(self._run()).addErrback(self._failed)

    async def _run(self) -> None:
        session = await self._connect()
        if session is None:
            return
        registration = self._registration = Registration(
            self._reactor, session, self._home, self.name, started_at=self._started_at, on_moved=self.end
        )
        registration.start()
        context = await self._prepared(session, registration)
        if context is None:
            return
        self._context = context
        registration.follow()
        self._watches = [
            session.watch_data(paths.container_config_field(self.name, field), changed)
            for field, changed in (
                ("desired", self._desired_changed),
                (RESTART_REQUESTED, self._restart_requested),
                (LEVELS_FIELD, self._settings.use_levels),
            )
        ]
        self._follow_brokers(session)
        if self._is_managed:
            self._start_agent(context)
        self._own_address = OwnAddress(self._reactor, session, self.name, self._address_changed)
        self._own_address.start()
        self._facts = FactsReport(context)
        self._facts.start()
        self._notifier.tell(READY, f"STATUS=Container {self.name} is registered at {session.url}")
        self._children = Children(self._reactor, session, self._home, self.name)
        self._children.start()
        self._follow_ensemble(session, context)
        if context.bind_address in EVERYWHERE:
            in_thread(self._reactor, registration.note_public_address).addErrback(_log_not_noted)

    def _start_agent(self, context: ServiceContext) -> None:
        """Follow the profiles."""
        factories = load_factories(
            lambda name, error: log.error("The service factory %s cannot be used: %s", name, error)
        )
        known = substitutions(self._home, self.name, context.advertised_host, self._address.zookeeper_url)
        self._agent = Agent(context, factories, known, self._settings.use_profiles)
        self._agent.start()

    def _follow_brokers(self, session: Session) -> None:
        """Write to the audit log what is done by the management of brokers that run here."""

        def write_blocking(entry: AuditEntry) -> None:
            for problem in write_entry(session, self._home.audit_log, entry):
                log.error("%s", problem)

        def write(entry: AuditEntry) -> None:
            in_thread(self._reactor, write_blocking, entry)

        logging.getLogger("broker.audit").addHandler(AuditFeed(write, socket.gethostname()))

    def _follow_ensemble(self, session: Session, context: ServiceContext) -> None:
        self._membership = EnsembleMembership(
            self._reactor, session, self._files, context, self._server_changed
        )
        self._membership.start()
        address = AddressFollower(self._reactor, session, self._home, self._registry_moved)
        self._followers = [address, PasswordFollower(self._reactor, session, self._home, self.name)]
        for follower in self._followers:
            follower.start()

    def _server_changed(self, server: ManagedServer | None) -> None:
        self._zookeeper = server
        follow_certificates(self._reactor, self._home, self.name, server)

    def _registry_moved(self, url: str) -> None:
        self._address = replace(self._address, zookeeper_url=url)
        if self._agent is not None:
            self._agent.substitute("zookeeper.url", url)

    async def _connect(self) -> Session | None:
        """Return a session; None if we are stopped before ZooKeeper answers."""
        complained_s = -COMPLAINT_INTERVAL_S
        while not self._stopping:
            session = Session(
                self._address.zookeeper_url,
                self._address.zookeeper_password,
                session_timeout_s=self._session_timeout_ms / 1000,
                post=self._reactor.callFromThread,
                channel=self._address.channel,
            )
            try:
                await in_thread(self._reactor, session.start, CONNECT_TIMEOUT_S)
            except RegistryError as error:
                is_away = isinstance(error, RegistryUnavailable)
                if self._reactor.seconds() - complained_s >= COMPLAINT_INTERVAL_S:
                    complained_s = self._reactor.seconds()
                    log.warning("Waiting for ZooKeeper: %s", explained(error))
                if not is_away:
                    self._address = self._home.read_registry_address()  # another password may be noted
                await self._later(CONNECT_RETRY_S if is_away else AUTHENTICATION_RETRY_S)
                continue
            if self._stopping:
                await in_thread(self._reactor, session.close)
                return None
            return session
        return None

    async def _prepared(self, session: Session, registration: Registration) -> ServiceContext | None:
        """Register, again and again if ZooKeeper goes away meanwhile; None if we are stopped before."""
        while not self._stopping:
            try:
                context = await in_thread(self._reactor, self._prepare, session, registration)
            except RegistryError as error:
                log.warning("The container could not be registered: %s", error)
                await self._later(REGISTER_RETRY_S)
            else:
                return None if self._stopping else context
        return None

    def _prepare(self, session: Session, registration: Registration) -> ServiceContext:
        """Register and read what the container was created with (blocking, in a thread).

        Raises:
            ContainerNotFound: it is not registered, or not any more.
        """
        fields = registration.enter(self._address.zookeeper_url)
        self._is_managed = fields.get("managed") != "false"
        host = address_of(session, fields)
        return ServiceContext(
            reactor=self._reactor,
            session=session,
            home=self._home,
            container=self.name,
            bind_address=fields.get("bindaddress") or LOOPBACK,
            advertised_host=host if host and "${" not in host else LOOPBACK,
            port_min=int(fields.get("minimumport") or 0),
            port_max=int(fields.get("maximumport") or 65535),
            managed_zookeeper=self._zookeeper,
        )

    def _address_changed(self, address: str) -> None:
        context = self._context
        if context is None or self._stopping or address == context.advertised_host:
            return
        log.info("The container is reached at %s now, not at %s", address, context.advertised_host)
        context.advertised_host = address
        if self._agent is not None:
            self._agent.readvertise()
        if self._membership is not None:
            self._membership.readvertise()

    def _failed(self, failure: Failure) -> None:
        """Without its services the process is of no use: its parent starts another one, after a while."""
        if isinstance(failure.value, FabricError):
            log.error("The container cannot go on: %s", failure.getErrorMessage())
        else:
            log.error("The container cannot go on:\n%s", failure.getTraceback())
        self._exit(1)

    # Its end.

    def _desired_changed(self, desired: bytes | None) -> None:
        if desired == STOPPED:
            log.info("The container is asked to stop")
            self._stop_zookeeper = True
            self.end()

    def _restart_requested(self, request: bytes | None) -> None:
        if self._restart_known and request not in (None, self._restart_request):
            log.info("The container is asked to begin anew")
            self.restarts = True
            self.end()
        self._restart_request, self._restart_known = request, True

    def end(self) -> None:
        """Stop, unless that is under way: signals and the desired state may come together."""
        self._exit(0)

    def _exit(self, code: int) -> None:
        if not self._stopping:
            self._retire()
            self.exit_code = code
            self._reactor.stop()

    def _retire(self) -> None:
        self._stopping = True
        if self._registration is not None:
            self._registration.retire()

    def stop(self) -> Deferred[None]:
        """Stop in order; what the reactor waits for at its end."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        log.info("The container stops")
        self._retire()
        self._notifier.tell(*([] if self.restarts else [STOPPING]), "STATUS=The container stops")
        if self._own_address is not None:
            self._own_address.cancel()
        if self._membership is not None:
            self._membership.cancel()
        for follower in self._followers:
            follower.cancel()
        if self._facts is not None:
            self._facts.stop()
        if self._agent is not None:
            await self._agent.stop()
        if self._children is not None:
            self._children.release()
        for watch in self._watches:
            watch.cancel()
        if self._registration is not None:
            self._registration.cancel()
            result = "restarting" if self.restarts else "stopped"
            await in_thread(self._reactor, self._registration.leave, result)
        self._files.forget_session()
        await self._leave_zookeeper()
        if not self.restarts:  # else this process goes on
            self._files.forget_process()
        log.info("The container has stopped")

    async def _leave_zookeeper(self) -> None:
        if self._zookeeper is None:
            return
        if self._stop_zookeeper:
            ended: Deferred[None] = Deferred()
            self._zookeeper.stop(lambda: ended.callback(None))
            await ended
        else:
            self._zookeeper.release()

    async def _later(self, delay_s: float) -> None:
        waiting: Deferred[None] = Deferred()
        self._reactor.callLater(delay_s, waiting.callback, None)
        await waiting


def _log_not_noted(failure: Failure) -> None:
    failure.trap(RegistryError)
    log.warning("The host's public address could not be written: %s", failure.getErrorMessage())


def _claim(home: Home, name: str) -> int | None:
    """Become the one process that runs this container; return the descriptor that says so, or None."""
    files = home.container(name)
    files.make()
    descriptor = os.open(files.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    process = identify(os.getpid())
    assert process is not None
    files.write_process(process)
    return descriptor


def _end_on_signals(reactor: ContainerReactor, container: Container) -> None:
    """Replace the reactor's own handlers, which complain when the container is stopping already."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reactor.callFromThread(container.end))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a container until it is stopped; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fabric.container", description="Run a container process."
    )
    parser.add_argument("--home", type=Path, required=True, help="FABRIC_HOME")
    parser.add_argument("name", help="name of the container")
    options = parser.parse_args(arguments)
    home = Home(options.home.absolute(), master_key_file(os.environ))
    try:
        address = home.read_registry_address()
        claim = _claim(home, options.name)
    except FabricError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if claim is None:
        sys.stderr.write(f"Container {options.name} is run by another process already.\n")
        return ALREADY_RUNNING
    files = home.container(options.name)
    form = files.read_log_format() or os.environ.get(FORMAT_VARIABLE, TEXT)
    own_log = ContainerLog(files.log, options.name, form if form in FORMATS else TEXT)
    own_log.begin()
    notifier = Notifier(os.environ.pop(SOCKET_VARIABLE, ""))  # the children's states are not ours
    log.info(
        "Container %s starts: pid %d, home %s, software %s", options.name, os.getpid(), home.path, SOFTWARE
    )
    prepare_process()

    install_reactor()
    from twisted.internet import reactor as twisted_reactor  # noqa: PLC0415 - not before it is installed

    reactor = cast(ContainerReactor, twisted_reactor)
    container = Container(reactor, home, options.name, address, own_log=own_log, notifier=notifier)
    reactor.addSystemEventTrigger("before", "shutdown", container.stop)
    reactor.callWhenRunning(container.start)
    reactor.callWhenRunning(partial(_end_on_signals, reactor, container))
    reactor.run()
    if container.restarts:
        _begin_anew(home, options.name, notifier)
    return container.exit_code


def _begin_anew(home: Home, name: str, notifier: Notifier) -> NoReturn:
    """Go on as a new program in this same process, with the package that is installed now.

    Pid and start time stay: a parent, systemd or a person who watches the process sees no end. The lock is
    released and taken again, as it is not inherited.
    """
    logging.shutdown()
    told = {SOCKET_VARIABLE: notifier.address} if notifier.address else {}
    command = container_command(home, name)
    os.execve(command[0], command, {**os.environ, **told})  # nosec B606  # noqa: S606 - our own interpreter, no shell


if __name__ == "__main__":
    sys.exit(main())
