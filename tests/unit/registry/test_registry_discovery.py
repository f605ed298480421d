"""What clients are told of a group, step by step."""

import json

import pytest
from support.fake_zookeeper import FakeZooKeeper
from support.pump import Pump

from registry import paths
from registry.discovery import DiscoveryView, Master, groups_with_members
from registry.errors import RegistryUnavailable
from registry.session import Session

GROUP = paths.amq_group("g")


class Scene:
    """A group whose members one session owns, and a client's view of it."""

    def __init__(self, **options: object) -> None:
        self.pump = Pump()
        self.zookeeper = FakeZooKeeper()
        self.members = self.pump.open_session(self.zookeeper)
        self.session: Session = self.pump.open_session(self.zookeeper)
        self.told: list[tuple[str, ...]] = []
        self.view = DiscoveryView(self.session, "g", self.told.append, **options)
        self.view.start()
        self.pump.run()

    def join(self, container: str, *services: str, broker_id: str = "b", ready: bool = True) -> str:
        """Add a member; return its path."""
        record = {"id": broker_id, "container": container, "ready": ready, "services": services}
        path = self.members.create(f"{GROUP}/0", json.dumps(record).encode(), ephemeral=True, sequential=True)
        self.pump.run()
        return path

    def leave(self, path: str) -> None:
        """Remove a member."""
        self.members.delete(path)
        self.pump.run()


def test_nothing_is_told_of_an_empty_group() -> None:
    """A group without members, or without a znode, tells nothing."""
    assert Scene().told == []


def test_master_leaves_while_its_slave_is_there() -> None:
    """The url of a master that left is dropped at once when somebody else shows that the registry works."""
    scene = Scene()
    master = scene.join("m", "tcp://h:1", "mqtt://h:2")
    scene.join("s")
    scene.leave(master)
    assert scene.told == [("tcp://h:1",), ()]
    assert scene.view.urls == ()


def test_last_member_leaves() -> None:
    """The url of the last member is kept: an empty group says nothing about its brokers."""
    scene = Scene()
    scene.leave(scene.join("m", "tcp://h:1"))
    assert scene.told == [("tcp://h:1",)]
    scene.join("m", "tcp://h:1", ready=False)
    assert scene.told == [("tcp://h:1",)]
    scene.join("s")
    assert scene.told == [("tcp://h:1",), ()]


def test_all_brokers_of_the_group_in_the_order_of_joining() -> None:
    """Every broker id gives its first member's urls, each url once."""
    scene = Scene()
    scene.join("m", "tcp://h:1", "ssl://h:2", broker_id="x")
    scene.join("n", "tcp://h:3", "tcp://h:1", broker_id="y")
    scene.join("o", "tcp://h:4", broker_id="x")
    assert scene.told[-1] == ("tcp://h:1", "ssl://h:2", "tcp://h:3")


def test_only_one_broker() -> None:
    """A view of one broker ignores the others, but takes their presence for a working registry."""
    scene = Scene(broker_id="x")
    master = scene.join("m", "tcp://h:1", broker_id="x")
    scene.join("n", "tcp://h:3", broker_id="y")
    assert scene.told == [("tcp://h:1",)]
    scene.leave(master)
    assert scene.told == [("tcp://h:1",), ()]


def test_other_schemes() -> None:
    """A client of another protocol asks for its own schemes."""
    scene = Scene(schemes=["mqtt"])
    scene.join("m", "tcp://h:1", "mqtt://h:2", "mqtt+ssl://h:3", "nonsense")
    assert scene.told == [("mqtt://h:2",)]


def test_outage_keeps_what_is_known() -> None:
    """During an outage everything is kept; after it only what has changed is told."""
    scene = Scene()
    master = scene.join("m", "tcp://h:1")
    scene.join("s")
    scene.zookeeper.stop()
    scene.pump.run()
    assert scene.told == [("tcp://h:1",)]
    scene.zookeeper.start()
    scene.pump.run()
    assert scene.told == [("tcp://h:1",)]
    scene.leave(master)
    assert scene.told == [("tcp://h:1",), ()]


def test_master_moves_during_an_outage() -> None:
    """What moved while the client was cut off is told when it is back, in one step."""
    scene = Scene()
    master = scene.join("m", "tcp://h:1")
    slave = scene.join("s")
    for client in list(scene.zookeeper.sessions.values()):
        if client.session_id == scene.session.session_id:
            client.lose_connection()
    scene.members.delete(master)
    record = {"id": "b", "container": "s", "services": ["tcp://h:2"]}
    scene.members.set(slave, json.dumps(record).encode())
    scene.pump.run()
    assert scene.told == [("tcp://h:1",)]
    scene.zookeeper.start()
    scene.pump.run()
    assert scene.told == [("tcp://h:1",), ("tcp://h:2",)]


def test_close_tells_nothing_more() -> None:
    """After close nothing is told, not even what is on its way."""
    scene = Scene()
    scene.members.create(
        f"{GROUP}/0",
        b'{"id": "b", "container": "m", "services": ["tcp://h:1"]}',
        ephemeral=True,
        sequential=True,
    )
    scene.view.close()
    scene.pump.run()
    scene.join("s", "tcp://h:2")
    assert scene.told == []


@pytest.mark.parametrize("value", ["${zk:m/ip}", "${zk:/fabric/registry/containers/config/m/ip}"])
def test_placeholders_in_a_circle_end(value: str) -> None:
    """A placeholder that leads back to itself gives no url, and the others are told."""
    scene = Scene()
    scene.members.put(paths.container_config_field("m", "ip"), value.encode())
    scene.join("m", "tcp://${zk:m/ip}:1", "tcp://h:2")
    assert scene.told == [("tcp://h:2",)]


def test_change_while_a_placeholder_is_looked_up() -> None:
    """An address looked up for a member that has left meanwhile is not told."""
    scene = Scene()
    scene.members.put(paths.container_config_field("m", "ip"), b"10.0.0.1")
    scene.members.create(
        f"{GROUP}/0",
        b'{"id": "b", "container": "m", "services": ["tcp://${zk:m/ip}:1"]}',
        ephemeral=True,
        sequential=True,
    )
    while scene.pump.posted and scene.view._view._round == 0:
        scene.pump.posted.pop(0)()
    scene.members.delete(f"{GROUP}/00000000000")
    scene.join("s", "tcp://h:2")
    assert scene.told[-1] == ("tcp://h:2",)


def test_masters_whose_urls_are_not_told() -> None:
    """Who asks why there is no url sees all masters of the group."""
    scene = Scene(broker_id="x")
    scene.join("m", "mqtt://h:1", broker_id="x")
    scene.join("n", broker_id="y")
    assert scene.told == []
    assert scene.view.masters == (Master("x", "m", ("mqtt://h:1",)), Master("y", "n", ()))


def test_groups_that_have_members() -> None:
    """A group whose brokers have all left is not among them."""
    scene = Scene()
    assert groups_with_members(scene.session) == []
    scene.leave(scene.join("m"))
    scene.members.put(f"{paths.amq_group('other')}/0", b"{}")
    assert groups_with_members(scene.session) == ["other"]
    scene.zookeeper.stop()
    scene.pump.run()
    with pytest.raises(RegistryUnavailable):
        groups_with_members(scene.session)
