"""Key stores of Java's kind, and certificates that end soon."""

from __future__ import annotations

import datetime
import logging
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)
from support.certificates import NOW, Keys
from support.wrapped import EchoServer, context

from broker.certificates import NOTICE_S, CertificateStore
from broker.errors import CertificatesUnusable
from broker.tls import TlsChannel
from broker.tls_config import ClientCertificates, TlsConfig
from broker.tls_server import TlsServer

PASSWORD = "changeit"
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """An authority, a server's certificate for 100 days, a user's."""
    return Keys(tmp_path_factory.mktemp("keys"), NOW)


def packed(pem: Path, to: Path, password: str = PASSWORD, *, with_key: bool = True) -> Path:
    """The content of a PEM file as PKCS#12."""
    content = pem.read_bytes()
    own, *others = x509.load_pem_x509_certificates(content)
    key = load_pem_private_key(content, None) if with_key else None
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    to.write_bytes(pkcs12.serialize_key_and_certificates(b"own", key, own, others, encryption))
    return to


def shaken(store: CertificateStore, client: ssl.SSLContext) -> TlsServer:
    """Hands after they were shaken."""
    server = TlsServer(context(), "tcp://h:1", 0.0, lambda: None, store=store, make=EchoServer)
    channel = TlsChannel(client, server_side=False, server_name="localhost")
    channel.begin()
    for _ in range(4):
        server.receive_data(channel.data_to_send(), 0.0)
        channel.receive_data(server.data_to_send())
    return server


@pytest.mark.parametrize("password", [PASSWORD, ""])
def test_a_key_store_of_java(keys: Keys, tmp_path: Path, password: str) -> None:
    """Certificate, chain and key in one file; the same for whom to trust."""
    config = TlsConfig(
        (packed(keys.server, tmp_path / "server.p12", password),),
        key_password=password,
        trusted=packed(keys.trust, tmp_path / "trust.PFX", password, with_key=False),
        clients=ClientCertificates.NEEDED,
        certificate_login=True,
    )
    server = shaken(CertificateStore(config, "c"), keys.client("ann"))
    assert server.inner is not None
    assert server.inner.context.transport_user == "ann"


def test_a_key_may_have_a_store_of_its_own(keys: Keys, tmp_path: Path) -> None:
    """PEM and PKCS#12 go together."""
    key = packed(keys.server, tmp_path / "key.p12")
    store = CertificateStore(TlsConfig((keys.server,), (key,), PASSWORD), "c")
    assert shaken(store, keys.client()).inner is not None


@pytest.mark.parametrize("broken", ["password", "content", "no key", "missing"])
def test_what_is_wrong_with_it(keys: Keys, tmp_path: Path, broken: str) -> None:
    """The file is named."""
    path = tmp_path / "own.p12"
    if broken == "content":
        path.write_bytes(keys.server.read_bytes())
    elif broken != "missing":
        packed(keys.server, path, with_key=broken != "no key")
    password = "wrong" if broken == "password" else PASSWORD
    with pytest.raises(CertificatesUnusable, match=r"own\.p12"):
        CertificateStore(TlsConfig((path,), key_password=password), "c")


def test_a_certificate_that_ends_is_told_of(
    keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From 30 days before, in words that change once a day, in the log as often; not when it is renewed."""
    short = keys.sign("short", "localhost", days=40)
    store = CertificateStore(TlsConfig((keys.server, short)), "openwire+ssl")
    began_s = datetime.datetime.now(datetime.UTC).timestamp()
    assert store.notice(began_s) == ""
    warned = store.notice(began_s + 35 * DAY_S)
    assert warned.startswith(f"The certificate in {short} expires in 4 days, on ")
    assert store.notice(began_s + 35 * DAY_S + 2 * NOTICE_S) == warned
    assert [record.getMessage() for record in caplog.records] == [f"openwire+ssl: {warned}"]
    assert "in 1 day," in store.notice(began_s + 38.5 * DAY_S)
    assert "within a day" in store.notice(began_s + 39.5 * DAY_S)
    assert "has expired on" in store.notice(began_s + 41 * DAY_S)
    assert len(caplog.records) == 4
    keys.sign("short", "localhost", days=90)
    with caplog.at_level(logging.INFO, "broker"):
        assert store.notice(began_s + 42 * DAY_S) == ""


def test_one_that_cannot_be_read_any_more_is_no_reason_to_fail(keys: Keys, tmp_path: Path) -> None:
    """The log says so elsewhere."""
    copy = tmp_path / "copy.pem"
    copy.write_bytes(keys.server.read_bytes())
    store = CertificateStore(TlsConfig((copy,)), "c")
    copy.unlink()
    assert store.notice(0.0) == ""
    copy.write_text("nothing")
    assert store.notice(2 * NOTICE_S) == ""
