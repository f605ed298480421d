"""Changes to what brokers hold, below `/api/v1/brokers/<group>/<broker>`: destinations and their messages.

A change is a job of the broker. One that takes longer than half a second runs on after it was answered.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from broker.management.model import JobInfo
from broker.scheduled import DELAY
from fabric.web.api.brokers import BROKER, queue_uri, read_as, topic_uri
from fabric.web.audit import source_of
from fabric.web.errors import RequestInvalid
from fabric.web.roles import Role
from fabric.web.routes import Call, Handler, Request, Route

NAMED_MAX: Final = 10_000
"""Messages that one request names."""
TEXT_MAX: Final = 1024
"""Characters of a destination's name and of a message's headers."""
DELAY_MS_MAX: Final = 100 * 366 * 24 * 3600 * 1000
"""A hundred years; it is a slip of the finger beyond."""

Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=DELAY_MS_MAX)]

_DONE: Final = {
    "purge": "Removed",
    "move": "Moved",
    "copy": "Copied",
    "retry": "Gave back",
}
_DOING: Final = {"purge": "Removing", "move": "Moving", "copy": "Copying", "retry": "Giving back"}


class JobDone(msgspec.Struct, frozen=True):
    """What a change answers.

    Attributes:
        message: what was done, or is being done, for people.
        job: what the broker says of it; `running`: it is not over yet.
    """

    message: str
    job: JobInfo


class NameBody(Request):
    """A name."""

    name: Name


class SelectBody(Request):
    """Which messages, of those that wait; several conditions must all hold.

    Attributes:
        selector: only those it matches.
        ids: only those with one of these message ids.
        refs: only those with one of these numbers, as browsing shows them.
        count: at most so many, the oldest; 0: all of them.
        all: must be true where no other condition is given: it means every message.
    """

    selector: str = ""
    ids: Annotated[list[str], msgspec.Meta(max_length=NAMED_MAX)] = msgspec.field(default_factory=list)
    refs: Annotated[list[int], msgspec.Meta(max_length=NAMED_MAX)] = msgspec.field(default_factory=list)
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    all: bool = False


class MoveBody(SelectBody, kw_only=True):
    """Which messages, and where to.

    Attributes:
        target: a queue's name, `queue://NAME` or `topic://NAME`; it is made if it does not exist.
    """

    target: Name


class SendBody(Request):
    """A message.

    Attributes:
        text: the body of a text message; or
        base64: of a bytes message; neither: it has none.
        properties: an object, or lines of `name=value`, or JSON as text.
        time_to_live_ms: 0: it never expires.
        delay_ms: it is delivered so much later, by a broker that keeps a schedule.
    """

    text: str | None = None
    base64: str | None = None
    properties: dict[str, bool | int | float | str | None] | str = ""
    persistent: bool = True
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] = 4
    time_to_live_ms: Milliseconds = 0
    delay_ms: Milliseconds = 0
    correlation_id: Text = ""
    reply_to: Text = ""
    type: Text = ""
    group_id: Text = ""


async def change(call: Call, operation: str, **arguments: object) -> JobInfo:
    """Have the master of the broker in the path change something."""
    await call.console.view.ready()
    group, broker = call.path["group"], call.path["broker"]
    source = source_of(call.user, call.remote)
    asker = {"user": call.user.user, "role": call.user.role.label, "source": source}
    job = read_as(await call.console.links.change(group, broker, operation, asker, **arguments), JobInfo)
    call.console.samples.look(group, broker)
    return job


async def create_queue(call: Call) -> JobDone:
    """Make a queue."""
    job = await change(call, "create", destination=queue_uri(call.body.name))
    return JobDone(f"Queue {call.body.name} is there.", job)


async def create_topic(call: Call) -> JobDone:
    """Make a topic."""
    job = await change(call, "create", destination=topic_uri(call.body.name))
    return JobDone(f"Topic {call.body.name} is there.", job)


async def delete_queue(call: Call) -> JobDone:
    """Delete a queue and its messages."""
    name = call.path["queue"]
    return JobDone(f"Queue {name} is deleted.", await change(call, "delete", destination=queue_uri(name)))


async def delete_topic(call: Call) -> JobDone:
    """Delete a topic."""
    name = call.path["topic"]
    return JobDone(f"Topic {name} is deleted.", await change(call, "delete", destination=topic_uri(name)))


async def pause(call: Call) -> JobDone:
    """Dispatch nothing from a queue."""
    name = call.path["queue"]
    return JobDone(f"Queue {name} is paused.", await change(call, "pause", queue=queue_uri(name)))


async def resume(call: Call) -> JobDone:
    """Dispatch again."""
    name = call.path["queue"]
    return JobDone(f"Queue {name} dispatches again.", await change(call, "resume", queue=queue_uri(name)))


def _selecting(operation: str) -> Handler:
    """The handler of an operation on messages of a queue."""

    async def carry_out(call: Call) -> JobDone:
        body = call.body
        target = {"target": body.target} if isinstance(body, MoveBody) else {}
        job = await change(call, operation, queue=queue_uri(call.path["queue"]), **selection(body), **target)
        return JobDone(told(job), job)

    return carry_out


def selection(body: SelectBody) -> dict[str, Any]:
    """The messages a body means, as management reads it. Raises `RequestInvalid` if it means none."""
    if not (body.selector.strip() or body.ids or body.refs or body.count or body.all):
        raise RequestInvalid('Say which messages: selector, ids, refs or count; "all": true for every one.')
    return {
        "selector": body.selector,
        "ids": body.ids or None,
        "refs": body.refs or None,
        "count": body.count,
    }


def told(job: JobInfo) -> str:
    """What has become of messages."""
    if job.state == "running":
        return f"{_DOING[job.operation]} messages: {job.changed:,} so far. It goes on."
    text = f"{_DONE[job.operation]} {job.changed:,} message{'' if job.changed == 1 else 's'}"
    text += f" to {job.target}" if job.target else ""
    text += f", {job.skipped:,} stayed" if job.skipped else ""
    text += f", {job.left:,} are at consumers" if job.left else ""
    return f"{text}{'. It was cancelled' if job.state == 'cancelled' else ''}."


async def send_to_queue(call: Call) -> JobDone:
    """Send to a queue."""
    return await _send(call, queue_uri(call.path["queue"]))


async def send_to_topic(call: Call) -> JobDone:
    """Send to a topic."""
    return await _send(call, topic_uri(call.path["topic"]))


async def _send(call: Call, destination: str) -> JobDone:
    body: SendBody = call.body
    properties = properties_of(body.properties)
    if body.delay_ms:
        properties[DELAY] = body.delay_ms
    fields = msgspec.structs.asdict(body) | {"properties": properties or None, "delay_ms": None}
    job = await change(call, "send", destination=destination, **fields)
    return JobDone(f"Sent {job.result}.", job)


def properties_of(given: dict[str, Any] | str) -> dict[str, Any]:
    """Properties as an object, however they were written. Raises `RequestInvalid`."""
    if isinstance(given, dict):
        return dict(given)
    if given.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(given, type=dict[str, bool | int | float | str | None])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise RequestInvalid(f"The properties cannot be understood: {error}.") from None
    found: dict[str, Any] = {}
    for line in filter(str.strip, given.splitlines()):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise RequestInvalid(f"A property is written as name=value, unlike: {line.strip()[:100]}")
        found[name.strip()] = value.strip()
    return found


def _change(
    path: str, handler: Handler, summary: str, body: type[Request] | None = None, method: str = "POST"
) -> Route:
    return Route(method, f"{BROKER}/{path}", handler, summary, Role.OPERATOR, body=body, answer=JobDone)


ROUTES: Final = (
    _change("queues", create_queue, "Make a queue.", NameBody),
    _change(
        "queues/<queue>",
        delete_queue,
        "Delete a queue that has no consumers, with its messages.",
        method="DELETE",
    ),
    _change("queues/<queue>/pause", pause, "Dispatch nothing from a queue until it is resumed."),
    _change("queues/<queue>/resume", resume, "Dispatch from a queue again."),
    _change("queues/<queue>/purge", _selecting("purge"), "Remove messages.", SelectBody),
    _change("queues/<queue>/move", _selecting("move"), "Move messages elsewhere.", MoveBody),
    _change("queues/<queue>/copy", _selecting("copy"), "Copy messages elsewhere.", MoveBody),
    _change(
        "queues/<queue>/retry",
        _selecting("retry"),
        "Give dead letters back to where they were before.",
        SelectBody,
    ),
    _change("queues/<queue>/messages", send_to_queue, "Send a message to a queue.", SendBody),
    _change("topics", create_topic, "Make a topic.", NameBody),
    _change("topics/<topic>", delete_topic, "Delete a topic that nobody uses.", method="DELETE"),
    _change("topics/<topic>/messages", send_to_topic, "Send a message to a topic.", SendBody),
)
