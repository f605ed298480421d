"""Takeovers as bars: each phase from where the one before it ended to where it was reached. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fabric.takeovers import PHASES, TakeoverRow

LABELS: Final[Mapping[str, str]] = {
    "claimed": "store claimed",
    "recovered": "messages ready",
    "listening": "connectors open",
    "published": "clients can find it",
    "first_send": "first acknowledged send",
}
"""What each phase means."""
BAR: Final = 1000.0
"""Width of the longest bar, in the SVG's units."""
TAKEOVER: Final = ("claimed", "recovered", "listening", "published")
"""The phases a bar is scaled by: when somebody sends for the first time is up to him."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A phase.

    Attributes:
        left, width: of `BAR`.
        reached_ms: since the election.
        took_ms: since the phase before it.
    """

    phase: str
    label: str
    left: float
    width: float
    reached_ms: float
    took_ms: float


@dataclass(frozen=True, slots=True)
class TakeoverBar:
    """A takeover.

    Attributes:
        serving_ms: when clients could find the new master; null: not known.
        first_send_ms: when the first send was acknowledged; null: nobody has sent.
        waits: the bar ends before the first send, which came later than everything that is drawn.
    """

    row: TakeoverRow
    segments: list[Segment]
    serving_ms: float | None
    first_send_ms: float | None
    waits: bool


def bars(rows: Iterable[TakeoverRow]) -> list[TakeoverBar]:
    """All of them on one scale: that of the longest takeover, without the wait for somebody who sends."""
    listed = list(rows)
    longest_ms = max((_scaled_ms(row) for row in listed), default=0.0)
    scale = BAR / (longest_ms * 1.25) if longest_ms > 0 else 1.0
    return [_bar(row, scale) for row in listed]


def _scaled_ms(row: TakeoverRow) -> float:
    return max((row.record.phases_ms.get(phase, 0.0) for phase in TAKEOVER), default=0.0)


def _bar(row: TakeoverRow, scale: float) -> TakeoverBar:
    reached = row.record.phases_ms
    segments = []
    before_ms = 0.0
    ordered = sorted((phase for phase in PHASES if phase in reached), key=lambda phase: reached[phase])
    for phase in ordered:
        now_ms = max(0.0, float(reached[phase]))
        left, right = min(before_ms * scale, BAR), min(now_ms * scale, BAR)
        took_ms = now_ms - before_ms
        segments.append(Segment(phase, LABELS[phase], left, max(right - left, 0.0), now_ms, took_ms))
        before_ms = now_ms
    first_send = reached.get("first_send")
    return TakeoverBar(
        row,
        segments,
        reached.get("published"),
        first_send,
        waits=first_send is not None and first_send * scale > BAR,
    )
