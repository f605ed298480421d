"""Profiles: their list, each of them, editing one, and what it was."""

from __future__ import annotations

from typing import Any, Final

from fabric.errors import FabricError
from fabric.history import DocumentNotFound, KeptDocument, diff_lines
from fabric.names import validate_profile_name
from fabric.profiles import Profile
from fabric.requirements import INSTANCES_MAX
from fabric.web.api.profiles import children_of, history_of, known_profile, store_of
from fabric.web.html import page
from fabric.web.profile_rows import HIDDEN_VALUE, grouped, is_secret, profile_rows, settings_of
from fabric.web.roles import Role
from fabric.web.routes import Answer, Call, Request, Route


class ListQuery(Request):
    """Which profiles.

    Attributes:
        version: empty: the default one.
        filter: part of an id.
        hidden: not empty: also those that lists leave out.
    """

    version: str = ""
    filter: str = ""
    hidden: str = ""


class HistoryQuery(Request):
    """Which document is shown; -1: the newest."""

    number: int = -1


async def profiles(call: Call) -> Answer:
    """The page, or its list if a page asks for that."""
    view, query = call.console.view, call.query
    await view.ready()
    version = view.profiles.known_version(query.version or view.profiles.default_version())
    wanted = query.filter.lower()
    every = profile_rows(view, version)
    rows = [
        row
        for row in every
        if wanted in row.id.lower()
        and (query.hidden or row.containers or row.profile is None or not row.profile.hidden)
    ]
    return page(
        call,
        "profiles_list.html" if call.is_fragment else "profiles.html",
        tab="profiles",
        groups=grouped(rows),
        version=version,
        versions=view.profiles.versions(),
        default_version=view.profiles.default_version(),
        filter=query.filter,
        hidden=query.hidden,
        every=[row.id for row in every],
    )


async def profile(call: Call) -> Answer:
    """What a profile is, and what it amounts to with its parents."""
    view = call.console.view
    version, profile_id = await known_profile(call)
    rows = profile_rows(view, version)
    row = next(row for row in rows if row.id == profile_id)
    settings: dict[str, Any] = {}
    problem = row.problem
    if row.profile is not None:
        try:
            settings = settings_of([profile_id], view.profiles.lineage([profile_id], version))
        except FabricError as error:
            problem = str(error)
    return page(
        call,
        "profile_overview.html" if call.is_fragment else "profile.html",
        tab="profiles",
        section="overview",
        row=row,
        shown=row.profile or Profile(profile_id),
        version=version,
        problem=problem,
        children=children_of(rows, profile_id),
        settings=settings,
        is_secret=lambda key: is_secret(key) and call.user.role < Role.ADMIN,
        hidden_value=HIDDEN_VALUE,
        every=[other.id for other in rows if other.id != profile_id],
        instances_max=INSTANCES_MAX,
    )


async def edit(call: Call) -> Answer:
    """A profile's document, to be changed."""
    version, profile_id = await known_profile(call)
    document, revision = await call.console.blocking(store_of(call).document, profile_id, version)
    return page(
        call,
        "profile_edit.html",
        tab="profiles",
        id=profile_id,
        version=version,
        document=document.decode(errors="replace"),
        revision=revision,
    )


async def history(call: Call) -> Answer:
    """What a profile was, and how that differs from what came before it and from now."""
    kept = await history_of(call)
    view, version = call.console.view, call.path["version"]
    profile_id = validate_profile_name(call.path["profile"])
    exists = view.profiles.exists(profile_id, version)
    if not exists and not kept:
        view.profiles.get(profile_id, version)
    now = view.profiles.document(profile_id, version)[0].decode(errors="replace") if exists else ""
    shown, before = _chosen(profile_id, kept, call.query.number)
    step: list[str] = []
    since: list[str] = []
    if shown is not None:
        since = await call.console.blocking(
            diff_lines, shown.text, now, before_name=f"document {shown.number}", after_name="now"
        )
        if before is not None:
            step = await call.console.blocking(
                diff_lines,
                before.text,
                shown.text,
                before_name=f"document {before.number}",
                after_name=f"document {shown.number}",
            )
    return page(
        call,
        "profile_history.html",
        tab="profiles",
        id=profile_id,
        version=version,
        exists=exists,
        kept=kept,
        shown=shown,
        before=before,
        step=step,
        since=since,
    )


def _chosen(
    profile_id: str, kept: list[KeptDocument], number: int
) -> tuple[KeptDocument | None, KeptDocument | None]:
    """The document asked for and the one before it."""
    if not kept:
        return None, None
    numbers = [one.number for one in kept]
    if number >= 0 and number not in numbers:
        raise DocumentNotFound(profile_id, number)
    place = numbers.index(number) if number >= 0 else 0
    return kept[place], kept[place + 1] if place + 1 < len(kept) else None


ROUTES: Final = (
    Route("GET", "/profiles", profiles, "The profiles of a version.", query=ListQuery),
    Route("GET", "/profiles/<version>/<profile>", profile, "One profile."),
    Route("GET", "/profiles/<version>/<profile>/edit", edit, "A profile's document.", Role.ADMIN),
    Route(
        "GET",
        "/profiles/<version>/<profile>/history",
        history,
        "What a profile was.",
        Role.ADMIN,
        query=HistoryQuery,
    ),
)
