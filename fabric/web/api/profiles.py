"""`/api/v1/profiles`: profiles of a version, their documents, requirements and history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import msgspec

from fabric.history import KeptDocument, diff_lines
from fabric.names import NAME_LENGTH_MAX, validate_profile_name
from fabric.profiles import ABSTRACT, DOCUMENT_BYTES_MAX, Profile, parse_typed_profile, unique
from fabric.requirements import INSTANCES_MAX, Requirements
from fabric.store import ProfileStore
from fabric.web.errors import RequestInvalid
from fabric.web.profile_rows import HIDDEN_VALUE, ProfileRow, is_secret, profile_rows
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Done, Request, Route

PARENTS_MAX: Final = 50
"""Of one profile."""

NUMBER_DIGITS_MAX: Final = 10
"""As many as ZooKeeper's sequence numbers have."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
Parents = Annotated[list[Name], msgspec.Meta(max_length=PARENTS_MAX)]
Instances = Annotated[int, msgspec.Meta(ge=0, le=INSTANCES_MAX)]


class ProfileSummary(msgspec.Struct, frozen=True):
    """A profile in a list.

    Attributes:
        problem: why its document cannot be used; empty if it can.
        containers: all that have it.
        running: how many of them are connected.
        minimum: how many should be; null: nothing is required.
    """

    id: str
    version: str
    parents: list[str]
    abstract: bool
    hidden: bool
    problem: str
    containers: list[str]
    running: int
    minimum: int | None
    maximum: int | None


class ProfileDetail(ProfileSummary, frozen=True):
    """A profile with its content.

    Attributes:
        children: the profiles that inherit from it.
        configuration: with what it inherits, by PID; secrets are hidden from all but administrators.
        document: as its author wrote it; for administrators only.
        revision: to be given when the document is saved.
    """

    attributes: dict[str, str]
    children: list[str]
    configuration: dict[str, dict[str, str]]
    document: str | None
    revision: int


class HistoryEntry(msgspec.Struct, frozen=True):
    """A document that a profile had, without its text."""

    number: int
    at_s: float
    user: str
    action: str


class HistoryDocument(HistoryEntry, frozen=True):
    """A document that a profile had.

    Attributes:
        diff: how today's differs from it, as `diff -u` has it.
    """

    document: str
    diff: list[str]


class VersionQuery(Request):
    """Of which version; empty: the default one."""

    version: str = ""


class CreateBody(Request):
    """A new profile."""

    id: Name
    parents: Parents = msgspec.field(default_factory=list)
    abstract: bool = False


class DocumentBody(Request):
    """A profile's YAML document.

    Attributes:
        revision: of the one it replaces: if that was changed since, nothing is saved.
    """

    document: Annotated[str, msgspec.Meta(max_length=DOCUMENT_BYTES_MAX)]
    revision: int = -1


class CopyBody(Request):
    """What the copy is called."""

    target: Name


class ParentsBody(Request):
    """All parents: a later one is laid over an earlier one. Empty names count as none, for forms."""

    parents: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=NAME_LENGTH_MAX)]], msgspec.Meta(max_length=PARENTS_MAX)
    ]


class RequirementsBody(Request):
    """How many containers should run it; null, or an empty field: nothing is said."""

    minimum: Instances | None = None
    maximum: Instances | None = None


class DeleteQuery(Request):
    """Whether it is taken from the containers that have it first."""

    unassign: bool = False


# ---- reading


async def list_profiles(call: Call) -> list[ProfileSummary]:
    """All profiles of a version, by id."""
    view = call.console.view
    await view.ready()
    wanted = call.query.version
    version = view.profiles.known_version(wanted) if wanted else view.profiles.default_version()
    return [ProfileSummary(**_summary(row, version)) for row in profile_rows(view, version)]


async def get_profile(call: Call) -> ProfileDetail:
    """One profile."""
    view = call.console.view
    version, profile_id = await known_profile(call)
    row = next(row for row in profile_rows(view, version) if row.id == profile_id)
    document, revision = await call.console.blocking(store_of(call).document, profile_id, version)
    is_admin = call.user.role >= Role.ADMIN
    profile = row.profile or Profile(profile_id)
    configuration = view.profiles.overlay([profile_id], version).configuration if row.profile else {}
    return ProfileDetail(
        **_summary(row, version),
        attributes=dict(profile.attributes),
        children=children_of(profile_rows(view, version), profile_id),
        configuration={
            pid: {
                key: HIDDEN_VALUE if is_secret(key) and not is_admin else value
                for key, value in values.items()
            }
            for pid, values in configuration.items()
        },
        document=document.decode(errors="replace") if is_admin else None,
        revision=revision,
    )


def _summary(row: ProfileRow, version: str) -> dict[str, Any]:
    profile = row.profile or Profile(row.id)
    return {
        "id": row.id,
        "version": version,
        "parents": list(profile.parents),
        "abstract": profile.abstract,
        "hidden": profile.hidden,
        "problem": row.problem,
        "containers": list(row.containers),
        "running": len(row.running),
        "minimum": row.minimum,
        "maximum": row.requirements.maximum_instances,
    }


def children_of(rows: Sequence[ProfileRow], profile_id: str) -> list[str]:
    """The profiles that inherit directly from this one."""
    return [row.id for row in rows if row.profile is not None and profile_id in row.profile.parents]


async def known_profile(call: Call) -> tuple[str, str]:
    """The version and the profile of the path. Raises `VersionNotFound`, `ProfileNotFound`."""
    view = call.console.view
    await view.ready()
    version = view.profiles.known_version(call.path["version"])
    profile_id = validate_profile_name(call.path["profile"])
    view.profiles.document(profile_id, version)
    return version, profile_id


def store_of(call: Call) -> ProfileStore:
    """The profiles, to be changed in the name of who asks; blocks."""
    return ProfileStore(call.console.session, author=call.user.user)


# ---- changing


async def create(call: Call) -> Done:
    """Create a profile."""
    await call.console.view.ready()
    body, version = call.body, call.path["version"]
    profile = Profile(
        validate_profile_name(body.id),
        parents=unique(validate_profile_name(one) for one in body.parents),
        attributes={ABSTRACT: "true"} if body.abstract else {},
    )
    await call.console.blocking(store_of(call).create, profile, version)
    return Done(f"Created profile {body.id} in version {version}")


async def check_document(call: Call) -> Done:
    """Say whether a document could be saved."""
    version, profile_id = await known_profile(call)
    await call.console.blocking(_checked, call.console.profiles, profile_id, version, call.body.document)
    return Done("This document can be used.")


async def save_document(call: Call) -> Done:
    """Save a profile's document; containers follow at once."""
    version, profile_id = await known_profile(call)
    body = call.body

    def save() -> None:
        store = store_of(call)
        profile, document = _checked(store, profile_id, version, body.document)
        store.save_document(profile, document, version, body.revision if body.revision >= 0 else None)

    await call.console.blocking(save)
    return Done(f"Saved profile {profile_id}")


def _checked(store: ProfileStore, profile_id: str, version: str, text: str) -> tuple[Profile, bytes]:
    """The profile and its document. Raises `ProfileInvalid`, `ParentMissing`, `ProfileCycle`."""
    document = text.replace("\r\n", "\n").encode()  # browsers send forms so
    profile = parse_typed_profile(profile_id, document)
    store.check_parents(profile, version)
    return profile, document


async def copy(call: Call) -> Done:
    """Copy a profile within its version."""
    version, profile_id = await known_profile(call)
    target = validate_profile_name(call.body.target)

    def copy_it() -> None:
        store = store_of(call)
        store.create(replace(store.get(profile_id, version), id=target), version)

    await call.console.blocking(copy_it)
    return Done(f"Copied profile {profile_id} to {target}")


async def change_parents(call: Call) -> Done:
    """Replace the parents of a profile."""
    version, profile_id = await known_profile(call)
    parents = unique(validate_profile_name(one) for one in call.body.parents if one)
    await call.console.blocking(
        store_of(call).update, profile_id, version, lambda now: replace(now, parents=parents)
    )
    return Done(f"Profile {profile_id} inherits from {', '.join(parents) or 'nothing'} now")


async def delete(call: Call) -> Done:
    """Delete a profile."""
    version, profile_id = await known_profile(call)
    await call.console.blocking(store_of(call).delete, profile_id, version, unassign=call.query.unassign)
    return Done(f"Deleted profile {profile_id}")


async def require(call: Call) -> Done:
    """Say how many containers should run a profile."""
    _, profile_id = await known_profile(call)
    body = call.body

    def change(now: Requirements) -> Requirements:
        one = replace(now.of(profile_id), minimum_instances=body.minimum, maximum_instances=body.maximum)
        return now.with_profile(one)

    await call.console.blocking(call.console.profiles.update_requirements, change)
    return Done(f"Profile {profile_id} requires {body.minimum or 0} containers now")


# ---- history


async def list_history(call: Call) -> list[HistoryEntry]:
    """The documents a profile had, the newest first; also of one that was deleted."""
    return [HistoryEntry(**_entry(kept)) for kept in await history_of(call)]


async def history_of(call: Call) -> list[KeptDocument]:
    """The documents of the profile in the path."""
    view = call.console.view
    await view.ready()
    version = view.profiles.known_version(call.path["version"])
    profile_id = validate_profile_name(call.path["profile"])
    return await call.console.blocking(call.console.profiles.history.all, version, profile_id)


async def get_history(call: Call) -> HistoryDocument:
    """A document a profile had, and how today's differs from it."""
    view = call.console.view
    await view.ready()
    version = view.profiles.known_version(call.path["version"])
    profile_id = validate_profile_name(call.path["profile"])
    kept = await call.console.blocking(call.console.profiles.history.get, version, profile_id, _number(call))
    today = ""
    if view.profiles.exists(profile_id, version):
        today = view.profiles.document(profile_id, version)[0].decode(errors="replace")
    lines = await call.console.blocking(
        diff_lines, kept.text, today, before_name=str(kept.number), after_name="now"
    )
    return HistoryDocument(**_entry(kept), document=kept.text, diff=lines)


def _number(call: Call) -> int:
    text = call.path["number"]
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS_MAX:
        raise RequestInvalid(f"{text} is no document's number.")
    return int(text)


def _entry(kept: KeptDocument) -> dict[str, Any]:
    return {"number": kept.number, "at_s": kept.at_s, "user": kept.user, "action": kept.action.value}


async def restore(call: Call) -> Done:
    """Make a profile what it was."""
    await call.console.view.ready()
    version, profile_id, number = call.path["version"], call.path["profile"], _number(call)
    await call.console.blocking(store_of(call).restore, profile_id, version, number)
    return Done(f"Profile {profile_id} is again what it was in document {number}")


ONE: Final = f"{API}/profiles/<version>/<profile>"

ROUTES: Final = (
    Route(
        "GET",
        f"{API}/profiles",
        list_profiles,
        "All profiles of a version.",
        query=VersionQuery,
        answer=list[ProfileSummary],
    ),
    Route(
        "POST",
        f"{API}/profiles/<version>",
        create,
        "Create a profile.",
        Role.ADMIN,
        body=CreateBody,
        answer=Done,
    ),
    Route("GET", ONE, get_profile, "One profile.", answer=ProfileDetail),
    Route("DELETE", ONE, delete, "Delete a profile.", Role.ADMIN, query=DeleteQuery, answer=Done),
    Route(
        "PUT",
        f"{ONE}/document",
        save_document,
        "Save its document.",
        Role.ADMIN,
        body=DocumentBody,
        answer=Done,
    ),
    Route(
        "POST",
        f"{ONE}/check",
        check_document,
        "Say whether a document could be saved.",
        Role.ADMIN,
        body=DocumentBody,
        answer=Done,
    ),
    Route("POST", f"{ONE}/copy", copy, "Copy it.", Role.ADMIN, body=CopyBody, answer=Done),
    Route(
        "PUT",
        f"{ONE}/parents",
        change_parents,
        "Replace its parents.",
        Role.ADMIN,
        body=ParentsBody,
        answer=Done,
    ),
    Route(
        "PUT",
        f"{ONE}/requirements",
        require,
        "Say how many containers should run it.",
        Role.ADMIN,
        body=RequirementsBody,
        answer=Done,
    ),
    Route(
        "GET",
        f"{ONE}/history",
        list_history,
        "The documents it had, the newest first.",
        answer=list[HistoryEntry],
    ),
    Route(
        "GET",
        f"{ONE}/history/<number>",
        get_history,
        "A document it had.",
        Role.ADMIN,
        answer=HistoryDocument,
    ),
    Route(
        "POST",
        f"{ONE}/history/<number>/restore",
        restore,
        "Make it what it was.",
        Role.ADMIN,
        answer=Done,
    ),
)
