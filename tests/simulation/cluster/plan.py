"""What happens in one history: who takes part, what they do, and what goes wrong when. Made of a seed.

A plan is data: `minimise` takes things out of it, and it is printed as Python that runs again. Everybody's
own random numbers come from the seed and their name, so that leaving one out changes little for the others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

TROUBLE_S: Final = 6.0
"""After so long nothing goes wrong any more, and what is broken is repaired."""


@dataclass(frozen=True)
class ProducerPlan:
    """Attributes: messages to send; how many unanswered at most; seconds between two sends."""

    queue: str = "q0"
    messages: int = 8
    window: int = 1
    pause_s: float = 0.3


@dataclass(frozen=True)
class ConsumerPlan:
    """Attributes: messages sent ahead to it; how many it acknowledges together; seconds it works on each."""

    queue: str = "q0"
    prefetch_size: int = 10
    together: int = 1
    work_s: float = 0.01


@dataclass(frozen=True)
class Fault:
    """Something goes wrong, at a time or when somebody has done a step for the n-th time.

    Attributes:
        kind: see `faults.FAULTS`.
        target: who; ``master`` is whoever serves then.
        at_s: when, if no step is named; then: how long after it.
        step: beginning of what the step says.
        count: the how many'th such step of the target, or of any broker.
        for_s: for how long, if it passes.
        other: from whom it is cut off.
    """

    kind: str
    target: str
    at_s: float = 0.0
    step: str = ""
    count: int = 1
    for_s: float = 0.0
    other: str = ""

    def __str__(self) -> str:
        """One line."""
        when = f"at {self.at_s:.3f} s"
        if self.step:
            later = f", {self.at_s:.3f} s later" if self.at_s else ""
            when = f"when {self.target} has '{self.step}' for the {self.count}. time{later}"
        who = f"{self.target} and {self.other}" if self.other else self.target
        return f"{self.kind} {who} {when}" + (f", for {self.for_s:.3f} s" if self.for_s else "")


@dataclass(frozen=True)
class Plan:
    """One history."""

    seed: int
    brokers: int = 2
    producers: tuple[ProducerPlan, ...] = (ProducerPlan(),)
    consumers: tuple[ConsumerPlan, ...] = (ConsumerPlan(),)
    faults: tuple[Fault, ...] = ()
    carries: bool = True
    is_fast_disk: bool = False
    sector_bytes: int = 512


STEPS: Final = (
    "read claims",
    "created claim",
    "created live",
    "synced the directory",
    "found no higher claim",
    "removed live",
    "listed the data files",
    "read the beginning",
    "created data",
    "wrote batch",
    "wrote batch",
    "wrote batch",
    "synced batch",
    "synced batch",
    "checked batch",
    "checked batch",
    "told of batch",
    "read batch",
)
"""Where a broker is worth stopping."""
DISK_CALLS: Final = (
    "disk names",
    "disk create",
    "disk remove",
    "disk sync_directory",
    "disk opens",
    "disk create_data",
    "disk read",
    "disk write",
    "disk sync",
    "disk note",
)


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(f"plan {seed}")
    brokers = rng.choice((2, 2, 3))
    queues = rng.choice((1, 1, 2))
    producers = tuple(
        ProducerPlan(
            queue=f"q{index % queues}",
            messages=rng.choice((4, 8, 12)),
            window=rng.choice((1, 1, 4)),
            pause_s=rng.choice((0.05, 0.2, 0.4)),
        )
        for index in range(max(queues, rng.choice((1, 2))))
    )
    consumers = tuple(
        ConsumerPlan(
            queue=f"q{index % queues}",
            prefetch_size=rng.choice((1, 3, 100)),
            together=rng.choice((1, 1, 3)),
            work_s=rng.choice((0.001, 0.02, 0.2)),
        )
        for index in range(max(queues, rng.choice((1, 1, 2))))
    )
    faults = tuple(_fault(rng, brokers) for _ in range(rng.choice((0, 1, 2, 3, 4, 6))))
    return Plan(
        seed,
        brokers,
        producers,
        consumers,
        faults,
        carries=rng.random() < 0.3,
        is_fast_disk=rng.random() < 0.2,
        sector_bytes=rng.choice((64, 512)),
    )


def _fault(rng: random.Random, brokers: int) -> Fault:
    target = rng.choice(("master", "master", f"b{rng.randrange(brokers)}"))
    kind = rng.choice(("kill", "kill", "host", "pause", "pause", "pause", "power"))
    for_s = rng.choice((0.0, 0.1, 0.4)) + rng.random()
    if kind == "pause":
        for_s = rng.choice((0.01, 0.3, 2.0, 3.0)) * (0.5 + rng.random())
    if rng.random() < 0.3:
        return Fault(kind, target, at_s=rng.random() * TROUBLE_S * 0.8, for_s=for_s)
    step = rng.choice(STEPS if rng.random() < 0.7 else DISK_CALLS)
    count = rng.choice((1, 2, 3, 5, 8, 12)) if "batch" in step or "disk" in step else rng.choice((1, 1, 2, 3))
    return Fault(kind, target, step=step, count=count, for_s=for_s)
