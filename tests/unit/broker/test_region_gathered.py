"""Acknowledgements that arrive together."""

from __future__ import annotations

from support.region import QUEUE, MemoryStore, Peer, new_region, settle

from journal.record import RemoveMessage


def test_one_append_for_all() -> None:
    """The journal hears of them at once; until then nothing else is said of them."""
    region = new_region()
    peer = Peer(region)
    peer.consume("k", prefetch_size=4)
    for number in range(6):
        peer.send(f"m{number}")
    settle(region)
    store = region.store
    assert isinstance(store, MemoryStore)
    before = len(store.batches)
    refs = peer.client.refs()
    assert peer.connection.gather("k", refs[2], cumulative=False)
    assert not peer.connection.gather("k", refs[2], cumulative=False)
    assert peer.connection.gather("k", refs[1], cumulative=True)
    assert not peer.connection.gather("nobody", refs[3], cumulative=False)
    assert len(store.batches) == before
    assert peer.connection.finish_gathered() == before + 1
    assert [type(record) for record in store.batches[-1]] == [RemoveMessage] * 3
    assert peer.connection.finish_gathered() == 0
    settle(region)
    assert peer.client.ids() == [f"m{number}" for number in range(6)]


def test_what_a_transaction_holds_stays_with_it() -> None:
    """A cumulative acknowledgement takes what is free."""
    region = new_region()
    peer = Peer(region)
    peer.consume("k")
    for number in range(3):
        peer.send(f"m{number}")
    settle(region)
    first, _, last = peer.client.refs()
    peer.connection.begin("t")
    peer.acknowledge(first, first, transaction="t")
    assert peer.connection.gather("k", last, cumulative=True)
    peer.connection.finish_gathered()
    assert list(peer.connection.consumers["k"].dispatched) == [first]


def test_the_end_of_the_connection_loses_none() -> None:
    """What was gathered is acknowledged, whatever comes behind it."""
    region = new_region()
    peer = Peer(region)
    peer.consume("k")
    peer.send("m")
    settle(region)
    assert peer.connection.gather("k", peer.client.refs()[0], cumulative=False)
    peer.connection.close()
    assert len(region.store.state.queues[QUEUE.uri]) == 0
