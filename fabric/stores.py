"""Where the brokers' stores are, as the containers' profiles say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fabric.errors import ProfileError
from fabric.mq import DEFAULT_GROUP, SERVER_PID_PREFIX
from fabric.overlay import overlay, resolve
from fabric.store import ProfileStore
from fabric.znodes import read_reference

if TYPE_CHECKING:
    from fabric.home import Home
    from fabric.profiles import Profile
    from fabric.records import ContainerRecord
    from registry.session import Session


@dataclass(frozen=True, slots=True)
class BrokerStore:
    """The store of a broker as one container is configured to use it.

    Attributes:
        group: of the broker.
        broker: its name.
        container: who runs it.
        directory: as that container sees it.
    """

    group: str
    broker: str
    container: str
    directory: Path


def substitutions(home: Home, container: str, address: str, zookeeper_url: str) -> dict[str, str]:
    """What the placeholders in a container's configuration stand for, see `fabric.overlay`.

    Args:
        home: of the container's host.
        container: its name.
        address: what it advertises.
        zookeeper_url: where it finds the registry.
    """
    return {
        "fabric.data": str(home.data),
        "runtime.data": str(home.container(container).data),
        "runtime.id": container,
        "karaf.name": container,
        "container.id": container,
        "container.ip": address,
        "zookeeper.url": zookeeper_url,
    }


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The properties of a broker as one container is configured to run it, placeholders resolved."""

    store: BrokerStore
    properties: Mapping[str, str]


def broker_stores(session: Session, home: Home, containers: Iterable[ContainerRecord]) -> list[BrokerStore]:
    """The stores of the brokers that containers of this host run; see `broker_settings`."""
    return [settings.store for settings in broker_settings(session, home, containers)]


def broker_settings(
    session: Session, home: Home, containers: Iterable[ContainerRecord]
) -> list[BrokerSettings]:
    """The brokers that containers of this host run; those whose profiles are broken have none.

    Blocks. Sorted by group, broker and container.
    """
    profiles = ProfileStore(session)
    by_version: dict[str, Mapping[str, Profile]] = {}
    found = []
    for record in containers:
        if record.version and record.version not in by_version:
            by_version[record.version] = profiles.all(record.version)
        known = substitutions(home, record.id, "", session.url)
        try:
            configuration = overlay(record.profiles, by_version.get(record.version, {})).configuration
        except ProfileError:
            continue
        of_brokers = {
            pid: values for pid, values in configuration.items() if pid.startswith(SERVER_PID_PREFIX)
        }
        resolved = resolve(of_brokers, known, lambda reference: read_reference(session, reference))
        found += [BrokerSettings(_store(record.id, values), values) for values in resolved.values()]
    return sorted(found, key=lambda one: (one.store.group, one.store.broker, one.store.container))


def _store(container: str, values: Mapping[str, str]) -> BrokerStore:
    name = values.get("broker-name") or container
    directory = Path(values.get("data") or f"data/{name}")
    return BrokerStore(values.get("group") or DEFAULT_GROUP, name, container, Path("/") / directory)
