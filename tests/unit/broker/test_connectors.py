"""What the properties of a PID say about connectors: names, protocols, schemes, TLS."""

import ssl
from pathlib import Path

import pytest

from broker.connectors import CONNECTORS, ConnectorConfig, connector_names, kind_of, read_connectors
from broker.errors import ConfigurationInvalid
from broker.tls_config import ClientCertificates, TlsConfig, canonical_subject

KEYS = {"ssl.keyStore": "/etc/mq/server.pem"}


def read(connectors: str, **more: str) -> tuple[ConnectorConfig, ...]:
    """The connectors of these properties, `__` standing for `-`."""
    return read_connectors(
        {"connectors": connectors, **{key.replace("__", "-"): value for key, value in more.items()}}
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("openwire", ("openwire", "tcp", False)),
        ("openwire+ssl", ("openwire", "ssl", True)),
        ("openwire-ssl", ("openwire", "ssl", True)),
        ("ssl", ("openwire", "ssl", True)),
        ("ws", ("ws", "ws", False)),
        ("wss", ("ws", "wss", True)),
        ("ws-ssl", ("ws", "wss", True)),
        ("auto", ("auto", "auto", False)),
        ("auto+ssl", ("auto", "auto+ssl", True)),
        ("gopher", None),
        ("gopher+ssl", None),
        ("openwire+ssl+ssl", None),
    ],
)
def test_names_of_the_original(name: str, kind: tuple[str, str, bool] | None) -> None:
    """Each stands for a protocol, a scheme of its URL, and TLS or not."""
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", CONNECTORS)
def test_every_protocol_has_a_connector_with_tls(name: str) -> None:
    """And both are offered to who mistypes one."""
    assert kind_of(name) is not None
    tls = kind_of(f"{name}+ssl")
    assert tls is not None
    assert tls[1] in ("ssl", "wss", f"{name}+ssl")
    assert {name, "wss" if name == "ws" else f"{name}+ssl"} <= set(connector_names())


def test_several_connectors_of_one_protocol() -> None:
    """A connector of another name says what it is; each has its own options."""
    one, two = read(
        "openwire inside",
        inside__protocol="openwire",
        inside__port="61620",
        inside__maximumConnections="5",
        openwire__port="61616",
    )
    assert (one.name, one.protocol, one.scheme, one.ports.low, one.connections_max) == (
        ("openwire", "openwire", "tcp", 61616, 1000)
    )
    assert (two.name, two.protocol, two.scheme, two.ports.low, two.connections_max) == (
        ("inside", "openwire", "tcp", 61620, 5)
    )
    assert not one.requires_tls
    assert one.tls is None


def test_tls_has_the_originals_options() -> None:
    """Key material is the broker's, the rest each connector's."""
    first, second = read(
        "openwire+ssl wss",
        **{
            "ssl.keyStore": "/a.pem, /b.pem",
            "ssl.keyStoreKey": "/a.key,/b.key",
            "ssl.keyStoreKeyPassword": "secret",
            "ssl.trustStore": "/ca.pem",
            "ssl.crlPath": "/crl.pem",
            "ssl.user.ann": "cn=Ann Smith , O=Shop",
            "wss-transport.needClientAuth": "true",
            "openwire+ssl-transport.wantClientAuth": "true",
            "openwire+ssl-transport.enabledProtocols": "TLSv1.3",
            "openwire+ssl-transport.enabledCipherSuites": "ECDHE-RSA-AES256-GCM-SHA384,ECDHE-RSA-AES128-SHA",
        },
    )
    assert first.tls == TlsConfig(
        certificates=(Path("/a.pem"), Path("/b.pem")),
        keys=(Path("/a.key"), Path("/b.key")),
        key_password="secret",
        trusted=Path("/ca.pem"),
        revoked=Path("/crl.pem"),
        clients=ClientCertificates.WANTED,
        version_min=ssl.TLSVersion.TLSv1_3,
        ciphers="ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA",
        certificate_login=True,
        users={"CN=Ann Smith,O=Shop": "ann"},
    )
    assert second.tls is not None
    assert second.tls.clients is ClientCertificates.NEEDED
    assert second.tls.version_min is ssl.TLSVersion.TLSv1_2
    assert first.requires_tls and second.requires_tls
    assert "secret" not in repr(first)


def test_auto_speaks_tls_if_there_are_certificates() -> None:
    """Other connectors without TLS in their name never do."""
    (auto, plain) = read("auto openwire", **KEYS)
    assert auto.tls is not None
    assert not auto.requires_tls
    assert plain.tls is None
    (auto,) = read("auto", **{"auto-auto.protocols": "default,ws", "auto-protocolDetectionTimeOut": "500"})
    assert (auto.tls, auto.auto_protocols, auto.detection_ms) == (None, {"openwire", "ws"}, 500)


def test_origins_of_web_pages() -> None:
    """All unless some are named."""
    assert read("ws")[0].origins == frozenset()
    assert read("ws", **{"ws-allowedOrigins": "https://A.example.com/, http://b"})[0].origins == {
        "https://a.example.com",
        "http://b",
    }
    assert read("ws", **{"ws-allowedOrigins": "https://a *"})[0].origins == frozenset()


@pytest.mark.parametrize(
    ("connectors", "more", "text"),
    [
        ("inside", {}, "'inside' does not exist"),
        ("inside", {}, "inside-protocol"),
        (
            "inside",
            {"inside-protocol": "gopher"},
            "inside-protocol 'gopher' does not exist; there is: ",
        ),
        ("a/b", {"a/b-protocol": "openwire"}, "'a/b' does not exist"),
        (" ".join(f"c{number}" for number in range(51)), {}, "at most 50"),
        ("wss", {}, "ssl.keyStore names no certificate"),
        (
            "wss",
            {"ssl.keyStore": "${nobody.knows}/x"},
            "ssl.keyStore '${nobody.knows}/x' holds a placeholder",
        ),
        ("wss", {**KEYS, "ssl.keyStoreKey": "/a,/b"}, "as many files"),
        ("wss", {**KEYS, "wss-transport.needClientAuth": "true"}, "ssl.trustStore names no PEM file"),
        ("wss", {**KEYS, "wss-transport.wantClientAuth": "yes"}, "wss-transport.wantClientAuth 'yes'"),
        (
            "wss",
            {**KEYS, "wss-transport.enabledProtocols": "SSLv3"},
            "'SSLv3'; possible are: TLSv1.2, TLSv1.3",
        ),
        ("wss", {**KEYS, "ssl.user.a": "CN=x", "ssl.user.b": "cn=x"}, "ssl.user.b: another user has"),
        ("auto", {"auto-auto.protocols": "default,gopher"}, "auto-auto.protocols names 'gopher'"),
        ("auto", {"auto-protocolDetectionTimeOut": "0"}, "auto-protocolDetectionTimeOut '0'"),
    ],
)
def test_what_is_wrong_is_named(connectors: str, more: dict[str, str], text: str) -> None:
    """Every refusal says which property, and what it should be."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read(connectors, **more)
    assert text in str(caught.value)


def test_subjects_are_compared_without_regard_to_spaces() -> None:
    """People write them as their tools show them."""
    assert canonical_subject("cn = ann, O=Shop\\, Inc.") == canonical_subject("CN=ann,o=Shop\\, Inc.")
