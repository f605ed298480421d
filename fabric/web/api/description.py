"""`/api/v1/openapi.json`: the API's own description."""

from __future__ import annotations

from typing import Any, Final

from fabric.web.openapi import describe
from fabric.web.routes import API, Call, Route


def openapi(call: Call) -> dict[str, Any]:
    """Describe all routes of the API."""
    from fabric.web.table import ROUTES as ALL  # noqa: PLC0415 - the table holds this route, too

    del call
    return describe(ALL)


ROUTES: Final = (Route("GET", f"{API}/openapi.json", openapi, "This description.", role=None),)
