"""Which broker to try next, and when.

One *round* tries every known broker once. After a failed round the schedule waits: first
``initialReconnectDelay``, then ``backOffMultiplier`` times longer each time. The wait does not grow while a
broker is expected: just after an address was announced, and just after a connection that had lasted was lost.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from enum import Enum

from mqclient.options import UNLIMITED, FailoverOptions
from mqclient.url import BrokerAddress

FRESH_ANNOUNCEMENT_S = 5.0
"""So long after an address was announced the wait does not grow: a new master publishes its address when it
listens, or a moment before."""

FRESH_LOSS_S = 2.0
"""So long after a loss the wait does not grow: a slave takes over within a fraction of a second."""

STABLE_CONNECTION_S = 1.0
"""A connection that was lost sooner counts as a failed attempt, so that a broker that accepts and drops us is
not asked in a tight loop."""


class Outcome(Enum):
    """What a failed attempt leads to."""

    RETRY = "try on"
    WARN = "try on, but tell the user"
    GIVE_UP = "the attempts are used up"


class ReconnectSchedule:
    """The order and times of connection attempts; pure."""

    def __init__(self, options: FailoverOptions, rng: random.Random) -> None:
        self._options = options
        self._rng = rng
        self._addresses: tuple[BrokerAddress, ...] = ()
        self._round: deque[BrokerAddress] = deque()
        self._last: BrokerAddress | None = None
        self._preferred: BrokerAddress | None = None
        self._delay_ms = float(options.initial_reconnect_delay)
        self._due_s = 0.0
        self._expecting_until_s = float("-inf")
        self._connected_s: float | None = None
        self._ever_connected = False
        self.failed_rounds = 0

    @property
    def addresses(self) -> tuple[BrokerAddress, ...]:
        """The brokers that are known now."""
        return self._addresses

    @property
    def due_s(self) -> float | None:
        """When the next attempt may be made; None while no broker is known."""
        if self._preferred is not None:
            return float("-inf")
        return self._due_s if self._addresses else None

    def set_addresses(
        self, addresses: Sequence[BrokerAddress], now_s: float
    ) -> tuple[list[BrokerAddress], list[BrokerAddress]]:
        """Take a new list of brokers; returns those that came and those that left.

        New ones are tried first, and at once.
        """
        added = [each for each in addresses if each not in self._addresses]
        removed = [each for each in self._addresses if each not in addresses]
        self._addresses = tuple(dict.fromkeys(addresses))
        self._round = deque(each for each in self._round if each in self._addresses)
        if added:
            self._round.extendleft(reversed(added))
            self._expecting_until_s = now_s + FRESH_ANNOUNCEMENT_S
            self._due_s = now_s
            self._delay_ms = float(self._options.initial_reconnect_delay)
        return added, removed

    def take(self, now_s: float) -> BrokerAddress | None:
        """The broker to try now; None if it is not yet time, or none is known."""
        if self._preferred is not None:
            preferred, self._preferred = self._preferred, None
            return preferred
        if not self._addresses or now_s < self._due_s:
            return None
        if not self._round:
            self._round.extend(self._new_round())
        return self._round.popleft()

    def failed(self, address: BrokerAddress, now_s: float) -> Outcome:
        """An attempt failed."""
        self._last = address
        if self._round or not self._addresses:
            self._due_s = now_s
            return Outcome.RETRY
        self.failed_rounds += 1
        self._wait(now_s)
        limit = self._attempts_max()
        if limit != UNLIMITED and self.failed_rounds >= limit:
            return Outcome.GIVE_UP
        every = self._options.warn_after_reconnect_attempts
        is_worth_telling = every and self.failed_rounds % every == 0 and not self._is_expecting(now_s)
        return Outcome.WARN if is_worth_telling else Outcome.RETRY

    def connected(self, now_s: float) -> None:
        """The last attempt led to a working connection."""
        self._connected_s = now_s
        self._ever_connected = True
        self.failed_rounds = 0
        self._round.clear()

    def lost(self, address: BrokerAddress, now_s: float) -> None:
        """A working connection broke; the broker is tried last in the next round."""
        since = now_s - self._connected_s if self._connected_s is not None else 0.0
        self._last = address
        self._round.clear()
        self._connected_s = None
        if since < STABLE_CONNECTION_S:
            self._wait(now_s)
            return
        self._due_s = now_s
        self._delay_ms = float(self._options.initial_reconnect_delay)
        self._expecting_until_s = max(self._expecting_until_s, now_s + FRESH_LOSS_S)

    def prefer(self, address: BrokerAddress) -> None:
        """Try this broker next, at once, even if it is not in the list."""
        self._preferred = address

    def _wait(self, now_s: float) -> None:
        self._due_s = now_s + self._delay_ms / 1000
        if self._options.use_exponential_back_off and not self._is_expecting(now_s):
            grown = self._delay_ms * self._options.back_off_multiplier
            self._delay_ms = min(grown, float(self._options.max_reconnect_delay))

    def _is_expecting(self, now_s: float) -> bool:
        return now_s < self._expecting_until_s

    def _new_round(self) -> list[BrokerAddress]:
        order = list(self._addresses)
        if self._options.randomize:
            self._rng.shuffle(order)
        if self._last in order:
            order.remove(self._last)
            order.append(self._last)
        return order

    def _attempts_max(self) -> int:
        startup = self._options.startup_max_reconnect_attempts
        if not self._ever_connected and startup != UNLIMITED:
            return startup
        return self._options.max_reconnect_attempts
