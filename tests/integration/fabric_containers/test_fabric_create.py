"""`fabric create` on real ZooKeepers: what it makes, what it refuses, and what is left when it fails."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests

from fabric.processes import identify
from registry.errors import AuthenticationFailed
from registry.session import Session

pytestmark = pytest.mark.integration

USER = ("--new-user=admin", "--new-user-password=admin")


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[FabricForTests]:
    """A place for a fabric."""
    fabric = FabricForTests(tmp_path / "home")
    yield fabric
    fabric.end()


def ports(fabric: FabricForTests) -> tuple[str, str]:
    """Return the options that keep the fabric on ports of its own."""
    return f"--min-port={fabric.port_min}", f"--max-port={fabric.port_max}"


def test_create_replaces_only_what_it_may(fabric: FabricForTests) -> None:
    """A running fabric needs --force, one that is down --clean; stores of brokers survive both."""
    fabric.create("--profile=fabric")
    store = fabric.home.data / "store"
    store.mkdir()
    root, zookeeper = fabric.pid("root"), fabric.zookeeper_pid()
    refused = fabric.run("create", "--clean", *USER, code=1)
    assert "Cannot create fabric." in refused
    assert fabric.pid("root") == root
    fabric.create("--profile=fabric", "--force", "--new-user-password=other")
    assert identify(root) is None
    assert identify(zookeeper) is None
    fabric.run("container-stop", "--force", "root")
    refused = fabric.run("create", *USER, code=1)
    assert "It is down; start it with: fabric container-start root" in refused
    fabric.create("--profile=fabric")
    assert store.is_dir()


def test_create_without_waiting_says_how_to_wait(fabric: FabricForTests) -> None:
    """Without --wait-for-provisioning the original's hint is printed."""
    output = fabric.run("create", *USER, *ports(fabric), "--profile=fabric")
    assert output.splitlines() == [
        "Waiting for container: root",
        "It may take a couple of seconds for the container to provision...",
        "You can use the --wait-for-provisioning option, if you want this command to block until the "
        "container is provisioned.",
    ]


def test_registry_is_closed_to_others(fabric: FabricForTests) -> None:
    """The registry's password is its own if one is given, and another one is refused."""
    fabric.create("--profile=fabric", "--zookeeper-password=secret")
    address = fabric.home.read_registry_address()
    assert address.zookeeper_password == "secret"
    with pytest.raises(AuthenticationFailed):
        Session(address.zookeeper_url, "admin").start()
    refused = fabric.run("container-list", "--zookeeper-password=admin", code=1)
    assert "password" in refused


def test_taken_port_is_passed_over_unless_it_was_asked_for(fabric: FabricForTests) -> None:
    """ZooKeeper gets the next free port; a port given and taken is an error that leaves nothing behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", fabric.port_min))
        taken.listen()
        refused = fabric.run("create", *USER, f"--zookeeper-server-port={fabric.port_min}", code=1)
        assert f"Port {fabric.port_min} of 127.0.0.1 is taken." in refused
        assert not fabric.home.has_fabric()
        fabric.create("--profile=fabric")
        url = fabric.home.read_registry_address().zookeeper_url
    assert url == f"127.0.0.1:{fabric.port_min + 1}"


def test_without_java_it_says_what_to_install(fabric: FabricForTests, tmp_path: Path) -> None:
    """No Java: the error names the package, and nothing is created."""
    fabric.environment |= {"PATH": str(tmp_path), "JAVA_HOME": ""}
    assert "default-jre-headless" in fabric.run("create", *USER, code=1)
    assert not fabric.home.has_fabric()


def test_without_zookeeper_it_says_what_to_install(fabric: FabricForTests, tmp_path: Path) -> None:
    """No ZooKeeper: the error names the package and the variable, and nothing is created."""
    fabric.environment |= {"ZOOKEEPER_HOME": str(tmp_path)}
    assert "apt install zookeeper" in fabric.run("create", *USER, code=1)
    assert not fabric.home.has_fabric()


def test_home_that_cannot_be_written_is_named(fabric: FabricForTests) -> None:
    """A file where the home should be is an error with its name."""
    fabric.folder.write_text("")
    fabric.environment |= {"FABRIC_HOME": str(fabric.folder / "below")}
    assert f"Cannot make {fabric.folder}/below" in fabric.run("create", *USER, code=1)
    fabric.folder.unlink()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 1, "--new-user NAME --new-user-password PASSWORD"),
        ((*USER, "--import-dir=x"), 2, "The option --import-dir has no meaning here."),
        ((*USER, "-n"), 2, "The option --non-managed has no meaning here."),
        ((*USER, "a", "b"), 2, "A new fabric has one container."),
        ((*USER, "a b"), 1, "Container name 'a b' is invalid."),
        ((*USER, "--min-port=9", "--max-port=8"), 2, "--min-port is above --max-port."),
        ((*USER, "--resolver=manualip"), 1, "Give it with --manual-ip ADDRESS."),
        ((*USER, "--version=1/0"), 1, "Version name '1/0' is invalid."),
        ((*USER, "--bind-address=127.0.0.1:x"), 2, "is not an address"),
        ((*USER, "--profile=nowhere"), 1, "Profile nowhere with version 1.0 does not exist."),
    ],
)
def test_bad_options_are_refused_and_nothing_is_left(
    fabric: FabricForTests, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """What is wrong is said, and neither files nor processes are left."""
    assert message in fabric.run("create", *arguments, code=code)
    assert not fabric.home.has_fabric()
    assert not fabric.home.zookeeper.exists()


def test_interrupted_create_leaves_nothing(fabric: FabricForTests) -> None:
    """Ctrl-C while ZooKeeper starts ends it again, and says that nothing was created."""
    creating = fabric.start("create", *USER, *ports(fabric), "--verbose")
    pid_file = fabric.home.zookeeper / "server.pid"
    wait_until(pid_file.exists, 30, "ZooKeeper was not started")
    pid = wait_until(lambda: int(pid_file.read_text() or 0), 30)
    os.kill(creating.pid, signal.SIGINT)
    output, _ = creating.communicate(timeout=30)
    assert creating.returncode == 130
    assert "Nothing was created." in output
    wait_until(lambda: identify(pid) is None, 30, "ZooKeeper is left")
    assert not fabric.home.has_fabric()


def test_external_ensemble_is_used_and_not_overwritten(
    fabric: FabricForTests, tmp_path: Path, zookeeper_factory: Callable[[], ZooKeeperForTests]
) -> None:
    """A fabric can live in somebody's ensemble, which survives it; a second one is refused there."""
    external = zookeeper_factory()
    options = (f"--zookeeper-url={external.url}", "--zookeeper-password=secret", "--profile=fabric")
    fabric.create(*options)
    assert "Ensemble Server:               no" in fabric.run("container-info", "root")
    assert not fabric.home.zookeeper.exists()
    other = FabricForTests(tmp_path / "other")
    refused = other.run("create", *USER, *options, code=1)
    assert "There is a fabric in the ensemble" in refused
    assert not other.home.has_fabric()
    assert "stopped successfully" in fabric.run("container-stop", "root")
    assert external.serves()


def test_session_timeout_comes_from_the_profile(fabric: FabricForTests) -> None:
    """The session timeout of a container is what its profiles say, from its next start on."""
    fabric.create("--profile=fabric")
    fabric.run("profile-edit", "--pid", "io.fabric8.zookeeper/zookeeper.session.timeout=2000", "fabric")
    home = fabric.home.container("root")
    wait_until(lambda: home.read_session_timeout_ms() == 2000, 30, fabric.logs)
    os.kill(fabric.pid("root"), signal.SIGTERM)
    wait_until(lambda: home.read_process() is None, 30, "root does not stop")
    assert identify(fabric.zookeeper_pid()) is not None
    fabric.run("container-start", "root")
    assert "session" in home.log.read_text()
