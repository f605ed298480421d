"""Data files and batches to bytes and back."""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from crc32c import crc32c

from journal.errors import StoreNewer
from journal.record import BATCH_HEADER_BYTES, FILE_HEADER_BYTES, FORMAT_VERSION

_FILE_MAGIC: Final = b"FMQSTORE"
_FILE_HEADER: Final = struct.Struct("<8sIHHQQQ24x")
assert _FILE_HEADER.size == FILE_HEADER_BYTES
BATCH_MAGIC: Final = b"FMQb"
_BATCH_START: Final = struct.Struct("<4sI")
assert _BATCH_START.size == 8
_BATCH_REST: Final = struct.Struct("<IIQQQIIII")
assert _BATCH_REST.size == BATCH_HEADER_BYTES - 8
_BATCH_HEADER: Final = struct.Struct("<4sIIIQQQIIII")
assert _BATCH_HEADER.size == BATCH_HEADER_BYTES


class FileHeader(NamedTuple):
    """What the first 64 bytes of a data file say."""

    epoch: int
    number: int
    salt: int


def encode_file_header(header: FileHeader) -> bytes:
    """64 bytes."""
    fields = (FORMAT_VERSION, 0, header.epoch, header.number, header.salt)
    checksum = crc32c(_FILE_HEADER.pack(_FILE_MAGIC, 0, *fields))
    return _FILE_HEADER.pack(_FILE_MAGIC, checksum, *fields)


def decode_file_header(data: bytes) -> FileHeader | None:
    """The header at the start of a data file, None if it is damaged or was never written.

    Raises:
        StoreNewer: it is whole, and of a newer version.
    """
    if len(data) < FILE_HEADER_BYTES or not data.startswith(_FILE_MAGIC):
        return None
    _, checksum, version, _, epoch, number, salt = _FILE_HEADER.unpack_from(data)
    if checksum != crc32c(data[12:FILE_HEADER_BYTES], crc32c(_FILE_MAGIC + bytes(4))):
        return None
    if version > FORMAT_VERSION:
        raise StoreNewer(
            f"the store has format version {version}, this software knows {FORMAT_VERSION}: "
            "use a newer version of it"
        )
    return FileHeader(epoch, number, salt)


class BatchHeader(NamedTuple):
    """What the 56 bytes before the records of a batch say."""

    length: int
    checksum: int
    salt: int
    epoch: int
    batch: int
    number: int
    offset: int
    record_count: int
    flags: int


def decode_batch_header(data: bytes, position: int) -> BatchHeader | None:
    """The whole and undamaged header at a position in the data, if one stands there."""
    if position + BATCH_HEADER_BYTES > len(data):
        return None
    magic, checksum, *fields = _BATCH_HEADER.unpack_from(data, position)
    if magic != BATCH_MAGIC or checksum != crc32c(data[position + 8 : position + BATCH_HEADER_BYTES]):
        return None
    return BatchHeader(*fields)


class BatchPlace(NamedTuple):
    """Where a batch is going to stand.

    Attributes:
        batch: its number.
        number: of the data file.
        offset: of its header in that file.
    """

    batch: int
    number: int
    offset: int


def encode_batch(
    salt: int,
    epoch: int,
    place: BatchPlace,
    pieces: Sequence[bytes],
    count: int,
    *,
    known: tuple[int, int] = (0, 0),
) -> list[bytes]:
    """Header and records of a batch, ready to be written at its offset of its file.

    Args:
        salt: of the epoch.
        epoch: its number.
        place: where it will stand.
        pieces: the records.
        count: of the records.
        known: how many of the first pieces are large, and the CRC of these.
    """
    large, checksum = known
    joined = b"".join(pieces[large:])
    records = [*pieces[:large], joined]
    # crc32c releases the GIL for 32 KiB and more
    length, checksum = sum(map(len, records)), crc32c(joined, checksum)
    rest = _BATCH_REST.pack(length, checksum, salt, epoch, *place, count, 0)
    return [_BATCH_START.pack(BATCH_MAGIC, crc32c(rest)) + rest, *records]


def find_batch_header(data: bytes, position: int) -> int:
    """Where the next batch may start, -1 if nowhere: only the magic was looked at."""
    return data.find(BATCH_MAGIC, position)
