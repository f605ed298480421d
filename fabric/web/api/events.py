"""`/api/v1/events`: what has changed, as it happens; and who asks."""

from __future__ import annotations

from typing import Final

import msgspec

from fabric.web.errors import RequestInvalid
from fabric.web.routes import API, Call, Request, Route, Stream

TOPICS_MAX: Final = 20
"""Of one stream."""
TOPIC_CHARACTERS_MAX: Final = 200


class EventsQuery(Request):
    """What to listen to.

    Attributes:
        topic: `fabric` for everything in the registry; others stand with the routes they belong to.
    """

    topic: list[str] = msgspec.field(default_factory=lambda: ["fabric"])


class Me(msgspec.Struct, frozen=True):
    """Who asks."""

    user: str
    role: str


def events(call: Call) -> Stream:
    """Begin a stream."""
    topics = call.query.topic
    if len(topics) > TOPICS_MAX or any(not 0 < len(topic) <= TOPIC_CHARACTERS_MAX for topic in topics):
        raise RequestInvalid(
            f"A stream has 1 to {TOPICS_MAX} topics of at most {TOPIC_CHARACTERS_MAX} characters."
        )
    if any(not topic.isprintable() for topic in topics):
        raise RequestInvalid("A topic has printable characters only.")
    return Stream(frozenset(topics))


def me(call: Call) -> Me:
    """Say who asks."""
    return Me(call.user.user, call.user.role.label)


ROUTES: Final = (
    Route(
        "GET",
        f"{API}/events",
        events,
        "Server-sent events: one with the topic's name for each change.",
        query=EventsQuery,
    ),
    Route("GET", f"{API}/me", me, "Who asks, and what he may do.", answer=Me),
)
