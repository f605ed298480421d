"""Random faults over a lab of hosts, bounded in time: ``./dev docker faults --minutes 10 --seed 1``.

Prints a table of what each fault cost, and what the checker says of the history of all clients. The seed says
what happens; the moment at which it hits is the machine's.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from faults.check import told
from faults.hosts import CommandFailed
from faults.lab import NamespaceLab, end_folder
from faults.nfs_lab import NFS_KINDS, PAST_LEASE_S, NfsLab
from faults.plan import Kind, Round, random_rounds, suite
from faults.rounds import Run, report, say
from perf import ending


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./dev docker faults", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="begin no round after so long (5)")
    parser.add_argument(
        "--seed", type=int, default=None, help="which faults, and how long they last (the time)"
    )
    parser.add_argument(
        "--suite", action="store_true", help="each fault once, in order, instead of random ones"
    )
    parser.add_argument(
        "--fault",
        action="append",
        choices=[kind.name.lower() for kind in Kind],
        help="only this one; may be given several times",
    )
    parser.add_argument(
        "--nfs", action="store_true", help="the store on NFS, the brokers in virtual machines"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the folder with logs, store and history behind"
    )
    return parser.parse_args(arguments)


def rounds_of(wanted: argparse.Namespace, seed: int) -> Iterator[Round]:
    """The rounds that are asked for; without end unless it is the suite."""
    possible = NFS_KINDS if wanted.nfs else tuple(Kind)
    kinds = tuple(Kind[name.upper()] for name in wanted.fault or ()) or possible
    rounds = (one for one in suite() if one.kind in kinds) if wanted.suite else random_rounds(seed, kinds)
    for one in rounds:
        past_lease = wanted.nfs and one.kind is Kind.PAUSE
        yield replace(one, hold_s=max(one.hold_s, PAST_LEASE_S)) if past_lease else one


def carry_out(run: Run, rounds: Iterator[Round], minutes: float) -> list[str]:
    """Rounds until the time is up; what was wrong in them."""
    problems = []
    until = time.monotonic() + minutes * 60
    for one in rounds:
        if time.monotonic() > until:
            break
        began = time.monotonic()
        result = run.carry_out(one)
        took_s = time.monotonic() - began
        say(f"{one.number:4d}  {took_s:5.1f} s  {one}: {result.gap_s:.2f} s without an answer")
        problems += [f"round {one.number}, {one}: {problem}" for problem in result.problems]
        for problem in result.problems:
            say(f"      {problem}")
    return problems


def main(arguments: Sequence[str]) -> int:
    """Set up, strike, check, clean up."""
    wanted = parse(arguments)
    seed = int(time.time()) if wanted.seed is None else wanted.seed
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    lab = NfsLab(folder) if wanted.nfs else NamespaceLab(folder)
    run: Run | None = None
    say(f"seed {seed}")
    try:
        lab.start()
        run = Run(lab)
        problems = carry_out(run, rounds_of(wanted, seed), wanted.minutes)
        breaches = run.finish(folder / "history.jsonl")
        expired = lab.expired_leases() if isinstance(lab, NfsLab) else 0
    except (AssertionError, CommandFailed) as failure:
        say(f"{failure}\n{lab.logs()}")
        return 1
    finally:
        if run is not None:
            run.stop()
        lab.stop()
        if wanted.keep:
            say(f"kept: {folder}")
        else:
            end_folder(folder)
    print(report(run.results))
    print(f"\n{run.summary}")
    if isinstance(lab, NfsLab):
        print(f"The server's log speaks of expired leases {expired} times.")
    print(told(breaches) or "No promise was broken.")
    print("\n".join(problems))
    return 1 if breaches or problems else 0


if __name__ == "__main__":
    ending.run(main, sys.argv[1:])
