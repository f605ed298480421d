"""What a master does beside its batches: checkpoints, compaction, and removing what nobody needs any more.

Two sides. The owner's side looks at the state or appends, in the owner's thread, for a millisecond at most.
The disk's side is steps, for a thread of its own (`journal.caretaker`) or for the simulation.

A data file is needed as long as a live message's record stands in it, or as a checkpoint is kept from which
recovery would go on in it. It is removed only after the batch that moved or removed its last live record has
passed the fence check; so the deletion may come as late as it likes, from a master that was fenced long ago:
no successor needs the file either.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from journal.branches import written_as
from journal.checkpoint import StateView, checkpoint_size, view_of, write_checkpoint
from journal.copier import Copy, RecordCopier
from journal.errors import JournalError
from journal.fence import (
    DataFileName,
    Steps,
    checkpoint_files,
    checkpoint_name,
    data_files,
    reserve_name,
    reserves,
)
from journal.files import Files
from journal.moves import Part, Search, copy_records, decoded, regions
from journal.options import JournalOptions
from journal.record import (
    CHECKPOINTS_KEPT,
    AnyRecord,
    Checkpoint,
    Seal,
    data_file_key,
)
from journal.state import State
from journal.tally import Tally

DENSITY_MIN: Final = 0.1
"""A checkpoint is taken to be at least this long, as a share of what its entries take at most."""
LIVE_SHARE: Final = 2
"""The store may take so many times the live bytes (P9) …"""
FILES_BEYOND: Final = 2
"""… and so many data files."""
COLD_SHARE: Final = 1.5
"""Data files that recovery does not read may take so many times the live bytes, even if the bound is far."""
WORTH_MOVING: Final = 0.9
"""A file whose share of live bytes is above this is left alone: moving it would free nothing."""
WORTH_MOVING_WHEN_FULL: Final = 0.75
"""While the disk is full files with a smaller share than this are moved, however little is dead in all."""
CHECKPOINT_SHARE: Final = 8
"""A checkpoint is written after so much of the live bytes, if that is more than the least: one of tiny
messages is then as long as the log since the last."""


class Log(Protocol):
    """The batches of a master, as upkeep needs them; the owner's thread only."""

    def append(self, records: Sequence[AnyRecord]) -> int:
        """Adds records to the open batch and returns its number."""

    def copy(self, copies: Sequence[Copy]) -> list[Copy]:
        """Adds copies whose message is live where its record was copied and says; returns the others."""

    def cut(self) -> Seal:
        """Ends the open batch and returns the place behind it: everything applied so far stands before it."""

    def data_file(self) -> int:
        """Number of the data file in which the open batch will stand."""

    def last_batch(self) -> int:
        """Number of the last batch that anything was added to."""


class Doomed(NamedTuple):
    """What may be removed once a batch has passed the fence check.

    Attributes:
        batch: its number.
        names: of the files.
        trimmed: whether our first data file may be cut behind its first batch.
    """

    batch: int
    names: list[str]
    trimmed: bool


class Upkeep:
    """The decisions and the steps.

    Args:
        files: the store.
        state: the owner's.
        log: the owner's.
        epoch: ours.
        first_end: where our first batch ends in our first data file.
        options: sizes.
        tally: counts what is done.
    """

    def __init__(  # noqa: PLR0917 - its parts, put together in one place
        self,
        files: Files,
        state: State,
        log: Log,
        epoch: int,
        first_end: int,
        options: JournalOptions,
        tally: Tally | None = None,
    ) -> None:
        self._files = files
        self._state = state
        self._log = log
        self.epoch = epoch
        self._first_end = first_end
        self.options = options
        self._tally = tally or Tally()
        self._number = 0
        self._density = 1.0  # of the last checkpoint: its length as a share of what was estimated
        self._first_trimmed = False
        self._sizes: dict[DataFileName, int] = {}
        self._checkpoint_sizes: dict[str, int] = {}
        self._stuck: set[DataFileName] = set()  # files that cannot be read through

    # ---- the owner's side

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Those that are kept, the newest last."""
        return self._state.checkpoints

    @property
    def interval_bytes(self) -> int:
        """Bytes of log after which a checkpoint is worth its cost."""
        return max(self.options.checkpoint_bytes, self._state.live_bytes // CHECKPOINT_SHARE)

    @property
    def checkpoint_bytes(self) -> int:
        """About how long a checkpoint would be now."""
        return int(checkpoint_size(self._state) * self._density)

    @property
    def holds_back(self) -> bool:
        """Whether another checkpoint would let data files go that recovery needs now."""
        checkpoints = self._state.checkpoints
        if len(checkpoints) < CHECKPOINTS_KEPT:
            return True
        return checkpoints[0].at[:2] < (self.epoch, self._log.data_file())

    def view(self) -> StateView:
        """The state as it is now, and the place in the log."""
        at = self._log.cut()
        return view_of(self._state, at)

    def name(self, checkpoint: Checkpoint) -> int:
        """Makes a checkpoint that is on the disk count; returns the batch that says so."""
        return self._log.append([checkpoint])

    def doomed(self, names: Iterable[str]) -> Doomed:
        """What of the store's files nobody needs once the batches appended so far are durable."""
        names = list(names)
        kept = {(each.epoch, each.number) for each in self._state.checkpoints}
        doomed = [
            checkpoint_name(*each)
            for each in checkpoint_files(names)
            if each not in kept and each[0] <= self.epoch
        ]
        doomed += [reserve_name(epoch) for epoch in reserves(names) if epoch < self.epoch]  # a zombie's
        trimmed = False
        for name in self._cold(names):
            if data_file_key(name.epoch, name.number) in self._state.usage:
                continue
            if name == DataFileName(self.epoch, 0):  # the seals are in it
                trimmed = not self._first_trimmed
            else:
                doomed.append(str(name))
        return Doomed(self._log.last_batch(), doomed, trimmed)

    def _cold(self, names: Iterable[str]) -> list[DataFileName]:
        """The data files that recovery from the oldest checkpoint kept would not read."""
        checkpoints = self._state.checkpoints
        if len(checkpoints) < CHECKPOINTS_KEPT:
            return []
        first = (checkpoints[0].at.epoch, checkpoints[0].at.number)
        return [name for name in data_files(names) if name < first]

    def worst_file(
        self,
        names: Iterable[str],
        sizes: dict[DataFileName, int],
        room: int | None = None,
        *,
        pressed: bool = False,
    ) -> DataFileName | None:
        """The data file whose live records should move, None if the disk is within its bound (P9).

        Args:
            names: of the store's files.
            sizes: of its data files.
            room: bytes that may be moved while the disk is full; None if it is not.
            pressed: whether the bound is near.
        """
        usage = self._state.usage
        cold = [name for name in self._cold(names) if name in sizes]
        enough = sum(sizes[name] for name in cold) <= COLD_SHARE * self._state.live_bytes
        if enough and room is None and not pressed:
            return None
        shares = [
            (usage.get(data_file_key(*name), 0) / sizes[name], name)
            for name in cold
            if sizes[name] and name not in self._stuck
        ]
        if not shares:
            return None
        share, name = min(shares)
        if room is None:
            return name if share < WORTH_MOVING else None
        fits = share < WORTH_MOVING_WHEN_FULL and self.live_bytes_in(name) <= room
        return name if fits else None

    @property
    def live_bytes(self) -> int:
        """Bytes of the records of all live messages. Any thread."""
        return self._state.live_bytes

    def live_bytes_in(self, name: DataFileName) -> int:
        """Bytes of live messages in a data file. Any thread."""
        return self._state.usage.get(data_file_key(*name), 0)

    def search(self, name: DataFileName) -> Search:
        """Finds the live records in a data file."""
        return Search(self._state, name)

    def move(self, part: Part) -> int:
        """Adds the copies of records that are still live where they stand to the open batch; its number."""
        moved: list[AnyRecord] = []
        for record, place in [*part.others, *map(decoded, self._log.copy(part.copies))]:
            found = self._state.holder(record.ref, record.destination)
            if found is not None and found[1].place(record.ref) == place:
                moved.append(self._state.moved(record, written_as(found[0])))
        return self._log.append(moved) if moved else self._log.last_batch()

    # ---- the disk's side

    def expected_bytes(self, view: StateView) -> int:
        """About how long the checkpoint of a view is going to be."""
        return int(view.size_bytes * self._density)

    def write(self, view: StateView) -> Steps[Checkpoint]:
        """Writes the next checkpoint.

        Raises:
            JournalError: it cannot be written; nothing is lost, the one before still counts.
        """
        self._number += 1
        expected = self.expected_bytes(view)
        checkpoint = yield from write_checkpoint(self._files, view, self.epoch, self._number, expected)
        written = self._files.written(checkpoint_name(self.epoch, self._number), 0)
        self._density = min(max(written / view.size_bytes, DENSITY_MIN), 1.0)
        self._tally.checkpoints += 1
        return checkpoint

    def sizes(self, names: Iterable[str]) -> dict[DataFileName, int]:
        """Bytes that each data file takes; the files that are still written to may be missing."""
        present = data_files(names)
        for name in present:
            if name not in self._sizes and (name.epoch < self.epoch or name < max(present)):
                self._sizes[name] = self._files.written(str(name), 0)
        kept = set(present)
        self._sizes = {name: size for name, size in self._sizes.items() if name in kept}
        return self._sizes

    def size(self, names: Iterable[str]) -> int:
        """Bytes of the data files that are not written to any more, and of the checkpoints."""
        names = list(names)
        present = [checkpoint_name(*each) for each in checkpoint_files(names)]
        for name in present:
            if name not in self._checkpoint_sizes:
                self._checkpoint_sizes[name] = self._files.written(name, 0)
        self._checkpoint_sizes = {name: self._checkpoint_sizes[name] for name in present}
        return sum(self.sizes(names).values()) + sum(self._checkpoint_sizes.values())

    @property
    def allowed_bytes(self) -> int:
        """What the store may take beyond twice the live bytes before something must be done.

        A step less than the bound, since a data file is allocated ahead, and another for what is logged until
        it is done.
        """
        options = self.options
        return FILES_BEYOND * options.file_bytes - 2 * min(options.allocated_bytes, options.file_bytes)

    def remove(self, doomed: Doomed) -> Steps[None]:
        """Removes files; only after the batch has passed the fence check."""
        for name in doomed.names:
            self._files.remove(name)
            self._tally.files_removed += 1
            yield f"removed {name}"
        if doomed.trimmed:
            first = DataFileName(self.epoch, 0)
            self._files.trim(str(first), self._first_end)
            self._first_trimmed = True
            self._sizes.pop(first, None)
            yield f"trimmed {first}"

    def copies(
        self, name: DataFileName, places: "array[int]", hand_over: Callable[[Part], object]
    ) -> Steps[None]:
        """Reads live records of a data file, and hands copies over; passes over what is damaged.

        Args:
            name: of the file.
            places: from `search`.
            hand_over: called with each part.
        """
        salts = self._state.salts
        try:
            copier = RecordCopier(salts.get(name.epoch, 0), salts.get(self.epoch, 0))
            for region in regions(places, self.options):
                data = self._files.read(str(name), region.offset, region.length)
                yield f"read some of {name} again"
                part = copy_records(region, name, data, copier)
                if part:
                    self._tally.moved_bytes += part.size
                    hand_over(part)
                    yield "handed records over"
            self._tally.files_compacted += 1
        except JournalError:
            self._stuck.add(name)
            raise

    def give_up(self, name: DataFileName) -> None:
        """Leaves a data file alone from now on: something in it could not be moved."""
        self._stuck.add(name)
