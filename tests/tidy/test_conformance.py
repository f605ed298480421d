"""The conformance tables name tests that exist, and leave no rule without one."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CITATION = re.compile(r"`([\w/]+\.py)::(\w+)(?:\[([^\]]+)\])?`")

Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Table:
    """The tables of one page.

    Attributes:
        name: of the page.
        place: what a row's first cell is: the place of its rule.
        statuses: what a row may say.
        untested: of these, the one that needs no test.
    """

    name: str
    place: str
    statuses: tuple[str, ...]
    untested: str

    @property
    def text(self) -> str:
        """The page."""
        return (TESTS.parent / "docs" / "reference" / self.name).read_text("utf-8")

    def rows(self, text: str) -> list[Row]:
        """Place, rule, status and tests of each row."""
        row = re.compile(rf"^\| ({self.place}) \| (.+?) \| ({'|'.join(self.statuses)}|[a-z ]+) \| (.*) \|$")
        lines = [line for line in text.splitlines() if re.match(r"\| (\d|none)", line)]
        found = [row.match(line) for line in lines]
        assert all(found), f"not of the form of a row: {lines[found.index(None)]}"
        return [(match[1], match[2], match[3], match[4]) for match in found if match is not None]


JMS = Table("jms.md", r"\d+(?:\.\d+)* ?²?", ("holds", "differs", "not offered"), "not offered")
STATEMENTS = r"(?:\d[\d.]*-\d+)(?:, \d[\d.]*-\d+)*|none"
MQTT = Table(
    "mqtt-conformance.md",
    rf"(?:{STATEMENTS}) \| (?:{STATEMENTS})",
    ("holds", "differs", "client's"),
    "client's",
)
TABLES = (JMS, MQTT)

#: How many numbered statements the sections have; of §2.2.1 of 5.0 the first is missing.
OF_3_1_1 = {
    **{"1.5.3": 3, "2.2.2": 2, "2.3.1": 7, "3.1.0": 2, "3.1.2": 24, "3.1.3": 11, "3.1.4": 5, "3.2.0": 1},
    **{"3.2.2": 6, "3.3.1": 12, "3.3.2": 3, "3.3.4": 1, "3.3.5": 2, "3.6.1": 1, "3.8.1": 1, "3.8.3": 4},
    **{"3.8.4": 6, "3.9.3": 2, "3.10.1": 1, "3.10.3": 2, "3.10.4": 6, "3.12.4": 1, "3.14.1": 1, "3.14.4": 3},
    **{"4.1.0": 2, "4.3.1": 1, "4.3.2": 2, "4.3.3": 2, "4.4.0": 1, "4.5.0": 2, "4.6.0": 6, "4.7.1": 3},
    **{"4.7.2": 1, "4.7.3": 4, "4.8.0": 2, "6.0.0": 4, "7.0.0": 2, "7.1.1": 1, "7.1.2": 1},
}
OF_5_0 = {
    **{"1.5.4": 3, "1.5.5": 1, "1.5.7": 1, "2.1.3": 1, "2.2.1": 6, "2.2.2": 1, "3.1.0": 2, "3.1.2": 30},
    **{"3.1.3": 12, "3.1.4": 6, "3.2.0": 2, "3.2.2": 22, "3.3.1": 13, "3.3.2": 20, "3.3.4": 10, "3.4.2": 3},
    **{"3.5.2": 3, "3.6.1": 1, "3.6.2": 3, "3.7.2": 3, "3.8.1": 1, "3.8.3": 5, "3.8.4": 8, "3.9.2": 2},
    **{"3.9.3": 2, "3.10.1": 1, "3.10.3": 2, "3.10.4": 6, "3.11.2": 2, "3.11.3": 2, "3.12.4": 1, "3.14.0": 1},
    **{"3.14.1": 1, "3.14.2": 4, "3.14.4": 3, "3.15.1": 1, "3.15.2": 3, "4.1.0": 2, "4.2": 1, "4.3.1": 1},
    **{"4.3.2": 5, "4.3.3": 13, "4.4.0": 2, "4.5.0": 2, "4.6.0": 6, "4.7.0": 1, "4.7.1": 2, "4.7.2": 1},
    **{"4.7.3": 4, "4.8.2": 6, "4.9.0": 3, "4.12.0": 7, "4.12.1": 2, "4.13.1": 1, "4.13.2": 1, "6.0.0": 4},
}


def complaints(table: Table, row: Row, tests: Path = TESTS) -> list[str]:
    """What is wrong with a row."""
    place, rule, status, cell = row
    citations = CITATION.findall(cell)
    if status not in table.statuses:
        return [f"{place} {rule}: {status!r} is no status"]
    if not citations and status != table.untested:
        return [f"{place} {rule}: no test shows it"]
    wrong = []
    if CITATION.sub("", cell).strip(", "):
        wrong.append(f"{place}: {cell!r} does not name tests")
    for path, name, fact in citations:
        file = tests / path
        text = file.read_text("utf-8") if file.is_file() else ""
        if not re.search(rf"^\s*def {name}\(", text, re.MULTILINE):
            wrong.append(f"{place}: there is no test {path}::{name}")
        elif fact and not re.search(rf"[\"']{re.escape(fact)}(: |[\"'])", text):
            wrong.append(f"{place}: {path} does not speak of {fact!r}")
    return wrong


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_row_names_tests_that_exist(table: Table) -> None:
    """Whoever renames a test is told here which rule it showed."""
    found = [complaint for row in table.rows(table.text) for complaint in complaints(table, row)]
    assert found == []


def test_the_counts_are_right() -> None:
    """The sentence above the tables counts their rows."""
    counted = Counter(status for _, _, status, _ in JMS.rows(JMS.text))
    total = sum(counted.values())
    assert total >= 120
    holds, differs, missing = (counted[status] for status in JMS.statuses)
    sentence = (
        f"{total} rules: {holds} hold, {differs} differ on purpose or by their nature, {missing} are not"
    )
    assert sentence in JMS.text


def statements(sections: dict[str, int], missing: frozenset[str] = frozenset()) -> set[str]:
    """All numbers of statements."""
    every = {f"{section}-{number + 1}" for section, count in sections.items() for number in range(count)}
    return every - missing


@pytest.mark.parametrize(
    ("column", "expected"), [(0, statements(OF_3_1_1)), (1, statements(OF_5_0, frozenset({"2.2.1-1"})))]
)
def test_every_numbered_statement_of_mqtt_has_its_row(column: int, expected: set[str]) -> None:
    """Each once, and none that there is not."""
    cells = [place.split(" | ")[column] for place, _, _, _ in MQTT.rows(MQTT.text)]
    found = Counter(number for cell in cells for number in cell.split(", ") if cell != "none")
    assert set(found) == expected
    assert [number for number, count in found.items() if count > 1] == []


def test_the_counts_of_mqtt_are_right() -> None:
    """The sentence above the tables counts statements and rows."""
    counted = Counter(status for _, _, status, _ in MQTT.rows(MQTT.text))
    holds, differs, clients = (counted[status] for status in MQTT.statuses)
    sentence = (
        f"{len(statements(OF_3_1_1))} statements of 3.1.1 and {len(statements(OF_5_0)) - 1} of 5.0 in "
        f"{counted.total()} rows: {holds} hold, {differs} differ, {clients} are the client's alone"
    )
    assert sentence in MQTT.text


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
    (parsed,) = JMS.rows(row)
    (found,) = complaints(JMS, parsed)
    assert complaint in found
