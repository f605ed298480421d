"""Looks at the messages that a queue or a durable subscription holds, a page at a time."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from broker.errors import InvalidSelector, MessageInvalid
from broker.management.errors import RequestMalformed, SelectorInvalid
from broker.management.model import MessageInfo, Page
from broker.management.preview import plain_properties, preview
from broker.management.requests import BrowseRequest, check_limit, check_preview
from broker.properties import Matches, compiled
from broker.region.queue import Queue
from broker.region.spool import SpooledEntry

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.durable import DurableSubscription
    from broker.region.entry import Entry
    from broker.region.region import Region

LOOKED_AT_MAX: Final = 500
"""Messages that one request looks at, most of which have to be read: 20 ms. The page may then be empty and
say where the next one begins."""
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bodies read for one page; it ends behind the one that passes this."""
LAST_REF: Final = (1 << 63) - 1

WAITING: Final = "waiting"
IN_FLIGHT: Final = "in flight"


def read(region: Region, entry: Entry, uri: str) -> Message | None:
    """The message of an entry, which is not kept in memory for that; None: it cannot be read."""
    message = entry.message
    if message is None:
        if isinstance(entry, SpooledEntry):
            message = region.usage.unspool(entry)
        else:
            message = region.load(entry.ref, uri, quietly=True)
    try:
        return message if message is None or message.message_id else None  # what is in its frame is read now
    except MessageInvalid:
        return None


def matches_of(selector: str) -> Matches | None:
    """What decides for a selector; None: everything is wanted.

    Raises:
        SelectorInvalid: it is none; says where.
    """
    if not selector.strip():
        return None
    try:
        return compiled(selector)
    except InvalidSelector as error:
        raise SelectorInvalid(str(error)) from error


def browse(
    region: Region,
    place: Queue | DurableSubscription,
    request: BrowseRequest,
) -> Page[MessageInfo]:
    """A page of what a place holds, oldest first: what waits, and what its consumers have.

    Raises:
        RequestMalformed, SelectorInvalid: the request is wrong.
    """
    limit = check_limit(request.limit)
    check_preview(request.preview)
    matches, after = matches_of(request.selector), _cursor(request.after)
    page = place.waiting_page if isinstance(place, Queue) else place.pending.page
    waiting = page(after, LAST_REF, LOOKED_AT_MAX)
    last = waiting[-1].ref if waiting and page(waiting[-1].ref, LAST_REF, 1) else LAST_REF
    flying = {
        entry.ref: entry
        for consumer in place.consumers
        for entry in consumer.dispatched.values()
        if after < entry.ref <= last and not entry.done
    }
    entries = heapq.merge(waiting, (flying[ref] for ref in sorted(flying)), key=lambda entry: entry.ref)
    items: list[MessageInfo] = []
    size, looked_at, ended = 0, 0, True
    for entry in entries:
        if len(items) >= limit or looked_at >= LOOKED_AT_MAX or size > PAGE_BYTES_MAX:
            ended = False
            break
        after, looked_at = entry.ref, looked_at + 1
        message = read(region, entry, _uri(place, entry)) if entry.batch <= region.durable_batch else None
        if message is None:
            continue
        size += len(message.wire or message.body or b"")
        if matches is None or matches(message, entry):
            state = IN_FLIGHT if entry.ref in flying else WAITING
            items.append(message_info(entry, message, state, request.preview))
    ended = ended and last == LAST_REF
    return Page(items, -1, "" if ended else str(after))


def _uri(place: Queue | DurableSubscription, entry: Entry) -> str:
    """Where the journal has a message."""
    if isinstance(place, Queue):
        return place.uri
    return place.region.store.state.topic_of(entry.ref) if place.home is None else place.home.uri


def _cursor(text: str) -> int:
    if not text:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RequestMalformed("The argument 'after' is not what a page before has given as 'next'.")
    return int(text)


def message_info(entry: Entry, message: Message, state: str, characters: int) -> MessageInfo:
    """What is told of one message."""
    text, cut = preview(message, characters)
    return MessageInfo(
        ref=entry.ref,
        id=message.message_id,
        destination=message.destination.uri,
        original_destination="" if message.origin is None else message.origin.uri,
        persistent=message.persistent,
        priority=message.priority,
        timestamp=message.timestamp,
        expiration=message.expiration,
        correlation_id=message.correlation_id or "",
        reply_to="" if message.reply_to is None else message.reply_to.uri,
        type=message.type or "",
        group_id=message.group_id or "",
        group_sequence=message.group_sequence,
        user_id=message.user_id or "",
        deliveries=entry.redelivery_counter,
        state=state,
        size=len(message.body or b""),
        properties=plain_properties(message),
        body_kind=message.body_kind.name.lower(),
        preview=text,
        cut=cut,
    )
