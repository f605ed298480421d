"""Other people's clients over TLS, WebSocket and the port for all protocols, with passwords and certificates.

Each sends one text to one queue or topic, and our own client reads them; what the protocols mean is tested
elsewhere.
"""

import contextlib
import queue
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import stomp
from paho.mqtt.enums import CallbackAPIVersion
from proton import Message, SSLDomain
from proton.utils import BlockingConnection
from support import javascript
from support.apache import JavaPrograms
from support.certificates import Keys
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_ports

from mqclient import BytesMessage, ConnectionFactory, TextMessage

pytestmark = pytest.mark.interop

WAIT_S = 20.0
CONNECTORS = ("stomp+ssl", "mqtt+ssl", "amqp+ssl", "ws", "wss", "auto", "auto+ssl", "openwire+ssl")


@dataclass
class Bench:
    """One broker for all tests."""

    keys: Keys
    ports: dict[str, int]
    plain: int

    def receive(self, place: str, send: Callable[[], None]) -> str:
        """What arrives at a place when something is sent."""
        factory = ConnectionFactory(f"tcp://127.0.0.1:{self.plain}", "admin", "admin")
        with contextlib.closing(factory.create_connection()) as connection:
            connection.start()
            consumer = connection.create_session().create_consumer(place)
            send()
            message = consumer.receive(WAIT_S)
        if isinstance(message, BytesMessage):
            return message.data.decode()
        assert isinstance(message, TextMessage)
        return message.text or ""


@pytest.fixture(scope="module")
def bench(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Connectors of all kinds; those with TLS look at clients' certificates."""
    folder = tmp_path_factory.mktemp("secure")
    for user in ("admin", "ann"):
        add_user(zookeeper, user, user)
    keys = Keys(folder / "keys")
    plain, *others = free_ports(1 + len(CONNECTORS))
    ports = dict(zip(CONNECTORS, others, strict=True))
    properties = {
        "connectors": f"openwire {' '.join(CONNECTORS)}",
        "ssl.keyStore": str(keys.server),
        "ssl.trustStore": str(keys.trust),
        "ssl.certificateLogin": "true",
        **{f"{name}-port": str(port) for name, port in ports.items()},
        **{f"{name}-transport.wantClientAuth": "true" for name in CONNECTORS},
    }
    broker = OurBroker(zookeeper, folder, port=plain, properties=properties)
    with running(broker):
        broker.wait_listening()
        yield Bench(keys, ports, plain)


@pytest.mark.parametrize("connector", ["stomp+ssl", "auto", "auto+ssl"])
@pytest.mark.parametrize("certified", [False, True])
def test_stomp_py(bench: Bench, connector: str, certified: bool) -> None:
    """With a password, or with a certificate and nothing else."""
    port = bench.ports[connector]
    certificate = str(bench.keys.user("ann")) if certified else None
    connection = stomp.Connection12([("127.0.0.1", port)])
    connection.set_ssl(
        [("127.0.0.1", port)], ca_certs=str(bench.keys.trust), cert_file=certificate, key_file=certificate
    )

    def send() -> None:
        login: dict[str, Any] = {} if certified else {"username": "admin", "passcode": "admin"}
        connection.connect(wait=True, **login)
        connection.send("/queue/secure.stomp", f"by {connector}", receipt="1")
        connection.disconnect()

    assert bench.receive("queue://secure.stomp", send) == f"by {connector}"


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
@pytest.mark.parametrize(
    ("connector", "transport", "user"),
    [
        ("mqtt+ssl", "tcp", ""),
        ("mqtt+ssl", "tcp", "ann"),
        ("ws", "websockets", ""),
        ("wss", "websockets", "ann"),
        ("auto", "tcp", ""),
        ("auto", "websockets", "ann"),
        ("auto+ssl", "websockets", ""),
    ],
)
def test_paho(bench: Bench, connector: str, transport: Any, user: str, version: Any) -> None:
    """With QoS 2; `user` is whose certificate is shown."""
    client = paho.Client(CallbackAPIVersion.VERSION2, transport=transport, protocol=version)
    if connector != "ws":
        client.tls_set_context(bench.keys.client(user))
    if not user:
        client.username_pw_set("admin", "admin")
    refused: queue.SimpleQueue[object] = queue.SimpleQueue()
    client.on_connect = lambda *arguments: refused.put(arguments[3].is_failure)

    def send() -> None:
        client.connect("localhost", bench.ports[connector])
        client.loop_start()
        assert refused.get(timeout=WAIT_S) is False
        client.publish("secure/mqtt", f"by {connector}", qos=2).wait_for_publish(WAIT_S)
        client.disconnect()
        client.loop_stop()

    assert bench.receive("topic://secure.mqtt", send) == f"by {connector}"


@pytest.mark.parametrize("connector", ["amqp+ssl", "auto", "auto+ssl"])
@pytest.mark.parametrize("certified", [False, True])
def test_proton(bench: Bench, connector: str, certified: bool) -> None:
    """SASL PLAIN, or EXTERNAL with a certificate."""
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(str(bench.keys.trust))
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
    login: dict[str, Any] = {"user": "admin", "password": "admin", "allowed_mechs": "PLAIN"}
    if certified:
        certificate = str(bench.keys.user("ann"))
        domain.set_credentials(certificate, certificate, "")
        login = {"allowed_mechs": "EXTERNAL"}

    def send() -> None:
        url = f"amqps://localhost:{bench.ports[connector]}"
        connection = BlockingConnection(url, timeout=WAIT_S, ssl_domain=domain, **login)
        connection.create_sender("secure.amqp").send(Message(f"by {connector}", durable=True))
        connection.close()

    assert bench.receive("queue://secure.amqp", send) == f"by {connector}"


@pytest.mark.parametrize(
    ("program", "basics"),
    [
        ("stomp.js", javascript.STOMP_BASICS),
        ("mqtt.js", javascript.MQTT_BASICS),
        ("amqp.js", javascript.AMQP_BASICS),
    ],
    ids=["stomp", "mqtt", "amqp"],
)
@pytest.mark.parametrize(
    ("connector", "scheme"), [("ws", "ws"), ("wss", "wss"), ("auto", "ws"), ("auto", "wss")]
)
def test_javascript(
    bench: Bench,
    program: str,
    basics: list[str],
    connector: str,
    scheme: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What browsers have: all that their clients do over TCP, over a WebSocket."""
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(bench.keys.trust))
    url = f"{scheme}://localhost:{bench.ports[connector]}/"
    assert javascript.facts(program, "basics", url) == basics


@pytest.mark.parametrize("connector", ["openwire+ssl", "auto", "auto+ssl"])
def test_java(
    bench: Bench, programs: JavaPrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connector: str
) -> None:
    """Apache's client, which is told whom to trust by Java's properties."""
    store = tmp_path / "trust.p12"
    subprocess.run(
        ["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", str(bench.keys.trust),
         "-keystore", str(store), "-storepass", "secret", "-storetype", "PKCS12"],
        check=True, capture_output=True,
    )  # fmt: skip
    options = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=secret"
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", options)
    facts = programs.facts("RequestReply", f"ssl://localhost:{bench.ports[connector]}")
    assert "asked: question" in facts


def test_a_stranger_gets_no_further_than_the_handshake(bench: Bench, tmp_path: Path) -> None:
    """Whose certificate somebody else has signed is refused, whatever he says in it."""
    context = ssl.create_default_context(cafile=str(bench.keys.trust))
    context.load_cert_chain(Keys(tmp_path).user("ann"))
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.tls_set_context(context)
    lost: queue.SimpleQueue[object] = queue.SimpleQueue()
    client.on_connect = lambda *arguments: lost.put("connected")
    client.on_disconnect = lambda *arguments: lost.put("lost")
    with contextlib.suppress(ssl.SSLError):
        client.connect("localhost", bench.ports["mqtt+ssl"])
        client.loop_start()
        assert lost.get(timeout=WAIT_S) == "lost"
        client.loop_stop()
