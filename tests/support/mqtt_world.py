"""Clients of the MQTT server without sockets, over a region in memory whose masters can be killed."""

from __future__ import annotations

from typing import Any

from support.memory_broker import Users
from support.mqtt_peer import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    Property,
    Reply,
    ack,
    connect,
    publish,
    read_replies,
    subscribe,
)
from support.region import MemoryStore, new_region

from broker.authorization import Authorization, Rights
from broker.connectors import ConnectorConfig, PortRange
from broker.mqtt.server import MqttServer
from broker.mqtt.sessions import Sessions
from broker.region.region import Region
from broker.serving import ServerContext
from journal.record import Record

SESSION_EXPIRY, WILL_DELAY = 0x11, 0x18


class MqttBroker:
    """A master in memory, and its clients; the time is the region's."""

    def __init__(
        self, region: Region | None = None, *, authorization: Authorization | None = None, **config: Any
    ) -> None:
        self.users = Users()
        self.config = ConnectorConfig("mqtt", "mqtt", "mqtt", PortRange(0, 0), **config)
        self.clients: list[MqttClient] = []
        self.begin(region or new_region())
        if authorization is not None:
            self.region.rights = Rights(authorization, lambda _: ())

    def begin(self, region: Region) -> None:
        """A mastership begins."""
        self.region = region
        self.sessions = Sessions.of(region)
        self.clients = []
        self.settle()

    @property
    def store(self) -> MemoryStore:
        """The journal."""
        assert isinstance(self.region.store, MemoryStore)
        return self.region.store

    def kill(self, *, batches: int | None = None) -> None:
        """The master is killed, and another takes over, whose first turn is done.

        Args:
            batches: that are durable; None: all.
        """
        now_ms = self.region.now_ms
        region = new_region(self.store.records(batches))
        region.now_ms = now_ms
        self.begin(region)

    def server(self) -> MqttServer:
        """A server for one more client."""
        context = ServerContext(
            self.config, self.region, self.users, "ID:broker-1", "broker", "mqtt://127.0.0.1:1"
        )
        return MqttServer(context, "tcp://127.0.0.1:2", 0.0, lambda: None)

    def settle(self) -> None:
        """Turns, until nothing happens any more: the journal makes all durable, clients read."""
        store = self.store
        while True:
            before = len(store.batches), sum(len(each.replies) for each in self.clients)
            self.turn()
            store.durable_batch = len(store.batches)
            self.region.durable(store.durable_batch)
            for client in self.clients:
                client.server.durable(store.durable_batch)
            self.turn()
            if before == (len(store.batches), sum(len(each.replies) for each in self.clients)):
                return

    def turn(self) -> None:
        """A turn in which nothing becomes durable."""
        self.region.advance(self.region.now_ms)
        self.region.dispatch()
        for client in self.clients:
            client.read()

    def wait_ms(self, time_ms: int) -> None:
        """Time goes by."""
        self.region.advance(self.region.now_ms + time_ms)
        self.settle()

    def records(self) -> list[Record]:
        """Everything in the journal."""
        return self.store.records()


class MqttClient:
    """One connection, which has logged in if nothing else is said.

    Attributes:
        replies: what the broker said and nobody has taken.
        connack: the answer to the login.
    """

    def __init__(
        self,
        broker: MqttBroker,
        client_id: str = "c1",
        *,
        version: int = 5,
        expiry_s: int = 0,
        user: str | None = "admin",
        password: bytes | None = b"admin",
        values: tuple[Property, ...] = (),
        settle: bool = True,
        **options: Any,
    ) -> None:
        self.broker = broker
        self.version = version
        self.server = broker.server()
        self.replies: list[Reply] = []
        self._rest = b""
        broker.clients.append(self)
        if expiry_s:
            values = (*values, (SESSION_EXPIRY, expiry_s))
        options.setdefault("clean", version == 5 and not expiry_s)
        self.server.receive_data(
            connect(client_id, version=version, user=user, password=password, values=values, **options), 0.0
        )
        if settle:
            broker.settle()
            self.connack = self.take(CONNACK)

    def read(self) -> None:
        """Take what there is to be written."""
        replies, self._rest = read_replies(self._rest + self.server.data_to_send(), self.version)
        self.replies += replies
        connection = self.server.connection
        if connection is not None and not connection.closed:
            connection.replenish()

    def say(self, *packets: bytes, settle: bool = True) -> None:
        """Send packets."""
        self.server.receive_data(b"".join(packets), 0.0)
        if settle:
            self.broker.settle()

    def take(self, kind: int) -> Reply:
        """The oldest packet of a type."""
        found = next(each for each in self.replies if each.kind == kind)
        self.replies.remove(found)
        return found

    def drain(self) -> list[Reply]:
        """All packets."""
        replies, self.replies = self.replies, []
        return replies

    def subscribe(self, *filters: tuple[str, int], values: tuple[Property, ...] = ()) -> list[int]:
        """Subscribe; the codes."""
        self.say(subscribe(9, filters, version=self.version, values=values))
        return self.take(SUBACK).codes

    def publish(
        self, topic: str, payload: bytes = b"x", qos: int = 0, packet_id: int = 7, **more: Any
    ) -> None:
        """Publish, and finish the exchange."""
        self.say(publish(topic, payload, qos, packet_id, version=self.version, **more))
        if qos == 1:
            assert self.take(PUBACK).code == 0
        elif qos:
            assert self.take(PUBREC).code == 0
            self.say(ack(PUBREL, packet_id))
            assert self.take(PUBCOMP).code == 0

    def messages(self) -> list[Reply]:
        """The messages that came, each of which is answered until nothing is open."""
        found = []
        while waiting := [each for each in self.replies if each.kind in (PUBLISH, PUBREL)]:
            for each in waiting:
                self.replies.remove(each)
                if each.kind == PUBREL:
                    self.say(ack(PUBCOMP, each.packet_id), settle=False)
                    continue
                found.append(each)
                if each.qos:
                    self.say(ack(PUBACK if each.qos == 1 else PUBREC, each.packet_id), settle=False)
            self.broker.settle()
        return found

    def payloads(self) -> list[bytes]:
        """What those messages hold."""
        return [each.payload for each in self.messages()]

    def vanish(self) -> None:
        """The socket is gone."""
        self.server.connection_lost("gone")
        self.broker.clients.remove(self)
        self.broker.settle()
