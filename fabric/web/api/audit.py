"""`/api/v1/audit`: who did what."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from fabric.audit import AuditEntry, read_entries
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Request, Route

LIMIT: Final = 100
LIMIT_MAX: Final = 1_000


class AuditItem(msgspec.Struct, frozen=True):
    """One thing that was done, or was refused.

    Attributes:
        at_ms: when, milliseconds since 1970.
        role: empty if it is not known.
        origin: `command`, `console`, `api`, `metrics` or `broker`.
        source: from where.
        action: what, without secrets.
        result: `done`, or why not.
        host: whose log it is.
        left_out: refusals that were not written before this one.
        count: how often within a minute, if it was refused.
    """

    at_ms: int
    user: str
    role: str
    origin: str
    source: str
    action: str
    result: str
    host: str
    left_out: int
    count: int


class AuditQuery(Request):
    """Which of them.

    Attributes:
        user: only what he did; empty: everybody.
        since_ms: not older, milliseconds since 1970.
        limit: so many, the newest.
    """

    user: Annotated[str, msgspec.Meta(max_length=128)] = ""
    since_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT


async def found_entries(call: Call) -> list[AuditEntry]:
    """What the query asks for, the newest first."""
    query, session = call.query, call.console.session
    found = await call.console.blocking(read_entries, session, since_ms=query.since_ms, user=query.user)
    return found[: query.limit]


async def entries(call: Call) -> list[AuditItem]:
    """What is written down."""
    return [msgspec.convert(entry.to_json(), AuditItem) for entry in await found_entries(call)]


ROUTES: Final = (
    Route(
        "GET",
        f"{API}/audit",
        entries,
        "Who did what, the newest first.",
        Role.ADMIN,
        query=AuditQuery,
        answer=list[AuditItem],
    ),
)
