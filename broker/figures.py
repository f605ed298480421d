"""What a broker shows of itself to whoever draws curves: gathered at once, without a lock, in its thread.

Gathering only reads; what is read here was counted anyway. How it becomes metrics is another question, see
`fabric.metrics.broker`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.admission import Refusals
from broker.management.lists import Lists
from broker.policies import INDIVIDUAL_DEAD_LETTERS, NO_DEAD_LETTERS
from broker.ranking import Counters, Ranking, counters_of
from broker.region.queue import Queue
from broker.region.statistics import total
from journal.tally import SECONDS_BOUNDS, Histogram

if TYPE_CHECKING:
    from broker.management.model import BrokerInfo
    from broker.region.region import Region
    from broker.region.topic import Topic
    from journal.journal import Journal
    from journal.tally import Tally

REST = ""
"""Name and kind of the destinations that have no figures of their own."""


@dataclass(frozen=True, slots=True)
class DestinationFigures:
    """One destination, or the rest of them.

    Attributes:
        name: without its kind; `REST` for the rest.
        kind: `queue` or `topic`; likewise.
        messages: that a queue holds.
        in_flight: of these, or of a topic's, those at consumers.
        counters: in the order of `broker.ranking.COUNTERS`.
    """

    name: str
    kind: str
    messages: int
    in_flight: int
    consumers: int
    producers: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class JournalFigures:
    """The journal of a master.

    Attributes:
        epoch: of the mastership.
        live_bytes: of the records of live messages.
        store_bytes: about what the store takes of its disk.
        full: whether the disk is full.
        lost_messages: given up, since they are damaged.
        tally: what was done.
    """

    epoch: int
    live_bytes: int
    store_bytes: int
    full: bool
    lost_messages: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class MasterFigures:
    """A broker that serves.

    Attributes:
        info: it as a whole.
        total: counters of all destinations.
        dead_letters: messages that were given up and written as dead letters.
        dead_messages: that wait in dead letter queues.
        repeats_dropped: sends that were stored before, and sent again after a failover.
        destinations: those with figures of their own, the rest at the end.
        journal: its store.
        refusals: of addresses that took too much.
    """

    info: BrokerInfo
    total: Counters
    dead_letters: int
    dead_messages: int
    repeats_dropped: int
    destinations: Sequence[DestinationFigures]
    journal: JournalFigures
    refusals: Refusals = field(default_factory=Refusals)


@dataclass(frozen=True, slots=True)
class TakeoverFigures:
    """The takeovers of one broker in one process.

    Attributes:
        done: those that came to an end.
        failed: those that did not.
        seconds: until the znode was published.
        last_s: the phases of the last one, by their names.
    """

    done: int = 0
    failed: int = 0
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS_BOUNDS))
    last_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrokerFigures:
    """One broker of a container.

    Attributes:
        name: as configured.
        group: its group.
        role: as in the election.
        takeovers: that it has done.
        master: what it serves; None: it does not.
    """

    name: str
    group: str
    role: str
    takeovers: TakeoverFigures
    master: MasterFigures | None


def gather(
    region: Region,
    journal: Journal,
    ranking: Ranking,
    destinations_max: int,
    refusals: Refusals | None = None,
) -> MasterFigures:
    """Look at everything once."""
    all_counters = counters_of(total(region))
    targets = region.targets.values()
    ranked = ranking.look(targets, all_counters, destinations_max, region.now_ms)
    shown = [_figures(each, region) for each in ranked.shown]
    info = Lists(region).broker(jobs=0)
    return MasterFigures(
        info=info,
        total=all_counters,
        dead_letters=region.dead_letters.count,
        dead_messages=_dead_messages(targets),
        repeats_dropped=region.repeats_dropped,
        destinations=[*shown, _rest(targets, region, info.messages, shown, ranked.rest)],
        journal=JournalFigures(
            epoch=journal.epoch,
            live_bytes=journal.live_bytes,
            store_bytes=journal.store_bytes,
            full=journal.full,
            lost_messages=journal.lost_messages,
            tally=journal.tally.copy(),
        ),
        refusals=refusals or Refusals(),
    )


def _figures(target: Queue | Topic, region: Region) -> DestinationFigures:
    is_queue = isinstance(target, Queue)
    return DestinationFigures(
        name=target.destination.name,
        kind="queue" if is_queue else "topic",
        messages=target.size if isinstance(target, Queue) else 0,
        in_flight=target.in_flight,
        consumers=len(target.consumers),
        producers=region.producers.get(target.destination, 0),
        counters=counters_of(target.statistics),
    )


def _rest(
    targets: Iterable[Queue | Topic],
    region: Region,
    messages: int,
    shown: Sequence[DestinationFigures],
    counters: Counters,
) -> DestinationFigures:
    """What is left of everything: `messages` are in all queues."""
    used = [each for each in targets if each.consumers]  # the others have nothing in flight
    consumers = sum(len(each.consumers) for each in used)
    in_flight = sum(each.in_flight for each in used)
    return DestinationFigures(
        name=REST,
        kind=REST,
        messages=messages - sum(each.messages for each in shown),
        in_flight=in_flight - sum(each.in_flight for each in shown),
        consumers=consumers - sum(each.consumers for each in shown),
        producers=sum(region.producers.values()) - sum(each.producers for each in shown),
        counters=counters,
    )


def _dead_messages(targets: Iterable[Queue | Topic]) -> int:
    """Messages in the queues that the destinations' policies make dead letters of."""
    policies = {id(each.policy): each.policy for each in targets}.values()
    shared: set[str] = set()
    prefixes: set[str] = set()
    for policy in policies:
        if policy.dead_letter_strategy == INDIVIDUAL_DEAD_LETTERS:
            prefixes.update((policy.dead_letter_queue_prefix, policy.dead_letter_topic_prefix))
        elif policy.dead_letter_strategy != NO_DEAD_LETTERS:
            shared.add(policy.dead_letter_queue.removeprefix("queue://"))
    beginnings = tuple(prefixes - {""})
    return sum(
        each.size
        for each in targets
        if isinstance(each, Queue)
        and (each.destination.name in shared or each.destination.name.startswith(beginnings))
    )
