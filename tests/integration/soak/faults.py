"""What each fault does to the fabric, and how it is repaired."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

from integration.soak.plan import Fault, Kind, Round
from integration.soak.rig import ROOT, Rig
from integration.soak.traffic import Traffic
from support.waiting import wait_until

ROLES_TIMEOUT_S = 30.0
"""A slow machine may have moved the mastership since the last round."""

Struck = contextlib.AbstractContextManager[None]
"""A fault that lasts: entered when it strikes, left when it is repaired."""


class Faults:
    """Carries a round out.

    Attributes:
        notes: what was seen and is no violation, for the summary: how often a flood was held, or refused.
        violations: what a fault itself saw broken.
    """

    def __init__(self, rig: Rig, traffic: Traffic) -> None:
        self._rig = rig
        self._traffic = traffic
        self._masters: list[str] = []
        self._slaves: list[str] = []
        self.notes: dict[str, int] = {}
        self.violations: list[str] = []
        self._doing: dict[Kind, Callable[[Fault], Struck]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.FREEZE: self._freeze,
            Kind.ZOOKEEPER: self._zookeeper,
            Kind.AGENT: self._agent,
            Kind.FULL: self._full,
        }

    def carry_out(self, one: Round) -> None:
        """Strike, strike again, hold, repair. Returns when everything is repaired, not yet recovered."""
        self._masters, self._slaves = wait_until(self._rig.roles, ROLES_TIMEOUT_S, "one master")
        with self._doing[one.first.kind](one.first):
            if one.second is not None:
                pause(one.gap_s)
                with self._doing[one.second.kind](one.second):
                    pause(one.second.hold_s)
            pause(one.first.hold_s)

    def _name(self, fault: Fault) -> str:
        return self._rig.victim(fault.victim, self._masters, self._slaves)

    @contextlib.contextmanager
    def _kill(self, fault: Fault) -> Iterator[None]:
        """The agent restarts what was killed; see `Rig.wait_settled`."""
        process = self._rig.signal(self._name(fault), signal.SIGKILL)
        if process is not None:
            self._rig.wait_gone(process)
        yield

    @contextlib.contextmanager
    def _stop(self, fault: Fault) -> Iterator[None]:
        name = self._name(fault)
        self._rig.commands.run("fabric", "container-stop", name)
        try:
            yield
        finally:
            self._rig.commands.run("fabric", "container-start", name)

    @contextlib.contextmanager
    def _freeze(self, fault: Fault) -> Iterator[None]:
        name = self._name(fault)
        frozen = self._rig.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            if frozen == self._rig.process(name):  # else its agent has replaced it
                self._rig.signal(name, signal.SIGCONT)

    @contextlib.contextmanager
    def _zookeeper(self, fault: Fault) -> Iterator[None]:
        del fault
        self._rig.zookeeper.kill()
        try:
            yield
        finally:
            self._rig.restart_zookeeper()

    @contextlib.contextmanager
    def _agent(self, fault: Fault) -> Iterator[None]:
        """The root container's process dies: its children go on, and are adopted by the next one."""
        del fault
        process = self._rig.signal(ROOT, signal.SIGKILL)
        if process is not None:
            self._rig.wait_gone(process)
        try:
            yield
        finally:
            self._rig.commands.run("fabric", "container-start", ROOT)

    @contextlib.contextmanager
    def _full(self, fault: Fault) -> Iterator[None]:
        """Producers are held or refused, consumers go on, and all go on by themselves when there is space."""
        del fault
        flood = self._traffic.flood()
        self._rig.disk.fill()
        try:
            taken = not flood.rise()
            yield
            if taken:
                self._count("floods taken")
            else:
                self._count("floods refused" if flood.is_refused else "floods held")
            if not flood.drain():
                self.violations.append("with a full disk, what was acknowledged could not be received")
        finally:
            self._rig.disk.free()
        flood.ebb()

    def _count(self, what: str) -> None:
        self.notes[what] = self.notes.get(what, 0) + 1


def pause(seconds: float) -> None:
    """A fault lasts as long as the plan says; there is nothing to wait for."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 5)
