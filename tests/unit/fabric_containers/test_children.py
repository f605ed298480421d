"""The supervisor of child containers, with processes that are made up."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_reactor import FakePool, FakeReactor
from support.fake_zookeeper import FakeZooKeeper

import fabric.children
from fabric.child import FROZEN_GRACE_S, STOP_GRACE_S
from fabric.children import Children
from fabric.home import ContainerHome, Home, ProcessRecord, SessionRecord
from fabric.records import START_REQUESTED
from registry import paths
from registry.channel import ChannelSettings
from registry.errors import RegistryUnavailable
from registry.session import Session


class Host:
    """Processes as tests want them, and what was done to them, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running: dict[str, ProcessRecord] = {}
        self.exits: dict[int, Callable[[], None]] = {}
        self.next_pid = 100
        self.spawn_error: OSError | None = None
        self.close_error: RegistryUnavailable | None = None

    def spawn(self, home: Home, name: str) -> "Spawned":
        """Start a process."""
        self.calls.append(f"spawn {name}")
        if self.spawn_error is not None:
            raise self.spawn_error
        self.next_pid += 1
        self.running[name] = ProcessRecord(self.next_pid, 1)
        home.container(name).write_process(self.running[name])
        return Spawned(self, self.running[name])

    def find(self, container: ContainerHome) -> ProcessRecord | None:
        """Return the process of a container."""
        return self.running.get(container.name)

    def watch(self, reactor: FakeReactor, pid: int, on_exit: Callable[[], None]) -> "Exit":
        """Watch a process."""
        self.exits[pid] = on_exit
        return Exit()

    def signal(self, process: ProcessRecord, number: signal.Signals) -> bool:
        """Note a signal."""
        self.calls.append(f"{number.name} {process.pid}")
        return True

    def close(
        self, url: str, password: str | None, session_id: int, *rest: object, channel: ChannelSettings
    ) -> bool:
        """Note a closed session."""
        self.calls.append(f"close {session_id}")
        if self.close_error is not None:
            raise self.close_error
        return True

    def end(self, name: str) -> None:
        """End a process."""
        process = self.running.pop(name)
        self.exits.pop(process.pid)()


class Spawned:
    """A process that was started."""

    def __init__(self, host: Host, record: ProcessRecord) -> None:
        self.host = host
        self.record = record
        self.pid = record.pid

    def reap(self) -> str:
        """Say how it ended."""
        self.host.calls.append(f"reap {self.pid}")
        return "was ended by SIGKILL"


class Exit:
    """A watch on a process."""

    def cancel(self) -> None:
        """Forget it."""


class Family:
    """A parent, its children, and the registry they see."""

    def __init__(self, reactor: FakeReactor, session: Session, folder: Path, host: Host) -> None:
        self.reactor = reactor
        self.session = session
        self.host = host
        self.home = Home(folder)
        self.children = Children(reactor, session, self.home, "root")

    def put(self, path: str, text: str) -> None:
        """Write to the registry."""
        self.session.put(path, text.encode())
        self.reactor.turn()

    def make(self, name: str, desired: str = "started", parent: str = "root") -> None:
        """Register a container."""
        self.put(paths.container_config_field(name, "parent"), parent)
        self.put(paths.container_config_field(name, "desired"), desired)

    def register(self, name: str, session_id: int = 7) -> None:
        """Do what the child's process does when it is connected."""
        self.session.create(paths.container_alive(name))
        self.home.container(name).write_session(SessionRecord(session_id, b"p" * 16))
        self.reactor.turn()

    def unregister(self, name: str) -> None:
        """Do what the end of the child's session does."""
        self.session.delete(paths.container_alive(name))
        self.reactor.turn()

    def start(self) -> None:
        """Start the supervisor."""
        self.children.start()
        self.reactor.turn()

    def provision(self, name: str, field: str) -> str:
        """Return what is reported about a child."""
        node = self.session.get_or_none(paths.container_provision(name, field))
        return node.data.decode() if node else ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host without real processes."""
    host = Host()
    monkeypatch.setattr(fabric.children, "spawn_container", host.spawn)
    monkeypatch.setattr(fabric.children, "running_process", host.find)
    monkeypatch.setattr(fabric.children, "ProcessExit", host.watch)
    monkeypatch.setattr(fabric.children, "send_signal", host.signal)
    monkeypatch.setattr(fabric.children, "close_dead_session", host.close)
    monkeypatch.setattr(fabric.children, "ThreadPool", lambda *args, **kw: FakePool())
    return host


@pytest.fixture
def family(reactor: FakeReactor, session: Session, tmp_path: Path, host: Host) -> Family:
    """The family before its supervisor starts."""
    return Family(reactor, session, tmp_path, host)


def test_only_wanted_children_of_this_parent_are_started(family: Family) -> None:
    """Children of others, and children that should be stopped, are left alone."""
    family.make("mine")
    family.make("resting", desired="stopped")
    family.make("other", parent="elsewhere")
    family.start()
    family.make("later")
    assert family.host.calls == ["spawn mine", "spawn later"]
    assert family.children.names() == ["later", "mine", "resting"]


def test_dead_child_has_its_session_closed_before_anything_else(family: Family) -> None:
    """The session of a dead child is closed first; the file that names it is gone before the next start."""
    family.make("c")
    family.start()
    family.register("c", session_id=42)
    family.host.calls.clear()
    family.host.end("c")
    assert family.host.calls == ["close 42", "reap 101"]
    assert family.home.container("c").read_session() is None
    assert family.home.container("c").read_process() is None


def test_crash_is_reported_with_its_last_words_and_restarted(family: Family) -> None:
    """The report says how the process ended, when the next one starts, and what it printed last."""
    family.make("c")
    family.start()
    family.home.container("c").console.write_text("Traceback\nValueError: no\n")
    family.host.end("c")
    family.reactor.turn()
    assert family.provision("c", "result") == "error"
    assert family.provision("c", "exception") == (
        "The process was ended by SIGKILL. It is started again after 0.5 s.\n"
        "The last lines it wrote:\nTraceback\nValueError: no"
    )
    family.reactor.pass_time(0.5)
    assert family.host.calls.count("spawn c") == 2


def test_start_that_is_asked_for_does_not_wait_for_the_back_off(family: Family) -> None:
    """Whoever asks has mended something: the wait that crashes brought is over, and short again."""
    request = paths.container_config_field("c", START_REQUESTED)
    family.make("c")
    family.put(request, "1")
    family.start()
    for wait_s in (0.5, 1.0, 2.0):
        family.host.end("c")
        family.reactor.pass_time(wait_s)
    family.host.end("c")
    family.reactor.turn()
    assert "c" not in family.host.running  # the request that was there before we came starts nothing
    family.put(request, "2")
    assert "c" in family.host.running
    family.host.end("c")
    family.reactor.turn()
    assert "started again after 0.5 s" in family.provision("c", "exception")


def test_process_that_cannot_be_started_is_tried_again(family: Family) -> None:
    """A host without resources is a reason to wait, not to give up."""
    family.host.spawn_error = OSError(11, "Resource temporarily unavailable")
    family.make("c")
    family.start()
    family.reactor.pass_time(0)
    family.reactor.advance(0)
    family.reactor.turn()
    assert "could not be started: [Errno 11]" in family.provision("c", "exception")
    family.host.spawn_error = None
    family.reactor.pass_time(1)
    assert "c" in family.host.running


def test_stop_is_sigterm_then_sigkill_then_reported(family: Family) -> None:
    """A child that does not stop is killed after the grace; its end is reported."""
    family.make("c")
    family.start()
    family.register("c")
    family.put(paths.container_config_field("c", "desired"), "stopped")
    assert family.host.calls[-1] == "SIGTERM 101"
    family.reactor.pass_time(STOP_GRACE_S)
    assert family.host.calls[-1] == "SIGKILL 101"
    family.host.end("c")
    family.reactor.turn()
    assert family.provision("c", "result") == "stopped"
    family.reactor.pass_time(60)
    assert family.host.calls.count("spawn c") == 1


def test_running_child_is_adopted(family: Family) -> None:
    """A process from before the parent's restart is not started twice, and is watched from then on."""
    family.host.running["c"] = ProcessRecord(55, 1)
    family.make("c")
    family.start()
    assert family.host.calls == []
    family.host.end("c")
    family.reactor.pass_time(0.5)
    assert family.host.calls == ["spawn c"]


def test_session_left_by_a_child_that_died_unseen_is_closed(family: Family) -> None:
    """A child that died while its parent was down has its session closed when the parent is back."""
    family.home.container("c").make()
    family.home.container("c").write_session(SessionRecord(9, b"p"))
    family.make("c", desired="stopped")
    family.start()
    assert family.host.calls == ["close 9"]


def test_frozen_child_is_killed_and_reported(family: Family) -> None:
    """A child whose session has gone while its process exists is killed after the grace, with its reason."""
    family.make("c")
    family.start()
    family.register("c")
    family.unregister("c")
    family.reactor.pass_time(FROZEN_GRACE_S - 1)
    assert "SIGKILL 101" not in family.host.calls
    family.reactor.pass_time(1)
    assert family.host.calls[-1] == "SIGKILL 101"
    assert "lost its ZooKeeper session" in family.provision("c", "exception")
    family.host.end("c")
    family.reactor.pass_time(1)
    assert "c" in family.host.running


def test_nobody_is_killed_over_an_outage_of_zookeeper(family: Family, zookeeper: FakeZooKeeper) -> None:
    """While ZooKeeper is away nobody is taken for frozen; after it a child gets the whole grace again."""
    family.make("c")
    family.start()
    family.register("c")
    family.unregister("c")
    family.reactor.pass_time(5)
    zookeeper.stop()
    family.reactor.pass_time(60)
    assert family.host.calls == ["spawn c"]
    zookeeper.start()
    family.reactor.pass_time(FROZEN_GRACE_S - 1)
    assert family.host.calls == ["spawn c"]
    family.reactor.pass_time(2)
    assert family.host.calls[-1] == "SIGKILL 101"


def test_session_that_cannot_be_closed_costs_nothing_else(family: Family) -> None:
    """If ZooKeeper does not answer, the session expires by itself and the child is restarted all the same."""
    family.host.close_error = RegistryUnavailable("away")
    family.make("c")
    family.start()
    family.register("c")
    family.host.end("c")
    family.reactor.pass_time(1)
    assert "c" in family.host.running


def test_deleted_child_is_stopped_and_its_files_go(family: Family) -> None:
    """A child whose record is gone is stopped; nothing is reported that would bring its znodes back."""
    family.make("c")
    family.start()
    family.register("c")
    family.session.delete(paths.container_config("c"), recursive=True)
    family.reactor.turn()
    assert family.host.calls[-1] == "SIGTERM 101"
    family.host.end("c")
    family.reactor.turn()
    assert not family.session.exists(paths.container_provisions("c"))
    assert not family.home.container("c").path.exists()


def test_released_children_go_on(family: Family) -> None:
    """A parent that ends touches no child."""
    family.make("c")
    family.start()
    family.register("c")
    family.children.release()
    family.put(paths.container_config_field("c", "desired"), "stopped")
    family.reactor.pass_time(60)
    assert family.host.calls == ["spawn c"]


def test_secrets_are_not_logged(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    """The password of a session stands in its file and nowhere else."""
    caplog.set_level("INFO")
    family.make("c")
    family.start()
    family.register("c")
    session_file = json.loads((family.home.container("c").path / "session.json").read_text())
    family.host.close_error = RegistryUnavailable("away")
    family.host.end("c")
    family.reactor.turn()
    assert session_file["password"] not in caplog.text
