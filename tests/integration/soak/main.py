"""A bounded soak: ``./dev soak --rounds 200 --seed 1``.

A fabric of real processes, a root container and two brokers on one store, on a small disk of its own; clients
of every kind; and round after round one or two random faults. After each round the fabric has one master,
messages flow, and everything that was acknowledged has arrived as promised. The seed says what happens; the
moment at which it hits is the machine's.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from integration.soak.accounts import Totals
from integration.soak.faults import Faults
from integration.soak.health import (
    CLIENTS,
    DiskUse,
    Growth,
    bad_lines_of,
    disk_use,
    left_over,
    look_at,
)
from integration.soak.plan import Kind, Round, plan_round
from integration.soak.rig import Rig
from integration.soak.traffic import Traffic
from perf.statistics_of_runs import machine, percentile, table
from support.waiting import wait_until

from fabric.lab import CommandFailed
from mqclient.errors import ClientError
from registry.errors import ServerNotStarted

LOOK_AT_DISK_EVERY = 10
DISK_TIMEOUT_S = 20.0


def say(text: str) -> None:
    """Tell whoever waits; only the summary goes to standard output."""
    print(text, file=sys.stderr, flush=True)


class Soak:
    """All rounds, and what they found.

    Attributes:
        violations: every promise that was broken, in words.
    """

    def __init__(self, rig: Rig, traffic: Traffic) -> None:
        self._rig = rig
        self._traffic = traffic
        self._faults = Faults(rig, traffic)
        self._growth = Growth()
        self._kinds: Counter[Kind] = Counter()
        self._seconds: list[float] = []
        self._disk_max = 0
        self._disk = ""
        self._told = 0
        self.violations: list[str] = []

    def run(self, rounds: Sequence[Round]) -> None:
        """Carry out all rounds, then receive everything.

        Raises:
            AssertionError: the fabric did not recover, or a message did not arrive in time.
            RuntimeError: a client has failed.
        """
        self._traffic.start()
        self._traffic.flows()
        for one in rounds:
            began = time.monotonic()
            self._carry_out(one)
            self._seconds.append(time.monotonic() - began)
            say(f"{one.number:4d}  {self._seconds[-1]:5.1f} s  {one}")
            self._tell_violations()
        self._traffic.settle(gathers=True)
        self._look_at_disk()
        self._traffic.gather_anchors()

    def _carry_out(self, one: Round) -> None:
        """One round: it begins and ends with a whole fabric through which messages flow."""
        self._traffic.drop_anchor()
        self._traffic.resume()
        self._traffic.flows(1)
        self._faults.carry_out(one)
        self._rig.wait_settled()
        self._traffic.flows()
        self._traffic.settle(gathers=one.gathers)
        self._kinds.update(fault.kind for fault in (one.first, one.second) if fault is not None)
        self._growth.note([*self._rig.processes(), (CLIENTS, os.getpid())])
        self._disk_max = max(self._disk_max, self._rig.disk.used_bytes)
        if one.number % LOOK_AT_DISK_EVERY == 0:
            self._look_at_disk()

    def _look_at_disk(self) -> None:
        """The store must come within its bound by itself, though nobody sends."""
        use = DiskUse(0, {}, 0)

        def within() -> bool:
            nonlocal use
            use = disk_use(self._rig.store, look_at(self._rig.store))
            return use.data <= use.bound

        try:
            wait_until(within, DISK_TIMEOUT_S)
        except AssertionError:
            self.violations.append(f"disk: {use.in_full()}")
        self._disk = str(use)

    def finish(self) -> None:
        """After the fabric was stopped: look at what it left."""
        self.violations += left_over(look_at(self._rig.store))
        for log in self._rig.logs():
            self.violations += bad_lines_of(log)
        self.violations += self._growth.judge()
        self.violations += self._traffic.violations() + self._faults.violations
        if self._traffic.reports:
            self.violations += self._traffic.reports[:20]

    def _tell_violations(self) -> None:
        found = self._traffic.violations() + self._faults.violations + self.violations
        for text in found[self._told :]:
            say(f"      VIOLATION: {text}")
        self._told = len(found)

    def summary(self) -> str:
        """What happened, and what it came to."""
        seen = [*self._traffic.accounts.values()]
        rows = [self._row(account.name, account.totals()) for account in seen]
        rows.append(self._row("all", self._traffic.totals()))
        headings = ["account", "acknowledged", "received", "again", "refused", "in doubt", "lost"]
        kinds = ", ".join(f"{kind.value} {self._kinds[kind]}" for kind in Kind)
        notes = ", ".join(f"{what} {count}" for what, count in sorted(self._faults.notes.items()))
        return "\n\n".join(
            [
                f"Faults: {kinds}." + (f" Disk full: {notes}." if notes else ""),
                f"Seconds per round: {percentile(self._seconds, 50):.1f} (50 %),"
                f" {percentile(self._seconds, 99):.1f} (99 %), {sum(self._seconds):.0f} in all.",
                table(headings, rows),
                table(["process", "rounds", "resident", "descriptors", "threads"], [*self._growth.rows()]),
                f"Disk ({self._rig.disk.kind}): {self._disk}; at most {self._disk_max / 2**20:.0f} MiB"
                " were taken after a round.",
            ]
        )

    def _row(self, name: str, totals: Totals) -> list[str]:
        return [
            name,
            *(
                str(count)
                for count in (
                    totals.acknowledged,
                    totals.received,
                    totals.again,
                    totals.refused,
                    totals.in_doubt,
                    totals.lost,
                )
            ),
        ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./dev soak", description="Random faults on real processes; everything acknowledged must arrive."
    )
    add = parser.add_argument
    add("--rounds", type=int, default=20, help="how many rounds (20)")
    add("--seed", type=int, default=1, help="says what happens in each round (1)")
    add("--first", type=int, default=1, metavar="N", help="begin with round N of that seed (1)")
    add("--containers", type=int, default=2, help="broker containers, a master and slaves (2)")
    add("--only", choices=[kind.name.lower() for kind in Kind], help="every round begins with this fault")
    add("--folder", type=Path, help="where the fabric lies (a temporary folder)")
    add("--keep", action="store_true", help="leave logs and store behind also when all went well")
    add("--plan", action="store_true", help="only say what would happen")
    return parser.parse_args(arguments)


def planned(wanted: argparse.Namespace, *, can_fill: bool) -> list[Round]:
    """The rounds that were asked for."""
    kind = Kind[wanted.only.upper()] if wanted.only else None
    numbers = range(wanted.first, wanted.first + wanted.rounds)
    return [plan_round(wanted.seed, number, can_fill=can_fill, kind=kind) for number in numbers]


def soak(rig: Rig, rounds: Sequence[Round]) -> tuple[list[str], str]:
    """Run on a fabric that is whole; stops it. Returns the violations and the summary."""
    traffic = Traffic(rig.connect)
    run = Soak(rig, traffic)
    failure = ""
    try:
        run.run(rounds)
    except (AssertionError, RuntimeError, CommandFailed, ClientError, ServerNotStarted) as error:
        failure = f"{error} {error.__cause__ or ''}".strip()
    finally:
        traffic.stop()
        rig.end_containers()
    run.finish()
    return [*([failure] if failure else []), *run.violations], run.summary()


def main(arguments: Sequence[str]) -> int:
    """Set up, soak, print, clean up."""
    wanted = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # clean up then, too
    if wanted.plan:
        for one in planned(wanted, can_fill=True):
            print(f"{one.number:4d}  {one}")
        return 0
    # A client's warnings of each lost connection are what a soak is made of, not news.
    for name in ("mqclient", "registry"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=wanted.folder))
    rig = Rig(folder, wanted.containers)
    violations = ["the soak did not end"]
    try:
        rig.start()
        if not rig.disk.mounted:
            say("No file system can be mounted here (run as root for that): the disk is never filled.")
        violations, summary = soak(rig, planned(wanted, can_fill=rig.disk.mounted))
        facts = machine(folder)
    except CommandFailed as failure:
        say(str(failure))
        return 1
    finally:
        kept = _clean_up(rig, keep=wanted.keep or bool(violations))
    facts |= {"seed": str(wanted.seed), "rounds": str(wanted.rounds), "containers": str(wanted.containers)}
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print(summary)
    print(f"\nViolations: {len(violations)}.")
    for text in violations:
        print(f"  {text}")
    if kept:
        print(f"\nLogs and store: {kept}")
    return 1 if violations else 0


def _clean_up(rig: Rig, *, keep: bool) -> Path | None:
    """End everything; returns where logs and store were kept."""
    kept = rig.folder.with_name(f"{rig.folder.name}-kept") if keep else None
    if kept is not None:
        rig.keep(kept)
    rig.stop()
    shutil.rmtree(rig.folder, ignore_errors=True)
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
