"""The walk-through in a browser: nothing is typed but names, all is done by clicks, and pictures are kept.

The tests stand in the order of the steps, and share one fabric and one visitor.
"""

import os
import re
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser import Chromium, Visitor
from support.fabric import FabricForTests

pytestmark = pytest.mark.browser

BROKER = "tolerantbroker"
PROFILE = f"mq-broker-default.{BROKER}"
CONTAINERS = ("brokercontainer", "brokercontainer2")


@pytest.fixture(scope="module")
def operator(fabric: FabricForTests, chromium: Chromium) -> Iterator[Visitor]:
    """Who walks."""
    visitor = chromium.visitor(fabric.console_url)
    try:
        visitor.log_in("admin")
        yield visitor
        assert visitor.complaints == []
    finally:
        visitor.leave()


def area(page: Page, name: str) -> None:
    """Click on an area at the top."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()


def row(page: Page, container: str) -> Locator:
    """A container's row in the list."""
    link = page.get_by_role("link", name=container, exact=True)
    return page.locator("#list").get_by_role("row").filter(has=link)


def broker(page: Page) -> Locator:
    """The broker's box on the page of brokers."""
    return page.get_by_role("region", name=f"Broker {BROKER}", exact=True)


def test_step_1_take_the_broker_away_from_root(operator: Visitor) -> None:
    """Its profile is chosen and removed on the container's page; the container follows at once."""
    page = operator.page
    area(page, "Containers")
    expect(row(page, "root").get_by_role("img", name="Master of")).to_be_visible()
    operator.shot("walk-1-containers")
    row(page, "root").get_by_role("link", name="root", exact=True).click()
    page.get_by_role("checkbox", name="Choose mq-amq").check()
    page.get_by_role("button", name="Remove", exact=True).click()
    dialog = page.get_by_role("dialog", name="Remove profiles")
    expect(dialog.get_by_role("listitem")).to_have_text("mq-amq")
    operator.shot("walk-1-remove")
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("checkbox", name="Choose mq-amq")).to_be_hidden()
    area(page, "Containers")
    expect(row(page, "root").get_by_role("img", name="Master of")).to_be_hidden()


def test_step_2_describe_a_broker(operator: Visitor) -> None:
    """The form asks for a name; the broker is shown red then, since nobody runs it."""
    page = operator.page
    area(page, "MQ")
    page.get_by_role("link", name="Broker", exact=False).filter(has_text="+ Broker").click()
    page.get_by_label("Name", exact=False).first.fill(BROKER)
    operator.shot("walk-2-form")
    page.get_by_role("button", name="Create broker").click()
    expect(broker(page).get_by_text("Nobody runs it")).to_be_visible()
    operator.shot("walk-2-nobody")


def test_step_3_create_its_containers(operator: Visitor) -> None:
    """A click on the red sign leads to a form in which only the name is to be typed."""
    page = operator.page
    broker(page).get_by_role("link", name="Nobody runs it").click()
    expect(page.get_by_label("Number of containers")).to_have_value("2")
    expect(page.get_by_role("checkbox", name=PROFILE, exact=True)).to_be_checked()
    page.get_by_label("Container name").fill(CONTAINERS[0])
    expect(page.locator("#names")).to_contain_text(CONTAINERS[1])
    operator.shot("walk-3-form")
    page.get_by_role("button", name="Create and start container").click()
    for name in CONTAINERS:
        expect(row(page, name).get_by_role("img", name="Alive - Success")).to_be_visible()
    operator.shot("walk-3-created")


def test_step_4_see_which_is_master(operator: Visitor, fabric: FabricForTests) -> None:
    """One is marked as the master, the other as a slave, as the command line says it."""
    page = operator.page
    area(page, "MQ")
    expect(broker(page).locator(".mq-container.master")).to_have_count(1)
    expect(broker(page).get_by_text("slave", exact=True)).to_be_visible()
    assert master(page) == fabric.wait_master(BROKER, slaves=1)
    operator.shot("walk-4-master")


def master(page: Page) -> str:
    """Which container is shown as the master."""
    return broker(page).locator(".mq-container.master").get_by_role("link").inner_text()


def test_step_5_stop_and_start(operator: Visitor) -> None:
    """The other container takes over when the master is stopped, and stays master when that comes back."""
    page = operator.page
    old = master(page)
    new = next(name for name in CONTAINERS if name != old)
    area(page, "Containers")
    page.get_by_role("checkbox", name=f"Choose {old}", exact=True).check()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(row(page, old).get_by_role("img", name="Stopped")).to_be_visible()
    expect(row(page, new).get_by_role("img", name=f"Master of broker {BROKER}")).to_be_visible()
    operator.shot("walk-5-stopped")
    page.get_by_role("checkbox", name=f"Choose {old}", exact=True).check()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(row(page, old).get_by_role("img", name="Alive - Success")).to_be_visible()
    area(page, "MQ")
    expect(broker(page).get_by_text("slave", exact=True)).to_be_visible()
    assert master(page) == new


def test_step_6_a_killed_master_is_seen_at_once(operator: Visitor, fabric: FabricForTests) -> None:
    """Nobody touches the page: it shows the successor by itself."""
    page = operator.page
    old = master(page)
    os.kill(fabric.pid(old), signal.SIGKILL)
    new = next(name for name in CONTAINERS if name != old)
    box = broker(page).locator(".mq-container.master")
    expect(box).to_have_text(re.compile(new + r"\b"))
    operator.shot("walk-6-failover")
    expect(broker(page).get_by_text("slave", exact=True)).to_be_visible()


def test_step_7_add_the_profile_again(operator: Visitor) -> None:
    """Root gets its broker back with the dialog of its page."""
    page = operator.page
    area(page, "Containers")
    row(page, "root").get_by_role("link", name="root", exact=True).click()
    page.get_by_role("button", name="Add", exact=True).click()
    dialog = page.get_by_role("dialog", name="Add profiles to container: root")
    dialog.get_by_label("Filter the profiles").fill("mq-amq")
    dialog.get_by_role("checkbox", name="mq-amq", exact=True).check()
    operator.shot("walk-7-add")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("checkbox", name="Choose mq-amq")).to_be_visible()
    area(page, "Containers")
    expect(row(page, "root").get_by_role("img", name="Master of broker root")).to_be_visible()


def test_dialogs_close_by_escape(operator: Visitor) -> None:
    """Nothing is done by that, and the key that opened one has the focus again."""
    page = operator.page
    row(page, "root").get_by_role("link", name="root", exact=True).click()
    opener = page.get_by_role("button", name="Add", exact=True)
    opener.press("Enter")
    dialog = page.get_by_role("dialog", name="Add profiles to container: root")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_two_people_in_each_other_s_way(operator: Visitor, chromium: Chromium) -> None:
    """Who saves what another has changed meanwhile is told so, nothing is lost, and his text stays."""
    other = chromium.visitor(operator.url)
    other.log_in("admin")
    for number, page in enumerate((operator.page, other.page)):
        page.goto(f"/profiles/1.0/{PROFILE}/edit")
        text = page.get_by_label("Document")
        text.fill(f"{text.input_value()}# changed by {number}\n")
    operator.page.get_by_role("button", name="Save").click()
    expect(operator.page).to_have_url(f"{operator.url}/profiles/1.0/{PROFILE}")
    other.page.get_by_role("button", name="Save").click()
    expect(other.page.get_by_role("alert")).to_contain_text("changed")
    expect(other.page.get_by_label("Document")).to_have_value(re.compile("# changed by 1"))
    other.shot("walk-8-conflict")
    other.forgive("status of 409", "htmx:responseError|Response Status Error Code 409")
    assert other.complaints == []
    other.leave()
