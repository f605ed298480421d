"""What is remembered of a broker's samples: rates, points of charts, lists, and their limits."""

from hypothesis import given
from hypothesis import strategies as st

from broker.management.model import BrokerInfo, CounterInfo, LevelInfo, Page, QueueInfo, UsageInfo
from fabric.web.samples import (
    CHARTED_MAX,
    LISTED_MAX,
    RESOLUTION_S,
    SPAN_S,
    BrokerSamples,
    Flow,
    Listing,
    Sample,
)


def counters(enqueued: int, dequeued: int = 0, since: int = 1) -> CounterInfo:
    """Counters of a destination."""
    return CounterInfo(since, enqueued, dequeued, 0, 0, 0, 0.0, 0)


def queue(name: str, size: int = 0, enqueued: int = 0) -> QueueInfo:
    """A queue."""
    return QueueInfo(name, False, False, size, size, 0, 0, 0, counters(enqueued))


def pages(names: list[str], size: int) -> list[Page[QueueInfo]]:
    """A list in pages."""
    parts = [names[start : start + size] for start in range(0, len(names), size)] or [[]]
    return [
        Page([queue(name) for name in part], len(names), part[-1] if part is not parts[-1] else "")
        for part in parts
    ]


def test_a_rate_is_the_mean_of_the_last_seconds() -> None:
    """None after one sample, then what has happened in five seconds, and 0 when nothing has any more."""
    flow = Flow()
    flow.add(100.0, counters(1000), 0)
    assert flow.enqueued_per_s is None
    for second in range(1, 11):
        flow.add(100.0 + second, counters(1000 + 50 * second, 20 * second), 0)
    assert (flow.enqueued_per_s, flow.dequeued_per_s) == (50.0, 20.0)
    for second in range(11, 18):
        flow.add(100.0 + second, counters(1500, 200), 0)
    assert (flow.enqueued_per_s, flow.dequeued_per_s) == (0.0, 0.0)


def test_another_masters_counters_begin_anew() -> None:
    """After a takeover, or when they are set back, no rate is negative or made of two masters' counters."""
    flow = Flow()
    flow.add(1.0, counters(500), 0)
    flow.add(2.0, counters(600), 0)
    flow.add(3.0, counters(10, since=2), 0)
    assert flow.enqueued_per_s is None
    flow.add(4.0, counters(40, since=2), 0)
    assert flow.enqueued_per_s == 30.0
    flow.add(5.0, counters(4, since=2), 0)
    assert flow.enqueued_per_s is None


def test_points_are_ten_seconds_apart_for_an_hour() -> None:
    """However often samples come, and for however long."""
    flow = Flow()
    for second in range(2 * int(SPAN_S)):
        flow.add(1000.0 + second, counters(3 * second), second)
    points = flow.points
    assert len(points) == SPAN_S / RESOLUTION_S + 1
    assert points[-1].at_s - points[0].at_s == SPAN_S
    assert {point.enqueued_per_s for point in points} == {3.0}


@given(st.lists(st.sampled_from([f"q{number}" for number in range(30)]), unique=True), st.integers(1, 9))
def test_a_round_of_pages_ends_with_what_there_is(names: list[str], size: int) -> None:
    """What is gone is forgotten after a round, not before; what stays keeps its flow."""
    listing: Listing[QueueInfo] = Listing(lambda each: each.size)
    listing.add(1.0, Page([queue("gone"), queue("q1")], 2, ""))
    kept = listing.flows["q1"]
    names = sorted({*names, "q1"})
    for number, part in enumerate(pages(names, size)):
        assert "gone" in listing.by_name
        listing.add(2.0 + number, part)
    assert sorted(listing.by_name) == names
    assert listing.flows["q1"] is kept
    assert (listing.total, listing.after) == (len(names), "")


def test_the_largest_have_charts() -> None:
    """Beyond the limit only the largest queues, at most so many."""
    listing: Listing[QueueInfo] = Listing(lambda each: each.size)
    listing.add(1.0, Page([queue(f"q{number:04}", number) for number in range(CHARTED_MAX + 7)], 507, ""))
    assert len(listing.flows) == CHARTED_MAX
    assert "q0006" not in listing.flows
    assert "q0007" in listing.flows


def test_a_list_that_is_too_long_is_cut() -> None:
    """The console keeps so many, and says how many there are."""
    listing: Listing[QueueInfo] = Listing(lambda each: each.size)
    total = LISTED_MAX + 1000
    for start in range(0, total, 1000):
        names = [f"q{number:06}" for number in range(start, start + 1000)]
        if listing.after or start == 0:
            listing.add(float(start), Page([queue(name) for name in names], total, names[-1]))
    assert len(listing.by_name) == LISTED_MAX
    assert not listing.is_complete
    assert (listing.total, listing.after) == (total, "")


def test_answers_to_the_console_are_no_traffic_of_the_broker() -> None:
    """What goes through temporary queues, the console's own among them, is not in the broker's rates."""
    level = LevelInfo(0, 1, 0)
    usage = UsageInfo(level, level, level, False, 0, 0, "")
    samples = BrokerSamples()
    for second in range(3):
        orders = queue("orders", enqueued=10 * second)
        own = QueueInfo("ID:console", True, False, 0, 0, 0, 1, 0, counters(4 * second))
        everything = counters(14 * second)
        info = BrokerInfo("b", "g", "1", 0, [], 1, 1, 1, 1, 0, 1, 0, 0, everything, usage, 0)
        samples.add(float(second), Sample(info, Page([own, orders], 2, ""), Page([], 0, ""), []))
    assert samples.flow.enqueued_per_s == 10
