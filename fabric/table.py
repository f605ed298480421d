"""Tables as the original prints them: headers in brackets, columns two spaces apart, no borders."""

from collections.abc import Sequence

COLUMN_GAP = "  "


class Table:
    """Rows of text under headers; every column is as wide as its widest cell."""

    def __init__(self, *headers: str) -> None:
        self._rows: list[list[str]] = [[f"[{header}]" for header in headers]]

    def add_row(self, *cells: str) -> None:
        """Add a row; cells that are left out are blank."""
        width = len(self._rows[0])
        assert len(cells) <= width, f"{len(cells)} cells for {width} columns"
        self._rows.append([*cells, *[""] * (width - len(cells))])

    def lines(self) -> list[str]:
        """Return the header line and one line per row, without blanks at their ends."""
        widths = [max(len(cell) for cell in column) for column in zip(*self._rows, strict=True)]
        return [_line(row, widths) for row in self._rows]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return COLUMN_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def fact(name: str, value: str) -> str:
    """Return one line of a list of facts, such as `fabric info` prints."""
    return f"{name:<30} {value}".rstrip()
