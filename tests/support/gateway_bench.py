"""A gateway on a fake reactor: clients and brokers are sockets in memory, and so is the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.connector import Socket
from support.fake_zookeeper import FakeZooKeeper
from support.pump import Pump
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from fabric.gateway.config import DETECTING_PID
from fabric.gateway.gateway import Gateway
from fabric.services.gateway import read_config
from registry import paths

STOMP = b"CONNECT\naccept-version:1.2\n\n\0"
MQTT = b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04me"
OPENWIRE = b"\0\0\0\xf0\x01ActiveMQ\0\0\0\x0c"


class Peer(Socket):
    """The far end of a socket, with what it has been told and what it can do."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.peer = IPv4Address("TCP", host, 40_000)
        self.half_closed = self.closed = self.aborted = False
        self.reading = True
        self.protocol: Any = None

    def getPeer(self) -> IPv4Address:  # noqa: N802 - Twisted's name
        """Where it is."""
        return self.peer

    def getHost(self) -> IPv4Address:  # noqa: N802 - Twisted's name
        """Where it has come to."""
        return IPv4Address("TCP", "192.0.2.9", 61_616)

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Closed when all is written."""
        self.closed = True

    @property
    def got(self) -> bytes:
        """What it has been sent so far."""
        return b"".join(self.writes)

    def says(self, data: bytes) -> None:
        """Something arrives from it."""
        assert self.reading, "nobody reads"
        self.protocol.dataReceived(data)

    def ends(self) -> None:
        """It sends nothing more."""
        self.protocol.readConnectionLost()

    def leaves(self) -> None:
        """It is gone."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


class GatewayBench:
    """One gateway that leads to the group `g`."""

    def __init__(self, folder: Path, pid: str = DETECTING_PID, **properties: str) -> None:
        self.reactor = MemoryReactorClock()
        self.pump = Pump()
        self.zookeeper = FakeZooKeeper()
        self.brokers = self.pump.open_session(self.zookeeper)
        self.session = self.pump.open_session(self.zookeeper)
        home = SimpleNamespace(
            authority_certificate=folder / "ca.pem",
            container_certificate=lambda name: folder / f"{name}.pem",
        )
        self.context: Any = SimpleNamespace(
            reactor=self.reactor,
            session=self.session,
            home=home,
            container="edge",
            bind_address="127.0.0.1",
            advertised_host="gateway.example.com",
            port_min=0,
            port_max=65_535,
        )
        self.pid = pid
        self.gateway = Gateway(self.context, self.config(**properties), 0.0)
        self.gateway.start()
        self.pump.run()
        self.connected = 0

    def config(self, **properties: str) -> Any:
        """A configuration of its kind."""
        named = {key.replace("_", "."): value for key, value in properties.items()}
        return read_config(self.pid, {"group": "g", **named}, self.context)

    # ---- the registry

    def join(self, container: str, *urls: str, broker: str = "b") -> str:
        """A broker joins the group; returns its znode."""
        record = {"id": broker, "container": container, "ready": True, "services": urls}
        parent = paths.amq_group("g")
        path = self.brokers.create(
            f"{parent}/0", json.dumps(record).encode(), ephemeral=True, sequential=True
        )
        self.pump.run()
        return path

    def publish(self, path: str, container: str, *urls: str, broker: str = "b") -> None:
        """It says where it serves."""
        record = {"id": broker, "container": container, "ready": True, "services": urls}
        self.brokers.set(path, json.dumps(record).encode())
        self.pump.run()

    def leave(self, path: str) -> None:
        """A broker is gone."""
        self.brokers.delete(path)
        self.pump.run()

    def published(self) -> list[Mapping[str, Any]]:
        """The records of gateways."""
        self.pump.run()
        parent = paths.gateway_group("g")
        names = self.brokers.children(parent) if self.brokers.exists(parent) else []
        return [json.loads(self.brokers.get(f"{parent}/{name}").data) for name in names]

    # ---- sockets

    def client(self, host: str = "192.0.2.1", port: int = 0) -> Peer | None:
        """A client comes; None: it is not let in.

        Args:
            host: from where.
            port: the number of the gateway's port.
        """
        factory = self.reactor.tcpServers[port][1]
        protocol = factory.buildProtocol(IPv4Address("TCP", host, 40_000))
        if protocol is None:
            return None
        peer = Peer(host)
        peer.protocol = protocol
        protocol.makeConnection(peer)
        return peer

    def attempts(self) -> list[tuple[str, int, Any]]:
        """Connections that the gateway wants to make, since this was last asked."""
        found = [(host, port, factory) for host, port, factory, _, _ in self.reactor.tcpClients]
        self.reactor.tcpClients.clear()
        return found

    def accept(self, host: str = "h", port: int | None = None) -> Peer:
        """The broker there accepts the next connection, the only one that is wanted."""
        ((wanted_host, wanted_port, factory),) = self.attempts()
        assert (wanted_host, port or wanted_port) == (host, wanted_port)
        return self.accepted(factory)

    def accepted(self, factory: Any) -> Peer:
        """The broker accepts this connection."""
        peer = Peer("h")
        peer.protocol = factory.buildProtocol(None)
        peer.protocol.makeConnection(peer)
        self.pump.run()
        return peer

    def refuse_connections(self) -> int:
        """Nobody listens where the gateway wants to connect; returns how often it did."""
        attempts = self.attempts()
        for _, _, factory in attempts:
            factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.pump.run()
        return len(attempts)

    def serving(self, *urls: str, container: str = "m") -> str:
        """A master whose ports have answered; returns its znode."""
        path = self.join(container, *(urls or ("tcp://h:1", "stomp://h:2", "mqtt://h:3")))
        for _, _, factory in self.attempts():
            assert self.accepted(factory).closed
        return path

    def linked(self, first: bytes = STOMP) -> tuple[Peer, Peer]:
        """A client that is led to a broker: both ends."""
        client = self.client()
        assert client is not None
        client.says(first)
        return client, self.accept()

    def pass_time(self, seconds: float) -> None:
        """Let the time pass."""
        self.reactor.advance(seconds)
        self.pump.run()
