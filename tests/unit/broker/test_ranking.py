"""Which destinations have figures of their own, and what the rest adds up to."""

from hypothesis import given
from hypothesis import strategies as st
from support.region import MemoryStore, Peer

from broker.destination import Destination
from broker.ranking import COUNTERS, Ranked, Ranking, counters_of
from broker.region.region import Region
from broker.region.statistics import reset_all, total

ENQUEUED = COUNTERS.index("enqueued")


class Bench:
    """A region whose destinations are ranked."""

    def __init__(self) -> None:
        self.region = Region(MemoryStore(), now_ms=1)
        self.peer = Peer(self.region)
        self.ranking = Ranking()

    def send(self, name: str, count: int = 1) -> None:
        """Send to a queue."""
        for _ in range(count):
            self.peer.send("m", Destination.queue(name))

    def look(self, shown_max: int) -> Ranked:
        """Look, a moment later."""
        self.region.now_ms += 1
        counted = counters_of(total(self.region))
        return self.ranking.look(self.region.targets.values(), counted, shown_max, self.region.now_ms)


def shown(ranked: Ranked) -> set[str]:
    """The names of those with figures of their own."""
    return {each.destination.name for each in ranked.shown}


def test_few_destinations_are_all_shown() -> None:
    """Then nothing is left for the rest."""
    bench = Bench()
    bench.send("a", 2)
    bench.send("b")
    ranked = bench.look(10)
    assert shown(ranked) == {"a", "b"}
    assert ranked.rest[ENQUEUED] == 0


def test_the_busiest_are_shown() -> None:
    """The rest is one sum."""
    bench = Bench()
    for count, name in enumerate("abcd", start=1):
        bench.send(name, count)
    ranked = bench.look(2)
    assert shown(ranked) == {"c", "d"}
    assert ranked.rest[ENQUEUED] == 3


def test_who_is_shown_stays_until_another_has_far_more() -> None:
    """A little more traffic elsewhere changes nothing."""
    bench = Bench()
    bench.send("a", 5)
    bench.send("b", 4)
    assert shown(bench.look(1)) == {"a"}
    bench.send("b", 2)
    assert shown(bench.look(1)) == {"a"}
    bench.send("b", 20)
    assert shown(bench.look(1)) == {"b"}


def test_temporary_ones_are_never_shown() -> None:
    """Each has a name that nobody has heard before."""
    bench = Bench()
    temporary = Destination.parse("temp-queue://ID:1")
    bench.region.add_temporary(temporary, bench.peer.connection)
    assert shown(bench.look(5)) == set()


def test_counters_that_begin_anew_begin_anew_everywhere() -> None:
    """An operator has set them back: nothing is below zero."""
    bench = Bench()
    for name in "ab":
        bench.send(name, 3)
    bench.look(1)
    reset_all(bench.region)
    bench.send("b")
    ranked = bench.look(1)
    assert ranked.rest[ENQUEUED] in (0, 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abcdef"), st.integers(1, 9)),
        st.tuples(st.just("delete"), st.sampled_from("abcdef")),
        st.tuples(st.just("look"), st.integers(0, 4)),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_rest_never_goes_back_and_nothing_is_counted_twice(steps: list[tuple[str, object]]) -> None:
    """What is added to all counters shown between two looks is what was sent between them, or less.

    Less by what a destination had received, unseen, when it is shown for the first time: that stays in the
    rest.
    """
    bench = Bench()
    sent = sent_then = 0
    before: Ranked | None = None
    counted: dict[str, int] = {}
    for what, argument in [*steps, ("look", 2), ("look", 0)]:
        if what == "delete":
            target = bench.region.targets.get(Destination.queue(str(argument)))
            if target is not None:
                bench.region.delete([target])
        elif what == "look":
            ranked = bench.look(int(str(argument)))
            now = {each.destination.name: each.statistics.enqueued for each in ranked.shown}
            rose = sum(max(now[name] - counted.get(name, now[name]), 0) for name in now)
            if before is not None:
                assert ranked.rest[ENQUEUED] >= before.rest[ENQUEUED]
                assert rose + ranked.rest[ENQUEUED] - before.rest[ENQUEUED] <= sent - sent_then
            before, sent_then = ranked, sent
            counted = now
        else:
            bench.send(what, int(str(argument)))
            sent += int(str(argument))
