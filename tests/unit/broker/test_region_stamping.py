"""Times by the broker's clock, and bounds of messages' lives."""

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, settle

from broker.destination import Destination
from broker.openwire import commands, translation
from broker.openwire.message_reader import message_of_frame

NOW_MS = 1_000
"""Of a new region."""


@pytest.mark.parametrize(
    ("policy", "timestamp", "expiration", "expected"),
    [
        ({}, 400, 900_000, (400, 900_000)),
        ({"timeStamping": "true"}, 400, 900, (NOW_MS, NOW_MS + 500)),
        ({"timeStamping": "true"}, 400, 0, (NOW_MS, 0)),
        ({"timeStamping": "true"}, 0, 2_000, (0, 2_000)),
        ({"zeroExpirationOverride": "70"}, 400, 0, (NOW_MS, NOW_MS + 70)),
        ({"zeroExpirationOverride": "70"}, 400, 500, (NOW_MS, NOW_MS + 100)),
        ({"ttlCeiling": "50"}, 400, 500, (NOW_MS, NOW_MS + 50)),
        ({"ttlCeiling": "50"}, 400, 0, (NOW_MS, 0)),
        ({"ttlCeiling": "50", "zeroExpirationOverride": "70"}, 400, 0, (NOW_MS, NOW_MS + 50)),
        ({"timeStamping": "true", "futureOnly": "true"}, 5_000, 5_500, (5_000, 5_500)),
        ({"timeStamping": "true", "futureOnly": "true"}, 400, 900, (NOW_MS, NOW_MS + 500)),
    ],
)
def test_lives_are_counted_by_the_brokers_clock(
    policy: dict[str, str], timestamp: int, expiration: int, expected: tuple[int, int]
) -> None:
    """A message whose client's clock is wrong does not expire too early or too late."""
    region = new_region(policies={f"policy.queue.>.{name}": value for name, value in policy.items()})
    peer = Peer(region)
    peer.consume()
    peer.send("m0", timestamp=timestamp, expiration=expiration)
    settle(region)
    (message,) = peer.client.messages
    assert (message.timestamp, message.expiration) == expected


def test_the_frame_says_the_same() -> None:
    """What consumers and a new master read of it is what the broker goes by."""
    command = commands.ActiveMQTextMessage(
        producer_id=commands.ProducerId("c1", 1, 1),
        message_id=commands.MessageId(None, commands.ProducerId("c1", 1, 1), 7),
        destination=commands.ActiveMQQueue(QUEUE.name),
        persistent=True,
        timestamp=400,
        expiration=500,
    )
    frame = translation.to_message(command).wire
    assert frame is not None
    region = new_region(policies={"policy.queue.>.timeStamping": "true"})
    peer = Peer(region)
    peer.consume()
    peer.connection.send(message_of_frame(frame))
    settle(region)
    found = translation.from_message(peer.client.messages[0])
    assert (found.timestamp, found.expiration) == (NOW_MS, NOW_MS + 100)
    assert region.store.state.expiration_of(1, QUEUE.uri) == NOW_MS + 100


def test_each_destination_of_a_message_has_its_own_policy() -> None:
    """Also in a transaction, and for topics."""
    region = new_region(policies={"policy.topic.>.ttlCeiling": "50"})
    peer = Peer(region)
    peer.consume("queue", QUEUE)
    peer.consume("topic", TOPIC)
    peer.send("both", Destination.queue(f"{QUEUE.name},{TOPIC.uri}"), timestamp=400, expiration=1_400)
    peer.connection.begin("tx")
    peer.send("later", TOPIC, timestamp=400, expiration=1_400, transaction="tx")
    peer.connection.commit("tx")
    settle(region)
    found = {
        (key, message.message_id): message.expiration
        for (key, *_), message in zip(peer.client.got, peer.client.messages, strict=True)
    }
    assert found == {("queue", "both"): 1_400, ("topic", "both"): 1_050, ("topic", "later"): 1_050}
