"""One queue with its messages, and one topic."""

from __future__ import annotations

from typing import Final

from broker.management.model import (
    ConsumerInfo,
    MessageInfo,
    Page,
    ProducerInfo,
    SubscriptionInfo,
)
from fabric.errors import FabricError
from fabric.health import is_dead_letters
from fabric.web.api.brokers import PREVIEW_MAX, queue_uri, read_as
from fabric.web.errors import Refused
from fabric.web.formats import is_hexadecimal
from fabric.web.html import page, segment
from fabric.web.pages.brokers import (
    BROKER,
    address_of,
    charts_of,
    once,
    samples_of,
    show,
)
from fabric.web.roles import Role
from fabric.web.routes import API, Answer, Call, Request, Route
from fabric.web.sampler import topic_of
from fabric.web.samples import Flow

ROWS: Final = 50
"""Messages of one page."""
PREVIEW: Final = 120
"""Characters of each body in the list."""
ITEMS: Final = 100
"""Consumers and subscriptions that are shown."""


class MessagesQuery(Request):
    """Which messages.

    Attributes:
        selector: only those it matches.
        after: `next` of the page before.
    """

    selector: str = ""
    after: str = ""


async def queue(call: Call) -> Answer:
    """One queue."""
    samples = await samples_of(call)
    name = call.path["queue"]
    plain = name.removeprefix("temp-queue://")
    info = samples.queues.by_name.get(plain)
    consumers, _ = await once(call, Page[ConsumerInfo], "consumers", filter=plain, limit=ITEMS)
    producers, _ = await once(call, Page[ProducerInfo], "producers", filter=plain, limit=ITEMS)
    flow = samples.queues.flows.get(plain, Flow())
    uri = queue_uri(name)
    return show(
        call,
        samples,
        "queues",
        "queue",
        name=plain,
        info=info,
        flow=flow,
        charts=charts_of(flow),
        is_dead_letter=is_dead_letters(plain),
        consumers=[each for each in consumers.items if each.destination == uri] if consumers else [],
        producers=[each for each in producers.items if each.destination == uri] if producers else [],
        here_queue=f"{address_of(call)}/queues/{segment(name)}",
        api_queue=f"{API}/brokers/{segment(call.path['group'])}/{segment(call.path['broker'])}/queues/{segment(name)}",
    )


async def messages(call: Call) -> Answer:
    """A page of a queue's messages, as a part of the queue's page."""
    found: Page[MessageInfo] | None = None
    error: FabricError | None = None
    try:
        found = await _browse(
            call, selector=call.query.selector, after=call.query.after, limit=ROWS, preview=PREVIEW
        )
    except FabricError as refused:
        error = refused
    return _part(
        call,
        "queue_messages.html",
        "Messages",
        found=found,
        error=error,
        selector=call.query.selector,
        after=call.query.after,
    )


def _part(call: Call, template: str, heading: str, **values: object) -> Answer:
    """A part of a queue's page, or a page of its own for who opens just that."""
    group, broker = call.path["group"], call.path["broker"]
    return page(
        call,
        template if call.is_fragment else "queue_alone.html",
        tab="mq",
        part=template,
        heading=heading,
        framed=template == "queue_message.html",
        group=group,
        broker=broker,
        name=call.path["queue"],
        topic=topic_of(group, broker),
        address=address_of(call),
        here_queue=f"{address_of(call)}/queues/{segment(call.path['queue'])}",
        **values,
    )


async def message(call: Call) -> Answer:
    """All of one message, as a part of the list."""
    text = call.path["ref"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(404, f"There is no message {text}.")
    after = str(int(text) - 1) if int(text) else ""
    found = await _browse(call, after=after, limit=1, preview=PREVIEW_MAX)
    if not found.items or found.items[0].ref != int(text):
        raise Refused(404, "This message is not in the queue any more.")
    info = found.items[0]
    is_hex = info.body_kind == "bytes" and is_hexadecimal(info.preview) and len(info.preview) != info.size
    return _part(call, "queue_message.html", f"Message {info.ref}", info=info, is_hex=is_hex)


async def _browse(call: Call, **arguments: object) -> Page[MessageInfo]:
    await call.console.view.ready()
    found = await call.console.links.ask(
        call.path["group"], call.path["broker"], "browse", queue=queue_uri(call.path["queue"]), **arguments
    )
    return read_as(found, Page[MessageInfo])


async def topic(call: Call) -> Answer:
    """One topic."""
    samples = await samples_of(call)
    name = call.path["topic"]
    plain = name.removeprefix("temp-topic://")
    flow = samples.topics.flows.get(plain, Flow())
    subscriptions, _ = await once(call, Page[SubscriptionInfo], "subscriptions", filter=plain, limit=ITEMS)
    consumers, _ = await once(call, Page[ConsumerInfo], "consumers", filter=plain, limit=ITEMS)
    return show(
        call,
        samples,
        "topics",
        "topic",
        name=plain,
        info=samples.topics.by_name.get(plain),
        flow=flow,
        charts=charts_of(flow),
        subscriptions=subscriptions.items if subscriptions else [],
        consumers=consumers.items if consumers else [],
        here_topic=f"{address_of(call)}/topics/{segment(name)}",
        api_topic=f"{API}/brokers/{segment(call.path['group'])}/{segment(call.path['broker'])}/topics/{segment(name)}",
    )


QUEUE: Final = f"{BROKER}/queues/<queue>"
ROUTES: Final = (
    Route("GET", QUEUE, queue, "One queue."),
    Route("GET", f"{QUEUE}/messages", messages, "Messages of a queue.", Role.OPERATOR, query=MessagesQuery),
    Route("GET", f"{QUEUE}/messages/<ref>", message, "One message.", Role.OPERATOR),
    Route("GET", f"{BROKER}/topics/<topic>", topic, "One topic."),
)
