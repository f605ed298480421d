"""The child containers of a container: started, watched, restarted, stopped.

A child is a process of its own that outlives its parent; the parent started anew adopts it. What a child
should be, `started` or `stopped`, is read from the registry; what it is, from its process (pidfd) and its
`alive` znode. The decisions are `fabric.child`'s, the actions are here.

A failover waits for one of them: when a child dies its ZooKeeper session is closed at once, so that its
ephemeral znodes go and a slave takes over. That comes before everything else, in a thread kept ready.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.python.threadpool import ThreadPool

from fabric.child import FROZEN_GRACE_S, ChildAction, ChildInput, ChildMachine, ChildState
from fabric.home import ContainerHome, Home, ProcessRecord
from fabric.log_lines import readable
from fabric.processes import (
    ProcessExit,
    SpawnedProcess,
    log_tail,
    reap_own,
    running_process,
    send_signal,
    spawn_container,
)
from fabric.reactor import in_pool, in_thread
from fabric.records import START_REQUESTED
from registry import paths
from registry.dead_session import close_dead_session
from registry.errors import RegistryError
from registry.session import SessionState

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.reactor import DelayedCall, Reactor
    from registry.session import Session
    from registry.watches import Watch

log = logging.getLogger(__name__)

STARTED, STOPPED = b"started", b"stopped"
"""The desired states of a container."""

CLOSE_TIMEOUT_S = 2.0
"""For closing a dead child's session; longer, and the session's own timeout has as good as come."""

CRASH_LOG_LINES = 10
"""Last lines of its log that explain a crash in `container-info`."""

CLOSER_THREADS = 4
"""Sessions closed at a time: a host rarely loses more children at once, and each takes milliseconds."""


class Children:
    """Supervises the children of one container. Lives in the reactor's thread."""

    def __init__(self, reactor: Reactor, session: Session, home: Home, parent: str) -> None:
        self._reactor = reactor
        self._session = session
        self._home = home
        self._parent = parent
        self._closers = ThreadPool(1, CLOSER_THREADS, name="session closers")
        self._children: dict[str, _Child] = {}
        self._unknown: dict[str, Watch] = {}  # containers whose parent is not known yet
        self._watches: list[Watch] = []

    def start(self) -> None:
        """Adopt the children that run, and make every child what the registry wants it to be."""
        self._closers.start()
        self._session.add_state_listener(self._registry_changed)
        self._watches.append(
            self._session.watch_children(paths.containers_config(), self._containers_changed)
        )

    def release(self) -> None:
        """Watch no longer. The children go on, for the next parent process to adopt."""
        for watch in [*self._watches, *self._unknown.values()]:
            watch.cancel()
        for child in self._children.values():
            child.release()
        self._children.clear()
        if self._closers.started:
            self._closers.stop()

    def names(self) -> list[str]:
        """Return the names of the children, sorted."""
        return sorted(self._children)

    def close_session(self, container: ContainerHome) -> None:
        """Close the session that the container's dead process left, in a thread."""
        record = container.read_session()
        if record is None:
            return
        container.forget_session()  # now: the next process may write its own before this one is closed
        closing = in_pool(
            self._reactor,
            self._closers,
            close_dead_session,
            self._session.url,
            None,
            record.session_id,
            record.password,
            CLOSE_TIMEOUT_S,
            channel=self._session.channel,
        )
        closing.addErrback(_log_not_closed, container.name)

    def report(self, container: str, fields: Mapping[str, str]) -> None:
        """Write provisioning fields of a child that cannot do it itself."""

        def write() -> None:
            for field, text in fields.items():
                self._session.put(paths.container_provision(container, field), text.encode())

        in_thread(self._reactor, write).addErrback(_log_not_reported, container)

    def _containers_changed(self, names: list[str]) -> None:
        for name in names:
            if name not in self._unknown and name not in self._children:
                self._find_parent(name)
        for name in self._unknown.keys() - set(names):
            self._unknown.pop(name).cancel()
        for name in self._children.keys() - set(names):
            self._children.pop(name).delete()

    def _find_parent(self, name: str) -> None:
        def deliver(parent: bytes | None) -> None:
            is_ours = parent is not None and parent.decode() == self._parent
            if is_ours and name not in self._children:
                self._children[name] = child = _Child(self, self._reactor, self._session, self._home, name)
                child.start()
            elif parent is not None and not is_ours and name in self._children:
                log.info("Child container %s was moved to %s", name, parent.decode())
                self._children.pop(name).delete()

        field = paths.container_config_field(name, "parent")
        self._unknown[name] = self._session.watch_data(field, deliver)

    def _registry_changed(self, state: SessionState) -> None:
        for child in self._children.values():
            child.registry_changed(state)


class _Child:
    """One child: its machine, its process, its watches."""

    def __init__(self, children: Children, reactor: Reactor, session: Session, home: Home, name: str) -> None:
        self._children = children
        self._reactor = reactor
        self._session = session
        self._home = home
        self._container = home.container(name)
        self.name = name
        self.machine = ChildMachine()
        self._spawned: SpawnedProcess | None = None
        self._process: ProcessRecord | None = None
        self._exit: ProcessExit | None = None
        self._console_start = 0
        self._ending = ""
        self._alive = False
        self._deleted = False
        self._request_known = False  # what was asked before we came is none of ours
        self._timer: DelayedCall | None = None
        self._watches: list[Watch] = []

    def start(self) -> None:
        """Adopt the process that runs, or close what a dead one left; then follow the registry."""
        self._container.make()
        self._console_start = _size(self._container.console)
        process = running_process(self._container)
        if process is not None:
            log.info("Child container %s runs already: pid %d", self.name, process.pid)
            self._handle(ChildInput.ADOPTED)
            self._watch_process(process.pid, process)
        else:
            self._children.close_session(self._container)
        desired = paths.container_config_field(self.name, "desired")
        self._watches = [
            self._session.watch_data(desired, self._desired_changed),
            self._session.watch_data(paths.container_alive(self.name), self._alive_changed),
            self._session.watch_data(
                paths.container_config_field(self.name, START_REQUESTED), self._start_requested
            ),
        ]

    def release(self) -> None:
        """Let go of the child without touching its process."""
        for watch in self._watches:
            watch.cancel()
        self._cancel_timer()
        if self._exit is not None:
            self._exit.cancel()
            self._exit = None

    def delete(self) -> None:
        """The container is deleted: its process, if it still runs, is stopped, and its files go."""
        for watch in self._watches:
            watch.cancel()
        self._deleted = True
        self._handle(ChildInput.UNWANTED)
        if self.machine.state is ChildState.STOPPED:
            self._container.clear()

    def registry_changed(self, state: SessionState) -> None:
        """What we know of `alive` is only as good as our own connection."""
        if state is not SessionState.CONNECTED:
            self._handle(ChildInput.REGISTRY_LOST)
        elif not self._alive:
            self._handle(ChildInput.UNREGISTERED)

    def _desired_changed(self, desired: bytes | None) -> None:
        if desired is not None:  # else the record is being made, or deleted: see `delete`
            self._handle(ChildInput.WANTED if desired == STARTED else ChildInput.UNWANTED)

    def _start_requested(self, request: bytes | None) -> None:
        if self._request_known and request is not None:
            self._handle(ChildInput.REQUESTED)
        self._request_known = True

    def _alive_changed(self, alive: bytes | None) -> None:
        self._alive = alive is not None
        self._handle(ChildInput.REGISTERED if self._alive else ChildInput.UNREGISTERED)

    def _handle(self, event: ChildInput) -> None:
        before = self.machine.state
        for action in self.machine.handle(event, self._reactor.seconds()):
            self._ACTIONS[action](self)
        if self.machine.state is not before:
            log.info("Child container %s: %s -> %s", self.name, before.name, self.machine.state.name)
        self._cancel_timer()
        if self.machine.deadline_s is not None:
            delay_s = max(0.0, self.machine.deadline_s - self._reactor.seconds())
            self._timer = self._reactor.callLater(delay_s, self._handle, ChildInput.DEADLINE)

    def _spawn(self) -> None:
        self._console_start = _size(self._container.console)
        try:
            self._spawned = spawn_container(self._home, self.name)
        except OSError as error:
            self._ending = f"could not be started: {error}"
            self._reactor.callLater(0, self._handle, ChildInput.EXITED)
            return
        log.info("Child container %s is started: pid %d", self.name, self._spawned.pid)
        self._watch_process(self._spawned.pid, self._spawned.record)

    def _watch_process(self, pid: int, process: ProcessRecord | None) -> None:
        self._process = process
        try:
            self._exit = ProcessExit(self._reactor, pid, self._exited)
        except ProcessLookupError:  # an adopted one that ended in this moment
            self._reactor.callLater(0, self._exited)

    def _exited(self) -> None:
        self._exit = None
        self._handle(ChildInput.EXITED)

    def _bury(self) -> None:
        """Close the session first: a failover waits for it. Then the rest of what the process left."""
        self._children.close_session(self._container)
        if self._spawned is not None:
            self._ending = self._spawned.reap()
        elif self._process is not None:
            reap_own(self._process.pid)
            self._ending = "ended"
        self._spawned = self._process = None
        self._container.forget_process()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            send_signal(self._process, number)

    def _report_crash(self) -> None:
        lines = self._last_lines()
        delay_s = self.machine.restart_delay_s
        text = f"The process {self._ending}. It is started again after {delay_s:g} s."
        log.error("Child container %s: %s", self.name, text)
        if lines:
            text += "\nThe last lines it wrote:\n" + "\n".join(lines)
        self._children.report(self.name, {"exception": text, "result": "error"})

    def _report_frozen(self) -> None:
        text = (
            f"The process lost its ZooKeeper session and did not come back within {FROZEN_GRACE_S:g} s. "
            "It was frozen or cut off, was killed, and is started again."
        )
        log.error("Child container %s: %s", self.name, text)
        self._children.report(self.name, {"exception": text, "result": "error"})

    def _report_stopped(self) -> None:
        if self._deleted:
            self._container.clear()
            return
        self._children.report(self.name, {"result": "stopped"})

    def _last_lines(self) -> list[str]:
        """What the dead process printed (a traceback, mostly), else the end of its log."""
        if _size(self._container.console) > self._console_start:
            return log_tail(self._container.console, CRASH_LOG_LINES)
        return [readable(line) for line in log_tail(self._container.log, CRASH_LOG_LINES)]

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    _ACTIONS: Mapping[ChildAction, Callable[[_Child], None]] = {
        ChildAction.SPAWN: _spawn,
        ChildAction.TERMINATE: lambda self: self._signal(signal.SIGTERM),
        ChildAction.KILL: lambda self: self._signal(signal.SIGKILL),
        ChildAction.CLOSE_SESSION: _bury,
        ChildAction.REPORT_CRASH: _report_crash,
        ChildAction.REPORT_FROZEN: _report_frozen,
        ChildAction.REPORT_STOPPED: _report_stopped,
    }


def _log_not_closed(failure: Failure, name: str) -> None:
    log.warning(
        "The ZooKeeper session of container %s could not be closed; it will expire: %s",
        name,
        failure.getErrorMessage(),
    )


def _log_not_reported(failure: Failure, name: str) -> None:
    if not isinstance(failure.value, RegistryError):
        log.error("Reporting on container %s failed:\n%s", name, failure.getTraceback())
    else:
        log.warning("The state of container %s could not be written: %s", name, failure.getErrorMessage())


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
