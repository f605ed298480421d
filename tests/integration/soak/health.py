"""What a soak looks at beside the messages: logs, processes, the disk."""

import contextlib
import re
import resource
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.waiting import wait_until

from journal.errors import JournalError
from journal.inspection import Inspection, inspect_store
from journal.options import DATA_FILE_BYTES

KIB, MIB = 1024, 1024 * 1024

# ---- logs

EXPECTED_ERRORS = tuple(
    re.compile(text)
    for text in (
        r"Child container \S+: The process (was )?ended( by SIGKILL)?\.",
        r"Child container \S+: The process lost its ZooKeeper session and did not come back",
    )
)
"""What the faults themselves cause, and an operator should see."""

_BAD_LINE = re.compile(r"^\S+ \S+ (ERROR|CRITICAL) |Traceback \(most recent call last\)|OutOfMemoryError")


def bad_lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a log that nobody expects, each with a few that follow it if it begins a traceback."""
    rest = 0
    for line in lines:
        if _BAD_LINE.search(line) and not any(expected.search(line) for expected in EXPECTED_ERRORS):
            rest = 30 if "Traceback" in line else 1
        if rest:
            rest -= 1
            yield line.rstrip("\n")


def bad_lines_of(log: Path) -> Iterator[str]:
    """The same of a log file; ZooKeeper's own is only searched for its death."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in bad_lines(lines):
            yield f"{log.parent.name}/{log.name}: {line}"


# ---- processes

GROWTH_SAMPLES_MIN = 5
"""A process must have been seen so often before its growth says anything."""
WARM_SAMPLES = 2
"""The first samples of a process are not its level: caches and pools fill."""
DESCRIPTORS_GROWTH_MAX = 16
THREADS_GROWTH_MAX = 8
RESIDENT_GROWTH_MAX = 128 * MIB
"""Messages may take 64 MiB of a broker's memory, and what they leave behind is not all given back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process takes at one moment."""

    resident_bytes: int
    descriptors: int
    threads: int


def sample(pid: int) -> Sample | None:
    """Look at a process; None if it is gone."""
    try:
        statm = Path(f"/proc/{pid}/statm").read_text("ascii").split()
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Sample(int(statm[1]) * resource.getpagesize(), descriptors, threads)


CLIENTS = "clients"
"""This process. What it takes is not judged: each of sixty threads has a heap that a flood filled once."""


@dataclass(slots=True)
class Growth:
    """The samples of every process, taken when all is well."""

    samples: dict[tuple[str, int], list[Sample]] = field(default_factory=dict)

    def note(self, processes: Iterable[tuple[str, int]]) -> None:
        """Take a sample of each process, given by name and pid."""
        for name, pid in processes:
            found = sample(pid)
            if found is not None:
                self.samples.setdefault((name, pid), []).append(found)

    def judge(self) -> Iterator[str]:
        """What has grown too much, in words."""
        for (name, pid), seen in self.samples.items():
            if len(seen) < GROWTH_SAMPLES_MIN:
                continue
            first, last = seen[WARM_SAMPLES], seen[-1]
            for what, grown, limit in (
                ("descriptors", last.descriptors - first.descriptors, DESCRIPTORS_GROWTH_MAX),
                ("threads", last.threads - first.threads, THREADS_GROWTH_MAX),
                ("resident bytes", last.resident_bytes - first.resident_bytes, RESIDENT_GROWTH_MAX),
            ):
                if grown > limit and not (name == CLIENTS and what == "resident bytes"):
                    yield f"{name} (pid {pid}): {grown} more {what} after {len(seen)} rounds"

    def rows(self) -> Iterator[list[str]]:
        """For each name the process that was seen longest: first and last sample."""
        longest: dict[str, list[Sample]] = {}
        for (name, _), seen in self.samples.items():
            if len(seen) > len(longest.get(name, [])):
                longest[name] = seen
        for name, seen in sorted(longest.items()):
            first, last = seen[0], seen[-1]
            yield [
                name,
                str(len(seen)),
                f"{first.resident_bytes / MIB:.0f} → {last.resident_bytes / MIB:.0f} MiB",
                f"{first.descriptors} → {last.descriptors}",
                f"{first.threads} → {last.threads}",
            ]


# ---- the disk

DATA_FILES_ALLOWED = 2
LOOK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What the store takes, in bytes.

    Attributes:
        live: of live messages.
        files: of each data file and checkpoint, and of the reserve.
        total: of all its files.
    """

    live: int
    files: Mapping[str, int]
    total: int

    @property
    def data(self) -> int:
        """Of all of them."""
        return sum(self.files.values())

    @property
    def bound(self) -> int:
        """What these may take; the batch that comes to the end of one may make it longer."""
        longest = max([DATA_FILE_BYTES, *self.files.values()])
        return 2 * self.live + DATA_FILES_ALLOWED * longest

    def in_full(self) -> str:
        """With each file."""
        each = ", ".join(f"{name} {size / MIB:.1f}" for name, size in sorted(self.files.items()))
        return f"{self}; in MiB: {each}"

    def __str__(self) -> str:
        return (
            f"{self.data / MIB:.1f} MiB with {self.live / MIB:.1f} MiB live"
            f" (bound {self.bound / MIB:.1f} MiB), {self.total / MIB:.1f} MiB in all"
        )


def disk_use(store: Path, inspection: Inspection) -> DiskUse:
    """Measure a store that nobody changes just now."""
    taken = {}
    for entry in store.iterdir():
        with contextlib.suppress(FileNotFoundError):
            taken[entry.name] = entry.stat().st_blocks * 512
    files = {
        name: size for name, size in taken.items() if name.startswith(("data-", "checkpoint-", "reserve-"))
    }
    return DiskUse(inspection.state.live_bytes, files, sum(taken.values()))


def left_over(inspection: Inspection) -> Iterator[str]:
    """Messages that are still in a store from which everything was received."""
    content = inspection.to_json()
    for kind in ("queues", "topics"):
        for name, sizes in content[kind].items():
            if sizes["messages"]:
                yield f"{sizes['messages']} messages are left in {name}"
    for subscription in content["subscriptions"]:
        if subscription["pending"]:
            yield f"{subscription['pending']} messages are left for {subscription['name']}"


def look_at(store: Path) -> Inspection:
    """Read a store without touching it; its master may just be removing files."""

    def read() -> Inspection | None:
        with contextlib.suppress(JournalError):
            return inspect_store(store)
        return None

    return wait_until(read, LOOK_TIMEOUT_S, f"{store} can be read")
