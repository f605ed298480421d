"""Logging in and out of the console, its themes and keys, a lost connection: in a real browser."""

import pytest
from playwright.sync_api import expect
from support.browser import Visit, Visitor
from support.fabric import FabricForTests
from support.relay import Relay

pytestmark = pytest.mark.browser


def test_log_in_and_out(visit: Visit) -> None:
    """Who asks for a page logs in first, and comes to that page; who has logged out must log in again."""
    visitor = visit()
    visitor.open("/containers?filter=root")
    expect(visitor.page.get_by_role("heading", name="Fabric")).to_be_visible()
    visitor.page.get_by_label("User").fill("viewer")
    visitor.page.get_by_label("Password").fill("viewer")
    visitor.page.keyboard.press("Enter")
    expect(visitor.page).to_have_url(f"{visitor.url}/containers?filter=root")
    expect(visitor.page.get_by_text("viewer").first).to_be_visible()
    visitor.page.get_by_role("button", name="Log out").click()
    expect(visitor.page.get_by_label("Password")).to_be_visible()
    visitor.page.go_back()
    expect(visitor.page.get_by_label("Password")).to_be_visible()


def test_wrong_password(visit: Visit) -> None:
    """It is said without saying which of the two is wrong; the name need not be typed again."""
    visitor = visit()
    visitor.open("/login")
    visitor.page.get_by_label("User").fill("nobody-here")
    visitor.page.get_by_label("Password").fill("guessed")
    visitor.page.get_by_role("button", name="Log in").click()
    expect(visitor.page.get_by_role("alert")).to_have_text("User name or password is wrong.")
    expect(visitor.page.get_by_label("User")).to_have_value("nobody-here")
    expect(visitor.page.get_by_label("Password")).to_have_value("")
    expect(visitor.page.get_by_label("Password")).to_be_focused()
    visitor.forgive("status of 401")


def test_expired_login(admin: Visitor) -> None:
    """Whose login is over is sent to the login page by the next thing he does, and back by logging in."""
    admin.open("/containers")
    admin.context.clear_cookies()
    admin.page.get_by_label("Filter").fill("x")
    expect(admin.page.get_by_label("Password")).to_be_visible()
    admin.forgive("status of 401")


def test_theme(admin: Visitor) -> None:
    """The page follows the system's theme until another is chosen, which is kept."""
    page = admin.open("/containers")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    admin.use_theme("dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(ground) == light
    page.reload()
    assert page.evaluate(ground) == light


def test_keyboard_only(admin: Visitor) -> None:
    """Tab reaches the skip link, the areas and the filter in the order in which they are seen."""
    page = admin.open("/containers")
    focused = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText.trim()"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the content"
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    areas = page.get_by_role("navigation", name="Main").get_by_role("link").all_inner_texts()
    assert reached[1 : 1 + len(areas)] == areas
    page.get_by_role("heading", name="Containers").click()
    page.keyboard.press("/")
    expect(page.locator("[data-filter]")).to_be_focused()
    page.keyboard.type("nothing/like this")
    expect(page.get_by_text("No container fits")).to_be_visible()


def test_connection_lost_and_back(fabric: FabricForTests, visit: Visit) -> None:
    """A page says that it is cut off, and shows what has happened meanwhile as soon as it is not any more."""
    with Relay(int(fabric.console_url.rpartition(":")[2])) as relay:
        visitor = visit("admin", url=relay.url.replace("tcp:", "http:"))
        page = visitor.open("/containers")
        expect(page.get_by_role("link", name="mq-amq")).to_be_visible()
        relay.cut()
        expect(page.get_by_text("Connection lost")).to_be_visible()
        fabric.run("container-remove-profile", "root", "mq-amq")
        expect(page.get_by_role("link", name="mq-amq")).to_be_visible()
        relay.mend()
        expect(page.get_by_role("link", name="mq-amq")).to_be_hidden()
        expect(page.get_by_text("Connection lost")).to_be_hidden()
    visitor.forgive("ERR_")
