"""How many requests one address may send, and whose requests they are behind a proxy."""

from __future__ import annotations

import ipaddress
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.console import ConsoleWorld, Response, parse_response
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from broker.admission import BURST_S, AddressLimits
from broker.proxy_protocol import read_networks
from fabric.web.requests import NO_RATE, Requests, address_in
from fabric.web.settings import WebSettings

CLIENT, OTHER, PROXY = "192.0.2.1", "192.0.2.2", "10.0.0.1"
FORWARDERS = read_networks("", "10.0.0.0/8")


def world_of(per_second: int = 1, forwarded: bool = False) -> ConsoleWorld:
    """A console that answers so many requests a second."""
    forwarders = FORWARDERS if forwarded else ()
    world = ConsoleWorld(settings=WebSettings(requests_per_second=per_second, forwarders=forwarders))
    world.site._seconds = world.reactor.seconds
    return world


def ask(world: ConsoleWorld, path: str, host: str = CLIENT, forwarded: str = "") -> Response:
    """One request of an address."""
    protocol = world.site.buildProtocol(None)  # type: ignore[no-untyped-call]  # Twisted has no types for it
    transport = StringTransport(peerAddress=IPv4Address("TCP", host, 40_000))
    protocol.makeConnection(transport)
    header = f"X-Forwarded-For: {forwarded}\r\n" if forwarded else ""
    protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: a\r\n{header}Connection: close\r\n\r\n".encode())
    world.reactor.turn()
    return parse_response(transport.value())


def test_who_asks_too_much_waits(caplog: pytest.LogCaptureFixture) -> None:
    """Ten seconds' worth may come at once; then the answer says when to come again. Others notice nothing."""
    world = world_of()
    statuses = [ask(world, "/login").status for _ in range(BURST_S + 3)]
    assert statuses == [200] * BURST_S + [429] * 3
    answer = ask(world, "/login")
    assert answer.headers["retry-after"] == "1" and answer.headers["cache-control"] == "no-store"
    assert f"its {NO_RATE}. Try again in 1 s." in " ".join(answer.text.split())
    assert ask(world, "/login", OTHER).status == 200
    assert world.site.requests.refused == 4
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == [f"console: requests from {CLIENT} refused: more than its {NO_RATE}; refused so: 1"]
    world.reactor.advance(2)
    assert [ask(world, "/login").status for _ in range(3)] == [200, 200, 429]


def test_programs_are_told_in_json() -> None:
    """Also for what does not exist, and for methods that do not."""
    world = world_of()
    for _ in range(BURST_S):
        ask(world, "/api/v1/nothing")
    answer = ask(world, "/api/v1/nothing")
    assert answer.status == 429 and answer.headers["content-type"] == "application/json"
    assert answer.json["error"]["code"] == "too_many_requests" and answer.json["error"]["do_next"]


def test_this_hosts_own_and_who_has_no_limit_are_answered() -> None:
    """Trusted addresses, and everybody where nothing is to be limited."""
    world = world_of()
    assert {ask(world, "/login", "127.0.0.1").status for _ in range(3 * BURST_S)} == {200}
    world = world_of(0)
    assert {ask(world, "/login").status for _ in range(3 * BURST_S)} == {200}


def test_requests_count_for_whom_a_forwarder_names() -> None:
    """Each of its clients has its own; what others say of themselves counts for nothing."""
    world = world_of(forwarded=True)
    assert {ask(world, "/login", PROXY, CLIENT).status for _ in range(BURST_S)} == {200}
    assert ask(world, "/login", PROXY, CLIENT).status == 429
    assert ask(world, "/login", PROXY, f"{OTHER}, {CLIENT}, {PROXY}").status == 429
    assert ask(world, "/login", PROXY, OTHER).status == 200
    for number in range(BURST_S):
        assert ask(world, "/login", "192.0.2.9", f"192.0.2.{number + 10}").status == 200
    assert ask(world, "/login", "192.0.2.9", "192.0.2.200").status == 429


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (PROXY, "", PROXY),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"{OTHER}, {CLIENT}", CLIENT),
        (PROXY, f"{OTHER},{CLIENT},10.0.0.2,10.1.1.1", CLIENT),
        (PROXY, "10.0.0.3", "10.0.0.3"),
        (PROXY, f"{CLIENT}, unknown", PROXY),
        (PROXY, f"{CLIENT}:4000", CLIENT),
        (PROXY, "[2001:db8::1]:4000", "2001:db8::1"),
        (PROXY, "2001:db8::1", "2001:db8::1"),
        (PROXY, ", ,", PROXY),
        (CLIENT, OTHER, CLIENT),
    ],
)
def test_who_the_client_is(peer: str, forwarded: str, client: str) -> None:
    """The last one that somebody who is believed has seen."""
    assert Requests(WebSettings(forwarders=FORWARDERS)).client_of(peer, forwarded) == client


@given(st.text(max_size=60))
def test_any_header_gives_an_address(forwarded: str) -> None:
    """What a client sends through a forwarder is never taken for one unless it is one."""
    client = Requests(WebSettings(forwarders=FORWARDERS)).client_of(PROXY, forwarded)
    assert str(ipaddress.ip_address(client)) == client
    assert address_in(forwarded) is None or ipaddress.ip_address(str(address_in(forwarded)))


def test_limits_are_per_port() -> None:
    """The wait tells the truth: after it there is one more, and before it none."""
    requests = Requests(WebSettings(requests_per_second=4, limits=AddressLimits(trusted=())))
    assert [requests.wait_s(CLIENT, 0.0) for _ in range(4 * BURST_S)] == [0.0] * (4 * BURST_S)
    wait_s = requests.wait_s(CLIENT, 0.0)
    assert wait_s == 0.25
    assert requests.wait_s(CLIENT, wait_s / 2) > 0 and requests.wait_s(CLIENT, wait_s) == 0
