"""The audit log: entries, the file, the registry, what is left out."""

import logging
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_session import MemorySession

from fabric import audit
from fabric.audit import (
    CONSOLE_LOGINS_MAX,
    FILES_KEPT,
    KEPT_MAX,
    PRUNE_EVERY,
    AuditEntry,
    AuditFeed,
    AuditFile,
    audit_table,
    printable,
    read_entries,
    write_entry,
)
from registry.session import Session

ENTRY = AuditEntry(1_700_000_000_000, "ann", "admin", "api", "192.0.2.1", "user-add bob")


@given(st.text(), st.text())
def test_an_entry_is_one_line_whatever_stands_in_it(user: str, action: str) -> None:
    """Line breaks, escape sequences and directions of writing can neither forge an entry nor hide one."""
    data = AuditEntry(0, user, "", "console", "", action).serialize()
    assert data.decode("ascii").isprintable()
    parsed = AuditEntry.parse(data)
    assert parsed is not None
    assert (parsed.user, parsed.action) == (user[:128], action[:2000])
    table = str(audit_table([parsed]))
    assert len(table.split("\n")) == 2
    assert all(line.isprintable() for line in table.split("\n"))


def test_what_is_not_printable_is_shown_as_what_it_is() -> None:
    """An escape sequence, and a mark that turns the direction of writing."""
    assert printable("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
    assert printable("Jürgen") == "Jürgen"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"null", b'{"at_ms": "x"}', b"\xff" * 10])
def test_a_damaged_entry_is_passed_over(data: bytes) -> None:
    """It costs the others nothing."""
    assert AuditEntry.parse(data) is None


def test_both_places_have_the_entry(tmp_path: Path) -> None:
    """The newest first; the file is the owner's."""
    session = cast("Session", MemorySession())
    for user in ("ann", "bob"):
        entry = AuditEntry(1_700_000_000_000, user, "admin", "api", "192.0.2.1", "user-add bob")
        assert write_entry(session, tmp_path / "audit.log", entry) == []
    assert [each.user for each in read_entries(session)] == ["bob", "ann"]
    assert [each.user for each in read_entries(session, user="ann")] == ["ann"]
    assert read_entries(session, since_ms=1_700_000_000_001) == []
    assert [each.user for each in AuditFile(tmp_path / "audit.log").read()] == ["bob", "ann"]
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_said_and_fails_nothing(tmp_path: Path) -> None:
    """A folder in the way; and without a home there is no file."""
    (tmp_path / "audit.log").mkdir()
    assert "cannot be written" in write_entry(None, tmp_path / "audit.log", ENTRY)[0]
    assert write_entry(None, tmp_path / "nowhere" / "audit.log", ENTRY) == []
    assert AuditFile(tmp_path / "nowhere" / "audit.log").read() == []


def test_the_registry_keeps_the_newest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However many are written."""
    monkeypatch.setattr(audit, "KEPT_MAX", 30)
    assert KEPT_MAX > PRUNE_EVERY
    session = cast("Session", MemorySession())
    for number in range(100):
        write_entry(session, tmp_path / "audit.log", AuditEntry(number, "ann", "", "api", "", ""))
    kept = [each.at_ms for each in read_entries(session)]
    assert kept[0] == 99
    assert 30 <= len(kept) <= 30 + PRUNE_EVERY


def test_the_file_is_replaced_when_it_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So many old ones are kept, and no entry of them is lost on the way."""
    monkeypatch.setattr(audit, "FILE_BYTES_MAX", 300)
    file = AuditFile(tmp_path / "audit.log")
    for number in range(40):
        file.append(AuditEntry(number, "ann", "", "api", "", ""))
    found = [AuditFile(path).read() for path in sorted(tmp_path.iterdir())]
    assert len(found) == FILES_KEPT + 1 - (not file.path.exists())
    numbers = sorted(each.at_ms for entries in found for each in entries)
    assert numbers == list(range(numbers[0], 40))


def fed(**audited: Any) -> list[AuditEntry]:
    """What becomes of something that a broker tells."""
    written: list[AuditEntry] = []
    record = logging.LogRecord("broker.audit", logging.INFO, "", 0, "", (), None)
    record.audited = {"remote": "tcp://192.0.2.1:5", "action": "purge {}", "result": "done", **audited}
    AuditFeed(written.append, "host").emit(record)
    return written


def test_what_brokers_tell_is_written() -> None:
    """Management by somebody, and who was refused, with the number."""
    (entry,) = fed(user="ann")
    assert (entry.user, entry.origin, entry.source, entry.host) == (
        "ann",
        "broker",
        "tcp://192.0.2.1:5",
        "host",
    )
    (entry,) = fed(user="ann", action="login", result="refused: no", count=7, left_out=2)
    assert (entry.count, entry.left_out) == (7, 2)
    assert AuditEntry.parse(entry.serialize()) == entry
    assert "refused: no (7 times) (and 2 more)" in str(audit_table([entry]))


def test_what_the_console_tells_itself_is_not_written_twice() -> None:
    """But the end of a job that ran on is, as whose it was; and so many wrong passwords are nobody's slip."""
    assert fed(user="console@root") == []
    asker = {"user": "ann", "role": "operator", "source": "192.0.2.9"}
    (entry,) = fed(user="console@root", asker=asker)
    assert (entry.user, entry.role, entry.source) == ("ann", "operator", "192.0.2.9")
    (entry,) = fed(user="bob", asker=asker)
    assert (entry.user, entry.source) == ("bob", "tcp://192.0.2.1:5"), "only the console is believed"
    assert fed(user="console@root", action="login", count=CONSOLE_LOGINS_MAX) == []
    (entry,) = fed(user="console@root", action="login", count=CONSOLE_LOGINS_MAX + 1)
    assert entry.user == "console@root"


def test_entries_of_older_versions_were_refused_once() -> None:
    """They do not say how often; what is no number is damage."""
    old = b'{"at_ms": 1, "user": "", "role": "", "origin": "", "source": "", "action": "", "result": ""}'
    parsed = AuditEntry.parse(old)
    assert parsed is not None and parsed.count == 1
    assert AuditEntry.parse(old[:-1] + b', "count": "x"}') is None
