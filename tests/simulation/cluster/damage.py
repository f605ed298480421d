"""One flipped bit: where it may strike, and whom it may cost what.

A bit is flipped in what is on the disk for good, and behind which at least two more batches stand: the last
batch of a dying master cannot be told from one that was never synced (`docs/explanation/fence.md`). What may
be lost then is the one record that was hit: the message it stored, or the news that a message was consumed.
Everything else must be delivered.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from simulation.cluster.disk import SharedDisk
from simulation.cluster.promises import name_in

from journal.batch import decode_batch_header, decode_file_header
from journal.codec import RecordDecoder
from journal.errors import JournalError
from journal.record import (
    BATCH_HEADER_BYTES,
    FILE_HEADER_BYTES,
    AcknowledgeSubscription,
    AddMessage,
    AddScheduled,
    AddSubscription,
    Memory,
    MovedMessage,
    RemoveMessage,
)

CHECKPOINT_SHARE: Final = 0.2
"""How often a checkpoint is hit, if there is one."""
LIVE_SHARE: Final = 0.5
"""How often a message is hit that is still to be delivered."""


class Bit(NamedTuple):
    """Where a bit may be flipped.

    Attributes:
        file, offset: the byte.
        what: stands there.
        names: of the messages that it may cost or bring back.
        is_memory: whether what is known of producers may be lost.
    """

    file: str
    offset: int
    what: str
    names: set[str]
    is_memory: bool


class _Part(NamedTuple):
    """A part of a data file."""

    start: int
    end: int
    what: str
    names: set[str]
    is_memory: bool


def chosen_bit(disk: SharedDisk, rng: random.Random, live: set[str]) -> Bit | None:
    """A bit of the data files, or of a checkpoint; None if there is nothing to flip yet.

    Args:
        disk: holds it.
        rng: chooses.
        live: names of messages that wait; half of the bits are in one of them.
    """
    checkpoints = [name for name in sorted(disk.files) if name.startswith("checkpoint")]
    if checkpoints and rng.random() < CHECKPOINT_SHARE:
        name = rng.choice(checkpoints)
        return Bit(name, rng.randrange(max(len(disk.files[name].content), 1)), "a checkpoint", set(), False)
    names = sorted(name for name in disk.files if name.startswith("data"))
    messages = _messages(disk, names)
    parts = [(name, part) for name in names for part in _flippable(bytes(disk.files[name].content), messages)]
    if not parts:
        return None
    of_live = [(name, part) for name, part in parts if part.names & live]
    name, part = rng.choice(of_live if of_live and rng.random() < LIVE_SHARE else parts)
    offset = rng.randrange(part.start, part.end)
    return Bit(name, offset, part.what, part.names, part.is_memory)


def _messages(disk: SharedDisk, files: list[str]) -> dict[int, set[str]]:
    """The names of messages by number; several masters may have given one number to different messages."""
    names: dict[int, set[str]] = {}
    for file in files:
        for _, records in _batches(bytes(disk.files[file].content)):
            for record, _, _ in records:
                if isinstance(record, AddMessage | AddScheduled | MovedMessage):
                    names.setdefault(record.ref, set()).add(name_in(record.body))
    return names


def _flippable(content: bytes, messages: dict[int, set[str]]) -> list[_Part]:
    """The parts of a data file behind which two more batches stand."""
    batches = list(_batches(content))
    parts = [_Part(0, FILE_HEADER_BYTES, "a file header", set(), False)] if len(batches) > 2 else []
    for at, records in batches[:-2]:
        parts.append(_Part(at, at + BATCH_HEADER_BYTES, "a batch header", set(), False))
        for record, start, end in records:
            names: set[str] = set()
            if isinstance(record, AddMessage | AddScheduled | MovedMessage):
                names = {name_in(record.body)}
            elif isinstance(record, RemoveMessage | AcknowledgeSubscription):
                names = messages.get(record.ref, set())
            elif isinstance(record, AddSubscription):
                continue  # whoever loses a subscription loses all that waits for it
            parts.append(_Part(start, end, type(record).__name__, names, isinstance(record, Memory)))
    return parts


def _batches(content: bytes) -> Iterator[tuple[int, list[tuple[object, int, int]]]]:
    """The batches of a data file: offset, and records with their first and last offset."""
    if decode_file_header(content) is None:
        return
    at = FILE_HEADER_BYTES
    decoder = RecordDecoder()
    while (header := decode_batch_header(content, at)) is not None:
        start, end = at + BATCH_HEADER_BYTES, at + BATCH_HEADER_BYTES + header.length
        try:
            decoded = decoder.decode(content, start, end)
        except (JournalError, ValueError, struct.error):  # a torn batch, whose header has arrived
            return
        ends = [position for _, position in decoded[1:]] + [end]
        yield at, [(record, position, stop) for (record, position), stop in zip(decoded, ends, strict=True)]
        at = end
