"""A fabric in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.memory_session import MemorySession

from fabric.bootstrap import ensemble_profiles, write_first_content
from fabric.cli.context import CommandContext
from fabric.cli.main import fabric
from fabric.store import ContainerStore, ProfileStore


@pytest.fixture
def session() -> MemorySession:
    """A registry with the first content and a root container."""
    session = MemorySession()
    write_first_content(session, profiles=ensemble_profiles(2181))
    ContainerStore(session).create(
        "root",
        profiles=["fabric", "fabric-ensemble-0000-1", "mq-amq"],
        version="1.0",
        fields={"ip": "${zk:root/localip}", "localip": "127.0.0.1", "resolver": "localip"},
    )
    return session


@pytest.fixture
def profiles(session: MemorySession) -> ProfileStore:
    """Its profiles."""
    return ProfileStore(session)


@pytest.fixture
def containers(session: MemorySession) -> ContainerStore:
    """Its containers."""
    return ContainerStore(session)


@pytest.fixture
def run(session: MemorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command; it must end with the exit code given."""
    monkeypatch.setattr(CommandContext, "session", session)
    monkeypatch.setattr(CommandContext, "current_container", "root")
    monkeypatch.setenv("FABRIC_HOME", str(tmp_path))

    def run(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(fabric, arguments, input=stdin)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run
