"""What a container says about its host beyond its profiles: for `fabric doctor`, which sees one host only.

The clock is compared with the time that ZooKeeper stamps on the znode; the stores' ids with those that the
other containers of the same brokers see.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from fabric.software import SOFTWARE
from fabric.znodes import read_children
from registry import paths

if TYPE_CHECKING:
    from registry.session import Session

INTERVAL_S: Final = 60.0
"""How often a container says it again: one small write."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """A store as a container sees it.

    Attributes:
        group: of the broker.
        broker: its name.
        directory: its path on that host.
        id: see `journal.identity`; empty: nothing is in it.
        problem: why it could not be read; empty: it could.
    """

    group: str
    broker: str
    directory: str
    id: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What one container said.

    Attributes:
        host: where it runs.
        software: version of this package.
        python: version of the interpreter.
        clock_s: seconds since 1970, by its host's clock, when it wrote this.
        stores: of its brokers.
        ahead_s: how far its clock was ahead of ZooKeeper's; known to who reads it only.
    """

    host: str
    software: str
    python: str
    clock_s: float
    stores: tuple[StoreFacts, ...] = ()
    ahead_s: float = 0.0


def own_facts(host: str, now_s: float, stores: Sequence[StoreFacts]) -> ContainerFacts:
    """What this process says."""
    return ContainerFacts(host, SOFTWARE, platform.python_version(), now_s, tuple(stores))


def write_facts(
    session: Session, container: str, host: str, stores: Sequence[StoreFacts], now: Callable[[], float]
) -> None:
    """Write what this process says about its host (blocking)."""
    content = asdict(own_facts(host, now(), stores))
    del content["ahead_s"]
    session.put(paths.container_facts(container), json.dumps(content).encode())


def read_facts(session: Session) -> dict[str, ContainerFacts]:
    """What all containers said last, by name; what cannot be understood is left out (blocking)."""
    found = {}
    for name in read_children(session, paths.containers_status()):
        node = session.get_or_none(paths.container_facts(name))
        facts = _parse(node.data, node.mtime_ms) if node is not None else None
        if facts is not None:
            found[name] = facts
    return found


def _parse(data: bytes, written_ms: int) -> ContainerFacts | None:
    try:
        content = json.loads(data)
        stores = tuple(
            StoreFacts(*(str(store[name]) for name in ("group", "broker", "directory", "id", "problem")))
            for store in content["stores"]
        )
        clock_s = float(content["clock_s"])
        texts = [str(content[name]) for name in ("host", "software", "python")]
    except (ValueError, TypeError, KeyError):
        return None
    return ContainerFacts(texts[0], texts[1], texts[2], clock_s, stores, clock_s - written_ms / 1000)
