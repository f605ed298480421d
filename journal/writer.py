"""The one thread that writes, and the batch that fills while it syncs (group commit).

The owner's thread appends to the open batch; `flush` at the end of its turn wakes the writer, which takes
whatever has gathered, commits it, and tells the owner. While one batch syncs the next one fills, so that a
busy broker makes few large batches and an idle one answers at once. Where the disk answers faster than a
thread wakes, a small batch that finds the disk idle is committed by the owner's thread itself.

The only locks of the package are here. `_lock` is held while a batch changes hands and while records are
added, never during a disk access; `_disk` belongs to whoever uses the mastership.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from journal.batch import BatchPlace
from journal.copier import Copy
from journal.errors import JournalError, StoreFailed
from journal.fence import run
from journal.index import Place
from journal.mastership import Mastership, OpenBatch
from journal.options import BUSY_BYTES, SLOW_COMMIT_S, JournalOptions
from journal.record import AnyRecord, EpochEnd, Seal
from journal.state import State

INLINE_BYTES_MAX: Final = 64 * 1024
"""A larger batch is worth the writer's thread: more arrives while it is written."""
ALONE_BYTES_MAX: Final = 256 * 1024
"""The same where only one client speaks and waits for what it appended at once: nothing more arrives."""
JOINED_BYTES_MIN: Final = 32 * 1024
"""So much is joined, and its checksum computed, while the batch before is synced: the disk waits the less."""
SMOOTHING: Final = 0.125
"""Weight of the last commit in the time that one is expected to take; TCP smooths round trips so."""

Post = Callable[[Callable[[], None]], None]


class Writer:
    """Commits batches in a thread of its own.

    Args:
        mastership: ours; used by the writer's thread alone from now on, except for its encoder.
        place: of the next batch.
        state: kept current by `append`.
        options: sizes and times.
        post: hands a call over to the owner's thread.
        on_durable: called there with the number of each batch that may be acknowledged; from `flush` too.
        on_failed: called there once, when nothing may be acknowledged any more.
    """

    def __init__(
        self,
        mastership: Mastership,
        place: BatchPlace,
        state: State,
        options: JournalOptions,
        *,
        post: Post,
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalError], None],
    ) -> None:
        self._mastership = mastership
        self.tally = mastership.tally
        self._encoder = mastership.encoder
        self._encode = mastership.encoder.encode
        self._state = state
        self._apply = state.apply
        self._end_pieces: list[bytes] = []
        self._encode(EpochEnd(), self._end_pieces)  # now: the encoder is the owner's from here on
        self._batch_bytes_max = options.batch_bytes_max
        self._idle_check_s = options.idle_check_s
        self._post = post
        self._on_durable = on_durable
        self._on_failed = on_failed
        self.durable_batch = place.batch - 1
        self._told = self.durable_batch
        self.error: JournalError | None = None
        self.on_committed: Callable[[int, int], None] = lambda _batch, _size: None
        """Called by whoever commits with the number and size of each batch that may be acknowledged."""
        self.on_ended: Callable[[], None] = lambda: None
        """Called in the writer's thread when it ends."""
        self._lock = threading.Lock()
        self._disk = threading.Lock()
        self._commit_s = SLOW_COMMIT_S * 2  # the first commits show what the disk takes
        self.small_commit_s = 0.0
        """What a commit of little takes, once there was one: what the disk takes for a sync. Any thread."""
        self._open = OpenBatch(mastership.epoch, place)
        self._closed: deque[OpenBatch] = deque()
        self._committing: OpenBatch | None = None
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._awake = False
        self._stopping = False
        self._settled = False  # whether the last batch holds nothing but `EpochEnd`
        self.asked_s = 0.0
        """When the disk was asked for what it has not answered yet, monotonic; 0.0: nothing. Any thread."""
        self._thread = threading.Thread(target=self._work, name=f"journal-{mastership.epoch}", daemon=True)

    def start(self) -> None:
        """Begins to write and to check the fence."""
        self._thread.start()

    def append(self, records: Sequence[AnyRecord]) -> int:
        """Adds records to the open batch, all or none, and applies them; returns the batch's number.

        Raises:
            ValueError: a record cannot be encoded.
        """
        with self._lock:
            batch = self._open
            size = batch.size
            if size >= self._batch_bytes_max:
                self._closed.append(batch)
                batch = self._next()
                size = 0
            if len(records) == 1:  # in line: `OpenBatch.add` takes 0.8 µs longer for one record
                record = records[0]
                length = self._encode(record, batch.pieces)
                batch.size = size + length
                batch.count += 1
                self._apply(record, batch.base + size, length)
            else:
                batch.add(records, self._encoder, self._state)
            return batch.place.batch

    def copy(self, copies: Sequence[Copy]) -> list[Copy]:
        """Adds copies whose message is live where its record was copied and says; returns the others.

        Owner's thread, like `append`.
        """
        with self._lock:
            if self._open.size >= self._batch_bytes_max:
                self._closed.append(self._open)
                self._next()
            return self._open.add_copies(copies, self._state)

    def cut(self) -> Seal:
        """Ends the open batch; returns the place behind it. Owner's thread, like `append`."""
        with self._lock:
            if self._open.count:
                self._closed.append(self._open)
                self._next()
                self._wakes.put(None)
            batch, number, offset = self._open.place
            return Seal(self._mastership.epoch, number, offset, batch - 1)

    def data_file(self) -> int:
        """Number of the data file in which the open batch will stand."""
        return self._open.place.number

    @property
    def end(self) -> int:
        """Where the last committed batch ends in its data file. Any thread."""
        return self._mastership.end

    @property
    def spare_bytes(self) -> int:
        """How many bytes are allocated behind that. Any thread."""
        return self._mastership.spare_bytes

    def last_batch(self) -> int:
        """Number of the last batch that anything was added to."""
        with self._lock:
            return self._open.place.batch - (not self._open.count)

    def unwritten(self, place: Place) -> bytes | None:
        """The record at a place, if its batch may not be on the disk yet."""
        with self._lock:
            for batch in (self._committing, *self._closed, self._open):
                if batch is not None and batch.base <= place.location < batch.base + batch.size:
                    start = place.location - batch.base
                    return b"".join(batch.pieces)[start : start + place.length]
            return None

    @property
    def unwritten_bytes(self) -> int:
        """Records that may not be on the disk yet. Owner's thread, which may ask every turn: no lock."""
        committing = self._committing
        waiting = self._open.size + sum(batch.size for batch in tuple(self._closed))
        return waiting + (committing.size if committing is not None else 0)

    def flush(self, *, alone: bool = False) -> None:
        """Has what was appended committed, now or by the writer.

        Args:
            alone: one client speaks, and waits for it; what it appended at once, like a transaction, is then
                committed here although it is much, since nothing arrives meanwhile.
        """
        batch = self._open
        if not batch.count or self.error is not None:
            return
        if not self._awake:
            if (
                self._commit_s < SLOW_COMMIT_S
                and not self._closed
                and batch.size <= (ALONE_BYTES_MAX if alone and batch.is_whole else INLINE_BYTES_MAX)
                and self._disk.acquire(blocking=False)
            ):
                self._commit_inline()
                return
            self._awake = True
            self._wakes.put(None)
        if batch.size - batch.joined_bytes >= JOINED_BYTES_MIN:
            with self._lock:
                if batch is self._open:
                    batch.join()

    def _commit_inline(self) -> None:
        """Commits the open batch in the owner's thread; call it with the disk held, which it releases.

        It is told first and counted then: whoever waits need not wait for that.
        """
        batch = None
        try:
            batch = self._take(is_asked=True)
            if batch is not None:
                took_s = self._commit(batch)
        except JournalError as error:
            self._fail(error)
            self._wakes.put(None)  # the writer ends
            return
        finally:
            self._disk.release()
        if batch is not None:
            try:
                self._tell(batch.place.batch)
            finally:
                self._count(batch, took_s)

    def close(self, timeout_s: float) -> None:
        """Commits what was appended, marks the end, gives the rest of the data file back.

        Raises:
            StoreFailed: it took longer.
        """
        self._stopping = True
        self._wakes.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise StoreFailed(f"the last batch of the journal was not written within {timeout_s:g} s")

    def _next(self) -> OpenBatch:
        """Opens the batch after the open one, which was handed on; call it with the lock held."""
        place = self._open.next_place(self._mastership.file_bytes)
        self._open = OpenBatch(self._mastership.epoch, place)
        return self._open

    def _take(self, *, is_asked: bool = False) -> OpenBatch | None:
        """The next batch to commit.

        A busy writer takes what is open without being asked, except for a little on a slow disk: there the
        owner may want it to be committed with what comes in a moment.
        """
        with self._lock:
            batch = self._open
            is_asked = is_asked or self._awake or self._stopping or batch.size > BUSY_BYTES
            self._awake = False
            self._committing = None
            if self._closed:
                self._committing, self._awake = self._closed.popleft(), is_asked
            elif batch.count and (is_asked or self.small_commit_s < SLOW_COMMIT_S):
                self._committing = batch
                self._next()
            return self._committing

    def _work(self) -> None:
        error: JournalError | None = StoreFailed("the journal's writer has died; the log says why")
        try:
            self._write()
            error = None
        except JournalError as reason:
            error = reason
        finally:  # after an error that nobody foresaw too: whoever waits must not wait for ever
            if error is not None:
                self._fail(error)
            self.on_ended()
            with self._disk, suppress(JournalError):  # everything in it was synced, or has failed already
                self._mastership.close()

    def _fail(self, error: JournalError) -> None:
        self.error = error
        self._post(lambda: self._on_failed(error))

    def _write(self) -> None:
        while True:
            try:
                self._wakes.get(timeout=self._idle_check_s)
                is_idle = False
            except Empty:
                is_idle = True
            with self._disk:
                if self.error is not None:
                    return
                if is_idle:
                    self._be_idle()
                self._commit_all(is_asked=is_idle)
                if self._stopping:
                    self._be_idle()
                    self._mastership.give_back()
                    return

    def _commit_all(self, *, is_asked: bool) -> None:
        """Commits batch after batch until none is left; call it with the disk held.

        A batch is reported when the next one is written: the owner, who then has much to do, does it while
        the disk syncs, instead of holding the interpreter's lock when there is something to write. Measured
        with batches of 64 KiB: 0.60 for 0.71 ms each.
        """
        done: OpenBatch | None = None
        try:
            while (batch := self._take(is_asked=is_asked)) is not None:
                self._count(batch, self._commit(batch, report=done))
                done = batch
                is_asked = False
        finally:
            if done is not None:
                self._report(done)

    def _report(self, batch: OpenBatch) -> None:
        """Tells the owner's thread that a batch may be acknowledged."""
        number = batch.place.batch
        self._post(lambda: self._tell(number))

    def _tell(self, number: int) -> None:
        """In the owner's thread: a batch committed here may overtake the news of an older one."""
        if number > self._told:
            self._told = number
            self._on_durable(number)

    def _commit(self, batch: OpenBatch, *, report: OpenBatch | None = None) -> float:
        """Has a batch written, synced and checked; returns how many seconds that took."""
        self.asked_s = began_s = time.monotonic()
        steps = self._mastership.commit(batch)
        if report is not None:
            next(steps)  # up to the first thing done on the disk, as a rule the write
            self._report(report)
        run(steps)
        took_s = time.monotonic() - began_s
        self.asked_s = 0.0
        self._settled = False
        self.durable_batch = batch.place.batch
        return took_s

    def _count(self, batch: OpenBatch, took_s: float) -> None:
        """Notes a commit, for those who want to know how long one takes, and for upkeep."""
        self._commit_s += SMOOTHING * (took_s - self._commit_s)
        if batch.size <= BUSY_BYTES:
            self.small_commit_s += SMOOTHING * (took_s - self.small_commit_s)
        self.tally.commit(batch.count, batch.size, took_s)
        self.on_committed(batch.place.batch, batch.size)

    def _be_idle(self) -> None:
        """Says once behind the last batch that it was acknowledged; after that, checks the fence."""
        if self._settled:
            self.asked_s = time.monotonic()
            self._mastership.check()
            self.asked_s = 0.0
            return
        with self._lock:
            batch = self._open
            if batch.count:
                return
            batch.pieces += self._end_pieces
            batch.count = 1
            batch.size = len(self._end_pieces[0])
            self._next()
        self._count(batch, self._commit(batch))
        self._report(batch)
        self._settled = True
