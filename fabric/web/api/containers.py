"""`/api/v1/containers`: containers, and what can be done with them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from fabric.errors import ContainerNotFound
from fabric.records import ContainerRecord, DesiredState
from fabric.web.errors import Refused
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Done, Request, Route

NAMES_MAX: Final = 1_000
"""Containers of one request."""


class Container(msgspec.Struct, frozen=True):
    """A container.

    Attributes:
        parent: the container that runs it; null for a root container.
        connected: its process holds a session with the registry.
        desired: `started` or `stopped`.
        provision_status: how far it is in becoming what its profiles ask for; `success` at the end.
        services: what runs in it.
        pid: of its process; null if it is not connected.
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


class NamesBody(Request):
    """Which containers."""

    names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=NAMES_MAX)]


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
    )


async def list_containers(call: Call) -> list[Container]:
    """All containers, by name."""
    await call.console.view.ready()
    return [container_of(record) for record in call.console.view.all_containers()]


async def get_container(call: Call) -> Container:
    """One container."""
    await call.console.view.ready()
    return container_of(call.console.view.containers.get(call.path["name"]))


async def start(call: Call) -> Done:
    """Start containers; they are on their way when this is answered."""
    return await _ask_for(call, DesiredState.STARTED, "starting")


async def stop(call: Call) -> Done:
    """Stop containers; they are on their way when this is answered."""
    return await _ask_for(call, DesiredState.STOPPED, "stopping")


async def _ask_for(call: Call, desired: DesiredState, doing: str) -> Done:
    await call.console.view.ready()
    known = {record.id: record for record in call.console.view.all_containers()}
    for name in call.body.names:
        if name not in known:
            raise ContainerNotFound(name)
        if known[name].parent is None:
            raise Refused(
                409, f"Container {name} is a root container.", f"On its host: fabric container-{doing}"
            )
    for name in call.body.names:
        await call.console.blocking(call.console.containers.set_desired, name, desired)
    return Done(f"{', '.join(call.body.names)}: {doing}")


ROUTES: Final = (
    Route("GET", f"{API}/containers", list_containers, "All containers.", answer=list[Container]),
    Route("GET", f"{API}/containers/<name>", get_container, "One container.", answer=Container),
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
)
