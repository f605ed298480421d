"""The conformance table of JMS names tests that exist, and leaves no rule without one."""

import re
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLE = TESTS.parent / "docs" / "reference" / "jms.md"
STATUSES = ("holds", "differs", "not offered")
ROW = re.compile(r"^\| (\d+(?:\.\d+)* ?²?) \| (.+?) \| ([a-z ]+) \| (.*) \|$")
CITATION = re.compile(r"`([\w/]+\.py)::(\w+)(?:\[([^\]]+)\])?`")

Row = tuple[str, str, str, str]


def rows(text: str) -> list[Row]:
    """Section, rule, status and tests of each row."""
    lines = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    found = [ROW.match(line) for line in lines]
    assert all(found), f"not of the form of a row: {lines[found.index(None)]}"
    return [(match[1], match[2], match[3], match[4]) for match in found if match is not None]


def complaints(row: Row, tests: Path = TESTS) -> list[str]:
    """What is wrong with a row."""
    section, rule, status, cell = row
    citations = CITATION.findall(cell)
    if status not in STATUSES:
        return [f"{section} {rule}: {status!r} is no status"]
    if not citations and status != "not offered":
        return [f"{section} {rule}: no test shows it"]
    wrong = []
    if CITATION.sub("", cell).strip(", "):
        wrong.append(f"{section}: {cell!r} does not name tests")
    for path, name, fact in citations:
        file = tests / path
        text = file.read_text("utf-8") if file.is_file() else ""
        if not re.search(rf"^\s*def {name}\(", text, re.MULTILINE):
            wrong.append(f"{section}: there is no test {path}::{name}")
        elif fact and not re.search(rf"[\"']{re.escape(fact)}(: |[\"'])", text):
            wrong.append(f"{section}: {path} does not speak of {fact!r}")
    return wrong


def test_every_row_names_tests_that_exist() -> None:
    """Whoever renames a test is told here which rule it showed."""
    found = [complaint for row in rows(TABLE.read_text("utf-8")) for complaint in complaints(row)]
    assert found == []


def test_the_counts_are_right() -> None:
    """The sentence above the tables counts their rows."""
    text = TABLE.read_text("utf-8")
    counted = Counter(status for _, _, status, _ in rows(text))
    total = sum(counted.values())
    assert total >= 120
    holds, differs, missing = (counted[status] for status in STATUSES)
    sentence = (
        f"{total} rules: {holds} hold, {differs} differ on purpose or by their nature, {missing} are not"
    )
    assert sentence in text


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("| 3.4.1 | a rule | holds |  |", "no test shows it"),
        ("| 3.4.1 | a rule | holds | soon |", "no test shows it"),
        ("| 3.4.1 | a rule | wonders | `tidy/test_conformance.py::test_the_counts_are_right` |", "no status"),
        ("| 3.4.1 | a rule | holds | `tidy/test_conformance.py::test_none` |", "there is no test"),
        ("| 3.4.1 | a rule | holds | `tidy/none.py::test_none` |", "there is no test"),
        (
            "| 3.4.1 | a rule | holds | `tidy/test_conformance.py::test_the_counts_are_right[odd]` |",
            "does not speak of",
        ),
        (
            "| 3.4.1 | a rule | holds | `tidy/test_conformance.py::test_the_counts_are_right`, and more |",
            "does not name tests",
        ),
    ],
)
def test_the_checker_can_fail(row: str, complaint: str) -> None:
    """A row that shows nothing is found."""
    (parsed,) = rows(row)
    (found,) = complaints(parsed)
    assert complaint in found
