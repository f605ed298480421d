"""The store's directory: the only module that touches the file system.

`Files` is the seam: the fence, the writer and recovery know nothing else of the disk, so that a simulation
can put a disk in its place that loses, tears and reorders what was not synced (`tests/support/fake_disk.py`).
Both pass `tests/contract/journal/test_files_contract.py`.

An `OSError` becomes a `JournalError` here and nowhere else.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from journal.errors import JournalError, StoreFailed, StoreFull, StoreMissing, StoreReadOnly, StoreUnavailable

_READ_ONLY = frozenset((errno.EROFS, errno.EACCES, errno.EPERM))
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_PIECES_MAX: Final = 1024
"""Linux takes so many in one call (`IOV_MAX`)."""
_SYNCED_WRITE: Final = getattr(os, "RWF_DSYNC", 0)
_MISSING = frozenset((errno.ENOENT, errno.ENOTDIR))
_CANNOT = frozenset((errno.EOPNOTSUPP, errno.ENOSYS))
_ZEROS: Final = bytes(1024 * 1024)
BLOCK_BYTES: Final = 512
"""Unit of `st_blocks`, whatever the file system's own blocks are."""


class DataFile(Protocol):
    """A file of the store that this broker, and no other, writes."""

    def write(self, offset: int, pieces: Sequence[bytes], *, syncing: bool = False) -> None:
        """Writes the pieces one after the other, from a byte offset on; they may be lost until `sync`.

        Args:
            offset: of the first piece.
            pieces: what is written.
            syncing: `sync` follows at once; where one call can do both, that one has nothing left to do.

        Raises:
            StoreFailed: the write failed or was cut short; what reached the disk is unknown.
        """

    def sync(self) -> None:
        """Returns when what was written survives a power failure.

        Raises:
            StoreFailed: the sync failed; calling it again proves nothing, the kernel may have dropped the
                pages.
        """

    def allocate(self, length: int) -> bool:
        """Allocates bytes up to a length, so that writing there cannot find the disk full.

        Returns:
            Whether the file system can. If not, nothing is done: who writes there finds out.

        Raises:
            StoreFull: there is no space; the file is as long as before.
            StoreFailed: the disk failed.
        """

    def truncate(self, length: int) -> None:
        """Gives back what was allocated beyond a length in bytes."""

    def close(self) -> None:
        """Releases the file; nothing is synced by it."""


class Files(Protocol):
    """The flat directory of a store. Every call may be made from any thread."""

    def names(self) -> list[str]:
        """Names of all files, in no order.

        Raises:
            StoreMissing: the directory does not exist.
            StoreUnavailable: it cannot be read.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Creates a small file that did not exist; False if it did.

        Exactly one of several brokers gets True. On a full disk the content may be lost.
        """

    def note(self, name: str, content: bytes) -> None:
        """Replaces the content of a small file; it may be lost, or be cut, in a crash or on a full disk."""

    def remove(self, name: str) -> None:
        """Removes a file; one that is gone already is fine."""

    def sync_directory(self) -> None:
        """Returns when all creations and removals so far survive a power failure."""

    def opens(self, name: str) -> bool:
        """Opens a file and closes it again: False if it does not exist.

        The open matters: it is what NFS revalidates with the server, a `stat` may be answered from a cache.
        """

    def create_data(self, name: str, allocated: int) -> DataFile:
        """Creates a data file with so many bytes allocated, all zero; an empty one if that cannot be done.

        See `DataFile.allocate`.

        Raises:
            StoreFailed: it exists already.
            StoreFull: there is no space; nothing is left behind.
        """

    def allocate(self, name: str, length: int) -> None:
        """Makes a file take at least so many bytes of the disk; it is created if it does not exist.

        They are written where the file system cannot allocate.

        Raises:
            StoreFull: there is no space; it takes as many as before.
            StoreFailed: the disk failed.
        """

    def free_bytes(self) -> int:
        """How many bytes of the disk could still be allocated.

        Raises:
            StoreUnavailable: that cannot be found out.
        """

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Bytes from an offset on, fewer at the end of the file.

        Raises:
            StoreMissing: no such file.
            StoreUnavailable: it cannot be read.
        """

    def written(self, name: str, offset: int) -> int:
        """Behind this, and behind an offset, a file holds nothing but zeros that were only allocated.

        The file system may not know it exactly; the length of the file is always right.
        """

    def trim(self, name: str, length: int) -> None:
        """Cuts a file of a fenced broker to a length in bytes, if it is longer and still there."""

    def describe(self, name: str) -> str:
        """How people call this file: its path."""


@contextmanager
def _converted(doing: str, failure: type[JournalError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _meaning(error, doing, failure) from error


def _meaning(error: OSError, doing: str, failure: type[JournalError]) -> JournalError:
    """What an error of the operating system means for the store."""
    text = f"{doing}: {error.strerror or error}"
    if error.errno in _READ_ONLY:
        return StoreReadOnly(f"{text}; the broker's user needs read and write access to the store")
    if error.errno in _MISSING and failure is StoreUnavailable:
        return StoreMissing(text)
    if error.errno in _FULL:
        return StoreFull(f"{text}; free some space on the store's file system")
    return failure(text)


@cache
def _system_call() -> Callable[[int, int, int, int], int]:
    library = ctypes.CDLL(None, use_errno=True)
    call = library.fallocate64 if hasattr(library, "fallocate64") else library.fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call


def fallocate(descriptor: int, offset: int, length: int) -> None:
    """The system call of Linux.

    Not `os.posix_fallocate`: where a file system cannot allocate, that writes a byte into every block, and a
    takeover waits for thousands of writes.

    Raises:
        OSError: with `EOPNOTSUPP` if the file system cannot.
    """
    while _system_call()(descriptor, 0, offset, length):
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def _grow(descriptor: int, length: int) -> bool:
    """Allocates bytes up to a length, or none; False if the file system cannot."""
    before = os.fstat(descriptor).st_size
    if length <= before:
        return True
    try:
        fallocate(descriptor, before, length - before)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        os.ftruncate(descriptor, before)  # some file systems keep what they had found
        raise
    return True


def _fill(descriptor: int, length: int) -> None:
    """Writes zeros behind the end of a file up to a length, or none."""
    before = end = os.fstat(descriptor).st_size
    try:
        while end < length:
            end += os.pwrite(descriptor, _ZEROS[: length - end], end)
            os.fdatasync(descriptor)  # now: some look for space no sooner, and a commit must not wait for all
    except OSError:
        os.ftruncate(descriptor, before)
        raise


class PosixDataFile:
    """A data file on a POSIX file system.

    `write`, `sync` and `PosixFiles.opens` run for every batch: a context manager and a path's text would cost
    each of them 5 µs, so they catch their errors themselves.
    """

    def __init__(self, path: Path, descriptor: int, *, allocates: bool) -> None:
        self._path = path
        self._descriptor = descriptor
        self._allocates = allocates
        self._is_synced = False
        """Everything so far survives a power failure, what is known of the file included."""

    def write(self, offset: int, pieces: Sequence[bytes], *, syncing: bool = False) -> None:
        """One `pwritev`; the rest of a short write is tried again, so that its error shows (a full disk).

        With `RWF_DSYNC` it is durable when it returns, as after `fdatasync`. Measured on ext4 with 1.4 KB: 10
        to 30 µs less than two calls.
        """
        if len(pieces) > _PIECES_MAX:
            pieces = [b"".join(pieces)]
        total = sum(map(len, pieces))
        is_joined = syncing and self._is_synced
        self._is_synced = False
        try:
            written = self._write_synced(offset, pieces) if is_joined else 0
            if written == total:
                self._is_synced = True
                return
            written = written or os.pwritev(self._descriptor, pieces, offset)
            while written < total:
                rest = b"".join(pieces)[written:]
                step = os.pwrite(self._descriptor, rest, offset + written)
                if not step:
                    raise StoreFailed(
                        f"cannot write {self._path}: only {written} of {total} bytes were taken"
                    )
                written += step
        except OSError as error:
            raise _meaning(error, f"cannot write {self._path}", StoreFailed) from error

    def _write_synced(self, offset: int, pieces: Sequence[bytes]) -> int:
        """Writes durably; returns how many bytes, 0 where the operating system knows no such call."""
        try:
            return os.pwritev(self._descriptor, pieces, offset, _SYNCED_WRITE) if _SYNCED_WRITE else 0
        except OSError as error:
            if error.errno in _CANNOT:
                return 0
            raise

    def sync(self) -> None:
        """One `fdatasync`, unless everything was written with that."""
        if self._is_synced:
            return
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise _meaning(error, f"cannot sync {self._path}", StoreFailed) from error
        self._is_synced = True

    def allocate(self, length: int) -> bool:
        """One `fallocate`."""
        self._is_synced = False
        with _converted(f"cannot allocate {length} bytes for {self._path}", StoreFailed):
            return self._allocates and _grow(self._descriptor, length)

    def truncate(self, length: int) -> None:
        """One `ftruncate`."""
        self._is_synced = False
        with _converted(f"cannot cut {self._path}", StoreFailed):
            os.ftruncate(self._descriptor, length)

    def close(self) -> None:
        """Closes the descriptor, once."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with _converted(f"cannot close {self._path}", StoreFailed):
                os.close(descriptor)


class PosixFiles:
    """A store's directory on a local or shared POSIX file system."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._prefix = f"{directory}/"

    def names(self) -> list[str]:
        """One `readdir` loop."""
        with _converted(f"cannot read the store's directory {self._directory}", StoreUnavailable):
            return [entry.name for entry in os.scandir(self._directory)]

    def create(self, name: str, content: bytes) -> bool:
        """`O_EXCL`; the content is for people and may be lost."""
        with _converted(f"cannot create {self._directory / name}", StoreUnavailable):
            try:
                descriptor = os.open(
                    self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640
                )
            except FileExistsError:
                return False
            try:
                os.write(descriptor, content)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            finally:
                os.close(descriptor)
            return True

    def note(self, name: str, content: bytes) -> None:
        """One `write` over the old content: that needs no space that it has not."""
        with _converted(f"cannot write {self._directory / name}", StoreUnavailable):
            descriptor = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, content)
                os.ftruncate(descriptor, len(content))
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> None:
        """One `unlink`."""
        with _converted(f"cannot remove {self._directory / name}", StoreUnavailable):
            (self._directory / name).unlink(missing_ok=True)

    def sync_directory(self) -> None:
        """One `fsync` of the directory."""
        with _converted(f"cannot sync the store's directory {self._directory}", StoreUnavailable):
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def opens(self, name: str) -> bool:
        """One `open`; an error other than "no such file" ends this instance: nothing is known then."""
        try:
            os.close(os.open(self._prefix + name, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _meaning(error, f"cannot open {self._directory / name}", StoreFailed) from error
        return True

    def create_data(self, name: str, allocated: int) -> PosixDataFile:
        """`O_EXCL` and `fallocate`."""
        path = self._directory / name
        with _converted(f"cannot create {path}", StoreFailed):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            try:
                allocates = _grow(descriptor, allocated)
            except OSError:  # a full disk; nobody but us knows the file
                os.close(descriptor)
                path.unlink()
                raise
            return PosixDataFile(path, descriptor, allocates=allocates)

    def allocate(self, name: str, length: int) -> None:
        """One `fallocate`, or `write` after `write`."""
        path = self._directory / name
        with _converted(f"cannot allocate {length} bytes for {path}", StoreFailed):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                if not _grow(descriptor, length):
                    _fill(descriptor, length)
            finally:
                os.close(descriptor)

    def free_bytes(self) -> int:
        """One `statvfs`."""
        with _converted(f"cannot look at the file system of {self._directory}", StoreUnavailable):
            space = os.statvfs(self._directory)
            return space.f_bavail * space.f_frsize

    def read(self, name: str, offset: int, length: int) -> bytes:
        """One `open` and one `pread` per call.

        Never a mapping: a file cut by another broker would kill this process with SIGBUS.
        """
        with _converted(f"cannot read {self._directory / name}", StoreUnavailable):
            descriptor = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)

    def written(self, name: str, offset: int) -> int:
        """Follows the extents: a preallocated file of 32 MiB need not be read to its end."""
        with _converted(f"cannot read {self._directory / name}", StoreUnavailable):
            descriptor = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)
            end = offset
            try:
                while True:
                    end = os.lseek(descriptor, os.lseek(descriptor, end, os.SEEK_DATA), os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # no more data
                    return end
                if error.errno == errno.EINVAL:  # this file system cannot say
                    return os.fstat(descriptor).st_size
                raise
            finally:
                os.close(descriptor)

    def trim(self, name: str, length: int) -> None:
        """One `truncate`, if the file is longer."""
        with _converted(f"cannot cut {self._directory / name}", StoreUnavailable):
            try:
                if (self._directory / name).stat().st_size > length:
                    os.truncate(self._directory / name, length)
            except FileNotFoundError:
                return

    def describe(self, name: str) -> str:
        """The path."""
        return str(self._directory / name)


def create_store(directory: Path) -> None:
    """Makes the directory of a new store; one that exists is left alone.

    Separate from opening: a broker that finds no directory may be looking at a shared file system that is not
    mounted, and must not start with an empty store in its place.

    Raises:
        StoreUnavailable: the directory cannot be made, for instance because its parent does not exist.
    """
    with _converted(f"cannot create the store's directory {directory}", StoreUnavailable):
        directory.mkdir(mode=0o750, exist_ok=True)


def taken_bytes(directory: Path) -> dict[str, int]:
    """Bytes that each file of a store takes on the disk, what was allocated ahead included.

    Raises:
        StoreUnavailable: the directory cannot be read.
    """
    taken: dict[str, int] = {}
    with _converted(f"cannot read the store's directory {directory}", StoreUnavailable):
        for entry in os.scandir(directory):
            with suppress(FileNotFoundError):  # the master has removed it
                taken[entry.name] = entry.stat().st_blocks * BLOCK_BYTES
    return taken
