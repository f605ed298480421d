"""A store that does not answer is noticed, and the place is given to somebody else, once."""

import threading

from broker.stall import LOOKS, Patience, StallWatch


class Store:
    """Owes what the test says; notes who gives way."""

    def __init__(self, *, heir: bool = True) -> None:
        self.asked_s = 0.0
        self.heir = heir
        self.given_way = 0
        self.called = threading.Event()
        self.watch = StallWatch("b", lambda: self.asked_s, self._give_way, timeout_s=0.01)

    def _give_way(self) -> bool:
        self.called.set()
        self.given_way += self.heir
        return self.heir

    def look(self, times: int = 1) -> int:
        """Look; returns how often the place was given up so far."""
        for _ in range(times):
            self.watch.look()
        return self.given_way


def test_a_store_that_answers_is_left_alone() -> None:
    """Each question is another one: a slow disk that gets on is no stalled one."""
    store = Store()
    for question in range(1, 10 * LOOKS):
        store.asked_s = float(question)
        assert store.look(2) == 0
        store.asked_s = 0.0
        assert store.look() == 0


def test_a_store_that_does_not_answer_costs_the_place_once() -> None:
    """After so many looks at the same question; and not again for that question."""
    store = Store()
    store.asked_s = 5.0
    assert store.look(LOOKS - 1) == 0
    assert store.look() == 1
    assert store.look(3 * LOOKS) == 1


def test_a_second_stall_counts_anew() -> None:
    """The store has answered, and stops again."""
    store = Store()
    store.asked_s = 5.0
    store.look(LOOKS)
    store.asked_s = 0.0
    store.look()
    store.asked_s = 9.0
    assert store.look(LOOKS) == 2


def test_who_is_alone_asks_again_until_somebody_comes() -> None:
    """There is nobody to give way to: the broker waits, and a slave that joins later is found."""
    store = Store(heir=False)
    store.asked_s = 5.0
    assert store.look(2 * LOOKS) == 0
    store.heir = True
    assert store.look() == 1


def test_a_process_that_was_frozen_has_not_waited_for_its_store() -> None:
    """Looks count, not seconds: however old the question is when it wakes, its answer may come now."""
    patience = Patience()
    assert not patience.look(1.0)
    assert not patience.look(1.0)  # an hour later
    assert not patience.look(0.0)


def test_it_looks_by_itself_until_it_is_ended() -> None:
    """In a thread of its own, since every other may be waiting for the store."""
    store = Store()
    store.asked_s = 5.0
    store.watch.start()
    assert store.called.wait(30)
    store.watch.end()
