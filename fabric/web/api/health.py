"""`/api/v1/health`: what is wrong in the fabric now."""

from __future__ import annotations

from typing import Final

import msgspec

from fabric.health import Finding, counted
from fabric.web.routes import API, Call, Route


class Health(msgspec.Struct, frozen=True):
    """What is wrong now.

    Attributes:
        count: findings that ask for something to be done: all but the notes.
        findings: the worst first.
    """

    count: int
    findings: list[Finding]


async def health(call: Call) -> Health:
    """Look, and tell."""
    found = await call.console.health.now()
    return Health(counted(found), found)


ROUTES: Final = (Route("GET", f"{API}/health", health, "What is wrong in the fabric now.", answer=Health),)
