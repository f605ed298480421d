"""Compaction of one data file: the live records are found, and their copies are what encoding would give."""

from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_disk import FakeDisk, FakeFiles

from journal import moves
from journal.batch import BatchPlace
from journal.codec import RecordDecoder, RecordEncoder
from journal.copier import Copy, RecordCopier
from journal.fence import DataFileName
from journal.index import CHUNK_ENTRIES
from journal.mastership import OpenBatch
from journal.moves import GAP_BYTES_MAX, Part, Search, copy_records, regions
from journal.options import JournalOptions
from journal.record import (
    PREPARED,
    SCHEDULED,
    AddDestination,
    AddMessage,
    AddScheduled,
    AnyRecord,
    CommitBranch,
    Held,
    Location,
    MovedMessage,
    PrepareBranch,
    RemoveMessage,
    Reschedule,
    Seal,
)
from journal.state import State
from journal.upkeep import Upkeep

QUEUE = "queue://a"
OTHER = "queue://ü\ud800"
FILE = DataFileName(3, 5)
OLD_SALT, SALT = 7, 8

messages = st.builds(
    AddMessage,
    st.integers(1, 1 << 60),
    st.sampled_from([QUEUE, OTHER]),
    st.sampled_from(["", "producer"]),
    st.integers(-5, 1 << 40),
    st.binary(max_size=50),
    st.integers(0, 9),
)


def encoded(records: list[AnyRecord], salt: int = OLD_SALT) -> tuple[bytes, list[int]]:
    """Records one after the other, and their lengths."""
    pieces: list[bytes] = []
    lengths = [RecordEncoder(salt).encode(record, pieces) for record in records]
    return b"".join(pieces), lengths


def searched(state: State, name: DataFileName = FILE) -> list[tuple[int, int]]:
    """Offset and length of the live records in a data file."""
    search = Search(state, name)
    while search.go_on():
        pass
    return [(place >> 32, place & 0xFFFFFFFF) for place in search.places()]


def packed(lengths: list[int]) -> "array[int]":
    """Places of records that stand one after the other, as `Search` gives them."""
    offsets = [64 + sum(lengths[:i]) for i in range(len(lengths))]
    return array("Q", [offset << 32 | length for offset, length in zip(offsets, lengths, strict=True)])


def copied(data: bytes, places: "array[int]") -> Part:
    """What is copied of records in a file that begin at offset 64."""
    (region,) = regions(places, JournalOptions())
    return copy_records(region, FILE, data, RecordCopier(OLD_SALT, SALT))


@given(st.lists(messages, min_size=1, max_size=5))
def test_a_copy_is_what_encoding_would_give(records: list[AddMessage]) -> None:
    """Of a message sent, and of one that was moved before, byte for byte, under the salt of our epoch."""
    moved = [MovedMessage(r.ref, r.destination, r.producer_id, *_rest(r)) for r in records]
    data, lengths = encoded([*records, *moved])
    location = Location(*FILE, 64).pack()
    part = copied(data, packed(lengths))
    assert not part.others
    for length, copy, record in zip(lengths, part.copies, [*moved, *moved], strict=True):
        assert (copy.ref, copy.destination) == (record.ref, record.destination)
        assert (copy.former, copy.length) == (location, length)
        assert copy.head + copy.rest == encoded([record], SALT)[0]
        location += length


def _rest(record: AddMessage) -> tuple[int, bytes, int]:
    return record.producer_sequence_id, record.body, record.priority


def test_damaged_records_and_those_of_other_lengths_are_passed_over() -> None:
    """Only the others are copied; a scheduled message is built anew, since its time may have changed."""
    records: list[AnyRecord] = [AddMessage(ref, QUEUE, "", 0, b"body") for ref in (1, 2, 3)]
    records.append(AddScheduled(4, "", 0, b"body", 99, 0))
    records.append(AddDestination(QUEUE))
    data, lengths = encoded(records)
    damaged = bytearray(data)
    damaged[lengths[0] + 20] ^= 1
    places = packed(lengths)
    places[2] += 1
    part = copied(bytes(damaged), places)
    assert [copy.ref for copy in part.copies] == [1]
    assert [each.record for each in part.others] == [records[3]]
    assert part.others[0].place == (Location(*FILE, places[3] >> 32).pack(), lengths[3])
    assert (len(part), part.size) == (2, lengths[0] + lengths[3])


def test_of_what_is_not_there_any_more_nothing_is_copied() -> None:
    """A file that was cut short gives what it has."""
    data, lengths = encoded([AddMessage(ref, QUEUE, "", 0, b"body") for ref in (1, 2, 3)])
    part = copied(data[: lengths[0] + 20], packed(lengths))
    assert [copy.ref for copy in part.copies] == [1]
    assert not copied(b"", packed(lengths)).copies


def test_regions_are_no_larger_than_the_owner_takes_in_one_turn() -> None:
    """By the count of their records, and by their bytes unless one record is longer."""
    places = packed([50] * 7)
    by_count = regions(places, JournalOptions(move_records=3))
    assert [len(each.places) for each in by_count] == [3, 3, 1]
    by_bytes = regions(places, JournalOptions(move_bytes=100))
    assert [len(each.places) for each in by_bytes] == [2, 2, 2, 1]
    by_span = regions(places, JournalOptions(read_bytes=20))
    assert [(each.offset, each.length) for each in by_span] == [(64, 100), (164, 100), (264, 100), (364, 50)]
    assert list(regions(array("Q"), JournalOptions())) == []


def test_large_gaps_are_not_read() -> None:
    """One live record in a thousand costs a read each; neighbours are read together."""
    places = array("Q", [offset << 32 | 100 for offset in (64, 164, 364, GAP_BYTES_MAX + 465, 900_000)])
    assert [(each.offset, each.length, len(each.places)) for each in regions(places, JournalOptions())] == [
        (64, 400, 3),
        (GAP_BYTES_MAX + 465, 100, 1),
        (900_000, 100, 1),
    ]


files = st.sampled_from(
    [FILE, DataFileName(3, 4), DataFileName(3, 6), DataFileName(3, 13), DataFileName(4, 5)]
)


@given(
    st.lists(
        st.tuples(st.integers(1, 3 * CHUNK_ENTRIES), st.sampled_from([QUEUE, OTHER]), files), max_size=40
    ),
    st.sets(st.integers(1, 3 * CHUNK_ENTRIES)),
)
def test_exactly_the_live_records_in_a_file_are_found(
    added: list[tuple[int, str, DataFileName]], gone: set[int]
) -> None:
    """Of any queue, in the order in which they stand, and none of a file whose number is near."""
    state = State()
    expected: dict[tuple[int, str], int] = {}
    for i, (ref, queue, name) in enumerate(added):
        if (ref, queue) not in expected:
            offset = 64 + 100 * (len(added) - i)
            state.apply(AddMessage(ref, queue, "", 0, b""), Location(*name, offset).pack(), 100)
            expected[ref, queue] = offset if name == FILE else -1
    for ref in gone:
        state.apply(RemoveMessage(ref, QUEUE), 0, 10)
    found = [o for (ref, queue), o in expected.items() if o >= 0 and not (queue == QUEUE and ref in gone)]
    assert searched(state) == [(offset, 100) for offset in sorted(found)]


def test_a_large_index_is_looked_through_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found twice or missed, and entries may come and go between the turns."""
    monkeypatch.setattr(moves, "CHUNKS_A_TURN", 20)
    state = State()
    base = Location(*FILE, 64).pack()
    count = 5 * CHUNK_ENTRIES
    for ref in range(1, count + 1):
        state.apply(AddMessage(ref, QUEUE, "", 0, b""), base + 10 * ref, 10)
    search = Search(state, FILE)
    turns = 1
    while search.go_on():
        turns += 1
        ref = count + turns
        state.apply(AddMessage(ref, QUEUE, "", 0, b""), Location(3, 6, 100 * turns).pack(), 10)
    assert turns > 2
    assert [place >> 32 for place in search.places()] == [64 + 10 * ref for ref in range(1, count + 1)]


def test_only_what_is_live_where_it_stood_is_copied_into_the_batch() -> None:
    """A message that was consumed, or has moved since, stays what it is; the index follows the others."""
    state = State()
    records = [AddMessage(ref, QUEUE, "", 0, b"body") for ref in (1, 2, 3)]
    data, lengths = encoded(records)
    base = Location(*FILE, 64).pack()
    for i, record in enumerate(records):
        state.apply(record, base + i * lengths[0], lengths[0])
    part = copied(data, packed(lengths))
    state.apply(RemoveMessage(1, QUEUE), 0, 10)
    state.apply(MovedMessage(2, QUEUE, "", 0, b"body"), Location(3, 6, 64).pack(), lengths[0])
    batch = OpenBatch(4, BatchPlace(1, 0, 64))
    assert [copy.ref for copy in batch.add_copies(part.copies, state)] == [1, 2]
    assert (batch.count, batch.size) == (1, lengths[0])
    assert b"".join(batch.pieces) == encoded([MovedMessage(3, QUEUE, "", 0, b"body")], SALT)[0]
    assert state.place(3, QUEUE) == (batch.base, lengths[0])
    assert sum(state.usage.values()) == state.live_bytes == 2 * lengths[0]
    assert base >> 29 not in state.usage


class OneBatch:
    """The open batch alone; see `journal.upkeep.Log`."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.batch = OpenBatch(4, BatchPlace(1, 0, 64))

    def append(self, records: Sequence[AnyRecord]) -> int:
        """Adds records."""
        self.batch.add(records, RecordEncoder(SALT), self.state)
        return 1

    def copy(self, copies: Sequence[Copy]) -> list[Copy]:
        """Adds copies."""
        return self.batch.add_copies(copies, self.state)

    def cut(self) -> Seal:
        """Never called."""
        raise NotImplementedError

    def data_file(self) -> int:
        """The first."""
        return 0

    def last_batch(self) -> int:
        """The only one."""
        return 1


def test_messages_that_a_branch_has_put_somewhere_else_move_too() -> None:
    """What was sent in a branch that has been committed, or acknowledged in one that may be rolled back.

    The copy names the place in which a takeover would look for the message.
    """
    state = State()
    state.salts = {FILE.epoch: OLD_SALT, 4: SALT}
    records = [AddMessage(1, PREPARED + QUEUE, "", 0, b"sent"), AddMessage(2, OTHER, "", 0, b"taken")]
    data, lengths = encoded(records)
    base = Location(*FILE, 64).pack()
    state.apply(records[0], base, lengths[0])
    state.apply(records[1], base + lengths[0], lengths[1])
    state.apply(PrepareBranch("a", "", "", 0, {QUEUE: [Held(1)]}, {}, {}), 0, 0)
    state.apply(CommitBranch("a", False), 0, 0)
    state.apply(PrepareBranch("b", "", "", 0, {}, {OTHER: [Held(2)]}, {}), 0, 0)
    assert searched(state) == [(64, lengths[0]), (64 + lengths[0], lengths[1])]
    log = OneBatch(state)
    upkeep = Upkeep(FakeFiles(FakeDisk()), state, log, 4, 64, JournalOptions())
    assert upkeep.move(copied(data, packed(lengths))) == 1
    again = State()
    moved = b"".join(log.batch.pieces)
    RecordDecoder().replay(moved, 0, len(moved), 0, again)
    assert sorted(again.queues) == sorted([QUEUE, OTHER])
    assert list(again.queues[QUEUE]) == [1]
    assert base >> 29 not in state.usage
    assert state.place(1, QUEUE).location >= log.batch.base


def test_a_scheduled_message_is_built_anew_with_what_holds_by_now() -> None:
    """It may be due at another time than its record says."""
    state = State()
    state.apply(AddScheduled(4, "", 0, b"body", 99, 5), 1_000, 50)
    state.apply(Reschedule(4, 120, 4), 0, 10)
    due = AddScheduled(4, "", 0, b"body", 120, 4)
    assert state.moved(AddScheduled(4, "", 0, b"body", 99, 5), SCHEDULED) == due
