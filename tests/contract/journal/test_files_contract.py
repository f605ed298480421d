"""What every disk promises to the journal: the real one and the one of the simulation."""

import errno
import os
from pathlib import Path

import pytest
from support.fake_disk import FakeDisk, FakeFiles

from journal import files as files_module
from journal.errors import StoreFailed, StoreMissing
from journal.files import Files, PosixFiles


@pytest.fixture(params=["posix", "fake"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """An empty directory on each kind of disk."""
    return PosixFiles(tmp_path) if request.param == "posix" else FakeFiles(FakeDisk())


@pytest.fixture(params=["posix", "fake"])
def written_only(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """An empty directory of a file system that cannot allocate, on each kind of disk."""
    if request.param == "posix":

        def cannot(*_arguments: int) -> None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        monkeypatch.setattr(files_module, "fallocate", cannot)
        return PosixFiles(tmp_path)
    disk = FakeDisk()
    disk.allocates = False
    return FakeFiles(disk)


@pytest.fixture(params=["posix", "fake"])
def missing(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """A directory that does not exist, on each kind of disk."""
    if request.param == "posix":
        return PosixFiles(tmp_path / "missing")
    disk = FakeDisk()
    disk.missing = True
    return FakeFiles(disk)


def test_a_name_is_created_once(files: Files) -> None:
    """Exactly one of several creators of a name succeeds."""
    assert files.create("claim-1", b"a")
    assert not files.create("claim-1", b"b")
    assert files.names() == ["claim-1"]
    assert files.read("claim-1", 0, 100) == b"a"


def test_opens_says_whether_a_name_exists(files: Files) -> None:
    """The fence check follows the directory, not a file that is held open."""
    assert not files.opens("live-1")
    files.create("live-1", b"")
    assert files.opens("live-1")
    files.remove("live-1")
    assert not files.opens("live-1")


def test_removing_what_is_gone_is_fine(files: Files) -> None:
    """Two brokers may remove the same token."""
    files.remove("live-1")
    files.create("live-1", b"")
    files.remove("live-1")
    files.remove("live-1")
    files.sync_directory()
    assert files.names() == []


def test_a_data_file_starts_as_zeros_and_is_created_once(files: Files) -> None:
    """Preallocated bytes are zero, which is how the end of the log looks."""
    file = files.create_data("data", 1000)
    assert files.read("data", 0, 2000) == bytes(1000)
    assert 0 <= files.written("data", 0) <= 1000
    with pytest.raises(StoreFailed, match="data"):
        files.create_data("data", 1000)
    file.close()


def test_synced_bytes_are_read_back(files: Files) -> None:
    """What was written and synced is what everyone reads."""
    file = files.create_data("data", 10_000)
    file.write(10, [b"abc", b"", b"def"])
    file.sync()
    assert files.read("data", 8, 10) == b"\0\0abcdef\0\0"
    assert files.read("data", 9_999, 10) == b"\0"
    assert files.read("data", 10_000, 10) == b""
    assert 16 <= files.written("data", 0) <= 10_000
    assert files.written("data", 9_000) >= 9_000
    file.close()


def test_a_data_file_grows_beyond_what_was_allocated(files: Files) -> None:
    """The last batch of a file may stand behind its allocated end."""
    file = files.create_data("data", 100)
    file.write(90, [b"x" * 50])
    file.sync()
    assert files.read("data", 90, 100) == b"x" * 50
    file.truncate(120)
    file.close()
    assert files.read("data", 90, 100) == b"x" * 30


def test_trim_never_lengthens(files: Files) -> None:
    """Trimming frees what was allocated and keeps what was written."""
    file = files.create_data("data", 5_000)
    file.write(0, [b"x" * 700])
    file.sync()
    file.close()
    files.trim("data", 9_000)
    assert len(files.read("data", 0, 10_000)) == 5_000
    files.trim("data", files.written("data", 0))
    assert files.read("data", 0, 10_000).startswith(b"x" * 700)
    assert len(files.read("data", 0, 10_000)) <= 5_000
    files.trim("data", 3)
    assert files.read("data", 0, 10_000) == b"xxx"
    files.trim("gone", 3)
    assert files.names() == ["data"]


def test_more_pieces_than_one_system_call_takes(files: Files) -> None:
    """A batch of any number of pieces is written in order."""
    file = files.create_data("data", 1)
    file.write(0, [bytes([i % 251]) for i in range(5_000)])
    file.sync()
    file.close()
    assert files.read("data", 0, 6_000) == bytes(i % 251 for i in range(5_000))


def test_what_does_not_exist_cannot_be_read(files: Files) -> None:
    """A missing file is told apart from one that cannot be read."""
    with pytest.raises(StoreMissing, match="data"):
        files.read("data", 0, 1)
    with pytest.raises(StoreMissing, match="data"):
        files.written("data", 0)


def test_a_missing_directory_is_named(missing: Files) -> None:
    """A directory that is not there is an error with its name, not an empty store."""
    with pytest.raises(StoreMissing, match="directory"):
        missing.names()


def test_describe_says_where_a_file_is(files: Files) -> None:
    """People are told a path they can look at."""
    assert files.describe("data-1").endswith("/data-1")


def test_allocating_makes_a_file_longer_and_never_shorter(files: Files) -> None:
    """What is allocated reads as zeros, and what was written stays."""
    file = files.create_data("data", 100)
    file.write(0, [b"x" * 100])
    assert file.allocate(5_000)
    assert file.allocate(10)
    file.sync()
    file.close()
    assert files.read("data", 0, 10_000) == b"x" * 100 + bytes(4_900)


def test_a_file_that_holds_nothing_takes_space(files: Files) -> None:
    """A reserve is made, grows, shrinks and goes like any other file."""
    files.allocate("reserve-1", 50_000)
    files.allocate("reserve-1", 90_000)
    files.allocate("reserve-1", 10)
    assert len(files.read("reserve-1", 0, 100_000)) == 90_000
    files.trim("reserve-1", 20_000)
    assert len(files.read("reserve-1", 0, 100_000)) == 20_000
    assert files.free_bytes() > 0
    files.remove("reserve-1")
    assert files.names() == []


def test_a_note_replaces_all_of_the_content(files: Files) -> None:
    """A shorter content leaves nothing of the longer one, unless it is lost as a whole."""
    files.create("claim-1", b"a long content")
    for _ in range(20):
        files.note("claim-1", b"short")
        assert files.read("claim-1", 0, 100) in {b"short", b""}


def test_what_cannot_be_allocated_is_written_when_it_is_needed(written_only: Files) -> None:
    """A takeover does not wait until a whole data file was written with zeros."""
    file = written_only.create_data("data", 1_000)
    assert written_only.read("data", 0, 2_000) == b""
    assert not file.allocate(1_000)
    assert written_only.read("data", 0, 2_000) == b""
    file.write(0, [b"x" * 50])
    file.sync()
    file.close()
    assert written_only.read("data", 0, 2_000) == b"x" * 50


def test_a_file_that_holds_nothing_takes_space_on_any_file_system(written_only: Files) -> None:
    """A reserve that was only promised would be none."""
    written_only.allocate("reserve-1", 3_000_000)
    written_only.allocate("reserve-1", 10)
    assert written_only.read("reserve-1", 0, 4_000_000) == bytes(3_000_000)
    written_only.trim("reserve-1", 7)
    assert written_only.read("reserve-1", 0, 10) == bytes(7)
