"""Cron expressions are due when Apache's parser says that they are, and what it refuses is refused."""

from datetime import UTC, datetime

import pytest
from support.apache import JavaPrograms

from broker.cron import Cron
from broker.errors import RequestInvalid

pytestmark = pytest.mark.interop

AFTER = ("2026-01-01 00:00:00", "2026-02-27 23:58:31", "2026-06-15 12:34:56", "2028-02-28 23:59:59")
EXPRESSIONS = (
    "* * * * *",
    "0 * * * *",
    "*/15 * * * *",
    "7-29/5 * * * *",
    "5,10,40 * * * *",
    "30 14 * * *",
    "0 0 * * *",
    "0 9-17 * * *",
    "0 */6 * * *",
    "15 3 * * 1",
    "15 3 * * 1-5",
    "0 12 * * 0",
    "0 12 * * 6",
    "30 23 1 * *",
    "30 23 15 * *",
    "0 0 1 1 *",
    "0 12 1 6 *",
    "10 10 * 3 *",
    "0 0 ? * ?",
    "",
    "* * * *",
    "* * * * * *",
    "a * * * *",
    "* * * 13 *",
    "* * * 0 *",
    "* * * * 7",
    "* * 0 * *",
    "1/2 * * * *",
)


def our_answer(expression: str, after_ms: int) -> str:
    """As the Java program prints it."""
    try:
        return str((Cron(expression).next_ms(after_ms, UTC) or 0) // 60_000)
    except RequestInvalid:
        return "refused"


def test_expressions_are_due_when_apaches_parser_says(programs: JavaPrograms) -> None:
    """For all but two restricted days, of which that parser makes now one thing, now the other."""
    for text in AFTER:
        after_ms = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000
        theirs = programs.facts("CronTimes", str(after_ms), *EXPRESSIONS)
        assert theirs == [f"{each}: {our_answer(each, after_ms)}" for each in EXPRESSIONS], text
