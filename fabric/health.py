"""What is wrong in a fabric now: a pure function of what is known, in sentences, each with its remedy.

    registry, brokers' figures, ZooKeeper's servers  ->  Snapshot  ->  findings

Whoever shows it gathers the snapshot; nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from fabric.ensemble_health import ServerHealth
from fabric.mq_status import (
    NOBODY,
    TOO_FEW,
    TOO_MANY,
    BrokerGroup,
    BrokerProfile,
    BrokerStatus,
    containers_to_create,
    free_container_name,
    instances_state,
)
from fabric.records import ERROR, SUCCESS, ContainerRecord, DesiredState
from fabric.requirements import Requirements

if TYPE_CHECKING:
    from broker.management.model import ConsumerInfo, LevelInfo, QueueInfo, TopicInfo, UsageInfo

PROBLEM, WARNING, NOTE = "problem", "warning", "note"
"""What does not work; what may soon not, or less well; what is good to know. Notes are not counted."""
_ORDER: Final = (PROBLEM, WARNING, NOTE)

USAGE_PERCENT_MAX: Final = 80
"""Of a limit, from where it is worth a look: there is time to act before producers wait."""
ROUND_TRIP_MS_MAX: Final = 500.0
"""For one question to ZooKeeper: beyond it changes of the fabric are noticed late."""
OUTSTANDING_MAX: Final = 1_000
"""Requests that wait in one ZooKeeper server, as its own limit `globalOutstandingLimit`."""
CLOCKS_APART_S_MAX: Final = 5.0
"""Between two hosts: expiry and delays of messages are off by as much."""
_DEAD_LETTERS: Final = "ActiveMQ.DLQ"
_DEAD_PREFIXES: Final = (f"{_DEAD_LETTERS}.", "DLQ.")
STANDSTILL_S_MIN: Final = 4.0
"""So long a consumer must have taken nothing to be called slow."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        id: the same as long as it is the same thing.
        severity: `problem`, `warning` or `note`.
        what: a sentence.
        remedy: what to do about it.
        link: the page of the console about it.
        label: what the link leads to.
    """

    id: str
    severity: str
    what: str
    remedy: str
    link: str
    label: str


@dataclass(frozen=True, slots=True)
class BrokerFigures:
    """What a broker's master said.

    Attributes:
        at_s: when, monotonic.
        usage: None if it was not told.
        queues: by name; topics likewise.
        problem: why it said nothing; empty: it did.
    """

    at_s: float
    usage: UsageInfo | None = None
    queues: Mapping[str, QueueInfo] = field(default_factory=dict)
    topics: Mapping[str, TopicInfo] = field(default_factory=dict)
    consumers: tuple[ConsumerInfo, ...] = ()
    problem: str = ""


BrokerKey = tuple[str, str]
"""Group and name."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that findings come from.

    Attributes:
        groups: brokers of all versions that are in use.
        figures: of masters.
        before: the same some time ago, for what grows.
        servers: what ZooKeeper's servers answered.
        connected: this process holds a session with ZooKeeper.
        round_trip_ms: what a question to ZooKeeper took; null: none was asked.
        clocks_s: of hosts, how far they are ahead of ZooKeeper's; those that are known.
    """

    containers: tuple[ContainerRecord, ...] = ()
    requirements: Requirements = field(default_factory=Requirements)
    groups: tuple[BrokerGroup, ...] = ()
    figures: Mapping[BrokerKey, BrokerFigures] = field(default_factory=dict)
    before: Mapping[BrokerKey, BrokerFigures] = field(default_factory=dict)
    servers: tuple[ServerHealth, ...] = ()
    connected: bool = True
    round_trip_ms: float | None = None
    clocks_s: Mapping[str, float] = field(default_factory=dict)


def findings(snapshot: Snapshot) -> list[Finding]:
    """What is wrong, the worst first."""
    found = [finding for rule in _RULES for finding in rule(snapshot)]
    return sorted(found, key=lambda finding: (_ORDER.index(finding.severity), finding.id))


def counted(found: list[Finding]) -> int:
    """How many of them ask for something to be done."""
    return sum(finding.severity != NOTE for finding in found)


# ---- containers


def _containers_down(snapshot: Snapshot) -> Iterator[Finding]:
    by_id = {record.id: record for record in snapshot.containers}
    for record in snapshot.containers:
        if record.connected or record.desired is not DesiredState.STARTED:
            continue
        parent = by_id.get(record.parent or "")
        fresh = not record.provision.result
        what = f"Container {record.id} " + ("has not come up yet." if fresh else "is down, and should run.")
        if record.parent is None:
            remedy = f"On its host: fabric container-start {record.id}"
        elif parent is None or not parent.connected:
            remedy = f"Container {record.parent}, which runs it, is down: start that first."
        else:
            remedy = "Its parent starts it again by itself; its log says why it ended."
        yield _of_container("down", WARNING if fresh else PROBLEM, record, what, remedy)


def _containers_in_error(snapshot: Snapshot) -> Iterator[Finding]:
    for record in snapshot.containers:
        if not record.connected or not record.provision.exception:
            continue
        first = record.provision.exception.splitlines()[0]
        if record.provision.result == ERROR:
            what = f"Container {record.id} is not what its profiles ask for: {_sentence(first)}"
            remedy = "Correct the profile that asks for it, or take it from the container."
            yield _of_container("error", PROBLEM, record, what, remedy)
        elif record.provision.result == SUCCESS:
            what = f"Container {record.id} runs, but not all of it: {_sentence(first)}"
            yield _of_container("incomplete", WARNING, record, what, "Its page says what is incomplete.")


def _of_container(kind: str, severity: str, record: ContainerRecord, what: str, remedy: str) -> Finding:
    link = f"/containers/{_part(record.id)}"
    return Finding(f"container-{kind}:{record.id}", severity, what, remedy, link, f"Container {record.id}")


# ---- required instances


def _instances(snapshot: Snapshot) -> Iterator[Finding]:
    told = {profile.id for profile in _profiles(snapshot) if _tells_of_brokers(profile)}
    for needs in snapshot.requirements.profiles:
        having = [record for record in snapshot.containers if needs.profile in record.profiles]
        running = sum(record.connected for record in having)
        low, high = needs.minimum_instances, needs.maximum_instances
        state = instances_state(running, low, high)
        if state == TOO_MANY:
            yield Finding(
                f"instances:{needs.profile}",
                WARNING,
                f"Profile {needs.profile} is run by {running} containers, and {high} at most should.",
                "Stop some of them, or raise the maximum.",
                _profile_link(snapshot, needs.profile),
                f"Profile {needs.profile}",
            )
        elif state in (TOO_FEW, NOBODY) and needs.profile not in told:
            yield Finding(
                f"instances:{needs.profile}",
                PROBLEM if state == NOBODY else WARNING,
                f"Profile {needs.profile} is run by {running} of {low} required containers.",
                "Start those that are down, create further ones, or lower the requirement.",
                _profile_link(snapshot, needs.profile),
                f"Profile {needs.profile}",
            )


def _profiles(snapshot: Snapshot) -> Iterator[BrokerProfile]:
    return (profile for group in snapshot.groups for profile in group.profiles)


def _tells_of_brokers(profile: BrokerProfile) -> bool:
    """Whether the rules below say that containers lack."""
    return any(_lacks_containers(profile, broker) or _lacks_slave(broker) for broker in profile.brokers)


def _profile_link(snapshot: Snapshot, profile: str) -> str:
    version = next((one.version for one in snapshot.containers if profile in one.profiles), "")
    return f"/profiles/{_part(version)}/{_part(profile)}" if version else "/profiles"


# ---- brokers


def _lacks_containers(profile: BrokerProfile, broker: BrokerStatus) -> bool:
    return bool(profile.minimum) and not any(each.connected for each in broker.containers)


def _lacks_slave(broker: BrokerStatus) -> bool:
    return bool(broker.master) and not broker.alone and not broker.slaves


def _brokers(snapshot: Snapshot) -> Iterator[Finding]:
    taken = [record.id for record in snapshot.containers]
    parent = next((one.id for one in snapshot.containers if one.connected and one.parent is None), "")
    for profile in _profiles(snapshot):
        link = create_link(profile, parent, taken)
        for broker in profile.brokers:
            if _lacks_containers(profile, broker):
                yield Finding(
                    f"broker-nobody:{broker.group}/{broker.name}",
                    PROBLEM,
                    f"Nobody runs broker {broker.name} of group {broker.group}; "
                    f"{profile.minimum} containers should.",
                    f"Create containers with the profile {profile.id}, or start those that have it.",
                    link,
                    "Create containers",
                )
            elif _lacks_slave(broker):
                yield Finding(
                    f"broker-no-slave:{broker.group}/{broker.name}",
                    WARNING,
                    f"Broker {broker.name} of group {broker.group} has a master, {broker.master}, and no "
                    "slave: if the master fails, nobody takes over.",
                    f"Create a further container with the profile {profile.id}, or start one that has it.",
                    link,
                    "Create a container",
                )
            elif not broker.master and any(each.connected for each in broker.containers):
                yield _of_broker(
                    "no-master",
                    PROBLEM,
                    (broker.group, broker.name),
                    f"Broker {broker.name} of group {broker.group} has no master: nobody serves its clients.",
                    f"The logs of {_list(each.id for each in broker.containers if each.connected)} say why "
                    "none of them takes over.",
                )


def create_link(profile: BrokerProfile, parent: str, taken: list[str]) -> str:
    """The page that creates the containers a broker's profile lacks, filled in."""
    name = profile.brokers[0].name if profile.brokers else profile.id
    fields = {
        "profile": profile.id,
        "version": profile.version,
        "parent": parent,
        "name": free_container_name(name, taken),
        "number": str(containers_to_create(profile)),
    }
    return f"/containers/new?{urlencode(fields)}"


def broker_link(key: BrokerKey) -> str:
    """The page of a broker."""
    return f"/mq/{_part(key[0])}/{_part(key[1])}"


def _of_broker(  # noqa: PLR0917 - the finding's fields, in their order
    kind: str, severity: str, key: BrokerKey, what: str, remedy: str, below: str = ""
) -> Finding:
    return Finding(
        f"broker-{kind}:{key[0]}/{key[1]}{below}",
        severity,
        what,
        remedy,
        broker_link(key) + below,
        f"Broker {key[1]}",
    )


# ---- what masters said


def _silent(snapshot: Snapshot) -> Iterator[Finding]:
    for key, figures in snapshot.figures.items():
        if figures.problem:
            yield _of_broker(
                "silent",
                NOTE,
                key,
                f"Broker {key[1]} does not tell how it is: {_sentence(figures.problem)}",
                "What it holds and who uses it is not looked at here.",
            )


def _spaces(usage: UsageInfo) -> tuple[tuple[str, LevelInfo, str, str], ...]:
    """Each with its name, and what to do when it is used up."""
    return (
        ("store", usage.store, "The store", "Consume or purge messages, or raise its limit, storeUsage."),
        ("memory", usage.memory, "Memory", "Add consumers, or raise the limit, memoryUsage."),
        ("temp", usage.temp, "Temporary storage", "Consume messages, or raise the limit, tempUsage."),
    )


def _usage(snapshot: Snapshot) -> Iterator[Finding]:
    for key, figures in snapshot.figures.items():
        usage = figures.usage
        if usage is None:
            continue
        for name, level, words, remedy in _spaces(usage):
            percent = level.percent
            if percent > USAGE_PERCENT_MAX:
                severity = PROBLEM if percent >= 100 else WARNING
                what = f"{words} of broker {key[1]} is used to {percent} %."
                yield _of_broker(f"usage-{name}", severity, key, what, remedy)
        if usage.disk_full:
            yield _of_broker(
                "disk-full",
                PROBLEM,
                key,
                f"The disk with the messages of broker {key[1]} is full: persistent messages are not taken.",
                "Make space on it; the broker goes on by itself.",
            )
        if usage.blocked_sends:
            yield _of_broker(
                "blocked",
                PROBLEM,
                key,
                f"{usage.blocked_sends} sends of {usage.blocked_connections} connections to broker {key[1]} "
                f"wait for space. {_sentence(usage.problem)}".rstrip(),
                "Consume or purge messages, or raise the limit that is reached.",
            )


def _dead_letters(snapshot: Snapshot) -> Iterator[Finding]:
    for key, figures, before in _with_before(snapshot):
        for name, queue in figures.queues.items():
            if not is_dead_letters(name):
                continue
            then = before.queues.get(name)
            grown = queue.size - (then.size if then else 0)
            if grown > 0:
                yield _of_broker(
                    "dead-letters",
                    WARNING,
                    key,
                    f"{name} of broker {key[1]} has grown by {grown} to {queue.size} messages within "
                    f"{_time(figures.at_s - before.at_s)}.",
                    "Look at what its messages have in common; when the cause is mended, retry them.",
                    f"/queues/{_part(name)}",
                )


def is_dead_letters(queue: str) -> bool:
    """Whether a queue takes, by the usual policies, what could not be delivered."""
    return queue == _DEAD_LETTERS or queue.startswith(_DEAD_PREFIXES)


def _slow_consumers(snapshot: Snapshot) -> Iterator[Finding]:
    for key, figures, before in _with_before(snapshot):
        if figures.at_s - before.at_s < STANDSTILL_S_MIN:
            continue
        full_before = {one.id for one in before.consumers if _is_full(one)}
        for name, queue in figures.queues.items():
            then = before.queues.get(name)
            stood_still = then is not None and then.counters.dequeued == queue.counters.dequeued
            if not stood_still or not queue.waiting:
                continue
            slow = [
                one
                for one in figures.consumers
                if one.destination == f"queue://{name}" and _is_full(one) and one.id in full_before
            ]
            if slow:
                yield _of_broker(
                    "slow",
                    WARNING,
                    key,
                    f"{_count(len(slow), 'consumer')} of queue {name} of broker {key[1]} "
                    f"{'has' if len(slow) == 1 else 'have'} as many messages as they take at a time, and "
                    f"nothing was acknowledged for {_time(figures.at_s - before.at_s)}.",
                    f"Look at the clients {_list(sorted({_client(one) for one in slow}))}.",
                    f"/queues/{_part(name)}",
                )
        for name, topic in figures.topics.items():
            discarded = topic.counters.discarded - before.topics.get(name, topic).counters.discarded
            if discarded > 0:
                yield _of_broker(
                    "discarded",
                    WARNING,
                    key,
                    f"{_count(discarded, 'message')} of topic {name} of broker {key[1]} "
                    f"{'was' if discarded == 1 else 'were'} discarded within "
                    f"{_time(figures.at_s - before.at_s)}: subscribers are too slow.",
                    "Make them faster, or let more messages wait for them: pendingMessageLimitStrategy.",
                    "/topics",
                )


def _with_before(snapshot: Snapshot) -> Iterator[tuple[BrokerKey, BrokerFigures, BrokerFigures]]:
    """Masters that answered now and some time ago, since when their counters have not begun anew."""
    for key, figures in snapshot.figures.items():
        before = snapshot.before.get(key)
        if before is not None and not figures.problem and not before.problem:
            yield key, figures, before


def _is_full(consumer: ConsumerInfo) -> bool:
    return 0 < consumer.prefetch <= consumer.in_flight


def _client(consumer: ConsumerInfo) -> str:
    return consumer.client_id or consumer.connection


# ---- ZooKeeper and hosts


def _zookeeper(snapshot: Snapshot) -> Iterator[Finding]:
    def finding(kind: str, severity: str, what: str, remedy: str) -> Finding:
        return Finding(f"zookeeper-{kind}", severity, what, remedy, "/registry", "Registry")

    servers = snapshot.servers
    silent = [server for server in servers if not server.mode and not refuses(server)]
    if not snapshot.connected:
        yield finding(
            "lost",
            PROBLEM,
            "This console has no connection to ZooKeeper: what it shows may be out of date.",
            "Brokers and clients go on; see whether ZooKeeper's servers run.",
        )
    if silent and 2 * len(silent) >= len(servers):
        yield finding(
            "quorum",
            PROBLEM,
            f"ZooKeeper has no majority: {_list(server.address for server in silent)} of "
            f"{_count(len(servers), 'server')} do not serve.",
            "Nothing in the fabric can change, and no slave can take over: start them.",
        )
    else:
        for server in silent:
            yield finding(
                f"server:{server.address}",
                WARNING,
                f"ZooKeeper's server {server.address} does not serve. {_sentence(server.problem)}",
                "Start it: the fewer there are, the fewer may fail.",
            )
    for server in servers:
        if server.outstanding > OUTSTANDING_MAX:
            yield finding(
                f"outstanding:{server.address}",
                WARNING,
                f"{server.outstanding} requests wait in ZooKeeper's server {server.address}.",
                "Its disk may be too slow; give its log a disk of its own.",
            )
    if snapshot.round_trip_ms is not None and snapshot.round_trip_ms > ROUND_TRIP_MS_MAX:
        yield finding(
            "slow",
            WARNING,
            f"ZooKeeper took {snapshot.round_trip_ms:.0f} ms for an answer.",
            "Its disk, the network or this host is too busy; takeovers are slow while it is so.",
        )


def refuses(server: ServerHealth) -> bool:
    """Whether a server is there and must not tell how it is, by its `4lw.commands.whitelist`."""
    return not server.mode and "is not executed" in server.problem


def _clocks(snapshot: Snapshot) -> Iterator[Finding]:
    if len(snapshot.clocks_s) < 2:
        return
    first = min(snapshot.clocks_s, key=lambda host: snapshot.clocks_s[host])
    last = max(snapshot.clocks_s, key=lambda host: snapshot.clocks_s[host])
    apart = snapshot.clocks_s[last] - snapshot.clocks_s[first]
    if apart > CLOCKS_APART_S_MAX:
        yield Finding(
            "clocks",
            WARNING,
            f"The clocks of the hosts {first} and {last} are {_time(apart)} apart: messages expire and are "
            "due at other times on each.",
            "Let both follow the same time server.",
            "/containers",
            "Containers",
        )


_RULES: Final[tuple[Callable[[Snapshot], Iterator[Finding]], ...]] = (
    _containers_down,
    _containers_in_error,
    _instances,
    _brokers,
    _silent,
    _usage,
    _dead_letters,
    _slow_consumers,
    _zookeeper,
    _clocks,
)


# ---- words


def _part(text: str) -> str:
    return quote(text, safe="")


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
