"""Figures as text that Prometheus reads."""

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from fabric.metrics.exposition import render
from fabric.metrics.model import Figures, Kind, Metric, Total
from journal.tally import Histogram

DEPTH = Metric("destination_messages", Kind.GAUGE, "Messages.", ("destination",))
SENT = Metric("messages_enqueued", Kind.COUNTER, "Sent.")
SYNC = Metric("sync_seconds", Kind.HISTOGRAM, "Syncs.")
WAIT = Metric("wait_seconds", Kind.SUMMARY, "Waits.")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def figures(container: str = "c1", destination: str = "orders") -> Figures:
    """One of each kind."""
    made = Figures(container)
    histogram = Histogram((0.001, 1.0))
    for number in (0.0005, 0.5, 7):
        histogram.add(number)
    made.add(DEPTH, 5, destination)
    made.add(SENT, 12)
    made.add(SYNC, histogram)
    made.add(WAIT, Total(4, 2.5))
    return made


@pytest.mark.parametrize(
    ("accept", "parse"), [("", prometheus), ("text/plain", prometheus), (OPENMETRICS, openmetrics)]
)
def test_what_is_written_can_be_read(accept: str, parse: object) -> None:
    """Both formats have every number, with the container as a label."""
    content_type, text = render([figures()], accept, process=False)
    assert content_type.startswith("application/openmetrics-text" if accept == OPENMETRICS else "text/plain")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text.decode())  # type: ignore[operator]  # one of two functions
        for sample in family.samples
    }
    own = ("container", "c1")
    assert samples["fabric_destination_messages", (own, ("destination", "orders"))] == 5
    assert samples["fabric_messages_enqueued_total", (own,)] == 12
    assert samples["fabric_sync_seconds_bucket", (own, ("le", "0.001"))] == 1
    assert samples["fabric_sync_seconds_bucket", (own, ("le", "1.0"))] == 2
    assert samples["fabric_sync_seconds_bucket", (own, ("le", "+Inf"))] == 3
    assert samples["fabric_sync_seconds_sum", (own,)] == 7.5005
    assert samples["fabric_wait_seconds_count", (own,)] == 4


def test_a_metric_of_two_services_is_one_family() -> None:
    """A second `# TYPE` line for it would be an error to Prometheus."""
    text = render([figures(), figures(destination="bills")], "", process=False)[1].decode()
    assert text.count("# TYPE fabric_destination_messages gauge") == 1
    assert 'destination="bills"' in text


def test_labels_of_any_content() -> None:
    """A destination's name may hold quotes, backslashes, line ends and any letter."""
    name = 'a"b\\c\nd ü{}'
    text = render([figures(destination=name)], "", process=False)[1].decode()
    families = {family.name: family for family in prometheus(text)}
    assert families["fabric_destination_messages"].samples[0].labels["destination"] == name


def test_figures_of_nobody_have_no_container() -> None:
    """Those of the whole fabric name the container themselves, if they are about one."""
    made = Figures()
    made.add(DEPTH, 1, "x")
    assert 'fabric_destination_messages{destination="x"} 1.0' in render([made], "", process=False)[1].decode()


def test_the_process_is_there() -> None:
    """Its CPU time, memory and open files, by Prometheus' own names."""
    families = {family.name: family for family in prometheus(render([], "")[1].decode())}
    assert families["process_resident_memory_bytes"].samples[0].value > 1 << 20
    assert not math.isnan(families["process_cpu_seconds"].samples[0].value)
