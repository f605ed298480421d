"""What is in a store, for whom: as `promises` wants to know it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from simulation.cluster.promises import LATER, mark_of, name_in
from support.fake_disk import FakeFiles

from journal.bodies import Bodies
from journal.errors import MessageDamaged
from journal.index import Place
from journal.state import State


def live_messages(
    files: FakeFiles, state: State, damaged: Callable[[str], object]
) -> list[tuple[int, str, str]]:
    """The messages that wait: number, durable subscriber or "", name. What is damaged is told instead."""
    bodies = Bodies(files, state.salts)
    live: list[tuple[int, str, str]] = []
    for ref, subscriber, place, mark in _places(state):
        try:
            live.append((ref, subscriber, name_in(bodies.read(place)) + mark))
        except MessageDamaged as error:
            damaged(str(error))
    return live


def _places(state: State) -> Iterator[tuple[int, str, Place, str]]:
    for name, messages in state.queues.items():
        for ref, place in messages.entries_after(-1):
            yield ref, "", place, mark_of(name)
    for ref, place in state.scheduled.entries_after(-1):
        yield ref, "", place, LATER
    for subscription in state.subscriptions.values():
        for ref in subscription.pending:
            yield ref, subscription.client_id, state.place(ref, state.topic_of(ref)), ""


def subscribers(state: State) -> dict[str, str]:
    """The clients with a durable subscription, and its destination."""
    return {each.client_id: each.destination for each in state.subscriptions.values()}
