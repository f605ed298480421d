"""One measurement of the journal alone, in a process of its own, so that its memory is its own.

`python -m perf.journal_process fill|cold|warm|batches|compact STORE …` prints one line of JSON.
Run by `perf.store`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from perf.moves_off import without_moves
from perf.process_facts import memory
from perf.watched_files import WatchedFiles
from support.waiting import wait_until

from broker.openwire import message_reader, translation  # noqa: F401 - how the region reads bodies again
from broker.openwire.commands import ProducerId
from broker.process import prepare_process
from broker.region.region import Region
from journal.errors import JournalError
from journal.files import PosixFiles, create_store
from journal.follower import Follower
from journal.journal import Journal
from journal.options import JournalOptions
from journal.record import RECORD_HEADER_BYTES, AddMessage, RemoveMessage

BATCH = 64
AHEAD = 2
"""Batches that are appended and not yet durable: the writer finds the next one whenever it has synced one."""
QUEUE = "queue://bench.backlog"
PRODUCER = "ID:bench:1:1"
RECORD_OVERHEAD_BYTES = RECORD_HEADER_BYTES + 20 + len(QUEUE) + len(PRODUCER)

LAG = 6_400
"""How long most messages of the load that is compacted stay: so many younger ones."""
KEPT_EVERY = 4
"""One message in so many stays longer, so that its data file is soon mostly dead."""
KEPT = 40_000
"""How many of those stay."""
COMPACT_MESSAGES_MAX = 1_500_000
WINDOW_S = 0.1


class Owner:
    """The thread that owns a journal: it runs what is posted to it."""

    def __init__(self, store: Path, *, options: JournalOptions | None = None, watched: bool = False) -> None:
        self._posted: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._options = options or JournalOptions(create=True)
        self.files = WatchedFiles(PosixFiles(store)) if watched else PosixFiles(store)
        self._store = store
        self.journal: Journal
        self._errors: list[JournalError] = []

    def open(self, follower: Follower | None = None) -> None:
        """Take the store over."""
        self.journal = Journal.open(
            self._store,
            owner="benchmark",
            post=self._posted.put,
            on_durable=lambda _batch: None,
            on_failed=self._errors.append,
            files=self.files,
            options=self._options,
            follower=follower,
        )

    def wait_durable(self, batch: int) -> None:
        """Run what is posted until a batch may be acknowledged."""
        while self.journal.durable_batch < batch:
            self._posted.get()()
            if self._errors:
                raise self._errors[0]

    def run_posted(self) -> None:
        """Run what is posted by now."""
        while not self._posted.empty():
            self._posted.get()()


def wire_body(size: int) -> bytes:
    """What the broker stores for a message of OpenWire with so many bytes of content."""
    from perf.lean_client import MessageFrame  # only here: the others measure memory without it

    frame = MessageFrame("bench.backlog", ProducerId("ID:bench", 1, 1), os.urandom(size)).filled(1, 1, 1)[4:]
    name = translation.WIRE_FORMAT.encode()
    return b"\2%c%b%b" % (len(name), name, frame)


def fill(owner: Owner, messages: int, body: bytes, *, ahead: int = 1) -> dict[str, float]:
    """Append messages in batches, the next ones while one syncs; figures of processor time and rate."""
    owner.open()
    journal = owner.journal
    ref = first = journal.state.next_ref
    cpu_s = 0.0
    began, began_cpu = time.perf_counter(), time.process_time()
    while ref < first + messages:
        count = min(BATCH, first + messages - ref)
        records = [AddMessage(i, QUEUE, PRODUCER, i, body) for i in range(ref, ref + count)]
        started = time.thread_time()
        batch = journal.append(records)
        cpu_s += time.thread_time() - started
        ref += count
        journal.flush()
        owner.wait_durable(batch - ahead)
        owner.run_posted()
    owner.wait_durable(batch)
    seconds = time.perf_counter() - began
    return {
        "messages": messages,
        "seconds": seconds,
        "append_us": cpu_s / messages * 1e6,
        "process_us": (time.process_time() - began_cpu) / messages * 1e6,
    }


def run_fill(wanted: argparse.Namespace) -> dict[str, Any]:
    """A backlog that the broker can read, left as by a process that was killed."""
    create_store(wanted.store)
    owner = Owner(wanted.store)
    facts: dict[str, Any] = fill(owner, wanted.messages, wire_body(wanted.size))
    facts["memory"] = memory().now
    facts["live_bytes"] = owner.journal.state.live_bytes
    return facts


def run_batches(wanted: argparse.Namespace) -> dict[str, Any]:
    """Records of exactly the wanted size in batches of 64; what became of them on the disk.

    A batch is closed when it has 64, so that those which wait do not become one: `fio` writes no larger ones.
    """
    create_store(wanted.store)
    options = JournalOptions(create=True, batch_bytes_max=BATCH * wanted.size)
    owner = Owner(wanted.store, options=options, watched=True)
    body = os.urandom(wanted.size - RECORD_OVERHEAD_BYTES)
    facts: dict[str, Any] = fill(owner, wanted.messages, body, ahead=AHEAD)
    watch = owner.files.watch
    facts["syncs"] = watch.syncs
    facts["bytes"] = watch.bytes_written
    facts["sync_ms"] = watch.sync_s / watch.syncs * 1000
    return facts


def run_append(wanted: argparse.Namespace) -> dict[str, Any]:
    """Processor time of appending and of removing, without the disk in between."""
    create_store(wanted.store)
    owner = Owner(wanted.store)
    owner.open()
    journal = owner.journal
    body = os.urandom(wanted.size - RECORD_OVERHEAD_BYTES)
    figures: dict[str, list[float]] = {"add_us": [], "remove_us": [], "add_one_us": []}

    def timed(name: str, batches: Sequence[Sequence[AddMessage | RemoveMessage]], count: int) -> None:
        started = time.thread_time()
        for records in batches:
            last = journal.append(records)
        figures[name].append((time.thread_time() - started) / count * 1e6)
        journal.flush()
        owner.wait_durable(last)

    ref = 1
    while ref + 2 * 16 * BATCH <= wanted.messages:
        refs = range(ref, ref + 16 * BATCH)
        adds = [AddMessage(i, QUEUE, PRODUCER, i, body) for i in refs]
        removes = [RemoveMessage(i, QUEUE) for i in refs]
        timed("add_us", [adds[i : i + BATCH] for i in range(0, len(adds), BATCH)], len(adds))
        timed("remove_us", [removes[i : i + BATCH] for i in range(0, len(removes), BATCH)], len(removes))
        ref += 16 * BATCH
        singles = [(AddMessage(i, QUEUE, PRODUCER, i, body),) for i in range(ref, ref + 16 * BATCH)]
        timed("add_one_us", singles, len(singles))
        ref += 16 * BATCH
    return {name: sorted(values)[len(values) // 2] for name, values in figures.items()}


def run_cold(wanted: argparse.Namespace) -> dict[str, Any]:
    """Open a store as a broker does that finds it after a crash of its host."""
    gc.collect()
    before = memory().now
    owner = Owner(wanted.store)
    began = time.perf_counter()
    owner.open()
    opened = time.perf_counter()
    region = Region(owner.journal, now_ms=0)
    ended = time.perf_counter()
    count = sum(len(target.pending) for target in region.targets.values())
    return opened_facts(owner, count, before) | {"seconds": ended - began, "region_s": ended - opened}


def run_warm(wanted: argparse.Namespace) -> dict[str, Any]:
    """Follow a store, and open it with what was followed."""
    gc.collect()
    before = memory().now
    owner = Owner(wanted.store)
    follower = Follower(owner.files)
    began = time.perf_counter()

    def caught_up() -> bool:
        place = follower.place
        follower.poll()
        return place is not None and follower.place == place

    wait_until(caught_up, 120, "the follower has read the store")
    followed = time.perf_counter()
    owner.open(follower)
    region = Region(owner.journal, now_ms=0)
    ended = time.perf_counter()
    count = sum(len(target.pending) for target in region.targets.values())
    return opened_facts(owner, count, before) | {"seconds": ended - followed, "caught_up_s": followed - began}


def opened_facts(owner: Owner, count: int, before: int) -> dict[str, Any]:
    """Memory and what recovery read, of a store just opened."""
    used = memory()
    report = owner.journal.report
    return {
        "messages": count,
        "memory": used.now,
        "memory_peak": used.peak,
        "bytes_per_message": (used.now - before) / max(count, 1),
        "records": report.records,
        "checkpoint": report.checkpoint,
    }


def run_compact(wanted: argparse.Namespace) -> dict[str, Any]:
    """Messages come and go, one in four stays longer; with compaction, or without.

    The rate is given per window of a tenth of a second, with the windows in which records were moved marked.
    """
    create_store(wanted.store)
    if not wanted.moves:
        without_moves()
    owner = Owner(wanted.store, watched=True)
    owner.open()
    journal = owner.journal
    body = os.urandom(wanted.size - RECORD_OVERHEAD_BYTES)
    kept: deque[int] = deque()
    counts: list[tuple[float, int]] = []
    ref = 1
    began = time.monotonic()
    while time.monotonic() - began < wanted.seconds and ref < COMPACT_MESSAGES_MAX:
        records: list[Any] = [AddMessage(i, QUEUE, PRODUCER, i, body) for i in range(ref, ref + BATCH)]
        for old in range(max(ref - LAG, 1), max(ref - LAG + BATCH, 1)):
            if old % KEPT_EVERY:
                records.append(RemoveMessage(old, QUEUE))
            else:
                kept.append(old)
        while len(kept) > KEPT:
            records.append(RemoveMessage(kept.popleft(), QUEUE))
        batch = journal.append(records)
        journal.flush()
        owner.wait_durable(batch - 1)
        owner.run_posted()
        ref += BATCH
        counts.append((time.monotonic(), ref))
    watch = owner.files.watch
    return {
        "counts": counts[:: max(len(counts) // 5_000, 1)],
        "compacting": watch.compacting,
        "checkpoints": watch.checkpoints,
        "live_bytes": journal.state.live_bytes,
    }


RUNS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "append": run_append,
    "batches": run_batches,
    "cold": run_cold,
    "compact": run_compact,
    "fill": run_fill,
    "warm": run_warm,
}


def main(arguments: list[str]) -> int:
    """Measure one thing; the process ends as if it were killed."""
    parser = argparse.ArgumentParser(prog="python -m perf.journal_process")
    parser.add_argument("run", choices=sorted(RUNS))
    parser.add_argument("store", type=Path)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--moves", action="store_true", help="with compaction")
    wanted = parser.parse_args(arguments)
    prepare_process()  # as in a broker's process
    print(json.dumps(RUNS[wanted.run](wanted)), flush=True)
    os._exit(0)  # no clean end: a store that was closed in good order would be opened faster


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
