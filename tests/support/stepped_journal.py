"""A master's batches and upkeep without threads, for simulations: whoever runs it decides what is next."""

from collections.abc import Iterator, Sequence

from support.fake_disk import FakeFiles

from journal.care import Ask, Care, Durable, Kept, Sleep, Wait
from journal.copier import Copy
from journal.fence import run
from journal.mastership import OpenBatch, Opened, become_master
from journal.options import JournalOptions
from journal.patrol import Patrol
from journal.quarantine import Losses
from journal.record import AnyRecord, Seal
from journal.state import State
from journal.upkeep import Upkeep


class SteppedLog:
    """The open batch, and those that wait to be committed.

    Attributes:
        durable: number of the last batch that may be acknowledged.
    """

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

    def copy(self, copies: Sequence[Copy]) -> list[Copy]:
        """Adds copies to the open batch."""
        return self.open.add_copies(copies, self._state)

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


class SteppedUpkeep:
    """The shipped order of upkeep, one step at a time.

    Attributes:
        is_idle: whether it waits for something to do.
        checks: whether it waits for the fence check of a batch; off is a bug.
        paused_s: how long it has left the disk to others in the middle of its work.
    """

    def __init__(
        self, files: FakeFiles, opened: Opened, state: State, log: SteppedLog, upkeep: Upkeep
    ) -> None:
        ours = opened.mastership
        options = upkeep.options
        losses = Losses(files, state, log)
        patrol = Patrol(files, state, ours.epoch)
        kept = Kept(files, upkeep, ours.reserve, patrol, losses, options, opened.leftovers)
        self._log = log
        self._now_s = 0.0
        self._care = Care(kept, end=lambda: ours.end, now_s=lambda: self._now_s)
        self.is_idle = False
        self.checks = True
        self.paused_s = 0.0
        self._steps = self._granted()

    def step(self) -> str:
        """Does one thing; what was done."""
        return next(self._steps)

    def committed(self, batch: OpenBatch) -> None:
        """A batch may be acknowledged."""
        self._log.durable = batch.place.batch
        if self._care.committed(batch.size):
            self.is_idle = False

    def _granted(self) -> Iterator[str]:
        for wish in self._care.rounds():
            if isinstance(wish, Ask):
                wish.question()
            elif isinstance(wish, Durable):
                while self._log.durable < wish.batch and self.checks:
                    yield "waits for a batch"
            elif isinstance(wish, Wait) and wish.seconds is None:
                self.is_idle = True
                while self.is_idle:
                    yield "waits"
            elif isinstance(wish, str):
                yield wish
            elif wish.seconds:
                self._now_s += wish.seconds
                self.paused_s += wish.seconds if isinstance(wish, Sleep) else 0.0
                yield "pauses"


class SteppedJournal:
    """A master alone: every append is committed at once, then upkeep runs until it has nothing to do.

    Attributes:
        log_bytes: of all records appended, those of upkeep included.
    """

    def __init__(self, files: FakeFiles, options: JournalOptions) -> None:
        self.state = State()
        self.opened = run(become_master(files, self.state, owner="test", salt=1, options=options))
        self.reserve = self.opened.mastership.reserve
        self.log = SteppedLog(self.opened, self.state)
        first_end = self.opened.first.end
        upkeep = Upkeep(files, self.state, self.log, self.opened.mastership.epoch, first_end, options)
        self.upkeep = SteppedUpkeep(files, self.opened, self.state, self.log, upkeep)
        self.log_bytes = 0

    def append(self, *records: AnyRecord, steps: int = 1_000_000) -> None:
        """Appends, commits, and lets upkeep do so many steps at most."""
        self.log.append(records)
        self._commit()
        for _ in range(steps):
            if self.upkeep.is_idle:
                return
            if self.upkeep.step() == "pauses" and self.reserve.full:
                return
            self._commit()

    def _commit(self) -> None:
        if self.log.open.count:
            self.log.close()
        while self.log.closed:
            batch = self.log.closed.pop(0)
            run(self.opened.mastership.commit(batch))
            self.log_bytes += batch.size
            self.upkeep.committed(batch)
