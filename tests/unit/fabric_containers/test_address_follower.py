"""Where the ensemble is, followed: what is taken over, what is not, and what is tried again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_reactor import FakeReactor
from support.fake_zookeeper import FakeZooKeeper

from fabric.home import Home, RegistryAddress
from fabric.registry_address import RETRY_S, AddressFollower
from registry import paths
from registry.session import Session

FIRST = RegistryAddress("fake:1", "secret")


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of somebody who listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


class Bench:
    """A container of a fabric that runs its ensemble itself."""

    def __init__(self, reactor: FakeReactor, session: Session, folder: Path) -> None:
        self.reactor = reactor
        self.session = session
        self.home = Home(folder)
        self.home.make()
        self.home.write_registry_address(FIRST)
        session.put(paths.ensemble(), b"0000")
        session.put(paths.ensemble_members("0000"), b"root")
        self.moved: list[str] = []
        session.move_to = self.moved.append  # type: ignore[method-assign]  # there is one server only
        self.told: list[str] = []
        self.follower = AddressFollower(reactor, session, self.home, self.told.append)
        self.follower.start()
        reactor.turn()

    def tell(self, url: str) -> None:
        """The registry says where it is."""
        self.session.put(paths.ensemble_url(), url.encode())
        self.reactor.turn()

    def is_left_alone(self) -> bool:
        """Whether nothing was taken over."""
        return not self.moved and not self.told and self.home.read_registry_address() == FIRST


@pytest.fixture
def bench(reactor: FakeReactor, session: Session, tmp_path: Path) -> Bench:
    """One that follows."""
    return Bench(reactor, session, tmp_path)


def test_another_address_is_taken_over(bench: Bench, listening: str) -> None:
    """By the session, by who is told, and in the home with its password; one that answers is enough."""
    url = f"127.0.0.1:1,{listening}"
    bench.tell(url)
    assert bench.moved == bench.told == [url]
    assert bench.home.read_registry_address() == RegistryAddress(url, "secret")


def test_the_same_address_is_nothing_new(bench: Bench) -> None:
    """Nor is none."""
    bench.tell("fake:1")
    bench.tell("")
    assert bench.is_left_alone()


def test_an_ensemble_of_others_is_not_followed(bench: Bench, listening: str) -> None:
    """Each host has its own way to it."""
    bench.session.put(paths.ensemble_members("0000"), b"")
    bench.tell(listening)
    assert bench.is_left_alone()


def test_an_address_that_nobody_answers_at_is_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry may say it in words that this host does not understand, or only later."""
    refusing = "127.0.0.1:1"
    bench.tell(refusing)
    assert bench.is_left_alone()
    assert f"None of the ensemble's servers {refusing} is reached from this host" in caplog.text
    monkeypatch.setattr("fabric.registry_address._accepts", lambda address: True)
    bench.reactor.pass_time(RETRY_S)
    assert bench.told == [refusing]


def test_an_attempt_that_is_out_of_date_is_not_made(bench: Bench, listening: str) -> None:
    """What was said last counts; and nothing, once the container ends."""
    bench.tell("127.0.0.1:1")
    bench.tell(listening)
    bench.reactor.pass_time(2 * RETRY_S)
    assert bench.told == [listening]
    bench.tell("127.0.0.1:1")
    bench.follower.cancel()
    bench.reactor.pass_time(2 * RETRY_S)
    bench.tell(f"{listening},127.0.0.1:1")
    assert bench.told == [listening]


def test_what_fails_is_logged_and_tried_again(
    bench: Bench, zookeeper: FakeZooKeeper, listening: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused read in words, a mistake of ours with its place."""
    bench.session.put(paths.ensemble_url(), listening.encode())
    zookeeper.refused.extend(["get", "get"])  # the watch's, and who runs the ensemble
    bench.reactor.pass_time(1.0)
    for _ in range(3):
        bench.reactor.pass_time(RETRY_S)
    assert bench.told == [listening]

    def fail(url: str) -> None:
        raise RuntimeError(f"planted for {url}")

    bench.session.move_to = fail  # type: ignore[method-assign]  # for this test
    bench.tell(f"{listening},127.0.0.1:1")
    assert "Traceback" in caplog.text
    assert bench.told == [listening]
