"""Our broker as a process of its own, without containers, for tests with other people's clients."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from support.listening import listening_ports
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests

from registry.session import Session
from registry.users import UserRecord, UserStore, hash_password

START_TIMEOUT_S = 60.0


def add_user(
    zookeeper: ZooKeeperForTests, name: str = "admin", password: str = "admin", role: str = "admin"
) -> None:
    """Put a user into the registry, as `fabric create` does."""
    session = Session(zookeeper.url, zookeeper.password)
    session.start()
    try:
        UserStore(session).put(UserRecord(name, hash_password(password), (role,)))
    finally:
        session.close()


class OurBroker:
    """One `python -m broker`; whoever started it ends it by its own process id."""

    def __init__(
        self,
        zookeeper: ZooKeeperForTests,
        folder: Path,
        *,
        port: int,
        container: str = "first",
        name: str = "b",
        properties: Mapping[str, str] | None = None,
        store: Path | None = None,
        session_timeout_ms: int = 4000,
    ) -> None:
        self.port = port
        self.log = folder / f"{container}.log"
        arguments = {
            "--zookeeper-url": zookeeper.url,
            "--zookeeper-password": zookeeper.password,
            "--name": name,
            "--group": folder.name,
            "--container": container,
            "--data": str(store or folder / "store"),
            "--port": str(port),
            "--session-timeout": str(session_timeout_ms),
        }
        command = [sys.executable, "-m", "broker", *(word for pair in arguments.items() for word in pair)]
        for key, value in (properties or {}).items():
            command += ["--property", f"{key}={value}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def url(self) -> str:
        """Where clients connect when it is the master."""
        return f"tcp://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def listening(self) -> set[int]:
        """The ports on which it listens."""
        return listening_ports(self.process.pid)

    def wait_listening(self) -> None:
        """Wait until this process is the master and listens."""

        def listening() -> bool:
            assert self.process.poll() is None, self.log.read_text("utf-8")
            return self.port in self.listening()

        wait_until(listening, START_TIMEOUT_S, lambda: f"it listens:\n{self.log.read_text('utf-8')}")


@contextlib.contextmanager
def running(*brokers: OurBroker) -> Iterator[None]:
    """End the brokers' processes at the end, whatever state they are in."""
    try:
        yield
    finally:
        for broker in brokers:
            if broker.process.poll() is None:
                broker.process.send_signal(signal.SIGCONT)
                broker.kill()
