"""Keeps a slave's index warm: it follows the log of the master through the same `apply`, read-only.

What it applies must never be cut by a seal. A batch is written only after the one before it has passed the
fence check, so a batch is applied when the next one of its epoch is seen: every successor sees it, too. The
last one is held back. At a takeover the state and its place in the log are used like a checkpoint:
`journal.recovery` reads what follows, finds out what rules and what is sealed, and begins anew, from the
newest checkpoint, should a seal lie before the place: the last batch a successor finds is sealed away, since
it has adopted it.

Data files may be sealed, cut or removed under it. It reads again then, from its place or from a checkpoint.
"""

import logging
import threading
from typing import Final

from journal.codec import RecordDecoder
from journal.errors import JournalError, StoreMissing
from journal.fence import data_files, run
from journal.files import Files
from journal.reader import Batch, EpochReader, Position
from journal.record import BATCH_HEADER_BYTES, Seal
from journal.recovery import StoreReader
from journal.report import Damage
from journal.state import State

READ_BYTES: Final = 64 * 1024
"""Most polls find little; a longer batch is read at once."""
POLL_S: Final = 0.03
"""Between two looks; what came since then is read at a takeover, which takes about as long."""
RETRY_S: Final = 1.0
"""After the store could not be read."""

_log = logging.getLogger(__name__)


class Follower:
    """A state that follows a store. One thread at a time.

    Attributes:
        state: what is live, up to `place`.
        place: everything in the log before it is in the state; None if nothing is.
        damages: what was found damaged before it.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._decoder = RecordDecoder()
        self.state = State()
        self.place: Seal | None = None
        self.damages: list[Damage] = []
        self._reader: EpochReader | None = None
        self._held: Batch | None = None

    def poll(self) -> None:
        """Reads what is new.

        Raises:
            JournalError: the store cannot be read now; the next poll begins anew.
        """
        present = data_files(self._files.names())
        reader = self._reader
        if reader is None or any(name.epoch > reader.epoch and not name.number for name in present):
            self._read_again()
            reader = self._reader
        if reader is not None:
            before = reader.position
            self._follow(reader)
            last = max((name for name in present if name.epoch == reader.epoch), default=None)
            if reader.position == before and last is not None and last.number > before.number:
                self._read_again()  # something is damaged or gone, and the log goes on behind it

    def _follow(self, reader: EpochReader) -> None:
        for batch in reader.read():
            if self._held is not None:
                self._apply(self._held)
            self._held = batch

    def _apply(self, batch: Batch) -> None:
        header = batch.header
        self.state.salts[header.epoch] = header.salt
        self._decoder.replay(batch.data, batch.start, batch.end, batch.base, self.state)
        end = header.offset + BATCH_HEADER_BYTES + header.length
        self.place = Seal(header.epoch, header.number, end, header.batch)

    def _read_again(self) -> None:
        """Finds out what rules and goes on from the place; or from a checkpoint, if that is of no use."""
        self._held = self._reader = None
        reader = StoreReader(self._files, self.state, warm=self.place, found=self.damages)
        try:
            run(reader.read())
        except JournalError:
            self.forget()
            raise
        self.damages = [damage for damage in reader.report.damages if damage.length]
        reached = reader.reached
        if reached is None:  # a new store
            self.forget()
            return
        self._reader = EpochReader(self._files, reached.epoch, read_bytes=READ_BYTES)
        if reached.batch:
            self.place = reached
            self._reader.resume(Position(*reached[1:]))
        else:
            self.place = reader.lower

    def forget(self) -> None:
        """Begins anew."""
        self.state.clear()
        self.place = None
        self.damages = []
        self._reader = self._held = None


class FollowerThread:
    """A follower that polls in a thread of its own until it is stopped."""

    def __init__(self, files: Files, poll_s: float = POLL_S) -> None:
        self._poll_s = poll_s
        self.follower = Follower(files)
        self._stopping = threading.Event()
        self._complained = ""
        self._thread = threading.Thread(target=self._work, name="journal-follower", daemon=True)

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def end(self) -> None:
        """Ends the thread after its last look; does not wait for that."""
        self._stopping.set()

    def stop(self) -> Follower:
        """Ends the thread and returns the follower as it is. Blocks until its last look is over."""
        self.end()
        if self._thread.is_alive():
            self._thread.join()
        return self.follower

    def _work(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                self.follower.poll()
                pause_s = self._poll_s
            except StoreMissing:  # no master has made it yet, or a file went while it was read
                pause_s = self._poll_s
            except JournalError as error:
                pause_s = RETRY_S
                self._complain(str(error))

    def _complain(self, text: str) -> None:
        if text != self._complained:
            self._complained = text
            _log.warning("the store cannot be followed now: %s", text)
