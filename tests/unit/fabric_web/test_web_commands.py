"""Commands from afar: who may run which, what is refused, how the output comes back."""

from __future__ import annotations

import json
import logging
from typing import Any

import click
import pytest
from support.console import ConsoleWorld
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from fabric.brokers import Login
from fabric.cli.main import COMMANDS, fabric
from fabric.cli.served import NotFromAfar, check
from fabric.web import running
from fabric.web.api.commands import RUNNING_MAX, RUNNING_OF_USER_MAX
from fabric.web.remote_commands import NOT_FROM_AFAR, OPERATORS, VIEWERS, for_log, role_for
from fabric.web.roles import Role
from fabric.web.running import KILL_AFTER_S, TIME_S_MAX

PATH = "/api/v1/commands"


class FakeProcess:
    """A process that does what the test says."""

    def __init__(self, protocol: Any, environment: dict[str, str]) -> None:
        self.protocol = protocol
        self.environment = environment
        self.stdin = b""
        self.signals: list[str] = []
        self.paused = False

    def write(self, data: bytes) -> None:
        """Its stdin."""
        self.stdin += data

    def closeStdin(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing more comes."""

    def signalProcess(self, name: str) -> None:  # noqa: N802 - Twisted's name
        """A signal."""
        self.signals.append(name)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Wait."""
        self.paused = True

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Go on."""
        self.paused = False

    def end(self, code: int | None) -> None:
        """It ends; None: by a signal."""
        error = Exception()
        error.exitCode = code  # type: ignore[attr-defined]  # as Twisted's ProcessDone has it
        self.protocol.processEnded(Failure(error))


class World(ConsoleWorld):
    """A console whose commands are fake processes."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[FakeProcess] = []
        self.console.links.login = lambda: Login("console@root", "hidden")  # type: ignore[method-assign]  # no broker
        self.reactor.spawnProcess = self.spawn  # type: ignore[attr-defined]  # what the real one has

    def spawn(
        self, protocol: Any, program: str, arguments: list[str], env: dict[str, str], path: str
    ) -> None:
        """Start one."""
        assert arguments[1:] == ["-m", "fabric.cli.served"]
        protocol.transport = FakeProcess(protocol, env)
        self.processes.append(protocol.transport)

    def run(self, user: str, *argv: str) -> tuple[Any, StringTransport]:
        """Ask for a command over a connection that stays; the server's side and what it has sent."""
        body = json.dumps({"argv": argv, "columns": 77}).encode()
        headers = "\r\n".join(f"{name}: {value}" for name, value in self.client(user).headers.items())
        head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{headers}\r\nContent-Type: application/json\r\n"
        protocol: Any = self.site.buildProtocol(None)  # type: ignore[no-untyped-call]  # Twisted has no types for it
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.reactor.turn()
        return protocol, transport


@pytest.fixture
def world() -> World:
    """A console."""
    return World()


def said(transport: StringTransport) -> list[dict[str, Any]]:
    """The lines that have come."""
    text = transport.value().partition(b"\r\n\r\n")[2].decode()
    return [json.loads(line) for line in text.split("\r\n") if line.strip().startswith("{")]


def test_the_tables_name_commands_that_there_are() -> None:
    """Each in one of them only; all others are for administrators."""
    assert {*VIEWERS, *OPERATORS, *NOT_FROM_AFAR} <= COMMANDS.keys()
    assert not VIEWERS & OPERATORS
    assert {role_for(name) for name in ("zk-set", "profile-edit", "container-delete", "new")} == {Role.ADMIN}


def test_output_comes_as_it_is_printed_and_the_exit_code_last(world: World) -> None:
    """The command line goes in by stdin, so that nobody sees it in the list of processes."""
    _, transport = world.run("admin", "container-list", "--output", "json")
    process = world.processes[0]
    asker = {"user": "admin", "role": "admin", "source": "192.168.1.1"}
    assert json.loads(process.stdin) == {"argv": ["container-list", "--output", "json"], "asker": asker}
    assert process.environment["COLUMNS"] == "77" and process.environment["FABRIC_PASSWORD"] == "hidden"
    process.protocol.outReceived("a ä".encode()[:3])
    process.protocol.outReceived("a ä".encode()[3:])
    process.protocol.errReceived(b"b")
    process.end(3)
    assert said(transport) == [{}, {"out": "a "}, {"out": "ä"}, {"err": "b"}, {"exit": 3}]
    assert transport.value().endswith(b"0\r\n\r\n") and not world.console.running_commands


@pytest.mark.parametrize(
    ("user", "command", "status"),
    [
        ("viewer", "container-list", 200),
        ("viewer", "container-stop", 403),
        ("viewer", "queue-browse", 403),
        ("operator", "container-stop", 200),
        ("operator", "queue:purge", 200),
        ("operator", "zk-get", 403),
        ("operator", "fabric:profile-edit", 403),
        ("operator", "what-nobody-knows", 403),
        ("admin", "zk-get", 200),
        ("admin", "create", 400),
        ("admin", "fabric:certificate-create", 400),
        ("admin", "--home", 400),
        ("admin", "", 400),
        ("admin", "../x", 400),
    ],
)
def test_each_command_has_its_role(world: World, user: str, command: str, status: int) -> None:
    """What is refused is not begun."""
    _, transport = world.run(user, command, "x")
    assert transport.value().startswith(f"HTTP/1.1 {status} ".encode())
    assert len(world.processes) == (status == 200)


@pytest.mark.parametrize(
    "body", [{"argv": []}, {"argv": ["a"] * 201}, {"argv": "ls"}, {"argv": ["a\0b"]}, {}]
)
def test_a_command_line_that_is_none_is_refused(world: World, body: dict[str, object]) -> None:
    """Nothing is begun."""
    assert world.client("admin").post(PATH, body).status == 400 and not world.processes


def test_secret_values_are_for_administrators(world: World) -> None:
    """For others they are masked, also if they come in pieces."""
    for user in ("viewer", "admin"):
        _, transport = world.run(user, "profile-display", "x")
        process = world.processes[-1]
        process.protocol.outReceived(b"network.pass")
        process.protocol.outReceived(b"word = s3cr3t\nname = x")
        process.end(0)
        text = "".join(line.get("out", "") for line in said(transport))
        assert ("s3cr3t" in text) == (user == "admin") and text.endswith("name = x")


def test_when_the_client_goes_the_command_ends(world: World) -> None:
    """As by Ctrl-C; what does not end so is killed."""
    protocol, _ = world.run("viewer", "status", "--watch")
    process = world.processes[0]
    protocol.connectionLost(Failure(Exception()))
    assert process.signals == ["INT"]
    world.reactor.advance(KILL_AFTER_S)
    assert process.signals == ["INT", "KILL"]
    assert world.console.running_commands == ["viewer"]
    process.end(None)
    assert not world.console.running_commands


def test_no_command_runs_or_prints_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told why it ended."""
    _, transport = world.run("viewer", "status", "--watch")
    world.reactor.pass_time(TIME_S_MAX, step_s=running.ALIVE_S)
    assert world.processes[0].signals == ["INT"]
    world.processes[0].end(None)
    assert said(transport).count({}) > TIME_S_MAX / running.ALIVE_S / 2
    assert "It was ended after 3600 s." in str(said(transport)) and said(transport)[-1] == {"exit": 1}
    monkeypatch.setattr(running, "OUTPUT_BYTES_MAX", 10)
    _, transport = world.run("admin", "status")
    world.processes[1].protocol.outReceived(b"x" * 11)
    world.processes[1].protocol.outReceived(b"y" * 11)
    assert world.processes[1].signals == ["INT"] and b"yyy" not in transport.value()


def test_who_reads_slowly_holds_only_his_command_up(world: World) -> None:
    """It waits until the client has read."""
    protocol, _ = world.run("viewer", "status", "--watch")
    protocol._channel.pauseProducing()
    assert world.processes[0].paused
    protocol._channel.resumeProducing()
    assert not world.processes[0].paused


def test_so_many_commands_at_a_time(world: World) -> None:
    """Of one user, and of all."""
    for _ in range(RUNNING_OF_USER_MAX):
        world.run("admin", "status")
    assert world.client("admin").post(PATH, {"argv": ["status"]}).status == 429
    for _ in range(RUNNING_MAX - RUNNING_OF_USER_MAX):
        world.run("viewer", "status")
    assert world.client("operator").post(PATH, {"argv": ["status"]}).status == 429
    world.processes[0].end(0)
    assert world.run("operator", "status")[1].value().startswith(b"HTTP/1.1 200 ")


def test_commands_are_written_down_without_passwords(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log learns who did what."""
    caplog.set_level(logging.INFO, "fabric.audit")
    world.run("admin", "user-add", "ann", "--password", "s3cr3t")
    assert "admin from " in caplog.text and "runs: fabric 'user-add ann --password …'" in caplog.text.replace(
        "\\u2026", "…"
    )
    assert "s3cr3t" not in caplog.text
    assert "s3cr3t" not in for_log(["x", "--networks-password=s3cr3t", "a\nb"]) and "\n" not in for_log(
        ["a\nb"]
    )


@pytest.mark.parametrize(
    "line",
    [
        "container-list --home /x",
        "container-list --zookeeper-url x:1",
        "container-list --zookeeper-password=x",
        "container-restart --all",
        "container-restart --rolling broker1",
        "queue-list --user x",
        "queue-list --password x",
        "zk-set --import /notes /etc/passwd",
        "zk-create -i /notes -",
        "zk-get /fabric/authentication/users/admin",
        "zk-get fabric/configs/ensemble/password/",
        "zk-delete /fabric/authentication/users/admin",
        "zk-list -d /fabric",
        "profile-edit shop",
        "profile-edit --resource x shop",
        "profile-edit -p a/b=c --resource x shop",
    ],
)
def test_what_reaches_beyond_the_fabric_is_refused(line: str) -> None:
    """Whatever way it is written."""
    name, *arguments = line.split()
    command = fabric.get_command(click.Context(fabric), name)
    assert command is not None
    with command.make_context(name, arguments) as context, pytest.raises(NotFromAfar):
        check(name, context)


@pytest.mark.parametrize(
    "line",
    [
        "container-list x",
        "queue-list --broker b --timeout 3",
        "zk-get /fabric/configs/default-version",
        "zk-set /notes x",
        "zk-list -r /fabric",
        "profile-edit -p a/b=c shop",
        "mq-create --networks-password x --data /x b",
    ],
)
def test_what_makes_sense_from_afar_is_done(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the environment names a home and a user, as the console's does."""
    monkeypatch.setenv("FABRIC_HOME", "/x")
    monkeypatch.setenv("FABRIC_USER", "console@root")
    name, *arguments = line.split()
    command = fabric.get_command(click.Context(fabric), name)
    assert command is not None
    with command.make_context(name, arguments) as context:
        check(name, context)
