"""What the web console costs and how fast it is: ``./dev bench console``.

A fabric of real processes with a pair of brokers. The first page is opened by a new browser each time. What
happens in the fabric is timed until an open page shows it. Then a broker is loaded, in turns with nobody
looking and with many consoles open on it, and its throughput and processor time are compared.
The figures are printed, never asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perf import ending
from perf.failover import BROKER, GROUP, Rig, say
from perf.lines import Address
from perf.loads import Figures, Measure, Pairs
from perf.process_facts import memory, processor_s
from perf.rivals import QUEUES, Rival
from perf.statistics_of_runs import machine, median, percentile, table
from perf.stomp_lines import Stomp
from playwright.sync_api import expect
from support.browser import Chromium, Visitor

from fabric.lab import CONSOLE_URL

PAGE = f"/mq/{GROUP}/{BROKER}"
PLACES = {
    "overview": PAGE,
    "queues": f"{PAGE}/queues",
}
LOAD = Pairs("stomp", 8, 100, Stomp(), {})
MEBIBYTE = 1024 * 1024


class Console:
    """The console of the benchmark's fabric."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.url = rig.commands.run("fabric", "zk-get", CONSOLE_URL).strip()

    def pid(self) -> int:
        """The process that serves it."""
        return self.rig.commands.process_id("root")

    def rival(self) -> Rival:
        """The master of the brokers, to be loaded."""
        (row,) = [row for row in self.rig.commands.members(GROUP) if row["id"] == BROKER]
        ports = {url.partition(":")[0]: int(url.rpartition(":")[2]) for url in row["services"]}
        address = Address(ports["stomp"], queue=QUEUES["stomp"])
        return Rival({"stomp": address}, self.rig.commands.process_id(row["masters"][0]))


# ---- how fast it is


def first_pages(console: Console, rounds: int) -> list[list[str]]:
    """The list of containers in a browser that has never been here: milliseconds and KiB."""
    times, octets = [], 0.0
    with Chromium() as chromium:
        for number in range(rounds + 1):
            visitor = chromium.visitor(console.url)
            visitor.log_in("admin")
            session = visitor.context.new_cdp_session(visitor.page)
            session.send("Network.enable")
            session.send("Network.setCacheDisabled", {"cacheDisabled": True})
            sizes: list[float] = []
            session.on(
                "Network.loadingFinished", lambda event, into=sizes: into.append(event["encodedDataLength"])
            )
            visitor.open("/containers")
            navigation = "performance.getEntriesByType('navigation')[0]"
            ended = visitor.page.evaluate(f"{navigation}.loadEventEnd")
            if number > 0:  # the first one starts the console's code, too
                times.append(ended)
                octets = sum(sizes)
            visitor.leave()
    ms = [f"{percentile(times, percent):.0f} ms" for percent in (50, 100)]
    return [["first page, empty cache", *ms, f"{octets / 1024:.0f} KiB"]]


def live(console: Console, rounds: int) -> list[list[str]]:
    """From something that happens in the fabric until an open page shows it."""
    run, start = console.rig.commands.run, console.rig.commands.start
    killed, stopped = [], []
    with Chromium() as chromium:
        visitor = chromium.visitor(console.url)
        visitor.log_in("admin")
        for _ in range(rounds):
            console.rig.wait_pair()
            master = console.rig.master()
            (slave,) = console.rig.commands.slaves(BROKER, GROUP)
            pid = console.rig.commands.process_id(master)
            killed.append(seen(visitor, slave, lambda pid=pid: os.kill(pid, signal.SIGKILL)))
            console.rig.wait_pair()
            commands: list[subprocess.Popen[str]] = []
            stop = ("fabric", "container-stop", slave)
            stopped.append(
                seen(visitor, master, lambda words=stop, into=commands: into.append(start(*words)))
            )
            commands[0].communicate(timeout=60)
            run("fabric", "container-start", slave)
    return [
        ["master killed, until its successor is shown", *summed(killed), "-"],
        ["`container-stop` of the master typed, until its successor is shown", *summed(stopped), "-"],
    ]


def seen(visitor: Visitor, successor: str, happen: Callable[[], object]) -> float:
    """Milliseconds until the list of containers shows somebody as a master."""
    page = visitor.open("/containers")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=successor, exact=True))
    began = time.monotonic()
    happen()
    expect(row.get_by_role("img", name="Master")).to_be_visible()
    return (time.monotonic() - began) * 1000


def summed(times: Sequence[float]) -> list[str]:
    """Median and the longest."""
    return [f"{percentile(times, percent):.0f} ms" for percent in (50, 100)]


# ---- what it costs


class Watchers:
    """Consoles that are open on one page, in a process beside."""

    def __init__(self, console: Console, path: str, count: int) -> None:
        self._process = subprocess.Popen(
            ["nice", "-n", "5", sys.executable, "-m", "perf.console_watchers", console.url, path, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the pages could not be opened"

    def end(self) -> dict[str, float]:
        """Close the pages; returns what they have done."""
        output, _ = self._process.communicate(timeout=60)
        counts = json.loads(output)
        assert not counts["failed"], counts["failed"]
        return dict(counts)


def turn(
    console: Console, rival: Rival, queue: str, watched: tuple[str, int] | None, seconds: float
) -> Figures:
    """One load on the broker, with consoles open or not."""
    watchers = Watchers(console, *watched) if watched else None
    before, began = processor_s(console.pid()), time.monotonic()
    figures = LOAD.run(rival, queue, Measure(None, seconds, 1024))
    lasted = time.monotonic() - began
    figures["console busy"] = (processor_s(console.pid()) - before) / lasted
    counts = watchers.end() if watchers else {"parts": 0.0}
    figures["parts per second"] = counts["parts"] / lasted
    return figures


def cost(console: Console, wanted: argparse.Namespace) -> str:
    """The table of the load without and with consoles, in turns."""
    rival = console.rival()
    rows = []
    turn(console, rival, "bench.warm", None, wanted.seconds)
    for name, path in PLACES.items():
        sides: dict[bool, list[Figures]] = {False: [], True: []}
        for number in range(wanted.repetitions):
            for watched in (False, True) if number % 2 == 0 else (True, False):
                with_whom = (path, wanted.consoles) if watched else None
                figures = turn(
                    console, rival, f"bench.{name}.{number}.{watched:d}", with_whom, wanted.seconds
                )
                sides[watched].append(figures)
                say(f"{name} {number + 1}, {'watched' if watched else 'alone'}: {figures}")
        for watched, many in sides.items():
            rows.append(row(name, wanted.consoles if watched else 0, many, sides[False]))
    heads = ["page", "consoles", "messages/s", "of alone", "broker us each", "of alone"]
    return table(
        [*heads, "console busy", "parts/s", "console MiB"],
        [[*each, f"{memory(console.pid()).peak / MEBIBYTE:.0f}"] for each in rows],
    )


def row(name: str, consoles: int, many: list[Figures], alone: list[Figures]) -> list[str]:
    """One line of the table."""

    def of(figure: str) -> tuple[float, float]:
        here, there = (median([each[figure] for each in side]) for side in (many, alone))
        return here, here / there if there else 0.0

    rate, rate_ratio = of("per second")
    used, used_ratio = of("broker us")
    busy, parts = of("console busy")[0], of("parts per second")[0]
    return [
        *(name, str(consoles), f"{rate:,.0f}", f"{rate_ratio:.1%}", f"{used:.1f}", f"{used_ratio:.1%}"),
        *(f"{busy:.1%}", f"{parts:.0f}"),
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./dev bench console", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--consoles", type=int, default=50, help="how many are open (50)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each load lasts (10)")
    parser.add_argument("--repetitions", type=int, default=5, help="how often each side is loaded (5)")
    parser.add_argument("--rounds", type=int, default=10, help="how often pages and failovers are timed (10)")
    parser.add_argument("--only", choices=("speed", "cost"), help="only one of both parts")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Set up, measure, print, clean up."""
    wanted = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-console-"))
    rig = Rig(folder)
    try:
        rig.start()
        console = Console(rig)
        facts = machine(folder)
        parts = []
        if wanted.only != "cost":
            rows = [*first_pages(console, wanted.rounds), *live(console, wanted.rounds)]
            parts.append(table(["how fast", "50 %", "max", "transferred"], rows))
        if wanted.only != "speed":
            rig.wait_pair()
            parts.append(cost(console, wanted))
        print(", ".join(f"{name} {value}" for name, value in facts.items()), *parts, sep="\n\n")
    finally:
        rig.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    ending.run(main, sys.argv[1:])
