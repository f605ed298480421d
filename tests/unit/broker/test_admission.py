"""What one address may take of a connector, and how often it may guess."""

import logging

import pytest
from support.connector import Bench
from support.memory_broker import Users
from support.wrapped import context
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from broker.admission import (
    ADDRESSES_MAX,
    BURST_S,
    DELAY_S_MAX,
    FORGET_S,
    FREE_FAILURES,
    FREE_NAMES,
    LOG_PERIOD_S,
    NO_RATE,
    NO_SHARE,
    AddressLimits,
    Admission,
    LoginGuard,
    RareLog,
)
from broker.connectors import read_connectors
from broker.errors import AccessDenied, ClientError, ConfigurationInvalid
from broker.stomp.server import StompServer

ONE, OTHER = "192.0.2.1", "192.0.2.2"


def test_one_address_leaves_room_for_others() -> None:
    """It has its share; when one of its connections ends another may come."""
    admission = Admission(AddressLimits(connections_max=2))
    assert [admission.admit(ONE, 0.0) for _ in range(3)] == ["", "", NO_SHARE]
    assert admission.admit(OTHER, 0.0) == ""
    admission.left(ONE)
    assert admission.admit(ONE, 0.0) == ""
    assert admission.refused == {NO_SHARE: 1}


def test_connections_may_come_in_bursts_but_not_for_ever() -> None:
    """So many at once, then so many a second."""
    admission = Admission(AddressLimits(per_second=2))
    burst = [admission.admit(ONE, 0.0) for _ in range(2 * BURST_S + 1)]
    assert burst[-1] == NO_RATE and not any(burst[:-1])
    assert [admission.admit(ONE, 0.5), admission.admit(ONE, 0.5)] == ["", NO_RATE]
    assert admission.admit(OTHER, 0.5) == ""
    assert not any(admission.admit(ONE, 1000.0) for _ in range(2 * BURST_S))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"])
def test_trusted_addresses_have_no_limits(address: str) -> None:
    """This host's own, unless something else is configured."""
    admission = Admission(AddressLimits(connections_max=1, per_second=1))
    assert not any(admission.admit(address, 0.0) for _ in range(50))
    strict = Admission(AddressLimits(connections_max=1, trusted=()))
    assert [strict.admit(address, 0.0) for _ in range(2)] == ["", NO_SHARE]


def test_memory_is_bounded() -> None:
    """Whoever comes from ever other addresses has the oldest forgotten."""
    admission = Admission(AddressLimits())
    guard = LoginGuard(lambda: 0.0)
    for number in range(ADDRESSES_MAX + 10):
        admission.admit(f"2001:db8::{number:x}", 0.0)
        admission.left(f"2001:db8::{number:x}")
        guard.decided(f"u{number}", ONE, right=bool(number % 2))
    assert not admission._open
    assert len(admission._rate._buckets) == ADDRESSES_MAX
    assert len(guard._failures) <= ADDRESSES_MAX


def test_lines_of_the_log_are_rare() -> None:
    """The first at once, then one per period with the number of those before it."""
    log = RareLog()
    assert [log.count("a", now_s) for now_s in (0.0, 1.0, 2.0, LOG_PERIOD_S)] == [1, 0, 0, 3]
    assert log.count("b", 2.0) == 1


def test_wrong_passwords_slow_down_the_guesser_alone() -> None:
    """The delay doubles up to a minute; the user elsewhere, and others there, are not held up."""
    now_s = [0.0]
    guard, limits = LoginGuard(lambda: now_s[0]), AddressLimits()
    for _ in range(FREE_FAILURES):
        assert guard.wait_s("ann", ONE, limits) == 0
        guard.decided("ann", ONE, right=False)
    waits = []
    for _ in range(8):
        waits.append(guard.wait_s("ann", ONE, limits))
        now_s[0] += waits[-1]
        guard.decided("ann", ONE, right=False)
    assert waits == [1, 2, 4, 8, 16, 32, DELAY_S_MAX, DELAY_S_MAX]
    assert guard.wait_s("ann", OTHER, limits) == guard.wait_s("bob", ONE, limits) == 0
    assert guard.refused == len(waits)
    now_s[0] += FORGET_S + 1
    assert guard.wait_s("ann", ONE, limits) == 0
    guard.decided("ann", ONE, right=True)
    assert guard.wait_s("ann", ONE, limits) == 0


def test_who_guesses_names_waits_and_who_was_there_before_does_not() -> None:
    """Many unknown names from one address hold up new users there, not those who have logged in."""
    guard, limits = LoginGuard(lambda: 0.0), AddressLimits()
    guard.decided("ann", ONE, right=True)
    for number in range(FREE_NAMES):
        guard.decided(f"guess{number}", ONE, right=False)
    assert guard.wait_s("bob", ONE, limits) > 0
    assert guard.wait_s("ann", ONE, limits) == guard.wait_s("bob", OTHER, limits) == 0
    assert guard.wait_s("bob", ONE, AddressLimits(free_failures=0)) == 0


def test_a_connector_closes_what_is_too_much(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log; another address connects all the same; a trusted proxy is not counted."""
    bench = Bench(limits=AddressLimits(connections_max=1))
    first, _, _ = bench.client()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert bench.connector.buildProtocol(IPv4Address("TCP", ONE, 1)) is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("192.0.2.1 refused: more than its maximumConnectionsPerAddress; refused so: 1")
    assert bench.connector.buildProtocol(IPv4Address("TCP", OTHER, 1)) is not None
    first.connectionLost(Failure(ConnectionDone()))
    bench.client()


def test_a_proxy_is_not_counted() -> None:
    """All clients come through it."""
    (config,) = read_connectors({"openwire-proxyProtocol.trusted": ONE})
    bench = Bench(limits=AddressLimits(connections_max=1), proxies=config.proxies)
    bench.client()
    bench.client()


def test_a_guesser_is_answered_without_a_check() -> None:
    """His password is not even looked at, and the answer says how long."""
    shared = context(limits=AddressLimits(trusted=()))
    guard, users = LoginGuard(lambda: 0.0), Users()
    object.__setattr__(shared, "guard", guard)
    object.__setattr__(shared, "users", users)

    def log_in(password: str) -> ClientError | None:
        verdicts: list[ClientError | None] = []
        server = StompServer(shared, f"tcp://{ONE}:5", 0.0, lambda: None)
        server.log_in("admin", password, verdicts.append)
        return verdicts[0]

    for _ in range(FREE_FAILURES):
        assert str(log_in("wrong")) == "Not with this password."
    assert isinstance(log_in("admin"), AccessDenied)
    assert str(log_in("admin")) == "Too many wrong passwords; try again in 1 s."


def test_the_properties() -> None:
    """The limits stand with the connector; its share is nine tenths."""
    (plain,) = read_connectors({"openwire-maximumConnections": "50"})
    assert plain.limits == AddressLimits(connections_max=45)
    (config,) = read_connectors(
        {
            "openwire-maximumConnectionsPerAddress": "7",
            "openwire-newConnectionsPerSecond": "3",
            "openwire-freeLoginFailures": "0",
            "openwire-limits.trusted": "none",
        }
    )
    assert config.limits == AddressLimits(7, 3, 0, ())
    for key, value in (("limits.trusted", "x"), ("newConnectionsPerSecond", "-1")):
        with pytest.raises(ConfigurationInvalid, match=key):
            read_connectors({f"openwire-{key}": value})
