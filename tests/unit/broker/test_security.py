"""Logins: refused without credentials, checked in a thread, together, and remembered."""

from collections.abc import Callable

import pytest

import broker.security
from broker.errors import AccessDenied, ResourceExhausted
from broker.security import CHECKED_TOGETHER, CHECKS_MAX, PasswordAuthenticator, Verdict
from registry.users import UserRecord


class Threads:
    """Threads that run when told."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], bool], Callable[[bool], None]]] = []
        self.runs = 0

    def __call__(self, call: Callable[[], bool], done: Callable[[bool], None]) -> None:
        """Keep it until `run`."""
        self.waiting.append((call, done))

    def run(self) -> None:
        """Run what waits, and what comes of it."""
        while self.waiting:
            call, done = self.waiting.pop(0)
            self.runs += 1
            done(call())


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that costs nothing: the password itself."""
    monkeypatch.setattr(broker.security, "verify_password", lambda password, stored: password == stored)
    monkeypatch.setattr(broker.security, "hash_password", lambda password: password)


def users(**passwords: str) -> dict[str, UserRecord]:
    """Records of these users."""
    return {name: UserRecord(name, password) for name, password in passwords.items()}


def login(
    checks: PasswordAuthenticator, user: str | None = "admin", password: str | None = "secret"
) -> list[Verdict]:
    """Ask, and return the list that the verdict comes into."""
    verdicts: list[Verdict] = []
    checks.authenticate(user, password, verdicts.append)
    return verdicts


def test_the_right_password_is_accepted() -> None:
    """A user of the registry may connect."""
    threads = Threads()
    verdicts = login(PasswordAuthenticator(threads, users(admin="secret")))
    assert verdicts == []
    threads.run()
    assert verdicts == [None]


@pytest.mark.parametrize(
    ("user", "password"),
    [
        (None, None),
        ("", ""),
        ("admin", None),
        (None, "secret"),
        ("admin", "wrong"),
        ("admin", ""),
        ("nobody", "nobody"),
        ("admin", "x" * 10_000),
    ],
)
def test_everybody_else_is_refused(user: str | None, password: str | None) -> None:
    """P7: no anonymous access, no unknown users, no wrong passwords."""
    threads = Threads()
    verdicts = login(PasswordAuthenticator(threads, users(admin="secret")), user, password)
    threads.run()
    assert len(verdicts) == 1
    assert isinstance(verdicts[0], AccessDenied)


def test_the_same_credentials_are_checked_once_for_all_who_wait() -> None:
    """A thousand clients that come back at once cost one hash."""
    threads = Threads()
    checks = PasswordAuthenticator(threads, users(admin="secret"))
    all_verdicts = [login(checks) for _ in range(1000)]
    threads.run()
    assert threads.runs == 1
    assert all(verdicts == [None] for verdicts in all_verdicts)


def test_right_credentials_are_remembered_and_wrong_ones_are_not() -> None:
    """The second login is answered at once; a wrong one is checked each time."""
    threads = Threads()
    checks = PasswordAuthenticator(threads, users(admin="secret"))
    login(checks)
    threads.run()
    assert login(checks) == [None]
    login(checks, password="wrong")
    threads.run()
    again = login(checks, password="wrong")
    assert again == []
    threads.run()
    assert isinstance(again[0], AccessDenied)


def test_a_changed_password_is_asked_for_at_once() -> None:
    """What was remembered ends with the record it was checked against."""
    threads = Threads()
    checks = PasswordAuthenticator(threads, users(admin="secret"))
    login(checks)
    threads.run()
    checks.set_users(users(admin="changed"))
    verdicts = login(checks)
    threads.run()
    assert isinstance(verdicts[0], AccessDenied)
    checks.set_users({})
    verdicts = login(checks, password="changed")
    threads.run()
    assert isinstance(verdicts[0], AccessDenied)


def test_logins_before_the_users_are_known_wait() -> None:
    """A broker that has just started refuses nobody for not having read the registry yet."""
    threads = Threads()
    checks = PasswordAuthenticator(threads)
    verdicts = login(checks)
    threads.run()
    assert verdicts == []
    checks.set_users(users(admin="secret"))
    threads.run()
    assert verdicts == [None]


def test_checks_are_bounded() -> None:
    """Guessing passwords takes few cores and bounded memory, and guessers are told to come again."""
    threads = Threads()
    checks = PasswordAuthenticator(threads, users(admin="secret"))
    for index in range(CHECKS_MAX):
        login(checks, password=f"guess {index}")
    assert len(threads.waiting) == CHECKED_TOGETHER
    assert isinstance(login(checks, password="one more")[0], ResourceExhausted)
    threads.run()
    verdicts = login(checks)
    threads.run()
    assert verdicts == [None]


def test_roles_are_those_of_the_record_now() -> None:
    """Roles follow the registry, a group is the role of its name, and who asked is told of changes."""
    changes: list[int] = []
    checks = PasswordAuthenticator(Threads())
    assert checks.roles_of("admin") == ()
    checks.call_when_changed(lambda: changes.append(1))
    checks.set_users({"admin": UserRecord("admin", "secret", ("_g_:admin", "users"))})
    assert checks.roles_of("admin") == ["admin", "users"]
    assert checks.roles_of("other") == ()
    checks.call_when_changed(None)
    checks.set_users({})
    assert (checks.roles_of("admin"), changes) == ((), [1])
