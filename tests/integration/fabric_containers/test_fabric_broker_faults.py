"""A broker in a container, and what its operator sees when its store is damaged or its host is short."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from proton import ConnectionException
from proton.utils import BlockingConnection
from support.fabric import FabricForTests
from support.openwire_peer import OpenWirePeer
from support.waiting import wait_until

pytestmark = pytest.mark.integration

BROKER = "keeper"
CONTAINER = "keeping"
PROFILE = f"mq-broker-default.{BROKER}"
PID = f"io.fabric8.mq.fabric.server-{BROKER}"
CLIENT = ("--brokerUrl", "discovery:fabric:default", "--user", "admin", "--password", "admin")
FILES_OF_A_SHELL = 512
"""Open files that a process may have unless it asks for more; the usual default is 1024."""
IDLE_CONNECTIONS = 1_000
LARGE_COUNT, LARGE_BYTES = 5, 400_000
"""More than a new epoch carries over: the data file of the epoch before is needed as long as they wait."""


@contextlib.contextmanager
def open_files(limit: int) -> Iterator[None]:
    """Let this process, and what it starts, have so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with one broker in a container of its own, started from a shell with few open files."""
    fabric = FabricForTests(tmp_path_factory.mktemp("faults"))
    try:
        with open_files(FILES_OF_A_SHELL):
            fabric.create("--profile=fabric")
            connectors = ("--connectors", "openwire amqp")
            fabric.run("mq-create", "--kind", "StandAlone", "--group", "default", *connectors, BROKER)
            fabric.run("container-create-child", "--profile", PROFILE, "root", CONTAINER)
        fabric.wait_master(BROKER, slaves=0)
        yield fabric
    finally:
        fabric.end()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue of its own for each test."""
    return request.node.name


def send(fabric: FabricForTests, queue: str, count: int, *options: str) -> None:
    """Send `test message: 0` and so on."""
    arguments = (*CLIENT, "--destination", f"queue://{queue}", "--count", str(count), *options)
    fabric.run("producer", *arguments, program="mq-client")


def browse(fabric: FabricForTests, queue: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Show what waits in a queue."""
    arguments = (*CLIENT, "--destination", f"queue://{queue}", "--count", "1000", *options)
    return fabric.execute("browse", *arguments, program="mq-client")


def number_waiting(fabric: FabricForTests, queue: str) -> int:
    """How many messages of any kind wait in a queue."""
    return int(json.loads(browse(fabric, queue, "--output", "json").stdout)["messages"])


def waiting(fabric: FabricForTests, queue: str) -> list[int]:
    """The numbers of the messages that wait in a queue, in order."""
    shown = browse(fabric, queue)
    return [int(number) for number in re.findall(r"test message: (\d+)", shown.stdout + shown.stderr)]


def store(fabric: FabricForTests) -> Path:
    """The broker's store."""
    stores = [path.parent for path in fabric.folder.glob(f"**/{BROKER}/claim-1")]
    assert len(stores) == 1
    return stores[0]


def data_file_with(fabric: FabricForTests, queue: str) -> Path:
    """The data file that holds the messages of a queue."""
    return next(path for path in sorted(store(fabric).glob("data-*")) if queue.encode() in path.read_bytes())


def log(fabric: FabricForTests) -> str:
    """What the container has logged."""
    return fabric.home.container(CONTAINER).log.read_text("utf-8")


def test_a_thousand_idle_connections_fit_into_a_container(fabric: FabricForTests, queue: str) -> None:
    """A container admits as many clients as the connector does, however few files its shell may open."""
    (url,) = [each for each in fabric.broker(BROKER)["services"] if each.startswith("tcp:")]
    port = int(url.rpartition(":")[2])
    with open_files(4 * IDLE_CONNECTIONS), contextlib.ExitStack() as stack:
        for number in range(IDLE_CONNECTIONS - 1):
            stack.enter_context(OpenWirePeer(port, f"ID:idle-1-1:{number}")).log_in()
        with OpenWirePeer(port, "ID:busy-1-1:1") as busy:
            busy.log_in().send(queue, "served", 1)
            assert busy.drain(queue, 1) == ["served"]
    assert "Too many open files" not in log(fabric)


def test_clients_of_amqp_hear_why_a_container_is_stopped(fabric: FabricForTests) -> None:
    """The connection is closed with a reason before it goes."""
    (url,) = [each for each in fabric.broker(BROKER)["services"] if each.startswith("amqp:")]
    client = BlockingConnection(url, timeout=20, user="admin", password="admin", allow_insecure_mechs=True)
    fabric.run("container-stop", CONTAINER)
    with pytest.raises(ConnectionException, match=r"amqp:connection:forced.*not the master any more"):
        client.wait(lambda: False)
    fabric.run("container-start", CONTAINER)
    fabric.wait_master(BROKER, slaves=0)


def test_flipped_bits_cost_the_message_they_hit(fabric: FabricForTests, queue: str) -> None:
    """The broker serves everything else, and the log says what is damaged and where its copy is."""
    send(fabric, queue, 10)
    fabric.run("container-stop", CONTAINER)
    path = data_file_with(fabric, queue)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"test message: 4")] ^= 0x10
    path.write_bytes(data)
    fabric.run("container-start", CONTAINER)
    fabric.wait_provisioned(CONTAINER)
    fabric.wait_master(BROKER, slaves=0)
    assert waiting(fabric, queue) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert re.search(rf"damaged: {path}, \d+ bytes from offset \d+; .*, copy in .*quarantine", log(fabric))


def test_a_torn_tail_costs_nothing(fabric: FabricForTests, queue: str) -> None:
    """What a master wrote when it died was not acknowledged; the next one serves all the rest."""
    send(fabric, queue, 10)
    fabric.run("container-stop", CONTAINER)
    path = data_file_with(fabric, queue)
    path.write_bytes(path.read_bytes() + b"half a batch")
    fabric.run("container-start", CONTAINER)
    fabric.wait_provisioned(CONTAINER)
    fabric.wait_master(BROKER, slaves=0)
    assert waiting(fabric, queue) == list(range(10))
    assert f"torn tail: {path}" in log(fabric)


def test_a_missing_data_file_stops_the_broker_until_its_loss_is_accepted(
    fabric: FabricForTests, queue: str
) -> None:
    """The error names the file and what to set; put back, nothing is lost; given up, the rest is served."""
    send(fabric, queue, LARGE_COUNT, "--size", str(LARGE_BYTES))
    fabric.run("container-stop", CONTAINER)
    fabric.run("container-start", CONTAINER)
    send(fabric, "the.rest", 5)
    fabric.run("container-stop", CONTAINER)
    path = data_file_with(fabric, queue)
    away = path.rename(fabric.folder / "away")
    fabric.run("container-start", CONTAINER)
    wait_until(lambda: str(path) in fabric.run("container-info", CONTAINER), 30, lambda: log(fabric))
    info = fabric.run("container-info", CONTAINER)
    assert f"{path} is missing: put it back, or accept the loss" in info
    assert "ignoreMissingJournalfiles=true" in info
    assert fabric.broker(BROKER)["services"] == []

    away.rename(path)
    fabric.wait_master(BROKER, slaves=0)
    fabric.wait_provisioned(CONTAINER)
    assert number_waiting(fabric, queue) == LARGE_COUNT

    fabric.run("container-stop", CONTAINER)
    path.unlink()
    fabric.run("container-start", CONTAINER)
    fabric.run("profile-edit", "--pid", f"{PID}/ignoreMissingJournalfiles=true", PROFILE)
    fabric.wait_master(BROKER, slaves=0)
    fabric.wait_provisioned(CONTAINER)
    assert number_waiting(fabric, queue) == 0
    assert waiting(fabric, "the.rest") == list(range(5))


def test_a_frozen_master_keeps_its_fixed_port_until_it_is_replaced(fabric: FabricForTests) -> None:
    """The slave on the same host says why it waits, and the broker serves again by itself."""
    port = fabric.port_max - 5  # the last ones are ZooKeeper's
    fabric.run("mq-create", "--port", f"openwire={port}", "--group", "default", "fixed")
    fabric.run("container-create-child", "--profile", "mq-broker-default.fixed", "root", "sharing", "2")
    master = fabric.wait_master("fixed", slaves=1)
    slave = {"sharing": "sharing2", "sharing2": "sharing"}[master]
    pid = fabric.pid(master)
    os.kill(pid, signal.SIGSTOP)
    try:
        reason = f"cannot listen on 127.0.0.1, port {port}"
        wait_until(lambda: reason in fabric.run("container-info", slave), 30, fabric.logs)
        fabric.wait_master("fixed", slaves=1, timeout_s=40)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    for name in (master, slave):
        fabric.wait_provisioned(name)
    assert fabric.broker("fixed")["services"][0] == f"tcp://127.0.0.1:{port}"
