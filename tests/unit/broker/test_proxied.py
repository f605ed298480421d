"""A connector behind a proxy, without sockets: who is believed, and what is then served to whom."""

import pytest
from support.wrapped import EchoServer, context

from broker.connector import ProtocolServer
from broker.connectors import read_connectors
from broker.errors import ConfigurationInvalid
from broker.proxied import ProxiedServer, proxied_server
from broker.proxy_protocol import Address, header_v1, header_v2, read_networks

CLIENT = Address("192.0.2.1", 40_000)
HERE = Address("192.0.2.9", 61_616)
PROXY = "tcp://10.0.0.5:50000"


def serve(remote: str = PROXY, **config: object) -> ProtocolServer:
    """A server for who has connected."""
    shared = context(proxies=read_networks("x", "10.0.0.0/8"), **config)
    return proxied_server(EchoServer, shared, remote, 0.0, lambda: None)


@pytest.mark.parametrize("header", [header_v1(CLIENT, HERE), header_v2(CLIENT, HERE)])
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_the_client_of_a_trusted_proxy(header: bytes, cut: int) -> None:
    """What is inside serves the client, however the bytes are cut; nothing is said before."""
    server = serve()
    data = header + b"ping"
    assert server.data_to_send() == b""
    for at in range(0, len(data), cut):
        server.receive_data(data[at : at + cut], 1.0)
    assert isinstance(server, ProxiedServer)
    assert server.inner is not None
    assert server.inner.remote == "tcp://192.0.2.1:40000"
    assert server.data_to_send() == b"hello PING"


def test_an_ipv6_client() -> None:
    """Its address looks as that of one that connects itself."""
    server = serve()
    server.receive_data(header_v2(Address("2001:db8::1", 7), Address("2001:db8::2", 8)), 1.0)
    assert isinstance(server, ProxiedServer)
    assert server.inner.remote == "tcp://2001:db8::1:7"


def test_others_are_not_believed() -> None:
    """Who is not trusted is served as always: a header is no protocol."""
    server = serve("tcp://192.0.2.66:50000")
    assert isinstance(server, EchoServer)
    assert isinstance(serve("tcp://::1:50000"), EchoServer)


def test_a_trusted_address_without_a_header() -> None:
    """It speaks for itself, unless a header is required."""
    server = serve()
    server.receive_data(b"ping", 1.0)
    assert server.data_to_send() == b"hello PING"
    assert server.inner.remote == PROXY
    strict = serve(requires_proxy=True)
    strict.receive_data(b"ping", 1.0)
    assert strict.closing
    assert "no PROXY header" in strict.close_reason
    strict.receive_data(b"more", 1.0)
    assert strict.data_to_send() == b""


def test_a_header_that_cannot_be_read() -> None:
    """The connection ends, and the log can say why."""
    server = serve()
    server.receive_data(b"PROXY TCP4 nonsense\r\n", 1.0)
    assert server.closing
    assert "nobody understands" in server.close_reason


def test_the_proxy_speaks_for_itself() -> None:
    """A health check with a header has the proxy's own address."""
    server = serve()
    server.receive_data(b"PROXY UNKNOWN\r\nping", 1.0)
    assert server.inner.remote == PROXY
    assert server.data_to_send() == b"hello PING"


def test_properties() -> None:
    """Each connector has its own; what is not possible is said with its name."""
    connectors = read_connectors(
        {
            "connectors": "openwire stomp",
            "stomp-proxyProtocol.trusted": "10.0.0.1",
            "stomp-proxyProtocol.required": "true",
        }
    )
    assert [(one.name, len(one.proxies), one.requires_proxy) for one in connectors] == [
        ("openwire", 0, False),
        ("stomp", 1, True),
    ]
    with pytest.raises(ConfigurationInvalid, match=r"openwire-proxyProtocol\.required is true, but"):
        read_connectors({"openwire-proxyProtocol.required": "true"})
    with pytest.raises(ConfigurationInvalid, match=r"openwire-proxyProtocol\.trusted names 'lb'"):
        read_connectors({"openwire-proxyProtocol.trusted": "lb"})
