"""The spool: sequential files without names, bounded, given back when read through, and a disk that fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.region import spool as spool_module
from broker.region.spool import BUFFER_BYTES, Spool, SpoolFailed, SpoolFull


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """One with small segments."""
    spool = Spool(tmp_path / "made" / "when needed", 10_000_000, 10_000, segment_bytes=1000)
    yield spool
    spool.close()


def open_files(folder: Path) -> int:
    """How many files of a folder this process has open, those without names included."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += str(descriptor.readlink()).startswith(str(folder))
        except FileNotFoundError:
            continue
    return count


def test_nothing_is_made_before_the_first_message(tmp_path: Path, spool: Spool) -> None:
    """A broker that needs no temporary storage leaves no trace."""
    assert not (tmp_path / "made").exists()
    spool.put(1, b"x")
    assert (tmp_path / "made" / "when needed").is_dir()
    assert list((tmp_path / "made" / "when needed").iterdir()) == []


def test_messages_come_back_whole_whatever_is_written_already(spool: Spool) -> None:
    """From the buffer, from the file, and long ones."""
    contents = [bytes([number % 251]) * (number * 97 % 5000 + 1) for number in range(300)]
    contents.append(b"y" * (3 * BUFFER_BYTES))
    contents.append(b"z")
    entries = [spool.put(number, content) for number, content in enumerate(contents)]
    assert [spool.get(entry) for entry in entries] == contents
    assert [entry.ref for entry in entries] == list(range(len(contents)))
    assert spool.bytes_used == sum(map(len, contents))


def test_a_segment_goes_when_nothing_in_it_is_wanted(tmp_path: Path, spool: Spool) -> None:
    """In whatever order messages are consumed, their file goes with the last of them."""
    entries = [spool.put(number, b"x" * 500) for number in range(6)]
    assert open_files(tmp_path) == 3
    spool.free(entries[1])
    spool.free(entries[2])
    assert (open_files(tmp_path), spool.bytes_used) == (3, 3000)
    spool.free(entries[0])
    assert (open_files(tmp_path), spool.bytes_used) == (2, 2000)
    for entry in entries[3:]:
        spool.free(entry)
    assert (open_files(tmp_path), spool.bytes_used, spool.count) == (0, 0, 0)
    again = spool.put(7, b"again")
    assert spool.get(again) == b"again"


def test_closing_gives_everything_back(tmp_path: Path, spool: Spool) -> None:
    """The end of a mastership leaves nothing on the disk; entries that are freed later do no harm."""
    entry = spool.put(1, b"x")
    spool.close()
    assert (open_files(tmp_path), spool.bytes_used) == (0, 0)
    spool.free(entry)
    assert spool.bytes_used == 0


def test_its_limits_are_refused_by_name(tmp_path: Path) -> None:
    """Bytes, and messages, since each of them takes memory too."""
    spool = Spool(tmp_path, 100, 5)
    spool.put(1, b"x" * 100)
    with pytest.raises(SpoolFull, match="it holds 1 messages, 100 bytes"):
        spool.put(2, b"x")
    spool.close()
    spool = Spool(tmp_path, 100, 1)
    spool.put(1, b"x")
    with pytest.raises(SpoolFull):
        spool.put(2, b"x")
    spool.close()
    with pytest.raises(SpoolFull):
        Spool(None, 100, 5).put(1, b"x")


def test_a_disk_that_fails_loses_nothing_that_was_taken(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written was not taken; what waited in the buffer is written later."""
    part = b"x" * (BUFFER_BYTES // 2)
    spool = Spool(spool._folder, 1 << 30, 100)
    entries = [spool.put(1, part), spool.put(2, b"y" + part[1:])]
    room = [BUFFER_BYTES // 4]
    write = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count, room[0] = write(descriptor, bytes(data)[: room[0]], offset), 0
        return count

    monkeypatch.setattr(spool_module.os, "pwrite", full)
    for size in (100, BUFFER_BYTES):
        with pytest.raises(SpoolFailed, match="No space left"):
            spool.put(3, b"z" * size)
    assert (spool.count, spool.bytes_used) == (2, BUFFER_BYTES)
    assert [spool.get(entry)[:1] for entry in entries] == [b"x", b"y"]
    room[0] = BUFFER_BYTES // 2
    with pytest.raises(SpoolFailed):
        spool.put(3, b"z" * BUFFER_BYTES)
    monkeypatch.setattr(spool_module.os, "pwrite", write)
    entries.append(spool.put(4, b"w" * BUFFER_BYTES))
    entries.append(spool.put(5, b"v"))
    assert [spool.get(entry) for entry in entries] == [part, b"y" + part[1:], b"w" * BUFFER_BYTES, b"v"]
    spool.close()


def test_a_file_that_cannot_be_read_is_an_error(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, not guessed about."""
    entry = spool.put(1, b"x" * (BUFFER_BYTES + 1))
    monkeypatch.setattr(spool_module.os, "pread", lambda *_: b"")
    with pytest.raises(SpoolFailed, match="shorter"):
        spool.get(entry)
