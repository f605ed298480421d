"""Non-persistent messages for which there is no memory: in temporary files, until they are consumed.

One sequence of segments. A message is written behind the last one; a segment of which nothing is wanted any
more is given back. The files have no names, so they are gone with the process, however it ends, and nothing
has to be cleaned up or recovered. Nothing is synced: who wants that sends persistent messages.

What cannot be written is not taken: the disk may fail, or be full, and work again later.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO, Final

from broker.errors import BrokerError
from broker.region.entry import Entry

BUFFER_BYTES: Final = 256 * 1024
"""Written at once; as much is in memory beyond `memoryUsage`."""
SEGMENT_BYTES_MIN: Final = 16 * 1024 * 1024
ENTRY_BYTES: Final = 256
"""What a message here still takes of memory, about."""
SEGMENTS_MAX: Final = 256
"""Each takes a file descriptor, and a process has a thousand or so."""


class SpoolFull(BrokerError):
    """There is no temporary storage left."""


class SpoolFailed(BrokerError):
    """The temporary storage cannot be written or read."""


class Segment:
    """One temporary file; its end may still be in memory.

    Attributes:
        size: bytes it holds, the unwritten ones included.
        wanted: messages in it that may still be read.
    """

    __slots__ = ("_buffer", "_file", "size", "wanted")

    def __init__(self, folder: Path) -> None:
        """Make the file.

        Raises:
            OSError: it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # As long as the segment is wanted: no block of code knows when that ends.
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        self._buffer = bytearray()
        self.size = 0
        self.wanted = 0

    def put(self, data: bytes) -> int:
        """Add a message; returns where it begins.

        Raises:
            OSError: it cannot be written; nothing has changed.
        """
        buffer = self._buffer
        offset = self.size
        buffer += data
        if len(buffer) > BUFFER_BYTES:
            try:
                self._write(offset - len(buffer) + len(data))
            except OSError:  # what came before stays here; what was written of this one counts for nothing
                del buffer[max(len(buffer) - len(data), 0) :]
                raise
        self.size += len(data)
        self.wanted += 1
        return offset

    def _write(self, at: int) -> None:
        """Write the buffer; what was written leaves it, also if the rest fails."""
        buffer = self._buffer
        while buffer:
            part = os.pwrite(self._file.fileno(), buffer, at)
            del buffer[:part]
            at += part

    def get(self, offset: int, length: int) -> bytes:
        """Read a message.

        Raises:
            OSError: it cannot be read.
        """
        written = self.size - len(self._buffer)
        data = b""
        while len(data) < length and offset + len(data) < written:  # a full disk may have cut it anywhere
            wanted = min(length, written - offset) - len(data)
            part = os.pread(self._file.fileno(), wanted, offset + len(data))
            if not part:
                raise OSError("a temporary file is shorter than it was")
            data += part
        begin = offset + len(data) - written
        return data + self._buffer[begin : begin + length - len(data)]

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class SpooledEntry(Entry):
    """An entry whose message lies in the spool."""

    __slots__ = ("expiration", "length", "offset", "segment")

    def __init__(self, ref: int, segment: Segment, offset: int, length: int) -> None:
        super().__init__(ref, None, 0, False)
        self.segment = segment
        self.offset = offset
        self.length = length
        self.expiration = 0
        """As of the message, which need not be read to know it."""


def expiration_of(entry: Entry) -> int:
    """When a non-persistent message expires, milliseconds since the epoch; 0: never."""
    if isinstance(entry, SpooledEntry):
        return entry.expiration
    return 0 if entry.message is None else entry.message.expiration


class Spool:
    """All temporary files of one mastership; nothing is made before the first message comes.

    Attributes:
        bytes_used: of the files.
        bytes_max: what they may take.
        count: messages in them that are wanted.
        count_max: how many may be; each takes `ENTRY_BYTES` of memory.
    """

    def __init__(
        self, folder: Path | None, bytes_max: int, count_max: int, *, segment_bytes: int = 0
    ) -> None:
        """Make it.

        Args:
            folder: where the files lie; made when it is needed. None: there is no temporary storage.
            bytes_max: what the files may take.
            count_max: how many messages they may hold.
            segment_bytes: size of one; 0: as many as there may be file descriptors.
        """
        self._folder = folder
        self.bytes_max = 0 if folder is None else bytes_max
        self.count_max = count_max
        self._segment_bytes = segment_bytes or max(SEGMENT_BYTES_MIN, bytes_max // SEGMENTS_MAX)
        self._last: Segment | None = None
        self._segments: set[Segment] = set()
        self.bytes_used = 0
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Whether a limit is reached."""
        return self.bytes_used >= self.bytes_max or self.count >= self.count_max

    @property
    def holding(self) -> str:
        """What it holds, in words."""
        return f"it holds {self.count} messages, {self.bytes_used} bytes"

    def put(self, ref: int, data: bytes) -> SpooledEntry:
        """Take a message.

        Raises:
            SpoolFull: a limit is reached.
            SpoolFailed: it cannot be written; nothing was taken, and the next one may be.
        """
        if self._folder is None or self.is_full:
            raise SpoolFull(self.holding)
        segment = self._last
        try:
            if segment is None or segment.size >= self._segment_bytes:
                segment = Segment(self._folder)
                self._segments.add(segment)
                self._retire()
                self._last = segment
            offset = segment.put(data)
        except OSError as error:
            raise SpoolFailed(f"cannot write to {self._folder}: {error.strerror or error}") from error
        self.bytes_used += len(data)
        self.count += 1
        return SpooledEntry(ref, segment, offset, len(data))

    def get(self, entry: SpooledEntry) -> bytes:
        """Read a message; it stays until `free`.

        Raises:
            SpoolFailed: it cannot be read.
        """
        try:
            return entry.segment.get(entry.offset, entry.length)
        except OSError as error:
            raise SpoolFailed(f"cannot read from {self._folder}: {error.strerror or error}") from error

    def free(self, entry: SpooledEntry) -> None:
        """A message is not wanted any more."""
        segment = entry.segment
        segment.wanted -= 1
        self.count -= 1
        if not segment.wanted:
            if segment is self._last:
                self._last = None
            self._give_back(segment)

    def close(self) -> None:
        """Give everything back."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        self._last = None
        self.bytes_used = self.count = 0

    def _retire(self) -> None:
        """The last segment is followed by another; one that has failed before its first message is empty."""
        last, self._last = self._last, None
        if last is not None and not last.wanted:
            self._give_back(last)

    def _give_back(self, segment: Segment) -> None:
        if segment in self._segments:
            self._segments.remove(segment)
            self.bytes_used -= segment.size
            segment.close()
