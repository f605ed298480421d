"""What the registry says of its password, what a session makes of it, and whom access lists admit."""

import pytest
from kazoo.security import OPEN_ACL_UNSAFE, make_acl
from support.fake_zookeeper import FakeClient, FakeZooKeeper

from registry import paths
from registry.errors import InvalidRecord
from registry.kazoo_edge import access_for, is_own, own_access
from registry.password import PASSWORD_CHARACTERS_MAX, ToldPassword, parse_told, problem_with
from registry.session import Session

BOTH = ToldPassword("1", "new", before="old")
ALONE = ToldPassword("2", "new")


def test_what_is_told_is_read_again() -> None:
    """Both steps come back as they were written; no password is shown by accident."""
    for told in (BOTH, ALONE):
        assert parse_told(told.to_bytes()) == told
        assert "new" not in repr(told)
    assert BOTH.passwords == ("new", "old")
    assert ALONE.passwords == ("new",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"secret",
        b"[]",
        b"{}",
        b"3",
        b'{"step": "1", "password": "", "before": ""}',
        b'{"step": "1", "password": 7, "before": ""}',
        b'{"step": "1", "password": "x"}',
        b'{"step": null, "password": "x", "before": ""}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_damaged_is_told(data: bytes) -> None:
    """It is an error with a name, and without what was in the znode."""
    with pytest.raises(InvalidRecord, match="ensemble's password") as told:
        parse_told(data)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "password", ["x", "correct-horse", "a:b", "~!{}\"'\\", "x" * PASSWORD_CHARACTERS_MAX]
)
def test_a_password_may_be_ascii(password: str) -> None:
    """Everything that looks the same in every character set."""
    assert problem_with(password) == ""


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("", "empty"),
        ("x" * (PASSWORD_CHARACTERS_MAX + 1), "257 characters"),
        ("zwölf", "ASCII"),
        ("a b", "no spaces"),
        ("a\n", "no spaces"),
        ("\x00", "ASCII"),
    ],
)
def test_what_would_be_read_differently_is_refused(password: str, problem: str) -> None:
    """The reason says what to leave out."""
    assert problem in problem_with(password)


def test_access_lists_get_other_passwords_and_keep_what_else_they_give() -> None:
    """Own entries are replaced, whichever password they were for; those for others stay."""
    readers = make_acl("ip", "10.0.0.7", read=True)
    before = [*own_access("forgotten", "old"), readers]
    assert set(access_for(before, ["new", "old"])) == {*own_access("new"), *own_access("old"), readers}
    assert access_for(own_access("new", "old"), ["new"]) == own_access("new")
    assert is_own(before)
    assert not is_own(OPEN_ACL_UNSAFE)
    assert not is_own([make_acl("digest", "somebody:hash", all=True)])


def _session(zookeeper: FakeZooKeeper) -> tuple[Session, FakeClient]:
    session = Session("fake:1", "old", post=lambda call: call(), client_factory=zookeeper.client)
    session.start()
    (client,) = zookeeper.sessions.values()
    client.auth_data = {("digest", "fabric:old")} | client.auth_data
    return session, client


def _tell(zookeeper: FakeZooKeeper, told: ToldPassword) -> None:
    other = Session("fake:1", "old", post=lambda call: call(), client_factory=zookeeper.client)
    other.start()
    other.put(paths.ensemble_password(), told.to_bytes())
    other.close()


def test_a_session_follows_both_steps_without_ending() -> None:
    """It proves the new password, gives what it makes to both, and at the end to the new one alone."""
    zookeeper = FakeZooKeeper()
    session, client = _session(zookeeper)
    client.auth_data |= {("digest", "super:secret")}
    told: list[ToldPassword] = []
    session.follow_password(told.append)
    assert (told, session.password) == ([], "old")
    before = session.session_id
    _tell(zookeeper, BOTH)
    assert client.default_acl == own_access("new", "old")
    assert client.auth_data == {
        ("digest", "fabric:old"),
        ("digest", "fabric:new"),
        ("digest", "super:secret"),
    }
    _tell(zookeeper, ALONE)
    assert client.default_acl == own_access("new")
    assert client.auth_data == {("digest", "fabric:new"), ("digest", "super:secret")}
    assert (told, session.password, session.session_id) == ([BOTH, ALONE], "new", before)


def test_a_session_that_begins_meanwhile_knows_both_before_it_makes_anything() -> None:
    """Its start takes over what is told."""
    zookeeper = FakeZooKeeper()
    _tell(zookeeper, BOTH)
    session, client = _session(zookeeper)
    assert session.password == "new"
    assert client.default_acl == own_access("new", "old")


def test_what_is_damaged_changes_nothing() -> None:
    """A session goes on with what it knows, at its start and later."""
    zookeeper = FakeZooKeeper()
    session, client = _session(zookeeper)
    session.follow_password()
    session.put(paths.ensemble_password(), b"nonsense")
    assert (session.password, client.default_acl, session.told_password()) == ("old", None, None)
    session.close()
    assert _session(zookeeper)[0].password == "old"


def test_a_session_that_is_not_open_adopts_nothing() -> None:
    """Before its start and after its end there is nobody to prove anything to."""
    session = Session("fake:1", "old", post=lambda call: call(), client_factory=FakeZooKeeper().client)
    session.adopt(ALONE)
    assert session.password == "old"
