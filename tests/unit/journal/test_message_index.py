"""The compact index: like a sorted dict, at a fifth of the memory, with views that stay."""

import random
import tracemalloc
from array import array

from hypothesis import given
from hypothesis import strategies as st

from journal.index import CHUNK_ENTRIES, Backlog, MessageIndex
from journal.record import AddMessage, Location
from journal.state import State

operations = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "replace", "view"]), st.integers(1, 40)), max_size=80
)


def entries(index: MessageIndex) -> dict[int, tuple[int, int]]:
    """What an index holds."""
    return {ref: tuple(place) for ref, place in index.entries_after(-1)}


def seen(chunks: list[object]) -> dict[int, tuple[int, int]]:
    """What a view holds."""
    found = {}
    for chunk in chunks:
        for ref, location, length in zip(chunk.refs, chunk.locations, chunk.lengths, strict=True):
            if length:
                found[ref] = (location, length)
    return found


@given(operations)
def test_it_behaves_like_a_sorted_dict_and_views_do_not_change(steps: list[tuple[str, int]]) -> None:
    """Whatever is done to the index, it holds what a dict would, and a view what it held then."""
    index = MessageIndex()
    model: dict[int, tuple[int, int]] = {}
    views = []
    for number, (what, ref) in enumerate(steps, 1):
        if what == "add":
            assert index.add(ref, number, 1) is (ref not in model)
            model.setdefault(ref, (number, 1))
        elif what == "remove":
            assert index.remove(ref) == model.pop(ref, None)
        elif what == "replace":
            assert index.replace(ref, number, 2) == model.get(ref)
            if ref in model:
                model[ref] = (number, 2)
        else:
            views.append((index.view(), dict(model)))
        assert len(index) == len(model)
        assert list(index) == sorted(model)
        assert index.last_ref == max(model, default=0)
    assert entries(index) == model
    for chunks, then in views:
        assert seen(chunks) == then


def test_thousands_of_entries_come_and_go() -> None:
    """Chunks are split, shrunk and joined without losing anything."""
    rng = random.Random(1)
    index = MessageIndex()
    model: dict[int, tuple[int, int]] = {}
    for number in range(30_000):
        ref = rng.choice((number, number, rng.randrange(30_000)))
        if rng.random() < 0.6:
            index.add(ref, number, 1)
            model.setdefault(ref, (number, 1))
        elif model:
            ref = rng.choice((min(model) if number % 50 == 0 else ref, ref))
            assert index.remove(ref) == model.pop(ref, None)
    assert entries(index) == dict(sorted(model.items()))
    assert all(index.place(ref) == place for ref, place in model.items())


def test_one_left_in_a_thousand_gives_the_memory_back() -> None:
    """A few old messages do not hold the memory of those that are gone."""
    index = MessageIndex()
    for ref in range(1, 100_001):
        index.add(ref, ref, 1)
    for ref in range(1, 100_001):
        if ref % 1000:
            index.remove(ref)
    chunks = index.view()
    assert sum(len(chunk.refs) for chunk in chunks) < 400
    assert len(chunks) < 10


def test_a_message_that_waits_takes_little() -> None:
    """What waits in a queue takes at most 64 bytes of memory a message, its body on the disk not counted."""
    count, length = 50_000, 100
    state = State()
    tracemalloc.start()
    try:
        for ref in range(1, count + 1):
            place = Location(1, 0, ref * length).pack()
            state.apply(AddMessage(ref, "queue://orders", "ID:host-1:1:1", ref, b""), place, length)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(state.queues["queue://orders"]) == count
    assert taken <= 64 * count


def test_a_checkpoint_s_arrays_are_loaded() -> None:
    """Loading arrays is adding their entries."""
    index = MessageIndex()
    count = CHUNK_ENTRIES * 2 + 3
    index.load(array("Q", range(1, count + 1)), array("Q", range(count)), array("I", [7] * count))
    assert list(index) == list(range(1, count + 1))
    assert index.place(5) == (4, 7)
    assert index.add(count + 1, 9, 9)
    assert index.remove(1) == (0, 7)
    assert len(index) == count


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.integers(0, 30))
def test_a_backlog_gives_what_was_there(refs: set[int], gone: set[int], taken: int) -> None:
    """A backlog is what the index held, in order, without what has been removed and not been read yet."""
    index = MessageIndex()
    for ref in sorted(refs):
        index.add(ref, 0, 1)
    backlog = Backlog(index)
    index.add(100, 0, 1)
    assert len(backlog) == len(refs)
    assert list(backlog) == sorted(refs)
    first = [backlog.popleft() for _ in range(min(taken, len(refs)))]
    assert first == sorted(refs)[: len(first)]
    assert len(backlog) == len(refs) - len(first)
    for ref in gone:
        index.remove(ref)
    rest = []
    while backlog:
        rest.append(backlog.popleft())
    assert set(rest) <= refs
    assert rest == sorted(rest)
    assert set(rest) >= refs - gone - set(first)
    backlog.append(100)
    assert backlog.popleft() == 100
    assert not backlog


@given(st.sets(st.integers(1, 2000)), st.sets(st.integers(1, 2000)), st.integers(0, 300))
def test_all_numbers_at_once(refs: set[int], gone: set[int], taken: int) -> None:
    """Those of an index, of what is left of a backlog, and of an index made of them."""
    index = MessageIndex()
    for ref in sorted(refs):
        index.add(ref, 0, 1)
    for ref in gone:
        index.remove(ref)
    assert list(index.numbers()) == sorted(refs - gone)
    assert list(MessageIndex.of_numbers(index.numbers())) == sorted(refs - gone)
    backlog = Backlog(index)
    for _ in range(min(taken, len(index))):
        backlog.popleft()
    assert list(backlog.rest()) == list(backlog)
