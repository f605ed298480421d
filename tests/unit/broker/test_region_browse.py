"""Browsers of long queues: a page at a time, everything once, in order, at a bounded cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.region import QUEUE, Peer, new_region, restarted, settle

from broker.region.limits import RegionLimits
from broker.region.queue import Queue
from broker.region.region import Region
from broker.region.usage import UsageLimits

LIMITS = RegionLimits(resident_messages_max=3, browse_page_messages=4)


def queue_of(region: Region) -> Queue:
    """The queue."""
    queue = region.targets[QUEUE]
    assert isinstance(queue, Queue)
    return queue


@pytest.mark.parametrize("persistent_every", [1, 2, 1000])
@pytest.mark.parametrize("consumers", [0, 2])
def test_a_long_queue_is_browsed_whole(tmp_path: Path, persistent_every: int, consumers: int) -> None:
    """Waiting, at consumers, in the journal or the spool, given back: each is shown once and in order."""
    region = new_region(limits=LIMITS, usage=UsageLimits(memory_bytes_max=3000), temporary=tmp_path)
    region.usage.spool.count_max = 100
    peer = Peer(region)
    for number in range(consumers):
        peer.consume(f"k{number}", prefetch_size=5)
    names = [f"m{number:02}" for number in range(24)]
    for number, name in enumerate(names):
        peer.send(name, persistent=number % persistent_every == 0)
        settle(region)
    if consumers:
        peer.connection.remove_consumer("k1")
    peer.consume("browser", browser=True)
    settle(region)
    assert peer.client.ids("browser") == names
    assert peer.client.none == ["browser"]
    region.close()


def test_a_browser_holds_a_page_and_no_more() -> None:
    """A queue of a thousand messages costs a browser that reads slowly no more than one of ten."""
    region = new_region(limits=LIMITS)
    peer = Peer(region)
    for number in range(1000):
        peer.send(f"m{number}")
        settle(region)
    peer.consume("browser", browser=True, prefetch_size=1)
    settle(region)
    browse = peer.connection.consumers["browser"].source
    assert len(browse._entries) <= LIMITS.browse_page_messages
    assert len(queue_of(region).page(0, 1 << 40)) == LIMITS.browse_page_messages


def test_a_browser_does_not_see_what_comes_later_or_has_gone() -> None:
    """It shows what was there when it was opened, less what is consumed before it gets there."""
    region = new_region(limits=LIMITS)
    peer = Peer(region)
    for number in range(12):
        peer.send(f"m{number:02}")
    settle(region)
    peer.consume("browser", browser=True, prefetch_size=2)
    settle(region)
    peer.send("late")
    peer.consume("taker", prefetch_size=9)
    settle(region)
    peer.acknowledge(*peer.client.refs("taker"), key="taker")
    peer.connection.set_prefetch("browser", 1000)
    settle(region)
    assert peer.client.ids("browser") == ["m00", "m01", "m09", "m10", "m11"]
    assert peer.client.none == ["browser"]


def test_what_is_not_durable_is_not_shown() -> None:
    """A browser sees nothing that a successor might not have."""
    region = new_region(limits=LIMITS)
    peer = Peer(region)
    peer.send("safe")
    settle(region)
    for number in range(6):
        peer.send(f"m{number}")
    peer.consume("browser", browser=True)
    region.dispatch()
    assert peer.client.ids("browser") == ["safe"]
    assert peer.client.none == ["browser"]


def test_a_restarted_brokers_queue_is_browsed() -> None:
    """What is only in the journal's index is shown, up to the limit."""
    region = new_region(limits=LIMITS)
    peer = Peer(region)
    for number in range(20):
        peer.send(f"m{number:02}")
    settle(region)
    limits = RegionLimits(browse_page_messages=4, browse_messages_max=10)
    again = Peer(restarted(region, limits=limits))
    again.consume("browser", browser=True)
    settle(again.region)
    assert again.client.ids("browser") == [f"m{number:02}" for number in range(10)]


def test_deleting_a_long_queue_does_not_go_through_it() -> None:
    """What lies in the index only is not made to be thrown away."""
    region = new_region(limits=LIMITS)
    peer = Peer(region)
    for number in range(100):
        peer.send(f"m{number}")
        settle(region)
    assert sum(1 for _ in queue_of(region).pending.entries()) < 20
    peer.connection.remove_destination(QUEUE)
    assert region.usage.memory_bytes == 0
    assert QUEUE.uri not in region.store.state.queues
