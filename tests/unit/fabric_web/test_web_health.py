"""Health: the page, the API, the badge, and how often anybody is asked."""

from typing import Any, cast

import pytest
from support.console import ConsoleWorld, parse_response
from support.figures import HandSamples, usage

from fabric.ensemble_health import ServerHealth
from fabric.errors import BrokerUnreachable
from registry import paths
from registry.session import SessionState

XSS = "<script>alert(1)</script>"


def world_with_broker() -> tuple[ConsoleWorld, HandSamples]:
    """A broker that runs in one container, which is what is required; its store is nearly full."""
    world = ConsoleWorld()
    samples = HandSamples()
    samples.usage = usage(store=95)
    world.console.samples = cast("Any", samples)
    world.container("root", "fabric")
    said = {"name": "orders", "group": "default", "kind": "StandAlone"}
    world.client("admin").post("/api/v1/mq/brokers", said)
    world.container("a", "mq-broker-default.orders", parent="root")
    world.broker("default", "orders", "a", "tcp://127.0.0.1:1")
    return world, samples


def test_page_and_api_say_the_same() -> None:
    """What is wrong, its remedy and where to go; and how many count."""
    world, _ = world_with_broker()
    found = world.client("viewer").get("/api/v1/health").json
    assert found["count"] == 1
    assert found["findings"][0]["what"] == "The store of broker orders is used to 95 %."
    text = world.client("viewer").get("/health").text
    assert "The store of broker orders is used to 95 %." in text
    assert 'href="/mq/default/orders"' in text
    assert 'aria-label="Warning"' in text


def test_all_is_well_is_said_too() -> None:
    """And no badge is shown."""
    world, samples = world_with_broker()
    samples.usage = usage(store=10)
    text = world.client("viewer").get("/health").text
    assert "All is well" in text
    assert world.client("viewer").get("/health/badge").text.strip() == ""


def test_the_badge_stands_on_every_page_and_changes_by_itself() -> None:
    """A page that is open listens, and is told when something else is wrong."""
    world, samples = world_with_broker()
    client = world.client("viewer")
    assert 'class="badge warn"' not in client.get("/mq").text
    stream = world.send(_request("/api/v1/events?topic=health", client.headers))
    world.reactor.advance(1)
    assert world.console.health.count == 1
    world.reactor.advance(0.1)
    assert b"event: health" in stream.value()
    assert 'class="badge warn"' in client.get("/mq").text
    assert "1<span" in client.get("/health/badge").text
    samples.usage = usage(store=10)
    world.reactor.advance(5)
    assert world.console.health.count == 0


def test_masters_are_asked_only_while_somebody_looks() -> None:
    """Every five seconds for all together, and no longer when the last page is closed."""
    world, samples = world_with_broker()
    client = world.client("viewer")
    for _ in range(5):
        client.get("/health")
    assert samples.asked == 1
    world.reactor.pump([1] * 10)
    assert samples.asked == 3
    world.reactor.pump([1] * 30)
    asked = samples.asked
    world.reactor.pump([1] * 60)
    assert samples.asked == asked
    client.get("/health")
    assert samples.asked == asked + 1


def test_a_change_of_the_registry_is_seen_at_once() -> None:
    """Without asking anybody again."""
    world, samples = world_with_broker()
    world.client("viewer").get("/health")
    world.registry.delete("/fabric/registry/containers/alive/a")
    world.reactor.advance(0.1)
    assert world.console.health.severe
    assert samples.asked == 1


def test_a_broker_that_does_not_answer_is_a_note() -> None:
    """The page is there all the same."""
    world, samples = world_with_broker()
    samples.problem = BrokerUnreachable("orders", XSS)
    text = world.client("viewer").get("/health").text
    assert "does not tell how it is" in text
    assert XSS not in text
    assert world.client("viewer").get("/health/badge").text.strip() == ""


def test_servers_of_zookeeper_are_listed() -> None:
    """With what they say, as text."""
    world, _ = world_with_broker()
    world.console.health.ask_servers = lambda url, channel: (
        ServerHealth("z1:2181", mode="leader", latency_ms="0 / 1.5 / 9"),
        ServerHealth("z2:2181", problem=XSS),
        ServerHealth("z3:2181", mode="follower"),
    )
    text = world.client("viewer").get("/health").text
    assert "leader" in text
    assert "0 / 1.5 / 9 ms" in text
    assert "z2:2181 does not serve" in text
    assert XSS not in text


def test_a_registry_that_is_known_to_be_away_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it is away is said at once."""
    world, _ = world_with_broker()
    asked: list[str] = []
    exists = world.registry.exists

    def noted(path: str) -> bool:
        asked.append(path)
        return exists(path)

    world.registry.state = SessionState.SUSPENDED
    monkeypatch.setattr(world.registry, "exists", noted)
    found = world.client("viewer").get("/api/v1/health").json["findings"]
    assert "zookeeper-lost" in {finding["id"] for finding in found}
    assert paths.ROOT not in asked


def test_requirements_that_cannot_be_understood_are_a_finding() -> None:
    """What is wrong with the registry is wrong with the fabric."""
    world, _ = world_with_broker()
    world.registry.put("/fabric/configs/io.fabric8.requirements.json", b"{")
    answer = world.client("viewer").get("/api/v1/health").json
    assert "The stored requirements cannot be understood" in answer["findings"][0]["what"]


def test_who_may_not_create_containers_is_not_sent_there() -> None:
    """The finding stays."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    world.client("admin").post("/api/v1/mq/brokers", {"name": "orders", "group": "default"})
    assert "/containers/new" in world.client("admin").get("/health").text
    viewer = world.client("viewer").get("/health").text
    assert "Nobody runs broker orders" in viewer
    assert "/containers/new" not in viewer


def test_a_console_that_stops_tells_who_waits() -> None:
    """Instead of leaving him without an answer."""
    world = ConsoleWorld()
    client = world.client("viewer")
    world.console.health.close()
    answer = parse_response(world.send(_request("/api/v1/health", client.headers)).value())
    assert answer.status == 503


def _request(path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: console.test", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
