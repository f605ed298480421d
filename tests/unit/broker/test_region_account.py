"""Flow control per destination: one destination's limits stop its producers, and nobody else."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, settle, take

from broker.destination import Destination
from broker.errors import ClientError, ConfigurationInvalid, SendBlocked
from broker.policies import PolicyMap
from broker.region.account import Account
from broker.region.region import Region
from broker.region.usage import UsageLimits

OTHER = Destination.queue("other")
SMALL = {"policy.queue.workshop.>.memoryLimit": "2 kb"}
IN_MEMORY = {**SMALL, "policy.queue.workshop.>.pendingQueuePolicy": "vmQueueCursor"}
"""A queue whose producers wait when its two KiB of memory are used up: by one message of 2000 bytes."""


def account_of(region: Region, destination: Destination = QUEUE) -> Account:
    """The destination's own account."""
    account = region.targets[destination].usage
    assert isinstance(account, Account)
    return account


def fill(region: Region, peer: Peer) -> None:
    """Use up the memory of the queue."""
    peer.submit("full", persistent=False, body_bytes=2000)
    settle(region)
    assert peer.answered() == ["full"]


def test_a_destination_without_limits_of_its_own_has_no_account() -> None:
    """Whoever does not use this pays nothing for it: such destinations count with the broker."""
    region = new_region(policies=SMALL)
    peer = Peer(region)
    peer.send("m1", OTHER)
    peer.send("m2", QUEUE)
    assert region.targets[OTHER].usage is region.usage
    assert account_of(region).limits.memory_bytes_max == 2048


def test_a_full_destination_stops_its_producers_and_nobody_else() -> None:
    """Others of the same connection, other connections, and the same producer's consumers go on."""
    region = new_region(policies=IN_MEMORY)
    peer, other = Peer(region, "c1"), Peer(region, "c2")
    fill(region, peer)
    peer.submit("m2", persistent=False)
    other.submit("o1", OTHER, persistent=False)
    other.submit("o2", QUEUE, persistent=True)
    settle(region)
    assert peer.answered() == ["full"]
    assert other.answered() == ["o1", "o2"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.answered() == ["full", "m2"]
    take(region, peer)
    assert not region.usage.waiting
    assert not region.usage.is_short


def test_sessions_of_one_connection_wait_by_themselves() -> None:
    """A send waits behind others of its session only: a connection's other sessions are not stopped."""
    region = new_region(policies=IN_MEMORY)
    peer = Peer(region)
    fill(region, peer)
    answers: list[str] = []

    def submit(name: str, destination: Destination, producer_id: str) -> None:
        message = replace(peer.message(name, destination, persistent=False), producer_id=producer_id)
        send = functools.partial(peer.connection.send, message)

        def answer(outcome: int | ClientError) -> None:
            del outcome
            answers.append(name)

        try:
            answer(send())
        except SendBlocked:
            peer.connection.block(message, send, answer, None)

    submit("waits", QUEUE, "c1:1:1")
    submit("same session", OTHER, "c1:1:2")
    submit("other session", OTHER, "c1:2:1")
    settle(region)
    assert answers == ["other session"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert answers == ["other session", "waits", "same session"]


def test_beyond_its_share_of_memory_a_queue_goes_to_temporary_files(tmp_path: Path) -> None:
    """With the default cursor nobody waits: what is not persistent is spooled above the high-water mark."""
    region = new_region(policies=SMALL, temporary=tmp_path)
    peer = Peer(region)
    for index in range(10):
        peer.submit(f"m{index}", persistent=False, body_bytes=500)
    settle(region)
    assert len(peer.answered()) == 10
    assert account_of(region).volatile_bytes < 2048 + 1000
    assert region.usage.spool.bytes_used > 0
    peer.consume()
    settle(region)
    assert peer.client.ids() == [f"m{index}" for index in range(10)]
    for _ in range(10):
        take(region, peer)
    assert account_of(region).memory_bytes == account_of(region).volatile_bytes == 0
    assert region.usage.memory_bytes == 0
    region.close()


def test_persistent_bodies_leave_memory_at_the_destinations_limit() -> None:
    """They are read back: a queue with a memory limit holds as many persistent messages as any."""
    region = new_region(policies=SMALL)
    peer = Peer(region)
    for index in range(10):
        peer.submit(f"m{index}", body_bytes=500)
    settle(region)
    assert 0 < account_of(region).memory_bytes < 3072
    peer.consume()
    settle(region)
    assert peer.client.ids() == [f"m{index}" for index in range(10)]


def test_without_flow_control_memory_stops_nobody(tmp_path: Path) -> None:
    """`producerFlowControl=false` overrides a queue kept in memory, as in the original."""
    policies = {**IN_MEMORY, "policy.queue.workshop.>.producerFlowControl": "false"}
    region = new_region(policies=policies, temporary=tmp_path)
    peer = Peer(region)
    for index in range(10):
        peer.submit(f"m{index}", persistent=False, body_bytes=500)
    assert len(peer.answered()) == 10
    region.close()


@pytest.mark.parametrize("policy", [{"sendFailIfNoSpace": "true"}, {"sendFailIfNoSpaceAfterTimeout": "500"}])
def test_a_destination_refuses_where_others_wait(policy: dict[str, str]) -> None:
    """`sendFailIfNoSpace` and its timeout per destination, over the broker's."""
    own = {f"policy.queue.workshop.>.{name}": value for name, value in policy.items()}
    region = new_region(policies={**IN_MEMORY, **own})
    peer = Peer(region)
    fill(region, peer)
    peer.submit("m2", persistent=False)
    region.advance(1600)
    settle(region)
    assert peer.refused() == ["m2: SpaceLacking"]
    outcome = peer.outcomes[-1][1]
    assert "memoryLimit of queue://workshop.test, 2048 bytes, is used up" in str(outcome)


def test_a_destination_waits_where_others_refuse() -> None:
    """The policy counts in both directions."""
    policies = {"policy.queue.workshop.>.sendFailIfNoSpace": "false"}
    region = new_region(policies=policies, usage=UsageLimits(store_bytes_max=1, refuse_at_once=True))
    peer = Peer(region)
    peer.submit("m1")
    settle(region)
    peer.submit("other", OTHER)
    peer.submit("waits")
    assert peer.refused() == ["other: SpaceLacking"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.answered() == ["m1", "waits"]


@pytest.mark.parametrize("destination", [QUEUE, TOPIC])
def test_a_destination_leaves_a_part_of_the_store_to_others(destination: Destination) -> None:
    """`storeUsageHighWaterMark`: above it this destination's persistent producers wait, others do not."""
    policies = {
        "policy.default.storeUsageHighWaterMark": "50",
        "policy.queue.other.storeUsageHighWaterMark": "100",
    }
    region = new_region(policies=policies, usage=UsageLimits(store_bytes_max=4))
    peer, other = Peer(region, "c1", "durable"), Peer(region, "c2")
    if destination is TOPIC:
        peer.consume("d", TOPIC, subscription_name="sub")
        peer.connection.remove_consumer("d")
    for name in ("m1", "m2", "m3"):
        peer.submit(name, destination)
        settle(region)
    other.submit("o1", OTHER)
    settle(region)
    assert peer.answered() == ["m1", "m2"]
    assert other.answered() == ["o1"]
    other.consume("k", OTHER)
    settle(region)
    take(region, other)
    assert peer.answered() == ["m1", "m2"]
    peer.consume("k", destination, subscription_name="sub" if destination is TOPIC else None)
    settle(region)
    take(region, peer)
    assert peer.answered() == ["m1", "m2", "m3"]


def test_a_blocked_producer_is_told_of_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    """`blockedProducerWarningInterval`: a line when it begins, each so often, and when it ends."""
    policies = {**IN_MEMORY, "policy.default.blockedProducerWarningInterval": "10000"}
    region = new_region(policies=policies)
    peer = Peer(region)
    fill(region, peer)
    with caplog.at_level(logging.INFO, "broker"):
        peer.submit("m2", persistent=False)
        for second in range(25):
            region.advance(1000 + 1000 * second)
            settle(region)
        assert len(caplog.records) == 3
        assert "Sends to queue://workshop.test wait, for 20 s; consumers go on." in caplog.text
        peer.consume()
        settle(region)
        take(region, peer)
    assert "There is space for messages to queue://workshop.test again, after 24.0 s." in caplog.text


def test_a_silent_destination_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An interval of 0 switches the warnings off."""
    region = new_region(policies={**IN_MEMORY, "policy.default.blockedProducerWarningInterval": "0"})
    peer = Peer(region)
    fill(region, peer)
    peer.submit("m2", persistent=False)
    settle(region)
    assert not caplog.records


def test_a_transaction_waits_for_the_memory_of_its_destination() -> None:
    """Its commit is answered after its sends found space."""
    region = new_region(policies=IN_MEMORY)
    peer = Peer(region)
    fill(region, peer)
    peer.connection.begin("tx")
    peer.submit("m2", persistent=False, transaction="tx")
    peer.submit_commit("tx")
    settle(region)
    assert peer.answered() == ["full"]
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.answered() == ["full", "m2", "commit tx"]
    assert peer.client.ids() == ["full", "m2"]


def test_a_message_for_several_waits_for_each_of_them() -> None:
    """A composite send with one full member waits as a whole: all have it, or none."""
    region = new_region(policies=IN_MEMORY)
    peer = Peer(region)
    fill(region, peer)
    peer.submit("both", Destination.queue(f"other,{QUEUE.name}"), persistent=False)
    peer.consume("other", OTHER)
    settle(region)
    assert peer.client.ids("other") == []
    peer.consume()
    settle(region)
    take(region, peer)
    assert peer.client.ids("other") == peer.client.ids("k")[1:] == ["both"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memoryLimit", "much"),
        ("memoryLimit", "70%"),
        ("storeUsageHighWaterMark", "0"),
        ("cursorMemoryHighWaterMark", "101"),
        ("producerFlowControl", "yes"),
        ("sendFailIfNoSpaceAfterTimeout", "-2"),
        ("pendingQueuePolicy", "cursor"),
    ],
)
def test_wrong_limits_are_refused_by_name(name: str, value: str) -> None:
    """A wrong value names its property."""
    with pytest.raises(ConfigurationInvalid, match=name):
        PolicyMap.parse({f"policy.queue.>.{name}": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("sendFailIfNoSpaceAfterTimeout", "-1"), ("memoryLimit", "0"), ("storeUsageHighWaterMark", "100")],
)
def test_the_originals_defaults_say_nothing(name: str, value: str) -> None:
    """A configuration that spells the defaults out leaves the destination with the broker's account."""
    assert not PolicyMap.parse({f"policy.queue.>.{name}": value}).of(QUEUE).has_account
