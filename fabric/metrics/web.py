"""What the ports of the console and the metrics have refused, under the names of its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.metrics.model import Figures, Kind, Metric

if TYPE_CHECKING:
    from fabric.web.connections import Connections

CONNECTIONS = Metric(
    "http_connections", Kind.GAUGE, "Connections to a `service`, `console` or `metrics`.", ("service",)
)
CONNECTIONS_REFUSED = Metric(
    "http_connections_refused",
    Kind.COUNTER,
    "Connections closed at once, by the `reason`: the limit that they were beyond.",
    ("service", "reason"),
)
REQUESTS_REFUSED = Metric(
    "http_requests_refused",
    Kind.COUNTER,
    "Requests answered with 429 since their address has sent more than its `requestsPerSecond`.",
    ("service",),
)
METRICS: Final = [CONNECTIONS, CONNECTIONS_REFUSED, REQUESTS_REFUSED]


def web_figures(site: Connections | None, service: str, container: str) -> Figures:
    """What one port has counted; nothing while nobody has come."""
    figures = Figures(container)
    if site is None:
        return figures
    figures.add(CONNECTIONS, len(site.protocols), service)
    for reason, count in sorted(site.refusals.items()):
        figures.add(CONNECTIONS_REFUSED, count, service, reason)
    figures.add(REQUESTS_REFUSED, site.requests_refused, service)
    return figures
