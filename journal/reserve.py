"""Bytes of the disk that a master keeps for the time when there are none left (P10).

A consumer's acknowledgement takes space before it gives any back, and so do checkpoints and compaction. The
reserve is a file of the store that holds nothing. When a data file or a checkpoint cannot be allocated, part
of it is given back; from then on the store is *full*: the broker takes no more sends, everything else goes
on. The caretaker frees what it can and allocates the reserve again; when it has all of it, the store is not
full any more.
"""

import logging
from collections.abc import Callable
from typing import Final

from journal.errors import JournalError, StoreFull
from journal.fence import reserve_name
from journal.files import Files
from journal.options import JournalOptions

CHECKPOINTS_RESERVED: Final = 2
"""The one that is written while the disk is full, and how much it may have grown by the next."""

_log = logging.getLogger(__name__)


class Reserve:
    """The reserve of one epoch.

    The caretaker takes and releases it, whoever commits gives of it; there is no lock between them. A `take`
    that is overtaken by a `give` undoes itself.

    Attributes:
        full: whether it had to be touched, or could not be allocated.
        held: bytes in it.
        on_change: called after each change of `full`, in the thread that changed it.
    """

    def __init__(self, files: Files, epoch: int, options: JournalOptions) -> None:
        self._files = files
        self._name = reserve_name(epoch)
        self._least = options.reserve_bytes
        self._margin = options.small_file_bytes
        self._given = 0  # how often something was given
        self.full = False
        self.held = 0
        self.on_change: Callable[[], None] = lambda: None

    def take(self, checkpoint_bytes: int) -> bool:
        """Allocates it, whole or not at all; the caretaker's thread.

        The end of a shortage takes a small data file more than the reserve, so that the first send after it
        does not begin the next.

        Args:
            checkpoint_bytes: how long a checkpoint would be now.

        Raises:
            JournalError: the disk failed.
        """
        given = self._given
        wanted = self._least + CHECKPOINTS_RESERVED * checkpoint_bytes
        try:
            self._files.allocate(self._name, wanted + self._margin if self.full else wanted)
            self._files.trim(self._name, wanted)
        except StoreFull:
            self._set_full(True)
            return False
        self.held = wanted
        self._set_full(False)
        if self._given != given:  # whoever commits needed it meanwhile
            self.give(wanted)
            return False
        return True

    def give(self, size: int) -> bool:
        """Gives so many bytes back to the disk, or what is left; False if nothing was. Any thread."""
        self._given += 1
        had = self.held
        self.held = left = max(had - size, 0)
        self._set_full(True)
        if not had:
            return False
        try:
            if left:
                self._files.trim(self._name, left)
            else:
                self._files.remove(self._name)
        except JournalError as error:
            _log.warning("the reserve of the store cannot be given back: %s", error)
        return True

    def release(self) -> None:
        """Gives all of it back, at the end of the journal."""
        self.held = 0
        try:
            self._files.remove(self._name)
        except JournalError as error:
            _log.warning("the reserve of the store cannot be removed: %s", error)

    def _set_full(self, full: bool) -> None:
        if self.full != full:
            self.full = full
            self.on_change()
