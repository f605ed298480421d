"""Tables."""

import pytest

from fabric.table import Table, fact


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Two blanks stand between columns and none at the ends of lines."""
    table = Table("id", "profiles")
    table.add_row("root*", "fabric")
    table.add_row("", "mq-amq")
    table.add_row("  a")
    assert table.lines() == ["[id]   [profiles]", "root*  fabric", "       mq-amq", "  a"]
    assert str(table).count("\n") == 3


def test_a_row_has_no_more_cells_than_columns() -> None:
    """The original's stray fifth header came from such a row."""
    with pytest.raises(AssertionError):
        Table("cluster", "masters").add_row("a", "b", "c")


def test_facts_are_aligned() -> None:
    """Values start in one column; a missing one leaves no blanks."""
    assert fact("Name:", "root") == "Name:".ljust(31) + "root"
    assert fact("Location:", "") == "Location:"
