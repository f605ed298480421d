"""Brokers' stores in a backup: copied while their brokers run, put back while they do not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fabric.backup import Backup, BackupInvalid, BackupWriter, StoreMember
from fabric.errors import FabricError
from fabric.home import DIRECTORY_MODE
from fabric.processes import identify
from journal.errors import ImportRefused, JournalError, StoreInUse, StoreMissing
from journal.export import Exported, export_files
from journal.files import PosixFiles
from journal.identity import make_store_id
from journal.inspection import Inspection, inspect_store
from journal.progress import Progress
from journal.restore import conflicts, read_through, refuse_other_files, refuse_running, restore
from registry.stores import read_store

if TYPE_CHECKING:
    from typing import BinaryIO

    from fabric.stores import BrokerStore
    from registry.session import Session


class StoreRefused(FabricError):
    """A store cannot be copied, or not be put back."""


def copied_stores(
    writer: BackupWriter, stores: Iterable[BrokerStore], progress: Progress
) -> tuple[list[StoreMember], list[str]]:
    """Add a copy of each store, as it is at one batch's end; blocks.

    Args:
        writer: of the backup.
        stores: of this host's containers; those of one broker are one store.
        progress: told of each message.

    Returns:
        What was added, and what was not or not completely, in sentences.

    Raises:
        StoreRefused: a store cannot be read.
    """
    added: dict[tuple[str, str], StoreMember] = {}
    notes = []
    for store in stores:
        if (store.group, store.broker) in added:
            continue
        member = StoreMember(store.group, store.broker, str(store.directory))
        exported = _add(writer, member, progress)
        if exported is None:
            notes.append(f"Broker {store.broker} has no store at {store.directory} yet.")
            continue
        added[store.group, store.broker] = replace(member, messages=exported.messages)
        if exported.damaged:
            notes.append(
                f"{exported.damaged} messages of broker {store.broker} are damaged and are not in the backup."
            )
    return list(added.values()), notes


def _add(writer: BackupWriter, member: StoreMember, progress: Progress) -> Exported | None:
    files = PosixFiles(Path(member.directory))
    try:
        files.names()
    except StoreMissing:
        return None
    found: list[Exported] = []

    def write(stream: BinaryIO) -> None:
        found.append(export_files(files, member.directory, stream, progress=progress))

    try:
        writer.add(member.member, write)
    except StoreMissing:
        return None
    except JournalError as error:
        raise StoreRefused(
            f"The store of broker {member.broker}, {member.directory}, cannot be copied: {error}",
            "Without --with-stores the registry alone is written.",
        ) from error
    return found[0]


def directories(backup: Backup, given: Sequence[str]) -> dict[StoreMember, Path]:
    """Where each store of a backup goes: where it was, or as given by `GROUP/BROKER=DIRECTORY`.

    Raises:
        BackupInvalid: something is given for a store that is not in the backup, or not understood.
    """
    wanted = {}
    for text in given:
        name, equals, directory = text.partition("=")
        if not equals or not directory:
            raise BackupInvalid(
                f"{text!r} does not say where a store goes.", "Such as default/orders=/shared/orders"
            )
        wanted[name] = Path(directory).absolute()
    found = {
        store: wanted.pop(f"{store.group}/{store.broker}", Path(store.directory)) for store in backup.stores
    }
    if wanted:
        known = ", ".join(f"{store.group}/{store.broker}" for store in backup.stores)
        raise BackupInvalid(f"The backup has no store of {', '.join(wanted)}.", f"It has: {known or 'none'}.")
    return found


def check_stores(backup: Backup, places: Mapping[StoreMember, Path], *, force: bool) -> None:
    """Whether all stores could be put back; nothing is changed.

    Raises:
        StoreRefused: one could not, for the reason given.
    """
    for store, directory in places.items():
        try:
            inspection = _existing(directory)
            with backup.open_store(store) as stream:
                contents = read_through(stream, Progress())
            if inspection is None:
                continue
            refuse_running(inspection, _runs)
            if wrong := conflicts(inspection.state, contents):
                raise ImportRefused("; ".join(wrong))
        except StoreInUse as error:
            raise StoreRefused(
                f"The store of broker {store.broker}, {directory}, is in use: {error}",
                "Stop the containers that run it, or take its profile from them.",
            ) from error
        except JournalError as error:
            raise StoreRefused(
                f"The store of broker {store.broker} cannot be put into {directory}: {error}"
            ) from error
        if _messages(inspection) and not force:
            raise StoreRefused(
                f"{directory} holds {_messages(inspection)} messages already.",
                "--force adds those of the backup behind them; --store names another place.",
            )


def _existing(directory: Path) -> Inspection | None:
    try:
        names = PosixFiles(directory).names()
    except StoreMissing:
        return None
    refuse_other_files(names, str(directory))
    try:
        return inspect_store(directory)
    except StoreMissing:
        return None


def _messages(inspection: Inspection) -> int:
    state = inspection.state
    return sum(len(messages) for messages in (*state.queues.values(), *state.topics.values()))


def _runs(pid: int, host: str) -> bool | None:
    return identify(pid) is not None if host == socket.gethostname() else None


def put_back(
    session: Session, backup: Backup, store: StoreMember, directory: Path, progress: Progress
) -> int:
    """Put one store back; returns how many messages were stored.

    Where the broker had a store that is lost, this one takes its number: the broker takes no other.

    Raises:
        StoreRefused: it failed; the text says what is in the store.
    """
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        record = read_store(session, store.group, store.broker)
        if record is not None:
            make_store_id(PosixFiles(directory), record.id)
        with backup.open_store(store) as stream:
            contents = read_through(stream, progress)
        with backup.open_store(store) as stream:
            owner = f"fabric restore (pid {os.getpid()} on {socket.gethostname()})"
            return restore(directory, stream, contents, owner=owner, progress=progress).messages
    except (JournalError, OSError) as error:
        notes = " ".join(getattr(error, "__notes__", []))
        raise StoreRefused(
            f"The store of broker {store.broker} could not be put into {directory}: {error} {notes}".rstrip()
        ) from error
