"""What profiles were: the last documents of each, who wrote them and when.

A znode for each document holds a line of JSON (`at_s`, `user`, `action`), and then the document, compressed.
Keeping it never fails a change: that has happened already.
"""

from __future__ import annotations

import difflib
import json
import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from fabric.errors import ProfileError
from fabric.znodes import read_children
from registry import paths
from registry.errors import RegistryError

if TYPE_CHECKING:
    from registry.session import Session

log = logging.getLogger(__name__)

DOCUMENTS_MAX: Final = 20
"""Of a profile: older ones go. A document is some kilobytes, and ZooKeeper holds them all in memory."""

DIFF_LINES_MAX: Final = 5_000
"""Of each of two texts that are compared: the time it takes grows with the square."""

DIFF_CONTEXT_LINES: Final = 3


class DocumentNotFound(ProfileError):
    """The history does not hold it, or no more."""

    def __init__(self, profile: str, number: int) -> None:
        super().__init__(
            f"The history of profile {profile} has no document {number}.",
            f"It holds the last {DOCUMENTS_MAX}.",
        )


class Action(Enum):
    """What was done to a profile."""

    FOUND = "found"
    """It was so when the history began."""
    CREATED = "created"
    CHANGED = "changed"
    RESTORED = "restored"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A document a profile had.

    Attributes:
        number: of the document in this history, ascending.
        at_s: seconds since the epoch.
        user: who wrote it; empty if nobody said so.
        action: what he did; with `deleted` the document is the one that went.
    """

    number: int
    at_s: float
    user: str
    action: Action
    document: bytes

    @property
    def text(self) -> str:
        """The document as text."""
        return self.document.decode(errors="replace")


class ProfileHistory:
    """Keeps and reads documents; blocks."""

    def __init__(self, session: Session, author: str = "", now: Callable[[], float] = time.time) -> None:
        self._session = session
        self._author = author
        self._now = now

    def record(
        self, version: str, profile: str, document: bytes, action: Action, found: bytes | None = None
    ) -> None:
        """Keep a document that was just written, and forget the oldest.

        Args:
            version: Of the profile.
            profile: Its id.
            document: What it is now.
            action: What was done.
            found: What it was before: kept as well if it would be lost.
        """
        if document == found:
            return
        try:
            names = read_children(self._session, paths.profile_history(version, profile))
            if not names and found is not None:
                names.append(self._keep(version, profile, found, Action.FOUND, ""))
            names.append(self._keep(version, profile, document, action, self._author))
            for name in sorted(names)[:-DOCUMENTS_MAX]:
                self._session.delete(paths.profile_document(version, profile, name), missing_ok=True)
        except RegistryError as error:
            log.warning("The history of profile %s lacks a document: %s", profile, error)

    def all(self, version: str, profile: str) -> list[KeptDocument]:
        """The documents there are, the newest first."""
        names = read_children(self._session, paths.profile_history(version, profile))
        found = [self._read(version, profile, name) for name in sorted(names, reverse=True)]
        return [kept for kept in found if kept is not None]

    def get(self, version: str, profile: str, number: int) -> KeptDocument:
        """One document. Raises `DocumentNotFound`."""
        kept = self._read(version, profile, f"{number:010}")
        if kept is None:
            raise DocumentNotFound(profile, number)
        return kept

    def forget_version(self, version: str) -> None:
        """The version is deleted."""
        self._session.delete(paths.version_history(version), recursive=True, missing_ok=True)

    def _keep(self, version: str, profile: str, document: bytes, action: Action, user: str) -> str:
        header = json.dumps({"at_s": round(self._now(), 3), "user": user, "action": action.value})
        data = header.encode() + b"\n" + zlib.compress(document)
        path = self._session.create(paths.new_profile_document(version, profile), data, sequential=True)
        return path.rpartition("/")[2]

    def _read(self, version: str, profile: str, name: str) -> KeptDocument | None:
        node = self._session.get_or_none(paths.profile_document(version, profile, name))
        if node is None:  # pruned since the list was read
            return None
        try:
            header, _, compressed = node.data.partition(b"\n")
            content = json.loads(header)
            return KeptDocument(
                number=int(name),
                at_s=float(content["at_s"]),
                user=str(content["user"]),
                action=Action(content["action"]),
                document=zlib.decompress(compressed),
            )
        except (ValueError, TypeError, KeyError, zlib.error) as error:
            log.warning("Document %s of the history of profile %s cannot be read: %s", name, profile, error)
            return None


def diff_lines(
    before: str, after: str, *, before_name: str = "before", after_name: str = "after"
) -> list[str]:
    """How two texts differ, as `diff -u` says it; no lines if they are equal."""
    old, new = before.splitlines(), after.splitlines()
    if old == new:
        return []
    if max(len(old), len(new)) > DIFF_LINES_MAX:
        return [f"@@ too long to be compared: {len(old)} lines before, {len(new)} after @@"]
    return list(difflib.unified_diff(old, new, before_name, after_name, lineterm="", n=DIFF_CONTEXT_LINES))
