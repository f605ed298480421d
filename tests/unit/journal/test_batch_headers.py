"""File and batch headers."""

import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from journal.batch import (
    BatchPlace,
    FileHeader,
    decode_batch_header,
    decode_file_header,
    encode_batch,
    encode_file_header,
    find_batch_header,
)
from journal.codec import RecordEncoder
from journal.errors import StoreNewer
from journal.mastership import OpenBatch
from journal.record import BATCH_HEADER_BYTES, FILE_HEADER_BYTES, FORMAT_VERSION, AddMessage
from journal.state import State

HEADER = FileHeader(7, 2, 99)


def test_the_checksum_is_castagnoli() -> None:
    """The checksum is the one RFC 3720 (B.4) names, so that other tools can read the files."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283


def test_a_file_header_comes_back() -> None:
    """What the header says is what was written."""
    data = encode_file_header(HEADER)
    assert len(data) == FILE_HEADER_BYTES
    assert decode_file_header(data + b"more") == HEADER


@given(st.integers(0, FILE_HEADER_BYTES * 8 - 1))
def test_a_flipped_bit_in_a_file_header_is_damage(bit: int) -> None:
    """A damaged header is not read, and not taken for a newer version either."""
    data = bytearray(encode_file_header(HEADER))
    data[bit // 8] ^= 1 << bit % 8
    assert decode_file_header(bytes(data)) is None


def test_a_newer_version_is_refused() -> None:
    """A store of a newer format is told by its version, with what to do."""
    data = bytearray(encode_file_header(HEADER))
    struct.pack_into("<H", data, 12, FORMAT_VERSION + 1)
    struct.pack_into("<I", data, 8, 0)
    struct.pack_into("<I", data, 8, crc32c(data))
    with pytest.raises(StoreNewer, match=f"version {FORMAT_VERSION + 1}.*newer"):
        decode_file_header(bytes(data))


def test_a_short_or_empty_file_has_no_header() -> None:
    """A file that was only allocated is not an error."""
    assert decode_file_header(b"") is None
    assert decode_file_header(bytes(FILE_HEADER_BYTES)) is None


def test_a_batch_header_comes_back() -> None:
    """A batch says its place and what it holds."""
    head, body = encode_batch(99, 7, BatchPlace(3, 2, 64), [b"ab", b"c"], 2)
    header = decode_batch_header(b"xx" + head + body, 2)
    assert header is not None
    assert len(head) == BATCH_HEADER_BYTES
    assert (header.salt, header.epoch, header.batch, header.number, header.offset) == (99, 7, 3, 2, 64)
    assert (header.length, header.record_count, header.checksum) == (3, 2, crc32c(b"abc"))


@given(st.integers(0, BATCH_HEADER_BYTES * 8 - 1))
def test_a_flipped_bit_in_a_batch_header_is_found(bit: int) -> None:
    """A damaged batch header is never believed."""
    data = bytearray(encode_batch(99, 7, BatchPlace(3, 2, 64), [b"abc"], 1)[0])
    data[bit // 8] ^= 1 << bit % 8
    assert decode_batch_header(bytes(data), 0) is None


def test_headers_are_searched_by_their_magic() -> None:
    """The search for the next batch skips everything else."""
    head, _ = encode_batch(99, 7, BatchPlace(3, 2, 64), [b"abc"], 1)
    assert find_batch_header(b"...." + head, 0) == 4
    assert find_batch_header(b"...." + head, 5) == -1


def test_a_batch_that_was_joined_meanwhile_is_the_same_batch() -> None:
    """Whenever its records were joined, and however often: the bytes on the disk are those of all records."""
    place = BatchPlace(3, 2, 64)
    records = [AddMessage(ref, "queue://a", "", 0, b"body") for ref in range(6)]
    plain, joined = OpenBatch(7, place), OpenBatch(7, place)
    for ref, record in enumerate(records):
        plain.add([record], RecordEncoder(99), State())
        joined.add([record], RecordEncoder(99), State())
        if ref in (1, 2, 4):
            joined.join()
    assert (joined.joined, joined.joined_bytes, joined.size) == (3, 5 * joined.size // 6, plain.size)
    written = [
        b"".join(encode_batch(99, 7, place, batch.pieces, 6, known=(batch.joined, batch.checksum)))
        for batch in (plain, joined)
    ]
    assert written[0] == written[1]
