"""The walk-through on many hosts: ``python -m fabric.lab_docker``, or ``./dev docker lab``.

The hosts are containers of Docker's, the services of ``docker/compose.yaml``. It is the walk-through of
`fabric.lab`, except that whole hosts are killed and frozen, and that commands are typed at the host `root`,
clients at the host `client`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
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

CONSOLE_PORT = 8181
"""Where the console is on this machine, unless CONSOLE_PORT says otherwise."""

LOG_LINES = 15
"""How much each host may say when they could not be started."""

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

    def exists(self) -> bool:
        """Whether anything of the project is there: hosts, also those that are down, or what they stored."""
        chosen = f"--filter=label=com.docker.compose.project={self._project}"
        listed = (["container", "ls", "--all"], ["volume", "ls"], ["network", "ls"])
        return any(checked(["docker", *words, "--quiet", chosen]).strip() for words in listed)

    def remove(self) -> None:
        """End all hosts, and remove what they stored. Raises CommandFailed."""
        self.run("down", "--volumes", "--remove-orphans", "--timeout", "30")

    def console_url(self) -> str:
        """Return where the console is, seen from this machine."""
        return f"http://{self.run('port', 'root', '8181').strip()}"


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        # The words are this module's own, and no shell reads them.
        return subprocess.run(  # nosec B603  # noqa: S603 - see above
            words, capture_output=True, text=True, timeout=UP_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as slow:
        raise CommandFailed(f"`{' '.join(words)}` did not end within {UP_TIMEOUT_S:g} s.") from slow


def checked(words: Sequence[str]) -> str:
    """Run a command to its end; return what it printed. Raises CommandFailed."""
    done = _run(words)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise CommandFailed(f"`{' '.join(words)}` ended with exit code {done.returncode}:\n{said}")
    return done.stdout


def check_port(environment: Mapping[str, str]) -> None:
    """See that the console's port is free before hosts are started. Raises CommandFailed."""
    wanted = environment.get("CONSOLE_PORT") or str(CONSOLE_PORT)
    if not wanted.isdecimal() or int(wanted) > 65535:
        raise CommandFailed(f"CONSOLE_PORT is '{wanted}'; it must be a port, a number up to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(wanted)))
        except OSError as refusal:
            raise CommandFailed(
                f"Port {wanted} of 127.0.0.1, which the console needs, cannot be had: {refusal.strerror}.\n"
                "End the program that has it, or choose another one: CONSOLE_PORT=PORT ./dev docker lab"
            ) from refusal


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep a second walk-through from ending the hosts of one that is under way. Raises CommandFailed."""
    with file.open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise CommandFailed("Another walk-through is under way; wait for its end, or stop it.") from taken
        yield


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
    """The steps on many hosts.

    Attributes:
        has_hosts: whether they have all been started.
    """

    load_count = LOAD_COUNT

    def __init__(self, compose: Compose, *, is_up: bool) -> None:
        super().__init__(HostCommands(compose))
        self._compose = compose
        self._is_up = is_up
        self._is_starting = False
        self.has_hosts = is_up

    def create(self) -> None:
        """An ensemble, the fabric's first host, two hosts for brokers, one for clients."""
        self.tell(
            "Start an ensemble of three ZooKeepers, a host that creates a fabric, and hosts that join it."
        )
        if not self._is_up:
            self._start_hosts()
        for host in ("root", *HOSTS, "client"):
            self._compose.wait_healthy(host, UP_TIMEOUT_S)
            click.echo(f"   Host {host} is healthy.")
        self._is_starting = False
        self.type("fabric", "container-list")

    def _start_hosts(self) -> None:
        click.secho("   $ " + " ".join(self._compose.words("up", "--detach")), fg="cyan")
        click.echo("   It returns when all have started, after half a minute.")
        self._is_starting = True
        try:
            self._compose.run("up", "--detach")
        except CommandFailed as failure:
            said = self._compose.run("logs", "--no-color", "--tail", str(LOG_LINES))
            self._compose.remove()
            raise CommandFailed(f"{said}\n{failure}\nThe hosts are removed again.") from failure
        self.has_hosts = True

    def stopped(self) -> str:
        """Ctrl-C was pressed: remove hosts that were only being started; return what to say of it."""
        if not self._is_starting:
            return "Stopped. What runs by now goes on; ./dev docker lab --stop ends it."
        # A second Ctrl-C, which the programs that are run hear as well, would leave half of them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        click.echo("\nStopped. The hosts that were being started are removed ...", err=True)
        try:
            self._compose.remove()
        except CommandFailed as failure:
            return f"{failure}\nSome are left; ./dev docker lab --stop ends them."
        return "Nothing of them is left."

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


def clear_the_way(compose: Compose) -> None:
    """End what an earlier walk-through left. Raises CommandFailed."""
    if compose.exists():
        click.echo("The hosts of an earlier walk-through are ended.")
        compose.remove()
    check_port(os.environ)


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
    walk = HostWalkthrough(compose, is_up=is_up)
    try:
        with contextlib.nullcontext() if is_up else alone(file):
            if not is_up:
                clear_the_way(compose)
            walk.run()
    except CommandFailed as failure:
        click.secho(str(failure), fg="red", err=True)
        if walk.has_hosts:
            click.echo("Look at a host with `docker logs`; ./dev docker lab --stop ends them.", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\n" + walk.stopped(), err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
