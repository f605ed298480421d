"""Durable messages a second, ours beside Apache ActiveMQ: ``./dev bench throughput``.

Both brokers run at the same time on the same disk, and Apache's own Java client loads one after the other, in
alternating order: 1 and 8 producers, synchronous and asynchronous (useAsyncSend). ActiveMQ has its defaults:
KahaDB with a sync for every acknowledgement. Medians over the repetitions and their ratio are printed, never
asserted.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from perf import ending
from perf.statistics_of_runs import machine, median, table
from support.apache import INTEROP_SOURCES, JavaPrograms, start_apache_broker
from support.zookeeper import free_port

from fabric.create import end_fabric
from fabric.home import Home
from fabric.lab import CommandFailed, Commands

LOAD_SOURCES = Path(__file__).parent / "java"
CASES = ((1, "sync"), (8, "sync"), (1, "async"), (8, "async"))
RUN_TIMEOUT_S = 300.0
OURS, APACHE = "ours", "activemq"

Figures = dict[str, float]


@contextlib.contextmanager
def our_broker(folder: Path) -> Iterator[str]:
    """One broker of a fabric of its own, set up by the fabric's commands; gives its URL."""
    commands = Commands(folder / "home", os.environ)
    port = free_port()
    try:
        commands.run(
            *("fabric", "create", "--clean", "--wait-for-provisioning"),
            *("--zookeeper-server-port", str(free_port())),
            *("--new-user", "admin", "--new-user-password", "admin"),
        )
        commands.run("fabric", "container-remove-profile", "root", "mq-amq")
        commands.run(
            *("fabric", "mq-create", "--group", "bench", "--kind", "StandAlone"),
            *("--port", f"openwire={port}", "benchbroker"),
        )
        profile = "mq-broker-bench.benchbroker"
        commands.run("fabric", "container-create-child", "--profile", profile, "root", "benchcontainer")
        commands.run("fabric", "wait-for-provisioning")
        yield f"tcp://127.0.0.1:{port}"
    finally:
        end_fabric(Home(commands.home), lambda text: print(text, file=sys.stderr))


@contextlib.contextmanager
def apache_broker(programs: JavaPrograms, folder: Path) -> Iterator[str]:
    """Apache's broker; gives its URL."""
    broker, url = start_apache_broker(programs, folder)
    with broker:
        yield url


def load(
    programs: JavaPrograms, url: str, queue: str, case: tuple[int, str], wanted: argparse.Namespace
) -> Figures:
    """Run the load once; returns what it counted and the rates."""
    producers, mode = case
    facts = programs.facts(
        *("Load", url, queue, str(producers), mode, str(wanted.seconds), str(wanted.size)),
        timeout_s=RUN_TIMEOUT_S,
    )
    figures = {name: float(value) for name, _, value in (fact.partition(": ") for fact in facts)}
    figures["sent per second"] = figures["sent"] / figures["send seconds"]
    figures["received per second"] = figures["received"] / figures["receive seconds"]
    if figures["received"] != figures["sent"]:
        print(f"{queue}: {figures['sent']:.0f} sent, {figures['received']:.0f} received", file=sys.stderr)
    return figures


def name_of(case: tuple[int, str]) -> str:
    """A case, in words."""
    producers, mode = case
    return f"{producers} producer{'s' if producers > 1 else ''}, {mode}"


Results = dict[str, dict[str, list[Figures]]]


def measure(programs: JavaPrograms, urls: dict[str, str], wanted: argparse.Namespace) -> Results:
    """All repetitions; the first one warms both sides up and is not counted."""
    cases = [case for case in CASES if wanted.case in (None, name_of(case))]
    results: Results = {name_of(case): {who: [] for who in urls} for case in cases}
    for repetition in range(wanted.repetitions + 1):
        order = list(urls) if repetition % 2 == 0 else list(reversed(urls))
        for case in cases:
            for who in order:
                queue = f"bench.{repetition}.{case[0]}.{case[1]}"
                figures = load(programs, urls[who], queue, case, wanted)
                which = repetition or "warm-up"
                sent, received = figures["sent per second"], figures["received per second"]
                print(
                    f"{which}: {name_of(case)}, {who}: {sent:.0f} sent/s, {received:.0f} received/s",
                    file=sys.stderr,
                )
                if repetition > 0:
                    results[name_of(case)][who].append(figures)
    return results


def report(results: Results) -> str:
    """The table of medians and ratios."""
    rows = []
    for case, sides in results.items():
        row = [case]
        for figure in ("sent per second", "received per second"):
            medians = {who: median([figures[figure] for figures in many]) for who, many in sides.items()}
            row += [f"{medians[who]:,.0f}" if who in medians else "-" for who in (OURS, APACHE)]
            row.append(f"{medians[OURS] / medians[APACHE]:.2f}" if len(medians) == 2 else "-")
        rows.append(row)
    heads = ["sent/s ours", "ActiveMQ", "ratio", "received/s ours", "ActiveMQ", "ratio"]
    return table(["durable messages", *heads], rows)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./dev bench throughput", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each load sends (5)")
    parser.add_argument("--repetitions", type=int, default=5, help="how often each case is measured (5)")
    parser.add_argument("--size", type=int, default=1024, help="bytes of a message's body (1024)")
    parser.add_argument("--only", choices=[OURS, APACHE], help="load only one of the two brokers")
    names = [name_of(case) for case in CASES]
    parser.add_argument("--case", choices=names, help=f"measure only this one of {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run to a file as well")
    parser.add_argument("--folder", type=Path, help="where both stores lie (a temporary folder)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Set up, measure, print, clean up."""
    wanted = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-throughput-", dir=wanted.folder))
    try:
        classes = folder / "classes"
        classes.mkdir()
        programs = JavaPrograms(classes, INTEROP_SOURCES, LOAD_SOURCES)
        with contextlib.ExitStack() as running:
            urls = {}
            if wanted.only != APACHE:
                urls[OURS] = running.enter_context(our_broker(folder))
            if wanted.only != OURS:
                urls[APACHE] = running.enter_context(apache_broker(programs, folder / "apache"))
            results = measure(programs, urls, wanted)
        facts = machine(folder)
    except CommandFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print(report(results))
    if wanted.json:
        wanted.json.write_text(json.dumps({"machine": facts, "runs": results}, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    ending.run(main, sys.argv[1:])
