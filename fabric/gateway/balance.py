"""Which of several masters a client is led to. Pure.

Source: fabric8's load balancers `roundrobin`, `random` and `sticky`, under these names; `leastconnections`
is HAProxy's `leastconn`.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

ROUND_ROBIN: Final = "roundrobin"
RANDOM: Final = "random"
STICKY: Final = "sticky"
LEAST_CONNECTIONS: Final = "leastconnections"
BALANCES: Final = (ROUND_ROBIN, RANDOM, STICKY, LEAST_CONNECTIONS)
STICKY_CLIENTS_MAX: Final = 10_000
"""Addresses whose broker is remembered. Source: the original's `stickyLoadBalancerCacheSize`."""


class Candidate(Protocol):
    """What clients can be led to.

    Attributes:
        broker: its name.
        connections: clients that have been led there, and are there or on their way.
    """

    @property
    def broker(self) -> str:
        """See above."""
        ...

    @property
    def connections(self) -> int:
        """See above."""
        ...


class Balance(Protocol):
    """Chooses."""

    def choose(self, candidates: Sequence[Candidate], client: str) -> int:
        """Which one, by its index.

        Args:
            candidates: at least one, in an order that changes only with the masters.
            client: its address, without the port.
        """
        ...


def make_balance(
    name: str, *, sticky_clients_max: int = STICKY_CLIENTS_MAX, draw: Callable[[int], int] = random.randrange
) -> Balance:
    """Make one by its name.

    Args:
        name: one of `BALANCES`.
        sticky_clients_max: see `Sticky`.
        draw: gives a number below its argument.
    """
    if name == RANDOM:
        return Random(draw)
    if name == STICKY:
        return Sticky(sticky_clients_max)
    return LeastConnections() if name == LEAST_CONNECTIONS else RoundRobin()


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._turns = -1

    def choose(self, candidates: Sequence[Candidate], client: str) -> int:
        """The next one."""
        del client
        self._turns += 1
        return self._turns % len(candidates)


class Random:
    """Any."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw

    def choose(self, candidates: Sequence[Candidate], client: str) -> int:
        """Any of them."""
        del client
        return self._draw(len(candidates))


class LeastConnections:
    """The one with the fewest clients of this gateway, the first of several."""

    def choose(self, candidates: Sequence[Candidate], client: str) -> int:
        """That one."""
        del client
        return min(range(len(candidates)), key=lambda index: candidates[index].connections)


class Sticky:
    """Whoever came from an address before is led to the same broker, wherever its master is by then.

    Args:
        clients_max: addresses that are remembered; who has not come for longest is forgotten.
    """

    def __init__(self, clients_max: int) -> None:
        self._clients_max = clients_max
        self._brokers: OrderedDict[str, str] = OrderedDict()
        self._others = RoundRobin()

    def choose(self, candidates: Sequence[Candidate], client: str) -> int:
        """The client's own, or the next one, which is its own from now on."""
        known = self._brokers.get(client)
        names = [candidate.broker for candidate in candidates]
        index = names.index(known) if known in names else self._others.choose(candidates, client)
        self._brokers[client] = names[index]
        self._brokers.move_to_end(client)
        if len(self._brokers) > self._clients_max:
            self._brokers.popitem(last=False)
        return index
