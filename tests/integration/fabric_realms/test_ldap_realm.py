"""The LDAP realm against OpenLDAP."""

from collections.abc import Iterator

import pytest
from support.realms import BASE, Slapd, free_port, slapd

from fabric.realms import Found, RealmUnavailable
from fabric.realms.ldap import LdapRealm

pytestmark = pytest.mark.integration

ANN = ("ann", "ann-in-ldap")
ANN_FOUND = Found("ann", ("viewer", "operator"), "ldap")
BIND = {"userDn": f"uid={{0}},ou=people,{BASE}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A directory."""
    with slapd(tmp_path_factory.mktemp("ldap")) as server:
        yield server


made: list[LdapRealm] = []


def realm(server: Slapd, **more: str) -> LdapRealm:
    """The realm."""
    made.append(LdapRealm("ldap", server.properties(**more)))
    return made[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """All realms of a test are closed at its end."""
    yield
    while made:
        made.pop().close()


@pytest.mark.parametrize("how", [{}, BIND], ids=["search", "pattern"])
def test_a_user_has_the_roles_of_his_groups(server: Slapd, how: dict[str, str]) -> None:
    """Found by a search or by a pattern; who has no mapped group has no roles."""
    ldap = realm(server, **how)
    assert ldap.check(*ANN) == ANN_FOUND
    assert ldap.check("clerk", "clerk-in-ldap") == Found("clerk", ("clerks",), "ldap")
    assert realm(server, **how, groupBase="").check(*ANN) == Found("ann", (), "ldap")
    assert ldap.check("ann", "wrong") is None
    assert ldap.check("nobody", "wrong") is None


@pytest.mark.parametrize("how", [{}, BIND], ids=["search", "pattern"])
@pytest.mark.parametrize(
    "user", ["*", "ann*", "ann)(uid=*", "ann,ou=people", "x,dc=example,dc=org", "\\", '"']
)
def test_what_is_typed_is_no_part_of_a_question(server: Slapd, how: dict[str, str], user: str) -> None:
    """Neither a filter nor a DN is made of a name."""
    assert realm(server, **how).check(user, "ann-in-ldap") is None


def test_without_a_password_nobody_is_asked(server: Slapd) -> None:
    """A bind without a password succeeds as nobody; it must never count as a login."""
    ldap = realm(server)
    assert not ldap.accepts("ann", "") and not ldap.accepts("", "x") and not ldap.accepts("a\0", "x")
    assert ldap.accepts(*ANN)


@pytest.mark.parametrize("how", [{}, BIND], ids=["search", "pattern"])
def test_encrypted_with_a_certificate_that_is_trusted(server: Slapd, how: dict[str, str]) -> None:
    """By ldaps and by StartTLS; a server that nobody has vouched for is not told any password."""
    trusted = {**how, "trustStore": str(server.keys.trust)}
    assert realm(server, url=server.tls_url, **trusted).check(*ANN) == ANN_FOUND
    assert realm(server, startTls="true", **trusted).check(*ANN) == ANN_FOUND
    for untrusted in ({"url": server.tls_url}, {"startTls": "true"}):
        with pytest.raises(RealmUnavailable, match=r"(?i)certificate|tls|ssl"):
            realm(server, **how, **untrusted).check(*ANN)


def test_the_next_server_is_asked_and_a_restart_is_survived(server: Slapd) -> None:
    """A server that is away costs its time limit, no login; connections that have died are made anew."""
    away = f"ldap://127.0.0.1:{free_port()}"
    ldap = realm(server, url=f"{away} {server.url}")
    assert ldap.check(*ANN) == ANN_FOUND
    server.stop()
    with pytest.raises(RealmUnavailable, match=r"127\.0\.0\.1"):
        ldap.check(*ANN)
    server.start()
    assert ldap.check(*ANN) == ANN_FOUND


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"bindPassword": "wrong"}, "refuses ldap.bindDn"),
        ({"userFilter": "(uid={0}"}, "filter|parenthes"),
    ],
)
def test_mistakes_of_administrators_are_no_wrong_passwords(
    server: Slapd, mistake: dict[str, str], said: str
) -> None:
    """The realm says what is wrong with itself, and the next one is asked."""
    with pytest.raises(RealmUnavailable, match=rf"(?i){said}"):
        realm(server, **mistake).check(*ANN)
