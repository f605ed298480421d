"""What is left of a damaged region: every record whose own CRC is still right."""

from collections.abc import Iterator

from journal.codec import RecordDecoder, record_seed, whole_record_at
from journal.record import AnyRecord


def salvage(data: bytes, salt: int, decoder: RecordDecoder) -> Iterator[tuple[AnyRecord, int, int]]:
    """The undamaged records of a region, each with its position in it and its length.

    Looks at every byte, so that a record is found again behind one whose length is damaged. None begins in
    the zeros at the end of the region, but one may end there.
    """
    seed = record_seed(salt)
    position = 0
    end = len(data.rstrip(b"\0"))
    while position < end:
        length = whole_record_at(data, position, len(data), seed)
        if length:
            for record, _ in decoder.decode(data, position, position + length):
                yield record, position, length
        position += length or 1
