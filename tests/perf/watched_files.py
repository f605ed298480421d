"""The journal's disk, watched: counts what it is asked for, notes checkpoints, and is slower if told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from journal.files import DataFile, Files


@dataclass(slots=True)
class Watch:
    """What was seen so far; times are monotonic seconds, the same in all processes of a machine.

    Attributes:
        syncs: of data files.
        sync_s: spent in them.
        bytes_written: to data files.
        checkpoints: when each was begun and ended.
        compacting: when records were read again to be moved.
    """

    syncs: int = 0
    sync_s: float = 0.0
    bytes_written: int = 0
    checkpoints: list[tuple[float, float]] = field(default_factory=list)
    compacting: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)


class WatchedFile:
    """A data file, or a checkpoint; see `journal.files.DataFile`."""

    def __getattr__(self, name: str) -> Any:
        """Everything that is not watched."""
        return getattr(self._file, name)

    def __init__(self, file: DataFile, name: str, watch: Watch, delay_s: float) -> None:
        self._file = file
        self._watch = watch
        self._is_data = name.startswith("data-")
        self._is_checkpoint = name.startswith("checkpoint-")
        self._began_s = time.monotonic()
        self._delay_s = delay_s
        self._never = threading.Event()

    def write(self, offset: int, pieces: Sequence[bytes], *, syncing: bool = False) -> None:
        """As the journal asks; a write that syncs as well counts as a part of its sync."""
        if not self._is_data:
            self._file.write(offset, pieces, syncing=syncing)
            return
        self._watch.bytes_written += sum(map(len, pieces))
        began = time.monotonic()
        self._file.write(offset, pieces, syncing=syncing)
        if syncing:
            self._watch.sync_s += time.monotonic() - began

    def sync(self) -> None:
        """As the journal asks; the delay is the disk's, and other threads run meanwhile."""
        began = time.monotonic()
        self._file.sync()
        if self._delay_s:
            self._never.wait(self._delay_s)
        if self._is_data:
            self._watch.syncs += 1
            self._watch.sync_s += time.monotonic() - began

    def truncate(self, length: int) -> None:
        """As the journal asks."""
        self._file.truncate(length)

    def close(self) -> None:
        """As the journal asks; the end of a checkpoint."""
        self._file.close()
        if self._is_checkpoint:
            self._watch.checkpoints.append((self._began_s, time.monotonic()))


class WatchedFiles:
    """A store's directory; see `journal.files.Files`.

    Args:
        files: the real one.
        delay_s: added to every sync of a file.
    """

    def __init__(self, files: Files, delay_s: float = 0.0) -> None:
        self._files = files
        self._delay_s = delay_s
        self.watch = Watch()

    def __getattr__(self, name: str) -> Any:
        """Everything that is not watched."""
        return getattr(self._files, name)

    def create_data(self, name: str, allocated: int) -> WatchedFile:
        """As the journal asks."""
        return WatchedFile(self._files.create_data(name, allocated), name, self.watch, self._delay_s)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """As the journal asks; upkeep reads data files only to move what is in them."""
        if name.startswith("data-") and threading.current_thread().name == "journal-upkeep":
            self.watch.compacting.append(time.monotonic())
        return self._files.read(name, offset, length)
