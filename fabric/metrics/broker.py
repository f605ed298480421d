"""A broker's figures under the names of its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.admission import NO_RATE, NO_SHARE
from broker.ranking import COUNTERS
from fabric.metrics.model import Figures, Kind, Metric, Total
from registry.roles import Role

if TYPE_CHECKING:
    from broker.figures import BrokerFigures, DestinationFigures, JournalFigures, MasterFigures
    from broker.management.model import BrokerInfo

_OF_BROKER: Final = ("group", "broker")
_OF_USAGE: Final = (*_OF_BROKER, "kind")
_OF_DESTINATION: Final = (*_OF_BROKER, "destination", "kind")

METRICS: Final[list[Metric]] = []
"""All of them, in the order of the reference."""


def _metric(name: str, kind: Kind, meaning: str, labels: tuple[str, ...] = _OF_BROKER) -> Metric:
    metric = Metric(name, kind, meaning, labels)
    METRICS.append(metric)
    return metric


# The election.

ROLE = _metric(
    "broker_role",
    Kind.GAUGE,
    "1 for the broker's present role in the election, 0 for the others.",
    (*_OF_BROKER, "role"),
)
TAKEOVERS = _metric(
    "broker_takeovers", Kind.COUNTER, "Takeovers of this container's broker that made it the master."
)
TAKEOVER_FAILURES = _metric(
    "broker_takeover_failures", Kind.COUNTER, "Takeovers that came to nothing: no port, no store, fenced."
)
TAKEOVER_SECONDS = _metric(
    "broker_takeover_seconds", Kind.HISTOGRAM, "From the election to the published address."
)
TAKEOVER_PHASE_SECONDS = _metric(
    "broker_last_takeover_phase_seconds",
    Kind.GAUGE,
    "When the last takeover reached each phase, from its election on.",
    (*_OF_BROKER, "phase"),
)

# The master as a whole.

STARTED = _metric(
    "broker_started_timestamp_seconds", Kind.GAUGE, "When this master began, seconds since 1970."
)
CONNECTIONS = _metric("broker_connections", Kind.GAUGE, "Connected clients.")
REFUSED = _metric(
    "broker_connections_refused",
    Kind.COUNTER,
    "Connections closed at once since their address took too much, by `reason`.",
    (*_OF_BROKER, "reason"),
)
LOGINS_REFUSED = _metric(
    "broker_logins_refused", Kind.COUNTER, "Logins answered unchecked after too many wrong passwords."
)
CONSUMERS = _metric("broker_consumers", Kind.GAUGE, "Consumers of all clients.")
PRODUCERS = _metric("broker_producers", Kind.GAUGE, "Producers of all clients.")
DESTINATIONS = _metric(
    "broker_destinations", Kind.GAUGE, "Destinations, by `queue`, `topic` or `temporary`.", _OF_USAGE
)
SUBSCRIPTIONS = _metric("broker_durable_subscriptions", Kind.GAUGE, "Durable subscriptions, active or not.")
MESSAGES = _metric("broker_messages", Kind.GAUGE, "Messages in all queues, those at consumers included.")
USAGE = _metric(
    "broker_usage_bytes", Kind.GAUGE, "What messages take, of `store`, `memory` or `temp`.", _OF_USAGE
)
USAGE_LIMIT = _metric("broker_usage_limit_bytes", Kind.GAUGE, "What they may take.", _OF_USAGE)
BLOCKED_SENDS = _metric("broker_blocked_sends", Kind.GAUGE, "Sends that wait for space.")
DEAD_LETTERS = _metric(
    "broker_dead_letters", Kind.COUNTER, "Messages given up and written as dead letters, by this master."
)
DEAD_MESSAGES = _metric("broker_dead_letter_messages", Kind.GAUGE, "Messages in dead letter queues now.")
REPEATS = _metric(
    "broker_repeats_dropped",
    Kind.COUNTER,
    "Sends repeated after a failover that were stored already, and so were dropped.",
)
_BROKER_COUNTERS: Final = {
    "enqueued": _metric("broker_messages_enqueued", Kind.COUNTER, "Messages sent, to any destination."),
    "enqueued_bytes": _metric("broker_enqueued_bytes", Kind.COUNTER, "Bytes of these, as they were sent."),
    "dispatched": _metric("broker_messages_dispatched", Kind.COUNTER, "Messages given to consumers."),
    "dequeued": _metric("broker_messages_dequeued", Kind.COUNTER, "Messages done with."),
    "expired": _metric("broker_messages_expired", Kind.COUNTER, "Messages whose time was over."),
    "discarded": _metric(
        "broker_messages_discarded", Kind.COUNTER, "Messages that slow subscribers did not take in time."
    ),
}

# Its destinations.

DEPTH = _metric("destination_messages", Kind.GAUGE, "Messages in a queue.", _OF_DESTINATION)
IN_FLIGHT = _metric(
    "destination_in_flight_messages",
    Kind.GAUGE,
    "Messages at consumers, not acknowledged.",
    _OF_DESTINATION,
)
DESTINATION_CONSUMERS = _metric("destination_consumers", Kind.GAUGE, "Its consumers.", _OF_DESTINATION)
DESTINATION_PRODUCERS = _metric("destination_producers", Kind.GAUGE, "Its producers.", _OF_DESTINATION)
_DESTINATION_COUNTERS: Final = {
    name: _metric(f"destination_{metric.name.removeprefix('broker_')}", Kind.COUNTER, text, _OF_DESTINATION)
    for (name, metric), text in zip(
        _BROKER_COUNTERS.items(),
        (
            "Messages sent to it.",
            "Bytes of these, as they were sent.",
            "Messages given to consumers, each time again if they were given back.",
            "Messages done with: acknowledged, expired, moved to dead letters.",
            "Messages whose time was over.",
            "Messages that slow subscribers did not take in time.",
        ),
        strict=True,
    )
}
WAIT_SECONDS = _metric(
    "destination_wait_seconds", Kind.SUMMARY, "From a message's arrival to its dispatch.", _OF_DESTINATION
)

# Its journal.

EPOCH = _metric("journal_epoch", Kind.GAUGE, "Number of this mastership of the store.")
LIVE_BYTES = _metric("journal_live_bytes", Kind.GAUGE, "Bytes of the records of live messages.")
STORE_BYTES = _metric("journal_store_bytes", Kind.GAUGE, "About what the store takes of its disk.")
DISK_FULL = _metric("journal_disk_full", Kind.GAUGE, "1 while the disk of the store is full.")
LOST = _metric(
    "journal_lost_messages", Kind.COUNTER, "Live messages given up, since their records are damaged."
)
BATCH_RECORDS = _metric("journal_batch_records", Kind.HISTOGRAM, "Records of a batch; each has one sync.")
WRITTEN = _metric("journal_written_bytes", Kind.COUNTER, "Bytes of the records of all batches.")
SYNC_SECONDS = _metric("journal_sync_seconds", Kind.HISTOGRAM, "How long a write with its sync took.")
COMMIT_SECONDS = _metric(
    "journal_commit_seconds", Kind.HISTOGRAM, "How long a batch took: write, sync and fence check."
)
CHECKPOINTS = _metric("journal_checkpoints", Kind.COUNTER, "Checkpoints written.")
COMPACTED = _metric(
    "journal_compacted_files", Kind.COUNTER, "Data files whose live records were moved forward."
)
MOVED = _metric("journal_compacted_bytes", Kind.COUNTER, "Bytes of these records.")
REMOVED = _metric("journal_removed_files", Kind.COUNTER, "Files that nobody needed any more.")


def broker_figures(broker: BrokerFigures, container: str) -> Figures:
    """Everything about one broker; of a slave only its role and its takeovers."""
    figures = Figures(container)
    key = (broker.group, broker.name)
    for role in Role:
        figures.add(ROLE, float(role.value == broker.role), *key, role.value.replace(" ", "_"))
    takeovers = broker.takeovers
    figures.add(TAKEOVERS, takeovers.done, *key)
    figures.add(TAKEOVER_FAILURES, takeovers.failed, *key)
    figures.add(TAKEOVER_SECONDS, takeovers.seconds, *key)
    for phase, seconds in takeovers.last_s.items():
        figures.add(TAKEOVER_PHASE_SECONDS, seconds, *key, phase)
    if broker.master is not None:
        _add_master(figures, broker.master, *key)
    return figures


def _add_master(figures: Figures, master: MasterFigures, *key: str) -> None:
    _add_info(figures, master.info, *key)
    for reason in (NO_SHARE, NO_RATE):
        figures.add(REFUSED, master.refusals.connections.get(reason, 0), *key, reason)
    figures.add(LOGINS_REFUSED, master.refusals.logins, *key)
    figures.add(DEAD_LETTERS, master.dead_letters, *key)
    figures.add(DEAD_MESSAGES, master.dead_messages, *key)
    figures.add(REPEATS, master.repeats_dropped, *key)
    counted = dict(zip(COUNTERS, master.total, strict=True))
    for name, metric in _BROKER_COUNTERS.items():
        figures.add(metric, counted[name], *key)
    for destination in master.destinations:
        _add_destination(figures, destination, *key)
    _add_journal(figures, master.journal, *key)


def _add_info(figures: Figures, info: BrokerInfo, *key: str) -> None:
    figures.add(STARTED, info.started / 1000, *key)
    figures.add(CONNECTIONS, info.connections, *key)
    figures.add(CONSUMERS, info.consumers, *key)
    figures.add(PRODUCERS, info.producers, *key)
    for kind, count in (("queue", info.queues), ("topic", info.topics), ("temporary", info.temporary)):
        figures.add(DESTINATIONS, count, *key, kind)
    figures.add(SUBSCRIPTIONS, info.subscriptions, *key)
    figures.add(MESSAGES, info.messages, *key)
    usage = info.usage
    for kind, level in (("store", usage.store), ("memory", usage.memory), ("temp", usage.temp)):
        figures.add(USAGE, level.used, *key, kind)
        figures.add(USAGE_LIMIT, level.limit, *key, kind)
    figures.add(BLOCKED_SENDS, usage.blocked_sends, *key)


def _add_destination(figures: Figures, destination: DestinationFigures, *key: str) -> None:
    place = (*key, destination.name, destination.kind)
    figures.add(DEPTH, destination.messages, *place)
    figures.add(IN_FLIGHT, destination.in_flight, *place)
    figures.add(DESTINATION_CONSUMERS, destination.consumers, *place)
    figures.add(DESTINATION_PRODUCERS, destination.producers, *place)
    counted = dict(zip(COUNTERS, destination.counters, strict=True))
    for name, metric in _DESTINATION_COUNTERS.items():
        figures.add(metric, counted[name], *place)
    figures.add(WAIT_SECONDS, Total(counted["timed"], counted["wait_ms_sum"] / 1000), *place)


def _add_journal(figures: Figures, journal: JournalFigures, *key: str) -> None:
    tally = journal.tally
    for metric, value in (
        (EPOCH, journal.epoch),
        (LIVE_BYTES, journal.live_bytes),
        (STORE_BYTES, journal.store_bytes),
        (DISK_FULL, int(journal.full)),
        (LOST, journal.lost_messages),
        (BATCH_RECORDS, tally.records),
        (WRITTEN, tally.bytes),
        (SYNC_SECONDS, tally.sync_s),
        (COMMIT_SECONDS, tally.commit_s),
        (CHECKPOINTS, tally.checkpoints),
        (COMPACTED, tally.files_compacted),
        (MOVED, tally.moved_bytes),
        (REMOVED, tally.files_removed),
    ):
        figures.add(metric, value, *key)
