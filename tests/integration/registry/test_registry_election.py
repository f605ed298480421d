"""Elections while a real ZooKeeper is away."""

import contextlib
from collections.abc import Callable

import pytest
from kazoo.exceptions import ConnectionDropped
from kazoo.protocol.serialization import Create
from support.brokers import Broker, Cluster, Loop
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
            wait_until(lambda session=session: session.state is SessionState.CONNECTED, timeout_s=30)
        wait_until(lambda: cluster.containers() == ["a", "b"])  # at once, unless the machine is very busy
        assert cluster.seen == [(a.url,)]
        a.die()
        a.session.close()
        wait_until(lambda: b.role is Role.MASTER)
        assert a.reasons == []
        wait_until(lambda: cluster.told == (b.url,))
    server.kill()


def expire_everybody(server: ZooKeeperForTests, group: str) -> None:
    """Run the server where nobody finds it until it has expired all members of a group."""
    hidden = ZooKeeperServer(find_zookeeper(), server.log_path.parent, free_port())
    hidden.start()
    hidden.wait_ready(60)
    session = Session(hidden.url, server.password)
    session.start()
    wait_until(lambda: session.children(group) == [], timeout_s=30)
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
        wait_until(lambda: cluster.observer.state is SessionState.CONNECTED, timeout_s=30)
        wait_until(lambda: cluster.containers() == ["a", "b"], timeout_s=30)
        assert (a.role, b.role) == (Role.MASTER, Role.SLAVE)
        assert a.reasons == []
        assert cluster.seen == [(a.url,)]
    server.kill()


def test_reply_to_the_creation_is_lost_by_the_network(zookeeper: ZooKeeperForTests) -> None:
    """A connection that breaks before the reply to the creation leaves one member, ready and elected."""
    with contextlib.ExitStack() as stack:
        cluster = Cluster(RealWorld(zookeeper), "lost-reply", stack)
        loop = Loop()
        stack.callback(loop.close)
        session = stack.enter_context(cluster.world.open(loop.post))
        connection = session._client._connection
        healthy, dropped = connection._read_response, []

        def drop_first_creation(header: object, buffer: bytes, offset: int) -> object:
            if not dropped and isinstance(session._client._pending[0][0], Create):
                if header.err:  # the group's own znode is missing; the creation after that counts
                    return healthy(header, buffer, offset)
                dropped.append(session._client._pending[0][0].path)
                raise ConnectionDropped("planted")
            return healthy(header, buffer, offset)

        cluster.observer.put(paths.amq_group("lost-reply"), b"")
        connection._read_response = drop_first_creation
        broker = Broker(cluster.world, session, "lost-reply", "c", loop)
        wait_until(lambda: broker.role is Role.MASTER)
        assert dropped == [f"{paths.amq_group('lost-reply')}/0"]
        assert list(cluster.members()) == ["00000000000"]
        wait_until(lambda: cluster.seen == [(broker.url,)])
