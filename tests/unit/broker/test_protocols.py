"""Which server a connector's clients are given, and what has to be installed for it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.certificates import Keys
from support.region import MemoryStore

from broker import protocols
from broker.auto import AutoServer
from broker.certificates import CertificateStore
from broker.connectors import CONNECTORS, ConnectorConfig, PortRange, read_connectors
from broker.errors import ConfigurationInvalid, ProtocolUnavailable
from broker.mastership import Mastership
from broker.protocols import SERVERS, lack, prepare, server_builder
from broker.region.region import Region
from broker.serving import ServerContext
from broker.tls_server import TlsServer
from broker.websocket import WebSocketServer


@pytest.fixture
def without_proton(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMQP's library is not installed."""

    def missing() -> None:
        raise ConfigurationInvalid("Install fabric-mq[amqp].")

    monkeypatch.setattr(protocols, "proton", missing)


def build(config: ConnectorConfig, store: CertificateStore | None = None) -> Any:
    """One client's server."""
    nothing: Any = None
    context = ServerContext(config, Region(MemoryStore()), nothing, "ID:b", "b", "x://h:1")
    return server_builder(context, store)("tcp://h:1", 0.0, lambda: None)


def test_every_connector_has_its_server(tmp_path: Path) -> None:
    """Plain, with TLS, over WebSocket, and for all protocols."""
    keys = Keys(tmp_path)
    own: dict[str, type] = {"ws": WebSocketServer, "auto": AutoServer}
    for name, (protocol, _) in CONNECTORS.items():
        (plain,) = read_connectors({"connectors": name})
        assert type(build(plain)) is (own.get(name) or SERVERS[protocol])
        (tls,) = read_connectors({"connectors": f"{name}+ssl", "ssl.keyStore": str(keys.server)})
        assert tls.tls is not None
        assert isinstance(build(tls, CertificateStore(tls.tls, name)), TlsServer)


def test_auto_takes_tls_and_what_is_wished(tmp_path: Path) -> None:
    """TLS only with certificates; of the protocols those that are named."""
    keys = Keys(tmp_path)
    (auto,) = read_connectors({"connectors": "auto", "auto-auto.protocols": "stomp"})
    server = build(auto)
    server.receive_data(b"AMQP\0\1\0\0", 0.0)
    assert "amqp is not spoken here" in server.close_reason
    (auto,) = read_connectors({"connectors": "auto", "ssl.keyStore": str(keys.server)})
    assert auto.tls is not None
    server = build(auto, CertificateStore(auto.tls, "auto"))
    server.receive_data(b"\x16\x03\x01\x00", 0.0)
    assert isinstance(server.inner, TlsServer)


@pytest.mark.usefixtures("without_proton")
def test_what_is_not_installed_is_left_out() -> None:
    """The connector says what to install; `auto` and WebSocket do without."""
    amqp, openwire, auto, websocket = read_connectors({"connectors": "amqp openwire auto ws"})
    assert lack(amqp) == "The connector amqp does not listen: Install fabric-mq[amqp]."
    assert [lack(each) for each in (openwire, auto, websocket)] == ["", "", ""]
    server = build(auto)
    server.receive_data(b"AMQP\0\1\0\0", 0.0)
    assert "amqp is not spoken here" in server.close_reason
    prepare((amqp, openwire, auto, websocket))


def mastership(tmp_path: Path, connectors: str) -> Mastership:
    """A term that has not begun."""
    nothing: Any = None
    config: Any = SimpleNamespace(
        connectors=read_connectors({"connectors": connectors}),
        authorization=None,
        usage=SimpleNamespace(temporary=tmp_path),
        data=tmp_path,
        name="b",
        store_timeout_ms=0,
    )
    return Mastership(
        nothing, config, bind_address="", advertised_host="h", owner="o", users=nothing, on_failed=nothing
    )


@pytest.mark.usefixtures("without_proton")
def test_a_broker_serves_with_the_rest(tmp_path: Path) -> None:
    """What it leaves out is a notice, and no reason to leave the mastership; nothing at all is one."""
    some = mastership(tmp_path, "amqp openwire")
    assert some.notice == "The connector amqp does not listen: Install fabric-mq[amqp]."
    assert mastership(tmp_path, "openwire").notice == ""
    beginning = mastership(tmp_path, "amqp").begin()
    with pytest.raises(ProtocolUnavailable, match=r"Install fabric-mq\[amqp\]"):
        beginning.send(None)


def test_ports_are_read() -> None:
    """As before the connectors had a module of their own."""
    assert PortRange.parse("${port:5,7}").candidates == range(5, 8)
