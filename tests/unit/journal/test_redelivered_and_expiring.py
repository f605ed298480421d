"""The index of what expires and of what was delivered before."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from journal.carry import carried
from journal.index import MessageIndex
from journal.record import (
    AcknowledgeSubscription,
    AddMessage,
    AddSubscription,
    MovedMessage,
    Record,
    Redelivered,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
)
from journal.state import State

QUEUE = "queue://a"
TOPIC = "topic://t"


def state_of(*records: Record) -> State:
    """A state with the records applied."""
    state = State()
    for location, record in enumerate(records):
        state.apply(record, location, 1)
    return state


def noted(index: MessageIndex | None) -> dict[int, tuple[int, int]]:
    """What is noted of each message."""
    return {} if index is None else {ref: tuple(place) for ref, place in index.entries_after(-1)}


def expiring(ref: int, destination: str = QUEUE, expiration: int = 500) -> AddMessage:
    """A message that expires."""
    return AddMessage(ref, destination, "", 0, b"", 4, expiration)


def test_only_what_expires_is_noted() -> None:
    """A store of messages that never expire pays nothing for those that do elsewhere."""
    state = state_of(AddMessage(1, QUEUE, "", 0, b""), expiring(2), expiring(3, expiration=900))
    assert noted(state.expiring[QUEUE]) == {2: (500, 1), 3: (900, 1)}
    assert [state.expiration_of(ref, QUEUE) for ref in (1, 2, 3)] == [0, 500, 900]


@pytest.mark.parametrize("end", [[RemoveMessage(1, QUEUE)], [RemoveDestination(QUEUE)]])
def test_what_is_gone_is_forgotten(end: list[Record]) -> None:
    """Nothing is kept of messages that are not live."""
    state = state_of(expiring(1), Redelivered(1, QUEUE, 2), *end)
    assert (state.expiring, state.redelivered) == ({}, {})


def test_the_last_record_counts() -> None:
    """How often it was delivered, and when it may be again, are those said last; 0 takes all of it back."""
    state = state_of(expiring(1), Redelivered(1, QUEUE, 2, 900), Redelivered(1, QUEUE, 3))
    assert noted(state.redelivered[QUEUE]) == {1: (0, 3)}
    state.apply(Redelivered(1, QUEUE, 0), 9, 1)
    assert noted(state.redelivered.get(QUEUE)) == {}


def test_what_is_not_there_is_not_noted() -> None:
    """After damage a record about a lost message, queue or subscription does nothing."""
    state = state_of(
        Redelivered(1, QUEUE, 2),
        Redelivered(1, TOPIC, 2, 0, "c", "n"),
        AddSubscription("c", "n", TOPIC, "", False),
    )
    state.apply(Redelivered(1, TOPIC, 2, 0, "c", "n"), 9, 1)
    assert state.redelivered == {}
    assert not state.subscriptions["c", "n"].redelivered


@pytest.mark.parametrize(
    "end",
    [
        [AcknowledgeSubscription("c", "n", 1)],
        [RemoveMessage(1, TOPIC)],
        [RemoveDestination(TOPIC)],
        [RemoveSubscription("c", "n"), AddSubscription("c", "n", TOPIC, "", False)],
    ],
)
def test_each_subscription_counts_for_itself(end: list[Record]) -> None:
    """What one subscriber could not process is new to the others; the end of it is forgotten."""
    state = state_of(
        AddSubscription("c", "n", TOPIC, "", False),
        AddSubscription("c", "m", TOPIC, "", False),
        expiring(1, TOPIC),
        Redelivered(1, TOPIC, 2, 900, "c", "n"),
    )
    assert noted(state.subscriptions["c", "n"].redelivered) == {1: (900, 2)}
    assert not state.subscriptions["c", "m"].redelivered
    assert noted(state.expiring[TOPIC]) == {1: (500, 1)}
    for record in end:
        state.apply(record, 9, 1)
    assert not state.subscriptions["c", "n"].redelivered


def test_a_message_of_a_topic_expires_until_the_last_subscription_is_done() -> None:
    """Then nothing of it is left."""
    state = state_of(
        AddSubscription("c", "n", TOPIC, "", False), expiring(1, TOPIC), AcknowledgeSubscription("c", "n", 1)
    )
    assert state.expiring == {}
    state.apply(expiring(2, "topic://nobody"), 9, 1)
    assert state.expiring == {}


def test_a_moved_message_that_was_lost_still_expires() -> None:
    """Compaction copies the expiration, too."""
    state = state_of(MovedMessage(1, QUEUE, "", 0, b"", 4, 500))
    assert noted(state.expiring[QUEUE]) == {1: (500, 1)}


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_a_carried_index_is_the_same(steps: list[tuple[int, int, int]]) -> None:
    """A new epoch that carries everything over knows what expires and what was delivered before."""
    state = state_of(AddSubscription("c", "n", TOPIC, "", False))
    for number, (ref, what, more) in enumerate(steps):
        name = (QUEUE, TOPIC)[ref % 2]
        key = ("c", "n") if name is TOPIC else ("", "")
        record: Record = expiring(ref, name, more * 500)
        if what == 1:
            record = Redelivered(ref, name, 1 + more, 100 * more, *key)
        elif what == 2:
            record = RemoveMessage(ref, name)
        state.apply(record, number, 1)
    again = state_of(*carried(state, [], lambda _: b""))
    for one, other in ((state.expiring, again.expiring), (state.redelivered, again.redelivered)):
        assert {name: noted(index) for name, index in one.items()} == {
            name: noted(index) for name, index in other.items()
        }
    assert noted(state.subscriptions["c", "n"].redelivered) == noted(
        again.subscriptions["c", "n"].redelivered
    )
