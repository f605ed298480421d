"""Containers: their list, each of them, and creating them."""

from __future__ import annotations

from typing import Final

import msgspec

from fabric.clusters import relative
from fabric.errors import FabricError, LogElsewhere
from fabric.names import CHILD_COUNT_MAX, NAME_LENGTH_MAX
from fabric.records import CONTAINER_TYPE, ContainerRecord, as_tree
from fabric.web.api.container_changes import names_for
from fabric.web.api.containers import LOG_BYTES, Log, read_log
from fabric.web.html import page
from fabric.web.profile_rows import profile_choices
from fabric.web.routes import Answer, Call, Request, Route, redirect
from fabric.web.view import FabricView
from registry import paths


class ListQuery(Request):
    """Which containers.

    Attributes:
        filter: part of a name, a profile, a version or a provision status; `master`: where a broker is
            master; empty: all.
    """

    filter: str = ""


class CreateQuery(Request):
    """What the form begins with."""

    parent: str = ""
    profile: list[str] = msgspec.field(default_factory=list)
    version: str = ""
    name: str = ""
    number: str = "1"


def masters_of(view: FabricView) -> dict[str, list[tuple[str, str]]]:
    """The brokers, as group and name, that each container is master of."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in view.brokers():
        for name in row.masters:
            found.setdefault(name, []).append((relative(row.cluster, paths.amq_groups()), row.id))
    return found


async def containers(call: Call) -> Answer:
    """The page, or its list if a page asks for that."""
    view = call.console.view
    await view.ready()
    masters = view.once("masters", lambda: masters_of(view))
    wanted = call.query.filter.lower()
    records = [record for record in view.all_containers() if _fits(record, wanted, record.id in masters)]
    return page(
        call,
        "containers_list.html" if call.is_fragment else "containers.html",
        tab="containers",
        rows=as_tree(records),
        masters=masters,
        ensemble=view.containers.ensemble_members(),
        filter=call.query.filter,
        versions=view.profiles.versions(),
        type=CONTAINER_TYPE,
    )


def _fits(record: ContainerRecord, wanted: str, is_master: bool) -> bool:
    texts = [record.id, record.version, record.provision.status, *record.profiles]
    return any(wanted in text.lower() for text in texts) or (wanted == "master" and is_master)


# ---- one container


async def container(call: Call) -> Answer:
    """What a container is and has."""
    return await _container_page(call, "status")


async def container_settings(call: Call) -> Answer:
    """How a container is reached."""
    return await _container_page(call, "settings")


async def container_log(call: Call) -> Answer:
    """The end of a container's log, or why it cannot be shown."""
    await call.console.view.ready()
    log: Log | None = None
    problem = ""
    try:
        log = await read_log(call, LOG_BYTES)
    except LogElsewhere as error:
        problem = str(error)
    return await _container_page(call, "log", log=log, problem=problem)


async def _container_page(call: Call, section: str, **values: object) -> Answer:
    view = call.console.view
    await view.ready()
    record = view.containers.get(call.path["name"])
    masters = view.once("masters", lambda: masters_of(view))
    return page(
        call,
        f"container_{section}.html" if call.is_fragment else "container.html",
        tab="containers",
        section=section,
        record=record,
        type=CONTAINER_TYPE,
        children=view.containers.children(record.id),
        is_ensemble=record.id in view.containers.ensemble_members(),
        masters=masters.get(record.id, []),
        urls=_urls(view, record),
        address=view.address_of(record.fields.get("ip", "")),
        versions=view.profiles.versions(),
        groups=profile_choices(view, record.version, without=record.profiles),
        **values,
    )


def _urls(view: FabricView, record: ContainerRecord) -> list[tuple[str, str]]:
    """Where the container serves: what it is, and its address."""
    found = []
    if record.connected and record.fields.get("http"):
        found.append(("Console and API", view.address_of(record.fields["http"])))
    for row in view.brokers():
        for member in row.members:
            if member.container == record.id:
                found += [(f"Broker {row.id}", service) for service in member.services]
    return found


# ---- creating


async def new_container(call: Call) -> Answer:
    """The form for new containers."""
    view = call.console.view
    await view.ready()
    query = call.query
    version = query.version or view.profiles.default_version()
    return page(
        call,
        "container_new.html",
        tab="containers",
        roots=[record for record in view.all_containers() if record.parent is None],
        parent=query.parent,
        name=query.name,
        number=query.number if query.number.isdigit() else "1",
        version=version,
        versions=view.profiles.versions(),
        chosen=query.profile,
        groups=profile_choices(view, version),
        number_max=CHILD_COUNT_MAX,
        name_max=NAME_LENGTH_MAX,
    )


async def new_container_profiles(call: Call) -> Answer:
    """The profiles of the version that was chosen in the form."""
    if not call.is_fragment:
        return redirect("/containers/new")
    view = call.console.view
    await view.ready()
    version = view.profiles.known_version(call.query.version or view.profiles.default_version())
    groups = profile_choices(view, version)
    return page(call, "profile_picker.html", groups=groups, chosen=call.query.profile)


async def new_container_names(call: Call) -> Answer:
    """What the containers in the form would be called, or why they cannot."""
    if not call.is_fragment:
        return redirect("/containers/new")
    await call.console.view.ready()
    name, number = call.query.name, call.query.number
    names: list[str] = []
    problem = ""
    if name:
        try:
            names = names_for(call.console, name, int(number) if number.isdecimal() else 0)
        except FabricError as error:
            problem = str(error)
    return page(call, "container_names.html", names=names, problem=problem)


ROUTES: Final = (
    Route("GET", "/containers", containers, "The list of containers.", query=ListQuery),
    Route("GET", "/containers/new", new_container, "The form for new containers.", query=CreateQuery),
    Route(
        "GET",
        "/containers/new/profiles",
        new_container_profiles,
        "The profiles of a version, to choose from.",
        query=CreateQuery,
    ),
    Route(
        "GET",
        "/containers/new/names",
        new_container_names,
        "What new containers would be called.",
        query=CreateQuery,
    ),
    Route("GET", "/containers/<name>", container, "One container."),
    Route("GET", "/containers/<name>/log", container_log, "The end of a container's log."),
    Route("GET", "/containers/<name>/settings", container_settings, "How a container is reached."),
)
