"""What every registry promises: the real ZooKeeper, and the one in memory that other tests rely on."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from support.waiting import wait_until
from support.worlds import World, expire

from registry import paths
from registry.errors import InvalidRecord, NodeExists, NodeNotEmpty, NoSuchNode, VersionConflict
from registry.session import Session, SessionState
from registry.users import UserRecord, UserStore, hash_password, verify_password


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    """A session."""
    with world.open() as session:
        yield session


@pytest.fixture
def root(session: Session, unique_name: str) -> str:
    """A place of the test's own in the protected part of the tree."""
    path = f"{paths.ROOT}/tests/{unique_name}"
    session.put(path, b"")
    return path


def test_put_makes_parents_and_replaces(session: Session, root: str) -> None:
    """What was put last is read, whether or not the znode existed."""
    session.put(f"{root}/a/b", b"1")
    session.put(f"{root}/a/b", b"2")
    node = session.get(f"{root}/a/b")
    assert (node.data, node.version, node.ephemeral_owner) == (b"2", 1, 0)
    assert session.children(root) == ["a"]


def test_missing_nodes(session: Session, root: str) -> None:
    """A missing znode is NoSuchNode, None or False, as the caller asks."""
    missing = f"{root}/missing"
    for ask in (session.get, session.children, session.delete, lambda path: session.set(path, b"")):
        with pytest.raises(NoSuchNode, match=missing):
            ask(missing)
    assert session.get_or_none(missing) is None
    assert not session.exists(missing)
    session.delete(missing, missing_ok=True)
    with pytest.raises(NoSuchNode):
        session.create(f"{missing}/child", make_parents=False)


def test_set_with_version_notices_a_rival(session: Session, root: str) -> None:
    """A write with an old version fails and changes nothing."""
    session.set(root, b"first", version=0)
    with pytest.raises(VersionConflict):
        session.set(root, b"second", version=0)
    assert session.get(root).data == b"first"


def test_create_refuses_an_existing_node(session: Session, root: str) -> None:
    """Creating what exists is NodeExists."""
    session.create(f"{root}/x", b"1")
    with pytest.raises(NodeExists):
        session.create(f"{root}/x", b"1")


def test_sequential_ephemeral_nodes(world: World, session: Session, root: str) -> None:
    """Sequential znodes have rising names; ephemeral ones go with their session."""
    with world.open() as other:
        names = [other.create(f"{root}/g/0", ephemeral=True, sequential=True) for _ in range(2)]
        assert names == [f"{root}/g/00000000000", f"{root}/g/00000000001"]
        assert session.get(names[0]).ephemeral_owner == other.session_id
    assert session.children(f"{root}/g") == []


def test_delete_recursive(session: Session, root: str) -> None:
    """A recursive deletion takes everything below along; a plain one refuses to."""
    session.put(f"{root}/a/b/c", b"")
    with pytest.raises(NodeNotEmpty):
        session.delete(f"{root}/a")
    session.delete(f"{root}/a", recursive=True)
    assert not session.exists(f"{root}/a")


def test_json(session: Session, root: str) -> None:
    """JSON comes back as written; what is not JSON is an InvalidRecord with the path."""
    session.put_json(f"{root}/j", {"name": "Käse", "list": [1, None]})
    assert session.get_json(f"{root}/j") == {"name": "Käse", "list": [1, None]}
    session.put(f"{root}/j", b"{")
    with pytest.raises(InvalidRecord, match=f"{root}/j"):
        session.get_json(f"{root}/j")


def test_watch_data_follows_a_node_through_its_life(session: Session, root: str) -> None:
    """A data watch delivers absence, creation, change, deletion and creation again."""
    seen: list[bytes | None] = []
    watch = session.watch_data(f"{root}/w", seen.append)
    wait_until(lambda: seen == [None])
    session.create(f"{root}/w", b"1")
    wait_until(lambda: seen == [None, b"1"])
    session.set(f"{root}/w", b"2")
    wait_until(lambda: seen == [None, b"1", b"2"])
    session.delete(f"{root}/w")
    wait_until(lambda: seen == [None, b"1", b"2", None])
    session.create(f"{root}/w", b"3")
    wait_until(lambda: seen == [None, b"1", b"2", None, b"3"])
    watch.cancel()
    session.set(f"{root}/w", b"4")
    session.watch_data(f"{root}/w", lambda data: seen.append(b"other"))
    wait_until(lambda: seen[-1] == b"other")
    assert b"4" not in seen


def test_watch_children(session: Session, root: str) -> None:
    """A children watch delivers sorted names, none before the parent exists."""
    seen: list[list[str]] = []
    session.watch_children(f"{root}/p", seen.append)
    wait_until(lambda: seen == [[]])
    session.put(f"{root}/p/b", b"")
    wait_until(lambda: seen[-1] == ["b"])
    session.put(f"{root}/p/a", b"")
    wait_until(lambda: seen[-1] == ["a", "b"])
    session.delete(f"{root}/p", recursive=True)
    wait_until(lambda: seen[-1] == [])


def test_watch_tree_reports_changes_at_every_depth(session: Session, root: str) -> None:
    """A tree watch speaks after each change below it, also in what was added later, and not after cancel."""
    session.put(f"{root}/a/b", b"")
    calls: list[float] = []
    watch = session.watch_tree(root, lambda: calls.append(time.monotonic()))
    wait_until(lambda: len(calls) == 1)
    for change in (
        lambda: session.set(f"{root}/a/b", b"1"),
        lambda: session.put(f"{root}/c/d/e", b""),
        lambda: session.set(f"{root}/c/d/e", b"1"),
        lambda: session.delete(f"{root}/a", recursive=True),
    ):
        before = len(calls)
        change()
        wait_until(lambda before=before: len(calls) > before)
    watch.cancel()
    after = len(calls)
    session.put(f"{root}/z", b"")
    assert session.get(f"{root}/z").data == b""
    assert len(calls) <= after + 1  # one may have been on its way


def test_callbacks_come_in_the_thread_of_post(world: World) -> None:
    """No callback runs before its owner runs what was posted, nor in another thread than the owner's."""
    posted: list[Callable[[], None]] = []
    with world.open(posted.append) as session:
        session.put(f"{paths.ROOT}/tests/posted", b"1")
        seen: list[tuple[bytes | None, threading.Thread]] = []
        session.watch_data(
            f"{paths.ROOT}/tests/posted", lambda data: seen.append((data, threading.current_thread()))
        )

        def run_posted() -> bool:
            assert len(seen) == 0
            while posted:
                posted.pop(0)()
            return bool(seen)

        wait_until(run_posted)
        assert seen == [(b"1", threading.current_thread())]


def test_a_callback_may_block_and_ask(session: Session, root: str) -> None:
    """Without an owner's loop, a callback may use the blocking methods."""
    answers: list[str] = []
    session.watch_data(root, lambda _: answers.append(session.create(f"{root}/from-callback")))
    wait_until(lambda: answers == [f"{root}/from-callback"])


def test_a_failing_callback_ends_nothing(
    session: Session, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in one callback is logged, and later ones are called all the same."""
    seen: list[bytes | None] = []

    def deliver(data: bytes | None) -> None:
        seen.append(data)
        raise ZeroDivisionError

    session.watch_data(root, deliver)
    wait_until(lambda: seen == [b""])
    session.set(root, b"1")
    wait_until(lambda: seen == [b"", b"1"])
    assert "ZeroDivisionError" in caplog.text


def test_expired_session_is_replaced(world: World, root: str) -> None:
    """A lost session is LOST, its ephemerals are gone, a new one follows, and watches go on."""
    with world.open() as session:
        states: list[SessionState] = []
        seen: list[bytes | None] = []
        session.add_state_listener(states.append)
        session.watch_data(f"{root}/w", seen.append)
        session.create(f"{root}/ephemeral", ephemeral=True)
        wait_until(lambda: seen == [None])
        expire(world, session)
        wait_until(lambda: states[-2:] == [SessionState.LOST, SessionState.CONNECTED])
        assert not session.exists(f"{root}/ephemeral")
        session.put(f"{root}/w", b"after")
        wait_until(lambda: seen[-1] == b"after")


def test_ended_session_takes_its_ephemerals_at_once(world: World, session: Session, root: str) -> None:
    """A session ended from outside takes its ephemerals along at once."""
    with world.open() as dead:
        dead.create(f"{root}/ephemeral", ephemeral=True)
        assert world.end_session(dead)
        assert not session.exists(f"{root}/ephemeral")


def test_users(session: Session, unique_name: str) -> None:
    """Users are stored, listed, watched and deleted; a stored password verifies."""
    store = UserStore(session)
    seen: list[Mapping[str, UserRecord]] = []
    watch = store.watch(seen.append)
    assert store.get(unique_name) is None
    store.put(UserRecord(unique_name, hash_password("secret"), ("admin",)))
    user = store.get(unique_name)
    assert user is not None
    assert user.roles == ("admin",)
    assert verify_password("secret", user.password_hash)
    assert unique_name in store.list()
    wait_until(lambda: seen and seen[-1].get(unique_name) == user)
    store.delete(unique_name)
    wait_until(lambda: unique_name not in seen[-1])
    watch.cancel()
    with pytest.raises(NoSuchNode):
        store.delete(unique_name)


def test_unreadable_user(session: Session, unique_name: str) -> None:
    """A user whose record is damaged is an error for who asks for it, and missing for who watches."""
    store = UserStore(session)
    session.put(paths.user(unique_name), b"damaged")
    with pytest.raises(InvalidRecord, match=unique_name):
        store.get(unique_name)
    seen: list[Mapping[str, UserRecord]] = []
    store.watch(seen.append)
    wait_until(lambda: seen)
    assert unique_name not in seen[-1]


def test_users_with_impossible_names(session: Session) -> None:
    """A name that is none is refused when written, and nobody when asked for."""
    store = UserStore(session)
    with pytest.raises(InvalidRecord):
        store.put(UserRecord("a/b", "x"))
    assert store.get("a/b") is None
    assert store.get("") is None
