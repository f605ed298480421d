"""The audit log, for administrators."""

from __future__ import annotations

from typing import Final

from fabric.audit import printable
from fabric.web.api.audit import AuditQuery, found_entries
from fabric.web.html import page
from fabric.web.roles import Role
from fabric.web.routes import Answer, Call, Route


async def audit(call: Call) -> Answer:
    """The page."""
    return page(
        call, "audit.html", entries=await found_entries(call), user=call.query.user, printable=printable
    )


ROUTES: Final = (Route("GET", "/audit", audit, "Who did what.", Role.ADMIN, query=AuditQuery),)
