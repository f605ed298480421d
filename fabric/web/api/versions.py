"""`/api/v1/versions`: sets of profiles that containers move between."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from fabric.names import NAME_LENGTH_MAX
from fabric.versions import DESCRIPTION_CHARACTERS_MAX, VersionRecord, VersionStore
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Done, Request, Route
from fabric.web.view import FabricView

Name = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH_MAX)]


class Version(msgspec.Struct, frozen=True):
    """A version.

    Attributes:
        is_default: new containers get it.
        containers: that use it.
        profiles: how many it has.
    """

    id: str
    is_default: bool
    containers: list[str]
    profiles: int
    description: str


class Difference(msgspec.Struct, frozen=True):
    """A profile that two versions do not have alike.

    Attributes:
        kind: `added`, `removed` or `changed`, seen from the first version.
        lines: as `diff -u` has them.
    """

    profile: str
    kind: str
    lines: list[str]


class CreateBody(Request):
    """A version to create.

    Attributes:
        id: empty: the one after the last.
        parent: what is copied; empty: the last.
    """

    id: Name = ""
    parent: Name = ""
    description: Annotated[str, msgspec.Meta(max_length=DESCRIPTION_CHARACTERS_MAX)] = ""
    make_default: bool = False


class VersionBody(Request):
    """Which version."""

    id: Name


def version_records(view: FabricView) -> list[VersionRecord]:
    """All versions, from memory."""
    return view.once("versions", view.versions.all)


async def list_versions(call: Call) -> list[Version]:
    """All versions, as people count them."""
    await call.console.view.ready()
    return [
        Version(one.id, one.is_default, list(one.containers), one.profiles, one.description)
        for one in version_records(call.console.view)
    ]


async def create(call: Call) -> Done:
    """Create a version as a copy of another one."""
    body, store = call.body, _store(call)
    made, copied = await call.console.blocking(
        store.create, body.id, parent=body.parent, description=body.description
    )
    if body.make_default:
        await call.console.blocking(store.set_default, made)
    return Done(f"Created version: {made} as copy of: {copied}")


async def delete(call: Call) -> Done:
    """Delete a version that nobody uses."""
    version = call.path.get("version") or call.body.id
    await call.console.blocking(_store(call).delete, version)
    return Done(f"Deleted version {version}")


async def set_default(call: Call) -> Done:
    """Say which version new containers get."""
    before = await call.console.blocking(_store(call).set_default, call.body.id)
    return Done(f"Changed default version from {before} to {call.body.id}")


async def compare(call: Call) -> list[Difference]:
    """What the second version has otherwise than the first."""
    found = await call.console.blocking(_store(call).compare, call.path["version"], call.path["other"])
    return [Difference(one.profile, one.kind, list(one.lines)) for one in found]


def _store(call: Call) -> VersionStore:
    return VersionStore(call.console.session, call.user.user)


ROUTES: Final = (
    Route("GET", f"{API}/versions", list_versions, "All versions.", answer=list[Version]),
    Route(
        "POST",
        f"{API}/versions",
        create,
        "Create a version as a copy of another one.",
        Role.ADMIN,
        body=CreateBody,
        answer=Done,
    ),
    Route(
        "PUT",
        f"{API}/versions/default",
        set_default,
        "Say which version new containers get.",
        Role.ADMIN,
        body=VersionBody,
        answer=Done,
    ),
    Route(
        "DELETE",
        f"{API}/versions/<version>",
        delete,
        "Delete a version that nobody uses.",
        Role.ADMIN,
        answer=Done,
    ),
    Route(
        "POST",
        f"{API}/versions/delete",
        delete,
        "The same, for forms.",
        Role.ADMIN,
        body=VersionBody,
        answer=Done,
    ),
    Route(
        "GET",
        f"{API}/versions/<version>/compare/<other>",
        compare,
        "What another version has otherwise.",
        Role.ADMIN,
        answer=list[Difference],
    ),
)
