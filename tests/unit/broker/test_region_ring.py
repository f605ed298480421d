"""Many consumers on one queue: whoever has left gets nothing, and leaves nothing behind."""

import pytest
from support.region import QUEUE, Peer, new_region, settle

from broker.region.limits import RegionLimits
from broker.region.queue import Queue
from broker.region.ring import SLACK


@pytest.mark.parametrize("selector", [None, "JMSPriority = 4"])
def test_those_that_left_get_nothing_and_the_others_keep_their_turn(selector: str | None) -> None:
    """Closed in any order, before anything is sent and in between."""
    region = new_region()
    peer = Peer(region)
    keys = [f"k{number}" for number in range(10)]
    for key in keys:
        peer.consume(key, selector=selector)
    for key in ("k9", "k0", "k4"):
        peer.connection.remove_consumer(key)
    for number in range(14):
        peer.send(f"m{number}")
    settle(region)
    left = [key for key in keys if key not in ("k9", "k0", "k4")]
    assert [key for key, *_ in peer.client.got] == left * 2
    peer.connection.remove_consumer("k1")
    settle(region)
    assert [key for key, *_ in peer.client.got[14:]] == ["k2", "k3"]


@pytest.mark.parametrize("selector", [None, "JMSPriority = 4"])
def test_consumers_that_come_and_go_take_no_memory(selector: str | None) -> None:
    """However many there have been on a queue to which nothing is sent."""
    region = new_region()
    peer = Peer(region)
    peer.consume("stays", selector=selector)
    queue = region.targets[QUEUE]
    assert isinstance(queue, Queue)
    for _ in range(1_000):
        peer.consume("comes", selector=selector)
        peer.connection.remove_consumer("comes")
        rings = [queue._round]
        if queue._choice is not None:
            rings += [party.ring for party in queue._choice._parties.values()]
        assert sum(map(len, rings)) <= SLACK + 4
    peer.send("m1")
    settle(region)
    assert [key for key, *_ in peer.client.got] == ["stays"]


def test_ten_thousand_consumers_of_one_queue() -> None:
    """Each gets its message, and all can leave at once."""
    count = 10_000
    region = new_region(limits=RegionLimits(consumers_per_connection_max=count, dispatch_bytes_max=1 << 30))
    peer = Peer(region)
    for number in range(count):
        peer.consume(str(number))
    for number in range(count):
        peer.send(f"m{number}", sequence=number + 1)
    settle(region)
    assert {key for key, *_ in peer.client.got} == set(map(str, range(count)))
    peer.connection.close()
    queue = region.targets[QUEUE]
    assert isinstance(queue, Queue)
    assert (len(queue.consumers), queue.waiting) == (0, count)
