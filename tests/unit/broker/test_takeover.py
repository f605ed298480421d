"""The phases of a takeover, and the records they become."""

from collections.abc import Callable
from typing import Any

import pytest
from support.fake_reactor import FakeReactor

from broker.takeover import FIRST_SEND_S_MAX, Phase, Takeover
from broker.timeline import FENCED, Timeline
from registry.errors import RegistryUnavailable
from registry.kazoo_edge import SessionState
from registry.takeovers import TakeoverRecord


class FakeSession:
    """A session that answers when told."""

    def __init__(self) -> None:
        self.state = SessionState.CONNECTED
        self.written: list[TakeoverRecord] = []
        self.is_alive: bool | Exception = False
        self.answers: list[Callable[[], None]] = []

    def add_state_listener(self, listener: object) -> None:
        """Nothing changes here."""

    def remove_state_listener(self, listener: object) -> None:
        """Likewise."""

    def exists_later(self, path: str, done: Callable[[Any], None]) -> None:
        """Keep the answer."""
        self.asked = path
        self.answers.append(lambda: done(self.is_alive))

    def create_later(self, path: str, data: bytes, done: Callable[[Any], None], *, sequential: bool) -> None:
        """Write, and answer at once."""
        assert sequential
        self.written.append(TakeoverRecord.parse(path, data))
        done(f"{path}0000000000")

    def children_later(self, path: str, done: Callable[[Any], None]) -> None:
        """There are few."""
        done(["0000000000"])

    def answer(self) -> None:
        """Give the answers that are due."""
        waiting, self.answers = self.answers, []
        for each in waiting:
            each()


class FakeElection:
    """What the timeline asks of an election."""

    def __init__(self, last_master: str = "") -> None:
        self.last_master = last_master
        self.members: set[str] = set()

    def has_other_member(self, container: str) -> bool:
        """Whether it is one."""
        return container in self.members


class Bench:
    """A timeline on a clock."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.session = FakeSession()
        session: Any = self.session
        self.timeline = Timeline(self.reactor, session, group="g", broker="b", container="c2")

    def take_over(self, election: FakeElection, *, send: bool = True) -> Takeover:
        """Go through all phases."""
        takeover = self.timeline.begin(election)
        takeover.epoch = 7
        self.session.answer()
        for phase in (Phase.CLAIMED, Phase.RECOVERED, Phase.LISTENING):
            takeover.reach(phase)
        self.timeline.publish()
        if send:
            takeover.reach(Phase.FIRST_SEND)
        return takeover


def test_phases_are_measured_from_the_election() -> None:
    """Each phase has the milliseconds since the election, and counts once."""
    now = iter((10.0, 10.003, 10.05, 11.0))
    takeover = Takeover(wall_s=lambda: 1_700_000_000.5, monotonic_s=lambda: next(now))
    takeover.reach(Phase.CLAIMED)
    takeover.reach(Phase.RECOVERED)
    takeover.reach(Phase.CLAIMED)
    assert takeover.at_ms == 1_700_000_000_500
    assert takeover.phases_ms() == {
        "detected": 0.0,
        "claimed": pytest.approx(3),
        "recovered": pytest.approx(50),
    }


def test_a_takeover_is_recorded_when_somebody_has_sent() -> None:
    """The record has all phases, written behind the last of them."""
    bench = Bench()
    takeover = bench.take_over(FakeElection("c1"), send=False)
    assert not bench.session.written
    takeover.reach(Phase.FIRST_SEND)
    (record,) = bench.session.written
    assert (record.container, record.previous_container, record.epoch) == ("c2", "c1", 7)
    assert list(record.phases_ms) == [phase.value for phase in Phase]


def test_a_send_before_the_address_is_published_completes_it_with_that() -> None:
    """A client that knew the address already may be first; the znode is waited for."""
    bench = Bench()
    takeover = bench.timeline.begin(FakeElection())
    takeover.reach(Phase.FIRST_SEND)
    assert not bench.session.written
    bench.timeline.publish()
    assert len(bench.session.written) == 1


def test_nobody_sends() -> None:
    """After a minute the takeover is recorded without a first send; one that comes then changes nothing."""
    bench = Bench()
    takeover = bench.take_over(FakeElection(), send=False)
    bench.reactor.advance(FIRST_SEND_S_MAX)
    (record,) = bench.session.written
    assert "first_send" not in record.phases_ms
    takeover.reach(Phase.FIRST_SEND)
    assert len(bench.session.written) == 1


@pytest.mark.parametrize(
    ("last_master", "is_alive", "rejoined", "reason"),
    [
        ("", False, False, "start"),
        ("c1", False, False, "previous master died"),
        ("c1", False, True, "previous master died"),
        ("c1", True, False, "previous master stopped"),
        ("c1", True, True, "previous master stepped down"),
        ("c1", RegistryUnavailable("away"), False, ""),
        ("c2", False, False, ""),
    ],
)
def test_the_reason(last_master: str, is_alive: bool | Exception, rejoined: bool, reason: str) -> None:
    """It is told from what is left of the master before: its container's znode, its place in the group."""
    bench = Bench()
    bench.session.is_alive = is_alive
    election = FakeElection(last_master)
    if rejoined:
        election.members.add(last_master)
    bench.take_over(election)
    assert [record.reason for record in bench.session.written] == [reason]


def test_a_master_that_was_fenced_and_comes_back() -> None:
    """Its own loss is the reason, unless another broker served meanwhile."""
    bench = Bench()
    bench.take_over(FakeElection())
    bench.timeline.lose(FENCED)
    bench.take_over(FakeElection("c2"))
    bench.timeline.lose(FENCED)
    bench.take_over(FakeElection("c1"))
    assert [record.reason for record in bench.session.written] == ["start", FENCED, "previous master died"]


def test_a_takeover_that_fails_leaves_no_record() -> None:
    """It is counted only."""
    bench = Bench()
    bench.timeline.begin(FakeElection())
    bench.timeline.fail()
    bench.timeline.publish()
    bench.reactor.advance(FIRST_SEND_S_MAX)
    assert not bench.session.written
    figures = bench.timeline.figures()
    assert (figures.done, figures.failed, figures.last_s) == (0, 1, {})


def test_what_is_counted() -> None:
    """Takeovers, how long they took, and the phases of the last one."""
    bench = Bench()
    bench.take_over(FakeElection())
    bench.timeline.end()
    bench.take_over(FakeElection(), send=False)
    figures = bench.timeline.figures()
    assert (figures.done, figures.failed, figures.seconds.count) == (2, 0, 2)
    assert list(figures.last_s) == [phase.value for phase in Phase if phase is not Phase.FIRST_SEND]
