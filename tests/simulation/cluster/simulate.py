"""`./dev simulate`: many histories, one after the other, and what the failing ones have in common: little.

A failing history is made as small as it gets and told as a timeline, with the Python that lives it again.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, TextIO

from simulation.cluster.bugs import BUGS, planted
from simulation.cluster.minimise import TRIES_MAX, minimised
from simulation.cluster.plan import Plan, plan_of
from simulation.cluster.timeline import tell
from simulation.cluster.world import Outcome, live

SEEDS_AT_ONCE: Final = 50
"""Given to one process at a time."""
TOLD_MAX: Final = 3
"""Failing histories that are made smaller and told."""
LISTED_MAX: Final = 20
"""Failing seeds that are named."""
PROGRESS_S: Final = 5.0
PROGRESS_LOGGED_S: Final = 60.0
"""The same where nobody looks on."""


def main(arguments: list[str], out: TextIO, err: TextIO) -> int:
    """Run; returns the exit status: 0 all promises kept, 1 not, 2 a planted bug was not found."""
    options = _parser().parse_args(arguments)
    logging.disable(logging.CRITICAL)
    first, last = options.seeds
    began_s = time.monotonic()
    failures: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    done = 0
    told_s = began_s
    for seeds, violations, counted in _results(first, last, options.jobs, options.bug):
        done += seeds
        failures += violations
        counts.update(counted)
        now_s = time.monotonic()
        if now_s - told_s >= (PROGRESS_S if err.isatty() else PROGRESS_LOGGED_S):
            told_s = now_s
            rate = done / (now_s - began_s)
            left_s = (last - first + 1 - done) / rate
            print(
                f"{done} of {last - first + 1} histories, {rate:.0f} a second, {len(failures)} failed, "
                f"{left_s:.0f} s to go",
                file=err,
                flush=True,
            )
        if options.bug and failures:
            break
    took_s = time.monotonic() - began_s
    print(
        f"{done} histories of the seeds {first}..{last} in {took_s:.0f} s, {done / took_s:.0f} a second",
        file=out,
    )
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())), file=out)
    for seed, violation in sorted(failures)[:LISTED_MAX]:
        print(f"seed {seed}: {violation}", file=out)
    if len(failures) > LISTED_MAX:
        print(f"and {len(failures) - LISTED_MAX} more", file=out)
    with planted(options.bug):
        for seed, _ in sorted(failures)[: 1 if options.bug else TOLD_MAX]:
            _tell(plan_of(seed), options.tries, out)
    print(f"{len(failures)} of {done} histories broke a promise", file=out)
    if options.bug:
        return 0 if failures else 2
    return 1 if failures else 0


def _tell(plan: Plan, tries: int, out: TextIO) -> None:
    smaller = minimised(plan, tries=tries) if tries else plan
    print(f"\n---- seed {plan.seed}{', made smaller' if tries else ''}", file=out)
    print(repr(smaller), file=out)
    tell(live(smaller, is_recorded=True), out)


def _results(
    first: int, last: int, jobs: int, bug: str
) -> Iterator[tuple[int, list[tuple[int, str]], dict[str, int]]]:
    """What came of the seeds, some at a time."""
    parts = [
        (start, min(start + SEEDS_AT_ONCE - 1, last), bug) for start in range(first, last + 1, SEEDS_AT_ONCE)
    ]
    if jobs <= 1:
        yield from map(_live_some, parts)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap_unordered(_live_some, parts)


def _live_some(part: tuple[int, int, str]) -> tuple[int, list[tuple[int, str]], dict[str, int]]:
    first, last, bug = part
    logging.disable(logging.CRITICAL)
    violations: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    with planted(bug):
        for seed in range(first, last + 1):
            outcome: Outcome = live(plan_of(seed))
            counts.update(outcome.counts)
            if outcome.violation:
                violations.append((seed, outcome.violation))
    return last - first + 1, violations, dict(counts)


def _seeds(text: str) -> tuple[int, int]:
    first, dots, last = text.partition("..")
    try:
        seeds = int(first), int(last if dots else first)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a seed nor of the form A..B") from None
    if seeds[0] > seeds[1]:
        raise argparse.ArgumentTypeError(f"{text!r} has no seed in it")
    return seeds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev simulate",
        description="Live histories of whole clusters in virtual time; tell those that break a promise.",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=(0, 1999), metavar="A..B", help="which; default 0..1999"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; default 1")
    parser.add_argument(
        "--bug", choices=list(BUGS), default="", metavar="NAME", help=f"plant one of: {', '.join(BUGS)}"
    )
    parser.add_argument(
        "--tries",
        type=int,
        default=TRIES_MAX,
        metavar="N",
        help=f"histories lived to make a failing one smaller, 0: tell it as it is; default {TRIES_MAX}",
    )
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], sys.stdout, sys.stderr))
    except KeyboardInterrupt:
        sys.exit(130)
