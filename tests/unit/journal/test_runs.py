"""Records that come many at a time mean what they mean one after the other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from journal.index import CHUNK_ENTRIES, MessageIndex
from journal.record import (
    FILE_SHIFT,
    AddDestination,
    AddMessage,
    Record,
    Redelivered,
    RemoveMessage,
)
from journal.runs import apply_all
from journal.state import State

QUEUES = ("queue://a", "queue://b", "topic://t")


def run_of_sends(ref: int, count: int, queue: str, producer_id: str = "p") -> list[Record]:
    """What a transaction sends."""
    return [AddMessage(ref + n, queue, producer_id, ref + n, b"x" * n) for n in range(count)]


def run_of_removals(ref: int, count: int, queue: str) -> list[Record]:
    """What a transaction acknowledges."""
    return [RemoveMessage(ref + n, queue) for n in range(count)]


@st.composite
def appends(draw: st.DrawFn) -> list[list[Record]]:
    """Appends of a broker: runs, runs that are broken somewhere, and other records among them."""
    made: list[list[Record]] = [[AddDestination(queue)] for queue in QUEUES[: draw(st.integers(0, 2))]]
    for _ in range(draw(st.integers(1, 6))):
        records: list[Record] = []
        for _ in range(draw(st.integers(1, 3))):
            ref, count = draw(st.integers(1, 60)), draw(st.integers(1, 30))
            queue = draw(st.sampled_from(QUEUES))
            if draw(st.booleans()):
                records += run_of_sends(ref, count, queue, draw(st.sampled_from(("", "p", "q"))))
            else:
                records += run_of_removals(ref, count, queue)
            if draw(st.integers(0, 3)) == 0:
                at = draw(st.integers(0, len(records)))
                odd: Record = draw(
                    st.sampled_from(
                        (
                            AddMessage(ref, queue, "p", 1, b"", priority=9),
                            AddMessage(ref, queue, "p", 1, b"", expiration=5),
                            Redelivered(ref, queue, 1),
                        )
                    )
                )
                records.insert(at, odd)
        made.append(records)
    return made


def facts(state: State) -> tuple[object, ...]:
    """All that a state knows of messages."""
    names = ("queues", "topics", "ranks", "expiring", "redelivered", "usage", "live_bytes", "next_ref")
    return (*(getattr(state, name) for name in names), state.producers.generations())


@given(appends(), st.integers(0, 3))
@settings(deadline=None)
def test_runs_mean_the_same_as_one_after_the_other(made: list[list[Record]], before_end: int) -> None:
    """Whatever is appended, the index is the same; also where a data file ends within a batch."""
    one, all_ = State(), State()
    location = (1 << FILE_SHIFT) - 100 * before_end
    for records in made:
        lengths = [20 + n % 7 for n in range(len(records))]
        apply_all(all_, records, lengths, location)
        for record, length in zip(records, lengths, strict=True):
            one.apply(record, location, length)
            location += length
        assert facts(one) == facts(all_)


def test_a_view_does_not_change_with_runs() -> None:
    """A checkpoint's view of the index stays as it was when runs come and leave."""
    state = State()
    state.apply(AddDestination(QUEUES[0]), 1, 1)
    apply_all(state, run_of_sends(1, 700, QUEUES[0]), [10] * 700, 0)
    view = state.queues[QUEUES[0]].view()
    kept = [chunk.copy() for chunk in view]
    apply_all(state, run_of_sends(701, 700, QUEUES[0]), [10] * 700, 7000)
    apply_all(state, run_of_removals(1, 600, QUEUES[0]), [10] * 600, 14000)
    assert [(each.refs, each.lengths) for each in view] == [(each.refs, each.lengths) for each in kept]
    assert list(state.queues[QUEUES[0]]) == list(range(601, 1401))


def test_a_run_fills_chunks_and_leaves_none_empty() -> None:
    """Long runs are spread over chunks; what is taken stands side by side, as much as there is of it."""
    index = MessageIndex()
    count = 2 * CHUNK_ENTRIES + 10
    assert index.extend(5, range(100, 100 + count), [1] * count)
    assert not index.extend(5, [1], [1])
    assert (len(index), index.last_ref) == (count, 4 + count)
    index.remove(8)
    assert [list(each) for each in index.take(5, 100)] == [[100, 101, 102], [1, 1, 1]]
    assert [list(each) for each in index.take(8, 100)] == [[], []]
    taken, _ = index.take(9, count)
    assert list(taken) == list(range(104, 100 + CHUNK_ENTRIES))
    assert len(index) == count - 4 - len(taken)
    assert index.place(5 + CHUNK_ENTRIES) == (100 + CHUNK_ENTRIES, 1)
