"""`/api/v1/brokers`: what brokers hold, and who uses them. Their masters answer; see `broker.management`."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec

from broker.management.model import (
    BrokerInfo,
    ConnectionInfo,
    ConsumerInfo,
    JobInfo,
    MessageInfo,
    Page,
    ProducerInfo,
    QueueInfo,
    ScheduledInfo,
    SubscriptionInfo,
    TopicInfo,
    TransactionInfo,
)
from fabric.clusters import ClusterRow
from fabric.web.errors import Refused
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Request, Route
from fabric.web.samples import Flow, Point
from registry import paths

T = TypeVar("T")

BROKER: Final = f"{API}/brokers/<group>/<broker>"
ITEMS_MAX: Final = 1_000
"""Of one page."""
PREVIEW_MAX: Final = 65_536
"""Characters of a message's body."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=ITEMS_MAX)]
Preview = Annotated[int, msgspec.Meta(ge=0, le=PREVIEW_MAX)]


class ListQuery(Request):
    """Which items.

    Attributes:
        filter: a wildcard (`orders.>`), a pattern with `*` and `?`, or a part of the name; empty: all.
        after: `next` of the page before; empty: from the beginning.
        limit: items of this page.
    """

    filter: str = ""
    after: str = ""
    limit: Limit = 100


class UsersQuery(ListQuery):
    """Which consumers or producers.

    Attributes:
        connection: only those of this connection.
    """

    connection: str = ""


class BrowseQuery(Request):
    """Which messages.

    Attributes:
        selector: only those it matches.
        after: `next` of the page before.
        limit: messages of this page; there may be fewer, and more on the next one.
        preview: characters of each body.
    """

    selector: str = ""
    after: str = ""
    limit: Limit = 50
    preview: Preview = 100


class SubscriptionBrowseQuery(BrowseQuery, kw_only=True):
    """Which messages of a durable subscription."""

    client_id: str = ""
    subscription: str


class ScheduledQuery(Request):
    """Which messages that are due later; see `BrowseQuery`."""

    after: str = ""
    limit: Limit = 50
    preview: Preview = 100


class BrokerRow(msgspec.Struct, frozen=True):
    """A broker as the registry knows it.

    Attributes:
        masters: the container that serves; none during a takeover.
        slaves: containers that wait.
        services: where the master takes clients.
    """

    group: str
    name: str
    masters: list[str]
    slaves: list[str]
    services: list[str]


class Broker(msgspec.Struct, frozen=True):
    """A broker with what its master has told.

    Attributes:
        enqueued_per_s: messages in, on the average of the last seconds; null: not known yet.
        dequeued_per_s: messages out, likewise.
    """

    row: BrokerRow
    info: BrokerInfo
    enqueued_per_s: float | None
    dequeued_per_s: float | None


def row_of(row: ClusterRow) -> BrokerRow:
    """A row of the registry as the API shows it."""
    return BrokerRow(
        row.cluster.removeprefix(paths.amq_groups()).lstrip("/"),
        row.id,
        row.masters,
        row.slaves,
        row.services,
    )


def queue_uri(name: str) -> str:
    """A queue of a path as brokers name it; a temporary one says so itself."""
    return name if name.startswith("temp-queue://") else f"queue://{name}"


def topic_uri(name: str) -> str:
    """A topic of a path, likewise."""
    return name if name.startswith("temp-topic://") else f"topic://{name}"


def read_as(found: object, kind: type[T]) -> T:
    """A broker's answer. Raises `Refused` if it is something else."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise Refused(502, f"The broker's answer cannot be understood: {error}.") from None


async def ask(call: Call, kind: type[T], operation: str, **arguments: object) -> T:
    """Ask the master of the broker in the path."""
    await call.console.view.ready()
    group, broker = call.path["group"], call.path["broker"]
    return read_as(await call.console.links.ask(group, broker, operation, **arguments), kind)


async def list_brokers(call: Call) -> list[BrokerRow]:
    """All brokers, with or without a master."""
    await call.console.view.ready()
    return [row_of(row) for row in call.console.view.brokers()]


async def get_broker(call: Call) -> Broker:
    """One broker."""
    samples = await call.console.samples.fresh(call.path["group"], call.path["broker"])
    if samples.error is not None or samples.broker is None:
        raise samples.error or Refused(503, "The broker has not answered yet.", "Try again.")
    row = row_of(call.console.links.row(call.path["group"], call.path["broker"]))
    return Broker(row, samples.broker, samples.flow.enqueued_per_s, samples.flow.dequeued_per_s)


async def broker_history(call: Call) -> list[Point]:
    """The last hour of a broker."""
    samples = await call.console.samples.fresh(call.path["group"], call.path["broker"])
    return samples.flow.points


async def queue_history(call: Call) -> list[Point]:
    """The last hour of a queue."""
    samples = await call.console.samples.fresh(call.path["group"], call.path["broker"])
    return samples.queues.flows.get(call.path["queue"], Flow()).points


async def topic_history(call: Call) -> list[Point]:
    """The last hour of a topic."""
    samples = await call.console.samples.fresh(call.path["group"], call.path["broker"])
    return samples.topics.flows.get(call.path["topic"], Flow()).points


async def queues(call: Call) -> Page[QueueInfo]:
    """A page of queues."""
    return await ask(call, Page[QueueInfo], "queues", **_fields(call.query))


async def queue(call: Call) -> QueueInfo:
    """One queue."""
    return await ask(call, QueueInfo, "queue", queue=queue_uri(call.path["queue"]))


async def messages(call: Call) -> Page[MessageInfo]:
    """A page of a queue's messages."""
    return await ask(
        call, Page[MessageInfo], "browse", queue=queue_uri(call.path["queue"]), **_fields(call.query)
    )


async def topics(call: Call) -> Page[TopicInfo]:
    """A page of topics."""
    return await ask(call, Page[TopicInfo], "topics", **_fields(call.query))


async def subscriptions(call: Call) -> Page[SubscriptionInfo]:
    """A page of durable subscriptions."""
    return await ask(call, Page[SubscriptionInfo], "subscriptions", **_fields(call.query))


async def subscription_messages(call: Call) -> Page[MessageInfo]:
    """A page of what a durable subscription holds."""
    return await ask(call, Page[MessageInfo], "browse", **_fields(call.query))


async def connections(call: Call) -> Page[ConnectionInfo]:
    """A page of connections."""
    return await ask(call, Page[ConnectionInfo], "connections", **_fields(call.query))


async def consumers(call: Call) -> Page[ConsumerInfo]:
    """A page of consumers."""
    return await ask(call, Page[ConsumerInfo], "consumers", **_fields(call.query))


async def producers(call: Call) -> Page[ProducerInfo]:
    """A page of producers."""
    return await ask(call, Page[ProducerInfo], "producers", **_fields(call.query))


async def scheduled(call: Call) -> Page[ScheduledInfo]:
    """A page of messages that are due later."""
    return await ask(call, Page[ScheduledInfo], "scheduled", **_fields(call.query))


async def transactions(call: Call) -> Page[TransactionInfo]:
    """A page of prepared branches."""
    return await ask(call, Page[TransactionInfo], "transactions", **_fields(call.query))


async def jobs(call: Call) -> list[JobInfo]:
    """The jobs that run, and the last that are over."""
    return await ask(call, list[JobInfo], "jobs")


async def job(call: Call) -> JobInfo:
    """One job."""
    return await ask(call, JobInfo, "job", job=job_number(call))


def job_number(call: Call) -> int:
    """The job of the path. Raises `Refused` if it is no number."""
    text = call.path["job"]
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise Refused(404, f"There is no job {text}.")
    return int(text)


def _fields(query: Request) -> dict[str, Any]:
    return msgspec.structs.asdict(query)


def _list(path: str, handler: Any, summary: str, query: type[Request], answer: Any) -> Route:  # noqa: ANN401 - a type, a handler
    return Route("GET", f"{BROKER}/{path}", handler, summary, query=query, answer=answer)


ROUTES: Final = (
    Route("GET", f"{API}/brokers", list_brokers, "All brokers of the fabric.", answer=list[BrokerRow]),
    Route("GET", BROKER, get_broker, "One broker, as its master tells.", answer=Broker),
    Route("GET", f"{BROKER}/history", broker_history, "The broker's last hour.", answer=list[Point]),
    _list("queues", queues, "Queues, by name.", ListQuery, Page[QueueInfo]),
    Route("GET", f"{BROKER}/queues/<queue>", queue, "One queue.", answer=QueueInfo),
    Route(
        "GET", f"{BROKER}/queues/<queue>/history", queue_history, "The queue's last hour.", answer=list[Point]
    ),
    Route(
        "GET",
        f"{BROKER}/queues/<queue>/messages",
        messages,
        "Messages of a queue, oldest first. Bodies are not for everybody who may see figures.",
        Role.OPERATOR,
        query=BrowseQuery,
        answer=Page[MessageInfo],
    ),
    _list("topics", topics, "Topics, by name.", ListQuery, Page[TopicInfo]),
    Route(
        "GET", f"{BROKER}/topics/<topic>/history", topic_history, "The topic's last hour.", answer=list[Point]
    ),
    _list("subscriptions", subscriptions, "Durable subscriptions.", ListQuery, Page[SubscriptionInfo]),
    Route(
        "GET",
        f"{BROKER}/subscriptions/messages",
        subscription_messages,
        "Messages that wait for a durable subscription, oldest first.",
        Role.OPERATOR,
        query=SubscriptionBrowseQuery,
        answer=Page[MessageInfo],
    ),
    _list("connections", connections, "Connections of clients.", ListQuery, Page[ConnectionInfo]),
    _list("consumers", consumers, "Consumers.", UsersQuery, Page[ConsumerInfo]),
    _list("producers", producers, "Producers.", UsersQuery, Page[ProducerInfo]),
    Route(
        "GET",
        f"{BROKER}/scheduled",
        scheduled,
        "Messages that are delivered later, the next first.",
        Role.OPERATOR,
        query=ScheduledQuery,
        answer=Page[ScheduledInfo],
    ),
    _list(
        "transactions",
        transactions,
        "Prepared branches of distributed transactions.",
        ListQuery,
        Page[TransactionInfo],
    ),
    Route("GET", f"{BROKER}/jobs", jobs, "Jobs that run, and the last that are over.", answer=list[JobInfo]),
    Route("GET", f"{BROKER}/jobs/<job>", job, "One job.", answer=JobInfo),
)
