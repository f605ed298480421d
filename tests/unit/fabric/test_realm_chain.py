"""Realms are asked off the reactor, together, a few at a time, and what they say is remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from support.memory_session import MemorySession

from broker.errors import AccessDenied, ResourceExhausted
from broker.security import Verdict
from fabric.authenticator import FabricAuthenticator
from fabric.realms import Found, Realm, RealmInvalid, RealmUnavailable
from fabric.realms.chain import CHECKED_TOGETHER, CHECKS_MAX, GRACE_S, REST_S, RIGHT_S, WRONG_S, RealmChain
from fabric.realms.service import read_realms
from fabric.services.authentication import PID
from registry.users import UserRecord


class FakeRealm:
    """Knows people by their passwords."""

    notice = ""

    def __init__(self, name: str, **people: str) -> None:
        self.name = name
        self.people = people
        self.roles: tuple[str, ...] = (name,)
        self.until = 0.0
        self.asked = 0
        self.away: Exception | None = None

    def accepts(self, user: str, password: str) -> bool:
        """All."""
        return bool(user and password)

    def check(self, user: str, password: str) -> Found | None:
        """Look."""
        self.asked += 1
        if self.away is not None:
            raise self.away
        if self.people.get(user) != password:
            return None
        return Found(user, self.roles, self.name, self.until)

    def close(self) -> None:
        """Nothing."""


class World:
    """A chain with threads that run when told, and a clock."""

    def __init__(self, *realms: FakeRealm) -> None:
        self.now_s = 1000.0
        self.threads: list[Callable[[], None]] = []
        self.chain = RealmChain(realms, self.run_in_thread, lambda: self.now_s, now=lambda: self.now_s)

    def run_in_thread(self, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Keep it."""
        self.threads.append(lambda: done(call()))

    def run(self) -> None:
        """All threads to their end."""
        while self.threads:
            self.threads.pop(0)()

    def login(
        self, user: str = "ann", password: str = "secret", taken: tuple[str, ...] = ()
    ) -> list[Verdict]:
        """Ask; the list gets the verdict."""
        verdicts: list[Verdict] = []
        self.chain.check(user, password, verdicts.append, taken)
        return verdicts

    def now(self, user: str = "ann", password: str = "secret", taken: tuple[str, ...] = ()) -> Verdict:
        """Ask, and wait for the verdict."""
        verdicts = self.login(user, password, taken)
        self.run()
        return verdicts[0]


def test_a_thousand_clients_are_one_question() -> None:
    """And afterwards none, for a while."""
    realm = FakeRealm("ldap", ann="secret")
    world = World(realm)
    verdicts = [world.login() for _ in range(1000)]
    assert len(world.threads) == 1
    world.run()
    assert verdicts == [[None]] * 1000
    assert (world.login(), realm.asked) == ([None], 1)
    assert world.chain.roles_of("ann") == ("ldap",)
    world.now_s += RIGHT_S + 1
    assert (world.now(), realm.asked) == (None, 2)


def test_a_thousand_users_are_asked_for_a_few_at_a_time() -> None:
    """More than so many are told to come again; nobody else waits for them in the reactor's thread."""
    world = World(FakeRealm("ldap"))
    for number in range(CHECKS_MAX):
        world.login(f"u{number}")
        assert len(world.threads) <= CHECKED_TOGETHER
    assert isinstance(world.login("more")[0], ResourceExhausted)
    world.run()
    assert isinstance(world.now("more"), AccessDenied)


def test_wrong_passwords_in_a_loop_do_not_reach_the_server() -> None:
    """But what is right now counts soon."""
    realm = FakeRealm("ldap")
    world = World(realm)
    assert all(isinstance(world.now(), AccessDenied) for _ in range(50))
    assert realm.asked == 1
    realm.people["ann"] = "secret"
    world.now_s += WRONG_S
    assert world.now() is None


def test_the_next_realm_is_asked_when_one_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """The first is left alone for a while, with one line in the log; then it is asked again."""
    first, second = FakeRealm("first", bob="secret"), FakeRealm("second", ann="secret")
    first.away = RealmUnavailable("no answer within 5 s")
    world = World(first, second)
    with caplog.at_level(logging.WARNING):
        assert world.now() is None
        assert isinstance(world.now("bob"), ResourceExhausted)  # it may be right
        assert isinstance(world.now("bob"), ResourceExhausted)
    assert first.asked == len(caplog.records) == 1
    assert "first cannot check logins" in caplog.text and "no answer within 5 s" in caplog.text
    first.away = None
    world.now_s += REST_S
    assert world.now("bob") is None


def test_what_a_realm_raises_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Foreign code has mistakes."""
    realm = FakeRealm("odd")
    realm.away = ZeroDivisionError()
    assert isinstance(World(realm).now(), ResourceExhausted)
    assert "ZeroDivisionError" in caplog.text


def test_who_was_right_is_let_in_while_the_server_is_away() -> None:
    """For some minutes: an outage of the directory does not end a failover's reconnections."""
    realm = FakeRealm("ldap", ann="secret")
    world = World(realm)
    assert world.now() is None
    realm.away = RealmUnavailable("down")
    world.now_s += RIGHT_S + GRACE_S - 1
    assert world.now() is None
    world.now_s += 2 + REST_S
    assert isinstance(world.now(), ResourceExhausted)


def test_a_token_is_not_remembered_longer_than_it_is_valid() -> None:
    """Nor is there grace beyond that."""
    realm = FakeRealm("openid", ann="secret")
    world = World(realm)
    realm.until = world.now_s + 10
    assert world.now() is None
    realm.away = RealmUnavailable("down")
    world.now_s += 9
    assert world.now() is None
    world.now_s += 2
    assert isinstance(world.now(), ResourceExhausted)


def test_a_name_is_the_user_of_one_place_only() -> None:
    """Not of the registry's users, nor of another realm's: nobody gets his roles."""
    one, two = FakeRealm("one", ann="secret"), FakeRealm("two", ann="other", bob="secret")
    world = World(one, two)
    assert isinstance(world.now(taken=("ann",)), AccessDenied)
    assert world.now() is None
    assert "is a user of the realm one" in str(world.now(password="other"))
    assert world.chain.roles_of("ann") == ("one",)
    two.people["a b"] = "secret"
    assert "can be no user" in str(world.now("a b"))


def test_other_roles_are_noticed() -> None:
    """Who comes back with others has them at once, everywhere."""
    realm = FakeRealm("ldap", ann="secret")
    world = World(realm)
    assert world.now() is None
    stamp = world.chain.stamp_of("ann")
    realm.roles = ("admin",)
    world.now_s += RIGHT_S + 1
    assert world.now() is None
    assert world.chain.changes == 1 and world.chain.stamp_of("ann") != stamp
    other = World(realm).chain
    other.take_over(world.chain)
    assert other.roles_of("ann") == ("admin",) and other.roles_of("bob") == ()


def test_long_credentials_are_not_looked_at() -> None:
    """Nor kept."""
    assert "too long" in str(World().now(password="x" * 9_000))


# ---- beside the registry


def fabric_users(world: World | None) -> FabricAuthenticator:
    """An authenticator of a container with these realms."""
    services = {} if world is None else {PID: SimpleNamespace(chain=world.chain)}
    context: Any = SimpleNamespace(services=services, session=MemorySession(), reactor=None)
    users = FabricAuthenticator(context)
    users.set_users({"admin": UserRecord("admin", "no hash", ("admin",))})
    return users


def test_the_registry_comes_first_and_realms_know_the_others() -> None:
    """Its users are asked for nowhere else; roles and names come from who knows them."""
    realm = FakeRealm("ldap", ann="secret", admin="secret")
    world = World(realm)
    users = fabric_users(world)
    verdicts: list[Verdict] = []
    users.authenticate("ann", "secret", verdicts.append)
    world.run()
    assert verdicts == [None]
    assert users.roles_of("ann") == ("ldap",) and users.roles_of("admin") == ["admin"]
    assert users.stamp_of("ann") == "ldap ldap" and users.stamp_of("admin") == "no hash"
    assert users.name_of("ann", "secret") == "ann"
    assert realm.asked == 1
    changed: list[int] = []
    users.call_when_changed(lambda: changed.append(1))
    realm.roles = ("other",)
    world.now_s += RIGHT_S + 1
    users.authenticate("ann", "secret", verdicts.append)
    world.run()
    assert changed == [1]


def test_without_realms_only_the_registry_counts() -> None:
    """As before."""
    users = fabric_users(None)
    verdicts: list[Verdict] = []
    users.authenticate("", "secret", verdicts.append)
    assert isinstance(verdicts[0], AccessDenied)
    assert users.roles_of("ann") == () and users.stamp_of("ann") == "" and users.name_of("x", "y") == "x"


# ---- who shows tokens, and who comes from a provider's pages


def test_tokens_are_taken_while_a_realm_takes_them() -> None:
    """Brokers ask for each connection."""
    world = World(FakeRealm("ldap"))
    assert not fabric_users(None).takes_tokens and not fabric_users(world).takes_tokens
    assert fabric_users(None).browser_logins() == () and list(fabric_users(world).browser_logins()) == []
    openid: Any = FakeRealm("openid")
    openid.takes_tokens, openid.browser_login = True, "its pages"
    users = fabric_users(World(FakeRealm("ldap"), openid))
    assert users.takes_tokens and list(users.browser_logins()) == ["its pages"]


def test_who_comes_from_a_providers_pages_is_known_from_then_on() -> None:
    """By the rules for all that realms vouch for; not before the registry's users are known."""
    realm = FakeRealm("openid")
    users = fabric_users(World(realm))
    verdicts: list[Verdict] = []
    changed: list[int] = []
    users.call_when_changed(lambda: changed.append(1))
    users._users = None
    users.enter(Found("ann", ("viewer",), "openid"), verdicts.append)
    assert verdicts == []
    users.set_users({"admin": UserRecord("admin", "no hash", ("admin",))})
    assert verdicts == [None] and users.roles_of("ann") == ("viewer",)
    changed.clear()
    users.enter(Found("ann", ("operator",), "openid"), verdicts.append)
    assert changed == [1] and users.roles_of("ann") == ("operator",)
    users.enter(Found("admin", ("admin",), "openid"), verdicts.append)
    users.enter(Found("ann", ("admin",), "other"), verdicts.append)
    assert verdicts[:2] == [None, None]
    assert "is a user of the registry" in str(verdicts[2])
    assert "is a user of the realm openid" in str(verdicts[3])
    assert users.roles_of("ann") == ("operator",)
    fabric_users(None).enter(Found("ann", ("viewer",), "openid"), verdicts.append)
    assert "no realm openid any more" in str(verdicts[4])


# ---- what is configured


LDAP = {"ldap.url": "ldap://127.0.0.1", "ldap.userDn": "uid={0},dc=x"}
OPENID = {"openid.issuer": "https://id.example.com", "openid.audience": "fabric"}


def test_realms_are_made_in_their_order() -> None:
    """By the names of their kinds, or with names of their own."""
    properties = {"realms": "openid, people", "people.type": "ldap", **OPENID}
    properties |= {key.replace("ldap.", "people."): value for key, value in LDAP.items()}
    realms: list[Realm] = read_realms(properties)
    assert [realm.name for realm in realms] == ["openid", "people"]
    assert not realms[1].notice and read_realms({}) == []
    far = read_realms({"realms": "ldap", **LDAP, "ldap.url": "ldap://ldap.example.com"})
    assert "without TLS" in far[0].notice


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"realms": "kerberos"}, "there is: ldap, openid"),
        ({"realms": " ".join(f"r{number}" for number in range(11))}, "at most 10"),
        ({"ldap.url": ""}, "ldap.url is missing"),
        ({"ldap.url": "http://x"}, "no ldap:// or ldaps:// address"),
        ({"ldap.userDn": ""}, "ldap.userBase is missing"),
        ({"ldap.timeout": "soon"}, "ldap.timeout 'soon' is not a number"),
        ({"openid.issuer": "http://id.example.com"}, "is not encrypted"),
        ({"openid.issuer": "id"}, "is no https:// address"),
        ({"openid.audience": ""}, "openid.audience is missing"),
        ({"openid.algorithms": "RS256 none"}, "names 'none'"),
        ({"openid.algorithms": "HS256"}, "names 'HS256'"),
        ({"openid.leewaySeconds": "1000"}, "not a number from 0 to 300"),
    ],
)
def test_a_mistake_is_named(change: dict[str, str], problem: str) -> None:
    """With the property, and what to type."""
    with pytest.raises(RealmInvalid, match=problem) as caught:
        read_realms({"realms": "ldap openid", **LDAP, **OPENID, **change})
    assert "fabric profile-edit" in str(caught.value.do_next)
