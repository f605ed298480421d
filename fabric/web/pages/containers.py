"""The list of containers."""

from __future__ import annotations

from typing import Final

from fabric.web.html import page
from fabric.web.routes import Answer, Call, Request, Route


class ListQuery(Request):
    """Which containers.

    Attributes:
        filter: part of a name or a profile; empty: all.
    """

    filter: str = ""


async def containers(call: Call) -> Answer:
    """The page, or its list if a page asks for that."""
    view = call.console.view
    await view.ready()
    wanted = call.query.filter.lower()
    records = [
        record
        for record in view.all_containers()
        if not wanted or wanted in record.id.lower() or any(wanted in one.lower() for one in record.profiles)
    ]
    masters = {name for row in view.brokers() for name in row.masters}
    template = "containers_list.html" if call.is_fragment else "containers.html"
    return page(call, template, tab="containers", records=records, masters=masters, filter=call.query.filter)


ROUTES: Final = (Route("GET", "/containers", containers, "The list of containers.", query=ListQuery),)
