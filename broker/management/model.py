"""What management tells: plain values only, so that `dataclasses.asdict` of any of these is JSON.

Times are milliseconds since the epoch. Counters count since `since`, which the start of this master is unless
they were set back later; what there *is* (messages, consumers, …) is as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from broker.conversion import Json

T = TypeVar("T")

Plain: TypeAlias = Json


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list.

    Attributes:
        items: in their order.
        total: how many there are in all that were asked for; -1: nobody has counted.
        next: `after` of the request for the following page; empty: there is none.
    """

    items: list[T]
    total: int
    next: str


@dataclass(frozen=True, slots=True)
class LevelInfo:
    """How much of a limit is used."""

    used: int
    limit: int
    percent: int


@dataclass(frozen=True, slots=True)
class UsageInfo:
    """What messages take.

    Attributes:
        store: bytes of persistent messages in the journal.
        memory: bytes of messages in memory.
        temp: bytes of temporary files.
        disk_full: the journal's disk is.
        blocked_sends: sends that wait for space.
        blocked_connections: connections that made them.
        problem: what lacks, in words; empty: nothing.
    """

    store: LevelInfo
    memory: LevelInfo
    temp: LevelInfo
    disk_full: bool
    blocked_sends: int
    blocked_connections: int
    problem: str


@dataclass(frozen=True, slots=True)
class CounterInfo:
    """What has happened at a destination, or at all; see `broker.region.statistics.Statistics`."""

    since: int
    enqueued: int
    dequeued: int
    dispatched: int
    expired: int
    discarded: int
    wait_ms_average: float
    wait_ms_max: int


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    """One broker, the master."""

    name: str
    group: str
    version: str
    started: int
    services: list[str]
    connections: int
    consumers: int
    producers: int
    queues: int
    topics: int
    temporary: int
    subscriptions: int
    messages: int
    counters: CounterInfo
    usage: UsageInfo
    jobs: int


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One queue.

    Attributes:
        size: messages it holds: `waiting` and `in_flight` together.
        in_flight: at consumers, not acknowledged.
    """

    name: str
    temporary: bool
    paused: bool
    size: int
    waiting: int
    in_flight: int
    consumers: int
    producers: int
    counters: CounterInfo


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic.

    Attributes:
        subscriptions: durable ones, active or not.
        consumers: of durable subscriptions and others.
    """

    name: str
    temporary: bool
    in_flight: int
    subscriptions: int
    consumers: int
    producers: int
    counters: CounterInfo


@dataclass(frozen=True, slots=True)
class SubscriptionInfo:
    """One durable subscription.

    Attributes:
        client_id: empty: it is shared by clients of any id.
        topic: a topic, a wildcard, or several of these.
        away_since: since when it has had no consumer; 0: it has one.
        pending: messages that wait for it.
        in_flight: at its consumers, not acknowledged.
        connections: of its consumers; empty: it is not active.
    """

    client_id: str
    name: str
    topic: str
    selector: str
    no_local: bool
    shared: bool
    active: bool
    away_since: int
    pending: int
    in_flight: int
    connections: list[str]


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One client's connection."""

    id: str
    client_id: str
    user: str
    remote: str
    since: int
    consumers: int
    producers: int
    transactions: int
    in_flight: int
    blocked_sends: int


@dataclass(frozen=True, slots=True)
class ConsumerInfo:
    """One consumer.

    Attributes:
        subscription: name of the durable subscription it takes from; empty: none.
        in_flight: dispatched to it and not acknowledged.
    """

    id: str
    connection: str
    client_id: str
    destination: str
    selector: str
    prefetch: int
    in_flight: int
    priority: int
    exclusive: bool
    browser: bool
    no_local: bool
    subscription: str


@dataclass(frozen=True, slots=True)
class ProducerInfo:
    """One producer; `destination` is empty if each of its sends names one."""

    id: str
    connection: str
    client_id: str
    destination: str


@dataclass(frozen=True, slots=True)
class MessageInfo:
    """One message that a queue or a durable subscription holds.

    Attributes:
        ref: its number in the store: what operations can name it by, unlike `id` unique for certain.
        original_destination: where it was before it was moved here; empty: nowhere.
        deliveries: how often it was dispatched and not acknowledged.
        state: `waiting`, or `in flight`: at a consumer.
        size: of its body in bytes, as it was sent.
        properties: by name, as JSON has them.
        body_kind: `none`, `text`, `bytes`, `map`, `stream`, `object` or `blob`.
        preview: the beginning of its body as text; of bytes that are no text in hexadecimal.
        cut: whether the preview lacks something.
    """

    ref: int
    id: str
    destination: str
    original_destination: str
    persistent: bool
    priority: int
    timestamp: int
    expiration: int
    correlation_id: str
    reply_to: str
    type: str
    group_id: str
    group_sequence: int
    user_id: str
    deliveries: int
    state: str
    size: int
    properties: dict[str, Any]
    body_kind: str
    preview: str
    cut: bool


@dataclass(frozen=True, slots=True)
class ScheduledInfo:
    """One message that is to be delivered later.

    Attributes:
        job_id: names its schedule.
        due: when it is delivered next.
        repeats: how often again after that; -1 for ever.
        cron: the expression; empty: none.
    """

    job_id: str
    due: int
    repeats: int
    cron: str
    message: MessageInfo


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """One branch of a distributed transaction that waits for its manager.

    Attributes:
        xid: as text.
        state: `prepared`; or `committed` or `rolled back` by an operator, until its manager has heard of it.
        user: who prepared it.
        prepared: when; 0 if an operator has ended it.
        sent: messages by destination.
        consumed: messages by queue.
        acknowledged: messages by durable subscription, `CLIENT_ID:NAME`.
    """

    xid: str
    state: str
    user: str
    client_id: str
    prepared: int
    age_ms: int
    sent: dict[str, int]
    consumed: dict[str, int]
    acknowledged: dict[str, int]


@dataclass(frozen=True, slots=True)
class JobInfo:
    """Something that was asked for and changes things.

    Attributes:
        state: `running`, `done`, `failed` or `cancelled`.
        looked_at: messages it has looked at so far.
        total: messages there were to look at when it began.
        changed: messages it has purged, moved, copied, …
        skipped: messages that stayed although they were meant: unreadable, or with nowhere to go.
        left: messages in flight when it ended: those are out of its reach.
        result: of a send, the message's id.
        error: why it failed; what it had done by then stays done.
    """

    id: int
    operation: str
    destination: str
    target: str
    user: str
    state: str
    started: int
    ended: int
    looked_at: int
    total: int
    changed: int
    skipped: int
    left: int
    result: str
    error: str
