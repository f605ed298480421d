"""Statistics of destinations: what is counted, and how long messages waited."""

import random

from support.region import QUEUE, TOPIC, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.region.region import Region
from broker.region.statistics import MARKS_MAX, ArrivalTimes, Statistics, reset_all, total


def counted(found: Statistics) -> tuple[int, int, int, int]:
    """What a test compares."""
    return found.enqueued, found.dispatched, found.dequeued, found.expired


def at(region: Region, now_ms: int) -> None:
    """Let it be that time, and everything durable."""
    region.advance(now_ms)
    settle(region)


def test_a_queue_counts_what_comes_and_goes() -> None:
    """Enqueued, dispatched, dequeued; what is held and in flight is looked at."""
    region = new_region()
    peer = Peer(region)
    for index in range(3):
        peer.send(f"m{index}", persistent=index != 1)
    peer.consume(prefetch_size=2)
    settle(region)
    queue = region.targets[QUEUE]
    assert counted(queue.statistics) == (3, 2, 0, 0)
    assert (queue.in_flight, queue.size) == (2, 3)
    peer.acknowledge(peer.client.refs()[0])
    settle(region)
    assert counted(queue.statistics) == (3, 3, 1, 0)
    assert (queue.in_flight, queue.size) == (2, 2)
    assert queue.statistics.enqueued_bytes_average > 0


def test_what_is_given_back_is_dispatched_again() -> None:
    """Each dispatch counts."""
    region = new_region()
    peer = Peer(region)
    peer.send("m")
    peer.consume()
    settle(region)
    peer.connection.remove_consumer("k")
    peer.consume()
    settle(region)
    assert counted(region.targets[QUEUE].statistics) == (1, 2, 0, 0)


def test_expired_messages_are_dequeued() -> None:
    """They are counted twice, as ActiveMQ does."""
    region = new_region()
    peer = Peer(region)
    peer.send("m", expiration=2_000)
    at(region, 3_000)
    peer.consume()
    settle(region)
    assert counted(region.targets[QUEUE].statistics) == (1, 0, 1, 1)


def test_a_queue_that_chooses_counts_likewise() -> None:
    """Selectors and priorities make no difference."""
    region = new_region()
    peer = Peer(region)
    peer.consume(selector="TRUE")
    peer.send("m", priority=7)
    settle(region)
    assert counted(region.targets[QUEUE].statistics) == (1, 1, 0, 0)


def test_a_topic_counts_a_dispatch_for_each_subscriber() -> None:
    """One message, two subscribers."""
    region = new_region()
    peer = Peer(region)
    peer.consume("a", TOPIC)
    peer.consume("b", TOPIC)
    peer.send("m", TOPIC)
    settle(region)
    topic = region.targets[TOPIC]
    assert counted(topic.statistics) == (1, 2, 0, 0)
    assert topic.in_flight == 2
    peer.acknowledge(peer.client.refs()[0], key="a")
    assert topic.statistics.dequeued == 1


def test_waits_are_measured_from_arrival_to_dispatch() -> None:
    """The shortest, the longest and the average, though nothing is noted of a message when it comes."""
    region = new_region()
    peer = Peer(region)
    at(region, 1_000)
    peer.send("m0")
    at(region, 1_010)
    peer.send("m1")
    peer.send("m2")
    at(region, 1_100)
    peer.consume()
    settle(region)
    statistics = region.targets[QUEUE].statistics
    assert (statistics.wait_ms_min, statistics.wait_ms_max) == (90, 100)
    assert statistics.wait_ms_average == (100 + 90 + 90) / 3
    at(region, 1_200)
    peer.send("m3")
    settle(region)
    assert (statistics.wait_ms_min, statistics.timed) == (0, 4)


def test_the_wait_of_messages_that_were_found_begins_with_the_takeover() -> None:
    """What was before is not known."""
    region = new_region()
    at(region, 1_000)
    Peer(region).send("m")
    settle(region)
    region = restarted(region)
    at(region, 1_007)
    Peer(region).consume()
    settle(region)
    assert region.targets[QUEUE].statistics.wait_ms_max == 7


def test_a_clock_that_is_set_back_makes_no_negative_wait() -> None:
    """The wait is then unknown: 0."""
    times = ArrivalTimes(1, 1_000)
    times.mark(2, 900)
    assert times.waited_ms(1, 900) == 0
    assert times.waited_ms(1, 1_001) == 1


def test_old_moments_become_sparser() -> None:
    """However long a broker runs, a message's wait is known to a few hundredths."""
    times = ArrivalTimes(0, 0)
    moments = 50 * MARKS_MAX
    for ref in range(moments):
        times.mark(ref + 1, ref)
    chance = random.Random(7)
    for _ in range(1_000):
        ref = chance.randrange(moments)
        wait_ms = moments - ref
        assert wait_ms <= times.waited_ms(ref, moments) <= wait_ms * 1.04 + 1


def test_the_broker_adds_up_what_is_and_what_was() -> None:
    """A deleted destination's counts stay; a reset begins anew everywhere."""
    region = new_region()
    peer = Peer(region)
    other = Destination.queue("other")
    peer.send("m")
    peer.send("n", other)
    settle(region)
    peer.connection.remove_destination(other)
    assert other not in region.targets
    assert total(region).enqueued == 2
    region.advance(77)
    reset_all(region)
    assert counted(total(region)) == (0, 0, 0, 0)
    assert total(region).since_ms == 77


def test_open_producers_are_counted_by_destination() -> None:
    """Also those of several destinations; none is left when the connection ends."""
    region = new_region()
    peer = Peer(region)
    a, b = Destination.queue("a"), Destination.queue("b")
    peer.connection.add_producer("1", a)
    peer.connection.add_producer("2", Destination.queue("a,b"))
    peer.connection.add_producer("3", None)
    assert region.producers == {a: 2, b: 1}
    peer.connection.remove_producer("1")
    assert region.producers == {a: 1, b: 1}
    peer.connection.close()
    assert region.producers == {}
