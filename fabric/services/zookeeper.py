"""The ZooKeeper server of an ensemble member, a child process of its container.

The server is not started because of its PID: the registry must be there before any PID can be read. Its
settings lie in the container's folder (`ManagedZooKeeper`), and the container starts it first of all. The PID
``io.fabric8.zookeeper.server-…`` of the profile shows it as a service of the container.

The server survives the end and the restart of its container, which adopts it again, so that a restart of the
root container disturbs nobody. Only `container-stop` of the container ends both.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fabric.child import ChildAction, ChildInput, ChildMachine, ChildState
from fabric.ensemble_settings import server_of
from fabric.errors import FabricError
from fabric.home import ManagedZooKeeper, ProcessRecord
from fabric.processes import ProcessExit, identify, send_signal
from fabric.reactor import Reactor, in_thread
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.reactor import DelayedCall
    from fabric.services import ServiceContext
    from registry.server import ZooKeeperServer

log = logging.getLogger(__name__)


class ManagedServer:
    """Keeps one ZooKeeper server running: starts or adopts it, restarts it with back-off when it dies.

    Attributes:
        error: why it does not run; None if it does.
        notice: what people should know although it runs; empty if there is nothing.
        on_change: called when it could not be started, and when it could after that.
        on_end: called when it is looked after no longer.
    """

    def __init__(self, reactor: Reactor, settings: ManagedZooKeeper) -> None:
        self._reactor = reactor
        self._settings = settings
        self._machine = ChildMachine()
        self._server: ZooKeeperServer | None = None
        self._exit: ProcessExit | None = None
        self._process: ProcessRecord | None = None
        self._timer: DelayedCall | None = None
        self._on_stopped: Callable[[], None] | None = None
        self.error: str | None = None
        self.notice = ""
        self.on_change: Callable[[], None] = lambda: None
        self.on_end: Callable[[], object] = lambda: None

    @property
    def settings(self) -> ManagedZooKeeper:
        """What it runs with."""
        return self._settings

    @property
    def url(self) -> str:
        """``host:port`` of the server."""
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def pid(self) -> int | None:
        """Its process id, or None."""
        return self._server.pid if self._server else None

    def start(self) -> None:
        """Start the server or adopt the one that runs, and keep it running."""
        self._handle(ChildInput.WANTED)

    def restart(self) -> None:
        """End the server and start it again; one that does not run is started."""
        self._handle(ChildInput.UNWANTED)
        self._handle(ChildInput.WANTED)

    def release(self) -> None:
        """Supervise no longer, and leave the server running."""
        self.on_end()
        self._cancel_timer()
        if self._exit is not None:
            self._exit.cancel()
            self._exit = None

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """End the server. Calls `on_stopped` when it has ended."""
        self.on_end()
        self._on_stopped = on_stopped
        self._handle(ChildInput.UNWANTED)
        if self._machine.state is ChildState.STOPPED:
            self._stopped()

    def _handle(self, event: ChildInput) -> None:
        actions = self._machine.handle(event, self._reactor.seconds())
        for action in actions:
            self._act(action)
        self._cancel_timer()
        if self._machine.deadline_s is not None:
            delay_s = max(0.0, self._machine.deadline_s - self._reactor.seconds())
            self._timer = self._reactor.callLater(delay_s, self._handle, ChildInput.DEADLINE)

    def _act(self, action: ChildAction) -> None:
        if action is ChildAction.SPAWN:
            in_thread(self._reactor, self._start_server).addCallbacks(self._started, self._start_failed)
        elif action is ChildAction.TERMINATE:
            self._signal(signal.SIGTERM)
        elif action is ChildAction.KILL:
            self._signal(signal.SIGKILL)
        elif action is ChildAction.REPORT_CRASH:
            self.error = self.error or "The ZooKeeper server has ended."
            log.error("%s It is started again in %g s.", self.error, self._machine.restart_delay_s)
        elif action is ChildAction.REPORT_STOPPED:
            self._stopped()

    def _start_server(self) -> ZooKeeperServer:
        """Start or adopt (blocking, in a thread). Raises ServerNotStarted."""
        server = self._server or server_of(self._settings)
        server.start()
        return server

    def _started(self, server: ZooKeeperServer) -> None:
        self._server = server
        pid = server.pid
        if pid is None:
            self._handle(ChildInput.EXITED)
            return
        was_wrong, self.error = self.error, None
        self._process = identify(pid)
        log.info("The ZooKeeper server runs: pid %d, %s", pid, self.url)
        try:
            self._exit = ProcessExit(self._reactor, pid, self._exited)
        except ProcessLookupError:
            self._handle(ChildInput.EXITED)
            return
        if self._machine.state in (ChildState.STOPPING, ChildState.RESTARTING):
            self._signal(signal.SIGTERM)
        if was_wrong:
            self.on_change()

    def _start_failed(self, failure: Failure) -> None:
        self.error = failure.getErrorMessage()
        if not isinstance(failure.value, RegistryError | OSError):
            log.error("Starting the ZooKeeper server failed:\n%s", failure.getTraceback())
        self._handle(ChildInput.EXITED)
        self.on_change()

    def _exited(self) -> None:
        self._exit = None
        server = self._server
        assert server is not None
        reaped = server.pid  # reaps the process, if it is our own child
        assert reaped is None
        self._handle(ChildInput.EXITED)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the server; one that is just being started gets its signal when it is there."""
        if self._exit is not None and self._process is not None:
            send_signal(self._process, number)

    def _stopped(self) -> None:
        if self._on_stopped is not None:
            on_stopped, self._on_stopped = self._on_stopped, None
            on_stopped()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class EnsembleMember:
    """What stands for the managed server among the services of the container."""

    def __init__(self, server: ManagedServer) -> None:
        self._server = server

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing to do: the server runs before the registry, and so this PID, can be read."""

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """The registry is not taken away by a profile's removal; it ends with `container-stop`."""
        log.info("The ZooKeeper server does not end with its profile, only with its container.")

    def status(self) -> Mapping[str, object]:
        """Return where the server listens."""
        status: dict[str, object] = {"role": "ensemble member", "services": [self._server.url]}
        if self._server.error:
            status["error"] = self._server.error
        if self._server.notice:
            status["notice"] = self._server.notice
        return status


class ZooKeeperFactory:
    """Factory of the PIDs ``io.fabric8.zookeeper.server-…``."""

    pid_prefix = "io.fabric8.zookeeper.server-"

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> EnsembleMember:
        """Return the service. Raises FabricError in a container that has no ZooKeeper server."""
        if context.managed_zookeeper is None:
            raise FabricError(
                f"Container {context.container} has no ZooKeeper server of its own.",
                f"Remove the profile that brings {pid}: a profile alone does not make an ensemble member.",
            )
        return EnsembleMember(context.managed_zookeeper)


factory = ZooKeeperFactory()
