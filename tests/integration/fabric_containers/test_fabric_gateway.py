"""A gateway in a real fabric: profile, ports, takeovers of every kind, outages, and what is shown of it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until
from support.zookeeper import free_ports

from mqclient import ClientError, ConnectionFactory
from mqclient.connection import Connection

pytestmark = pytest.mark.integration

BROKER = "led"
PROFILE = f"mq-broker-default.{BROKER}"
PAIR = ("pair1", "pair2")
PID = "io.fabric8.gateway.detecting"
PATIENCE_S = 60.0


class Scene:
    """A pair of brokers behind a gateway."""

    def __init__(self, fabric: FabricForTests, port: int) -> None:
        self.fabric = fabric
        self.url = f"tcp://127.0.0.1:{port}"
        self.port = port

    def connect(self) -> Connection:
        """A client that follows by itself."""
        url = f"failover:({self.url})?initialReconnectDelay=10&maxReconnectDelay=100"
        connection = ConnectionFactory(url, "admin", "admin").create_connection()
        connection.start()
        return connection

    def gateway(self) -> dict[str, Any]:
        """What the gateway tells the registry."""
        rows: list[dict[str, Any]] = self.fabric.json("gateway-list", "--group", "default")
        return rows[0]

    def state_of(self, container: str) -> set[str]:
        """How the gateway sees the master in a container; empty: that is none."""
        return {one["state"] for one in self.gateway()["masters"] if one["container"] == container}


def exchange(connection: Connection, number: int) -> None:
    """A message goes in, and comes out."""
    session = connection.create_session()
    session.create_producer("queue://led").send(session.create_text_message(str(number)))
    consumer = session.create_consumer("queue://led")
    message = consumer.receive(PATIENCE_S)
    assert message is not None
    assert message.text == str(number)
    session.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A fabric with a pair of brokers, and a container with the profile `gateway` on a port of its own."""
    fabric = FabricForTests(tmp_path_factory.mktemp("gateway"))
    (port,) = free_ports(1)
    try:
        fabric.create("--profile=fabric")
        fabric.run("mq-create", "--group", "default", BROKER)
        pid = f"io.fabric8.mq.fabric.server-{BROKER}"
        trusted = (f"{pid}/{name}-proxyProtocol.trusted=127.0.0.0/8" for name in ("openwire", "stomp"))
        fabric.run("profile-edit", *(word for each in trusted for word in ("--pid", each)), PROFILE)
        fabric.run(
            "profile-edit", "--pid", f"{PID}/port={port}", "--pid", f"{PID}/proxyProtocol=v2", "gateway"
        )
        for name in PAIR:
            fabric.run("container-create-child", "--profile", PROFILE, "root", name)
        fabric.run("container-create-child", "--profile", "gateway", "root", "edge")
        fabric.wait_master(BROKER, slaves=1)
        fabric.wait_provisioned("edge")
        scene = Scene(fabric, port)
        wait_until(lambda: scene.gateway()["masters"], PATIENCE_S, fabric.logs)
        yield scene
    finally:
        fabric.end()


def other(container: str) -> str:
    """The other one of the pair."""
    return PAIR[1 - PAIR.index(container)]


def test_a_client_is_led_to_the_master(scene: Scene) -> None:
    """It works, and the broker sees its own address; lists name port and master."""
    fabric = scene.fabric
    master = fabric.wait_master(BROKER, slaves=1)
    with scene.connect() as connection:
        exchange(connection, 1)
    with socket.create_connection(("127.0.0.1", scene.port), 30) as client:
        client.sendall(b"CONNECT\naccept-version:1.2\nlogin:admin\npasscode:admin\nhost:x\n\n\0")
        assert client.recv(1000).startswith(b"CONNECTED\n")
        rows = fabric.json("connection-list", "--broker", BROKER, "--password", "admin")
        assert f"tcp://127.0.0.1:{client.getsockname()[1]}" in {row["remote"] for row in rows}
    wait_until(lambda: scene.state_of(master) == {"up"}, PATIENCE_S, fabric.logs)
    table = fabric.run("gateway-list")
    assert f"mqtt://127.0.0.1:{scene.port}" in table
    assert master in table
    assert f"tcp://127.0.0.1:{scene.port}" in fabric.run("cluster-list", "gateway")
    assert PID in fabric.run("container-info", "--verbose", "edge")


def test_a_master_that_is_stopped(scene: Scene) -> None:
    """`container-stop` moves the client to the other container, through the same address."""
    fabric = scene.fabric
    master = fabric.wait_master(BROKER, slaves=1)
    with scene.connect() as connection:
        exchange(connection, 2)
        fabric.run("container-stop", master)
        exchange(connection, 3)
        assert fabric.broker(BROKER)["masters"] == [other(master)]
    fabric.run("container-start", master)
    fabric.wait_master(BROKER, slaves=1)


def test_a_master_that_freezes(scene: Scene) -> None:
    """It closes nothing; the gateway does so, when the other one has answered."""
    fabric = scene.fabric
    master = fabric.wait_master(BROKER, slaves=1)
    pid = fabric.pid(master)
    with scene.connect() as connection:
        exchange(connection, 4)
        os.kill(pid, signal.SIGSTOP)
        try:
            exchange(connection, 5)
        finally:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: scene.state_of(other(master)) == {"up"}, PATIENCE_S, fabric.logs)
    fabric.wait_master(BROKER, slaves=1)


def test_zookeeper_is_away(scene: Scene) -> None:
    """Who works goes on, and who comes is led to the master that was there."""
    fabric = scene.fabric
    fabric.wait_master(BROKER, slaves=1)
    zookeeper = fabric.zookeeper_pid()
    with scene.connect() as before:
        exchange(before, 6)
        os.kill(zookeeper, signal.SIGSTOP)
        try:
            exchange(before, 7)
            with scene.connect() as during:
                exchange(during, 8)
        finally:
            os.kill(zookeeper, signal.SIGCONT)
        exchange(before, 9)


def test_no_master_at_all(scene: Scene) -> None:
    """A client waits as long as it may, and is refused with words; who comes later is served again."""
    fabric = scene.fabric
    fabric.wait_master(BROKER, slaves=1)
    fabric.run("profile-edit", "--pid", f"{PID}/connectionWait=1000", "gateway")
    fabric.wait_provisioned("edge")
    fabric.run("container-stop", *PAIR)
    with socket.create_connection(("127.0.0.1", scene.port), 30) as client:
        client.sendall(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        words = b""
        while data := client.recv(1000):
            words += data
    assert words.startswith(b"ERROR\n")
    assert b"No broker serves at present" in words
    with pytest.raises(ClientError):
        ConnectionFactory(scene.url, "admin", "admin").create_connection()
    assert {one["state"] for one in scene.gateway()["masters"]} <= {"down", "trying"}
    fabric.run("container-start", PAIR[0])
    with scene.connect() as connection:
        exchange(connection, 10)


def test_the_profile_is_taken_away(scene: Scene) -> None:
    """The port is free, and the gateway is in no list."""
    fabric = scene.fabric
    fabric.run("container-remove-profile", "edge", "gateway")

    def is_refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", scene.port), 30).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_refused, PATIENCE_S, fabric.logs)
    wait_until(lambda: "No gateway runs" in fabric.run("gateway-list"), PATIENCE_S, fabric.logs)
