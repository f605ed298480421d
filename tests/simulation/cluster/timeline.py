"""A history as people read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TextIO

from simulation.cluster.world import Outcome

ROUTINE: Final = re.compile(r"(wrote|synced|checked|told of) batch|checked while idle|asked for the reserve")
NEAR_S: Final = 0.05
"""Routine is told only so near to a fault."""
LAST: Final = 25
"""And among the last lines."""


def tell(outcome: Outcome, out: TextIO) -> None:
    """Print faults, takeovers and what clients saw, in order."""
    plan = outcome.plan
    print(
        f"{plan.brokers} brokers, {len(plan.producers)} producers, {len(plan.consumers)} consumers; "
        + ("small indexes are carried over" if plan.carries else "epochs are sealed"),
        file=out,
    )
    for fault in plan.faults:
        print(f"fault: {fault}", file=out)
    for line in lines(outcome):
        print(line, file=out)
    print(f"BROKEN: {outcome.violation}" if outcome.violation else "nothing was broken", file=out)


def lines(outcome: Outcome) -> Iterator[str]:
    """The lines worth reading."""
    entries = outcome.timeline
    faults = [time_s for time_s, who, _ in entries if who == "FAULT"]
    skipped = 0
    for index, (time_s, who, text) in enumerate(entries):
        is_near = any(abs(time_s - fault_s) <= NEAR_S for fault_s in faults)
        if ROUTINE.match(text) and not is_near and index < len(entries) - LAST:
            skipped += 1
            continue
        if skipped:
            yield f"            …      ({skipped} steps of routine)"
            skipped = 0
        yield f"{time_s:10.4f} s {who:>6}  {text}"
