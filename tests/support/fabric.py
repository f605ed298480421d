"""A fabric of real processes for tests, used through its command line only."""

import contextlib
import itertools
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from support.fabric_commands import COMMAND_TIMEOUT_S, FabricCommands

from fabric.create import end_fabric
from fabric.home import Home
from fabric.processes import is_running
from registry.session import Session
from registry.users import UserRecord, UserStore, hash_password

PORTS = 40
PORTS_OF_ALL = range(20_000, 31_000)
"""Below those that the system gives away, which `free_port` returns."""
BIN = Path(sys.executable).parent

WORKERS = 6
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
_places = itertools.count(random.randrange(len(PORTS_OF_ALL)))


def free_port_range() -> tuple[int, int]:
    """Return the ends of a range of ports on the loopback address that nobody listens on just now.

    What is started there listens only later, so looking is not enough: each worker of a run has a part of all
    ports to itself, and goes through it from some place on.
    """
    count = len(PORTS_OF_ALL) // WORKERS // PORTS
    for _ in range(count):
        low = PORTS_OF_ALL.start + (WORKER * count + next(_places) % count) * PORTS
        if all(_is_free(port) for port in range(low, low + PORTS)):
            return low, low + PORTS - 1
    raise AssertionError("no free range of ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class FabricForTests(FabricCommands):
    """One fabric in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder)
        self.environment = {**os.environ, "FABRIC_HOME": str(folder)}
        for variable in ("ZOOKEEPER_URL", "ZOOKEEPER_PASSWORD"):
            self.environment.pop(variable, None)
        self.port_min, self.port_max = free_port_range()

    def execute(
        self, *arguments: str, code: int = 0, program: str = "fabric"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. The exit code must be `code`."""
        done = subprocess.run(
            [BIN / program, *arguments],
            check=False,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, (
            f"{program} {' '.join(arguments)}: {done.returncode}\n{output}\n{self.logs()}"
        )
        return done

    def start(
        self, *arguments: str, program: str = "fabric", output: IO[str] | int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start a command that goes on; the caller ends it."""
        return subprocess.Popen(
            [BIN / program, *arguments],
            env=self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def create(self, *arguments: str) -> str:
        """Create the fabric, provisioned, with user admin and password admin, on ports of its own."""
        return self.run(
            "create",
            "--clean",
            "--wait-for-provisioning",
            "--new-user=admin",
            "--new-user-password=admin",
            f"--min-port={self.port_min}",
            f"--max-port={self.port_max}",
            *arguments,
        )

    def host(self, folder: Path) -> "FabricForTests":
        """Return another host of this machine, which belongs to no fabric yet."""
        return FabricForTests(folder)

    def join(self, fabric: "FabricForTests", name: str, *arguments: str, code: int = 0) -> str:
        """Join a fabric as a host of that name; return what was printed."""
        address = fabric.home.read_registry_address()
        return self.run(
            "join",
            address.zookeeper_url,
            name,
            f"--zookeeper-password={address.zookeeper_password}",
            f"--min-port={self.port_min}",
            f"--max-port={self.port_max}",
            *arguments,
            code=code,
        )

    @property
    def console_url(self) -> str:
        """Return where the console is."""
        return self.run("zk-get", "/fabric/registry/containers/config/root/http").strip()

    @contextlib.contextmanager
    def registry(self) -> Iterator[Session]:
        """Open a session with the fabric's registry, and close it at the end."""
        address = self.home.read_registry_address()
        session = Session(address.zookeeper_url, address.zookeeper_password, channel=address.channel)
        session.start()
        try:
            yield session
        finally:
            session.close()

    def add_user(self, name: str, *roles: str) -> None:
        """Add a user whose password is the name."""
        with self.registry() as session:
            UserStore(session).put(UserRecord(name, hash_password(name), roles))

    def pid(self, name: str) -> int:
        """Return the pid of a running container."""
        process = self.home.container(name).read_process()
        assert is_running(process), f"{name} does not run"
        return process.pid

    def zookeeper_pid(self) -> int:
        """Return the pid of the managed ZooKeeper server."""
        return int((self.home.zookeeper / "server.pid").read_text())

    def logs(self) -> str:
        """Return the last lines of all logs, for a test that failed."""
        parts = []
        for log in sorted(self.home.containers.glob("*/*.log")):
            lines = log.read_text(errors="replace").splitlines()[-25:]
            parts.append("\n".join([f"--- {log.parent.name}/{log.name}", *lines]))
        return "\n".join(parts)

    def end(self) -> None:
        """End every process."""
        end_fabric(self.home, lambda text: None)
