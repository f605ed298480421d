"""The journal's tool on a store that is being written, and while masters change.

A master in a process of its own writes and consumes as fast as it can, with data files so small that they are
sealed, compacted and removed all the time. The tool looks at the store over and over.
"""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.waiting import wait_until

from journal.__main__ import main
from journal.exchange import ExportedMessage, ExportReader
from journal.export import export_files
from journal.fence import checkpoint_files, data_files
from journal.files import PosixFiles
from journal.verification import verify_files

pytestmark = pytest.mark.integration
PROGRAM = Path(__file__).with_name("busy_master.py")
LOOKS = 25
KEPT = 50


@contextmanager
def busy_master(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is master of a store, and busy."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> dict[str, int]:
    """What a master says when it was asked to close."""
    out, _ = process.communicate(timeout=60)
    found: dict[str, int] = json.loads(out)
    return found


def file_numbers(directory: Path) -> set[str]:
    """The data files and checkpoints there are."""
    names = [path.name for path in directory.iterdir()]
    return {*map(str, data_files(names)), *map(str, checkpoint_files(names))}


def removed_files(seen: list[set[str]]) -> list[str]:
    """The data files that were there once and are not any more."""
    gone: set[str] = set().union(*seen) - seen[-1] if seen else set()
    return [name for name in gone if name.startswith("data-")]


def test_a_busy_store_is_always_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each look at a store that changes finds it sound, and the master never notices."""
    directory = tmp_path / "store"
    with busy_master(directory) as process:
        seen: list[set[str]] = []
        most = 0
        while len(seen) < LOOKS or not removed_files(seen):  # it is the removals that are attacked
            for command in ("verify", "inspect", "stats"):
                assert main([command, str(directory)]) == 0, capsys.readouterr()
            seen.append(file_numbers(directory))
            found = verify_files(PosixFiles(directory), str(directory))
            assert found.sound, found.findings
            most = max(most, found.messages)
        report = ended(process)
    assert report["failed"] == 0
    assert most > 0
    names = {path.name.split("-")[0] for path in directory.iterdir()}
    assert names <= {"claim", "live", "data", "checkpoint"}
    assert verify_files(PosixFiles(directory), str(directory)).messages == report["live"]


def test_an_export_of_a_busy_store_is_whole(tmp_path: Path) -> None:
    """Whatever is moved or consumed meanwhile: what is live all the time is in the export, once."""
    directory = tmp_path / "store"
    with busy_master(directory) as process:
        looks = 0
        kept: list[ExportedMessage] = []
        while looks < LOOKS or len(kept) < KEPT:
            looks += 1
            stream = io.BytesIO()
            done = export_files(PosixFiles(directory), str(directory), stream)
            assert done.damaged == 0, done.errors
            stream.seek(0)
            messages = list(ExportReader(stream).messages())
            kept = [each for each in messages if each.destination == "queue://kept"]
            assert [each.body[:4] for each in kept] == [b"%04d" % number for number in range(len(kept))]
            assert all(each.body == each.body[:4] * 50 for each in messages)
        assert ended(process)["failed"] == 0


def test_masters_may_change_while_the_store_is_read(tmp_path: Path) -> None:
    """A takeover in the middle of a look seals, cuts and removes files: that is no damage either."""
    directory = tmp_path / "store"
    problems: list[object] = []
    looks: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            found = verify_files(PosixFiles(directory), str(directory))
            problems.extend(found.findings)
            looks.append(found.inspection.report.ruler)

    reader = threading.Thread(target=look)
    with busy_master(directory) as first:
        reader.start()
        for _ in range(4):
            with busy_master(directory) as _second:
                count = len(looks)
                wait_until(lambda: len(looks) > count + 1, 60)  # noqa: B023 - called before the next turn
        first.kill()
        stop.set()
        reader.join(60)
    assert not reader.is_alive()
    assert problems == []
    assert len(set(looks)) > 1
