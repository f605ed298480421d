"""Versions: which there are, who uses them, and how two of them differ."""

from __future__ import annotations

from typing import Final

from fabric.names import next_version
from fabric.versions import DESCRIPTION_CHARACTERS_MAX, ProfileDifference, VersionStore
from fabric.web.api.versions import version_records
from fabric.web.html import page
from fabric.web.roles import Role
from fabric.web.routes import Answer, Call, Request, Route


class CompareQuery(Request):
    """Which two versions."""

    first: str = ""
    second: str = ""


async def versions(call: Call) -> Answer:
    """The list of versions."""
    view = call.console.view
    await view.ready()
    records = version_records(view)
    return page(
        call,
        "versions_list.html" if call.is_fragment else "versions.html",
        tab="profiles",
        versions=records,
        following=next_version(record.id for record in records),
        description_max=DESCRIPTION_CHARACTERS_MAX,
        containers=[record.id for record in view.all_containers()],
    )


async def compare(call: Call) -> Answer:
    """How two versions differ."""
    view, query = call.console.view, call.query
    await view.ready()
    known = view.profiles.versions()
    first = view.profiles.known_version(query.first) if query.first else known[0]
    second = view.profiles.known_version(query.second) if query.second else known[-1]
    found: list[ProfileDifference] = await call.console.blocking(
        VersionStore(call.console.session).compare, first, second
    )
    return page(
        call,
        "versions_compare.html",
        tab="profiles",
        versions=known,
        first=first,
        second=second,
        differences=found,
    )


ROUTES: Final = (
    Route("GET", "/profiles/versions", versions, "The list of versions."),
    Route(
        "GET",
        "/profiles/compare",
        compare,
        "How two versions differ.",
        Role.ADMIN,
        query=CompareQuery,
    ),
)
