"""A backup of a fabric as one file: what stands in its registry, and on request what its brokers have stored.

    FABRIC-BACKUP.tar
      registry.jsonl               a line for each znode: path, data in base64
      stores/<group>/<broker>.jsonl   an export of a store, see `journal.exchange`
      manifest.json                format, when, of what, and the SHA-256 of each member; written last

A file without its manifest was not written to the end. What belongs to the running fabric and not to its
configuration is left out: ephemeral znodes, and what `LEFT_OUT` names.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, cast

from fabric.errors import FabricError
from fabric.home import SECRET_FILE_MODE
from fabric.software import SOFTWARE
from registry import paths
from registry.errors import NoSuchNode

if TYPE_CHECKING:
    from registry.session import Session

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
REGISTRY: Final = "registry.jsonl"
STORES: Final = "stores"
PASSES_MAX: Final = 10
"""How often the tree is read until nothing has changed between two readings."""
ZNODES_MAX: Final = 1_000_000
MEMBER_BYTES_MAX: Final = 1 << 40
CHUNK_BYTES: Final = 1024 * 1024

LEFT_OUT: Final = (
    paths.ensemble_password(),
    paths.alive(),
    paths.provision(),
    paths.containers_status(),
    paths.clusters(),
    paths.ports(),
    paths.takeovers_root(),
    paths.stores_root(),
    paths.doctor_clocks(),
)
"""What says how a fabric is just now, and would be wrong in another one."""


class BackupInvalid(FabricError):
    """The file is no backup, or is damaged."""


@dataclass(frozen=True, slots=True)
class Znode:
    """A persistent znode as it stood at one moment."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Tree:
    """Znodes, parents before their children.

    Attributes:
        changed: paths that went on changing while they were read; the others stood so at one moment.
    """

    znodes: tuple[Znode, ...]
    changed: tuple[str, ...] = ()


def is_left_out(path: str) -> bool:
    """Whether a path is none of a backup's business."""
    return any(path == tree or path.startswith(f"{tree}/") for tree in LEFT_OUT)


def read_tree(session: Session) -> Tree:
    """Read what belongs into a backup; blocks.

    ZooKeeper has no snapshots for clients. The tree is read again and again until two readings in a row find
    every znode unchanged: then all of them stood so at the moment between the two.
    """
    before = _read_once(session, {})
    for _ in range(PASSES_MAX):
        now = _read_once(session, before)
        if _revisions(now) == _revisions(before):
            return _tree(now, ())
        last, before = before, now
    changed = [path for path in now.keys() | last.keys() if now.get(path) != last.get(path)]
    return _tree(now, tuple(sorted(changed)))


_Read = dict[str, tuple[int, bytes]]
"""By path: the transaction that wrote the data, and the data."""


def _revisions(read: _Read) -> dict[str, int]:
    return {path: revision for path, (revision, _) in read.items()}


def _tree(read: _Read, changed: tuple[str, ...]) -> Tree:
    return Tree(tuple(Znode(path, data) for path, (_, data) in sorted(read.items())), changed)


def _read_once(session: Session, known: _Read) -> _Read:
    found: _Read = {}
    ahead = [paths.ROOT]
    while ahead:
        path = ahead.pop()
        try:
            node = session.get(path)
            names = session.children(path) if node.children_count else []
        except NoSuchNode:
            continue  # gone since its parent was read: the next reading tells
        if node.ephemeral_owner:
            continue
        data = known[path][1] if known.get(path, (None,))[0] == node.mzxid else node.data
        found[path] = (node.mzxid, data)
        if len(found) > ZNODES_MAX:
            raise BackupInvalid(f"The registry has more than {ZNODES_MAX} znodes.")
        children = [f"{path}/{name}" for name in names]
        ahead += [child for child in children if not is_left_out(child)]
    return found


# ---- writing


@dataclass(frozen=True, slots=True)
class StoreMember:
    """A store in a backup.

    Attributes:
        group: of the broker.
        broker: its name.
        directory: where the store was.
        messages: how many are in it.
    """

    group: str
    broker: str
    directory: str
    messages: int = 0

    @property
    def member(self) -> str:
        """The name of its file in the archive."""
        return f"{STORES}/{self.group}/{self.broker}.jsonl"


class BackupWriter:
    """Writes a backup member by member. The file is there when it is whole, and not before.

    Use as a context manager; an exception leaves nothing behind.

    Raises:
        BackupInvalid: the file exists and is not to be overwritten.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, now: Callable[[], float] = time.time) -> None:
        if path.exists() and not overwrite:
            raise BackupInvalid(f"{path} exists.", "--force overwrites it.")
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._now = now
        self._members: dict[str, dict[str, Any]] = {}
        self._file: BinaryIO
        self._archive: tarfile.TarFile

    def __enter__(self) -> BackupWriter:
        try:
            descriptor = os.open(
                self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, SECRET_FILE_MODE
            )
        except OSError as error:
            raise BackupInvalid(f"{self._part} cannot be written: {error.strerror}.") from error
        self._file = os.fdopen(descriptor, "wb")
        self._archive = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._archive.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                self._part.replace(self._path)
        finally:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def add(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """Add a member; `write` is given a file to write its content to."""
        with tempfile.TemporaryFile(dir=self._path.parent) as content:
            write(cast("BinaryIO", content))
            size = content.tell()
            content.seek(0)
            digest = _sha256(cast("BinaryIO", content))
            content.seek(0)
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = size, SECRET_FILE_MODE, int(self._now())
            self._archive.addfile(info, content)
        self._members[name] = {"bytes": size, "sha256": digest}

    def add_registry(self, tree: Tree) -> None:
        """Add the znodes."""

        def write(file: BinaryIO) -> None:
            for znode in tree.znodes:
                line = {"path": znode.path, "data": base64.b64encode(znode.data).decode()}
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

        self.add(REGISTRY, write)

    def finish(self, url: str, tree: Tree, stores: Sequence[StoreMember]) -> None:
        """Add the manifest, which makes it whole."""
        manifest = {
            "format": FORMAT,
            "software": SOFTWARE,
            "created_s": round(self._now(), 3),
            "zookeeper_url": url,
            "znodes": len(tree.znodes),
            "changed_meanwhile": list(tree.changed),
            "stores": [
                {
                    "group": each.group,
                    "broker": each.broker,
                    "directory": each.directory,
                    "messages": each.messages,
                }
                for each in stores
            ],
            "members": self._members,
        }
        content = json.dumps(manifest, indent=1).encode()
        members = dict(self._members)
        self.add(MANIFEST, lambda file: cast("None", file.write(content)))
        self._members = members


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


# ---- reading


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup whose members have been checked.

    Attributes:
        path: of the file.
        software: version that wrote it.
        created_s: seconds since 1970.
        znodes: of the registry, parents before their children.
        stores: that it holds.
        changed: paths that changed while it was written.
    """

    path: Path
    software: str
    created_s: float
    znodes: Mapping[str, bytes]
    stores: tuple[StoreMember, ...] = field(default=())
    changed: tuple[str, ...] = field(default=())

    @contextlib.contextmanager
    def open_store(self, store: StoreMember) -> Iterator[BinaryIO]:
        """The export of a store."""
        with tarfile.open(self.path, "r:") as archive:
            yield cast("BinaryIO", _member(archive, store.member, self.path))


def read_backup(path: Path) -> Backup:
    """Read a backup and check every member of it; nothing is unpacked.

    Raises:
        BackupInvalid: it cannot be read, is damaged, was not written to its end, or is of a later format.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            manifest = _manifest(archive, path)
            for name, expected in manifest["members"].items():
                _check(archive, name, expected, path)
            znodes = dict(_znodes(_member(archive, REGISTRY, path), path))
            stores = tuple(
                StoreMember(str(s["group"]), str(s["broker"]), str(s["directory"]), int(s["messages"]))
                for s in manifest["stores"]
            )
            return Backup(
                path,
                str(manifest["software"]),
                float(manifest["created_s"]),
                znodes,
                stores,
                tuple(manifest["changed_meanwhile"]),
            )
    except OSError as error:
        raise BackupInvalid(f"{path} cannot be read: {error.strerror or error}.") from error
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(path, f"it is no archive, or is cut off ({error})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"its {MANIFEST} is not what it should be ({error})") from error


def _manifest(archive: tarfile.TarFile, path: Path) -> dict[str, Any]:
    try:
        content = _member(archive, MANIFEST, path).read()
    except BackupInvalid:
        raise _damaged(path, f"it has no {MANIFEST}, so it was not written to its end") from None
    manifest = json.loads(content)
    found = manifest["format"]
    if not isinstance(found, int) or found > FORMAT:
        raise BackupInvalid(
            f"{path} is of format {found}, written by Fabric {manifest.get('software')}; "
            f"this is Fabric {SOFTWARE} and knows format {FORMAT}.",
            "Restore it with that version, or a later one.",
        )
    if REGISTRY not in manifest["members"]:
        raise _damaged(path, "it says nothing of the registry")
    return cast("dict[str, Any]", manifest)


def _check(archive: tarfile.TarFile, name: str, expected: Mapping[str, Any], path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    file = _member(archive, name, path)
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    if size != expected["bytes"] or digest.hexdigest() != expected["sha256"]:
        raise _damaged(path, f"{name} is not what was written")


def _member(archive: tarfile.TarFile, name: str, path: Path) -> IO[bytes]:
    try:
        found = archive.extractfile(name)
    except KeyError:
        found = None
    if found is None:
        raise _damaged(path, f"{name} is missing")
    return found


def _znodes(file: IO[bytes], path: Path) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(file, start=1):
        try:
            content = json.loads(line)
            znode, data = str(content["path"]), base64.b64decode(content["data"], validate=True)
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, f"line {number} of {REGISTRY} is not what it should be ({error})") from error
        if not (znode == paths.ROOT or znode.startswith(f"{paths.ROOT}/")):
            raise _damaged(
                path, f"line {number} of {REGISTRY} names {znode}, which is not below {paths.ROOT}"
            )
        if not is_left_out(znode):
            yield znode, data


def _damaged(path: Path, why: str) -> BackupInvalid:
    return BackupInvalid(f"{path} is damaged: {why}. Nothing was restored.", "Use another backup.")
