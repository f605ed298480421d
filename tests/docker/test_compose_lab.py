"""The compose lab: a fabric of several hosts, from its images to a takeover between hosts."""

import re
import subprocess
import sys

import pytest
from support.docker_lab import BROKER_HOSTS, FOLDER, ZOOKEEPERS, DockerLab
from support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

WALK_TIMEOUT_S = 400


def test_hosts_join_by_themselves(lab: DockerLab) -> None:
    """Each host has a root container of its own, which tells others the host's name."""
    for host in ("root", *BROKER_HOSTS):
        lab.wait_provisioned(host)
        assert lab.container(host)["host"] == host
    resolvers = {record["id"]: record for record in lab.json("container-resolver-list")}
    assert resolvers["east"]["resolver"] == "localhostname"
    assert resolvers["east"]["localhostname"] == "east"


def test_the_ensemble_has_one_leader(lab: DockerLab) -> None:
    """The three servers are one registry."""
    ask = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2181; printf srvr >&3; grep Mode <&3"]
    modes = sorted(lab.execute_at(server, *ask).stdout.split()[1] for server in ZOOKEEPERS)
    assert modes == ["follower", "follower", "leader"]


def test_the_console_is_reached_from_this_machine_alone(lab: DockerLab) -> None:
    """It is published on the loopback address; the API asks for credentials."""
    for path, status in (("/login", 200), ("/api/v1/containers", 401)):
        assert lab.status_of("root", 8181, path) == status


def test_clients_and_registry_have_networks_of_their_own(lab: DockerLab) -> None:
    """A link can be cut for one host while the others of that host stay."""
    networks = {
        host: {name.rpartition("_")[2] for name in lab.host(host).attrs["NetworkSettings"]["Networks"]}
        for host in ("zk1", "east", "client")
    }
    assert networks == {
        "zk1": {"ensemble", "registry", "clients"},
        "east": {"registry", "clients"},
        "client": {"clients"},
    }


def test_hosts_may_do_no_more_than_they_need(lab: DockerLab) -> None:
    """No capabilities, no new rights, nothing to write to but volumes and /tmp."""
    for name in lab.hosts():
        settings = lab.host(name).attrs["HostConfig"]
        assert settings["CapDrop"] == ["ALL"]
        assert settings["SecurityOpt"] == ["no-new-privileges:true"]
        assert settings["ReadonlyRootfs"] is True


def test_a_host_that_stops_leaves_nothing_open(lab: DockerLab) -> None:
    """It is missed at once and not after a session's time, and joins no second time when it is back."""
    lab.host("west").stop(timeout=60)
    assert lab.container("west")["connected"] is False
    lab.start("west")
    lab.wait_provisioned("west")


def test_the_walkthrough_loses_nothing(lab: DockerLab) -> None:
    """`./dev docker lab` does what it says: a host is killed, another frozen, and every message arrives."""
    file = FOLDER / "compose.yaml"
    words = ["-m", "fabric.lab_docker", "--project", lab.project.project, "--file", str(file), "--running"]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=WALK_TIMEOUT_S, check=False
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, f"{told}\n{lab.logs()}"
    assert re.search(r"3000 sends acknowledged, 3000 messages received: 0 lost", told), told
    assert told.count("took over. The producer waited") == 2


def test_a_host_without_its_registry_gives_its_brokers_away(lab: DockerLab) -> None:
    """Cut off from ZooKeeper alone, a master lets go; clients that still reach it are served by the slave."""
    master = lab.create_pair("cutoff")
    host = lab.host_of(master)
    names = lab.cut(host, "registry")
    try:
        wait_until(lambda: lab.broker("cutoff")["masters"] not in ([], [master]), 60, lab.logs)
        sent = lab.run_client("producer", "queue://cutoff", 5)
        assert "Produced: 5 messages" in sent
    finally:
        lab.mend(host, "registry", names)
    assert lab.wait_master("cutoff", slaves=1) != master


def test_compose_files_are_valid(lab: DockerLab) -> None:
    """All files, also those with images that are not made here."""
    command = lab.project.compose_command_property
    start = command[: command.index("--file")]
    for files in (["compose.single.yaml"], ["compose.yaml", "compose.monitoring.yaml"]):
        chosen = [word for file in files for word in ("--file", str(FOLDER / file))]
        words = ["env", "PROMETHEUS_PASSWORD_FILE=/dev/null", *start, *chosen, "config"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "127.0.0.1" in done.stdout
