"""What a journal counts."""

from journal.tally import Histogram, Tally


def test_a_number_falls_into_the_bucket_whose_bound_it_does_not_exceed() -> None:
    """Bounds belong to their bucket, as Prometheus' `le` says."""
    histogram = Histogram((1, 10))
    for number in (0.5, 1, 2, 10, 11):
        histogram.add(number)
    assert histogram.counts == [2, 2, 1]
    assert histogram.count == 5
    assert histogram.sum == 24.5


def test_a_copy_stays_as_it_is() -> None:
    """Who reads a copy finds the same numbers however long it takes."""
    tally = Tally()
    tally.commit(3, 400, 0.002)
    copy = tally.copy()
    tally.commit(1, 100, 0.001)
    tally.checkpoints += 1
    assert (copy.bytes, copy.records.sum, copy.commit_s.count, copy.checkpoints) == (400, 3, 1, 0)
    assert (tally.bytes, tally.records.sum, tally.commit_s.count, tally.checkpoints) == (500, 4, 2, 1)
