"""The container processes of this host, handled from outside, without the registry.

For the moments in which there is no registry to ask: before it exists, when its server is down, and when a
container's parent is down.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fabric.errors import ContainerNotStarted, RegistryDown
from fabric.processes import is_running, log_tail, running_process, send_signal, spawn_container

if TYPE_CHECKING:
    from fabric.home import ContainerHome, Home, ProcessRecord

STOP_TIMEOUT_S = 15.0
"""From SIGTERM to SIGKILL; a container gives its services less."""

POLL_S = 0.05
START_LOG_LINES = 10


def wait_process_end(process: ProcessRecord, timeout_s: float) -> bool:
    """Wait until the process has ended; return whether it has."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_running(process):
            return True
        readable, _, _ = select.select([descriptor], [], [], timeout_s)
        return bool(readable)
    finally:
        os.close(descriptor)


def stop_process(container: ContainerHome, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """End the container's process: SIGTERM, then SIGKILL. Returns False when there was none."""
    process = running_process(container)
    if process is None:
        return False
    send_signal(process, signal.SIGTERM)
    if not wait_process_end(process, timeout_s):
        send_signal(process, signal.SIGKILL)
        wait_process_end(process, timeout_s)
    return True


def start_process(home: Home, name: str, is_there: Callable[[], bool], timeout_s: float) -> None:
    """Start the container's process and wait until it is there.

    Args:
        home: Where the container's folder is.
        name: The container.
        is_there: Asked again and again; says whether the container is connected.
        timeout_s: How long to wait.

    Raises:
        ContainerNotStarted: the process ended, or was not there in time; with the last lines of its log.
    """
    spawned = spawn_container(home, name)
    deadline_s = time.monotonic() + timeout_s
    try:
        while not is_there():
            if spawned.record is None or wait_process_end(spawned.record, POLL_S):
                raise ContainerNotStarted(
                    f"The process of container {name} {spawned.reap()}.", _last_lines(home.container(name))
                )
            if time.monotonic() > deadline_s:
                raise ContainerNotStarted(
                    f"Container {name} did not register within {timeout_s:g} s.",
                    f"Its process goes on trying. See: fabric container-logs {name}",
                )
    finally:
        spawned.detach()


def check_own_registry(home: Home, zookeeper_url: str) -> None:
    """Refuse to wait for a ZooKeeper that a container of this host would have to run and does not.

    Says nothing about ensembles and servers elsewhere, nor about a server whose container has died and left
    it running, nor about one that its running container is about to restart.

    Raises:
        RegistryDown: neither the container nor the server runs.
    """
    host, _, port = zookeeper_url.partition("/")[0].rpartition(":")
    if "," in host:
        return  # others of the ensemble may answer
    for name in home.container_names():
        container = home.container(name)
        server = container.read_managed_zookeeper()
        if server is None or str(server.port) != port:
            continue
        if running_process(container) is None and port_is_free(host, server.port):
            raise RegistryDown(zookeeper_url, name)


def _last_lines(container: ContainerHome) -> str:
    lines = log_tail(container.console, START_LOG_LINES) or log_tail(container.log, START_LOG_LINES)
    return "\n".join(["The last lines it wrote:", *lines]) if lines else ""


def free_port(host: str, wanted: int, port_min: int, port_max: int, tries: int = 100) -> int | None:
    """Return the first free port from `wanted` on within the range; None if none of `tries` ports is free."""
    first = wanted if port_min <= wanted <= port_max else max(port_min, 1)
    for port in range(first, min(first + tries, port_max + 1)):
        if port_is_free(host, port):
            return port
    return None


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
