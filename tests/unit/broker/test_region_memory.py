"""Memory's limit: persistent bodies leave it, other messages are spooled, all is given back."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, settle, take

from broker.destination import Destination
from broker.errors import SpaceLacking
from broker.region.usage import UsageLimits

OTHER = Destination.queue("other")


def test_bodies_beyond_memory_usage_are_read_back() -> None:
    """Persistent messages are never stopped by memory: the journal has their bodies."""
    region = new_region(usage=UsageLimits(memory_bytes_max=2000))
    peer = Peer(region)
    for number in range(20):
        peer.send(f"m{number}", QUEUE if number % 2 else OTHER, body_bytes=100)
        region.dispatch()
    assert region.usage.memory_bytes < 3000
    peer.consume()
    peer.consume("other", OTHER)
    settle(region)
    assert peer.client.ids("k") == [f"m{number}" for number in range(1, 20, 2)]
    assert peer.client.ids("other") == [f"m{number}" for number in range(0, 20, 2)]
    peer.acknowledge(*peer.client.refs("k"))
    peer.acknowledge(*peer.client.refs("other"), key="other")
    assert region.usage.memory_bytes == 0


def test_non_persistent_messages_push_bodies_out_of_memory() -> None:
    """What is in the journal makes room for what is nowhere else, also what consumers hold."""
    region = new_region(usage=UsageLimits(memory_bytes_max=2000))
    peer = Peer(region)
    peer.consume("durable", TOPIC, subscription_name=None)
    peer.consume()
    peer.send("m1", body_bytes=400)
    settle(region)
    peer.send("m2", OTHER, body_bytes=400)
    peer.send("n1", OTHER, persistent=False, body_bytes=1000)
    peer.send("n2", OTHER, persistent=False, body_bytes=1000)
    region.dispatch()
    assert region.usage.memory_bytes == region.usage.volatile_bytes
    peer.connection.remove_consumer("k")
    peer.consume("again")
    peer.consume("other", OTHER)
    settle(region)
    assert peer.client.ids("again") == ["m1"]
    assert peer.client.ids("other") == ["m2", "n1", "n2"]


def test_a_durable_subscribers_bodies_are_dropped_too(tmp_path: Path) -> None:
    """One message for two subscribers is read back for each of them."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1500), temporary=tmp_path)
    region.usage.spool.count_max = 100
    peers = [Peer(region, f"c{number}", f"client{number}") for number in (1, 2)]
    for peer in peers:
        peer.consume("k", TOPIC, subscription_name="s", prefetch_size=1)
    for number in range(6):
        peers[0].send(f"m{number}", TOPIC, body_bytes=300)
        peers[0].send(f"n{number}", TOPIC, persistent=False, body_bytes=300)
        settle(region)
    assert region.usage.spool.count > 0
    for peer in peers:
        for _ in range(12):
            take(region, peer)
        assert peer.client.ids() == [f"{kind}{number}" for number in range(6) for kind in "mn"]
    assert (region.usage.memory_bytes, region.usage.spool.bytes_used) == (0, 0)


def test_non_persistent_messages_beyond_memory_usage_are_spooled(tmp_path: Path) -> None:
    """They come back in order, among persistent ones, and the space is free again when they are consumed."""
    region = new_region(usage=UsageLimits(memory_bytes_max=3000), temporary=tmp_path)
    peer = Peer(region)
    sent = []
    for number in range(14):
        sent.append(f"m{number}")
        peer.send(sent[-1], persistent=number % 3 == 0, body_bytes=200)
        region.dispatch()
    assert region.usage.spool.count > 0
    assert region.usage.memory_bytes <= 3000 + 800
    peer.consume(prefetch_size=3)
    settle(region)
    for _ in range(14):
        take(region, peer)
    assert peer.client.ids() == sent
    assert all(message.body is not None and len(message.body) == 200 for message in peer.client.messages)
    assert (region.usage.memory_bytes, region.usage.spool.count, region.usage.spool.bytes_used) == (0, 0, 0)


def test_a_spooled_message_that_comes_back_is_redelivered(tmp_path: Path) -> None:
    """It stays in the spool until it is acknowledged."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000), temporary=tmp_path)
    peer = Peer(region)
    for number in range(4):
        peer.send(f"n{number}", persistent=False)
    peer.consume()
    region.dispatch()
    peer.connection.remove_consumer("k")
    peer.consume("browser", browser=True)
    peer.consume("again")
    region.dispatch()
    assert peer.client.ids("browser") == peer.client.ids("again") == [f"n{number}" for number in range(4)]
    assert peer.client.got[-1][3] == 1
    peer.acknowledge(*peer.client.refs("again"), key="again")
    assert region.usage.spool.count == 0


def test_a_deleted_queue_gives_its_memory_back(tmp_path: Path) -> None:
    """Messages in memory and in the spool go with their queue."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000), temporary=tmp_path)
    peer = Peer(region)
    for number in range(4):
        peer.send(f"n{number}", persistent=False)
    peer.connection.remove_destination(QUEUE)
    assert (region.usage.memory_bytes, region.usage.spool.count, region.usage.spool.bytes_used) == (0, 0, 0)


def test_without_temporary_storage_memory_usage_blocks() -> None:
    """Non-persistent sends wait when memory and temporary storage are used up; persistent ones do not."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000))
    peer = Peer(region)
    for number in range(3):
        peer.submit(f"n{number}", persistent=False)
    region.dispatch()
    assert peer.answered() == ["n0", "n1"]
    other = Peer(region, "c2")
    other.submit("m1")
    other.connection.begin("tx")
    other.submit("n3", persistent=False, transaction="tx")
    assert other.answered() == ["m1"]
    peer.consume()
    region.dispatch()
    take(region, peer)
    assert peer.answered() == ["n0", "n1", "n2"]


def test_topics_that_keep_nothing_need_no_memory() -> None:
    """Memory that is used up stops what would wait in it: not what passes through a topic."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000))
    peer = Peer(region)
    for number in range(2):
        peer.submit(f"n{number}", persistent=False)
    region.dispatch()
    other = Peer(region, "c2", "client")
    other.consume("k", TOPIC)
    other.submit("t1", TOPIC, persistent=False)
    assert other.answered() == ["t1"]
    other.consume("durable", TOPIC, subscription_name="s")
    other.submit("t2", TOPIC, persistent=False)
    assert other.answered() == ["t1"]
    peer.consume()
    region.dispatch()
    take(region, peer)
    assert other.answered() == ["t1", "t2"]
    assert other.client.ids("durable") == ["t2"]


def test_temp_usage_bounds_the_spool(tmp_path: Path) -> None:
    """Refused with the name of both limits, if so configured."""
    usage = UsageLimits(memory_bytes_max=1000, temp_bytes_max=200, refuse_at_once=True)
    region = new_region(usage=usage, temporary=tmp_path)
    region.usage.spool.count_max = 100
    peer = Peer(region)
    with pytest.raises(SpaceLacking, match=r"memoryUsage, 1000 bytes.*tempUsage 200 bytes"):
        for number in range(10):
            peer.send(f"n{number}", persistent=False)
    assert region.usage.spool.count > 0
    region.close()


def test_a_failing_temporary_disk_refuses_sends_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker serves on, says what fails, and takes messages again when it works."""
    folder = tmp_path / "not a folder"
    folder.write_bytes(b"")
    region = new_region(usage=UsageLimits(memory_bytes_max=1000), temporary=folder)
    peer = Peer(region)
    peer.send("n0", persistent=False)
    peer.send("n1", persistent=False)
    with pytest.raises(SpaceLacking, match="cannot write to"):
        peer.send("n2", persistent=False)
    region.dispatch()
    assert "cannot write to" in region.usage.problem
    assert "non-persistent messages" in caplog.text
    peer.send("m1")
    folder.unlink()
    peer.send("n3", persistent=False)
    peer.consume()
    settle(region)
    assert peer.client.ids() == ["n0", "n1", "m1", "n3"]
    region.close()


def test_a_transaction_finds_its_place_in_any_case() -> None:
    """Its sends were taken when there was space; the commit is not refused for memory."""
    region = new_region(usage=UsageLimits(memory_bytes_max=1000))
    peer = Peer(region)
    peer.connection.begin("tx")
    for number in range(5):
        peer.send(f"n{number}", persistent=False, transaction="tx")
    peer.connection.commit("tx")
    peer.consume()
    region.dispatch()
    assert peer.client.ids() == [f"n{number}" for number in range(5)]
