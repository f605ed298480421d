"""What is wrong in the fabric now, and how much of it there is for the navigation of every page."""

from __future__ import annotations

from typing import Final

from fabric.health import refuses
from fabric.web.html import page
from fabric.web.routes import Answer, Call, Route


async def health(call: Call) -> Answer:
    """The page, or the list in it."""
    found = await call.console.health.now()
    template = "health_list.html" if call.is_fragment else "health.html"
    return page(
        call, template, tab="health", findings=found, servers=call.console.health.servers, refuses=refuses
    )


def badge(call: Call) -> Answer:
    """The number at the link to that page."""
    return page(call, "health_badge.html")


ROUTES: Final = (
    Route("GET", "/health", health, "What is wrong in the fabric now."),
    Route("GET", "/health/badge", badge, "How much is wrong, for the navigation."),
)
