"""Logging in to the console by the pages of an OpenID provider, in a real browser and from another site."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, expect
from support.browser import Visit, Visitor
from support.fabric import FabricForTests
from support.realms import OpenIdProvider, openid_provider

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def provider(fabric: FabricForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """A provider at `localhost`, which for browsers is another site than the console's 127.0.0.1."""
    with openid_provider(fabric, tmp_path_factory.mktemp("openid"), "localhost") as provider:
        yield provider


def at_the_provider(visitor: Visitor, path: str) -> None:
    """Somebody asks for a page of the console, and is led to the provider's."""

    def nothing(route: Route) -> None:
        route.fulfill(content_type="text/css", body="")

    visitor.context.route(re.compile("fonts.googleapis.com|favicon"), nothing)  # what its pages load
    visitor.open(path)
    visitor.page.get_by_role("link", name="Log in with Example").click()


def say_who(visitor: Visitor, user: str) -> None:
    """And says there who he is."""
    visitor.page.get_by_placeholder("Enter any login").fill(user)
    visitor.page.get_by_placeholder("and password").fill("any")
    visitor.page.get_by_role("button", name="Sign-in").click()
    visitor.page.get_by_role("button", name="Continue").click()


def test_there_and_back(provider: OpenIdProvider, visit: Visit) -> None:
    """He comes to the page that he asked for, is known there, and logs out as everybody does."""
    del provider
    visitor = visit()
    at_the_provider(visitor, "/containers?filter=root")
    say_who(visitor, "ann")
    expect(visitor.page).to_have_url(f"{visitor.url.rstrip('/')}/containers?filter=root")
    expect(visitor.page.get_by_title("Your account, role operator")).to_be_visible()
    visitor.page.get_by_role("button", name="Log out").click()
    expect(visitor.page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_who_is_not_let_in_is_told_why(provider: OpenIdProvider, visit: Visit, theme: str) -> None:
    """On the page where he can try again; so is who has changed his mind at the provider."""
    del provider
    visitor = visit(theme=theme)
    visitor.open("/login")
    visitor.shot(f"login-openid-{theme}")
    at_the_provider(visitor, "/login")
    say_who(visitor, "clerk")
    expect(visitor.page.get_by_role("alert")).to_contain_text("User clerk has none of the roles")
    visitor.shot(f"login-openid-refused-{theme}")
    visitor.context.clear_cookies()
    at_the_provider(visitor, "/login")
    visitor.page.get_by_role("link", name="Cancel").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("access_denied")
    visitor.forgive("status of 403")
