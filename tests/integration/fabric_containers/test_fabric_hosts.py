"""Several hosts in one fabric: each with a home, a root container and an agent of its own.

The hosts are homes on this machine, with loopback addresses of their own; everything between them goes
through the registry and the shared directory.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

from fabric.processes import is_running

pytestmark = pytest.mark.integration

BROKER = "mq-broker-default.shop"


@dataclass
class Hosts:
    """A fabric of three hosts: `root`'s, `east` and `west`."""

    root: FabricForTests
    east: FabricForTests
    west: FabricForTests
    shared: Path

    def master(self) -> str:
        """Return the container whose broker `shop` serves."""
        return self.root.wait_master("shop", slaves=1)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three hosts, provisioned; `shop` on the first two, with a store that all share."""
    folder = tmp_path_factory.mktemp("hosts")
    shared = folder / "shared"
    shared.mkdir()
    root, east, west = (FabricForTests(folder / name) for name in ("root", "east", "west"))
    try:
        root.create("--profile=fabric", "--global-resolver=localip")
        said = east.join(
            root, "east", "--profile=default", "--bind-address=127.0.0.2", "--wait-for-provisioning"
        )
        assert said.splitlines() == [
            "No version specified, using default version: 1.0",
            "Waiting for container: east",
            "Container east has joined the fabric with the profiles default; others reach it at 127.0.0.2.",
            "Waiting for container east to provision.",
        ]
        west.join(root, "west", "--profile=default", "--bind-address=127.0.0.3")
        root.run("mq-create", "shop", f"--data={shared}/shop", "--connectors=openwire")
        root.run("container-create-child", f"--profile={BROKER}", "root", "shop1")
        root.run("container-create-child", f"--profile={BROKER}", "east", "shop2")
        yield Hosts(root, east, west, shared)
    finally:
        for host in (west, east, root):
            host.end()


def test_a_joined_host_is_a_root_with_an_address_of_its_own(hosts: Hosts) -> None:
    """Every host lists all containers, each under its host's root; it marks its own."""
    table = hosts.east.run("container-list", "--verbose").splitlines()
    assert [line.split()[0] for line in table if not line.startswith("     ")] == [
        "[id]", "east*", "shop2", "root", "shop1", "west",
    ]  # fmt: skip
    assert table[0].split()[:3] == ["[id]", "[version]", "[type]"]
    assert "[host]" in table[0]
    info = hosts.root.json("container-info", "east")
    assert (info["Root"], info["Network Address"], info["Resolver"]) == ("yes", "127.0.0.2", "localip")
    assert hosts.root.json("container-resolver-list", "shop2")[0]["localip"] == "127.0.0.2"


def test_what_join_refuses(hosts: Hosts, tmp_path: Path) -> None:
    """A host that has joined, a name that is taken, a wrong password; nothing changes."""
    assert "This container is already connected to a fabric" in hosts.east.join(hosts.root, "x", code=1)
    stranger = hosts.root.host(tmp_path / "stranger")
    said = stranger.join(hosts.root, "east", code=1)
    assert "A container with the name: east is already member of the cluster." in said
    assert "is wrong" in stranger.join(hosts.root, "north", "--zookeeper-password=nonsense", code=1)
    assert not stranger.home.has_fabric()
    assert "north" not in hosts.root.run("container-list")


def test_a_child_on_another_host_is_started_stopped_and_told_about_from_here(hosts: Hosts) -> None:
    """Its parent's agent does it; its log is on its host only, and the error says which that is."""
    hosts.master()
    hosts.root.run("container-stop", "shop2")
    assert not hosts.root.container("shop2")["connected"]
    assert not is_running(hosts.east.home.container("shop2").read_process())
    hosts.root.run("container-start", "shop2")
    assert hosts.root.container("shop2")["connected"]
    assert "Container shop2 is registered" in hosts.east.run("container-logs", "shop2")
    said = hosts.root.run("container-logs", "shop2", code=1)
    assert f"It runs on host {os.uname().nodename}; ask there" in said


def test_a_killed_master_is_noticed_by_its_own_hosts_agent(hosts: Hosts) -> None:
    """The broker on the other host takes over, and the killed one comes back as its slave."""
    before = hosts.master()
    at = {"shop1": hosts.root, "shop2": hosts.east}[before]
    os.kill(at.pid(before), signal.SIGKILL)
    wait_until(lambda: hosts.root.broker("shop")["masters"] not in ([], [before]), 60, hosts.root.logs)
    assert hosts.master() != before


def test_another_resolver_counts_at_once(hosts: Hosts) -> None:
    """A serving broker is published at its new address; its process and its mastership go on."""
    master = hosts.master()
    at = {"shop1": hosts.root, "shop2": hosts.east}[master]
    pid = at.pid(master)
    (before,) = hosts.root.broker("shop")["services"]
    port = before.rpartition(":")[2]
    hosts.root.run("container-resolver-set", "--container", master, "manualip", "--manual-ip", "localhost")
    wait_until(lambda: hosts.root.broker("shop")["services"] == [f"tcp://localhost:{port}"], 30, at.logs)
    hosts.root.run("container-resolver-set", "--container", master, "localip")
    wait_until(lambda: hosts.root.broker("shop")["services"] == [before], 30, at.logs)
    assert hosts.master() == master
    assert at.pid(master) == pid
    said = hosts.root.run("container-resolver-set", "--container", "west", "manualip", code=1)
    assert "Container west: The resolver manualip needs an address." in said


def test_a_broker_on_a_host_without_the_shared_directory_refuses(hosts: Hosts) -> None:
    """A directory of the same name that is another one is noticed before anything comes of it."""
    hosts.root.run("mq-create", "lonely", "--connectors=openwire")  # its data is in each host's own home
    profile = "--profile=mq-broker-default.lonely"
    hosts.root.run("container-create-child", profile, "root", "lonely1")
    hosts.root.run("container-create-child", profile, "west", "lonely2")

    def is_refused() -> bool:
        return "is not the store of broker lonely" in hosts.root.container("lonely2")["provision_status"]

    wait_until(is_refused, 30, hosts.west.logs)
    assert hosts.root.broker("lonely")["slaves"] == []
    detail = hosts.root.run("container-info", "lonely2")
    assert "it holds none" in detail
    assert "Mount the shared directory on this host" in detail
    assert not (hosts.west.home.data / "lonely").exists(), "nothing was made there"

    said = hosts.root.run("container-move", "lonely1", "east", code=1)
    assert "Container lonely1 is not moved to east, from where its store has not been seen" in said
    assert hosts.root.container("lonely1")["connected"]
    hosts.root.run("container-delete", "lonely1", "lonely2")

    shutil.copytree(hosts.root.home.data / "lonely", hosts.west.home.data / "lonely")  # as if it were mounted
    hosts.root.run("container-create-child", profile, "west", "lonely3")
    assert hosts.root.wait_master("lonely", slaves=0) == "lonely3"
    hosts.root.run("container-delete", "lonely3")


def test_a_slave_moves_without_disturbing_its_master(hosts: Hosts) -> None:
    """It ends on its host, starts on the other one, and is a slave again; the master's place is the same."""
    master = hosts.master()
    slave, old, new = ("shop2", hosts.east, "root") if master == "shop1" else ("shop1", hosts.root, "east")
    ((path, pid),) = [
        (member["path"], hosts.root.container(master)["pid"])
        for row in hosts.root.json("cluster-list", "amq/default")
        for member in row["members"]
        if member["container"] == master
    ]
    said = hosts.root.run("container-move", slave, new)
    assert said.splitlines()[-1] == f"Container {slave} is run by {new}."
    assert hosts.master() == master
    members = [m["path"] for row in hosts.root.json("cluster-list", "amq/default") for m in row["members"]]
    assert path in members, "the master has kept its place in the group"
    assert hosts.root.container(master)["pid"] == pid
    assert not is_running(old.home.container(slave).read_process())
    assert hosts.root.container(slave)["parent"] == new
    address = {"root": "127.0.0.1", "east": "127.0.0.2"}[new]
    assert hosts.root.json("container-info", slave)["Network Address"] == address
    for wrong, reason in (
        ([slave, new], "is run by container"),
        (["west", "root"], "is the root container of its host"),
        ([slave, master], "must be a root container"),
    ):
        assert reason in hosts.root.run("container-move", *wrong, code=1)


def test_a_parent_that_is_down_is_named_with_its_host(hosts: Hosts) -> None:
    """Nothing is created, and the error says where to type what."""
    hosts.root.run("container-stop", "west")
    said = hosts.root.run("container-create-child", "west", "w1", code=1)
    assert "Container w1 is run by container west, which is down." in said
    host = os.uname().nodename
    assert f"on its host {host}: fabric container-start west" in said
    said = hosts.root.run("container-start", "west", code=1)
    assert f"is a root container of host {host} and is down" in said
    assert "w1" not in hosts.root.run("container-list")
    hosts.west.run("container-start", "west")
    assert hosts.root.container("west")["connected"]


def test_a_host_leaves(hosts: Hosts) -> None:
    """Its children are named first; with --force they go with it. Nothing but stores is left."""
    west = hosts.west
    hosts.root.run("container-create-child", "west", "w1")
    assert "has child containers on this host: w1" in west.run("leave", code=1)
    assert "is not the root container of this host, which is west" in west.run("leave", "east", code=1)
    assert "is the root container of host" in hosts.root.run("container-delete", "-r", "west", code=1)
    assert "runs ZooKeeper for the fabric" in hosts.root.run("leave", "--force", code=1)
    kept = west.home.data / "mine"
    kept.mkdir()
    said = west.run("leave", "--force")
    assert "Container west has left the fabric" in said
    assert [record["id"] for record in hosts.root.json("container-list")] == [
        "east",
        "root",
        "shop1",
        "shop2",
    ]
    assert not west.home.has_fabric()
    assert west.home.container_names() == []
    assert kept.exists()
    assert "west" in west.join(hosts.root, "west", "--profile=default", "--bind-address=127.0.0.3")


def test_a_host_that_cannot_reach_the_registry_leaves_by_force(hosts: Hosts) -> None:
    """Only the host is cleaned then, and it is said what remains, and how to remove it."""
    west = hosts.west
    address = west.home.read_registry_address()
    wrong = ("--zookeeper-url=127.0.0.1:1", f"--zookeeper-password={address.zookeeper_password}")
    assert west.run("leave", *wrong, code=1)
    said = west.run("leave", "--force", *wrong)
    assert "fabric container-delete --force -r west" in said
    assert not west.home.has_fabric()
    wait_until(lambda: not hosts.root.container("west")["connected"], 30, hosts.root.logs)
    hosts.root.run("container-delete", "--force", "west")
    assert "west" not in hosts.root.run("container-list")
