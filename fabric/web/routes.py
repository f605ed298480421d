"""What a route is, what its handler is given, and what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fabric.web.roles import Role

if TYPE_CHECKING:
    from fabric.web.console import Console

API: Final = "/api/v1"
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"


class Request(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of what routes read from a query or a body: what nobody knows is refused."""


class Empty(Request):
    """Nothing is read."""


class Done(msgspec.Struct, frozen=True):
    """What changes answer when they have nothing else to say.

    Attributes:
        message: what was done, for people.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        user: his name.
        role: the highest he has.
        session: the token of his login in a browser; empty for other clients.
        csrf: what his pages must send with every change; empty for other clients.
        token: id of the API token he has shown; empty if he has shown none.
        stamp: of his password: with another one this is over.
    """

    user: str
    role: Role
    session: str = field(default="", repr=False)
    csrf: str = field(default="", repr=False)
    token: str = ""
    stamp: str = field(default="", repr=False)


@dataclass(slots=True)
class Call:
    """One request on its way through a handler.

    Attributes:
        console: what all requests share.
        identity: who asks; None only where a route is for everybody.
        path: the variable parts of the path.
        query: a `Route.query`.
        body: a `Route.body`.
        url: path and query as they were asked for.
        remote: the client's address.
        headers: the request's headers by their names in lower case.
    """

    console: Console
    identity: Identity | None
    path: Mapping[str, str]
    query: Any
    body: Any
    url: str = "/"
    remote: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def user(self) -> Identity:
        """Who asks, on a route that is not for everybody."""
        assert self.identity is not None
        return self.identity

    @property
    def is_fragment(self) -> bool:
        """Whether a page of ours asks for a part of itself, and not, going back, for all of it."""
        return "hx-request" in self.headers and "hx-history-restore-request" not in self.headers


@dataclass(slots=True)
class Answer:
    """What is sent back, where it is not simply JSON."""

    body: bytes = b""
    content_type: str = HTML
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)


def redirect(location: str) -> Answer:
    """Send a browser elsewhere, with GET."""
    return Answer(status=303, headers={"Location": location})


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer without an end: server-sent events about some topics."""

    topics: frozenset[str]


@dataclass(frozen=True, slots=True)
class Flow:
    """An answer that is written as it comes.

    Attributes:
        content_type: what it is.
        write: given the request, writes the answer to it; cancelled when the client goes.
    """

    content_type: str
    write: Callable[[Any], Awaitable[None]]


Handler = Callable[[Call], "object | Awaitable[object]"]
"""Called in the reactor's thread. Returns, at once or later, an `Answer`, a `Stream`, a `Flow`, or what
becomes JSON; raises `FabricError` (`Refused`) or `RegistryError`. What blocks goes through
`Console.blocking`."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        method: `GET`, `POST`, …
        path: with variable parts, as in `/api/v1/containers/<name>`.
        handler: what does it.
        summary: what it does, a sentence for the API's description.
        role: the least role that may; None: everybody, even who is not logged in.
        query: what its query holds.
        body: what its body holds, as JSON or as a form; None: it has none.
        answer: what it answers as JSON; None: something else.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    role: Role | None = Role.VIEWER
    query: type[Request] = Empty
    body: type[Request] | None = None
    answer: Any = None

    @property
    def is_api(self) -> bool:
        """Whether programs use it: its errors are JSON."""
        return self.path.startswith(("/api/", "/mq-discovery/"))

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.method not in ("GET", "HEAD")
