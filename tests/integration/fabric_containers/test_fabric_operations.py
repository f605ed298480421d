"""An operator's day with a fabric of real processes: doctor, logs, rolling changes, backup and restore.

The tests go on from one another, in this order: a fabric takes seconds to make.
"""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

pytestmark = pytest.mark.integration

BROKER = "steady"
PROFILE = f"mq-broker-default.{BROKER}"
PID = f"io.fabric8.mq.fabric.server-{BROKER}"
PAIR = ("pair", "pair2")
CLIENT = ("--brokerUrl", "discovery:fabric:default", "--user", "admin", "--password", "admin")


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with a master and a slave."""
    fabric = FabricForTests(tmp_path_factory.mktemp("operations"))
    try:
        fabric.create("--profile=fabric")
        fabric.run("mq-create", "--create-container", "pair", BROKER)
        fabric.wait_master(BROKER, slaves=1)
        yield fabric
    finally:
        fabric.end()


@pytest.fixture(scope="module")
def root_process() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """The root container's process, while it is one of ours."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def backup_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the backup is written to."""
    return tmp_path_factory.mktemp("backup") / "fabric.tar"


def takeovers(fabric: FabricForTests) -> int:
    """How often the store was claimed."""
    claims = fabric.home.data.glob(f"{BROKER}/claim-*")
    return max(int(claim.name.removeprefix("claim-")) for claim in claims)


def waiting(fabric: FabricForTests, queue: str) -> list[int]:
    """The numbers of the messages in a queue."""
    shown = fabric.run(
        "browse", *CLIENT, "--destination", f"queue://{queue}", "--count", "100000", program="mq-client"
    )
    return [int(number) for number in re.findall(r"test message: (\d+)", shown)]


def log_text(fabric: FabricForTests, container: str) -> str:
    """What a container has logged, as it stands in the file."""
    return fabric.home.container(container).log.read_text("utf-8")


def test_a_new_fabric_is_healthy(fabric: FabricForTests) -> None:
    """The doctor looks at everything, finds no problem, and compares the stores of the pair."""

    def has_facts() -> bool:
        results = fabric.json("doctor", "--only", "store")
        return any("2 containers of broker steady" in result["what"] for result in results)

    wait_until(has_facts, 60, fabric.logs)
    done = fabric.execute("doctor", "--output", "json")
    results = json.loads(done.stdout)
    assert {result["check"].partition(".")[0] for result in results} >= {
        "clock",
        "configuration",
        "disk",
        "file",
        "limit",
        "mount",
        "port",
        "software",
        "store",
        "zookeeper",
    }
    assert not [result for result in results if result["state"] == "problem"]
    unchecked = [result for result in results if result["state"] == "not checked"]
    assert not unchecked


def test_the_doctor_finds_what_is_planted(fabric: FabricForTests) -> None:
    """An open file of secrets is a problem, with the command that mends it, and the exit code says so."""
    secret = fabric.folder / "fabric.json"
    secret.chmod(0o644)
    shown = fabric.run("doctor", "--only", "file.secrets", code=1)
    assert f"chmod 600 {secret}" in shown
    secret.chmod(0o600)
    assert "0 problems" in fabric.run("doctor", "--only", "file", "--quiet")
    assert "There is no check teeth" in fabric.run("doctor", "--only", "teeth", code=1)


def test_levels_change_while_a_container_runs(fabric: FabricForTests) -> None:
    """`log-set` counts at once, `DEFAULT` takes it back, and nonsense is refused."""
    fabric.run("log-set", "DEBUG", "fabric.agent", "--container", "pair")
    levels = fabric.json("log-get", "--container", "pair")
    assert {"container": "pair", "logger": "fabric.agent", "level": "DEBUG", "set_by": "log-set"} in levels
    fabric.run("log-set", "DEFAULT", "fabric.agent", "--container", "pair")
    levels = fabric.json("log-get", "--container", "pair")
    assert levels == [{"container": "pair", "logger": "ROOT", "level": "INFO", "set_by": "profiles"}]
    assert "There is no level LOUD" in fabric.run("log-set", "LOUD", code=1)


def test_logs_become_json_by_the_profile(fabric: FabricForTests) -> None:
    """Each line is an object then, and `container-logs` shows both kinds as text."""
    fabric.run("profile-edit", "--pid", "org.ops4j.pax.logging/fabric.log.format=json", "default")
    wait_until(lambda: '"message": "' in log_text(fabric, "pair") or None, message=fabric.logs)
    fabric.run("container-restart", "--rolling", "pair")
    lines = [line for line in log_text(fabric, "pair").splitlines() if line.startswith("{")]
    begun = [fields for fields in map(json.loads, lines) if "starts: pid" in fields["message"]]
    assert begun[0]["container"] == "pair"
    assert begun[0]["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", begun[0]["time"])
    of_broker = [fields for fields in map(json.loads, lines) if fields.get("broker") == BROKER]
    assert of_broker
    shown = fabric.run("container-logs", "pair")
    assert "{" not in "".join(line[:1] for line in shown.splitlines())
    assert re.search(r"INFO +\[fabric\.container\] Container pair starts", shown)
    assert '"message"' in fabric.run("container-logs", "--raw", "-n", "1", "pair")
    assert "clientPort" not in fabric.run("container-logs", "--zookeeper", "-n", "5", "root")
    assert "runs no ZooKeeper" in fabric.run("container-logs", "--zookeeper", "pair", code=1)


def test_a_rolling_restart_under_load(fabric: FabricForTests) -> None:
    """Every process begins anew, the broker is taken over once, and who sends meanwhile loses nothing."""
    master = fabric.wait_master(BROKER, slaves=1)
    before = takeovers(fabric)
    pids = {name: fabric.pid(name) for name in (*PAIR, "root")}
    started = {name: fabric.container(name) for name in pids}
    sending = ("--destination", "queue://restart", "--count", "300", "--sleep", "20")
    producer = fabric.start("producer", *CLIENT, *sending, program="mq-client")
    wait_until(lambda: len(waiting(fabric, "restart")) > 5, 60)
    shown = fabric.run("container-restart", "--rolling", "--all", "--timeout", "80")
    output, _ = producer.communicate(timeout=90)
    assert producer.returncode == 0, output
    assert sorted(set(waiting(fabric, "restart"))) == list(range(300))
    assert takeovers(fabric) == before + 1, shown
    assert "3 containers are done: " in shown
    assert re.findall(r"Restarting container (\w+)", shown)[-1] == master
    assert {name: fabric.pid(name) for name in pids} == pids
    for name in pids:
        log = log_text(fabric, name)
        assert "asked to begin anew" in log, name
    assert started["pair"]["software"] == fabric.container("pair")["software"] != ""
    assert "Software Version:" in fabric.run("container-info", "pair")


def test_a_rolling_upgrade_takes_the_broker_over_once(fabric: FabricForTests) -> None:
    """The slave first, then the master; those whose profiles are alike are not touched."""
    before = takeovers(fabric)
    fabric.run("version-create", "1.1")
    fabric.run("profile-edit", "--pid", f"{PID}/schedulerSupport=false", PROFILE, "1.1")
    master = fabric.wait_master(BROKER, slaves=1)
    shown = fabric.run("container-upgrade", "--rolling", "1.1", *PAIR)
    order = re.findall(r"Upgrading container (\w+)", shown)
    assert order[-1] == master
    assert sorted(order) == sorted(PAIR)
    assert takeovers(fabric) == before + 1, shown
    assert {fabric.container(name)["version"] for name in PAIR} == {"1.1"}
    assert fabric.wait_master(BROKER, slaves=1) != master


def test_a_rolling_upgrade_stops_at_the_first_failure(fabric: FabricForTests) -> None:
    """The master goes on as it was, and the way back is said and works."""
    fabric.run("version-create", "1.2")
    fabric.run("profile-edit", "--pid", f"{PID}/kind=Nonsense", PROFILE, "1.2")
    master = fabric.wait_master(BROKER, slaves=1)
    shown = fabric.run("container-upgrade", "--rolling", "1.2", *PAIR, code=1)
    (slave,) = set(PAIR) - {master}
    assert f"Container {slave} is not back after its change" in shown
    assert f"Left alone: {master}." in shown
    assert fabric.container(master)["version"] == "1.1"
    assert fabric.broker(BROKER)["masters"] == [master]
    back = f"container-rollback --rolling 1.1 {slave}"
    assert f"fabric {back}" in shown
    fabric.run(*back.split())
    fabric.wait_master(BROKER, slaves=1)


def test_a_backup_of_everything(fabric: FabricForTests, backup_file: Path) -> None:
    """It is written while the brokers run, for its owner only, and not over another one."""
    fabric.add_user("keeper", "viewer")
    shown = fabric.run("backup", "--with-stores", str(backup_file))
    assert re.search(r"Wrote \d+ znodes to ", shown)
    assert f"with 300 messages of broker {BROKER}" in shown
    assert backup_file.stat().st_mode & 0o777 == 0o600
    assert "exists." in fabric.run("backup", str(backup_file), code=1)
    shown = fabric.run("restore", "--dry-run", str(backup_file))
    assert "Needs --force: it has container pair." in shown
    assert "The fabric is not empty" in fabric.run("restore", str(backup_file), code=1)


def test_a_host_is_stopped_and_started_as_its_unit_does(
    fabric: FabricForTests, tmp_path: Path, root_process: list["subprocess.Popen[bytes]"]
) -> None:
    """All processes end; the unit's command line brings them back, and tells systemd when."""
    pids = [*(fabric.pid(name) for name in (*PAIR, "root")), fabric.zookeeper_pid()]
    shown = fabric.run("host-stop")
    assert "ZooKeeper of container root has ended." in shown
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
    fabric.run("systemd-install", "--directory", str(tmp_path))
    unit = (tmp_path / "fabric@.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        process = subprocess.Popen(
            command.replace("%i", "root").split(),
            env={**fabric.environment, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        root_process.append(process)
        assert listener.recv(1000).startswith(b"READY=1")
        fabric.wait_master(BROKER, slaves=1)
        fabric.run("container-restart", "--rolling", "root")
        assert listener.recv(1000) == b"STATUS=The container stops"
        assert listener.recv(1000).startswith(b"READY=1")
    assert fabric.pid("root") == process.pid


def test_restoring_into_a_new_fabric(
    fabric: FabricForTests,
    backup_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
    root_process: list["subprocess.Popen[bytes]"],
) -> None:
    """Profiles, users, containers and messages are there again, in another home with another ZooKeeper."""
    fabric.end()
    root_process.pop().wait(30)
    other = FabricForTests(tmp_path_factory.mktemp("restored"))
    try:
        other.create("--profile=fabric")
        store = other.home.data / BROKER
        places = ("--with-stores", "--store", f"default/{BROKER}={store}")
        assert "Would create" in other.run("restore", "--dry-run", *places, str(backup_file))
        assert not store.exists()
        shown = other.run("restore", *places, str(backup_file))
        assert f"Stored 300 messages of broker {BROKER}" in shown
        other.wait_master(BROKER, slaves=1)
        for name in PAIR:
            other.wait_provisioned(name)
            assert other.container(name)["version"] == "1.1"
        assert "keeper" in other.run("user-list")
        assert sorted(set(waiting(other, "restart"))) == list(range(300))
        assert other.run("version-list").count("1.") == 3
        assert "kind 'Nonsense'" in other.run("doctor", "--only", "configuration", "--quiet", code=1)
    finally:
        other.end()


def test_nothing_runs_any_more(fabric: FabricForTests) -> None:
    """No process of the fabric of this file is left."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            assert os.fsencode(fabric.folder) not in command, command
