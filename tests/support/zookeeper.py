"""A real ZooKeeper for tests."""

import contextlib
import socket
from pathlib import Path

from registry.server import ZooKeeperServer, find_zookeeper

PASSWORD = "ensemble-secret"


def free_port() -> int:
    """Return a TCP port on the loopback address that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """As `free_port`, but several, of which no two are the same."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class ZooKeeperForTests(ZooKeeperServer):
    """A server with a password that its tests agree on."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(find_zookeeper(), data_dir, free_port())
        self.password = PASSWORD

    def start_ready(self) -> None:
        """Start and wait until it serves."""
        self.start()
        self.wait_ready(timeout_s=60)
