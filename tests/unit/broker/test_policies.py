"""Policies: which property holds for which destination."""

from __future__ import annotations

import logging

import pytest

from broker.config import BrokerConfig
from broker.destination import Destination, DestinationKind
from broker.errors import ConfigurationInvalid
from broker.policies import DEFAULT_POLICY, PolicyMap, matches

IDLE = "inactiveTimoutBeforeGC"


def idle_ms(properties: dict[str, str], destination: Destination) -> int:
    """The idle time a destination gets."""
    return PolicyMap.parse(properties).of(destination).inactive_before_gc_ms


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("*", "a", True),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", True),
        ("a.>", "b.c", False),
        ("a.*.>", "a.b", True),
        ("a.*.>", "a", False),
        (">", "a.b.c", True),
    ],
)
def test_patterns_match_as_the_originals_do(pattern: str, name: str, expected: bool) -> None:
    """`*` stands for one element and `>` for any number of them, also none."""
    assert matches(pattern.split("."), name.split(".")) is expected


def test_without_policies_everything_has_the_defaults() -> None:
    """A broker without policies gives each destination the default policy."""
    assert PolicyMap().of(Destination.queue("a")) is DEFAULT_POLICY
    assert PolicyMap.parse({"data": "x"}).of(Destination.topic("a")) is DEFAULT_POLICY


@pytest.mark.parametrize(
    ("name", "expected"), [("x", 1), ("orders", 2), ("orders.eu.x", 2), ("orders.eu", 3), ("orders.us", 4)]
)
def test_the_most_specific_pattern_wins(name: str, expected: int) -> None:
    """A name beats `*`, and `*` beats `>`, in whichever order the lines stand."""
    properties = {
        f"policy.queue.orders.us.{IDLE}": "4",
        f"policy.queue.>.{IDLE}": "1",
        f"policy.queue.orders.*.{IDLE}": "3",
        f"policy.queue.orders.>.{IDLE}": "2",
    }
    assert idle_ms(properties, Destination.queue(name)) == expected


def test_each_property_comes_from_the_most_specific_line_that_sets_it() -> None:
    """A narrow line about one property leaves the others as a wide line says."""
    policies = PolicyMap.parse(
        {"policy.queue.>.gcInactiveDestinations": "true", f"policy.queue.orders.{IDLE}": "7"}
    )
    policy = policies.of(Destination.queue("orders"))
    assert (policy.gc_inactive_destinations, policy.inactive_before_gc_ms) == (True, 7)
    assert policies.of(Destination.queue("orders")) is policy


def test_kinds_are_apart() -> None:
    """A queue's policy is not a topic's; temporary ones have their own; the default is for all."""
    properties = {
        f"policy.topic.>.{IDLE}": "1",
        f"policy.tempQueue.{IDLE}": "2",
        f"policy.default.{IDLE}": "3",
    }
    assert idle_ms(properties, Destination.topic("a")) == 1
    assert idle_ms(properties, Destination(DestinationKind.TEMP_QUEUE, "ID:1:2")) == 2
    assert idle_ms(properties, Destination.queue("a")) == 3


def test_both_spellings_of_the_idle_time_are_understood() -> None:
    """The original's misspelled name and the right one say the same."""
    assert idle_ms({"policy.queue.a.inactiveTimeoutBeforeGC": "5"}, Destination.queue("a")) == 5


def test_unknown_properties_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A property that does not exist changes nothing, and is not passed over in silence."""
    with caplog.at_level(logging.WARNING):
        assert PolicyMap.parse({"policy.queue.a.colour": "red"}).of(Destination.queue("a")) is DEFAULT_POLICY
    assert "policy.queue.a.colour is ignored" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"policy.orders.{IDLE}", "1"),
        (f"policy.queue.{IDLE}", "1"),
        (f"policy.default.x.{IDLE}", "1"),
        (f"policy.queue.a.>.b.{IDLE}", "1"),
        (f"policy.queue.a..b.{IDLE}", "1"),
        (f"policy.queue.a.{IDLE}", "soon"),
        (f"policy.queue.a.{IDLE}", "-1"),
        ("policy.queue.a.gcInactiveDestinations", "yes"),
    ],
)
def test_wrong_policies_are_refused_by_name(key: str, value: str) -> None:
    """A wrong kind, pattern or value stops the broker from being made, and the text names the line."""
    with pytest.raises(ConfigurationInvalid) as caught:
        BrokerConfig.from_properties({key: value}, container="c1")
    assert key in str(caught.value)


def test_the_pid_carries_policies() -> None:
    """A broker's configuration reads the policies among its other properties."""
    config = BrokerConfig.from_properties({f"policy.queue.a.{IDLE}": "9"}, container="c1")
    assert config.policies.of(Destination.queue("a")).inactive_before_gc_ms == 9
