"""Moving containers and leaving a fabric, against a registry in memory and hosts that obey at once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_reactor import FakeReactor
from support.fake_zookeeper import FakeZooKeeper

import fabric.leave
from fabric.bootstrap import write_first_content
from fabric.children import Children
from fabric.errors import NoFabric
from fabric.home import Home, RegistryAddress
from fabric.leave import HasChildren, LeavesElsewhere, RunsZooKeeper, leave_fabric, own_root
from fabric.lifecycle import Lifecycle, ParentDown
from fabric.move import CannotMove, StoreNotShared, move_container
from fabric.records import DesiredState, Provision
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.session import Session
from registry.stores import note_store

ADDRESSES = {"root": "10.0.0.1", "east": "10.0.0.2"}


@pytest.fixture
def session() -> Session:
    """A fabric of two hosts; `child` runs on the first."""
    session = Session("fake:1", "x", post=lambda call: call(), client_factory=FakeZooKeeper().client)
    session.start()
    write_first_content(session)
    store = ContainerStore(session)
    for name, address in ADDRESSES.items():
        fields = {"localip": address, "bindaddress": address, "resolver": "localip"}
        store.create(name, profiles=["default"], version="1.0", fields=fields)
        session.create(paths.container_alive(name), b"{}")
    fields = {**store.fields("root"), "manualip": "1.2.3.4", "http": "http://10.0.0.1", "host": "one"}
    store.create("child", profiles=["default"], version="1.0", parent="root", fields=fields)
    obey(session, "child")
    return session


def obey(session: Session, name: str) -> None:
    """Let a container be what it is asked to be."""
    store = ContainerStore(session)

    def follow(data: bytes | None) -> None:
        del data
        if store.desired(name) is DesiredState.STARTED:
            session.put(paths.container_alive(name), b"{}")
            store.set_provision(name, Provision("success"))
        else:
            session.delete(paths.container_alive(name), missing_ok=True)
            store.set_provision_result(name, "stopped")

    for field in ("desired", "parent"):
        session.watch_data(paths.container_config_field(name, field), follow)


@pytest.fixture
def move(session: Session, tmp_path: Path) -> Callable[..., list[str]]:
    """Move a container; return what was said."""

    def run(name: str, parent: str, *, force: bool = False) -> list[str]:
        said: list[str] = []
        move_container(
            session, Lifecycle(session, Home(tmp_path)), name, parent, force=force, say=said.append
        )
        return said

    return run


def test_a_container_is_handed_over_stopped(session: Session, move: Callable[..., list[str]]) -> None:
    """It has its new host's address, and nothing that told where it was."""
    seen: list[tuple[bytes | None, bool]] = []
    session.watch_data(
        paths.container_config_field("child", "parent"),
        lambda parent: seen.append((parent, session.exists(paths.container_alive("child")))),
    )
    assert move("child", "east") == ["Stopping container child at root", "Starting container child at east"]
    assert seen == [(b"root", True), (b"east", False)]
    record = ContainerStore(session).get("child")
    assert record.connected
    assert record.parent == "east"
    assert record.fields["localip"] == "10.0.0.2"
    assert record.fields["ip"] == "${zk:child/localip}"
    assert not {"manualip", "http", "host"} & record.fields.keys()


def test_a_stopped_container_stays_so(session: Session, move: Callable[..., list[str]]) -> None:
    """Only its place changes."""
    ContainerStore(session).set_desired("child", DesiredState.STOPPED)
    move("child", "east")
    record = ContainerStore(session).get("child")
    assert (record.parent, record.connected, record.desired) == ("east", False, DesiredState.STOPPED)


def test_a_container_of_a_lost_host_moves(session: Session, move: Callable[..., list[str]]) -> None:
    """Nobody is there who could say that it has stopped."""
    for name in ("root", "child"):
        session.delete(paths.container_alive(name))
    assert "not connected, nor is its host" in move("child", "east")[0]
    assert ContainerStore(session).get("child").parent == "east"


def test_what_cannot_be_moved(session: Session, move: Callable[..., list[str]]) -> None:
    """A root container, to where it is, to a host that is down: nothing changes."""
    for name, parent, error in (("east", "root", CannotMove), ("child", "root", CannotMove)):
        with pytest.raises(error):
            move(name, parent)
    session.delete(paths.container_alive("east"))
    with pytest.raises(ParentDown):
        move("child", "east")
    assert session.exists(paths.container_alive("child"))


def test_a_broker_is_moved_to_where_its_store_was_seen(
    session: Session, move: Callable[..., list[str]]
) -> None:
    """Or with force; its own check of the store follows there."""
    ContainerStore(session).add_profiles("child", ["mq-default"])
    assert ProfileStore(session).exists("mq-default", "1.0")
    note_store(session, "default", "broker", "a" * 32, place="root", seen_at="/x")
    with pytest.raises(StoreNotShared, match="broker broker keeps its messages in"):
        move("child", "east")
    assert ContainerStore(session).get("child").parent == "root"
    move("child", "east", force=True)
    note_store(session, "default", "broker", "a" * 32, place="east", seen_at="/x")
    move("child", "root")
    move("child", "east")


def test_a_parent_lets_go_of_a_child_that_was_moved(tmp_path: Path) -> None:
    """Its process, should one be there, ends; the folder is left to the stores. It takes it back, too."""
    reactor = FakeReactor()
    client = FakeZooKeeper().client
    session = Session("fake:1", "x", post=reactor.callFromThread, client_factory=client)
    session.start()
    home = Home(tmp_path)
    field = paths.container_config_field("child", "parent")
    session.put(field, b"root")
    children = Children(reactor, session, home, "root")
    children.start()
    reactor.turn()
    assert children.names() == ["child"]
    session.put(field, b"east")
    reactor.turn()
    assert children.names() == []
    assert not home.container("child").path.exists()
    session.put(field, b"root")
    reactor.turn()
    assert children.names() == ["child"]
    children.release()


def test_a_host_leaves_with_what_it_may_take(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its root container is the one that is meant; children need force, a part of the registry stays."""
    home = Home(tmp_path)
    with pytest.raises(NoFabric):
        own_root(home, None)
    home.make()
    home.write_registry_address(RegistryAddress("h:1", "x"))
    home.write_root_name("root")
    assert own_root(home, None) == own_root(home, "root") == "root"
    with pytest.raises(LeavesElsewhere, match="not the root container of this host, which is root"):
        own_root(home, "east")
    lifecycle = Lifecycle(session, home)
    session.put(paths.ensemble(), b"0000")
    session.put(paths.ensemble_members("0000"), b"root,east")
    with pytest.raises(RunsZooKeeper):
        leave_fabric(home, lifecycle, "root", force=True, say=print)
    session.put(paths.ensemble_members("0000"), b"east")
    with pytest.raises(HasChildren, match="child"):
        leave_fabric(home, lifecycle, "root", force=False, say=print)
    obey(session, "root")
    monkeypatch.setattr(fabric.leave, "stop_process", lambda container: True)
    leave_fabric(home, lifecycle, "root", force=True, say=print)
    assert ContainerStore(session).names() == ["east"]
    assert not home.has_fabric()
