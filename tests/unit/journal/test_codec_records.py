"""Records to bytes and back."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.codec import RecordDecoder, RecordEncoder, message_body, record_seed, whole_record_at
from journal.errors import StoreNewer
from journal.record import (
    EPOCHS_MAX,
    FILE_SHIFT,
    FILES_PER_EPOCH_MAX,
    OFFSET_MAX,
    RECORD_BYTES_MAX,
    REPEATS_MAX,
    TEXT_BYTES_MAX,
    TEXTS_CACHED_MAX,
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    AnyRecord,
    Audience,
    CommitBranch,
    EpochBegin,
    EpochEnd,
    Held,
    Location,
    Note,
    PrepareBranch,
    Redelivered,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
    Reschedule,
    RollBackBranch,
    Seal,
    data_file_key,
)
from journal.salvage import salvage

SALT = 0x1234567890ABCDEF
texts = st.text(st.characters(), max_size=30)  # with lone surrogates: Java strings may hold them
refs = st.integers(0, 2**64 - 1)
seals = st.builds(Seal, refs, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), refs)
held = st.builds(Held, refs, st.integers(0, 9), refs, refs)
records = st.one_of(
    st.builds(
        AddMessage,
        refs,
        texts,
        texts,
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=200),
        st.integers(0, 9),
        st.just(0) | refs,
    ),
    st.builds(Redelivered, refs, texts, st.integers(0, 2**32 - 1), refs, texts, texts),
    st.builds(
        AddScheduled,
        refs,
        texts,
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=200),
        refs,
        st.integers(-1, REPEATS_MAX),
    ),
    st.builds(Note, texts, texts, st.binary(max_size=200)),
    st.builds(Reschedule, refs, refs, st.integers(-1, REPEATS_MAX)),
    st.builds(RemoveMessage, refs, texts),
    st.builds(AddDestination, texts),
    st.builds(RemoveDestination, texts),
    st.builds(AddSubscription, texts, texts, texts, texts, st.booleans(), st.booleans(), refs),
    st.builds(Audience, refs, texts, st.lists(st.tuples(texts, texts), max_size=3).map(tuple)),
    st.builds(RemoveSubscription, texts, texts),
    st.builds(AcknowledgeSubscription, texts, texts, refs),
    st.builds(
        PrepareBranch,
        texts,
        texts,
        texts,
        refs,
        st.dictionaries(texts, st.lists(held, max_size=3), max_size=2),
        st.dictionaries(texts, st.lists(held, max_size=3), max_size=2),
        st.dictionaries(st.tuples(texts, texts), st.lists(held, max_size=3), max_size=2),
    ),
    st.builds(CommitBranch, texts, st.booleans()),
    st.builds(RollBackBranch, texts, st.booleans()),
    st.builds(EpochBegin, texts, st.lists(seals, max_size=3).map(tuple)),
    st.just(EpochEnd()),
)


def encode(*items: AnyRecord, salt: int = SALT) -> bytes:
    """The records one after the other."""
    encoder = RecordEncoder(salt)
    pieces: list[bytes] = []
    lengths = [encoder.encode(record, pieces) for record in items]
    data = b"".join(pieces)
    assert sum(lengths) == len(data)
    return data


def decode(data: bytes) -> Sequence[AnyRecord]:
    """The records that stand in the data."""
    return [record for record, _ in RecordDecoder().decode(data, 0, len(data))]


@given(st.lists(records, max_size=8))
def test_what_was_encoded_is_decoded(items: list[AnyRecord]) -> None:
    """Every record comes back as it was, whatever its texts and numbers."""
    assert decode(encode(*items)) == items


@given(st.lists(records, min_size=1, max_size=5), st.data())
def test_salvage_loses_only_what_was_damaged(items: list[AnyRecord], data: st.DataObject) -> None:
    """One flipped bit costs one record; those before and behind it are found."""
    encoded = bytearray(encode(*items))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    hit = next(i for i in range(len(items)) if bit < len(encode(*items[: i + 1])) * 8)
    encoded[bit // 8] ^= 1 << bit % 8
    saved = [record for record, _, _ in salvage(bytes(encoded), SALT, RecordDecoder())]
    assert saved == items[:hit] + items[hit + 1 :]


@given(st.binary(max_size=300))
def test_salvage_of_garbage_finds_nothing(data: bytes) -> None:
    """Bytes that no journal wrote are never taken for records."""
    assert list(salvage(data, SALT, RecordDecoder())) == []


def test_another_salt_makes_another_checksum() -> None:
    """A client that sends a copy of another store's data file cannot plant records in this one."""
    data = encode(AddDestination("queue://a"), salt=SALT + 1)
    assert whole_record_at(data, 0, len(data), record_seed(SALT)) == 0
    assert whole_record_at(data, 0, len(data), record_seed(SALT + 1)) == len(data)


def test_a_reserved_type_is_of_a_newer_version() -> None:
    """A record that this version cannot apply is refused, not skipped."""
    data = bytearray(encode(EpochEnd()))
    data[8] = 63
    with pytest.raises(StoreNewer, match="63"):
        decode(bytes(data))


def test_an_unknown_flag_of_a_message_is_of_a_newer_version() -> None:
    """What stands before a body is never taken for a part of it."""
    data = bytearray(encode(AddMessage(1, "q", "", 1, b"body")))
    data[15] = 2
    with pytest.raises(StoreNewer, match="flags 2"):
        decode(bytes(data))


def test_a_body_is_found_behind_the_expiration() -> None:
    """Reading back needs no more of a record than its body."""
    data = encode(AddMessage(1, "q", "p", 1, b"body", 4, 7), AddMessage(2, "q", "p", 1, b"other"))
    second = len(encode(AddMessage(1, "q", "p", 1, b"body", 4, 7)))
    assert (message_body(data, 0), message_body(data, second)) == (b"body", b"other")


@pytest.mark.parametrize(
    "record",
    [
        AddDestination("x" * (TEXT_BYTES_MAX + 1)),
        AddMessage(1, "q", "é" * (TEXT_BYTES_MAX // 2 + 1), 1, b""),
        AddMessage(-1, "q", "", 1, b""),
        AddMessage(1, "q", "", 2**63, b""),
        AddScheduled(1, "x" * (TEXT_BYTES_MAX + 1), 1, b"", 1, 0),
        AddScheduled(1, "", 0, b"", -1, 0),
        Reschedule(1, 1, REPEATS_MAX + 1),
        RemoveMessage(2**64, "q"),
        AcknowledgeSubscription("c", "n", -1),
        AddMessage(1, "q", "", 1, b"", 4, -1),
        Redelivered(1, "q", 1, -1),
        Audience(1 << 64, "t", ()),
        Audience(1, "t", (("c" * 70_000, "n"),)),
    ],
)
def test_what_does_not_fit_is_refused(record: AnyRecord) -> None:
    """A value outside of the format's range is an error before anything is written."""
    pieces: list[bytes] = []
    with pytest.raises(ValueError, match=r"fit|range"):
        RecordEncoder(SALT).encode(record, pieces)
    assert pieces == []


def test_a_body_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest record has a named limit."""
    monkeypatch.setattr("journal.codec.RECORD_BYTES_MAX", 1000)
    with pytest.raises(ValueError, match="2000 bytes"):
        encode(AddMessage(1, "q", "", 0, bytes(2000)))
    with pytest.raises(ValueError, match="2000 bytes"):
        encode(AddScheduled(1, "", 0, bytes(2000), 1, 0))
    assert RECORD_BYTES_MAX > 100 * 1024 * 1024


def test_the_text_cache_has_a_limit() -> None:
    """Any number of destinations and producers costs a bounded amount of memory."""
    items = [RemoveMessage(i, f"queue://{i}") for i in range(TEXTS_CACHED_MAX + 5)]
    assert decode(encode(*items)) == items


@given(
    st.integers(0, EPOCHS_MAX - 2), st.integers(0, FILES_PER_EPOCH_MAX - 1), st.integers(0, OFFSET_MAX - 1)
)
def test_a_location_survives_packing(epoch: int, number: int, offset: int) -> None:
    """A packed location says the same, and later places have higher ones."""
    location = Location(epoch, number, offset)
    assert Location.unpack(location.pack()) == location
    assert Location(epoch + 1, 0, 0).pack() > location.pack()
    assert location.pack() < 1 << 64
    assert location.pack() >> FILE_SHIFT == data_file_key(epoch, number)
