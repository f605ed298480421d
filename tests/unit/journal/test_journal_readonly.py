"""A store that is only looked at cannot be changed by accident."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.journal_stores import fill, fingerprint

from journal.files import PosixFiles
from journal.readonly import ReadOnlyFiles

CHANGES: list[Callable[[ReadOnlyFiles], object]] = [
    lambda files: files.create("live-9", b""),
    lambda files: files.note("claim-1", b""),
    lambda files: files.remove("claim-1"),
    lambda files: files.create_data("data-000009-000000", 10),
    lambda files: files.allocate("reserve-1", 10),
    lambda files: files.trim("data-000001-000000", 0),
    lambda files: files.sync_directory(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_refused(change: Callable[[ReadOnlyFiles], object], tmp_path: Path) -> None:
    """Each call that would change something raises before it reaches the disk."""
    fill(tmp_path / "store", 3)
    before = fingerprint(tmp_path / "store")
    with pytest.raises(AssertionError, match="only looked at"):
        change(ReadOnlyFiles(PosixFiles(tmp_path / "store")))
    assert fingerprint(tmp_path / "store") == before


def test_what_reads_is_passed_on(tmp_path: Path) -> None:
    """Everything else is what the disk says."""
    fill(tmp_path / "store", 3)
    posix = PosixFiles(tmp_path / "store")
    files = ReadOnlyFiles(posix)
    name = "data-000001-000000"
    assert sorted(files.names()) == sorted(posix.names())
    assert files.opens(name)
    assert not files.opens("nothing")
    assert files.read(name, 0, 8) == b"FMQSTORE"
    assert files.written(name, 0) == posix.written(name, 0)
    assert files.describe(name) == str(tmp_path / "store" / name)
    assert files.free_bytes() > 0
