"""Small charts as SVG, drawn here: pages have no code for it, and need none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 300
HEIGHT: Final = 60
"""Of the drawing; pages stretch it."""
SECONDS_MIN: Final = 60.0
"""A chart shows at least so long."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A line over time, with the area below it.

    Attributes:
        line: path of the line; empty while there are fewer than two points.
        area: path of the area.
        maximum: the highest value.
        seconds: how long it shows.
        last: the newest value.
    """

    line: str
    area: str
    maximum: float
    seconds: float
    last: float


def chart(times_s: Sequence[float], values: Sequence[float]) -> Chart:
    """Draw values over their times, the oldest first."""
    if len(values) < 2:
        return Chart("", "", max(values, default=0.0), 0.0, values[-1] if values else 0.0)
    seconds = max(times_s[-1] - times_s[0], SECONDS_MIN)
    begin_s, highest = times_s[-1] - seconds, max(*values, 1e-9)
    places = [
        (WIDTH * (at_s - begin_s) / seconds, HEIGHT - (HEIGHT - 2) * max(value, 0.0) / highest - 1)
        for at_s, value in zip(times_s, values, strict=True)
    ]
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    area = f"{line}L{places[-1][0]:.1f} {HEIGHT}L{places[0][0]:.1f} {HEIGHT}Z"
    return Chart(line, area, max(values), seconds, values[-1])
