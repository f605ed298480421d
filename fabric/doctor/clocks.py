"""Clocks: expiry, delays and certificates go by them; who is master does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdict, Verdicts, ok, problem, warning
from fabric.health import CLOCKS_APART_S_MAX
from registry import paths

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

APART_S_WARNING: Final = 1.0
"""A clock that is kept by NTP is off by milliseconds: a second says that nobody keeps it."""
MEND: Final = "Let NTP keep it: install chrony, or `timedatectl set-ntp true`."


def zookeeper_clock(scene: Scene) -> Verdicts:
    """This host's clock against the time ZooKeeper stamps on a znode that is made now."""
    before_s = scene.machine.now_s()
    path = scene.session.create(paths.doctor_clock(), ephemeral=True, sequential=True)
    after_s = scene.machine.now_s()
    node = scene.session.get(path)
    scene.session.delete(path, missing_ok=True)
    doubt_s = max(0.0, (after_s - before_s) / 2)
    ahead_s = (before_s + after_s) / 2 - node.ctime_ms / 1000
    yield verdict_of(f"The clock of this host, {scene.machine.name},", ahead_s, doubt_s)


def container_clocks(scene: Scene) -> Verdicts:
    """The clocks of the other hosts, as their containers told them, against ZooKeeper's."""
    by_host = {facts.host: facts.ahead_s for facts in scene.facts.values()}
    by_host.pop(scene.machine.name, None)
    for host, ahead_s in sorted(by_host.items()):
        yield verdict_of(f"The clock of host {host}", ahead_s)
    if not by_host:
        yield ok("No container runs on another host.")


def verdict_of(clock: str, ahead_s: float, doubt_s: float = 0.0) -> Verdict:
    """What a clock's difference means; what could be due to the way it was asked does not count."""
    sure_s = max(0.0, abs(ahead_s) - doubt_s)
    direction = "ahead of" if ahead_s > 0 else "behind"
    what = f"{clock} is {abs(ahead_s):.1f} s {direction} that of ZooKeeper's leader."
    if sure_s > CLOCKS_APART_S_MAX:
        return problem(f"{what} Messages expire and are delivered wrongly by as much.", MEND)
    if sure_s > APART_S_WARNING:
        return warning(what, MEND)
    return ok(f"{clock} agrees with that of ZooKeeper's leader.")


CHECKS: Final = (
    Check("clock.zookeeper", "this host's clock against ZooKeeper's", zookeeper_clock, needs_registry=True),
    Check("clock.hosts", "other hosts' clocks against ZooKeeper's", container_clocks, needs_registry=True),
)
