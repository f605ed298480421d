"""Prepared branches in the index: what they hold is nowhere else, and comes back or goes with the outcome."""

from collections.abc import Sequence
from itertools import count

import pytest

from journal.branches import ENDED_MAX
from journal.errors import MessageUnknown
from journal.record import (
    PREPARED,
    SCHEDULED,
    AcknowledgeSubscription,
    AddMessage,
    AddSubscription,
    CommitBranch,
    Held,
    Location,
    MovedMessage,
    PrepareBranch,
    Record,
    Redelivered,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
    RollBackBranch,
)
from journal.state import State

QUEUE = "queue://orders"
TOPIC = "topic://prices"
LENGTH = 10
PLACES = count()


def built(*records: Record) -> State:
    """A state in which these records stand one behind the other."""
    state = State()
    apply(state, records)
    return state


def apply(state: State, records: Sequence[Record]) -> None:
    """Each record stands in a place of its own."""
    for record in records:
        state.apply(record, Location(1, 0, LENGTH * next(PLACES)).pack(), LENGTH)


def branch(
    xid: str = "x",
    *,
    sent: Sequence[int] = (),
    published: Sequence[int] = (),
    consumed: Sequence[int] = (),
    acknowledged: Sequence[int] = (),
) -> list[Record]:
    """What a branch sent, and its preparation."""
    records: list[Record] = [AddMessage(ref, PREPARED + QUEUE, "", 0, b"") for ref in sent]
    records += [AddMessage(ref, PREPARED + TOPIC, "", 0, b"") for ref in published]
    work = {QUEUE: [Held(ref) for ref in sent], TOPIC: [Held(ref) for ref in published]}
    taken = {QUEUE: [Held(ref) for ref in consumed]}
    done = {("c", "s"): [Held(ref) for ref in acknowledged]}
    return [*records, PrepareBranch(xid, "", "c", 0, work, taken, done)]


def waiting(state: State) -> list[int]:
    """What is in the queue."""
    return list(state.queues.get(QUEUE, ()))


SOME = [AddMessage(ref, QUEUE, "", 0, b"") for ref in (1, 2, 3)]
SUBSCRIBED = [AddSubscription("c", "s", TOPIC, "", False), AddSubscription("c", "t", TOPIC, "", False)]


def test_what_a_branch_sent_is_in_no_queue_until_it_is_committed() -> None:
    """It counts as live, can be read, and comes into its queue with its number."""
    state = built(*SOME, *branch(sent=[4, 5]))
    assert waiting(state) == [1, 2, 3]
    assert state.live_bytes == 5 * LENGTH
    assert state.place(4, PREPARED + QUEUE).length == LENGTH
    apply(state, [AddMessage(6, QUEUE, "", 0, b""), CommitBranch("x")])
    assert waiting(state) == [1, 2, 3, 4, 5, 6]
    assert state.live_bytes == 6 * LENGTH
    assert not state.branches.sent


def test_what_a_branch_sent_is_gone_when_it_is_rolled_back() -> None:
    """Nothing of it is live."""
    state = built(*SOME, *branch(sent=[4, 5]), RollBackBranch("x"))
    assert waiting(state) == [1, 2, 3]
    assert state.live_bytes == 3 * LENGTH
    with pytest.raises(MessageUnknown):
        state.place(4, PREPARED + QUEUE)


def test_what_a_branch_consumed_is_locked() -> None:
    """It is not in its queue, and comes back where it was, or is gone."""
    for outcome, left in ((RollBackBranch("x"), [1, 2, 3]), (CommitBranch("x"), [2])):
        state = built(*SOME, *branch(consumed=[1, 3]))
        assert waiting(state) == [2]
        assert state.live_bytes == 3 * LENGTH
        assert state.place(3, QUEUE).length == LENGTH
        apply(state, [outcome])
        assert waiting(state) == left
        assert state.live_bytes == len(left) * LENGTH


def test_priorities_survive_a_branch() -> None:
    """A message has the same priority before and after."""
    state = built(AddMessage(1, QUEUE, "", 0, b"", 9), AddMessage(2, QUEUE, "", 0, b""))
    sent = AddMessage(3, PREPARED + QUEUE, "", 0, b"", 7)
    apply(state, [sent, PrepareBranch("x", "", "", 0, {QUEUE: [Held(3, 7)]}, {QUEUE: [Held(1, 9)]}, {})])
    apply(state, [CommitBranch("x")])
    assert [state.priority_of(ref, QUEUE) for ref in (2, 3)] == [4, 7]
    apply(state, [PrepareBranch("y", "", "", 0, {}, {QUEUE: [Held(3, 7)]}, {}), RollBackBranch("y")])
    assert [state.priority_of(ref, QUEUE) for ref in (2, 3)] == [4, 7]


def test_a_topic_keeps_what_a_durable_subscription_acknowledged_in_a_branch() -> None:
    """It is pending for the subscription no more, and goes only with the outcome."""
    publish = AddMessage(1, TOPIC, "", 0, b"")
    for outcome, pending in ((RollBackBranch("x"), [1]), (CommitBranch("x"), [])):
        state = built(*SUBSCRIBED, publish, *branch(acknowledged=[1]))
        apply(state, [AcknowledgeSubscription("c", "t", 1)])
        assert list(state.topics[TOPIC]) == [1]
        assert list(state.subscriptions["c", "s"].pending) == []
        apply(state, [outcome])
        assert list(state.subscriptions["c", "s"].pending) == pending
        assert list(state.topics[TOPIC]) == pending


def test_what_a_branch_published_is_for_the_subscriptions_at_its_commit() -> None:
    """Those that came meanwhile receive it; if there are none, it is gone."""
    state = built(*branch(published=[1]), *SUBSCRIBED, CommitBranch("x"))
    assert [list(each.pending) for each in state.subscriptions.values()] == [[1], [1]]
    state = built(*SUBSCRIBED, *branch(published=[1]))
    apply(state, [RemoveSubscription("c", "s"), RemoveSubscription("c", "t"), CommitBranch("x")])
    assert state.live_bytes == 0


def test_a_removed_subscription_leaves_nothing_behind() -> None:
    """One of the same name that comes later does not get what the first had acknowledged."""
    state = built(*SUBSCRIBED[:1], AddMessage(1, TOPIC, "", 0, b""), *branch(acknowledged=[1]))
    apply(state, [RemoveSubscription("c", "s"), *SUBSCRIBED[:1], RollBackBranch("x")])
    assert list(state.subscriptions["c", "s"].pending) == []
    assert state.live_bytes == 0


def test_a_removed_queue_takes_what_branches_have_locked_with_it() -> None:
    """A rollback does not bring it back; what was sent to the queue makes it anew."""
    state = built(*SOME, *branch(consumed=[1], sent=[4]), RemoveDestination(QUEUE))
    assert state.live_bytes == LENGTH
    apply(state, [CommitBranch("x")])
    assert waiting(state) == [4]


def test_records_move_while_a_branch_holds_their_messages() -> None:
    """Compaction finds them in whichever index they are."""
    state = built(*SOME, *branch(sent=[4], consumed=[1]))
    apply(state, [MovedMessage(4, PREPARED + QUEUE, "", 0, b""), MovedMessage(1, QUEUE, "", 0, b"")])
    moved = [state.place(1, QUEUE), state.place(4, QUEUE)]
    assert state.live_bytes == 4 * LENGTH
    apply(state, [CommitBranch("x"), MovedMessage(4, QUEUE, "", 0, b"")])
    assert waiting(state) == [2, 3, 4]
    assert state.place(4, QUEUE) not in moved


def test_a_lost_message_of_a_branch_is_gone_for_good() -> None:
    """Given up under the name of the index that had it; the outcome concerns the rest."""
    state = built(*SOME, *branch(sent=[4, 5], consumed=[1, 2]))
    apply(state, [RemoveMessage(4, PREPARED + QUEUE), RemoveMessage(1, "locked:" + QUEUE)])
    assert state.live_bytes == 3 * LENGTH
    apply(state, [RollBackBranch("x")])
    assert waiting(state) == [2, 3]


def test_outcomes_are_remembered() -> None:
    """The last ones; what an administrator decided as long as nobody forgets it."""
    state = built(CommitBranch("h", heuristic=True), RollBackBranch("r"))
    apply(state, [CommitBranch(f"c{i}") for i in range(ENDED_MAX)])
    assert state.branches.heuristic == {"h": True}
    assert "r" not in state.branches.ended
    assert len(state.branches.ended) == ENDED_MAX
    apply(state, [CommitBranch("h")])
    assert not state.branches.heuristic
    assert state.branches.ended["h"] is True


def test_a_second_preparation_changes_nothing() -> None:
    """A branch that is prepared keeps what it has."""
    state = built(*SOME, *branch(consumed=[1]), *branch(consumed=[2]))
    assert waiting(state) == [2, 3]
    apply(state, [RollBackBranch("x")])
    assert waiting(state) == [1, 2, 3]


def test_what_is_known_of_a_message_comes_back_with_it() -> None:
    """When it expires, and how often it was delivered; while it is locked nobody sees it."""
    state = built(AddMessage(1, QUEUE, "", 0, b"", 4, 5_000), Redelivered(1, QUEUE, 2))
    apply(state, [PrepareBranch("x", "", "", 0, {}, {QUEUE: [Held(1, 4, 5_000, 2)]}, {})])
    assert not state.expiring
    assert not state.redelivered
    apply(state, [RollBackBranch("x")])
    assert state.expiration_of(1, QUEUE) == 5_000
    assert state.redelivered[QUEUE].place(1) == (0, 2)


def test_deliveries_to_a_durable_subscription_come_back_too() -> None:
    """Its own count is what it was."""
    state = built(*SUBSCRIBED[:1], AddMessage(1, TOPIC, "", 0, b""))
    branch_of_it = PrepareBranch("x", "", "", 0, {}, {}, {("c", "s"): [Held(1, 4, 0, 3)]})
    apply(state, [Redelivered(1, TOPIC, 3, 0, "c", "s"), branch_of_it])
    assert not state.subscriptions["c", "s"].redelivered
    apply(state, [RollBackBranch("x")])
    assert state.subscriptions["c", "s"].redelivered.place(1) == (0, 3)


def test_a_scheduled_message_goes_with_the_commit() -> None:
    """The record beside it schedules it anew; there is no queue of that name."""
    sent = AddMessage(1, PREPARED + SCHEDULED, "", 0, b"")
    state = built(sent, PrepareBranch("x", "", "", 0, {SCHEDULED: [Held(1)]}, {}, {}), CommitBranch("x"))
    assert not state.queues
    assert state.live_bytes == 0
