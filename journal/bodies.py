"""The bodies of live messages, read back from the data files where they stand."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from journal.codec import message_body, record_seed, whole_record_at
from journal.errors import JournalError, MessageDamaged, MessageUnreadable
from journal.fence import DataFileName
from journal.files import Files
from journal.index import Place
from journal.record import EPOCH_SHIFT, Location

BLOCK_BYTES: Final = 128 * 1024
"""Read at once: consumers take messages in the order in which they stand, and a read alone costs 5 µs."""
BLOCKS_MAX: Final = 32
"""Blocks kept: as many queues may be read at the same time before reads are wasted; 4 MiB of memory."""


class Bodies:
    """Reads bodies, several at once where they stand together. One thread only.

    Args:
        files: the store.
        salts: of the epochs, see `journal.state.State`.
    """

    def __init__(self, files: Files, salts: Mapping[int, int]) -> None:
        self._files = files
        self._salts = salts
        self._blocks: OrderedDict[int, bytes] = OrderedDict()  # by packed location of their first byte
        self._seeds: dict[int, int] = {}  # of the records' checksums, by epoch

    def read(self, place: Place) -> bytes:
        """The body of the message whose record stands at a place that is on the disk.

        Raises:
            MessageDamaged: it is damaged; says where.
            MessageUnreadable: the disk does not give it.
        """
        location, length = place
        at = location % BLOCK_BYTES  # blocks are aligned, so this is the position in the block
        key = location - at
        block = self._blocks.get(key)
        if block is not None:
            seed = self._seeds.get(location >> EPOCH_SHIFT, 0)
            if whole_record_at(block, at, min(at + length, len(block)), seed):
                return message_body(block, at)
        # not there yet when the block was read, or damaged: ask the disk
        return message_body(self._read(place, key, at), at)

    def check(self, place: Place) -> None:
        """Looks at a record on the disk; nothing is kept but for the next call.

        Raises:
            MessageDamaged, MessageUnreadable: see `read`.
        """
        location, length = place
        at = location % BLOCK_BYTES
        block = self._blocks.get(location - at)
        if block is not None:
            seed = self._seeds.get(location >> EPOCH_SHIFT, 0)
            if whole_record_at(block, at, min(at + length, len(block)), seed):
                return
        self._blocks.clear()
        self._read(place, location - at, at)

    def _read(self, place: Place, key: int, at: int) -> bytes:
        """The block that a record stands in, from the disk; it is kept."""
        epoch, number, offset = Location.unpack(place.location)
        name = str(DataFileName(epoch, number))
        self._seeds[epoch] = seed = record_seed(self._salts.get(epoch, 0))
        try:
            block = self._files.read(name, offset - at, max(BLOCK_BYTES, at + place.length))
        except JournalError as error:
            raise MessageUnreadable(
                f"{error}; wanted were {place.length} bytes from offset {offset}"
            ) from error
        if not whole_record_at(block, at, min(at + place.length, len(block)), seed):
            raise MessageDamaged(
                f"damaged: {self._files.describe(name)}, {place.length} bytes from offset {offset}"
            )
        self._keep(key, block)
        return block

    def _keep(self, key: int, block: bytes) -> None:
        self._blocks.pop(key, None)
        self._blocks[key] = block
        if len(self._blocks) > BLOCKS_MAX:
            self._blocks.popitem(last=False)
