"""The console's connections: encryption, certificates that change, how many there may be."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from support.certificates import HOST, Keys
from support.console import ConsoleWorld, Response, parse_response
from twisted.internet.testing import StringTransport

from broker.certificates import CertificateStore
from broker.tls import TlsChannel
from broker.tls_config import TlsConfig
from fabric.addresses import is_loopback
from fabric.web import connections
from fabric.web.connections import Connections


def store_of(keys: Keys) -> CertificateStore:
    """What the console shows."""
    return CertificateStore(TlsConfig((keys.server,)), "console")


def connect(site: Connections) -> tuple[Any, StringTransport]:
    """One more connection: the server's side, and what it has sent."""
    protocol = site.buildProtocol(None)
    transport = StringTransport()
    if protocol is not None:
        protocol.makeConnection(transport)
    return protocol, transport


def ask(site: Connections, context: ssl.SSLContext, request: bytes) -> tuple[Response, bytes | None]:
    """One request over TLS, and the certificate that was shown."""
    protocol, transport = connect(site)
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
    site = Connections(ConsoleWorld().site, store_of(keys))
    answer, _ = ask(site, keys.client(), REQUEST)
    assert answer.status == 200 and "</html>" in answer.text


def test_a_new_certificate_is_shown_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next client sees it; one that cannot be read changes nothing."""
    now_s = [0.0]
    monkeypatch.setattr(connections.time, "monotonic", lambda: now_s[0])
    keys = Keys(tmp_path)
    site = Connections(ConsoleWorld().site, store_of(keys))
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
    site = Connections(ConsoleWorld().site, store_of(Keys(tmp_path)))
    protocol, transport = connect(site)
    protocol.dataReceived(REQUEST)
    assert transport.disconnecting and b"HTTP" not in transport.value()


def test_so_many_connections_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is closed; when one ends there is place again."""
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    site = Connections(ConsoleWorld().site, None)
    first, _ = connect(site)
    connect(site)
    assert connect(site)[0] is None
    first.connectionLost(None)
    assert connect(site)[0] is not None


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
