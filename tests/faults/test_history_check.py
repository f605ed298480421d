"""The checker of histories finds every breach that is planted, and none in what is right."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from faults.check import (
    LOST,
    NEVER_SENT,
    NO_END,
    OUT_OF_ORDER,
    REPEATED,
    STORE,
    TWO_MASTERS,
    check,
    check_store,
    following,
    longest_gap,
    main,
    slowest_producer,
)
from faults.history import (
    ACKNOWLEDGED,
    BEGUN,
    DELIVERED,
    DRAINED,
    EPOCH,
    REFUSED,
    STAYING,
    Event,
    HistoryInvalid,
    event_of,
    read_history,
    write_history,
)
from hypothesis import given, settings
from hypothesis import strategies as st

QUEUE = "q"


def begun(at: float, number: int, producer: str = "p") -> Event:
    """A send."""
    return Event(at, BEGUN, producer, QUEUE, producer, number)


def answered(at: float, number: int, broker: str = "a", producer: str = "p") -> Event:
    """Its answer."""
    return Event(at, ACKNOWLEDGED, producer, QUEUE, producer, number, broker=broker)


def delivered(at: float, number: int, *, again: bool = False, producer: str = "p") -> Event:
    """A delivery to the one consumer."""
    return Event(at, DELIVERED, "c", QUEUE, producer, number, again)


def claimed(at: float, epoch: int, broker: str) -> Event:
    """A broker takes the store."""
    return Event(at, EPOCH, broker, number=epoch, broker=broker)


END = Event(1000.0, DRAINED, "c", QUEUE)


def kinds(*events: Event) -> list[str]:
    """What the checker finds."""
    ordered = sorted((*events, END), key=lambda event: event.at)
    return [breach.kind for breach in check(ordered)]


def sent(*numbers: int) -> list[Event]:
    """Sends that are answered at once, one a second."""
    return [event for n in numbers for event in (begun(n, n), answered(n + 0.1, n))]


def test_a_history_of_a_failover_is_right() -> None:
    """One broker answers, then the next; what was under way is given again, with a warning."""
    events = [
        claimed(0.0, 1, "a"),
        *(begun(1.0, 1), answered(1.1, 1), delivered(1.2, 1)),
        *(begun(2.0, 2), delivered(2.1, 2)),
        claimed(3.0, 2, "b"),
        *(answered(3.5, 2, "b"), delivered(3.6, 2, again=True)),
        *(begun(4.0, 3), answered(4.1, 3, "b"), delivered(4.2, 3)),
    ]
    assert kinds(*events) == []


def test_what_is_in_doubt_may_come_or_not() -> None:
    """P1: a send without an answer promises nothing, either way."""
    assert kinds(*sent(1), delivered(1.2, 1), begun(2.0, 2)) == []
    assert kinds(*sent(1), delivered(1.2, 1), begun(2.0, 2), delivered(2.2, 2)) == []


def test_lost() -> None:
    """P1: acknowledged and never delivered."""
    assert kinds(*sent(1, 2), delivered(1.2, 1)) == [LOST]


def test_delivered_without_being_sent() -> None:
    """Nobody gets what nobody sent."""
    assert kinds(*sent(1), delivered(1.2, 1), delivered(1.3, 7)) == [NEVER_SENT]


def test_delivered_before_it_was_sent() -> None:
    """Nor before it was sent."""
    assert kinds(begun(2.0, 1), answered(2.1, 1), delivered(1.0, 1)) == [NEVER_SENT]


def test_delivered_from_another_queue() -> None:
    """Nor elsewhere."""
    elsewhere = replace(delivered(1.2, 1), queue="other")
    assert kinds(*sent(1), elsewhere) == [NEVER_SENT]


def test_delivered_though_refused() -> None:
    """Nor what was refused."""
    refused = Event(2.1, REFUSED, "p", QUEUE, "p", 2)
    assert kinds(*sent(1), delivered(1.2, 1), begun(2.0, 2), refused, delivered(2.2, 2)) == [NEVER_SENT]


def test_repeated_without_a_warning() -> None:
    """P3: what was stored twice comes twice, and looks new."""
    assert kinds(*sent(1), delivered(1.2, 1), delivered(1.3, 1)) == [REPEATED]


def test_repeated_with_a_warning() -> None:
    """What was not acknowledged may come again, and says so."""
    assert kinds(*sent(1), delivered(1.2, 1), delivered(1.3, 1, again=True)) == []


def test_out_of_order() -> None:
    """P4: the later of two before the earlier."""
    assert kinds(*sent(1, 2), delivered(2.2, 2), delivered(2.3, 1)) == [OUT_OF_ORDER]


def test_out_of_order_is_each_producers_own() -> None:
    """P4 says nothing of two producers."""
    other = [begun(1.0, 5, "r"), answered(1.1, 5, producer="r")]
    assert kinds(*sent(9), delivered(9.2, 9), *other, delivered(9.3, 5, producer="r")) == []


def test_repetitions_keep_the_order() -> None:
    """P4, redelivered ones included: a repetition ascends from where it begins."""
    first = [*sent(1, 2, 3), *(delivered(3.0 + n / 10, n) for n in (1, 2, 3))]
    right = [delivered(4.1, 2, again=True), delivered(4.2, 3, again=True)]
    wrong = [delivered(4.1, 3, again=True), delivered(4.2, 2, again=True)]
    assert kinds(*first, *right) == []
    assert kinds(*first, *wrong) == [OUT_OF_ORDER]


def test_a_repetition_may_begin_twice_at_the_same_place() -> None:
    """Two failovers in a row give the same messages again."""
    again = [delivered(4.0 + n / 10, 1 + n % 2, again=True) for n in range(4)]
    assert kinds(*sent(1, 2), delivered(2.2, 1), delivered(2.3, 2), *again) == []


def test_two_masters() -> None:
    """P2: a question that was put after the successor had answered, answered by its predecessor."""
    events = [
        *(claimed(0.0, 1, "a"), claimed(2.0, 2, "b")),
        *(begun(1.0, 1), answered(1.1, 1, "a"), delivered(1.2, 1)),
        *(begun(2.1, 2), answered(2.2, 2, "b"), delivered(2.3, 2)),
        *(begun(2.4, 3), answered(2.5, 3, "a"), delivered(2.6, 3)),
    ]
    assert kinds(*events) == [TWO_MASTERS]


def test_an_answer_that_was_on_its_way_is_no_second_master() -> None:
    """The question is older than the successor's first answer: the network was slow."""
    late = [begun(1.5, 9, "r"), answered(2.5, 9, "a", "r"), delivered(2.6, 9, producer="r")]
    events = [
        *(claimed(0.0, 1, "a"), claimed(2.0, 2, "b")),
        *(begun(1.0, 1), answered(1.1, 1, "a"), delivered(1.2, 1)),
        *(begun(2.1, 2), answered(2.2, 2, "b"), delivered(2.3, 2)),
    ]
    assert kinds(*events, *late) == []


def test_an_answer_that_was_on_its_way_counts_only_if_the_successor_knows_of_it() -> None:
    """P2: a client that stays with a master that woke up, and is told of what the new one has not."""
    events = [
        *(claimed(0.0, 1, "a"), claimed(2.0, 2, "b")),
        *(begun(1.0, 1), answered(1.1, 1, "a"), delivered(1.2, 1)),
        begun(1.5, 1, "staying-1"),
        *(begun(2.1, 2), answered(2.2, 2, "b"), delivered(2.3, 2)),
        answered(7.0, 1, "a", "staying-1"),
    ]
    assert sorted(kinds(*events)) == [LOST, TWO_MASTERS]
    assert kinds(*events, delivered(2.4, 1, producer="staying-1")) == []
    assert kinds(*events, delivered(8.0, 1, producer="staying-1")) == []


def test_a_broker_may_come_back() -> None:
    """Its next epoch is another one."""
    events = [
        *(claimed(0.0, 1, "a"), claimed(2.0, 2, "b"), claimed(3.0, 3, "a")),
        *(event for n in (1, 2, 3) for event in (begun(n, n), delivered(n + 0.5, n))),
        *(answered(1.2, 1, "a"), answered(2.2, 2, "b"), answered(3.2, 3, "a")),
    ]
    assert kinds(*events) == []


def test_a_history_without_an_end_says_nothing() -> None:
    """A clean verdict needs a queue that was read to its end."""
    events = [*sent(1), delivered(1.2, 1)]
    assert [breach.kind for breach in check(events)] == [NO_END]
    assert [breach.kind for breach in check([])] == [NO_END]


@pytest.mark.parametrize(
    "events",
    [[answered(1.0, 1)], [begun(1.0, 1), begun(2.0, 1)]],
    ids=["an answer without a send", "one message sent twice"],
)
def test_nonsense_is_refused(events: list[Event]) -> None:
    """A recorder that errs is no evidence."""
    with pytest.raises(HistoryInvalid):
        check(events)


INSPECTION: dict[str, Any] = {
    "damages": [],
    "live": [3],
    "ruling": 3,
    "claimed": 3,
    "seals": [{"epoch": 1, "number": 0, "offset": 10}, {"epoch": 2, "number": 0, "offset": 20}],
}


def test_a_store_in_order() -> None:
    """One epoch may acknowledge, and it rules."""
    assert list(check_store(INSPECTION)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"damages": [{"file": "data-000001-000000", "offset": 9}]},
        {"live": [2, 3]},
        {"live": [2]},
        {"claimed": 2},
        {"seals": [{"epoch": 1, "number": 0, "offset": 10}, {"epoch": 1, "number": 0, "offset": 20}]},
        {"seals": [{"epoch": 3, "number": 0, "offset": 10}]},
    ],
    ids=["damage", "two live", "another rules", "never claimed", "sealed twice", "its own seal"],
)
def test_a_store_that_contradicts_itself(change: dict[str, Any]) -> None:
    """P1, P2: what the journal says of itself is a witness too."""
    assert [breach.kind for breach in check_store({**INSPECTION, **change})] == [STORE]


def test_gaps() -> None:
    """The longest time in which nobody was answered, and in which one was not."""
    events = sorted(
        [
            *(event for n in (1, 2, 6) for event in (begun(n, n), answered(n, n))),
            *(begun(3.0, 1, "r"), answered(3.0, 1, producer="r")),
            *(begun(5.0, 2, "r"), answered(5.0, 2, producer="r")),
        ],
        key=lambda event: event.at,
    )
    assert longest_gap(events).seconds == 2.0
    assert longest_gap(events, since=5.5).seconds == 1.0
    assert (slowest_producer(events).who, slowest_producer(events).seconds) == ("p", 4.0)


def test_clients_that_stay_are_no_measure() -> None:
    """Who stays with a broker that stands still waits as long as that does."""
    staying = [
        event for n in (1, 9) for event in (begun(n, n, "staying-1"), answered(n, n, "a", "staying-1"))
    ]
    events = sorted([*sent(1, 2, 3), *staying], key=lambda event: event.at)
    assert slowest_producer(events).who == "p"
    assert following(events) == ["p"]


def test_a_file_tells_what_was_written(tmp_path: Path) -> None:
    """What a killed writer has not finished is left out; what is no history is refused."""
    path = tmp_path / "history"
    events = [*sent(1), delivered(1.2, 1, again=True), claimed(1.3, 4, "b")]
    write_history(path, reversed(events))
    path.write_text(path.read_text() + '{"at": 9, "wh')
    assert read_history([path]) == events
    for line in ("[]", '{"at": "x", "what": "begun"}', '{"at": 1, "what": "nonsense"}', '{"at": 1, "x": 2}'):
        with pytest.raises(HistoryInvalid):
            event_of(line)


def test_the_command_says_what_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its exit code is for scripts."""
    path = tmp_path / "history"
    write_history(path, [*sent(1, 2), delivered(1.2, 1), delivered(2.2, 2), END])
    assert main([str(path)]) == 0
    write_history(path, [*sent(1, 2), delivered(1.2, 1), END])
    assert main([str(path)]) == 1
    assert "lost: message 2 of p" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere")]) == 2


# ---- histories by chance


@dataclass(slots=True)
class Cluster:
    """Brokers that keep all promises: what the checker must have nothing to say about.

    One consumer, some producers that send one message at a time. Masters change; sends that were not answered
    are sent again to the next one; what was given and not acknowledged is given again with a warning. One
    producer stays with the master it has until that has answered, or has closed the connection and not
    answered. It answers what its successor has read, however late.
    """

    rng: Random
    producers: int = 3
    stays_with: str = ""
    events: list[Event] = field(default_factory=list)
    now: float = 0.0
    epoch: int = 0
    queue: list[tuple[str, int]] = field(default_factory=list)
    given: list[tuple[str, int]] = field(default_factory=list)
    open: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)

    def tell(self, make: Callable[[float], Event]) -> None:
        """Something happens, a moment later."""
        self.now += self.rng.choice([0.001, 0.01, 0.1])
        self.events.append(make(self.now))

    @property
    def broker(self) -> str:
        """Who is master."""
        return f"host{self.epoch % 2}"

    def fail_over(self) -> None:
        """The next master begins; what was given and is not acknowledged waits again, at the front."""
        self.epoch += 1
        self.tell(lambda at: claimed(at, self.epoch, self.broker))
        self.queue = self.given + self.queue
        self.given = []

    def stay(self) -> None:
        """The producer that stays sends, or is answered, or left."""
        producer = f"{STAYING}1"
        if producer not in self.open:
            number = self.numbers.get(producer, 0)
            self.numbers[producer], self.open[producer] = number + 1, number
            self.stays_with = self.broker
            self.tell(lambda at: begun(at, number, producer))
            if self.rng.random() < 0.7:
                self.queue.append((producer, number))
            return
        number = self.open.pop(producer)
        stored = (producer, number) in self.seen | set(self.queue) | set(self.given)
        if stored and self.rng.random() < 0.8:
            self.tell(lambda at: answered(at, number, self.stays_with, producer))

    def send(self) -> None:
        """A producer begins a send that is stored, or not; or gets the answer to it."""
        number = self.rng.randrange(self.producers + 1)
        if number == self.producers:
            self.stay()
            return
        producer = f"p{number}"
        if producer not in self.open:
            number = self.numbers.get(producer, 0)
            self.numbers[producer] = number + 1
            self.open[producer] = number
            self.tell(lambda at: begun(at, number, producer))
            if self.rng.random() < 0.5:
                self.queue.append((producer, number))
            return
        number = self.open.pop(producer)
        if (producer, number) not in self.seen | set(self.queue) | set(self.given):
            self.queue.append((producer, number))
        self.tell(lambda at: answered(at, number, self.broker, producer))

    def deliver(self) -> None:
        """The consumer is given a message, or acknowledges all that it has."""
        if not self.queue or (self.given and self.rng.random() < 0.3):
            self.given = []
            return
        key = self.queue.pop(0)
        again = key in self.seen
        self.seen.add(key)
        self.given.append(key)
        self.tell(lambda at: delivered(at, key[1], again=again, producer=key[0]))

    def live(self, steps: int) -> list[Event]:
        """A history, with its end."""
        self.fail_over()
        for _ in range(steps):
            chance = self.rng.random()
            if chance < 0.03:
                self.fail_over()
            elif chance < 0.6:
                self.send()
            else:
                self.deliver()
        while self.open or not self.numbers:
            self.send()
        while self.queue:
            self.deliver()
        self.tell(lambda at: replace(END, at=at))
        return self.events


def lose(events: list[Event], rng: Random) -> list[Event]:
    """Planted: an acknowledged message does not come."""
    victim = rng.choice([event for event in events if event.what == ACKNOWLEDGED])
    key = (victim.producer, victim.number)
    return [e for e in events if e.what != DELIVERED or (e.producer, e.number) != key]


def repeat(events: list[Event], rng: Random) -> list[Event]:
    """Planted: a message was stored twice."""
    place = rng.choice([n for n, event in enumerate(events) if event.what == DELIVERED])
    twin = replace(events[place], redelivered=False)
    return [*events[: place + 1], twin, *events[place + 1 :]]


def invent(events: list[Event], rng: Random) -> list[Event]:
    """Planted: a message that nobody sent."""
    place = rng.randrange(1, len(events))
    return [*events[:place], delivered(events[place].at, 10_000), *events[place:]]


def swap(events: list[Event], rng: Random) -> list[Event]:
    """Planted: two messages of one producer change places when they are given for the first time."""
    firsts: dict[tuple[str, int], int] = {}
    for place, event in enumerate(events):
        if event.what == DELIVERED:
            firsts.setdefault((event.producer, event.number), place)
    pairs = [(p, n) for p, n in firsts if (p, n + 1) in firsts]
    producer, number = rng.choice(pairs)
    one, other = firsts[producer, number], firsts[producer, number + 1]
    changed = list(events)
    changed[one] = replace(events[one], number=number + 1)
    changed[other] = replace(events[other], number=number)
    return changed


def answer_when_woken(events: list[Event], rng: Random) -> list[Event]:
    """Planted: a frozen master wakes, and answers what its successor never sees."""
    del rng
    last = events[-1].at
    newest = max(event.number for event in events if event.what == EPOCH)
    master = next(event for event in events if event.what == EPOCH and event.number == newest).broker
    staying = f"{STAYING}2"
    late = [
        *(begun(last + 1, 0, staying), claimed(last + 2, newest + 1, "heir")),
        *(begun(last + 3, 0, "x"), answered(last + 4, 0, "heir", "x"), delivered(last + 5, 0, producer="x")),
        answered(last + 9, 0, master, staying),
    ]
    return [*events, *late]


def answer_late(events: list[Event], rng: Random) -> list[Event]:
    """Planted: a broker answers once more after its successor has answered."""
    del rng
    last = events[-1].at
    newest = max(event.number for event in events if event.what == EPOCH)
    master = next(event for event in events if event.what == EPOCH and event.number == newest).broker
    late = [
        *(claimed(last + 1, newest + 1, "heir"), begun(last + 2, 0, "x"), answered(last + 3, 0, "heir", "x")),
        *(begun(last + 4, 1, "x"), answered(last + 5, 1, master, "x")),
        *(delivered(last + 6, 0, producer="x"), delivered(last + 7, 1, producer="x")),
    ]
    return [*events, *late]


@given(seed=st.integers(0, 2**32), steps=st.integers(10, 300))
def test_nothing_is_found_in_a_history_that_is_right(seed: int, steps: int) -> None:
    """No false alarm, whatever fails over when."""
    assert check(Cluster(Random(seed)).live(steps)) == []


@settings(max_examples=40)
@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lose, LOST),
        (repeat, REPEATED),
        (invent, NEVER_SENT),
        (swap, OUT_OF_ORDER),
        (answer_late, TWO_MASTERS),
        (answer_when_woken, TWO_MASTERS),
    ],
)
@given(seed=st.integers(0, 2**32))
def test_what_is_planted_in_a_history_is_found(
    plant: Callable[[list[Event], Random], list[Event]], kind: str, seed: int
) -> None:
    """Each rule can fail, anywhere in a long history."""
    events = plant(Cluster(Random(seed)).live(200), Random(seed))
    assert kind in {breach.kind for breach in check(events)}
