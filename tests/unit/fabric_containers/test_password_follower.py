"""A container follows the ensemble's password: it notes it, says so, and finds in again when it was away."""

import logging
from pathlib import Path

import pytest
from support.fake_reactor import FakeReactor
from support.fake_zookeeper import FakeZooKeeper

from fabric.home import Home, RegistryAddress
from fabric.password_follower import RETRY_S, PasswordFollower
from registry import paths
from registry.password import ToldPassword
from registry.session import Session

BOTH = ToldPassword("1", "new", before="x")
ALONE = ToldPassword("2", "new")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The host's files, of the time before."""
    home = Home(tmp_path / "home")
    home.make()
    home.write_registry_address(RegistryAddress("fake:1", "x"))
    home.write_root_name("root")
    return home


@pytest.fixture
def follower(reactor: FakeReactor, session: Session, home: Home) -> PasswordFollower:
    """The follower of container `c`, started."""
    follower = PasswordFollower(reactor, session, home, "c")
    follower.start()
    reactor.turn()
    return follower


def answered(session: Session) -> bytes | None:
    """Return what the container has said."""
    node = session.get_or_none(paths.ensemble_password_taken("c"))
    return None if node is None else node.data


def tell(reactor: FakeReactor, session: Session, told: ToldPassword) -> None:
    """Let the registry say it."""
    session.put(paths.ensemble_password(), told.to_bytes())
    reactor.turn()


def test_each_step_is_noted_and_answered(
    reactor: FakeReactor, session: Session, home: Home, follower: PasswordFollower
) -> None:
    """The host's file has the new password, closed to others, before the registry is told so."""
    assert answered(session) is None
    for told in (BOTH, ALONE):
        tell(reactor, session, told)
        assert answered(session) == told.step.encode()
        assert home.read_registry_address() == RegistryAddress("fake:1", "new")
        assert home.read_root_name() == "root"
    assert (home.path / "fabric.json").stat().st_mode & 0o777 == 0o600
    assert session.password == "new"
    follower.cancel()
    tell(reactor, session, ToldPassword("3", "newer"))
    assert answered(session) == b"2"


def test_a_file_that_cannot_be_written_is_tried_again(
    reactor: FakeReactor,
    session: Session,
    home: Home,
    follower: PasswordFollower,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is answered before the host knows; the log says why."""
    content = (home.path / "fabric.json").read_bytes()
    (home.path / "fabric.json").write_bytes(b"damaged")
    tell(reactor, session, BOTH)
    assert answered(session) is None
    assert "is not taken over" in caplog.text
    (home.path / "fabric.json").write_bytes(content)
    reactor.pass_time(RETRY_S)
    assert answered(session) == b"1"


def test_who_was_away_finds_in_when_the_password_is_noted(
    reactor: FakeReactor,
    session: Session,
    zookeeper: FakeZooKeeper,
    home: Home,
    follower: PasswordFollower,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says once what to type; what is noted on the host is used, in the same process."""
    caplog.set_level(logging.INFO)
    zookeeper.expire(session.session_id)
    zookeeper.refused += ["get"] * 100
    reactor.pass_time(0.1)
    assert caplog.text.count("fabric ensemble-password --note") == 1
    home.change_registry_address(zookeeper_password="new")
    reactor.pass_time(RETRY_S)
    assert session.password == "new"
    zookeeper.refused.clear()
    reactor.pass_time(RETRY_S)
    tell(reactor, session, ToldPassword("1", "newest", before="new"))
    assert answered(session) == b"1"
