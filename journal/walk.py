"""One data file from its beginning to its end: its batches, and what lies between them that is none.

Recovery reads an epoch and begins at a checkpoint; this reads a file, whatever was removed before it.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from journal.batch import decode_file_header
from journal.codec import RecordDecoder, record_seed, whole_record_at
from journal.fence import DataFileName
from journal.files import Files
from journal.reader import Batch, EpochReader, Position
from journal.record import (
    BATCH_HEADER_BYTES,
    FILE_HEADER_BYTES,
    AnyRecord,
    Location,
)
from journal.salvage import salvage

ZEROS_BYTES_MAX: Final = 64 * 1024
"""More than the end of a batch that a file system may not tell from what was only allocated: its block."""


class Gap(NamedTuple):
    """A region in which no batch is whole.

    Attributes:
        offset: where it starts.
        length: in bytes; to the end of the file, if no batch follows, without the zeros there.
        saved: the records in it that are whole, each with its offset in the file and its length.
    """

    offset: int
    length: int
    saved: list[tuple[AnyRecord, int, int]]


class FoundRecord(NamedTuple):
    """A record of a whole batch.

    Attributes:
        record: None if its own checksum is wrong, although the batch's is right.
        offset: in the file.
        length: in bytes; to the end of the batch, if the record is not whole.
        batch: number of its batch.
    """

    record: AnyRecord | None
    offset: int
    length: int
    batch: int


class FileWalk:
    """The batches of a data file.

    Args:
        files: the store.
        name: of the data file.
        limit: offset where what counts ends; None: at the file's own end.

    Attributes:
        headless: whether the file's header is damaged.

    Raises:
        StoreNewer: it is of a newer format.
        StoreUnavailable: it cannot be read, or went.
    """

    def __init__(self, files: Files, name: DataFileName, limit: int | None = None) -> None:
        self._files = files
        self._name = name
        self._limit = limit
        self._reader = EpochReader(files, name.epoch)
        self._reader.open_file(name.number)
        self.headless = decode_file_header(files.read(str(name), 0, FILE_HEADER_BYTES)) is None

    def parts(self) -> Iterator[Batch | Gap]:
        """Its batches and what lies between them, in order."""
        reader, number = self._reader, self._name.number
        data = self._content()
        base = Location(self._name.epoch, number, FILE_HEADER_BYTES).pack()
        at = 0
        while at < len(data):
            header = reader.whole_batch(data, at, number, FILE_HEADER_BYTES + at)
            if header is not None:
                start = at + BATCH_HEADER_BYTES
                at = start + header.length
                reader.resume(Position(number, FILE_HEADER_BYTES + at, header.batch))
                yield Batch(header, data, start, at, base)
                continue
            later = reader.find_batch(data, at + 1, number, FILE_HEADER_BYTES)
            stop = len(data) if later is None else later.offset - FILE_HEADER_BYTES
            to_end = later is None and self._limit is None
            gap = self._gap(FILE_HEADER_BYTES + at, data[at:stop], to_end=to_end)
            if gap.length:
                yield gap
            at = stop
        if self._limit is not None and FILE_HEADER_BYTES + len(data) < self._limit:
            yield Gap(FILE_HEADER_BYTES + len(data), self._limit - FILE_HEADER_BYTES - len(data), [])

    def _content(self) -> bytes:
        """Everything behind the file's header that may be a batch."""
        name = str(self._name)
        end = self._limit
        if end is None:  # a batch may end with zeros that look as if they were only allocated
            end = self._files.written(name, FILE_HEADER_BYTES) + ZEROS_BYTES_MAX
        return self._files.read(name, FILE_HEADER_BYTES, end - FILE_HEADER_BYTES)

    def _gap(self, offset: int, region: bytes, *, to_end: bool) -> Gap:
        """What is between two batches; behind the last one, up to the zeros."""
        found = list(salvage(region, self._reader.salt or 0, RecordDecoder()))
        saved = [(record, offset + position, length) for record, position, length in found]
        end = len(region)
        if to_end:
            end = max(len(region.rstrip(b"\0")), *(position + length for _, position, length in found), 0)
        return Gap(offset, end, saved)


def records_of(batch: Batch, decoder: RecordDecoder) -> Iterator[FoundRecord]:
    """The records of a whole batch, each looked at by its own checksum.

    A record of a type that this version does not know is damage here: recovery would have refused the store.
    """
    data = batch.data
    seed = record_seed(batch.header.salt)
    shift = Location.unpack(batch.base).offset
    position = batch.start
    while position < batch.end:
        length = whole_record_at(data, position, batch.end, seed)
        if not length:  # where the next one starts is not known any more
            yield FoundRecord(None, shift + position, batch.end - position, batch.header.batch)
            return
        ((record, _),) = decoder.decode(data, position, position + length)
        yield FoundRecord(record, shift + position, length, batch.header.batch)
        position += length
