"""Changing containers one after the other: in which order, what is waited for, and when it stops."""

import json
from collections.abc import Callable

import pytest
from support.memory_session import MemorySession

from fabric.bootstrap import write_first_content
from fabric.profiles import Profile
from fabric.records import ContainerRecord, Provision
from fabric.rolling import Change, Rolling, RollingStopped, moved, next_container, read_brokers, restarted
from fabric.store import ContainerStore, ProfileStore
from fabric.versions import VersionStore
from registry import paths


class World:
    """A fabric in memory, in which a broker's slave takes over as soon as its master leaves."""

    def __init__(self) -> None:
        self.session = MemorySession()
        write_first_content(self.session)
        self.containers = ContainerStore(self.session)
        self.containers.create("root", profiles=["fabric"], version="1.0")
        self.now_s = 0.0
        self.said: list[str] = []
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.starts = 0
        self.masters: list[str] = []
        self.start("root")

    def add(self, name: str, *brokers: str, host: str = "h") -> None:
        """A container that runs, and its brokers' members."""
        self.containers.create(name, profiles=["default"], version="1.0", parent="root")
        self.start(name, *brokers, host=host)

    def start(self, name: str, *brokers: str, host: str = "h", result: str = "success") -> None:
        """Its process is there."""
        self.starts += 1
        alive = {"pid": 1, "host": host, "started_at": self.starts}
        self.session.create(paths.container_alive(name), json.dumps(alive).encode(), ephemeral=True)
        self.containers.set_provision(name, Provision(result))
        for broker in brokers:
            member = {"id": broker, "container": name, "services": [], "ready": True}
            group = paths.amq_group("g")
            self.session.create(paths.new_member(group), json.dumps(member).encode(), sequential=True)
        self.elect()

    def stop(self, name: str) -> None:
        """Its process is gone."""
        self.session.delete(paths.container_alive(name), missing_ok=True)
        for path in self.members(name):
            self.session.delete(path)
        self.elect()

    def members(self, name: str) -> list[str]:
        """The members of a container."""
        group = paths.amq_group("g")
        names = self.session.children(group) if self.session.exists(group) else []
        found = [paths.member(group, one) for one in names]
        return [path for path in found if json.loads(self.session.get(path).data)["container"] == name]

    def elect(self) -> None:
        """The first member of each broker serves."""
        group = paths.amq_group("g")
        served: set[str] = set()
        for one in self.session.children(group) if self.session.exists(group) else []:
            path = paths.member(group, one)
            member = json.loads(self.session.get(path).data)
            services = [] if member["id"] in served else ["tcp://h:1"]
            if services and not member["services"]:
                self.masters.append(f"{member['id']}: {member['container']}")
            served.add(member["id"])
            self.session.put(path, json.dumps({**member, "services": services}).encode())

    def wait(self, seconds: float) -> None:
        """Time passes, and what is due happens."""
        self.now_s += seconds
        due, self.due = (
            [each for each in self.due if each[0] <= self.now_s],
            [each for each in self.due if each[0] > self.now_s],
        )
        for _, call in due:
            call()

    def restart(self, name: str, *brokers: str, result: str = "success", after_s: float = 1.0) -> None:
        """It goes now and comes back later."""
        host = json.loads(self.session.get(paths.container_alive(name)).data)["host"]
        self.stop(name)
        self.due.append((self.now_s + after_s, lambda: self.start(name, *brokers, host=host, result=result)))

    def rolling(self, change: Change, **options: float) -> Rolling:
        """A round in this world."""
        return Rolling(
            self.session,  # type: ignore[arg-type]  # a fake
            change,
            self.said.append,
            wait=self.wait,
            now_s=lambda: self.now_s,
            **options,
        )

    def restarting(self, brokers: dict[str, tuple[str, ...]], **options: str) -> Change:
        """Restarts that work by themselves."""
        inner = restarted(self.session)  # type: ignore[arg-type]  # a fake

        def begin(name: str) -> Callable[[ContainerRecord], bool]:
            is_changed = inner.begin(name)
            self.restart(name, *brokers.get(name, ()), result=options.get(name, "success"))
            return is_changed

        return Change(inner.verb, begin, lambda names: f"Take back {', '.join(names)}.")


@pytest.fixture
def world() -> World:
    """A fabric with a broker in three containers, whose master is a."""
    world = World()
    for name in ("a", "b", "c"):
        world.add(name, "orders")
    return world


ORDERS = dict.fromkeys(("a", "b", "c"), ("orders",))


def test_the_master_goes_last_and_there_is_one_failover(world: World) -> None:
    """A slave that is restarted takes over; the master's own restart is the only takeover."""
    before = list(world.masters)
    assert world.rolling(world.restarting(ORDERS)).run(["a", "b", "c"]) == ["b", "c", "a"]
    assert world.masters[len(before) :] == ["orders: b"]
    assert any("taken over by one of: b, c" in line for line in world.said)


def test_masters_of_different_brokers(world: World) -> None:
    """Who leads most goes last, and each time it is looked anew at who leads."""
    world.add("d", "bills", "orders")
    world.add("e", "bills")
    brokers = {**ORDERS, "d": ("bills", "orders"), "e": ("bills",)}
    before = len(world.masters)
    order = world.rolling(world.restarting(brokers)).run(["a", "b", "c", "d", "e"])
    assert order[:3] == ["b", "c", "e"]
    assert sorted(world.masters[before:]) == ["bills: e", "orders: b"]


def test_hosts_one_after_the_other() -> None:
    """Among equals a host is done before the next one is begun, and a root after its children."""
    world = World()
    for name, host in (("w1", "x"), ("w2", "y"), ("w3", "x"), ("w4", "y")):
        world.add(name, host=host)
    assert world.rolling(world.restarting({})).run(["w1", "w2", "w3", "w4", "root"]) == [
        "w1",
        "w3",
        "w2",
        "w4",
        "root",
    ]


def test_it_stops_when_one_does_not_come_back(world: World) -> None:
    """The others are left alone, the master among them, and the way back is said."""
    change = world.restarting(ORDERS, c="error")
    with pytest.raises(
        RollingStopped, match=r"Container c .* Done before it: b\. Left alone: a\."
    ) as stopped:
        world.rolling(change).run(["a", "b", "c"])
    assert "Take back b, c." in stopped.value.do_next
    assert world.masters[-1] == "orders: a"


def test_it_waits_for_the_member_to_be_ready(world: World) -> None:
    """A container whose broker has not joined again is not back, whatever its status says."""
    change = world.restarting({**ORDERS, "b": ()})
    with pytest.raises(RollingStopped, match="not a ready member of broker orders"):
        world.rolling(change, timeout_s=30).run(["a", "b", "c"])
    assert 30 <= world.now_s < 40


def test_a_broker_without_a_slave_is_told(world: World) -> None:
    """Nobody could take it over: its clients wait, and it is said before."""
    world.add("alone", "lonely")
    world.rolling(world.restarting({"alone": ("lonely",)})).run(["alone"])
    assert any("lonely has no slave" in line for line in world.said)


def test_a_pause_between_two(world: World) -> None:
    """But not after the last."""
    world.rolling(world.restarting(ORDERS), pause_s=50).run(["b", "c"])
    assert 50 < world.now_s < 60


def test_an_error_that_passes_is_no_failure(world: World) -> None:
    """A service that could not be started is tried again by its agent."""
    inner = restarted(world.session)  # type: ignore[arg-type]  # a fake

    def begin(name: str) -> Callable[[ContainerRecord], bool]:
        is_changed = inner.begin(name)
        world.restart(name, "orders", result="error")
        world.due.append(
            (world.now_s + 5, lambda: world.containers.set_provision(name, Provision("success")))
        )
        return is_changed

    assert world.rolling(Change("Restarting", begin)).run(["b"]) == ["b"]


def test_moving_to_a_version(world: World) -> None:
    """A container whose profiles are alike there has nothing to do; one whose differ says so itself."""
    store = VersionStore(world.session)  # type: ignore[arg-type]  # a fake
    store.create("1.1")
    change = moved(
        world.session,  # type: ignore[arg-type]  # a fake
        "1.1",
        lambda name: store.move(name, "1.1"),
        verb="Upgrading",
        back="container-rollback",
    )
    assert world.rolling(change).run(["b"]) == ["b"]
    ProfileStore(world.session).put(Profile("default", configuration={"x": {"y": "z"}}), "1.1")  # type: ignore[arg-type]  # a fake
    with pytest.raises(RollingStopped, match="Left alone: a") as stopped:
        world.rolling(change, timeout_s=20).run(["a", "c"])
    assert "fabric container-rollback --rolling 1.0 c" in stopped.value.do_next
    world.due.append((world.now_s + 1, lambda: world.containers.set_provision("a", Provision("success"))))
    assert world.rolling(change).run(["a"]) == ["a"]


def test_a_stopped_container_is_only_moved(world: World) -> None:
    """It takes the change when it starts."""
    world.stop("b")
    world.containers.set_field("b", "desired", "stopped")
    change = Change("Upgrading", lambda name: lambda record: False)
    assert world.rolling(change).run(["b"]) == ["b"]
    assert any("is stopped" in line for line in world.said)


def test_brokers_of_a_container(world: World) -> None:
    """Who leads, who could take over, and whose turn it is."""
    brokers = read_brokers(world.session)  # type: ignore[arg-type]  # a fake
    (key,) = brokers.led_by("a")
    assert brokers.successors(key) == {"b", "c"}
    assert brokers.of("b") == {key}
    records = {name: world.containers.get(name) for name in ("a", "b")}
    assert next_container(["a", "b"], brokers, records) == "b"
