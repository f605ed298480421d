"""Cron expressions: when they are due, and what is none."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cron import TEXT_CHARACTERS_MAX, Cron
from broker.errors import RequestInvalid

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str, zone: "ZoneInfo | None" = None) -> int:
    """Milliseconds of a time, in UTC if nothing is said."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp() * 1000)


def text_of(found_ms: int | None, zone: "ZoneInfo | None" = None) -> str | None:
    """A time as it is written."""
    if found_ms is None:
        return None
    return datetime.fromtimestamp(found_ms / 1000, zone or UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("cron", "after", "due"),
    [
        ("* * * * *", "2026-03-01 12:00:00", "2026-03-01 12:01"),
        ("* * * * *", "2026-03-01 12:00:59.999", "2026-03-01 12:01"),
        ("0 * * * *", "2026-03-01 12:00:00", "2026-03-01 13:00"),
        ("30 14 * * *", "2026-03-01 14:30:00", "2026-03-02 14:30"),
        ("*/15 * * * *", "2026-03-01 12:14:00", "2026-03-01 12:15"),
        ("7-29/5 * * * *", "2026-03-01 12:00:00", "2026-03-01 12:10"),
        ("5,10,40 9-17 * * 1-5", "2026-03-06 17:40:00", "2026-03-09 09:05"),
        ("0 0 31 * *", "2026-03-31 12:00:00", "2026-05-31 00:00"),
        ("0 0 29 2 *", "2026-03-01 00:00:00", "2028-02-29 00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00"),
        ("0 0 1 1 ?", "2026-01-01 00:00:00", "2027-01-01 00:00"),
        ("0 12 * * 0", "2026-03-01 12:00:00", "2026-03-08 12:00"),
        ("0 12 13 * 5", "2026-03-07 00:00:00", "2026-03-13 12:00"),
        ("0 12 10 * 5", "2026-03-07 00:00:00", "2026-03-10 12:00"),
        ("59 23 31 12 *", "2026-12-31 23:59:00", "2027-12-31 23:59"),
        ("  0   0  *  12  * ", "2026-03-01 00:00:00", "2026-12-01 00:00"),
    ],
)
def test_the_next_time_is_the_first_minute_that_matches(cron: str, after: str, due: str) -> None:
    """It is due at the beginning of the first minute after a time that all fields allow."""
    assert text_of(Cron(cron).next_ms(ms(after), UTC)) == due


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_day_that_there_is_not_is_never_due(cron: str) -> None:
    """A date that no year has is found out; it is no endless search."""
    assert Cron(cron).next_ms(ms("2026-03-01 00:00:00"), UTC) is None


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("", "needs 5 fields"),
        ("* * * *", "needs 5 fields"),
        ("* * * * * *", "needs 5 fields"),
        ("60 * * * *", "the minute '60' is not within 0 to 59"),
        ("* 24 * * *", "the hour '24' is not within 0 to 23"),
        ("* * 0 * *", "the day of month '0' is not within 1 to 31"),
        ("* * * 13 *", "the month '13' is not within 1 to 12"),
        ("* * * * 7", "the day of week '7' is not within 0 to 6"),
        ("a * * * *", "is neither a number, a list, a range nor a step"),
        ("-1 * * * *", "is neither a number"),
        ("1- * * * *", "is neither a number"),
        ("1,,2 * * * *", "is neither a number"),
        ("*/0 * * * *", "has a step of 0"),
        ("*/x * * * *", "is neither a number"),
        ("*/5,7 * * * *", "is neither a number"),
        ("1/2 * * * *", "has no value that 2 divides"),
        ("30-10 * * * *", "has a range that ends before it begins"),
        ("1-99999999999 * * * *", "is neither a number"),
        ("٣ * * * *", "is neither a number"),
        ("@daily", "needs 5 fields"),
        ("* * * JAN *", "is neither a number"),
        ("*" * (TEXT_CHARACTERS_MAX + 1), "needs 5 fields"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_field(cron: str, said: str) -> None:
    """The text says which field is wrong, and why."""
    with pytest.raises(RequestInvalid, match=said):
        Cron(cron)


def test_an_hour_that_is_left_out_is_made_up_for() -> None:
    """When the clocks are put forward, what is due in the missing hour is due right behind it, once."""
    cron = Cron("30 2 * * *")
    first = cron.next_ms(ms("2026-03-29 00:00:00", BERLIN), BERLIN)
    assert text_of(first, BERLIN) == "2026-03-29 03:30"
    assert first is not None
    assert text_of(cron.next_ms(first, BERLIN), BERLIN) == "2026-03-30 02:30"


def test_an_hour_that_comes_twice_is_two_hours_for_what_is_due_every_minute() -> None:
    """When the clocks are put back nothing stands still for an hour."""
    cron = Cron("*/30 * * * *")
    at = int(datetime(2026, 10, 25, 0, 0, tzinfo=UTC).timestamp()) * 1000 - 1
    found = []
    for _ in range(5):
        at = cron.next_ms(at, BERLIN) or 0
        found.append(text_of(at))
    assert found == [f"2026-10-25 {each}" for each in ("00:00", "00:30", "01:00", "01:30", "02:00")]
    daily = Cron("30 2 * * *")
    first = daily.next_ms(ms("2026-10-25 00:00:00", BERLIN), BERLIN) or 0
    assert text_of(first) == "2026-10-25 00:30"
    assert text_of(daily.next_ms(first, BERLIN)) == "2026-10-26 01:30"


fields = st.tuples(*(
    st.one_of(
        st.just("*"),
        st.lists(st.integers(low, high), min_size=1, max_size=3).map(lambda each: ",".join(map(str, each))),
        st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda e: f"{min(e)}-{max(e)}"),
        st.integers(1, high).map(lambda step: f"*/{step}"),
    )
    for low, high in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))
))  # fmt: skip


def allowed(field: str, low: int, high: int) -> set[int]:
    """The values of a field, the simplest way."""
    values, _, step = field.partition("/")
    found: set[int] = set()
    for piece in values.split(","):
        first, dash, last = piece.partition("-")
        found |= (
            set(range(low, high + 1))
            if piece == "*"
            else set(range(int(first), int(last if dash else first) + 1))
        )
    return {value for value in found if not step or value % int(step) == 0}


@given(fields, st.integers(0, 4_000_000_000_000))
def test_the_next_time_matches_and_none_before_it_does(parts: tuple[str, ...], after_ms: int) -> None:
    """What is found is allowed by every field, and no day and no minute between was."""
    found_ms = Cron(" ".join(parts)).next_ms(after_ms, UTC)
    ranges = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
    minutes, hours, days, months, weekdays = (allowed(p, *r) for p, r in zip(parts, ranges, strict=True))

    def is_day(at: datetime) -> bool:
        of_month, of_week = at.day in days, at.isoweekday() % 7 in weekdays
        either = parts[2] != "*" and parts[4] != "*"
        return at.month in months and (of_month or of_week if either else of_month and of_week)

    assert found_ms is not None
    assert found_ms > after_ms
    found = datetime.fromtimestamp(found_ms / 1000, UTC)
    after = datetime.fromtimestamp(after_ms / 1000, UTC)
    assert is_day(found)
    assert (found.hour in hours, found.minute in minutes, found.second) == (True, True, 0)
    day = after.date() + timedelta(days=1)
    while day < found.date():
        assert not is_day(datetime(day.year, day.month, day.day, tzinfo=UTC))
        day += timedelta(days=1)
    same_day = after.date() == found.date()
    first = (after.hour * 60 + after.minute + 1) if same_day else 0
    for minute in range(first, found.hour * 60 + found.minute):
        assert minute // 60 not in hours or minute % 60 not in minutes
    if not same_day and is_day(after):
        for minute in range(after.hour * 60 + after.minute + 1, 1440):
            assert minute // 60 not in hours or minute % 60 not in minutes
