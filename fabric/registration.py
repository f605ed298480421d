"""A container's place in the registry, taken when its process starts and left when it ends.

`alive` is an ephemeral znode of the process's own session: whatever takes it away while the process runs, it
is put there again. A container that has another parent by now was moved to another host, and is not
registered here any more.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from fabric.addresses import host_fields, own_public_fields
from fabric.errors import FabricError
from fabric.home import SessionRecord
from fabric.reactor import in_thread
from fabric.records import SUCCESS, DesiredState, Provision
from fabric.software import SOFTWARE
from fabric.store import ContainerStore
from registry import paths
from registry.errors import NodeExists, RegistryError
from registry.session import SessionState

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.home import Home
    from fabric.reactor import Reactor
    from registry.session import Session
    from registry.watches import Watch

log = logging.getLogger(__name__)


class Registration:
    """One container's. Lives in the reactor's thread, but for what blocks."""

    def __init__(
        self,
        reactor: Reactor,
        session: Session,
        home: Home,
        name: str,
        *,
        started_at: float,
        on_moved: Callable[[], None],
    ) -> None:
        """Make it; nothing happens before `start`.

        Args:
            reactor: The container's.
            session: With the registry.
            home: Of this host.
            name: Of the container.
            started_at: When the process has started, seconds since 1970.
            on_moved: Called when another host runs the container now.
        """
        self._reactor = reactor
        self._session = session
        self._home = home
        self._name = name
        self._on_moved = on_moved
        self._started_at = started_at
        self._watches: list[Watch] = []
        self._registering = self._ending = self._has_moved = False

    def start(self) -> None:
        """Register again from now on, whenever the session or another session's end makes that necessary."""
        self._session.add_state_listener(self._registry_changed)
        self._note_session()

    def follow(self) -> None:
        """Follow what is registered."""
        self._watches = [
            self._session.watch_data(paths.container_alive(self._name), self._alive_changed),
            self._session.watch_data(
                paths.container_config_field(self._name, "parent"), self._parent_changed
            ),
        ]

    def retire(self) -> None:
        """Register no more: the container ends."""
        self._ending = True

    def cancel(self) -> None:
        """Follow nothing more."""
        for watch in self._watches:
            watch.cancel()

    # Blocking, in a thread.

    def enter(self, zookeeper_url: str) -> dict[str, str]:
        """Register, and write what is known of this host; return what the container was created with.

        Raises:
            ContainerNotFound: it is not registered, or not any more.
        """
        containers = ContainerStore(self._session)
        containers.check_exists(self._name)
        self._register()
        fields = containers.fields(self._name)
        if not fields.get("parent"):
            containers.set_desired(self._name, DesiredState.STARTED)  # who starts a root container wants it
        if fields.get("managed") == "false":
            containers.set_provision(self._name, Provision(SUCCESS))  # nothing is asked of it
        now = {"host": socket.gethostname(), **host_fields(fields.get("bindaddress", ""), zookeeper_url)}
        for key, value in now.items():
            if fields.get(key) != value:
                containers.set_field(self._name, key, value)
        return fields

    def note_public_address(self) -> None:
        """Write how the host is reached from elsewhere, as far as its name says."""
        containers = ContainerStore(self._session)
        for key, value in own_public_fields().items():
            if not containers.field(self._name, key):
                containers.set_field(self._name, key, value)

    def leave(self, result: str) -> None:
        """Write how the container ends, and close the session, which takes `alive` with it."""
        if self._session.state is SessionState.CONNECTED and not self._has_moved:
            try:
                ContainerStore(self._session).set_provision_result(self._name, result)
            except RegistryError as error:
                log.warning("The registry could not be told of the stop: %s", error)
        self._session.close()

    def _register(self) -> None:
        """Make sure that `alive` is there and ours."""
        session, path = self._session, paths.container_alive(self._name)
        parent = ContainerStore(session).field(self._name, "parent")
        if self._is_elsewhere(parent):
            self._reactor.callFromThread(self._moved, parent)
            return
        while not self._ending:
            node = session.get_or_none(path)
            if node is not None and node.ephemeral_owner == session.session_id:
                return
            if node is not None:
                log.info("Replacing what an earlier process of this container has registered")
                session.delete(path, missing_ok=True)
            try:
                session.create(path, self._alive(), ephemeral=True)
            except NodeExists:
                continue
            session.put(paths.container_pid(self._name), str(os.getpid()).encode())
            log.info("Container %s is registered at %s", self._name, session.url)
            return

    def _alive(self) -> bytes:
        content = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started_at": self._started_at,
            "software": SOFTWARE,
        }
        return json.dumps(content).encode()

    # What changes.

    def _registry_changed(self, state: SessionState) -> None:
        if state is SessionState.CONNECTED and not self._ending:
            self._note_session()
            self._register_again()

    def _note_session(self) -> None:
        """Write down the session for whoever has to close it when this process has died."""
        session = self._session
        try:
            self._home.container(self._name).write_session(
                SessionRecord(session.session_id, session.session_password)
            )
        except FabricError as error:  # a failover of ours would then wait for the session's timeout
            log.error("%s", error)

    def _alive_changed(self, data: bytes | None) -> None:
        if data is None and not self._ending:
            self._register_again()

    def _register_again(self) -> None:
        if self._registering:
            return
        self._registering = True

        def done(failure: Failure | None) -> None:
            self._registering = False
            if failure is not None:
                log.warning("The container could not be registered: %s", failure.getErrorMessage())

        in_thread(self._reactor, self._register).addCallbacks(done, done)

    def _parent_changed(self, data: bytes | None) -> None:
        parent = data.decode() if data else None
        if self._is_elsewhere(parent):
            self._moved(parent)

    def _is_elsewhere(self, parent: str | None) -> bool:
        """Whether another root container than this host's runs this one now."""
        root = self._home.read_root_name()
        return bool(parent and root and parent != root)

    def _moved(self, parent: str | None) -> None:
        log.warning("The container was moved to %s; here it ends", parent)
        self._has_moved = True
        self._on_moved()
