"""One container process, started by hand, on a real ZooKeeper."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from fabric.bootstrap import write_first_content
from fabric.home import Home, RegistryAddress
from fabric.store import ContainerStore
from registry import paths
from registry.session import Session

pytestmark = pytest.mark.integration

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path: Path, zookeeper: ZooKeeperForTests) -> Home:
    """A home that knows the registry."""
    home = Home(tmp_path / "home")
    home.make()
    home.write_registry_address(RegistryAddress(zookeeper.url, zookeeper.password))
    return home


@pytest.fixture
def session(zookeeper: ZooKeeperForTests) -> Iterator[Session]:
    """A session with the registry, which has a fabric."""
    session = Session(zookeeper.url, zookeeper.password)
    session.start()
    write_first_content(session)
    yield session
    session.close()


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    """Start the process of a container; all are ended at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "fabric.container", "--home", str(home.path), name]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def wait_logged(home: Home, name: str, text: str) -> None:
    """Wait until the container's log has the text."""
    log = home.container(name).log
    wait_until(lambda: log.exists() and text in log.read_text(), 30, lambda: f"{text}\n{log.read_text()}")


def make(session: Session, name: str) -> None:
    """Register a root container."""
    ContainerStore(session).create(name, profiles=["default"], version="1.0")


def test_without_zookeeper_it_waits_and_can_be_stopped(home: Home, start: Start) -> None:
    """A container that finds no ZooKeeper says what it waits for, where, and stops when it is asked to."""
    port = free_port()
    home.write_registry_address(RegistryAddress(f"127.0.0.1:{port}", "x"))
    process = start("waiting")
    wait_logged(home, "waiting", f"Waiting for ZooKeeper: ZooKeeper at 127.0.0.1:{port} did not answer")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_zookeeper_that_comes_later_is_found(
    home: Home, start: Start, zookeeper_factory: Callable[[], ZooKeeperForTests]
) -> None:
    """Whoever starts first waits for the other."""
    server = zookeeper_factory()
    session = Session(server.url, server.password)
    session.start()
    write_first_content(session)
    make(session, "early")
    session.close()
    server.stop()
    home.write_registry_address(RegistryAddress(server.url, server.password))
    start("early")
    wait_logged(home, "early", "Waiting for ZooKeeper")
    server.start_ready()
    wait_logged(home, "early", "Provisioning: success")


def test_wrong_password_is_said(
    home: Home, session: Session, start: Start, zookeeper: ZooKeeperForTests
) -> None:
    """A container with a wrong password says so in its log, and waits for the right one."""
    home.write_registry_address(RegistryAddress(zookeeper.url, "wrong"))
    start("stranger")
    wait_logged(home, "stranger", "is wrong")


def test_unknown_container_ends(home: Home, session: Session, start: Start) -> None:
    """A container that the registry does not know ends with the reason in its log."""
    process = start("deleted")
    assert process.wait(20) == 1
    assert "Container deleted does not exists!" in home.container("deleted").log.read_text()


def test_without_a_fabric_it_ends(tmp_path: Path, home: Home, start: Start) -> None:
    """Without a fabric the process says so on its console."""
    home.forget_fabric()
    process = start("nobody")
    assert process.wait(20) == 1
    assert process.stderr is not None
    assert "No fabric found" in process.stderr.read()


def test_place_of_a_dead_predecessor_is_taken(home: Home, session: Session, start: Start) -> None:
    """What an earlier process has left in the registry is replaced, and what is deleted comes back."""
    make(session, "successor")
    alive = paths.container_alive("successor")
    session.create(alive, b'{"pid": 1, "host": "elsewhere"}', ephemeral=True)
    process = start("successor")

    def registered_pid() -> int:
        node = session.get_or_none(alive)
        return json.loads(node.data)["pid"] if node else 0

    wait_until(lambda: registered_pid() == process.pid, 30, "it was not replaced")
    session.delete(alive)
    wait_until(lambda: registered_pid() == process.pid, 30, "it did not register again")


def test_lost_session_is_replaced(
    home: Home, session: Session, start: Start, zookeeper: ZooKeeperForTests
) -> None:
    """A container whose session was ended registers with a new one, and writes that one down."""
    from registry.dead_session import close_dead_session

    make(session, "survivor")
    process = start("survivor")
    wait_logged(home, "survivor", "Provisioning: success")
    before = home.container("survivor").read_session()
    assert before is not None
    assert close_dead_session(zookeeper.url, None, before.session_id, before.password)

    def has_registered_again() -> bool:
        now = home.container("survivor").read_session()
        node = session.get_or_none(paths.container_alive("survivor"))
        return now not in (None, before) and node is not None and node.ephemeral_owner == now.session_id

    wait_until(has_registered_again, 30, "it did not register again")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert home.container("survivor").read_session() is None
    assert ContainerStore(session).provision("survivor").result == "stopped"


def test_two_stops_at_once_are_one(home: Home, session: Session, start: Start) -> None:
    """A signal and the desired state may come together; the container stops once, without complaint."""
    make(session, "twice")
    process = start("twice")
    wait_logged(home, "twice", "Provisioning: success")
    session.put(paths.container_config_field("twice", "desired"), b"stopped")
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    log = home.container("twice").log.read_text()
    assert log.count("The container stops") == 1
    assert "Traceback" not in log
