"""Elections while a real ZooKeeper is away."""

import contextlib
from collections.abc import Callable

import pytest
from support.brokers import Cluster
from support.waiting import wait_until
from support.worlds import RealWorld
from support.zookeeper import ZooKeeperForTests, free_port

from registry import paths
from registry.roles import Role
from registry.server import ZooKeeperServer, find_zookeeper
from registry.session import Session, SessionState

pytestmark = pytest.mark.integration


def test_zookeeper_outage_moves_nothing(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> None:
    """ZooKeeper is killed and comes back: nobody steps down, nobody takes over, clients keep the url (P6)."""
    server = zookeeper_factory()
    with contextlib.ExitStack() as stack:
        cluster = Cluster(RealWorld(server), "outage", stack)
        a = cluster.add("a", Role.MASTER)
        b = cluster.add("b", Role.SLAVE)
        wait_until(lambda: cluster.seen == [(a.url,)])
        server.kill()
        wait_until(
            lambda: a.session.state is SessionState.SUSPENDED and b.session.state is SessionState.SUSPENDED
        )
        wait_until(lambda: cluster.observer.state is SessionState.SUSPENDED)
        assert (a.role, b.role) == (Role.MASTER, Role.SLAVE)
        server.start_ready()
        for session in (a.session, b.session, cluster.observer):
            wait_until(lambda session=session: session.state is SessionState.CONNECTED, timeout_s=20)
        assert cluster.containers() == ["a", "b"]
        a.die()
        a.session.close()
        wait_until(lambda: b.role is Role.MASTER)
        assert a.reasons == []
        wait_until(lambda: cluster.seen[-1] == (b.url,))
    server.kill()


def expire_everybody(server: ZooKeeperForTests, group: str) -> None:
    """Run the server where nobody finds it until it has expired all members of a group."""
    hidden = ZooKeeperServer(find_zookeeper(), server.log_path.parent, free_port())
    hidden.start()
    hidden.wait_ready(60)
    session = Session(hidden.url, server.password)
    session.start()
    wait_until(lambda: session.children(group) == [], timeout_s=20)
    session.close()
    hidden.stop()


def test_outage_that_costs_all_sessions_moves_nothing(
    zookeeper_factory: Callable[[], ZooKeeperForTests],
) -> None:
    """ZooKeeper is away until all sessions have expired: the same master is master again (P6)."""
    server = zookeeper_factory()
    with contextlib.ExitStack() as stack:
        cluster = Cluster(RealWorld(server), "outage", stack)
        a = cluster.add("a", Role.MASTER)
        b = cluster.add("b", Role.SLAVE)
        wait_until(lambda: cluster.seen == [(a.url,)])
        server.kill()
        expire_everybody(server, paths.amq_group("outage"))
        server.start_ready()
        wait_until(lambda: cluster.observer.state is SessionState.CONNECTED, timeout_s=20)
        wait_until(lambda: cluster.containers() == ["a", "b"], timeout_s=20)
        assert (a.role, b.role) == (Role.MASTER, Role.SLAVE)
        assert a.reasons == []
        assert cluster.seen == [(a.url,)]
    server.kill()
