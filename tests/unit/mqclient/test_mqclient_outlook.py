"""What is told while there is no broker."""

from itertools import islice

import pytest

from mqclient.outlook import Sight, notice, notice_times, unknown, unreached
from mqclient.url import DiscoveryAgent, parse_address
from registry.discovery import Master

REGISTRY = "127.0.0.1:2181"
A, B = parse_address("tcp://a:1"), parse_address("tcp://b:2")


def test_soon_and_then_rarely() -> None:
    """A person hears within seconds; a log is not filled."""
    assert list(islice(notice_times(), 4)) == [2, 60, 120, 180]


@pytest.mark.parametrize(
    ("waited_s", "limit_ms", "limitable", "line"),
    [
        (2, -1, False, "No broker yet: why. Waiting."),
        (60, 0, False, "No broker for 60 s: why. Waiting."),
        (2, 5000, True, "No broker yet: why. Waiting, until 5000 ms have passed."),
        (
            2,
            -1,
            True,
            "No broker yet: why. Waiting, as long as it takes; "
            "the option timeout=10000 in the broker URL makes that 10 s.",
        ),
    ],
)
def test_the_line_says_how_long(waited_s: float, limit_ms: int, limitable: bool, line: str) -> None:
    """Who sees it knows whether it ends, and how to bound it."""
    assert notice("why.", waited_s, limit_ms, limitable=limitable) == line


@pytest.mark.parametrize(
    ("addresses", "reason", "why"),
    [
        ((A,), "", "tcp://a:1 has not answered."),
        ((A, B), "", "none of tcp://a:1, tcp://b:2 has answered."),
        ((A,), "Connection refused", "tcp://a:1 cannot be reached: Connection refused."),
        ((A, B), "no", "none of tcp://a:1, tcp://b:2 can be reached; the last said: no."),
    ],
)
def test_brokers_that_are_known(addresses: tuple[object, ...], reason: str, why: str) -> None:
    """They are named, with what the last one answered."""
    assert unreached(addresses, reason) == why


def test_the_default_broker_url_leads_to_discovery() -> None:
    """Who has not said where the broker is hears how those of a fabric are found."""
    assert "discovery:fabric:<group>" in unreached((parse_address("tcp://localhost"),), "Connection refused")


ORDERS, EVENTS = Master("orders", "one", ("tcp://h:1",)), Master("events", "two", ())


@pytest.mark.parametrize(
    ("agent", "sight", "why"),
    [
        (DiscoveryAgent("g"), Sight(REGISTRY, False), f"the registry at {REGISTRY} does not answer now."),
        (
            DiscoveryAgent("g"),
            Sight(REGISTRY, True),
            f"the registry at {REGISTRY} knows none of group g, nor of any other.",
        ),
        (
            DiscoveryAgent("defualt"),
            Sight(REGISTRY, True, groups=("default", "west")),
            f"the registry at {REGISTRY} knows none of group defualt. Groups with brokers: default, west.",
        ),
        (
            DiscoveryAgent("g"),
            Sight(REGISTRY, True, groups=tuple("abcdefhijkl")),
            f"the registry at {REGISTRY} knows none of group g. "
            "Groups with brokers: a, b, c, d, e, f, h, i, j, k, ….",
        ),
        (
            DiscoveryAgent("g"),
            Sight(REGISTRY, True, groups=("g",)),
            "brokers of group g have joined, and none is ready.",
        ),
        (
            DiscoveryAgent("g", "ordres"),
            Sight(REGISTRY, True, (ORDERS, EVENTS), ("g",)),
            "group g has no broker ordres; it has orders, events.",
        ),
        (
            DiscoveryAgent("g"),
            Sight(REGISTRY, True, (EVENTS,), ("g",)),
            "events of group g has no master that serves.",
        ),
        (
            DiscoveryAgent("g", "orders"),
            Sight(REGISTRY, True, (ORDERS, EVENTS), ("g",)),
            "orders of group g has no connector for OpenWire.",
        ),
    ],
)
def test_brokers_that_are_not_known(agent: DiscoveryAgent, sight: Sight, why: str) -> None:
    """What the registry shows instead leads to the mistake."""
    assert unknown(agent, sight, tls_only=False) == why


def test_brokers_without_tls() -> None:
    """Who has named a trust store is told that it is why."""
    why = unknown(DiscoveryAgent("g"), Sight(REGISTRY, True, (ORDERS,), ("g",)), tls_only=True)
    assert why == "orders of group g does not serve by TLS, which a trust store or key store asks for."
