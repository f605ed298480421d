"""Clients of every kind of library follow a master that was killed, over TLS, each with its own reconnecting.

Proton does so in `test_amqp_proton.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import javascript
from support.certificates import Keys
from support.our_broker import OurBroker, add_user, running
from support.senders import WAIT_S, MqttSender, Sender, drained
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_ports

from mqclient import ConnectionFactory
from mqclient.tls import TlsFiles

pytestmark = pytest.mark.interop

ENOUGH = 30
"""Confirmed sends of each client before its master is killed, and again afterwards."""
CONNECTORS = ("openwire+ssl", "mqtt+ssl", "wss")


class OpenWire(Sender):
    """Our client's failover transport."""

    place = "queue://secure.openwire"

    def __init__(self, keys: Keys, ports: dict[str, int]) -> None:
        super().__init__()
        self.keys = keys
        self.ports = ports

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
    mqtt = MqttSender("secure", "localhost", ports["mqtt+ssl"], keys.client())
    with ConnectionFactory(first.url, "admin", "admin").create_connection() as setting_up:
        setting_up.create_session().create_consumer(mqtt.place).close()  # the queue of the topic's messages
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(keys.trust))
    web = javascript.start(tmp_path / "web", "mqtt.js", "numbers", f"wss://localhost:{ports['wss']}/", "300")
    senders = [OpenWire(keys, ports), mqtt]
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
