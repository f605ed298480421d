"""What a soak does to a fabric, round by round, from a seed: pure. A round can be run again alone."""

from dataclasses import dataclass
from enum import Enum
from random import Random

SESSION_TIMEOUT_S = 4.0
"""The fabric's default; what is shorter is noticed by nobody, what is longer costs the mastership."""
AGENT_PATIENCE_S = 10.0
"""After so much more the agent replaces a frozen process."""


class Kind(Enum):
    """The faults."""

    KILL = "SIGKILL"
    STOP = "container-stop"
    FREEZE = "SIGSTOP"
    ZOOKEEPER = "ZooKeeper killed"
    AGENT = "agent killed"
    FULL = "disk full"


class Victim(Enum):
    """Whom a fault hits: by the role that it had when the round began."""

    MASTER = "master"
    SLAVE = "slave"
    NOBODY = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: what happens.
        victim: to which container, if it is one's.
        hold_s: how long it lasts before it is repaired.
    """

    kind: Kind
    victim: Victim = Victim.NOBODY
    hold_s: float = 0.0

    def __str__(self) -> str:
        words = [self.kind.value, self.victim.value, f"{self.hold_s:.1f} s" if self.hold_s else ""]
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Round:
    """A fault, perhaps a second one while the first lasts, and what is done when all is well again.

    Attributes:
        number: counted from 1.
        first: strikes.
        second: strikes `gap_s` later.
        gap_s: seconds between them.
        gathers: whether the queues that nobody reads are emptied after this round.
    """

    number: int
    first: Fault
    second: Fault | None
    gap_s: float
    gathers: bool

    def __str__(self) -> str:
        if self.second is None:
            return str(self.first)
        return f"{self.first}, after {self.gap_s:.1f} s {self.second}"


_WEIGHTS = {
    Kind.KILL: 30,
    Kind.STOP: 15,
    Kind.FREEZE: 18,
    Kind.ZOOKEEPER: 18,
    Kind.AGENT: 5,
    Kind.FULL: 14,
}

_TOGETHER = {
    Kind.KILL: (Kind.KILL, Kind.STOP, Kind.FREEZE, Kind.ZOOKEEPER),
    Kind.STOP: (Kind.KILL, Kind.FREEZE),
    Kind.FREEZE: (Kind.KILL, Kind.ZOOKEEPER),
    Kind.ZOOKEEPER: (Kind.KILL, Kind.FREEZE),
    Kind.AGENT: (Kind.KILL, Kind.FREEZE),
    Kind.FULL: (Kind.KILL, Kind.STOP, Kind.FREEZE, Kind.ZOOKEEPER),
}
"""What may strike while another fault lasts. The commands need ZooKeeper, so nothing stops without it."""

SECOND_SHARE = 0.4
GATHER_SHARE = 0.25


def plan_round(seed: int, number: int, *, can_fill: bool = True, kind: Kind | None = None) -> Round:
    """The round of this number; it depends on the seed and the number, not on other rounds.

    Args:
        seed: any.
        number: from 1.
        can_fill: whether the store lies on a disk that may be filled.
        kind: its first fault; None: chosen.
    """
    rng = Random(f"{seed}/{number}")
    kinds = [each for each in _WEIGHTS if can_fill or each is not Kind.FULL]
    chosen = rng.choices(kinds, [_WEIGHTS[each] for each in kinds])[0]
    first = _fault(rng, kind or chosen, Victim.NOBODY)
    second = None
    if rng.random() < SECOND_SHARE:
        second = _fault(rng, rng.choice(_TOGETHER[first.kind]), first.victim)
    return Round(number, first, second, rng.uniform(0.0, 2.0), rng.random() < GATHER_SHARE)


def _fault(rng: Random, kind: Kind, taken: Victim) -> Fault:
    victim = rng.choices([Victim.MASTER, Victim.SLAVE], [3, 1])[0]
    if victim is taken:
        victim = Victim.SLAVE if taken is Victim.MASTER else Victim.MASTER
    match kind:
        case Kind.KILL:
            return Fault(kind, victim)
        case Kind.STOP:
            return Fault(kind, victim, rng.uniform(0.0, 2.0))
        case Kind.FREEZE:
            return Fault(kind, victim, _freeze_s(rng))
        case Kind.ZOOKEEPER:
            short, long = rng.uniform(0.0, 3.0), rng.uniform(SESSION_TIMEOUT_S + 1, SESSION_TIMEOUT_S + 5)
            return Fault(kind, hold_s=short if rng.random() < 0.6 else long)
        case Kind.AGENT:
            return Fault(kind, hold_s=rng.uniform(0.0, 3.0))
        case Kind.FULL:
            return Fault(kind, hold_s=rng.uniform(0.5, 3.0))


def _freeze_s(rng: Random) -> float:
    """Mostly longer than the session lives; sometimes too short to be noticed, or until it is replaced."""
    share = rng.random()
    if share < 0.25:
        return rng.uniform(0.2, 2.0)
    if share < 0.9:
        return rng.uniform(SESSION_TIMEOUT_S + 1, SESSION_TIMEOUT_S + 4)
    return SESSION_TIMEOUT_S + AGENT_PATIENCE_S + rng.uniform(1.0, 3.0)
