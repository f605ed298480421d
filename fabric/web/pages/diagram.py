"""The diagram of brokers: containers, masters and slaves, and what flows through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList

from fabric.errors import FabricError
from fabric.mq_status import BrokerStatus
from fabric.web.api.events import TOPICS_MAX
from fabric.web.brokers_view import groups_of, versions_in_use
from fabric.web.diagram import SHOWN, TABLE, Held, draw
from fabric.web.html import page
from fabric.web.routes import Answer, Call, Request, Route
from fabric.web.sampler import topic_of

if TYPE_CHECKING:
    from fabric.web.console import Console

OTHER_TOPICS: Final = 2
"""Topics of events each such page listens to anyway."""


class DiagramQuery(Request):
    """What to show.

    Attributes:
        show: of `fabric.web.diagram.SHOWN`, and `table`; nothing given: all but that.
    """

    show: list[str] = msgspec.field(default_factory=lambda: list(SHOWN))


async def diagram(call: Call) -> Answer:
    """The page, or the picture in it."""
    await call.console.view.ready()
    brokers = brokers_in_use(call.console)
    held = await held_by(call.console, brokers)
    shown = set(call.query.show)
    return page(
        call,
        "mq_diagram_picture.html" if call.is_fragment else "mq_diagram.html",
        tab="mq",
        scene=draw(brokers, held, shown),
        shown=shown,
        choices=(*SHOWN, TABLE),
        topics=[topic_of(broker.group, broker.name) for broker in brokers][: TOPICS_MAX - OTHER_TOPICS],
    )


def brokers_in_use(console: Console) -> list[BrokerStatus]:
    """The brokers that some container has, or that should run."""
    return [
        broker
        for version in versions_in_use(console.view)
        for group in groups_of(console.view, version)
        for profile in group.profiles
        for broker in profile.brokers
        if broker.containers or profile.minimum
    ]


async def held_by(console: Console, brokers: list[BrokerStatus]) -> dict[tuple[str, str], Held]:
    """What masters hold now."""
    keys = [(broker.group, broker.name) for broker in brokers if broker.master]
    asked = [Deferred.fromCoroutine(_held(console, *key)) for key in keys]
    answers = await DeferredList(asked, consumeErrors=True)
    return {key: answer for key, (ok, answer) in zip(keys, answers, strict=True) if ok}


async def _held(console: Console, group: str, broker: str) -> Held:
    try:
        samples = await console.samples.fresh(group, broker)
    except FabricError as error:
        return Held(problem=error.what)
    if samples.error is not None:
        return Held(problem=samples.error.what)
    return Held(list(samples.queues.by_name.values()), list(samples.topics.by_name.values()))


ROUTES: Final = (Route("GET", "/mq/diagram", diagram, "The diagram of brokers.", query=DiagramQuery),)
