"""How one of several masters is chosen."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.gateway.balance import BALANCES, Balance, Sticky, make_balance


@dataclass
class One:
    """A master."""

    broker: str
    connections: int = 0


THREE = [One("a"), One("b"), One("c")]


def chosen(balance: Balance, count: int, client: str = "192.0.2.1") -> list[int]:
    """Who is chosen, one client after the other."""
    return [balance.choose(THREE, client) for _ in range(count)]


def test_round_robin() -> None:
    """One after the other; with fewer masters it goes on."""
    balance = make_balance("roundrobin")
    assert chosen(balance, 5) == [0, 1, 2, 0, 1]
    assert balance.choose(THREE[:1], "x") == 0


def test_random() -> None:
    """As drawn."""
    assert chosen(make_balance("random", draw=lambda count: count - 1), 2) == [2, 2]
    assert set(chosen(make_balance("random"), 200)) == {0, 1, 2}


def test_least_connections() -> None:
    """The one with the fewest, the first of several."""
    balance = make_balance("leastconnections")
    assert balance.choose([One("a", 2), One("b", 1), One("c", 1)], "x") == 1


def test_sticky() -> None:
    """A client comes back to its broker wherever that is in the list, and new clients spread."""
    balance = make_balance("sticky")
    assert [balance.choose(THREE, client) for client in ("u", "v", "w", "v", "u")] == [0, 1, 2, 1, 0]
    assert balance.choose([THREE[2], THREE[1]], "v") == 1
    assert balance.choose([THREE[0]], "v") == 0, "its broker is gone"
    assert balance.choose(THREE, "v") == 0, "that is its broker now"


def test_sticky_forgets() -> None:
    """Only so many clients are remembered: who has not come for longest is forgotten."""
    balance = Sticky(2)
    for client in ("u", "v", "u", "w"):
        balance.choose(THREE, client)
    assert list(balance._brokers) == ["u", "w"]


@pytest.mark.parametrize("name", BALANCES)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=30))
def test_a_choice_is_always_possible(name: str, steps: list[tuple[int, int]]) -> None:
    """Whatever comes and goes, the index is one of the list's."""
    balance = make_balance(name, sticky_clients_max=2)
    counts: Counter[str] = Counter()
    for size, client in steps:
        masters = [One(f"m{index}", counts[f"m{index}"]) for index in range(size)]
        index = balance.choose(masters, f"c{client}")
        assert 0 <= index < size
        counts[masters[index].broker] += 1
