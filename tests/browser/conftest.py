"""Fixtures for tests in a browser: one fabric, one Chromium and its visitors for each test file."""

from collections.abc import Iterator

import pytest
from support.browser import Chromium, Theme, Visit, Visitor
from support.fabric import FabricForTests


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with a root container and users of each role, whose passwords are their names."""
    fabric = FabricForTests(tmp_path_factory.mktemp("fabric"))
    try:
        fabric.create()
        for role in ("operator", "viewer"):
            fabric.add_user(role, role)
        yield fabric
    finally:
        fabric.end()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A browser."""
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def visit(fabric: FabricForTests, chromium: Chromium) -> Iterator[Visit]:
    """Brings a visitor to the console: `visit()`, or `visit("admin")` who is logged in.

    A complaint of the browser that is left at the end fails the test.
    """
    visitors: list[Visitor] = []

    def come(user: str = "", *, theme: Theme = "light", size: str = "desk", url: str = "") -> Visitor:
        visitor = chromium.visitor(url or fabric.console_url, theme=theme, size=size)
        visitors.append(visitor)
        if user:
            visitor.log_in(user)
        return visitor

    try:
        yield come
        complaints = [text for visitor in visitors for text in visitor.complaints]
        assert complaints == [], "the browser complains"
    finally:
        for visitor in visitors:
            visitor.leave()


@pytest.fixture
def admin(visit: Visit) -> Visitor:
    """A visitor who may do everything."""
    return visit("admin")
