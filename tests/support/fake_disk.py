"""A disk that loses, tears and reorders what was not synced, shared by several hosts.

Fault model:

* A write reaches the disk in sectors. Until it is synced, the host that wrote it sees all of it; every other
  host sees any part of its sectors, and another part at its next look (several caches over one server).
* `crash(host)`: what the host had not synced is settled: each sector is kept or lost, independently of the
  others, or it stays in flight for a while longer.
* `power_failure()`: everything in flight is settled on all hosts, and so are the directory's changes: those
  that were not synced may be undone, each for itself.
* Creating and removing names is atomic and seen by all hosts at once.
* `fail(operation, error)`: the next such operation raises an error, or the next on files of one kind.
* `capacity`: nothing can be allocated or written beyond so many bytes in all; what was allocated can be
  written. Removing and cutting files gives space back at once.
* `allocates`: whether the file system can allocate what is not written, as most can.

`FakeFiles` passes the same contract tests as `journal.files.PosixFiles`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from journal.errors import JournalError, StoreFailed, StoreFull, StoreMissing


@dataclass
class _File:
    owner: str
    content: bytearray = field(default_factory=bytearray)
    in_flight: list[tuple[str, int, bytes]] = field(default_factory=list)  # host, offset, part of one sector
    name: str = ""

    @property
    def size(self) -> int:
        """Bytes it takes of the disk."""
        return max([len(self.content), *(offset + len(data) for _, offset, data in self.in_flight)])


class FakeDisk:
    """One directory and who has written what to it.

    Attributes:
        files: by name, as everyone sees the directory.
        operations: how many calls of each kind were made.
        missing: whether the directory is not there.
        notes_survive: whether what `note` writes is never lost.
        capacity: bytes of all files, None for a disk that is never full.
        allocates: whether data files can be allocated.
    """

    def __init__(self, seed: int = 0, sector_bytes: int = 512) -> None:
        self.random = random.Random(seed)
        self.sector_bytes = sector_bytes
        self.files: dict[str, _File] = {}
        self.operations: dict[str, int] = {}
        self.missing = False
        self.notes_survive = False
        self.capacity: int | None = None
        self.allocates = True
        self._synced_names: dict[str, _File] = {}
        self._failures: dict[str, list[tuple[str, JournalError]]] = {}

    def fail(self, operation: str, error: JournalError, name: str = "") -> None:
        """Makes the next call of an operation of `Files` or `DataFile` fail.

        Args:
            operation: its name; `extend` is `DataFile.allocate`.
            error: what it raises.
            name: how the names of the files begin that it fails on.
        """
        self._failures.setdefault(operation, []).append((name, error))

    def crash(self, host: str) -> None:
        """A host is gone with what it had not synced, or its process only: then that may arrive later."""
        for file in self.files.values():
            if self.random.random() < 0.7:
                self._settle(file, host)

    def power_failure(self) -> None:
        """All hosts and the disk are without power."""
        for name in sorted(self.files.keys() | self._synced_names.keys()):
            was = self._synced_names.get(name)
            if self.files.get(name) is not was and self.random.random() < 0.5:
                if was is None:
                    del self.files[name]
                else:
                    self.files[name] = was
        for file in self.files.values():
            self._settle(file, None)
        self.sync_names()

    def corrupt(self, name: str, offset: int, data: bytes) -> None:
        """Damages what is on the disk."""
        self.files[name].content[offset : offset + len(data)] = data

    def count(self, operation: str, name: str = "") -> None:
        """Counts a call; fails it if that was asked for."""
        self.operations[operation] = self.operations.get(operation, 0) + 1
        failures = self._failures.get(operation, ())
        for failure in failures:
            if name.startswith(failure[0]):
                self._failures[operation].remove(failure)
                raise failure[1]

    @property
    def used(self) -> int:
        """Bytes that all files take; one that was removed and is still written to takes none."""
        return sum(file.size for file in list(self.files.values()))  # another thread may add one

    def fits(self, length: int) -> bool:
        """Whether so many bytes more can be allocated."""
        return self.capacity is None or length <= 0 or self.used + length <= self.capacity

    def take(self, length: int, doing: str) -> None:
        """Finds the disk full, or does not."""
        if not self.fits(length):
            raise StoreFull(f"{doing}: No space left on device; free some space on the store's file system")

    def file(self, name: str) -> _File:
        """A file that must exist."""
        try:
            return self.files[name]
        except KeyError:
            raise StoreMissing(f"cannot read fake/{name}: No such file") from None

    def owner(self, name: str) -> str:
        """The host that created a file."""
        return self.file(name).owner

    def view(self, name: str, host: str) -> bytes:
        """What a host sees in a file at this moment."""
        file = self.file(name)
        content = bytearray(file.content)
        share = self.random.choice((0.0, 0.5, 0.9, 1.0))
        for writer, offset, data in file.in_flight:
            if writer == host or self.random.random() < share:
                _put(content, offset, data)
        return bytes(content)

    def sync_names(self) -> None:
        """Makes the directory as it is now durable."""
        self._synced_names = dict(self.files)

    def _settle(self, file: _File, host: str | None) -> None:
        share = self.random.choice((0.0, 0.5, 0.9, 1.0))
        for writer, offset, data in file.in_flight:
            if host in (None, writer) and self.random.random() < share:
                _put(file.content, offset, data)
        file.in_flight = [piece for piece in file.in_flight if host not in (None, piece[0])]


class FakeDataFile:
    """A data file on a fake disk."""

    def __init__(self, disk: FakeDisk, host: str, file: _File) -> None:
        self._disk = disk
        self._host = host
        self._file = file

    def write(self, offset: int, pieces: Sequence[bytes], *, syncing: bool = False) -> None:
        """Puts the sectors in flight, also if `sync` follows at once."""
        del syncing
        self._disk.count("write", self._file.name)
        data = b"".join(pieces)
        self._disk.take(offset + len(data) - self._file.size, "cannot write fake")
        while data:
            length = self._disk.sector_bytes - offset % self._disk.sector_bytes
            self._file.in_flight.append((self._host, offset, data[:length]))
            data = data[length:]
            offset += length

    def sync(self) -> None:
        """Lands what this host has in flight."""
        self._disk.count("sync", self._file.name)
        for host, offset, data in self._file.in_flight:
            if host == self._host:
                _put(self._file.content, offset, data)
        self._file.in_flight = [piece for piece in self._file.in_flight if piece[0] != self._host]

    def allocate(self, length: int) -> bool:
        """Adds zeros, if that costs nothing."""
        self._disk.count("extend", self._file.name)
        if self._disk.allocates:
            _allocate(self._disk, self._file, length)
        return self._disk.allocates

    def truncate(self, length: int) -> None:
        """Cuts what has landed."""
        self._disk.count("truncate", self._file.name)
        del self._file.content[length:]

    def close(self) -> None:
        """Does nothing: what is in flight stays there."""
        self._disk.count("close", self._file.name)


class FakeFiles:
    """A fake disk as one host uses it."""

    def __init__(self, disk: FakeDisk, host: str = "host") -> None:
        self._disk = disk
        self._host = host

    def names(self) -> list[str]:
        """The names, in any order."""
        self._disk.count("names")
        if self._disk.missing:
            raise StoreMissing("cannot read the store's directory fake: No such directory")
        names = list(self._disk.files)
        self._disk.random.shuffle(names)
        return names

    def create(self, name: str, content: bytes) -> bool:
        """Creates a file unless it exists."""
        self._disk.count("create", name)
        if name in self._disk.files:
            return False
        lost = not self._disk.fits(len(content))
        self._disk.files[name] = _File(self._host, bytearray(b"" if lost else content), name=name)
        return True

    def note(self, name: str, content: bytes) -> None:
        """Replaces a content, or loses it half-way."""
        self._disk.count("note", name)
        survives = self._disk.notes_survive or self._disk.random.random() < 0.5
        self._disk.file(name).content[:] = (
            content
            if survives and self._disk.fits(len(content) - len(self._disk.file(name).content))
            else content[: self._disk.random.choice((0, 7))]
        )

    def remove(self, name: str) -> None:
        """Removes a name."""
        self._disk.count("remove", name)
        self._disk.files.pop(name, None)

    def sync_directory(self) -> None:
        """Lands all changes of the directory."""
        self._disk.count("sync_directory")
        self._disk.sync_names()

    def opens(self, name: str) -> bool:
        """Whether the name exists."""
        self._disk.count("opens", name)
        return name in self._disk.files

    def create_data(self, name: str, allocated: int) -> FakeDataFile:
        """Creates a file of zeros, or an empty one."""
        self._disk.count("create_data", name)
        if name in self._disk.files:
            raise StoreFailed(f"cannot create fake/{name}: File exists")
        if not self._disk.allocates:
            allocated = 0
        self._disk.take(allocated, f"cannot create fake/{name}")
        file = self._disk.files[name] = _File(self._host, bytearray(allocated), name=name)
        return FakeDataFile(self._disk, self._host, file)

    def allocate(self, name: str, length: int) -> None:
        """Adds zeros."""
        self._disk.count("allocate", name)
        file = self._disk.files.setdefault(name, _File(self._host, name=name))
        _allocate(self._disk, file, length)

    def free_bytes(self) -> int:
        """What is left of the capacity."""
        self._disk.count("free_bytes")
        return (1 << 40) if self._disk.capacity is None else max(self._disk.capacity - self._disk.used, 0)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """What this host sees."""
        self._disk.count("read", name)
        return self._disk.view(name, self._host)[offset : offset + length]

    def written(self, name: str, offset: int) -> int:
        """Behind the last byte that is not zero, as this host sees it, up to the end of its sector."""
        self._disk.count("written", name)
        view = self._disk.view(name, self._host)
        end = len(view.rstrip(b"\0"))
        sector = self._disk.sector_bytes
        return max(min(-(-end // sector) * sector, len(view)), offset)

    def trim(self, name: str, length: int) -> None:
        """Cuts what has landed."""
        self._disk.count("trim", name)
        if name in self._disk.files:
            del self._disk.files[name].content[length:]

    def describe(self, name: str) -> str:
        """A path."""
        return f"fake/{name}"


def _allocate(disk: FakeDisk, file: _File, length: int) -> None:
    """Adds zeros up to a length, if they fit."""
    disk.take(length - file.size, "cannot allocate fake")
    file.content.extend(bytes(max(length - len(file.content), 0)))


def _put(content: bytearray, offset: int, data: bytes) -> None:
    """Writes into a content, which grows as needed."""
    if len(content) < offset + len(data):
        content.extend(bytes(offset + len(data) - len(content)))
    content[offset : offset + len(data)] = data
