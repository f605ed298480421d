"""How much of a port one address may take, and how often it may guess. Pure: the time is given.

Connections, new connections a second and wrong passwords are counted per address, so that one client that
loops, or guesses, costs nobody else a connection. Trusted addresses are not counted. Brokers' connectors use
it, and the ports of the console and the metrics.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from broker.proxy_protocol import Network, is_within

PER_SECOND: Final = 100
"""New connections of one address a second, on average."""
BURST_S: Final = 10
"""So many seconds' worth may come at once: after a takeover all clients of a host come back together."""
ADDRESSES_MAX: Final = 10_000
"""Addresses, and users at addresses, that are watched; those unseen for longest are forgotten first."""
FREE_FAILURES: Final = 5
"""Wrong passwords for one user from one address that cost nothing, as in the console."""
FREE_NAMES: Final = 50
"""Different users that one address may name wrongly before all of its new users wait: it guesses names."""
DELAY_S_MIN: Final = 1.0
DELAY_S_MAX: Final = 60.0
"""After each further failure nothing is checked for this long, doubling from the one to the other."""
FORGET_S: Final = 15 * 60.0
"""Failures count for so long after the last one."""
LOG_PERIOD_S: Final = 10.0
"""One line of the log per address and reason in this time, with the number of those before it."""
TRUSTED: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
"""Addresses without limits unless others are configured: who runs programs on this host."""

NO_SHARE: Final = "maximumConnectionsPerAddress"
NO_RATE: Final = "newConnectionsPerSecond"


@dataclass(frozen=True, slots=True)
class AddressLimits:
    """What one address may take of one port.

    Attributes:
        connections_max: at a time; 0: as many as the connector takes.
        per_second: new ones; 0: without limit.
        free_failures: wrong passwords for a user before it has to wait; 0: it never has to.
        trusted: addresses that are not counted.
    """

    connections_max: int = 0
    per_second: int = PER_SECOND
    free_failures: int = FREE_FAILURES
    trusted: tuple[Network, ...] = TRUSTED

    def trusts(self, address: str) -> bool:
        """Whether an address is not counted."""
        return is_within(address, self.trusted)


DEFAULT_LIMITS: Final = AddressLimits()


@dataclass(slots=True)
class Refusals:
    """What was refused since the broker is the master, by all of its connectors.

    Attributes:
        connections: closed at once, by reason.
        logins: answered without a check: too many wrong passwords before.
    """

    connections: dict[str, int] = field(default_factory=dict)
    logins: int = 0


class RareLog:
    """Lets one line through per subject and period."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, subject: str, now_s: float) -> int:
        """How many there were since the last line, this one included; 0: say nothing now."""
        last_s, silent = self._said.pop(subject, (-LOG_PERIOD_S, 0))
        due = now_s - last_s >= LOG_PERIOD_S
        self._said[subject] = (now_s, 0) if due else (last_s, silent + 1)
        _bound(self._said)
        return silent + 1 if due else 0


class Rate:
    """So much a second of each address on average; `BURST_S` seconds' worth may come at once.

    Args:
        per_second: so much; 0: without limit.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """Take one; 0: it is there, otherwise the time until there is one again, and nothing is taken."""
        if not self._per_second:
            return 0.0
        most = float(self._per_second * BURST_S)
        left, last_s = self._buckets.pop(address, (most, now_s))
        left = min(most, left + (now_s - last_s) * self._per_second)
        taken = left >= 1.0
        self._buckets[address] = (left - 1.0 if taken else left, now_s)
        _bound(self._buckets)
        return 0.0 if taken else (1.0 - left) / self._per_second


class Admission:
    """Admits the connections of one port."""

    def __init__(self, limits: AddressLimits) -> None:
        self._limits = limits
        self._open: dict[str, int] = {}
        self._rate = Rate(limits.per_second)
        self._log = RareLog()
        self.refused: dict[str, int] = {}

    def admit(self, address: str, now_s: float) -> str:
        """Count a connection in; why not, if it is too much, otherwise empty."""
        limits = self._limits
        if limits.trusts(address):
            return ""
        if limits.connections_max and self._open.get(address, 0) >= limits.connections_max:
            return self._refuse(NO_SHARE)
        if self._rate.wait_s(address, now_s) > 0:
            return self._refuse(NO_RATE)
        self._open[address] = self._open.get(address, 0) + 1
        return ""

    def left(self, address: str) -> None:
        """A connection that was admitted has ended."""
        count = self._open.get(address, 0) - 1
        if count > 0:
            self._open[address] = count
        else:
            self._open.pop(address, None)

    def lines(self, address: str, reason: str, now_s: float) -> int:
        """How many refusals a line of the log stands for; 0: there is none now."""
        return self._log.count(f"{reason} {address}", now_s)

    def _refuse(self, reason: str) -> str:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return reason


class LoginGuard:
    """Slows down who gives wrong passwords to a broker, whichever of its connectors he takes.

    A user's failures count at the address they came from only, so nobody locks a user out elsewhere. Who has
    logged in from an address before does not wait for what others do there.

    Args:
        seconds: monotonic.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._log = RareLog()
        self.refused = 0

    def wait_s(self, user: str, address: str, limits: AddressLimits) -> float:
        """How long nothing is checked for a user at an address; 0: a password is checked now."""
        if not limits.free_failures or limits.trusts(address):
            return 0.0
        now_s = self._seconds()
        wait_s = self._wait_s((user, address), limits.free_failures, now_s)
        if (user, address) not in self._known:
            wait_s = max(wait_s, self._wait_s(("", address), FREE_NAMES, now_s))
        self.refused += wait_s > 0
        return wait_s

    def decided(self, user: str, address: str, *, right: bool) -> int:
        """A password was checked.

        Returns:
            How many wrong ones a line of the log stands for; 0: there is none now.
        """
        key = (user, address)
        if right:
            self._failures.pop(key, None)
            self._known.pop(key, None)
            self._known[key] = None
            _bound(self._known)
            return 0
        now_s = self._seconds()
        if self._fail(key, now_s) == 1:
            self._fail(("", address), now_s)
        return self._log.count(f"{user} {address}", now_s)

    def _fail(self, key: tuple[str, str], now_s: float) -> int:
        count, last_s = self._failures.pop(key, (0, now_s))
        count = 1 if now_s - last_s > FORGET_S else count + 1
        self._failures[key] = (count, now_s)
        _bound(self._failures)
        return count

    def _wait_s(self, key: tuple[str, str], free: int, now_s: float) -> float:
        count, last_s = self._failures.get(key, (0, now_s))
        if count < free or now_s - last_s > FORGET_S:
            return 0.0
        delay_s = min(DELAY_S_MIN * 2.0 ** min(count - free, 30), DELAY_S_MAX)
        return max(0.0, last_s + delay_s - now_s)


def _bound(entries: OrderedDict[Any, Any]) -> None:
    while len(entries) > ADDRESSES_MAX:
        entries.popitem(last=False)
