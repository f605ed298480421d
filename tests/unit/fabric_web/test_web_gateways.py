"""Gateways in the console, the API and the list of the command line."""

import json

from support.console import ConsoleWorld

from fabric.gateways import gateway_table, parse_gateway
from registry import paths

XSS = "<script>alert(1)</script>"
MASTERS = [
    {"broker": "orders", "container": "m", "url": "tcp://h:1", "state": "up"},
    {"broker": "orders", "container": "m", "url": "auto://h:3", "state": "up"},
    {"broker": "bills", "container": "n", "url": "tcp://h:2", "state": "down"},
]


def record(group: str = "default", **fields: object) -> bytes:
    """What a gateway writes."""
    content = {
        "id": "detecting",
        "container": "edge",
        "ready": True,
        "brokers": ["*"],
        "services": ["tcp://edge:61616", "stomp://edge:61616", "mqtt://edge:61616"],
        "masters": MASTERS,
    }
    return json.dumps({**content, **fields}).encode()


def publish(world: ConsoleWorld, data: bytes, group: str = "default") -> None:
    """A gateway is there."""
    world.registry.create(paths.new_member(paths.gateway_group(group)), data, sequential=True)


def test_a_line_for_each_service_and_broker() -> None:
    """The best way to each broker; of a protocol that nobody speaks it is said."""
    row = parse_gateway("default", record(services=["tcp://edge:61616", "mqtt://edge:61616", "x://edge:1"]))
    assert row is not None
    lines = gateway_table([row]).lines()
    assert [line.split()[3:] for line in lines[1:]] == [
        ["tcp://edge:61616", "orders", "m", "tcp://h:1", "up"],
        ["tcp://edge:61616", "bills", "n", "tcp://h:2", "down"],
        ["mqtt://edge:61616", "orders", "m", "auto://h:3", "up"],
        ["x://edge:1", "-", "-", "-", "no", "master"],
    ]


def test_records_that_are_none() -> None:
    """They are passed over, as are gateways that are only about to join."""
    for data in (b"", b"[]", b"{}", b"null", record(masters=[1]), record(services=1), record(ready=False)):
        assert parse_gateway("default", data) is None, data


def test_the_page() -> None:
    """What gateways say of themselves, and nothing that a browser would run."""
    world = ConsoleWorld()
    assert "No gateway runs" in world.client("viewer").get("/mq/gateways").text
    publish(world, record(id=XSS))
    publish(world, b"nonsense")
    text = world.client("viewer").get("/mq/gateways").text
    assert "tcp://edge:61616" in text
    assert XSS not in text
    part = world.client("viewer").get("/mq/gateways", HX_Request="true").text
    assert part.count("<tr id=") == 3
    assert "<html" not in part


def test_programs_get_the_same() -> None:
    """All of it, or those of a group."""
    world = ConsoleWorld()
    publish(world, record())
    publish(world, record(container="other"), "west")
    found = world.client("viewer").get("/api/v1/mq/gateways").json
    assert [(one["group"], one["container"]) for one in found] == [("default", "edge"), ("west", "other")]
    assert found[0]["masters"] == MASTERS
    assert len(world.client("viewer").get("/api/v1/mq/gateways?group=west").json) == 1
