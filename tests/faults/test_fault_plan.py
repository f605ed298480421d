"""The plan of a randomized run."""

from itertools import islice

from faults.plan import PROMISES, Kind, Round, random_rounds, suite


def test_a_seed_is_a_plan() -> None:
    """The same seed does the same, another one something else."""
    first, again, other = (list(islice(random_rounds(seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_fault_has_its_turn() -> None:
    """In every so many rounds each comes once, and every fault has a promise."""
    rounds = list(islice(random_rounds(3), 2 * len(Kind)))
    for part in (rounds[: len(Kind)], rounds[len(Kind) :]):
        assert {one.kind for one in part} == set(Kind)
    assert [one.kind for one in suite()] == list(Kind)
    assert set(PROMISES) == set(Kind)


def test_what_is_too_short_to_be_noticed_may_move_the_mastership_or_not() -> None:
    """A host that is paused for a second is master afterwards, or not; one that dies is not."""
    assert Round(1, Kind.PAUSE, 8.0).moves is True
    assert Round(1, Kind.PAUSE, 1.0).moves is None
    assert Round(1, Kind.KILL, 1.0).moves is True
    assert Round(1, Kind.QUORUM, 1.0).moves is False
