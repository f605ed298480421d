"""Sessions for tests."""

import contextlib
from collections.abc import Callable, Iterator

from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests

from registry.session import Session, SessionState


@contextlib.contextmanager
def open_session(
    zookeeper: ZooKeeperForTests,
    *,
    session_timeout_s: float = 4.0,
    post: Callable[[Callable[[], None]], None] | None = None,
) -> Iterator[Session]:
    """Open a session with the right password, and close it at the end."""
    session = Session(zookeeper.url, zookeeper.password, session_timeout_s=session_timeout_s, post=post)
    session.start(timeout_s=30)
    try:
        yield session
    finally:
        session.close()


def expire(zookeeper: ZooKeeperForTests, session: Session) -> None:
    """Make a session expire as if its owner had been silent too long, and wait until it has a new one."""
    from registry.session import close_dead_session

    old = session.session_id
    assert close_dead_session(
        zookeeper.url, zookeeper.password, session.session_id, session.session_password, 5.0
    )
    wait_until(
        lambda: session.state is SessionState.CONNECTED and session.session_id != old, message="a new session"
    )
