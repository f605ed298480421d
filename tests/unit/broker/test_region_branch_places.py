"""Where the messages of a committed branch stand among those that wait."""

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, settle

from broker.destination import Destination
from broker.region.limits import RegionLimits
from broker.xa import Xid

X = Xid(1, b"global", b"1").text


def test_committed_messages_stand_where_they_were_sent() -> None:
    """Before those sent after the preparation, behind those sent before; however many wait, chosen or not."""
    for selector in (None, "TRUE"):
        region = new_region(limits=RegionLimits(resident_messages_max=2))
        peer = Peer(region)
        for number in range(3):
            peer.send(f"a{number}")
        region.branches.begin(peer.connection, X)
        peer.send("x1", transaction=X)
        peer.send("x2", transaction=X)
        region.branches.prepare(peer.connection, X)
        for number in range(12):
            peer.send(f"b{number:02}")
            settle(region)
        region.branches.commit(peer.connection, X, one_phase=False)
        peer.consume(selector=selector)
        settle(region)
        assert peer.client.ids() == [
            "a0",
            "a1",
            "a2",
            "x1",
            "x2",
            *(f"b{number:02}" for number in range(12)),
        ]


@pytest.mark.parametrize(("destination", "subscription"), [(QUEUE, None), (TOPIC, "s")], ids=str)
def test_committed_messages_wait_for_the_disk(destination: Destination, subscription: str | None) -> None:
    """P1: none of a long line, in which they are only numbers, leaves before the commit is durable."""
    region = new_region(limits=RegionLimits(resident_messages_max=2))
    peer = Peer(region, client_id="id")
    peer.consume(destination=destination, subscription_name=subscription)
    peer.connection.remove_consumer("k")
    for number in range(24):
        if number == 12:
            region.branches.begin(peer.connection, X)
            peer.send("x", destination, transaction=X)
            region.branches.prepare(peer.connection, X)
        peer.send(str(number), destination)
        settle(region)
    region.branches.commit(peer.connection, X, one_phase=False)
    peer.consume(destination=destination, subscription_name=subscription)
    region.dispatch()
    assert "x" not in peer.client.ids()
    settle(region)
    assert peer.client.ids() == [*map(str, range(12)), "x", *map(str, range(12, 24))]
