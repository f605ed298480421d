"""The failover timeline: bars, the page and the API."""

import json
from collections.abc import Mapping

from support.console import ConsoleWorld

from fabric.takeovers import TakeoverRow
from fabric.web.timeline import BAR, bars
from registry import paths
from registry.takeovers import TakeoverRecord

PHASES = {"detected": 0.0, "claimed": 2.0, "recovered": 5.0, "listening": 8.0, "published": 10.0}
XSS = "<script>alert(1)</script>"


def row(phases_ms: Mapping[str, float]) -> TakeoverRow:
    """A takeover."""
    return TakeoverRow("default", "orders", TakeoverRecord("b", 2, 1_700_000_000_000, "died", "a", phases_ms))


def test_each_phase_begins_where_the_one_before_ended() -> None:
    """The longest takeover fills most of the width; the first send has its place in the rest."""
    (bar,) = bars([row({**PHASES, "first_send": 12.0})])
    assert [one.phase for one in bar.segments] == [
        "claimed",
        "recovered",
        "listening",
        "published",
        "first_send",
    ]
    for before, after in zip(bar.segments, bar.segments[1:], strict=False):
        assert abs(before.left + before.width - after.left) < 1e-6
    assert bar.segments[-1].left + bar.segments[-1].width < BAR
    assert (bar.segments[1].took_ms, bar.serving_ms, bar.first_send_ms) == (3.0, 10.0, 12.0)


def test_a_first_send_that_came_late_does_not_shrink_the_rest() -> None:
    """The bar ends at its edge."""
    (bar,) = bars([row({**PHASES, "first_send": 30_000.0})])
    assert bar.segments[3].left > BAR / 2
    assert abs(bar.segments[4].left + bar.segments[4].width - BAR) < 1e-6


def test_what_is_not_known_is_left_out() -> None:
    """Also if nothing is, or the order is another one."""
    assert bars([]) == []
    (empty,) = bars([row({})])
    assert (empty.segments, empty.serving_ms, empty.first_send_ms) == ([], None, None)
    (early,) = bars([row({"claimed": 1.0, "first_send": 2.0, "published": 3.0})])
    assert [one.phase for one in early.segments] == ["claimed", "first_send", "published"]


def record(world: ConsoleWorld, broker: str, container: str, at_ms: int) -> None:
    """Write a takeover as its new master does."""
    written = TakeoverRecord(container, 1, at_ms, "previous master died", "a", PHASES).serialize()
    parent = paths.takeovers("default", broker)
    world.registry.create(paths.new_takeover(parent), written, sequential=True)


def test_the_page_shows_takeovers_the_newest_first() -> None:
    """With the numbers in words, and of one broker if that is asked for."""
    world = ConsoleWorld()
    record(world, "orders", "b", 1_700_000_000_000)
    record(world, "billing", XSS, 1_700_000_001_000)
    text = world.client("viewer").get("/mq/timeline").text
    assert text.index("2023-11-14 22:13:21 UTC") < text.index("2023-11-14 22:13:20 UTC")
    assert "store claimed after 2 ms, messages ready after 5 ms" in text
    assert "10 ms</td>" in text
    assert XSS not in text
    one = world.client("viewer").get("/mq/timeline?group=default&broker=orders", HX_Request="true").text
    assert one.count("<tr id=") == 1
    assert "<html" not in one


def test_programs_get_the_same() -> None:
    """Without the drawing."""
    world = ConsoleWorld()
    record(world, "orders", "b", 1_700_000_000_000)
    (found,) = world.client("viewer").get("/api/v1/mq/takeovers?broker=orders").json
    assert (found["container"], found["previous_container"], found["epoch"]) == ("b", "a", 1)
    assert found["phases_ms"] == PHASES
    assert world.client("viewer").get("/api/v1/mq/takeovers?broker=other").json == []


def test_records_that_are_none_are_passed_over_and_an_empty_list_says_so() -> None:
    """The page is there all the same."""
    world = ConsoleWorld()
    parent = paths.takeovers("default", "orders")
    world.registry.create(paths.new_takeover(parent), json.dumps([1]).encode(), sequential=True)
    text = world.client("viewer").get("/mq/timeline").text
    assert "Nobody has taken over yet" in text
