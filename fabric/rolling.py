"""Changing containers one after the other, so that their brokers go on serving.

Of each broker the slaves go first and the master last: it is taken over once, by a slave that was changed.
After each container it is waited until that is what it should be and each of its brokers is as complete as
before. Everything here blocks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fabric.clusters import ClusterRow, group_members, read_members
from fabric.errors import FabricError
from fabric.records import ERROR, RESTART_REQUESTED, SUCCESS, ContainerRecord, DesiredState
from fabric.store import ContainerStore, ProfileStore
from registry import paths

if TYPE_CHECKING:
    from registry.session import Session

STEP_TIMEOUT_S: Final = 120.0
"""For one container: its start and that of its brokers; a slave reads the whole journal first."""
ERROR_PATIENCE_S: Final = 6.0
"""So long a container may report an error: what could not be started is tried again after 1, 2 and 4 s."""
LOOK_AGAIN_S: Final = 0.2

BrokerId = tuple[str, str]
"""The path of its group, and its name."""


class RollingStopped(FabricError):
    """A container did not come back as it should, and the others were left alone."""


@dataclass(frozen=True, slots=True)
class Brokers:
    """Who runs which brokers at one moment."""

    rows: Mapping[BrokerId, ClusterRow]

    def of(self, container: str) -> frozenset[BrokerId]:
        """The brokers that a container is a ready member of."""
        return frozenset(key for key, row in self.rows.items() if container in _ready(row))

    def led_by(self, container: str) -> frozenset[BrokerId]:
        """The brokers that it is master of."""
        return frozenset(key for key, row in self.rows.items() if container in row.masters)

    def successors(self, key: BrokerId) -> frozenset[str]:
        """The containers that could take a broker over."""
        return (
            frozenset(_ready(self.rows[key])) - set(self.rows[key].masters)
            if key in self.rows
            else frozenset()
        )

    def heir(self, key: BrokerId) -> str:
        """The container that would take a broker over now; empty if none could."""
        waiting = [member for member in self.rows[key].members if member.ready and not member.serving]
        return waiting[0].container if waiting else ""


def _ready(row: ClusterRow) -> list[str]:
    return [member.container for member in row.members if member.ready]


def read_brokers(session: Session) -> Brokers:
    """Who runs which brokers now."""
    rows = group_members(read_members(session, paths.amq_groups()))
    return Brokers({(row.cluster, row.id): row for row in rows})


def next_container(left: Iterable[str], brokers: Brokers, records: Mapping[str, ContainerRecord]) -> str:
    """Whose turn it is: slaves first, roots after children, host after host.

    Of several masters first the one whose brokers fall to containers that are done: they do not fall again.
    """
    waiting = set(left)

    def place(name: str) -> tuple[bool, int, int, bool, str, str]:
        record, led = records[name], brokers.led_by(name)
        again = sum(brokers.heir(key) in waiting for key in led)
        return bool(led), again, len(led), record.parent is None, record.host or "", name

    return min(waiting, key=place)


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to each container.

    Attributes:
        verb: for people: `Upgrading`.
        begin: begins it, and returns what says whether the container has become what it should be.
        undo: what takes it back, given the containers that were changed; empty: nothing does.
    """

    verb: str
    begin: Callable[[str], Callable[[ContainerRecord], bool]]
    undo: Callable[[Sequence[str]], str] = lambda names: ""


class Rolling:
    """One round over some containers.

    Args:
        session: with the registry.
        change: what is done to each.
        say: told of the progress.
        timeout_s: for one container.
        pause_s: between two of them.
        wait: waits so many seconds; a test passes the time itself.
        now_s: monotonic.
    """

    def __init__(
        self,
        session: Session,
        change: Change,
        say: Callable[[str], None],
        *,
        timeout_s: float = STEP_TIMEOUT_S,
        pause_s: float = 0.0,
        wait: Callable[[float], object] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._containers = ContainerStore(session)
        self._change = change
        self._say = say
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._wait = wait or threading.Event().wait
        self._now_s = now_s
        self.done: list[str] = []

    def run(self, names: Sequence[str]) -> list[str]:
        """Change all of them; returns them in the order they were changed.

        Raises:
            RollingStopped: one did not come back, or its brokers did not; those after it are as before.
        """
        left = list(names)
        while left:
            records = {name: self._containers.get(name) for name in left}
            brokers = read_brokers(self._session)
            name = next_container(left, brokers, records)
            left.remove(name)
            self._say(f"{self._change.verb} container {name} ({len(self.done) + 1} of {len(names)})")
            self._one(name, records[name], brokers, left)
            self.done.append(name)
            if left and self._pause_s:
                self._wait(self._pause_s)
        return self.done

    def _one(self, name: str, record: ContainerRecord, before: Brokers, left: Collection[str]) -> None:
        for key in sorted(before.led_by(name)):
            if before.successors(key):
                self._say(
                    f"  broker {key[1]} is taken over by one of: {', '.join(sorted(before.successors(key)))}"
                )
            elif record.connected:
                self._say(f"  broker {key[1]} has no slave: its clients wait until the container is back")
        runs = record.connected or record.desired is DesiredState.STARTED
        is_changed = self._change.begin(name)
        if not runs:
            self._say(f"  container {name} is stopped: it is changed when it starts")
            return
        expected = before.of(name)
        begun_s = self._now_s()
        error_since_s: float | None = None
        while True:
            now = self._containers.get(name)
            lacks = self._lacks(now, is_changed, expected)
            if not lacks:
                self._say(f"  container {name} is back after {self._now_s() - begun_s:.1f} s")
                return
            has_error = now.connected and now.provision.result == ERROR
            error_since_s = (
                (error_since_s if error_since_s is not None else self._now_s()) if has_error else None
            )
            failed = error_since_s is not None and self._now_s() - error_since_s >= ERROR_PATIENCE_S
            if failed or self._now_s() - begun_s >= self._timeout_s:
                raise self._stopped(name, now.provision.status if failed else lacks, left)
            self._wait(LOOK_AGAIN_S)

    def _lacks(
        self,
        record: ContainerRecord,
        is_changed: Callable[[ContainerRecord], bool],
        expected: Iterable[BrokerId],
    ) -> str:
        """What is missing until a container counts as back; empty: nothing."""
        if not record.connected:
            return "it is not connected"
        if not is_changed(record) or record.provision.result != SUCCESS:
            return f"its provision status is: {record.provision.status}"
        brokers = read_brokers(self._session)
        for key in sorted(expected):
            row = brokers.rows.get(key)
            if row is None or record.id not in _ready(row):
                return f"it is not a ready member of broker {key[1]} again"
            if not row.masters:
                return f"broker {key[1]} has no master"
        return ""

    def _stopped(self, name: str, reason: str, left: Collection[str]) -> RollingStopped:
        touched = [*self.done, name]
        return RollingStopped(
            f"Container {name} is not back after its change: {reason.removesuffix('.')}. "
            f"Done before it: {', '.join(self.done) or 'none'}. "
            f"Left alone: {', '.join(sorted(left)) or 'none'}.",
            " ".join(
                text for text in (f"See: fabric container-info {name}", self._change.undo(touched)) if text
            ),
        )


def restarted(session: Session) -> Change:
    """Begin the process of each container anew, with the package that is installed on its host."""
    containers = ContainerStore(session)

    def begin(name: str) -> Callable[[ContainerRecord], bool]:
        before = containers.alive(name)
        ask_restart(containers, name)
        return lambda record: (
            record.alive is not None and (before is None or record.alive.started_at != before.started_at)
        )

    return Change("Restarting", begin)


def ask_restart(containers: ContainerStore, name: str) -> None:
    """Ask a container to begin its process anew, and wait for nothing. Raises `ContainerNotFound`."""
    containers.check_exists(name)
    containers.set_field(name, RESTART_REQUESTED, str(time.time_ns()))


def moved(session: Session, version: str, move: Callable[[str], str], *, verb: str, back: str) -> Change:
    """Move each container to another version of its profiles.

    Args:
        session: with the registry.
        version: where to.
        move: does it, and returns the version before.
        verb: for people.
        back: the command that takes it back.
    """
    containers, profiles = ContainerStore(session), ProfileStore(session)
    earlier: dict[str, str] = {}

    def begin(name: str) -> Callable[[ContainerRecord], bool]:
        path = paths.container_provision(name, "result")
        node = session.get_or_none(path)
        written = node.version if node is not None else -1
        before, ids = containers.version(name), containers.profiles(name)
        earlier[name] = move(name)
        if before == version or profiles.overlay(ids, before) == profiles.overlay(ids, version):
            return lambda record: True  # its agent has nothing to do, and says nothing

        def is_changed(record: ContainerRecord) -> bool:
            node = session.get_or_none(path)
            return node is not None and node.version > written

        return is_changed

    def undo(names: Sequence[str]) -> str:
        by_version: dict[str, list[str]] = {}
        for name in names:
            by_version.setdefault(earlier.get(name, ""), []).append(name)
        commands = [
            f"fabric {back} --rolling {old} {' '.join(moved_back)}"
            for old, moved_back in by_version.items()
            if old and old != version
        ]
        return f"To take it back: {'; '.join(commands)}" if commands else ""

    return Change(verb, begin, undo)
