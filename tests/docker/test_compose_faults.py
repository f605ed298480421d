"""Hosts of the compose lab are cut off and frozen under load; the same clients and checker as elsewhere."""

import io
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults.check import check, longest_gap, told
from faults.links import Links
from faults.plan import SESSION_TIMEOUT_S, TAKEOVER_S
from faults.rounds import PATIENCE, Recording, hold
from support.docker_lab import BROKER_HOSTS, PASSWORD, ZOOKEEPERS, DockerLab
from support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

GROUP = BROKER = "struck"
"""A group of its own: the lab's other brokers are for other tests."""
SETTLE_TIMEOUT_S = 90.0
TESTS = Path(__file__).parents[1]
PROGRAM = (
    *("faults/history.py", "faults/recorder.py"),
    *("integration/soak/accounts.py", "integration/soak/producers.py"),
)
FOLDER = "/tmp/recorder"
HOLD_S = 7.0
"""Longer than the session timeout."""


class DockerHost:
    """A container of Docker's as a `faults.hosts.Host`."""

    def __init__(self, lab: DockerLab, name: str) -> None:
        self.name = name
        self._lab = lab
        networks: dict[str, Any] = lab.host(name).attrs["NetworkSettings"]["Networks"]
        self.addresses = tuple(network["IPAddress"] for network in networks.values())

    @property
    def pid(self) -> int:
        """Its first process."""
        return int(self._lab.host(self.name).attrs["State"]["Pid"])

    def command(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """What to run on this machine so that it runs there."""
        given = [word for name, value in (environment or {}).items() for word in ("--env", f"{name}={value}")]
        return ["docker", "exec", "--interactive", *given, self._lab.host(self.name).id or "", *words]

    def freeze(self) -> None:
        """Pause it."""
        self._lab.pause(self.name)

    def thaw(self) -> None:
        """Let it go on."""
        self._lab.unpause(self.name)

    def kill(self) -> None:
        """Take its power away."""
        self._lab.kill(self.name)


class Struck:
    """What a recording needs of the compose lab."""

    def __init__(self, lab: DockerLab) -> None:
        self.lab = lab
        lab.run("mq-create", "--group", GROUP, BROKER)
        for host in BROKER_HOSTS:
            profile = f"mq-broker-{GROUP}.{BROKER}"
            lab.run("container-create-child", "--profile", profile, host, f"{BROKER}-{host}")
        self.wait_master()
        volume = lab.engine.volumes.get(f"{lab.project.project}_stores").attrs["Mountpoint"]
        claims = wait_until(lambda: list(Path(volume).glob(f"**/*{BROKER}*/claim-1")), message="the store")
        self.store = claims[0].parent

    def wait_master(self) -> str:
        """Wait for a master and a slave; return the master's host."""

        def settled() -> str:
            rows = self.lab.json("cluster-list", f"amq/{GROUP}")
            whole = [row for row in rows if len(row["masters"]) == len(row["slaves"]) == 1]
            return DockerLab.host_of(whole[0]["masters"][0]) if whole else ""

        return wait_until(settled, SETTLE_TIMEOUT_S, self.lab.logs)

    def broker_of(self, container: str) -> str:
        """Its host's name, which is in its URLs."""
        return DockerLab.host_of(container)

    def start_recorder(self) -> subprocess.Popen[str]:
        """Bring the program to the client host, and start it."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name in PROGRAM:
                archive.add(TESTS / name, name)
        client = DockerHost(self.lab, "client")
        unpack = f"mkdir -p {FOLDER} && tar x -C {FOLDER}"
        subprocess.run(client.command(["sh", "-c", unpack]), input=packed.getvalue(), check=True)
        url = ",".join(f"{name}.clients:2181" for name in ZOOKEEPERS)
        words = ["python", "-m", "faults.recorder", "--group", GROUP, "--zookeeper-url", url]
        environment = {"PYTHONPATH": FOLDER, "ZOOKEEPER_PASSWORD": PASSWORD, "RECORDER_PASSWORD": PASSWORD}
        return subprocess.Popen(
            client.command(words, environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )


@contextmanager
def cut_off(lab: DockerLab, host: str) -> Iterator[None]:
    """No packet between a host and the ensemble."""
    links = Links(DockerHost(lab, host))
    try:
        links.cut([DockerHost(lab, server) for server in ZOOKEEPERS])
        yield
    finally:
        links.heal()


@contextmanager
def paused(lab: DockerLab, host: str) -> Iterator[None]:
    """All its processes stand still."""
    lab.pause(host)
    try:
        yield
    finally:
        lab.unpause(host)


def test_hosts_that_are_cut_off_and_paused_cost_a_takeover_and_no_message(lab: DockerLab) -> None:
    """P1 to P5, between containers of Docker: the slave takes over, the old master is fenced."""
    struck = Struck(lab)
    recording = Recording(struck)
    try:
        recording.wait_flow(time.monotonic(), "messages flow")
        faults: list[Callable[[DockerLab, str], Any]] = [cut_off, paused]
        for fault in faults:
            master = struck.wait_master()
            began = time.monotonic()
            with fault(lab, master):
                hold(HOLD_S)
            now = struck.wait_master()
            recording.wait_flow(time.monotonic(), "messages flow again")
            assert now != master, lab.logs()
            gap = longest_gap(recording.events(), began)
            print(f"{fault.__name__}: {gap.seconds:.2f} s without an answer")
            assert gap.seconds < (SESSION_TIMEOUT_S + TAKEOVER_S) * PATIENCE
        breaches = check(recording.finish())
        assert breaches == [], told(breaches)
    finally:
        recording.stop()
