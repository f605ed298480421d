"""Joining a fabric from another host, and leaving it: a root container of this host's own.

    registry of the fabric  ◀── record of the container ──  this host: FABRIC_HOME, the container's process

The host is given a root container, whose agent runs what its profiles ask for and whose children run here
too. What fails before the container is connected is undone, on both sides.

Source: fabric8 `JoinAction` for what is asked and said. Other than there, no container is renamed: the host
gets a new one.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fabric.addresses import PORTS, address_fields, advertised, first_server, is_loopback, port_fields
from fabric.create import forget_fabric
from fabric.errors import FabricError
from fabric.home import Home, RegistryAddress
from fabric.lifecycle import is_registered
from fabric.local import start_process, stop_process
from fabric.names import validate_container_name
from fabric.records import ContainerRecord
from fabric.resolvers import global_resolver
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.address import EVERYWHERE, LOOPBACK, path_of
from registry.session import Session

CONNECT_TIMEOUT_S = 60.0
"""As the original: the fabric may be starting while its other hosts join."""

START_TIMEOUT_S = 120.0

PROFILES = ("fabric",)
"""What a joined root container is given, unless others are named. Source: fabric8."""


class AlreadyJoined(FabricError):
    """This host belongs to a fabric."""

    def __init__(self, root: str | None, url: str) -> None:
        name = root or "root"
        super().__init__(
            "This container is already connected to a fabric",
            f"Container {name} of this host belongs to the fabric at {url}. Start it with "
            f"`fabric container-start {name}`, or leave that fabric first: `fabric leave`.",
        )


class NoFabricThere(FabricError):
    """The ensemble holds no fabric."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"There is no fabric in the ensemble {url}.",
            "Create one with `fabric create` on its first host, and join that.",
        )


class NoSuchPath(FabricError):
    """The ensemble has no such path."""

    def __init__(self, url: str) -> None:
        path = path_of(url)
        super().__init__(
            f"There is no path {path} in the ensemble {url.partition('/')[0]}.",
            "Nothing was made. `fabric info` on a host of the fabric says its address, path and all.",
        )


class NameTaken(FabricError):
    """The fabric has a container of that name."""

    def __init__(self, record: ContainerRecord) -> None:
        where = f"It is on host {record.host}." if record.host else ""
        remedy = (
            "It is connected, so --force does not replace it."
            if record.connected
            else "If it was this host's and is lost, --force takes its place."
        )
        super().__init__(
            f"A container with the name: {record.id} is already member of the cluster. "
            "You can specify a different name as an argument.",
            f"{where} {remedy}".strip(),
        )


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """What somebody says about this host's container."""

    name: str
    profiles: Sequence[str] = PROFILES
    version: str | None = None
    is_managed: bool = True
    force: bool = False
    bind_address: str | None = None
    resolver: str | None = None
    manual_ip: str | None = None
    port_min: int = PORTS[0]
    port_max: int = PORTS[1]
    start_timeout_s: float = START_TIMEOUT_S


def host_name() -> str:
    """Return this host's name as a container's: its first part, without what names must not hold."""
    first = socket.gethostname().partition(".")[0]
    return re.sub(r"[^a-zA-Z0-9_-]", "-", first).lstrip("-_") or "host"


def check_outside(home: Home) -> None:
    """Raise `AlreadyJoined` if this host belongs to a fabric."""
    if home.has_fabric():
        raise AlreadyJoined(home.read_root_name(), home.read_registry_address().zookeeper_url)


def join_fabric(
    home: Home,
    registry: RegistryAddress,
    session: Session,
    options: JoinOptions,
    say: Callable[[str], None],
) -> ContainerRecord:
    """Give this host a container of the fabric, and wait until it is connected.

    Args:
        home: Where it is kept.
        registry: The fabric's, as this host reaches it.
        session: With it.
        options: What is wanted.
        say: Called with each step.

    Returns:
        The container.

    Raises:
        AlreadyJoined, NoSuchPath, NoFabricThere, NameTaken, FabricError: as they say; nothing was changed.
        ContainerNotStarted: the container did not start; what was written is removed.
    """
    validate_container_name(options.name)
    check_outside(home)
    if session.get_or_none(paths.default_version()) is None:
        if path_of(registry.zookeeper_url) and not session.exists("/"):
            raise NoSuchPath(registry.zookeeper_url)
        raise NoFabricThere(registry.zookeeper_url)
    containers, profiles = ContainerStore(session), ProfileStore(session)
    fields = joined_fields(options, registry.zookeeper_url, global_resolver(session))
    version = _version(profiles, options.version, say)
    profiles.check_assignable(options.profiles, version)
    replaced = _check_name(containers, options)
    home.make()
    with contextlib.ExitStack() as undo:
        if replaced:
            say(f"Taking the place of container {options.name}")
            containers.forget(options.name)
        undo.callback(_forget_record, containers, options.name)
        containers.create(
            options.name,
            profiles=options.profiles,
            version=version,
            fields=fields,
            options={"type": "root"},
        )
        undo.callback(forget_fabric, home)
        home.write_registry_address(registry)
        home.write_root_name(options.name)
        undo.callback(stop_process, home.container(options.name))
        say(f"Waiting for container: {options.name}")
        start_process(
            home,
            options.name,
            lambda: is_registered(containers, home, options.name),
            options.start_timeout_s,
        )
        undo.pop_all()
    return containers.get(options.name)


def joined_fields(options: JoinOptions, zookeeper_url: str, policy: str | None) -> dict[str, str]:
    """Return the fields of the container's record.

    It listens everywhere, unless the fabric is one of a single machine, reached over its loopback address.

    Args:
        options: What is wanted.
        zookeeper_url: Where the registry is, as this host reaches it.
        policy: The fabric's resolver for those that name none, if it has one.

    Raises:
        FabricError: the resolver is unknown or lacks its address.
    """
    host, port = first_server(zookeeper_url)
    bind_address = options.bind_address or (LOOPBACK if is_loopback(host) else EVERYWHERE[0])
    wanted = options.resolver or (None if options.manual_ip else policy)
    address = address_fields(bind_address, wanted, options.manual_ip, towards=(host, port))
    managed = {} if options.is_managed else {"managed": "false"}
    return advertised(options.name, {**address, **port_fields(options.port_min, options.port_max), **managed})


def _version(profiles: ProfileStore, named: str | None, say: Callable[[str], None]) -> str:
    if named:
        return profiles.known_version(named)
    version = profiles.default_version()
    say(f"No version specified, using default version: {version}")
    return version


def _check_name(containers: ContainerStore, options: JoinOptions) -> bool:
    """Return whether a container of that name is to be replaced. Raises `NameTaken`."""
    if not containers.exists(options.name):
        return False
    record = containers.get(options.name)
    if not options.force or record.connected:
        raise NameTaken(record)
    return True


def _forget_record(containers: ContainerStore, name: str) -> None:
    with contextlib.suppress(FabricError):
        containers.forget(name)
