"""The shipped fence, recovery and commit over a fake disk; brokers run, pause and die between any two steps.

Fault model: up to four brokers, each on a host of its own, run step by step in random order; a pause is a
broker that is not chosen for long. A broker may be killed at any step, its host may lose what was not synced,
or all hosts may lose power at once. The disk is that of `support.fake_disk`. Data files, reads and sectors
are tiny, so that every few batches begin a data file and every batch can be torn.

Checked, as in the model the design came with:

1. every acknowledged record is seen by every later serving master (P1);
2. what is acknowledged after a successor began to serve is seen by that successor (P2);
3. what a serving master did not see never comes back;
4. one broker's records are seen in the order in which they were appended, none left out (P4);
5. without damage no recovery reports any.

Each planted bug must be found.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.fake_disk import FakeDataFile, FakeDisk, FakeFiles

from journal import reader as reader_module
from journal.batch import BatchHeader
from journal.errors import JournalError, StoreFenced
from journal.fence import Steps, claims, data_files, live_name
from journal.mastership import Mastership, OpenBatch, Opened, become_master
from journal.options import JournalOptions
from journal.record import AddMessage, AnyRecord, Record, RemoveMessage, Seal
from journal.recovery import StoreReader
from journal.state import State

SEALING = JournalOptions(file_bytes=600, read_bytes=300, carried_messages_max=-1)
CARRYING = JournalOptions(file_bytes=600, read_bytes=300)
QUEUE = "queue://a"
Event = tuple[int, int]  # epoch, number of the record within it


class SeenState(State):
    """A state that also remembers every record it was given, in order."""

    takes_runs = False

    def add_message(
        self,
        ref: int,
        destination: str,
        producer_id: str,
        sequence: int,
        location: int,
        length: int,
        priority: int = 4,
        expiration: int = 0,
    ) -> None:
        """Refs carry epoch and number."""
        super().add_message(ref, destination, producer_id, sequence, location, length, priority, expiration)
        self.seen.append(divmod(ref, 1000))

    def clear(self) -> None:
        """What was seen is carried over or forgotten."""
        super().clear()
        self.seen: list[Event] = []

    def apply(self, record: AnyRecord, location: int, length: int) -> None:
        """Removals are of messages that there never were; they carry epoch and number likewise."""
        super().apply(record, location, length)
        if isinstance(record, RemoveMessage):
            self.seen.append(divmod(record.ref, 1000))


@dataclass
class Broker:
    """One process: its steps, and the disk as its host sees it."""

    host: str
    steps: Steps[None]


@dataclass
class World:
    """A disk, the brokers on it, and what was promised to whom."""

    disk: FakeDisk
    random: random.Random
    bug: str | None = None
    options: JournalOptions = SEALING
    log: list[tuple[str, int, tuple[Event, ...]]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    def broker(self, host: str) -> Steps[None]:
        """A broker's life."""
        files = BUGGY_FILES.get(self.bug or "", FakeFiles)(self.disk, host)
        state = SeenState()
        try:
            opened = yield from self._become_master(files, state, host)
            ours = opened.mastership
            self.damage += map(str, opened.report.damages)
            place = opened.first.next_place(self.options.file_bytes)
            number = 0
            for _ in range(self.random.randint(0, 8)):
                for _ in range(self.random.choice((0, 0, 1, 5))):
                    yield next(opened.leftovers, "has nothing left to tidy")
                batch = OpenBatch(ours.epoch, place)
                events = []
                records: list[Record] = []
                for _ in range(self.random.choice((0, 1, 1, 2, 5))):
                    number += 1
                    events.append((ours.epoch, number))
                    records.append(self._record(ours.epoch, number))
                batch.add(records, ours.encoder, state)
                for step in ours.commit(batch):
                    if self.bug == "acknowledge before the check" and step.startswith("synced batch"):
                        self.log.append(("acknowledge", ours.epoch, tuple(events)))
                    yield step
                self.log.append(("acknowledge", ours.epoch, tuple(events)))
                place = batch.next_place(self.options.file_bytes)
                yield "acknowledged"
            if self.random.random() < 0.5:
                ours.give_back()
        except StoreFenced:
            return

    def _become_master(self, files: FakeFiles, state: SeenState, host: str) -> Steps[Opened]:
        """Notes what is seen when the master may begin to serve: its first batch has been checked."""
        steps = become_master(
            files, state, owner=host, salt=self.random.getrandbits(64), options=self.options
        )
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            if step == "checked batch 1":
                epoch = max(claims(n for n in self.disk.files if self.disk.owner(n) == host))
                self.log.append(("serve", epoch, tuple(state.seen)))
            yield step

    def _record(self, epoch: int, number: int) -> Record:
        ref = epoch * 1000 + number
        if self.options is SEALING and self.random.random() < 0.2:  # what was removed is not carried over
            return RemoveMessage(ref, QUEUE)
        return AddMessage(ref, QUEUE, str(epoch), number, bytes(self.random.choice((0, 10, 200))))

    def run(self) -> None:
        """Lets brokers come, run, pause and die."""
        brokers: list[Broker] = []
        for turn in range(self.random.randint(60, 400)):
            if len(brokers) < 4 and self.random.random() < 0.15:
                brokers.append(Broker(f"host{turn}", self.broker(f"host{turn}")))
            if self.random.random() < 0.003:
                brokers.clear()
                self.disk.power_failure()
            if not brokers:
                continue
            broker = self.random.choice(brokers) if self.random.random() < 0.6 else brokers[-1]
            if self.random.random() < 0.02:
                brokers.remove(broker)
                self.disk.crash(broker.host)
                continue
            try:
                for _ in range(self.random.choice((1, 1, 1, 5))):
                    next(broker.steps)
            except StopIteration:
                brokers.remove(broker)
        self.disk.power_failure()  # and one last master sees what is left
        for _ in self.broker("last"):
            pass

    def violation(self) -> str:
        """What was promised and not kept, empty if nothing."""
        if self.damage:
            return f"damage reported: {self.damage[0]}"
        acknowledged: dict[Event, None] = {}
        views: list[tuple[int, set[Event]]] = []
        for kind, epoch, events in self.log:
            if kind == "acknowledge":
                acknowledged.update(dict.fromkeys(events))
                for master, view in views:
                    if master > epoch and not view.issuperset(events):
                        return f"epoch {epoch} acknowledged {events}, unseen by serving epoch {master}"
                continue
            seen = set(events)
            if not seen.issuperset(acknowledged):
                return f"master {epoch} serves without {sorted(acknowledged.keys() - seen)[:3]}"
            for master, view in views:
                back = {event for event in seen - view if event[0] < master}
                if back:
                    return (
                        f"epoch {epoch} sees {sorted(back)[:3]} that serving epoch {master} had sealed away"
                    )
            if wrong := _disorder(events):
                return f"master {epoch} sees {wrong}"
            views.append((epoch, seen))
        return ""


def _disorder(events: Sequence[Event]) -> str:
    """What is wrong with the order of what a master sees."""
    last: dict[int, int] = {}
    for epoch, number in events:
        if number != last.get(epoch, 0) + 1:
            return f"record {number} of epoch {epoch} after {last.get(epoch, 0)}"
        last[epoch] = number
    return "" if list(last) == sorted(last) else f"epochs in the order {list(last)}"


class CheckBeforeSync(FakeFiles):
    """Asks for the token before the sync."""

    def create_data(self, name: str, allocated: int) -> FakeDataFile:
        """Hands out a file whose `write` looks at the token."""
        files = self
        disk = self._disk

        class EarlyFile(FakeDataFile):
            def write(self, offset: int, pieces: Sequence[bytes], *, syncing: bool = False) -> None:
                super().write(offset, pieces, syncing=syncing)
                files.answer = live_name(int(name.split("-")[1])) in disk.files

        super().create_data(name, allocated)
        return EarlyFile(disk, self._host, disk.files[name])

    answer = True

    def opens(self, name: str) -> bool:
        """The early answer."""
        return self.answer


class ReadBeforeUnlink(FakeFiles):
    """Removes the tokens only when everything was read."""

    def __init__(self, disk: FakeDisk, host: str) -> None:
        super().__init__(disk, host)
        self._later: list[str] = []

    def remove(self, name: str) -> None:
        """Keeps the name for later."""
        self._later.append(name)

    def create_data(self, name: str, allocated: int) -> FakeDataFile:
        """Removes what was kept."""
        for token in self._later:
            super().remove(token)
        return super().create_data(name, allocated)


class NoHigherClaimCheck(FakeFiles):
    """Does not see claims above its own."""

    claimed = 0

    def create(self, name: str, content: bytes) -> bool:
        """Notes our claim."""
        created = super().create(name, content)
        self.claimed = max(claims([name]), default=self.claimed)
        return created

    def names(self) -> list[str]:
        """Leaves the higher claims out."""
        names = super().names()
        return [n for n in names if not self.claimed or not any(c > self.claimed for c in claims([n]))]


class NoSync(FakeFiles):
    """Reports a sync that did not happen."""

    def create_data(self, name: str, allocated: int) -> FakeDataFile:
        """Hands out a file that lies."""

        class LyingFile(FakeDataFile):
            def sync(self) -> None:
                pass

        super().create_data(name, allocated)
        return LyingFile(self._disk, self._host, self._disk.files[name])


BUGGY_FILES: dict[str, Callable[[FakeDisk, str], FakeFiles]] = {
    "check before the sync": CheckBeforeSync,
    "read before the tokens are removed": ReadBeforeUnlink,
    "no look for higher claims": NoHigherClaimCheck,
    "no sync": NoSync,
}


def _no_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_sealed(self: StoreReader, seal: Seal, _at: Seal | None = None) -> Steps[None]:
        for batch in self._reader(seal.epoch).read():
            self._apply(batch)
            yield "read"

    monkeypatch.setattr(StoreReader, "_read_sealed", read_sealed)


def _no_adoption(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_ruler(
        self: StoreReader, ruler: Any, _start: Seal | None = None
    ) -> Steps[tuple[list[Record], Seal]]:
        reader = ruler.reader
        if ruler.batch is not None:
            self._apply(ruler.batch)
        for batch in reader.read():
            self._apply(batch)
            yield "read"
        return [], Seal(reader.epoch, *reader.position)

    monkeypatch.setattr(StoreReader, "_read_ruler", read_ruler)


def _no_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_whole(header: BatchHeader, data: bytes, at: int) -> bool:
        return at + header.length <= len(data)

    monkeypatch.setattr(reader_module, "_is_whole", is_whole)


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no seal": _no_seal,
    "no adoption": _no_adoption,
    "no checksum": _no_checksum,
}


def _violations(runs: int, bug: str | None = None, options: JournalOptions = SEALING) -> Iterator[str]:
    for seed in range(runs):
        rng = random.Random(seed)
        disk = FakeDisk(seed, sector_bytes=rng.choice((64, 512)))
        disk.allocates = seed % 3 > 0
        world = World(disk, rng, bug, options)
        try:
            world.run()
        except (JournalError, AssertionError, ValueError, KeyError) as error:
            if bug is None:
                raise
            yield f"seed {seed}: {error!r}"
            continue
        if violation := world.violation():
            yield f"seed {seed}: {violation}"


@pytest.mark.parametrize("options", [SEALING, CARRYING], ids=["sealing", "carrying"])
def test_no_interleaving_breaks_a_promise(options: JournalOptions) -> None:
    """P1, P2: whatever pauses, dies or loses power, what was acknowledged is seen, nothing comes back."""
    assert list(_violations(250, options=options)) == []


def test_files_removed_before_their_messages_are_carried_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker can fail: a master that tidies up before its first batch counts loses messages."""

    def commit(self: Mastership, batch: OpenBatch) -> Steps[None]:
        if batch.place.batch == 1:
            for name in [n for n in data_files(self._files.names()) if n.epoch < self.epoch]:
                self._files.remove(str(name))
                yield "removed"
        yield from correct(self, batch)

    correct = Mastership.commit
    monkeypatch.setattr(Mastership, "commit", commit)
    assert next(_violations(5_000, "tidy up first", CARRYING), None) is not None


@pytest.mark.parametrize("bug", ["acknowledge before the check", *BUGGY_FILES, *PATCHES])
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker can fail: each shortened or reordered protocol is caught."""
    if bug in PATCHES:
        PATCHES[bug](monkeypatch)
    assert next(_violations(5_000, bug), None) is not None


def test_the_runs_do_something() -> None:
    """The runs see takeovers, rolled files and acknowledgements, or they would prove nothing."""
    kinds: dict[str, int] = {}
    for seed in range(40):
        world = World(FakeDisk(seed, sector_bytes=64), random.Random(seed))
        world.run()
        for kind, _, events in world.log:
            kinds[kind] = kinds.get(kind, 0) + len(events)
        kinds["rolled"] = kinds.get("rolled", 0) + sum(n.endswith("-000002") for n in world.disk.files)
    assert kinds["acknowledge"] > 100
    assert kinds["serve"] > 100
    assert kinds["rolled"] > 10
