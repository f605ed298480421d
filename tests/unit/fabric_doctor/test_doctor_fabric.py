"""Planted faults of a fabric: its registry, clocks, stores, versions and profiles."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.doctor import SERVER, only, scene, states
from support.memory_session import MemorySession

from fabric.bootstrap import write_first_content
from fabric.crypt import KeyFile, MasterKey, MasterKeys
from fabric.doctor import certificates, clocks, configuration, ensemble, ports, secrets, software, stores
from fabric.doctor.clocks import verdict_of
from fabric.doctor.model import State, Verdict
from fabric.encrypted import placeholder
from fabric.ensemble_health import ServerHealth
from fabric.facts import StoreFacts, read_facts, write_facts
from fabric.home import RegistryAddress
from fabric.profiles import Profile
from fabric.software import SOFTWARE
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.channel import PLAIN, ChannelSettings

OK, WARNING, PROBLEM, NOT_CHECKED = State.OK, State.WARNING, State.PROBLEM, State.NOT_CHECKED


@pytest.fixture
def session() -> MemorySession:
    """A fabric with a root container."""
    session = MemorySession()
    write_first_content(session)
    ContainerStore(session).create("root", profiles=["fabric"], version="1.0")
    return session


def connect(session: MemorySession, name: str, *, started_at: float = 0.0) -> None:
    """A container that runs."""
    if not ContainerStore(session).exists(name):
        ContainerStore(session).create(name, profiles=["default"], version="1.0", parent="root")
    alive = {"pid": 1, "host": f"host-{name}", "started_at": started_at}
    session.create(paths.container_alive(name), json.dumps(alive).encode(), ephemeral=True)
    session.put(paths.container_provision(name, "result"), b"success")


def tell(session: MemorySession, name: str, *found: StoreFacts, clock_s: float = 0.0) -> None:
    """What a container says about its host."""
    write_facts(session, name, f"host-{name}", found, lambda: clock_s)  # type: ignore[arg-type]  # a fake


@pytest.mark.parametrize(
    ("ahead_s", "doubt_s", "state"),
    [(0.0, 0, OK), (0.9, 0, OK), (-2.0, 0, WARNING), (2.0, 0, WARNING), (-3600, 0, PROBLEM), (7, 6.5, OK)],
)
def test_what_a_clock_means(ahead_s: float, doubt_s: float, state: State) -> None:
    """Seconds are warned of, more is a problem, and what the way of asking may have cost does not count."""
    assert verdict_of("The clock", ahead_s, doubt_s).state is state


def test_this_hosts_clock(tmp_path: Path, session: MemorySession) -> None:
    """It is compared with the time of a znode, which is gone afterwards."""
    found = list(clocks.zookeeper_clock(scene(tmp_path, session, now_s=lambda: 0.25)))
    assert states(found) == [OK]
    found = list(clocks.zookeeper_clock(scene(tmp_path, session, now_s=lambda: 3600.0)))
    assert "3600.0 s ahead" in only(found, PROBLEM).what
    assert session.children(paths.doctor_clocks()) == []


def test_other_hosts_clocks(tmp_path: Path, session: MemorySession) -> None:
    """They are as their containers told them; containers that are gone do not count."""
    assert states(clocks.container_clocks(scene(tmp_path, session))) == [OK]
    connect(session, "root")
    connect(session, "late")
    tell(session, "root", clock_s=0.1)
    tell(session, "late", clock_s=-90.0)
    tell(session, "gone", clock_s=-90.0)
    found = list(clocks.container_clocks(scene(tmp_path, session)))
    assert "host host-late is 90.0 s behind" in only(found, PROBLEM).what
    assert states(found).count(OK) == 1


def test_facts_that_cannot_be_understood_are_left_out(session: MemorySession) -> None:
    """A later version may write others."""
    tell(session, "good", StoreFacts("g", "b", "/d", "abc"), clock_s=5.0)
    for name, data in (("bad", b"{"), ("list", b"[]"), ("half", b'{"stores": [{}]}')):
        session.put(paths.container_facts(name), data)
    assert list(read_facts(session)) == ["good"]  # type: ignore[arg-type]  # a fake
    assert read_facts(session)["good"].stores[0].id == "abc"  # type: ignore[arg-type]  # a fake


def test_stores_of_one_broker_that_differ(tmp_path: Path, session: MemorySession) -> None:
    """Different directories on two hosts lose messages at a failover: that is found before."""
    for name in ("one", "two"):
        connect(session, name)
    tell(session, "one", StoreFacts("g", "b", "/shared", "aaa"), clock_s=100.0)
    tell(session, "two", StoreFacts("g", "b", "/shared", "aaa"), clock_s=100.0)
    assert states(stores.same_directory(scene(tmp_path, session))) == [OK]
    tell(session, "two", StoreFacts("g", "b", "/shared", "bbb"), clock_s=100.0)
    assert "two on host-two has bbb" in only(stores.same_directory(scene(tmp_path, session)), PROBLEM).what
    tell(session, "two", StoreFacts("g", "b", "/shared"), clock_s=100.0)
    assert "an empty directory" in only(stores.same_directory(scene(tmp_path, session)), PROBLEM).what
    tell(session, "two", StoreFacts("g", "b", "/shared", problem="cannot read it"), clock_s=100.0)
    assert "cannot read it" in only(stores.same_directory(scene(tmp_path, session)), PROBLEM).what


def test_a_new_store_that_is_not_claimed_yet(tmp_path: Path, session: MemorySession) -> None:
    """A container that has just started may have looked before the first master claimed it."""
    connect(session, "one")
    connect(session, "two", started_at=95.0)
    tell(session, "one", StoreFacts("g", "b", "/shared", "aaa"), clock_s=100.0)
    tell(session, "two", StoreFacts("g", "b", "/shared"), clock_s=100.0)
    assert PROBLEM not in states(stores.same_directory(scene(tmp_path, session)))


def test_two_brokers_in_one_directory(tmp_path: Path, session: MemorySession) -> None:
    """Each would fence the other."""
    connect(session, "one")
    tell(session, "one", StoreFacts("g", "b", "/d", "aaa"), StoreFacts("g", "c", "/d", "aaa"))
    assert "g/b, g/c" in only(stores.shared_by_strangers(scene(tmp_path, session)), WARNING).what
    tell(session, "one", StoreFacts("g", "b", "/d", "aaa"), StoreFacts("g", "c", "/e", "ccc"))
    assert states(stores.shared_by_strangers(scene(tmp_path, session))) == [OK]


def test_versions_that_differ(tmp_path: Path, session: MemorySession) -> None:
    """A container that was not restarted after an upgrade is named, with the command that does it."""
    for name in ("root", "old"):
        connect(session, name)
        tell(session, name)
    host = scene(tmp_path, session)
    host.home.container("old").make()
    assert states(software.fabric_versions(host)) == [OK]
    facts = json.loads(session.get(paths.container_facts("old")).data)
    session.put(paths.container_facts("old"), json.dumps({**facts, "software": "0.0.1"}).encode())
    found = list(software.fabric_versions(scene(tmp_path, session)))
    assert states(found) == [WARNING, WARNING]
    assert f"0.0.1: old; {SOFTWARE}: root" in found[0].what
    assert found[1].do_next.endswith("fabric container-restart old")


def test_a_registry_that_cannot_be_reached(tmp_path: Path, session: MemorySession) -> None:
    """With a fabric it is a problem; without one there is nothing to reach."""
    assert states(ensemble.reachable(scene(tmp_path, no_registry="No fabric"))) == [NOT_CHECKED]
    host = scene(tmp_path, no_registry="It does not answer.")
    host.home.write_registry_address(RegistryAddress("zk:2181", "secret"))
    assert "It does not answer." in only(ensemble.reachable(host), PROBLEM).what
    assert states(ensemble.reachable(scene(tmp_path, session))) == [OK]


@pytest.mark.parametrize(
    ("channel", "state", "text"),
    [
        (PLAIN, OK, "without TLS."),
        (ChannelSettings(sasl_user="shop"), OK, "without TLS, with a login as shop (SASL)."),
        (ChannelSettings(tls=True), OK, "by TLS; its servers are trusted by the authorities of this system."),
        (
            ChannelSettings(tls=True, ca="/ca.pem", any_host_name=True),
            WARNING,
            "whatever name its certificate",
        ),
    ],
)
def test_how_zookeeper_is_talked_to(
    tmp_path: Path, session: MemorySession, channel: ChannelSettings, state: State, text: str
) -> None:
    """It is said; a name that nobody compares is warned of."""
    session.channel = channel
    assert text in only(ensemble.channel(scene(tmp_path, session)), state).what


def server(address: str, mode: str, version: str = "3.8.0", outstanding: int = 0) -> ServerHealth:
    """One of an ensemble."""
    return ServerHealth(address, mode, "0", 1, 1, outstanding, version)


@pytest.mark.parametrize(
    ("servers", "state", "text"),
    [
        ([SERVER], OK, "standalone"),
        ([server("a", "leader"), server("b", "follower"), server("c", "follower")], OK, "leader"),
        ([server("a", "leader"), server("b", "follower")], WARNING, "odd"),
        ([server("a", "follower"), server("b", "follower"), server("c", "follower")], PROBLEM, "no leader"),
        ([server("a", "leader"), server("b", "leader"), server("c", "follower")], PROBLEM, "2 leaders"),
        ([server("a", "standalone"), server("b", "leader"), server("c", "follower")], PROBLEM, "on its own"),
        (
            [server("a", "leader", "3.9.0"), server("b", "follower"), server("c", "follower")],
            WARNING,
            "3.9.0",
        ),
        ([server("a", "standalone", outstanding=5000)], WARNING, "5000 requests"),
        ([ServerHealth("a", problem="It does not answer.")], PROBLEM, "does not answer"),
    ],
)
def test_servers_of_the_ensemble(
    tmp_path: Path, session: MemorySession, servers: list[ServerHealth], state: State, text: str
) -> None:
    """Each server is looked at, and all together."""
    found = list(ensemble.servers(scene(tmp_path, session, servers=lambda url, channel: servers)))
    worst = [verdict for verdict in found if verdict.state is state]
    assert any(text in f"{verdict.what} {verdict.do_next}" for verdict in worst), found
    if state is OK:
        assert set(states(found)) == {OK}


def test_profiles_that_cannot_be_used(tmp_path: Path, session: MemorySession) -> None:
    """A missing parent and a broker that cannot be read are found before a container is given them."""
    assert states(configuration.profiles(scene(tmp_path, session))) == [OK]
    session.put(paths.profile("1.0", "orphan"), b"parents: [nowhere]\n")
    pid = "io.fabric8.mq.fabric.server-b"
    ProfileStore(session).create(Profile("wrong", configuration={pid: {"kind": "Nonsense"}}), "1.0")
    found = list(configuration.profiles(scene(tmp_path, session)))
    assert states(found).count(PROBLEM) == 2
    assert "nowhere" in found[0].what
    assert "Nonsense" in found[1].what


def test_containers_with_profiles_that_are_not_there(tmp_path: Path, session: MemorySession) -> None:
    """Neither the profile nor the version of a container may be missing."""
    assert states(configuration.assigned(scene(tmp_path, session))) == [OK]
    session.put(paths.version_container("1.0", "root"), b"fabric lost")
    assert "profile lost" in only(configuration.assigned(scene(tmp_path, session)), PROBLEM).what
    session.put(paths.config_container("root"), b"9.9")
    assert "version 9.9" in only(configuration.assigned(scene(tmp_path, session)), PROBLEM).what


def test_containers_that_are_not_as_asked(tmp_path: Path, session: MemorySession) -> None:
    """What the page of health says is said here too."""
    connect(session, "root")
    assert states(configuration.as_asked(scene(tmp_path, session))) == [OK]
    session.put(paths.container_provision("root", "exception"), b"no such connector")
    session.put(paths.container_provision("root", "result"), b"error")
    assert "no such connector" in only(configuration.as_asked(scene(tmp_path, session)), PROBLEM).what


def test_secrets_that_this_host_cannot_read(tmp_path: Path, session: MemorySession) -> None:
    """Without the master key, or with another one; and those that anybody can read are warned of."""
    host = scene(tmp_path, session)
    host.home.container("root").make()
    assert states(secrets.decryptable(host)) == [OK]
    assert states(secrets.in_the_clear(host)) == [OK]
    key = KeyFile(host.home.master_key)
    key.write(MasterKeys([MasterKey.generate()]))
    text = placeholder(key.read().encrypt("s3cr3t"))
    ProfileStore(session).create(Profile("sealed", configuration={"a.pid": {"password": text}}), "1.0")
    ContainerStore(session).add_profiles("root", ["sealed"])

    def verdicts() -> list[Verdict]:
        return list(secrets.decryptable(scene(tmp_path, session)))

    assert states(verdicts()) == [OK]
    key_id = key.read().first.id
    host.home.master_key.unlink()
    assert "cannot run a.pid" in only(verdicts(), PROBLEM).what
    assert states(verdicts()) == [PROBLEM, OK]
    ContainerStore(session).remove_profiles("root", ["sealed"])
    warned = only(verdicts(), WARNING)
    assert key_id in warned.what
    assert "crypt-import" in warned.do_next
    host.home.master_key.write_text("nothing")
    assert "is open to others" in only(verdicts(), WARNING).what
    session.put(paths.profile("1.0", "damaged"), b"[")
    assert states(verdicts()) == [OK], "a damaged profile is another check's business"
    session.delete(paths.profile("1.0", "damaged"))
    ContainerStore(session).add_profiles("root", ["sealed"])
    key.write(MasterKeys([MasterKey.generate()]))
    assert "cannot run a.pid" in only(verdicts(), PROBLEM).what
    ProfileStore(session).create(Profile("open", configuration={"a.pid": {"password": "s3cr3t"}}), "1.0")
    said = only(secrets.in_the_clear(host), WARNING)
    assert "open of version 1.0 (password)" in said.what
    assert "s3cr3t" not in said.what


def test_certificates_that_brokers_are_given(tmp_path: Path, session: MemorySession) -> None:
    """A key store that a profile names is looked at, and missed."""
    pid = "io.fabric8.mq.fabric.server-b"
    values = {"broker-name": "b", "ssl.keyStore": "${fabric.data}/own.pem"}
    ProfileStore(session).create(Profile("secure", configuration={pid: values}), "1.0")
    ContainerStore(session).add_profiles("root", ["secure"])
    host = scene(tmp_path, session)
    host.home.container("root").make()
    assert f"{host.home.data}/own.pem" in only(certificates.expiry(host), PROBLEM).what
    assert [store.broker for store in host.stores] == ["b"]


def test_ports_of_containers(tmp_path: Path, session: MemorySession) -> None:
    """A published port that nobody listens on, and a range that is used up."""
    connect(session, "root")
    fields = {"http": "http://127.0.0.1:8181", "minimumport": "20000", "maximumport": "20009"}
    for name, value in fields.items():
        ContainerStore(session).set_field("root", name, value)

    def host(*free: int) -> Any:
        made = scene(tmp_path, session, port_is_free=lambda address, port: port in free)
        made.home.container("root").make()
        return made

    assert states(ports.services(host())) == [OK]
    assert "Nobody listens on port 8181" in only(ports.services(host(8181)), PROBLEM).what
    assert states(ports.ranges(host())) == [PROBLEM]
    assert states(ports.ranges(host(20000, 20001))) == [WARNING]
    assert states(ports.ranges(host(*range(20000, 20010)))) == [OK]
