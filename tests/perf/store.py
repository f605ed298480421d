"""What the store does beside what its disk does: ``./dev bench store``.

One table; each row that has to do with the disk says its ratio to what the disk itself did in the same run:
one write and one `fdatasync` at a time, from Python and by `fio`. The journal is measured alone, in a process
per measurement, and inside a broker's process over TCP with a client that costs next to nothing.
The figures are printed, never asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from perf import ending
from perf.bench_broker import BenchBroker
from perf.compaction import bench_compaction
from perf.disk import DiskRate, fio_rate, own_rate
from perf.floor import floor_rate
from perf.lean_client import LeanProducer, send_one_by_one, send_windowed
from perf.process_facts import bytes_on_disk, forget_pages
from perf.statistics_of_runs import machine, median
from perf.store_table import Row, at_least, below, longest_gaps, store_table

from mqclient import ConnectionFactory

MEBIBYTE = 1024 * 1024
RUN_TIMEOUT_S = 600.0
BATCHES_MESSAGES = 100_000
APPEND_MESSAGES = 200_000
REPETITIONS = 3
PRODUCERS, WINDOW = 8, 100
SYNC_DELAYS_MS = (0.0, 1.0, 5.0)
WARM_UP_S = 1.0
SIZE_SAMPLE = 20
CHECKPOINT_SHARE = 1_000
"""So that a checkpoint is written every few seconds of the load under which its pause is measured."""
SPACE_FACTOR = 4
"""The backlog, its checkpoints, and what the loads add, in terms of the backlog's bodies."""
MESSAGE_OVERHEAD_BYTES = 300


def say(text: str) -> None:
    """Tell whoever waits; only the figures go to standard output."""
    print(text, file=sys.stderr)


class Bench:
    """A folder, and what was asked for."""

    def __init__(self, folder: Path, wanted: argparse.Namespace) -> None:
        self.folder = folder
        self.wanted = wanted

    def store(self, name: str) -> Path:
        """A place for a store; what was there is gone."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def journal(self, run: str, store: Path, *options: str) -> dict[str, Any]:
        """Measure the journal in a process of its own."""
        command = [sys.executable, "-m", "perf.journal_process", run, str(store)]
        command += ["--size", str(self.wanted.size), *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=RUN_TIMEOUT_S, check=True)
        facts: dict[str, Any] = json.loads(done.stdout)
        say(f"{run}: " + json.dumps({k: v for k, v in facts.items() if not isinstance(v, list)}))
        return facts

    def producers(
        self, broker: BenchBroker, count: int, queue: str, size: int | None = None
    ) -> list[LeanProducer]:
        """Clients that have logged in."""
        body = os.urandom(size or self.wanted.size)
        name = f"{queue}-{broker.pid}"
        return [LeanProducer(broker.port, queue, body, f"{name}-{number}") for number in range(count)]

    def batch_bytes(self) -> int:
        """How many bytes the journal writes for one message."""
        empty = self.store("size")
        with BenchBroker(empty) as broker:
            (producer,) = self.producers(broker, 1, "bench.sync")
            producer.send()  # which makes the queue, and zeros ahead
            before = broker.facts()["watch"]["bytes_written"]
            for _ in range(SIZE_SAMPLE):
                producer.send()
            after = broker.facts()["watch"]["bytes_written"]
            producer.close()
        shutil.rmtree(empty)
        return round((after - before) / SIZE_SAMPLE)


def bench_batches(bench: Bench) -> list[Row]:
    """The journal alone beside the disk, in alternation."""
    runs: list[dict[str, Any]] = []
    own: list[DiskRate] = []
    fio: list[DiskRate] = []
    size = 0
    for number in range(REPETITIONS + 1):  # the first warms up, and says how long a batch is
        store = bench.store("batches")
        facts = bench.journal("batches", store, "--messages", str(BATCHES_MESSAGES))
        shutil.rmtree(store)
        if number == 0:
            size = round(facts["bytes"] / facts["syncs"])
            continue
        runs.append(facts)
        own.append(own_rate(bench.folder, size, bench.wanted.seconds / 2))
        by_fio = fio_rate(bench.folder, size, bench.wanted.seconds / 2)
        if by_fio is not None:
            fio.append(by_fio)
    mebibytes = [facts["bytes"] / facts["seconds"] / MEBIBYTE for facts in runs]
    per_second = median([facts["messages"] / facts["seconds"] for facts in runs])
    rows = [disk_row(f"disk: write of {size:,} bytes and fdatasync, from Python", own)]
    if fio:
        rows.append(disk_row("the same by fio", fio))
    disk = median([each.per_second for each in fio or own]) * size / MEBIBYTE
    records = median([facts["messages"] / facts["syncs"] for facts in runs])
    what = f"journal alone, records of {bench.wanted.size:,} bytes, {records:.0f} per batch, one writer"
    value = f"{median(mebibytes):,.0f} MiB/s, {per_second:,.0f} records/s"
    rows.append(at_least(what, value, median(mebibytes) / disk, 0.8, "fio" if fio else "the disk"))
    return rows


def disk_row(what: str, rates: Sequence[DiskRate]) -> Row:
    """What the disk does."""
    per_second = median([each.per_second for each in rates])
    mebibytes = per_second * rates[0].size / MEBIBYTE
    middle = median([each.median_ms for each in rates])
    return Row(what, f"{mebibytes:,.0f} MiB/s, {per_second:,.0f}/s, {middle:.2f} ms each", "1")


def bench_append(bench: Bench) -> list[Row]:
    """Processor time of a record."""
    facts = bench.journal("append", bench.store("append"), "--messages", str(APPEND_MESSAGES))
    size = f"{bench.wanted.size:,} bytes"
    return [
        below(
            f"processor time of append and apply, messages of {size}, 64 at once", facts["add_us"], 8, "µs"
        ),
        below("the same, one at once", facts["add_one_us"], 8, "µs"),
        Row("the same, removals, 64 at once", f"{facts['remove_us']:.1f} µs"),
    ]


def bench_backlog(bench: Bench) -> list[Row]:
    """A store with many messages: how it is opened, what it takes, and whether checkpoints are felt."""
    store = bench.store("backlog")
    count = bench.wanted.messages
    filled = bench.journal("fill", store, "--messages", str(count))
    on_disk = bytes_on_disk(store)
    forget_pages(store)
    cold = bench.journal("cold", store)
    warm = bench.journal("warm", store)
    rows = [
        Row(
            f"filling it with {count:,} messages",
            f"{filled['messages'] / filled['seconds']:,.0f} records/s, {filled['process_us']:.1f} µs each",
        ),
        below(f"cold start with {count:,} messages, nothing cached", cold["seconds"], 3, "s", 2),
        Row("start of a follower that has caught up", f"{warm['seconds'] * 1000:,.0f} ms"),
        Row("  catching up before that, from nothing", f"{warm['caught_up_s']:,.2f} s"),
        below("memory per queued message", cold["bytes_per_message"], 64, "bytes"),
        Row(
            "disk taken",
            f"{on_disk / MEBIBYTE:,.0f} MiB",
            f"{on_disk / filled['live_bytes']:.2f} of the live",
        ),
    ]
    if not warm["messages"] == cold["messages"] == count:
        say(f"messages found: {cold['messages']} cold, {warm['messages']} warm, {count} stored")
    rows += broker_with_backlog(bench, store)
    shutil.rmtree(store)
    return rows


def broker_with_backlog(bench: Bench, store: Path) -> list[Row]:
    """A broker on the store: its memory, and a client's longest wait while checkpoints are written."""
    with BenchBroker(store, "--checkpoint-share", str(CHECKPOINT_SHARE)) as broker:
        opened = broker.first
        (producer,) = bench.producers(broker, 1, "bench.live")
        load = send_one_by_one(producer, 4 * bench.wanted.seconds)
        producer.close()
        facts = broker.facts()
    spans = [tuple(span) for span in facts["watch"]["checkpoints"]]
    inside, outside = longest_gaps(load.stored_at, spans)
    say(f"checkpoints: {len(spans)}, {sum(end - begin for begin, end in spans):.2f} s in all")
    what = f"longest wait of a client while a checkpoint is written, of {len(spans)}"
    slowest = f"{outside * 1000:.1f} ms without"
    return [
        below("memory of the broker's process with that backlog", opened["memory"] / MEBIBYTE, 250, "MiB"),
        Row("  at most, while it was opened", f"{opened['memory_peak'] / MEBIBYTE:,.1f} MiB"),
        below("  at most, after a load", facts["memory_peak"] / MEBIBYTE, 250, "MiB"),
        Row(what, f"{inside * 1000:.1f} ms", slowest, "≤ 20 ms", inside <= 0.02),
    ]


def bench_sends(bench: Bench) -> list[Row]:
    """One producer that waits for each message, beside the disk."""
    lean: list[float] = []
    disk: list[float] = []
    own: list[float] = []
    floor: list[float] = []
    size = bench.batch_bytes()
    profile = [] if bench.wanted.profile is None else ["--profile", str(bench.wanted.profile)]
    with BenchBroker(bench.store("sends"), "--unwatched", *profile) as broker:
        (producer,) = bench.producers(broker, 1, "bench.sync")
        send_one_by_one(producer, WARM_UP_S)
        for _ in range(REPETITIONS):
            disk.append(own_rate(bench.folder, size, bench.wanted.seconds / 2).per_second)
            floor.append(floor_rate(bench.folder, size, bench.wanted.seconds / 2))
            lean.append(send_one_by_one(producer, bench.wanted.seconds).per_second)
            own.append(library_rate(broker.port, bench.wanted))
        producer.close()
    target = min(0.6 * median(disk), 3500)
    what = "acknowledged persistent sends, 1 producer, synchronous"
    return [
        Row(f"disk: write of {size:,} bytes and fdatasync", f"{median(disk):,.0f}/s", "1"),
        Row(
            "a server that only receives, writes, syncs and answers",
            f"{median(floor):,.0f}/s",
            f"{median(floor) / median(disk):.2f} of the disk",
        ),
        Row(
            what,
            f"{median(lean):,.0f}/s",
            f"{median(lean) / median(disk):.2f} of the disk",
            f"≥ {target:,.0f}/s",
            median(lean) >= target,
        ),
        Row(
            "the same with the Python client library",
            f"{median(own):,.0f}/s",
            f"{median(own) / median(disk):.2f} of the disk",
        ),
    ]


def library_rate(port: int, wanted: argparse.Namespace) -> float:
    """Messages per second of one synchronous producer of our own client library."""
    connection = ConnectionFactory(f"tcp://127.0.0.1:{port}", "admin", "admin").create_connection()
    session = connection.create_session()
    producer = session.create_producer(session.create_queue("bench.library"))
    body = os.urandom(wanted.size)
    count = 0
    began = time.perf_counter()
    while time.perf_counter() - began < wanted.seconds / 2:
        producer.send(session.create_bytes_message(body))
        count += 1
    took = time.perf_counter() - began
    connection.close()
    return count / took


def bench_delays(bench: Bench) -> list[Row]:
    """The same load with a disk that takes longer to sync."""
    rows: list[Row] = []
    undelayed = 0.0
    for delay_ms in SYNC_DELAYS_MS:
        with BenchBroker(bench.store("delays"), "--sync-delay-ms", str(delay_ms)) as broker:
            producers = bench.producers(broker, PRODUCERS, "bench.delayed")
            send_windowed(producers, WINDOW, seconds=WARM_UP_S)
            before = broker.facts()
            load = send_windowed(producers, WINDOW, seconds=bench.wanted.seconds)
            after = broker.facts()
            for producer in producers:
                producer.close()
        syncs = after["watch"]["syncs"] - before["watch"]["syncs"]
        sync_ms = (after["watch"]["sync_s"] - before["watch"]["sync_s"]) / syncs * 1000
        what = f"{PRODUCERS} producers, window {WINDOW}, {delay_ms:g} ms added to every sync"
        value = f"{load.per_second:,.0f}/s, {load.sent / syncs:,.0f} per sync of {sync_ms:.2f} ms"
        say(f"{what}: {value}")
        if not delay_ms:
            undelayed = load.per_second
            rows.append(Row(what.replace("0 ms", "nothing"), value))
        elif delay_ms == 1:
            rows.append(at_least(what, value, load.per_second / undelayed, 0.8, "undelayed"))
        else:
            rows.append(Row(what, value, f"{load.per_second / undelayed:.2f} of undelayed"))
    return rows


PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "batches": bench_batches,
    "append": bench_append,
    "backlog": bench_backlog,
    "compaction": bench_compaction,
    "sends": bench_sends,
    "delays": bench_delays,
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./dev bench store", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000, help="of the backlog (1,000,000)")
    parser.add_argument("--size", type=int, default=1024, help="bytes of a message's body (1024)")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each load lasts (4)")
    parser.add_argument(
        "--only", action="append", choices=list(PARTS), help="only this part; may be repeated"
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="profile the broker of `sends`, which slows it, for pstats",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file as well")
    parser.add_argument("--folder", type=Path, help="where the stores lie (a temporary folder)")
    return parser.parse_args(arguments)


def missing_space(free: int, messages: int, size: int) -> int:
    """Bytes that the file system lacks for a backlog and the loads on it; 0 if it has enough."""
    return max(SPACE_FACTOR * messages * (size + MESSAGE_OVERHEAD_BYTES) - free, 0)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, clean up."""
    wanted = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-store-", dir=wanted.folder))
    rows: list[Row] = []
    try:
        lacking = missing_space(shutil.disk_usage(folder).free, wanted.messages, wanted.size)
        if lacking:
            lacks = f"The disk lacks {lacking / MEBIBYTE:,.0f} MiB for this"
            say(f"{lacks}: give another --folder, or fewer --messages.")
            return 1
        for name, measure in PARTS.items():
            if wanted.only is None or name in wanted.only:
                rows += measure(Bench(folder, wanted))
        facts = machine(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print(store_table(rows))
    if wanted.json:
        report = {"machine": facts, "rows": [row.cells() for row in rows]}
        wanted.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    ending.run(main, sys.argv[1:])
