"""Reads the batches of one epoch in order, and can be asked again when more was written.

Recovery reads a dead epoch with it; a slave that keeps warm would follow a living one.
It trusts nothing and decides nothing: where no valid batch stands it stops, and `journal.recovery` finds out
what that means.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from crc32c import crc32c

from journal.batch import BatchHeader, decode_batch_header, decode_file_header, find_batch_header
from journal.errors import StoreMissing
from journal.fence import DataFileName
from journal.files import Files
from journal.options import READ_BYTES
from journal.record import BATCH_HEADER_BYTES, FILE_HEADER_BYTES, Location, Seal

FIRST_READ_BYTES: Final = 64 * 1024
"""Each further read is twice as long, up to the most: what is behind a warm state is little, and the store
may be at the other end of a network."""


class Batch(NamedTuple):
    """A valid batch, with the bytes it stands in.

    Attributes:
        header: what it says.
        data: bytes read from the file.
        start: where its records start in them.
        end: where they end.
        base: add the position of a record in `data` to get its packed location.
    """

    header: BatchHeader
    data: bytes
    start: int
    end: int
    base: int


class Position(NamedTuple):
    """Between two batches of an epoch: in which file, at which offset, and the number of the batch before."""

    number: int
    offset: int
    batch: int


class EpochReader:
    """The batches of one epoch.

    Attributes:
        position: behind the last batch that was read.
        salt: of the epoch, None as long as nothing of it was read.
        damaged_headers: names of data files whose file header is damaged.
    """

    def __init__(
        self, files: Files, epoch: int, *, end: Seal | None = None, read_bytes: int = READ_BYTES
    ) -> None:
        self._files = files
        self.epoch = epoch
        self._end = end
        self._read_bytes_max = read_bytes
        self._read_bytes = min(FIRST_READ_BYTES, read_bytes)
        self.position = Position(0, FILE_HEADER_BYTES, 0)
        self.salt: int | None = None
        self.damaged_headers: set[str] = set()
        self._opened = -1  # number of the data file whose header was looked at
        self._headerless = ""  # name of that file if its header is not whole

    @property
    def at_end(self) -> bool:
        """Whether everything up to the seal was read; never true without one."""
        end = self._end
        return end is not None and (self.position.number, self.position.offset) >= (end.number, end.offset)

    def read(self) -> Iterator[Batch]:
        """The valid batches from the position on, as far as there are any.

        Raises:
            StoreNewer: a file has a newer format.
            StoreUnavailable: a file cannot be read.
        """
        while not self.at_end:
            yield from self._read_file()
            if self.at_end or not self._next_file():
                return

    def resume(self, position: Position) -> None:
        """Goes on at a batch that was found behind a damaged region."""
        self.position = position

    def load(self, number: int, offset: int) -> bytes:
        """What was written to a data file from an offset on, up to the seal; empty if it is missing."""
        name = str(DataFileName(self.epoch, number))
        try:
            length = self._files.written(name, offset) - offset
            end = self._end
            if end is not None and number >= end.number:
                length = min(length, end.offset - offset) if number == end.number else 0
            return self._files.read(name, offset, length) if length > 0 else b""
        except StoreMissing:
            return b""

    def whole_batch(self, data: bytes, at: int, number: int, offset: int) -> BatchHeader | None:
        """The header of the valid batch at a position in the data, which stands at that place of the log."""
        header = decode_batch_header(data, at)
        valid = header is not None and self._stands(header, number, offset) and _is_whole(header, data, at)
        return header if valid else None

    def _stands(self, header: BatchHeader, number: int, offset: int) -> bool:
        """Whether a header is meant for the place where it was found."""
        if (header.epoch, header.number, header.offset) != (self.epoch, number, offset):
            return False
        if self.salt is None:  # the beginnings of all files are damaged: the first header left tells it
            self.salt = header.salt
        return header.salt == self.salt

    def find_batch(self, data: bytes, at: int, number: int, base: int) -> BatchHeader | None:
        """The first valid batch that follows a position in the data; `data[0]` stands at offset `base`."""
        at = find_batch_header(data, at)
        while at >= 0:
            header = self.whole_batch(data, at, number, base + at)
            if header is not None and header.batch > self.position.batch:
                return header
            at = find_batch_header(data, at + 1)
        return None

    def open_file(self, number: int) -> None:
        """Looks at a file's header, once, for the salt and the version."""
        if self._opened == number:
            return
        name = str(DataFileName(self.epoch, number))
        data = self._files.read(name, 0, FILE_HEADER_BYTES + BATCH_HEADER_BYTES)
        header = decode_file_header(data)
        if header is not None and (header.epoch, header.number) == (self.epoch, number):
            self.salt = header.salt
        else:
            first = decode_batch_header(data, FILE_HEADER_BYTES)
            place = (self.epoch, number, FILE_HEADER_BYTES)
            if first is None or (first.epoch, first.number, first.offset) != place:
                return
            self.salt = first.salt
            self._headerless = name
        self._opened = number

    def _read_file(self) -> Iterator[Batch]:
        number, offset, _ = self.position
        name = str(DataFileName(self.epoch, number))
        try:
            self.open_file(number)
        except StoreMissing:
            return
        data = b""
        at = 0
        while not self.at_end:
            header = decode_batch_header(data, at)
            wanted = BATCH_HEADER_BYTES if header is None else BATCH_HEADER_BYTES + header.length
            if at + wanted > len(data):  # read on; a batch longer than one read takes a second one
                offset += at
                at = 0
                data = self._files.read(name, offset, max(wanted, self._read_bytes))
                self._read_bytes = min(2 * self._read_bytes, self._read_bytes_max)
                header = decode_batch_header(data, 0)
                if header is not None and BATCH_HEADER_BYTES + header.length > len(data):
                    data = self._files.read(name, offset, BATCH_HEADER_BYTES + header.length)
            if header is None or header.batch != self.position.batch + 1:
                return
            if not self._stands(header, number, offset + at) or not _is_whole(header, data, at):
                return
            start = at + BATCH_HEADER_BYTES
            at = start + header.length
            self.position = Position(number, offset + at, header.batch)
            if self._headerless == name and header.offset > FILE_HEADER_BYTES:
                self.damaged_headers.add(name)  # it was synced with the file's first batch, before this one
            yield Batch(header, data, start, at, Location(self.epoch, number, offset).pack())

    def _next_file(self) -> bool:
        """Goes on to the next file if it starts with the next batch."""
        number = self.position.number + 1
        name = str(DataFileName(self.epoch, number))
        try:
            data = self._files.read(name, FILE_HEADER_BYTES, BATCH_HEADER_BYTES)
        except StoreMissing:
            return False
        header = decode_batch_header(data, 0)
        place = (self.epoch, number, FILE_HEADER_BYTES, self.position.batch + 1)
        if header is None or (header.epoch, header.number, header.offset, header.batch) != place:
            return False
        self.position = Position(number, FILE_HEADER_BYTES, self.position.batch)
        return True


def _is_whole(header: BatchHeader, data: bytes, at: int) -> bool:
    """Whether the records behind a header are all there and undamaged."""
    start = at + BATCH_HEADER_BYTES
    end = start + header.length
    return end <= len(data) and crc32c(memoryview(data)[start:end]) == header.checksum
