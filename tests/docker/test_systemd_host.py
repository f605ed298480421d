"""The units under a systemd that lives: start, failure, restart, stop and the way down of a host.

Two hosts: one runs the registry and a broker of its own; the other one is run by its units.
"""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from faults.hosts import Switch
from support.systemd_host import HOME, USER_ID, SystemdHost
from support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

BROKER = "kept"
PROFILE = f"mq-broker-default.{BROKER}"
ROOT, CHILD, OTHER = "west", "west-kept", "east-kept"
UNIT, HOST_UNIT = f"fabric@{ROOT}", f"fabric-host@{ROOT}"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[SystemdHost, SystemdHost]]:
    """Two hosts that share a store, a broker with a member on each, and the units of the second one."""
    folder = Path(tempfile.mkdtemp(prefix="systemd-", dir="/var/tmp"))  # not below a folder of root's alone
    shared = folder / "shared"
    shared.mkdir()
    os.chown(shared, USER_ID, USER_ID)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        switch = Switch()
        stack.callback(switch.end)
        east, west = (
            SystemdHost(name, number, switch, folder / name, shared)
            for number, name in enumerate(("east", "west"), start=41)
        )
        for host in (east, west):
            stack.callback(host.end)
            host.boot()
        _make_fabric(east, west, shared)
        yield east, west


def _make_fabric(east: SystemdHost, west: SystemdHost, shared: Path) -> None:
    east.run(
        *("create", "--wait-for-provisioning", "--zookeeper-password=secret"),
        *("--new-user=admin", "--new-user-password=admin", "--bind-address", east.address),
    )
    east.run("mq-create", "--data", str(shared / "store"), BROKER)
    east.run("container-create-child", "--profile", PROFILE, "root", OTHER)
    west.run(
        "join", f"{east.address}:2181", ROOT, "--zookeeper-password=secret", "--bind-address", west.address
    )
    west.run("container-create-child", "--profile", PROFILE, ROOT, CHILD)
    east.wait_master(BROKER, slaves=1)
    said = west.root(
        *("fabric", "--home", f"{HOME}/home", "systemd-install", "--user", "keeper", "--shared", str(shared))
    )
    assert f"systemctl enable --now {HOST_UNIT} {UNIT}" in said


def pid_of(host: SystemdHost, container: str) -> int:
    """The process of a container, as its host numbers it."""
    return int(host.container(container)["pid"] or 0)


def test_a_host_is_handed_over_to_its_units(hosts: tuple[SystemdHost, SystemdHost]) -> None:
    """What the command says is to be typed does it; systemd says that the container is registered."""
    east, west = hosts
    west.root("systemctl", "daemon-reload")
    west.run("host-stop")
    wait_until(lambda: not east.container(ROOT)["connected"], TIMEOUT_S, west.logs)
    west.root("systemctl", "enable", "--now", HOST_UNIT, UNIT)
    assert west.unit(UNIT, "ActiveState") == "active"
    assert "is registered at" in west.unit(UNIT, "StatusText")
    assert east.container(ROOT)["pid"] == int(west.unit(UNIT, "MainPID"))
    east.wait_master(BROKER, slaves=1)


def test_a_restart_and_a_crash_disturb_no_broker(hosts: tuple[SystemdHost, SystemdHost]) -> None:
    """The root container is another process each time, and its child the same."""
    east, west = hosts
    child, first = pid_of(east, CHILD), west.unit(UNIT, "MainPID")
    west.root("systemctl", "restart", UNIT)
    second = west.unit(UNIT, "MainPID")
    west.root("systemctl", "kill", "--kill-who=main", f"--signal={signal.SIGKILL}", UNIT)
    wait_until(lambda: west.unit(UNIT, "NRestarts") == "1", TIMEOUT_S, west.logs)
    wait_until(lambda: west.unit(UNIT, "ActiveState") == "active", TIMEOUT_S, west.logs)
    assert len({first, second, west.unit(UNIT, "MainPID")}) == 3
    east.wait_provisioned(ROOT)
    assert pid_of(east, CHILD) == child
    journal = west.root("journalctl", "--unit", UNIT, "--no-pager")
    assert re.search(r"Main process exited, code=killed, status=9/KILL", journal)


def test_who_stops_the_hosts_unit_ends_all_of_it(hosts: tuple[SystemdHost, SystemdHost]) -> None:
    """The broker of the other host takes over, and nothing is left."""
    east, west = hosts
    make_master(east, CHILD)
    west.root("systemctl", "stop", HOST_UNIT)
    assert east.wait_master(BROKER, slaves=0) == OTHER
    assert west.root("pgrep", "-f", "fabric.container", fails=True) == ""
    assert {west.unit(unit, "Result") for unit in (UNIT, HOST_UNIT)} == {"success"}
    journal = west.root("journalctl", "--unit", HOST_UNIT, "--no-pager")
    assert f"Container {CHILD} has ended." in journal


def test_a_host_that_is_switched_off_and_on(hosts: tuple[SystemdHost, SystemdHost]) -> None:
    """Its broker gives way before the network goes; after the next boot all is there again by itself."""
    east, west = hosts
    west.root("systemctl", "start", UNIT)
    east.wait_master(BROKER, slaves=1)
    make_master(east, CHILD)
    west.switch_off()
    assert east.wait_master(BROKER, slaves=0) == OTHER
    log = (west.upper / HOME.relative_to("/") / f"home/containers/{CHILD}/container.log").read_text()
    assert "The container has stopped" in "".join(log.splitlines()[-2:])
    west.boot()
    east.wait_provisioned(ROOT)
    east.wait_provisioned(CHILD)
    east.wait_master(BROKER, slaves=1)


def make_master(fabric: SystemdHost, wanted: str) -> None:
    """Let the other one step down."""
    master = fabric.wait_master(BROKER, slaves=1)
    if master != wanted:
        fabric.run("container-stop", master)
        fabric.run("container-start", master)
    assert fabric.wait_master(BROKER, slaves=1) == wanted
