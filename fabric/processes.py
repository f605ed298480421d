"""Container processes as the operating system sees them.

A container process is detached (a session of its own), so it survives the one that started it. Whoever
supervises it, its starter or an adopter, holds a *pidfd*: a descriptor that becomes readable the moment the
process ends, whether or not it is a child of the holder.

A pid alone does not identify a process, since pids are used again; the start time in ``/proc/<pid>/stat``
does.

Source: pidfd_open(2), proc(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fabric.home import ContainerHome, Home, ProcessRecord

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.reactor import Reactor

LOG_TAIL_BYTES = 16 * 1024  # enough for the last lines of a log, whatever its size

_START_TIME_FIELD = 19  # field 22 of /proc/<pid>/stat, counted after "pid (name)"
_STATE_FIELD = 0


def identify(pid: int) -> ProcessRecord | None:
    """The running process with this pid, or None. A zombie does not run any more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[_STATE_FIELD] in "ZX":
        return None
    return ProcessRecord(pid=pid, start_time=int(fields[_START_TIME_FIELD]))


def is_running(process: ProcessRecord | None) -> bool:
    """Whether exactly this process still runs."""
    return process is not None and identify(process.pid) == process


def send_signal(process: ProcessRecord, number: signal.Signals) -> bool:
    """Send the signal to exactly this process. Returns False when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_running(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def container_command(home: Home, name: str) -> list[str]:
    """The command line of a container process."""
    return [sys.executable, "-m", "fabric.container", "--home", str(home.path), name]


def spawn(command: Sequence[str], console: Path) -> subprocess.Popen[bytes]:
    """Start a detached process. What it prints goes to the end of `console`. Raises OSError."""
    with console.open("ab") as output:
        return subprocess.Popen(  # nosec B603  # noqa: S603 - the command is ours, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd="/",
        )


def spawn_container(home: Home, name: str) -> SpawnedProcess:
    """Start the process of a container and write down which it is. Raises OSError, HomeUnusable."""
    container = home.container(name)
    container.make()
    spawned = SpawnedProcess(spawn(container_command(home, name), container.console))
    if spawned.record is not None:
        container.write_process(spawned.record)
    return spawned


def running_process(container: ContainerHome) -> ProcessRecord | None:
    """The process that runs this container now, or None."""
    process = container.read_process()
    return process if is_running(process) else None


class SpawnedProcess:
    """A process this one has started: it must be reaped by us."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        self.record = identify(process.pid)

    def detach(self) -> None:
        """Leave it to the init process: we end before it does."""
        self._process.returncode = 0  # so that Popen does not warn of a child left behind

    def reap(self) -> str:
        """How it ended, in words. To be called once it has ended."""
        return ending_text(self._process.wait())


def reap_own(pid: int) -> None:
    """Reap a process that has ended, if it is ours: a program that began anew still has its children."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def ending_text(status: int) -> str:
    """Words for what `Popen.wait` returned.

    >>> ending_text(1)
    'ended with exit code 1'
    >>> ending_text(-9)
    'was ended by SIGKILL'
    """
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:  # a real-time signal has no name
            return f"was ended by signal {-status}"
    return f"ended with exit code {status}"


class ProcessExit:
    """Calls `on_exit` once, in the reactor's turn in which the process was found ended.

    Raises ProcessLookupError when the process is gone already.
    """

    def __init__(self, reactor: Reactor, pid: int, on_exit: Callable[[], None]) -> None:
        self._reactor = reactor
        self._on_exit = on_exit
        self._descriptor = os.pidfd_open(pid)
        reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor the reactor waits for."""
        return self._descriptor

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """The name Twisted logs under."""
        return "process"

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """The process has ended."""
        self.cancel()
        self._on_exit()

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """The reactor is going away."""
        self.cancel()

    def cancel(self) -> None:
        """Watch no longer; the process is left alone."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1


def log_tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, without their line ends; empty when there is no log."""
    try:
        text = tail(path, LOG_TAIL_BYTES)[0].decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]


def tail(path: Path, bytes_max: int) -> tuple[bytes, int]:
    """The end of a file, and the size of the whole. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - bytes_max))
        return file.read(bytes_max), size
