"""Starting, stopping and deleting containers, as the commands ask for it.

A container is asked through its desired state in the registry; its parent's agent, or a root container
itself, acts on it. Only a root container that is down cannot be asked: it is started on its host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from fabric.addresses import advertised, inherited_fields
from fabric.errors import ContainerError, ContainerHasChildren
from fabric.home import Home
from fabric.local import start_process, wait_process_end
from fabric.processes import running_process
from fabric.records import ERROR, START_REQUESTED, STOPPED, SUCCESS, ContainerRecord, DesiredState, Provision
from fabric.store import ContainerStore
from registry import paths
from registry.errors import RegistryUnavailable
from registry.session import Session

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
"""As long as the original polls: 12 times 5 s."""

PROVISION_PATIENCE_S = 5.0
"""How long a started container may take to become what it should be before a command ends without it: what
the next command shows should be true already, but a broker may have a large journal to recover."""

NOT_PROVISIONED_YET = Provision()

LOOK_AGAIN_S = 0.5
"""How long a change that no watch shows may go unnoticed."""


class ParentDown(ContainerError):
    """A container cannot be started while its parent, which would do it, is down."""

    def __init__(self, container: str, parent: str, host: str | None = None) -> None:
        super().__init__(
            f"Container {container} is run by container {parent}, which is down.",
            f"Start that first, on its host{f' {host}' if host else ''}: fabric container-start {parent}",
        )


class RootElsewhere(ContainerError):
    """A root container is started on its own host."""

    def __init__(self, container: str, host: str) -> None:
        super().__init__(
            f"Container {container} is a root container{f' of host {host}' if host else ''} and is down.",
            f"Start it there: fabric container-start {container}",
        )


class EnsembleMember(ContainerError):
    """Containers that run ZooKeeper are not stopped by accident."""

    def __init__(self) -> None:
        super().__init__(
            "Container is part of the ensemble. If you still want to stop it, please use --force option."
        )


class NotStopped(ContainerError):
    """The container did not stop in time."""

    def __init__(self, container: str) -> None:
        super().__init__(
            f"Container '{container}' was not stopped successfully, something went wrong. Check Logs.",
            f"See: fabric container-logs {container}",
        )


class NotStarted(ContainerError):
    """The container did not start in time."""


class CannotDelete(ContainerError):
    """The container must not be deleted."""


class Lifecycle:
    """What the commands do to containers. Everything blocks."""

    def __init__(self, session: Session, home: Home) -> None:
        self._session = session
        self._home = home
        self.containers = ContainerStore(session)

    # Waiting.

    def wait(self, name: str, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `is_done`, asked at every change of the container; return whether it is."""
        changed = threading.Event()
        deadline_s = time.monotonic() + timeout_s
        watches = [
            self._session.watch_data(paths.container_alive(name), lambda data: changed.set()),
            self._session.watch_data(paths.container_provision(name, "result"), lambda data: changed.set()),
        ]
        try:
            while not is_done():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return False
                changed.wait(min(left_s, LOOK_AGAIN_S))
                changed.clear()
            return True
        finally:
            for watch in watches:
                watch.cancel()

    def is_alive(self, name: str) -> bool:
        """Whether the container is connected to the registry."""
        return self._session.exists(paths.container_alive(name))

    def check_up(self, parent: str, child: str) -> None:
        """Raise `ParentDown` if the parent, which would start the child, is not connected."""
        if not self.is_alive(parent):
            raise ParentDown(child, parent, self.containers.get(parent).host)

    def wait_started(self, name: str, before: Provision = NOT_PROVISIONED_YET) -> None:
        """Wait until the container is connected, and for a moment until it is provisioned.

        Raises:
            NotStarted: it takes too long to connect, or it reports an error other than `before`.
        """

        def has_failed() -> bool:
            now = self.containers.provision(name)
            return now.result == ERROR and now != before

        def is_provisioned() -> bool:
            return self.containers.provision(name).result == SUCCESS or has_failed()

        self.wait(name, lambda: self.is_alive(name) or has_failed(), START_TIMEOUT_S)
        if self.is_alive(name):
            self.wait(name, is_provisioned, PROVISION_PATIENCE_S)
            return
        raise NotStarted(
            f"Container {name} did not start.",
            self.containers.provision(name).exception or f"See: fabric container-logs {name}",
        )

    # Creating.

    def register_children(
        self,
        parent: str,
        names: Sequence[str],
        *,
        profiles: Sequence[str],
        version: str,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """Register children, which their parent then starts; waits for nothing.

        Args:
            parent: A root container.
            names: What they are called.
            profiles: What they are given.
            version: Of the profiles.
            fields: Of their records; default: as their parent's.

        Raises:
            ParentDown, ContainerError, ProfileError: nothing was created, or not all of them.
        """
        if fields is None:
            fields = inherited_fields(self.containers.fields(parent))
        self.check_up(parent, names[0])
        for child in names:
            self.containers.create(
                child,
                profiles=profiles,
                version=version,
                parent=parent,
                fields=advertised(child, fields),
                options={"type": "child"},
            )

    # Starting and stopping.

    def start(self, name: str, *, force: bool = False) -> bool:
        """Start a container and wait until it is connected. Returns False if it was already.

        Raises:
            ContainerNotFound, ParentDown, RootElsewhere, NotStarted, ContainerNotStarted: as they say.
        """
        record = self.containers.get(name)
        if record.connected and not force:
            return False
        if record.parent is None:
            if self._home.read_root_name() != name:
                raise RootElsewhere(name, record.host or "")
            if running_process(self._home.container(name)) is None:
                start_process(
                    self._home,
                    name,
                    lambda: is_registered(self.containers, self._home, name),
                    START_TIMEOUT_S,
                )
            else:
                self.wait_started(name, record.provision)
            return True
        self.ask_start(record)
        self.wait_started(name, record.provision)
        return True

    def ask_start(self, record: ContainerRecord) -> None:
        """Ask for a child to be started, and wait for nothing. Raises `ParentDown`."""
        assert record.parent is not None
        self.check_up(record.parent, record.id)
        if record.desired is DesiredState.STARTED:  # it crashed: do not wait for its next turn
            self.containers.set_field(record.id, START_REQUESTED, str(time.time_ns()))
        self.containers.set_desired(record.id, DesiredState.STARTED)

    def stop(self, name: str, *, force: bool = False) -> bool:
        """Stop a container and wait for its end. Returns False if it was stopped already.

        Raises:
            ContainerNotFound, EnsembleMember, ParentDown, NotStopped: as they say.
        """
        record = self.containers.get(name)
        if not self.ask_stop(record, force=force):
            return False
        if record.parent is None:
            self._wait_root_stopped(name)
        elif not self.wait(name, lambda: self._has_stopped(record), STOP_TIMEOUT_S):
            if record.connected:
                self.containers.set_provision_result(name, record.provision.result)
            self.check_up(record.parent, name)
            raise NotStopped(name)
        return True

    def ask_stop(self, record: ContainerRecord, *, force: bool = False) -> bool:
        """Ask for a container to be stopped, and wait for nothing. Returns False if it was stopped already.

        Raises:
            EnsembleMember: as it says.
        """
        if not record.connected and record.desired is DesiredState.STOPPED:
            return False
        if self.is_ensemble_member(record.id) and not force:
            raise EnsembleMember
        if record.connected:
            self.containers.set_provision_result(record.id, "stopping")
        self.containers.set_desired(record.id, DesiredState.STOPPED)
        return True

    def _has_stopped(self, record: ContainerRecord) -> bool:
        if self.is_alive(record.id):
            return False
        parent = record.parent
        if parent is None or not self.is_alive(parent):
            return True  # nobody left who would say so
        return self.containers.provision(record.id).result == STOPPED

    def _wait_root_stopped(self, name: str) -> None:
        """A root container may take the registry with it; on its host its process is waited for."""
        process = running_process(self._home.container(name))
        if process is not None:
            if not wait_process_end(process, STOP_TIMEOUT_S):
                raise NotStopped(name)
            return
        try:
            stopped = self.wait(name, lambda: not self.is_alive(name), STOP_TIMEOUT_S)
        except RegistryUnavailable:
            return
        if not stopped:
            raise NotStopped(name)

    def is_ensemble_member(self, name: str) -> bool:
        """Whether the container runs a server of the ensemble."""
        return name in self.containers.ensemble_members()

    # The end.

    def delete(self, name: str, *, force: bool = False, recursive: bool = False) -> list[str]:
        """Stop and delete a container; with `recursive` its children before it. Returns what was deleted.

        Raises:
            ContainerNotFound, ContainerHasChildren, CannotDelete, NotStopped: as they say.
        """
        record = self.containers.get(name)
        if self.is_ensemble_member(name):
            raise CannotDelete(
                f"Container {name} runs ZooKeeper for the whole fabric and cannot be deleted.",
                "The fabric ends with it: fabric container-stop --force " + name,
            )
        if self._home.read_root_name() == name and not force:
            raise CannotDelete(
                "You shouldn't delete current container.", "If you still want to, please use --force option."
            )
        deleted: list[str] = []
        children = self.containers.children(name)
        if children and not recursive:
            raise ContainerHasChildren(name, children)
        if record.parent is None and self._home.read_root_name() != name and not force:
            raise CannotDelete(
                f"Container {name} is the root container of host {record.host or 'unknown'}.",
                f"It leaves the fabric there: fabric leave. What is known of a host that is lost is removed "
                f"with: fabric container-delete --force {name}",
            )
        for child in children:
            deleted += self.delete(child, force=force)
        try:
            self.stop(name, force=force)
        except ContainerError:
            if not force or self.is_alive(name):
                raise
        self.containers.delete(record.id)
        return [*deleted, name]


def is_registered(containers: ContainerStore, home: Home, name: str) -> bool:
    """Whether the process that runs the container on this host is connected, and not one before it."""
    alive, process = containers.alive(name), home.container(name).read_process()
    return alive is not None and process is not None and alive.pid == process.pid


def start_local_root(home: Home, name: str, connect: Callable[[float], Session]) -> bool:
    """Start this host's root container while the registry may be down. Returns False if it runs already.

    Args:
        home: Where it lives.
        name: The root container.
        connect: Returns a session that may take as long as it is told; raises RegistryUnavailable.

    Raises:
        ContainerNotStarted: as it says.
    """
    if running_process(home.container(name)) is not None:
        return False
    sessions: list[Session] = []

    def is_there() -> bool:
        try:
            if not sessions:
                sessions.append(connect(1.0))
            return is_registered(ContainerStore(sessions[0]), home, name)
        except RegistryUnavailable:
            return False

    try:
        start_process(home, name, is_there, START_TIMEOUT_S)
    finally:
        for session in sessions:
            session.close()
    return True
