"""The gateways: where clients without discovery come in, and where they are led."""

from __future__ import annotations

from typing import Final

from fabric.gateways import read_gateways
from fabric.web.html import page
from fabric.web.routes import Answer, Call, Route


async def gateways(call: Call) -> Answer:
    """The page, or the table in it."""
    view = call.console.view
    await view.ready()
    return page(
        call,
        "mq_gateways_table.html" if call.is_fragment else "mq_gateways.html",
        tab="mq",
        rows=view.once("gateways", lambda: read_gateways(view.reading)),
    )


ROUTES: Final = (Route("GET", "/mq/gateways", gateways, "The gateways."),)
