"""What a randomized run does, round by round, from a seed: pure. And what each fault must not cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

SESSION_TIMEOUT_S = 4.0
"""The fabric's default."""
STALL_TIMEOUT_S = 4.0
"""The broker's default: a store that does not answer for so long costs the mastership."""
TAKEOVER_S = 0.3
"""P5: what a takeover may add to the time in which a host's silence is noticed."""


class Kind(Enum):
    """The faults; the master is who was it when the round began."""

    REGISTRY = "master cut off from ZooKeeper"
    STORE = "master cut off from the store"
    CLIENTS = "master cut off from the clients"
    EVERYTHING = "master cut off from everything"
    ONE_ZOOKEEPER = "one ZooKeeper lost"
    QUORUM = "quorum of ZooKeeper lost"
    MINORITY = "master with the ensemble's minority"
    PAUSE = "master's host paused"
    KILL = "master's host killed"
    LINE = "latency of 200 ms and 5 % loss at the master"
    CLOCK = "master's clock set back an hour"


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised of a fault.

    Attributes:
        moves: whether another broker must become master; None: it may.
        gap_s: the longest that all clients may wait, by DESIGN; None: nothing is promised (they are cut off).
        is_gone: whether the master's container loses its session with the registry.
        said: how the name of what the console is to find wrong begins, while the fault lasts.
    """

    moves: bool | None
    gap_s: float | None
    is_gone: bool = False
    said: str = ""


_NOTICED = SESSION_TIMEOUT_S + TAKEOVER_S
_GONE = Promise(True, _NOTICED, is_gone=True, said="container-down:")

PROMISES = {
    Kind.REGISTRY: _GONE,
    Kind.STORE: Promise(True, STALL_TIMEOUT_S + TAKEOVER_S),
    Kind.CLIENTS: Promise(False, None),
    Kind.EVERYTHING: _GONE,
    Kind.ONE_ZOOKEEPER: Promise(False, TAKEOVER_S, said="zookeeper-server:"),
    Kind.QUORUM: Promise(False, TAKEOVER_S, said="zookeeper-"),
    Kind.MINORITY: _GONE,
    Kind.PAUSE: _GONE,
    Kind.KILL: _GONE,
    Kind.LINE: Promise(None, None),
    Kind.CLOCK: Promise(False, TAKEOVER_S),
}


@dataclass(frozen=True, slots=True)
class Round:
    """One fault.

    Attributes:
        number: counted from 1.
        kind: what happens.
        hold_s: how long it lasts at least.
    """

    number: int
    kind: Kind
    hold_s: float

    @property
    def moves(self) -> bool | None:
        """Whether another broker must become master: not if the fault is over before it is noticed."""
        promised = PROMISES[self.kind].moves
        return promised if self.is_noticed or not promised else None

    @property
    def is_noticed(self) -> bool:
        """Whether the fault lasts so long that its consequences come before its end."""
        return self.hold_s > min(_NOTICED + 2.0, 0.9 * HOLD_S[self.kind]) or self.kind is Kind.KILL

    def __str__(self) -> str:
        return f"{self.kind.value}, {self.hold_s:.1f} s"


HOLD_S = {
    Kind.REGISTRY: 7.0,
    Kind.STORE: 8.0,
    Kind.CLIENTS: 4.0,
    Kind.EVERYTHING: 8.0,
    Kind.ONE_ZOOKEEPER: 3.0,
    Kind.QUORUM: 7.0,
    Kind.MINORITY: 8.0,
    Kind.PAUSE: 8.0,
    Kind.KILL: 1.0,
    Kind.LINE: 6.0,
    Kind.CLOCK: 3.0,
}
"""Of the suite: longer than the session timeout wherever the mastership is to move."""

SHORT_SHARE = 0.25
SHORT_S = (0.2, 3.0)


def suite() -> list[Round]:
    """Each fault once."""
    return [Round(number, kind, HOLD_S[kind]) for number, kind in enumerate(Kind, start=1)]


def random_rounds(seed: int, kinds: tuple[Kind, ...] = tuple(Kind)) -> Iterator[Round]:
    """Rounds without end; each depends on the seed and its number only.

    Every kind comes once in every so many rounds. Some are over before anybody can have noticed.
    """
    number = 0
    while True:
        order = Random(f"{seed}/{number}").sample(kinds, len(kinds))
        for kind in order:
            number += 1
            rng = Random(f"{seed}/{number}/{kind.name}")
            hold_s = HOLD_S[kind] * rng.uniform(0.9, 1.4)
            if rng.random() < SHORT_SHARE and kind is not Kind.KILL:
                hold_s = rng.uniform(*SHORT_S)
            yield Round(number, kind, hold_s)
