"""What the kernel says of a process: memory and processor time."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SIZE = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes: now, and the most there was."""

    now: int
    peak: int


def parse_memory(status: str) -> Memory:
    """Read `/proc/<pid>/status`."""
    sizes = {name: int(kibibytes) * 1024 for name, kibibytes in _SIZE.findall(status)}
    return Memory(sizes["VmRSS"], sizes["VmHWM"])


def parse_processor_s(stat: str) -> float:
    """Read `/proc/<pid>/stat`: seconds of processor time, of the system's too.

    The program's name stands in brackets and may hold anything, brackets too.
    """
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def memory(pid: int | str = "self") -> Memory:
    """Of a process that runs."""
    return parse_memory(Path(f"/proc/{pid}/status").read_text("ascii"))


def processor_s(pid: int | str = "self") -> float:
    """Of a process that runs."""
    return parse_processor_s(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace"))


def forget_pages(folder: Path) -> None:
    """Have the kernel drop what it has cached of a folder's files, so that they are read from the disk."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def bytes_on_disk(folder: Path) -> int:
    """What the files in a folder take, with what is only allocated."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())
