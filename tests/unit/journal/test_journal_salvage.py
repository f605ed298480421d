"""What is saved from a damaged region."""

from journal.codec import RecordDecoder, RecordEncoder
from journal.record import AcknowledgeSubscription, AddMessage, AddSubscription, AnyRecord
from journal.salvage import salvage

SALT = 17
RECORDS: list[AnyRecord] = [
    AddMessage(1, "queue://a", "p", 1, b"first"),
    AddSubscription("c", "s", "topic://t", "", False),
    AcknowledgeSubscription("c", "s", 192),
    AddMessage(2, "queue://a", "p", 2, bytes(100)),
]


def encoded(*records: AnyRecord) -> bytes:
    """The records as they stand on the disk."""
    pieces: list[bytes] = []
    encoder = RecordEncoder(SALT)
    for record in records:
        encoder.encode(record, pieces)
    return b"".join(pieces)


def saved(data: bytes) -> list[AnyRecord]:
    """The records that are found, each at its place."""
    found = list(salvage(data, SALT, RecordDecoder()))
    for record, position, length in found:
        assert data[position : position + length] == encoded(record)
    return [record for record, _, _ in found]


def test_whole_records_are_found_behind_a_damaged_one() -> None:
    """One flipped bit costs one record."""
    data = bytearray(encoded(*RECORDS))
    data[5] ^= 1  # the first one's length
    assert saved(bytes(data)) == RECORDS[1:]


def test_a_record_may_end_with_the_zeros_at_the_end_of_a_region() -> None:
    """Numbers end with zeros, and so may bodies: zeros that follow them do not cost the record."""
    for record in RECORDS:
        assert saved(b"x" + encoded(record) + bytes(300)) == [record]


def test_another_epochs_records_are_not_taken() -> None:
    """The salt is part of every checksum."""
    assert list(salvage(encoded(*RECORDS), SALT + 1, RecordDecoder())) == []
