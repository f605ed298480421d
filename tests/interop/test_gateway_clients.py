"""Other people's clients through a gateway: they know its one address, and follow masters that are killed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from proton.reactor import Container
from proton.utils import BlockingConnection
from support.apache import JavaPrograms
from support.our_broker import OurBroker, add_user, running
from support.our_gateway import MQ, OurGateway
from support.senders import WAIT_S, MqttSender, Sending, StompSender, drained
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from mqclient import ConnectionFactory

pytestmark = pytest.mark.interop

ENOUGH = 30
"""Confirmed sends of each client before the master is killed, and again afterwards."""
AMQP_COUNT = 1_000


class Scene:
    """A master and a slave on whatever ports are free, and a gateway of each kind."""

    def __init__(self, first: OurBroker, second: OurBroker, detecting: OurGateway, ports: OurGateway) -> None:
        self.first = first
        self.second = second
        self.detecting = detecting
        self.ports = ports


@pytest.fixture(scope="module")
def scene(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """For all tests here, the last of which kills the master."""
    add_user(zookeeper)
    folder = tmp_path_factory.mktemp("gateway")
    properties = {"connectors": "openwire stomp mqtt amqp", "amqp-wireFormat.idleTimeout": "6000"}
    free = {f"{name}Port": "0" for name in ("openWire", "stomp", "mqtt", "amqp", "websocket")}
    first = OurBroker(zookeeper, folder, port=free_port(), container="first", properties=properties)
    with running(first):
        second = OurBroker(zookeeper, folder, port=free_port(), container="second", properties=properties)
        with (
            running(second),
            OurGateway(zookeeper, folder, {"port": "0"}) as detecting,
            OurGateway(zookeeper, folder, free, pid=MQ, container="edge2") as ports,
        ):
            detecting.wait_masters(4)
            ports.wait_masters(4)
            wait_until(lambda: "waiting to become" in second.log.read_text("utf-8"), WAIT_S)
            yield Scene(first, second, detecting, ports)


def test_garbage_on_each_port(scene: Scene) -> None:
    """It is closed at once, whatever port it comes to, and nobody else notices."""
    for gateway in (scene.detecting, scene.ports):
        for scheme in ("tcp", "stomp", "mqtt", "amqp", "ws"):
            for garbage in (b"SSH-2.0-x\r\n", b"\xff" * 64, b"\0" * 64):
                with socket.create_connection(("127.0.0.1", gateway.port(scheme)), 30) as client:
                    client.sendall(garbage)
                    assert client.recv(100) == b""
        with ConnectionFactory(gateway.url(), "admin", "admin").create_connection() as connection:
            connection.create_session().create_producer("queue://x").close()
        wait_until(lambda each=gateway: each.status()["connections"] == 0, message=gateway.text)


def test_a_killed_master(scene: Scene, programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's Java client, stomp.py, Paho and Proton go on; nothing that was confirmed is lost."""
    gateway, ports = scene.detecting, scene.ports
    stomp = StompSender(gateway.port("stomp"))
    mqtt = MqttSender("gateway", "127.0.0.1", ports.port("mqtt"))
    amqp = Sending([ports.url("amqp")], AMQP_COUNT)
    with ConnectionFactory(gateway.url(), "admin", "admin").create_connection() as setting_up:
        setting_up.create_session().create_consumer(mqtt.place).close()  # the queue of the topic's messages
    java_url = f"failover:({gateway.url()})?initialReconnectDelay=10&maxReconnectDelay=100"
    proton = threading.Thread(target=Container(amqp).run)
    with programs.start(tmp_path / "sent", "SendUntilTold", java_url, "interop.java", "5") as java:
        proton.start()
        for sender in (stomp, mqtt):
            sender.thread.start()
        try:
            java.wait_for("acknowledged", ENOUGH)
            for sender in (stomp, mqtt):
                wait_until(lambda each=sender: len(each.confirmed) >= ENOUGH, WAIT_S)
            wait_until(lambda: len(amqp.accepted) >= ENOUGH, WAIT_S)
            serving = next(each for each in (scene.first, scene.second) if each.port in each.listening())
            serving.kill()
            java.wait_for("acknowledged", len(java.values("acknowledged")) + ENOUGH, WAIT_S)
            for sender in (stomp, mqtt):
                least = len(sender.confirmed) + ENOUGH
                wait_until(lambda each=sender, to=least: len(each.confirmed) >= to, WAIT_S, gateway.text)
        finally:
            for sender in (stomp, mqtt):
                sender.stop()
            proton.join(WAIT_S)
        assert not proton.is_alive()
        java.tell_to_stop()
        acknowledged = [int(number) for number in java.values("acknowledged")]
    assert programs.facts("Drain", java_url, "interop.java") == [f"received: {each}" for each in acknowledged]
    with ConnectionFactory(gateway.url(), "admin", "admin").create_connection() as reading:
        reading.start()
        for sender in (stomp, mqtt):
            last = sender.confirmed[-1]
            assert drained(reading, sender.place, last) >= set(range(last + 1)), sender.place
    client = BlockingConnection(
        gateway.url("amqp"),
        timeout=20.0,
        allow_insecure_mechs=True,
        user="admin",
        password="admin",
    )
    receiver = client.create_receiver("proton.failover", credit=100)
    got: set[int] = set()
    while len(got) < AMQP_COUNT:
        got.add(receiver.receive(timeout=20.0).body)
        receiver.accept()
    client.close()
