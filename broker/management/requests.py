"""What can be asked of management, and how a request is read out of JSON.

Each operation has a dataclass of its arguments. What a request does not say has its default; what nobody
knows is refused, for a misspelt `selector` must not purge everything.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from broker.destination import Destination, DestinationKind
from broker.errors import InvalidDestination
from broker.management.errors import RequestMalformed

R = TypeVar("R")

PAGE_MAX: Final = 1_000
"""Items of one page."""
PREVIEW_MAX: Final = 65_536
"""Characters of one message's preview."""
NAMED_MAX: Final = 10_000
"""Messages that one request names by their ids or refs."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No arguments."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Which items of a list.

    Attributes:
        filter: a wildcard (`orders.>`, `*.retry`), a pattern with `*` and `?` (`ord*`), or a part of the
            name; empty: all.
        after: `next` of the page before; empty: from the beginning.
        limit: items of this page, at most `PAGE_MAX`.
        connection: only those of this connection, where items belong to one.
    """

    filter: str = ""
    after: str = ""
    limit: int = 100
    connection: str = ""


@dataclass(frozen=True, slots=True)
class BrowseRequest:
    """Which messages to show.

    Attributes:
        queue: of this queue; or
        client_id: of a durable subscription, with
        subscription: its name.
        selector: only those it matches.
        after: `next` of the page before.
        limit: messages of this page, at most `PAGE_MAX`; there may be fewer, and more on the next one.
        preview: characters of each body, at most `PREVIEW_MAX`.
    """

    queue: str = ""
    client_id: str = ""
    subscription: str = ""
    selector: str = ""
    after: str = ""
    limit: int = 100
    preview: int = 100


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """Which of the messages that are to be delivered later; see `BrowseRequest`."""

    after: str = ""
    limit: int = 100
    preview: int = 100


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """A schedule by its job id."""

    job_id: str


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A prepared branch of a distributed transaction by its xid."""

    xid: str


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A message to send; the body is `text`, or `base64` for bytes, or none.

    Attributes:
        destination: `queue://NAME`, `topic://NAME`, or the name of a queue.
        time_to_live_ms: 0: it never expires.
    """

    destination: str
    text: str | None = None
    base64: str | None = None
    properties: dict[str, Any] | None = None
    persistent: bool = True
    priority: int = 4
    time_to_live_ms: int = 0
    correlation_id: str = ""
    reply_to: str = ""
    type: str = ""
    group_id: str = ""


@dataclass(frozen=True, slots=True)
class SelectRequest:
    """Which messages of a queue, of those that wait; several conditions must all hold; none: all messages.

    Attributes:
        queue: the queue.
        selector: only those it matches.
        ids: only those with one of these message ids.
        refs: only those with one of these numbers: found at once, however long the queue.
        count: at most so many; 0: all.
    """

    queue: str
    selector: str = ""
    ids: list[str] | None = None
    refs: list[int] | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """Where to move or copy which messages; see `SelectRequest`.

    Attributes:
        target: `queue://NAME`, `topic://NAME`, or the name of a queue; made if it does not exist.
    """

    queue: str
    target: str
    selector: str = ""
    ids: list[str] | None = None
    refs: list[int] | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class DestinationRequest:
    """A destination: `queue://NAME`, `topic://NAME`, or the name of a queue."""

    destination: str


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """A queue by its name."""

    queue: str


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """A durable subscription."""

    client_id: str
    subscription: str


@dataclass(frozen=True, slots=True)
class ConnectionRequest:
    """A connection by its id."""

    connection: str


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job by its number."""

    job: int


def parse(kind: type[R], arguments: Mapping[str, Any]) -> R:
    """Read the arguments of a request.

    Raises:
        RequestMalformed: one is unknown, missing or of a wrong type; says which.
    """
    hints = _hints(kind)
    unknown = sorted(arguments.keys() - hints.keys())
    if unknown:
        raise RequestMalformed(
            f"There is no argument {unknown[0]!r} here, only: {', '.join(hints) or 'none at all'}."
        )
    for each in fields(kind):  # type: ignore[arg-type]  # every request is a dataclass
        if each.default is MISSING and each.name not in arguments:
            raise RequestMalformed(f"The argument {each.name!r} is missing.")
    for name, value in arguments.items():
        if not _is_a(value, hints[name]):
            raise RequestMalformed(f"The argument {name!r} cannot be {_shown(value)}: {_words(hints[name])}.")
    return kind(**arguments)


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_a(value: object, wanted: Any) -> bool:  # noqa: ANN401 - a type
    if wanted is Any:
        return True
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return any(_is_a(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(_is_a(each, inner[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, wanted)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _words(wanted: Any) -> str:  # noqa: ANN401 - a type
    names = {str: "a text", int: "a whole number", bool: "true or false", type(None): "null"}
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(each) for each in inner if each is not type(None))
    if origin is list:
        return f"a list, each of it {_words(inner[0])}"
    return "an object" if origin is dict else names.get(wanted, "a value")


def place_of(text: str) -> Destination:
    """A queue or topic that a request names.

    Raises:
        RequestMalformed: it is none, or several.
    """
    try:
        destination = Destination.parse(text)
    except InvalidDestination as error:
        raise RequestMalformed(str(error)) from error
    if destination.is_composite or destination.is_pattern:
        raise RequestMalformed(f"One destination is needed here, not several: {text}.")
    return destination


def queue_of(text: str) -> Destination:
    """A queue that a request names, temporary or not.

    Raises:
        RequestMalformed: it is none, or several.
    """
    destination = place_of(text)
    if destination.kind in (DestinationKind.TOPIC, DestinationKind.TEMP_TOPIC):
        raise RequestMalformed(f"A queue is needed here, not {text}.")
    return destination


def check_preview(characters: int) -> int:
    """The length of previews, if it is allowed.

    Raises:
        RequestMalformed: it is not.
    """
    if not 0 <= characters <= PREVIEW_MAX:
        raise RequestMalformed(f"The argument 'preview' must be between 0 and {PREVIEW_MAX}.")
    return characters


def check_limit(limit: int, maximum: int = PAGE_MAX, name: str = "limit") -> int:
    """The limit, if it is between 1 and the maximum.

    Raises:
        RequestMalformed: it is not.
    """
    if not 1 <= limit <= maximum:
        raise RequestMalformed(f"The argument {name!r} must be between 1 and {maximum}, not {limit}.")
    return limit
