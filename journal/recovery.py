"""Reads a store: which epoch rules, where each one ends, what is damaged.

Reading begins behind the newest checkpoint that counts: the ruling epoch's first batch names it, or a record
behind its own place in that epoch's log. If it is damaged, the one before it is taken, whose part of the log
is still there; if none is left, everything is read that there is.

The highest epoch with a valid first batch rules. Its seals cut everything below; an epoch they do not name
counts for nothing, and so do the epochs above. Where no valid batch stands in an epoch that counts:

===================  ===============================  =======================================================
the epoch            what follows in it               then
===================  ===============================  =======================================================
sealed, at the seal                                   its end
sealed, before it    a valid batch, or nothing        damage: save what is whole, go on behind it
ruling               a valid batch of higher number   damage, the same: a batch follows only checked ones
ruling               none                             its end; what stands there is a torn tail, never
                                                      acknowledged
any                  a data file is missing           refuse: put the file back, or accept the loss; files
                                                      that no checkpoint needs and no message lives in are
                                                      not missed
===================  ===============================  =======================================================

A region that is damaged is copied to a `quarantine` file, whatever could be saved of it is delivered, and a
line in the log says what happened to which file.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from journal.checkpoint import read_checkpoint
from journal.codec import RecordDecoder
from journal.errors import StoreCorrupt, StoreIncomplete, StoreMissing, StoreUnavailable
from journal.fence import (
    CLAIM_BYTES_MAX,
    DataFileName,
    Steps,
    checkpoint_files,
    checkpoint_name,
    claim_name,
    claimed_data_files,
    claims,
    data_files,
)
from journal.files import Files
from journal.options import READ_BYTES
from journal.quarantine import keep_copy
from journal.reader import Batch, EpochReader, Position
from journal.record import (
    BATCH_HEADER_BYTES,
    CHECKPOINTS_KEPT,
    EPOCH_BEGINS,
    FILE_HEADER_BYTES,
    FILE_SHIFT,
    RECORD_HEADER_BYTES,
    T_EPOCH_END,
    AnyRecord,
    Checkpoint,
    EpochBegin,
    EpochEnd,
    Location,
    Seal,
    data_file_key,
)
from journal.report import Damage, Report
from journal.salvage import salvage
from journal.state import State

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """What a new epoch takes over.

    Attributes:
        seals: for its first batch.
        adopted: records of the ruling epoch's last batch, which may never have been synced where they stand.
        report: what was found.
    """

    seals: tuple[Seal, ...]
    adopted: list[AnyRecord]
    report: Report


class LogEnd(NamedTuple):
    """What a data file holds: its length without what was only allocated, a torn tail included."""

    file: DataFileName
    length: int


class _Beginning(NamedTuple):
    """How the ruling epoch began, and its reader: behind its first batch, or before it if that is damaged."""

    record: EpochBegin
    reader: EpochReader
    batch: Batch | None
    checkpoints: list[Checkpoint]


class StoreReader:
    """Reads a store into a state.

    Attributes:
        report: what was found so far.
        ends: what the ruling epoch's last data files hold; more than one if it died when it began another.
        reached: the place in the ruling epoch before its last batch; its batch is 0 before the first.
        lower: where the epoch below the ruling one ends.
        last: the ruling epoch's last batch, None if it is damaged or there is none.
        unused: data files that the ruling epoch's seals left out: nobody will ever read them.

    Args:
        files: the store.
        below: only epochs lower than this; None for all.
        state: what the records are applied to.
        quarantine: whether copies of damaged regions are made: not when another broker's store is looked at.
        accept_missing: whether a missing data file is taken for an empty one.
        read_bytes: of one read.
        warm: the state has everything before this place in the log, see `journal.follower`.
        found: what was damaged before that place.
    """

    def __init__(
        self,
        files: Files,
        state: State,
        *,
        below: int | None = None,
        quarantine: bool = False,
        accept_missing: bool = False,
        read_bytes: int = READ_BYTES,
        warm: Seal | None = None,
        found: Sequence[Damage] = (),
    ) -> None:
        self._files = files
        self._state = state
        self._warm = warm
        self._found = found
        self._below = below
        self._quarantine = quarantine
        self._accept_missing = accept_missing
        self._read_bytes = read_bytes
        self._decoder = RecordDecoder()
        self._forgives_missing = False  # all checkpoints are lost: nobody knows which files were removed
        self._present: set[DataFileName] = set()
        self.report = Report()
        self.ends: list[LogEnd] = []
        self.unused: list[DataFileName] = []
        self.reached: Seal | None = None
        self.lower: Seal | None = None
        self.last: Batch | None = None

    @property
    def present(self) -> list[DataFileName]:
        """All data files of the epochs read, in the order of the log."""
        return sorted(f for f in self._present if self._below is None or f.epoch < self._below)

    def read(self) -> Steps[Recovered]:
        """Reads everything that counts; the ruling epoch's last batch is not applied but returned as adopted.

        Raises:
            StoreCorrupt, StoreNewer, StoreUnavailable: nothing was changed.
        """
        names = self._files.names()
        self._present = set(data_files(names))
        epochs = [epoch for epoch in claims(names) if self._below is None or epoch < self._below]
        yield "listed the data files"
        for epoch in reversed(epochs):
            served = self._served(epoch)
            if served and DataFileName(epoch, 0) not in self._present:
                self._missing(DataFileName(epoch, 0))
            beginning = self._beginning(epoch, served=served > 0)
            yield f"read the beginning of epoch {epoch}"
            if beginning is not None:
                recovered = yield from self._read_with_checkpoint(beginning, checkpoint_files(names))
                return recovered
        return Recovered((), [], self.report)

    def _read_with_checkpoint(
        self, ruler: "_Beginning", written: Sequence[tuple[int, int]]
    ) -> Steps[Recovered]:
        """Tries the state as it is, if it is warm; the checkpoints, the newest first; then none."""
        position = ruler.reader.position
        if self._warm is not None:
            recovered = yield from self._read_warm(ruler, self._warm)
            if recovered is not None:
                self._report_found()
                return recovered
            ruler.reader.resume(position)
            self._forget()
        own = [each for each in reversed(written) if each[0] == ruler.reader.epoch]
        named = [(each.epoch, each.number) for each in reversed(ruler.checkpoints)]
        unreadable: list[tuple[int, int]] = []
        for epoch, number in [*own, *(each for each in named if each not in own)]:
            at = read_checkpoint(self._files, epoch, number, self._state)
            yield f"read {checkpoint_name(epoch, number)}"
            if at is None:
                unreadable.append((epoch, number))
                continue
            self.report.checkpoint = checkpoint_name(epoch, number)
            recovered = yield from self._read_below(ruler, at)
            if self._counts(ruler, recovered, epoch, number):
                self._report_unreadable(recovered, unreadable)
                return recovered
            # It was written and no record names it: its writer died, or was fenced. As if it were not there.
            ruler.reader.resume(position)
            self._forget()
        recovered = yield from self._read_all(ruler, unreadable)
        return recovered

    def _read_warm(self, ruler: "_Beginning", at: Seal) -> Steps[Recovered | None]:
        """Goes on from a place, None if it does not count any more."""
        seals = [seal for seal in ruler.record.seals if seal.epoch == at.epoch]
        if at.epoch != ruler.reader.epoch and not (seals and seals[0].batch >= at.batch):
            return None
        try:
            recovered = yield from self._read_below(ruler, at)
        except StoreIncomplete:  # removed, since a checkpoint has it
            return None
        if self.report.damages:  # or cut: what stood there may have been moved, and only a checkpoint has it
            return None
        return recovered

    def _report_found(self) -> None:
        """Reports what was damaged when the warm state was read, as if it had been read now."""
        later = self.report.damages[:]
        self.report.damages.clear()
        for damage in self._found:
            (name,) = data_files([damage.file.rpartition("/")[2]])
            try:
                data = self._files.read(str(name), damage.offset, damage.length)
            except StoreMissing:  # removed meanwhile, since nothing in it is live
                continue
            except StoreUnavailable:
                data = b""
            path = keep_copy(self._files, name, damage.offset, data) if self._quarantine and data else ""
            self._report(damage._replace(quarantine=path))
        self.report.damages += later

    def _read_all(self, ruler: "_Beginning", unreadable: Sequence[tuple[int, int]]) -> Steps[Recovered]:
        """Without a checkpoint; if one was lost, what is missing may have been removed long ago."""
        position = ruler.reader.position
        try:
            recovered = yield from self._read_below(ruler, None)
        except StoreIncomplete:
            if not unreadable:
                raise
            _log.error("no checkpoint of the store can be read: all of the log that is left is delivered")
            ruler.reader.resume(position)
            self._forget()
            self._forgives_missing = True
            recovered = yield from self._read_below(ruler, None)
            self._forgives_missing = False
        self._report_unreadable(recovered, unreadable)
        return recovered

    def _forget(self) -> None:
        """Begins anew."""
        self._state.clear()
        self.report = Report()
        self.ends.clear()
        self.last = None

    def _counts(self, ruler: "_Beginning", recovered: Recovered, epoch: int, number: int) -> bool:
        """Whether a record names a checkpoint; a later one of the same epoch was begun only after that."""
        named = [*ruler.checkpoints, *self._named(recovered)]
        return any(each.epoch == epoch and each.number >= number for each in named)

    def _named(self, recovered: Recovered) -> list[Checkpoint]:
        """The checkpoints that count."""
        adopted = [record for record in recovered.adopted if isinstance(record, Checkpoint)]
        return [*self._state.checkpoints, *adopted]

    def _report_unreadable(self, recovered: Recovered, unreadable: Sequence[tuple[int, int]]) -> None:
        """Reports the checkpoints that count and cannot be read, and keeps their names from being trusted."""
        counting = {(each.epoch, each.number) for each in self._named(recovered)}
        lost = [each for each in unreadable if each in counting]
        for epoch, number in lost:
            self._report(Damage(self._files.describe(checkpoint_name(epoch, number)), 0, 0, 0, ""))
        self._state.checkpoints = [
            each for each in self._state.checkpoints if (each.epoch, each.number) not in lost
        ]
        recovered.adopted[:] = [
            each
            for each in recovered.adopted
            if not isinstance(each, Checkpoint) or (each.epoch, each.number) not in lost
        ]

    def _read_below(self, ruler: "_Beginning", at: Seal | None) -> Steps[Recovered]:
        """Everything that counts behind a place, once it is known which epoch rules."""
        self.report.ruler = ruler.reader.epoch
        self.report.owner = ruler.record.owner
        for seal in sorted(ruler.record.seals):
            if at is None or seal.epoch >= at.epoch:
                yield from self._read_sealed(seal, at)
        start = at if at is not None and at.epoch == ruler.reader.epoch else None
        self._check_present(ruler.reader.epoch, 0 if start is None else start.number)
        adopted, seal = yield from self._read_ruler(ruler, start)
        self.reached = seal
        self.lower = max(ruler.record.seals, default=None)
        sealed = {seal.epoch for seal in ruler.record.seals}
        live = {key >> 15 for key in self._state.usage}
        self.unused = sorted(
            f for f in self._present if f.epoch < self.report.ruler and f.epoch not in sealed | live
        )
        present = {f.epoch for f in self._present}
        seals = tuple(each for each in ruler.record.seals if at is None or each.epoch in present)
        return Recovered((*seals, seal) if seal.batch else seals, adopted, self.report)

    def _reader(self, epoch: int, end: Seal | None = None) -> EpochReader:
        return EpochReader(self._files, epoch, end=end, read_bytes=self._read_bytes)

    def _served(self, epoch: int) -> int:
        """How many data files of an epoch are known to have held acknowledged batches."""
        return claimed_data_files(self._files.read(claim_name(epoch), 0, CLAIM_BYTES_MAX))

    def _check_present(self, epoch: int, first: int) -> None:
        """Misses data files from a number on that an epoch's claim tells of."""
        for number in range(first, self._served(epoch)):
            name = DataFileName(epoch, number)
            if name not in self._present:
                self._missing(name)

    @property
    def _has_holes(self) -> bool:
        """Whether records of the log are lost for good."""
        return any(damage.length and damage.offset for damage in self.report.damages)

    def check_live(self) -> None:
        """Misses data files with live messages in them; to be called when the adopted records are applied.

        After damage elsewhere in the log such a file may have been removed rightly: that its messages had
        moved, or were consumed, stood in what is lost. Nobody could put it back: its loss is only reported.

        Raises:
            StoreIncomplete: one is missing.
        """
        present = {data_file_key(name.epoch, name.number) for name in self._present}
        for key in sorted(self._state.usage.keys() - present):
            location = Location.unpack(key << FILE_SHIFT)
            if self._below is not None and location.epoch >= self._below:
                continue  # ours: what was adopted is not written yet
            name = DataFileName(location.epoch, location.number)
            if self._has_holes:  # perhaps the record that moved its last message was in one
                self._report(Damage(self._files.describe(str(name)), 0, 0, 0, ""))
            else:
                self._missing(name)
            self._state.forget_data_file(key)

    def _beginning(self, epoch: int, *, served: bool) -> "_Beginning | None":
        """How an epoch began, None if it never served."""
        name = DataFileName(epoch, 0)
        reader = self._reader(epoch)
        for batch in reader.read():
            records = self._decoder.decode(batch.data, batch.start, batch.end)
            begins = [record for record, _ in records if isinstance(record, EpochBegin)]
            if begins:
                checkpoints = [record for record, _ in records if isinstance(record, Checkpoint)]
                return _Beginning(begins[0], reader, batch, checkpoints)
            break
        if self._find_later(reader) is None and not (served and name in self._present):
            return None
        # The claim was noted, and a later batch written, after the first one had been checked: this is
        # damage.
        data = reader.load(0, FILE_HEADER_BYTES)
        saved = [record for record, _, _ in salvage(data, reader.salt or 0, self._decoder)]
        for record in saved:
            if isinstance(record, EpochBegin):
                return _Beginning(record, reader, None, [c for c in saved if isinstance(c, Checkpoint)])
        path = self._files.describe(str(name))
        if name not in self._present:
            raise StoreIncomplete(f"the data file {path} is missing: put it back, all others depend on it")
        raise StoreCorrupt(f"the first batch of {path} is damaged beyond repair: restore it from a copy")

    def _read_sealed(self, seal: Seal, at: Seal | None = None) -> Steps[None]:
        reader = self._reader(seal.epoch, seal)
        if at is not None and at.epoch == seal.epoch:
            reader.resume(Position(at.number, at.offset, at.batch))
        while True:
            for batch in reader.read():
                self._apply(batch)
                yield f"read batch {batch.header.batch} of epoch {seal.epoch}"
            if reader.at_end:
                break
            self._repair(reader, self._find_later(reader) or Position(seal.number, seal.offset, seal.batch))
            yield f"found damage in epoch {seal.epoch}"
        self._note_headers(reader)

    def _read_ruler(
        self, ruler: "_Beginning", start: Seal | None = None
    ) -> Steps[tuple[list[AnyRecord], Seal]]:
        """The records of the last batch, and the seal before it.

        Args:
            ruler: the epoch.
            start: where to begin; None at its first batch. A batch behind it has named the checkpoint there.
        """
        reader = ruler.reader
        epoch = reader.epoch
        if start is not None:
            reader.resume(Position(start.number, start.offset, start.batch))
        # The first batch is not read again: as long as it is not synced, it may look different each time.
        last = ruler.batch if start is None else None
        before = reader.position
        last_before = Position(0, FILE_HEADER_BYTES, 0)
        counts = start is not None  # whether anything before the last batch changes the state
        tried: Position | None = None
        while True:
            for batch in reader.read():
                if last is not None:
                    self._apply(last)
                    counts = counts or not _is_control(last)
                last, last_before = batch, before
                before = reader.position
                yield f"read batch {batch.header.batch} of epoch {epoch}"
            later = self._find_later(reader)
            if later is None:
                break
            if later.batch == reader.position.batch:  # nothing is missing: it had just begun another file
                reader.resume(later)
                continue
            if tried != reader.position:  # a master that is at work may have completed it since it was read
                tried = reader.position
                continue
            if last is not None:
                self._apply(last)
                last = None
            self._repair(reader, later)
            counts = True
            before = reader.position
            yield f"found damage in epoch {epoch}"
        if last is None and start is not None:  # nothing follows: the checkpoint is not named
            return [], Seal(epoch, *reader.position)
        if last is None:
            return [], self._repair_only_batch(reader)
        self.last = last
        self._note_headers(reader)
        self._note_end(reader)
        self.report.batches += 1
        self.report.records += last.header.record_count
        records = [record for record, _ in self._decoder.decode(last.data, last.start, last.end)]
        adopted: list[AnyRecord] = [
            record for record in records if not isinstance(record, EpochBegin | EpochEnd)
        ]
        return adopted, Seal(epoch, *last_before) if counts else Seal(epoch, 0, FILE_HEADER_BYTES, 0)

    def _repair_only_batch(self, reader: EpochReader) -> Seal:
        """Saves what is whole of an epoch that served and of which only the damaged first batch is left."""
        if reader.position.batch:
            raise StoreUnavailable(f"the end of epoch {reader.epoch} changes while it is read: try again")
        length = len(reader.load(0, FILE_HEADER_BYTES).rstrip(b"\0"))
        end = Position(0, FILE_HEADER_BYTES + length, 1)
        self._repair(reader, end)
        return Seal(reader.epoch, *end)

    def _apply(self, batch: Batch) -> None:
        self.report.batches += 1
        self.report.records += batch.header.record_count
        self._state.salts[batch.header.epoch] = batch.header.salt
        self._decoder.replay(batch.data, batch.start, batch.end, batch.base, self._state)

    def _find_later(self, reader: EpochReader) -> Position | None:
        """The valid batch that follows where a reader stopped, as the position before it."""
        number, offset, _ = reader.position
        for name in sorted(f for f in self._present if f.epoch == reader.epoch and f.number >= number):
            reader.open_file(name.number)
            base = offset if name.number == number else FILE_HEADER_BYTES
            data = reader.load(name.number, base)
            header = reader.find_batch(data, int(name.number == number), name.number, base)
            if header is not None:
                return Position(name.number, header.offset, header.batch - 1)
        return None

    def _repair(self, reader: EpochReader, later: Position) -> None:
        """Saves what is whole between where a reader stopped and where it goes on."""
        number, offset, _ = reader.position
        while number <= later.number:
            name = DataFileName(reader.epoch, number)
            if name not in self._present:
                self._missing(name)
            else:
                data = reader.load(number, offset)
                if number == later.number:
                    data = data[: later.offset - offset]
                    missed = later.offset > offset
                else:  # the header that is missed here may read as zeros
                    missed = (
                        bool(data.strip(b"\0")) or DataFileName(reader.epoch, number + 1) in self._present
                    )
                if missed:
                    self._isolate(reader, name, offset, data, to_end=number < later.number)
            number += 1
            offset = FILE_HEADER_BYTES
        reader.resume(later)

    def _missing(self, name: DataFileName) -> None:
        path = self._files.describe(str(name))
        if self._forgives_missing or any(damage.file == path for damage in self.report.damages):
            return
        if not self._accept_missing:
            raise StoreIncomplete(
                f"the data file {path} is missing: put it back, or accept the loss of what it held"
            )
        self._report(Damage(path, 0, 0, 0, ""))

    def _isolate(
        self, reader: EpochReader, name: DataFileName, offset: int, data: bytes, *, to_end: bool
    ) -> None:
        """Saves what is whole of a region; one that goes to the file's end ends where zeros begin."""
        saved = 0
        end = 0
        self._state.salts[name.epoch] = reader.salt or 0
        base = Location(name.epoch, name.number, offset).pack()
        for record, position, length in salvage(data, reader.salt or 0, self._decoder):
            self._state.apply(record, base + position, length)
            saved += 1
            end = position + length
        if to_end:  # a record may end with zeros
            end = max(end, len(data.rstrip(b"\0"))) or BATCH_HEADER_BYTES
            data = data[:end]
        path = keep_copy(self._files, name, offset, data) if self._quarantine and data else ""
        self._report(Damage(self._files.describe(str(name)), offset, len(data), saved, path))
        self.report.records += saved

    def _report(self, damage: Damage) -> None:
        self.report.damages.append(damage)
        if self._quarantine:
            _log.error("%s", damage)

    def _note_headers(self, reader: EpochReader) -> None:
        for name in sorted(reader.damaged_headers):
            self._report(Damage(self._files.describe(name), 0, FILE_HEADER_BYTES, 0, ""))

    def _note_end(self, reader: EpochReader) -> None:
        last, offset, _ = reader.position
        for name in sorted(f for f in self._present if f.epoch == reader.epoch and f.number >= last):
            start = offset if name.number == last else 0
            tail = len(reader.load(name.number, start).rstrip(b"\0"))
            self.ends.append(LogEnd(name, start + tail))
            if tail:
                path = self._files.describe(str(name))
                self.report.torn = path, start
                if self._quarantine:
                    _log.warning(
                        "torn tail: %s from offset %d was never acknowledged and is ignored", path, start
                    )


def _is_control(batch: Batch) -> bool:
    """Whether a batch changes nothing: the mark of an end, or a first batch that adopted nothing."""
    records = batch.header.record_count
    if batch.header.batch > 1:
        return batch.end - batch.start == RECORD_HEADER_BYTES and batch.data[batch.start + 8] == T_EPOCH_END
    if records > EPOCH_BEGINS + CHECKPOINTS_KEPT:
        return False
    control = (EpochBegin, Checkpoint)
    return all(
        isinstance(record, control)
        for record, _ in RecordDecoder().decode(batch.data, batch.start, batch.end)
    )
