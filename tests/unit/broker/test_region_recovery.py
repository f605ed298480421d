"""What topics remember for retroactive consumers."""

import pytest
from support.region import TOPIC, Peer, new_region, settle

from broker.destination import Destination
from broker.errors import ConfigurationInvalid
from broker.policies import PolicyMap
from broker.primitive_map import encode_map
from broker.properties import properties_of
from broker.region.recovery import OVERHEAD_BYTES
from broker.region.region import Region

POLICY = "policy.topic.>.subscriptionRecoveryPolicy"


def region_with(policy: str, **properties: str) -> Region:
    """A region whose topics have a recovery policy, with properties of it."""
    more = {f"{POLICY}.{name}": value for name, value in properties.items()}
    return new_region(policies={POLICY: policy, **more})


def got(region: Region, **options: object) -> list[str]:
    """What a consumer that comes now gets at once."""
    peer = Peer(region, f"late {len(region.connections)}", f"client {len(region.connections)}")
    peer.consume("k", TOPIC, **options)
    settle(region)
    return peer.client.ids()


def send(region: Region, *names: str, **fields: object) -> None:
    """Send messages to the topic."""
    peer = Peer(region, f"sender {len(region.connections)}")
    for name in names:
        peer.send(name, TOPIC, **fields)
    settle(region)


@pytest.mark.parametrize(
    ("policy", "properties", "expected"),
    [
        ("noSubscriptionRecoveryPolicy", {}, []),
        ("retainedMessageSubscriptionRecoveryPolicy", {}, []),
        ("lastImageSubscriptionRecoveryPolicy", {}, ["m4"]),
        ("fixedCountSubscriptionRecoveryPolicy", {}, ["m0", "m1", "m2", "m3", "m4"]),
        ("fixedCountSubscriptionRecoveryPolicy", {"maximumSize": "2"}, ["m3", "m4"]),
        ("fixedSizedSubscriptionRecoveryPolicy", {}, ["m0", "m1", "m2", "m3", "m4"]),
        (
            "fixedSizedSubscriptionRecoveryPolicy",
            {"maximumSize": str(3 * (OVERHEAD_BYTES + 2))},
            ["m2", "m3", "m4"],
        ),
        ("timedSubscriptionRecoveryPolicy", {}, ["m0", "m1", "m2", "m3", "m4"]),
        (
            "retainedMessageSubscriptionRecoveryPolicy",
            {"wrapped": "fixedCountSubscriptionRecoveryPolicy", "maximumSize": "1"},
            ["m4"],
        ),
    ],
)
@pytest.mark.parametrize("persistent", [True, False])
def test_a_retroactive_consumer_gets_what_the_policy_remembers(
    policy: str, properties: dict[str, str], expected: list[str], persistent: bool
) -> None:
    """In the order sent; others get nothing of it."""
    region = region_with(policy, **properties)
    send(region, "m0", "m1", "m2", "m3", "m4", persistent=persistent)
    assert got(region, retroactive=True) == expected
    assert got(region) == []


def test_the_default_remembers_nothing_but_retained_messages() -> None:
    """As in the original."""
    region = new_region()
    send(region, "m0")
    assert got(region, retroactive=True) == []


def test_a_timed_policy_forgets() -> None:
    """What was sent longer ago than `recoverDuration` is not remembered, whether more is sent or not."""
    region = region_with("timedSubscriptionRecoveryPolicy", recoverDuration="5000")
    send(region, "m0")
    region.advance(region.now_ms + 3000)
    send(region, "m1")
    region.advance(region.now_ms + 3000)
    assert got(region, retroactive=True) == ["m1"]
    region.advance(region.now_ms + 3000)
    assert got(region, retroactive=True) == []


def test_what_has_expired_meanwhile_is_not_recovered() -> None:
    """Nor does it become a dead letter once more."""
    region = region_with("fixedCountSubscriptionRecoveryPolicy")
    send(region, "m0", expiration=region.now_ms + 10)
    send(region, "m1")
    region.advance(region.now_ms + 10)
    assert got(region, retroactive=True) == ["m1"]


def test_all_consumers_of_a_topic_can_be_retroactive() -> None:
    """`alwaysRetroactive`."""
    region = new_region(
        policies={POLICY: "lastImageSubscriptionRecoveryPolicy", "policy.topic.>.alwaysRetroactive": "true"}
    )
    send(region, "m0")
    assert got(region) == ["m0"]


def test_a_selector_holds_for_what_is_recovered() -> None:
    """As for everything else."""
    region = region_with("fixedCountSubscriptionRecoveryPolicy")
    for name, colour in (("m0", "red"), ("m1", "blue")):
        send(region, name, properties=encode_map({"colour": colour}))
    assert got(region, retroactive=True, selector="colour = 'blue'") == ["m1"]


def test_new_messages_come_after_those_that_are_recovered() -> None:
    """And each of them once."""
    region = region_with("fixedCountSubscriptionRecoveryPolicy")
    send(region, "m0")
    peer = Peer(region)
    peer.consume("k", Destination.topic("*"), retroactive=True)
    send(region, "m1")
    assert peer.client.ids() == ["m0", "m1"]
    peer.acknowledge(*peer.client.refs())
    assert not peer.connection.consumers["k"].dispatched


def test_what_is_not_durable_yet_is_not_recovered_before_it_is() -> None:
    """P1: no consumer sees a persistent message that a successor may not have."""
    region = region_with("lastImageSubscriptionRecoveryPolicy")
    peer = Peer(region)
    peer.send("m0", TOPIC)
    peer.consume("k", TOPIC, retroactive=True)
    region.dispatch()
    assert peer.client.ids() == []
    settle(region)
    assert peer.client.ids() == ["m0"]


def test_an_empty_durable_subscription_recovers_what_is_remembered() -> None:
    """One that has something pending does not; and nothing recovered goes into the journal."""
    region = region_with("fixedCountSubscriptionRecoveryPolicy")
    send(region, "m0")
    peer = Peer(region, "c1", "client")
    peer.consume("k", TOPIC, subscription_name="s", retroactive=True)
    settle(region)
    assert peer.client.ids() == ["m0"]
    assert not region.store.state.subscriptions["client", "s"].pending
    peer.acknowledge(*peer.client.refs())
    peer.connection.remove_consumer("k")
    send(region, "m1")
    peer.consume("k", TOPIC, subscription_name="s", retroactive=True)
    settle(region)
    assert peer.client.ids() == ["m0", "m1"]


def test_a_shared_subscription_recovers_once() -> None:
    """When its first consumer comes."""
    region = region_with("lastImageSubscriptionRecoveryPolicy")
    send(region, "m0")
    peer = Peer(region)
    for key in ("first", "second"):
        peer.consume(key, TOPIC, subscription_name="s", shared=True, durable=False, retroactive=True)
    settle(region)
    assert (peer.client.ids("first"), peer.client.ids("second")) == (["m0"], [])


# ---- retained messages


def retained(name: str, value: object = True) -> dict[str, bytes]:
    """Properties of a message that is to be retained."""
    return {"properties": encode_map({"ActiveMQ.Retain": value, "kept": 1})}  # type: ignore[dict-item] # any value


@pytest.mark.parametrize("value", [True, "true", "TRUE"])
def test_a_retained_message_is_kept_until_the_next(value: object) -> None:
    """Whoever is retroactive gets it, marked as retained; the others do not."""
    region = new_region()
    send(region, "m0", **retained("m0", value))
    send(region, "m1")
    peer = Peer(region)
    peer.consume("k", TOPIC, retroactive=True)
    settle(region)
    assert peer.client.ids() == ["m0"]
    assert properties_of(peer.client.messages[0]) == {"ActiveMQ.Retained": True, "kept": 1}
    assert got(region) == []
    send(region, "m2", **retained("m2", value))
    assert got(region, retroactive=True) == ["m2"]


@pytest.mark.parametrize("value", [False, "no", 1])
def test_what_is_not_to_be_retained(value: object) -> None:
    """The property must say `true`."""
    region = new_region()
    send(region, "m0", **retained("m0", value))
    assert got(region, retroactive=True) == []


def test_a_retained_message_without_a_body_ends_it() -> None:
    """The topic then retains nothing."""
    region = new_region()
    send(region, "m0", **retained("m0"))
    peer = Peer(region)
    message = peer.message("m1", TOPIC, **retained("m1"))
    message.body = b""
    peer.connection.send(message)
    settle(region)
    assert got(region, retroactive=True) == []


def test_damaged_properties_are_no_wish_to_be_retained() -> None:
    """They disturb nobody."""
    region = new_region()
    send(region, "m0", properties=b"\0\0\0\1\0\x0fActiveMQ.Retain\xff")
    assert got(region, retroactive=True) == []


def test_retained_and_remembered_messages_come_together() -> None:
    """The retained one first."""
    region = region_with("lastImageSubscriptionRecoveryPolicy")
    send(region, "m0", **retained("m0"))
    send(region, "m1")
    assert got(region, retroactive=True) == ["m0", "m1"]


# ---- configuration


def test_a_query_based_policy_is_refused_with_the_reason() -> None:
    """It would need a program within the broker."""
    with pytest.raises(ConfigurationInvalid, match="runs none"):
        PolicyMap.parse({POLICY: "queryBasedSubscriptionRecoveryPolicy"})
    with pytest.raises(ConfigurationInvalid, match="is none of noSubscriptionRecoveryPolicy"):
        PolicyMap.parse({POLICY: "nonsense"})
