"""The agent: profiles in, services and provisioning states out."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.fake_reactor import FakeReactor
from support.fake_zookeeper import FakeZooKeeper
from twisted.internet.defer import Deferred

from fabric.agent import SETTLE_TIMEOUT_S, STATUS_POLL_S, Agent
from fabric.crypt import KeyFile, MasterKey, MasterKeys
from fabric.home import Home
from fabric.service_set import STOP_TIMEOUT_S
from fabric.services import ServiceContext
from registry import paths
from registry.session import Session

A, B = "test.server-a", "test.server-b"


class FakeService:
    """Notes what is asked of it."""

    def __init__(self, kind: "FakeKind", pid: str, properties: Mapping[str, str]) -> None:
        self.kind = kind
        self.pid = pid
        self.properties = properties
        self.state: dict[str, object] = {}

    def startService(self) -> object:  # noqa: N802 - Twisted's name
        """Start, or whatever the test wants."""
        self.kind.calls.append(f"start {self.pid}")
        return self.kind.starting.get(self.pid)

    def stopService(self) -> object:  # noqa: N802 - Twisted's name
        """Stop, or whatever the test wants."""
        self.kind.calls.append(f"stop {self.pid}")
        return self.kind.stopping.get(self.pid)

    def status(self) -> Mapping[str, object]:
        """Return what the test wants."""
        return self.state


class FakeKind:
    """The factory."""

    pid_prefix = "test.server-"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.services: dict[str, FakeService] = {}
        self.failing: dict[str, Exception] = {}
        self.starting: dict[str, Deferred[None]] = {}
        self.stopping: dict[str, Deferred[None]] = {}

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> FakeService:
        """Make a service, or fail."""
        if pid in self.failing:
            self.calls.append(f"fail {pid}")
            raise self.failing[pid]
        self.services[pid] = FakeService(self, pid, properties)
        return self.services[pid]


class World:
    """One container's agent and what it sees."""

    def __init__(self, reactor: FakeReactor, session: Session, folder: Path) -> None:
        self.reactor = reactor
        self.session = session
        self.kind = FakeKind()
        self.results: list[str] = []
        context = ServiceContext(reactor, session, Home(folder), "c", "127.0.0.1", "127.0.0.1")
        self.put(paths.config_container("c"), "1.0")
        self.put(paths.version_container("1.0", "c"), "p")
        self.configure("p")
        self.agent = Agent(context, {self.kind.pid_prefix: self.kind}, {"runtime.id": "c"})
        session.watch_data(paths.container_provision("c", "result"), self._note)

    def _note(self, data: bytes | None) -> None:
        if data:
            self.results.append(data.decode())

    def put(self, path: str, text: str) -> None:
        """Write to the registry."""
        self.session.put(path, text.encode())
        self.reactor.turn()

    def configure(self, profile: str, *pids: str, parents: str = "", **values: str) -> None:
        """Write a profile with these PIDs, all with the same values."""
        lines = [f"parents: [{parents}]", "configuration:", *([] if pids else ["  {}"])]
        for pid in pids:
            lines += [f"  {pid}:", *(f"    {key}: '{value}'" for key, value in values.items()), "    k: v"]
        self.put(paths.profile("1.0", profile), "\n".join(lines))

    def start(self) -> None:
        """Start the agent."""
        self.agent.start()
        self.reactor.turn()

    def provision(self, field: str) -> str:
        """Return what stands in the registry."""
        node = self.session.get_or_none(paths.container_provision("c", field))
        return node.data.decode() if node else ""


@pytest.fixture
def world(reactor: FakeReactor, session: Session, tmp_path: Path) -> World:
    """The world before the agent starts."""
    return World(reactor, session, tmp_path)


def test_wanted_services_are_started_and_the_way_is_shown(world: World) -> None:
    """The registry shows each step up to `success`, and what runs."""
    world.configure("p", A)
    world.start()
    assert world.kind.calls == [f"start {A}"]
    assert world.results == ["analyzing", "updating (starting services)", "finalizing", "success"]
    assert world.provision("list") == A


def test_placeholders_are_resolved(world: World) -> None:
    """A service gets its properties with the container's values filled in."""
    world.put(paths.container_config_field("c", "ip"), "192.0.2.7")
    world.configure("p", A, name="${runtime.id}", host="${zk:c/ip}")
    world.start()
    assert world.kind.services[A].properties == {"k": "v", "name": "c", "host": "192.0.2.7"}


def test_only_what_changed_is_restarted(world: World) -> None:
    """A changed property restarts its service; the neighbour is not touched."""
    world.configure("p", A)
    world.configure("q", B, size="1")
    world.put(paths.version_container("1.0", "c"), "p q")
    world.start()
    world.kind.calls.clear()
    world.configure("q", B, size="2")
    assert world.kind.calls == [f"stop {B}", f"start {B}"]


def test_what_a_service_takes_over_while_it_runs_restarts_nothing(world: World) -> None:
    """A service that can change itself is asked; if it cannot change so, it is restarted."""
    world.configure("p", A, size="1")
    world.start()
    service = world.kind.services[A]
    world.kind.calls.clear()
    taken: list[str] = []

    def reconfigure(properties: Mapping[str, str]) -> bool:
        taken.append(properties["size"])
        return properties["size"] != "3"

    setattr(service, "reconfigure", reconfigure)  # noqa: B010 - most services do not have it
    world.configure("p", A, size="2")
    assert (taken, world.kind.calls) == (["2"], [])
    world.configure("p", A, size="3")
    assert (taken, world.kind.calls) == (["2", "3"], [f"stop {A}", f"start {A}"])


def test_inherited_configuration_is_followed(world: World) -> None:
    """A change of an ancestor reaches the service as well."""
    world.configure("base", A, size="1")
    world.configure("p", parents="base")
    world.start()
    assert world.kind.services[A].properties["size"] == "1"
    world.configure("base", A, size="2")
    assert world.kind.services[A].properties["size"] == "2"


def test_removed_profile_takes_its_services_with_it(world: World) -> None:
    """Without the profile the service is stopped."""
    world.configure("p", A)
    world.start()
    world.put(paths.version_container("1.0", "c"), "")
    assert world.kind.calls == [f"start {A}", f"stop {A}"]
    assert (world.provision("result"), world.provision("list")) == ("success", "")


def test_another_version_counts_at_once(world: World) -> None:
    """A container moved to another version runs what its profiles say there."""
    world.configure("p", A)
    world.start()
    world.put(paths.version_container("2.0", "c"), "p")
    world.put(paths.profile("2.0", "p"), f"configuration:\n  {B}:\n    k: v")
    world.put(paths.config_container("c"), "2.0")
    assert world.kind.calls == [f"start {A}", f"stop {A}", f"start {B}"]


def test_failing_service_is_shown_and_tried_again_alone(world: World) -> None:
    """A service that cannot be made is an error with its reason, tried again with back-off; others run."""
    world.configure("p", A, B)
    world.kind.failing[A] = ValueError("port 1 is taken")
    world.start()
    assert world.kind.calls == [f"fail {A}", f"start {B}"]
    assert world.provision("result") == "error"
    assert world.provision("exception") == f"{A}: port 1 is taken"
    world.reactor.pass_time(7.5)  # attempts after 1, 2 and 4 s
    assert world.kind.calls.count(f"fail {A}") == 4
    del world.kind.failing[A]
    world.reactor.pass_time(8)
    assert world.kind.calls.count(f"start {A}") == world.kind.calls.count(f"start {B}") == 1
    assert (world.provision("result"), world.provision("exception")) == ("success", "")


def test_changed_configuration_of_a_failing_service_is_tried_at_once(world: World) -> None:
    """Who corrects the configuration does not wait for the back-off."""
    world.configure("p", A, port="1")
    world.kind.failing[A] = ValueError("port 1 is taken")
    world.start()
    del world.kind.failing[A]
    world.configure("p", A, port="2")
    assert world.kind.calls == [f"fail {A}", f"start {A}"]
    assert world.provision("result") == "success"


def test_start_that_fails_later_is_an_error_too(world: World) -> None:
    """A Deferred that fails means the same as an exception."""
    starting: Deferred[None] = Deferred()
    world.kind.starting[A] = starting
    world.configure("p", A)
    world.start()
    assert world.results[-1] == "finalizing"
    starting.errback(ValueError("no disk"))
    world.reactor.pass_time(0.5)
    assert world.provision("exception") == f"{A}: no disk"
    del world.kind.starting[A]
    world.reactor.pass_time(2)
    assert world.provision("result") == "success"


def test_trouble_of_a_running_service_is_shown_while_it_lasts(world: World) -> None:
    """An error that a service reports later is the container's status until it is over."""
    world.configure("p", A)
    world.start()
    world.kind.services[A].state = {"error": "the disk is full"}
    world.reactor.pass_time(1)
    assert world.provision("exception") == f"{A}: the disk is full"
    world.kind.services[A].state = {}
    world.reactor.pass_time(1)
    assert (world.provision("result"), world.provision("exception")) == ("success", "")


def test_a_service_that_lacks_something_is_no_trouble(world: World) -> None:
    """What is incomplete is told beside `success`, and beside an error."""
    world.configure("p", A)
    world.start()
    world.kind.services[A].state = {"notice": "no AMQP"}
    world.reactor.pass_time(1)
    assert (world.provision("result"), world.provision("exception")) == ("success", f"{A}: no AMQP")
    world.kind.services[A].state = {"notice": "no AMQP", "error": "x"}
    world.reactor.pass_time(1)
    assert (world.provision("result"), world.provision("exception")) == ("error", f"{A}: x\n{A}: no AMQP")


def test_success_waits_for_services_to_settle(world: World) -> None:
    """`success` means that services are where they are going, unless that takes too long."""
    world.configure("p", A)
    state: dict[str, object] = {"settled": False}
    make = world.kind.create

    def create(pid: str, properties: Mapping[str, str], context: ServiceContext) -> FakeService:
        service = make(pid, properties, context)
        service.state = state
        return service

    world.kind.create = create
    world.start()
    assert world.results[-1] == "finalizing"
    state["settled"] = True
    world.reactor.pass_time(0.1)
    assert world.results[-1] == "success"
    state["settled"] = False
    world.configure("p", A, size="2")
    world.reactor.pass_time(SETTLE_TIMEOUT_S + 1)
    assert world.results[-1] == "success"


def test_missing_profile_leaves_everything_as_it_is(world: World) -> None:
    """What cannot be understood is an error; running services go on."""
    world.configure("p", A)
    world.start()
    world.put(paths.version_container("1.0", "c"), "p nowhere")
    assert world.kind.calls == [f"start {A}"]
    assert world.provision("result") == "error"
    assert "Profile nowhere" in world.provision("exception")
    world.put(paths.profile("1.0", "p"), "[")
    assert "cannot be used" in world.provision("exception")
    assert world.kind.calls == [f"start {A}"]
    world.configure("p", A)
    world.put(paths.version_container("1.0", "c"), "p")
    assert world.provision("result") == "success"


def test_stop_stops_all_services_and_says_nothing_more(world: World) -> None:
    """All services are stopped at once; the end comes when the last has stopped."""
    world.kind.stopping[A] = Deferred()
    world.configure("p", A, B)
    world.start()
    written = len(world.results)
    ended: list[object] = []
    world.agent.stop().addCallback(ended.append)
    assert world.kind.calls[-2:] == [f"stop {A}", f"stop {B}"]
    assert not ended
    world.kind.stopping[A].callback(None)
    assert ended
    world.reactor.pass_time(5)
    assert len(world.results) == written


def test_stop_waits_for_a_service_that_is_being_stopped_already(world: World) -> None:
    """A service on its way out because of a profile is waited for too."""
    world.kind.stopping[A] = Deferred()
    world.configure("p", A)
    world.start()
    world.put(paths.version_container("1.0", "c"), "")
    ended: list[object] = []
    world.agent.stop().addCallback(ended.append)
    assert not ended
    world.kind.stopping[A].callback(None)
    assert ended


def test_stop_waits_for_what_is_being_written(world: World) -> None:
    """A state on its way to the registry must not come after the `stopped` that the container writes last."""
    world.configure("p", A)
    world.start()
    world.kind.services[A].state = {"error": "x"}
    world.reactor.advance(STATUS_POLL_S)  # begins to write
    ended: list[object] = []
    world.agent.stop().addCallback(ended.append)
    assert not ended
    world.reactor.turn()
    assert ended


def test_service_that_does_not_stop_is_given_up(world: World) -> None:
    """The container goes on without a service that hangs."""
    world.kind.stopping[A] = Deferred()
    world.configure("p", A, size="1")
    world.start()
    world.configure("p", A, size="2")
    assert world.kind.calls == [f"start {A}", f"stop {A}"]
    world.reactor.pass_time(STOP_TIMEOUT_S + 1)
    assert world.kind.calls == [f"start {A}", f"stop {A}", f"start {A}"]


def test_what_could_not_be_written_is_written_when_zookeeper_is_back(
    world: World, zookeeper: FakeZooKeeper
) -> None:
    """An outage does not leave an outdated status behind."""
    world.configure("p", A)
    world.start()
    zookeeper.refused += ["set", "set", "set"]
    world.kind.services[A].state = {"error": "x"}
    world.reactor.pass_time(1)
    zookeeper.refused.clear()
    world.reactor.pass_time(1)
    assert world.provision("result") == "error"


def test_encrypted_values_are_opened_for_the_service_alone(world: World, tmp_path: Path) -> None:
    """The service gets the clear text, as it is; the registry never does."""
    keys = MasterKeys([MasterKey.generate()])
    KeyFile(tmp_path / "master.key").write(keys)
    world.configure("p", A, password=keys.encrypt("${runtime.id}"))
    world.start()
    assert world.kind.services[A].properties == {"k": "v", "password": "${runtime.id}"}
    assert world.provision("result") == "success"


def test_without_the_key_a_service_waits_for_it_and_others_run(world: World, tmp_path: Path) -> None:
    """The error names PID and property; when the key comes, the service starts."""
    keys = MasterKeys([MasterKey.generate()])
    world.configure("p", A, password=keys.encrypt("secret"))
    world.configure("q", B)
    world.put(paths.version_container("1.0", "c"), "p q")
    world.start()
    assert world.kind.calls == [f"start {B}"]
    assert world.provision("result") == "error"
    assert f"{A}: the property password cannot be decrypted" in world.provision("exception")
    KeyFile(tmp_path / "master.key").write(keys)
    world.reactor.advance(1.0)
    world.reactor.turn()
    assert world.kind.services[A].properties["password"] == "secret"
    assert world.provision("result") == "success"


def test_a_running_service_stays_as_it_is_when_its_secret_cannot_be_read(
    world: World, tmp_path: Path
) -> None:
    """A wrong key, or a damaged value, stops no broker that serves."""
    keys = MasterKeys([MasterKey.generate()])
    KeyFile(tmp_path / "master.key").write(keys)
    world.configure("p", A, password=keys.encrypt("secret"))
    world.start()
    world.configure("p", A, password=MasterKeys([MasterKey.generate()]).encrypt("other"))
    assert world.kind.calls == [f"start {A}"]
    assert world.provision("result") == "error"
    assert "not the master key" in world.provision("exception")
    world.configure("p", A, password=keys.encrypt("other"))
    assert world.kind.services[A].properties["password"] == "other"
    assert world.provision("result") == "success"


def test_a_rotated_key_restarts_nothing(world: World, tmp_path: Path) -> None:
    """What a service is given is the same, however it is encrypted."""
    keys = MasterKeys([MasterKey.generate()]).with_first(MasterKey.generate())
    KeyFile(tmp_path / "master.key").write(keys)
    value = MasterKeys([keys.all[1]]).encrypt("secret")
    world.configure("p", A, password=value)
    world.start()
    world.configure("p", A, password=keys.encrypted_anew(value))
    assert world.kind.calls == [f"start {A}"]
