"""A file system of a few hundred MiB for tests that fill it; made where the rights to mount one are there."""

import contextlib
import os
import subprocess
from pathlib import Path

MIB = 1024 * 1024
CHUNK_MIN_BYTES = 1024
"""What is left when a file system counts as full: less than one block of most."""


class SmallDisk:
    """An ext4 file system in a file, or a tmpfs where there are no loop devices.

    Attributes:
        path: where it is mounted.
        mounted: whether it could be; if not, `path` is a plain folder, and cannot be filled.
        kind: of the file system, for people.
    """

    def __init__(self, folder: Path, size_mib: int) -> None:
        self.path = folder / "disk"
        self.mounted = False
        self.kind = "a plain folder"
        self._image = folder / "disk.img"
        self._size_mib = size_mib

    def mount(self) -> None:
        """Make it and mount it, if this process may."""
        self.path.mkdir()
        if os.geteuid() != 0:
            return
        with self._image.open("wb") as image:
            image.truncate(self._size_mib * MIB)
        for kind, commands in (
            ("ext4", self._ext4()),
            ("tmpfs", [["mount", "-t", "tmpfs", "-o", f"size={self._size_mib}m", "none", str(self.path)]]),
        ):
            if all(_succeeds(command) for command in commands):
                self.kind, self.mounted = f"{kind} of {self._size_mib} MiB", True
                return

    def _ext4(self) -> list[list[str]]:
        image = str(self._image)
        return [
            ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", image],
            ["mount", "-o", "loop", image, str(self.path)],
        ]

    def remount(self, options: str) -> None:
        """Mount it with other options, as ``ro``, while it is in use."""
        assert self.mounted
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], capture_output=True, check=True)

    def unmount(self) -> None:
        """Take it away with all that it holds."""
        if self.mounted and not _succeeds(["umount", str(self.path)]):
            _succeeds(["umount", "--lazy", str(self.path)])
        self.mounted = False
        self._image.unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        """What is left of it."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    @property
    def used_bytes(self) -> int:
        """What is taken of it."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def fill(self) -> int:
        """Take all that is left, to the last block, in a ballast file; returns how many bytes that were."""
        assert self.mounted, "nobody fills the machine's own disk"
        chunk = 16 * MIB
        with (self.path / "ballast").open("ab") as ballast:
            size = ballast.seek(0, os.SEEK_END)
            began = size
            while chunk >= CHUNK_MIN_BYTES:
                try:
                    os.posix_fallocate(ballast.fileno(), size, chunk)
                    size += chunk
                except OSError:
                    chunk //= 2
        return size - began

    def free(self) -> None:
        """Give the ballast back."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "ballast").unlink()


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
