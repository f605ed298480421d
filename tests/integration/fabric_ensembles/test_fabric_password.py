"""The ensemble's password is changed while brokers serve: nobody is disturbed, and strangers stay outside."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.flow import Flow
from support.strangers import openings, tree
from support.waiting import wait_until

from registry import paths
from registry.password import ToldPassword
from registry.session import Session

pytestmark = pytest.mark.integration

DELAY_MAX_S = 5.0
"""What a message may be late while several commands are started beside it."""
SLEEPER_TIMEOUT_MS = 40_000
"""Session timeout of the container that is frozen: it must stay connected meanwhile."""


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A root container with a broker pair, and one more container with a long session timeout."""
    made = FabricForTests(tmp_path_factory.mktemp("password") / "home")
    try:
        made.create("--profile=fabric")
        made.run("mq-create", "shop", "--connectors=openwire")
        for name in ("east", "west"):
            made.run("container-create-child", "--profile=mq-broker-default.shop", "root", name)
        made.home.container("north").make()
        made.home.container("north").write_session_timeout_ms(SLEEPER_TIMEOUT_MS)
        made.run("container-create-child", "root", "north")
        for name in ("east", "west", "north"):
            made.wait_provisioned(name)
        made.wait_master("shop", slaves=1)
        yield made
    finally:
        made.end()


def url_of(fabric: FabricForTests) -> str:
    """Return where its registry is."""
    return str(fabric.home.read_registry_address().zookeeper_url)


def noted(fabric: FabricForTests) -> str:
    """Return the password that is noted on the host."""
    return str(fabric.home.read_registry_address().zookeeper_password)


def told(fabric: FabricForTests) -> ToldPassword | None:
    """Return what the registry says."""
    with fabric.registry() as session:
        return session.told_password()


def produce(fabric: FabricForTests, password: str, code: int = 0) -> str:
    """Send a message with a client that is told the password."""
    return fabric.run(
        "producer",
        f"-Dzookeeper.url={url_of(fabric)}",
        f"-Dzookeeper.password={password}",
        *("--brokerUrl", "discovery:fabric:default", "--destination", "queue://told"),
        *("--user", "admin", "--password", "admin", "--count", "1"),
        program="mq-client",
        code=code,
    )


def test_nobody_notices_but_strangers(fabric: FabricForTests) -> None:
    """Same master, same sessions, every message; between the steps both passwords work, then the new one."""
    sessions = {
        name: fabric.home.container(name).read_session() for name in ("root", "east", "west", "north")
    }
    master = fabric.broker("shop")["masters"]
    flow = Flow(fabric)
    with flow.flowing():
        said = fabric.run("ensemble-password", "first-secret")
        assert "Both passwords are accepted. The new one is used by: east, north, root, west." in said
        assert noted(fabric) == "first-secret"
        assert (fabric.folder / "fabric.json").stat().st_mode & 0o777 == 0o600
        fabric.run("zk-create", "/fabric/configs/meanwhile", "data")
        for password in ("admin", "first-secret"):
            session = Session(url_of(fabric), password)
            session.start()
            assert session.get("/fabric/configs/meanwhile").data == b"data"
            session.close()
            produce(fabric, password)
        assert "The earlier password is not accepted any more." in fabric.run("ensemble-password", "--commit")
        assert openings(url_of(fabric), "admin", tree(fabric)) == []
    assert flow.received_s.keys() == flow.sent_s.keys()
    print(f"{len(flow.sent_s)} messages, the latest after {flow.delay_s:.3f} s")
    assert flow.delay_s < DELAY_MAX_S
    assert sessions == {name: fabric.home.container(name).read_session() for name in sessions}
    assert fabric.broker("shop")["masters"] == master
    assert fabric.execute("ensemble-password").stdout == "first-secret\n"
    produce(fabric, "first-secret")
    assert "is wrong" in produce(fabric, "admin", code=2)


def test_nobody_notices_a_takeover_afterwards(fabric: FabricForTests) -> None:
    """What processes make later opens to the new password only, in sessions that begin then, too."""
    master = fabric.broker("shop")["masters"][0]
    os.kill(fabric.pid(master), signal.SIGKILL)
    wait_until(lambda: fabric.broker("shop")["masters"] not in ([], [master]), 60, fabric.logs)
    fabric.wait_master("shop", slaves=1)
    assert openings(url_of(fabric), "admin", tree(fabric)) == []


def test_what_was_done_is_in_the_audit_log_without_the_password(fabric: FabricForTests) -> None:
    """Also that somebody has looked at it."""
    actions = [entry["action"] for entry in fabric.json("audit-list")]
    assert "ensemble-password …" in actions
    assert "ensemble-password --commit" in actions
    assert "ensemble-password" in actions
    assert "first-secret" not in str(actions)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Keep a process from running."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill(command: subprocess.Popen[str]) -> None:
    """End a command in the middle of its work."""
    command.kill()
    command.communicate()


def test_a_command_that_is_killed_is_given_again(fabric: FabricForTests) -> None:
    """A container that does not follow is named and holds the end up; the same commands go on."""
    with frozen(fabric.pid("north")):
        command = fabric.start("ensemble-password", "second-secret")
        wait_until(lambda: noted(fabric) == "second-secret", 30, fabric.logs)
        kill(command)
        other = fabric.run("ensemble-password", "third-secret", code=1)
        assert "A change of the password is under way, to another one than this." in other
        refused = fabric.run("ensemble-password", "--commit", code=1)
        assert "The new password is not yet known to: north. Nothing was changed." in refused
        assert fabric.json("ensemble-password")["waiting"] == ["north"]
    assert "The new one is used by: east, north, root, west." in fabric.run(
        "ensemble-password", "second-secret"
    )
    command = fabric.start("ensemble-password", "--commit")
    wait_until(lambda: (told(fabric) or ToldPassword("", "", "x")).before == "", 30, fabric.logs)
    kill(command)
    fabric.run("ensemble-password", "--commit")
    assert openings(url_of(fabric), "first-secret", tree(fabric)) == []
    assert "No change is under way any more" in fabric.run("ensemble-password", "--commit")


def test_who_slept_through_it_is_told_what_to_type(fabric: FabricForTests, tmp_path: Path) -> None:
    """A stopped container of a host that knows just starts; on another one the password is noted."""
    far = fabric.host(tmp_path / "far")
    try:
        far.join(fabric, "far", "--profile=default", "--wait-for-provisioning")
        fabric.run("container-stop", "far", "north")
        wait_until(lambda: far.home.container("far").read_process() is None, 30)
        said = fabric.run("ensemble-password", "third-secret")
        assert "Not connected, on hosts that do not know it: far." in said
        refused = fabric.run("ensemble-password", "--commit", code=1)
        assert "The new password is not known on the hosts of: far." in refused
        fabric.run("ensemble-password", "--commit", "--force")
        fabric.run("container-start", "north")
        fabric.wait_provisioned("north")
        said = far.run("container-start", "far", code=1)
        assert "fabric ensemble-password --note" in said
        wait_until(lambda: "--note" in far.home.container("far").log.read_text(), 60, far.logs)
        far.run("ensemble-password", "--note", "--zookeeper-password=third-secret")
        assert noted(far) == "third-secret"
        wait_until(lambda: fabric.container("far")["connected"], 60, far.logs)
        with fabric.registry() as session:
            assert session.exists(paths.ensemble_password_taken("far"))
    finally:
        far.end()
