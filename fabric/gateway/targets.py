"""Where clients can be led: what the registry says of the masters, and whether they can be reached. Pure.

One url of one master::

                 due                       reached
    untried ────────────▶ being tried ───────────────────▶ up
       ▲                      ▲   │ not reached             │ a client was not let in
       │                  due │   ▼                         │
       │                     down ◀─────────────────────────┤
       └──── another url of its container has failed, or the group is empty

Clients are led to what is up, and nowhere else. A url that has left the registry takes no new clients; those
that are there are dropped as soon as another master of the same broker is up, since they belong there, and
after `LEFT_GRACE_S` in any case: a broker that has lost its session and serves on is back before that.
What the registry does not say, such as during an outage, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from fabric.gateway.balance import Balance
from registry.discovery import Master

LEFT_GRACE_S: Final = 2.0
"""A master that has lost its session joins again at once; half of a session timeout is enough."""
RETRY_S_MIN: Final = 0.1
RETRY_S_MAX: Final = 2.0
"""A url that cannot be reached is tried again after the one, doubling to the other."""
TARGETS_MAX: Final = 1000
"""Of one gateway; more are ignored. A group has a few brokers, each of them a handful of connectors."""


class Health(Enum):
    """Whether a target can be reached."""

    UNTRIED = "untried"
    TRYING = "trying"
    UP = "up"
    DOWN = "down"


@dataclass(slots=True, eq=False)
class Target:
    """One url of one master.

    Attributes:
        broker, container: whose it is.
        url: as it is published.
        scheme, host, port: its parts.
        health: see `Health`.
        connections: clients that are there or on their way.
        left_s: when it left the registry; None: it is there.
        due_s: when it is tried.
        delay_s: from this try to the next.
    """

    broker: str
    container: str
    url: str
    scheme: str
    host: str
    port: int
    health: Health = Health.UNTRIED
    connections: int = 0
    left_s: float | None = None
    due_s: float = 0.0
    delay_s: float = RETRY_S_MIN


@dataclass(frozen=True, slots=True)
class _Choice:
    """A broker with a url that fits a client. See `fabric.gateway.balance.Candidate`."""

    broker: str
    connections: int
    target: Target


class Targets:
    """All targets of one gateway.

    Args:
        balance: chooses among masters.
        leads_to: whether clients are led to a broker of this name.
        schemes: of urls that any client can be led to.
    """

    def __init__(self, balance: Balance, leads_to: Callable[[str], bool], schemes: Collection[str]) -> None:
        self._balance = balance
        self._leads_to = leads_to
        self._schemes = frozenset(schemes)
        self._targets: dict[tuple[str, str], Target] = {}  # by broker and url, in the order of the masters
        self._lacking_since_s: float | None = None
        self._lacked_s = 0.0

    def __iter__(self) -> Iterator[Target]:
        """All that are in the registry, in the order of their masters."""
        return (target for target in self._targets.values() if target.left_s is None)

    # ---- what happens

    def begin(self, now_s: float) -> None:
        """From now on a missing master counts."""
        self._lacking_since_s = now_s

    def set_masters(self, masters: Iterable[Master], now_s: float) -> None:
        """The registry says that these are the masters, and nobody else."""
        before, self._targets = self._targets, {}
        for master in masters:
            if self._leads_to(master.broker):
                for url in master.urls:
                    self._add(master, url, before, now_s)
        for key, target in before.items():
            if key in self._targets:
                continue
            target.left_s = now_s if target.left_s is None else target.left_s
            if target.connections:
                self._targets[key] = target
        self._account(now_s)

    def _add(self, master: Master, url: str, before: dict[tuple[str, str], Target], now_s: float) -> None:
        key = master.broker, url
        known = before.get(key)
        if known is None or known.container != master.container:
            known = _read(master, url, now_s) if len(self._targets) < TARGETS_MAX else None
        elif known.left_s is not None:
            known.left_s = None
            known.health, known.due_s, known.delay_s = Health.UNTRIED, now_s, RETRY_S_MIN
        if known is not None and known.scheme in self._schemes:
            self._targets[key] = known

    def doubt(self, now_s: float, container: str | None = None) -> None:
        """Try again what is up, of a container that has let a client down or of all: they may be gone."""
        for target in self:
            if target.health is Health.UP and (container or target.container) == target.container:
                target.health, target.due_s = Health.UNTRIED, now_s
        self._account(now_s)

    def due(self, now_s: float) -> list[Target]:
        """Those to be tried now; `tried` has to follow for each."""
        found = [
            target
            for target in self
            if target.health in (Health.UNTRIED, Health.DOWN) and target.due_s <= now_s
        ]
        for target in found:
            target.health = Health.TRYING
        return found

    def tried(self, target: Target, reached: bool, now_s: float) -> None:
        """A connection to it has been made, or has failed."""
        if reached:
            target.health, target.delay_s = Health.UP, RETRY_S_MIN
        elif target.health is not Health.DOWN:  # several clients may fail at the same time
            if target.health is Health.UP:
                self.doubt(now_s, target.container)
            target.health = Health.DOWN
            target.due_s = now_s + target.delay_s
            target.delay_s = min(2 * target.delay_s, RETRY_S_MAX)
        self._account(now_s)

    def lost(self, now_s: float) -> list[Target]:
        """Those whose clients have to be dropped now."""
        led = {target.broker for target in self if target.health is Health.UP}
        found = [
            target
            for target in self._targets.values()
            if target.left_s is not None and (target.broker in led or now_s - target.left_s >= LEFT_GRACE_S)
        ]
        for target in found:
            del self._targets[target.broker, target.url]
        return found

    # ---- what is so

    @property
    def deadline_s(self) -> float | None:
        """When `due` or `lost` has to be asked; None: not before something happens."""
        times = [target.due_s for target in self if target.health in (Health.UNTRIED, Health.DOWN)]
        times += [
            target.left_s + LEFT_GRACE_S for target in self._targets.values() if target.left_s is not None
        ]
        return min(times, default=None)

    def choose(self, schemes: Sequence[str], client: str) -> Target | None:
        """Where to lead a client; None: nowhere at present.

        Args:
            schemes: of urls that it can be led to, the best first.
            client: its address.
        """
        choices = self._choices(schemes)
        return choices[self._balance.choose(choices, client)].target if choices else None

    def _choices(self, schemes: Sequence[str]) -> list[_Choice]:
        best: dict[str, Target] = {}
        connections: dict[str, int] = {}
        for target in self:
            connections[target.broker] = connections.get(target.broker, 0) + target.connections
            if target.health is not Health.UP or target.scheme not in schemes:
                continue
            other = best.get(target.broker)
            if other is None or schemes.index(target.scheme) < schemes.index(other.scheme):
                best[target.broker] = target
        return [_Choice(broker, connections[broker], target) for broker, target in best.items()]

    @property
    def has_master(self) -> bool:
        """Whether there is anybody to lead clients to."""
        return any(target.health is Health.UP for target in self)

    def lacking_s(self, now_s: float) -> float:
        """For how long there has been nobody; 0: there is somebody."""
        return 0.0 if self._lacking_since_s is None else now_s - self._lacking_since_s

    def lacked_s(self, now_s: float) -> float:
        """The sum of all such times."""
        return self._lacked_s + self.lacking_s(now_s)

    def _account(self, now_s: float) -> None:
        if self.has_master:
            self._lacked_s += self.lacking_s(now_s)
            self._lacking_since_s = None
        elif self._lacking_since_s is None:
            self._lacking_since_s = now_s


def _read(master: Master, url: str, now_s: float) -> Target | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or not port:
        return None
    return Target(master.broker, master.container, url, parts.scheme, host, port, due_s=now_s)
