"""A broker: what it is, what it holds, who uses it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from broker.management.errors import ManagementError
from broker.management.model import (
    ConnectionInfo,
    ConsumerInfo,
    Page,
    ProducerInfo,
    QueueInfo,
    ScheduledInfo,
    SubscriptionInfo,
    TopicInfo,
    TransactionInfo,
)
from broker.management.paging import matcher
from fabric.errors import FabricError
from fabric.health import is_dead_letters
from fabric.web.api.brokers import read_as
from fabric.web.broker_links import USER_PREFIX
from fabric.web.charts import Chart, chart
from fabric.web.html import page, segment
from fabric.web.roles import Role
from fabric.web.routes import API, Answer, Call, Request, Route
from fabric.web.sampler import topic_of
from fabric.web.samples import BrokerSamples, Flow, Listing

D = TypeVar("D", QueueInfo, TopicInfo)
T = TypeVar("T")

ROWS: Final = 50
"""Of one page of a list."""
PREVIEW: Final = 200
"""Characters of a scheduled message."""


class DestinationsQuery(Request):
    """Which queues or topics, and in which order.

    Attributes:
        filter: a wildcard, a pattern, or a part of the name; empty: all.
        sort: a column; the largest first with a `-` before it.
        page: the first is 1.
    """

    filter: str = ""
    sort: str = "name"
    page: int = 1


class ItemsQuery(Request):
    """Which connections or subscriptions.

    Attributes:
        filter: part of what they are called; empty: all.
        after: `next` of the page before.
    """

    filter: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A queue or a topic in a list.

    Attributes:
        segment: what stands for it in addresses.
        chart: of what comes in.
    """

    info: Any
    segment: str
    is_dead_letter: bool
    enqueued_per_s: float | None
    dequeued_per_s: float | None
    chart: Chart


def address_of(call: Call) -> str:
    """The broker's page."""
    return f"/mq/{segment(call.path['group'])}/{segment(call.path['broker'])}"


async def samples_of(call: Call) -> BrokerSamples:
    """The samples of the broker in the path."""
    return await call.console.samples.fresh(call.path["group"], call.path["broker"])


def show(call: Call, samples: BrokerSamples, tab: str, template: str, **values: Any) -> Answer:  # noqa: ANN401 - what a template takes
    """A page about a broker, or its changing part, rendered once for each sample."""
    group, broker = call.path["group"], call.path["broker"]
    part = f"{template}_part.html"

    def render() -> Answer:
        return page(
            call,
            part if call.is_fragment else f"{template}.html",
            part=part,
            tab="mq",
            group=group,
            broker=broker,
            row=call.console.links.row(group, broker),
            samples=samples,
            subtab=tab,
            address=address_of(call),
            api=f"{API}/brokers/{segment(group)}/{segment(broker)}",
            topic=topic_of(group, broker),
            live=topic_of(group, broker).replace("/", ":"),  # as console.js calls it
            now_ms=call.console.reactor.seconds() * 1000,
            here=call.url,
            **values,
        )

    if not call.is_fragment:
        return render()
    return samples.rendered((call.url, call.user.role), render)


async def overview(call: Call) -> Answer:
    """The broker as a whole."""
    samples = await samples_of(call)
    return show(call, samples, "overview", "broker", charts=charts_of(samples.flow))


def charts_of(flow: Flow) -> dict[str, Chart]:
    """What goes in, what goes out and what is held, over the last hour."""
    points = flow.points
    times = [point.at_s for point in points]
    return {
        "in": chart(times, [point.enqueued_per_s for point in points]),
        "out": chart(times, [point.dequeued_per_s for point in points]),
        "size": chart(times, [point.size for point in points]),
    }


# ---- queues and topics, from the samples


async def queues(call: Call) -> Answer:
    """The queues."""
    return await _destinations(call, "queues", lambda samples: samples.queues, "temp-queue://")


async def topics(call: Call) -> Answer:
    """The topics."""
    return await _destinations(call, "topics", lambda samples: samples.topics, "temp-topic://")


async def _destinations(
    call: Call, tab: str, listing: Callable[[BrokerSamples], Listing[D]], scheme: str
) -> Answer:
    samples = await samples_of(call)
    listed = listing(samples)
    query: DestinationsQuery = call.query
    found = _sorted(_matching(listed, query.filter), query.sort, listed.flows)
    pages = max(-(-len(found) // ROWS), 1)
    number = min(max(query.page, 1), pages)
    rows = [_row(each, listed.flows.get(each.name), scheme) for each in found[(number - 1) * ROWS :][:ROWS]]
    return show(
        call,
        samples,
        tab,
        "broker_destinations",
        kind=tab.removesuffix("s"),
        rows=rows,
        count=len(found),
        listing=listed,
        filter=query.filter,
        sort=query.sort,
        number=number,
        pages=pages,
        first=(number - 1) * ROWS + 1,
        link=lambda **changed: _link(f"{address_of(call)}/{tab}", query, changed),
    )


def _matching(listed: Listing[D], text: str) -> list[D]:
    try:
        wanted = matcher(text)
    except ManagementError as error:
        raise FabricError(str(error)) from error
    return [each for each in listed.by_name.values() if wanted(each.name)]


_SORTS: Final[dict[str, Callable[[Any, Flow], Any]]] = {
    "name": lambda info, flow: info.name,
    "size": lambda info, flow: info.size if isinstance(info, QueueInfo) else info.subscriptions,
    "in_flight": lambda info, flow: info.in_flight,
    "consumers": lambda info, flow: info.consumers,
    "producers": lambda info, flow: info.producers,
    "in": lambda info, flow: flow.enqueued_per_s or 0.0,
    "out": lambda info, flow: flow.dequeued_per_s or 0.0,
}


def _sorted(found: list[D], sort: str, flows: dict[str, Flow]) -> list[D]:
    """By a column, those that are equal by name."""
    nothing = Flow()
    by_name = sorted(found, key=lambda each: each.name)
    column = _SORTS.get(sort.removeprefix("-"), _SORTS["name"])
    return sorted(
        by_name,
        key=lambda each: column(each, flows.get(each.name, nothing)),
        reverse=sort.startswith("-"),
    )


def _row(info: QueueInfo | TopicInfo, flow: Flow | None, scheme: str) -> Row:
    flow = flow or Flow()
    points = flow.points
    return Row(
        info,
        segment(f"{scheme}{info.name}" if info.temporary else info.name),
        isinstance(info, QueueInfo) and is_dead_letters(info.name),
        flow.enqueued_per_s,
        flow.dequeued_per_s,
        chart([point.at_s for point in points], [point.enqueued_per_s for point in points]),
    )


def _link(address: str, query: Request, changed: dict[str, object]) -> str:
    """The same page with something else in its query."""
    fields = {name: getattr(query, name) for name in query.__struct_fields__} | changed
    given = {name: value for name, value in fields.items() if value not in ("", 1) and value != "name"}
    return f"{address}?{urlencode(given)}" if given else address


# ---- what the broker is asked for when somebody looks at it


async def once(
    call: Call, kind: type[T], operation: str, **arguments: Hashable
) -> tuple[T | None, FabricError | None]:
    """An answer of the broker in the path, or why there is none."""
    group, broker = call.path["group"], call.path["broker"]
    try:
        return read_as(await call.console.samples.once(group, broker, operation, **arguments), kind), None
    except FabricError as error:
        return None, error


async def _items(call: Call, tab: str, kind: Any, **arguments: Any) -> Answer:  # noqa: ANN401 - a generic alias
    samples = await samples_of(call)
    query: ItemsQuery = call.query
    found, error = await once(
        call, kind, tab, filter=query.filter, after=query.after, limit=ROWS, **arguments
    )
    return show(
        call,
        samples,
        tab,
        f"broker_{tab}",
        found=found,
        error=error,
        filter=query.filter,
        after=query.after,
        prefix=USER_PREFIX,
        link=lambda **changed: _link(f"{address_of(call)}/{tab}", query, changed),
    )


async def subscriptions(call: Call) -> Answer:
    """The durable subscriptions."""
    return await _items(call, "subscriptions", Page[SubscriptionInfo])


async def connections(call: Call) -> Answer:
    """The connections."""
    return await _items(call, "connections", Page[ConnectionInfo])


async def transactions(call: Call) -> Answer:
    """The prepared branches of distributed transactions."""
    return await _items(call, "transactions", Page[TransactionInfo])


async def scheduled(call: Call) -> Answer:
    """The messages that are due later."""
    samples = await samples_of(call)
    query: ItemsQuery = call.query
    found, error = await once(
        call, Page[ScheduledInfo], "scheduled", after=query.after, limit=ROWS, preview=PREVIEW
    )
    return show(
        call,
        samples,
        "scheduled",
        "broker_scheduled",
        found=found,
        error=error,
        after=query.after,
        link=lambda **changed: _link(f"{address_of(call)}/scheduled", query, changed),
    )


async def connection(call: Call) -> Answer:
    """One connection, its consumers and producers."""
    samples = await samples_of(call)
    name = call.path["connection"]
    listed, error = await once(call, Page[ConnectionInfo], "connections", filter="", limit=1000)
    consumers, _ = await once(call, Page[ConsumerInfo], "consumers", connection=name)
    producers, _ = await once(call, Page[ProducerInfo], "producers", connection=name)
    info = next((each for each in listed.items if each.id == name), None) if listed else None
    return show(
        call,
        samples,
        "connections",
        "broker_connection",
        name=name,
        info=info,
        error=error,
        consumers=consumers,
        producers=producers,
    )


BROKER: Final = "/mq/<group>/<broker>"
ROUTES: Final = (
    Route("GET", BROKER, overview, "A broker."),
    Route("GET", f"{BROKER}/queues", queues, "Its queues.", query=DestinationsQuery),
    Route("GET", f"{BROKER}/topics", topics, "Its topics.", query=DestinationsQuery),
    Route("GET", f"{BROKER}/subscriptions", subscriptions, "Its durable subscriptions.", query=ItemsQuery),
    Route("GET", f"{BROKER}/connections", connections, "Its connections.", query=ItemsQuery),
    Route("GET", f"{BROKER}/connections/<connection>", connection, "One connection."),
    Route("GET", f"{BROKER}/transactions", transactions, "Prepared transactions.", query=ItemsQuery),
    Route("GET", f"{BROKER}/scheduled", scheduled, "Scheduled messages.", Role.OPERATOR, query=ItemsQuery),
)
