"""Figures as text: Prometheus' format, or OpenMetrics if that is asked for.

Everything here takes milliseconds for thousands of numbers: call it in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from fabric.metrics.model import Figures, Kind, Metric, Total, Value

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

PREFIX: Final = "fabric_"
CONTAINER: Final = "container"


class FiguresCollector:
    """What prometheus_client asks for metrics; made for one answer."""

    def __init__(self, figures: Iterable[Figures]) -> None:
        self._figures = list(figures)

    def collect(self) -> Iterator[Family]:
        """Each metric once, with what all figures have of it."""
        found: dict[Metric, list[tuple[Figures, tuple[str, ...], Value]]] = {}
        for figures in self._figures:
            for metric, samples in figures.samples.items():
                found.setdefault(metric, []).extend((figures, *sample) for sample in samples)
        for metric, rows in found.items():
            yield _family(metric, rows)


def _family(metric: Metric, samples: Sequence[tuple[Figures, tuple[str, ...], Value]]) -> Family:
    named = bool(samples[0][0].container)
    labels = [CONTAINER, *metric.labels] if named else list(metric.labels)
    name = PREFIX + metric.name
    rows = [((figures.container, *values) if named else values, value) for figures, values, value in samples]
    if metric.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, metric.meaning, labels=labels)
        for values, value in rows:
            buckets, total = _cumulative(value)
            histogram.add_metric(list(values), buckets, total)
        return histogram
    if metric.kind is Kind.SUMMARY:
        summary = SummaryMetricFamily(name, metric.meaning, labels=labels)
        for values, value in rows:
            assert isinstance(value, Total), metric
            summary.add_metric(list(values), value.count, value.sum)
        return summary
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is Kind.COUNTER:
        family = CounterMetricFamily(name, metric.meaning, labels=labels)
    else:
        family = GaugeMetricFamily(name, metric.meaning, labels=labels)
    for values, value in rows:
        assert isinstance(value, int | float), metric
        family.add_metric(list(values), value)
    return family


def _cumulative(value: Value) -> tuple[list[tuple[str, float]], float]:
    assert not isinstance(value, int | float | Total)
    bounds = [*(f"{bound:g}" if bound < 1 else f"{float(bound)}" for bound in value.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(value.counts)), strict=True)), value.sum


def render(figures: Iterable[Figures], accept: str | None, *, process: bool = True) -> tuple[str, bytes]:
    """Write figures down.

    Args:
        figures: of the services of a container, of the fabric, or both.
        accept: the header of that name of who asks; decides about the format.
        process: add what the operating system knows of this process.

    Returns:
        The content type and the text.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FiguresCollector(figures))
    if process:
        ProcessCollector(registry=registry)
    generate, content_type = choose_encoder(accept or "")
    return content_type, generate(registry)
