"""stomp.py works against our broker as it does against Apache's, and follows a master that was killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stomp
from stomp.utils import Frame
from support.apache import JavaPrograms, start_apache_broker
from support.certificates import Keys
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop

CONNECTIONS = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}


class Listener(stomp.ConnectionListener):
    """Keeps what a client is told."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.receipts: list[str] = []
        self.errors: list[Frame] = []
        self.ends = 0

    def on_message(self, frame: Frame) -> None:
        """A message."""
        self.frames.append(frame)

    def on_receipt(self, frame: Frame) -> None:
        """A receipt."""
        self.receipts.append(frame.headers["receipt-id"])

    def on_error(self, frame: Frame) -> None:
        """An error."""
        self.errors.append(frame)

    def on_disconnected(self) -> None:
        """The connection has ended."""
        self.ends += 1

    def bodies(self) -> list[str]:
        """The messages' bodies."""
        return [frame.body for frame in self.frames]

    def wait(self, count: int) -> list[Frame]:
        """Wait for so many messages, and take them."""
        wait_until(lambda: len(self.frames) >= count, message=lambda: f"{count} messages, not {self.frames}")
        frames, self.frames = self.frames, []
        return frames


class Client:
    """One connection of stomp.py."""

    def __init__(
        self,
        port: int,
        version: str = "1.2",
        *,
        connect: bool = True,
        keys: Keys | None = None,
        **options: Any,
    ) -> None:
        login = {name: options.pop(name) for name in ("headers",) if name in options}
        options.setdefault("auto_content_length", False)
        self.listener = Listener()
        self.connection = CONNECTIONS[version]([("127.0.0.1", port)], reconnect_attempts_max=3, **options)
        if keys is not None:
            self.connection.set_ssl([("127.0.0.1", port)], ca_certs=str(keys.trust))
        self.connection.set_listener("", self.listener)
        self._receipts = 0
        if connect:
            self.connection.connect("admin", "admin", wait=True, **login)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.disconnect()
        wait_until(lambda: not self.connection.is_connected())  # only then is its client id free

    def asked(self, method: str, *arguments: Any, **options: Any) -> None:
        """Call a method with a receipt, and wait for that."""
        self._receipts += 1
        receipt = f"receipt-{self._receipts}"
        getattr(self.connection, method)(*arguments, receipt=receipt, **options)
        wait_until(
            lambda: receipt in self.listener.receipts, message=lambda: f"{receipt}: {self.listener.errors}"
        )

    def send(self, destination: str, body: str | bytes, **headers: str) -> None:
        """Send a message and wait until it is safe."""
        self.asked("send", destination, body, headers={"persistent": "true", **headers})


@pytest.fixture(scope="module", params=["ours", "apache"])
def port(
    request: pytest.FixtureRequest, zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Where a broker speaks STOMP."""
    folder = tmp_path_factory.mktemp("stomp")
    if request.param == "ours":
        add_user(zookeeper)
        broker, port = our_broker(zookeeper, folder)
        with running(broker):
            broker.wait_listening()
            yield port
        return
    programs: JavaPrograms = request.getfixturevalue("programs")
    apache, _ = start_apache_broker(programs, folder, 0, "stomp://127.0.0.1:0")
    with apache:
        yield int(apache.values("stomp")[0])


def our_broker(
    zookeeper: ZooKeeperForTests,
    folder: Path,
    container: str = "first",
    port: int = 0,
    keys: Keys | None = None,
) -> tuple[OurBroker, int]:
    """A broker of ours with a STOMP connector, with TLS if there are keys, and its port."""
    port = port or free_port()
    name = "stomp" if keys is None else "stomp+ssl"
    properties = {"connectors": f"openwire {name}", f"{name}-port": str(port)}
    if keys is not None:
        properties["ssl.keyStore"] = str(keys.server)
    return OurBroker(zookeeper, folder, port=free_port(), container=container, properties=properties), port


@pytest.fixture(params=list(CONNECTIONS))
def version(request: pytest.FixtureRequest) -> str:
    """Every version."""
    return str(request.param)


def test_messages(port: int, version: str) -> None:
    """Headers and bodies arrive as they were sent."""
    place = f"/queue/interop.messages.{version}"
    with Client(port, version) as client:
        client.connection.subscribe(place, id="1", ack="auto")
        client.send(place, "grüße\n\\n", **{"correlation-id": "a:b", "type": "t", "x": "y"})
        client.send(place, "bytes", **{"content-length": "5"})
        text, data = client.listener.wait(2)
        assert text.body == "grüße\n\\n"
        assert {
            name: text.headers[name] for name in ("correlation-id", "type", "x", "priority", "persistent")
        } == {
            "correlation-id": "a:b",
            "type": "t",
            "x": "y",
            "priority": "4",
            "persistent": "true",
        }
        assert "content-length" not in text.headers
        assert text.headers["destination"] == place
        assert text.headers["message-id"].startswith("ID:")
        assert (data.body, data.headers["content-length"]) == ("bytes", "5")


def acknowledge(client: Client, frame: Frame, version: str, **options: Any) -> None:
    """Acknowledge a message."""
    if version == "1.2":
        client.asked("ack", frame.headers["ack"], **options)
    elif version == "1.1":
        client.asked("ack", frame.headers["message-id"], frame.headers["subscription"], **options)
    else:
        client.asked("ack", frame.headers["message-id"], **options)


@pytest.mark.parametrize(("mode", "left"), [("client", ["3"]), ("client-individual", ["1", "3"])])
def test_acknowledgements(port: int, version: str, mode: str, left: list[str]) -> None:
    """What was not acknowledged comes again, as redelivered."""
    place = f"/queue/interop.acknowledgements.{version}.{mode}"
    with Client(port, version) as client:
        for number in range(1, 4):
            client.send(place, f"{number}")
    with Client(port, version) as client:
        client.connection.subscribe(place, id="1", ack=mode)
        acknowledge(client, client.listener.wait(3)[1], version)
    with Client(port, version) as client:
        client.connection.subscribe(place, id="1", ack="auto")
        frames = client.listener.wait(len(left))
        assert [frame.body for frame in frames] == left
        assert {frame.headers["redelivered"] for frame in frames} == {"true"}


def test_transactions(port: int, version: str) -> None:
    """What is aborted was not sent; what is committed was."""
    place = f"/queue/interop.transactions.{version}"
    with Client(port, version) as client:
        client.connection.subscribe(place, id="1", ack="auto")
        for step in ("abort", "commit"):
            transaction = client.connection.begin()
            client.connection.send(place, step, transaction=transaction)
            client.asked(step, transaction)
        assert [frame.body for frame in client.listener.wait(1)] == ["commit"]


def test_request_and_reply(port: int) -> None:
    """An answer finds its way to a temporary queue."""
    with Client(port) as asker, Client(port) as answerer:
        answerer.connection.subscribe("/queue/interop.requests", id="1", ack="auto")
        asker.connection.subscribe("/temp-queue/answers", id="1", ack="auto")
        asker.send("/queue/interop.requests", "?", **{"reply-to": "/temp-queue/answers"})
        (request,) = answerer.listener.wait(1)
        assert request.headers["reply-to"].startswith("/remote-temp-queue/")
        answerer.send(request.headers["reply-to"], "!")
        (answer,) = asker.listener.wait(1)
        assert (answer.headers["destination"], answer.body) == ("/temp-queue/answers", "!")


def test_durable_subscription(port: int, version: str) -> None:
    """What is sent while the subscriber is away waits for it."""
    place, name = f"/topic/interop.durable.{version}", f"me{version}"
    durable = {"activemq.subscriptionName": name}
    for _ in range(2):
        with Client(port, version, headers={"client-id": name}) as client:
            client.asked("subscribe", place, id="1", ack="auto", headers=durable)
            bodies = [frame.body for frame in client.listener.wait(1)] if _ else []
        if not _:
            with Client(port) as sender:
                sender.send(place, "while away")
    assert bodies == ["while away"]
    with Client(port, version, headers={"client-id": name}) as client:
        client.asked(
            "unsubscribe", id="1", destination=place, **durable
        ) if version != "1.0" else client.asked("unsubscribe", place, id="1", **durable)


def test_selector_prefetch_and_browser(port: int) -> None:
    """ActiveMQ's own headers of SUBSCRIBE."""
    place = "/queue/interop.options"
    with Client(port) as client:
        for number in range(3):
            client.send(place, f"{number}", size=f"{number * 10}")
        client.connection.subscribe(place, id="b", ack="auto", headers={"browser": "true"})
        *frames, end = client.listener.wait(4)
        assert [frame.body for frame in frames] == ["0", "1", "2"]
        assert (end.headers["browser"], end.headers["subscription"]) == ("end", "b")
        client.connection.unsubscribe("b")
        options = {"selector": "size > 5", "activemq.prefetchSize": "1"}
        client.connection.subscribe(place, id="s", ack="client-individual", headers=options)
        (frame,) = client.listener.wait(1)
        assert frame.body == "1"
        assert client.listener.frames == []
        acknowledge(client, frame, "1.2")
        (frame,) = client.listener.wait(1)
        assert frame.body == "2"


def test_nack(port: int) -> None:
    """A message that is refused goes to the dead letters."""
    place = "/queue/interop.refused"
    with Client(port) as client:
        client.send(place, "bad")
        client.connection.subscribe(place, id="1", ack="client-individual")
        (frame,) = client.listener.wait(1)
        client.asked("nack", frame.headers["ack"])
        client.connection.subscribe("/queue/ActiveMQ.DLQ", id="2", ack="auto")
        (dead,) = client.listener.wait(1)
        assert (dead.body, dead.headers["original-destination"]) == ("bad", place)


@pytest.mark.parametrize("port", ["ours"], indirect=True)
def test_mistakes_and_wrong_password(port: int) -> None:
    """An error is told, and the connection ends; nobody gets in without the password."""
    client = Client(port)
    client.connection.send("/queue/", "x")
    wait_until(lambda: client.listener.ends)
    assert client.listener.errors[0].headers["message"] == "A destination needs a name."
    other = Client(port, connect=False)
    with pytest.raises(stomp.exception.ConnectFailedException):
        other.connection.connect("admin", "wrong", wait=True)
    assert "password is invalid" in other.listener.errors[0].headers["message"]


@pytest.mark.parametrize("port", ["ours"], indirect=True)
def test_heart_beats(port: int) -> None:
    """A client that beats stays; this side beats, too, or the client would leave."""
    with Client(port, heartbeats=(1000, 1000)) as client:
        beats = threading.Event()
        client.listener.on_heartbeat = beats.set
        assert beats.wait(10)
        assert not client.listener.ends


class Sender:
    """Sends numbers, each until it is confirmed, also over a takeover, with stomp.py's own list of hosts."""

    def __init__(self, ports: list[int], place: str, keys: Keys | None = None) -> None:
        self.listener = Listener()
        hosts = [("127.0.0.1", port) for port in ports]
        self.connection = stomp.Connection12(
            hosts,
            reconnect_attempts_max=1000,
            reconnect_sleep_initial=0.02,
            reconnect_sleep_increase=0.0,
            reconnect_sleep_jitter=0.0,
            auto_content_length=False,
        )
        if keys is not None:
            self.connection.set_ssl(hosts, ca_certs=str(keys.trust))
        self.connection.set_listener("", self.listener)
        self.place = place
        self.confirmed: list[int] = []

    def connect(self) -> None:
        """Connect to whichever host is the master."""
        self.connection.connect("admin", "admin", wait=True)

    def wait(self, receipt: str) -> None:
        """Wait for a receipt, or for the connection's end."""
        wait_until(lambda: receipt in self.listener.receipts or not self.connection.is_connected(), 60)

    def send(self, number: int) -> None:
        """Send a number until it is confirmed."""
        while True:
            try:
                if not self.connection.is_connected():
                    self.connect()
                receipt = f"{number}-{self.listener.ends}"
                self.connection.send(self.place, f"{number}", headers={"persistent": "true"}, receipt=receipt)
                self.wait(receipt)
                if receipt in self.listener.receipts:
                    self.confirmed.append(number)
                    return
            except (stomp.exception.StompException, OSError):
                continue


@pytest.mark.parametrize("secure", [False, True])
def test_takeover(zookeeper: ZooKeeperForTests, tmp_path: Path, secure: bool) -> None:
    """Killing the master loses no message that was confirmed; the list of hosts leads to the next."""
    add_user(zookeeper)
    keys = Keys(tmp_path / "keys") if secure else None
    first, first_port = our_broker(zookeeper, tmp_path, "first", keys=keys)
    with running(first):
        first.wait_listening()
        second, second_port = our_broker(zookeeper, tmp_path, "second", keys=keys)
        with running(second):
            sender = Sender([first_port, second_port], "/queue/interop.takeover", keys)
            for number in range(100):
                if number == 50:
                    first.kill()
                sender.send(number)
            sender.connection.disconnect()
            second.wait_listening()
            with Client(second_port, keys=keys) as client:
                client.connection.subscribe("/queue/interop.takeover", id="1", ack="client")
                frames = client.listener.wait(100)
                received = [int(frame.body) for frame in frames]
                assert sorted(set(received)) == list(range(100))
                assert sorted(received) == received
                client.asked("ack", frames[-1].headers["ack"])
