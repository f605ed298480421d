"""`/metrics`, and where Prometheus finds the metrics of containers."""

from __future__ import annotations

from typing import Final

import msgspec

from fabric.metrics.exposition import render
from fabric.metrics.registry import read_fabric_figures
from fabric.metrics.targets import read_targets
from fabric.web.routes import API, Answer, Call, Route


class Targets(msgspec.Struct, frozen=True):
    """Addresses with the same labels, as Prometheus' HTTP service discovery has them.

    Attributes:
        targets: `HOST:PORT` of each.
        labels: of all their metrics; those that begin with `__` tell Prometheus how to ask.
    """

    targets: list[str]
    labels: dict[str, str]


async def metrics(call: Call) -> Answer:
    """The metrics of the whole fabric, and of this container."""
    console = call.console
    await console.view.ready()
    figures = [read_fabric_figures(console.view.reading), *console.figures()]
    accept = call.headers.get("accept")
    content_type, content = await console.blocking(lambda: render(figures, accept))
    return Answer(content, content_type)


async def targets(call: Call) -> list[Targets]:
    """The containers that serve metrics of their own."""
    await call.console.view.ready()
    return [Targets(**found) for found in read_targets(call.console.view.reading)]


ROUTES: Final = (
    Route("GET", "/metrics", metrics, "The fabric's metrics, in Prometheus' formats."),
    Route(
        "GET",
        f"{API}/metrics/targets",
        targets,
        "Where containers serve their metrics, as Prometheus' HTTP service discovery reads it.",
        answer=list[Targets],
    ),
)
