"""Elections under any sequence of faults.

Fault model: the registry goes away and comes back; sessions expire, with or without their owner noticing at
once; replies to any kind of request are lost together with the connection; requests are refused; strangers
delete members; take-overs fail; brokers step down late, or stop and start again. Between any two of these,
any part of what each broker has been posted is run, so that brokers act on news of different age.

Afterwards all faults end. Then one broker has to be master, everybody else a slave, and the group has to hold
exactly one member of each.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_zookeeper import FakeZooKeeper
from support.pump import Pump

from registry import election, paths
from registry.election import BrokerElection
from registry.group import Membership
from registry.roles import Role, Standing
from registry.session import SessionState

GROUP = paths.amq_group("g")
BROKERS = 3
SETTLING_ROUNDS = 12


class Broker:
    """A broker with a thread and a clock of its own."""

    def __init__(self, zookeeper: FakeZooKeeper, container: str) -> None:
        self.zookeeper = zookeeper
        self.container = container
        self.pump = Pump()
        self.session = self.pump.open_session(zookeeper)
        self.serving = False
        self.begin()

    def begin(self) -> None:
        """Take part."""
        self.election = BrokerElection(
            self.session, "g", "b", self.container, self, choose_delay_s=lambda least, most: least
        )
        self.election.start()

    def end(self) -> None:
        """Leave, and start again."""
        self.election.stop()
        self.serving = False
        self.begin()

    def take_over(self) -> None:
        """Check that this may be asked."""
        assert not self.serving
        assert self.session.state is SessionState.CONNECTED
        self.serving = True

    def step_down(self, reason: str) -> None:
        """Check that this may be asked."""
        assert self.serving
        assert self.session.state is SessionState.CONNECTED
        assert reason

    def serve(self) -> None:
        """Answer a take-over."""
        if self.election.state is Role.TAKING_OVER:
            self.election.publish([f"tcp://{self.container}:1"])

    def give_up(self) -> None:
        """Answer a step-down, or fail."""
        if self.serving:
            self.serving = False
            self.election.failed(0.0)

    def remove(self) -> None:
        """Lose the znode to a stranger."""
        path = f"{GROUP}/{self.election.member_name}"
        if self.zookeeper.up and path in self.zookeeper.nodes:
            self.zookeeper.delete(path)

    def expire(self) -> None:
        """Lose the session: noticed at once if connected, else when the registry is back."""
        self.zookeeper.expire(self.session.session_id)


INDEXES = st.integers(0, BROKERS - 1)
KINDS = st.sampled_from(["create", "set", "delete", "get", "children", "exists"])
BROKER_STEPS = st.sampled_from(["end", "serve", "give_up", "remove", "expire"])
STEPS = st.one_of(
    st.tuples(BROKER_STEPS, INDEXES),
    st.tuples(st.just("run"), INDEXES, st.integers(1, 6)),
    st.tuples(st.just("advance"), INDEXES),
    st.tuples(st.sampled_from(["lose", "refuse"]), KINDS),
    st.sampled_from([("outage",), ("return",)]),
)


def perform(zookeeper: FakeZooKeeper, brokers: list[Broker], step: tuple) -> None:
    """Do one thing to the cluster."""
    match step:
        case ("outage",):
            zookeeper.stop()
        case ("return",):
            zookeeper.start()
        case ("lose", kind):
            zookeeper.lost_replies.append(kind)
        case ("refuse", kind):
            zookeeper.refused.append(kind)
        case ("run", index, count):
            for _ in range(min(count, len(brokers[index].pump.posted))):
                brokers[index].pump.posted.pop(0)()
        case ("advance", index):
            brokers[index].pump.advance(0.5)
        case (name, index):
            getattr(brokers[index], name)()


def settle(zookeeper: FakeZooKeeper, brokers: list[Broker]) -> None:
    """End all faults, and let everybody answer until nothing is left to do."""
    zookeeper.lost_replies.clear()
    zookeeper.refused.clear()
    zookeeper.start()
    for _ in range(SETTLING_ROUNDS):
        for broker in brokers:
            broker.pump.advance(2)
            if broker.election.state is Role.STEPPING_DOWN:
                broker.give_up()
            broker.serve()
            broker.pump.run()


def run(steps: list[tuple]) -> None:
    """Do it all, and check what it has come to."""
    zookeeper = FakeZooKeeper()
    brokers = [Broker(zookeeper, f"c{number}") for number in range(BROKERS)]
    for step in steps:
        perform(zookeeper, brokers, step)
    settle(zookeeper, brokers)
    roles = sorted(broker.election.state.value for broker in brokers)
    assert roles == ["master", "slave", "slave"]
    records = [
        json.loads(zookeeper.node(f"{GROUP}/{name}").data) for name in sorted(zookeeper.children(GROUP))
    ]
    assert sorted(record["container"] for record in records) == ["c0", "c1", "c2"]
    assert all(record["ready"] for record in records)
    master = next(broker for broker in brokers if broker.election.state is Role.MASTER)
    expected = [[f"tcp://{master.container}:1"], [], []]
    assert [record["services"] for record in records] == expected
    assert records[0]["container"] == master.container


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_one_master_in_the_end(steps: list[tuple]) -> None:
    """Whatever has happened: one master, the others slaves, one ready member of each, no phantoms."""
    run(steps)


JOINED = [("advance", number) for number in range(BROKERS)] * 2


@pytest.mark.parametrize(
    ("owner", "name", "bug", "steps"),
    [
        (Membership, "_is_ours", lambda self, name, data: False, [("lose", "create"), ("end", 0)]),
        (Membership, "_on_own_data", lambda self, name, data: None, [("remove", 1)]),
        (election, "standing", lambda members, unread, own, broker_id: Standing.FIRST, []),
        (Membership, "rejoin", lambda self, delay_s: None, [("give_up", 0)]),
    ],
    ids=["lost reply", "removed member", "wrong vote", "failed take-over"],
)
def test_planted_bugs_are_found(
    owner: object, name: str, bug: object, steps: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check fails when a part of the election is taken out."""
    run([*JOINED, *steps, *JOINED])
    monkeypatch.setattr(owner, name, bug)
    with pytest.raises((AssertionError, StopIteration)):
        run([*JOINED, *steps, *JOINED])


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS.filter(lambda step: step[0] in ("run", "advance", "outage", "return")), max_size=40))
def test_outages_alone_move_nothing(steps: list[tuple]) -> None:
    """Outages that no session falls victim to ask nothing of a master and of nobody else (P6)."""
    zookeeper = FakeZooKeeper()
    brokers = [Broker(zookeeper, f"c{number}") for number in range(BROKERS)]
    settle(zookeeper, brokers)
    master = next(broker for broker in brokers if broker.election.state is Role.MASTER)
    members = sorted(zookeeper.children(GROUP))
    for step in steps:
        perform(zookeeper, brokers, step)
        assert [broker.serving for broker in brokers].count(True) == 1
        assert master.election.state is Role.MASTER
    settle(zookeeper, brokers)
    assert sorted(zookeeper.children(GROUP)) == members
    assert master.election.state is Role.MASTER
