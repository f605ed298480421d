"""The lock on something of a host: who waits, who is refused, and what a dead holder leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fabric.errors import HostLocked
from fabric.host_lock import hold

HOLD_AND_DIE = """
import os, sys
from pathlib import Path
from fabric.host_lock import hold
held = hold(Path(sys.argv[1]), "fabric doing")
held.__enter__()
os._exit(0)
"""


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    """Command, process, user and time; after the first it may go on."""
    path = tmp_path / "lock"
    with hold(path, "fabric doing"):
        with pytest.raises(HostLocked) as refused, hold(path, "fabric other", wait_s=0):
            pass
        assert refused.value.what.startswith(f"`fabric doing` (process {os.getpid()} of ")
    with hold(path, "fabric other", wait_s=0):
        pass


def test_the_second_waits(tmp_path: Path) -> None:
    """It says once for whom, and goes on when the first is done."""
    path = tmp_path / "lock"
    said: list[str] = []
    waits, done = threading.Event(), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        waits.set()

    def wait() -> None:
        with hold(path, "fabric other", wait_s=60, say=say):
            done.set()

    with hold(path, "fabric doing"):
        second = threading.Thread(target=wait)
        second.start()
        assert waits.wait(30)
        assert not done.is_set()
    second.join(60)
    assert done.is_set()
    assert len(said) == 1
    assert said[0].startswith("Waiting for `fabric doing` (process ")


def test_one_who_died_holds_nothing(tmp_path: Path) -> None:
    """What stands in the file does not count; the kernel's lock does."""
    path = tmp_path / "lock"
    subprocess.run([sys.executable, "-c", HOLD_AND_DIE, str(path)], check=True, timeout=60)
    assert b"fabric doing" in path.read_bytes()
    with hold(path, "fabric other", wait_s=0):
        assert b"fabric other" in path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"nothing", b"[]", b"{}", b"\xff"])
def test_a_holder_who_has_not_said_anything(tmp_path: Path, content: bytes) -> None:
    """It has begun only this moment, or somebody wrote something else into the file."""
    path = tmp_path / "lock"
    with hold(path, "fabric doing"):
        path.write_bytes(content)
        with (
            pytest.raises(HostLocked, match=r"^Another command is not done"),
            hold(path, "fabric other", wait_s=0),
        ):
            pass
