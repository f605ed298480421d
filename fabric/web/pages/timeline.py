"""The failover timeline: who took over from whom, and how long each step of it took."""

from __future__ import annotations

from typing import Final

from fabric.takeovers import PHASES, read_takeovers
from fabric.web.api.mq import TakeoversQuery
from fabric.web.html import page
from fabric.web.routes import Answer, Call, Route
from fabric.web.timeline import BAR, LABELS, bars

ROWS: Final = 50
"""Takeovers of one page, the newest; the API has all."""


async def timeline(call: Call) -> Answer:
    """The page, or the table in it."""
    view = call.console.view
    await view.ready()
    everything = view.once("takeovers", lambda: read_takeovers(view.reading))
    query = call.query
    found = [row for row in everything if query.group in ("", row.group) and query.broker in ("", row.broker)]
    return page(
        call,
        "mq_timeline_table.html" if call.is_fragment else "mq_timeline.html",
        tab="mq",
        bars=bars(found[:ROWS]),
        left_out=max(0, len(found) - ROWS),
        labels=[(phase, LABELS[phase]) for phase in PHASES],
        width=BAR,
        group=query.group,
        broker=query.broker,
        brokers=sorted({(row.group, row.broker) for row in everything}),
    )


ROUTES: Final = (Route("GET", "/mq/timeline", timeline, "The failover timeline.", query=TakeoversQuery),)
