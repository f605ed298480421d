"""TLS without sockets: handshakes, faults in words, certificates that change and name users."""

import datetime
import logging
import os
import ssl
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.certificates import NOW, Keys, expired
from support.wrapped import EchoServer, context

from broker.certificates import CertificateStore
from broker.errors import CertificatesUnusable, TlsFailed
from broker.tls import TlsChannel
from broker.tls_config import ClientCertificates, TlsConfig
from broker.tls_server import TlsServer

NEEDED, WANTED = ClientCertificates.NEEDED, ClientCertificates.WANTED


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Certificates that all tests share."""
    return Keys(tmp_path_factory.mktemp("keys"))


class Pair:
    """A client and a server, and the wire between them."""

    def __init__(self, store: CertificateStore, client: ssl.SSLContext, name: str = "localhost") -> None:
        self.server = TlsServer(context(), "tcp://h:1", 0.0, lambda: None, store=store, make=EchoServer)
        self.client = TlsChannel(client, server_side=False, server_name=name)
        self.client.begin()
        self.heard = b""

    def exchange(self, cut: int = 1 << 20) -> None:
        """Carry bytes until nobody has anything to say, in pieces of at most `cut`."""
        while out := self.client.data_to_send():
            for at in range(0, len(out), cut):
                self.server.receive_data(out[at : at + cut], 1.0)
            answer = self.server.data_to_send()
            for at in range(0, len(answer), cut):
                self.heard += self.client.receive_data(answer[at : at + cut])

    @property
    def inner(self) -> EchoServer:
        """What is inside."""
        assert isinstance(self.server.inner, EchoServer)
        return self.server.inner


def store_of(keys: Keys, **more: object) -> CertificateStore:
    """A connector's certificates."""
    return CertificateStore(TlsConfig((keys.server,), **more), "openwire+ssl")


def test_the_protocol_inside_sees_plain_bytes(keys: Keys) -> None:
    """And is made only when hands are shaken."""
    pair = Pair(store_of(keys), keys.client())
    assert pair.server.inner is None
    assert pair.server.connection is None
    pair.exchange()
    pair.client.send(b"abc")
    pair.exchange()
    assert pair.inner.heard == b"abc"
    assert pair.heard == b"hello ABC"
    assert pair.inner.context.transport_user is None
    assert pair.client.version == "TLSv1.3"
    assert (pair.server.held_batch, pair.server.deadline_s, pair.server.reading_paused) == (7, 42.0, False)
    pair.server.durable(3)
    pair.server.handle_deadline(50.0)
    assert (pair.inner.durables, pair.inner.deadlines) == ([3], [50.0])


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 700))
def test_any_split_of_the_stream_gives_the_same(keys: Keys, cut: int) -> None:
    """The network may cut where it likes."""
    pair = Pair(store_of(keys), keys.client())
    pair.exchange(cut)
    pair.client.send(b"x" * 1000)
    pair.exchange(cut)
    assert pair.heard == b"hello " + b"X" * 1000


def test_the_servers_end_is_told(keys: Keys) -> None:
    """What it has to say still leaves, then its close."""
    pair = Pair(store_of(keys), keys.client())
    pair.exchange()
    pair.client.send(b"bad")
    pair.exchange()
    assert pair.heard == b"hello BAD"
    assert pair.client.is_closed
    assert pair.server.closing
    assert pair.server.close_reason == "it is bad"
    pair.server.receive_data(b"more", 1.0)
    assert pair.server.data_to_send() == b""


def test_the_clients_end_is_taken_as_the_sockets(keys: Keys) -> None:
    """What came before counts; nobody is blamed."""
    pair = Pair(store_of(keys), keys.client())
    pair.exchange()
    pair.client.send(b"last words")
    pair.client.close()
    pair.server.receive_data(pair.client.data_to_send(), 1.0)
    assert pair.inner.heard == b"last words"
    assert pair.inner.lost == [""]
    assert pair.server.closing
    assert pair.server.close_reason == ""


def test_last_words_are_encrypted_too(keys: Keys) -> None:
    """A master that ends says so to each client in its protocol."""
    pair = Pair(store_of(keys), keys.client())
    assert pair.server.last_words("over") == b""
    pair = Pair(store_of(keys), keys.client())
    pair.exchange()
    assert pair.client.receive_data(pair.server.last_words("over")) == b"good-bye: over"
    assert pair.client.is_closed
    assert pair.server.last_words("over") == b""


def test_the_sockets_end_reaches_the_protocol(keys: Keys) -> None:
    """Also before there is one."""
    pair = Pair(store_of(keys), keys.client())
    pair.server.connection_lost("gone")
    assert pair.server.closing
    pair = Pair(store_of(keys), keys.client())
    pair.exchange()
    pair.server.connection_lost("gone")
    assert pair.inner.lost == ["gone"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "TLS: the client speaks HTTP without TLS"),
        (b"\x00\x00\x00\xf0\x01ActiveMQ" + bytes(200), "TLS: this is not TLS"),
        (b"CONNECT\n\n\0" + bytes(20), "TLS:"),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "TLS:"),
    ],
)
def test_what_is_not_tls_ends_with_a_reason(keys: Keys, said: bytes, reason: str) -> None:
    """One line for the log; the alert that TLS wants is sent."""
    pair = Pair(store_of(keys), keys.client())
    pair.server.receive_data(said, 0.0)
    assert pair.server.closing
    assert pair.server.close_reason.startswith(reason)
    assert pair.server.data_to_send()[:1] in (b"", b"\x15")


def failure(store: CertificateStore, client: ssl.SSLContext, name: str = "localhost") -> tuple[str, str]:
    """What the server says of a connection that fails, and what the client says."""
    pair = Pair(store, client, name)
    client_says = ""
    try:
        pair.exchange()
        pair.client.send(b"x")
        pair.exchange()
    except TlsFailed as error:
        client_says = str(error)
        pair.server.receive_data(pair.client.data_to_send(), 1.0)
    return pair.server.close_reason, client_says


def test_an_old_version_is_refused_with_the_oldest_there_is(keys: Keys) -> None:
    """Source: RFC 8996; clients that stop at TLS 1.2 are told when 1.3 is wanted."""
    client = keys.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    only_new = store_of(keys, version_min=ssl.TLSVersion.TLSv1_3)
    server_says, client_says = failure(only_new, client)
    assert server_says == (
        "TLS: no version of TLS that both sides accept; the oldest accepted here is TLS 1.3"
    )
    assert "no version of TLS" in client_says
    assert failure(store_of(keys), client) == ("", "")


def test_no_cipher_in_common_is_said(keys: Keys) -> None:
    """The client's list and `enabledCipherSuites` have to meet."""
    client = keys.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    server_says, _ = failure(store_of(keys, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"), client)
    assert server_says == "TLS: no cipher that both sides accept"


def test_a_client_that_does_not_trust_us_is_told_from_others(keys: Keys, tmp_path: Path) -> None:
    """The log says that the certificate is the problem, and not the client's user."""
    stranger = Keys(tmp_path)
    server_says, client_says = failure(store_of(keys), stranger.client())
    assert server_says == "TLS: the other side does not know who has signed the certificate shown here"
    assert "certificate is not accepted" in client_says
    server_says, client_says = failure(store_of(keys), keys.client(), name="mq.example.com")
    assert "mismatch" in client_says
    assert server_says.startswith("TLS: the other side does not accept")


def test_an_expired_certificate_is_named_by_the_client(tmp_path: Path) -> None:
    """And the server's log says that it has been told so."""
    old = expired(tmp_path)
    server_says, client_says = failure(store_of(old), old.client())
    assert "certificate has expired" in client_says
    assert server_says == "TLS: the certificate shown here has expired, the other side says"


def test_a_needed_certificate_is_missed(keys: Keys) -> None:
    """`needClientAuth` lets nobody in without one, `wantClientAuth` does."""
    server_says, _ = failure(store_of(keys, clients=NEEDED, trusted=keys.trust), keys.client())
    assert server_says == "TLS: the client shows no certificate, and one is needed"
    assert failure(store_of(keys, clients=WANTED, trusted=keys.trust), keys.client()) == ("", "")


def test_certificates_that_are_not_of_users_are_refused(keys: Keys, tmp_path: Path) -> None:
    """A stranger's, and a broker's own, which is signed by the same authority."""
    store = store_of(keys, clients=WANTED, trusted=keys.trust)
    stranger = ssl.create_default_context(cafile=str(keys.trust))
    stranger.load_cert_chain(Keys(tmp_path).user("admin"))
    assert "certificate is not accepted" in failure(store, stranger)[0]
    server = ssl.create_default_context(cafile=str(keys.trust))
    server.load_cert_chain(keys.server)
    assert "certificate is not accepted: unsuitable certificate purpose" in failure(store, server)[0]


def transport_user(store: CertificateStore, client: ssl.SSLContext) -> str | None:
    """Whom the protocol inside is told."""
    pair = Pair(store, client)
    pair.exchange()
    pair.client.send(b"x")
    pair.exchange()
    return pair.inner.context.transport_user


def test_a_certificate_names_its_user_only_if_that_is_wanted(keys: Keys) -> None:
    """By its common name, or by a table of subjects."""
    options = {"clients": WANTED, "trusted": keys.trust}
    ann = keys.client("ann")
    assert transport_user(store_of(keys, **options), ann) is None
    assert transport_user(store_of(keys, certificate_login=True, **options), ann) == "ann"
    assert transport_user(store_of(keys, certificate_login=True, **options), keys.client()) is None
    table = {"CN=ann": "boss"}
    assert transport_user(store_of(keys, certificate_login=True, users=table, **options), ann) == "boss"
    bob = keys.client("bob")
    assert transport_user(store_of(keys, certificate_login=True, users=table, **options), bob) is None


def test_the_host_name_chooses_the_certificate(keys: Keys) -> None:
    """Server name indication; wildcards too, and the first for all other names."""
    others = (keys.sign("east", "mq.example.com"), keys.sign("west", "*.west.example.com"))
    store = CertificateStore(TlsConfig((keys.server, *others)), "c")
    for name in ("localhost", "mq.example.com", "a.west.example.com"):
        assert failure(store, keys.client(), name) == ("", ""), name
    assert "mismatch" in failure(store, keys.client(), "a.b.west.example.com")[1]


def touch(path: Path, content: bytes) -> None:
    """Write, at another time for sure."""
    path.write_bytes(content)
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))


def serial(store: CertificateStore, keys: Keys, now_s: float) -> bytes | None:
    """The certificate that a client sees now."""
    store.context(now_s)
    pair = Pair(store, keys.client())
    pair.exchange()
    return pair.client.peer_certificate


def test_a_new_certificate_is_read_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a second at most; a half-written one changes nothing, and the log says so once."""
    keys = Keys(tmp_path)
    store = store_of(keys)
    first = serial(store, keys, 10.0)
    touch(keys.server, b"half")
    with caplog.at_level(logging.INFO, "broker"):
        assert serial(store, keys, 10.5) == first
        assert caplog.messages == []
        for now_s in (12.0, 14.0, 16.0):
            assert serial(store, keys, now_s) == first
    assert len(caplog.messages) == 1
    assert "the certificates stay as they are" in caplog.messages[0]
    keys.server.unlink()
    assert serial(store, keys, 18.0) == first
    assert serial(store, keys, 20.0) == first
    assert len(caplog.messages) == 2
    keys.sign("server", "localhost")
    with caplog.at_level(logging.INFO, "broker"):
        assert serial(store, keys, 22.0) not in (first, None)
    assert caplog.messages[-1] == "openwire+ssl: the certificates have been read again"


@pytest.mark.parametrize("broken", ["missing", "empty", "no key", "wrong key", "no trust", "ciphers"])
def test_unusable_files_are_named(keys: Keys, tmp_path: Path, broken: str) -> None:
    """Before anybody connects, with what is wrong with them."""
    file = tmp_path / "own.pem"
    more: dict[str, object] = {}
    if broken == "empty":
        file.write_bytes(b"")
    elif broken == "no key":
        file.write_bytes(keys.trust.read_bytes())
    elif broken == "wrong key":
        file.write_bytes(keys.server.read_bytes())
        more = {"keys": (keys.sign("other", "h"),)}
    elif broken == "no trust":
        file.write_bytes(keys.server.read_bytes())
        (tmp_path / "trust.pem").write_text("nothing")
        more = {"trusted": tmp_path / "trust.pem"}
    elif broken == "ciphers":
        file.write_bytes(keys.server.read_bytes())
        more = {"ciphers": "ROT13"}
    with pytest.raises(CertificatesUnusable) as caught:
        CertificateStore(TlsConfig((file,), **more), "c")
    expected = {"no trust": "trust.pem", "ciphers": "ROT13"}.get(broken, "own.pem")
    assert expected in str(caught.value)


def test_revoked_certificates_are_refused(keys: Keys, tmp_path: Path) -> None:
    """`crlPath` names the lists."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    ann = keys.user("ann")
    authority = x509.load_pem_x509_certificate(keys.trust.read_bytes())
    key = serialization.load_pem_private_key((keys.folder / "ca-key.pem").read_bytes(), None)
    revoked = (
        x509.RevokedCertificateBuilder()
        .serial_number(x509.load_pem_x509_certificate(ann.read_bytes()).serial_number)
        .revocation_date(NOW)
        .build()
    )
    day = datetime.timedelta(days=1)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    crl = builder.last_update(NOW - day).next_update(NOW + day).add_revoked_certificate(revoked)
    path = tmp_path / "crl.pem"
    path.write_bytes(crl.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    store = store_of(keys, clients=NEEDED, trusted=keys.trust, revoked=path)
    client = ssl.create_default_context(cafile=str(keys.trust))
    client.load_cert_chain(ann)
    assert (
        failure(store, client)[0] == "TLS: the other side's certificate is not accepted: certificate revoked"
    )
    assert failure(store, keys.client("bob")) == ("", "")


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), after=st.booleans())
def test_garbage_never_raises(keys: Keys, data: bytes, after: bool) -> None:
    """Whatever comes, before or after the handshake."""
    pair = Pair(store_of(keys), keys.client())
    if after:
        pair.exchange()
    pair.server.receive_data(data, 1.0)
    pair.server.data_to_send()


def test_it_is_made_by_the_protocols_builder(keys: Keys) -> None:
    """What makes the servers inside gets what the connector shares."""
    made = partial(TlsServer, store=store_of(keys), make=EchoServer)(
        context(), "tcp://h:1", 0.0, lambda: None
    )
    assert made.data_to_send() == b""
