"""The walk-through on many hosts with a stand-in for Docker: what goes wrong, is said and is left."""

import fcntl
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.zookeeper import free_port

from fabric import lab_docker

DOCKER = """#!/bin/sh
echo "docker $*" >>"$TYPED"
case "$*" in
    "compose version") exit 0 ;;
    "$FAILS"*) echo "$SAYS" >&2; exit 1 ;;
    "container ls"*) cat "$LEFT" ;;
esac
"""
UP = "docker compose --project-name lab --file"


class Lab:
    """A folder with a file of compose, and a program `docker` that writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "compose.yaml"
        self.file.touch()
        self.typed = folder / "typed"
        self.left = folder / "left"
        self.left.touch()
        program = folder / "docker"
        program.write_text(DOCKER)
        program.chmod(0o755)
        self.environment = {
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "TYPED": str(self.typed),
            "LEFT": str(self.left),
            "FAILS": "nothing fails",
            "SAYS": "",
            "CONSOLE_PORT": str(free_port()),
        }

    def run(self, **environment: str) -> Result:
        """Run the walk-through."""
        words = ["--project", "lab", "--file", str(self.file)]
        return CliRunner().invoke(lab_docker.main, words, env={**self.environment, **environment})

    def asked_for(self) -> list[str]:
        """The commands of compose, in order."""
        start = f"{UP} {self.file} "
        lines = self.typed.read_text().splitlines() if self.typed.exists() else []
        return [line.removeprefix(start) for line in lines if line.startswith(start)]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A stand-in of which nothing fails."""
    return Lab(tmp_path)


def test_a_port_that_is_taken(lab: Lab) -> None:
    """It is named before a host has been started, with the way to another one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = lab.run(CONSOLE_PORT=port)
    assert done.exit_code == 1
    assert f"Port {port} of 127.0.0.1, which the console needs, cannot be had" in done.output
    assert "CONSOLE_PORT=PORT ./dev docker lab" in done.output
    assert "docker logs" not in done.output
    assert lab.asked_for() == []


@pytest.mark.parametrize("port", ["console", "65536", "-1"])
def test_a_port_that_is_none(lab: Lab, port: str) -> None:
    """It is refused by its own name."""
    done = lab.run(CONSOLE_PORT=port)
    assert (done.exit_code, f"CONSOLE_PORT is '{port}'" in done.output) == (1, True)


def test_hosts_that_cannot_be_started(lab: Lab) -> None:
    """What was said is shown, and no half of them is left."""
    failing = f"{UP.removeprefix('docker ')} {lab.file} up"
    done = lab.run(FAILS=failing, SAYS="no space left on device")
    assert done.exit_code == 1
    assert "no space left on device" in done.output
    assert "The hosts are removed again." in done.output
    assert [words.split()[0] for words in lab.asked_for()] == ["up", "logs", "down"]
    assert lab.asked_for()[-1] == "down --volumes --remove-orphans --timeout 30"


def test_an_earlier_lab_is_ended_first(lab: Lab) -> None:
    """Its messages would be counted with those of the next."""
    lab.left.write_text("0123456789ab\n")
    done = lab.run(CONSOLE_PORT="console")
    assert "The hosts of an earlier walk-through are ended." in done.output
    assert [words.split()[0] for words in lab.asked_for()] == ["down"]


def test_two_at_once(lab: Lab) -> None:
    """The second leaves the first alone."""
    with lab.file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = lab.run()
    assert done.exit_code == 1
    assert "Another walk-through is under way" in done.output
    assert lab.asked_for() == []


def test_stopped_while_hosts_are_started(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C removes what was begun."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lab_docker.Compose, "wait_healthy", interrupt)
    monkeypatch.setattr(lab_docker.signal, "signal", lambda *_: None)
    done = lab.run()
    assert done.exit_code == 130
    assert "Nothing of them is left." in done.output
    assert [words.split()[0] for words in lab.asked_for()] == ["up", "down"]


def test_stopped_later(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts that run are the user's to look at."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lab_docker.Compose, "wait_healthy", lambda *_: None)
    monkeypatch.setattr(lab_docker.HostWalkthrough, "type", interrupt)
    done = lab.run()
    assert done.exit_code == 130
    assert "What runs by now goes on; ./dev docker lab --stop ends it." in done.output
    assert [words.split()[0] for words in lab.asked_for()] == ["up"]
