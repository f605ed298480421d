"""Disks: room, whether they can be written, and how long a sync takes: each durable send waits for one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdicts, not_checked, ok, problem, warning

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

MIB: Final = 1024 * 1024
FREE_BYTES_PROBLEM: Final = 128 * MIB
"""A master needs two data files of 32 MiB beside what it holds, and ZooKeeper and the logs as much again."""
FREE_BYTES_WARNING: Final = 1024 * MIB
FREE_PERCENT_WARNING: Final = 5
FILES_PERCENT_WARNING: Final = 2
SYNC_MS_WARNING: Final = 25.0
"""Beyond it a producer that waits for each message sends less than forty a second."""
SYNC_MS_PROBLEM: Final = 500.0
"""ZooKeeper calls a sync slow from a second on, and sessions time out over such disks."""


def space(scene: Scene) -> Verdicts:
    """Room on each file system that is written to."""
    for directory, purpose in scene.directories.items():
        try:
            found = scene.machine.space(directory)
        except OSError as error:
            yield problem(f"{directory} ({purpose}) cannot be looked at: {error.strerror}.", "Is it mounted?")
            continue
        percent = 100 * found.free / found.total if found.total else 100.0
        what = f"{directory} ({purpose}) has {found.free // MIB} MiB free, {percent:.0f} %."
        if found.free < FREE_BYTES_PROBLEM:
            yield problem(
                f"{what} Persistent producers are held up when it is full.",
                "Make room, or consume and purge messages; a store shrinks by itself.",
            )
        elif found.files_free_percent < FILES_PERCENT_WARNING:
            yield warning(
                f"{directory} ({purpose}) has room for {found.files_free_percent:.1f} % of its files only.",
                "Remove small files that nobody needs; `df -i` shows how many there are.",
            )
        elif found.free < FREE_BYTES_WARNING or percent < FREE_PERCENT_WARNING:
            yield warning(what, "Make room before it is full.")
        else:
            yield ok(what)


def sync_latency(scene: Scene) -> Verdicts:
    """Whether each directory can be written, and how long a sync takes there."""
    for directory, purpose in scene.directories.items():
        try:
            took_ms = scene.machine.sync_ms(directory)
        except OSError as error:
            yield from _unwritable(f"{directory} ({purpose})", error)
            continue
        what = f"A sync in {directory} ({purpose}) takes {took_ms:.1f} ms."
        if took_ms > SYNC_MS_PROBLEM:
            yield problem(
                what, "The disk is overloaded or failing: look at `iostat -x 1` and the kernel's log."
            )
        elif took_ms > SYNC_MS_WARNING:
            yield warning(
                f"{what} Every persistent message waits for one.",
                "Use a disk with a protected write cache, or one that others use less.",
            )
        else:
            yield ok(what)


def _unwritable(place: str, error: OSError) -> Verdicts:
    if error.errno == errno.EROFS:
        yield problem(
            f"{place} is on a file system that is mounted read-only.",
            "After an error of the disk the kernel does that: look at its log, then `mount -o remount,rw`.",
        )
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        yield problem(f"{place} is full.", "Make room; brokers that wait for it go on by themselves.")
    elif error.errno in (errno.EACCES, errno.EPERM):
        yield not_checked(f"{place} cannot be written by this user.", "Run it as the user of the fabric.")
    else:
        yield problem(
            f"{place} cannot be written: {error.strerror}.", "Look at the kernel's log, and at the mount."
        )


CHECKS: Final = (
    Check("disk.space", "room for stores, logs and ZooKeeper", space),
    Check("disk.sync", "whether they can be written, and how fast a sync is", sync_latency),
)
