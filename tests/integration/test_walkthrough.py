"""The walk-through of the tutorial, steps 1 to 8, typed for real: one fabric, in the order of the steps."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

from fabric.processes import identify

pytestmark = pytest.mark.integration

BROKER = "tolerantbroker"
PROFILE = f"mq-broker-default.{BROKER}"
CONTAINERS = ("brokercontainer", "brokercontainer2")
CLIENT = ("--brokerUrl", "discovery:fabric:default", "--user", "admin", "--password", "admin")
QUEUE = ("--destination", "queue://workshop.test")
COUNT = 600
SESSION_TIMEOUT_S = 4.0


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """The fabric that the steps build up."""
    fabric = FabricForTests(tmp_path_factory.mktemp("walkthrough"))
    try:
        yield fabric
    finally:
        fabric.end()


def is_listening(url: str) -> bool:
    """Whether somebody listens at ``tcp://host:port``."""
    host, port = url.removeprefix("tcp://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_step_1_create(fabric: FabricForTests) -> None:
    """`create` makes a fabric with its own ZooKeeper and a root container; a second one is refused."""
    output = fabric.create()
    assert output == "Waiting for container: root\nWaiting for container root to provision.\n"
    refused = fabric.run("create", "--clean", "--new-user=admin", "--new-user-password=admin", code=1)
    assert (
        "Current container root is already in the current fabric ensemble. Cannot create fabric." in refused
    )
    assert "You can use the --force option, if you want to force re-create the fabric." in refused


def test_step_2_look_at_it(fabric: FabricForTests) -> None:
    """Lists and details show the root container, its profiles and its broker on the first free port."""
    lines = fabric.run("container-list").splitlines()
    header = ["[id]", "[version]", "[type]", "[connected]", "[profiles]", "[provision status]"]
    assert re.split(" {2,}", lines[0]) == header
    assert lines[1].split() == ["root*", "1.0", "fabric", "yes", "fabric", "success"]
    assert [line.strip() for line in lines[2:]] == ["fabric-ensemble-0000-1", "mq-amq"]
    info = fabric.run("container-info", "root")
    assert re.search(r"^Process ID: +\d+$", info, re.MULTILINE)
    assert re.search(r"^Ensemble Server: +yes$", info, re.MULTILINE)
    assert fabric.run("container-info", "nobody", code=1).startswith(
        "Error: Container nobody does not exists!"
    )
    row = fabric.broker("root")
    assert (row["masters"], row["slaves"]) == (["root"], [])
    assert row["services"][0].startswith("tcp://127.0.0.1:")
    assert is_listening(row["services"][0])


def test_step_3_take_the_broker_away_and_bring_it_back(fabric: FabricForTests) -> None:
    """A removed profile takes its broker and its port with it, and nothing else; added again it is back."""
    pid, zookeeper = fabric.pid("root"), fabric.zookeeper_pid()
    service = fabric.broker("root")["services"][0]
    fabric.run("container-remove-profile", "root", "mq-amq")
    wait_until(lambda: not fabric.broker("root")["masters"], 30, "the broker is still listed")
    wait_until(lambda: not is_listening(service), 30, "the port is still open")
    fabric.wait_provisioned("root")
    fabric.run("container-add-profile", "root", "mq-amq")
    fabric.wait_master("root", slaves=0)
    assert (fabric.pid("root"), fabric.zookeeper_pid()) == (pid, zookeeper)
    fabric.run("container-remove-profile", "root", "mq-amq")  # as in the tutorial: it would get messages too
    wait_until(lambda: not fabric.broker("root")["masters"], 30, "the broker is still listed")


def test_step_4_describe_a_broker(fabric: FabricForTests) -> None:
    """`mq-create` writes a profile and starts nothing; `status` shows what is missing."""
    output = fabric.run("mq-create", "--group", "default", "--kind", "MasterSlave", BROKER)
    assert f"MQ profile {PROFILE} ready" in output
    assert fabric.broker(BROKER)["masters"] == []
    rows = {row["profile"]: row for row in fabric.json("status")}
    assert (rows[PROFILE]["instances"], rows[PROFILE]["minimum"], rows[PROFILE]["health"]) == (0, 2, 0)


def test_step_5_create_its_containers(fabric: FabricForTests) -> None:
    """Two containers come up with one command: one master, one slave."""
    output = fabric.run("container-create-child", "--profile", PROFILE, "root", "brokercontainer", "2")
    assert output.splitlines() == [
        "The following containers have been created successfully:",
        *(f"\tContainer: {name}." for name in CONTAINERS),
    ]
    for name in CONTAINERS:
        fabric.wait_provisioned(name)
    assert fabric.wait_master(BROKER, slaves=1) in CONTAINERS
    again = fabric.run("container-create-child", "root", "brokercontainer", code=1)
    assert "A container with name brokercontainer already exists." in again


def test_step_6_look_at_the_cluster(fabric: FabricForTests) -> None:
    """`cluster-list` shows master, slave and where the master listens."""
    master = fabric.wait_master(BROKER, slaves=1)
    slave = next(name for name in CONTAINERS if name != master)
    lines = fabric.run("cluster-list", "amq/default").splitlines()
    assert lines[0].split()[:4] == ["[cluster]", "[masters]", "[slaves]", "[services]"]
    assert lines[-1].split()[:3] == [BROKER, master, slave]
    services = lines[-1].split()[3:]
    assert [re.fullmatch(r"(\w+)://127\.0\.0\.1:\d+,?", service)[1] for service in services] == [
        "tcp",
        "mqtt",
        "amqp",
        "stomp",
    ]


def test_step_7_send_and_receive(fabric: FabricForTests) -> None:
    """Ten messages go in and come out again, with the original's lines."""
    sent = fabric.run("producer", *CLIENT, *QUEUE, "--count", "10", program="mq-client")
    assert "Thread-0 Sent: test message: 9" in sent
    assert "Thread-0 Produced: 10 messages" in sent
    received = fabric.run("consumer", *CLIENT, *QUEUE, "--count", "10", program="mq-client")
    assert [int(number) for number in re.findall(r"Received test message: (\d+)", received)] == list(
        range(10)
    )
    assert "Consumed: 10 messages" in received


class Load:
    """A producer and a consumer that go on while the brokers are disturbed."""

    def __init__(self, fabric: FabricForTests, folder: Path) -> None:
        self.outputs = {name: folder / f"{name}.txt" for name in ("producer", "consumer")}
        count = ("--count", str(COUNT))
        self.processes = {
            "producer": self._start(fabric, "producer", *CLIENT, *QUEUE, *count, "--sleep", "60"),
            "consumer": self._start(fabric, "consumer", *CLIENT, *QUEUE, *count),
        }

    def _start(self, fabric: FabricForTests, action: str, *arguments: str) -> subprocess.Popen[str]:
        with self.outputs[action].open("w") as output:
            return fabric.start(action, *arguments, program="mq-client", output=output)

    def numbers(self, action: str, word: str) -> list[int]:
        """Return the numbers of the messages sent or received so far."""
        text = self.outputs[action].read_text()
        return [int(number) for number in re.findall(rf"{word} test message: (\d+)", text)]

    def wait_progress(self, messages: int = 20) -> None:
        """Wait until both have got on by some messages: the disturbance is over for them."""
        for action, word in (("producer", "Sent:"), ("consumer", "Received")):
            goal = min(len(self.numbers(action, word)) + messages, COUNT)
            wait_until(
                lambda a=action, w=word, g=goal: len(self.numbers(a, w)) >= g,
                30,
                lambda a=action: f"the {a} does not get on\n{self.outputs[a].read_text()[-2000:]}",
            )

    def end(self) -> None:
        """End what still runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def load(fabric: FabricForTests, tmp_path: Path) -> Iterator[Load]:
    """The clients of step 8."""
    load = Load(fabric, tmp_path)
    try:
        yield load
    finally:
        load.end()


def test_step_8_disturb_it(fabric: FabricForTests, load: Load) -> None:
    """Through stops, starts, a kill and a freeze of the master the clients go on, and nothing is lost."""
    load.wait_progress()
    stop_and_start_in_turn(fabric, load)
    kill_the_master(fabric, load)
    freeze_the_master(fabric, load)
    for process in load.processes.values():
        assert process.wait(90) == 0, load.outputs["producer"].read_text()[-2000:]
    assert load.numbers("producer", "Sent:") == list(range(COUNT))
    received = load.numbers("consumer", "Received")
    assert sorted(set(received)) == list(range(COUNT)), "messages were lost"
    assert len(received) == COUNT, "a resent message was stored twice"


def stop_and_start_in_turn(fabric: FabricForTests, load: Load) -> None:
    """Each container is stopped, and started again when the other has taken over."""
    for name in CONTAINERS:
        fabric.run("container-stop", name)
        load.wait_progress()
        other = next(one for one in CONTAINERS if one != name)
        assert fabric.wait_master(BROKER, slaves=0) == other
        fabric.run("container-start", f"{name}*" if name.endswith("2") else name)
        fabric.wait_master(BROKER, slaves=1)


def kill_the_master(fabric: FabricForTests, load: Load) -> None:
    """The other one takes over, and the dead one comes back as a slave."""
    master = fabric.wait_master(BROKER, slaves=1)
    os.kill(fabric.pid(master), signal.SIGKILL)
    load.wait_progress()
    assert fabric.wait_master(BROKER, slaves=1) != master


def freeze_the_master(fabric: FabricForTests, load: Load) -> None:
    """The other one takes over from a frozen master; woken, that is fenced and comes back as a slave."""
    master = fabric.wait_master(BROKER, slaves=1)
    pid = fabric.pid(master)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(
            lambda: fabric.broker(BROKER)["masters"] not in ([], [master]),
            SESSION_TIMEOUT_S + 10,
            "nobody has taken over",
        )
        load.wait_progress()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert fabric.wait_master(BROKER, slaves=1) != master
    assert fabric.pid(master) == pid, "it was replaced although it woke in time"


def test_everything_stops(fabric: FabricForTests) -> None:
    """Stopping all containers leaves no process, and the stores are kept."""
    pids = [fabric.pid(name) for name in ("root", *CONTAINERS)] + [fabric.zookeeper_pid()]
    fabric.run("container-stop", "--force", "root", "broker*")
    wait_until(lambda: not any(identify(pid) for pid in pids), 30, "processes are left")
    assert list((fabric.home.data / BROKER).glob("data-*"))
