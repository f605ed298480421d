"""A change of the ensemble's password at a real ZooKeeper: access lists, and sessions that go on."""

from collections.abc import Callable, Iterator

import pytest
from kazoo.exceptions import NoAuthError
from kazoo.security import OPEN_ACL_UNSAFE
from support.registry import expire, open_session
from support.strangers import openings, stranger
from support.waiting import wait_until
from support.zookeeper import PASSWORD, ZooKeeperForTests

from registry import paths
from registry.errors import AuthenticationFailed, NoPermission
from registry.kazoo_edge import own_access
from registry.password import ToldPassword
from registry.session import Session

pytestmark = pytest.mark.integration

NEW = "another-secret"
BOTH = ToldPassword("1", NEW, before=PASSWORD)
ALONE = ToldPassword("2", NEW)


@pytest.fixture(scope="module")
def zookeeper(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> ZooKeeperForTests:
    """A server of these tests' own."""
    return zookeeper_factory()


def fill(session: Session) -> None:
    """Make more znodes than are done in one go."""
    session.put(f"{paths.ROOT}/deep/er/znode", b"data")
    for number in range(300):
        session.create(f"{paths.ROOT}/many/{number}")


@pytest.fixture
def session(zookeeper: ZooKeeperForTests) -> Iterator[Session]:
    """Who changes it; at the end all is as it was."""
    with open_session(zookeeper) as session:
        fill(session)
        yield session
        session.give_tree((PASSWORD,))
        session.adopt(ToldPassword("", PASSWORD))
        session.delete(paths.ROOT, recursive=True)


def own(session: Session) -> list[str]:
    """All znodes of the fabric."""
    found = [paths.ROOT]
    for path in found:
        found += [f"{path}/{name}" for name in session.children(path)]
    return found


def test_a_session_goes_on_through_both_steps(zookeeper: ZooKeeperForTests, session: Session) -> None:
    """Its ephemeral znode stays, what it makes opens to whom it should, and a new session of it gets in."""
    with open_session(zookeeper) as broker:
        before = broker.session_id
        broker.create(f"{paths.ROOT}/member", b"x", ephemeral=True)
        broker.follow_password()
        counts: list[int] = []
        assert session.give_tree(BOTH.passwords, counts.append) == len(own(session)) == counts[-1]
        assert session.give_tree(BOTH.passwords) == 0
        session.adopt(BOTH)
        session.create(paths.ensemble_password(), BOTH.to_bytes())
        wait_until(lambda: broker.password == NEW)
        broker.create(f"{paths.ROOT}/made-meanwhile", b"x")
        for password in (PASSWORD, NEW):
            with stranger(zookeeper.url, password) as client:
                assert client.get(f"{paths.ROOT}/made-meanwhile")[0] == b"x"
                assert client.get(f"{paths.ROOT}/deep/er/znode")[0] == b"data"
        session.adopt(ALONE)
        session.set(paths.ensemble_password(), ALONE.to_bytes())
        session.give_tree(ALONE.passwords)
        wait_until(lambda: broker.told_password() == ALONE)
        assert broker.session_id == before
        assert broker.get(f"{paths.ROOT}/member").ephemeral_owner == before
        assert openings(zookeeper.url, PASSWORD, own(session)[1:]) == []
        with pytest.raises(AuthenticationFailed):
            Session(zookeeper.url, PASSWORD).start()
        expire(zookeeper, broker)
        broker.create(f"{paths.ROOT}/made-after", b"x")
        assert openings(zookeeper.url, PASSWORD, [f"{paths.ROOT}/made-after"]) == []


def test_what_is_not_the_fabrics_is_left_alone(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> None:
    """In an ensemble that is others', its root and their znodes keep their access lists."""
    zookeeper = zookeeper_factory()
    with open_session(zookeeper) as session, stranger(zookeeper.url, PASSWORD) as client:
        fill(session)
        session.create("/others", make_parents=False)
        lists = {path: client.get_acls(path)[0] for path in ("/", "/others", "/zookeeper")}
        session.give_tree((NEW, PASSWORD))
        assert lists == {path: client.get_acls(path)[0] for path in lists}
        session.protect("/")
        session.give_tree((NEW, PASSWORD))
        assert [len(client.get_acls(path)[0]) for path in ("/", "/others")] == [2, 2], "it is all ours"
        assert client.get_acls("/zookeeper")[0] == lists["/zookeeper"]


def test_a_fabric_below_a_path_changes_its_own_path_only(zookeeper: ZooKeeperForTests) -> None:
    """The path is its own and is given to the new password; what lies above it stays everybody's."""
    shop = Session(f"{zookeeper.url}/fabrics/shop", PASSWORD)
    shop.start()
    try:
        shop.make_root()
        shop.put(f"{paths.ROOT}/znode", b"")
        shop.adopt(ALONE)
        shop.give_tree((NEW,))
        with stranger(zookeeper.url, NEW) as client:
            assert client.get_acls("/fabrics")[0] == OPEN_ACL_UNSAFE
            assert client.get_acls("/fabrics/shop")[0] == own_access(NEW)
        below = ["/fabrics/shop/fabric", "/fabrics/shop/fabric/znode"]
        assert openings(zookeeper.url, PASSWORD, below) == []
    finally:
        shop.close()


def test_who_was_away_gets_in_with_what_was_noted(zookeeper: ZooKeeperForTests, session: Session) -> None:
    """A session that came back too late is refused everything, until it is told the new password."""
    with open_session(zookeeper) as late:
        session.adopt(ALONE)
        session.give_tree((NEW,))
        with pytest.raises(NoPermission):
            late.get(paths.ROOT)
        late.adopt(ToldPassword("", NEW))
        late.get(paths.ROOT)
        late.create(f"{paths.ROOT}/late")
        assert openings(zookeeper.url, PASSWORD, [f"{paths.ROOT}/late"]) == []


def test_who_knows_no_password_cannot_give_anything_away(
    zookeeper: ZooKeeperForTests, session: Session
) -> None:
    """The walk stops at the first znode that is not its own."""
    with open_session(zookeeper) as thief:
        session.adopt(ALONE)
        session.give_tree((NEW,))
        with pytest.raises(NoPermission):
            thief.give_tree((PASSWORD,))
    with pytest.raises(NoAuthError), stranger(zookeeper.url, PASSWORD) as client:
        client.get(paths.ROOT)
