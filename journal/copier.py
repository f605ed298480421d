"""Records of live messages copied as bytes, for compaction."""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from crc32c import crc32c

from journal.codec import record_seed
from journal.record import T_ADD_MESSAGE, T_MOVED_MESSAGE, TEXTS_CACHED_MAX

_CHECKED: Final = struct.Struct("<II")  # a record's CRC and its length
assert _CHECKED.size == 8
_MESSAGE: Final = struct.Struct("<BxHHBBQq")  # what follows in a message's, see `journal.codec`
assert _MESSAGE.size == 24
_MOVED: Final = bytes([T_MOVED_MESSAGE])
_COPIED: Final = (T_ADD_MESSAGE, T_MOVED_MESSAGE)


class Copy(NamedTuple):
    """A message's record as it is written once more.

    Attributes:
        ref: of the message.
        destination: where it is.
        former: packed location of the record that was copied.
        length: of either, in bytes.
        head: the copy's first bytes.
        rest: those that follow.
    """

    ref: int
    destination: str
    former: int
    length: int
    head: bytes
    rest: bytes


class RecordCopier:
    """Makes records of `MovedMessage` of the bytes of others, at a fifth of what decoding and encoding cost.

    A CRC is linear: that of a copy differs from that of its record by bits which depend on nothing but the
    two salts, the two types and the length. One thread only.

    Args:
        salt: of the epoch that wrote the records.
        our_salt: of the epoch that writes the copies.

    Attributes:
        left: position and length of the undamaged records that cannot be copied so, in the last call.
    """

    def __init__(self, salt: int, our_salt: int) -> None:
        self._seed = record_seed(salt)
        self._our_seed = record_seed(our_salt)
        self._texts: dict[bytes, str] = {}
        self._differences: dict[tuple[int, int], int] = {}
        self.left: list[tuple[int, int]] = []

    def copies(self, data: bytes, found: Sequence[tuple[int, int]], base: int) -> list[Copy]:
        """Copies of records, passing over what is damaged; `base` plus a position is a packed location.

        Args:
            data: the records and what is between them.
            found: position and length of each.
            base: see above.
        """
        copies: list[Copy] = []
        self.left = []
        view = memoryview(data)
        seed, texts, differences = self._seed, self._texts, self._differences
        for position, length in found:
            stop = position + length
            if stop > len(data):
                break
            checksum, stated = _CHECKED.unpack_from(data, position)
            if stated != length or crc32c(view[position + 4 : stop], seed) != checksum:
                continue
            kind = data[position + 8]
            if kind not in _COPIED:
                self.left.append((position, length))
                continue
            _, first, _, _, _, ref, _ = _MESSAGE.unpack_from(data, position + 8)
            at = position + 8 + _MESSAGE.size
            difference = differences.get((kind, length))
            if difference is None:
                difference = self._difference(kind, length)
            head = _CHECKED.pack(checksum ^ difference, length) + _MOVED
            text = data[at : at + first]
            destination = texts.get(text) or self._decode(text)
            copies.append(Copy(ref, destination, base + position, length, head, data[position + 9 : stop]))
        return copies

    def _decode(self, text: bytes) -> str:
        if len(self._texts) >= TEXTS_CACHED_MAX:
            self._texts.clear()
        destination = self._texts[text] = text.decode("utf-8", "surrogatepass")
        return destination

    def _difference(self, kind: int, length: int) -> int:
        """Between the CRCs of two records so long whose bytes differ in nothing but the type."""
        if len(self._differences) >= TEXTS_CACHED_MAX:
            self._differences.clear()
        rest = bytes(length - 9)
        theirs = crc32c(rest, crc32c(bytes((0, 0, 0, 0, kind)), self._seed))
        ours = crc32c(rest, crc32c(bytes(4) + _MOVED, self._our_seed))
        difference = self._differences[kind, length] = theirs ^ ours
        return difference
