"""Whether a directory holds the store of this broker, and not one that has the same path on another host.

A broker's messages are in one store. Its number stands in the registry and in the store itself; a broker
that finds another number, or none, looks at the wrong directory: one that is not mounted, most likely. It
must not serve from there, since nothing of what was acknowledged is in it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from broker.errors import StoreIsAnother
from journal.files import PosixFiles, create_store
from journal.identity import make_store_id, read_store_id
from registry import paths
from registry.stores import StoreRecord, note_store, read_store

if TYPE_CHECKING:
    from registry.session import Session

SHOWN = 8
"""Digits of a number that are shown to people."""


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """The store of one broker as one host sees it. Everything here blocks.

    Attributes:
        session: with the registry.
        group: the broker's.
        broker: its name.
        directory: of the store.
        place: the root container of this host.
    """

    session: Session
    group: str
    broker: str
    directory: Path
    place: str

    def establish(self) -> str:
        """Return the store's number; a broker's first store is given one, and its directory is made.

        Raises:
            StoreIsAnother: the directory is not the broker's store; nothing was changed.
            StoreUnavailable: it cannot be read or made.
            RegistryError: ZooKeeper is away, or its record cannot be read.
        """
        files = PosixFiles(self.directory)
        record = read_store(self.session, self.group, self.broker)
        if record is None:
            create_store(self.directory)
            found: str | None = make_store_id(files, uuid.uuid4().hex)
        else:
            found = read_store_id(files)
        if record is not None and found != record.id:
            raise self._another(record, found)
        assert found is not None
        expected = note_store(
            self.session, self.group, self.broker, found, place=self.place, seen_at=str(self.directory)
        )
        if expected != found:
            raise self._another(StoreRecord(expected), found)
        return found

    def check(self, expected: str) -> None:
        """Raise `StoreIsAnother` if the directory does not hold the store any more; asks nobody."""
        found = read_store_id(PosixFiles(self.directory))
        if found != expected:
            raise self._another(StoreRecord(expected), found)

    def _another(self, record: StoreRecord, found: str | None) -> StoreIsAnother:
        holds = f"holds another one, {found[:SHOWN]}" if found else "holds none"
        seen = ", ".join(f"{path} on {place}" for place, path in sorted(record.places.items()))
        record_path = paths.store(self.group, self.broker)
        return StoreIsAnother(
            f"{self.directory} is not the store of broker {self.broker}: it {holds}, and the broker's "
            f"messages are in store {record.id[:SHOWN]}{f' ({seen})' if seen else ''}. Nothing was changed. "
            f"Mount the shared directory on this host, or name it in the profile as `data`. Only if that "
            f"store is given up for good, with its messages: fabric zk-delete {record_path}"
        )
