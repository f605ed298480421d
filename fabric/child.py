"""One child container as its parent sees it: a pure state machine.

Inputs and the time go in, actions come out; `fabric.children` carries them out.

    STOPPED ──WANTED──▶ RUNNING ──UNREGISTERED──▶ MISSING ──(10 s)──▶ KILLING
       ▲                │  ▲ ▲ ◀───REGISTERED────────┘                   │
       │           EXITED  │ └──── EXITED ── RESTARTING ◀─WANTED─┐     EXITED
       │                ▼  │                                     │       ▼
       │             BACKING_OFF ◀───────────────────────────────┼── (as RUNNING)
       └───EXITED─── STOPPING ◀──UNWANTED── (any with a process)─┘

The table `_TRANSITIONS` is complete: an input without a row changes nothing.
"""

from __future__ import annotations

from enum import Enum, auto

STOP_GRACE_S = 10.0
"""From SIGTERM to SIGKILL: a broker syncs and closes its journal meanwhile. The original waited a minute."""

FROZEN_GRACE_S = 10.0
"""From a lost session to SIGKILL: a process that wakes within it lives on (fenced, as a slave)."""

RESTART_DELAY_MIN_S = 0.5
RESTART_DELAY_MAX_S = 30.0
"""The wait after a crash doubles from the one to the other."""

STABLE_AFTER_S = 60.0
"""A process that lived this long has started well: the next crash waits the shortest delay again."""


class ChildState(Enum):
    """What is known of the child's process."""

    STOPPED = auto()  # no process, none wanted
    RUNNING = auto()  # a process, perhaps still starting
    MISSING = auto()  # a process whose session has expired: frozen, or cut off
    KILLING = auto()  # it was frozen for too long, SIGKILL is sent
    STOPPING = auto()  # SIGTERM is sent
    RESTARTING = auto()  # SIGTERM is sent, but it is wanted again
    BACKING_OFF = auto()  # no process, the next one starts at the deadline


class ChildInput(Enum):
    """What can happen."""

    WANTED = auto()  # the desired state is `started`
    REQUESTED = auto()  # somebody asks for a start now, whatever was desired before
    UNWANTED = auto()  # the desired state is `stopped`, or the container is deleted
    ADOPTED = auto()  # a process from before our own start was found running
    EXITED = auto()  # the process has ended, or could not be started
    REGISTERED = auto()  # its `alive` znode is there
    UNREGISTERED = auto()  # its `alive` znode is gone, says a registry we are connected to
    REGISTRY_LOST = auto()  # we do not see the registry: what we know of `alive` is void
    DEADLINE = auto()  # the time `deadline_s` has come


class ChildAction(Enum):
    """What has to be done, in the order returned."""

    SPAWN = auto()
    TERMINATE = auto()  # SIGTERM
    KILL = auto()  # SIGKILL
    CLOSE_SESSION = auto()  # of the dead process, so that its ephemeral znodes go at once
    REPORT_CRASH = auto()
    REPORT_FROZEN = auto()
    REPORT_STOPPED = auto()


_S, _I, _A = ChildState, ChildInput, ChildAction

_CRASHED = (_S.BACKING_OFF, (_A.CLOSE_SESSION, _A.REPORT_CRASH))
_TERMINATED = (_S.STOPPING, (_A.TERMINATE,))

_TRANSITIONS: dict[tuple[ChildState, ChildInput], tuple[ChildState, tuple[ChildAction, ...]]] = {
    (_S.STOPPED, _I.WANTED): (_S.RUNNING, (_A.SPAWN,)),
    (_S.STOPPED, _I.ADOPTED): (_S.RUNNING, ()),
    (_S.RUNNING, _I.UNWANTED): _TERMINATED,
    (_S.RUNNING, _I.EXITED): _CRASHED,
    (_S.RUNNING, _I.UNREGISTERED): (_S.MISSING, ()),
    (_S.MISSING, _I.REGISTERED): (_S.RUNNING, ()),
    (_S.MISSING, _I.REGISTRY_LOST): (_S.RUNNING, ()),
    (_S.MISSING, _I.UNWANTED): _TERMINATED,
    (_S.MISSING, _I.EXITED): _CRASHED,
    (_S.MISSING, _I.DEADLINE): (_S.KILLING, (_A.KILL, _A.REPORT_FROZEN)),
    (_S.KILLING, _I.UNWANTED): (_S.STOPPING, ()),
    (_S.KILLING, _I.EXITED): (_S.BACKING_OFF, (_A.CLOSE_SESSION,)),
    (_S.STOPPING, _I.WANTED): (_S.RESTARTING, ()),
    (_S.STOPPING, _I.DEADLINE): (_S.STOPPING, (_A.KILL,)),
    (_S.STOPPING, _I.EXITED): (_S.STOPPED, (_A.CLOSE_SESSION, _A.REPORT_STOPPED)),
    (_S.RESTARTING, _I.UNWANTED): (_S.STOPPING, ()),
    (_S.RESTARTING, _I.DEADLINE): (_S.RESTARTING, (_A.KILL,)),
    (_S.RESTARTING, _I.EXITED): (_S.RUNNING, (_A.CLOSE_SESSION, _A.SPAWN)),
    (_S.BACKING_OFF, _I.UNWANTED): (_S.STOPPED, (_A.REPORT_STOPPED,)),
    (_S.BACKING_OFF, _I.DEADLINE): (_S.RUNNING, (_A.SPAWN,)),
    (_S.BACKING_OFF, _I.REQUESTED): (_S.RUNNING, (_A.SPAWN,)),
}

_STOP_STATES = frozenset({_S.STOPPING, _S.RESTARTING})


class ChildMachine:
    """The states of one child.

    Attributes:
        state: see `ChildState`.
        deadline_s: when DEADLINE is due, or None.
        restart_delay_s: the wait that the last crash brought.
    """

    def __init__(self) -> None:
        self.state = ChildState.STOPPED
        self.deadline_s: float | None = None
        self.restart_delay_s = 0.0
        self._running_since_s = 0.0
        self._was_registered = False

    def handle(self, event: ChildInput, now_s: float) -> tuple[ChildAction, ...]:
        """Take one input; return what has to be done."""
        if event is _I.REGISTERED:
            self._was_registered = True
        elif event is _I.UNREGISTERED and not self._was_registered:
            return ()  # it is still starting
        transition = _TRANSITIONS.get((self.state, event))
        if transition is None:
            return ()
        before, (self.state, actions) = self.state, transition
        self._enter(before, event, now_s)
        return actions

    def _enter(self, before: ChildState, event: ChildInput, now_s: float) -> None:
        if self.state is _S.RUNNING and before in {_S.STOPPED, _S.BACKING_OFF, _S.RESTARTING}:
            self._running_since_s = now_s
            self._was_registered = event is _I.ADOPTED
            if event is _I.REQUESTED:  # whoever asks may have mended it
                self.restart_delay_s = 0.0
        if self.state in _STOP_STATES:
            if before not in _STOP_STATES or event is _I.DEADLINE:
                self.deadline_s = now_s + STOP_GRACE_S
        elif self.state is _S.MISSING:
            self.deadline_s = now_s + FROZEN_GRACE_S
        elif self.state is _S.BACKING_OFF:
            self.restart_delay_s = self._next_delay_s(now_s)
            self.deadline_s = now_s + self.restart_delay_s
        else:
            self.deadline_s = None

    def _next_delay_s(self, now_s: float) -> float:
        if self.restart_delay_s == 0 or now_s - self._running_since_s >= STABLE_AFTER_S:
            return RESTART_DELAY_MIN_S
        return min(self.restart_delay_s * 2, RESTART_DELAY_MAX_S)
