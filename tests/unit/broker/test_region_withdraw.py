"""What waits in a queue can be looked at and taken out by others than consumers; a queue can be paused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.region import QUEUE, MemoryStore, Peer, new_region, restarted, settle, take

from broker.region.entry import Entry
from broker.region.limits import RegionLimits
from broker.region.queue import Queue
from broker.region.region import Region
from broker.region.usage import UsageLimits
from journal.index import Backlog, MessageIndex
from journal.record import Record

LIMITS = RegionLimits(resident_messages_max=3, browse_page_messages=4)
LAST = 1 << 60


def queue_of(region: Region) -> Queue:
    """The queue."""
    queue = region.targets[QUEUE]
    assert isinstance(queue, Queue)
    return queue


def taken_out(region: Region, entries: list[Entry]) -> None:
    """What an operator's purge does with a page."""
    queue = queue_of(region)
    records: list[Record] = []
    queue.withdraw(entries)
    queue.consumed(entries, records)
    if records:
        region.append(records)


def waiting_refs(region: Region, count: int = 1000) -> list[int]:
    """All numbers that wait, looked at so many at a time."""
    refs: list[int] = []
    while page := queue_of(region).waiting_page(refs[-1] if refs else -1, LAST, count):
        assert len(page) <= count
        refs += [entry.ref for entry in page]
    return refs


@settings(deadline=None)
@given(
    sent=st.lists(st.tuples(st.booleans(), st.sampled_from([4, 4, 4, 9])), min_size=1, max_size=30),
    restarts_after=st.integers(0, 30),
    prefetch=st.integers(0, 4),
    picked=st.sets(st.integers(0, 40)),
    count=st.integers(1, 7),
    prioritized=st.booleans(),
)
def test_what_is_taken_out_is_gone_and_nothing_else(
    sent: list[tuple[bool, int]],
    restarts_after: int,
    prefetch: int,
    picked: set[int],
    count: int,
    prioritized: bool,
) -> None:
    """Wherever it waits: in memory, in the index, by priority or not; and after a restart, too."""
    policies = {"policy.queue.>.prioritizedMessages": str(prioritized).lower()}
    region = new_region(limits=LIMITS, policies=policies)
    peer = Peer(region)
    stored: set[int] = set()
    for number, (persistent, priority) in enumerate(sent):
        if number == restarts_after:
            settle(region)
            region = restarted(region, limits=LIMITS, policies=policies)
            peer = Peer(region)
        ref = region.next_ref
        peer.send(f"m{number}", persistent=persistent, priority=priority)
        if persistent:
            stored.add(ref)
        if number % 3:
            settle(region)
    if prefetch:
        peer.consume(prefetch_size=prefetch)
    settle(region)
    held = set(peer.client.refs())
    before = waiting_refs(region, count)
    assert before == sorted(before)
    assert len(before) == queue_of(region).waiting
    assert not held & set(before)
    after = -1
    while page := queue_of(region).waiting_page(after, LAST, 1000):
        after = page[-1].ref
        taken_out(region, [entry for entry in page if entry.ref in picked])
    left = [ref for ref in before if ref not in picked]
    assert waiting_refs(region) == left
    assert queue_of(region).waiting == len(left)
    again = restarted_whole(region, policies)
    assert set(waiting_refs(again)) == (set(left) | held) & stored
    peer.client.got.clear()
    peer.consume("all", prefetch_size=1000)
    settle(region)
    assert set(peer.client.refs()) == set(left)
    assert region.usage.memory_bytes >= 0


def restarted_whole(region: Region, policies: dict[str, str]) -> Region:
    """A successor that has everything that was appended."""
    store = region.store
    assert isinstance(store, MemoryStore)
    return new_region(store.records(), limits=LIMITS, policies=policies)


def test_spooled_messages_can_be_taken_out(tmp_path: Path) -> None:
    """Their place in the temporary files is free again."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000), temporary=tmp_path)
    region.usage.spool.count_max = 100
    peer = Peer(region)
    for number in range(10):
        peer.send(f"m{number}", persistent=False)
    taken_out(region, queue_of(region).waiting_page(-1, LAST, 100))
    assert region.usage.spool.count == 0
    assert region.usage.memory_bytes == 0


@pytest.mark.parametrize("selector", [None, "JMSPriority > 1"])
def test_a_paused_queue_dispatches_nothing_and_takes_sends(selector: str | None) -> None:
    """Pulls are answered with nothing; what consumers have they keep; resumed, it goes on in order."""
    region = new_region()
    peer = Peer(region)
    peer.consume(selector=selector, prefetch_size=1)
    peer.send("before")
    settle(region)
    queue_of(region).pause()
    peer.send("meanwhile")
    take(region, peer)
    assert peer.client.ids() == ["before"]
    puller = Peer(region, "c2")
    puller.consume("pull", prefetch_size=0, selector=selector)
    puller.connection.pull("pull", -1)
    assert puller.client.none == ["pull"]
    queue_of(region).resume()
    settle(region)
    assert peer.client.ids() == ["before", "meanwhile"]


def test_a_backlog_loses_single_numbers() -> None:
    """Those taken already, behind its end or not in it are not left, so they cannot be removed."""
    index = MessageIndex()
    for ref in range(10, 20):
        index.add(ref, 0, 1)
    backlog = Backlog(index)
    index.add(20, 0, 1)
    assert backlog.popleft() == 10
    assert [backlog.remove(ref) for ref in (5, 10, 12, 12, 20, 19)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    index.remove(12)
    index.remove(19)
    assert list(backlog) == [11, 13, 14, 15, 16, 17, 18]
    assert list(backlog.after(14)) == [15, 16, 17, 18]
    assert len(backlog) == 7
    for ref in list(backlog):
        assert backlog.remove(ref)
        index.remove(ref)
    index.add(13, 0, 1)
    assert list(backlog) == [], "it came back into the index, not here"
