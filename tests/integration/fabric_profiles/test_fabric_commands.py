"""The commands as processes, against a real ZooKeeper."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.registry import open_session
from support.waiting import wait_until
from support.zookeeper import PASSWORD, ZooKeeperForTests, free_port

from fabric.bootstrap import write_first_content
from fabric.home import Home, RegistryAddress
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.session import Session

pytestmark = pytest.mark.integration

COMMAND = (sys.executable, "-m", "fabric.cli.main")


@pytest.fixture(scope="module")
def server(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> ZooKeeperForTests:
    """A ZooKeeper whose /fabric is ours alone."""
    server = zookeeper_factory()
    with open_session(server) as session:
        write_first_content(session)
        ContainerStore(session).create("root", profiles=["fabric", "mq-amq"], version="1.0")
    return server


@pytest.fixture
def session(server: ZooKeeperForTests) -> Iterator[Session]:
    """Our own look at it."""
    with open_session(server) as session:
        yield session


@pytest.fixture
def home(server: ZooKeeperForTests, tmp_path: Path) -> Home:
    """A home that knows where it is."""
    home = Home(tmp_path)
    home.make()
    home.write_registry_address(RegistryAddress(server.url, PASSWORD))
    return home


def start(home: Home, *arguments: str) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, "FABRIC_HOME": str(home.path), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(home: Home, *arguments: str, code: int = 0) -> str:
    """Run a command and return what it printed, with its errors if it is to fail."""
    process = start(home, *arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, output + errors
    return output + errors if code else output


def test_a_broker_is_described_and_its_members_listed(home: Home, session: Session) -> None:
    """What one process writes the next one shows."""
    assert run(home, "mq-create", "--group", "lab", "tolerantbroker") == (
        "MQ profile mq-broker-lab.tolerantbroker ready\n"
    )
    assert "0 of 2" in run(home, "status")
    member = {"id": "tolerantbroker", "container": "c", "services": ["tcp://127.0.0.1:1"], "ready": True}
    session.create(
        f"{paths.amq_group('lab')}/0", json.dumps(member).encode(), ephemeral=True, sequential=True
    )
    assert "   tolerantbroker  c          -         tcp://127.0.0.1:1" in run(home, "cluster-list", "amq/lab")
    records = json.loads(run(home, "cluster-list", "amq/lab", "--output", "json"))
    assert [record["masters"] for record in records] == [["c"]]


def test_watching_ends_with_ctrl_c(home: Home, session: Session) -> None:
    """It shows a member that joins, ends at once, and says 130."""
    process = start(home, "cluster-list", "amq/watched", "--watch", "--output", "json")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "[]\n"
        session.create(f"{paths.amq_group('watched')}/00000000000", b'{"id": "b", "services": []}')
        shown = ""
        while '"slaves"' not in shown:
            line = process.stdout.readline()
            assert line, "it ended"
            shown += line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_an_ephemeral_znode_goes_with_its_command(home: Home, session: Session) -> None:
    """It is there while the command runs, and gone at once when it is interrupted."""
    process = start(home, "zk-create", "-e", "-r", "/fabric/notes/ephemeral", "x")
    try:
        wait_until(lambda: session.exists("/fabric/notes/ephemeral"), message="the znode")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    wait_until(lambda: not session.exists("/fabric/notes/ephemeral"), timeout_s=3.5, message="its end")


def test_commands_at_the_same_time_all_count(home: Home, session: Session) -> None:
    """Nobody's change is lost."""
    run(home, "profile-create", "busy")
    processes = [start(home, "profile-edit", "--pid", f"pid/k{n}=v", "busy") for n in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    values = ProfileStore(session).get("busy", "1.0").configuration["pid"]
    assert values == {f"k{n}": "v" for n in range(4)}


def test_znodes_are_private(home: Home, server: ZooKeeperForTests) -> None:
    """What a command creates is closed to who does not know the password."""
    run(home, "zk-create", "-r", "/fabric/notes/private", "secret")
    assert "wrong" in run(home, "--zookeeper-password", "guess", "zk-get", "/fabric/notes/private", code=1)


def test_nobody_answers(home: Home) -> None:
    """The error says where, and what to do."""
    url = f"127.0.0.1:{free_port()}"
    output = run(home, "--zookeeper-url", url, "info", code=1)
    assert url in output
    assert "fabric container-start root" in output
    assert "Traceback" not in output


def test_waiting_can_be_interrupted(home: Home) -> None:
    """Ctrl-C ends it with 130 and without a stack trace."""
    process = start(home, "wait-for-provisioning", "-v")
    try:
        assert process.stderr is not None
        said = ""
        while "Waiting: Container root is not provisioned" not in said:
            line = process.stderr.readline()
            assert line, "it ended"
            said += line
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors + output
