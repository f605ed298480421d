"""Processes as the operating system shows them."""

import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_reactor import FakeReactor
from support.waiting import wait_until

from fabric.home import ProcessRecord
from fabric.processes import ProcessExit, ending_text, identify, is_running, log_tail, send_signal, spawn


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that would live for a minute."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_known_by_pid_and_start_time(sleeper: subprocess.Popen[bytes]) -> None:
    """A recycled pid is not taken for the process that had it before."""
    process = identify(sleeper.pid)
    assert process is not None
    assert is_running(process)
    assert not is_running(ProcessRecord(process.pid, process.start_time - 1))
    assert not is_running(None)


def test_a_zombie_does_not_run(sleeper: subprocess.Popen[bytes]) -> None:
    """A process that has ended but was not reaped counts as ended."""
    sleeper.kill()
    wait_until(lambda: identify(sleeper.pid) is None, 5)


def test_signals_reach_exactly_the_process_meant(sleeper: subprocess.Popen[bytes]) -> None:
    """A stranger with the same pid gets no signal."""
    process = identify(sleeper.pid)
    assert process is not None
    assert not send_signal(ProcessRecord(process.pid, process.start_time - 1), signal.SIGKILL)
    assert sleeper.poll() is None
    assert send_signal(process, signal.SIGTERM)
    assert sleeper.wait(5) == -signal.SIGTERM
    assert not send_signal(process, signal.SIGTERM)


def test_the_end_is_reported_once(sleeper: subprocess.Popen[bytes], reactor: FakeReactor) -> None:
    """The descriptor becomes readable at the end of the process, and the callback comes once."""
    ended: list[bool] = []
    watch = ProcessExit(reactor, sleeper.pid, lambda: ended.append(True))
    assert select.select([watch], [], [], 0)[0] == []
    sleeper.kill()
    assert select.select([watch], [], [], 5)[0] == [watch]
    watch.doRead()
    watch.cancel()
    assert (ended, reactor.readers, watch.fileno()) == ([True], [], -1)


def test_a_cancelled_watch_keeps_no_descriptor(
    sleeper: subprocess.Popen[bytes], reactor: FakeReactor
) -> None:
    """Nothing is left open by watches that are given up."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    ProcessExit(reactor, sleeper.pid, lambda: None).cancel()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_spawned_process_is_detached_and_what_it_prints_is_kept(tmp_path: Path) -> None:
    """It has a session of its own, and its output stands at the end of the console file."""
    console = tmp_path / "console.log"
    console.write_text("before\n")
    process = spawn([sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"], console)
    assert process.wait(10) == 0
    assert console.read_text() == "before\nTrue\n"


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "ended with exit code 0"), (-9, "was ended by SIGKILL"), (-40, "was ended by signal 40")],
)
def test_endings_have_words(status: int, text: str) -> None:
    """An exit status is said so that a person understands it."""
    assert ending_text(status) == text


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    """Only the last lines are read, of a large log as of none."""
    log = tmp_path / "x.log"
    assert log_tail(log, 3) == []
    log.write_bytes(b"x" * 100_000 + b"\nlast but one\nlast \xff\n")
    assert log_tail(log, 2) == ["last but one", "last \ufffd"]
