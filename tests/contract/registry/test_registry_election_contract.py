"""Groups, elections and discovery over every registry."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator

import pytest
from support.brokers import BROKER, Cluster
from support.waiting import wait_until
from support.worlds import World, expire

from registry import paths
from registry.roles import Role


@pytest.fixture
def cluster(world: World, unique_name: str) -> Iterator[Cluster]:
    """A group of the test's own."""
    with contextlib.ExitStack() as stack:
        yield Cluster(world, unique_name, stack)


def test_first_is_master_second_is_slave(cluster: Cluster) -> None:
    """Who joins first is master and publishes; the next is a slave; both in the original's layout."""
    a = cluster.add("a", Role.MASTER)
    b = cluster.add("b", Role.SLAVE)
    wait_until(lambda: cluster.seen == [(a.url,)])
    wait_until(lambda: b.election.other_serves)
    assert not a.election.other_serves
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
    wait_until(lambda: cluster.told == (b.url,))


def test_expired_master_comes_back_as_slave(cluster: Cluster) -> None:
    """A master whose session expired while a slave lived steps down, seeing the new master ahead of it."""
    a = cluster.add("a", Role.MASTER)
    b = cluster.add("b", Role.SLAVE)
    expire(cluster.world, a.session)
    wait_until(lambda: (a.role, b.role) == (Role.SLAVE, Role.MASTER))
    wait_until(lambda: cluster.containers() == ["b", "a"])
    assert len(a.reasons) == 1
    assert "b (" in a.reasons[0]


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
    broker = cluster.start("a")
    wait_until(lambda: broker.role is Role.MASTER)
    wait_until(lambda: cluster.told == ("tcp://h:1", broker.url))
    assert "00000000000 is ignored" in caplog.text


def test_a_lower_ready_member_makes_the_master_step_down(cluster: Cluster) -> None:
    """A master that sees another ready member with its id ahead of it steps down."""
    group = paths.amq_group(cluster.group)
    record = {"id": BROKER, "container": "x", "ready": False, "services": []}
    path = cluster.observer.create(f"{group}/0", json.dumps(record).encode(), ephemeral=True, sequential=True)
    broker = cluster.start("a")
    wait_until(lambda: broker.role is Role.MASTER)
    wait_until(lambda: cluster.told == (broker.url,))
    cluster.observer.set(path, json.dumps(record | {"ready": True}).encode())
    wait_until(lambda: broker.role is Role.SLAVE)
    wait_until(lambda: cluster.told == ())


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
        wait_until(lambda slave=slave: cluster.told == (slave.url,))
        delays.append(slave.taken_over_at[0] - died_at)
        master = slave
    logging.getLogger(__name__).info("take-over delays in ms: %s", [round(d * 1000, 1) for d in delays])
    assert cluster.containers() == ["c5"]


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
