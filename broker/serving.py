"""What the broker's sides of all protocols have in common, without a socket.

::

    speaking ─log_in─▶ logging in ─accepted─▶ speaking ─┐
        │                  │ refused                    │
        └──────────────────┴────────▶ closing ◀─────────┘

A protocol's server derives from `ServerSide` and is a `broker.connector.ProtocolServer` and a
`broker.region.client.Client`. What has to be durable before it is answered waits here for the journal; what
comes while the login is checked waits here for that, unless the protocol has a place of its own for it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from broker.cluster import Cluster
from broker.errors import AccessDenied
from broker.remote import host_of

if TYPE_CHECKING:
    from broker.admission import LoginGuard
    from broker.connectors import ConnectorConfig
    from broker.errors import ClientError
    from broker.failed_logins import LoginAudit
    from broker.region.connection import RegionConnection
    from broker.region.region import Region
    from broker.security import Authenticator

WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes kept while a login is checked: a client that comes back sends its state and its unanswered messages
without waiting. The socket's owner should not read while `reading_paused`; then this is never reached."""

NAME_CHARACTERS_MAX: Final = 64
"""Of a user's name, as its wrong passwords are counted; longer ones are nobody's."""

_log: Final = logging.getLogger("broker")

Answer = TypeVar("Answer")
Waiting = TypeVar("Waiting")


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What the servers of one connector share, for one mastership.

    Attributes:
        config: of the connector.
        region: what is served.
        users: decides about logins.
        broker_id: names this broker to clients.
        broker_name: as configured.
        broker_url: where clients reach this connector.
        cluster: where the brokers of the group serve.
        transport_user: whom the client's certificate names; None: nobody, and all but one connection's.
        guard: slows down who gives wrong passwords; None: nobody does.
        logins: is told of failed logins; None: nobody is.
    """

    config: ConnectorConfig
    region: Region
    users: Authenticator
    broker_id: str
    broker_name: str
    broker_url: str
    cluster: Cluster = field(default_factory=Cluster)
    transport_user: str | None = None
    guard: LoginGuard | None = None
    logins: LoginAudit | None = None


class ServerSide(ABC, Generic[Answer, Waiting]):
    """One client's server; what a protocol adds says how it reads, writes and answers.

    `Answer` is what waits for the journal, `Waiting` what the protocol keeps here while a login is checked.

    Attributes:
        connection: the region's side once the client has logged in.
        closing: close the transport when what is to be sent has been written.
        close_reason: for the log; empty if the client left in good order.
        is_logging_in: the login is being checked; what arrives meanwhile has to be kept, and `resume` goes on
            with it.
        remote: the client's address, for the log.
        user: who logs in or has logged in; empty before.
        transport_user: whom the client's certificate names; None: nobody.

    Args:
        context: see `ServerContext`.
        remote: likewise.
        wake: called when there is something to send that no call of the owner's brought about.
    """

    def __init__(self, context: ServerContext, remote: str, wake: Callable[[], None]) -> None:
        self.connection: RegionConnection | None = None
        self.closing = False
        self.close_reason = ""
        self.is_logging_in = False
        self.remote = remote
        self.user = ""
        self.transport_user = context.transport_user
        self.wake = wake
        self.context = context
        self.region = context.region
        self.held: deque[tuple[int, Answer]] = deque()
        self._waiting: deque[Waiting] | None = None  # an empty one would take 760 bytes of each connection
        self._waiting_bytes = 0

    # ---- the protocol's own

    @abstractmethod
    def let_go(self, answer: Answer) -> None:
        """Send an answer that had to wait."""

    @abstractmethod
    def resume(self) -> None:
        """The login is decided: go on with what came meanwhile."""

    def ended(self) -> None:
        """The connection is over; called once, before the region takes back what the client had."""

    # ---- the socket's owner

    @property
    def reading_paused(self) -> bool:
        """What arrives would only be kept: while the login is checked, or when too much waits for space."""
        return self.is_logging_in or (self.connection is not None and self.connection.is_flooded)

    @property
    def held_batch(self) -> int:
        """The lowest batch that an answer waits for, 0 if none does."""
        return self.held[0][0] if self.held else 0

    def connection_lost(self, reason: str) -> None:
        """The socket is gone: the region takes back what the client had."""
        if not self.closing:
            self.close(reason)

    def durable(self, batch: int) -> None:
        """Lets go the answers that waited for this batch or a lower one."""
        held = self.held
        while held and held[0][0] <= batch:
            self.let_go(held.popleft()[1])

    def last_words(self, reason: str) -> bytes:
        """What is told to a client that has to look for another broker; the socket is closed behind it."""
        del reason
        return b""

    # ---- the region

    def disconnect(self, reason: str) -> None:
        """Ends the connection for the region's reasons."""
        if not self.closing:
            self.close(reason)
            self.wake()

    # ---- for the protocol

    def overflow(self, data: bytes) -> str:
        """What is wrong if this is too much to come while the login is checked; otherwise empty."""
        if not self.is_logging_in:
            return ""
        self._waiting_bytes += len(data)
        if self._waiting_bytes <= WAITING_BYTES_MAX:
            return ""
        return f"more than {WAITING_BYTES_MAX} bytes came before the login was answered"

    def keep(self, waiting: Waiting) -> None:
        """What has come waits for the login."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(waiting)

    def kept(self) -> Iterator[Waiting]:
        """Takes what has waited, until the connection ends or another login is checked."""
        while self._waiting and not self.closing and not self.is_logging_in:
            yield self._waiting.popleft()
        if not self._waiting:
            self._waiting = None

    def answer(self, batch: int, answer: Answer) -> None:
        """Answers now, or when a batch is durable."""
        if batch > self.region.durable_batch:
            self.held.append((batch, answer))
        else:
            self.let_go(answer)

    def log_in(
        self, user: str | None, password: str | None, decided: Callable[[ClientError | None], None]
    ) -> None:
        """Have a login checked; `decided` gets what is wrong, or None, unless the connection ends before.

        Who names no user, or names the one of his certificate without a password, is that user.
        """
        certified = self.transport_user
        self.user = user or certified or ""
        self.is_logging_in = True

        def checked(verdict: ClientError | None) -> None:
            if verdict is None:
                self.user = self.context.users.name_of((user or "") if password else self.user, password)
            elif self.context.logins is not None and isinstance(verdict, AccessDenied):
                name = self.user[:NAME_CHARACTERS_MAX]
                self.context.logins.failed(name, self._address, f"refused: {verdict}")
            if not self.closing:
                self.is_logging_in = False
                decided(verdict)
                self.resume()
                self.wake()

        if certified is not None and not password and self.user == certified:
            self.context.users.admit(certified, checked)
        elif self.context.guard is None:
            self.context.users.authenticate(user, password, checked)
        else:
            self._guarded(self.context.guard, user, password, checked)

    @property
    def _address(self) -> str:
        return host_of(self.remote)

    def _guarded(
        self,
        guard: LoginGuard,
        user: str | None,
        password: str | None,
        checked: Callable[[ClientError | None], None],
    ) -> None:
        """Have a password checked, unless too many were wrong before."""
        name = (user or "")[:NAME_CHARACTERS_MAX]
        address = self._address
        limits = self.context.config.limits
        wait_s = guard.wait_s(name, address, limits)
        if wait_s > 0:
            checked(AccessDenied(f"Too many wrong passwords; try again in {wait_s:.0f} s."))
            return

        def counted(verdict: ClientError | None) -> None:
            if verdict is None or isinstance(verdict, AccessDenied):
                lines = guard.decided(name, address, right=verdict is None)
                if lines > 1:
                    _log.warning("%r from %s: %d wrong passwords", name, address, lines)
            checked(verdict)

        self.context.users.authenticate(user, password, counted)

    def close(self, reason: str) -> None:
        """The region takes back what the client had; what is to be sent is still sent."""
        self.closing = True
        self.close_reason = reason
        self.held.clear()
        self._waiting = None
        self.ended()
        if self.connection is not None:
            self.connection.close()
