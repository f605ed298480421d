"""The soak's judge: it lets pass what the promises allow, and finds each planted breach of them."""

from collections.abc import Callable

import pytest
from integration.soak.accounts import Account, Key, Totals, total


def keys(*numbers: int, producer: str = "p") -> list[Key]:
    """Messages of one producer."""
    return [(producer, number) for number in numbers]


def receive(account: Account, *numbers: int, producer: str = "p") -> None:
    """They arrive, in this order."""
    for key in keys(*numbers, producer=producer):
        account.arrived(key)


def once_in_order(account: Account) -> None:
    """Two producers, each in its own order; one receiver tells later than it receives."""
    account.acknowledged(keys(0, 1))
    receive(account, 0)
    receive(account, 7, producer="q")
    receive(account, 1, 2)
    account.settle()
    account.acknowledged([("p", 2), ("q", 7)])


def given_back_and_received_again(account: Account) -> None:
    """What was rolled back comes again, in order, before what follows it."""
    account.acknowledged(keys(0, 1, 2))
    receive(account, 0)
    account.settle()
    receive(account, 1, 2)
    account.give_back()
    receive(account, 1, 2)
    account.settle()


def refused_and_absent(account: Account) -> None:
    """A refused send leaves a gap."""
    account.acknowledged(keys(0, 2))
    account.refused(("p", 1))
    receive(account, 0, 2)
    account.settle()


def whole_transactions(account: Account) -> None:
    """Of two sending transactions in doubt one arrives and one does not; the same when consuming."""
    account.sent_in_doubt(keys(0, 1))
    account.sent_in_doubt(keys(2, 3))
    account.acknowledged(keys(4, 5, 6))
    receive(account, 2, 3)
    account.settle_in_doubt()
    receive(account, 2, 3)
    account.settle()
    receive(account, 4)
    account.settle_in_doubt()
    receive(account, 5, 6)
    account.settle()


@pytest.mark.parametrize(
    "story", [once_in_order, given_back_and_received_again, refused_and_absent, whole_transactions]
)
def test_what_is_allowed_passes(story: Callable[[Account], None]) -> None:
    """Order, redelivery, gaps of refused sends and whole transactions are no violations."""
    account = Account("receiver")
    story(account)
    account.fold()
    assert account.violations == []
    assert account.missing() == 0


def lost(account: Account) -> None:
    """An acknowledged message never arrives."""
    account.acknowledged(keys(0, 1))
    receive(account, 0)
    account.settle()


def stored_twice(account: Account) -> None:
    """A message comes again after it was acknowledged."""
    receive(account, 0)
    account.settle()
    receive(account, 0)


def twice_in_hand(account: Account) -> None:
    """A message comes twice to somebody who has it."""
    receive(account, 0, 0)


def out_of_order(account: Account) -> None:
    """A message overtakes an earlier one."""
    receive(account, 1, 0)


def redelivered_late(account: Account) -> None:
    """A message given back comes only after a later one."""
    receive(account, 0, 1)
    account.give_back()
    receive(account, 1, 0)


def refused_and_delivered(account: Account) -> None:
    """The producer was told that it was refused, before it arrived."""
    account.refused(("p", 0))
    receive(account, 0)


def delivered_and_refused(account: Account) -> None:
    """The producer was told that it was refused, after it had arrived."""
    receive(account, 0)
    account.settle()
    account.refused(("p", 0))


def half_a_transaction_sent(account: Account) -> None:
    """One of two sends of a transaction arrives."""
    account.sent_in_doubt(keys(0, 1))
    receive(account, 0)
    account.settle()


def half_a_transaction_consumed(account: Account) -> None:
    """One of two messages that a transaction consumed comes again."""
    receive(account, 0, 1)
    account.settle_in_doubt()
    receive(account, 1)
    account.settle()


@pytest.mark.parametrize(
    "story",
    [
        lost,
        stored_twice,
        twice_in_hand,
        out_of_order,
        redelivered_late,
        refused_and_delivered,
        delivered_and_refused,
        half_a_transaction_sent,
        half_a_transaction_consumed,
    ],
)
def test_a_planted_breach_is_found(story: Callable[[Account], None]) -> None:
    """A judge that cannot condemn proves nothing: each breach is found, and told once."""
    account = Account("receiver")
    story(account)
    account.fold()
    assert len(account.violations) == 1
    assert account.violations[0].startswith("receiver: ")


def test_breaches_are_found_after_the_books_were_folded() -> None:
    """A repetition long after the message was settled, and forgotten, is still one."""
    account = Account("receiver")
    account.acknowledged(keys(0, 1))
    receive(account, 0, 1)
    account.settle()
    account.fold()
    receive(account, 1)
    assert len(account.violations) == 1


def test_sums() -> None:
    """The sums count what was acknowledged, received, received again, refused, in doubt and lost."""
    account = Account("receiver")
    account.acknowledged(keys(0, 1, 2))
    account.refused(("p", 3))
    receive(account, 0)
    account.give_back()
    receive(account, 0)
    account.settle()
    receive(account, 1)
    account.settle_in_doubt()
    account.fold()
    sums = account.totals()
    assert sums == Totals(acknowledged=3, received=2, again=1, refused=1, in_doubt=1, lost=1, violations=1)
    assert total([sums, sums]).received == 4
