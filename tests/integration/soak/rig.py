"""The fabric of a soak: real processes, a ZooKeeper to kill, a store on a disk that can be filled."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from integration.soak.plan import Victim
from support.small_disk import SmallDisk
from support.waiting import wait_until
from support.zookeeper import free_port

from fabric.home import Home, ProcessRecord
from fabric.lab import CommandFailed, Commands
from fabric.local import stop_process
from fabric.processes import is_running, running_process, send_signal
from mqclient import Connection, ConnectionFactory
from registry.server import ZooKeeperServer, find_zookeeper

BROKER = "keeper"
GROUP = "soak"
PROFILE = f"mq-broker-{GROUP}.{BROKER}"
CHILD = "keeping"
ROOT = "root"
PASSWORD = "soak-secret"
URL = (
    f"discovery:(fabric:{GROUP})"
    "?jms.redeliveryPolicy.maximumRedeliveries=-1&jms.redeliveryPolicy.initialRedeliveryDelay=20"
)

SETTLE_TIMEOUT_S = 90.0
RESTART_PATIENCE_S = 4.0
"""How long the agent's own restart of a crashed container is waited for; its back-off grows to 30 s."""
DISK_MIB = 256


class Rig:
    """A root container, some containers with a broker, ZooKeeper; `folder` is theirs alone."""

    def __init__(self, folder: Path, containers: int = 2) -> None:
        self.folder = folder
        self.containers = [CHILD, *(f"{CHILD}{number}" for number in range(2, containers + 1))]
        self.disk = SmallDisk(folder, DISK_MIB)
        self.commands = Commands(folder / "home", os.environ)
        self.home = Home(self.commands.home)
        self.zookeeper = ZooKeeperServer(find_zookeeper(), folder / "zookeeper", free_port())

    @property
    def store(self) -> Path:
        """The directory of the journal."""
        return self.disk.path / "store"

    def start(self) -> None:
        """Set everything up by the walk-through's commands."""
        self.disk.mount()
        self.zookeeper.start()
        self.zookeeper.wait_ready(60)
        run = self.commands.run
        run(
            *("fabric", "create", "--clean", "--wait-for-provisioning", "--profile", "fabric"),
            *("--zookeeper-url", self.zookeeper.url, "--zookeeper-password", PASSWORD),
            *("--new-user", "admin", "--new-user-password", "admin"),
        )
        run("fabric", "mq-create", "--group", GROUP, "--data", str(self.store), BROKER)
        run(
            *("fabric", "container-create-child", "--profile", PROFILE),
            *(ROOT, CHILD, str(len(self.containers))),
        )
        self.wait_settled()

    def end_containers(self) -> None:
        """End the containers; their logs, the store and ZooKeeper are still there."""
        for name in (ROOT, *self.containers):
            self.signal(name, signal.SIGCONT)
        for name in (ROOT, *self.containers):  # the root first: it would start the others again
            stop_process(self.home.container(name))

    def stop(self) -> None:
        """End all processes of ours and take the disk away."""
        try:
            self.end_containers()
        finally:
            self.zookeeper.kill()
            self.disk.unmount()

    def connect(self, client_id: str | None = None) -> Connection:
        """A client that follows the master."""
        factory = ConnectionFactory(
            URL,
            user="admin",
            password="admin",
            zookeeper_url=self.zookeeper.url,
            zookeeper_password=PASSWORD,
        )
        return factory.create_connection(client_id)

    # Its state

    def masters_and_slaves(self) -> tuple[list[str], list[str]]:
        """Who is what, as `cluster-list` says; nobody while that command cannot answer."""
        with contextlib.suppress(CommandFailed):
            for row in self.commands.members(GROUP):
                if row["id"] == BROKER:
                    return row["masters"], row["slaves"]
        return [], []

    def is_settled(self) -> bool:
        """Whether there are one master and all other containers as slaves, and every process runs."""
        if not all(self.process(name) for name in (ROOT, *self.containers)):
            return False
        return self.roles() is not None

    def roles(self) -> tuple[list[str], list[str]] | None:
        """The master and the slaves, if that is what the containers are."""
        masters, slaves = self.masters_and_slaves()
        whole = len(masters) == 1 and sorted(masters + slaves) == self.containers
        return (masters, slaves) if whole else None

    def wait_settled(self) -> None:
        """Wait until the fabric is whole; a container that crashed is asked to start after a while."""
        with contextlib.suppress(AssertionError):
            wait_until(self.is_settled, RESTART_PATIENCE_S)
            return
        for name in self.containers:
            if self.process(name) is None:
                with contextlib.suppress(CommandFailed):  # it may be starting just now
                    self.commands.run("fabric", "container-start", name)
        wait_until(self.is_settled, SETTLE_TIMEOUT_S, self._unsettled)

    def _unsettled(self) -> str:
        masters, slaves = self.masters_and_slaves()
        dead = [name for name in (ROOT, *self.containers) if self.process(name) is None]
        return f"one master, and all other containers slaves: {masters=}, {slaves=}, {dead=}"

    def victim(self, victim: Victim, masters: list[str], slaves: list[str]) -> str:
        """The container that has a role."""
        return (masters if victim is Victim.MASTER else slaves)[0]

    def process(self, name: str) -> ProcessRecord | None:
        """The process that runs a container now."""
        return running_process(self.home.container(name))

    def processes(self) -> Iterator[tuple[str, int]]:
        """Name and pid of every process of the fabric, ZooKeeper too."""
        for name in (ROOT, *self.containers):
            process = self.process(name)
            if process is not None:
                yield name, process.pid
        if self.zookeeper.pid is not None:
            yield "ZooKeeper", self.zookeeper.pid

    # What a fault does

    def signal(self, name: str, number: signal.Signals) -> ProcessRecord | None:
        """Send a container's process a signal; returns which process that was."""
        process = self.process(name)
        if process is not None:
            send_signal(process, number)
        return process

    def wait_gone(self, process: ProcessRecord) -> None:
        """Wait until a killed process has ended."""
        wait_until(lambda: not is_running(process), 10, "the killed process ends")

    def restart_zookeeper(self) -> None:
        """Start ZooKeeper again."""
        self.zookeeper.start()
        self.zookeeper.wait_ready(60)

    def logs(self) -> Iterator[Path]:
        """Every log of the fabric, those that were rotated too."""
        for folder in sorted(self.home.containers.glob("*")):
            yield from sorted(folder.glob("*.log*"))
        if self.zookeeper.log_path.exists():
            yield self.zookeeper.log_path

    def keep(self, folder: Path) -> None:
        """Copy the logs and the store, for whoever wants to know what happened."""
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.logs():
            shutil.copy(log, folder / f"{log.parent.name}-{log.name}")
        with contextlib.suppress(OSError, shutil.Error):  # a living master removes files meanwhile
            shutil.copytree(self.store, folder / "store")
