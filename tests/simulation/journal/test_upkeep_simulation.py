"""Upkeep by several brokers on one store, which pause or die at any step, on a disk that may be full.

Fault model: that of `test_fence_simulation`, with the shipped order of upkeep (`journal.care`) between the
batches: at every step of a master its next batch goes on or its upkeep does, at random; a zombie's too. Most
brokers follow the log as slaves before they take over. In some worlds bytes of the newest checkpoint that
counts are changed on the disk now and then, while the one before it is whole. In some the disk has a
capacity, which changes: others fill it and free it. In a third of all worlds nothing can be allocated.

Checked whenever a master begins to serve:

1. every message whose send was acknowledged is there with its body, unless its removal was at least appended;
2. no message is there whose removal was acknowledged;
3. what a serving master did not have never comes back;
4. without damage no recovery reports any, and with damage only that of checkpoints;

and on a disk with a capacity:

5. at the end, when space has returned, the last master's disk is not full any more.

More seeds than the tests have time for: `SIMULATION_SEEDS=1000..9000 pytest tests/simulation/journal`.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.fake_disk import FakeDisk, FakeFiles
from support.stepped_journal import SteppedLog, SteppedUpkeep

from journal.bodies import Bodies
from journal.errors import JournalError, StoreFenced, StoreFull
from journal.fence import Steps, checkpoint_files, checkpoint_name
from journal.follower import Follower
from journal.mastership import OpenBatch, Opened, become_master
from journal.moves import Part
from journal.options import JournalOptions
from journal.reader import EpochReader
from journal.record import CHECKPOINTS_KEPT, AddMessage, Checkpoint, RemoveMessage, Seal
from journal.recovery import Recovered, StoreReader
from journal.state import State
from journal.upkeep import Doomed, Upkeep

OPTIONS = JournalOptions(
    file_bytes=900,
    allocated_bytes=300,
    small_file_bytes=300,
    reserve_bytes=700,
    read_bytes=300,
    checkpoint_bytes=400,
    move_records=2,
)
QUEUES = ("queue://a", "queue://b")
SEEDS = 40


def seeds(count: int = SEEDS) -> range:
    """As many as the tests have time for, or those of the environment."""
    first, _, last = os.environ.get("SIMULATION_SEEDS", f"0..{count - 1}").partition("..")
    return range(int(first), int(last) + 1)


def body_of(ref: int) -> bytes:
    """A body that nobody else has."""
    return b"%d" % ref * (1 + ref % 9)


class CountingUpkeep(Upkeep):
    """Upkeep that tells the world what it does."""

    world: "World"

    def name(self, checkpoint: Checkpoint) -> int:
        """One more checkpoint."""
        self.world.checkpoints += 1
        if self.world.newest is None or self.epoch >= self.world.newest.epoch:
            self.world.newest = self
        return super().name(checkpoint)

    def remove(self, doomed: Doomed) -> Steps[None]:
        """Files go."""
        for step in super().remove(doomed):
            self.world.deleted += 1
            yield step

    def move(self, part: Part) -> int:
        """Records move."""
        self.world.moved += len(part)
        return super().move(part)


class Master:
    """A broker that serves: its batches, and its upkeep beside them."""

    def __init__(self, world: "World", files: FakeFiles, opened: Opened, state: State) -> None:
        self.world = world
        self.opened = opened
        self.state = state
        self.log = log = SteppedLog(opened, state)
        ours = opened.mastership
        self.reserve = ours.reserve
        upkeep = CountingUpkeep(files, state, log, ours.epoch, opened.first.end, OPTIONS)
        upkeep.world = world
        self.upkeep = SteppedUpkeep(files, opened, state, log, upkeep)
        self.upkeep.checks = world.bug != "removed before the check"
        self.pending: list[tuple[int, str, int]] = []  # batch, sent or removed, message
        self.next_ref = ours.epoch * 1000

    def act(self) -> None:
        """Sends a message, or removes one: usually one of the oldest."""
        rng = self.world.random
        queue = QUEUES[rng.random() < 0.5]
        messages = self.state.queues.get(queue)
        share = 0.9 if self.reserve.full else 0.5
        if messages and rng.random() < share:
            live = list(messages)
            gone = live[0] if rng.random() < 0.6 else rng.choice(live)
            self.pending.append((self.log.append([RemoveMessage(gone, queue)]), "removed", gone))
            self.world.removing.add(gone)
        elif not self.reserve.full:
            self.next_ref += 1
            ref = self.next_ref
            batch = self.log.append([AddMessage(ref, queue, "p", ref, body_of(ref))])
            self.pending.append((batch, "sent", ref))

    def committed(self, batch: OpenBatch) -> None:
        """What is durable may be told."""
        self.upkeep.committed(batch)
        while self.pending and self.pending[0][0] <= self.log.durable:
            _, what, ref = self.pending.pop(0)
            (self.world.sent if what == "sent" else self.world.removed).add(ref)


@dataclass
class World:
    """A disk, the brokers on it, and what was promised to whom."""

    disk: FakeDisk
    random: random.Random
    bug: str = ""
    damages: bool = False
    fills: bool = False
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
    shortages: int = 0
    damaged: set[str] = field(default_factory=set)
    newest: Upkeep | None = None

    def broker(self, host: str, batches: int) -> Steps[None]:
        """A broker's life."""
        files = FakeFiles(self.disk, host)
        follower = Follower(files)
        for _ in range(self.random.choice((0, 0, 5, 30))):
            with suppress(JournalError):
                follower.poll()
            for _ in range(self.random.choice((1, 1, 1, 80))):
                yield "followed"
        self.warm += follower.place is not None
        try:
            opened = yield from self.become_master(files, follower, host)
            self.recovered_from += bool(opened.report.checkpoint)
            for damage in opened.report.damages:
                if not self.damages or "checkpoint" not in damage.file:
                    self.violation = f"epoch {opened.mastership.epoch}: damage reported: {damage}"
            yield from self.serve(Master(self, files, opened, follower.state), batches)
        except StoreFenced:
            return
        except StoreFull:
            assert self.fills
            self.shortages += 1

    def become_master(self, files: FakeFiles, follower: Follower, host: str) -> Steps[Opened]:
        """Looks at what is seen when the master may begin to serve: its first batch has been checked."""
        salt = self.random.getrandbits(64)
        state = follower.state
        steps = become_master(
            files, state, owner=host, salt=salt, options=OPTIONS, warm=follower.place, found=follower.damages
        )
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            if step == "checked batch 1":
                self.check(files, max(state.salts), state)
            yield step

    def serve(self, master: Master, batches: int) -> Steps[None]:
        """Commits batches; between any two steps of that, steps of upkeep."""
        rng = self.random
        log = master.log
        upkeep = master.upkeep
        yield upkeep.step()
        for _ in range(batches):
            for _ in range((0, 1, 1, 3)[int(rng.random() * 4)]):
                master.act()
            if log.open.count:
                log.close()
            elif not upkeep.is_idle:
                yield upkeep.step()
            while log.closed:
                batch = log.closed.pop(0)
                for step in master.opened.mastership.commit(batch):
                    yield step
                    for _ in range((0, 0, 1, 3)[int(rng.random() * 4)]):
                        if upkeep.is_idle:
                            break
                        yield upkeep.step()
                master.committed(batch)
                yield "acknowledged"
        if rng.random() < 0.5:
            master.opened.mastership.give_back()

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

    def refill(self) -> None:
        """Others fill the disk, or free it."""
        if self.random.random() < 0.5:
            self.disk.capacity = None
        else:
            self.disk.capacity = self.disk.used + self.random.choice((0, 0, 300, 1000, 3000))

    def run(self) -> str:
        """Lets brokers come, run, pause and die; returns what was violated."""
        rng = self.random
        brokers: list[tuple[str, Steps[None]]] = []
        for turn in range(rng.randint(150, 700)):
            if len(brokers) < 3 and rng.random() < (0.3 if not brokers else 0.02):
                brokers.append((f"host{turn}", self.broker(f"host{turn}", rng.randint(0, 60))))
            if self.fills and rng.random() < 0.02:
                self.refill()
            if rng.random() < 0.002:
                brokers.clear()
                self.disk.power_failure()
            if not brokers:
                continue
            broker = rng.choice(brokers) if rng.random() < 0.3 else brokers[-1]
            if rng.random() < 0.008:
                brokers.remove(broker)
                self.disk.crash(broker[0])
                if self.damages and self.newest is not None and rng.random() < 0.7:
                    self.damage(self.newest)
                continue
            try:
                for _ in range((1, 1, 5, 20)[int(rng.random() * 4)]):
                    next(broker[1])
            except StopIteration:
                brokers.remove(broker)
            if self.violation:
                return self.violation
        self.end()
        return self.violation

    def end(self) -> None:
        """All is dark, space returns, and one last master sees what is left."""
        self.disk.power_failure()
        self.disk.capacity = None
        files = FakeFiles(self.disk, "last")
        follower = Follower(files)
        steps = self.become_master(files, follower, "last")
        try:
            while True:
                next(steps)
        except StopIteration as end:
            master = Master(self, files, end.value, follower.state)
        master.reserve.full = True  # as if it had found the disk full at the very end
        for _ in self.serve(master, 60):
            pass
        if master.reserve.full:
            self.violation = self.violation or "the disk looks full although there is space"


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


def _no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the bug of the same name, which the world itself plants."""


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "removed before the check": _no_checks,
    "a checkpoint that no record names is trusted": _trust_unnamed,
    "a follower applies what may be cut": _applied_at_once,
    "files with live messages are removed": _no_usage,
}


def violations(of: range, bug: str = "", *, damages: bool = False, fills: bool = False) -> Iterator[str]:
    """What goes wrong in these worlds."""
    for seed in of:
        disk = FakeDisk(seed, sector_bytes=512)
        disk.allocates = seed % 3 > 0
        world = World(disk, random.Random(seed), bug, damages, fills)
        try:
            violation = world.run()
        except (JournalError, AssertionError, ValueError, KeyError) as error:
            if not bug:
                raise
            violation = repr(error)
        if violation:
            yield f"seed {seed}: {violation}"


@pytest.mark.parametrize("kind", ["", "damages", "fills"])
def test_upkeep_loses_nothing_and_brings_nothing_back(kind: str) -> None:
    """P1, P2, P10: checkpoints, moves and deletions, of zombies too, never change what a successor sees."""
    assert list(violations(seeds(), damages=kind == "damages", fills=kind == "fills")) == []


@pytest.mark.parametrize("bug", PATCHES)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker can fail: each careless kind of upkeep is caught."""
    PATCHES[bug](monkeypatch)
    assert next(violations(range(2_000), bug), None) is not None


def test_the_runs_do_something() -> None:
    """The runs see checkpoints, recoveries from them, moves and deletions, or they would prove nothing."""
    worlds = [
        World(FakeDisk(seed, sector_bytes=64), random.Random(seed), fills=seed % 2 > 0) for seed in range(15)
    ]
    for world in worlds:
        world.run()
    assert sum(world.checkpoints for world in worlds) > 100
    assert sum(world.recovered_from for world in worlds) > 30
    assert sum(world.deleted for world in worlds) > 100
    assert sum(world.warm for world in worlds) > 30
    assert sum(world.moved for world in worlds) > 10
