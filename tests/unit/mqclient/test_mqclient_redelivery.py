"""How long a message waits before it comes again, and when it does no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.openwire.commands import ActiveMQMessage
from broker.primitive_map import Long, encode_map
from mqclient.message_codec import is_redelivered_by_broker
from mqclient.modes import RedeliveryPolicy
from mqclient.options import ClientOptions, parse_options
from mqclient.session import redelivery_policy


def policy(**options: str) -> RedeliveryPolicy:
    """What a URL with these options says."""
    given_ = {f"jms.redeliveryPolicy.{name}": value for name, value in options.items()}
    return redelivery_policy(parse_options(ClientOptions(), given_))


def test_the_defaults_are_those_of_apaches_client() -> None:
    """A URL that says nothing means what it means there."""
    assert policy() == RedeliveryPolicy()
    assert RedeliveryPolicy() == RedeliveryPolicy(6, 1000, 1000, False, 5.0, -1, False, 15, True)


def test_every_option_of_apaches_policy_is_known() -> None:
    """A URL can be taken over unchanged."""
    found = policy(
        maximumRedeliveries="-1",
        initialRedeliveryDelay="1",
        redeliveryDelay="2",
        useExponentialBackOff="true",
        backOffMultiplier="3",
        maximumRedeliveryDelay="4",
        useCollisionAvoidance="true",
        collisionAvoidancePercent="5",
        preDispatchCheck="false",
    )
    assert found == RedeliveryPolicy(-1, 1, 2, True, 3.0, 4, True, 5, False)


@pytest.mark.parametrize(
    ("options", "delays"),
    [
        ({}, [1000, 1000, 1000]),
        ({"initialRedeliveryDelay": "0"}, [0, 1000, 1000]),
        ({"useExponentialBackOff": "true"}, [1000, 5000, 25000]),
        ({"useExponentialBackOff": "true", "backOffMultiplier": "1"}, [1000, 1000, 1000]),
        (
            {"useExponentialBackOff": "true", "backOffMultiplier": "2", "maximumRedeliveryDelay": "1500"},
            [1000, 1500, 1500],
        ),
    ],
)
def test_delays_are_those_of_apaches_client(options: dict[str, str], delays: list[float]) -> None:
    """The first is the initial one, the next are the ordinary one, or grow."""
    found = policy(**options)
    assert [found.delay_ms(redeliveries) for redeliveries in range(3)] == delays


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_no_delay_is_without_bounds(redeliveries: int, chance: float) -> None:
    """Neither back-off nor collision avoidance makes a message wait for ever, or less than nothing."""
    found = policy(useExponentialBackOff="true", useCollisionAvoidance="true")
    assert 0 <= found.delay_ms(redeliveries, lambda: chance) <= 86_400_000 * 1.151


def test_the_limit_counts_redeliveries() -> None:
    """With a maximum of 2 the third redelivery is too many; -1 is no limit."""
    assert [policy(maximumRedeliveries="2").exceeds(count) for count in (2, 3)] == [False, True]
    assert not policy(maximumRedeliveries="-1").exceeds(1_000)
    assert policy(maximumRedeliveries="0").exceeds(1)


def test_what_the_broker_redelivers_says_so() -> None:
    """By ActiveMQ's property."""
    plain = ActiveMQMessage(marshalled_properties=encode_map({"a": 1}))
    marked = ActiveMQMessage(marshalled_properties=encode_map({"a": 1, "redeliveryDelay": Long(1)}))
    assert [is_redelivered_by_broker(each) for each in (ActiveMQMessage(), plain, marked)] == [
        False,
        False,
        True,
    ]
