"""When a cron expression is due: five fields, in the broker's local time.

::

    minute        0 to 59      *          every
    hour          0 to 23      1,5,9      each of a list
    day of month  1 to 31      9-17       each of a range
    month         1 to 12      */15       those of all that 15 divides
    day of week   0 to 6       1-31/5     those of a range that 5 divides
                  (Sunday: 0)

A step takes the values that it divides, wherever the range begins. Names, `@daily` and seconds are unknown.
If both days are restricted, one of them is enough. When the clocks are put forward, what was due in the hour
that is left out is due as much later. When they are put back, what is due every hour goes on, and what is due
at certain hours is due once.

Source: ActiveMQ's `CronParser`; crontab(5) for two restricted days, of which that parser makes now one, now
the other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from broker.errors import RequestInvalid

TEXT_CHARACTERS_MAX: Final = 1_000
"""Every value of every field, written out, takes fewer."""
YEARS_MAX: Final = 9
"""From one 29 February to the next there are eight years at most; what is not due by then never is."""
CACHED_MAX: Final = 1_024
"""Expressions kept; each is used at every due time of its messages."""
_ALL: Final = ("*", "?")
_DIGITS_MAX: Final = 4


class _Field(NamedTuple):
    name: str
    low: int
    high: int


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12),
    _Field("day of week", 0, 6),
)


class Cron:
    """One expression.

    Args:
        text: see above.

    Raises:
        RequestInvalid: it is none; says which field.
    """

    __slots__ = ("_days", "_hours", "_minutes", "_months", "_one_is_enough", "_weekdays", "text")

    def __init__(self, text: str) -> None:
        parts = text.split() if len(text) <= TEXT_CHARACTERS_MAX else []
        if len(parts) != len(_FIELDS):
            raise RequestInvalid(
                f"{_shown(text)} is no cron expression: it needs {len(_FIELDS)} fields, "
                f"{', '.join(each.name for each in _FIELDS)}."
            )
        self.text = text
        values = [_values(part, each, text) for part, each in zip(parts, _FIELDS, strict=True)]
        self._minutes, self._hours, self._days, self._months, self._weekdays = values
        self._one_is_enough = parts[2] not in _ALL and parts[4] not in _ALL

    def next_ms(self, after_ms: int, zone: tzinfo | None = None) -> int | None:
        """The first time it is due after a time.

        Args:
            after_ms: milliseconds since the epoch.
            zone: None: the machine's.

        Returns:
            Milliseconds since the epoch, a whole minute; None: never.
        """
        every_hour = len(self._hours) == 24
        at = datetime.fromtimestamp((after_ms // 60_000 + 1) * 60, zone)
        if not every_hour:
            at = at.replace(tzinfo=None, fold=0)
        end_year = at.year + YEARS_MAX
        while at.year < end_year:
            if not self._is_day(at):
                at = self._next_day(at)
            elif at.hour not in self._hours:
                at = at.replace(minute=0) + timedelta(hours=1)
            elif at.minute not in self._minutes:
                at = _one_minute_on(at, zone) if every_hour else at + timedelta(minutes=1)
            else:
                found_ms = int(at.timestamp() if every_hour else at.replace(tzinfo=zone).timestamp()) * 1000
                if found_ms > after_ms:
                    return found_ms
                at += timedelta(minutes=1)
        return None

    def _next_day(self, at: datetime) -> datetime:
        """The beginning of the next day that it may be due."""
        at = at.replace(hour=0, minute=0, fold=0)
        if at.month in self._months:
            return at + timedelta(days=1)
        year, month = divmod(at.year * 12 + at.month, 12)
        return at.replace(year=year, month=month + 1, day=1)

    def _is_day(self, at: datetime) -> bool:
        if at.month not in self._months:
            return False
        of_month, of_week = at.day in self._days, at.isoweekday() % 7 in self._weekdays
        return of_month or of_week if self._one_is_enough else of_month and of_week


@lru_cache(maxsize=CACHED_MAX)
def parsed(text: str) -> Cron:
    """The expression of a text: the same object for the same text, if it was used of late.

    Raises:
        RequestInvalid: it is none; says which field.
    """
    return Cron(text)


def _one_minute_on(at: datetime, zone: tzinfo | None) -> datetime:
    """A minute later by the clock of the world, whatever those on the wall do."""
    return datetime.fromtimestamp(at.timestamp() + 60, zone)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _values(part: str, field: _Field, text: str) -> frozenset[int]:
    """The values of a field.

    Raises:
        RequestInvalid: it names none, or one that there is not.
    """

    def wrong(why: str) -> RequestInvalid:
        return RequestInvalid(f"{_shown(text)} is no cron expression: the {field.name} {part!r} {why}.")

    found, step = _stepped(part, field, wrong)
    if step is not None:
        found = [value for value in found if value % step == 0]
        if not found:
            raise wrong(f"has no value that {step} divides")
    if min(found) < field.low or max(found) > field.high:
        raise wrong(f"is not within {field.low} to {field.high}")
    return frozenset(found)


def _stepped(
    part: str, field: _Field, wrong: Callable[[str], RequestInvalid]
) -> tuple[list[int], int | None]:
    """The values before a step, and the step; None: there is none."""
    values, slash, step = part.partition("/")
    if slash and not int(_number(step, wrong)):
        raise wrong("has a step of 0")
    found: list[int] = []
    for piece in values.split(","):
        first, dash, last = piece.partition("-")
        if piece in _ALL:
            found += range(field.low, field.high + 1)
        elif dash:
            low, high = int(_number(first, wrong)), int(_number(last, wrong))
            if low > high:
                raise wrong("has a range that ends before it begins")
            found += range(low, high + 1)
        else:
            found.append(int(_number(first, wrong)))
    return found, int(step) if slash else None


def _number(text: str, wrong: Callable[[str], RequestInvalid]) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise wrong("is neither a number, a list, a range nor a step")
    return text
