"""The walk-through, run for real: ``python -m fabric.lab``, or ``./dev lab`` and ``./dev console``.

It types the commands that a person would type, says what each step shows, kills and freezes the master under
load, counts what arrived, and leaves its fabric running. Its fabric is its own: FABRIC_HOME is
``~/.local/share/fabric-lab`` unless LAB_HOME says otherwise, and a fabric of the user's is not touched.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from fabric.create import end_fabric
from fabric.errors import FabricError, HomeUnusable
from fabric.home import Home
from fabric.processes import is_running
from fabric.services.console import URL_FIELD
from registry import paths

T = TypeVar("T")

BROKER = "tolerantbroker"
GROUP = "default"
PROFILE = f"mq-broker-{GROUP}.{BROKER}"
CHILD = "brokercontainer"
QUEUE = "queue://workshop.lab"
CONSOLE_URL = paths.container_config_field("root", URL_FIELD)

USER = "admin"
PASSWORD = "admin"  # nosec B105  # noqa: S105 - the walk-through's public password, for a fabric on the loopback address

COMMAND_TIMEOUT_S = 180.0
"""Longest wait for one command; `create` starts ZooKeeper and a container, each in seconds."""

INTERRUPT_TIMEOUT_S = 20.0
"""How long an interrupted command may take to undo what it began; stopping ZooKeeper takes most."""

FOLLOW_TIMEOUT_S = 60.0
"""Longest wait for a client to get on after a fault; the session timeout is 4 s."""

POLL_S = 0.05

LOAD_COUNT = 1500
LOAD_PAUSE_MS = 10
FREEZE_S = 8.0
"""Twice the session timeout: long enough that the frozen master has been replaced for a while."""


class CommandFailed(Exception):
    """A command of the walk-through did not do what it should."""


class Commands:
    """The two command lines, `fabric` and `mq-client`, on one FABRIC_HOME."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.folder = Path(sys.executable).parent
        self.environment = {**environment, "FABRIC_HOME": str(home)}

    def run(self, *words: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command to its end and return what it printed.

        Raises:
            CommandFailed: it took too long, or its exit code was not 0; the text has what it printed.
        """
        process = self._start(words, stderr=subprocess.PIPE)
        try:
            printed, complaints = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as slow:
            process.kill()
            process.communicate()
            raise CommandFailed(f"`{' '.join(words)}` did not end within {timeout_s:g} s.") from slow
        except KeyboardInterrupt:
            self._let_end(process)
            raise
        if process.returncode != 0:
            said = (printed + complaints).strip()
            raise CommandFailed(f"`{' '.join(words)}` ended with exit code {process.returncode}:\n{said}")
        return printed

    def _let_end(self, process: subprocess.Popen[str]) -> None:
        """The terminal has interrupted the command as well: let it undo what it began."""
        try:
            process.communicate(timeout=INTERRUPT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command whose output is read while it runs; standard error comes with it."""
        return self._start(words, stderr=subprocess.STDOUT)

    def _start(self, words: Sequence[str], stderr: int) -> subprocess.Popen[str]:
        # The words are this module's own, and no shell reads them.
        return subprocess.Popen(  # nosec B603  # noqa: S603 - see above
            self.command(words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            bufsize=1,
        )

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line: the program beside this Python, and its arguments."""
        return [str(self.folder / words[0]), *words[1:]]

    def members(self, group: str = GROUP) -> list[dict[str, Any]]:
        """The rows of `cluster-list` for one group of brokers."""
        rows: list[dict[str, Any]] = json.loads(
            self.run("fabric", "cluster-list", f"amq/{group}", "--output", "json")
        )
        return rows

    def master(self, broker: str = BROKER, group: str = GROUP) -> str | None:
        """The container that is master of a broker now, or None."""
        masters = [name for row in self.members(group) if row["id"] == broker for name in row["masters"]]
        return masters[0] if masters else None

    def slaves(self, broker: str = BROKER, group: str = GROUP) -> list[str]:
        """The containers that stand by for a broker."""
        return [name for row in self.members(group) if row["id"] == broker for name in row["slaves"]]

    def process_id(self, container: str) -> int:
        """The process that runs a container on this host.

        Raises:
            CommandFailed: none is known.
        """
        process = Home(self.home).container(container).read_process()
        if process is None:
            raise CommandFailed(f"The container {container} has no process here.")
        return process.pid


def wait_for(condition: Callable[[], T | None], what: str, timeout_s: float = FOLLOW_TIMEOUT_S) -> T:
    """Ask again and again until the answer is something.

    Raises:
        CommandFailed: not within the time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise CommandFailed(f"Not within {timeout_s:g} s: {what}.")
        time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a client printed, and when it was read."""

    seconds: float
    text: str


class ClientRun:
    """An `mq-client` that runs in the background; its lines are read as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[Line] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as printed:
            for text in printed:
                self.lines.append(Line(time.monotonic(), text.rstrip("\n")))

    def numbers(self, word: str) -> list[tuple[float, int]]:
        """When and which messages were `Sent:` or `Received`, by the number in their text."""
        marked = f" {word} test message: "
        return [
            (line.seconds, int(line.text.rsplit(": ", 1)[1]))
            for line in list(self.lines)
            if marked in line.text
        ]

    def last_words(self) -> str:
        """The end of what it printed, for an error message."""
        return "\n".join(line.text for line in self.lines[-5:])

    def wait(self, timeout_s: float) -> None:
        """Wait for its end.

        Raises:
            CommandFailed: it did not end in time, or not well.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as slow:
            raise CommandFailed(
                f"A client did not end within {timeout_s:g} s:\n{self.last_words()}"
            ) from slow
        self._reader.join(timeout_s)
        if code != 0:
            raise CommandFailed(f"A client ended with exit code {code}:\n{self.last_words()}")

    def end(self) -> None:
        """End it if it still runs."""
        self._process.kill()
        self._process.wait()
        self._reader.join()


def longest_gap_ms(times: Sequence[float], after: float) -> float:
    """The longest time between two neighbours of which the later came after a moment, in ms."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(times) if later > after]
    return max(gaps, default=0.0) * 1000


class Walkthrough:
    """The steps, in order. Each types commands, shows what they print, and checks what it promised."""

    load_count = LOAD_COUNT

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._step = 0

    def tell(self, text: str) -> None:
        """Narrate the next step."""
        self._step += 1
        click.echo()
        click.secho(f"{self._step}. {text}", bold=True)

    def type(self, *words: str, show: Callable[[str], str] = str) -> str:
        """Type a command, and show what it printed."""
        click.secho("   $ " + " ".join(words), fg="cyan")
        output = self._commands.run(*words)
        for line in show(output).splitlines():
            click.echo(f"   {line}")
        return output

    def run(self) -> None:
        """All steps, from nothing to a fabric that was hit twice and lost nothing."""
        self.create()
        self.remove_root_broker()
        self.create_brokers()
        self.send_and_receive()
        self.fail_over()
        self.leave_running()

    def run_for_console(self) -> None:
        """What there is to see in the console: a pair of brokers, and messages in a queue."""
        self.create()
        self.remove_root_broker()
        self.create_brokers()
        self.send_and_receive()
        self.tell("Leave some messages in a queue.")
        self.type(*self.client("producer", QUEUE, 20))

    def create(self) -> None:
        """A root container with its own ZooKeeper."""
        self.tell("Create a fabric: a root container, which runs a real ZooKeeper and a first broker.")
        self.type(
            *("fabric", "create", "--clean", "--wait-for-provisioning"),
            *("--new-user", USER, "--new-user-password", PASSWORD),
        )
        self.type("fabric", "container-list")
        self.type("fabric", "cluster-list")

    def remove_root_broker(self) -> None:
        """A container follows its profiles at once."""
        self.tell("Take the broker away from root: its profile goes, the container follows.")
        self.type("fabric", "container-remove-profile", "root", "mq-amq")
        wait_for(lambda: not self._commands.members(), "root's broker leaves the cluster")
        self.type("fabric", "container-list")

    def create_brokers(self) -> None:
        """A profile for a broker, and two containers that run it."""
        self.tell("Describe a fault-tolerant broker. This makes a profile; nothing runs it yet.")
        self.type("fabric", "mq-create", "--group", GROUP, "--kind", "MasterSlave", BROKER)
        self.type("fabric", "status")
        self.tell("Run it in two containers. They share one store and elect one master.")
        self.type("fabric", "container-create-child", "--profile", PROFILE, "root", CHILD, "2")
        self.type("fabric", "wait-for-provisioning")
        wait_for(self._pair_is_complete, "one master and one slave")
        self.type("fabric", "cluster-list", f"amq/{GROUP}")

    def _pair_is_complete(self) -> bool:
        return self._commands.master() is not None and len(self._commands.slaves()) == 1

    def send_and_receive(self) -> None:
        """The clients find the master by themselves."""
        self.tell("Send ten messages and receive them. The clients find the master in ZooKeeper.")
        self.type(*self.client("producer", "queue://workshop.test", 10))
        self.type(*self.client("consumer", "queue://workshop.test", 10))

    def client(self, action: str, destination: str, count: int, *more: str) -> list[str]:
        """The command line of a client."""
        return [
            *("mq-client", action, "--brokerUrl", f"discovery:fabric:{GROUP}"),
            *("--user", USER, "--password", PASSWORD, "--destination", destination, "--count", str(count)),
            *more,
        ]

    def fail_over(self) -> None:
        """The master is killed, then its successor frozen, while messages flow."""
        self.tell(
            f"Now under load: {self.load_count} messages, one every {LOAD_PAUSE_MS} ms, and a consumer."
        )
        consumer_words = self.client("consumer", QUEUE, self.load_count)
        producer_words = self.client("producer", QUEUE, self.load_count, "--sleep", str(LOAD_PAUSE_MS))
        click.secho("   $ " + " ".join(consumer_words) + " &", fg="cyan")
        click.secho("   $ " + " ".join(producer_words) + " &", fg="cyan")
        with self._background(consumer_words) as consumer, self._background(producer_words) as producer:
            wait_for(lambda: len(producer.numbers("Sent:")) >= self.load_count // 5, "the producer sends")
            self._kill_master(producer)
            self._freeze_master(producer)
            left = self.load_count - len(producer.numbers("Sent:"))
            click.echo(f"   The producer has {left} messages to go.")
            producer.wait(self.load_count * LOAD_PAUSE_MS / 1000 + FOLLOW_TIMEOUT_S)
            self.tell("The producer is done. What arrived?")
            self._count(producer, consumer)

    @contextlib.contextmanager
    def _background(self, words: Sequence[str]) -> Iterator[ClientRun]:
        client = ClientRun(self._commands.start(*words))
        try:
            yield client
        finally:
            client.end()

    def _hit(self, producer: ClientRun, signal_number: signal.Signals) -> tuple[str, int, float]:
        """Send the master's process a signal; return who it was and when."""
        master = self._commands.master()
        assert master is not None
        pid = self._commands.process_id(master)
        typed = f"kill -{signal_number.name.removeprefix('SIG')} {pid}"
        whom = f"(the process of {master}, the master)"
        hit_at = self._strike(producer, typed, whom, lambda: os.kill(pid, signal_number))
        return master, pid, hit_at

    def _strike(self, producer: ClientRun, typed: str, whom: str, strike: Callable[[], object]) -> float:
        """Do somebody harm, and wait until the producer gets on; return when it was done."""
        click.secho(f"   $ {typed}", fg="cyan", nl=False)
        click.echo(f"    {whom}")
        hit_at = time.monotonic()
        strike()
        before = len(producer.numbers("Sent:"))
        # The send in flight may still be counted as before; two more can only come from the successor.
        wait_for(lambda: len(producer.numbers("Sent:")) >= before + 2 or None, "the producer gets on")
        return hit_at

    def _kill_master(self, producer: ClientRun) -> None:
        self.tell("Kill the master's process, as a crash would.")
        master, _, hit_at = self._hit(producer, signal.SIGKILL)
        self._show_gap(producer, master, hit_at)
        click.echo("   Its agent starts it again; it comes back as the slave.")
        wait_for(self._pair_is_complete, f"{master} comes back")
        self.type("fabric", "cluster-list", f"amq/{GROUP}")

    def _freeze_master(self, producer: ClientRun) -> None:
        self.tell("Freeze the new master, as a host that hangs: its connections stay open, nothing answers.")
        master, pid, hit_at = self._hit(producer, signal.SIGSTOP)
        try:
            self._show_gap(producer, master, hit_at)
            click.echo(f"   It stays frozen until {FREEZE_S:g} s are over.")
            wait_for(lambda: time.monotonic() > hit_at + FREEZE_S or None, "it stays frozen")
        finally:
            # Its agent may have replaced the frozen process by now: then there is nothing to wake.
            with contextlib.suppress(ProcessLookupError):
                click.secho(f"   $ kill -CONT {pid}", fg="cyan")
                os.kill(pid, signal.SIGCONT)
        click.echo(
            "   Woken, it finds that its store was taken over, acknowledges nothing, and becomes the slave."
        )
        wait_for(self._pair_is_complete, f"{master} comes back")
        self.type("fabric", "cluster-list", f"amq/{GROUP}")

    def _show_gap(self, producer: ClientRun, old: str, hit_at: float) -> None:
        times = [seconds for seconds, _ in producer.numbers("Sent:")]
        new = wait_for(lambda: self._other_master(old), "another master")
        gap_ms = longest_gap_ms(times, hit_at)
        click.secho(f"   {new} took over. The producer waited {gap_ms:.0f} ms.", fg="green")

    def _other_master(self, old: str) -> str | None:
        master = self._commands.master()
        return master if master != old else None

    def _count(self, producer: ClientRun, consumer: ClientRun) -> None:
        acknowledged = [number for _, number in producer.numbers("Sent:")]
        wait_for(
            lambda: set(acknowledged) <= {number for _, number in consumer.numbers("Received")} or None,
            f"the consumer receives all; it said last:\n{consumer.last_words()}",
        )
        received = [number for _, number in consumer.numbers("Received")]
        lost = len(set(acknowledged) - set(received))
        twice = len(received) - len(set(received))
        good = lost == 0
        click.secho(
            f"   {len(acknowledged)} sends acknowledged, {len(set(received))} messages received:"
            f" {lost} lost, {twice} received twice.",
            fg="green" if good else "red",
        )
        if not good:
            raise CommandFailed("Messages were lost; that must never happen.")

    def leave_running(self) -> None:
        """Say what to try next."""
        self.tell("The fabric is still running. Try:")
        folder = self._commands.folder
        click.echo(f'   export FABRIC_HOME="{self._commands.home}" PATH="{folder}:$PATH"')
        click.echo("   fabric container-list")
        click.echo(f"   fabric cluster-list amq/{GROUP}")
        click.echo(f"   fabric container-stop {CHILD}; fabric cluster-list amq/{GROUP}")
        click.echo(f"   fabric container-start {CHILD}")
        click.echo("   fabric container-logs root")
        click.echo("   ./dev console")
        chosen = f'LAB_HOME="{self._commands.home}" ' if self._commands.home != lab_home({}) else ""
        click.echo(f"   {chosen}./dev lab --stop")


def lab_home(environment: Mapping[str, str]) -> Path:
    """Where the fabric of the walk-through lies."""
    return Path(environment.get("LAB_HOME") or "~/.local/share/fabric-lab").expanduser().absolute()


def stop(home: Home) -> bool:
    """End the fabric of an earlier walk-through with all its processes; False when there is none."""
    if not home.has_fabric():
        return False
    end_fabric(home, click.echo)
    # What is left in its store would be received, and counted, by the next walk-through.
    shutil.rmtree(home.data, ignore_errors=True)
    return True


def show_console(commands: Commands, home: Home) -> None:
    """Make sure that a fabric runs, and say where its console is and who may log in."""
    if not home.has_fabric():
        _make(home)
        Walkthrough(commands).run_for_console()
    elif not is_running(home.container("root").read_process()):
        click.echo("The fabric of the walk-through is down, and is started.")
        commands.run("fabric", "container-start", "root")
    url = wait_for(lambda: _console_url(commands), "the console listens")
    click.echo()
    click.secho(f"   {url}", bold=True)
    click.echo(f"   User {USER}, password {PASSWORD}. ./dev lab --stop ends the fabric.")


def _console_url(commands: Commands) -> str | None:
    try:
        return commands.run("fabric", "zk-get", CONSOLE_URL).strip() or None
    except CommandFailed:
        return None


def _make(home: Home) -> None:
    try:
        home.make()
    except HomeUnusable as error:
        raise HomeUnusable(error.what, "Choose another folder with LAB_HOME.") from error


@click.command()
@click.option("--stop", "only_stop", is_flag=True, help="End the fabric that the walk-through left running.")
@click.option(
    "--console", "only_console", is_flag=True, help="Make sure that it runs; say where its console is."
)
def main(only_stop: bool, only_console: bool) -> None:
    """Run the walk-through for real, and leave its fabric running."""
    commands = Commands(lab_home(os.environ), os.environ)
    try:
        home = Home(commands.home)
        if only_console:
            show_console(commands, home)
            return
        stopped = stop(home)
        if only_stop:
            click.echo(
                "The fabric of the walk-through has ended." if stopped else "No such fabric is running."
            )
            return
        if stopped:
            click.echo("The fabric of an earlier walk-through has ended.")
        _make(home)
        Walkthrough(commands).run()
    except HomeUnusable as failure:
        click.secho(str(failure), fg="red", err=True)
        sys.exit(1)
    except (CommandFailed, FabricError) as failure:
        click.secho(str(failure), fg="red", err=True)
        click.echo(
            f"The containers' logs are below {commands.home}/containers; ./dev lab --stop ends them.",
            err=True,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo(
            "\nStopped. What runs by now goes on; ./dev lab --stop ends it, ./dev lab starts again.", err=True
        )
        sys.exit(130)


if __name__ == "__main__":
    main()
