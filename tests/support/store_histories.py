"""Stores with a past: masters that came and went, made by the real journal from a seed, one step at a time.

Each master takes the store over (carrying it or sealing it), does a few dozen random things to queues, topics
and durable subscriptions, writes checkpoints, moves records, removes files, and ends in one of these ways: it
closes its journal, it dies between two batches, or it dies in the middle of one, on a disk that then keeps
any of its sectors.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from support.fake_disk import FakeDisk, FakeFiles

from journal.copier import Copy
from journal.fence import run
from journal.mastership import OpenBatch, Opened, become_master
from journal.options import JournalOptions
from journal.record import (
    PREPARED,
    SCHEDULED,
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    AnyRecord,
    Audience,
    CommitBranch,
    EpochEnd,
    Held,
    Memory,
    Note,
    PrepareBranch,
    Redelivered,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
    Reschedule,
    RollBackBranch,
    Seal,
)
from journal.state import State
from journal.upkeep import Upkeep

SIZES: Final = {"file_bytes": 1500, "read_bytes": 400, "checkpoint_bytes": 500, "move_records": 3}
SEALING: Final = JournalOptions(**SIZES, carried_messages_max=-1)
CARRYING: Final = JournalOptions(**SIZES, carried_messages_max=10)
QUEUES: Final = ("queue://a", "queue://b.c", "queue://ü\ud800")
TOPICS: Final = ("topic://x", "topic://x.y", "topic://z")
PATTERNS: Final = ("topic://x", "topic://x.>", "topic://*", "topic://x.*", "topic://>", "topic://x.*,y")
PRODUCERS: Final = ("", "", "p:1", "p:2", "ü")
STEPS: Final = ("batch", "batch", "batch", "batch", "checkpoint", "compaction")


class SteppedLog:
    """A master's batches, committed one by one; what upkeep needs of a journal."""

    def __init__(self, opened: Opened, state: State) -> None:
        self.ours = opened.mastership
        self._state = state
        self._open = OpenBatch(self.ours.epoch, opened.first.next_place(self.ours.file_bytes))

    def append(self, records: Sequence[AnyRecord]) -> int:
        """Adds to the open batch."""
        self._open.add(records, self.ours.encoder, self._state)
        return self._open.place.batch

    def copy(self, copies: Sequence[Copy]) -> list[Copy]:
        """Adds copies to the open batch."""
        return self._open.add_copies(copies, self._state)

    def commit(self) -> None:
        """Commits the open batch."""
        if self._open.count:
            run(self.ours.commit(self._take()))

    def tear(self) -> None:
        """Dies before the open batch is synced."""
        if self._open.count:
            steps = self.ours.commit(self._take())
            while not next(steps).startswith("wrote batch"):
                pass

    def cut(self) -> Seal:
        """Ends the open batch, and commits it at once."""
        self.commit()
        batch, number, offset = self._open.place
        return Seal(self.ours.epoch, number, offset, batch - 1)

    def data_file(self) -> int:
        """The one that is being filled."""
        return self._open.place.number

    def last_batch(self) -> int:
        """The last that holds anything."""
        return self._open.place.batch - (not self._open.count)

    def _take(self) -> OpenBatch:
        batch = self._open
        self._open = OpenBatch(self.ours.epoch, batch.next_place(self.ours.file_bytes))
        return batch


class StoreHistory:
    """A store and its masters.

    Attributes:
        disk: where it lies.
        state: of the last master.
        bodies: of every message ever sent, by number.
    """

    def __init__(self, seed: int, *, notes_survive: bool = True) -> None:
        self.random = random.Random(seed)
        self.disk = FakeDisk(seed, sector_bytes=128)
        self.disk.notes_survive = notes_survive
        self.state = State()
        self.bodies: dict[int, bytes] = {}
        self._masters = 0

    @property
    def files(self) -> FakeFiles:
        """The store as a host sees it that has nothing to do with its masters."""
        return FakeFiles(self.disk, "somebody else")

    def content(self) -> Mapping[str, bytes]:
        """What is on the disk, by name."""
        return {name: bytes(file.content) for name, file in self.disk.files.items()}

    def run(self, masters: int, steps_max: int = 60, looked: Callable[[], None] = lambda: None) -> None:
        """Lets so many masters come and go.

        Args:
            masters: how many.
            steps_max: batches, checkpoints and compactions of each, at most.
            looked: called after each step.
        """
        for _ in range(masters):
            self.master(self.random.randint(0, steps_max), looked)

    def master(self, steps: int, looked: Callable[[], None] = lambda: None) -> None:
        """One master's life."""
        self._masters += 1
        host = f"host {self._masters}"
        files = FakeFiles(self.disk, host)
        self.state = State()
        options = CARRYING if self.random.random() < 0.4 else SEALING
        salt = self.random.getrandbits(64)
        opened = run(become_master(files, self.state, owner=host, salt=salt, options=options))
        log = SteppedLog(opened, self.state)
        upkeep = Upkeep(files, self.state, log, opened.mastership.epoch, opened.first.end, options)
        looked()
        for _ in range(steps):
            step = self.random.choice(STEPS)
            if step == "batch":
                for _ in range(self.random.randint(1, 4)):
                    log.append(self.records())
                log.commit()
            elif step == "checkpoint":
                upkeep.name(run(upkeep.write(upkeep.view())))
                self._tidy(files, upkeep, log)
            else:
                self._compact(files, upkeep, log)
            looked()
        self._end(log)

    def _tidy(self, files: FakeFiles, upkeep: Upkeep, log: SteppedLog) -> None:
        log.commit()
        doomed = upkeep.doomed(files.names())
        run(upkeep.remove(doomed))

    def _compact(self, files: FakeFiles, upkeep: Upkeep, log: SteppedLog) -> None:
        names = files.names()
        name = upkeep.worst_file(names, upkeep.sizes(names))
        if name is not None:
            search = upkeep.search(name)
            while search.go_on():
                pass
            run(upkeep.copies(name, search.places(), upkeep.move))
            self._tidy(files, upkeep, log)

    def _end(self, log: SteppedLog) -> None:
        """Closes the journal, or dies."""
        way = self.random.choice(("closes", "dies", "tears", "tears"))
        if way == "closes":
            log.append([EpochEnd()])
            log.commit()
            log.ours.give_back()
        elif way == "tears":
            log.append(self.records())
            log.tear()
            self.disk.power_failure()

    def records(self) -> list[AnyRecord]:
        """Something random that a broker does."""
        random_, state = self.random, self.state
        if random_.random() < 0.08:
            return self._branch()
        if random_.random() < 0.05:
            key, value = random_.choice(("", "a", "ü")), random_.randbytes(random_.randint(0, 40))
            return [Note(random_.choice(("mqtt:c1", "mqtt:c2")), key, value)]
        what = random_.random()
        if what < 0.5:
            ref = state.next_ref + random_.choice((0, 0, 0, 3))
            body = random_.randbytes(random_.randint(0, 60))
            self.bodies[ref] = body
            destination = random_.choice((*QUEUES, *TOPICS))
            audience: list[AnyRecord] = []
            if ref % 4 == 1:
                keys = [*state.subscriptions, ("nobody", "x")][ref % 3 :]
                audience = [Audience(ref + (ref % 7 == 0), destination, tuple(keys))]
            return [
                *audience,
                AddMessage(
                    ref,
                    destination,
                    random_.choice(PRODUCERS),
                    random_.randint(-5, 500),
                    body,
                    (4, 4, 9, 4, 0)[ref % 5],
                    (0, 0, 1_000 + ref)[ref % 3],
                ),
            ]
        if what < 0.75:
            return self._removal()
        if what < 0.8:
            return self._schedule()
        if what < 0.9:
            keys = list(state.subscriptions) or [("nobody", "nothing")]
            key = random_.choice(keys)
            known = state.subscriptions.get(key)
            pending = list(known.pending) if known is not None else []
            if what < 0.8:
                place = known.destination if known is not None else TOPICS[0]
                return [Redelivered(ref, place, 2, ref % 2 and 2_000, *key) for ref in pending[:3]]
            return [AcknowledgeSubscription(*key, ref) for ref in pending[: random_.randint(0, 3)]]
        if what < 0.95:
            client, name = random_.choice(("c1", "c2")), random_.choice(("s", "t"))
            if random_.random() < 0.3:
                return [RemoveSubscription(client, name)]
            selector = random_.choice(("", "price > 3"))
            no_local, shared = random_.random() < 0.5, random_.random() < 0.5
            away_since_ms = random_.choice((0, 1_700_000_000_000))
            pattern = random_.choice(PATTERNS)
            return [AddSubscription(client, name, pattern, selector, no_local, shared, away_since_ms)]
        destination = random_.choice((*QUEUES, *TOPICS))
        others: list[AnyRecord] = [
            AddDestination(destination),
            RemoveDestination(destination),
            Memory(state.next_ref, {"remembered": random_.randint(0, 9)}),
        ]
        return [random_.choice(others)]

    def _schedule(self) -> list[AnyRecord]:
        """A message that is due later; others are due again, or not any more."""
        random_, state = self.random, self.state
        ref = state.next_ref
        self.bodies[ref] = body = random_.randbytes(random_.randint(0, 60))
        due_ms, repeats = random_.randint(1, 2**40), random_.choice((-1, 0, 9))
        made = AddScheduled(ref, random_.choice(PRODUCERS), random_.randint(-5, 500), body, due_ms, repeats)
        known = list(state.scheduled)[: random_.randint(0, 4)]
        return [
            made,
            *(Reschedule(each, due_ms + each, repeats) for each in known[:2]),
            *(RemoveMessage(each, SCHEDULED) for each in known[1:]),
        ]

    def _branch(self) -> list[AnyRecord]:
        """A branch is prepared, or one gets its outcome: mostly one that is prepared."""
        random_, state = self.random, self.state
        prepared = list(state.branches.prepared)
        if random_.random() < 0.5:
            xid = random_.choice(prepared or list(state.branches.heuristic) or ["unknown"])
            return [random_.choice((CommitBranch, RollBackBranch))(xid, random_.random() < 0.3)]
        records: list[AnyRecord] = []
        sent: dict[str, list[Held]] = {}
        for ref in range(state.next_ref, state.next_ref + random_.randint(0, 3)):
            destination = random_.choice((*QUEUES, *TOPICS, SCHEDULED))
            self.bodies[ref] = body = random_.randbytes(random_.randint(0, 60))
            priority = random_.choice((4, 4, 9))
            producer = random_.choice(PRODUCERS)
            expiration = random_.choice((0, 0, 1_000))
            records.append(AddMessage(ref, PREPARED + destination, producer, ref, body, priority, expiration))
            sent.setdefault(destination, []).append(Held(ref, priority, expiration))
        consumed = {
            name: [self._held(ref, name) for ref in list(messages)[:2]]
            for name, messages in state.queues.items()
            if random_.random() < 0.5
        }
        acknowledged = {
            key: [Held(ref, 4, 0, ref % 3) for ref in list(each.pending)[:2]]
            for key, each in state.subscriptions.items()
            if random_.random() < 0.5
        }
        xid = f"x{random_.randint(0, 9)}"
        if xid in prepared:
            return []
        return [*records, PrepareBranch(xid, "ü", "c1", 1_000, sent, consumed, acknowledged)]

    def _held(self, ref: int, queue: str) -> Held:
        """A message that a branch takes out of a queue."""
        state = self.state
        return Held(ref, state.priority_of(ref, queue), state.expiration_of(ref, queue), ref % 3)

    def _removal(self) -> list[AnyRecord]:
        """Some messages of one place are consumed: the first ones, as a rule; or given back."""
        places = self.state.places()
        name = self.random.choice(list(places) or [QUEUES[0]])
        refs = list(places.get(name, ()))
        if self.random.random() < 0.2:
            return [Redelivered(ref, name, 1 + ref % 3, ref % 2 and 2_000) for ref in refs[-4:]]
        if self.random.random() < 0.3:
            self.random.shuffle(refs)
        return [RemoveMessage(ref, name) for ref in refs[: self.random.randint(0, 6)]]
