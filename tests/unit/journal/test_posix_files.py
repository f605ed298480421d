"""How the operating system's errors reach people."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal import files as files_module
from journal.errors import StoreFailed, StoreFull, StoreMissing, StoreReadOnly, StoreUnavailable
from journal.files import PosixFiles, create_store


def failing(number: int) -> Callable[..., Any]:
    """A system call that fails."""

    def call(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture
def files(tmp_path: Path) -> PosixFiles:
    """An empty store."""
    return PosixFiles(tmp_path)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_directory_is_told(
    files: PosixFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A store that cannot be written says where it is and what is needed."""
    monkeypatch.setattr(os, "open", failing(number))
    with pytest.raises(StoreReadOnly, match=f"{tmp_path}/claim-1: .*; the broker's user needs"):
        files.create("claim-1", b"")


def test_a_full_disk_is_told(files: PosixFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data file that does not fit is an error with its path, and nothing is left behind."""
    monkeypatch.setattr(files_module, "fallocate", failing(errno.ENOSPC))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(StoreFull, match=f"cannot create {tmp_path}/data: No space left on device"):
        files.create_data("data", 1000)
    assert files.names() == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_short_write_is_finished(files: PosixFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system may take less than it was given."""
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, pieces, offset: real(fd, [b"".join(pieces)[:4]], offset))
    file = files.create_data("data", 0 + 1)
    file.write(2, [b"abc", b"defg"])
    file.close()
    assert files.read("data", 0, 20) == b"\0\0abcdefg"


def test_a_write_that_stops_is_a_failure(files: PosixFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that makes no progress ends with what was taken."""
    monkeypatch.setattr(os, "pwritev", lambda *_: 1)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    file = files.create_data("data", 1)
    with pytest.raises(StoreFailed, match="only 1 of 3 bytes"):
        file.write(0, [b"abc"])
    file.close()


def test_a_failed_sync_is_a_failure(files: PosixFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of `fdatasync` is never swallowed."""
    file = files.create_data("data", 1)
    monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
    with pytest.raises(StoreFailed, match=r"cannot sync .*: Input/output error"):
        file.sync()
    file.close()
    file.close()


class Calls:
    """What a data file asks of the operating system, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, refuses: int = 0) -> None:
        self.made: list[str] = []
        pwritev, fdatasync = os.pwritev, os.fdatasync

        def write(descriptor: int, pieces: list[bytes], offset: int, flags: int = 0) -> int:
            if flags and refuses:
                raise OSError(refuses, os.strerror(refuses))
            self.made.append("durable write" if flags == os.RWF_DSYNC else "write")
            return pwritev(descriptor, pieces, offset, flags)

        def sync(descriptor: int) -> None:
            self.made.append("sync")
            fdatasync(descriptor)

        monkeypatch.setattr(os, "pwritev", write)
        monkeypatch.setattr(os, "fdatasync", sync)

    def of(self, act: Callable[[], None]) -> list[str]:
        """What something brings about."""
        self.made.clear()
        act()
        return list(self.made)


def test_a_write_and_its_sync_are_one_call_where_nothing_else_is_to_be_synced(
    files: PosixFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done to the file before, an allocation for instance, is synced by a sync of its own."""
    calls = Calls(monkeypatch)
    file = files.create_data("data", 100)

    def commit() -> None:
        file.write(0, [b"abc"], syncing=True)
        file.sync()

    def forget() -> None:
        file.write(0, [b"abc"])

    assert calls.of(commit) == ["write", "sync"]
    assert calls.of(commit) == ["durable write"]
    for change in (lambda: file.allocate(200), lambda: file.truncate(150), forget):
        change()
        assert calls.of(commit) == ["write", "sync"]
        assert calls.of(commit) == ["durable write"]
    assert calls.of(forget) == ["write"]
    assert calls.of(file.sync) == ["sync"]
    file.close()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_no_write_syncs_it_is_two_calls(
    files: PosixFiles, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A kernel, or a sandbox, may not know the one that does both."""
    calls = Calls(monkeypatch, refuses=number)
    file = files.create_data("data", 100)

    def commit() -> None:
        file.write(0, [b"abc"], syncing=True)
        file.sync()

    assert [calls.of(commit) for _ in range(3)] == [["write", "sync"]] * 3
    file.close()


def test_a_durable_write_that_fails_or_is_cut_short_is_no_sync(
    files: PosixFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rest is written and synced as ever; its error ends the file."""
    file = files.create_data("data", 100)
    file.write(0, [b"abc"], syncing=True)
    file.sync()
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, _pieces, offset, *flags: real(fd, [b"de"], offset, *flags))
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file.write(3, [b"defg"], syncing=True)
    file.sync()
    assert files.read("data", 0, 7) == b"abcdefg"
    assert len(synced) == 1
    monkeypatch.setattr(os, "pwritev", failing(errno.EIO))
    with pytest.raises(StoreFailed, match=r"cannot write .*: Input/output error"):
        file.write(7, [b"h"], syncing=True)
    file.close()


def test_a_check_that_fails_is_not_a_fence(files: PosixFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only "no such file" means fenced; anything else is a failure of this instance."""
    monkeypatch.setattr(os, "open", failing(errno.EMFILE))
    with pytest.raises(StoreFailed, match="Too many open files"):
        files.opens("live-1")


def test_a_file_system_that_knows_no_holes(files: PosixFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can say what was written, the whole file counts."""
    files.create_data("data", 5_000).close()
    monkeypatch.setattr(os, "lseek", failing(errno.EINVAL))
    assert files.written("data", 10) == 5_000
    monkeypatch.setattr(os, "lseek", failing(errno.EIO))
    with pytest.raises(StoreUnavailable):
        files.written("data", 10)


def test_a_store_is_made_only_in_a_directory_that_exists(tmp_path: Path) -> None:
    """A missing parent may be a shared file system that is not mounted."""
    create_store(tmp_path / "store")
    create_store(tmp_path / "store")
    assert (tmp_path / "store").is_dir()
    with pytest.raises(StoreMissing, match="mounted/store"):
        create_store(tmp_path / "mounted" / "store")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file"):
        create_store(tmp_path / "file")


def test_an_error_while_allocating_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs nothing that was there, and says what to do."""
    files = PosixFiles(tmp_path)
    files.allocate("reserve-1", 1000)
    file = files.create_data("data", 500)

    def full(descriptor: int, offset: int, length: int) -> None:
        os.ftruncate(descriptor, offset + length // 2)  # as some file systems do
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files_module, "fallocate", full)
    with pytest.raises(StoreFull, match="free some space"):
        files.allocate("reserve-1", 5000)
    with pytest.raises(StoreFull):
        file.allocate(5000)
    with pytest.raises(StoreFull):
        files.create_data("other", 10)
    file.close()
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"reserve-1": 1000, "data": 500}


def test_small_files_on_a_full_disk_lose_their_content_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim without its text is a claim: a takeover does not need the space for it."""
    files = PosixFiles(tmp_path)

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert files.create("claim-1", b"who")
    assert not files.create("claim-1", b"who")
    files.note("claim-1", b"who")
    assert (tmp_path / "claim-1").read_bytes() == b""


def test_a_reserve_that_can_only_be_written_is_written_whole_or_not_at_all(
    files: PosixFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is noticed as early as on any other file system, and gets back what was written."""
    monkeypatch.setattr(files_module, "fallocate", failing(errno.EOPNOTSUPP))
    files.allocate("reserve-1", 1000)
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:500], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFull, match="free some space"):
        files.allocate("reserve-1", 5000)
    assert files.read("reserve-1", 0, 9000) == bytes(1000)


def test_an_interrupted_system_call_is_made_again(files: PosixFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal is no failure of the disk."""
    errors = iter([errno.EINTR, errno.EINTR, 0])

    def call(*_arguments: int) -> int:
        number = next(errors)
        files_module.ctypes.set_errno(number)
        return -1 if number else 0

    monkeypatch.setattr(files_module, "_system_call", lambda: call)
    files.create_data("data", 100).close()
    assert next(errors, None) is None
