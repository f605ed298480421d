"""Where the live messages of one place stand in the log: 20 bytes a message, in order of their numbers.

A `dict` takes five times as much, and copying it for a checkpoint would stop the broker for a tenth of a
second. Here the entries lie in chunks of three arrays. A view for a checkpoint shares the chunks; one that is
changed while a view has it is copied first (10 KiB, one microsecond).
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Final, NamedTuple

from journal.record import FILE_SHIFT

CHUNK_ENTRIES: Final = 512
"""Copying a shared chunk costs 1 µs, finding one among the 2,000 chunks of a million messages 0.3 µs."""


class Place(NamedTuple):
    """Where a record stands.

    Attributes:
        location: packed, see `journal.record.Location`.
        length: of the whole record in bytes, never 0.
    """

    location: int
    length: int


class Chunk:
    """Up to `CHUNK_ENTRIES` neighbours; an entry of length 0 is gone.

    Attributes:
        refs: numbers of the messages, ascending.
        locations: packed.
        lengths: of the records in bytes.
        live: entries that are not gone.
        shared: whether a view has this chunk: it must not change any more.
    """

    __slots__ = ("lengths", "live", "locations", "refs", "shared")

    def __init__(self, refs: "array[int]", locations: "array[int]", lengths: "array[int]", live: int) -> None:
        self.refs = refs
        self.locations = locations
        self.lengths = lengths
        self.live = live
        self.shared = False

    def copy(self) -> "Chunk":
        """The same entries, the gone ones included."""
        return Chunk(self.refs[:], self.locations[:], self.lengths[:], self.live)

    def compacted(self) -> "Chunk":
        """The same entries without those that are gone."""
        kept = [i for i, length in enumerate(self.lengths) if length]
        refs, locations, lengths = self.refs, self.locations, self.lengths
        return Chunk(
            array("Q", [refs[i] for i in kept]),
            array("Q", [locations[i] for i in kept]),
            array("I", [lengths[i] for i in kept]),
            len(kept),
        )

    def joined(self, other: "Chunk") -> "Chunk":
        """Both, one behind the other."""
        return Chunk(
            self.refs + other.refs,
            self.locations + other.locations,
            self.lengths + other.lengths,
            self.live + other.live,
        )


def _empty_chunk() -> Chunk:
    return Chunk(array("Q"), array("Q"), array("I"), 0)


class MessageIndex:  # noqa: PLW1641 - it changes, so it has no hash
    """Numbers of messages and where their records stand, ascending by number."""

    __slots__ = ("_chunks", "_firsts", "_live")

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._firsts: list[int] = []  # at most the first number of each chunk, above all of the chunk before
        self._live = 0

    def __len__(self) -> int:
        """Number of messages."""
        return self._live

    def __eq__(self, other: object) -> bool:
        """Whether the same messages stand at the same places; for tests."""
        if not isinstance(other, MessageIndex):
            return NotImplemented
        return list(self.entries_after(-1)) == list(other.entries_after(-1))

    def __contains__(self, ref: object) -> bool:
        """Whether a message is live."""
        return isinstance(ref, int) and self.place(ref) is not None

    def __iter__(self) -> Iterator[int]:
        """The numbers, ascending; entries may come and go meanwhile."""
        return (ref for ref, _ in self.entries_after(-1))

    @property
    def last_ref(self) -> int:
        """The highest number there is, 0 if there is none."""
        for chunk in reversed(self._chunks):
            for ref, length in zip(reversed(chunk.refs), reversed(chunk.lengths), strict=True):
                if length:
                    return ref
        return 0

    def entries_after(self, ref: int) -> Iterator[tuple[int, Place]]:
        """The entries above a number, ascending; entries may come and go meanwhile."""
        while True:
            found = self.some_after(ref)
            if not found:
                return
            for number, location, length in found:
                yield number, Place(location, length)
            ref = found[-1][0]

    def some_after(self, ref: int) -> list[tuple[int, int, int]]:
        """The next entries above a number, at most a chunk of them: number, location, length."""
        at = max(bisect_right(self._firsts, ref) - 1, 0)
        while at < len(self._chunks):
            chunk = self._chunks[at]
            start = bisect_right(chunk.refs, ref)
            entries = zip(chunk.refs[start:], chunk.locations[start:], chunk.lengths[start:], strict=True)
            found = [entry for entry in entries if entry[2]]
            if found:
                return found
            at += 1
        return []

    def some_due(self, after: int, location: int, count: int, chunks: int) -> tuple[list[int], int | None]:
        """Numbers of those whose location is not above one, where locations are times.

        Args:
            after: looks at those above this number.
            location: at most this.
            count: at most so many.
            chunks: looks through so many; one costs 10 µs, or 40 if any of it is due.

        Returns:
            The numbers, and that after which to go on; None: that was all.
        """
        found: list[int] = []
        at = max(bisect_right(self._firsts, after) - 1, 0)
        for chunk in self._chunks[at : at + chunks]:
            if min(chunk.locations) <= location:
                for ref, there, length in zip(chunk.refs, chunk.locations, chunk.lengths, strict=True):
                    if length and there <= location and ref > after:
                        found.append(ref)
                        if len(found) >= count:
                            return found, ref
        more = at + chunks < len(self._chunks)
        return found, self._chunks[at + chunks - 1].refs[-1] if more else None

    def standing_in(self, file: int, after: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Of the entries above a number those in a data file: chunk by chunk its last number, their places.

        A chunk without any is told by its bytes, in 1 µs instead of 20. Entries must not change meanwhile;
        whoever goes on later begins behind the last number.

        Args:
            file: see `journal.record.data_file_key`.
            after: the number.
        """
        first, end = file << FILE_SHIFT, file + 1 << FILE_SHIFT
        upper = (first >> 32).to_bytes(4, sys.byteorder)  # the same in eight files
        for at in range(max(bisect_right(self._firsts, after) - 1, 0), len(self._chunks)):
            chunk = self._chunks[at]
            last = chunk.refs[-1]
            if last <= after:
                continue
            places: list[tuple[int, int]] = []
            if chunk.locations.tobytes().find(upper) >= 0:
                start = bisect_right(chunk.refs, after)
                entries = zip(chunk.locations[start:], chunk.lengths[start:], strict=True)
                places = [each for each in entries if first <= each[0] < end and each[1]]
            yield last, places

    def add(self, ref: int, location: int, length: int) -> bool:
        """Adds a message; False if it was there, which changes nothing."""
        chunks = self._chunks
        if chunks:
            chunk = chunks[-1]
            refs = chunk.refs
            if ref > refs[-1] and len(refs) < CHUNK_ENTRIES and not chunk.shared:  # the hot path
                refs.append(ref)
                chunk.locations.append(location)
                chunk.lengths.append(length)
                chunk.live += 1
                self._live += 1
                return True
        return self._insert(ref, location, length)

    def extend(self, ref: int, locations: Sequence[int], lengths: Sequence[int]) -> bool:
        """Adds messages with consecutive numbers; False, which changes nothing: not all lie above all others.

        Args:
            ref: the lowest number.
            locations: of each.
            lengths: likewise.
        """
        chunks = self._chunks
        if chunks and ref <= chunks[-1].refs[-1]:
            return False
        done, count = 0, len(lengths)
        while done < count:
            if not chunks or len(chunks[-1].refs) >= CHUNK_ENTRIES:
                chunks.append(_empty_chunk())
                self._firsts.append(ref + done)
            chunk = self._own(len(chunks) - 1)
            end = min(count, done + CHUNK_ENTRIES - len(chunk.refs))
            chunk.refs.extend(range(ref + done, ref + end))
            chunk.locations.extend(locations[done:end])
            chunk.lengths.extend(lengths[done:end])
            chunk.live += end - done
            done = end
        self._live += count
        return True

    def _insert(self, ref: int, location: int, length: int) -> bool:
        """Adds a message anywhere."""
        if not self._chunks or ref > self._chunks[-1].refs[-1]:
            if not self._chunks or len(self._chunks[-1].refs) >= CHUNK_ENTRIES:
                self._chunks.append(_empty_chunk())
                self._firsts.append(ref)
            at = len(self._chunks) - 1
        else:
            at = max(bisect_right(self._firsts, ref) - 1, 0)
        chunk = self._own(at)
        position = bisect_left(chunk.refs, ref)
        if position < len(chunk.refs) and chunk.refs[position] == ref:
            if chunk.lengths[position]:
                return False
            chunk.locations[position] = location
            chunk.lengths[position] = length
        else:
            chunk.refs.insert(position, ref)
            chunk.locations.insert(position, location)
            chunk.lengths.insert(position, length)
        chunk.live += 1
        self._live += 1
        self._firsts[at] = min(self._firsts[at], ref)
        if len(chunk.refs) > CHUNK_ENTRIES:
            self._split(at)
        return True

    def _split(self, at: int) -> None:
        chunk = self._chunks[at].compacted()
        middle = len(chunk.refs) // 2
        if len(chunk.refs) <= CHUNK_ENTRIES // 2:
            self._chunks[at] = chunk
            return
        parts = [
            Chunk(chunk.refs[part], chunk.locations[part], chunk.lengths[part], len(chunk.refs[part]))
            for part in (slice(0, middle), slice(middle, None))
        ]
        self._chunks[at : at + 1] = parts
        self._firsts.insert(at + 1, parts[1].refs[0])

    def _own(self, at: int) -> Chunk:
        """A chunk that may be changed."""
        chunk = self._chunks[at]
        if chunk.shared:
            chunk = self._chunks[at] = chunk.copy()
        return chunk

    def _find(self, ref: int) -> tuple[int, int]:
        """Chunk and position of a live entry, (-1, -1) if there is none."""
        at = bisect_right(self._firsts, ref) - 1
        if at >= 0:
            chunk = self._chunks[at]
            position = bisect_left(chunk.refs, ref)
            if position < len(chunk.refs) and chunk.refs[position] == ref and chunk.lengths[position]:
                return at, position
        return -1, -1

    def place(self, ref: int) -> Place | None:
        """Where the record of a message stands, None if it is not live."""
        at, position = self._find(ref)
        if at < 0:
            return None
        chunk = self._chunks[at]
        return Place(chunk.locations[position], chunk.lengths[position])

    def move(self, ref: int, former: int, location: int) -> bool:
        """Sets a live message's location if it is the former one; its record is as long as before."""
        at = bisect_right(self._firsts, ref) - 1
        if at < 0:
            return False
        chunk = self._chunks[at]
        position = bisect_left(chunk.refs, ref)
        if position >= len(chunk.refs) or chunk.locations[position] != former or chunk.refs[position] != ref:
            return False
        if not chunk.lengths[position]:
            return False
        (self._own(at) if chunk.shared else chunk).locations[position] = location
        return True

    def replace(self, ref: int, location: int, length: int) -> Place | None:
        """Sets a live message's place and returns the former; None if it is not live."""
        at, position = self._find(ref)
        if at < 0:
            return None
        chunk = self._own(at)
        former = Place(chunk.locations[position], chunk.lengths[position])
        chunk.locations[position] = location
        chunk.lengths[position] = length
        return former

    def remove(self, ref: int) -> Place | None:
        """Takes a message out; returns where it stood, None if it was not there."""
        at, position = self._find(ref)
        if at < 0:
            return None
        chunk = self._own(at)
        former = Place(chunk.locations[position], chunk.lengths[position])
        chunk.lengths[position] = 0
        chunk.live -= 1
        self._live -= 1
        self._tidy(at)
        return former

    def take(self, ref: int, count: int) -> tuple["array[int]", "array[int]"]:
        """Takes messages with consecutive numbers out, as many as stand side by side; locations and lengths.

        Args:
            ref: the lowest number; if it is not live, nothing is taken.
            count: at most so many.
        """
        at, start = self._find(ref)
        if at < 0:
            return array("Q"), array("I")
        refs, lengths = self._chunks[at].refs, self._chunks[at].lengths
        end = min(start + count, len(refs))
        if refs[end - 1] - ref >= end - start or not all(lengths[start:end]):
            breaks = (n for n in range(start + 1, end) if refs[n] - ref != n - start or not lengths[n])
            end = next(breaks, end)
        chunk = self._own(at)
        taken = chunk.locations[start:end], chunk.lengths[start:end]
        chunk.lengths[start:end] = array("I", [0]) * (end - start)
        chunk.live -= end - start
        self._live -= end - start
        self._tidy(at)
        return taken

    def _tidy(self, at: int) -> None:
        """Entries of a chunk are gone."""
        chunk = self._chunks[at]
        if not chunk.live:
            del self._chunks[at], self._firsts[at]
        elif chunk.live * 2 < len(chunk.refs):
            self._shrink(at)

    def _shrink(self, at: int) -> None:
        """Gives the memory of gone entries back, and joins neighbours that have become small."""
        self._chunks[at] = self._chunks[at].compacted()
        for left in (at, at - 1):
            if 0 <= left < len(self._chunks) - 1:
                both = self._chunks[left], self._chunks[left + 1]
                if len(both[0].refs) + len(both[1].refs) <= CHUNK_ENTRIES // 2:
                    self._chunks[left : left + 2] = [both[0].joined(both[1])]
                    del self._firsts[left + 1]

    def view(self) -> list[Chunk]:
        """The entries as they are now; they stay so while the index changes."""
        for chunk in self._chunks:
            chunk.shared = True
        return list(self._chunks)

    def part(self, after: int, last: int) -> "MessageIndex":
        """The entries above one number, up to another, as an index of its own.

        Whole chunks are shared until one of both changes, so that it costs little however many there are.
        """
        made = MessageIndex()
        for whole in self.view():
            start, end = bisect_right(whole.refs, after), bisect_right(whole.refs, last)
            chunk = whole
            if start or end < len(whole.refs):
                lengths = whole.lengths[start:end]
                live = len(lengths) - lengths.count(0)
                chunk = Chunk(whole.refs[start:end], whole.locations[start:end], lengths, live)
            if chunk.live:
                made._chunks.append(chunk)
                made._firsts.append(chunk.refs[0])
                made._live += chunk.live
        return made

    def numbers(self) -> "array[int]":
        """All numbers, ascending; one costs 10 ns, or 40 where neighbours are gone."""
        found = array("Q")
        for chunk in self._chunks:
            if chunk.live == len(chunk.refs):
                found += chunk.refs
            else:
                found.extend(compress(chunk.refs, chunk.lengths))
        return found

    @classmethod
    def of_numbers(cls, refs: "array[int]") -> "MessageIndex":
        """An index of these numbers, ascending, which has no places."""
        made = cls()
        made.load(refs, array("Q", bytes(8 * len(refs))), array("I", [1]) * len(refs))
        return made

    def load(self, refs: "array[int]", locations: "array[int]", lengths: "array[int]") -> None:
        """Adds entries that all lie above those there are; for a checkpoint."""
        for start in range(0, len(refs), CHUNK_ENTRIES):
            part = slice(start, start + CHUNK_ENTRIES)
            chunk = Chunk(refs[part], locations[part], lengths[part], len(refs[part]))
            self._chunks.append(chunk)
            self._firsts.append(chunk.refs[0])
        self._live += len(refs)


class Backlog:
    """The numbers of an index as they are now, to be taken from the left; it costs nothing however many.

    The numbers that `append` adds must be in the index, too, with none between them that is not meant.
    """

    __slots__ = ("_buffer", "_count", "_index", "_last", "_taken")

    def __init__(self, index: MessageIndex) -> None:
        self._index = index
        self._taken = -1
        self._last = index.last_ref
        self._count = len(index)
        self._buffer: deque[int] = deque()

    def __len__(self) -> int:
        """How many are left."""
        return self._count

    def __bool__(self) -> bool:
        """Whether any is left."""
        return bool(self._buffer) or self._fill()

    def __iter__(self) -> Iterator[int]:
        """What is left, ascending, without taking it."""
        return self.after(-1)

    def after(self, ref: int) -> Iterator[int]:
        """What is left above a number, ascending, without taking it."""
        yield from [each for each in self._buffer if each > ref]
        if not self._count:  # what has come back into the index since is not ours
            return
        for number, _ in self._index.entries_after(max(self._taken, ref)):
            if number > self._last:
                return
            yield number

    def popleft(self) -> int:
        """Takes the lowest.

        Raises:
            IndexError: there is none.
        """
        if not self._buffer:
            self._fill()
        ref = self._buffer.popleft()
        self._count -= 1
        return ref

    def has(self, ref: int) -> bool:
        """Whether a number is left."""
        if ref <= self._taken:
            return ref in self._buffer
        return bool(self._count) and ref <= self._last and ref in self._index

    def remove(self, ref: int) -> bool:
        """Takes one from wherever it stands; False if it is not left. The index must lose it at once, too."""
        if ref <= self._taken:
            if ref not in self._buffer:
                return False
            self._buffer.remove(ref)
        elif not self._count or ref > self._last or ref not in self._index:
            return False
        self._count -= 1
        return True

    def rest(self) -> MessageIndex:
        """What is left, as an index of its own; it costs little however much that is."""
        return self._index.part(*self.bounds)

    @property
    def bounds(self) -> tuple[int, int]:
        """What is left lies above the first of these numbers, and ends with the second."""
        return (self._buffer[0] - 1 if self._buffer else self._taken), (self._last if self._count else -1)

    def follow(self, index: MessageIndex) -> None:
        """From now on takes numbers of another index; only while nothing is left."""
        self._index = index

    def insert(self, ref: int) -> bool:
        """Takes a number into account that has come into the index; False if it is below all that is left.

        Numbers of the index between the last one and it must be meant, too.
        """
        if not self._count:
            return False
        if ref > self._last:
            self.append(ref)
        elif ref > self._taken:
            self._count += 1
        elif self._buffer and ref > self._buffer[0]:
            self._buffer.insert(sum(each < ref for each in self._buffer), ref)
            self._count += 1
        else:
            return False
        return True

    def append(self, ref: int) -> None:
        """Adds a number of the index above all there are."""
        if not self._count:
            self._taken = ref - 1
        self._last = ref
        self._count += 1

    def _fill(self) -> bool:
        found = self._index.some_after(self._taken) if self._count else []
        refs = [ref for ref, _, _ in found if ref <= self._last]
        if not refs:
            self._count = 0
            return False
        self._taken = refs[-1]
        self._buffer.extend(refs)
        return True
