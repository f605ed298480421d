"""The audit log: who did what, when, from where, and what became of it.

An entry is a line of JSON in ASCII, so that nothing in a name can begin another line or move a cursor. It is
appended to a file of the host, which is replaced at `FILE_BYTES_MAX` and kept `FILES_KEPT` times, and to the
registry, which keeps the newest `KEPT_MAX` of all hosts. Writing it never fails what it tells of.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fabric.home import SECRET_FILE_MODE
from fabric.table import Table
from fabric.users import MADE_BY_FABRIC
from fabric.znodes import read_children
from registry import paths
from registry.errors import RegistryError

if TYPE_CHECKING:
    from registry.session import Session

KEPT_MAX: Final = 1_000
"""Entries in the registry: some 300 kB of what ZooKeeper holds in memory."""
PRUNE_EVERY: Final = 20
"""The registry's list is read once in so many entries."""
FILE_BYTES_MAX: Final = 10 * 1024 * 1024
FILES_KEPT: Final = 5
NAME_CHARACTERS_MAX: Final = 128
TEXT_CHARACTERS_MAX: Final = 2_000
"""Of what was done, and of what became of it."""
DONE: Final = "done"
CONSOLE_LOGINS_MAX: Final = 50
"""A console tries so often to log in to a broker that has not heard of its user yet; see `broker_links`."""

log = logging.getLogger("fabric.audit")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done, or was refused.

    Attributes:
        at_ms: when it ended, milliseconds since 1970 by the host's clock.
        user: who: a user of the fabric, or of the host where a command was typed.
        role: what he may: `viewer`, `operator`, `admin`, or `ensemble` for who knows the ensemble's password.
        origin: by what: `command`, `console`, `api`, `metrics`, `broker` or `container`.
        source: from where: an address, or user and host.
        action: what, without secrets.
        result: `done`, or why not.
        host: whose log it is.
        left_out: entries of the same kind that were not written before this one.
        count: how often within a minute, if it was refused.
    """

    at_ms: int
    user: str
    role: str
    origin: str
    source: str
    action: str
    result: str = DONE
    host: str = ""
    left_out: int = 0
    count: int = 1

    def serialize(self) -> bytes:
        """One line, without its end."""
        cut = {
            name: value[: TEXT_CHARACTERS_MAX if name in ("action", "result") else NAME_CHARACTERS_MAX]
            for name, value in asdict(self).items()
            if isinstance(value, str)
        }
        return json.dumps({**asdict(self), **cut}).encode("ascii")

    def to_json(self) -> dict[str, Any]:
        """The entry for scripts."""
        return asdict(self)

    @property
    def at(self) -> datetime.datetime:
        """When, in UTC."""
        return datetime.datetime.fromtimestamp(self.at_ms / 1000, datetime.UTC)

    @classmethod
    def parse(cls, data: bytes) -> AuditEntry | None:
        """Read a line; None if it is damaged. Fields of newer versions are passed over."""
        try:
            said = json.loads(data)
            texts = [said[name] for name in ("user", "role", "origin", "source", "action", "result")]
            host, at_ms = said.get("host", ""), said["at_ms"]
            left_out, count = said.get("left_out", 0), said.get("count", 1)
            datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError, OSError):
            return None
        if not all(isinstance(text, str) for text in (*texts, host)):
            return None
        if any(type(number) is not int for number in (at_ms, left_out, count)):
            return None
        user, role, origin, source, action, result = texts
        return cls(at_ms, user, role, origin, source, action, result, host, left_out, count)


class AuditFile:
    """The file of this host. Several processes may append to it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: AuditEntry) -> None:
        """Write an entry, if there is a fabric's folder here. Raises OSError."""
        if not self.path.parent.is_dir():
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, SECRET_FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, entry.serialize() + b"\n")
            if os.fstat(descriptor).st_size >= FILE_BYTES_MAX and self._is_current(descriptor):
                self._replace()
        finally:
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Whether nobody else has replaced it meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        return False

    def _replace(self) -> None:
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, FILES_KEPT + 1))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def read(self) -> list[AuditEntry]:
        """The entries of the present file, the newest first; none if there is none."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [entry for line in reversed(lines) if (entry := AuditEntry.parse(line)) is not None]


def write_entry(session: Session | None, file: Path | None, entry: AuditEntry) -> list[str]:
    """Write an entry to the file, if there is one, and, with a session, to the registry. Blocks.

    Returns:
        What could not be written, and why; nothing is raised.
    """
    problems = []
    try:
        if file is not None:
            AuditFile(file).append(entry)
    except OSError as error:
        problems.append(f"The audit log {file} cannot be written: {error.strerror}.")
    if (
        session is not None and session.state.value == "connected"
    ):  # nobody waits for a ZooKeeper that is away
        try:
            path = session.create(f"{paths.audit()}/", entry.serialize(), sequential=True)
            if int(path[-10:]) % PRUNE_EVERY == 0:
                for name in sorted(read_children(session, paths.audit()))[:-KEPT_MAX]:
                    session.delete(paths.audit_entry(name), missing_ok=True)
        except RegistryError as error:
            problems.append(f"The audit log in the registry cannot be written: {error}")
    return problems


def read_entries(session: Session, *, since_ms: int = 0, user: str = "") -> list[AuditEntry]:
    """What the registry has, the newest first. Blocks. Raises `RegistryError`."""
    found = []
    for name in sorted(read_children(session, paths.audit()), reverse=True):
        node = session.get_or_none(paths.audit_entry(name))
        entry = AuditEntry.parse(node.data) if node is not None else None
        if entry is not None:
            found.append(entry)
    return chosen(found, since_ms, user)


def chosen(entries: Iterable[AuditEntry], since_ms: int, user: str) -> list[AuditEntry]:
    """Those that are as new as that, of this user if one is named."""
    return [entry for entry in entries if entry.at_ms >= since_ms and user in ("", entry.user)]


def printable(text: str) -> str:
    """A text in which nothing moves a cursor, ends a line or turns the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode()
        for each in text
    )


def audit_table(entries: Iterable[AuditEntry]) -> Table:
    """The table of `audit-list`."""
    table = Table("time", "user", "role", "by", "from", "what", "result")
    for entry in entries:
        more = f" ({entry.count} times)" if entry.count > 1 else ""
        more += f" (and {entry.left_out} more)" if entry.left_out else ""
        cells = (entry.user, entry.role, entry.origin, entry.source, entry.action, entry.result + more)
        table.add_row(entry.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"), *map(printable, cells))
    return table


class AuditFeed(logging.Handler):
    """Takes what brokers log as done by their management to the audit log; see `broker.management.audit`."""

    def __init__(self, write: Callable[[AuditEntry], object], host: str) -> None:
        super().__init__()
        self._write = write
        self._host = host

    def emit(self, record: logging.LogRecord) -> None:
        """Take one entry, unless the console tells of it itself."""
        said = getattr(record, "audited", None)
        if said is None:
            return
        who = (said["user"], "", said["remote"])
        if str(said["user"]).startswith(MADE_BY_FABRIC):
            asker = said.get("asker")
            if asker is None and said.get("count", 0) <= CONSOLE_LOGINS_MAX:
                return
            if asker is not None:
                who = (asker["user"], asker["role"], asker["source"])
        user, role, source = map(str, who)
        self._write(
            AuditEntry(
                at_ms=int(record.created * 1000),
                user=user,
                role=role,
                origin="broker",
                source=source,
                action=str(said["action"]),
                result=str(said["result"]),
                host=self._host,
                left_out=int(said.get("left_out", 0)),
                count=int(said.get("count", 1)),
            )
        )
