"""Figures: numbers under the names of metrics. They know nothing of formats.

A metric's name follows Prometheus' rules: the prefix `fabric_` (added when written down), the unit last, and
`_total` behind a counter's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias


class Kind(Enum):
    """What the numbers of a metric are, in Prometheus' words."""

    COUNTER = "counter"
    """Only rises, until its process or its mastership ends."""
    GAUGE = "gauge"
    """Is what it is now."""
    HISTOGRAM = "histogram"
    """Counts numbers in buckets."""
    SUMMARY = "summary"
    """Counts numbers and adds them up."""


class Buckets(Protocol):
    """A histogram, such as `journal.tally.Histogram`."""

    @property
    def bounds(self) -> Sequence[float]:
        """Ascending; each is the largest number of its bucket."""
        ...

    @property
    def counts(self) -> Sequence[int]:
        """Numbers in each bucket; the last one has those above all bounds."""
        ...

    @property
    def sum(self) -> float:
        """Of the numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Total:
    """How many numbers there were, and their sum."""

    count: int
    sum: float


Value: TypeAlias = float | Buckets | Total
"""A number of a counter or gauge, the buckets of a histogram, the total of a summary."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        name: without prefix, and without a counter's `_total`.
        kind: what its numbers are.
        meaning: one sentence, also for the reference.
        labels: their names, in order; `container` stands before them where the figures are a container's.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


class Figures:
    """Numbers of one moment.

    Attributes:
        container: whose they are: it becomes a label of each number; empty: nobody's.
        samples: the values of each metric with those of its labels.
    """

    def __init__(self, container: str = "") -> None:
        self.container = container
        self.samples: dict[Metric, list[tuple[tuple[str, ...], Value]]] = {}

    def add(self, metric: Metric, value: Value, *labels: str) -> None:
        """One more number; the labels in the order of the metric's."""
        assert len(labels) == len(metric.labels), metric
        self.samples.setdefault(metric, []).append((labels, value))
