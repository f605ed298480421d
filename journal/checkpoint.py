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
      8  …  content: sections, one behind the other, as one raw deflate stream (RFC 1951)

    section
      0  1  kind
      1  2  length of the name
      3  4  count of entries
      7  4  length of the data
     11  …  name, data

Kinds: "m" what has no kind of its own, as JSON; "p" last sequences of producers, as JSON; "q", "t", "s", "w"
entries of a queue, a topic, a durable subscription (its name is its number in "m") and of who waits for the
messages of topics; "j", "k" scheduled messages and when they are due; "0" to "9" those of a queue that have
this priority, if not all have the normal one (locations and lengths mean nothing); "x" those of a queue or
topic that expire, with the time in place of the location; "r" those of a queue that were delivered before,
with the time before which they wait and the count in place of location and length, "d" the same of a durable
subscription; "h" and "l" those that prepared branches have sent and locked, by destination; "b" a branch, or
(its count is 0) an outcome, as JSON, by xid; "n" the notes of an owner, as JSON, values as Latin-1; "e" the
end, alone in its block: its count is that of the blocks before it. Entries are so many numbers of 8 bytes,
locations of 8 and lengths of 4, ascending over the sections of one name. Each of the three stands in planes:
the lowest bytes of all its values, then the next higher, and so on; they deflate to a quarter of what the
values would.

A checkpoint is written in the background, in slices, from a view that does not change, and synced. It counts
once a record of the log names it; the one before is kept. One that is cut or damaged is passed over.
"""

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from crc32c import crc32c

from journal.codec import decode_work, encode_work
from journal.errors import JournalError, StoreMissing, StoreNewer
from journal.fence import Steps, checkpoint_name
from journal.files import Files
from journal.index import Chunk, MessageIndex
from journal.record import Checkpoint, CommitBranch, PrepareBranch, RollBackBranch, Seal
from journal.state import State, SubscriptionState

CHECKPOINT_VERSION: Final = 1
SLICE_BYTES: Final = 512 * 1024
"""Written and synced at once: a batch that wants the disk at the same moment waits for so much at most."""
PRODUCERS_PER_SECTION: Final = 1_000
"""Encoding so many takes 1 ms, during which no other thread of Python runs."""
BLOCK_BYTES: Final = 64 * 1024
"""Deflated at once, in less than a millisecond, during which other threads do run."""
ENTRY_BYTES: Final = 5
"""About what an entry takes: 3 with messages of one size in order, never 20."""
PRODUCER_BYTES: Final = 32
"""About what an id and its sequence take."""
NAME_BYTES: Final = 48
"""About what the name of a place takes, and the beginning of its section."""
_RAW_DEFLATE: Final = -15
"""Window of a raw deflate stream, as `zlib` wants it."""
READ_BYTES: Final = 4 * 1024 * 1024

_MAGIC: Final = b"FMQCHECK"
_HEADER: Final = struct.Struct("<8sIHHQQQIIQ16x")
assert _HEADER.size == 72
_BLOCK: Final = struct.Struct("<II")
assert _BLOCK.size == 8
_SECTION: Final = struct.Struct("<cHII")
assert _SECTION.size == 11


class _Section(NamedTuple):
    """A part of a block; see above."""

    kind: bytes
    name: str
    entries: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StateView:
    """A state as it was between two batches; it does not change any more.

    Attributes:
        at: the place in the log.
        meta: what has no field here, ready for JSON.
        producers: last sequences, oldest generation first.
        indexes: kind, name and chunks of every index.
        branches: prepared ones.
        notes: by owner and key.
        note_bytes: about what these take.
        outcomes: of those that have ended.
    """

    at: Seal
    meta: dict[str, Any]
    producers: list[dict[str, int]]
    indexes: list[tuple[bytes, str, list[Chunk]]]
    branches: list[PrepareBranch]
    notes: dict[str, dict[str, bytes]]
    outcomes: list[CommitBranch | RollBackBranch]
    note_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """About as long as the checkpoint is going to be."""
        entries = sum(chunk.live for _, _, chunks in self.indexes for chunk in chunks)
        return self.note_bytes + _size(entries, len(self.indexes), sum(map(len, self.producers)))


def checkpoint_size(state: State) -> int:
    """About as long as a checkpoint of a state would be."""
    indexes = [*state.places().values(), state.waiting_index, state.due_times]
    indexes += [each.pending for each in state.subscriptions.values()]
    indexes += [ranked for ranks in state.ranks.values() for ranked in ranks.values()]
    indexes += [*state.expiring.values(), *state.redelivered.values()]
    indexes += [each.redelivered for each in state.subscriptions.values() if each.redelivered]
    return state.notes.bytes + _size(sum(map(len, indexes)), len(indexes), len(state.producers))


def _size(entries: int, places: int, producers: int) -> int:
    return 4096 + ENTRY_BYTES * entries + NAME_BYTES * places + PRODUCER_BYTES * producers


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
            (s.client_id, s.name, s.destination, s.selector, s.no_local, s.shared, s.away_since_ms)
            for s in subscriptions
        ],
    }
    indexes = [(b"q", name, messages.view()) for name, messages in state.queues.items()]
    indexes += [
        (b"%d" % priority, name, ranked.view())
        for name, ranks in state.ranks.items()
        for priority, ranked in ranks.items()
    ]
    indexes += [(b"t", name, messages.view()) for name, messages in state.topics.items()]
    indexes += [(b"x", name, expiring.view()) for name, expiring in state.expiring.items()]
    indexes += [(b"r", name, redelivered.view()) for name, redelivered in state.redelivered.items()]
    indexes += [(b"s", str(i), s.pending.view()) for i, s in enumerate(subscriptions)]
    indexes += [(b"d", str(i), s.redelivered.view()) for i, s in enumerate(subscriptions) if s.redelivered]
    indexes.append((b"w", "", state.waiting_index.view()))
    if state.scheduled:
        indexes += [(b"j", "", state.scheduled.view()), (b"k", "", state.due_times.view())]
    branches = state.branches
    indexes += [(b"h", name, messages.view()) for name, messages in branches.sent.items()]
    indexes += [(b"l", name, messages.view()) for name, messages in branches.locked.items()]
    prepared = list(branches.prepared.values())
    notes = state.notes
    return StateView(
        at,
        meta,
        state.producers.generations(),
        indexes,
        prepared,
        notes.view(),
        branches.outcomes(),
        notes.bytes,
    )


def encode_blocks(view: StateView) -> Iterator[bytes]:
    """The blocks of a checkpoint, each in less than a millisecond or two."""
    count = 0
    pieces: list[bytes] = []
    size = 0
    for section in _sections(view):
        pieces.append(section)
        size += len(section)
        if size >= BLOCK_BYTES:
            yield _block(pieces)
            count += 1
            pieces, size = [], 0
    if pieces:
        yield _block(pieces)
        count += 1
    yield _block([_section(b"e", "", count, b"")])


def _sections(view: StateView) -> Iterator[bytes]:
    yield _section(b"m", "", 0, json.dumps(view.meta).encode())
    for generation in view.producers:
        items = list(generation.items())
        for start in range(0, len(items), PRODUCERS_PER_SECTION):
            part = items[start : start + PRODUCERS_PER_SECTION]
            yield _section(b"p", "", len(part), json.dumps(part).encode())
    for branch in view.branches:
        fields = [branch.user, branch.client_id, branch.prepared_ms, encode_work(branch).decode("ascii")]
        yield _section(b"b", branch.xid, 1, json.dumps(fields).encode())
    for outcome in view.outcomes:
        how = [isinstance(outcome, CommitBranch), outcome.heuristic]
        yield _section(b"b", outcome.xid, 0, json.dumps(how).encode())
    for owner, notes in view.notes.items():
        texts = {key: value.decode("latin-1") for key, value in notes.items()}
        yield _section(b"n", owner, len(texts), json.dumps(texts).encode())
    for kind, name, chunks in view.indexes:
        if not chunks:  # the place exists, and is empty
            yield _section(kind, name, 0, b"")
        for chunk in chunks:
            whole = chunk if chunk.live == len(chunk.refs) else chunk.compacted()
            arrays = (whole.refs, whole.locations, whole.lengths)
            yield _section(kind, name, len(whole.refs), b"".join(map(_planes, arrays)))


def _section(kind: bytes, name: str, count: int, data: bytes) -> bytes:
    text = name.encode("utf-8", "surrogatepass")
    return _SECTION.pack(kind, len(text), count, len(data)) + text + data


def _planes(values: "array[int]") -> bytes:
    """The lowest bytes of all values, then the next higher, and so on."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    data = values.tobytes()
    return b"".join(data[plane :: values.itemsize] for plane in range(values.itemsize))


def _from_planes(kind: str, data: bytes) -> "array[int]":
    """The reverse of `_planes`."""
    values = array(kind)
    width = values.itemsize
    count = len(data) // width
    joined = bytearray(len(data))
    for plane in range(width):
        joined[plane::width] = data[plane * count : (plane + 1) * count]
    values.frombytes(joined)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _block(sections: list[bytes]) -> bytes:
    # zlib releases the GIL
    content = zlib.compress(b"".join(sections), level=1, wbits=_RAW_DEFLATE)
    return _BLOCK.pack(len(content), crc32c(content)) + content


def _header(epoch: int, number: int, at: Seal) -> bytes:
    fields = (CHECKPOINT_VERSION, 0, epoch, number, *at)
    return _HEADER.pack(_MAGIC, crc32c(_HEADER.pack(_MAGIC, 0, *fields)), *fields)


def write_checkpoint(
    files: Files, view: StateView, epoch: int, number: int, expected_bytes: int
) -> Steps[Checkpoint]:
    """Writes and syncs a checkpoint; it counts once a batch that names it has passed the fence check.

    Args:
        files: the store.
        view: what it is to hold.
        epoch: ours.
        number: of the checkpoint within the epoch.
        expected_bytes: about how long it is going to be.

    Raises:
        StoreFull: there is no space for it; nothing is left behind.
        StoreFailed: the disk failed.
    """
    name = checkpoint_name(epoch, number)
    file = files.create_data(name, expected_bytes)
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
                file.allocate(offset + size)
                file.write(offset, pieces)
                file.sync()
                offset += size
                pieces, size = [], 0
                yield f"wrote {offset} bytes of {name}"
        file.allocate(offset + size)
        file.write(offset, pieces)
        file.truncate(offset + size)
        file.sync()
        yield f"synced {name}"
        files.sync_directory()
        yield "synced the directory"
        done = True
    finally:
        with suppress(JournalError):  # it is removed with the next one that is written
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
    place = _place(data, epoch, number)
    if place is None:
        return None
    sections, damaged = _sections_of(data)
    if damaged is not None:
        return None
    _restore(state, sections)
    return place


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


def checkpoint_damage(files: Files, epoch: int, number: int) -> int | None:
    """Offset of the first part of a checkpoint that is damaged, None if it is whole.

    Raises:
        StoreNewer: it is of a newer format.
        StoreUnavailable: it cannot be read.
    """
    data = _load(files, checkpoint_name(epoch, number))
    return 0 if _place(data, epoch, number) is None else _sections_of(data)[1]


def _place(data: bytes, epoch: int, number: int) -> Seal | None:
    """The place in the log that a checkpoint's header names, None if it is damaged."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        return None
    fields = _HEADER.unpack_from(data)
    _, checksum, version, _, wrote, which, *place = fields
    expected = crc32c(data[12 : _HEADER.size], crc32c(_MAGIC + bytes(4)))
    if checksum != expected or (wrote, which) != (epoch, number):
        return None
    if version > CHECKPOINT_VERSION:
        raise StoreNewer(f"the store has checkpoints of version {version}: use a newer version of this")
    return Seal(*place)


def _sections_of(data: bytes) -> tuple[list[_Section], int | None]:
    """The sections of the blocks before the end block, and where the first damaged block begins."""
    sections: list[_Section] = []
    position = _HEADER.size
    view = memoryview(data)
    count = 0
    while position + _BLOCK.size <= len(data):
        length, checksum = _BLOCK.unpack_from(data, position)
        start = position + _BLOCK.size
        end = start + length
        if not length or end > len(data) or crc32c(view[start:end]) != checksum:
            break
        found = _split(zlib.decompress(view[start:end], wbits=_RAW_DEFLATE))
        if found[0].kind == b"e":
            return sections, None if found[0].entries == count else position
        sections += found
        count += 1
        position = end
    return sections, position


def _split(content: bytes) -> list[_Section]:
    sections: list[_Section] = []
    at = 0
    while at < len(content):
        kind, name_length, count, data_length = _SECTION.unpack_from(content, at)
        middle = at + _SECTION.size + name_length
        name = content[at + _SECTION.size : middle].decode("utf-8", "surrogatepass")
        at = middle + data_length
        sections.append(_Section(kind, name, count, content[middle:at]))
    return sections


def _restore(state: State, sections: list[_Section]) -> None:
    subscriptions: list[SubscriptionState] = []
    for kind, name, count, data in sections:
        if kind == b"m":
            subscriptions = _restore_meta(state, json.loads(data))
        elif kind == b"p":
            for producer_id, sequence in json.loads(data):
                state.producers.record(producer_id, sequence)
        elif kind == b"b":
            _restore_branch(state, name, count, json.loads(data))
        elif kind == b"n":
            state.notes.load(name, {k: v.encode("latin-1") for k, v in json.loads(data).items()})
        else:
            index = _index(state, subscriptions, kind, name)
            if count:
                index.load(
                    _from_planes("Q", data[: 8 * count]),
                    _from_planes("Q", data[8 * count : 16 * count]),
                    _from_planes("I", data[16 * count :]),
                )


def _index(state: State, subscriptions: list[SubscriptionState], kind: bytes, name: str) -> MessageIndex:
    if kind.isdigit():
        return state.ranks.setdefault(name, {}).setdefault(int(kind), MessageIndex())
    if kind == b"s":
        return subscriptions[int(name)].pending
    if kind == b"d":
        return subscriptions[int(name)].redelivered
    sole = {b"w": state.waiting_index, b"j": state.scheduled, b"k": state.due_times}
    if kind in sole:
        return sole[kind]
    by_name = {
        b"q": state.queues,
        b"t": state.topics,
        b"x": state.expiring,
        b"r": state.redelivered,
        b"h": state.branches.sent,
        b"l": state.branches.locked,
    }
    return by_name[kind].setdefault(name, MessageIndex())


def _restore_branch(state: State, xid: str, prepared: int, fields: list[Any]) -> None:
    if prepared:
        user, client_id, prepared_ms, work = fields
        state.branches.prepared[xid] = decode_work(xid, user, client_id, prepared_ms, work.encode())
    else:
        committed, heuristic = fields
        state.branches.note(xid, committed=committed, heuristic=heuristic)


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
