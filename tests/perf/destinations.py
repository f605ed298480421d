"""Many destinations, many consumers of one, and selectors: ``./dev bench destinations``.

A broker's process over TCP with as many queues as it allows, each with a consumer: what they take of its
memory, and how long they take to be made. Then, in this process, the region alone: what one more consumer of
a destination costs beside 10 and beside 10,000 others, and how long a selector takes for a message.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perf import ending
from perf.bench_broker import BenchBroker
from perf.statistics_of_runs import machine, table
from support.region import MemoryStore, Peer

from broker.destination import Destination
from broker.message import Message
from broker.primitive_map import encode_map
from broker.properties import compiled
from broker.region.limits import RegionLimits
from broker.region.region import Region
from mqclient import Connection, ConnectionFactory, TextMessage

MEBIBYTE = 1024 * 1024
CONSUMERS_PER_CONNECTION = 1_000
OTHERS = (10, 10_000)
PROBES = 300
SELECTOR_ROUNDS = 20_000
SELECTORS = (
    "colour = 'red'",
    "colour = 'red' AND weight > 2500",
    "colour IN ('red', 'blue') AND weight BETWEEN 10 AND 3000 AND name LIKE 'ab%'",
    "JMSPriority > 3 AND JMSType = 'order'",
)
KINDS: dict[str, tuple[str, str | None]] = {
    "queue": ("queue://bench", None),
    "queue, with a selector": ("queue://bench", "colour = 'red'"),
    "topic": ("topic://bench", None),
    "wildcard of queues": ("queue://bench.>", None),
}

Figures = dict[str, float]


def connect(broker: BenchBroker) -> Connection:
    """A started connection."""
    connection = ConnectionFactory(f"tcp://127.0.0.1:{broker.port}", "admin", "admin").create_connection()
    connection.start()
    return connection


def measure_resident(folder: Path, count: int) -> Figures:
    """So many queues with one consumer each, and then a message through each of them."""
    broker = BenchBroker(folder / "store", "--unwatched")
    connections: list[Connection] = []
    try:
        before = broker.facts()
        began = time.perf_counter()
        consumers = []
        for first in range(0, count, CONSUMERS_PER_CONNECTION):
            connection = connect(broker)
            connections.append(connection)
            session = connection.create_session()
            consumers += [
                session.create_consumer(f"bench.{number}")
                for number in range(first, min(first + CONSUMERS_PER_CONNECTION, count))
            ]
        made_s = time.perf_counter() - began
        idle = broker.facts()
        producer = connections[0].create_session().create_producer()
        began = time.perf_counter()
        for number, consumer in enumerate(consumers):
            producer.send(TextMessage(str(number)), destination=session.create_queue(f"bench.{number}"))
            message = consumer.receive(30.0)
            assert isinstance(message, TextMessage)
            assert message.text == str(number)
        used_s = time.perf_counter() - began
        used = broker.facts()
    finally:
        for connection in connections:
            connection.close()
        broker.end()
    return {
        "destinations": count,
        "before_bytes": before["memory"],
        "idle_bytes": idle["memory"],
        "used_bytes": used["memory"],
        "made_s": made_s,
        "used_s": used_s,
    }


def median_us(work: Callable[[int], None]) -> float:
    """Microseconds of one call, the median of many."""
    times = []
    for number in range(PROBES):
        began = time.perf_counter_ns()
        work(number)
        times.append((time.perf_counter_ns() - began) / 1000)
    return statistics.median(times)


def measure_consumers() -> dict[str, dict[int, Figures]]:
    """One consumer more and one less, by kind of destination and number of others."""
    found: dict[str, dict[int, Figures]] = {}
    for kind, (uri, selector) in KINDS.items():
        found[kind] = {}
        destination = Destination.parse(uri)
        for others in OTHERS:
            region = Region(MemoryStore(), RegionLimits(consumers_per_connection_max=1_000_000))
            peer = Peer(region)

            def add(
                number: int, *, peer: Peer = peer, region: Region = region, prefix: str = "probe"
            ) -> None:
                peer.consume(f"{prefix}{number}", destination, selector=selector)  # noqa: B023 - used at once
                region.dispatch()

            def close(number: int, *, peer: Peer = peer, region: Region = region) -> None:
                peer.connection.remove_consumer(f"probe{number}")
                region.dispatch()

            for number in range(others):
                add(number, prefix="other")
            found[kind][others] = {"add_us": median_us(add), "close_us": median_us(close)}
            peer.connection.close()
    return found


def measure_selectors() -> dict[str, Figures]:
    """One selector against one message, whose properties are decoded when they are first asked for."""
    properties = encode_map({"colour": "red", "weight": 2_600, "name": "abacus", "size": 3})
    found: dict[str, Figures] = {}
    for text in SELECTORS:
        matches = compiled(text)
        message = Message("ID:1", Destination.queue("q"), properties=properties, type="order")
        began = time.perf_counter_ns()
        assert matches(message, None)
        first_us = (time.perf_counter_ns() - began) / 1000
        began = time.perf_counter_ns()
        for _ in range(SELECTOR_ROUNDS):
            matches(message, None)
        each_us = (time.perf_counter_ns() - began) / 1000 / SELECTOR_ROUNDS
        found[text] = {"first_us": first_us, "each_us": each_us}
    return found


def report(
    resident: Figures | None, consumers: dict[str, dict[int, Figures]], selectors: dict[str, Figures]
) -> str:
    """What was measured, as a page has it."""
    parts = []
    if resident is not None:
        rows = [
            ["broker without clients", f"{resident['before_bytes'] / MEBIBYTE:.0f} MiB", ""],
            ["with them", f"{resident['idle_bytes'] / MEBIBYTE:.0f} MiB", f"{resident['made_s']:.1f} s"],
            [
                "after a message through each",
                f"{resident['used_bytes'] / MEBIBYTE:.0f} MiB",
                f"{resident['used_s']:.1f} s",
            ],
        ]
        title = f"{resident['destinations']:,.0f} queues with a consumer each"
        parts.append(table([title, "resident", "took"], rows))
    rows = [
        [kind, *(f"{figures[others][name]:.1f} µs" for name in ("add_us", "close_us") for others in OTHERS)]
        for kind, figures in consumers.items()
    ]
    heads = [f"{what} beside {others:,}" for what in ("one more", "one less") for others in OTHERS]
    parts.append(table(["consumers of a", *heads], rows))
    rows = [
        [f"`{text}`", f"{figures['each_us']:.2f} µs", f"{figures['first_us']:.1f} µs"]
        for text, figures in selectors.items()
    ]
    parts.append(table(["selector", "a message", "the first look at its properties"], rows))
    return "\n\n".join(parts)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What is to be measured."""
    parser = argparse.ArgumentParser(prog="./dev bench destinations", description=__doc__)
    parser.add_argument("--destinations", type=int, default=10_000, help="0: no broker's process")
    parser.add_argument("--folder", type=Path, help="where the store lies")
    parser.add_argument("--json", type=Path, help="all figures, for programs")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, clean up."""
    wanted = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-destinations-", dir=wanted.folder))
    try:
        resident = measure_resident(folder, wanted.destinations) if wanted.destinations else None
        facts = machine(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    consumers, selectors = measure_consumers(), measure_selectors()
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print(report(resident, consumers, selectors))
    if wanted.json:
        found = {"machine": facts, "resident": resident, "consumers": consumers, "selectors": selectors}
        wanted.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    ending.run(main, sys.argv[1:])
