"""What a master does beside its batches: checkpoints, compaction, and removing what nobody needs any more.

Two sides. The owner's side looks at the state or appends, in the owner's thread, for a millisecond at most.
The disk's side is steps, for a thread of its own (`journal.caretaker`) or for the simulation.

A data file is needed as long as a live message's record stands in it, or as a checkpoint is kept from which
recovery would go on in it. It is removed only after the batch that moved or removed its last live record has
passed the fence check; so the deletion may come as late as it likes, from a master that was fenced long ago:
no successor needs the file either.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from journal.batch import decode_batch_header
from journal.checkpoint import StateView, checkpoint_size, view_of, write_checkpoint
from journal.codec import RecordDecoder
from journal.errors import JournalError, StoreFailed
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
from journal.index import Place
from journal.options import JournalOptions
from journal.reader import EpochReader, Position
from journal.record import (
    BATCH_HEADER_BYTES,
    CHECKPOINTS_KEPT,
    FILE_HEADER_BYTES,
    AddMessage,
    AnyRecord,
    Checkpoint,
    MovedMessage,
    Seal,
    data_file_key,
)
from journal.state import State

COLD_SHARE: Final = 1.5
"""Data files that recovery does not read may take so many times the live bytes; the part of the log that it
reads, and the checkpoints, take the rest of the bound of P9."""
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


class Candidate(NamedTuple):
    """A record that may have to move, and where it stands."""

    record: AddMessage | MovedMessage
    place: Place


class Upkeep:
    """The decisions and the steps.

    Args:
        files: the store.
        state: the owner's.
        log: the owner's.
        epoch: ours.
        first_end: where our first batch ends in our first data file.
        options: sizes.
    """

    def __init__(  # noqa: PLR0917 - its parts, put together in one place
        self, files: Files, state: State, log: Log, epoch: int, first_end: int, options: JournalOptions
    ) -> None:
        self._files = files
        self._state = state
        self._log = log
        self.epoch = epoch
        self._first_end = first_end
        self._options = options
        self._number = 0
        self._first_trimmed = False
        self._sizes: dict[DataFileName, int] = {}
        self._stuck: set[DataFileName] = set()  # files that cannot be read through

    # ---- the owner's side

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Those that are kept, the newest last."""
        return self._state.checkpoints

    @property
    def interval_bytes(self) -> int:
        """Bytes of log after which a checkpoint is worth its cost."""
        return max(self._options.checkpoint_bytes, self._state.live_bytes // CHECKPOINT_SHARE)

    @property
    def checkpoint_bytes(self) -> int:
        """About how long a checkpoint would be now."""
        return checkpoint_size(self._state)

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
        self, names: Iterable[str], sizes: dict[DataFileName, int], room: int | None = None
    ) -> DataFileName | None:
        """The data file whose live records should move, None if the disk is within its bound (P9).

        Args:
            names: of the store's files.
            sizes: of its data files.
            room: bytes that may be moved while the disk is full; None if it is not.
        """
        usage = self._state.usage
        cold = [name for name in self._cold(names) if name in sizes]
        if room is None and sum(sizes[name] for name in cold) <= COLD_SHARE * self._state.live_bytes:
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

    def live_bytes_in(self, name: DataFileName) -> int:
        """Bytes of live messages in a data file. Any thread."""
        return self._state.usage.get(data_file_key(*name), 0)

    def move(self, candidates: Sequence[Candidate]) -> int:
        """Copies the records that are still live where they stand into the open batch; returns its number."""
        moved: list[AnyRecord] = []
        for record, place in candidates:
            messages = self._state.messages(record.destination)
            if messages is not None and messages.place(record.ref) == place:
                moved.append(
                    MovedMessage(
                        record.ref,
                        record.destination,
                        record.producer_id,
                        record.producer_sequence_id,
                        record.body,
                    )
                )
        return self._log.append(moved) if moved else self._log.last_batch()

    # ---- the disk's side

    def write(self, view: StateView) -> Steps[Checkpoint]:
        """Writes the next checkpoint.

        Raises:
            JournalError: it cannot be written; nothing is lost, the one before still counts.
        """
        self._number += 1
        checkpoint = yield from write_checkpoint(self._files, view, self.epoch, self._number)
        return checkpoint

    def sizes(self, names: Iterable[str]) -> dict[DataFileName, int]:
        """Bytes that each data file takes; the files that are still written to may be missing."""
        present = data_files(names)
        for name in present:
            if name not in self._sizes and (name.epoch < self.epoch or name < max(present)):
                self._sizes[name] = self._files.written(str(name), 0)
        self._sizes = {name: size for name, size in self._sizes.items() if name in set(present)}
        return self._sizes

    def remove(self, doomed: Doomed) -> Steps[None]:
        """Removes files; only after the batch has passed the fence check."""
        for name in doomed.names:
            self._files.remove(name)
            yield f"removed {name}"
        if doomed.trimmed:
            first = DataFileName(self.epoch, 0)
            self._files.trim(str(first), self._first_end)
            self._first_trimmed = True
            self._sizes.pop(first, None)
            yield f"trimmed {first}"

    def candidates(self, name: DataFileName, move: Callable[[list[Candidate]], object]) -> Steps[None]:
        """Reads a data file and hands over its messages, some at a time.

        A damaged batch ends it; then the file stays as it is.
        """
        reader = EpochReader(self._files, name.epoch, read_bytes=self._options.read_bytes)
        decoder = RecordDecoder()
        try:
            first = decode_batch_header(self._files.read(str(name), FILE_HEADER_BYTES, BATCH_HEADER_BYTES), 0)
            if first is None or first.epoch != name.epoch or first.number != name.number:
                raise StoreFailed(f"the beginning of {self._files.describe(str(name))} is damaged")
            reader.resume(Position(name.number, FILE_HEADER_BYTES, first.batch - 1))
            for batch in reader.read():
                if batch.header.number != name.number:
                    break
                yield f"read batch {batch.header.batch} of epoch {name.epoch} again"
                found: list[Candidate] = []
                size = 0
                records = decoder.decode(batch.data, batch.start, batch.end)
                ends = [position for _, position in records[1:]] + [batch.end]
                for (record, position), end in zip(records, ends, strict=True):
                    if isinstance(record, AddMessage | MovedMessage):
                        found.append(Candidate(record, Place(batch.base + position, end - position)))
                        size += end - position
                        if len(found) >= self._options.move_records or size >= self._options.move_bytes:
                            move(found)
                            found, size = [], 0
                            yield "handed records over"
                if found:
                    move(found)
                    yield "handed records over"
        except JournalError:
            self._stuck.add(name)
            raise

    def give_up(self, name: DataFileName) -> None:
        """Leaves a data file alone from now on: something in it could not be moved."""
        self._stuck.add(name)
