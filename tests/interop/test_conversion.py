"""One message sent by any protocol is readable by every other: all directions, with third-party clients."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import proton
import pytest
import stomp
from proton.utils import BlockingConnection
from stomp.utils import Frame
from support.apache import JavaPrograms
from support.conversion_clients import AmqpClient, MqttClient, StompClient
from support.conversion_table import EXPECTED
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

from mqclient import ConnectionFactory, TextMessage

pytestmark = pytest.mark.interop

GROUP_FIRST = re.compile(r" \| (property )?JMSXGroupFirstForConsumer=true(:bool)?", re.IGNORECASE)
PROTOCOLS = ("openwire", "stomp", "mqtt", "amqp")
Ports = dict[str, int]
Received = dict[tuple[str, str], list[str]]
"""By sender and receiver."""


@pytest.fixture(scope="module")
def ports(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """Our broker with a connector for each protocol; where they listen."""
    add_user(zookeeper)
    ports = {name: free_port() for name in PROTOCOLS}
    broker = OurBroker(
        zookeeper,
        tmp_path_factory.mktemp("conversion"),
        port=ports["openwire"],
        properties={
            "connectors": " ".join(PROTOCOLS),
            **{f"{name}-port": str(port) for name, port in ports.items()},
        },
    )
    with running(broker):
        broker.wait_listening()
        yield ports


@pytest.fixture(scope="module")
def received(ports: Ports, programs: JavaPrograms, tmp_path_factory: pytest.TempPathFactory) -> Received:
    """Everybody listens to all topics and sends to its own: who received what from whom."""
    clients: dict[str, Any] = {
        "stomp": StompClient(ports["stomp"], "conversion.>"),
        "mqtt3": MqttClient(ports["mqtt"], "conversion/#", paho.MQTTv311),
        "mqtt5": MqttClient(ports["mqtt"], "conversion/#", paho.MQTTv5),
        "amqp": AmqpClient(ports["amqp"], "conversion.>"),
    }
    rows: Received = {}
    count = sum(len(receivers["openwire"]) for receivers in EXPECTED.values())
    url = f"tcp://127.0.0.1:{ports['openwire']}"
    arguments = (url, "conversion.>", "conversion.openwire", str(count))
    with programs.start(tmp_path_factory.mktemp("java") / "output", "Conversion", *arguments) as java:
        java.wait_for("ready")
        for name, client in clients.items():
            client.send(f"conversion/{name}" if name.startswith("mqtt") else f"conversion.{name}")
        java.wait_for("done", timeout_s=60)
        java.tell_to_stop()
        for line in java.values("got"):
            topic, _, row = line.partition(" | ")
            rows.setdefault((topic.rpartition(".")[2], "openwire"), []).append(row)
    for name, client in clients.items():
        for sender, row in client.wait(count):
            rows.setdefault((sender, name), []).append(row)
        client.close()
    return rows


@pytest.mark.parametrize("receiver", EXPECTED)
@pytest.mark.parametrize("sender", EXPECTED)
def test_everybody_reads_everybody(received: Received, sender: str, receiver: str) -> None:
    """Headers, properties and bodies arrive as the table in the documentation says."""
    assert received[sender, receiver] == EXPECTED[sender][receiver]


def test_over_queues_it_is_the_same(ports: Ports) -> None:
    """Who reads it finds what a topic would give; but only a queue says who is the first of a group."""
    clients = {
        "stomp": StompClient(ports["stomp"], "conversion.stomp.>", "queue"),
        "amqp": AmqpClient(ports["amqp"], "conversion.amqp.>", "queue"),
    }
    for receiver, reading in clients.items():
        count = sum(sending.send(f"conversion.{receiver}.{sender}") for sender, sending in clients.items())
        rows: dict[str, list[str]] = {}
        for sender, row in reading.wait(count):
            rows.setdefault(sender, []).append(GROUP_FIRST.sub("", row))
        assert rows == {sender: EXPECTED[sender][receiver] for sender in clients}, receiver
    for client in clients.values():
        client.close()


# ---- questions and answers over temporary queues


class OpenWire:
    """mqclient."""

    def __init__(self, ports: Ports) -> None:
        factory = ConnectionFactory(f"tcp://127.0.0.1:{ports['openwire']}", "admin", "admin")
        self._connection = factory.create_connection()
        self._connection.start()
        self._session = self._connection.create_session()

    def serve(self, name: str) -> Callable[[], None]:
        """Be ready to answer one question."""
        consumer = self._session.create_consumer(self._session.create_queue(name))

        def answer() -> None:
            question = consumer.receive(30)
            assert isinstance(question, TextMessage)
            assert question.reply_to is not None
            reply = self._session.create_text_message(f"{question.text}, answered")
            reply.correlation_id = question.correlation_id
            self._session.create_producer(question.reply_to).send(reply)

        return answer

    def ask(self, name: str) -> Callable[[], tuple[str | None, str | None]]:
        """Ask a question; the answer and its correlation id are awaited later."""
        answers = self._session.create_temporary_queue()
        consumer = self._session.create_consumer(answers)
        message = self._session.create_text_message("asked by openwire")
        message.reply_to = answers
        message.correlation_id = "7"
        self._session.create_producer(self._session.create_queue(name)).send(message)

        def answer() -> tuple[str | None, str | None]:
            got = consumer.receive(30)
            assert isinstance(got, TextMessage)
            return got.text, got.correlation_id

        return answer

    def close(self) -> None:
        """Go."""
        self._connection.close()


class Stomp(stomp.ConnectionListener):
    """stomp.py."""

    def __init__(self, ports: Ports) -> None:
        self._frames: queue.Queue[Frame] = queue.Queue()
        self._connection = stomp.Connection12([("127.0.0.1", ports["stomp"])], auto_content_length=False)
        self._connection.set_listener("", self)
        self._connection.connect("admin", "admin", wait=True)
        self._ready = threading.Event()

    def on_message(self, frame: Frame) -> None:
        """Keep it."""
        self._frames.put(frame)

    def on_receipt(self, frame: Frame) -> None:
        """It has subscribed."""
        del frame
        self._ready.set()

    def _subscribe(self, name: str) -> None:
        self._connection.subscribe(name, id="1", headers={"receipt": "1"})
        assert self._ready.wait(30)

    def serve(self, name: str) -> Callable[[], None]:
        """Be ready to answer one question."""
        self._subscribe(f"/queue/{name}")

        def answer() -> None:
            question = self._frames.get(timeout=30)
            headers = {"correlation-id": question.headers["correlation-id"]}
            self._connection.send(question.headers["reply-to"], f"{question.body}, answered", headers=headers)

        return answer

    def ask(self, name: str) -> Callable[[], tuple[str | None, str | None]]:
        """Ask a question; the answer and its correlation id are awaited later."""
        self._subscribe("/temp-queue/answers")
        headers = {"reply-to": "/temp-queue/answers", "correlation-id": "7"}
        self._connection.send(f"/queue/{name}", "asked by stomp", headers=headers)

        def answer() -> tuple[str | None, str | None]:
            frame = self._frames.get(timeout=30)
            return frame.body, frame.headers["correlation-id"]

        return answer

    def close(self) -> None:
        """Go."""
        self._connection.disconnect()


class Amqp:
    """Qpid Proton's blocking client."""

    def __init__(self, ports: Ports) -> None:
        self._connection = BlockingConnection(
            f"amqp://127.0.0.1:{ports['amqp']}",
            user="admin",
            password="admin",
            allowed_mechs="PLAIN",
            timeout=30,
        )

    def serve(self, name: str) -> Callable[[], None]:
        """Be ready to answer one question."""
        receiver = self._connection.create_receiver(f"queue://{name}", credit=1)

        def answer() -> None:
            question = receiver.receive(timeout=30)
            receiver.accept()
            reply = proton.Message(f"{question.body}, answered", correlation_id=question.correlation_id)
            self._connection.create_sender(question.reply_to).send(reply)

        return answer

    def ask(self, name: str) -> Callable[[], tuple[str | None, str | None]]:
        """Ask a question; the answer and its correlation id are awaited later."""
        receiver = self._connection.create_receiver(None, dynamic=True, credit=1)
        address = receiver.link.remote_source.address
        message = proton.Message("asked by amqp", reply_to=address, correlation_id="7")
        self._connection.create_sender(f"queue://{name}").send(message)

        def answer() -> tuple[str | None, str | None]:
            got = receiver.receive(timeout=30)
            return str(got.body), str(got.correlation_id)

        return answer

    def close(self) -> None:
        """Go."""
        self._connection.close()


CLIENTS: dict[str, Callable[[Ports], Any]] = {"openwire": OpenWire, "stomp": Stomp, "amqp": Amqp}


@pytest.mark.parametrize("answering", CLIENTS)
@pytest.mark.parametrize("asking", CLIENTS)
def test_answers_find_their_way(ports: Ports, asking: str, answering: str) -> None:
    """A question from a temporary queue of any protocol is answered there by any other."""
    server, client = CLIENTS[answering](ports), CLIENTS[asking](ports)
    name = f"conversion.{asking}.{answering}"
    serve = server.serve(name)
    answer = client.ask(name)
    serve()
    assert answer() == (f"asked by {asking}, answered", "7")
    client.close()
    server.close()
