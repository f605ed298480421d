"""What has to change in a container: the wanted services against the running ones. Pure.

A service stands for one PID of the effective profile. It is left alone as long as its properties stay the
same: nothing else in the container is disturbed by a change of its neighbour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

Properties = Mapping[str, str]
"""The properties of one PID."""


@dataclass(frozen=True, slots=True)
class Steps:
    """PIDs to stop, then PIDs to start. A PID whose properties changed is in both. Each sorted."""

    stop: tuple[str, ...]
    start: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.stop or self.start)


def service_pids(effective: Mapping[str, Properties], prefixes: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the PIDs that stand for services: those with a factory's prefix. The others only configure."""
    return {pid: dict(properties) for pid, properties in effective.items() if factory_prefix(pid, prefixes)}


def factory_prefix(pid: str, prefixes: Collection[str]) -> str | None:
    """Return the longest prefix that fits the PID, or None.

    A prefix that ends with `-` or `.` fits PIDs that go beyond it, another one the PID that is the same.

    >>> factory_prefix("io.example.server-a", {"io.example.", "io.example.server-"})
    'io.example.server-'
    """
    matching = [
        prefix
        for prefix in prefixes
        if (pid.startswith(prefix) and pid != prefix if prefix.endswith(("-", ".")) else pid == prefix)
    ]
    return max(matching, key=len, default=None)


def reconcile(running: Mapping[str, Properties], wanted: Mapping[str, Properties]) -> Steps:
    """Return the steps from the running services to the wanted ones."""
    changed = {pid for pid in running.keys() & wanted.keys() if running[pid] != wanted[pid]}
    return Steps(
        stop=tuple(sorted((running.keys() - wanted.keys()) | changed)),
        start=tuple(sorted((wanted.keys() - running.keys()) | changed)),
    )
