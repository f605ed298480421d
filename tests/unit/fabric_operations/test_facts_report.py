"""What a container says about its host, and when."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.fake_reactor import FakeReactor
from support.memory_session import MemorySession

from fabric.facts import INTERVAL_S, read_facts
from fabric.facts_report import FIRST_S, FactsReport, look_at
from fabric.software import SOFTWARE
from registry.errors import RegistryUnavailable

NUMBER = "0123456789abcdef0123456789abcdef"


class HeldBroker:
    """A service with a store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def store(self) -> tuple[str, str, Path]:
        """Its place."""
        return "g", "b", self.directory


@pytest.fixture
def reactor() -> FakeReactor:
    """A clock that stands still."""
    return FakeReactor()


@pytest.fixture
def session() -> MemorySession:
    """A registry."""
    return MemorySession()


def report(reactor: FakeReactor, session: MemorySession, *services: object) -> FactsReport:
    """The report of a container with these services."""
    by_pid = {str(number): service for number, service in enumerate(services)}
    context = SimpleNamespace(reactor=reactor, session=session, container="c", services=by_pid)
    return FactsReport(cast(Any, context), now=reactor.seconds)


def test_it_is_said_soon_and_then_from_time_to_time(
    reactor: FakeReactor, session: MemorySession, tmp_path: Path
) -> None:
    """Software, clock and stores; services without a store are left out."""
    (tmp_path / "store-id").write_text(NUMBER)
    made = report(reactor, session, HeldBroker(tmp_path), object())
    made.start()
    assert read_facts(cast(Any, session)) == {}
    reactor.pass_time(FIRST_S[0])
    facts = read_facts(cast(Any, session))["c"]
    assert (facts.software, facts.clock_s) == (SOFTWARE, FIRST_S[0])
    assert [(store.broker, store.directory, store.id) for store in facts.stores] == [
        ("b", str(tmp_path), NUMBER)
    ]
    reactor.pass_time(FIRST_S[1])
    assert read_facts(cast(Any, session))["c"].clock_s == sum(FIRST_S)
    reactor.pass_time(INTERVAL_S)
    assert read_facts(cast(Any, session))["c"].clock_s == sum(FIRST_S) + INTERVAL_S
    made.stop()
    assert not [call for call in reactor.getDelayedCalls() if call.active()]


def test_a_registry_that_is_away_is_tried_again(reactor: FakeReactor, session: MemorySession) -> None:
    """What cannot be written now is written the next time."""
    is_away = True

    def before_write(path: str) -> None:
        if is_away:
            raise RegistryUnavailable("away")

    session.before_write = before_write
    made = report(reactor, session)
    made.start()
    reactor.pass_time(FIRST_S[0])
    assert read_facts(cast(Any, session)) == {}
    is_away = False
    reactor.pass_time(FIRST_S[1])
    assert "c" in read_facts(cast(Any, session))
    made.stop()


def test_a_store_that_cannot_be_read(tmp_path: Path) -> None:
    """A directory that is missing is empty; one that cannot be read is a problem."""
    assert look_at("g", "b", tmp_path / "none").id == ""
    (tmp_path / "store-id").mkdir()
    assert look_at("g", "b", tmp_path).problem
