"""The console's connections: encryption, certificates that change, how many there may be, proxies."""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from support.certificates import HOST, Keys
from support.console import ConsoleWorld, Response, parse_response
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from broker.admission import NO_RATE, NO_SHARE, AddressLimits
from broker.certificates import CertificateStore
from broker.proxy_protocol import Address, header_v1, header_v2
from broker.tls import TlsChannel
from broker.tls_config import TlsConfig
from fabric.addresses import is_loopback
from fabric.web.connections import NO_PLACE, Connections
from fabric.web.settings import WebSettings

CLIENT, OTHER, PROXY = "192.0.2.1", "192.0.2.2", "10.0.0.1"
PROXIES = (ipaddress.ip_network("10.0.0.0/8"),)


def encrypted(keys: Keys) -> WebSettings:
    """What the console shows."""
    return WebSettings(CertificateStore(TlsConfig((keys.server,)), "console"))


def connect(site: Connections, host: str = CLIENT) -> tuple[Any, StringTransport]:
    """One more connection: the server's side, and what it has sent."""
    address = IPv4Address("TCP", host, 40_000)
    protocol = site.buildProtocol(address)
    transport = StringTransport(peerAddress=address)
    if protocol is not None:
        protocol.makeConnection(transport)
    return protocol, transport


def ask(
    site: Connections, context: ssl.SSLContext, request: bytes, host: str = CLIENT, header: bytes = b""
) -> tuple[Response, bytes | None]:
    """One request over TLS, and the certificate that was shown."""
    protocol, transport = connect(site, host)
    if header:
        protocol.dataReceived(header)
    client = TlsChannel(context, server_side=False, server_name=HOST)
    client.begin()
    while not client.is_open:
        protocol.dataReceived(client.data_to_send())
        client.receive_data(transport.value())
        transport.clear()
    client.send(request)
    protocol.dataReceived(client.data_to_send())
    answer = client.receive_data(transport.value())
    assert transport.disconnecting and client.is_closed
    return parse_response(answer), client.peer_certificate


REQUEST = b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_pages_come_over_tls(tmp_path: Path) -> None:
    """Whole, and the connection ends in order."""
    keys = Keys(tmp_path)
    site = Connections(ConsoleWorld().site, encrypted(keys))
    answer, _ = ask(site, keys.client(), REQUEST)
    assert answer.status == 200 and "</html>" in answer.text


def test_a_new_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    """The next client sees it; one that cannot be read changes nothing."""
    now_s = [0.0]
    keys = Keys(tmp_path)
    site = Connections(ConsoleWorld().site, encrypted(keys), seconds=lambda: now_s[0])
    seen = [ask(site, keys.client(), REQUEST)[1]]
    keys.sign("server", HOST)
    now_s[0] += 10
    seen.append(ask(site, keys.client(), REQUEST)[1])
    keys.server.write_text("nothing")
    os.utime(keys.server, (1, 1))
    now_s[0] += 10
    seen.append(ask(site, keys.client(), REQUEST)[1])
    assert seen[0] != seen[1] == seen[2]


def test_what_is_no_tls_ends_the_connection(tmp_path: Path) -> None:
    """Nothing of it reaches the site."""
    site = Connections(ConsoleWorld().site, encrypted(Keys(tmp_path)))
    protocol, transport = connect(site)
    protocol.dataReceived(REQUEST)
    assert transport.disconnecting and b"HTTP" not in transport.value()


def limited(**limits: Any) -> Connections:
    """A console for which these limits count."""
    settings = WebSettings(connections_max=limits.pop("everybody", 100), limits=AddressLimits(**limits))
    return Connections(ConsoleWorld().site, settings, seconds=lambda: 0.0)


def test_so_many_connections_and_no_more() -> None:
    """The next one is closed; when one ends there is place again."""
    site = limited(everybody=2)
    first, _ = connect(site)
    connect(site, OTHER)
    assert connect(site)[0] is None
    assert site.refusals == {NO_PLACE: 1}
    first.connectionLost(None)
    assert connect(site)[0] is not None


def test_one_address_leaves_room_for_others(caplog: pytest.LogCaptureFixture) -> None:
    """It has its share; one line in the log; when one of its connections ends another may come."""
    site = limited(connections_max=2)
    first, _ = connect(site)
    connect(site)
    with caplog.at_level(logging.WARNING):
        assert [connect(site)[0] for _ in range(5)] == [None] * 5
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith(f"{CLIENT} refused: more than its {NO_SHARE}; refused so: 1")
    assert site.refusals == {NO_SHARE: 5}
    assert connect(site, OTHER)[0] is not None
    first.connectionLost(None)
    assert connect(site)[0] is not None


def test_so_many_new_connections_a_second() -> None:
    """One that loops is held up, others are not; this host's own have no limit."""
    site = limited(per_second=1)
    made = [connect(site)[0] for _ in range(12)]
    assert None not in made[:10] and made[10:] == [None, None]
    assert site.refusals == {NO_RATE: 2}
    assert connect(site, OTHER)[0] is not None
    assert None not in [connect(site, "127.0.0.1")[0] for _ in range(50)]


# ---- behind a proxy

SERVER = Address("10.0.0.9", 8181)


def behind_proxy(**settings: Any) -> tuple[ConsoleWorld, Connections]:
    """A console that believes proxies."""
    world = ConsoleWorld()
    chosen = WebSettings(proxies=PROXIES, **settings)
    return world, Connections(world.site, chosen, seconds=lambda: 0.0)


def tried_from(world: ConsoleWorld, site: Connections, host: str, first: bytes) -> str:
    """The address that a request with a wrong password is taken to come from."""
    seen: list[str] = []
    world.console.gate.when_tried = lambda user, remote, outcome: seen.append(remote)
    protocol, _ = connect(site, host)
    request = b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp4\r\n\r\n"
    for byte in first + request:
        protocol.dataReceived(bytes([byte]))
    world.reactor.turn()
    return seen[0] if seen else ""


@pytest.mark.parametrize("header", [header_v1, header_v2])
@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
def test_a_trusted_proxy_names_the_client(header: Any, client: str) -> None:
    """In both versions of the header, however it arrives."""
    world, site = behind_proxy()
    server = Address("::1", 1) if ":" in client else SERVER
    assert tried_from(world, site, PROXY, header(Address(client, 5000), server)) == client


def test_a_proxy_may_speak_for_itself_unless_it_must_not() -> None:
    """Without a header it is a client like others; where one is required nothing else is read."""
    world, site = behind_proxy()
    assert tried_from(world, site, PROXY, b"") == PROXY
    world, site = behind_proxy(requires_proxy=True)
    protocol, transport = connect(site, PROXY)
    protocol.dataReceived(REQUEST)
    assert transport.disconnecting and transport.value() == b""


def test_a_header_of_somebody_else_is_garbage() -> None:
    """Nobody makes up an address."""
    _, site = behind_proxy()
    protocol, transport = connect(site, CLIENT)
    protocol.dataReceived(header_v1(Address(OTHER, 5000), SERVER) + REQUEST)
    assert transport.value().startswith(b"HTTP/1.1 400") and transport.disconnecting


def test_a_header_that_cannot_be_read_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The log says why."""
    _, site = behind_proxy()
    protocol, transport = connect(site, PROXY)
    protocol.dataReceived(b"PROXY TCP4 nonsense\r\n" + REQUEST)
    assert transport.disconnecting and transport.value() == b""
    assert f"{PROXY} closed: a PROXY header" in caplog.text


def test_connections_count_for_whom_the_proxy_names() -> None:
    """The proxy may have any number of them, each of its clients its share."""
    _, site = behind_proxy(limits=AddressLimits(connections_max=1))

    def come(client: str) -> tuple[Any, StringTransport]:
        protocol, transport = connect(site, PROXY)
        protocol.dataReceived(header_v1(Address(client, 5000), SERVER))
        return protocol, transport

    first, transport = come(CLIENT)
    assert not transport.disconnecting and not come(OTHER)[1].disconnecting
    again, transport = come(CLIENT)
    assert transport.disconnecting
    again.dataReceived(REQUEST)
    assert transport.value() == b""
    again.connectionLost(None)
    assert come(CLIENT)[1].disconnecting
    first.connectionLost(None)
    assert not come(CLIENT)[1].disconnecting


def test_the_header_stands_in_front_of_tls(tmp_path: Path) -> None:
    """As load balancers send it that do not end TLS."""
    keys = Keys(tmp_path)
    world = ConsoleWorld()
    settings = WebSettings(encrypted(keys).certificates, proxies=PROXIES)
    site = Connections(world.site, settings)
    header = header_v2(Address(CLIENT, 5000), SERVER)
    answer, _ = ask(site, keys.client(), REQUEST, PROXY, header)
    assert answer.status == 200


def test_with_tls_cookies_and_pages_stay_with_tls() -> None:
    """The cookie is the host's own and Secure, and browsers are told to come with TLS only."""
    world = ConsoleWorld(is_secure=True)
    answer = world.client().post("/login", {"user": "admin", "password": "admin"}, form=True)
    assert answer.cookies[0].startswith("__Host-fabric=") and "; Secure" in answer.cookies[0]
    assert "max-age=" in answer.headers["strict-transport-security"]
    assert "strict-transport-security" not in ConsoleWorld().client().get("/login").headers


def test_loopback_is_where_nobody_else_listens() -> None:
    """Everywhere and unknown names are not."""
    assert [is_loopback(address) for address in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_loopback(address) for address in ("0.0.0.0", "", "::", "host", "10.0.0.1")] == [False] * 5
