"""Links, and what a connection tells of them: the words between Proton and the broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

Pointer = Any
"""Of Proton's; equal and hashed by address."""

RECEIVED: Final = 0x23
ACCEPTED: Final = 0x24
REJECTED: Final = 0x25
RELEASED: Final = 0x26
MODIFIED: Final = 0x27
DECLARED: Final = 0x33
TRANSACTIONAL: Final = 0x34
"""States of deliveries; 0: none."""


@dataclass(slots=True)
class Terminus:
    """One end of a link, as a peer wants it or as it is.

    Attributes:
        kind: `source`, `target`, `coordinator`; empty: there is none.
        address: None: it has none.
        durability: 0 none, 1 configuration, 2 unsettled state.
        expiry: when it goes: 0 link-detach, 1 session-end, 2 connection-close, 3 never.
        dynamic: the node is to be made.
        copy: messages stay in the node.
        capabilities: what it can do.
        filters: by their names.
        outcome: what a settled delivery without a state means, a number; 0: not said.
    """

    kind: str = ""
    address: str | None = None
    durability: int = 0
    expiry: int = 1
    dynamic: bool = False
    copy: bool = False
    capabilities: tuple[object, ...] = ()
    filters: dict[object, object] = field(default_factory=dict)


class Link:
    """One link.

    Attributes:
        name: as the peer gave it.
        sends: messages go to the peer.
        source: where they come from, as the peer wants it.
        target: where they go.
        presettled: the peer wants them settled as they are sent, or sends them so.
        is_open: it has not been freed, nor the peer has gone.
        owner: what the server makes of it.
    """

    __slots__ = (
        "is_attached",
        "is_open",
        "max_message_size",
        "name",
        "owner",
        "partial",
        "pointer",
        "presettled",
        "sends",
        "session",
        "source",
        "tags",
        "target",
    )

    def __init__(self, pointer: Pointer, session: Pointer, name: str, *, sends: bool) -> None:
        self.pointer = pointer
        self.session = session
        self.name = name
        self.sends = sends
        self.source = Terminus()
        self.target = Terminus()
        self.presettled = False
        self.max_message_size = 0
        self.is_open = True
        self.is_attached = False
        self.owner: Any = None
        self.partial: list[bytes] = []
        self.tags = 0


class Opened(NamedTuple):
    """The peer has opened the connection."""

    container_id: str


class Closed(NamedTuple):
    """The peer has closed it."""

    condition: str
    text: str


class Attached(NamedTuple):
    """The peer wants a link."""

    link: Link


class Detached(NamedTuple):
    """The peer wants it no more; `closed`: nor what it stood for."""

    link: Link
    closed: bool


class Ended(NamedTuple):
    """The peer has ended a session; its links were told of before."""

    session: Pointer


class TooLong(NamedTuple):
    """A message has come in part that is longer than there may be, or there are too many of them."""

    link: Link


class Flowed(NamedTuple):
    """A link's credit has changed."""

    link: Link


class Transferred(NamedTuple):
    """A message has come."""

    link: Link
    delivery: Pointer
    content: bytes
    settled: bool
    state: int


class Disposed(NamedTuple):
    """The peer says what became of a message."""

    link: Link
    delivery: Pointer
    state: int
    settled: bool


class Failed(NamedTuple):
    """The peer's fault, or its silence; it has been told."""

    reason: str


Event = Opened | Closed | Attached | Detached | Ended | TooLong | Flowed | Transferred | Disposed | Failed
