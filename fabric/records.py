"""What the registry says about a container, as typed records."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

NOT_PROVISIONED = "not provisioned"
SUCCESS = "success"
ERROR = "error"
STOPPED = "stopped"

CONTAINER_TYPE = "fabric"
"""What the original calls `karaf`: the kind of process a container is."""

START_REQUESTED = "start-requested"
"""Field of a container's configuration: when its start was last asked for, in nanoseconds since 1970. Whoever
waits to start a crashed one again does it at once."""


RESTART_REQUESTED = "restart-requested"
"""Field of a container's configuration: when a restart of its process was last asked for, likewise."""


class DesiredState(Enum):
    """What a container is asked to be; its parent's agent starts and stops it accordingly."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Alive:
    """The process behind a connected container."""

    pid: int
    host: str
    started_at: float
    """Seconds since the epoch."""
    software: str = ""
    """Version of this package whose code it runs; empty if it does not say."""


@dataclass(frozen=True, slots=True)
class Provision:
    """How far a container has got in becoming what its profiles ask for."""

    result: str = ""
    """`analyzing`, …, `success`, `error`, `stopping`, `stopped`; empty before the first attempt."""
    exception: str = ""
    """Why it failed, whose first line is for lists; or, with `success`, what is incomplete all the same."""
    services: tuple[str, ...] = ()
    """What runs, one entry per PID."""

    @property
    def status(self) -> str:
        """The provision status as lists show it."""
        if not self.result:
            return NOT_PROVISIONED
        if self.result == ERROR and self.exception:
            return f"{ERROR} - {self.exception.splitlines()[0]}"
        return self.result


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """Everything the registry knows about one container."""

    id: str
    version: str = ""
    profiles: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    """The fields of its configuration: `parent`, `ip`, `resolver`, `desired`, … as text."""
    alive: Alive | None = None
    provision: Provision = Provision()

    @property
    def connected(self) -> bool:
        """Whether its process holds a session with the registry."""
        return self.alive is not None

    @property
    def parent(self) -> str | None:
        """The container whose agent runs it; None for a root container."""
        return self.fields.get("parent") or None

    @property
    def host(self) -> str | None:
        """The host it runs on, or ran on as far as is known."""
        if self.alive:
            return self.alive.host
        return self.fields.get("host") or self.fields.get("localhostname")

    @property
    def is_managed(self) -> bool:
        """Whether its agent runs what its profiles ask for; it is only connected otherwise."""
        return self.fields.get("managed") != "false"

    @property
    def status(self) -> str:
        """How far it has got, as lists show it; nothing is asked of one that is not managed."""
        return self.provision.status if self.is_managed else ""

    @property
    def desired(self) -> DesiredState:
        """Whether it is asked to run."""
        stopped = self.fields.get("desired") == DesiredState.STOPPED.value
        return DesiredState.STOPPED if stopped else DesiredState.STARTED

    @property
    def options(self) -> dict[str, Any]:
        """What it was created with; empty if that cannot be read."""
        try:
            options = json.loads(self.fields.get("options") or "{}")
        except ValueError:
            return {}
        return options if isinstance(options, dict) else {}

    @property
    def is_by_ssh(self) -> bool:
        """Whether it was made by ssh, and its host can be reached so."""
        return self.options.get("type") == "ssh"

    def to_json(self) -> dict[str, Any]:
        """The record for people's scripts."""
        return {
            "id": self.id,
            "version": self.version,
            "parent": self.parent,
            "connected": self.connected,
            "desired": self.desired.value,
            "profiles": list(self.profiles),
            "host": self.host,
            "provision_status": self.status,
            "pid": self.alive.pid if self.alive else None,
            "software": self.alive.software if self.alive else None,
        }


def as_tree(records: Iterable[ContainerRecord]) -> list[tuple[ContainerRecord, int]]:
    """Return the containers with their level, each parent before its children, sorted by name."""
    by_parent: dict[str | None, list[ContainerRecord]] = {}
    ordered = sorted(records, key=lambda record: record.id)
    shown = {record.id for record in ordered}
    for record in ordered:
        by_parent.setdefault(record.parent if record.parent in shown else None, []).append(record)

    def below(parent: str | None, level: int) -> list[tuple[ContainerRecord, int]]:
        found = []
        for record in by_parent.get(parent, []):
            found += [(record, level), *below(record.id, level + 1)]
        return found

    return below(None, 0)
