"""A real broker with TLS and with one port for all: real sockets, real clients, and those that misbehave."""

import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from support.certificates import Keys
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_ports

from fabric.renewal import issued, renew
from mqclient import ConnectionFactory, TextMessage, TlsFiles
from mqclient.errors import AuthenticationFailed, ClientError, ConnectionFailed, TlsUnusable

pytestmark = pytest.mark.integration

DETECTION_MS = 300
TIMEOUT_S = 20.0


@dataclass
class Bench:
    """One broker for all tests, its keys and its ports."""

    broker: OurBroker
    keys: Keys
    zookeeper: ZooKeeperForTests
    group: str
    plain: int
    tls: int
    needed: int
    auto: int

    def files(self, user: str = "") -> TlsFiles:
        """What a client trusts and shows."""
        return TlsFiles(str(self.keys.trust), str(self.keys.user(user)) if user else "")

    def log(self) -> str:
        """What the broker has logged."""
        return self.broker.log.read_text("utf-8")


@pytest.fixture(scope="module")
def bench(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Connectors with and without TLS, one that needs certificates, and one for all protocols."""
    folder = tmp_path_factory.mktemp("tls")
    for user in ("admin", "ann"):
        add_user(zookeeper, user, user)
    keys = Keys(folder / "keys")
    plain, tls, needed, auto = free_ports(4)
    broker = OurBroker(
        zookeeper,
        folder,
        port=plain,
        properties={
            "connectors": "openwire openwire+ssl strict auto",
            "openwire+ssl-port": str(tls),
            "openwire+ssl-transport.wantClientAuth": "true",
            "strict-protocol": "openwire+ssl",
            "strict-port": str(needed),
            "strict-transport.needClientAuth": "true",
            "strict-transport.enabledProtocols": "TLSv1.3",
            "auto-port": str(auto),
            "auto-protocolDetectionTimeOut": str(DETECTION_MS),
            "ssl.keyStore": str(keys.server),
            "ssl.trustStore": str(keys.trust),
            "ssl.certificateLogin": "true",
        },
    )
    with running(broker):
        broker.wait_listening()
        yield Bench(broker, keys, zookeeper, folder.name, plain, tls, needed, auto)


def carry(sender: ConnectionFactory, receiver: ConnectionFactory, queue: str) -> str:
    """Send with one, receive with the other."""
    with contextlib.closing(sender.create_connection()) as connection:
        connection.create_session().create_producer(f"queue://{queue}").send(TextMessage("grüße"))
    with contextlib.closing(receiver.create_connection()) as connection:
        connection.start()
        message = connection.create_session().create_consumer(f"queue://{queue}").receive(TIMEOUT_S)
        assert isinstance(message, TextMessage)
        assert message.text is not None
        return message.text


def test_a_client_sends_with_tls_and_another_receives_without(bench: Bench) -> None:
    """Encryption is nothing that the messages know of."""
    secure = ConnectionFactory(f"ssl://localhost:{bench.tls}", "admin", "admin", tls=bench.files())
    plain = ConnectionFactory(f"tcp://localhost:{bench.plain}", "admin", "admin")
    assert carry(secure, plain, "tls.one") == carry(plain, secure, "tls.two") == "grüße"


def test_large_messages_pass(bench: Bench) -> None:
    """Many records, many reads, and a socket that does not take all at once."""
    factory = ConnectionFactory(f"ssl://localhost:{bench.tls}", "admin", "admin", tls=bench.files())
    with contextlib.closing(factory.create_connection()) as connection:
        connection.start()
        session = connection.create_session()
        text = "0123456789" * 500_000
        session.create_producer("queue://tls.large").send(TextMessage(text))
        message = session.create_consumer("queue://tls.large").receive(TIMEOUT_S)
        assert isinstance(message, TextMessage)
        assert message.text == text


@pytest.mark.parametrize("connector", ["tls", "needed", "auto"])
def test_a_certificate_is_login_enough(bench: Bench, connector: str) -> None:
    """On every connector that has seen it; without it a password is needed."""
    url = f"ssl://localhost:{getattr(bench, connector)}"
    if connector == "auto":  # asks for no certificates
        with pytest.raises(AuthenticationFailed):
            ConnectionFactory(url, tls=bench.files("ann")).create_connection()
        return
    ann = ConnectionFactory(url, tls=bench.files("ann"))
    assert carry(ann, ann, f"tls.certificate.{connector}") == "grüße"
    with pytest.raises(AuthenticationFailed, match="who is no user"):
        ConnectionFactory(url, tls=bench.files("nobody")).create_connection()
    with pytest.raises(ClientError):
        ConnectionFactory(url, tls=bench.files()).create_connection()


def test_a_password_still_counts_more(bench: Bench) -> None:
    """Who says another user has to prove that he is it."""
    url = f"ssl://localhost:{bench.tls}"
    ConnectionFactory(url, "admin", "admin", tls=bench.files("ann")).create_connection().close()
    with pytest.raises(AuthenticationFailed):
        ConnectionFactory(url, "admin", None, tls=bench.files("ann")).create_connection()
    with pytest.raises(AuthenticationFailed):
        ConnectionFactory(url, "ann", "wrong", tls=bench.files("ann")).create_connection()


def test_discovery_takes_the_connector_that_is_meant(bench: Bench) -> None:
    """Who names a trust store gets TLS; who names nothing does not."""
    registry = {"zookeeper_url": bench.zookeeper.url, "zookeeper_password": bench.zookeeper.password}
    url = f"discovery:(fabric:{bench.group})"
    secure = ConnectionFactory(url, **registry, tls=bench.files("ann"))
    plain = ConnectionFactory(url, "admin", "admin", **registry)
    for factory, schemes in ((secure, ("ssl",)), (plain, ("tcp", "auto"))):
        with contextlib.closing(factory.create_connection()) as connection:
            assert connection.broker_url is not None
            assert connection.broker_url.startswith(schemes)


def test_a_client_that_cannot_trust_the_broker_says_why(bench: Bench, tmp_path: Path) -> None:
    """Its own error, and a line in the broker's log."""
    stranger = TlsFiles(str(Keys(tmp_path).trust))
    with pytest.raises(ConnectionFailed, match="certificate is not accepted"):
        ConnectionFactory(f"ssl://localhost:{bench.tls}", "admin", "admin", tls=stranger).create_connection()
    wait_until(lambda: "does not know who has signed the certificate shown here" in bench.log())
    with pytest.raises(ConnectionFailed, match="TLS"):
        ConnectionFactory(f"ssl://localhost:{bench.plain}", tls=bench.files()).create_connection()
    with pytest.raises(TlsUnusable, match="no-such-file"):
        ConnectionFactory("ssl://localhost:1", tls=TlsFiles("/no-such-file"))


def test_the_host_name_is_verified(bench: Bench) -> None:
    """Unless the URL says that it does not matter."""
    with pytest.raises(ConnectionFailed, match=r"mismatch"):
        ConnectionFactory(f"ssl://127.1:{bench.tls}", "admin", "admin", tls=bench.files()).create_connection()
    url = f"ssl://127.1:{bench.tls}?socket.verifyHostName=false"
    ConnectionFactory(url, "admin", "admin", tls=bench.files()).create_connection().close()


def test_one_port_for_all(bench: Bench) -> None:
    """OpenWire with and without TLS."""
    plain = ConnectionFactory(f"tcp://localhost:{bench.auto}", "admin", "admin")
    secure = ConnectionFactory(f"ssl://localhost:{bench.auto}", "admin", "admin", tls=bench.files())
    assert carry(plain, secure, "auto.one") == "grüße"


def closed_by_peer(connection: socket.socket) -> bytes:
    """What the broker says before it closes."""
    connection.settimeout(TIMEOUT_S)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            said += data
    return said


def lines_about(bench: Bench, port: int) -> list[str]:
    """What the log says of a client's connection."""
    return [line for line in bench.log().splitlines() if f"127.0.0.1:{port} " in line]


@pytest.mark.parametrize(
    ("connector", "said", "reason"),
    [
        (
            "auto",
            b"EHLO mail.example.com\r\n",
            "no protocol begins so; the first bytes are b'EHLO mail.exampl'",
        ),
        ("auto", b"", f"no protocol recognised within {DETECTION_MS} ms"),
        ("auto", b"\0\0\0", f"no protocol recognised within {DETECTION_MS} ms"),
        ("auto", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "WebSocket: no WebSocket handshake"),
        ("tls", b"GET / HTTP/1.1\r\n\r\n", "TLS: the client speaks HTTP without TLS"),
        ("tls", b"\0\0\1\x40\1ActiveMQ" + bytes(400), "TLS: this is not TLS"),
    ],
)
def test_garbage_costs_one_line_and_one_connection(
    bench: Bench, connector: str, said: bytes, reason: str
) -> None:
    """Also slow-loris clients, that say too little to be recognised; others notice nothing."""
    with socket.create_connection(("127.0.0.1", getattr(bench, connector))) as client:
        port = client.getsockname()[1]
        if said:
            client.sendall(said)
        closed_by_peer(client)
    wait_until(lambda: lines_about(bench, port))
    [line] = lines_about(bench, port)
    assert reason in line


def test_old_versions_are_refused(bench: Bench) -> None:
    """The broker's log tells which versions there are."""
    context = ssl.create_default_context(cafile=str(bench.keys.trust))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", bench.needed)) as raw:
        port = raw.getsockname()[1]
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="localhost")
    wait_until(lambda: lines_about(bench, port))
    [line] = lines_about(bench, port)
    assert "no version of TLS that both sides accept; the oldest accepted here is TLS 1.3" in line


def test_a_half_closed_socket_is_closed(bench: Bench) -> None:
    """With and without the word that TLS has for it; it costs no line."""
    context = ssl.create_default_context(cafile=str(bench.keys.trust))
    for in_order in (True, False):
        raw = socket.create_connection(("127.0.0.1", bench.tls))
        port = raw.getsockname()[1]
        with context.wrap_socket(raw, server_hostname="localhost") as client:
            if in_order:
                client.settimeout(TIMEOUT_S)
                assert client.recv(65536)
                client.unwrap()
            else:
                client.shutdown(socket.SHUT_WR)
                closed_by_peer(client)
        assert lines_about(bench, port) == []


def test_openssl_sees_the_whole_chain(bench: Bench) -> None:
    """What an operator looks with."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "python3 brings libssl, and Debian's ca-certificates the command"
    done = subprocess.run(
        [openssl, "s_client", "-connect", f"127.0.0.1:{bench.tls}", "-servername", "localhost",
         "-CAfile", str(bench.keys.trust), "-verify_return_error", "-showcerts"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Verification: OK" in done.stdout, done.stderr
    assert done.stdout.count("BEGIN CERTIFICATE") == 2


def test_a_new_certificate_needs_no_restart(bench: Bench) -> None:
    """The next connection sees it, and those that exist go on."""
    context = ssl.create_default_context(cafile=str(bench.keys.trust))

    def serial() -> object:
        with (
            socket.create_connection(("127.0.0.1", bench.tls)) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as client,
        ):
            shown = client.getpeercert()
            assert shown is not None
            return shown["serialNumber"]

    first = serial()
    factory = ConnectionFactory(f"ssl://localhost:{bench.tls}", "admin", "admin", tls=bench.files())
    with contextlib.closing(factory.create_connection()) as connection:
        bench.keys.sign("server", "localhost", "127.0.0.1")
        wait_until(lambda: serial() != first)
        connection.create_session().create_producer("queue://tls.after").send(TextMessage("still there"))


def test_an_authority_is_replaced_while_clients_go_on(bench: Bench, tmp_path: Path) -> None:
    """Who trusts the old one, the new one or both connects as he should; the broker stays what it is."""
    authority = bench.keys.authority
    login = bench.keys.user("ann")
    old, new, both = tmp_path / "old.pem", tmp_path / "new.pem", tmp_path / "both.pem"
    old.write_bytes(bench.keys.trust.read_bytes())

    def connects(trusted: Path) -> bool:
        url = f"ssl://localhost:{bench.tls}"
        try:
            ConnectionFactory(url, tls=TlsFiles(str(trusted), str(login))).create_connection().close()
        except ConnectionFailed as error:
            assert "certificate" in str(error)
            return False
        return True

    with contextlib.closing(
        ConnectionFactory(f"ssl://localhost:{bench.tls}", tls=bench.files("ann")).create_connection()
    ) as connection:
        fresh = authority.begin()
        new.write_bytes(fresh.public_bytes(serialization.Encoding.PEM))
        both.write_bytes(bench.keys.trust.read_bytes())
        assert [connects(each) for each in (old, new, both)] == [True, False, True]

        authority.switch()
        for each in issued(authority):
            if each.path != login:  # as if it lay elsewhere: the old one counts on
                renew(authority, each)
        wait_until(lambda: connects(new))
        assert [connects(each) for each in (old, new, both)] == [False, True, True]

        renewed = tmp_path / "ann.pem"
        authority.sign_user("ann", renewed)
        authority.finish()

        wait_until(lambda: not connects(new))  # who shows what the old one has signed is refused
        login = renewed
        assert [connects(each) for each in (old, new)] == [False, True]
        connection.create_session().create_producer("queue://tls.rolled").send(TextMessage("still there"))
    assert bench.broker.process.poll() is None
    assert bench.log().count("is now the master") == 1


def test_a_broker_without_its_certificates_says_so(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """It does not serve, and begins to as soon as they are there."""
    add_user(zookeeper)
    missing = tmp_path / "later" / "server.pem"
    plain, port = free_ports(2)
    broker = OurBroker(
        zookeeper,
        tmp_path,
        port=plain,
        properties={"connectors": "wss openwire", "wss-port": str(port), "ssl.keyStore": str(missing)},
    )
    with running(broker):
        wait_until(lambda: f"{missing} cannot be read: No such file or directory" in broker.log.read_text())
        keys = Keys(missing.parent)
        assert missing == keys.server
        broker.wait_listening()
        context = ssl.create_default_context(cafile=str(keys.trust))
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert closed_by_peer(client).startswith(b"HTTP/1.1 400 ")
    assert (keys.folder / "ca-key.pem").stat().st_mode & 0o077 == 0
