"""The journal as a broker uses it."""

import gc
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from journal.bodies import Bodies
from journal.care import Kept
from journal.caretaker import Caretaker
from journal.codec import message_body
from journal.errors import JournalError, MessageDamaged, MessageUnreadable, StoreUnavailable
from journal.fence import run
from journal.files import Files, PosixFiles, create_store
from journal.follower import Follower
from journal.mastership import become_master
from journal.options import RESERVE_BYTES, SMALL_FILE_BYTES, JournalOptions
from journal.patrol import Patrol
from journal.quarantine import Losses
from journal.record import Record
from journal.report import Report
from journal.reserve import Reserve
from journal.state import State
from journal.tally import Tally
from journal.upkeep import Upkeep
from journal.writer import Post, Writer

UNWRITTEN_BYTES_MAX: Final = RESERVE_BYTES // 6
"""Appended and not committed, before sends wait. If the disk turns out to be full, the reserve has room for
it, for what one more turn brings, for the copy of that batch that a successor makes, and for a small data
file of acknowledgements. A disk that syncs in 20 ms takes 100 MiB a second all the same."""
LARGE_BYTES: Final = SMALL_FILE_BYTES
"""A message up to this fits the reserve even if the disk turns out to be full."""


class Journal:
    """A store of which this broker is the master, until `on_failed` says otherwise.

    Made by `open`. All methods are called in the owner's thread unless they say otherwise.

    Attributes:
        state: what is live; kept current by `append`.
        epoch: the number of this mastership.
        report: what recovery found.
    """

    def __init__(  # noqa: PLR0917 - its parts, put together by `open` alone
        self,
        files: Files,
        writer: Writer,
        caretaker: Caretaker,
        reserve: Reserve,
        losses: Losses,
        state: State,
        epoch: int,
        report: Report,
    ) -> None:
        self._files = files
        self._writer = writer
        self._caretaker = caretaker
        self._reserve = reserve
        self._losses = losses
        self._bodies = Bodies(files, state.salts)
        self.state = state
        self.epoch = epoch
        self.report = report
        self.append: Callable[[Sequence[Record]], int] = writer.append  # saves a call on the hot path
        self.flush = writer.flush

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        owner: str,
        post: Post,
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalError], None],
        on_full: Callable[[bool], None] = lambda _full: None,
        files: Files | None = None,
        options: JournalOptions | None = None,
        follower: Follower | None = None,
        on_claimed: Callable[[], None] = lambda: None,
    ) -> "Journal":
        """Takes the store over and reads it. Blocks; call it in a thread.

        Args:
            directory: of the store.
            owner: who we are, for people who look into the store.
            post: hands a call over to the owner's thread.
            on_durable: called there with rising numbers, each for its batch and all before; on a fast disk
                it may be called before `flush` returns.
            on_failed: called there once, when fenced or after a failed write, sync or check. Nothing is
                acknowledged after that, and what is appended is dropped.
            on_full: called there after each change of `full`, with its value.
            files: another disk, for tests.
            options: sizes and times.
            follower: a warm state of this store, which is ours from now on; its thread has ended.
            on_claimed: called here, in this thread, when the epoch is ours and nothing is read yet.

        Raises:
            StoreFenced: another broker took the store meanwhile: ask the election before trying again.
            StoreUnavailable: the directory is missing, read-only or fails.
            StoreNewer: it was written by a newer version; nothing was touched.
            StoreCorrupt: it contradicts itself in a way that must not be guessed about.
            StoreFailed: the first batch could not be written.
        """
        options = options or JournalOptions()
        if files is None:
            if options.create:
                create_store(directory)
            files = PosixFiles(directory)
        follower = follower or Follower(files)
        state = follower.state
        with _collector_paused():
            steps = become_master(
                files,
                state,
                owner=owner,
                salt=secrets.randbits(64),
                options=options,
                warm=follower.place,
                found=follower.damages,
                on_claimed=on_claimed,
            )
            opened = run(steps)
        mastership = opened.mastership
        place = opened.first.next_place(mastership.file_bytes)
        writer = Writer(
            mastership, place, state, options, post=post, on_durable=on_durable, on_failed=on_failed
        )
        epoch, reserve = mastership.epoch, mastership.reserve
        upkeep = Upkeep(files, state, writer, epoch, opened.first.end, options, mastership.tally)
        losses = Losses(files, state, writer)
        patrol = Patrol(files, state, epoch)
        kept = Kept(files, upkeep, reserve, patrol, losses, options, opened.leftovers)
        caretaker = Caretaker(kept, writer, post)
        reserve.on_change = _Telling(reserve, post, on_full, caretaker.wake).changed
        writer.start()
        caretaker.start()
        return cls(files, writer, caretaker, reserve, losses, state, epoch, opened.report)

    @property
    def durable_batch(self) -> int:
        """The highest batch that is synced and checked: what it and those before hold may be acknowledged."""
        return self._writer.durable_batch

    @property
    def full(self) -> bool:
        """Whether the disk is full: sends should wait. Everything else goes on, and may free some of it."""
        return self._reserve.full

    @property
    def is_behind(self) -> bool:
        """Whether sends should wait a moment: what is not written yet must fit a disk that is full now."""
        return self._writer.unwritten_bytes > UNWRITTEN_BYTES_MAX

    @property
    def unwritten_bytes(self) -> int:
        """Bytes of records that are not committed yet."""
        return self._writer.unwritten_bytes

    @property
    def commit_s(self) -> float:
        """What a commit of little takes at present: a mean in which the last ones count most."""
        return self._writer.small_commit_s

    @property
    def asked_s(self) -> float:
        """When the disk was asked for what it has not answered yet, monotonic seconds; 0.0: it owes nothing.

        Any thread. A commit, or in quiet times the look at the fence; not what is done in the background.
        """
        return 0.0 if self._writer.error is not None else self._writer.asked_s

    @property
    def live_bytes(self) -> int:
        """Bytes of the records of all live messages."""
        return self.state.live_bytes

    @property
    def lost_messages(self) -> int:
        """How many live messages were given up by this master, since their records are damaged."""
        return self._losses.count

    @property
    def tally(self) -> Tally:
        """What this mastership has done so far."""
        return self._writer.tally

    @property
    def store_bytes(self) -> int:
        """About what the store takes of its disk; looked at when upkeep last did, and counted on."""
        return self._caretaker.store_bytes

    def has_room(self, size_bytes: int) -> bool:
        """Whether a message so long can be taken: one that does not fit the disk would end this mastership.

        Never for a message of ordinary size unless the disk is full, and then it costs nothing to ask.
        """
        if self._reserve.full:
            return False
        if size_bytes <= LARGE_BYTES:
            return True
        try:
            return size_bytes + LARGE_BYTES <= self._files.free_bytes()
        except StoreUnavailable:
            return True  # the next batch finds out

    def read(self, ref: int, destination: str) -> bytes:
        """The body of a live message.

        Raises:
            MessageUnknown: the destination has none with this number.
            MessageDamaged: its record is damaged; says which bytes of which file, and where their copy is. It
                is not live any more, and the log has a line about it.
            MessageUnreadable: the disk does not give it now. It stays live: the next master tries again.
        """
        place = self.state.place(ref, destination)
        record = self._writer.unwritten(place)
        if record is not None:
            return message_body(record, 0)
        try:
            return self._bodies.read(place)
        except MessageUnreadable:
            raise
        except MessageDamaged as error:
            raise self._losses.give_up(ref, destination, place, self._losses.copy(place)) from error

    def close(self, timeout_s: float) -> None:
        """Writes and syncs what was appended, then gives the store up. Blocks; may be called in any thread.

        Does nothing after `on_failed`.

        Raises:
            StoreFailed: that took longer than `timeout_s` seconds.
        """
        self._caretaker.stop(timeout_s)
        self._writer.close(timeout_s)


class _Telling:
    """Tells the owner in its own thread, and in order, whether the disk is full."""

    def __init__(
        self, reserve: Reserve, post: Post, on_full: Callable[[bool], None], wake: Callable[[], None]
    ) -> None:
        self._reserve = reserve
        self._post = post
        self._on_full = on_full
        self._wake = wake
        self._told = False
        if reserve.full:
            post(self._tell)

    def changed(self) -> None:
        """In any thread."""
        self._post(self._tell)
        self._wake()

    def _tell(self) -> None:
        full = self._reserve.full
        if full != self._told:
            self._told = full
            self._on_full(full)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keeps the garbage collector from going through what recovery builds, now and later.

    Live messages hold numbers and bytes, so they are never part of a cycle; looking at each of them again and
    again takes a quarter of recovery, and 0.1 s in each full collection with a million messages.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()
