"""Qpid Proton's own Python client against our broker, and after its master was killed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proton import Connection, ConnectionException, Event, Message, SSLDomain
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import Container, Copy, DurableSubscription, Selector, Transaction
from proton.utils import (
    BlockingConnection,
    BlockingReceiver,
    LinkDetached,
    SyncRequestResponse,
)
from support.certificates import Keys
from support.our_broker import OurBroker, add_user, running
from support.senders import Sending
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop

IDLE_MS = 6_000
"""Proton's Python client reads nothing behind a close: a heart-beat tells it that its socket is gone."""


def our_broker(
    zookeeper: ZooKeeperForTests, folder: Path, container: str = "first", keys: Keys | None = None
) -> tuple[OurBroker, int]:
    """A broker of ours with an AMQP connector, with TLS if there are keys, and its port."""
    port = free_port()
    properties = {"connectors": "openwire amqp", "amqp-port": str(port)}
    if keys is not None:
        properties = {
            "connectors": "openwire amqp+ssl",
            "amqp+ssl-port": str(port),
            "ssl.keyStore": str(keys.server),
        }
    properties[f"{properties['connectors'].split()[1]}-wireFormat.idleTimeout"] = str(IDLE_MS)
    return OurBroker(zookeeper, folder, port=free_port(), container=container, properties=properties), port


@pytest.fixture(scope="module")
def url(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a broker speaks AMQP."""
    add_user(zookeeper)
    broker, port = our_broker(zookeeper, tmp_path_factory.mktemp("amqp"))
    with running(broker):
        broker.wait_listening()
        yield f"amqp://127.0.0.1:{port}"


@pytest.fixture
def connection(url: str) -> Iterator[BlockingConnection]:
    """One client."""
    client = connect(url)
    yield client
    client.close()


def connect(url: str, **options: Any) -> BlockingConnection:
    """One more client."""
    options.setdefault("user", "admin")
    options.setdefault("password", "admin")
    return BlockingConnection(url, timeout=20.0, allow_insecure_mechs=True, **options)


def test_messages_come_back_as_they_went(connection: BlockingConnection) -> None:
    """Bodies, headers and properties of every kind."""
    sender = connection.create_sender("proton.bodies")
    receiver = connection.create_receiver("proton.bodies", credit=10)
    bodies: list[Any] = [
        "text",
        b"bytes",
        {"a": 1, "b": [1.5, None]},
        [1, "two"],
        7,
        True,
        None,
        "x" * 3_000_000,
    ]
    for body in bodies:
        message = Message(body, durable=True, subject="kind", properties={"number": 5}, priority=6)
        sender.send(message)
        got = receiver.receive()
        receiver.accept()
        assert got.body == body
        assert (got.subject, got.properties, got.priority, got.durable) == ("kind", {"number": 5}, 6, True)


def test_wrong_password(url: str) -> None:
    """The login is refused."""
    with pytest.raises(ConnectionException):
        connect(url, password="wrong")


def test_released_and_rejected(connection: BlockingConnection) -> None:
    """What is released comes again, what is rejected is a dead letter."""
    connection.create_sender("proton.outcomes").send(Message("one", durable=True))
    receiver = connection.create_receiver("proton.outcomes", credit=1)
    receiver.receive()
    receiver.release(delivered=True)
    receiver.link.flow(1)
    assert receiver.receive().body == "one"
    receiver.reject()
    dead = connection.create_receiver("ActiveMQ.DLQ", credit=1)
    assert dead.receive().body == "one"
    dead.accept()


def test_selectors_and_browsers(connection: BlockingConnection) -> None:
    """Filters of the source."""
    sender = connection.create_sender("proton.filters")
    for number in range(4):
        sender.send(Message(str(number), durable=True, properties={"n": number}))
    browser = connection.create_receiver("proton.filters", credit=10, options=[Copy(), Selector("n > 1")])
    assert [browser.receive().body for _ in range(2)] == ["2", "3"]
    browser.close()
    taker = connection.create_receiver("proton.filters", credit=10)
    for number in range(4):
        assert taker.receive().body == str(number)
        taker.accept()


def test_a_wrong_selector_is_refused(connection: BlockingConnection) -> None:
    """By the condition of its own."""
    with pytest.raises(LinkDetached, match="invalid-field"):
        connection.create_receiver("proton.wrong", options=Selector("n > "))


class Answering(MessagingHandler):
    """Answers what it is asked, through the anonymous relay."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.is_ready = threading.Event()
        self.relay: Any = None
        self.connection: Connection | None = None

    def on_start(self, event: Event) -> None:
        """Connect."""
        self.connection = event.container.connect(
            self._url, user="admin", password="admin", allow_insecure_mechs=True
        )
        event.container.create_receiver(self.connection, "proton.questions")
        self.relay = event.container.create_sender(self.connection, None)

    def on_link_opened(self, event: Event) -> None:
        """Both links are there when the second is."""
        if event.link == self.relay:
            self.is_ready.set()

    def on_message(self, event: Event) -> None:
        """A question."""
        question = event.message
        self.relay.send(
            Message(question.body.upper(), address=question.reply_to, correlation_id=question.correlation_id)
        )
        assert self.connection is not None
        if question.body == "end":
            self.connection.close()


def test_request_and_reply(url: str, connection: BlockingConnection) -> None:
    """A dynamic node takes the answers."""
    answering = Answering(url)
    thread = threading.Thread(target=Container(answering).run)
    thread.start()
    try:
        assert answering.is_ready.wait(20.0)
        client = SyncRequestResponse(connection, "proton.questions")
        assert client.reply_to.startswith("temp-queue://")
        assert client.call(Message("hello")).body == "HELLO"
        assert client.call(Message("end")).body == "END"
    finally:
        thread.join(20.0)
    assert not thread.is_alive()


def test_a_durable_subscription(url: str) -> None:
    """It is known by container and link, and keeps what comes while its client is away."""

    def subscribe() -> tuple[BlockingConnection, BlockingReceiver]:
        container = Container()
        container.container_id = "proton-subscriber"
        client = connect(url, container=container)
        options = DurableSubscription()
        return client, client.create_receiver("topic://proton.news", name="paper", credit=5, options=options)

    client, receiver = subscribe()
    receiver.link.detach()
    client.close()
    sending = connect(url)
    sending.create_sender("topic://proton.news").send(Message("while away", durable=True))
    sending.close()
    client, receiver = subscribe()
    assert receiver.receive().body == "while away"
    receiver.accept()
    receiver.close()
    client.close()


class InTransactions(MessagingHandler, TransactionHandler):
    """Sends some messages in one transaction that is aborted, and in one that is committed."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.outcomes: list[str] = []

    def on_start(self, event: Event) -> None:
        """Connect."""
        self.container = event.container
        self.connection = event.container.connect(
            self._url, user="admin", password="admin", allow_insecure_mechs=True
        )
        self.sender = event.container.create_sender(self.connection, "proton.transactions")
        self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_declared(self, event: Event) -> None:
        """Send within it."""
        transaction: Transaction = event.transaction
        for number in range(3):
            transaction.send(self.sender, Message(f"{len(self.outcomes)}.{number}", durable=True))
        if self.outcomes:
            transaction.commit()
        else:
            transaction.abort()

    def on_transaction_aborted(self, event: Event) -> None:
        """Once more, for good."""
        self.outcomes.append("aborted")
        self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_committed(self, event: Event) -> None:
        """Done."""
        self.outcomes.append("committed")
        self.connection.close()


def test_transactions(url: str, connection: BlockingConnection) -> None:
    """What was aborted is not there, what was committed is."""
    handler = InTransactions(url)
    Container(handler).run()
    assert handler.outcomes == ["aborted", "committed"]
    receiver = connection.create_receiver("proton.transactions", credit=5)
    for number in range(3):
        assert receiver.receive().body == f"1.{number}"
        receiver.accept()


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_takeover(zookeeper: ZooKeeperForTests, tmp_path: Path, end: signal.Signals, secure: bool) -> None:
    """The client reconnects by itself; nothing accepted is lost; a master that is stopped says so before."""
    add_user(zookeeper)
    keys = Keys(tmp_path / "keys") if secure else None
    domain = None
    if keys is not None:
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(str(keys.trust))
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
    first, first_port = our_broker(zookeeper, tmp_path, "first", keys)
    with running(first):
        first.wait_listening()
        second, second_port = our_broker(zookeeper, tmp_path, "second", keys)
        scheme = "amqps" if secure else "amqp"
        urls = [f"{scheme}://localhost:{port}" for port in (first_port, second_port)]
        handler = Sending(urls, 2_000, domain)
        thread = threading.Thread(target=Container(handler).run)
        with running(second):
            wait_until(lambda: "waiting to become" in second.log.read_text(), 30.0, lambda: "a slave")
            thread.start()
            wait_until(lambda: len(handler.accepted) > 200, 30.0, lambda: "200 accepted")
            first.process.send_signal(end)
            thread.join(60.0)
            assert not thread.is_alive()
            assert handler.connections >= 2
            if end is signal.SIGTERM:
                told = ("amqp:connection:forced", "This broker is not the master any more.")
                assert handler.ends == [told], first.log.read_text()
            client = connect(urls[1], ssl_domain=domain)
            receiver = client.create_receiver("proton.failover", credit=100)
            got: set[int] = set()
            while len(got) < 2_000:
                got.add(receiver.receive(timeout=20.0).body)
                receiver.accept()
            client.close()
            assert got == set(range(2_000))
