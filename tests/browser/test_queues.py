"""Working with a broker's queues by clicks: a message sent, read, moved, removed, as it happens elsewhere."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from support.browser import Visit

pytestmark = pytest.mark.browser

BROKER = "/mq/default/root"
NAME = 'shop/<img src=x onerror="alert(1)"> 100%2F'
BODY = '{"order": 17, "note": "<b onclick=alert(1)>hello</b>"}'


def expect_figure(page: Page, label: str, value: str) -> None:
    """Wait until a figure has come to a value, without anything being clicked."""
    expect(page.locator(".figure", has=page.get_by_text(label, exact=True)).locator("b")).to_have_text(value)


def create(page: Page, name: str) -> None:
    """Make a queue."""
    page.get_by_role("button", name="Create queue").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_text(f"Queue {name} is there.")).to_be_visible()


def send(page: Page, body: str, properties: str = "") -> None:
    """Send a message to the queue of the page."""
    page.get_by_role("button", name="Send").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Body").fill(body)
    dialog.get_by_label("Properties").fill(properties)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog).to_be_hidden()


def test_a_message_on_its_way(visit: Visit) -> None:
    """From a new queue with a bad name to another and out, seen live by somebody who only looks."""
    visitor = visit("operator")
    page = visitor.open(f"{BROKER}/queues")
    create(page, NAME)
    page.get_by_role("link", name=NAME).click()
    expect(page.get_by_role("heading", name=NAME)).to_be_visible()
    viewer = visit("viewer").open(f"{BROKER}/queues/{quote(NAME, safe='')}")
    expect_figure(viewer, "waiting", "0")
    expect(viewer.get_by_text("shown to operators")).to_be_visible()
    expect(viewer.get_by_role("button", name=re.compile("Send|Purge|Delete"))).to_have_count(0)

    send(page, BODY, "colour=<i>red</i>")
    send(page, "second")
    expect_figure(page, "waiting", "2")
    expect_figure(viewer, "waiting", "2")
    page.locator("summary", has_text="order").click()
    detail = page.locator("details[open] .detail")
    expect(detail.locator("pre")).to_contain_text('"note": "<b onclick=alert(1)>hello</b>"')
    expect(detail).to_contain_text("<i>red</i>")
    visitor.shot("queue-message", full=True)

    page.get_by_role("checkbox", name=re.compile("^Choose message")).first.check()
    page.get_by_role("button", name="Move…", exact=True).click()
    expect(page.get_by_role("heading", name="Move 1 chosen messages")).to_be_visible()
    page.get_by_role("dialog").get_by_label("To").fill("elsewhere")
    page.get_by_role("dialog").get_by_role("button", name="Move").click()
    expect(page.get_by_text("Moved 1 message to queue://elsewhere.")).to_be_visible()
    expect_figure(viewer, "waiting", "1")
    expect(page.locator("summary")).to_have_count(1)

    page.get_by_role("button", name="Purge…").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 messages wait in this queue")
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No messages are here.")).to_be_visible()
    expect_figure(viewer, "waiting", "0")
    page.get_by_role("button", name="Delete queue…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile("/queues$"))
    expect(page.get_by_role("link", name="elsewhere")).to_be_visible()
    expect(page.get_by_role("link", name=NAME)).to_have_count(0)


def test_a_name_that_is_markup_for_htmx(visit: Visit) -> None:
    """Names stand in the API's answers; nothing in them becomes a part of the page."""
    visitor = visit("operator")
    page = visitor.open(f"{BROKER}/queues")
    name = '<p hx-swap-oob="beforeend:#toasts" id="toasts">put in by a name</p>'
    create(page, name)
    expect(page.get_by_role("link", name=name)).to_be_visible()
    assert page.locator("p", has_text="put in by a name").count() == 0


def test_pausing(visit: Visit) -> None:
    """A paused queue says so on both pages, and offers to go on."""
    visitor = visit("operator")
    page = visitor.open(f"{BROKER}/queues")
    create(page, "held")
    page.get_by_role("link", name="held").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_a_wrong_selector_is_said_where_it_is(visit: Visit) -> None:
    """The broker's own words stand above the list; the list comes back with a right one."""
    visitor = visit("operator")
    page = visitor.open(f"{BROKER}/queues")
    create(page, "chosen")
    page.get_by_role("link", name="chosen").click()
    send(page, "red one", "colour=red")
    send(page, "blue one", "colour=blue")
    field = page.get_by_label("Selector").first
    field.fill("colour >")
    field.press("Enter")
    expect(page.locator("#messages [role=alert]")).to_contain_text("selector")
    field.fill("colour = 'red'")
    field.press("Enter")
    expect(page.locator("summary")).to_have_count(1)
    expect(page.locator("summary")).to_contain_text("red one")
