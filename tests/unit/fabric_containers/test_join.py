"""Joining a fabric, without processes: what is written, what is refused, what is undone."""

from pathlib import Path

import pytest
from support.fake_zookeeper import FakeZooKeeper

import fabric.join
from fabric.addresses import first_server, host_fields, public_fields
from fabric.bootstrap import write_first_content
from fabric.errors import ContainerNotStarted, FabricError, ProfileNotFound, VersionNotFound
from fabric.home import Home, RegistryAddress
from fabric.join import (
    AlreadyJoined,
    JoinOptions,
    NameTaken,
    NoFabricThere,
    host_name,
    join_fabric,
    joined_fields,
)
from fabric.resolvers import set_global_resolver
from fabric.store import ContainerStore
from registry import paths
from registry.session import Session

REGISTRY = RegistryAddress("127.0.0.1:2181", "secret")


@pytest.fixture
def registry() -> Session:
    """A registry whose callbacks come at once; it holds nothing yet."""
    session = Session("fake:1", "x", post=lambda call: call(), client_factory=FakeZooKeeper().client)
    session.start()
    return session


@pytest.fixture
def fabric_there(registry: Session) -> Session:
    """A registry with a fabric."""
    write_first_content(registry)
    return registry


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The containers whose processes were started."""
    names: list[str] = []
    monkeypatch.setattr(
        fabric.join, "start_process", lambda home, name, is_there, timeout_s: names.append(name)
    )
    return names


def join(home: Home, session: Session, options: JoinOptions) -> list[str]:
    """Join; return what was said."""
    said: list[str] = []
    join_fabric(home, REGISTRY, session, options, said.append)
    return said


def test_the_host_gets_a_root_container(tmp_path: Path, fabric_there: Session, started: list[str]) -> None:
    """It is registered with the default profile and version, and the host knows its registry."""
    home = Home(tmp_path)
    said = join(home, fabric_there, JoinOptions("east", port_min=7000, port_max=7100))
    assert said == ["No version specified, using default version: 1.0", "Waiting for container: east"]
    record = ContainerStore(fabric_there).get("east")
    assert (record.parent, record.profiles, record.version) == (None, ("fabric",), "1.0")
    assert record.fields["bindaddress"] == "127.0.0.1", "the registry is reached over loopback"
    assert record.fields["ip"] == "${zk:east/localip}"
    assert (record.fields["minimumport"], record.fields["maximumport"]) == ("7000", "7100")
    assert record.is_managed
    assert home.read_registry_address() == REGISTRY
    assert home.read_root_name() == "east"
    assert started == ["east"]


def test_a_container_may_be_left_unmanaged(tmp_path: Path, fabric_there: Session, started: list[str]) -> None:
    """With --non-managed its status is not shown: nothing is asked of it."""
    join(Home(tmp_path), fabric_there, JoinOptions("east", is_managed=False))
    record = ContainerStore(fabric_there).get("east")
    assert not record.is_managed
    assert record.status == ""


def test_a_host_joins_one_fabric(tmp_path: Path, fabric_there: Session, started: list[str]) -> None:
    """Who has joined is told so, and how to leave; nothing changes."""
    home = Home(tmp_path)
    join(home, fabric_there, JoinOptions("east"))
    with pytest.raises(AlreadyJoined, match="This container is already connected to a fabric") as refused:
        join(home, fabric_there, JoinOptions("west"))
    assert "fabric container-start east" in refused.value.do_next
    assert ContainerStore(fabric_there).names() == ["east"]


def test_an_ensemble_without_a_fabric_is_refused(tmp_path: Path, registry: Session) -> None:
    """Nothing is written there, nor here."""
    with pytest.raises(NoFabricThere, match="There is no fabric in the ensemble"):
        join(Home(tmp_path), registry, JoinOptions("east"))
    assert not registry.exists(paths.ROOT)
    assert not Home(tmp_path).has_fabric()


@pytest.mark.parametrize("is_up", [False, True])
def test_a_name_that_is_taken(tmp_path: Path, fabric_there: Session, started: list[str], is_up: bool) -> None:
    """A container of that name is replaced with --force only, and never while it is connected."""
    store = ContainerStore(fabric_there)
    store.create("east", profiles=["default"], version="1.0", fields={"localhostname": "old"})
    store.create("child", profiles=["default"], version="1.0", parent="east")
    if is_up:
        fabric_there.create(paths.container_alive("east"), b'{"host": "old"}')
    with pytest.raises(NameTaken) as refused:
        join(Home(tmp_path), fabric_there, JoinOptions("east"))
    assert refused.value.what == (
        "A container with the name: east is already member of the cluster. "
        "You can specify a different name as an argument."
    )
    assert "on host old" in refused.value.do_next
    if is_up:
        with pytest.raises(NameTaken):
            join(Home(tmp_path), fabric_there, JoinOptions("east", force=True))
    else:
        join(Home(tmp_path), fabric_there, JoinOptions("east", force=True))
        assert store.get("east").profiles == ("fabric",)
    assert store.children("east") == ["child"], "they are started here, once the host is up"


def test_what_cannot_be_given_is_refused_before_anything_is_written(
    tmp_path: Path, fabric_there: Session, started: list[str]
) -> None:
    """Unknown profiles, versions and resolvers, and an address that is missing."""
    for options, error in (
        (JoinOptions("east", profiles=("nothing",)), ProfileNotFound),
        (JoinOptions("east", version="9.9"), VersionNotFound),
        (JoinOptions("east", resolver="manualip"), FabricError),
        (JoinOptions("east", resolver="nonsense"), FabricError),
    ):
        with pytest.raises(error):
            join(Home(tmp_path), fabric_there, options)
    assert ContainerStore(fabric_there).names() == []
    assert not Home(tmp_path).has_fabric()


def test_a_container_that_does_not_start_leaves_nothing(
    tmp_path: Path, fabric_there: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record goes, and the host belongs to no fabric: it can be tried again."""

    def fail(*_: object) -> None:
        raise ContainerNotStarted("The process ended.")

    monkeypatch.setattr(fabric.join, "start_process", fail)
    with pytest.raises(ContainerNotStarted):
        join(Home(tmp_path), fabric_there, JoinOptions("east"))
    assert ContainerStore(fabric_there).names() == []
    assert not Home(tmp_path).has_fabric()
    assert not Home(tmp_path).container("east").path.exists()


def test_the_fabrics_resolver_counts_where_none_is_named(fabric_there: Session) -> None:
    """It gives way to a resolver and to an address that are given."""
    set_global_resolver(fabric_there, "localip")
    options = JoinOptions("east", bind_address="0.0.0.0")
    assert joined_fields(options, "127.0.0.1:2181", "localip")["ip"] == "${zk:east/localip}"
    assert joined_fields(options, "127.0.0.1:2181", None)["ip"] == "${zk:east/localhostname}"
    manual = JoinOptions("east", manual_ip="203.0.113.9")
    assert joined_fields(manual, "127.0.0.1:2181", "localip")["ip"] == "${zk:east/manualip}"
    named = JoinOptions("east", resolver="localhostname")
    assert joined_fields(named, "127.0.0.1:2181", "localip")["resolver"] == "localhostname"
    with pytest.raises(FabricError, match="There is no resolver"):
        set_global_resolver(fabric_there, "x")


def test_where_a_joined_host_listens() -> None:
    """Everywhere, but for a fabric that is reached over loopback, or where it is said."""
    assert joined_fields(JoinOptions("e"), "192.0.2.1:2181", None)["bindaddress"] == "0.0.0.0"
    assert joined_fields(JoinOptions("e"), "localhost:2181", None)["bindaddress"] == "127.0.0.1"
    fields = joined_fields(JoinOptions("e", bind_address="127.0.0.3"), "192.0.2.1:2181", None)
    assert (fields["bindaddress"], fields["localip"]) == ("127.0.0.3", "127.0.0.3")


def test_what_a_host_says_of_itself() -> None:
    """Its own names and addresses are facts only where it listens everywhere; loopback says nothing."""
    assert host_fields("127.0.0.2", "zk:2181") == {}
    assert host_fields("0.0.0.0", "127.0.0.1:2181")["localip"] == "127.0.0.1"
    assert public_fields("a.example.org", ["127.0.1.1", "203.0.113.9"]) == {
        "publichostname": "a.example.org",
        "publicip": "203.0.113.9",
    }
    assert public_fields("a", ["127.0.1.1"]) == {}
    assert first_server("[::1]:2182,b:1/x") == ("::1", 2182)
    assert first_server("zk") == ("zk", 2181)


def test_a_host_name_becomes_a_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names must not hold is replaced."""
    for host, name in (("a.example.org", "a"), ("_x y", "x-y"), ("", "host")):
        monkeypatch.setattr(fabric.join.socket, "gethostname", lambda host=host: host)
        assert host_name() == name
