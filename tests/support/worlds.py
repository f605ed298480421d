"""The two registries of the contract tests: a real ZooKeeper and the one in memory."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from support.fake_zookeeper import FakeZooKeeper
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests

from registry.session import Session, SessionState, close_dead_session

Post = Callable[[Callable[[], None]], None]


class World(Protocol):
    """A registry that sessions can be opened to."""

    def open(self, post: Post | None = None) -> contextlib.AbstractContextManager[Session]:
        """Open a session, and close it at the end."""
        ...

    def end_session(self, session: Session) -> bool:
        """End a session from outside, as after its owner's death; False if it was gone already."""
        ...


def expire(world: World, session: Session) -> None:
    """End a session whose owner lives, and wait until it has a new one."""
    old = session.session_id
    assert world.end_session(session)
    wait_until(
        lambda: session.state is SessionState.CONNECTED and session.session_id != old, message="a new session"
    )


class RealWorld:
    """A real ZooKeeper."""

    def __init__(self, zookeeper: ZooKeeperForTests) -> None:
        self.zookeeper = zookeeper

    @contextlib.contextmanager
    def open(self, post: Post | None = None) -> Iterator[Session]:
        """Open a session, and close it at the end."""
        session = Session(self.zookeeper.url, self.zookeeper.password, post=post)
        session.start(timeout_s=20)
        try:
            yield session
        finally:
            session.close()

    def end_session(self, session: Session) -> bool:
        """End a session from outside."""
        return close_dead_session(
            self.zookeeper.url, None, session.session_id, session.session_password, timeout_s=5
        )


class FakeWorld:
    """The ZooKeeper in memory."""

    def __init__(self) -> None:
        self.zookeeper = FakeZooKeeper()

    @contextlib.contextmanager
    def open(self, post: Post | None = None) -> Iterator[Session]:
        """Open a session, and close it at the end."""
        session = Session("fake:1", "x", post=post, client_factory=self.zookeeper.client)
        session.start()
        try:
            yield session
        finally:
            session.close()

    def end_session(self, session: Session) -> bool:
        """End a session from outside."""
        return self.zookeeper.expire(session.session_id)
