"""P9: whatever is sent, consumed and left, the store takes at most twice the live bytes and two data files.

The shipped upkeep beside a master's batches, one step at a time, at 1/256 of its sizes: a data file has
128 KiB. After every batch upkeep goes on until it has nothing to do; then everything in the directory counts,
data files, checkpoints and the reserve. Patterns are adversarial: each leaves what it can in as many files as
it can.
"""

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_disk import FakeDisk, FakeFiles
from support.stepped_journal import SteppedJournal

from journal import upkeep as upkeep_module
from journal.options import JournalOptions
from journal.record import (
    PREPARED,
    AcknowledgeSubscription,
    AddMessage,
    AddSubscription,
    AnyRecord,
    CommitBranch,
    Held,
    PrepareBranch,
    RemoveDestination,
    RemoveMessage,
    RollBackBranch,
)

SCALE = 256
WHOLE = JournalOptions()
OPTIONS = JournalOptions(
    file_bytes=WHOLE.file_bytes // SCALE,
    allocated_bytes=WHOLE.allocated_bytes // SCALE,
    small_file_bytes=WHOLE.small_file_bytes // SCALE,
    reserve_bytes=WHOLE.reserve_bytes // SCALE,
    checkpoint_bytes=WHOLE.checkpoint_bytes // SCALE,
    batch_bytes_max=WHOLE.batch_bytes_max // SCALE,
    move_bytes=WHOLE.move_bytes // SCALE,
    read_bytes=16_384,
)
QUEUE = "queue://workshop.orders"
TOPIC = "topic://prices"
PRODUCER = "ID:host-41233-1700000000000-1:1:1:1"
Batches = Iterator[tuple[AnyRecord, ...]]


def message(ref: int, size: int, destination: str = QUEUE) -> AddMessage:
    """A message as a broker stores it."""
    return AddMessage(ref, destination, PRODUCER, ref, ref.to_bytes(8, "big") * (size // 8))


def one_in_a_thousand(_rng: random.Random) -> Batches:
    """One message in a thousand is never consumed."""
    for start in range(1, 10_001, 20):
        yield tuple(message(ref, 600) for ref in range(start, start + 20))
        yield tuple(RemoveMessage(ref, QUEUE) for ref in range(start, start + 20) if ref % 1_000)


def one_in_a_file(_rng: random.Random) -> Batches:
    """About one message in each data file is never consumed."""
    for start in range(1, 10_001, 20):
        yield tuple(message(ref, 600) for ref in range(start, start + 20))
        yield tuple(RemoveMessage(ref, QUEUE) for ref in range(start, start + 20) if ref % 200)


def an_early_message(_rng: random.Random) -> Batches:
    """The first messages are never consumed, all others at once."""
    yield tuple(message(ref, 600) for ref in range(1, 4))
    for ref in range(4, 3_000):
        yield (message(ref, 600),)
        yield (RemoveMessage(ref, QUEUE),)


def a_subscriber_away(_rng: random.Random) -> Batches:
    """A durable subscriber is away while another consumes all; then it comes back and is gone again."""
    yield tuple(AddSubscription("c", name, TOPIC, "", False) for name in ("here", "away"))
    for ref in range(1, 4_001):
        yield (message(ref, 400, TOPIC),)
        yield (AcknowledgeSubscription("c", "here", ref),)
        if ref == 2_000:
            for start in range(1, 2_001, 50):
                refs = range(start, start + 50)
                yield tuple(AcknowledgeSubscription("c", "away", each) for each in refs)


def many_subscribers_away(rng: random.Random) -> Batches:
    """Of forty durable subscribers each takes some of the messages, and no message is taken by all."""
    names = [f"subscriber {number}" for number in range(40)]
    yield tuple(AddSubscription("c", name, TOPIC, "", False) for name in names)
    for ref in range(1, 1_501):
        yield (message(ref, 200, TOPIC),)
        yield tuple(AcknowledgeSubscription("c", name, ref) for name in rng.sample(names, 20))


def transactions(rng: random.Random) -> Batches:
    """Large commits of sends, and others that consume all of the last."""
    ref = 1
    for _ in range(60):
        count = rng.randint(1, 60)
        yield tuple(message(each, 500) for each in range(ref, ref + count))
        if rng.random() < 0.8:
            yield tuple(RemoveMessage(each, QUEUE) for each in range(ref, ref + count))
        ref += count
        for each in range(ref, ref + 60):
            yield (message(each, 500), RemoveMessage(each, QUEUE))
        ref += 60


def branches_left_open(rng: random.Random) -> Batches:
    """Prepared transactions whose outcome comes late or never hold what they have sent and consumed."""
    ref, is_open = 1, []
    for number in range(120):
        sent = [Held(each) for each in range(ref, ref + rng.randint(1, 20))]
        taken = [Held(each) for each in range(sent[-1].ref + 1, sent[-1].ref + rng.randint(2, 10))]
        yield tuple(message(held.ref, 500) for held in taken)
        yield (
            *(message(held.ref, 500, PREPARED + QUEUE) for held in sent),
            PrepareBranch(f"x{number}", "", "c", 0, {QUEUE: sent}, {QUEUE: taken}, {}),
        )
        is_open.append((f"x{number}", sent, taken))
        ref = taken[-1].ref + 1
        for each in range(ref, ref + 60):
            yield (message(each, 500), RemoveMessage(each, QUEUE))
        ref += 60
        if number % 3 == 0:
            xid, sent, taken = is_open.pop(rng.randrange(len(is_open)))
            is_committed = rng.random() < 0.5
            yield (CommitBranch(xid) if is_committed else RollBackBranch(xid),)
            yield tuple(RemoveMessage(held.ref, QUEUE) for held in (sent if is_committed else taken))


def tiny_messages(rng: random.Random) -> Batches:
    """Very small messages pile up, and every second one is consumed, in any order."""
    waiting: list[int] = []
    for start in range(1, 15_001, 100):
        yield tuple(message(ref, 16) for ref in range(start, start + 100))
        waiting += range(start, start + 100)
        rng.shuffle(waiting)
        yield tuple(RemoveMessage(waiting.pop(), QUEUE) for _ in range(50))


def many_queues(rng: random.Random) -> Batches:
    """One message in each of many queues; then most queues are consumed, and some are deleted."""
    queues = [f"queue://region.{number}.orders" for number in range(600)]
    for ref, queue in enumerate(queues, 1):
        yield (message(ref, 300, queue),)
    for start in range(2_000, 10_000, 100):
        refs = range(start, start + 100)
        yield tuple(message(ref, 300, queues[ref % 600]) for ref in refs)
        yield tuple(RemoveMessage(ref, queues[ref % 600]) for ref in refs if ref % 50)
    for queue in queues[::3]:
        yield (RemoveDestination(queue),)


def a_backlog_is_consumed(_rng: random.Random) -> Batches:
    """What has piled up is consumed, with records that are small against the messages."""
    for start in range(1, 3_001, 10):
        yield tuple(message(ref, 1_000) for ref in range(start, start + 10))
    for start in range(1, 3_001, 10):
        yield tuple(RemoveMessage(ref, QUEUE) for ref in range(start, start + 10))


def a_random_half_is_consumed(rng: random.Random) -> Batches:
    """Every file keeps half of its messages: nothing is empty, and all is worth moving."""
    for start in range(1, 4_001, 10):
        yield tuple(message(ref, 600) for ref in range(start, start + 10))
    refs = list(range(1, 4_001))
    rng.shuffle(refs)
    for start in range(0, 2_000, 10):
        yield tuple(RemoveMessage(ref, QUEUE) for ref in refs[start : start + 10])


PATTERNS: list[Callable[[random.Random], Batches]] = [
    one_in_a_thousand,
    one_in_a_file,
    an_early_message,
    a_subscriber_away,
    many_subscribers_away,
    transactions,
    branches_left_open,
    tiny_messages,
    many_queues,
    a_backlog_is_consumed,
    a_random_half_is_consumed,
]


class Bound:
    """A store, and how near it came to its bound.

    Attributes:
        worst: the most that it took beyond twice the live bytes, in data files.
        written: bytes of records in the log, those of upkeep included.
        sent: bytes of records that the broker appended.
    """

    def __init__(self) -> None:
        self.disk = FakeDisk()
        self.disk.notes_survive = True
        self.journal = SteppedJournal(FakeFiles(self.disk), OPTIONS)
        self.worst = 0.0

    def append(self, records: tuple[AnyRecord, ...]) -> None:
        """One batch, and upkeep; then everything that is there counts."""
        if records:
            self.journal.append(*records)
        excess = self.disk.used - 2 * self.journal.state.live_bytes
        self.worst = max(self.worst, excess / OPTIONS.file_bytes)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_the_disk_stays_within_its_bound(pattern: Callable[[random.Random], Batches]) -> None:
    """P9: at most twice the live bytes and two data files after every batch, checkpoints and all."""
    bound = Bound()
    for records in pattern(random.Random(1)):
        bound.append(records)
    assert bound.worst <= 2.0


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_no_mixture_of_sends_and_removals_breaks_the_bound(data: st.DataObject) -> None:
    """P9: sizes, orders and shares of what is consumed are any."""
    bound = Bound()
    waiting: list[int] = []
    ref = 0
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    for _ in range(data.draw(st.integers(1, 8))):
        size = data.draw(st.sampled_from((16, 100, 600, 4_000)))
        count = data.draw(st.integers(1, 60))
        share = data.draw(st.sampled_from((0.0, 0.5, 0.9, 0.999, 1.0)))
        from_front = data.draw(st.booleans())
        for _ in range(count):
            refs = range(ref + 1, ref + 11)
            ref += 10
            bound.append(tuple(message(each, size) for each in refs))
            waiting += refs
            if not from_front:
                rng.shuffle(waiting)
            gone = [waiting.pop(0) for _ in range(min(len(waiting), round(10 * share + rng.random() / 2)))]
            bound.append(tuple(RemoveMessage(each, QUEUE) for each in gone))
    assert bound.worst <= 2.0


def test_without_compaction_the_bound_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker can fail: a store that only deletes what is empty grows with every old message."""
    monkeypatch.setattr(upkeep_module.Upkeep, "worst_file", lambda *_, **__: None)
    bound = Bound()
    for records in one_in_a_file(random.Random(1)):
        bound.append(records)
    assert bound.worst > 3.0
