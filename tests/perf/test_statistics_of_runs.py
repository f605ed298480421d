"""The figures that benchmarks print are computed as their documentation says."""

import math
from pathlib import Path

import pytest
from perf.statistics_of_runs import machine, percentile, table


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (10, 1), (11, 2), (50, 5), (90, 9), (91, 10), (99, 10), (100, 10)]
)
def test_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    """A percentile is the nearest rank, so that a tail is never smoothed away."""
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_percentile_of_nothing() -> None:
    """Without a value there is no percentile."""
    assert math.isnan(percentile([], 50))


def test_table_is_aligned_markdown() -> None:
    """A table can be pasted into the documentation, and read without rendering."""
    assert table(["fault", "50 %"], [["killed", "12 ms"], ["frozen for long", "4 ms"]]).splitlines() == [
        "| fault           |  50 % |",
        "|-----------------|------:|",
        "| killed          | 12 ms |",
        "| frozen for long |  4 ms |",
    ]


def test_machine_names_what_figures_depend_on(tmp_path: Path) -> None:
    """Every table states its date, the cores and what a sync costs on its disk."""
    assert {"date", "cores", "fdatasync"} <= set(machine(tmp_path))
    assert list(tmp_path.iterdir()) == []
