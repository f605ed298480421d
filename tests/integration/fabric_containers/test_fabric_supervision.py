"""What happens to container processes and what becomes of them: real processes, a real ZooKeeper."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

from fabric.processes import identify
from registry import paths
from registry.session import Session

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric without brokers."""
    fabric = FabricForTests(tmp_path_factory.mktemp("fabric"))
    try:
        fabric.create("--profile=fabric")
        yield fabric
    finally:
        fabric.end()


@pytest.fixture
def session(fabric: FabricForTests) -> Iterator[Session]:
    """A session with the fabric's registry."""
    address = fabric.home.read_registry_address()
    session = Session(address.zookeeper_url, address.zookeeper_password)
    session.start()
    yield session
    session.close()


@pytest.fixture
def child(fabric: FabricForTests, request: pytest.FixtureRequest) -> str:
    """A child container of its own for each test, provisioned."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40]
    fabric.run("container-create-child", "root", name)
    fabric.wait_provisioned(name)
    return name


def test_killed_child_is_signed_off_at_once_and_restarted(
    fabric: FabricForTests, child: str, session: Session
) -> None:
    """When a child is killed its znodes go long before its session's timeout, and it comes back by itself."""
    pid = fabric.pid(child)
    began_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not session.exists(paths.container_alive(child)), 3.5, "alive is still there")
    assert time.monotonic() - began_s < 3.5  # the session's timeout is 4 s
    fabric.wait_provisioned(child)
    assert fabric.pid(child) != pid


def test_crash_is_shown_while_it_lasts(fabric: FabricForTests, session: Session) -> None:
    """A child that crashes at its start is tried again with back-off, and container-info says why."""
    name = "crashing"
    folder = fabric.home.container(name).path
    folder.mkdir()
    (folder / "container.log").mkdir()  # the process cannot open its log
    output = fabric.run("container-create-child", "root", name, code=1)
    assert "The following containers have failed:" in output
    info = fabric.run("container-info", name)
    assert "error - The process ended with exit code 1" in info
    assert "IsADirectoryError" in info
    (folder / "container.log").rmdir()
    fabric.run("container-start", name)  # does not wait for the back-off
    fabric.wait_provisioned(name)
    assert "Provision Error" not in fabric.run("container-info", name)


def test_child_survives_and_is_adopted_by_its_restarted_parent(
    fabric: FabricForTests, child: str, session: Session
) -> None:
    """Killing root disturbs neither its children nor ZooKeeper; started again it looks after both."""
    before, zookeeper = fabric.pid(child), fabric.zookeeper_pid()
    root = fabric.home.container("root").read_process()
    assert root is not None
    os.kill(root.pid, signal.SIGKILL)
    wait_until(lambda: identify(root.pid) is None, 30, "root still runs")
    wait_until(lambda: not session.exists(paths.container_alive("root")), 30, "root is still registered")
    output = fabric.run("container-start", "another", code=1)
    assert "Container another does not exists!" in output
    output = fabric.run("container-create-child", "root", "another", code=1)
    assert "run by container root, which is down" in output
    assert "fabric container-start root" in output
    fabric.run("container-start", "root")
    fabric.wait_provisioned("root")
    assert (fabric.pid(child), fabric.zookeeper_pid()) == (before, zookeeper)
    os.kill(before, signal.SIGKILL)
    fabric.wait_provisioned(child)
    wait_until(lambda: fabric.pid(child) != before, 30, "the adopted child was not restarted")


def test_root_started_again_at_once_replaces_its_dead_predecessor(fabric: FabricForTests) -> None:
    """A new root process does not wait for the session of the dead one to expire."""
    pid = fabric.pid("root")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: identify(pid) is None, 30, "root still runs")
    fabric.run("container-start", "root")
    assert fabric.container("root")["pid"] == fabric.pid("root") != pid
    assert fabric.run("container-start", "root") == "Container root is already started\n"


def test_interrupted_command_says_what_goes_on(fabric: FabricForTests) -> None:
    """After Ctrl-C the command has said that the containers go on starting, and they do."""
    root = fabric.pid("root")
    os.kill(root, signal.SIGSTOP)
    try:
        creating = fabric.start("container-create-child", "root", "patient")
        wait_until(lambda: "patient" in fabric.run("container-list"), 30, "it is not created")
        os.kill(creating.pid, signal.SIGINT)
        output, _ = creating.communicate(timeout=30)
    finally:
        os.kill(root, signal.SIGCONT)
    assert creating.returncode == 130
    assert "The containers are created and go on starting." in output
    fabric.wait_provisioned("patient")


def test_log_is_followed(fabric: FabricForTests, child: str, tmp_path: Path) -> None:
    """`container-logs -f` shows what is there and what comes, until Ctrl-C."""
    shown = tmp_path / "shown"
    with shown.open("w") as output:
        following = fabric.start("container-logs", child, "-f", output=output)
    wait_until(lambda: "Provisioning: success" in shown.read_text(), 30, "the log is not shown")
    fabric.run("container-add-profile", child, "mq-client")
    wait_until(lambda: shown.read_text().count("Provisioning: success") == 2, 30, shown.read_text)
    os.kill(following.pid, signal.SIGINT)
    assert following.wait(10) == 130


def test_child_stopped_by_command_stays_stopped(fabric: FabricForTests, child: str) -> None:
    """A stopped container stays stopped, says so, and starts again when asked."""
    assert fabric.run("container-stop", child) == f"Container '{child}' stopped successfully.\n"
    assert fabric.run("container-stop", child) == f"Container '{child}' already stopped.\n"
    assert fabric.container(child)["provision_status"] == "stopped"
    assert fabric.run("container-start", child) == ""
    assert fabric.run("container-start", child) == f"Container {child} is already started\n"


def test_child_that_ignores_the_stop_is_killed(fabric: FabricForTests, child: str) -> None:
    """A frozen container is stopped all the same: SIGKILL follows after the grace."""
    os.kill(fabric.pid(child), signal.SIGSTOP)
    assert "stopped successfully" in fabric.run("container-stop", child)


def test_frozen_child_that_wakes_in_time_lives_on(
    fabric: FabricForTests, child: str, session: Session
) -> None:
    """A process that was frozen past its session's timeout registers again when it wakes."""
    pid = fabric.pid(child)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(
            lambda: not session.exists(paths.container_alive(child)), 15, "the session has not expired"
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: session.exists(paths.container_alive(child)), 30, "it did not register again")
    assert fabric.pid(child) == pid


def test_frozen_child_is_replaced_after_the_grace(fabric: FabricForTests, child: str) -> None:
    """A process that stays frozen is killed and replaced."""
    pid = fabric.pid(child)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: identify(pid) is None, 30, "the frozen process was not killed")
    fabric.wait_provisioned(child)
    assert fabric.pid(child) != pid


def test_killed_zookeeper_is_restarted_and_everybody_is_still_there(
    fabric: FabricForTests, child: str
) -> None:
    """The death of the ZooKeeper server costs no container its process."""
    pids = fabric.pid("root"), fabric.pid(child)
    os.kill(fabric.zookeeper_pid(), signal.SIGKILL)
    fabric.wait_provisioned(child)
    fabric.wait_provisioned("root")
    assert (fabric.pid("root"), fabric.pid(child)) == pids


def test_deleted_container_leaves_nothing_but_its_stores(fabric: FabricForTests, child: str) -> None:
    """A deleted container is gone from the registry and from the disk, except the stores of its brokers."""
    files = fabric.home.container(child)
    (files.data / "store").mkdir()
    fabric.run("container-delete", child)
    assert child not in fabric.run("container-list")
    wait_until(lambda: sorted(entry.name for entry in files.path.iterdir()) == ["data"], 30, "files are left")


def test_no_container_takes_the_registry_away_by_accident(fabric: FabricForTests) -> None:
    """A container that runs ZooKeeper is neither stopped nor deleted without saying so."""
    assert "Container is part of the ensemble." in fabric.run("container-stop", "root", code=1)
    assert "cannot be deleted" in fabric.run("container-delete", "--force", "root", code=1)


def test_secrets_are_readable_by_their_owner_only(fabric: FabricForTests, child: str) -> None:
    """Passwords and sessions lie in files that only their owner can read."""
    secrets = [fabric.folder / "fabric.json", *fabric.home.containers.glob("*/session.json")]
    assert len(secrets) >= 2
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_second_process_of_a_container_is_refused(fabric: FabricForTests, child: str, tmp_path: Path) -> None:
    """Only one process can run a container."""
    files = fabric.home.container(child)
    pid = fabric.pid(child)
    output = fabric.run(
        "-m", "fabric.container", "--home", str(fabric.folder), child, code=3, program="python"
    )
    assert "run by another process already" in output
    assert files.read_process().pid == pid
