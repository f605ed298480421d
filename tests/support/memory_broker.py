"""A region in memory and the servers of one protocol over it; what the clients in `*_client.py` talk to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from support.region import MemoryStore, new_region

from broker.cluster import Cluster
from broker.connectors import CONNECTORS, ConnectorConfig, PortRange
from broker.errors import AccessDenied, ClientError
from broker.region.region import Region
from broker.serving import ServerContext, ServerSide


class Users:
    """Accepts one password, at once or when told."""

    def __init__(self) -> None:
        self.at_once = True
        self.takes_tokens = False
        self.waiting: list[Callable[[], None]] = []

    def authenticate(
        self, user: str | None, password: str | None, done: Callable[[ClientError | None], None]
    ) -> None:
        """See `broker.security.Authenticator`."""
        verdict = None if (user, password) == ("admin", "admin") else AccessDenied("Not with this password.")
        if self.at_once:
            done(verdict)
        else:
            self.waiting.append(lambda: done(verdict))

    def admit(self, user: str, done: Callable[[ClientError | None], None]) -> None:
        """Everybody whose certificate was accepted, except Eve."""
        done(AccessDenied("Eve is no user.") if user == "eve" else None)

    def name_of(self, user: str, password: str | None) -> str:
        """See `broker.security.Authenticator`."""
        del password
        return user


class Connected(Protocol):
    """One client of it."""

    server: Any

    def read(self) -> None:
        """Take what the broker has to say."""


Side = TypeVar("Side", bound=ServerSide[Any, Any])
Peer = TypeVar("Peer", bound=Connected)


class MemoryBroker(Generic[Side, Peer]):
    """A region in memory and its servers; the clock of the connections stands.

    Attributes:
        connector: the name of the connector.
        make: makes its servers.
        broker_id: names this broker to clients.
        woken: how often a server has asked for a turn.
    """

    connector: str
    make: type[Side]
    broker_id = "ID:broker-1"

    def __init__(self, region: Region | None = None, **config: Any) -> None:
        protocol, scheme = CONNECTORS[self.connector]
        self.region = region or new_region()
        self.users = Users()
        self.config = ConnectorConfig(self.connector, protocol, scheme, PortRange(0, 0), **config)
        self.cluster = Cluster()
        self.woken = 0
        self.now_s = 0.0
        self.clients: list[Peer] = []

    @property
    def store(self) -> MemoryStore:
        """The journal."""
        assert isinstance(self.region.store, MemoryStore)
        return self.region.store

    def server(self) -> Side:
        """A server for one more client."""
        url = f"{self.config.scheme}://127.0.0.1:1"
        context = ServerContext(
            self.config, self.region, self.users, self.broker_id, "broker", url, self.cluster
        )
        return self.make(context, "tcp://127.0.0.1:2", self.now_s, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def settle(self) -> None:
        """The journal makes everything durable, what can be dispatched is, everybody reads."""
        store = self.store
        store.durable_batch = len(store.batches)
        self.region.durable(store.durable_batch)
        for client in self.clients:
            client.server.durable(store.durable_batch)
        self.turn()

    def turn(self) -> None:
        """What can be dispatched is, and everybody reads; nothing becomes durable."""
        woken = None
        while woken != self.woken:
            woken = self.woken
            self.region.dispatch()
            for client in self.clients:
                client.read()
