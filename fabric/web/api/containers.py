"""`/api/v1/containers`: containers, their logs, and starting, stopping and deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from fabric.errors import ContainerNotFound, LogElsewhere
from fabric.lifecycle import Lifecycle
from fabric.log_lines import readable_text
from fabric.processes import tail
from fabric.records import CONTAINER_TYPE, ContainerRecord
from fabric.web.errors import Refused
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Done, Request, Route

NAMES_MAX: Final = 1_000
"""Containers of one request."""

LOG_BYTES: Final = 64 * 1024
"""The end of a log that is sent if nothing else is asked for: some hundred lines."""

LOG_BYTES_MAX: Final = 1024 * 1024
"""The most of a log that one request is answered with."""


class Container(msgspec.Struct, frozen=True):
    """A container.

    Attributes:
        parent: the container that runs it; null for a root container.
        connected: its process holds a session with the registry.
        desired: `started` or `stopped`.
        provision_status: how far it is in becoming what its profiles ask for; `success` at the end.
        services: what runs in it.
        pid: of its process; null if it is not connected.
        software: version of Fabric that it runs; null likewise.
    """

    id: str
    version: str
    parent: str | None
    connected: bool
    desired: str
    profiles: list[str]
    provision_status: str
    provision_exception: str
    services: list[str]
    pid: int | None
    software: str | None


class ContainerDetail(Container, frozen=True):
    """A container with what is known of its place.

    Attributes:
        host: where it runs, or ran.
        ensemble: it runs a server of the ensemble.
        address: what it advertises.
        fields: the settings in its record, as they are written.
    """

    type: str
    host: str | None
    ensemble: bool
    children: list[str]
    address: str
    fields: dict[str, str]


class Log(msgspec.Struct, frozen=True):
    """The end of a container's log.

    Attributes:
        text: whole lines.
        size_bytes: of the whole log.
        complete: nothing is left out.
    """

    container: str
    text: str
    size_bytes: int
    complete: bool


class NamesBody(Request):
    """Which containers."""

    names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=NAMES_MAX)]


class LogQuery(Request):
    """How much of it, in bytes."""

    bytes: Annotated[int, msgspec.Meta(ge=1, le=LOG_BYTES_MAX)] = LOG_BYTES


def container_of(record: ContainerRecord) -> Container:
    """A record as the API shows it."""
    return Container(
        id=record.id,
        version=record.version,
        parent=record.parent,
        connected=record.connected,
        desired=record.desired.value,
        profiles=list(record.profiles),
        provision_status=record.provision.status,
        provision_exception=record.provision.exception,
        services=list(record.provision.services),
        pid=record.alive.pid if record.alive else None,
        software=record.alive.software if record.alive else None,
    )


# ---- reading


async def list_containers(call: Call) -> list[Container]:
    """All containers, by name."""
    await call.console.view.ready()
    return [container_of(record) for record in call.console.view.all_containers()]


async def get_container(call: Call) -> ContainerDetail:
    """One container."""
    view = call.console.view
    await view.ready()
    record = view.containers.get(call.path["name"])
    return ContainerDetail(
        **msgspec.structs.asdict(container_of(record)),
        type=CONTAINER_TYPE,
        host=record.host,
        ensemble=record.id in view.containers.ensemble_members(),
        children=view.containers.children(record.id),
        address=view.address_of(record.fields.get("ip", "")),
        fields=dict(record.fields),
    )


async def get_log(call: Call) -> Log:
    """The end of a container's log, if it lies on the console's host."""
    return await read_log(call, call.query.bytes)


async def read_log(call: Call, bytes_max: int) -> Log:
    """The end of a log. Raises `ContainerNotFound`, `LogElsewhere`."""
    await call.console.view.ready()
    record = call.console.view.containers.get(call.path["name"])
    path = call.console.home.container(record.id).log
    try:
        data, size = await call.console.blocking(tail, path, bytes_max)
    except OSError:
        raise LogElsewhere(record.id, record.host) from None
    complete = len(data) >= size
    if not complete:
        data = data.partition(b"\n")[2]
    return Log(record.id, readable_text(data.decode("utf-8", "replace")), size, complete)


# ---- starting, stopping, deleting


async def start(call: Call) -> Done:
    """Start containers; they are on their way when this is answered."""
    records = await _children_asked_for(call, "container-start")
    await call.console.blocking(_start_all, call.console.lifecycle, records)
    return Done(f"{', '.join(call.body.names)}: starting")


async def stop(call: Call) -> Done:
    """Stop containers; they are on their way when this is answered."""
    records = await _children_asked_for(call, "container-stop")
    await call.console.blocking(_stop_all, call.console.lifecycle, records)
    return Done(f"{', '.join(call.body.names)}: stopping")


async def delete(call: Call) -> Done:
    """Stop and delete containers; stores of brokers are kept. Answered when they are gone."""
    records = await _children_asked_for(call, "container-delete")
    await call.console.blocking(_delete_all, call.console.lifecycle, records)
    return Done(f"{', '.join(call.body.names)}: deleted")


async def _children_asked_for(call: Call, command: str) -> list[ContainerRecord]:
    """The containers of the request, none of which is a root container."""
    await call.console.view.ready()
    known = {record.id: record for record in call.console.view.all_containers()}
    found = []
    for name in dict.fromkeys(call.body.names):
        if name not in known:
            raise ContainerNotFound(name)
        if known[name].parent is None:
            raise Refused(
                409, f"Container {name} is a root container.", f"On its host: fabric {command} {name}"
            )
        found.append(known[name])
    return found


def _start_all(lifecycle: Lifecycle, records: Sequence[ContainerRecord]) -> None:
    for record in records:
        if not record.connected or record.desired.value == "stopped":
            lifecycle.ask_start(record)


def _stop_all(lifecycle: Lifecycle, records: Sequence[ContainerRecord]) -> None:
    for record in records:
        lifecycle.ask_stop(record)


def _delete_all(lifecycle: Lifecycle, records: Sequence[ContainerRecord]) -> None:
    _stop_all(lifecycle, records)  # all at once, and then each is waited for
    for record in records:
        lifecycle.delete(record.id)


ROUTES: Final = (
    Route("GET", f"{API}/containers", list_containers, "All containers.", answer=list[Container]),
    Route("GET", f"{API}/containers/<name>", get_container, "One container.", answer=ContainerDetail),
    Route(
        "GET",
        f"{API}/containers/<name>/log",
        get_log,
        "The end of a container's log.",
        query=LogQuery,
        answer=Log,
    ),
    Route(
        "POST",
        f"{API}/containers/start",
        start,
        "Start containers.",
        Role.OPERATOR,
        body=NamesBody,
        answer=Done,
    ),
    Route(
        "POST", f"{API}/containers/stop", stop, "Stop containers.", Role.OPERATOR, body=NamesBody, answer=Done
    ),
    Route(
        "POST",
        f"{API}/containers/delete",
        delete,
        "Stop and delete containers; answered when they are gone.",
        Role.ADMIN,
        body=NamesBody,
        answer=Done,
    ),
)
