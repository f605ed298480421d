"""The schedule of connection attempts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqclient.options import FailoverOptions
from mqclient.reconnect import (
    FRESH_ANNOUNCEMENT_S,
    FRESH_LOSS_S,
    STABLE_CONNECTION_S,
    Outcome,
    ReconnectSchedule,
)
from mqclient.url import BrokerAddress, parse_address

A, B, C = (parse_address(f"tcp://{name}:1") for name in "abc")


def schedule(**options: object) -> ReconnectSchedule:
    """A schedule in fixed order whose addresses are no news any more."""
    return ReconnectSchedule(FailoverOptions(randomize=False, **options), random.Random(1))


def aged(*addresses: BrokerAddress, **options: object) -> ReconnectSchedule:
    """A schedule that has known its addresses for long."""
    made = schedule(**options)
    made.set_addresses(addresses, -FRESH_ANNOUNCEMENT_S)
    return made


def waits(made: ReconnectSchedule, rounds: int, now_s: float = 0.0) -> list[float]:
    """The waits in ms between rounds that all fail at once."""
    found = []
    for _ in range(rounds):
        address = made.take(now_s)
        assert address is not None
        made.failed(address, now_s)
        assert made.due_s is not None
        found.append(round((made.due_s - now_s) * 1000))
        now_s = made.due_s
    return found


def test_waits_grow_to_their_limit() -> None:
    """The wait doubles from initialReconnectDelay to maxReconnectDelay."""
    assert waits(aged(A, max_reconnect_delay=100), 6) == [10, 20, 40, 80, 100, 100]


def test_waits_stay_without_back_off() -> None:
    """useExponentialBackOff=false keeps the first wait."""
    assert waits(aged(A, use_exponential_back_off=False), 3) == [10, 10, 10]


def test_waits_do_not_grow_after_an_announcement() -> None:
    """A broker that was just announced is tried every 10 ms until it listens."""
    made = schedule()
    made.set_addresses((A,), 0.0)
    assert waits(made, 20) == [10] * 20


def test_waits_do_not_grow_just_after_a_loss() -> None:
    """A slave is about to take over: it is asked for every 10 ms at first."""
    made = aged(A)
    made.take(0.0)
    made.connected(0.0)
    made.lost(A, 10.0)
    assert waits(made, 50, 10.0) == [10] * 50
    assert waits(made, 3, 10.0 + FRESH_LOSS_S) == [10, 20, 40]


def test_an_announcement_ends_a_long_wait() -> None:
    """A new address is tried at once, and before the others."""
    made = aged(A)
    waits(made, 10)
    now_s = 6.0
    made.set_addresses((A, B), now_s)
    assert made.due_s == now_s
    assert made.take(now_s) is B


def test_a_round_tries_every_address_without_waiting() -> None:
    """Only a whole failed round counts as an attempt."""
    made = aged(A, B, C)
    for expected in (A, B):
        assert made.take(0.0) is expected
        assert made.failed(expected, 0.0) is Outcome.RETRY
    assert made.failed_rounds == 0
    assert made.take(0.0) is C
    made.failed(C, 0.0)
    assert made.failed_rounds == 1
    assert made.take(0.0) is None


def test_no_address_means_no_attempt() -> None:
    """Without brokers the schedule waits for news only."""
    made = schedule()
    assert made.due_s is None
    assert made.take(100.0) is None
    made.set_addresses((A,), 0.0)
    made.set_addresses((), 1.0)
    assert made.due_s is None


@pytest.mark.parametrize(("limit", "rounds"), [(0, 1), (1, 1), (3, 3)])
def test_attempts_are_limited(limit: int, rounds: int) -> None:
    """The option maxReconnectAttempts is the number of rounds; 0 means that the first failure is final."""
    made = aged(A, max_reconnect_attempts=limit)
    outcomes = []
    for number in range(rounds):
        made.take(1000.0 * number)
        outcomes.append(made.failed(A, 1000.0 * number))
    assert outcomes[-1] is Outcome.GIVE_UP
    assert Outcome.GIVE_UP not in outcomes[:-1]


def test_start_up_has_its_own_limit() -> None:
    """The option startupMaxReconnectAttempts counts until the first success."""
    made = aged(A, startup_max_reconnect_attempts=1)
    made.take(0.0)
    assert made.failed(A, 0.0) is Outcome.GIVE_UP
    made.connected(1.0)
    made.lost(A, 10.0)
    made.take(10.0)
    assert made.failed(A, 10.0) is Outcome.RETRY


def test_warnings_come_each_so_many_rounds() -> None:
    """The option warnAfterReconnectAttempts says how often the user is told."""
    made = aged(A, warn_after_reconnect_attempts=2, use_exponential_back_off=False)
    made.take(0.0)
    assert [made.failed(A, 0.0) for _ in range(4)] == [
        Outcome.RETRY,
        Outcome.WARN,
        Outcome.RETRY,
        Outcome.WARN,
    ]


def test_a_lost_broker_is_tried_last() -> None:
    """After a loss the others come first, at once."""
    made = aged(A, B, C)
    assert made.take(0.0) is A
    made.connected(0.0)
    made.lost(A, 60.0)
    assert [made.take(60.0), made.take(60.0), made.take(60.0)] == [B, C, A]


def test_a_connection_that_did_not_last_costs_a_wait() -> None:
    """A broker that accepts and drops us is not asked in a tight loop."""
    made = aged(A)
    made.take(0.0)
    made.connected(0.0)
    made.lost(A, STABLE_CONNECTION_S / 2)
    assert made.take(STABLE_CONNECTION_S / 2) is None
    assert made.due_s is not None


def test_a_preferred_address_goes_first() -> None:
    """A broker that another one named is tried next, known or not."""
    made = aged(A)
    waits(made, 3)
    made.prefer(C)
    assert made.take(0.0) is C


@given(st.lists(st.sampled_from([A, B, C]), min_size=1, unique=True), st.integers())
def test_random_order_leaves_nobody_out(addresses: list[BrokerAddress], seed: int) -> None:
    """Each round tries every broker once, whatever the order."""
    made = ReconnectSchedule(FailoverOptions(), random.Random(seed))
    made.set_addresses(addresses, 0.0)
    for _ in range(3):
        assert made.due_s is not None
        now_s = made.due_s
        seen = []
        for _ in addresses:
            address = made.take(now_s)
            assert address is not None
            seen.append(address)
            made.failed(address, now_s)
        assert sorted(map(str, seen)) == sorted(map(str, addresses))
