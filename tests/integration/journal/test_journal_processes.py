"""Two real processes on one store."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journal.__main__ import main

pytestmark = pytest.mark.integration
PROGRAM = Path(__file__).with_name("journal_process.py")


class Process:
    """A process with a journal."""

    def __init__(self, directory: Path, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(directory), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def tell(self, line: str) -> None:
        """Writes a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """The next thing it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        os.kill(self.process.pid, number)

    def end(self) -> None:
        """Kills it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Starts processes on one store; they end with the test."""
    processes: list[Process] = []

    def start(name: str) -> Process:
        processes.append(Process(tmp_path / "store", name))
        return processes[-1]

    yield start
    for process in processes:
        process.end()


def test_a_killed_masters_acknowledgements_survive(start: Callable[[str], Process]) -> None:
    """P1: kill -9 in the middle of a burst loses nothing that was acknowledged."""
    first = start("a")
    assert first.line() == "serving 1 with"
    first.tell("send 100000")
    acknowledged = [first.line() for _ in range(200)]
    first.signal(signal.SIGKILL)
    assert first.process.stdout is not None
    acknowledged += [line.strip() for line in first.process.stdout if line.endswith("\n")]
    second = start("b")
    seen = second.line().split()[3:]
    expected = [line.removeprefix("acknowledged ") for line in acknowledged]
    assert seen[: len(expected)] == expected
    assert len(seen) <= len(expected) + 2  # what was written or acknowledged, and not said any more


def test_a_stopped_master_wakes_up_fenced(start: Callable[[str], Process], tmp_path: Path) -> None:
    """P2: SIGSTOP, takeover, SIGCONT: the zombie says so, acknowledges nothing more and damages nothing."""
    first = start("a")
    assert first.line() == "serving 1 with"
    first.tell("send 3")
    assert [first.line() for _ in range(3)] == ["acknowledged a0", "acknowledged a1", "acknowledged a2"]
    first.signal(signal.SIGSTOP)
    second = start("b")
    assert second.line() == "serving 2 with a0 a1 a2"
    second.tell("send 2")
    assert [second.line(), second.line()] == ["acknowledged b0", "acknowledged b1"]
    first.tell("send 5")
    first.signal(signal.SIGCONT)
    assert first.line() == "failed StoreFenced"
    first.tell("quit")
    assert first.process.wait(10) == 0
    second.tell("send 1")
    assert second.line() == "acknowledged b0"
    second.tell("quit")
    assert second.process.wait(10) == 0
    assert main(["verify", str(tmp_path / "store")]) == 0
    third = start("c")
    assert third.line() == "serving 3 with a0 a1 a2 b0 b1 b0"


def test_a_master_stopped_in_a_burst_wakes_up_fenced(start: Callable[[str], Process]) -> None:
    """P2: wherever a master is frozen, its successor sees all that it ever acknowledged."""
    first = start("a")
    assert first.line() == "serving 1 with"
    first.tell("send 1000000")
    lines = [first.line() for _ in range(100)]
    first.signal(signal.SIGSTOP)
    second = start("b")
    seen = second.line().split()[3:]
    first.signal(signal.SIGCONT)
    while (line := first.line()).startswith("acknowledged"):
        lines.append(line)
    assert line == "failed StoreFenced"
    assert seen[: len(lines)] == [line.removeprefix("acknowledged ") for line in lines]
    assert len(seen) <= len(lines) + 1


def test_an_idle_stopped_master_finds_out_by_itself(start: Callable[[str], Process]) -> None:
    """P2: a zombie with nothing to write is fenced too, within its idle check."""
    first = start("a")
    assert first.line() == "serving 1 with"
    first.signal(signal.SIGSTOP)
    second = start("b")
    assert second.line().startswith("serving 2")
    first.tell("failure")
    first.signal(signal.SIGCONT)
    assert first.line() == "failed StoreFenced"
