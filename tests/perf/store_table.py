"""The rows of the store's benchmark, and what is computed for them from what was seen: pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from perf.statistics_of_runs import table

EPISODE_S = 0.5
"""Two reads for compaction that are closer belong to the same; between them it waits, to spare the disk."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        what: was measured.
        value: with its unit.
        ratio: to what the disk did in the same run, or to what else is named; empty: there is none.
        target: as text; empty: none.
        met: whether it was; None without target.
    """

    what: str
    value: str
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        """As the table shows it."""
        verdict = "" if self.met is None else "met" if self.met else "missed"
        return [self.what, self.value, self.ratio, self.target, verdict]


def store_table(rows: Sequence[Row]) -> str:
    """All rows, as Markdown."""
    return table(["what", "measured", "ratio", "target", ""], [row.cells() for row in rows])


def at_least(what: str, value: str, ratio: float, least: float, of: str) -> Row:
    """A row whose ratio to something has to reach a share."""
    return Row(what, value, f"{ratio:.2f} of {of}", f"≥ {least:.2f}", ratio >= least)


def below(what: str, figure: float, most: float, unit: str, digits: int = 1) -> Row:
    """A row whose figure has to stay below a limit."""
    return Row(what, f"{figure:,.{digits}f} {unit}", "", f"< {most:,g} {unit}", figure < most)


def overlaps(span: Span, others: Sequence[Span]) -> bool:
    """Whether a stretch of time has a moment in common with any of others."""
    return any(span[0] <= end and begin <= span[1] for begin, end in others)


def longest_gaps(times: Sequence[float], spans: Sequence[Span]) -> tuple[float, float]:
    """The longest pause between neighbouring times that touches a span, and that touches none; seconds."""
    inside = outside = 0.0
    for gap in itertools.pairwise(times):
        if overlaps(gap, spans):
            inside = max(inside, gap[1] - gap[0])
        else:
            outside = max(outside, gap[1] - gap[0])
    return inside, outside


def episodes(moments: Sequence[float], longest_s: float = EPISODE_S) -> list[Span]:
    """Stretches of time in which the moments follow each other closely."""
    found: list[Span] = []
    for moment in moments:
        if found and moment - found[-1][1] <= longest_s:
            found[-1] = (found[-1][0], moment)
        else:
            found.append((moment, moment))
    return found
