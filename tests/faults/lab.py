"""A fabric over seven hosts of its own.

Three are an ensemble of ZooKeepers, one has root and the console, two have a broker each, on one store, and
one has the clients.

`NamespaceLab` is made of network namespaces of this machine, in a second or two and without images. The store
is reached through a file system in user space that each broker host mounts for itself: held up, it is a store
that does not answer to that host alone.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from faults.history import EPOCH, Event
from faults.hosts import CommandFailed, Host, NamespaceHost, Switch, run, run_at
from faults.links import Links, wait_reachable
from support.waiting import wait_until

from registry.server import INIT_LIMIT_TICKS, MAIN_CLASS, SYNC_LIMIT_TICKS, TICK_TIME_MS, find_zookeeper

GROUP = "faults"
BROKER = "keeper"
PROFILE = f"mq-broker-{GROUP}.{BROKER}"
PASSWORD = "faults-secret"
CONSOLE_PORT = 8181
ZOOKEEPER_PORT, FOLLOWER_PORT, ELECTION_PORT = 2181, 2888, 3888
ZOOKEEPERS, BROKERS = ("zookeeper1", "zookeeper2", "zookeeper3"), ("broker1", "broker2")
HOSTS = (*ZOOKEEPERS, "root", *BROKERS, "client")
SETTLE_TIMEOUT_S = 90.0
START_TIMEOUT_S = 90.0
BIN = Path(sys.executable).parent
TESTS = Path(__file__).parent.parent
SESSION_TIMEOUT_S = 4.0
"""The fabric's default."""


class Lab(Protocol):
    """What the faults need of a lab, whatever it is made of.

    Attributes:
        hosts: by name.
        links: of each of them.
        store: the journal's directory, as this machine sees it without any fault.
        zookeeper_url: as the hosts reach it.
        password: of the ensemble.
    """

    hosts: Mapping[str, Host]
    links: Mapping[str, Links]
    store: Path
    zookeeper_url: str
    password: str

    def fabric(self, *words: str) -> str:
        """Run a command of the product at root."""

    def start_recorder(self) -> subprocess.Popen[str]:
        """Start the recorder at the client host; its lines come by standard output."""

    def start_process(self, host: str) -> None:
        """Start again what `Host.kill` has ended at a host."""

    def hold_store(self, host: str) -> None:
        """Let the store not answer to one host."""

    def release_store(self, host: str) -> None:
        """Let it answer again."""

    def move_clock(self, host: str, seconds: float) -> None:
        """Move a broker host's clock by so much; 0: as it was."""

    def ask_console(self, path: str) -> Any:
        """The JSON that the console's API answers."""


class Recorded(Protocol):
    """What a recording needs of a lab.

    Attributes:
        store: the journal's directory, as this machine sees it.
    """

    store: Path

    def start_recorder(self) -> subprocess.Popen[str]:
        """Start the recorder at the client host."""

    def broker_of(self, container: str) -> str:
        """The host in the URLs of a container's broker."""


class NamespaceLab:
    """See the module.

    Args:
        folder: its own; it must not have spaces.
        program: what a broker host runs, a module.
    """

    def __init__(self, folder: Path, program: str = "fabric.container") -> None:
        self.folder = folder
        self._program = program
        self.store = folder / "disk" / "store"
        self.password = PASSWORD
        self.hosts: dict[str, Any] = {}  # namespaces, or what a lab puts in their place
        self.links: dict[str, Links] = {}
        self._logs = folder / "logs"
        self._mount = folder / "mount"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._mounts: dict[str, subprocess.Popen[bytes]] = {}
        self._switch: Switch | None = None
        self._console = ""
        self.zookeeper_url = ""

    # ---- its beginning and end

    def start(self) -> None:
        """Set everything up; returns when there is a master and a slave."""
        for path in (self._logs, self._mount, self.store.parent, self.folder / "clocks"):
            path.mkdir(parents=True)
        self._switch = Switch()
        self._make_hosts(self._switch)
        self.zookeeper_url = ",".join(f"{self._address(name)}:{ZOOKEEPER_PORT}" for name in ZOOKEEPERS)
        for number, name in enumerate(ZOOKEEPERS, start=1):
            self._configure_zookeeper(name, number)
            self.start_process(name)
        for name in ZOOKEEPERS:
            wait_reachable(self.hosts["root"], self._address(name), ZOOKEEPER_PORT, START_TIMEOUT_S)
        self._create_fabric()
        for name in BROKERS:
            self._mount_store(name)
            self._register(name)
            self.start_process(name)
        wait_settled(self)

    def _make_hosts(self, switch: Switch) -> None:
        for number, name in enumerate(HOSTS, start=11):
            self.hosts[name] = host = NamespaceHost(name, number, switch)
            self.links[name] = Links(host)

    def stop(self) -> None:
        """End everything that runs in it."""
        for host in self.hosts.values():
            with contextlib.suppress(AssertionError, FileNotFoundError):
                host.thaw()
        for mount in self._mounts.values():
            mount.kill()  # what waits for the store fails, and can be ended
        for host in self.hosts.values():
            host.end()
        if self._switch is not None:
            self._switch.end()
        for process in (*self._processes.values(), *self._mounts.values()):
            process.wait()

    def logs(self) -> str:
        """The last lines of all logs, for a test that failed."""
        parts = []
        logs = [*self._logs.glob("*.log"), *self.folder.glob("homes/*/containers/*/container.log")]
        for log in sorted(logs):
            lines = log.read_text(errors="replace").splitlines()[-30:]
            parts.append("\n".join([f"--- {log.relative_to(self.folder)}", *lines]))
        return "\n".join(parts)

    def _address(self, name: str) -> str:
        return self.hosts[name].addresses[0]

    # ---- ZooKeeper

    def _configure_zookeeper(self, name: str, number: int) -> None:
        folder = self.folder / name
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "myid").write_text(f"{number}\n")
        servers = [
            f"server.{each}={self._address(one)}:{FOLLOWER_PORT}:{ELECTION_PORT};0.0.0.0:{ZOOKEEPER_PORT}"
            for each, one in enumerate(ZOOKEEPERS, start=1)
        ]
        lines = [
            f"dataDir={folder / 'data'}",
            *(f"tickTime={TICK_TIME_MS}", f"initLimit={INIT_LIMIT_TICKS}", f"syncLimit={SYNC_LIMIT_TICKS}"),
            "minSessionTimeout=1000",
            *("maxSessionTimeout=40000", "maxClientCnxns=0", "admin.enableServer=false"),
            "4lw.commands.whitelist=srvr,ruok",
            *servers,
        ]
        (folder / "zoo.cfg").write_text("\n".join(lines) + "\n")

    def _zookeeper_command(self, name: str) -> list[str]:
        installed = find_zookeeper()
        return [
            *(str(installed.java), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-Djava.net.preferIPv4Stack=true", "-Dzookeeper.jmx.log4j.disable=true"),
            *("-Dzookeeper.admin.enableServer=false", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"),
            *("-cp", os.pathsep.join(installed.classpath), MAIN_CLASS, str(self.folder / name / "zoo.cfg")),
        ]

    # ---- the fabric

    def _home(self, host: str) -> Path:
        return self.folder / "homes" / host

    def _environment(self, host: str) -> dict[str, str]:
        return {"FABRIC_HOME": str(self._home(host))}

    def fabric(self, *words: str) -> str:
        """Run a command of the product at root."""
        return run_at(self.hosts["root"], str(BIN / "fabric"), *words, environment=self._environment("root"))

    def _create_fabric(self) -> None:
        self.fabric(
            *("create", "--clean", "--wait-for-provisioning", "--profile", "fabric"),
            *("--zookeeper-url", self.zookeeper_url, "--zookeeper-password", PASSWORD),
            *("--new-user", "admin", "--new-user-password", "admin"),
            *("--bind-address", self._address("root")),
        )
        self.fabric("mq-create", "--group", GROUP, "--data", str(self._mount / "store"), BROKER)
        self._console = self.fabric("zk-get", "/fabric/registry/containers/config/root/http").strip()

    def _register(self, host: str) -> None:
        """What `fabric join` does, on one line of configuration each."""
        run_at(
            self.hosts[host],
            sys.executable,
            "-m",
            "faults.joined",
            *(host, self._address(host), PROFILE, self.zookeeper_url),
            environment={**self._environment(host), "PYTHONPATH": str(TESTS), "ZOOKEEPER_PASSWORD": PASSWORD},
        )

    def start_process(self, host: str) -> None:
        """Start a ZooKeeper, or the container of a broker host."""
        if host in ZOOKEEPERS:
            words, environment = self._zookeeper_command(host), {}
        else:
            words = [sys.executable, "-m", self._program, "--home", str(self._home(host)), host]
            environment = {**self._environment(host), **self._clock_environment(host)}
            environment["PYTHONPATH"] = str(TESTS)
            if not self._is_mounted(host):
                self._mount_store(host)
        old = self._processes.get(host)
        if old is not None:
            old.wait()
        with (self._logs / f"{host}.log").open("ab") as log:
            self._processes[host] = self.hosts[host].spawn(words, log, environment)

    def broker_of(self, container: str) -> str:
        """The address of its host."""
        return self._address(host_of(container))

    def start_recorder(self) -> subprocess.Popen[str]:
        """Start the recorder at the client host."""
        words = [sys.executable, "-m", "faults.recorder", "--group", GROUP]
        environment = {"PYTHONPATH": str(TESTS), "ZOOKEEPER_PASSWORD": PASSWORD}
        with (self._logs / "recorder.log").open("ab") as log:
            return subprocess.Popen(
                self.hosts["client"].command([*words, "--zookeeper-url", self.zookeeper_url], environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                start_new_session=True,
            )

    def ask_console(self, path: str) -> Any:
        """The JSON that the console's API answers to an administrator; asked from the client host."""
        script = (
            "import sys, urllib.request as u, urllib.error as e\n"
            "r = u.Request(sys.argv[1], headers={'Authorization': 'Basic YWRtaW46YWRtaW4='})\n"
            "try: print(u.urlopen(r, timeout=20).read().decode())\n"
            "except e.HTTPError as error: sys.exit(f'{error.code} {error.read().decode()}')"
        )
        url = f"{self._console}/api/v1{path}"
        return json.loads(run_at(self.hosts["client"], sys.executable, "-c", script, url))

    # ---- the store

    def _mount_store(self, host: str) -> None:
        log = (self._logs / f"{host}-mount.log").open("ab")
        with log:
            self._mounts[host] = subprocess.Popen(
                [
                    *("nsenter", "--target", str(self.hosts[host].pid), "--mount"),
                    *("bindfs", "-f", "-o", "allow_other,attr_timeout=0,entry_timeout=0"),
                    *(str(self.store.parent), str(self._mount)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: self._is_mounted(host), message=f"the store is mounted at {host}")

    def _is_mounted(self, host: str) -> bool:
        mounts = Path(f"/proc/{self.hosts[host].pid}/mounts").read_text()
        return host in self._mounts and self._mounts[host].poll() is None and f" {self._mount} fuse" in mounts

    def hold_store(self, host: str) -> None:
        """Freeze the process that carries the host's reads and writes to the store."""
        self._mounts[host].send_signal(signal.SIGSTOP)

    def release_store(self, host: str) -> None:
        """Let it go on; what was under way comes to the store now, however late."""
        self._mounts[host].send_signal(signal.SIGCONT)

    # ---- clocks

    def _clock_environment(self, host: str) -> dict[str, str]:
        """Containers of the broker hosts have a wall clock that can be moved."""
        if host not in BROKERS:
            return {}
        library = self.folder / "clocks" / "moved_clock.so"
        if not library.exists():
            source = str(TESTS / "faults" / "moved_clock.c")
            run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), source, "-ldl"])
        return {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(self.folder / "clocks" / host)}

    def move_clock(self, host: str, seconds: float) -> None:
        """Move the wall clock of a host's container, as an operator would, while it runs."""
        clock = self.folder / "clocks" / host
        beside = clock.with_suffix(".new")
        beside.write_text(f"{seconds:+.0f}\n")
        beside.replace(clock)


def end_folder(folder: Path) -> None:
    """Remove what a lab has left."""
    shutil.rmtree(folder, ignore_errors=True)


# ---- asking a lab


def roles(lab: Lab) -> tuple[list[str], list[str]]:
    """Masters and slaves of the broker, as `cluster-list` says; nobody while it cannot answer."""
    with contextlib.suppress(CommandFailed):
        for row in json.loads(lab.fabric("cluster-list", f"amq/{GROUP}", "--output", "json")):
            if row["id"] == BROKER:
                return row["masters"], row["slaves"]
    return [], []


def master_and_slave(lab: Lab) -> tuple[str, str] | None:
    """The hosts of both, if there is one of each."""
    masters, slaves = roles(lab)
    return (host_of(masters[0]), host_of(slaves[0])) if len(masters) == len(slaves) == 1 else None


def host_of(container: str) -> str:
    """The host of a container: its name begins with it."""
    return next(host for host in BROKERS if container.startswith(host))


def wait_settled(lab: Lab, timeout_s: float = SETTLE_TIMEOUT_S) -> tuple[str, str]:
    """Wait until there is one master and one slave; return their hosts."""
    return wait_until(
        lambda: master_and_slave(lab), timeout_s, lambda: f"one master and one slave, not {roles(lab)}"
    )


def inspection(lab: Lab) -> dict[str, Any]:
    """What the journal says of itself."""
    found: dict[str, Any] = json.loads(
        run([sys.executable, "-m", "journal", "inspect", str(lab.store), "--json"])
    )
    return found


_OWNER = re.compile(r"(?P<container>\S+) \(")


class EpochWatch:
    """Looks at the store's claims and tells each new one: who has become master when."""

    INTERVAL_S = 0.02

    def __init__(self, lab: Recorded, tell: Callable[[Event], None]) -> None:
        self._lab = lab
        self._tell = tell
        self._known: set[int] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="epochs", daemon=True)

    def start(self) -> None:
        """Begin; the claims that are there count, too."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End, after one more look."""
        self._stopping.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stopping.wait(self.INTERVAL_S):
            self._look()

    def _look(self) -> None:
        for path in sorted(self._lab.store.glob("claim-*"), key=lambda path: int(path.name[6:])):
            epoch = int(path.name.removeprefix("claim-"))
            if epoch in self._known:
                continue
            try:
                owner = json.loads(path.read_text())["owner"]
                age_s = max(time.time() - path.stat().st_mtime, 0.0)
            except (OSError, ValueError, KeyError):
                continue  # it is being written
            match = _OWNER.match(owner)
            assert match is not None, owner
            self._known.add(epoch)
            container = match["container"]
            at = time.monotonic() - age_s
            self._tell(Event(at, EPOCH, container, number=epoch, broker=self._lab.broker_of(container)))
