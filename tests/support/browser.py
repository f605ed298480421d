"""People at the console: headless Chromium, driven by Playwright.

    with Chromium() as chromium:
        visitor = chromium.visitor("http://127.0.0.1:8181")
        visitor.log_in("admin", "admin")
        visitor.open("/containers")
        visitor.page.get_by_role("link", name="root").click()
        visitor.shot("root")
        assert visitor.complaints == []

What the browser complains about while a visitor looks, violations of the content security policy among it, is
collected; the fixtures of `tests/browser` fail a test that leaves complaints it did not expect.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect, sync_playwright

PATIENCE_MS = 30_000
"""Nothing here takes so long; a machine that is busy with other things may."""

PROGRAM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",  # root has none, and only the console's own pages are opened
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)

Theme = Literal["light", "dark"]

SIZES = {"desk": (1280, 800), "wide": (1920, 1080), "phone": (390, 844)}
"""Width and height of the screens at which pages are looked at."""

ROOT = Path(__file__).parents[2]

expect.set_options(timeout=PATIENCE_MS)


def screenshots() -> Path:
    """Where pictures are kept: below `build/screenshots`, or where `FABRIC_SCREENSHOTS` says."""
    folder = Path(os.environ.get("FABRIC_SCREENSHOTS") or ROOT / "build" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Chromium:
    """One browser; each visitor has cookies and storage of his own."""

    def __init__(self) -> None:
        self._driver = sync_playwright().start()
        try:
            self._browser = self._driver.chromium.launch(executable_path=PROGRAM, args=list(ARGUMENTS))
        except BaseException:
            self._driver.stop()
            raise

    def visitor(self, url: str, *, theme: Theme = "light", size: str = "desk") -> Visitor:
        """Somebody new, not logged in, with a page at `url`."""
        width, height = SIZES[size]
        context = self._browser.new_context(
            base_url=url,
            color_scheme=theme,
            viewport={"width": width, "height": height},
            has_touch=size == "phone",
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MS)
        return Visitor(context, url)

    def __enter__(self) -> Self:
        """It is there."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all pages and end the browser."""
        self._browser.close()
        self._driver.stop()


class Visitor:
    """One person with one page.

    Attributes:
        url: where the console is.
        page: Playwright's.
        complaints: errors and warnings that the browser has shown in its console, and scripts that failed.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.context = context
        self.complaints: list[str] = []
        self.page = self.another_page()

    def another_page(self) -> Page:
        """A further page of the same person."""
        page = self.context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"script failed: {error}"))
        return page

    def open(self, path: str) -> Page:
        """Go to a path of the console; returns the page when its scripts have run."""
        self.page.goto(path, wait_until="load")
        return self.page

    def log_in(self, user: str, password: str = "") -> None:
        """Log in, by default with the user's name as the password."""
        self.open("/login")
        self.page.get_by_label("User").fill(user)
        self.page.get_by_label("Password").fill(password or user)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("navigation", name="Main")).to_be_visible()

    def use_theme(self, theme: Theme) -> None:
        """Let the system ask for a theme."""
        self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")

    def use_size(self, size: str) -> None:
        """Look at a screen of another size, see `SIZES`."""
        width, height = SIZES[size]
        self.page.set_viewport_size({"width": width, "height": height})

    def shot(self, name: str, *, full: bool = False) -> Path:
        """Keep a picture of what is seen, or of the full page; returns its file."""
        path = screenshots() / f"{name}.png"
        self.page.screenshot(path=path, full_page=full, animations="disabled")
        return path

    def forgive(self, *patterns: str) -> None:
        """Forget complaints that a test has asked for."""
        self.complaints = without(self.complaints, patterns)

    def leave(self) -> None:
        """Close the pages."""
        self.context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")


Visit = Callable[..., Visitor]
"""The fixture `visit` of `tests/browser`: the name of a user who is logged in; theme, size, url."""


def without(complaints: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The complaints that no pattern fits."""
    return [text for text in complaints if not any(re.search(pattern, text) for pattern in patterns)]
