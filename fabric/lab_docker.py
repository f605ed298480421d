"""The walk-through on many hosts: ``python -m fabric.lab_docker``, or ``./dev docker lab``.

The hosts are containers of Docker's, the services of ``docker/compose.yaml``. It is the walk-through of
`fabric.lab`, except that whole hosts are killed and frozen, and that commands are typed at the host `root`,
clients at the host `client`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from fabric.lab import (
    BROKER,
    FREEZE_S,
    GROUP,
    PASSWORD,
    PROFILE,
    USER,
    ClientRun,
    CommandFailed,
    Commands,
    Walkthrough,
    wait_for,
)

HOSTS = ("east", "west")
"""Where the brokers are; their containers are called after them."""

LOAD_COUNT = 3000
"""Twice what one host sends: a host takes longer to come back than a process."""

UP_TIMEOUT_S = 300.0
HOST_TIMEOUT_S = 120.0


class Compose:
    """A project of compose, in either of its generations: v2 is a plug-in of docker, 1.29 a program."""

    def __init__(self, project: str, file: Path) -> None:
        self._project = project
        self._file = file
        self._program: list[str] | None = None

    def words(self, *words: str) -> list[str]:
        """Return the command line of a command of compose."""
        if self._program is None:
            plugin = _run(["docker", "compose", "version"])
            self._program = ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
        return [*self._program, "--project-name", self._project, "--file", str(self._file), *words]

    def run(self, *words: str) -> str:
        """Run it. Raises CommandFailed."""
        return checked(self.words(*words))

    def container(self, host: str) -> str:
        """Return what Docker calls the container of a host, also one that is down. Raises CommandFailed."""
        labels = {"project": self._project, "service": host}
        filters = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        name = checked(["docker", "ps", "--all", *filters, "--format", "{{.Names}}"]).strip()
        if not name:
            raise CommandFailed(f"There is no host {host}: the lab is not up.")
        return name

    def is_healthy(self, host: str) -> bool:
        """Whether a host does what it is for. Raises CommandFailed."""
        state = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        status, _, health = (
            checked(["docker", "inspect", "--format", state, self.container(host)]).strip().partition(" ")
        )
        if status == "exited":
            raise CommandFailed(f"Host {host} has ended. See: docker logs {self.container(host)}")
        return health == "healthy"

    def wait_healthy(self, host: str, timeout_s: float = HOST_TIMEOUT_S) -> None:
        """Wait for it. Raises CommandFailed."""
        wait_for(lambda: self.is_healthy(host) or None, f"host {host} is healthy", timeout_s)

    def console_url(self) -> str:
        """Return where the console is, seen from this machine."""
        return f"http://{self.run('port', 'root', '8181').strip()}"


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # The words are this module's own, and no shell reads them.
    return subprocess.run(  # nosec B603  # noqa: S603 - see above
        words, capture_output=True, text=True, timeout=UP_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
    )


def checked(words: Sequence[str]) -> str:
    """Run a command to its end; return what it printed. Raises CommandFailed."""
    done = _run(words)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise CommandFailed(f"`{' '.join(words)}` ended with exit code {done.returncode}:\n{said}")
    return done.stdout


class HostCommands(Commands):
    """The two command lines, typed at hosts: `fabric` at root, `mq-client` at client."""

    def __init__(self, compose: Compose) -> None:
        super().__init__(Path("/var/lib/fabric"), os.environ)
        self._compose = compose

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line that runs it there."""
        return ["docker", "exec", self._compose.container(host_for(words)), *words]


def host_for(words: Sequence[str]) -> str:
    """Where a command of the walk-through is typed."""
    return "client" if words[0] == "mq-client" else "root"


def host_of(container: str) -> str:
    """The host of a container with a broker."""
    return container.rpartition("-")[2]


class HostWalkthrough(Walkthrough):
    """The steps on many hosts."""

    load_count = LOAD_COUNT

    def __init__(self, compose: Compose, *, is_up: bool) -> None:
        super().__init__(HostCommands(compose))
        self._compose = compose
        self._is_up = is_up

    def create(self) -> None:
        """An ensemble, the fabric's first host, two hosts for brokers, one for clients."""
        self.tell(
            "Start an ensemble of three ZooKeepers, a host that creates a fabric, and hosts that join it."
        )
        if not self._is_up:
            click.secho("   $ " + " ".join(self._compose.words("up", "--detach")), fg="cyan")
            self._compose.run("up", "--detach")
        for host in ("root", *HOSTS, "client"):
            self._compose.wait_healthy(host, UP_TIMEOUT_S)
        self.type("fabric", "container-list")

    def remove_root_broker(self) -> None:
        """Nothing to do: root runs none here."""

    def create_brokers(self) -> None:
        """A profile for a broker, and a container that runs it on each of two hosts."""
        self.tell("Describe a fault-tolerant broker. This makes a profile; nothing runs it yet.")
        self.type("fabric", "mq-create", "--group", GROUP, "--kind", "MasterSlave", BROKER)
        self.tell("Run it on two hosts. They share one store, on a volume, and elect one master.")
        for host in HOSTS:
            self.type("fabric", "container-create-child", "--profile", PROFILE, host, f"{BROKER}-{host}")
        self.type("fabric", "wait-for-provisioning")
        wait_for(self._pair_is_complete, "one master and one slave")
        self.type("fabric", "cluster-list", f"amq/{GROUP}")

    def type(self, *words: str, show: object = str) -> str:
        """Type a command at the host where it belongs, and show what it printed."""
        del show
        click.secho(f"   {host_for(words)}$ " + " ".join(words), fg="cyan")
        output = self._commands.run(*words)
        for line in output.splitlines():
            click.echo(f"   {line}")
        return output

    def _kill_master(self, producer: ClientRun) -> None:
        self.tell("Take the power from the master's host: all its processes are killed at once.")
        master, host = self._masters_host()
        typed = f"docker kill {self._compose.container(host)}"
        hit_at = self._strike(
            producer, typed, f"(the host of {master}, the master)", lambda: checked(typed.split())
        )
        self._show_gap(producer, master, hit_at)
        click.echo("   Nobody was left to say that it had died: ZooKeeper waited for its session, 4 s.")
        self._docker("start", host)
        self._compose.wait_healthy(host)
        wait_for(self._pair_is_complete, f"{master} comes back")
        self.type("fabric", "cluster-list", f"amq/{GROUP}")

    def _freeze_master(self, producer: ClientRun) -> None:
        self.tell("Freeze the new master's host: its connections stay open, nothing answers.")
        master, host = self._masters_host()
        typed = f"docker pause {self._compose.container(host)}"
        try:
            hit_at = self._strike(
                producer, typed, f"(the host of {master}, the master)", lambda: checked(typed.split())
            )
            self._show_gap(producer, master, hit_at)
            click.echo(f"   It stays frozen until {FREEZE_S:g} s are over.")
            wait_for(lambda: time.monotonic() > hit_at + FREEZE_S or None, "it stays frozen")
        finally:
            self._docker("unpause", host)
        click.echo("   Woken, it finds that its store was taken over, and becomes the slave.")
        wait_for(self._pair_is_complete, f"{master} comes back")
        self.type("fabric", "cluster-list", f"amq/{GROUP}")

    def _masters_host(self) -> tuple[str, str]:
        master = self._commands.master()
        assert master is not None
        return master, host_of(master)

    def _docker(self, action: str, host: str) -> None:
        words = ["docker", action, self._compose.container(host)]
        click.secho("   $ " + " ".join(words), fg="cyan")
        checked(words)

    def leave_running(self) -> None:
        """Say what to try next."""
        self.tell("The hosts are still running. Try:")
        root, client = self._compose.container("root"), self._compose.container("client")
        click.echo(f"   docker exec {root} fabric container-list")
        click.echo(f"   docker exec {client} mq-client --help")
        click.echo(f"   docker logs {self._compose.container(HOSTS[0])}")
        click.echo(f"   The console: {self._compose.console_url()}, user {USER}, password {PASSWORD}")
        click.echo("   ./dev docker lab --stop")


@click.command()
@click.option("--project", default="fabric-lab", show_default=True, help="Name of the project of compose.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=Path("docker/compose.yaml"),
    show_default=True,
    help="File of compose.",
)
@click.option("--running", "is_up", is_flag=True, help="The hosts run already; start none.")
def main(project: str, file: Path, is_up: bool) -> None:
    """Run the walk-through on many hosts, and leave them running."""
    if shutil.which("docker") is None:
        raise click.UsageError("There is no program docker.")
    compose = Compose(project, file)
    try:
        if not is_up:
            compose.run("down", "--volumes", "--timeout", "30")
        HostWalkthrough(compose, is_up=is_up).run()
    except CommandFailed as failure:
        click.secho(str(failure), fg="red", err=True)
        click.echo("Look at a host with `docker logs`; ./dev docker lab --stop ends them.", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nStopped. What runs by now goes on; ./dev docker lab --stop ends it.", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
