"""Groups, elections and discovery against a real ZooKeeper."""

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.registry import expire, open_session
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from registry import paths
from registry.discovery import DiscoveryView
from registry.election import BrokerElection
from registry.roles import Role
from registry.server import ZooKeeperServer, find_zookeeper
from registry.session import Session, SessionState, close_dead_session

pytestmark = pytest.mark.integration

BROKER = "tolerantbroker"


class Loop:
    """A thread that runs what is posted, as a reactor does."""

    def __init__(self) -> None:
        self.posted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` later."""
        self.posted.put(call)

    def close(self) -> None:
        """End."""
        self.posted.put(None)
        self.thread.join()

    def _run(self) -> None:
        while (call := self.posted.get()) is not None:
            call()


class Broker:
    """A broker that serves as soon as it is asked to."""

    def __init__(self, zookeeper: ZooKeeperForTests, group: str, container: str, loop: Loop) -> None:
        self.zookeeper = zookeeper
        self.loop = loop
        self.container = container
        self.url = f"tcp://127.0.0.1:{abs(hash(container)) % 60000}"
        self.session = Session(zookeeper.url, zookeeper.password, session_timeout_s=2, post=loop.post)
        self.session.start(20)
        self.election = BrokerElection(self.session, group, BROKER, container, self)
        self.taken_over_at: list[float] = []
        self.reasons: list[str] = []
        loop.post(self.election.start)

    def take_over(self) -> None:
        """Serve."""
        self.taken_over_at.append(time.monotonic())
        self.election.publish([self.url])

    def step_down(self, reason: str) -> None:
        """Stop serving."""
        self.reasons.append(reason)
        self.election.stopped()

    @property
    def role(self) -> Role:
        """What it is."""
        return self.election.state

    def die(self) -> None:
        """End as a killed process does: its supervisor closes its session."""
        assert close_dead_session(
            self.zookeeper.url, None, self.session.session_id, self.session.session_password, 5
        )


class Cluster:
    """Brokers of one group, an observer's session and a client's view."""

    def __init__(self, zookeeper: ZooKeeperForTests, group: str, stack: contextlib.ExitStack) -> None:
        self.zookeeper = zookeeper
        self.group = group
        self.stack = stack
        self.observer = stack.enter_context(open_session(zookeeper))
        self.seen: list[tuple[str, ...]] = []
        self.view = DiscoveryView(self.observer, group, self.seen.append)
        self.view.start()

    def add(self, container: str, role: Role) -> Broker:
        """Start a broker and wait for its role."""
        loop = Loop()
        self.stack.callback(loop.close)
        broker = Broker(self.zookeeper, self.group, container, loop)
        self.stack.callback(broker.session.close)
        wait_until(lambda: broker.role is role and broker.election.member_name, message=f"{container} {role}")
        wait_until(lambda: container in self.containers())
        return broker

    def members(self) -> dict[str, dict[str, object]]:
        """Read the members as any tool would."""
        path = paths.amq_group(self.group)
        nodes = {name: self.observer.get_or_none(f"{path}/{name}") for name in self.observer.children(path)}
        return {name: json.loads(node.data) for name, node in nodes.items() if node}

    def containers(self) -> list[object]:
        """Containers of the ready members in order."""
        return [record["container"] for _, record in sorted(self.members().items()) if record["ready"]]


@pytest.fixture
def cluster(zookeeper: ZooKeeperForTests, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A group of the test's own."""
    with contextlib.ExitStack() as stack:
        yield Cluster(zookeeper, request.node.name, stack)


def test_first_is_master_second_is_slave(cluster: Cluster) -> None:
    """Who joins first is master and publishes; the next is a slave; both in the original's layout."""
    a = cluster.add("a", Role.MASTER)
    cluster.add("b", Role.SLAVE)
    wait_until(lambda: cluster.seen == [(a.url,)])
    first, second = sorted(cluster.members().items())
    assert first[0] == "00000000000"
    assert list(first[1]) == ["id", "container", "uuid", "ready", "services"]
    assert first[1] | {"uuid": ""} == {
        "id": BROKER,
        "container": "a",
        "uuid": "",
        "ready": True,
        "services": [a.url],
    }
    assert (second[1]["ready"], second[1]["services"]) == (True, [])


def test_slave_takes_over_within_milliseconds(cluster: Cluster) -> None:
    """When the master's session is closed the slave is asked to take over at once, and clients are told."""
    delays = []
    master = cluster.add("c0", Role.MASTER)
    for number in range(1, 6):
        slave = cluster.add(f"c{number}", Role.SLAVE)
        died_at = time.monotonic()
        master.die()
        master.session.close()
        wait_until(lambda slave=slave: slave.role is Role.MASTER)
        wait_until(lambda slave=slave: cluster.seen[-1] == (slave.url,))
        delays.append(slave.taken_over_at[0] - died_at)
        master = slave
    logging.getLogger(__name__).info("take-over delays in ms: %s", [round(d * 1000, 1) for d in delays])
    assert cluster.containers() == ["c5"]
    assert () in cluster.seen  # the dead master's url was withdrawn before the new one's came


def test_stop_leaves_at_once(cluster: Cluster) -> None:
    """A master that stops leaves the group at once, and says when it has."""
    a = cluster.add("a", Role.MASTER)
    b = cluster.add("b", Role.SLAVE)
    left = threading.Event()
    a.loop.post(lambda: a.election.stop(left.set))
    assert left.wait(5)
    assert "a" not in cluster.containers()
    wait_until(lambda: b.role is Role.MASTER)
    assert a.role is Role.OFFLINE


def test_failed_master_rejoins_at_the_end(cluster: Cluster) -> None:
    """A master that was fenced or could not start gives its place to the slave and becomes a slave."""
    a = cluster.add("a", Role.MASTER)
    b = cluster.add("b", Role.SLAVE)
    a.loop.post(a.election.failed)
    wait_until(lambda: b.role is Role.MASTER and a.role is Role.SLAVE)
    wait_until(lambda: cluster.containers() == ["b", "a"])
    wait_until(lambda: cluster.seen[-1] == (b.url,))


def test_expired_master_comes_back_as_slave(cluster: Cluster) -> None:
    """A master whose session expired while a slave lived steps down, seeing the new master ahead of it."""
    a = cluster.add("a", Role.MASTER)
    b = cluster.add("b", Role.SLAVE)
    expire(cluster.zookeeper, a.session)
    wait_until(lambda: (a.role, b.role) == (Role.SLAVE, Role.MASTER))
    wait_until(lambda: cluster.containers() == ["b", "a"])
    assert len(a.reasons) == 1
    assert "b (" in a.reasons[0]


def test_all_sessions_lost_does_not_move_mastership(cluster: Cluster) -> None:
    """When every session is lost at once the serving master is back first, and clients keep its url (P6)."""
    a = cluster.add("a", Role.MASTER)
    b = cluster.add("b", Role.SLAVE)
    c = cluster.add("c", Role.SLAVE)
    wait_until(lambda: cluster.seen == [(a.url,)])
    for broker in (c, b, a):  # the slaves first, so that none of them is elected on the way
        broker.die()
    wait_until(lambda: sorted(cluster.containers()) == ["a", "b", "c"])
    assert cluster.containers()[0] == "a"
    assert (a.role, b.role, c.role) == (Role.MASTER, Role.SLAVE, Role.SLAVE)
    assert a.reasons == []
    assert cluster.seen == [(a.url,)]


def test_removed_member_joins_again(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """A member whose znode somebody removes joins again at the end, and says so in the log."""
    a = cluster.add("a", Role.MASTER)
    b = cluster.add("b", Role.SLAVE)
    cluster.observer.delete(f"{paths.amq_group(cluster.group)}/{b.election.member_name}")
    wait_until(lambda: cluster.containers() == ["a", "b"])
    assert "removed by somebody else" in caplog.text
    cluster.observer.delete(f"{paths.amq_group(cluster.group)}/{a.election.member_name}")
    wait_until(lambda: (a.role, b.role) == (Role.SLAVE, Role.MASTER))
    wait_until(lambda: cluster.containers() == ["b", "a"])


def test_unreadable_and_foreign_members_are_tolerated(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Garbage, other brokers and members of older versions in the group disturb nobody."""
    group = paths.amq_group(cluster.group)
    for data in (b"garbage", b'{"id": "root", "container": "root", "services": ["tcp://h:1", "mqtt://h:2"]}'):
        cluster.observer.create(f"{group}/0", data, ephemeral=True, sequential=True)
    loop = Loop()
    cluster.stack.callback(loop.close)
    broker = Broker(cluster.zookeeper, cluster.group, "a", loop)
    cluster.stack.callback(broker.session.close)
    wait_until(lambda: broker.role is Role.MASTER)
    wait_until(lambda: cluster.seen[-1] == ("tcp://h:1", broker.url))
    assert "00000000000 is ignored" in caplog.text


def test_a_lower_ready_member_makes_the_master_step_down(cluster: Cluster) -> None:
    """A master that sees another ready member with its id ahead of it steps down."""
    group = paths.amq_group(cluster.group)
    record = {"id": BROKER, "container": "x", "ready": False, "services": []}
    path = cluster.observer.create(f"{group}/0", json.dumps(record).encode(), ephemeral=True, sequential=True)
    loop = Loop()
    cluster.stack.callback(loop.close)
    broker = Broker(cluster.zookeeper, cluster.group, "a", loop)
    cluster.stack.callback(broker.session.close)
    wait_until(lambda: broker.role is Role.MASTER)
    cluster.observer.set(path, json.dumps(record | {"ready": True}).encode())
    wait_until(lambda: broker.role is Role.SLAVE)
    wait_until(lambda: cluster.seen[-1] == ())


def test_placeholders_of_the_original_are_looked_up(cluster: Cluster) -> None:
    """A url with ${zk:…} is told with the address, also by way of the resolver."""
    container = cluster.group
    cluster.observer.put(
        paths.container_config_field(container, "ip"), f"${{zk:{container}/localip}}".encode()
    )
    cluster.observer.put(paths.container_config_field(container, "localip"), b"10.0.0.7")
    urls = [f"tcp://${{zk:{container}/ip}}:61616", "tcp://${zk:missing/ip}:1", "tcp://plain:2"]
    record = {"id": "root", "container": container, "services": urls}
    cluster.observer.create(
        f"{paths.amq_group(cluster.group)}/0", json.dumps(record).encode(), ephemeral=True, sequential=True
    )
    wait_until(lambda: cluster.seen == [("tcp://10.0.0.7:61616", "tcp://plain:2")])


def test_zookeeper_outage_moves_nothing(zookeeper_factory: Callable[[], ZooKeeperForTests]) -> None:
    """ZooKeeper is killed and comes back: nobody steps down, nobody takes over, clients keep the url (P6)."""
    server = zookeeper_factory()
    with contextlib.ExitStack() as stack:
        cluster = Cluster(server, "outage", stack)
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
        cluster = Cluster(server, "outage", stack)
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
