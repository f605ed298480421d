"""Clients of every kind of library follow a master that was killed, over TLS, each with its own reconnecting.

Proton does so in `test_amqp_proton.py`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support import javascript
from support.certificates import Keys
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_ports

from mqclient import ConnectionFactory, TextMessage
from mqclient.tls import TlsFiles

pytestmark = pytest.mark.interop

WAIT_S = 60.0
ENOUGH = 30
"""Confirmed sends of each client before its master is killed, and again afterwards."""
CONNECTORS = ("openwire+ssl", "mqtt+ssl", "wss")


class Sender(ABC):
    """Sends numbers, each until it is confirmed, until it is told to stop."""

    def __init__(self, keys: Keys, ports: dict[str, int]) -> None:
        self.keys = keys
        self.ports = ports
        self.confirmed: list[int] = []
        self.thread = threading.Thread(target=self._run)
        self._stopping = threading.Event()

    def _run(self) -> None:
        self.connect()
        number = 0
        while not self._stopping.is_set():
            if self.send(number):
                self.confirmed.append(number)
                number += 1
        self.close()

    def stop(self) -> None:
        """No further number."""
        self._stopping.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()

    @abstractmethod
    def connect(self) -> None:
        """Log in."""

    @abstractmethod
    def send(self, number: int) -> bool:
        """Try it once; whether it is confirmed."""

    @abstractmethod
    def close(self) -> None:
        """Leave."""


class OpenWire(Sender):
    """Our client's failover transport."""

    place = "queue://secure.openwire"

    def connect(self) -> None:
        """See `Sender`."""
        url = f"ssl://localhost:{self.ports['openwire+ssl']}"
        tls = TlsFiles(trust_store=str(self.keys.trust))
        factory = ConnectionFactory(f"failover:({url})?initialReconnectDelay=20", "admin", "admin", tls=tls)
        self._connection = factory.create_connection()
        self._session = self._connection.create_session()
        self._producer = self._session.create_producer(self.place)

    def send(self, number: int) -> bool:
        """See `Sender`."""
        self._producer.send(self._session.create_text_message(str(number)))
        return True

    def close(self) -> None:
        """See `Sender`."""
        self._connection.close()


class Mqtt(Sender):
    """Eclipse Paho, which sends what was not confirmed again by itself."""

    place = "queue://Consumer.secure.VirtualTopic.mqtt"

    def connect(self) -> None:
        """See `Sender`."""
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "secure", clean_session=False)
        self._client.tls_set_context(self.keys.client())
        self._client.username_pw_set("admin", "admin")
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("localhost", self.ports["mqtt+ssl"])
        self._client.loop_start()

    def send(self, number: int) -> bool:
        """See `Sender`."""
        told = self._client.publish("VirtualTopic/mqtt", str(number), qos=1)
        told.wait_for_publish(WAIT_S)
        return told.is_published()

    def close(self) -> None:
        """See `Sender`."""
        self._client.disconnect()
        self._client.loop_stop()


def drained(connection: Any, place: str, last: int) -> set[int]:
    """The numbers in a queue, up to the last."""
    consumer = connection.create_session().create_consumer(place)
    numbers: set[int] = set()
    while last not in numbers:
        message = consumer.receive(20.0)
        assert message is not None, f"{place}: {last} is not among {sorted(numbers)[-5:]}"
        text = message.text if isinstance(message, TextMessage) else message.data.decode()
        numbers.add(int(text))
    return numbers


@pytest.fixture
def brokers(
    zookeeper: ZooKeeperForTests, tmp_path: Path
) -> Iterator[tuple[OurBroker, OurBroker, Keys, dict[str, int]]]:
    """A master, a slave with the same ports, the keys, and the ports by the connectors' names."""
    add_user(zookeeper)
    keys = Keys(tmp_path / "keys")
    plain, other, *rest = free_ports(2 + len(CONNECTORS))
    ports = dict(zip(CONNECTORS, rest, strict=True))
    properties = {
        "connectors": f"openwire {' '.join(CONNECTORS)}",
        "ssl.keyStore": str(keys.server),
        **{f"{name}-port": str(port) for name, port in ports.items()},
    }
    first = OurBroker(zookeeper, tmp_path, port=plain, container="first", properties=properties)
    with running(first):
        first.wait_listening()
        second = OurBroker(zookeeper, tmp_path, port=other, container="second", properties=properties)
        with running(second):
            wait_until(lambda: "waiting to become" in second.log.read_text("utf-8"), WAIT_S)
            yield first, second, keys, ports


def test_a_killed_master(
    brokers: tuple[OurBroker, OurBroker, Keys, dict[str, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing that was confirmed is lost, whoever sent it; mqtt.js over wss gets each number once."""
    first, second, keys, ports = brokers
    with ConnectionFactory(first.url, "admin", "admin").create_connection() as setting_up:
        setting_up.create_session().create_consumer(Mqtt.place).close()  # the queue of the topic's messages
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(keys.trust))
    web = javascript.start(tmp_path / "web", "mqtt.js", "numbers", f"wss://localhost:{ports['wss']}/", "300")
    senders = [kind(keys, ports) for kind in (OpenWire, Mqtt)]
    with web:
        for sender in senders:
            sender.thread.start()
        try:
            for sender in senders:
                wait_until(lambda each=sender: len(each.confirmed) >= ENOUGH, WAIT_S)
            web.wait_for("confirmed", 20)
            first.kill()
            before = [len(sender.confirmed) for sender in senders]
            for sender, count in zip(senders, before, strict=True):
                wait_until(
                    lambda each=sender, least=count: len(each.confirmed) >= least + ENOUGH,
                    WAIT_S,
                    f"{type(sender).__name__} goes on behind {count}",
                )
        finally:
            for sender in senders:
                sender.stop()
        web.wait_for("done")
        assert web.wait_for("got", 300) == [f"{number}" for number in range(300)]
    with ConnectionFactory(second.url, "admin", "admin").create_connection() as reading:
        reading.start()
        for sender in senders:
            last = sender.confirmed[-1]
            assert drained(reading, sender.place, last) >= set(range(last + 1)), sender.place
