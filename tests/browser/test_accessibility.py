"""Every page of the console, judged by axe-core in both themes and looked at on three screens."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page
from support.browser import ROOT, SIZES, Chromium, Visitor
from support.fabric import FabricForTests

from fabric.web.routes import Route
from fabric.web.table import ROUTES

pytestmark = pytest.mark.browser

AXE = ROOT / "tests/interop/js/node_modules/axe-core/axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
GRAVE = ("serious", "critical")
BROKER = "kept"

ALL_PICTURES = "FABRIC_SCREENSHOTS" in os.environ
PICTURES = {("desk", "light"), ("phone", "dark")}
"""What is kept of each page if nobody asks for more."""

FILLED = {
    "broker": BROKER,
    "container": "keeper",
    "group": "default",
    "name": "keeper",
    "profile": "mq-amq",
    "queue": "orders.with-a-long-name",
    "user": "viewer",
    "version": "1.0",
}
"""What stands for the variable parts of paths."""


def is_page(route: Route) -> bool:
    """Whether a person opens it."""
    if route.path.endswith("/<ref>"):  # a message, whose number only its queue knows
        return False
    return route.method == "GET" and not route.is_api and not route.path.startswith(NOT_PAGES)


NOT_PAGES = (
    "/static/",
    "/mq-discovery/",
    "/metrics",
    "/containers/new/",
    "/registry/branch",
    "/health/badge",
    "/login/openid/",
)
"""Files, what programs read, and parts of pages."""
PAGES = sorted(
    {
        re.sub(r"<(?:\w+:)?(\w+)>", lambda part: FILLED.get(part[1], part[1]), each.path)
        for each in ROUTES
        if is_page(each)
    }
)


@pytest.fixture(scope="module")
def looked_at(fabric: FabricForTests, chromium: Chromium) -> Iterator[Visitor]:
    """An administrator at a fabric in which there is something to see."""
    fabric.run("container-remove-profile", "root", "mq-amq")  # the messages are for the other broker
    fabric.run("mq-create", "--group", "default", BROKER)
    fabric.run("container-create-child", "--profile", f"mq-broker-default.{BROKER}", "root", "keeper", "2")
    fabric.wait_master(BROKER, slaves=1)
    fabric.run(
        *("producer", "--brokerUrl", "discovery:fabric:default", "--user", "admin", "--password", "admin"),
        *("--destination", "queue://orders.with-a-long-name", "--count", "3"),
        program="mq-client",
    )
    visitor = chromium.visitor(fabric.console_url)
    try:
        visitor.log_in("admin")
        yield visitor
    finally:
        visitor.leave()


def findings(page: Page) -> list[str]:
    """What axe finds that keeps people out, a line each."""
    page.evaluate(AXE.read_text("utf-8"))
    result: dict[str, Any] = page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", list(TAGS)
    )
    return [
        f"{found['impact']} {found['id']}: {found['help']}: {node['html'][:200]} {node['failureSummary']}"
        for found in result["violations"]
        if found["impact"] in GRAVE
        for node in found["nodes"]
    ]


def look_at(visitor: Visitor, path: str) -> list[str]:
    """Open a page, look at it in both themes at all sizes, keep pictures, return what is wrong."""
    found: list[str] = []
    name = re.sub(r"\W+", "_", path).strip("_") or "first"
    page = visitor.open(path)
    for theme in ("light", "dark"):
        visitor.use_theme(theme)
        found += [f"{theme}: {line}" for line in findings(page)]
        for size in SIZES:
            visitor.use_size(size)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{size}: wider than the screen")
            if ALL_PICTURES or (size, theme) in PICTURES:
                visitor.shot(f"{name}-{size}-{theme}", full=True)
    visitor.use_size("desk")
    visitor.use_theme("light")
    found += visitor.complaints
    visitor.complaints.clear()
    return found


@pytest.mark.parametrize("path", PAGES)
def test_nobody_is_kept_out(looked_at: Visitor, path: str) -> None:
    """No serious finding in either theme, no sideways scrolling on any screen, nothing the browser minds."""
    found = look_at(looked_at, path)
    assert found == [], "\n".join(found)


def test_nobody_is_kept_out_of_the_login(fabric: FabricForTests, chromium: Chromium) -> None:
    """Likewise before anybody is logged in."""
    visitor = chromium.visitor(fabric.console_url)
    found = look_at(visitor, "/login")
    visitor.leave()
    assert found == [], "\n".join(found)


def test_the_first_page_is_small(looked_at: Visitor) -> None:
    """What a new browser fetches for the list of containers stays below 200 KiB."""
    page = looked_at.another_page()
    cdp = looked_at.context.new_cdp_session(page)
    cdp.send("Network.enable")
    cdp.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    cdp.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto("/containers", wait_until="load")
    assert len(sizes) >= 5, "style sheet, scripts and icon were not counted"
    assert sum(sizes) < 200 * 1024
    page.close()
