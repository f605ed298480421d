"""A container's server of the ensemble: it runs while it is asked for, and the registry is told where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_reactor import FakeReactor
from support.fake_zookeeper import FakeZooKeeper

from fabric.ensemble_member import EnsembleMembership
from fabric.ensembles import ServerRequest, ServerState, parse_request, parse_state
from fabric.home import Home, ManagedZooKeeper
from fabric.services import ServiceContext
from registry import paths
from registry.errors import ServerNotFound
from registry.quorum import EnsembleServer, parse_servers
from registry.session import Session

NAME = "east"
FIRST = EnsembleServer(1, "10.0.0.1", 2888, 3888, "0.0.0.0", 2181)


class Server:
    """A `ManagedServer` without a process; it ends when it is told to, or when `end` is called."""

    ends_at_once = True

    def __init__(self, reactor: FakeReactor, settings: ManagedZooKeeper) -> None:
        del reactor
        self.settings = settings
        self.calls: list[str] = []
        self.error: str | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.end: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Run."""
        self.calls.append("start")

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """End."""
        self.calls.append("stop")
        self.end = on_stopped
        if self.ends_at_once:
            on_stopped()


class Bench:
    """One container, which listens everywhere."""

    def __init__(self, reactor: FakeReactor, session: Session, folder: Path) -> None:
        self.reactor = reactor
        self.session = session
        home = Home(folder)
        home.make()
        self.files = home.container(NAME)
        self.files.make()
        self.context = ServiceContext(reactor, session, home, NAME, "0.0.0.0", "10.0.0.2")
        self.told: list[Server | None] = []
        self.membership = EnsembleMembership(
            reactor,
            session,
            self.files,
            self.context,
            self.told.append,  # type: ignore[arg-type]  # a fake
        )

    def start(self) -> None:
        """Begin to follow."""
        self.membership.start()
        self.reactor.turn()

    def ask(self, request: ServerRequest) -> None:
        """Somebody asks for a server, or for its end."""
        self.session.put(paths.ensemble_server(NAME), request.to_bytes())
        self.reactor.turn()

    @property
    def state(self) -> ServerState | None:
        """What the registry was told."""
        node = self.session.get_or_none(paths.ensemble_server_state(NAME))
        return parse_state(node.data) if node else None

    @property
    def server(self) -> Server:
        """The one that runs."""
        found = self.context.managed_zookeeper
        assert isinstance(found, Server)
        return found

    def run_already(self, number: int = 2) -> ManagedZooKeeper:
        """It runs a server from before; its data lies in its folder."""
        directory = self.files.path / "zookeeper"
        directory.mkdir()
        line = replace(FIRST, id=number, host="10.0.0.2").line()
        settings = ManagedZooKeeper(2181, "0.0.0.0", str(directory), 500, line, (), "s3cr3t")
        self.files.write_managed_zookeeper(settings)
        self.context.managed_zookeeper = Server(self.reactor, settings)  # type: ignore[assignment]  # a fake
        return settings


@pytest.fixture
def bench(reactor: FakeReactor, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A container in a fabric whose ensemble has one server, on another host; all ports are free."""
    session.put(paths.ensemble_secret(), b"s3cr3t")
    session.put(paths.ensemble_server("root"), ServerRequest(1).to_bytes())
    session.put(paths.ensemble_server_state("root"), ServerState(FIRST.line(), FIRST.url).to_bytes())
    monkeypatch.setattr("fabric.ensemble_member.ManagedServer", Server)
    monkeypatch.setattr("fabric.ensemble_member.find_zookeeper", lambda: None)
    monkeypatch.setattr("fabric.ensemble_settings.port_is_free", lambda host, port: True)
    monkeypatch.setattr(Server, "ends_at_once", True)
    return Bench(reactor, session, tmp_path)


def test_a_server_is_run_when_it_is_asked_for(bench: Bench) -> None:
    """It follows without a vote, on ports that no other server has; the registry is told what it is to be."""
    bench.start()
    assert bench.state is None
    assert bench.told == []
    bench.ask(ServerRequest(2, others=(FIRST.line(),), tick_time_ms=200))
    assert bench.told == [bench.server]
    assert bench.server.calls == ["start"]
    settings = bench.server.settings
    assert bench.files.read_managed_zookeeper() == settings
    assert (settings.others, settings.secret, settings.tick_time_ms) == ((FIRST.line(),), "s3cr3t", 200)
    own = parse_servers(settings.server)[2]
    assert own == EnsembleServer(2, "10.0.0.2", 2889, 3889, "0.0.0.0", 2182, votes=False)
    assert bench.state == ServerState(replace(own, votes=True).line(), "10.0.0.2:2182")


def test_what_another_server_has_left_is_removed(bench: Bench) -> None:
    """It would be taken for the new one's data."""
    left = bench.files.path / "zookeeper" / "version-2"
    left.mkdir(parents=True)
    bench.start()
    bench.ask(ServerRequest(2, others=(FIRST.line(),)))
    assert not left.exists()


def test_a_server_is_asked_for_again(bench: Bench) -> None:
    """It goes on, and where it is, is told again if that was lost."""
    bench.start()
    bench.ask(ServerRequest(2, others=(FIRST.line(),)))
    told = bench.state
    bench.session.delete(paths.ensemble_server_state(NAME))
    bench.ask(ServerRequest(2, others=(FIRST.line(),), tick_time_ms=501))
    assert bench.state == told
    assert bench.server.calls == ["start"]


def test_a_server_ends_with_its_data(bench: Bench) -> None:
    """Its container forgets it, and only then says so."""
    settings = bench.run_already()
    bench.start()
    server = bench.server
    server.ends_at_once = False
    bench.ask(ServerRequest(2, wanted=False))
    assert server.calls == ["stop"]
    assert bench.state is not None
    server.end()
    bench.reactor.turn()
    assert bench.told == [None]
    assert bench.context.managed_zookeeper is None
    assert bench.files.read_managed_zookeeper() is None
    assert not Path(settings.data_directory).exists()
    assert bench.state is None


def test_another_server_does_not_end(bench: Bench) -> None:
    """What was asked of an earlier one counts for that."""
    bench.run_already(7)
    bench.start()
    bench.ask(ServerRequest(2, wanted=False))
    assert bench.server.calls == []
    assert bench.files.read_managed_zookeeper() is not None


def test_one_step_at_a_time(bench: Bench) -> None:
    """A server that is asked for while the one before ends is begun when that has ended."""
    bench.run_already()
    bench.start()
    ending = bench.server
    ending.ends_at_once = False
    bench.ask(ServerRequest(2, wanted=False))
    bench.ask(ServerRequest(3, others=(FIRST.line(),)))
    assert bench.server is ending
    ending.end()
    bench.reactor.turn()
    assert list(parse_servers(bench.server.settings.server)) == [3]
    assert bench.server.calls == ["start"]


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (ServerNotFound("ZooKeeper is not installed."), "The ensemble's server: ZooKeeper is not installed."),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("planted"), "Traceback"),
    ],
)
def test_a_server_that_cannot_be_run(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    logged: str,
) -> None:
    """Whoever asked is told why; when it is asked for again, it is tried again."""

    def fail() -> None:
        raise error

    with monkeypatch.context() as planted:
        planted.setattr("fabric.ensemble_member.find_zookeeper", fail)
        bench.start()
        bench.ask(ServerRequest(2, others=(FIRST.line(),)))
    assert bench.state == ServerState(error=str(error))
    assert logged in caplog.text
    assert bench.told == []
    bench.ask(ServerRequest(2, wanted=False, others=(FIRST.line(),)))
    assert bench.state is None
    bench.ask(ServerRequest(3, others=(FIRST.line(),)))
    assert bench.state is not None
    assert not bench.state.error


def test_no_port_is_free(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what to do."""
    monkeypatch.setattr("fabric.ensemble_settings.port_is_free", lambda host, port: False)
    bench.start()
    bench.ask(ServerRequest(2, others=(FIRST.line(),)))
    assert bench.state is not None
    assert bench.state.error.startswith("No port is free for ZooKeeper.")


def test_a_request_that_nobody_understands(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the server goes on."""
    bench.run_already()
    bench.start()
    for data in (b"nothing", b'{"id": "x"}'):
        bench.session.put(paths.ensemble_server(NAME), data)
        bench.reactor.turn()
    assert "does not hold JSON" in caplog.text
    assert "a field is not what it should be" in caplog.text
    assert bench.server.calls == []


def test_a_server_that_the_registry_does_not_know(bench: Bench) -> None:
    """The first one introduces itself, with the secret of the ensemble; what is known is left as it is."""
    bench.run_already()
    bench.session.delete(paths.ensemble_secret())
    bench.start()
    assert parse_request(bench.session.get(paths.ensemble_server(NAME)).data) == ServerRequest(2)
    assert bench.session.get(paths.ensemble_secret()).data == b"s3cr3t"
    assert bench.state is not None
    assert bench.state.url == "10.0.0.2:2181"
    bench.session.put(paths.ensemble_secret(), b"other")
    bench.start()
    assert bench.session.get(paths.ensemble_secret()).data == b"other"


def test_a_registry_that_is_not_told(
    bench: Bench, zookeeper: FakeZooKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the server runs on."""
    bench.run_already()
    zookeeper.refused.append("create")
    bench.start()
    assert "The registry was not told of the ensemble's server" in caplog.text
    assert bench.server.calls == []


def test_another_address(bench: Bench) -> None:
    """Where the server is reached is told anew; without a server of an ensemble there is nothing to tell."""
    bench.membership.readvertise()
    bench.reactor.turn()
    assert bench.state is None
    bench.run_already()
    bench.start()
    bench.context.advertised_host = "192.0.2.7"
    bench.membership.readvertise()
    bench.reactor.turn()
    assert bench.state is not None
    assert bench.state.url == "192.0.2.7:2181"


def test_a_container_that_ends_follows_no_longer(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Also while it gets its server ready, or while a step before is under way."""
    bench.start()
    bench.session.put(paths.ensemble_server(NAME), ServerRequest(2, others=(FIRST.line(),)).to_bytes())
    prepared = bench.files.write_managed_zookeeper
    bench.files.write_managed_zookeeper = lambda settings: (prepared(settings), bench.membership.cancel())[0]  # type: ignore[method-assign]  # for this test
    bench.reactor.turn()
    assert bench.context.managed_zookeeper is None
    assert bench.told == []
    bench.ask(ServerRequest(3, others=(FIRST.line(),)))
    assert bench.context.managed_zookeeper is None
    assert bench.state is None
    assert caplog.text == ""
