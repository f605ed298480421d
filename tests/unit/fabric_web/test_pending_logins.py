"""Logins that are at a provider's pages: taken once, by whom they belong to, and not too many of them."""

from __future__ import annotations

import pytest

from fabric.web import pending_logins
from fabric.web.pending_logins import PENDING_OF_ADDRESS_MAX, PENDING_S_MAX, PendingLogin, PendingLogins

BACK = "https://console.example.com/login/openid/id/callback"


def begun(logins: PendingLogins, remote: str = "1.1.1.1", now_s: float = 0.0) -> PendingLogin:
    """One more."""
    return logins.begin("id", BACK, "/containers", remote, now_s)


def test_a_login_comes_back_once() -> None:
    """To the browser that began it; who guesses, or shows another's, takes nothing from it."""
    logins = PendingLogins()
    login, other = begun(logins), begun(logins)
    state = login.attempt.state
    for realm, given, browser in (
        ("id", state, ""),
        ("id", state, other.browser),
        ("id", state, "ä"),
        ("id", "", login.browser),
        ("id", other.browser, login.browser),
        ("other", state, login.browser),
    ):
        assert logins.take(realm, given, browser, 0.0) is None
    assert logins.take("id", state, login.browser, PENDING_S_MAX) is login
    assert logins.take("id", state, login.browser, PENDING_S_MAX) is None
    assert login.next == "/containers" and login.attempt.redirect_url == BACK


def test_nothing_is_told_of_its_secrets() -> None:
    """Each is another, and none stands in a log by mistake."""
    login = begun(PendingLogins())
    secrets = {login.browser, login.attempt.state, login.attempt.nonce, login.attempt.verifier}
    assert len(secrets) == 4 and all(len(secret) >= 43 for secret in secrets)
    assert not any(secret in repr(login) for secret in secrets)


def test_a_login_is_not_waited_for_for_ever() -> None:
    """Nor kept."""
    logins = PendingLogins()
    login = begun(logins)
    assert logins.take("id", login.attempt.state, login.browser, PENDING_S_MAX + 1) is None
    assert len(logins) == 0


def test_nobody_pushes_the_logins_of_others_out() -> None:
    """One address has so many, of which the oldest goes first."""
    logins = PendingLogins()
    mine = begun(logins, "2.2.2.2")
    theirs = [begun(logins) for _ in range(PENDING_OF_ADDRESS_MAX + 1)]
    assert len(logins) == PENDING_OF_ADDRESS_MAX + 1
    assert logins.take("id", theirs[0].attempt.state, theirs[0].browser, 1.0) is None
    assert logins.take("id", theirs[1].attempt.state, theirs[1].browser, 1.0) is theirs[1]
    assert logins.take("id", mine.attempt.state, mine.browser, 1.0) is mine


def test_all_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses somebody has."""
    monkeypatch.setattr(pending_logins, "PENDING_MAX", 5)
    logins = PendingLogins()
    for number in range(20):
        begun(logins, f"10.0.0.{number}")
    assert len(logins) == 5
