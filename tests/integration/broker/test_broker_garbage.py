"""P8 on real sockets, by every protocol: who talks nonsense loses its connection, nobody else notices."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.openwire_peer import OpenWirePeer
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_ports

pytestmark = pytest.mark.integration

PROTOCOLS = ("openwire", "stomp", "mqtt", "amqp", "ws")
TIMEOUT_S = 30.0
MUCH = 300_000


@dataclass
class Bench:
    """One broker that speaks everything, and where."""

    broker: OurBroker
    ports: dict[str, int]

    def lines(self) -> list[str]:
        """What the log says."""
        text = self.broker.log.read_text("utf-8")
        assert "Traceback" not in text
        return text.splitlines()

    def lines_about(self, port: int, since: int) -> list[str]:
        """What the log says of a client's connection from a line on; an earlier client had its port, too."""
        return [line for line in self.lines()[since:] if f"127.0.0.1:{port} " in line]


@pytest.fixture(scope="module")
def bench(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """All tests of this module maltreat one broker."""
    add_user(zookeeper)
    ports = dict(zip(PROTOCOLS, free_ports(len(PROTOCOLS)), strict=True))
    properties = {f"{name}-port": str(port) for name, port in ports.items() if name != "openwire"}
    broker = OurBroker(
        zookeeper,
        tmp_path_factory.mktemp("garbage"),
        port=ports["openwire"],
        properties={"connectors": " ".join(PROTOCOLS), **properties},
    )
    with running(broker):
        broker.wait_listening()
        yield Bench(broker, ports)


@pytest.fixture
def bystander(bench: Bench) -> Iterator[None]:
    """A client that must not notice anything."""
    with OpenWirePeer(bench.ports["openwire"], "ID:bystander-1-1:1") as client:
        client.log_in()
        client.consume("bystander")
        yield
        client.send("bystander", "still here", 1)
        assert client.next_text() == "still here"


def answer(port: int, said: bytes, *, half_closes: bool = False) -> tuple[int, bytes]:
    """A client's port, and what the broker says before it closes."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(said)
            if half_closes:
                client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while data := client.recv(65536):
                heard += data
        return client.getsockname()[1], heard


@pytest.mark.parametrize(
    ("protocol", "said", "answered"),
    [
        ("stomp", b"HELLO\n\n\0", b"ERROR\n"),
        ("stomp", b"SEND\ndestination:/queue/a\n\nx\0", b"ERROR\n"),
        ("stomp", b"CONNECT\nlogin:\xff\xfe\n\n\0", b"ERROR\n"),
        ("stomp", b"CONNECT\nlogin:" + b"x" * MUCH, b"ERROR\n"),
        ("mqtt", b"\xc0\0", b""),
        ("mqtt", b"\x10\xff\xff\xff\xff\x01", b""),
        ("mqtt", b"\x10\xff\xff\xff\x7f" + bytes(MUCH), b""),
        ("mqtt", b"\x10\x10\0\4MQTT\x04\2\0\0\0\4\xff\xfe\xff\xfe", b""),
        ("amqp", b"AMQP\x09\x09\x09\x09", b"AMQP"),
        ("amqp", b"AMQP\3\1\0\0\x7f\xff\xff\xff\2\1\0\0", b"AMQP"),
        ("amqp", b"AMQP\3\1\0\0" + b"\0\0\0\x0c\2\1\0\0garb", b"AMQP"),
        ("ws", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 4"),
        ("ws", b"GET / HTTP/1.1\r\nHost: " + b"x" * MUCH, b"HTTP/1.1 4"),
        ("ws", bytes(range(256)), b"HTTP/1.1 4"),
    ],
)
def test_garbage_is_answered_in_its_protocol(
    bench: Bench, bystander: None, protocol: str, said: bytes, answered: bytes
) -> None:
    """Wrong state, bad UTF-8, endless headers, lengths that lie: the protocol's error, one line, the end."""
    del bystander
    since = len(bench.lines())
    port, heard = answer(bench.ports[protocol], said)
    assert heard.startswith(answered)
    assert bool(heard) is bool(answered)
    wait_until(lambda: bench.lines_about(port, since), TIMEOUT_S)
    [line] = bench.lines_about(port, since)
    assert "closed: " in line


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("openwire", b"\0\0\1\x40\1Acti"),
        ("stomp", b"CONNECT\nlogin:adm"),
        ("mqtt", b"\x10\x10\0\4MQ"),
        ("amqp", b"AMQP\3\1"),
        ("ws", b"GET / HTTP/1.1\r\nHo"),
    ],
)
def test_a_half_closed_socket_is_closed_quietly(
    bench: Bench, bystander: None, protocol: str, said: bytes
) -> None:
    """Who goes in the middle of its first words is no news."""
    del bystander
    since = len(bench.lines())
    port, _ = answer(bench.ports[protocol], said, half_closes=True)
    assert bench.lines_about(port, since) == []
