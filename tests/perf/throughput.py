"""Durable messages a second, ours beside Apache ActiveMQ and RabbitMQ: ``./dev bench throughput``.

All brokers run at the same time on the same disk with their defaults, and one after the other gets the same
load, in alternating order. OpenWire is spoken by Apache's own Java client, the other protocols by a load
generator that costs little; what it can do itself is shown beside a sink that only answers. Medians over the
repetitions and their ratios are printed, never asserted.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from perf import ending, rivals
from perf.lines import LoadFailed
from perf.loads import CASES, Case, Figures, Idle, Java, Measure, can_carry
from perf.rabbitmq import RabbitMissing, server_script
from perf.rivals import APACHE, OURS, PROTOCOLS, RABBIT, SINK, Rival
from perf.statistics_of_runs import machine, median, table
from support.apache import INTEROP_SOURCES, JavaMissingError, JavaPrograms

LOAD_SOURCES = Path(__file__).parent / "java"
PROGRAMS = ("ApacheBroker", "Load")
ALL = (OURS, APACHE, RABBIT, SINK)
LABELS = {OURS: "ours", APACHE: "ActiveMQ", RABBIT: "RabbitMQ", SINK: "sink"}

Results = dict[str, dict[str, list[Figures]]]
"""Per name of a case and broker: the figures of each repetition."""


def measure(
    cases: Sequence[Case], running: dict[str, Rival], wanted: argparse.Namespace, how: Measure
) -> Results:
    """All repetitions; the first one warms all sides up and is not counted."""
    results: Results = {
        case.name: {who: [] for who, rival in running.items() if can_carry(case, who, rival)}
        for case in cases
    }
    for repetition in range(wanted.repetitions + 1):
        order = list(running) if repetition % 2 == 0 else list(reversed(running))
        for number, case in enumerate(cases):
            if isinstance(case, Idle) and repetition < wanted.repetitions:
                continue  # once, and last: a broker may have to do for a while with so many connections' end
            for who in order:
                if who not in results[case.name]:
                    continue
                figures = put(case, running[who], who, f"bench.{repetition}.{number}", how)
                if figures and (repetition > 0 or wanted.repetitions == 0):
                    results[case.name][who].append(figures)
    return results


def put(case: Case, rival: Rival, who: str, queue: str, how: Measure) -> Figures | None:
    """Put a load on a broker and say how it went; None: it failed."""
    try:
        figures = case.run(rival, queue, how)
    except (LoadFailed, AssertionError, OSError) as failure:
        print(f"{queue}: {case.name}, {who}: {failure}", file=sys.stderr)
        return None
    figure = f"{figures[case.figure]:,.1f} {case.figure}"
    if "broker us" in figures:
        figure += f", {figures['broker us']:.0f} us of the processor each"
    print(f"{queue}: {case.name}, {who}: {figure}", file=sys.stderr)
    return figures


def medians(sides: dict[str, list[Figures]], figure: str) -> dict[str, float]:
    """Per broker the median of a figure."""
    return {who: median([each[figure] for each in many]) for who, many in sides.items() if many}


def ratio(found: dict[str, float], other: str) -> str:
    """Ours divided by another's."""
    return f"{found[OURS] / found[other]:.2f}" if OURS in found and other in found else "-"


def verdict(case: Case, found: dict[str, float]) -> str:
    """What is wanted, and whether it is so."""
    if isinstance(case, Idle) and OURS in found:
        return f"{case.most:g} KiB: {'met' if found[OURS] <= case.most else 'missed'}"
    compared = {who: factor for who, factor in case.targets.items() if who in found and OURS in found}
    if not compared:
        return ""
    wanted = ", ".join(f"{factor:g} x {LABELS[who]}" for who, factor in compared.items())
    is_met = all(found[OURS] >= factor * found[who] for who, factor in compared.items())
    return f"{wanted}: {'met' if is_met else 'missed'}"


def report(cases: Sequence[Case], results: Results) -> str:
    """The tables of medians and ratios."""
    rows, received = [], []
    for case in cases:
        sides = results[case.name]
        found = medians(sides, case.figure)
        busy = medians(sides, "generator busy") if SINK in found else {}
        rows.append(
            [
                case.name,
                *(
                    f"{found[who]:,.{0 if found[who] >= 100 else 1}f}" if who in found else "-"
                    for who in ALL[:3]
                ),
                ratio(found, APACHE),
                ratio(found, RABBIT),
                f"{found[SINK]:,.0f}" if SINK in found else "-",
                f"{busy[OURS]:.0%}" if OURS in busy else "-",
                verdict(case, found),
            ]
        )
        if isinstance(case, Java):
            found = medians(sides, "received per second")
            cells = [f"{found[who]:,.0f}" if who in found else "-" for who in (OURS, APACHE)]
            received.append([case.name, *cells, ratio(found, APACHE)])
    heads = ["ours", "ActiveMQ", "RabbitMQ", "/ActiveMQ", "/RabbitMQ", "sink", "generator busy", "target"]
    parts = [table(["durable messages/s", *heads], rows)]
    if received:
        parts.append(table(["afterwards received/s", "ours", "ActiveMQ", "/ActiveMQ"], received))
    return "\n\n".join(parts)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./dev bench throughput", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each load sends (5)")
    parser.add_argument("--repetitions", type=int, default=5, help="how often each case is measured (5)")
    parser.add_argument("--size", type=int, default=1024, help="bytes of a message's body (1024)")
    parser.add_argument(
        "--only", action="append", choices=ALL, help="load only this broker; may be said several times"
    )
    parser.add_argument(
        "--protocol", action="append", choices=PROTOCOLS, help="only its cases; may be said several times"
    )
    parser.add_argument(
        "--case", metavar="TEXT", help="only cases whose names contain this; --list shows the names"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the names of the cases, and measure nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run to a file as well")
    parser.add_argument("--folder", type=Path, help="where all stores lie (a temporary folder)")
    return parser.parse_args(arguments)


def chosen(wanted: argparse.Namespace) -> list[Case]:
    """The cases that are wanted."""
    return [
        case
        for case in CASES
        if case.protocol in (wanted.protocol or PROTOCOLS)
        and (wanted.case is None or wanted.case.lower() in case.name.lower())
    ]


def present(only: list[str] | None) -> list[str]:
    """The brokers to be loaded: those that are wanted, or all that can be."""
    if only:
        return [name for name in ALL if name in only]
    try:
        server_script()
    except RabbitMissing as missing:
        print(f"RabbitMQ is left out: {missing}", file=sys.stderr)
        return [name for name in ALL if name != RABBIT]
    return list(ALL)


def run(wanted: argparse.Namespace, cases: Sequence[Case], folder: Path) -> tuple[dict[str, str], Results]:
    """Start the brokers, measure, end them; gives what the figures depend on, and the figures."""
    needs_java = any(isinstance(case, Java) for case in cases) or APACHE in (wanted.only or ALL)
    programs = None
    if needs_java:
        classes = folder / "classes"
        classes.mkdir()
        programs = JavaPrograms(classes, INTEROP_SOURCES, LOAD_SOURCES, only=PROGRAMS)
    with contextlib.ExitStack() as stack:
        who = present(wanted.only)
        running = rivals.start(stack, who, programs, folder, wanted.size)
        for name, rival in running.items():
            missing = {case.protocol for case in cases} - set(rival.addresses)
            if missing and name != SINK:
                print(f"{name} does not speak {', '.join(sorted(missing))} here", file=sys.stderr)
        results = measure(cases, running, wanted, Measure(programs, wanted.seconds, wanted.size))
    return machine(folder), results


def main(arguments: Sequence[str]) -> int:
    """Set up, measure, print, clean up."""
    wanted = parse(arguments)
    cases = chosen(wanted)
    if wanted.list or not cases:
        print("\n".join(case.name for case in (cases or CASES)))
        return 0 if wanted.list else 2
    folder = Path(tempfile.mkdtemp(prefix="bench-throughput-", dir=wanted.folder))
    try:
        facts, results = run(wanted, cases, folder)
    except (RabbitMissing, JavaMissingError) as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print(report(cases, results))
    if wanted.json:
        wanted.json.write_text(json.dumps({"machine": facts, "runs": results}, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    ending.run(main, sys.argv[1:])
