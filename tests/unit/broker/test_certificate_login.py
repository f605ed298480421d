"""Who shows a certificate logs in without a password, as the user whom it names."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.wrapped import context

from broker.errors import AccessDenied, ClientError
from broker.security import PasswordAuthenticator, Verdict
from broker.serving import ServerSide
from registry.users import UserRecord

USERS = {name: UserRecord(name, "hash", ("admin",)) for name in ("ann", "bob")}


class Side(ServerSide[int, int]):
    """A protocol that only logs in."""

    def let_go(self, answer: int) -> None:
        """Nothing has to wait."""

    def resume(self) -> None:
        """Nothing has come meanwhile."""


def never(check: Callable[[], bool], done: Callable[[bool], None]) -> None:
    """No hash is to be computed."""
    del check, done
    raise AssertionError("a password was checked")


def refuse(check: Callable[[], bool], done: Callable[[bool], None]) -> None:
    """Every password is wrong."""
    del check
    done(False)


def log_in(
    authenticator: PasswordAuthenticator, certified: str | None, user: str | None, password: str | None
) -> tuple[str, list[ClientError | None]]:
    """Who it was, and what was decided."""
    shared: Any = replace(context(), users=authenticator, transport_user=certified)
    side = Side(shared, "tcp://h:1", lambda: None)
    verdicts: list[ClientError | None] = []
    side.log_in(user, password, verdicts.append)
    return side.user, verdicts


@pytest.mark.parametrize("user", [None, "", "ann"])
@pytest.mark.parametrize("password", [None, ""])
def test_a_certificate_needs_no_password(user: str | None, password: str | None) -> None:
    """Nor a user; naming the same one does no harm."""
    assert log_in(PasswordAuthenticator(never, USERS), "ann", user, password) == ("ann", [None])


@pytest.mark.parametrize(("user", "password"), [("bob", "x"), ("ann", "x")])
def test_a_password_is_checked(user: str, password: str) -> None:
    """Whatever the certificate says."""
    who, [verdict] = log_in(PasswordAuthenticator(refuse, USERS), "ann", user, password)
    assert who == user
    assert isinstance(verdict, AccessDenied)


def test_another_user_needs_a_password() -> None:
    """A certificate is not everybody's."""
    _, [verdict] = log_in(PasswordAuthenticator(never, USERS), "ann", "bob", None)
    assert "required" in str(verdict)


def test_without_a_certificate_nothing_has_changed() -> None:
    """No user, no access."""
    assert "required" in str(log_in(PasswordAuthenticator(never, USERS), None, None, None)[1][0])


def test_a_certificate_of_nobody_is_refused() -> None:
    """Deleting a user is enough."""
    _, [verdict] = log_in(PasswordAuthenticator(never, USERS), "eve", None, None)
    assert str(verdict) == "The certificate is of 'eve', who is no user."


def test_a_login_waits_until_the_users_are_known() -> None:
    """As one with a password does."""
    authenticator = PasswordAuthenticator(never)
    _, verdicts = log_in(authenticator, "ann", None, None)
    assert verdicts == []
    authenticator.set_users(USERS)
    assert verdicts == [None]
    late: list[Verdict] = []
    authenticator.admit("eve", late.append)
    assert isinstance(late[0], AccessDenied)
