"""What the failover core says and is asked: its states, events and requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from broker.openwire.commands import BaseCommand, Response
from broker.openwire.wireformat import CommandReceived
from mqclient.errors import ClientError
from mqclient.url import BrokerAddress


class State(Enum):
    """Where the connection stands; drawn in :mod:`mqclient.failover`."""

    IDLE = "not started"
    WAITING = "waiting to connect"
    CONNECTING = "connecting"
    NEGOTIATING = "negotiating"
    LOGGING_IN = "logging in"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """To the edge: connect; answer with socket_opened or socket_lost."""

    address: BrokerAddress


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """To the edge: send what is left if it goes at once, and close."""


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """A connection attempt failed; ``tell``: it is time to warn the user."""

    address: BrokerAddress
    reason: str
    failed_rounds: int
    tell: bool


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A working connection was lost; what it had dispatched is void."""

    address: BrokerAddress
    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """A broker has been told everything; ``first``: the first one."""

    address: BrokerAddress
    first: bool


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """Brokers were added to or removed from the list."""

    added: tuple[BrokerAddress, ...]
    removed: tuple[BrokerAddress, ...]


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """The broker refused something nobody waits for."""

    command: BaseCommand | None
    error: ClientError


@dataclass(frozen=True, slots=True)
class Failed:
    """The connection is over for good."""

    error: ClientError


Event = (
    OpenSocket
    | CloseSocket
    | AttemptFailed
    | Interrupted
    | Resumed
    | AddressesChanged
    | CommandRefused
    | Failed
    | CommandReceived
)


class Request:
    """A command that is answered, and its answer.

    Attributes:
        on_done: called once, when answer or error is set; must not block.
    """

    __slots__ = ("answer", "command", "created_s", "error", "on_done", "sent")

    def __init__(self, command: BaseCommand, on_done: Callable[[Request], None]) -> None:
        self.command = command
        self.on_done = on_done
        self.answer: Response | None = None
        self.error: ClientError | None = None
        self.sent = False
        self.created_s = 0.0
