"""Moving a container to another host: it stops there, its record is handed over, it starts here.

    stop ──▶ check that it has ended ──▶ new address and parent ──▶ start by the new parent's agent

A container whose host is gone can be moved, too: should it still run there, it finds that it belongs to
another host, and ends; its brokers have been fenced before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fabric.addresses import RESOLVERS, advertised, inherited_fields
from fabric.errors import ContainerError
from fabric.lifecycle import Lifecycle
from fabric.mq import DEFAULT_GROUP, SERVER_PID_PREFIX
from fabric.records import ContainerRecord, DesiredState
from fabric.store import ProfileStore
from registry import paths
from registry.stores import read_store

if TYPE_CHECKING:
    from registry.session import Session

OF_ITS_HOST = ("host", "bindaddress", "resolver", *RESOLVERS, "minimumport", "maximumport", "http", "metrics")
"""Fields that say where a container is; what the new host does not say is removed."""


class CannotMove(ContainerError):
    """The container stays where it is."""


class StoreNotShared(ContainerError):
    """A broker would not find its messages on the other host."""

    def __init__(self, container: str, parent: str, brokers: Sequence[Unseen]) -> None:
        lines = "; ".join(f"broker {broker.name} keeps its messages in {broker.data}" for broker in brokers)
        super().__init__(
            f"Container {container} is not moved to {parent}, from where its store has not been seen: "
            f"{lines}.",
            "Share that directory with the host, and start a container with the same profile there first. "
            "If you know that it is shared, --force moves it; a broker that finds another store refuses to "
            "serve, and nothing is lost.",
        )


@dataclass(frozen=True, slots=True)
class Unseen:
    """A broker whose store has not been seen from a host."""

    name: str
    data: str


def move_container(
    session: Session,
    lifecycle: Lifecycle,
    name: str,
    parent: str,
    *,
    force: bool,
    say: Callable[[str], None],
) -> None:
    """Move a child container to another root container, and wait until it is connected there.

    A container that is stopped stays so.

    Raises:
        ContainerNotFound, ContainerNotRoot, CannotMove, StoreNotShared, ParentDown: nothing was changed.
        NotStopped: it runs where it was, or has still to stop there.
        NotStarted: it belongs to the new parent, and does not start there.
    """
    containers = lifecycle.containers
    record = containers.get(name)
    check_movable(record, parent)
    containers.check_parent(parent)
    lifecycle.check_up(parent, name)
    unseen = unseen_stores(session, record, parent)
    if unseen and not force:
        raise StoreNotShared(name, parent, unseen)
    fields = advertised(name, inherited_fields(containers.fields(parent)))
    if lifecycle.is_alive(name) or lifecycle.is_alive(record.parent or ""):
        say(f"Stopping container {name} at {record.parent}")
        lifecycle.stop(name)
    else:
        say(f"Container {name} is not connected, nor is its host; should it run there, it will end")
    for field in set(OF_ITS_HOST) - fields.keys():
        session.delete(paths.container_config_field(name, field), missing_ok=True)
    for field, value in fields.items():
        containers.set_field(name, field, value)
    containers.set_field(name, "parent", parent)
    if record.desired is DesiredState.STARTED:
        say(f"Starting container {name} at {parent}")
        before = containers.provision(name)
        containers.set_desired(name, DesiredState.STARTED)
        lifecycle.wait_started(name, before)


def check_movable(record: ContainerRecord, parent: str) -> None:
    """Raise `CannotMove` for a container that is a host's own, or is there already."""
    if record.parent is None:
        raise CannotMove(
            f"Container {record.id} is the root container of its host and cannot be moved.",
            "Its child containers can.",
        )
    if record.parent == parent:
        raise CannotMove(f"Container {record.id} is run by container {parent} already.")


def unseen_stores(session: Session, record: ContainerRecord, parent: str) -> list[Unseen]:
    """Return the container's brokers whose stores no broker of `parent` has seen, as far as is known."""
    effective = ProfileStore(session).overlay(record.profiles, record.version)
    found = []
    for pid, properties in effective.configuration.items():
        if not pid.startswith(SERVER_PID_PREFIX):
            continue
        name = properties.get("broker-name") or record.id
        store = read_store(session, properties.get("group") or DEFAULT_GROUP, name)
        if store is not None and parent not in store.places:
            found.append(Unseen(name, properties.get("data", "")))
    return found
