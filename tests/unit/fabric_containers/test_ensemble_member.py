"""What a container says of the server it was asked to run, when that does not start."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.fake_reactor import FakeReactor

from fabric.ensemble_member import EnsembleMembership
from fabric.ensembles import ServerRequest, ServerState, parse_state
from fabric.home import Home, ManagedZooKeeper
from fabric.services import ServiceContext
from registry import paths
from registry.errors import ServerNotStarted
from registry.quorum import parse_servers
from registry.session import Session

TAKEN = "ZooKeeper cannot listen on 127.0.0.1:2888, for the ensemble's other servers: Address already in use"


class Server:
    """A ZooKeeper server whose port is taken as long as it is said so; else this process is it."""

    def __init__(self) -> None:
        self.is_taken = True
        self.pid: int | None = None

    def start(self) -> None:
        """Start it."""
        if self.is_taken:
            raise ServerNotStarted(TAKEN)
        self.pid = os.getpid()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server that whoever asks for one is given."""
    server = Server()

    def server_of(settings: ManagedZooKeeper) -> Server:
        assert len(parse_servers(settings.server)) == 1
        return server

    monkeypatch.setattr("fabric.services.zookeeper.server_of", server_of)
    monkeypatch.setattr("fabric.ensemble_member.find_zookeeper", lambda: None)
    monkeypatch.setattr("fabric.ensemble_settings.port_is_free", lambda host, port: True)
    return server


def told(session: Session) -> ServerState | None:
    """What the registry knows of the server."""
    node = session.get_or_none(paths.ensemble_server_state("c"))
    return parse_state(node.data) if node else None


def test_why_a_server_does_not_start_is_told_and_taken_back(
    reactor: FakeReactor, session: Session, server: Server, tmp_path: Path
) -> None:
    """Whoever waits for it learns it at once; where the port is free again, all goes on by itself."""
    files = Home(tmp_path).container("c")
    files.make()
    context = SimpleNamespace(
        container="c",
        bind_address="127.0.0.1",
        advertised_host="127.0.0.1",
        port_min=0,
        port_max=65535,
        managed_zookeeper=None,
    )
    session.put(paths.ensemble_secret(), b"secret")
    membership = EnsembleMembership(
        reactor, session, files, cast(ServiceContext, context), lambda server: None
    )
    membership.start()
    session.put(
        paths.ensemble_server("c"), ServerRequest(2, others=("server.1=a:1:2:participant;a:3",)).to_bytes()
    )
    reactor.turn()
    state = told(session)
    assert state is not None
    assert state.error == TAKEN
    server.is_taken = False
    reactor.pass_time(1.0)
    state = told(session)
    assert state is not None
    assert not state.error
    assert list(parse_servers(state.server)) == [2]
    membership.cancel()
    context.managed_zookeeper.release()
