"""The line of waiting messages: in order, whatever waits where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.region.entry import Entry, Pending
from journal.index import MessageIndex

steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.booleans()),
        st.tuples(st.just("take"), st.integers(1, 5)),
        st.tuples(st.sampled_from(("give back", "give the oldest back")), st.integers(1, 3)),
        st.tuples(st.just("consume"), st.integers(1, 3)),
        st.tuples(st.just("durable"), st.integers(0, 3)),
    ),
    max_size=80,
)


@given(steps, st.integers(1, 4))
def test_it_is_in_order_whatever_is_left_to_the_index(
    actions: list[tuple[str, int]], resident_max: int
) -> None:
    """P4: sends, dispatches, redeliveries and what is left to the journal keep one order."""
    index = MessageIndex()
    pending = Pending(index=lambda: index)
    waiting: list[int] = []
    taken: list[Entry] = []
    ref = durable = 0
    for what, value in actions:
        if what == "send":
            ref += 1
            if value:
                index.add(ref, 0, 1)
            pending.append(Entry(ref, None, ref if value else 0, bool(value)), resident_max, durable)
            waiting.append(ref)
        elif what == "take":
            for _ in range(min(value, len(waiting))):
                taken.append(pending.head().popleft())
                assert taken[-1].ref == waiting.pop(0)
        elif what.startswith("give"):
            last = what == "give back"
            back, taken = (taken[-value:], taken[:-value]) if last else (taken[:value], taken[value:])
            pending.give_back(back)
            waiting = sorted(waiting + [entry.ref for entry in back])
        elif what == "consume":
            for entry in taken[:value]:
                index.remove(entry.ref)
            taken = taken[value:]
        else:
            durable = max(durable, ref - value)
        assert len(pending) == len(waiting)
        assert [entry.ref for entry in pending] == waiting


def test_one_message_that_is_not_persistent_holds_nothing_up() -> None:
    """Those around it are left to the index all the same, and it keeps its place among them."""
    index = MessageIndex()
    pending = Pending(index=lambda: index)
    for ref in range(1, 10_001):
        stored = ref % 1000 != 500
        if stored:
            index.add(ref, 0, 1)
        pending.append(Entry(ref, None, ref if stored else 0, stored), 100, ref)
    assert len(list(pending.entries())) <= 310
    assert [entry.ref for entry in pending] == list(range(1, 10_001))
    for ref in range(1, 10_001):
        entry = pending.head().popleft()
        assert (entry.ref, entry.stored) == (ref, ref % 1000 != 500)
    assert len(pending) == 0
    assert not pending.head()


def test_a_long_line_is_left_to_the_index() -> None:
    """A hundred thousand waiting messages take no memory here but for the first and the last."""
    index = MessageIndex()
    pending = Pending(index=lambda: index)
    for ref in range(1, 100_001):
        index.add(ref, 0, 1)
        pending.append(Entry(ref, None, ref, True), 100, ref)
    assert len(pending.front) + len(pending.tail) <= 300
    assert len(pending) == 100_000
