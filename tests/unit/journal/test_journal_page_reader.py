"""A reader written from the documentation page alone sees in a store what the journal sees.

The stores come from `support.store_histories`: several masters, seals, adopted and carried records, moved
messages, checkpoints, removed files, torn tails; and then damage.
"""

import random

import pytest
from support.page_reader import PageReader, PageState
from support.store_histories import StoreHistory

from journal.bodies import Bodies
from journal.errors import JournalError, MessageDamaged
from journal.index import MessageIndex
from journal.inspection import Inspection, inspect_files
from journal.state import State

SEEDS = range(60)
MASTERS = 5


def entries(messages: MessageIndex) -> dict[int, tuple[int, int]]:
    """Location and length by number."""
    return {ref: tuple(place) for ref, place in messages.entries_after(-1)}


def assert_same(page: PageState, state: State) -> None:
    """Both see the same."""
    assert page.queues == {name: entries(messages) for name, messages in state.queues.items()}
    for name, messages in (*page.queues.items(), *page.topics.items()):
        assert {ref: page.priorities.get((name, ref), 4) for ref in messages} == {
            ref: state.priority_of(ref, name) for ref in messages
        }
    for places, live in ((page.queues, state.queues), (page.topics, state.topics)):
        for name, messages in places.items():
            assert [page.expirations.get((name, ref), 0) for ref in messages] == [
                state.expiration_of(ref, name) for ref in messages
            ]
            assert set(live[name]) >= set(state.expiring.get(name, ()))
    for name, messages in page.queues.items():
        assert {
            ref: page.redelivered[name, ref] for ref in messages if (name, ref) in page.redelivered
        } == entries(state.redelivered.get(name, MessageIndex()))
    assert {
        key: {ref: each for ref, each in s.redelivered.items() if ref in s.pending}
        for key, s in page.subscriptions.items()
    } == {key: entries(s.redelivered) for key, s in state.subscriptions.items()}
    assert page.topics == {name: entries(messages) for name, messages in state.topics.items()}
    assert page.scheduled == entries(state.scheduled)
    assert page.due_times == {ref: state.due(ref) for ref in state.scheduled}
    branches = state.branches
    assert page.sent == {name: entries(messages) for name, messages in branches.sent.items()}
    assert page.locked == {name: entries(messages) for name, messages in branches.locked.items()}
    assert list(page.branches) == list(branches.prepared)
    assert (page.heuristic, page.ended) == (branches.heuristic, branches.ended)
    assert page.notes == state.notes.view()
    assert page.next_ref == state.next_ref
    assert page.producers == state.producers.known()
    assert {
        key: (s.destination, s.selector, s.no_local, s.shared, s.away_since_ms, sorted(s.pending))
        for key, s in page.subscriptions.items()
    } == {
        key: (s.destination, s.selector, s.no_local, s.shared, s.away_since_ms, list(s.pending))
        for key, s in state.subscriptions.items()
    }


def assert_same_bodies(reader: PageReader, inspection: Inspection) -> None:
    """Both read the same bodies."""
    bodies = Bodies(inspection.files, inspection.state.salts)
    for messages in inspection.state.places().values():
        for _, place in messages.entries_after(-1):
            assert reader.body(tuple(place)) == bodies.read(place)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_page_describes_what_the_journal_does(seed: int) -> None:
    """The page is complete: its reader and the journal agree on every message, with its body."""
    history = StoreHistory(seed)
    history.run(MASTERS)
    inspection = inspect_files(history.files, "here")
    reader = PageReader(history.content())
    page = reader.read()
    assert_same(page, inspection.state)
    assert_same_bodies(reader, inspection)
    assert not page.damaged
    assert not inspection.report.damages


def test_the_histories_have_what_the_page_describes() -> None:
    """The stores that are compared have checkpoints, seals, carried and moved records, and torn tails."""
    counted = ("checkpoint", "seals", "carried", "torn", "topics", "removed", "scheduled", "expiring")
    seen = dict.fromkeys((*counted, "redelivered"), 0)
    seen |= {"sent": 0, "locked": 0, "acknowledged": 0, "outcomes": 0}
    for seed in SEEDS:
        history = StoreHistory(seed)
        history.run(MASTERS)
        inspection = inspect_files(history.files, "here")
        seen["checkpoint"] += bool(inspection.report.checkpoint)
        seen["seals"] += bool(inspection.seals)
        seen["carried"] += inspection.report.ruler > 1 and not inspection.seals
        seen["torn"] += inspection.report.torn is not None
        seen["scheduled"] += bool(inspection.state.scheduled)
        seen["expiring"] += bool(inspection.state.expiring)
        seen["redelivered"] += bool(inspection.state.redelivered)
        seen["redelivered"] += any(each.redelivered for each in inspection.state.subscriptions.values())
        seen["topics"] += any(map(len, inspection.state.topics.values()))
        branches = inspection.state.branches
        seen["sent"] += bool(branches.sent)
        seen["locked"] += bool(branches.locked)
        seen["acknowledged"] += any(
            refs for each in branches.prepared.values() for refs in each.acknowledged.values()
        )
        seen["outcomes"] += bool(branches.heuristic) and bool(branches.ended)
        numbers = [name for name in inspection.names if name.startswith("data-000001-")]
        seen["removed"] += not numbers
    assert min(seen.values()) >= 2, seen


@pytest.mark.parametrize("seed", SEEDS)
def test_both_save_the_same_from_a_damaged_store(seed: int) -> None:
    """What the page says about damage is what recovery does, wherever bits have flipped."""
    history = StoreHistory(seed)
    history.run(MASTERS)
    chance = random.Random(seed)
    names = sorted(name for name in history.disk.files if name.startswith(("data-", "checkpoint-")))
    for name in chance.sample(names, min(len(names), 2)):
        content = history.disk.files[name].content
        if content:
            at = chance.randrange(len(content))
            history.disk.corrupt(name, at, bytes([content[at] ^ chance.randrange(1, 256)]))
    reader = PageReader(history.content())
    try:
        inspection = inspect_files(history.files, "here")
    except JournalError:
        return  # the seals are lost: there is nothing to compare
    page = reader.read()
    assert_same(page, inspection.state)
    bodies = Bodies(inspection.files, inspection.state.salts)
    for messages in inspection.state.queues.values():
        for _, place in messages.entries_after(-1):
            try:
                body = bodies.read(place)
            except MessageDamaged:
                with pytest.raises((AssertionError, KeyError, ValueError)):
                    reader.body(tuple(place))
            else:
                assert reader.body(tuple(place)) == body
