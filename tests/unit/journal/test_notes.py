"""What protocols keep for their clients in a store, through checkpoints, carrying over and export."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_disk import FakeDisk, FakeFiles
from support.store_histories import SteppedLog

from journal.carry import carried, is_small
from journal.checkpoint import checkpoint_size, read_checkpoint, view_of, write_checkpoint
from journal.errors import ExportInvalid
from journal.exchange import Contents, ExportReader, encode_line
from journal.export import export_files
from journal.fence import run
from journal.mastership import become_master
from journal.options import JournalOptions
from journal.record import Note, Seal
from journal.restore import conflicts
from journal.state import State

HERE = Seal(1, 0, 64, 0)
names = st.text(st.characters(), max_size=8)
notes = st.builds(Note, names, names, st.binary(max_size=20))


def state_of(*records: Note) -> State:
    """A state that has seen the notes."""
    state = State()
    for record in records:
        state.apply(record, 0, 1)
    return state


def test_the_last_value_of_a_key_counts() -> None:
    """An empty value ends a note, an empty key all of the owner's."""
    state = state_of(Note("a", "k", b"1"), Note("a", "k", b"2"), Note("a", "l", b"3"), Note("b", "k", b"4"))
    assert state.notes.view() == {"a": {"k": b"2", "l": b"3"}, "b": {"k": b"4"}}
    state.apply(Note("a", "k"), 0, 1)
    state.apply(Note("b", ""), 0, 1)
    assert state.notes.view() == {"a": {"l": b"3"}}
    assert (len(state.notes), list(state.notes), dict(state.notes.of("b"))) == (1, ["a"], {})
    state.apply(Note("a", "l"), 0, 1)
    assert state.notes.view() == {}
    assert state.notes.bytes == 0


@given(st.lists(notes, max_size=12))
def test_a_checkpoint_has_the_notes(records: list[Note]) -> None:
    """What is read back is what there was, and its size was known."""
    state = state_of(*records)
    files = FakeFiles(FakeDisk(1), "host")
    view = view_of(state, HERE)
    state.apply(Note("later", "k", b"v"), 0, 1)
    run(write_checkpoint(files, view, 1, 1, view.size_bytes))
    found = State()
    assert read_checkpoint(files, 1, 1, found) == HERE
    expected = state_of(*records)
    assert found.notes.view() == expected.notes.view()
    assert (
        found.notes.bytes
        == expected.notes.bytes
        == sum(
            16 + len(key) + len(value)
            for each in expected.notes.view().values()
            for key, value in each.items()
        )
    )


def test_notes_count_for_a_checkpoints_size() -> None:
    """A will of 60 KiB is in every checkpoint."""
    empty, full = State(), state_of(Note("a", "will", bytes(60_000)))
    assert checkpoint_size(full) - checkpoint_size(empty) >= 60_000


def test_a_new_epoch_carries_the_notes_over() -> None:
    """A small index is written again with them; they count for what is small."""
    state = state_of(Note("a", "k", b"v"), Note("b", "k", b"v"))
    records = carried(state, [], lambda _: b"")
    assert [each for each in records if isinstance(each, Note)] == [
        Note("a", "k", b"v"),
        Note("b", "k", b"v"),
    ]
    assert is_small(state, [], messages_max=2, bytes_max=100)
    assert not is_small(state, [], messages_max=1, bytes_max=100)
    assert not is_small(state, [], messages_max=2, bytes_max=20)


def exported(*records: Note, globs: tuple[str, ...] = ()) -> bytes:
    """The export of a store that has these notes."""
    files = FakeFiles(FakeDisk(1), "host")
    state = State()
    opened = run(become_master(files, state, owner="host", salt=1, options=JournalOptions(create=True)))
    log = SteppedLog(opened, state)
    log.append(records)
    log.commit()
    stream = io.BytesIO()
    export_files(files, "here", stream, globs)
    return stream.getvalue()


def test_an_export_has_the_notes() -> None:
    """All of them, if no destinations are chosen; an older export has none."""
    data = exported(Note("a", "k", b"\0v"), Note("b", "k", b"v"))
    reader = ExportReader(io.BytesIO(data))
    assert list(reader.messages()) == []
    assert reader.contents.notes == [Note("a", "k", b"\0v"), Note("b", "k", b"v")]
    assert b'"note"' not in exported(Note("a", "k", b"v"), globs=("orders",))


def test_a_note_that_says_nothing_is_no_note() -> None:
    """An import believes nothing."""
    head = encode_line(
        "export", version=1, next_ref=1, destinations=0, subscriptions=0, producers=0, notes=1, messages=0
    )
    reader = ExportReader(io.BytesIO(head + encode_line("note", owner="a", key="", value=b"v")))
    with pytest.raises(ExportInvalid, match="an owner, a key and a value"):
        list(reader.messages())


def test_notes_do_not_keep_an_export_out() -> None:
    """Those of owners that the store knows are left out, see `journal.restore`."""
    assert conflicts(state_of(Note("a", "k", b"v")), Contents(notes=[Note("a", "k", b"w")])) == []
