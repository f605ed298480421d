"""The files seam of one process on the shared disk: every call is counted, and may be its last."""

from __future__ import annotations

from typing import Any, Protocol

from simulation.cluster.clock import Killed
from support.fake_disk import FakeDisk, FakeFiles


class Host(Protocol):
    """Who makes the calls."""

    incarnation: int
    name: str

    def disk_call(self, operation: str) -> None:
        """A call of the seam is about to be made; does not return if the process dies before it."""
        ...


class SharedDisk(FakeDisk):
    """The disk of all hosts.

    Attributes:
        damaged: whether a bit was flipped.
    """

    damaged = False

    def used_bytes(self, prefixes: tuple[str, ...]) -> int:
        """What the files whose names begin so take."""
        return sum(len(file.content) for name, file in self.files.items() if name.startswith(prefixes))


class HostDisk:
    """The shared disk as one process reaches it; stands where `FakeFiles` expects a `FakeDisk`."""

    def __init__(self, disk: SharedDisk, host: Host) -> None:
        self._shared = disk
        self._host = host
        self._incarnation = host.incarnation
        self.random, self.files = disk.random, disk.files  # what is asked for most, without a detour
        self.view, self.file, self.fits, self.take = disk.view, disk.file, disk.fits, disk.take
        self.sector_bytes = disk.sector_bytes

    def __getattr__(self, name: str) -> Any:
        """All but `count` is the shared disk's."""
        return getattr(self._shared, name)

    def count(self, operation: str, name: str = "") -> None:
        """Before each call."""
        del name
        if self._host.incarnation != self._incarnation:
            raise Killed
        self._host.disk_call(operation)


def host_files(disk: SharedDisk, host: Host) -> FakeFiles:
    """`Files` of one process."""
    return FakeFiles(HostDisk(disk, host), host.name)  # type: ignore[arg-type]  # it behaves like one
