"""What happens in one history: who takes part, what they do, and what goes wrong when. Made of a seed.

A plan is data: `minimise` takes things out of it, and it is printed as Python that runs again. Everybody's
own random numbers come from the seed and their name, so that leaving one out changes little for the others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

TROUBLE_S: Final = 5.0
"""After so long nothing goes wrong any more, and what is broken is repaired."""


@dataclass(frozen=True)
class ProducerPlan:
    """Attributes: messages to send; how many unanswered at most; seconds between two sends; see below.

    What is called a queue is a topic if its name begins with a t.
    """

    queue: str = "q0"
    messages: int = 8
    window: int = 1
    pause_s: float = 0.3
    discovers: bool = False
    """It finds its brokers in ZooKeeper, instead of trying those it was told."""
    transaction: int = 0
    """So many messages are sent in a transaction; 0: each by itself."""
    priorities: tuple[int, ...] = ()
    """Of its messages, chosen by chance; none: all have the normal one."""
    lives_s: float = 0.0
    """Half of its messages expire after so many seconds; 0: none does."""
    delay_s: float = 0.0
    """Half of its messages are to be delivered so many seconds later, or half as many; 0: none is."""


@dataclass(frozen=True)
class ConsumerPlan:
    """Attributes: messages sent ahead to it; how many it acknowledges together; seconds it works on each.

    The consumer of a topic has a durable subscription of its own.
    """

    queue: str = "q0"
    prefetch_size: int = 10
    together: int = 1
    work_s: float = 0.01
    discovers: bool = False
    returns: int = 0
    """So often it gives back what it has not acknowledged, and begins anew."""


@dataclass(frozen=True)
class Fault:
    """Something goes wrong, at a time or when somebody has done a step for the n-th time.

    Attributes:
        kind: see `faults.FAULTS`.
        target: who; ``master`` is whoever serves or takes over then, ``heir`` who takes over from another.
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
    store_bytes: int = 0
    """Above so many bytes of live messages producers wait; 0: never."""


TAKEOVER_STEPS: Final = (
    "read claims",
    "created claim",
    "created claim",
    "created live",
    "synced the directory",
    "found no higher claim",
    "removed live",
    "listed the data files",
    "read the beginning",
    "read batch",
    "created data",
    "checked batch 1",
    "noted data file",
    "trimmed",
    "removed data",
)
COMMIT_STEPS: Final = (
    "wrote batch",
    "wrote batch",
    "wrote batch",
    "synced batch",
    "synced batch",
    "checked batch",
    "told of batch",
)
UPKEEP_STEPS: Final = (
    "created checkpoint",
    "synced checkpoint",
    "listed the store",
    "removed data",
    "removed checkpoint",
    "measured the data files",
    "handed records over",
)
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
    "disk trim",
    "disk allocate",
)
HEIR_STEPS: Final = (*["disk remove"] * 6, "listed the data", "read batch", "disk read")
LONG_S: Final = (1.3, 1.8, 2.6)
"""Longer than a session lasts: meanwhile another takes over."""
PASSING: Final = (
    "kill",
    "host",
    "power",
    "stop",
    "pause",
    "stall",
    "cut",
    "outage",
    "full",
    "slow",
    "repeat",
)


def plan_of(seed: int) -> Plan:
    """The plan of a seed: most of them a chain of faults that belong together, and any others."""
    rng = random.Random(f"plan {seed}")
    brokers = rng.choice((2, 2, 3))
    queues = rng.choice((1, 1, 2))
    chain = rng.choice(CHAINS) if rng.random() < 0.75 else None
    is_busy, is_slow = chain in BUSY, chain in SLOW
    producers = tuple(
        ProducerPlan(
            queue=f"q{index % queues}",
            messages=10 if is_busy else rng.choice((4, 6, 8)),
            window=rng.choice((1, 1, 4)),
            pause_s=rng.choice((0.25, 0.4) if is_busy else (0.05, 0.2, 0.3)),
            discovers=rng.random() < 0.25,
        )
        for index in range(max(queues, rng.choice((1, 2))))
    )
    consumers = tuple(
        ConsumerPlan(
            queue=f"q{index % queues}",
            prefetch_size=rng.choice((3, 100) if is_slow else (1, 3, 100)),
            together=rng.choice((1, 1, 3)),
            work_s=rng.choice((0.15,) if is_slow else (0.001, 0.05, 0.15)),
            discovers=rng.random() < 0.25,
        )
        for index in range(max(queues, 1 if is_slow else rng.choice((1, 1, 2))))
    )
    if random.Random(f"plan {seed} transactions").random() < 0.15:
        producers = (replace(producers[0], transaction=2 + seed % 3), *producers[1:])
    producers, consumers = _some_gather(random.Random(f"plan {seed} runs"), producers, consumers)
    consumers = _some_return(random.Random(f"plan {seed} returns"), consumers)
    names = [f"b{index}" for index in range(brokers)]
    clients = [f"p{index}" for index in range(len(producers))]
    clients += [f"c{index}" for index in range(len(consumers))]
    faults = [] if chain is None else chain(rng)
    for _ in range(rng.choice((0, 1, 2, 3, 4) if chain is None else (0, 0, 1, 1, 2))):
        faults.append(_anything(rng, names, clients))
    news, readers = _topic(random.Random(f"plan {seed} topics"))
    producers, consumers = _some_rank(random.Random(f"plan {seed} priorities"), producers, consumers)
    news, readers = _some_rank(random.Random(f"plan {seed} priorities of topics"), news, readers)
    producers = _some_wait(random.Random(f"plan {seed} times"), producers)
    plan = Plan(
        seed,
        brokers,
        producers + news,
        consumers + readers,
        tuple(faults),
        carries=rng.random() < 0.3,
        is_fast_disk=rng.random() < 0.2,
        sector_bytes=64 if chain is _torn else rng.choice((64, 512)),
        store_bytes=rng.choice((1500, 3000)) if rng.random() < 0.15 else 0,
    )
    if any(each.lives_s for each in producers):
        return replace(plan, store_bytes=0)  # nobody takes dead letters out
    return plan


def _some_gather(
    rng: random.Random, producers: tuple[ProducerPlan, ...], consumers: tuple[ConsumerPlan, ...]
) -> tuple[tuple[ProducerPlan, ...], tuple[ConsumerPlan, ...]]:
    """In some histories so much is sent, and acknowledged, together that the journal takes it as runs."""
    if rng.random() >= 0.1:
        return producers, consumers
    size = rng.choice((4, 6, 12))
    first = replace(producers[0], messages=12, transaction=size)
    return (first, *producers[1:]), (replace(consumers[0], prefetch_size=100, together=size), *consumers[1:])


def _some_return(rng: random.Random, consumers: tuple[ConsumerPlan, ...]) -> tuple[ConsumerPlan, ...]:
    """In some histories a consumer gives messages back."""
    if rng.random() < 0.15:
        return (replace(consumers[0], returns=rng.choice((1, 4))), *consumers[1:])
    return consumers


def _some_rank(
    rng: random.Random, producers: tuple[ProducerPlan, ...], consumers: tuple[ConsumerPlan, ...]
) -> tuple[tuple[ProducerPlan, ...], tuple[ConsumerPlan, ...]]:
    """In some histories priorities differ, and consumers are slow and ask for one message at a time."""
    if rng.random() >= 0.2:
        return producers, consumers
    return (
        tuple(replace(each, priorities=(1, 4, 9)) for each in producers),
        tuple(replace(each, prefetch_size=1, together=1, work_s=0.15) for each in consumers),
    )


def _some_wait(rng: random.Random, producers: tuple[ProducerPlan, ...]) -> tuple[ProducerPlan, ...]:
    """In some histories messages expire, or are to be delivered later."""
    kind, times = rng.random(), {}
    if kind < 0.12:
        times = {"lives_s": rng.choice((0.05, 0.5, 1.5))}
    elif kind < 0.24:
        times = {"delay_s": rng.choice((0.1, 1.0, 2.5))}
    return tuple(each if each.transaction else replace(each, **times) for each in producers)


def _topic(rng: random.Random) -> tuple[tuple[ProducerPlan, ...], tuple[ConsumerPlan, ...]]:
    """In some histories there is a topic, too: who sends there, and who has subscribed to it."""
    if rng.random() >= 0.2:
        return (), ()
    producer = ProducerPlan("t0", rng.choice((4, 8)), rng.choice((1, 4)), rng.choice((0.1, 0.3)))
    readers = tuple(
        ConsumerPlan(
            "t0",
            prefetch_size=rng.choice((1, 100)),
            together=rng.choice((1, 3)),
            work_s=rng.choice((0.001, 0.15)),
            returns=rng.choice((0, 0, 3)),
        )
        for _ in range(rng.choice((1, 2)))
    )
    return (producer,), readers


def _anything(rng: random.Random, brokers: list[str], clients: list[str]) -> Fault:
    """Some fault at some moment."""
    kind = rng.choice((*PASSING, *PASSING, "reset", "expire", "forget", "deaf"))
    target, other, for_s = rng.choice(("master", "master", *brokers)), "", rng.random()
    if kind in ("pause", "stall"):
        for_s = rng.choice((0.01, 0.3, 2.0, 3.0)) * (0.5 + rng.random())
        if rng.random() < 0.2:
            target = rng.choice(clients)
    elif kind in ("cut", "slow", "reset"):
        target, other = rng.choice((*brokers, *brokers, *clients)), rng.choice(("zk", *clients))
        if target in clients:
            other = "zk"
        for_s = (
            rng.choice((0.2, 1.0, 3.0)) * (0.5 + rng.random()) if kind != "slow" else rng.choice((0.05, 0.5))
        )
    elif kind in ("full", "outage", "repeat"):
        for_s = rng.choice((0.3, 1.0, 2.5))
    if target in clients or rng.random() < 0.3:
        return Fault(kind, target, at_s=rng.random() * TROUBLE_S * 0.7, for_s=for_s, other=other)
    step, count = _step(rng)
    return Fault(kind, target, step=step, count=count, for_s=for_s, other=other)


def _step(rng: random.Random) -> tuple[str, int]:
    """Some step of a broker."""
    which = rng.random()
    if which < 0.3:
        return rng.choice(TAKEOVER_STEPS), rng.choice((1, 1, 2, 3))
    if which < 0.7:
        return rng.choice(COMMIT_STEPS), rng.randint(2, 14)
    if which < 0.8:
        return rng.choice(UPKEEP_STEPS), rng.choice((1, 1, 2))
    return rng.choice(DISK_CALLS), rng.choice((1, 2, 3, 5, 8, 12, 20))


def _ending(rng: random.Random) -> list[Fault]:
    """The successor dies, too, so that a third master reads what two have left."""
    if rng.random() < 0.3:
        return []
    kind = rng.choice(("kill", "host", "power", "stop", "expire"))
    return [Fault(kind, "master", at_s=2.0 + 1.5 * rng.random(), for_s=rng.random())]


def _zombie(rng: random.Random) -> list[Fault]:
    """A master sleeps in the middle of a batch until another has taken its place."""
    count = rng.randint(2, 8)
    sleep = Fault("pause", "master", step=rng.choice(COMMIT_STEPS), count=count, for_s=rng.choice(LONG_S))
    return [sleep, *_ending(rng)]


def _zombie_with_a_write(rng: random.Random) -> list[Fault]:
    """The same, with a batch that is written and not yet synced."""
    count = rng.randint(3, 8)
    return [
        Fault("pause", "master", step="wrote batch", count=count, for_s=rng.choice(LONG_S)),
        *_ending(rng),
    ]


def _late_token(rng: random.Random) -> list[Fault]:
    """Who has claimed an epoch sleeps, and makes its token when a higher one already serves."""
    count = rng.choice((1, 1, 2))
    faults = [Fault("pause", "master", step="created claim", count=count, for_s=rng.choice(LONG_S))]
    if count > 1:
        faults.append(Fault("kill", "master", at_s=0.3 + 0.3 * rng.random(), for_s=0.2))
    return [*faults, *_ending(rng)]


def _sleepy_heir(rng: random.Random) -> list[Fault]:
    """Who takes over sleeps in the middle of that until a third has done it, too."""
    step = rng.choice(TAKEOVER_STEPS[:9])
    return [
        Fault("pause", "master", step=step, count=rng.choice((1, 1, 2)), for_s=rng.choice(LONG_S)),
        Fault(rng.choice(("kill", "expire")), "master", at_s=0.5 + 0.5 * rng.random(), for_s=0.2),
        *_ending(rng),
    ]


def _unaware(rng: random.Random) -> list[Fault]:
    """A master is cut off from ZooKeeper and goes on, while its successor takes its time over a step."""
    step = rng.choice(HEIR_STEPS)
    return [
        Fault("cut", "master", at_s=0.05 + 0.2 * rng.random(), for_s=3.0, other="zk"),
        Fault("pause", "heir", step=step, count=rng.choice((1, 2, 2, 2)), for_s=0.3 + 0.4 * rng.random()),
        *_ending(rng),
    ]


def _torn(rng: random.Random) -> list[Fault]:
    """A host dies with a batch on its way to the disk, and later everything else."""
    died = Fault(
        rng.choice(("host", "kill")), "master", step="wrote batch", count=rng.randint(3, 10), for_s=0.5
    )
    return [died, Fault("power", "master", at_s=1.5 + rng.random(), for_s=0.2), *_ending(rng)]


def _unanswered(rng: random.Random) -> list[Fault]:
    """Sends are stored, and their producers never hear of it."""
    step = rng.choice(("synced batch", "checked batch", "told of batch"))
    kind = rng.choice(("kill", "reset", "host"))
    faults = [
        Fault(kind, "master", step=step, count=count, for_s=0.4, other="p0" if kind == "reset" else "")
        for count in (rng.randint(2, 5), rng.randint(6, 12))
    ]
    return faults + _ending(rng)


def _nervous_consumer(rng: random.Random) -> list[Fault]:
    """A consumer loses its connection again and again, and is given anew what it has not acknowledged."""
    times = sorted(rng.random() for _ in range(rng.choice((2, 4))))
    return [Fault("reset", "master", at_s=0.05 + time_s, other="c0") for time_s in times]


def _flipped(rng: random.Random) -> list[Fault]:
    """A bit changes somewhere, and later somebody has to read it."""
    flip = Fault("flip", "zk", at_s=0.3 + 1.2 * rng.random())
    return [
        flip,
        Fault(rng.choice(("kill", "host", "expire", "power")), "master", at_s=1.6, for_s=0.1),
        *_ending(rng),
    ]


def _any_call(rng: random.Random) -> list[Fault]:
    """The end comes before some call of the files seam, whichever it is."""
    kind = rng.choice(("kill", "host", "power"))
    return [
        Fault(kind, "master", step="disk", count=count, for_s=rng.random())
        for count in (rng.randint(1, 60), rng.randint(60, 200))
    ]


def _short_of_space(rng: random.Random) -> list[Fault]:
    """The disk is full while masters change."""
    full = Fault("full", "zk", at_s=0.2 + rng.random(), for_s=1.0 + 2 * rng.random())
    return [full, Fault(rng.choice(("kill", "host", "expire")), "master", at_s=1.0 + rng.random(), for_s=0.3)]


def _hurried_upkeep(rng: random.Random) -> list[Fault]:
    """A master dies, or sleeps too long, in the middle of a checkpoint, a removal or a move."""
    kind = rng.choice(("kill", "host", "power", "pause", "stall"))
    for_s = rng.choice(LONG_S) if kind in ("pause", "stall") else rng.random()
    return [
        Fault(kind, "master", step=rng.choice(UPKEEP_STEPS), count=rng.choice((1, 1, 2)), for_s=for_s),
        *_ending(rng),
    ]


BUSY: Final = (_zombie, _zombie_with_a_write, _unaware, _torn)
"""Chains that matter only while producers send."""
SLOW: Final = (_nervous_consumer, _flipped, _hurried_upkeep)
"""Chains that matter only while much waits to be consumed."""
CHAINS: Final = (
    _zombie,
    _zombie_with_a_write,
    _zombie_with_a_write,
    _late_token,
    _sleepy_heir,
    _unaware,
    _unaware,
    _nervous_consumer,
    _nervous_consumer,
    _torn,
    _torn,
    _flipped,
    _unanswered,
    _any_call,
    _short_of_space,
    _hurried_upkeep,
)
