"""`/api/v1/containers`: creating containers, and changing what they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Final

import msgspec

from fabric.addresses import RESOLVERS, child_fields
from fabric.errors import FabricError, VersionNotFound
from fabric.names import CHILD_COUNT_MAX, NAME_LENGTH_MAX, numbered_names
from fabric.records import ContainerRecord
from fabric.services.console import ConsoleFactory
from fabric.store import ContainerStore
from fabric.versions import VersionStore
from fabric.web.api.containers import NAMES_MAX
from fabric.web.console import Console
from fabric.web.errors import Refused, RequestInvalid
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Done, Request, Route

PROFILES_MAX: Final = 200
"""Of one container."""

SETTING_CHARACTERS_MAX: Final = 200

ENSEMBLE_PROFILE: Final = "fabric-ensemble-"
"""Its profiles begin with it. Source: fabric8."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
Names = Annotated[list[Name], msgspec.Meta(max_length=PROFILES_MAX)]
Setting = Annotated[str, msgspec.Meta(max_length=SETTING_CHARACTERS_MAX)]


class CreateBody(Request):
    """Children to create.

    Attributes:
        name: of the first; several are numbered from 2.
        parent: a root container.
        number: how many.
        version: empty: the default version.
        profiles: none: `default`.
    """

    name: Name
    parent: Name
    number: Annotated[int, msgspec.Meta(ge=1, le=CHILD_COUNT_MAX)] = 1
    version: str = ""
    profiles: Names = msgspec.field(default_factory=list)


class Created(msgspec.Struct, frozen=True):
    """The containers that were created; their parent is starting them."""

    message: str
    containers: list[str]


class ProfilesBody(Request):
    """Profiles, in their order: a later one is laid over an earlier one."""

    profiles: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=PROFILES_MAX)]


class AllProfilesBody(Request):
    """All profiles a container shall have."""

    profiles: Names


class MoveBody(Request):
    """Containers, and the version they shall have."""

    version: Name
    names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=NAMES_MAX)]


class SettingsBody(Request):
    """How a container is reached, and where it is; what is left out stays.

    Attributes:
        location: any text.
        resolver: which of its addresses it advertises, at once.
        manual_ip: the address of the resolver `manualip`.
    """

    location: Setting | None = None
    resolver: Setting | None = None
    manual_ip: Setting | None = None


# ---- creating


def names_for(console: Console, name: str, number: int) -> list[str]:
    """How the containers would be called. Raises `InvalidName`, or `Refused` if a single name is taken."""
    taken = console.view.containers.names()
    if number == 1 and name in taken:
        raise Refused(409, f"{name} is already in use.", "Choose another name.")
    return numbered_names(name, number, taken)


async def create(call: Call) -> Created:
    """Create children; their parent is starting them when this is answered."""
    console, body = call.console, call.body
    await console.view.ready()
    names = names_for(console, body.name, body.number)
    version = body.version or console.view.profiles.default_version()
    console.view.profiles.known_version(version)
    console.view.containers.check_parent(body.parent)
    await console.blocking(
        console.lifecycle.register_children,
        body.parent,
        names,
        profiles=body.profiles or ["default"],
        version=version,
    )
    return Created(f"Created containers: {', '.join(names)}. They are starting.", names)


# ---- profiles


async def add_profiles(call: Call) -> Done:
    """Give a container further profiles, behind those it has."""
    record = await _container(call)
    added = [one for one in call.body.profiles if one not in record.profiles]
    await _change_profiles(call, record, call.console.containers.add_profiles, [*record.profiles, *added])
    return Done(f"Added {', '.join(call.body.profiles)} to {record.id}")


async def remove_profiles(call: Call) -> Done:
    """Take profiles from a container; those it does not have are no error."""
    record = await _container(call)
    kept = [one for one in record.profiles if one not in call.body.profiles]
    await _change_profiles(call, record, call.console.containers.remove_profiles, kept)
    return Done(f"Successfully removed {', '.join(call.body.profiles)} from {record.id}")


async def change_profiles(call: Call) -> Done:
    """Replace the profiles of a container."""
    record = await _container(call)
    await _change_profiles(call, record, call.console.containers.change_profiles, call.body.profiles)
    return Done(f"{record.id} has the profiles {', '.join(call.body.profiles) or 'none'} now")


async def _change_profiles(
    call: Call,
    record: ContainerRecord,
    change: Callable[[str, Iterable[str]], tuple[str, ...]],
    wanted: list[str],
) -> None:
    _check_goes_on(call.console, record, wanted)
    await call.console.blocking(change, record.id, call.body.profiles)


async def _container(call: Call) -> ContainerRecord:
    await call.console.view.ready()
    return call.console.view.containers.get(call.path["name"])


def _check_goes_on(console: Console, record: ContainerRecord, wanted: list[str]) -> None:
    """Refuse what would end the registry or this console: nobody could take it back here."""
    lost = [one for one in record.profiles if one not in wanted]
    by_hand = f"On its host: fabric container-remove-profile {record.id} {' '.join(lost)}"
    if record.id in console.view.containers.ensemble_members():
        servers = [one for one in lost if one.startswith(ENSEMBLE_PROFILE)]
        if servers:
            raise Refused(
                409, f"Container {record.id} runs ZooKeeper for the whole fabric by {servers[0]}.", by_hand
            )
    if record.id == console.container and lost and not _has_console(console, wanted, record.version):
        raise Refused(409, f"Container {record.id} serves this console, which would end.", by_hand)


def _has_console(console: Console, profiles: list[str], version: str) -> bool:
    known = [one for one in profiles if console.view.profiles.exists(one, version)]
    pids = console.view.profiles.overlay(known, version).configuration
    return any(pid.startswith(ConsoleFactory.pid_prefix) for pid in pids)


# ---- version and settings


async def move(call: Call) -> Done:
    """Give containers the same profiles of another version."""
    console, body = call.console, call.body
    await console.view.ready()
    if body.version not in console.view.profiles.versions():
        raise VersionNotFound(body.version, console.view.profiles.versions())
    for name in body.names:
        console.view.containers.check_exists(name)

    def move_all() -> None:
        versions = VersionStore(console.session, call.user.user)
        for name in body.names:
            versions.move(name, body.version)

    await console.blocking(move_all)
    return Done(f"{', '.join(body.names)}: version {body.version} now")


async def change_settings(call: Call) -> Done:
    """Change how a container is reached, and where it is said to be."""
    record = await _container(call)
    fields = _changed_fields(record, call.body)
    await call.console.blocking(_write_fields, call.console.containers, record.id, fields)
    hint = " Another address is told to others at once." if "ip" in fields else ""
    return Done(f"{record.id}: saved.{hint}")


def _changed_fields(record: ContainerRecord, body: SettingsBody) -> dict[str, str]:
    """What is to be written; the address last, when what it refers to is there."""
    fields: dict[str, str] = {}
    for text in (body.location, body.manual_ip):
        if text is not None and not (text.isprintable() and "${" not in text):
            raise RequestInvalid("A location and an address have printable characters only.")
    if body.location is not None:
        fields["location"] = body.location
    if body.manual_ip and body.manual_ip != record.fields.get("manualip"):
        fields["manualip"] = body.manual_ip
    resolver = body.resolver or record.fields.get("resolver", "localip")
    if resolver not in RESOLVERS:
        raise FabricError(f"There is no resolver {resolver}.", f"Resolvers are: {', '.join(RESOLVERS)}.")
    if body.resolver and body.resolver != record.fields.get("resolver"):
        child_fields({**record.fields, **fields}, None, resolver, None)
        fields |= {"resolver": resolver, "ip": f"${{zk:{record.id}/{resolver}}}"}
    return fields


def _write_fields(store: ContainerStore, name: str, fields: dict[str, str]) -> None:
    for field, value in fields.items():
        store.set_field(name, field, value)


ROUTES: Final = (
    Route(
        "POST",
        f"{API}/containers",
        create,
        "Create child containers.",
        Role.ADMIN,
        body=CreateBody,
        answer=Created,
    ),
    Route(
        "POST",
        f"{API}/containers/move",
        move,
        "Move containers to another version, with their profiles.",
        Role.ADMIN,
        body=MoveBody,
        answer=Done,
    ),
    Route(
        "POST",
        f"{API}/containers/<name>/profiles/add",
        add_profiles,
        "Add profiles to a container.",
        Role.ADMIN,
        body=ProfilesBody,
        answer=Done,
    ),
    Route(
        "POST",
        f"{API}/containers/<name>/profiles/remove",
        remove_profiles,
        "Remove profiles from a container.",
        Role.ADMIN,
        body=ProfilesBody,
        answer=Done,
    ),
    Route(
        "PUT",
        f"{API}/containers/<name>/profiles",
        change_profiles,
        "Replace the profiles of a container.",
        Role.ADMIN,
        body=AllProfilesBody,
        answer=Done,
    ),
    Route(
        "PUT",
        f"{API}/containers/<name>/settings",
        change_settings,
        "Change a container's location and resolver.",
        Role.ADMIN,
        body=SettingsBody,
        answer=Done,
    ),
)
