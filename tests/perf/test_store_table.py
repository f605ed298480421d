"""The store's benchmark computes its rows right, and says of each target whether it was met."""

from perf.store import missing_space, parse
from perf.store_table import (
    Row,
    at_least,
    below,
    episodes,
    longest_gaps,
    overlaps,
    store_table,
)


def test_a_target_is_met_or_missed() -> None:
    """A row with a target says which of both; one without says nothing."""
    assert at_least("rate", "90/s", 0.9, 0.8, "fio").cells() == [
        "rate",
        "90/s",
        "0.90 of fio",
        "≥ 0.80",
        "met",
    ]
    assert below("start", 3.5, 3, "s").cells() == ["start", "3.5 s", "", "< 3 s", "missed"]
    assert Row("disk", "5/s", "1").cells() == ["disk", "5/s", "1", "", ""]


def test_the_table_has_a_line_for_each_row() -> None:
    """What was measured stands in the order in which it was measured."""
    lines = store_table([Row("a", "1 ms"), below("b", 2.0, 3, "ms")]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["a", "b"]


def test_spans_that_touch_overlap() -> None:
    """A pause that begins in the moment in which a checkpoint ends is the checkpoint's."""
    assert overlaps((1.0, 2.0), [(2.0, 3.0)])
    assert overlaps((1.0, 4.0), [(2.0, 3.0)])
    assert not overlaps((1.0, 1.9), [(2.0, 3.0), (0.0, 0.5)])


def test_pauses_belong_to_checkpoints_or_not() -> None:
    """The longest pause while a checkpoint was written is told from the longest of all others."""
    times = [0.0, 1.0, 1.5, 4.0, 4.1]
    assert longest_gaps(times, [(1.1, 1.2), (4.05, 4.2)]) == (0.5, 2.5)
    assert longest_gaps(times, []) == (0.0, 2.5)
    assert longest_gaps([], [(0.0, 1.0)]) == (0.0, 0.0)


def test_moments_close_together_are_one_episode() -> None:
    """Compaction that waits to spare the disk is still the same compaction."""
    assert episodes([1.0, 1.2, 1.6, 3.0], 0.5) == [(1.0, 1.6), (3.0, 3.0)]
    assert episodes([]) == []


def test_space_is_looked_at_before() -> None:
    """A benchmark that would fill the disk does not begin."""
    assert missing_space(10**12, 1_000_000, 1024) == 0
    assert missing_space(0, 1_000_000, 1024) > 4 * 1024 * 1_000_000


def test_parts_can_be_chosen() -> None:
    """One part at a time can be measured, on a machine that is quiet for minutes only."""
    wanted = parse(["--only", "append", "--only", "sends", "--messages", "1000"])
    assert (wanted.only, wanted.messages, wanted.size) == (["append", "sends"], 1000, 1024)
