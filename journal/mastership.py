"""Becoming master of a store, and every batch after that, step by step.

A batch is acknowledged after four steps, in this order: write, sync, open the live token, report. The fence
holds only if nobody shortens or reorders them; `tests/simulation/journal` proves that by doing so.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from crc32c import crc32c

from journal.batch import BatchPlace, FileHeader, encode_batch, encode_file_header
from journal.bodies import Bodies
from journal.carry import carried, is_small
from journal.codec import RecordEncoder
from journal.copier import Copy
from journal.errors import MessageDamaged, StoreCorrupt, StoreFailed, StoreFull, StoreUnavailable
from journal.fence import (
    DataFileName,
    Steps,
    check,
    claim,
    claim_content,
    claim_name,
    data_files,
    reserve_name,
    reserves,
)
from journal.files import DataFile, Files
from journal.moves import move_copies
from journal.options import ALLOCATED_HALVINGS, JournalOptions
from journal.reader import EpochReader
from journal.record import (
    BATCH_HEADER_BYTES,
    FILE_HEADER_BYTES,
    FILES_PER_EPOCH_MAX,
    AnyRecord,
    EpochBegin,
    Location,
    Seal,
)
from journal.recovery import LogEnd, Recovered, StoreReader
from journal.report import Damage, Report
from journal.reserve import Reserve
from journal.runs import apply_all
from journal.state import State
from journal.tally import Tally

T = TypeVar("T")

SMALL_BATCH_BYTES_MAX: Final = 32 * 1024
"""A batch up to this is mostly the wait for its sync, which zeros written ahead shorten. A dozen clients that
send one message of 1 KiB at a time fill half of it."""
ZEROS_BYTES: Final = 512 * 1024
"""Written ahead of small batches, so that the next 15 or more of them fall on blocks that the file system
knows to be written: their syncs need not write its metadata too. Measured on ext4: 0.11 for 0.14 ms with
batches of 1.4 KB, 0.10 for 0.16 ms with 12 KB."""
FIRST_ZEROS_BYTES: Final = 64 * 1024
"""The first ones of a data file, then as many as it holds already: a takeover waits for the first batch."""
_ZEROS: Final = bytes(ZEROS_BYTES)


class OpenBatch:
    """A batch that is being filled.

    Attributes:
        place: where it will stand.
        base: packed location of its first record; add the bytes before a record for that record's.
        pieces: the encoded records, one after the other.
        count: of the records.
        size: of the records in bytes.
        joined: how many of the first pieces were joined from others.
        checksum: CRC of these.
        joined_bytes: their length.
        first_count: how many records it began with, if they were taken together.
    """

    __slots__ = (
        "base",
        "checksum",
        "count",
        "first_count",
        "joined",
        "joined_bytes",
        "pieces",
        "place",
        "size",
    )

    def __init__(self, epoch: int, place: BatchPlace) -> None:
        self.place = place
        self.base = Location(epoch, place.number, place.offset + BATCH_HEADER_BYTES).pack()
        self.pieces: list[bytes] = []
        self.count = 0
        self.size = 0
        self.joined = 0
        self.joined_bytes = 0
        self.checksum = 0
        self.first_count = 1

    def join(self) -> None:
        """Does what has to be done before the batch is written, for what is in it by now."""
        joined = b"".join(self.pieces[self.joined :])
        self.pieces[self.joined :] = [joined]
        self.checksum = crc32c(joined, self.checksum)
        self.joined += 1
        self.joined_bytes += len(joined)

    def add(self, records: Sequence[AnyRecord], encoder: RecordEncoder, state: State) -> None:
        """Takes records, all or none, and applies them.

        Raises:
            ValueError: a record cannot be encoded.
        """
        pieces: list[bytes] = []
        encode = encoder.encode
        lengths = [encode(record, pieces) for record in records]
        location = self.base + self.size
        if not self.count:
            self.first_count = len(lengths)
        self.pieces += pieces
        self.count += len(lengths)
        self.size += sum(lengths)
        apply_all(state, records, lengths, location)

    def add_copies(self, copies: Sequence[Copy], state: State) -> list[Copy]:
        """Takes copies whose message is live where its record was copied and says; returns the others."""
        moved = move_copies(state, copies, self.base + self.size)
        for copy in moved:
            self.pieces += (copy.head, copy.rest)
            self.size += copy.length
        self.count += len(moved)
        if len(moved) == len(copies):
            return []
        taken = {copy.former for copy in moved}
        return [copy for copy in copies if copy.former not in taken]

    @property
    def is_whole(self) -> bool:
        """Whether all that is in it was taken at once."""
        return self.count == self.first_count

    @property
    def end(self) -> int:
        """Where it ends in its data file."""
        return self.place.offset + BATCH_HEADER_BYTES + self.size

    def next_place(self, file_bytes: int) -> BatchPlace:
        """Where the next batch stands, now that this one is closed."""
        batch, number, _ = self.place
        end = self.end
        if end < file_bytes:
            return BatchPlace(batch + 1, number, end)
        return BatchPlace(batch + 1, number + 1, FILE_HEADER_BYTES)


class Mastership:
    """An epoch that is ours, until a check says otherwise.

    Attributes:
        epoch: its number.
        salt: of its data files.
        encoder: of its records.
        reserve: space for when the disk is full.
        tally: what was done.
    """

    def __init__(self, files: Files, epoch: int, owner: str, salt: int, options: JournalOptions) -> None:
        self.epoch = epoch
        self._owner = owner
        self.salt = salt
        self.encoder = RecordEncoder(salt)
        self._options = options
        self.reserve = Reserve(files, epoch, options)
        self.tally = Tally()
        self._files = files
        self._file: DataFile | None = None
        self._number = -1
        self._allocated = 0
        self._allocates = True  # whether its file system can
        self._zeroed = 0  # so much of the file is written, with batches or with zeros
        self._end = 0

    def commit(self, batch: OpenBatch) -> Steps[None]:
        """Writes, syncs and checks; when it returns, what the batch holds may be acknowledged.

        Raises:
            StoreFenced: another broker took the store.
            StoreFull: there is no space left, not even in the reserve.
            StoreFailed: the disk refused. In each case nothing of this epoch may be acknowledged from now on.
        """
        place, end = batch.place, batch.end
        known = batch.joined, batch.checksum
        pieces = encode_batch(self.salt, self.epoch, place, batch.pieces, batch.count, known=known)
        offset = place.offset
        new_file = place.number != self._number
        if new_file:
            yield from self._open_file(place.number, end)
            pieces.insert(0, encode_file_header(FileHeader(self.epoch, place.number, self.salt)))
            offset = 0
        began_s = time.monotonic()
        self._write(offset, pieces, end)
        assert self._file is not None
        yield f"wrote batch {place.batch}"
        self._file.sync()
        self.tally.sync_s.add(time.monotonic() - began_s)
        yield f"synced batch {place.batch}"
        self.check()
        self._end = end
        yield f"checked batch {place.batch}"
        if new_file:
            self._files.note(claim_name(self.epoch), claim_content(self._owner, place.number + 1))
            yield f"noted data file {place.number}"

    def check(self) -> None:
        """Whether this epoch may still acknowledge.

        Raises:
            StoreFenced, StoreFailed: it may not.
        """
        check(self._files, self.epoch)

    def give_back(self) -> None:
        """Cuts the current file behind its last batch; for a clean end."""
        if self._file is not None:
            self._file.truncate(self._end)

    def close(self) -> None:
        """Releases the current file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, offset: int, pieces: Sequence[bytes], end: int) -> None:
        """Writes what ends at an offset; where the disk is full, with space of the reserve."""
        file = self._file
        assert file is not None
        if end > self._allocated:
            self._allocates = self._allocate(file.allocate, end)
        ahead = 0
        if end > self._zeroed:
            if end - offset <= SMALL_BATCH_BYTES_MAX:
                ahead = min(max(end, FIRST_ZEROS_BYTES), ZEROS_BYTES, self._allocated - end)
            self._zeroed = end + ahead
        while True:
            try:
                file.write(offset, [*pieces, _ZEROS[:ahead]] if ahead else pieces, syncing=True)
                return
            except StoreFull:  # on a file system that cannot allocate
                if ahead:
                    ahead, self._zeroed = 0, end
                elif not self.reserve.give(end - offset):
                    raise

    def _allocate(self, allocate: Callable[[int], T], end: int) -> T:
        """Has the present data file allocated up to an offset at least; at last with space of the reserve."""
        while True:
            for length in self._lengths(end):
                try:
                    result = allocate(length)
                except StoreFull as error:
                    full = error
                else:
                    self._allocated = length
                    return result
            if not self.reserve.give(max(end - self._allocated, self._options.small_file_bytes)):
                raise full

    def _lengths(self, end: int) -> list[int]:
        """How long the present data file may become, the best first."""
        step = min(self._options.allocated_bytes, self.file_bytes)
        lengths = [self._allocated + (step >> halvings) for halvings in range(ALLOCATED_HALVINGS + 1)]
        most = max(self.file_bytes, end)
        return [min(length, most) for length in lengths if length > end] or [end]

    @property
    def file_bytes(self) -> int:
        """A data file in which so much is written is the last batch's; the next begins a new one."""
        options = self._options
        return min(options.small_file_bytes, options.file_bytes) if self.reserve.full else options.file_bytes

    @property
    def end(self) -> int:
        """Where the last committed batch ends in its data file. Any thread."""
        return self._end

    @property
    def spare_bytes(self) -> int:
        """How many bytes are allocated behind that. Any thread."""
        return max((self._allocated if self._allocates else self._zeroed) - self._end, 0)

    @property
    def has_file(self) -> bool:
        """Whether a data file was created."""
        return self._number >= 0

    def _open_file(self, number: int, needed: int) -> Steps[None]:
        if number >= FILES_PER_EPOCH_MAX:
            raise StoreFailed(f"epoch {self.epoch} of the store has no data file numbers left")
        if self._file is not None:
            self.give_back()
            self.close()
        name = str(DataFileName(self.epoch, number))
        self._allocated = self._zeroed = 0
        self._file = self._allocate(partial(self._files.create_data, name), needed)
        self._allocates = self._file.allocate(self._allocated)
        self._number = number
        yield f"created {name}"
        self._files.sync_directory()
        yield "synced the directory"


@dataclass(slots=True)
class Opened:
    """A store that is ours, and what was in it.

    Attributes:
        mastership: of our epoch.
        first: our first batch.
        report: what was found.
        leftovers: frees what the lower epochs have left, step by step; there is time for it.
    """

    mastership: Mastership
    first: OpenBatch
    report: Report
    leftovers: Steps[None]


def refuse_newer(files: Files) -> None:
    """Looks at the newest data files before anything is touched.

    A broker of an older version must not take the store from a newer one only to find that it cannot read it.

    Raises:
        StoreNewer: the store was written by a newer version.
        StoreUnavailable: it cannot be read.
    """
    names = data_files(files.names())
    for epoch in sorted({name.epoch for name in names})[-2:]:
        number = max(name.number for name in names if name.epoch == epoch)
        EpochReader(files, epoch).open_file(number)


def _release_reserves(files: Files, epoch: int) -> Steps[None]:
    """Frees what the lower epochs kept; they are fenced."""
    for lower in reserves(files.names()):
        if lower < epoch:
            files.remove(reserve_name(lower))
            yield f"removed {reserve_name(lower)}"


def _begin(mastership: Mastership, first: OpenBatch, files: Files, reader: StoreReader) -> Steps[None]:
    """Commits the first batch; on a full disk in the space that the last master had kept and not used."""
    try:
        yield from mastership.commit(first)
    except StoreFull:
        yield from _release_reserves(files, mastership.epoch)
        yield from _trim(files, reader.ends)
        if mastership.has_file:
            raise  # the next attempt finds the space
        yield from mastership.commit(first)


def _trim(files: Files, ends: Iterable[LogEnd]) -> Steps[None]:
    """Frees what the last epoch had allocated and not used.

    Harmless even if our batch never counts: what lies behind the end that was read was never acknowledged.
    """
    for end in ends:
        files.trim(str(end.file), end.length)
        yield f"trimmed {end.file}"


def _tidy(files: Files, epoch: int, ends: Iterable[LogEnd], unused: Sequence[DataFileName]) -> Steps[None]:
    """Frees what the lower epochs had kept and not used, and the files that count for nobody.

    Harmless whoever is master by now: all of it was sealed or carried over before this, and our first batch
    has been checked. What was written to an epoch that is only sealed stays, a torn tail included.
    """
    yield from _release_reserves(files, epoch)
    for name in unused:
        files.remove(str(name))
        yield f"removed {name}"
    yield from _trim(files, [end for end in ends if end.file not in unused])


def _carried(
    files: Files, state: State, recovered: Recovered, options: JournalOptions, *, short_of_space: bool
) -> list[AnyRecord] | None:
    """The whole index as records, if it is small; None if it stays where it is."""
    # A torn tail may be a damaged batch that was acknowledged: it is left for one epoch, to be looked at.
    if recovered.report.torn is not None or short_of_space:
        return None
    limits = options.carried_messages_max, options.carried_bytes_max
    if not is_small(state, recovered.adopted, messages_max=limits[0], bytes_max=limits[1]):
        return None
    try:
        return list(carried(state, recovered.adopted, Bodies(files, state.salts).read))
    except MessageDamaged:
        return None


def _is_short_of_space(files: Files, options: JournalOptions) -> bool:
    """Whether a first batch with everything in it may find the disk full."""
    try:
        return files.free_bytes() < options.carried_bytes_max + options.reserve_bytes
    except StoreUnavailable:
        return False


def become_master(
    files: Files,
    state: State,
    *,
    owner: str,
    salt: int,
    options: JournalOptions,
    warm: Seal | None = None,
    found: Sequence[Damage] = (),
    on_claimed: Callable[[], None] = lambda: None,
) -> Steps[Opened]:
    """Claims the store, reads it into the state and begins an epoch; when it returns, serve.

    Args:
        files: the store.
        state: empty, or with everything before `warm`.
        owner: who we are.
        salt: random.
        options: sizes.
        warm: a place in the log, see `journal.follower`.
        found: what was damaged before it.
        on_claimed: called when the epoch is ours, before anything is read.

    Raises:
        StoreFenced: another broker took it meanwhile.
        StoreUnavailable, StoreNewer, StoreCorrupt, StoreFailed: it cannot be used.
    """
    refuse_newer(files)
    yield "found no newer format"
    epoch = yield from claim(files, owner)
    on_claimed()
    reader = StoreReader(
        files,
        state,
        below=epoch,
        quarantine=True,
        accept_missing=options.accept_missing,
        read_bytes=options.read_bytes,
        warm=warm,
        found=found,
    )
    mastership = Mastership(files, epoch, owner, salt, options)
    first = OpenBatch(epoch, BatchPlace(1, 0, FILE_HEADER_BYTES))
    try:
        recovered = yield from reader.read()
        state.salts[epoch] = salt
        seals, unused = recovered.seals, reader.unused
        records = [*state.checkpoints, *recovered.adopted]
        short = _is_short_of_space(files, options)
        if short:
            yield from _release_reserves(files, epoch)
        carries = _carried(files, state, recovered, options, short_of_space=short)
        if carries is not None:
            seals, records, unused = (), carries, reader.present
            state.clear()
            state.salts[epoch] = salt
        begin = EpochBegin(owner, seals)
        first.add([begin, *records, begin], mastership.encoder, state)
        reader.check_live()
    except (StoreCorrupt, StoreUnavailable):
        check(files, epoch)  # a successor may have tidied up meanwhile
        raise
    yield from _begin(mastership, first, files, reader)
    return Opened(mastership, first, recovered.report, _tidy(files, epoch, reader.ends, unused))
