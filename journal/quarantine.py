"""What cannot be read any more: a copy of it is kept, and the log says where it was and what became of it."""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from journal.errors import JournalError, MessageDamaged
from journal.fence import DataFileName, quarantine_name
from journal.files import Files
from journal.index import Place
from journal.record import AnyRecord, Location, RemoveMessage
from journal.state import State

COPY_BYTES: Final = 4 * 1024 * 1024
"""Copied at once."""

_log = logging.getLogger(__name__)


def keep_copy(files: Files, name: DataFileName, offset: int, data: bytes) -> str:
    """Keeps a damaged region of a data file; what cannot be kept is only told.

    Returns:
        Path of the copy, "" if there is none.
    """
    copy = quarantine_name(name.epoch, name.number, offset)
    path = files.describe(copy)
    try:
        if files.opens(copy):
            return path
        file = files.create_data(copy, len(data))
        try:
            for start in range(0, len(data), COPY_BYTES):
                file.write(start, [data[start : start + COPY_BYTES]])
            file.sync()
        finally:
            file.close()
        files.sync_directory()
    except JournalError as error:
        _log.error("no copy of the damaged region could be made: %s", error)
        return ""
    return path


class Log(Protocol):
    """Where the end of a message is written down."""

    def append(self, records: Sequence[AnyRecord]) -> int:
        """Adds records to the open batch and returns its number."""


class Losses:
    """Gives up messages whose records are damaged.

    Attributes:
        count: messages given up by this master.
    """

    def __init__(self, files: Files, state: State, log: Log) -> None:
        self._files = files
        self._state = state
        self._log = log
        self.count = 0

    def copy(self, place: Place) -> str:
        """Keeps a copy of a damaged record. Any thread.

        Returns:
            Its path, "" if there is none.
        """
        epoch, number, offset = Location.unpack(place.location)
        name = DataFileName(epoch, number)
        try:
            data = self._files.read(str(name), offset, place.length)
        except JournalError as error:
            _log.error("no copy of the damaged region could be made: %s", error)
            return ""
        return keep_copy(self._files, name, offset, data)

    def give_up(self, ref: int, destination: str, place: Place, copy: str) -> MessageDamaged:
        """Takes a damaged message out of the index, now and for all successors; owner's thread.

        Returns:
            What to tell whoever wanted it.
        """
        epoch, number, offset = Location.unpack(place.location)
        file = self._files.describe(str(DataFileName(epoch, number)))
        kept = f", copy in {copy}" if copy else ""
        error = MessageDamaged(
            f"damaged: {file}, {place.length} bytes from offset {offset}; "
            f"message {ref} of {destination} is lost{kept}"
        )
        messages = self._state.messages(destination)
        if messages is not None and messages.place(ref) == place:
            self.count += 1
            _log.error("%s", error)
            self._log.append([RemoveMessage(ref, destination)])
        return error
