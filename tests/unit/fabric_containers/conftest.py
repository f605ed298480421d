"""A registry in memory and a reactor that stands still."""

import pytest
from support.fake_reactor import FakeReactor
from support.fake_zookeeper import FakeZooKeeper

from registry.session import Session


@pytest.fixture
def reactor() -> FakeReactor:
    """The reactor."""
    return FakeReactor()


@pytest.fixture
def zookeeper() -> FakeZooKeeper:
    """The registry's server."""
    return FakeZooKeeper()


@pytest.fixture
def session(reactor: FakeReactor, zookeeper: FakeZooKeeper) -> Session:
    """The container's session."""
    session = Session(
        "fake:1",
        "x",
        post=reactor.callFromThread,
        set_timer=reactor.callLater,
        client_factory=zookeeper.client,
    )
    session.start()
    reactor.turn()
    return session
