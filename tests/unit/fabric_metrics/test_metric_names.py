"""Every metric: its name follows the rules, and the reference explains it."""

import re
from pathlib import Path

import pytest

from fabric.metrics import broker, container, gateway, registry, web
from fabric.metrics.exposition import PREFIX
from fabric.metrics.model import Kind, Metric

ALL = [*broker.METRICS, *container.METRICS, *gateway.METRICS, *registry.METRICS, *web.METRICS]
ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs/reference/metrics.md").read_text()


def full_name(metric: Metric) -> str:
    """As it is written down."""
    return f"{PREFIX}{metric.name}{'_total' if metric.kind is Kind.COUNTER else ''}"


@pytest.mark.parametrize("metric", ALL, ids=full_name)
def test_a_metric_is_explained(metric: Metric) -> None:
    """The reference has its name, its type and its labels."""
    row = next((line for line in REFERENCE.splitlines() if line.startswith(f"| `{full_name(metric)}` |")), "")
    assert f"| {metric.kind.value} |" in row
    labels = [label for label in metric.labels if label not in ("group", "broker")]
    assert all(f"`{label}`" in row for label in labels), row
    assert metric.meaning.endswith(".")


@pytest.mark.parametrize("metric", ALL, ids=full_name)
def test_a_name_follows_the_rules(metric: Metric) -> None:
    """Lower case, base units at the end, and nothing that its type adds."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
    assert not metric.name.endswith(("_total", "_ms", "_count", "_sum", "_bucket"))


def test_names_are_unique() -> None:
    """Two metrics of one name would be one to Prometheus."""
    assert len({metric.name for metric in ALL}) == len(ALL)


def test_rules_and_dashboard_name_metrics_that_exist() -> None:
    """What is drawn and watched is served."""
    known = {full_name(metric) for metric in ALL}
    for metric in ALL:
        if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY):
            known |= {f"{PREFIX}{metric.name}{end}" for end in ("_bucket", "_count", "_sum")}
    for name in ("docker/prometheus/alerts.yml", "docker/grafana/fabric.json"):
        named = set(re.findall(r"\bfabric_[a-z_]*[a-z]\b", (ROOT / name).read_text()))
        assert named, name
        assert named <= known, named - known
