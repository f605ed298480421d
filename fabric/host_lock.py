"""A lock on something of this host that one command at a time may change.

The kernel holds it (flock) for as long as the process lives, so nothing is left locked by one that has died.
The file says who holds it, for whoever has to wait.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import getpass
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fabric.errors import HostLocked
from fabric.home import SECRET_FILE_MODE

WAIT_S: Final = 10.0
"""What is locked is done in less."""
POLL_S: Final = 0.05
RECORD_BYTES_MAX: Final = 4096


@contextlib.contextmanager
def hold(
    path: Path, doing: str, *, wait_s: float | None = None, say: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Be the only one who holds the lock.

    Args:
        path: The file, in a folder that exists; it stays.
        doing: The command, for those who wait.
        wait_s: How long to wait for somebody else; `WAIT_S` if left out.
        say: Told once whom is waited for.

    Raises:
        HostLocked: somebody else holds it all the time.
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, SECRET_FILE_MODE)
    try:
        _take(descriptor, WAIT_S if wait_s is None else wait_s, say)
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = {"doing": doing, "pid": os.getpid(), "user": _user(), "since": since}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, wait_s: float, say: Callable[[str], None]) -> None:
    deadline_s = time.monotonic() + wait_s
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            if time.monotonic() >= deadline_s:
                raise HostLocked(holder) from None
            if not said:
                said = True
                say(f"Waiting for {holder}")
            time.sleep(POLL_S)
        else:
            return


def _holder(descriptor: int) -> str:
    """Who holds it, in words; it may have begun only this moment."""
    try:
        record = json.loads(os.pread(descriptor, RECORD_BYTES_MAX, 0))
        return "`{doing}` (process {pid} of {user}, since {since})".format_map(record)
    except (ValueError, TypeError, KeyError):
        return "another command"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container of Docker's
        return str(os.getuid())
