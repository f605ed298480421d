"""Which failed logins an audit log is told of: a flood of guesses must not fill it.

A user's first failure at an address is told at once, those of the next minute at its end, as one with their
number. Whoever guesses ever other names fills nothing either: so many are told of an address, and of all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.reactor import Clock, DelayedCall

PERIOD_S: Final = 60.0
"""A user at an address is told of so often at most."""
OF_ADDRESS_MAX: Final = 10
OF_ALL_MAX: Final = 60
"""Told in such a time, of one address and of all; further ones are counted."""


@dataclass(frozen=True, slots=True)
class FailedLogin:
    """What is told.

    Attributes:
        user: as he calls himself; empty: he does not.
        address: from where.
        reason: why he was refused, the last time.
        count: how often.
        left_out: failures of others that were not told before this one.
    """

    user: str
    address: str
    reason: str
    count: int = 1
    left_out: int = 0


@dataclass(slots=True)
class _Watched:
    """A user at an address who was told of.

    Attributes:
        told_s: when.
        silent: failures since then.
    """

    told_s: float
    silent: int = 0
    reason: str = ""


class FailedLogins:
    """Counts failed logins, and says which of them are told. Pure: the time is given."""

    def __init__(self) -> None:
        self._watched: OrderedDict[tuple[str, str], _Watched] = OrderedDict()  # by `told_s`
        self._began_s = float("-inf")
        self._of_address: dict[str, int] = {}
        self._told = 0
        self._left_out = 0

    def failed(self, user: str, address: str, reason: str, now_s: float) -> list[FailedLogin]:
        """Somebody was refused; what is to be told now."""
        told = self.due(now_s)
        watched = self._watched.get((user, address))
        if watched is not None:
            watched.silent += 1
            watched.reason = reason
        else:
            told += self._tell(user, address, reason, 1, now_s)
        return told

    def due(self, now_s: float) -> list[FailedLogin]:
        """What is told at the end of its minute; to be asked for now and then."""
        told: list[FailedLogin] = []
        while self._watched:
            (user, address), watched = next(iter(self._watched.items()))
            if now_s - watched.told_s < PERIOD_S:
                break
            del self._watched[user, address]
            if watched.silent:
                told += self._tell(user, address, watched.reason, watched.silent, now_s)
        return told

    def rest(self) -> list[FailedLogin]:
        """What was not told yet; nobody asks again."""
        told = [
            FailedLogin(user, address, watched.reason, watched.silent)
            for (user, address), watched in self._watched.items()
            if watched.silent
        ]
        self._watched.clear()
        if told:
            told[0] = replace(told[0], left_out=self._left_out)
            self._left_out = 0
        return told

    def wait_s(self, now_s: float) -> float | None:
        """When there may be something due; None: never, as it is."""
        for watched in self._watched.values():
            return max(0.0, watched.told_s + PERIOD_S - now_s)
        return None

    def _tell(self, user: str, address: str, reason: str, count: int, now_s: float) -> list[FailedLogin]:
        if not self._admits(address, now_s):
            self._left_out += count
            return []
        self._watched[user, address] = _Watched(now_s)
        left_out, self._left_out = self._left_out, 0
        return [FailedLogin(user, address, reason, count, left_out)]

    def _admits(self, address: str, now_s: float) -> bool:
        if now_s - self._began_s >= PERIOD_S:
            self._began_s, self._told = now_s, 0
            self._of_address.clear()
        count = self._of_address.get(address, 0)
        if count >= OF_ADDRESS_MAX or self._told >= OF_ALL_MAX:
            return False
        self._of_address[address] = count + 1
        self._told += 1
        return True


class LoginAudit:
    """Tells of failed logins, those that had to wait at the end of their minute.

    Args:
        reactor: for the end of the minute.
        seconds: monotonic.
        tell: gets what is told.
    """

    def __init__(
        self, reactor: Clock, seconds: Callable[[], float], tell: Callable[[FailedLogin], None]
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._tell = tell
        self._logins = FailedLogins()
        self._timer: DelayedCall | None = None

    def failed(self, user: str, address: str, reason: str) -> None:
        """Somebody was refused."""
        self._say(self._logins.failed(user, address, reason, self._seconds()))

    def close(self) -> None:
        """Tell the rest."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        for each in self._logins.rest():
            self._tell(each)

    def _say(self, told: list[FailedLogin]) -> None:
        for each in told:
            self._tell(each)
        wait_s = self._logins.wait_s(self._seconds())
        if self._timer is None and wait_s is not None:
            self._timer = self._reactor.callLater(wait_s, self._look)

    def _look(self) -> None:
        self._timer = None
        self._say(self._logins.due(self._seconds()))
