"""How the containers of an ensemble give their ZooKeeper servers other certificates, seen from all of them.

Fault model: an agent dies and another one takes its place, a server is away and comes back or does not, files
are broken or come late; the network between containers and registry is the registry's own server.
"""

import logging
import os
import random
import ssl
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from support.certificates import HOST, Keys, expired
from support.memory_session import MemorySession

from fabric.audit import AuditFile
from fabric.ensembles import ServerState
from fabric.home import RENEWAL_SESSION, Home, ManagedZooKeeper, RegistryAddress, SessionRecord
from fabric.server_renewal import (
    RELOAD_S,
    RESTART_S,
    SESSION_S,
    UNSERVED_S,
    Outcome,
    ServerRenewal,
    Surroundings,
)
from registry import paths
from registry.ensemble import CONFIG
from registry.errors import RegistryUnavailable
from registry.quorum import EnsembleServer
from registry.server_files import ServerFiles, read_material
from registry.session import Node, Session

RESTART_TAKES_S = 2
END = "-----END CERTIFICATE-----"
PATIENCE_S = 120


class Tree(MemorySession):
    """The registry of all, which knows whose its ephemeral znodes are."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[str, int] = {}
        self.sessions = 0

    def end(self, session_id: int) -> None:
        """A session has ended."""
        for path in [path for path, owner in self.owners.items() if owner == session_id]:
            del self.owners[path]
            self.delete(path, missing_ok=True)


class OwnSession:
    """One container's session."""

    def __init__(self, tree: Tree) -> None:
        tree.sessions += 1
        self.session_id = tree.sessions
        self.session_password = b"of the session"
        self.state = tree.state
        self._tree = tree
        for name in ("exists", "children", "set", "put", "delete"):
            setattr(self, name, getattr(tree, name))

    def get_or_none(self, path: str) -> Node | None:
        """Read a znode."""
        node = self._tree.get_or_none(path)
        return None if node is None else replace(node, ephemeral_owner=self._tree.owners.get(path, 0))

    def create(
        self,
        path: str,
        data: bytes = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        make_parents: bool = True,
    ) -> str:
        """Make a znode."""
        made = self._tree.create(path, data, sequential=sequential, make_parents=make_parents)
        if ephemeral:
            self._tree.owners[made] = self.session_id
        return made

    def close(self) -> None:
        """End it."""
        self._tree.end(self.session_id)


class Place:
    """A container with its server and its files."""

    def __init__(self, world: "World", number: int, keys: Keys) -> None:
        self.world = world
        self.name = f"c{number}"
        self.home = Home(world.folder / self.name)
        self.home.make()
        self.home.container(self.name).make()
        self.home.write_registry_address(RegistryAddress("zk:2281", "secret"))
        self.certificate, self.authority = (
            self.home.path / "server-certificate.pem",
            self.home.path / "authority.pem",
        )
        self.server = EnsembleServer(number, HOST, 2000 + number, 3000 + number, "127.0.0.1", 4000 + number)
        self.directory = self.home.path / "zookeeper"
        self.files = ServerFiles(self.directory / "tls")
        self.give(keys)
        self.settings = ManagedZooKeeper(
            5000 + number,
            "127.0.0.1",
            str(self.directory),
            100,
            self.server.line(),
            plain_port=4000 + number,
            certificate=str(self.certificate),
            authority=str(self.authority),
        )
        self.back_at_s: float | None = None
        self.is_lost = False
        self.serves = True
        self.restarts = 0
        self.shown = b""
        self.begin()
        self.agent = self.new_agent()

    def give(self, keys: Keys, *, authority: bool = True, certificate: bool = True) -> None:
        """Put new files down."""
        if certificate:
            replaced = self.certificate.with_suffix(".new")
            replaced.write_bytes(keys.sign(f"server-{random.random()}", HOST).read_bytes())
            replaced.replace(self.certificate)
        if authority:
            self.authority.write_bytes(keys.trust.read_bytes())

    def new_agent(self) -> ServerRenewal:
        """Another process of the container."""
        world = self.world
        around = Surroundings(
            world.open_session, world.end_session, world.mode, world.shown, lambda: world.now_s
        )
        return ServerRenewal(self.home, self.name, self.settings, around)

    def begin(self) -> None:
        """The server's process begins."""
        self.directory.mkdir(exist_ok=True)
        self.files.prepare(self.certificate, self.authority, HOST)
        (self.directory / "zoo.cfg").write_text(f"x={self.files.certificate}\n")
        (self.directory / "server.pid").write_text("1\n")
        installed = self.files.installed()
        assert installed is not None
        self.shown = installed.leaf

    @property
    def trusted(self) -> list[str]:
        """Whom the server trusts."""
        installed = self.files.installed()
        assert installed is not None
        return list(installed.trusted)

    @property
    def is_current(self) -> bool:
        """Whether clients see what lies there."""
        text = self.certificate.read_text()
        return self.shown == ssl.PEM_cert_to_DER_cert(text[: text.index(END) + len(END)])


class World:
    """Some servers, and the time."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.now_s = 0.0
        self.tree = Tree()
        self.keys = Keys(folder / "keys")
        self.expiring: dict[int, float] = {}
        self.reads_for_clients = False
        self.useless: set[bytes] = set()
        """Certificates that no server serves with, though they look good."""
        self.leader = 1
        self.places = [Place(self, number, self.keys) for number in range(1, count + 1)]
        self.tree.put(CONFIG, "\n".join(place.server.line() for place in self.places).encode())
        for place in self.places:
            state = ServerState(place.server.line(), f"{place.name}:{place.settings.port}")
            self.tree.put(paths.ensemble_server_state(place.name), state.to_bytes())
        self.order: list[str] = []

    def _at(self, port: int) -> Place:
        return self.places[port % 1000 - 1]

    def open_session(self, port: int, password: str) -> Session:
        """A session with a server."""
        if not self._at(port).serves:
            raise RegistryUnavailable("Nobody answers.")
        assert password == "secret"
        return cast(Session, OwnSession(self.tree))

    def end_session(self, port: int, left: SessionRecord) -> None:
        """A session that a dead process has left."""
        if not self._at(port).serves:
            raise RegistryUnavailable("Nobody answers.")
        assert left.password == b"of the session"
        self.tree.end(left.session_id)

    def mode(self, address: tuple[str, int], tls: bool) -> str:
        """How a server is."""
        place = self._at(address[1])
        assert tls == (address[1] >= 5000)
        if not place.serves:
            return ""
        return "leader" if place.server.id == self.leader else "follower"

    def shown(self, address: tuple[str, int]) -> bytes | None:
        """What a server shows; to other servers it shows what is installed now."""
        place = self._at(address[1])
        installed = place.files.installed()
        assert installed is not None
        if address[1] < 4000 or self.reads_for_clients:
            return installed.leaf
        return place.shown if place.serves else None

    def tick(self, *, agents: bool = True) -> None:
        """A second passes."""
        self.now_s += 1
        for session_id, at_s in list(self.expiring.items()):
            if self.now_s >= at_s:
                self.tree.end(session_id)
                del self.expiring[session_id]
        for place in self.places:
            if place.back_at_s is not None and self.now_s >= place.back_at_s and not place.is_lost:
                place.back_at_s = None
                place.begin()
                place.serves = place.shown not in self.useless
        if agents:
            for place in self.places:
                self.step(place)

    def step(self, place: Place) -> None:
        """The container looks."""
        if place.agent.step() is Outcome.RESTART:
            others = [one for one in self.places if one is not place]
            assert not place.serves or all(one.serves for one in others), "two would be away"
            self.order.append(place.name)
            place.restarts += 1
            place.serves, place.back_at_s = False, self.now_s + RESTART_TAKES_S
            if place.server.id == self.leader and others:
                self.leader = others[0].server.id

    def run(self, seconds: float) -> None:
        """Time passes."""
        for _ in range(int(seconds)):
            self.tick()

    def run_until_current(self) -> None:
        """Time passes until all show what lies there, and nobody has anything to do."""
        for _ in range(PATIENCE_S):
            self.tick()
            if all(place.serves and place.is_current for place in self.places) and not self.tree.owners:
                return
        raise AssertionError([(place.name, place.agent.notice) for place in self.places])

    def kill_agent(self, place: Place) -> None:
        """A container's process is killed, and another one begins; its session ends later."""
        for path, owner in self.tree.owners.items():
            if path.endswith(place.name) or self.tree.get(path).data == place.name.encode():
                self.expiring[owner] = self.now_s + SESSION_S
        place.agent = place.new_agent()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three servers that have settled; the first one leads."""
    world = World(tmp_path, 3)
    world.run(3)
    assert not world.order
    return world


def test_one_after_the_other_and_the_leader_last(world: World) -> None:
    """All are restarted once, and it is written down."""
    for place in world.places:
        place.give(world.keys)
    world.run_until_current()
    assert sorted(world.order) == ["c1", "c2", "c3"]
    assert world.order[-1] == "c1"
    for place in world.places:
        (entry,) = AuditFile(place.home.audit_log).read()
        assert (entry.user, entry.origin, entry.result) == (f"container {place.name}", "container", "done")
        assert place.agent.notice == ""
        assert place.agent.step() is Outcome.SETTLED


def test_one_that_reads_them_itself_is_not_restarted(world: World) -> None:
    """Later releases of ZooKeeper do."""
    world.reads_for_clients = True
    for place in world.places:
        place.give(world.keys)
    world.run(RELOAD_S + 6)
    assert not world.order
    assert all(place.agent.step() is Outcome.SETTLED for place in world.places)


def test_an_authority_alone_restarts_nobody(world: World) -> None:
    """Servers read whom to trust by themselves; the others are told."""
    other = Keys(world.folder / "other")
    both = world.keys.trust.read_bytes() + other.trust.read_bytes()
    for place in world.places:
        place.authority.write_bytes(both)
    world.run(10)
    assert not world.order
    assert all(len(place.trusted) == 2 for place in world.places)


def test_a_single_server(tmp_path: Path) -> None:
    """It waits for nobody."""
    world = World(tmp_path, 1)
    world.run(3)
    world.places[0].give(world.keys)
    world.run_until_current()
    assert world.order == ["c1"]


def test_nobody_goes_while_another_one_is_away(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """However long that takes; it is said once who it is."""
    away = world.places[2]
    away.serves = False
    world.places[0].give(world.keys)
    with caplog.at_level(logging.INFO):
        world.run(100)
    assert not world.order
    assert "another one is away: c3" in world.places[0].agent.notice
    assert caplog.text.count("another one is away: c3") == 1
    away.serves = True
    world.run_until_current()
    assert world.order == ["c1"]


def first_to_go(world: World) -> Place:
    """Give all another certificate, and wait until the first one is restarted."""
    for place in world.places:
        place.give(world.keys)
    while not world.order:
        world.tick()
    return next(place for place in world.places if not place.serves)


def results(place: Place) -> list[str]:
    """What the audit log says of its restarts, the first one first."""
    return [entry.result for entry in AuditFile(place.home.audit_log).read()][::-1]


def test_one_that_does_not_come_back_ends_the_round(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Not with what it had before, either: the others stay as they are; when it is mended they go on."""
    first = first_to_go(world)
    first.is_lost = True
    world.run(2 * RESTART_S + SESSION_S + 10)
    assert world.order == [first.name] * 2
    assert caplog.text.count("with its new certificate; it is restarted with the one before") == 1
    assert caplog.text.count("the certificate before, either; the other servers are left as they are") == 1
    with_new, with_earlier = results(first)
    assert with_new.startswith("failed: 60 s after its restart")
    assert with_earlier.endswith("does not serve with the certificate before, either.")
    first.give(world.keys)
    world.run(3)
    assert world.order == [first.name] * 3
    first.is_lost = False
    world.run_until_current()
    assert len(world.order) == 5


def test_one_that_does_not_serve_with_it_has_the_one_before(world: World) -> None:
    """However often server and agent begin anew; the others go on, and it may be put down once more."""
    earlier = {place.name: place.shown for place in world.places}
    first = first_to_go(world)
    put_down = read_material(first.certificate, first.authority).leaf
    world.useless.add(put_down)
    world.run(RESTART_S + 30)
    assert sorted(world.order) == sorted([first.name, "c1", "c2", "c3"])
    assert all(place.serves for place in world.places)
    assert first.shown == earlier[first.name]
    assert f"did not serve with {first.certificate}; it has the one before again" in first.agent.notice
    assert results(first)[0].endswith("It is restarted with the one before.")
    first.begin()
    assert first.shown == earlier[first.name]
    first.agent = first.new_agent()
    world.run(10)
    assert len(world.order) == 4
    assert "did not serve with" in first.agent.notice
    world.useless.clear()
    first.certificate.touch()
    world.run_until_current()
    assert first.shown == put_down
    assert first.agent.notice == ""
    assert not (first.directory / "tls" / "earlier.pem").exists()


def test_nothing_is_taken_back_while_others_are_away(world: World) -> None:
    """It may be for them that it does not serve."""
    first = first_to_go(world)
    put_down = read_material(first.certificate, first.authority).leaf
    world.useless.add(put_down)
    other = next(place for place in world.places if place is not first)
    other.serves = False
    world.run(RESTART_S + 20)
    assert world.order == [first.name]
    assert "the other servers are left as they are" in first.agent.notice


def test_what_clients_would_refuse_is_not_taken_back(tmp_path: Path) -> None:
    """The authority of the one before is not trusted any more."""
    world = World(tmp_path, 1)
    world.run(3)
    (place,) = world.places
    other = Keys(tmp_path / "other")
    place.give(other)
    while not world.order:
        world.tick()
    world.useless.add(read_material(place.certificate, place.authority).leaf)
    world.run(2 * RESTART_S)
    assert world.order == ["c1"]
    assert "does not serve with its new certificate" in place.agent.notice


@pytest.mark.parametrize("when", [2, 8])
def test_an_agent_that_is_killed_in_the_midst(world: World, when: int) -> None:
    """Whoever begins in its place finds what is to be done, when the turn of the dead one has ended."""
    for place in world.places:
        place.give(world.keys)
    world.run(when)
    for place in world.places:
        if not place.serves or when < 6:
            world.kill_agent(place)
    world.run_until_current()
    assert len(world.order) == 3


def test_the_turn_of_a_dead_agent_ends_with_the_next_one(world: World) -> None:
    """Nobody waits for the session's timeout, and nothing is left behind when all is done."""
    first = first_to_go(world)
    world.kill_agent(first)
    killed_at_s = world.now_s
    while len(world.order) < 2:
        world.tick()
    assert world.now_s - killed_at_s < SESSION_S / 2
    world.run_until_current()
    assert sorted(world.order) == ["c1", "c2", "c3"]
    for place in world.places:
        assert place.home.container(place.name).read_session(RENEWAL_SESSION) is None


def test_what_is_broken_stays_where_it_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The server goes on, also over a crash; the turn of others is not held up."""
    place = world.places[1]
    shown = place.shown
    place.certificate.write_text("half of a")
    world.run(RELOAD_S + 6)
    assert place.agent.notice.endswith("The ZooKeeper server goes on with what it has.")
    place.begin()
    assert place.shown == shown
    world.places[0].give(world.keys)
    world.run(RELOAD_S + 8)
    assert world.order == ["c1"]
    place.give(world.keys)
    world.run_until_current()
    assert world.order == ["c1", "c2"]
    assert caplog.text.count("there is no certificate in it") >= 1


def test_one_that_clients_would_refuse_is_not_taken_over(world: World) -> None:
    """It has ended, or nobody trusts who has signed it."""
    old = expired(world.folder / "old")
    world.places[0].give(old)
    world.run(10)
    assert "certificate has expired" in world.places[0].agent.notice
    world.places[0].give(world.keys, certificate=False)
    world.run(10)
    assert "does not take the certificate" in world.places[0].agent.notice
    assert not world.order


def test_a_rollover_in_its_steps(world: World) -> None:
    """Both are trusted first, then the new one signs, then the old one goes."""
    new = Keys(world.folder / "new")
    both = world.keys.trust.read_bytes() + new.trust.read_bytes()
    for place in world.places:
        place.authority.write_bytes(both)
    world.run(5)
    for place in world.places:
        place.give(new, authority=False)
    world.run_until_current()
    for place in world.places:
        place.give(new, certificate=False)
    world.run(5)
    assert len(world.order) == 3
    assert all(len(place.trusted) == 1 for place in world.places)


def test_another_authority_all_at_once(world: World) -> None:
    """The containers make the steps of a rollover themselves."""
    new = Keys(world.folder / "new")
    for place in world.places:
        place.give(new)
    world.run_until_current()
    world.run(5)
    assert len(world.order) == 3
    for place in world.places:
        assert place.trusted == list(read_material(place.certificate, new.trust).trusted)


def test_a_host_that_is_forgotten_keeps_its_place(world: World) -> None:
    """Others wait for it, or go on to trust what it shows, and say whom they wait for."""
    new = Keys(world.folder / "new")
    first, second, forgotten = world.places
    first.give(new)
    second.give(new)
    world.run(20)
    assert not world.order
    assert "do not trust who has signed it; bring the authority there: c3" in first.agent.notice
    forgotten.authority.write_bytes(world.keys.trust.read_bytes() + new.trust.read_bytes())
    world.run(40)
    assert sorted(world.order) == ["c1", "c2"]
    assert "show its certificates: c3" in first.agent.notice
    assert len(first.trusted) == 2
    forgotten.give(new)
    world.run_until_current()
    world.run(5)
    assert len(first.trusted) == 1
    assert first.agent.notice == ""


def test_one_that_serves_nobody_is_not_waited_for(world: World) -> None:
    """When there is no quorum, what is to be lost? All get their new certificates, and find each other."""
    for place in world.places:
        place.serves = False
        place.give(world.keys)
    world.run(UNSERVED_S - 5)
    assert not world.order
    world.run(15)
    assert sorted(world.order) == ["c1", "c2", "c3"]


def test_one_of_an_earlier_release(world: World) -> None:
    """It reads files only when it starts, and they are not copies: what is newer than its start counts."""
    place = world.places[1]
    (place.directory / "zoo.cfg").write_text(f"ssl.keyStore.location={place.certificate}\n")
    os.utime(place.directory / "server.pid", (1000, 1000))
    place.agent = place.new_agent()
    world.run(10)
    assert world.order == ["c2"]


def test_files_that_change_again_meanwhile(world: World) -> None:
    """The last ones count."""
    for second in range(12):
        world.places[second % 3].give(world.keys)
        world.tick()
    world.run_until_current()


def test_a_container_that_is_new_says_nothing_yet(world: World) -> None:
    """It is not known where its server is: it counts as away."""
    world.tree.delete(paths.ensemble_server_state("c3"))
    world.places[0].give(world.keys)
    world.run(15)
    assert not world.order
    assert "another one is away: server 3" in world.places[0].agent.notice


@pytest.mark.parametrize("seed", [0, 3])
def test_whatever_happens(tmp_path: Path, seed: int) -> None:
    """No restart while another one is away, and all is well when the faults have ended."""
    chance = random.Random(seed)
    world = World(tmp_path, 3)
    for _ in range(40):
        world.tick()
        place = chance.choice(world.places)
        match chance.randrange(10):
            case 0:
                place.give(world.keys)
            case 1:
                world.kill_agent(place)
            case 2 if place.serves:
                place.serves, place.back_at_s = False, world.now_s + chance.randrange(1, 8)
            case 3:
                place.certificate.write_text("half of a")
            case 4:
                world.leader = place.server.id
    for place in world.places:
        place.give(world.keys)
    world.run_until_current()
