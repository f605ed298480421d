"""Checkpoints, compaction and deletion by several brokers on one store, which pause or die at any step.

Fault model: that of `test_fence_simulation`, with upkeep between the batches: at every step of a master its
next batch goes on or its upkeep does, at random; a zombie's too. Most brokers follow the log as slaves before
they take over. In some runs bytes of the newest checkpoint that counts are changed on the disk now and then,
while the one before it is whole.

Checked whenever a master begins to serve:

1. every message whose send was acknowledged is there with its body, unless its removal was at least appended;
2. no message is there whose removal was acknowledged;
3. what a serving master did not have never comes back;
4. without damage no recovery reports any, and with damage only that of checkpoints.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.fake_disk import FakeDisk, FakeFiles

from journal.bodies import Bodies
from journal.errors import JournalError, StoreFenced, StoreMissing
from journal.fence import Steps, checkpoint_files, checkpoint_name
from journal.follower import Follower
from journal.mastership import OpenBatch, Opened, become_master
from journal.options import JournalOptions
from journal.reader import EpochReader
from journal.record import CHECKPOINTS_KEPT, AddMessage, AnyRecord, Checkpoint, RemoveMessage, Seal
from journal.recovery import Recovered, StoreReader
from journal.state import State
from journal.upkeep import Doomed, Upkeep

OPTIONS = JournalOptions(file_bytes=900, read_bytes=300, checkpoint_bytes=500, move_records=2)
QUEUES = ("queue://a", "queue://b")


def body_of(ref: int) -> bytes:
    """A body that nobody else has."""
    return b"%d" % ref * (1 + ref % 9)


class SimulatedLog:
    """A master's batches: the open one, and those that wait to be committed."""

    def __init__(self, opened: Opened, state: State) -> None:
        self.ours = opened.mastership
        self._state = state
        self.open = OpenBatch(self.ours.epoch, opened.first.next_place(self.ours.file_bytes))
        self.closed: list[OpenBatch] = []
        self.durable = opened.first.place.batch

    def append(self, records: Sequence[AnyRecord]) -> int:
        """Adds to the open batch."""
        self.open.add(records, self.ours.encoder, self._state)
        return self.open.place.batch

    def cut(self) -> Seal:
        """Ends the open batch."""
        if self.open.count:
            self.close()
        batch, number, offset = self.open.place
        return Seal(self.ours.epoch, number, offset, batch - 1)

    def close(self) -> None:
        """The next batch begins."""
        self.closed.append(self.open)
        self.open = OpenBatch(self.ours.epoch, self.open.next_place(self.ours.file_bytes))

    def data_file(self) -> int:
        """The one that is being filled."""
        return self.open.place.number

    def last_batch(self) -> int:
        """The last that holds anything."""
        return self.open.place.batch - (not self.open.count)


@dataclass
class World:
    """A disk, the brokers on it, and what was promised to whom."""

    disk: FakeDisk
    random: random.Random
    bug: str = ""
    damages: bool = False
    sent: set[int] = field(default_factory=set)
    removing: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)
    views: list[tuple[int, set[int]]] = field(default_factory=list)
    violation: str = ""
    checkpoints: int = 0
    recovered_from: int = 0
    deleted: int = 0
    warm: int = 0
    moved: int = 0
    damaged: set[str] = field(default_factory=set)
    newest: Upkeep | None = None

    def broker(self, host: str) -> Steps[None]:
        """A broker's life."""
        files = FakeFiles(self.disk, host)
        follower = Follower(files)
        for _ in range(self.random.choice((0, 0, 5, 30))):
            with suppress(JournalError):
                follower.poll()
            yield "followed"
        if follower.place is not None:
            self.warm += 1
        state = follower.state
        try:
            opened = yield from self.become_master(files, follower, host)
            self.recovered_from += bool(opened.report.checkpoint)
            for damage in opened.report.damages:
                if not self.damages or "checkpoint" not in damage.file:
                    self.violation = f"epoch {opened.mastership.epoch}: damage reported: {damage}"
            log = SimulatedLog(opened, state)
            yield from self.serve(files, opened, state, log)
        except StoreFenced:
            return

    def become_master(self, files: FakeFiles, follower: Follower, host: str) -> Steps[Opened]:
        """Looks at what is seen when the master may begin to serve: its first batch has been checked."""
        salt = self.random.getrandbits(64)
        state = follower.state
        warm = follower.place
        steps = become_master(files, state, owner=host, salt=salt, options=OPTIONS, warm=warm)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            if step == "checked batch 1":
                self.check(files, max(state.salts), state)
            yield step

    def serve(self, files: FakeFiles, opened: Opened, state: State, log: SimulatedLog) -> Steps[None]:
        """Commits batches; between any two steps of that, a step of upkeep."""
        upkeep = Upkeep(files, state, log, opened.mastership.epoch, opened.first.end, OPTIONS)
        care = self.care(files, upkeep, log)
        number = 0
        for _ in range(self.random.randint(0, 25)):
            for _ in range(self.random.choice((0, 1, 1, 3))):
                number += 1
                self.act(state, log, opened.mastership.epoch * 1000 + number)
            if log.open.count:
                log.close()
            while log.closed:
                batch = log.closed.pop(0)
                for step in opened.mastership.commit(batch):
                    yield step
                    for _ in range(self.random.choice((0, 0, 1, 3))):
                        yield next(care)
                log.durable = batch.place.batch
                self.acknowledge(log.durable)
                yield "acknowledged"
        if self.random.random() < 0.5:
            opened.mastership.give_back()

    def act(self, state: State, log: SimulatedLog, ref: int) -> None:
        """Sends a message, or removes one: usually one of the oldest."""
        queue = self.random.choice(QUEUES)
        live = list(state.queues.get(queue, ()))
        if live and self.random.random() < 0.5:
            gone = live[0] if self.random.random() < 0.6 else self.random.choice(live)
            batch = log.append([RemoveMessage(gone, queue)])
            self.removing.add(gone)
            self.pending.append((log, batch, "removed", gone))
        else:
            batch = log.append([AddMessage(ref, queue, "p", ref, body_of(ref))])
            self.pending.append((log, batch, "sent", ref))

    pending: list[tuple[SimulatedLog, int, str, int]] = field(default_factory=list)

    def acknowledge(self, _batch: int) -> None:
        """What is durable may be told."""
        for entry in list(self.pending):
            log, batch, what, ref = entry
            if batch <= log.durable:
                self.pending.remove(entry)
                (self.sent if what == "sent" else self.removed).add(ref)

    def care(self, files: FakeFiles, upkeep: Upkeep, log: SimulatedLog) -> Iterator[str]:
        """The caretaker's work, for ever."""
        while True:
            yield "upkeep waits"
            if self.random.random() < 0.7:
                continue
            checkpoint = yield from upkeep.write(upkeep.view())
            yield from self.wait(log, upkeep.name(checkpoint))
            self.checkpoints += 1
            if self.newest is None or upkeep.epoch >= self.newest.epoch:
                self.newest = upkeep
            yield from self.tidy(files, upkeep, log)
            names = files.names()
            name = upkeep.worst_file(names, upkeep.sizes(names))
            yield "looked for a file to compact"
            if name is not None:
                try:
                    yield from upkeep.candidates(name, upkeep.move)
                except StoreMissing:  # a successor has removed it
                    continue
                yield from self.wait(log, log.last_batch())
                self.moved += 1
                yield from self.tidy(files, upkeep, log)

    def tidy(self, files: FakeFiles, upkeep: Upkeep, log: SimulatedLog) -> Iterator[str]:
        """Removes what is dead, after the check."""
        doomed = upkeep.doomed(files.names())
        yield "listed the dead files"
        if self.bug == "removed before the check":
            doomed = Doomed(0, doomed.names, doomed.trimmed)
        yield from self.wait(log, doomed.batch)
        for step in upkeep.remove(doomed):
            self.deleted += 1
            yield step

    def wait(self, log: SimulatedLog, batch: int) -> Iterator[str]:
        """Until a batch has passed the fence check."""
        while log.durable < batch:
            yield "upkeep waits for a batch"

    def damage(self, upkeep: Upkeep) -> None:
        """Flips bits in the newest checkpoint that counts, unless one that may be needed is damaged."""
        kept = [checkpoint_name(each.epoch, each.number) for each in upkeep.checkpoints]
        if (
            len(kept) == CHECKPOINTS_KEPT
            and kept[1] in self.disk.files
            and not self.damaged & set(self.disk.files)
        ):
            content = self.disk.files[kept[-1]].content
            self.disk.corrupt(kept[-1], self.random.randrange(len(content) - 1), b"\xaa\x55")
            self.damaged.add(kept[-1])

    def check(self, files: FakeFiles, epoch: int, state: State) -> None:
        """What a master sees when it begins to serve."""
        bodies = Bodies(files, state.salts)
        seen = set()
        for queue in state.queues.values():
            for ref, place in queue.entries_after(-1):
                seen.add(ref)
                if bodies.read(place) != body_of(ref):
                    self.violation = f"epoch {epoch}: another body stands at the place of {ref}"
        if lost := self.sent - self.removing - seen:
            self.violation = f"epoch {epoch}: acknowledged and lost: {sorted(lost)[:3]}"
        if back := self.removed & seen:
            self.violation = f"epoch {epoch}: consumed and back: {sorted(back)[:3]}"
        for master, view in self.views:
            if back := {ref for ref in seen - view if ref < master * 1000}:
                self.violation = f"epoch {epoch}: {sorted(back)[:3]} were gone for epoch {master}"
        self.views.append((epoch, seen))

    def run(self) -> str:
        """Lets brokers come, run, pause and die; returns what was violated."""
        brokers: list[tuple[str, Steps[None]]] = []
        for turn in range(self.random.randint(200, 1500)):
            if len(brokers) < 3 and self.random.random() < (0.3 if not brokers else 0.01):
                brokers.append((f"host{turn}", self.broker(f"host{turn}")))
            if self.random.random() < 0.002:
                brokers.clear()
                self.disk.power_failure()
            if not brokers:
                continue
            broker = self.random.choice(brokers) if self.random.random() < 0.3 else brokers[-1]
            if self.random.random() < 0.005:
                brokers.remove(broker)
                self.disk.crash(broker[0])
                if self.damages and self.newest is not None and self.random.random() < 0.7:
                    self.damage(self.newest)
                continue
            try:
                for _ in range(self.random.choice((1, 1, 5, 20))):
                    next(broker[1])
            except StopIteration:
                brokers.remove(broker)
            if self.violation:
                return self.violation
        self.disk.power_failure()
        for _ in self.broker("last"):
            pass
        return self.violation


def _trust_unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(self: StoreReader, _recovered: object) -> list[Checkpoint]:
        names = checkpoint_files(self._files.names())
        return [Checkpoint(epoch, number, Seal(0, 0, 0, 0)) for epoch, number in names]

    monkeypatch.setattr(StoreReader, "_named", named)


def _applied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(self: Follower, reader: EpochReader) -> None:
        for batch in reader.read():
            self._apply(batch)

    monkeypatch.setattr(Follower, "_follow", follow)
    monkeypatch.setattr(StoreReader, "_read_warm", _trusting)


def _trusting(self: StoreReader, ruler: Any, at: Seal) -> Steps[Recovered | None]:
    recovered = yield from self._read_below(ruler, at)
    return recovered


def _no_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(dict[int, int]):
        def __contains__(self, _key: object) -> bool:
            return False

    doomed = Upkeep.doomed

    def careless(self: Upkeep, names: Sequence[str]) -> Doomed:
        usage, self._state.usage = self._state.usage, Nothing()
        try:
            return doomed(self, names)
        finally:
            self._state.usage = usage

    monkeypatch.setattr(Upkeep, "doomed", careless)


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a checkpoint that no record names is trusted": _trust_unnamed,
    "a follower applies what may be cut": _applied_at_once,
    "files with live messages are removed": _no_usage,
}


def violations(runs: int, bug: str = "", *, damages: bool = False) -> Iterator[str]:
    """What goes wrong in so many worlds."""
    for seed in range(runs):
        world = World(FakeDisk(seed, sector_bytes=512), random.Random(seed), bug, damages)
        try:
            violation = world.run()
        except (JournalError, AssertionError, ValueError, KeyError) as error:
            if not bug:
                raise
            violation = repr(error)
        if violation:
            yield f"seed {seed}: {violation}"


@pytest.mark.parametrize("damages", [False, True])
def test_upkeep_loses_nothing_and_brings_nothing_back(damages: bool) -> None:
    """P1, P2: checkpoints, moves and deletions of masters and zombies never change what a successor sees."""
    assert list(violations(100, damages=damages)) == []


@pytest.mark.parametrize("bug", ["removed before the check", *PATCHES])
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker can fail: each careless kind of upkeep is caught."""
    if bug in PATCHES:
        PATCHES[bug](monkeypatch)
    assert next(violations(2_000, bug), None) is not None


def test_the_runs_do_something() -> None:
    """The runs see checkpoints, recoveries from them, moves and deletions, or they would prove nothing."""
    worlds = [World(FakeDisk(seed, sector_bytes=64), random.Random(seed)) for seed in range(30)]
    for world in worlds:
        world.run()
    assert sum(world.checkpoints for world in worlds) > 100
    assert sum(world.recovered_from for world in worlds) > 30
    assert sum(world.deleted for world in worlds) > 100
    assert sum(world.warm for world in worlds) > 30
    assert sum(world.moved for world in worlds) > 10
