"""Which failed logins are told, and that brokers tell them."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_broker import Users
from support.wrapped import context
from twisted.internet.task import Clock

from broker.admission import AddressLimits, LoginGuard
from broker.errors import AccessDenied, ClientError, ResourceExhausted
from broker.failed_logins import OF_ADDRESS_MAX, OF_ALL_MAX, PERIOD_S, FailedLogin, FailedLogins, LoginAudit
from broker.management.audit import audit_login
from broker.serving import NAME_CHARACTERS_MAX
from broker.stomp.server import StompServer

ONE, OTHER = "192.0.2.1", "192.0.2.2"


def told(found: list[FailedLogin]) -> list[tuple[str, int, int]]:
    """User, count, and how many of others were left out."""
    return [(each.user, each.count, each.left_out) for each in found]


def test_a_flood_for_one_user_is_two_entries_in_its_first_minute_and_one_in_each_further() -> None:
    """The first failure at once; the others at the minute's end, with their number and the last reason."""
    logins = FailedLogins()
    assert told(logins.failed("ann", ONE, "wrong", 0.0)) == [("ann", 1, 0)]
    assert [logins.failed("ann", ONE, f"wrong {n}", 1.0) for n in range(500)] == [[]] * 500
    assert logins.due(PERIOD_S - 1) == []
    (entry,) = logins.due(PERIOD_S)
    assert entry == FailedLogin("ann", ONE, "wrong 499", 500)
    assert logins.failed("ann", ONE, "wrong", PERIOD_S + 1) == []
    assert told(logins.due(2 * PERIOD_S)) == [("ann", 1, 0)]
    assert logins.due(3 * PERIOD_S) == [] and logins.wait_s(3 * PERIOD_S) is None


def test_users_and_addresses_are_told_apart() -> None:
    """Somebody else's flood hides nobody's failure."""
    logins = FailedLogins()
    assert told(logins.failed("ann", ONE, "", 0.0)) == [("ann", 1, 0)]
    assert told(logins.failed("bob", ONE, "", 0.0)) == [("bob", 1, 0)]
    assert told(logins.failed("ann", OTHER, "", 0.0)) == [("ann", 1, 0)]


def test_who_makes_names_up_fills_nothing() -> None:
    """So many of an address, so many of all, and how many were left out, with the next that is told."""
    logins = FailedLogins()
    found = [logins.failed(f"u{n}", ONE, "", 0.0) for n in range(OF_ADDRESS_MAX + 5)]
    assert [len(each) for each in found] == [1] * OF_ADDRESS_MAX + [0] * 5
    assert told(logins.failed("ann", OTHER, "", 0.0)) == [("ann", 1, 5)]
    others = [logins.failed("ann", f"198.51.100.{n}", "", 0.0) for n in range(200)]
    written = OF_ALL_MAX - OF_ADDRESS_MAX - 1
    assert [len(each) for each in others] == [1] * written + [0] * (200 - written)
    assert told(logins.failed("ann", ONE, "", PERIOD_S)) == [("ann", 1, 200 - written)]


def test_the_end_of_a_minute_tells_no_more_than_the_limit() -> None:
    """Those who go on fail together with those who come new."""
    logins = FailedLogins()
    for minute in range(5):
        for number in range(OF_ADDRESS_MAX):
            logins.failed(f"u{minute}.{number}", ONE, "", minute * PERIOD_S)
        for old in range(minute + 1):
            for number in range(OF_ADDRESS_MAX):
                logins.failed(f"u{old}.{number}", ONE, "", minute * PERIOD_S + 1)
        assert len(logins.due((minute + 1) * PERIOD_S)) <= OF_ADDRESS_MAX


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([ONE, OTHER]), st.floats(0, 100)), max_size=60)
)
def test_nothing_is_lost(failures: list[tuple[str, str, float]]) -> None:
    """What is told counts all failures, and one user at one address is told once a minute at most."""
    logins = FailedLogins()
    now_s = 0.0
    found: list[tuple[float, FailedLogin]] = []
    for user, address, wait_s in failures:
        now_s += wait_s
        found += [(now_s, each) for each in logins.failed(user, address, "", now_s)]
    all_told = [each for _, each in found] + logins.rest()
    assert sum(each.count + each.left_out for each in all_told) == len(failures)
    for key in {(each.user, each.address) for _, each in found}:
        times = [at_s for at_s, each in found if (each.user, each.address) == key]
        assert all(later - earlier >= PERIOD_S for earlier, later in pairwise(times))


def test_the_rest_is_told_at_the_end_of_the_minute_and_at_the_very_end() -> None:
    """By a timer that is there only while somebody waits for it."""
    clock = Clock()
    found: list[FailedLogin] = []
    audit = LoginAudit(cast("Any", clock), clock.seconds, found.append)
    for _ in range(3):
        audit.failed("ann", ONE, "wrong")
    assert told(found) == [("ann", 1, 0)]
    clock.advance(PERIOD_S)
    assert told(found) == [("ann", 1, 0), ("ann", 2, 0)]
    clock.advance(PERIOD_S)
    assert clock.getDelayedCalls() == []
    audit.failed("bob", ONE, "wrong")
    audit.failed("bob", ONE, "wrong")
    audit.close()
    audit.close()
    assert told(found[2:]) == [("bob", 1, 0), ("bob", 1, 0)] and clock.getDelayedCalls() == []


class Refusing(Users):
    """Refuses with an error of the test's choice."""

    error: ClientError = AccessDenied("User name [x] or password is invalid.")

    def authenticate(self, user: str | None, password: str | None, done: Any) -> None:
        """Never."""
        del user, password
        done(self.error)


def test_a_broker_tells_of_refused_clients(caplog: pytest.LogCaptureFixture) -> None:
    """Wrong passwords and those that are not looked at; the name is cut, and no line can be made up by it."""
    shared, users, clock = context(limits=AddressLimits(trusted=())), Refusing(), Clock()
    logins = LoginAudit(cast("Any", clock), clock.seconds, audit_login)
    for name, value in (("guard", LoginGuard(clock.seconds)), ("users", users), ("logins", logins)):
        object.__setattr__(shared, name, value)
    caplog.set_level(logging.INFO, "broker.audit")

    def log_in(user: str | None) -> None:
        StompServer(shared, f"tcp://{ONE}:5", 0.0, lambda: None).log_in(user, "wrong", lambda verdict: None)

    name = "a\nb" * 100
    for _ in range(10):
        log_in(name)
    log_in(None)
    users.error = ResourceExhausted("Too many logins are being checked; try again.")
    log_in("bob")
    clock.advance(PERIOD_S)
    found: list[Any] = [getattr(record, "audited", None) for record in caplog.records]
    cut = name[:NAME_CHARACTERS_MAX]
    assert [(each["user"], each["remote"], each["count"]) for each in found] == [
        (cut, ONE, 1),
        ("", ONE, 1),
        (cut, ONE, 9),
    ]
    assert found[0]["result"] == "refused: User name [x] or password is invalid."
    assert found[2]["result"].startswith("refused: Too many wrong passwords")
    assert all("\n" not in record.getMessage() for record in caplog.records)
