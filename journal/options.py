"""Sizes and times of a journal; tests make them small."""

from dataclasses import dataclass
from typing import Final

DATA_FILE_BYTES: Final = 32 * 1024 * 1024
"""The batch that reaches this is the last of a data file. KahaDB's are as long."""
READ_BYTES: Final = 1024 * 1024
"""One read during recovery: large enough for the disk, small enough for the processor's cache."""
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
"""A batch that has reached this is closed, so that one sync never waits for more than a quarter of a data
file."""
IDLE_CHECK_S: Final = 0.2
"""A master with nothing to write finds out this soon that it was fenced; a successor needs about as long to
serve."""

SLOW_COMMIT_S: Final = 0.001
"""A disk that commits faster is not worth two changes of thread, which cost more than the wait itself, nor a
delay for what others will ask for."""
BUSY_BYTES: Final = 32 * 1024
"""So much keeps the disk at work by itself; less may grow for a moment where commits take long."""

ALLOCATED_BYTES: Final = DATA_FILE_BYTES // 4
"""A data file is allocated in such steps: the next begins while the one before may still be needed (P9)."""
ALLOCATED_HALVINGS: Final = 5
"""Where there is no space for a step, for a half, a quarter, … of it; the least is 256 KiB: thousands of
acknowledgements."""
SMALL_FILE_BYTES: Final = 4 * 1024 * 1024
"""A data file is this small while the disk is full, so that it can be removed the sooner."""
RESERVE_BYTES: Final = SMALL_FILE_BYTES + BATCH_BYTES_MAX
"""Beside two checkpoints: a small data file for acknowledgements, and the batch that found the disk full."""

CHECKPOINT_BYTES: Final = DATA_FILE_BYTES // 4
"""Two checkpoints and the log written meanwhile stay within two data files (P9)."""
CHECKPOINT_RATE_BYTES: Final = 64 * 1024 * 1024
"""A second; a checkpoint of a million messages takes a third of a second, and batches find the disk free."""
MOVE_RATE_BYTES: Final = 16 * 1024 * 1024
"""A second; a tenth of what a disk of today takes."""
MOVE_RECORDS: Final = 400
"""Handed to the owner at once: half a millisecond."""
MOVE_BYTES: Final = 1024 * 1024
"""Handed to the owner at once, unless one record is longer."""
CARRIED_MESSAGES_MAX: Final = 2_000
"""A new epoch carries so many live messages over: 10 ms of a takeover, instead of reading the log they are in
at every one that follows."""
CARRIED_BYTES_MAX: Final = 1024 * 1024
"""And no more bodies than this, so that the first batch is synced as fast as others."""


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """How a journal is kept.

    Attributes:
        file_bytes: of a data file; a batch begins only below.
        allocated_bytes: of a data file that are allocated at once.
        read_bytes: of one read during recovery.
        batch_bytes_max: records of a batch after which the next begins; one `append` may exceed it.
        small_file_bytes: instead of `file_bytes` while the disk is full.
        reserve_bytes: of the disk that are kept for when it is full, beside those for two checkpoints.
        idle_check_s: seconds without a batch until the fence is checked.
        checkpoint_bytes: of log after which a checkpoint is written; more if much is live.
        checkpoint_rate_bytes: of a checkpoint written per second.
        move_rate_bytes: of records moved by compaction per second, while the disk is within its bound.
        move_records: looked at in one turn of the owner, by compaction.
        move_bytes: the same in bytes.
        create: whether a missing directory is made, if its parent exists. Off: a directory that is missing
            may be a shared file system that is not mounted, and an empty store must not take its place.
        carried_messages_max: live messages a new epoch carries over; with more it leaves all where they are.
            -1: never.
        carried_bytes_max: bytes of their bodies.
        accept_missing: whether a missing data file is taken for an empty one, and what it held for lost.
    """

    file_bytes: int = DATA_FILE_BYTES
    read_bytes: int = READ_BYTES
    batch_bytes_max: int = BATCH_BYTES_MAX
    allocated_bytes: int = ALLOCATED_BYTES
    small_file_bytes: int = SMALL_FILE_BYTES
    reserve_bytes: int = RESERVE_BYTES
    idle_check_s: float = IDLE_CHECK_S
    checkpoint_bytes: int = CHECKPOINT_BYTES
    checkpoint_rate_bytes: int = CHECKPOINT_RATE_BYTES
    move_rate_bytes: int = MOVE_RATE_BYTES
    move_records: int = MOVE_RECORDS
    move_bytes: int = MOVE_BYTES
    create: bool = False
    carried_messages_max: int = CARRIED_MESSAGES_MAX
    carried_bytes_max: int = CARRIED_BYTES_MAX
    accept_missing: bool = False
