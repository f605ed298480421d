"""What commands leave in the audit log, and `audit-list`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.memory_session import MemorySession

from fabric.audit import AuditEntry, AuditFile
from fabric.cli.audited import ASKER, READS, Asker
from fabric.cli.context import CommandContext
from fabric.cli.main import COMMANDS
from fabric.web.remote_commands import VIEWERS

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def opened(session: MemorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands have opened their session, on a host of a fabric."""
    (tmp_path / "fabric.json").write_text("{}")
    monkeypatch.setattr(CommandContext, "opened_session", session)


def newest(folder: Path) -> AuditEntry:
    """What the last command has left."""
    return AuditFile(folder / "audit.log").read()[0]


def test_a_command_is_written_down_with_who_typed_it(run: Run, tmp_path: Path) -> None:
    """In the file, and in the registry for all hosts."""
    run("user-add", "ann", "--password", "s3cr3t-s3cr3t", "--role", "viewer")
    entry = newest(tmp_path)
    assert (entry.role, entry.origin, entry.result) == ("ensemble", "command", "done")
    assert entry.action == "user-add ann --password=… --role=viewer"
    assert entry.source == f"{entry.user}@{entry.host}"
    (listed,) = json.loads(run("audit-list", "--output", "json").output)
    assert listed == entry.to_json()


@pytest.mark.parametrize(
    "arguments",
    [
        ("user-password", "ann", "--password", "s3cr3t-s3cr3t"),
        ("mq-create", "shop", "--networks-password", "s3cr3t-s3cr3t"),
        ("mq-create", "shop", "--property", "ssl.keyStoreKeyPassword=s3cr3t-s3cr3t"),
        ("profile-edit", "default", "--pid", "io.fabric8.x/db.password=s3cr3t-s3cr3t"),
        ("zk-create", "/fabric/configs/x", "s3cr3t-s3cr3t"),
    ],
)
def test_secrets_are_left_out(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Of options, of properties, and of what is written to znodes."""
    run("user-add", "ann", "--password", "other-password")
    run(*arguments)
    written = (tmp_path / "audit.log").read_text()
    assert arguments[0] in written
    assert "s3cr3t" not in written


def test_what_failed_is_written_down_too(run: Run, tmp_path: Path) -> None:
    """With the reason."""
    run("user-remove", "nobody", code=1)
    assert newest(tmp_path).result == "failed: User nobody does not exist."


def test_what_only_looks_is_not_written_down(run: Run, tmp_path: Path) -> None:
    """Lists leave no entries; what viewers may run is among them."""
    run("user-list")
    run("profile-display", "default")
    assert not (tmp_path / "audit.log").exists()
    assert VIEWERS <= READS
    assert READS - {"ensemble-list"} <= COMMANDS.keys()


def test_who_asks_from_afar_is_named(run: Run, tmp_path: Path) -> None:
    """Not the console's own account."""
    token = ASKER.set(Asker("ann", "admin", "192.0.2.1 with token 0123"))
    try:
        run("version-create")
    finally:
        ASKER.reset(token)
    entry = newest(tmp_path)
    assert (entry.user, entry.role, entry.source) == ("ann", "admin", "192.0.2.1 with token 0123")


def test_the_list_is_chosen_from(run: Run) -> None:
    """By user and time; a time that is none is refused."""
    assert "Nothing is written down" in run("audit-list").output
    run("version-create")
    assert "version-create" in run("audit-list", "--since", "1h").output
    assert "version-create" in run("audit-list", "--local").output
    assert "Nothing" in run("audit-list", "--since", "2999-01-01").output
    assert "Nothing" in run("audit-list", "--user", "somebody-else").output
    assert "neither a time ago" in run("audit-list", "--since", "soon", code=2).output
