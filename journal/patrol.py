"""Looks for damage in what a new master has not read: the records of live messages in older data files.

Recovery begins with a checkpoint, and trusts that the records stand where it says. Bits that have flipped
since would only be found when their message is dispatched, perhaps in weeks, when nobody has a copy any more.
So a new master reads all of them once, slowly, when it has nothing else to keep in order.
"""

from typing import Final, NamedTuple

from journal.bodies import Bodies
from journal.errors import MessageDamaged, MessageUnreadable
from journal.files import Files
from journal.index import Place
from journal.record import EPOCH_SHIFT
from journal.state import State

LOOK_BYTES: Final = 1024 * 1024
"""Read at once."""


class LiveRecord(NamedTuple):
    """A message and where its record stands."""

    ref: int
    destination: str
    place: Place


class Look(NamedTuple):
    """What was seen.

    Attributes:
        size: bytes of records looked at.
        damaged: those that are not whole.
        unreadable: those that the disk does not give, and what it says.
    """

    size: int
    damaged: list[LiveRecord]
    unreadable: list[tuple[LiveRecord, MessageUnreadable]]


class Patrol:
    """One way through the live messages that earlier masters have written.

    Args:
        files: the store.
        state: the owner's.
        epoch: ours.
    """

    def __init__(self, files: Files, state: State, epoch: int) -> None:
        self._state = state
        self._epoch = epoch
        self._bodies = Bodies(files, state.salts)
        self._destinations = list(state.places())
        self._after = -1
        self._unseen: list[LiveRecord] = []

    def refill(self) -> bool:
        """Finds some more records to look at; False if there are none. Owner's thread."""
        while self._destinations:
            destination = self._destinations[-1]
            messages = self._state.messages(destination)
            found = [] if messages is None else messages.some_after(self._after)
            if found:
                self._after = found[-1][0]
                self._unseen = [
                    LiveRecord(ref, destination, Place(location, length))
                    for ref, location, length in reversed(found)
                    if location >> EPOCH_SHIFT < self._epoch
                ]
                return True
            self._destinations.pop()
            self._after = -1
        return False

    def is_current(self, record: LiveRecord) -> bool:
        """Whether a message still stands there. Owner's thread."""
        messages = self._state.messages(record.destination)
        return messages is not None and messages.place(record.ref) == record.place

    @property
    def has_records(self) -> bool:
        """Whether there is something to look at without refilling."""
        return bool(self._unseen)

    def look(self) -> Look:
        """Reads some records. The caretaker's thread."""
        size = 0
        damaged: list[LiveRecord] = []
        unreadable: list[tuple[LiveRecord, MessageUnreadable]] = []
        while self._unseen and size < LOOK_BYTES:
            record = self._unseen.pop()
            size += record.place.length
            try:
                self._bodies.check(record.place)
            except MessageUnreadable as error:
                unreadable.append((record, error))
                break
            except MessageDamaged:
                damaged.append(record)
        return Look(size, damaged, unreadable)
