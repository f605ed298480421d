"""Ending all container processes of a host without changing what they should be: before it goes down.

The root container first, since it would start its children again; then these, all at once; ZooKeeper last,
since they say goodbye to it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fabric.local import STOP_TIMEOUT_S, stop_process, wait_process_end
from fabric.processes import running_process, send_signal
from registry.errors import RegistryError
from registry.server import ZooKeeperServer, find_zookeeper

if TYPE_CHECKING:
    from fabric.home import Home


def stop_host(home: Home, say: Callable[[str], None], *, zookeeper: bool = True) -> None:
    """End them; returns when all have ended.

    Args:
        home: of the host.
        say: told of each that has ended.
        zookeeper: also the ZooKeeper servers that containers of the host run.
    """
    root = home.read_root_name() if home.has_fabric() else None
    if root is not None and stop_process(home.container(root)):
        say(f"Container {root} has ended.")
    running = {
        name: process
        for name in home.container_names()
        if (process := running_process(home.container(name))) is not None
    }
    for process in running.values():
        send_signal(process, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    for name, process in running.items():
        if not wait_process_end(process, max(0.0, deadline_s - time.monotonic())):
            send_signal(process, signal.SIGKILL)
            wait_process_end(process, STOP_TIMEOUT_S)
        say(f"Container {name} has ended.")
    if zookeeper:
        _stop_servers(home, say)


def _stop_servers(home: Home, say: Callable[[str], None]) -> None:
    for name in home.container_names():
        settings = home.container(name).read_managed_zookeeper()
        if settings is None:
            continue
        try:
            installation = find_zookeeper()
        except RegistryError as error:
            say(f"ZooKeeper of container {name} cannot be looked for: {error}")
            continue
        server = ZooKeeperServer(installation, Path(settings.data_directory), settings.port, settings.host)
        if server.adopt():
            server.stop()
            say(f"ZooKeeper of container {name} has ended.")
