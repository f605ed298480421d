"""Compaction of one data file: which of its records are live, and their copies for the end of the log.

The index says which messages stand in the file, so nothing else of it is read: where most is dead, reading
all of it took five times as long. A copy is made of bytes, not of an object: it differs from what it is
copied from by its type and its checksum. Only what the owner may have changed since is built anew.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from journal.codec import RecordDecoder
from journal.copier import Copy, RecordCopier
from journal.fence import DataFileName
from journal.index import MessageIndex, Place
from journal.options import JournalOptions
from journal.record import FILE_SHIFT, OFFSET_MAX, Location, MovedMessage, Stored, data_file_key
from journal.state import State

CHUNKS_A_TURN: Final = 256
"""Of the index looked at in one turn of the owner: half a millisecond."""
CHUNK_WITH_RECORDS: Final = 16
"""A chunk with records of the file takes as long as so many without."""
GAP_BYTES_MAX: Final = 32 * 1024
"""Dead bytes that are read with what is around them; a read costs as much as so many from the page cache."""
READS_MAX: Final = 4
"""Reads of recovery that one for compaction may span."""
_LENGTH_BITS: Final = 32
_LENGTH_MASK: Final = (1 << _LENGTH_BITS) - 1


class Search:
    """Finds the live records in a data file, some of the index at a time. Owner's thread.

    Messages that come into the index meanwhile stand elsewhere.

    Args:
        state: the owner's.
        name: of a data file that is not written to any more.
    """

    def __init__(self, state: State, name: DataFileName) -> None:
        self._state = state
        self._key = data_file_key(*name)
        self._destinations = list(state.places())
        self._after = -1
        self._found: list[int] = []

    def go_on(self) -> bool:
        """Looks through some more of the index; False if that was all."""
        left = CHUNKS_A_TURN
        while self._destinations and left > 0:
            messages = self._state.messages(self._destinations[-1])
            if messages is not None:
                for last, places in messages.standing_in(self._key, self._after):
                    self._after = last
                    self._found += [
                        (location % OFFSET_MAX) << _LENGTH_BITS | length for location, length in places
                    ]
                    left -= CHUNK_WITH_RECORDS if places else 1
                    if left <= 0:
                        return True
            self._destinations.pop()
            self._after = -1
            left -= 1
        return bool(self._destinations)

    def places(self) -> "array[int]":
        """Where the records stand, in order: offset and length of each, see `_LENGTH_BITS`."""
        self._found.sort()
        return array("Q", self._found)


class Candidate(NamedTuple):
    """A record that may have to be moved and has to be built anew, and where it stands."""

    record: Stored
    place: Place


@dataclass(slots=True)
class Part:
    """What the owner takes in one turn: records that are moved if they are still live where they stood.

    Attributes:
        copies: of messages.
        others: records that may have changed.
        size: bytes of all of them.
    """

    copies: list[Copy] = field(default_factory=list)
    others: list[Candidate] = field(default_factory=list)
    size: int = 0

    def __len__(self) -> int:
        """How many."""
        return len(self.copies) + len(self.others)


class Region(NamedTuple):
    """What is read at once: offset and length in the file, and the records in it, as `Search` gives them."""

    offset: int
    length: int
    places: "array[int]"


def regions(places: "array[int]", options: JournalOptions) -> Iterator[Region]:
    """Cuts the records into as many at once as the owner takes in one turn; leaves out large gaps."""
    first = start = end = size = 0
    for i, place in enumerate(places):
        offset, length = place >> _LENGTH_BITS, place & _LENGTH_MASK
        if i > first and (
            offset - end > GAP_BYTES_MAX
            or offset - start > READS_MAX * options.read_bytes
            or i - first >= options.move_records
            or size >= options.move_bytes
        ):
            yield Region(start, end - start, places[first:i])
            first = i
        if i == first:
            start, size = offset, 0
        end = offset + length
        size += length
    if places:
        yield Region(start, end - start, places[first:])


def copy_records(region: Region, name: DataFileName, data: bytes, copier: RecordCopier) -> Part:
    """Copies the records in a region of a data file; passes over what is damaged.

    Args:
        region: where.
        name: of the file.
        data: what stands there.
        copier: from its epoch to ours.
    """
    shift = region.offset
    base = Location(*name, shift).pack()
    found = [((place >> _LENGTH_BITS) - shift, place & _LENGTH_MASK) for place in region.places]
    part = Part(copier.copies(data, found, base))
    for position, length in copier.left:
        ((record, _),) = RecordDecoder().decode(data, position, position + length)
        if isinstance(record, Stored):
            part.others.append(Candidate(record, Place(base + position, length)))
    part.size = sum(copy.length for copy in part.copies) + sum(each.place.length for each in part.others)
    return part


def move_copies(state: State, copies: Sequence[Copy], location: int) -> list[Copy]:
    """What `State.apply` does with copies of records that stand one after the other from a location on.

    Returns:
        Those whose message was live where its record was copied, in the place that the record names; the
        others are left out.
    """
    moved: list[Copy] = []
    destination = ""
    messages: MessageIndex | None = None
    for copy in copies:
        if copy.destination != destination or messages is None:
            destination = copy.destination
            messages = state.messages(destination)
        if messages is not None and messages.move(copy.ref, copy.former, location):
            moved.append(copy)
            location += copy.length
    for key, former in groupby(moved, lambda copy: copy.former >> FILE_SHIFT):
        size = sum(copy.length for copy in former)
        state.unuse(Place(key << FILE_SHIFT, size))
        state.use(location - 1, size)
    return moved


def decoded(copy: Copy) -> Candidate:
    """Of a copy that cannot be used as it is: its message is gone, or a branch has put it somewhere else."""
    ((record, _),) = RecordDecoder().decode(copy.head + copy.rest, 0, copy.length)
    assert isinstance(record, MovedMessage)
    return Candidate(record, Place(copy.former, copy.length))
