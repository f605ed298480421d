"""Checkpoints: the whole index in a file of its own, so that recovery reads it and a bounded tail of the log.

::

    checkpoint  checkpoint-<epoch>-<number>
    ┌────────┬───────┬───────┬─────┬───────────┐
    │ header │ block │ block │  …  │ end block │
    └────────┴───────┴───────┴─────┴───────────┘

    header, 72 bytes, little-endian
      0  8  magic b"FMQCHECK"
      8  4  CRC of the 72 bytes with this field zero
     12  2  version of the format
     14  2  zero
     16  8  epoch that wrote it
     24  8  number of the checkpoint within the epoch
     32  8  epoch   ┐
     40  4  file    │ everything in the log before this place is in the checkpoint,
     44  4  offset  │ nothing behind it
     48  8  batch   ┘
     56 16  zero

    block
      0  4  length of the content
      4  4  CRC of the content
      8  …  content: kind (1), length of the name (2), count of entries (4), name, data

Kinds: "m" what has no kind of its own, as JSON; "p" last sequences of producers, as JSON; "q", "t", "s", "w"
entries of a queue, a topic, a durable subscription (its name is its number in "m") and of who waits for the
messages of topics: so many numbers of 8 bytes, locations of 8 and lengths of 4, each ascending; "e" the end:
its count is that of the blocks before it.

A checkpoint is written in the background, in slices, from a view that does not change, and synced. It counts
once a record of the log names it; the one before is kept. One that is cut or damaged is passed over.
"""

import json
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from crc32c import crc32c

from journal.errors import StoreMissing, StoreNewer
from journal.fence import Steps, checkpoint_name
from journal.files import Files
from journal.index import Chunk, MessageIndex
from journal.record import Checkpoint, Seal
from journal.state import State, SubscriptionState

CHECKPOINT_VERSION: Final = 1
SLICE_BYTES: Final = 512 * 1024
"""Written and synced at once: a batch that wants the disk at the same moment waits for so much at most."""
PRODUCERS_PER_BLOCK: Final = 1_000
"""Encoding so many takes 1 ms, during which no other thread of Python runs."""
ENTRY_BYTES: Final = 20
PRODUCER_BYTES: Final = 80
"""About as long as an id and its sequence are as JSON."""
READ_BYTES: Final = 4 * 1024 * 1024

_MAGIC: Final = b"FMQCHECK"
_HEADER: Final = struct.Struct("<8sIHHQQQIIQ16x")
assert _HEADER.size == 72
_BLOCK: Final = struct.Struct("<II")
assert _BLOCK.size == 8
_CONTENT: Final = struct.Struct("<cHI")
assert _CONTENT.size == 7


@dataclass(frozen=True, slots=True)
class StateView:
    """A state as it was between two batches; it does not change any more.

    Attributes:
        at: the place in the log.
        meta: what has no field here, ready for JSON.
        producers: last sequences, oldest generation first.
        indexes: kind, name and chunks of every index.
    """

    at: Seal
    meta: dict[str, Any]
    producers: list[dict[str, int]]
    indexes: list[tuple[bytes, str, list[Chunk]]]

    @property
    def size_bytes(self) -> int:
        """About as long as the checkpoint is going to be; more than it will be rather than less."""
        entries = sum(len(chunk.refs) for _, _, chunks in self.indexes for chunk in chunks)
        names = sum(3 * len(name) + 32 for _, name, _ in self.indexes)
        producers = sum(3 * len(name) + 32 for names in self.producers for name in names)
        return 4096 + 21 * entries + names + producers + len(json.dumps(self.meta))


def checkpoint_size(state: State) -> int:
    """About as long as a checkpoint of a state would be."""
    indexes = [*state.queues.items(), *state.topics.items()]
    entries = sum(len(messages) for _, messages in indexes) + len(state.waiting_index)
    entries += sum(len(each.pending) for each in state.subscriptions.values())
    names = sum(len(name) + 64 for name, _ in indexes) + 256 * len(state.subscriptions)
    return 4096 + ENTRY_BYTES * entries + names + PRODUCER_BYTES * len(state.producers)


def view_of(state: State, at: Seal) -> StateView:
    """A view of a state; takes a millisecond for a million messages, since the chunks are shared."""
    subscriptions = list(state.subscriptions.values())
    meta = {
        "next_ref": state.next_ref,
        "epoch": state.epoch,
        "topics": state.topic_names,
        "salts": list(state.salts.items()),
        "usage": list(state.usage.items()),
        "checkpoints": [(c.epoch, c.number, c.at) for c in state.checkpoints],
        "subscriptions": [
            (s.client_id, s.name, s.destination, s.selector, s.no_local) for s in subscriptions
        ],
    }
    indexes = [(b"q", name, messages.view()) for name, messages in state.queues.items()]
    indexes += [(b"t", name, messages.view()) for name, messages in state.topics.items()]
    indexes += [(b"s", str(i), s.pending.view()) for i, s in enumerate(subscriptions)]
    indexes.append((b"w", "", state.waiting_index.view()))
    return StateView(at, meta, state.producers.generations(), indexes)


def encode_blocks(view: StateView) -> Iterator[bytes]:
    """The blocks of a checkpoint, each in less than a millisecond or two."""
    count = 1
    yield _block(b"m", "", 0, json.dumps(view.meta).encode())
    for generation in view.producers:
        items = list(generation.items())
        for start in range(0, len(items), PRODUCERS_PER_BLOCK):
            yield _block(b"p", "", 0, json.dumps(items[start : start + PRODUCERS_PER_BLOCK]).encode())
            count += 1
    for kind, name, chunks in view.indexes:
        if not chunks:  # the place exists, and is empty
            yield _block(kind, name, 0, b"")
            count += 1
        for chunk in chunks:
            whole = chunk if chunk.live == len(chunk.refs) else chunk.compacted()
            arrays = (whole.refs, whole.locations, whole.lengths)
            yield _block(kind, name, len(whole.refs), b"".join(map(_little_endian, arrays)))
            count += 1
    yield _block(b"e", "", count, b"")


def _little_endian(values: "array[int]") -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def _from_little_endian(kind: str, data: bytes) -> "array[int]":
    values = array(kind)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _block(kind: bytes, name: str, count: int, data: bytes) -> bytes:
    text = name.encode("utf-8", "surrogatepass")
    content = _CONTENT.pack(kind, len(text), count) + text + data
    return _BLOCK.pack(len(content), crc32c(content)) + content


def _header(epoch: int, number: int, at: Seal) -> bytes:
    fields = (CHECKPOINT_VERSION, 0, epoch, number, *at)
    return _HEADER.pack(_MAGIC, crc32c(_HEADER.pack(_MAGIC, 0, *fields)), *fields)


def write_checkpoint(files: Files, view: StateView, epoch: int, number: int) -> Steps[Checkpoint]:
    """Writes and syncs a checkpoint; it counts once a batch that names it has passed the fence check.

    Raises:
        StoreFull: there is no space for it; nothing is left behind.
        StoreFailed: the disk failed.
    """
    name = checkpoint_name(epoch, number)
    file = files.create_data(name, view.size_bytes)
    done = False
    try:
        yield f"created {name}"
        offset = 0
        pieces = [_header(epoch, number, view.at)]
        size = len(pieces[0])
        for block in encode_blocks(view):
            pieces.append(block)
            size += len(block)
            if size >= SLICE_BYTES:
                file.write(offset, pieces)
                file.sync()
                offset += size
                pieces, size = [], 0
                yield f"wrote {offset} bytes of {name}"
        file.write(offset, pieces)
        file.truncate(offset + size)
        file.sync()
        yield f"synced {name}"
        files.sync_directory()
        yield "synced the directory"
        done = True
    finally:
        file.close()
        if not done:
            files.remove(name)
    return Checkpoint(epoch, number, view.at)


def read_checkpoint(files: Files, epoch: int, number: int, state: State) -> Seal | None:
    """Loads a checkpoint into an empty state; None, and the state is as it was, if it is not whole.

    Returns:
        Where the log goes on.

    Raises:
        StoreNewer: it is of a newer format.
        StoreUnavailable: it cannot be read.
    """
    data = _load(files, checkpoint_name(epoch, number))
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        return None
    fields = _HEADER.unpack_from(data)
    _, checksum, version, _, wrote, which, *place = fields
    if checksum != crc32c(_HEADER.pack(_MAGIC, 0, *fields[2:])) or (wrote, which) != (epoch, number):
        return None
    if version > CHECKPOINT_VERSION:
        raise StoreNewer(f"the store has checkpoints of version {version}: use a newer version of this")
    blocks = _blocks(data)
    if blocks is None:
        return None
    _restore(state, data, blocks)
    return Seal(*place)


def _load(files: Files, name: str) -> bytes:
    pieces: list[bytes] = []
    offset = 0
    try:
        while True:
            piece = files.read(name, offset, READ_BYTES)
            pieces.append(piece)
            offset += len(piece)
            if len(piece) < READ_BYTES:
                return b"".join(pieces)
    except StoreMissing:
        return b""


def _blocks(data: bytes) -> list[tuple[int, int]] | None:
    """Start and end of the content of each block before the end block, None if any is damaged."""
    blocks: list[tuple[int, int]] = []
    position = _HEADER.size
    view = memoryview(data)
    while position + _BLOCK.size + _CONTENT.size <= len(data):
        length, checksum = _BLOCK.unpack_from(data, position)
        start = position + _BLOCK.size
        position = start + length
        if length < _CONTENT.size or position > len(data) or crc32c(view[start:position]) != checksum:
            return None
        kind, _, count = _CONTENT.unpack_from(data, start)
        if kind == b"e":
            return blocks if count == len(blocks) else None
        blocks.append((start, position))
    return None


def _restore(state: State, data: bytes, blocks: list[tuple[int, int]]) -> None:
    subscriptions: list[SubscriptionState] = []
    for start, end in blocks:
        kind, length, count = _CONTENT.unpack_from(data, start)
        at = start + _CONTENT.size + length
        name = data[start + _CONTENT.size : at].decode("utf-8", "surrogatepass")
        if kind == b"m":
            subscriptions = _restore_meta(state, json.loads(data[at:end]))
        elif kind == b"p":
            for producer_id, sequence in json.loads(data[at:end]):
                state.producers.record(producer_id, sequence)
        else:
            index = _index(state, subscriptions, kind, name)
            middle = at + 8 * count
            if count:
                index.load(
                    _from_little_endian("Q", data[at:middle]),
                    _from_little_endian("Q", data[middle : middle + 8 * count]),
                    _from_little_endian("I", data[middle + 8 * count : end]),
                )


def _index(state: State, subscriptions: list[SubscriptionState], kind: bytes, name: str) -> MessageIndex:
    if kind == b"q":
        return state.queues.setdefault(name, MessageIndex())
    if kind == b"t":
        return state.topics.setdefault(name, MessageIndex())
    if kind == b"s":
        return subscriptions[int(name)].pending
    assert kind == b"w", kind
    return state.waiting_index


def _restore_meta(state: State, meta: dict[str, Any]) -> list[SubscriptionState]:
    state.next_ref = meta["next_ref"]
    state.epoch = meta["epoch"]
    for topic in meta["topics"]:
        state.topic_number(topic)
    state.salts.update(meta["salts"])
    state.usage.update(meta["usage"])
    state.live_bytes = sum(state.usage.values())
    state.checkpoints = [Checkpoint(epoch, number, Seal(*at)) for epoch, number, at in meta["checkpoints"]]
    subscriptions = [SubscriptionState(*fields) for fields in meta["subscriptions"]]
    state.subscriptions.update({(s.client_id, s.name): s for s in subscriptions})
    return subscriptions
