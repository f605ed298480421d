"""Distributed transactions of Apache's Java client, across crashes of its broker: Apache's and ours."""

from collections.abc import Collection
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker, our_pair
from support.relay import Relay
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests

from journal.files import PosixFiles
from journal.inspection import inspect_files

pytestmark = pytest.mark.interop

STEPS = [
    "prepared: 0",
    "waiting for an outcome: [sent[0, -56]]",
    "seen before it: nothing",
    "by another connection: committed",
    "seen after it: 1 2",
    "once more: error -4",
    "waiting afterwards: []",
    "nothing done, prepared: 3",
    "not prepared, in two phases: error -6",
    "in one phase: committed",
    "seen then: 3",
    "not prepared: rolled back",
    "prepared, then: rolled back",
    "seen of it: nothing",
    "unknown, committed: error -4",
    "unknown, rolled back: error -4",
    "taken: 6 (delivery 1)",
    "prepared by its taker: 0",
    "left for others: 7",
    "its taker is gone, committed: committed",
    "left at last: nothing",
    "never prepared, its client is gone: error -4",
]
PREPARED = ["taken: moved (delivery 1), published (delivery 1)", "prepared: 0"]
COMMITTED = [
    "prepared: [moving[0, -56]]",
    "outcome: committed",
    "prepared afterwards: []",
    "subscriber: inside, nothing",
    "from: stays",
    "to: moved",
]
ROLLED_BACK = [
    "prepared: [moving[0, -56]]",
    "outcome: rolled back",
    "prepared afterwards: []",
    "subscriber: published, nothing",
    "from: moved stays",
    "to: nothing",
]
OUTCOMES = {"commit": COMMITTED, "rollback": ROLLED_BACK}


def test_the_steps_are_right(programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    with apache_broker(programs, tmp_path / "apache") as url:
        assert programs.facts("Branches", url) == STEPS


def test_the_steps_with_our_broker(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path
) -> None:
    """Our broker answers each step as Apache's does."""
    with our_broker(zookeeper, tmp_path) as broker:
        assert programs.facts("Branches", broker.url) == STEPS


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_crashes_of_apaches_broker_are_right(programs: JavaPrograms, tmp_path: Path, outcome: str) -> None:
    """What is expected of a branch after a crash is what Apache's broker does."""
    with apache_broker(programs, tmp_path / "apache") as url:
        assert programs.facts("Branches", url, "prepare") == PREPARED
    with apache_broker(programs, tmp_path / "apache") as url:
        assert programs.facts("Branches", url, outcome) == OUTCOMES[outcome]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_takeover_with_a_prepared_branch(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path, outcome: str
) -> None:
    """The master is killed: its slave lists the branch and ends it, with nothing lost or twice."""
    with our_pair(zookeeper, tmp_path) as (master, slave):
        assert programs.facts("Branches", master.url, "prepare") == PREPARED
        master.kill()
        slave.wait_listening()
        assert programs.facts("Branches", slave.url, outcome) == OUTCOMES[outcome]


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("is_answered", [True, False])
def test_a_client_follows_a_takeover_with_its_branch(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path, outcome: str, is_answered: bool
) -> None:
    """With `failover:` it says all of its branch again, the preparation too, answered before or not."""
    with our_pair(zookeeper, tmp_path) as (master, slave), Relay(master.port) as relay:
        url = f"failover:({relay.url},{slave.url})?randomize=false&maxReconnectDelay=100"
        with programs.start(tmp_path / "facts", "Branches", url, "follow", outcome) as client:
            client.wait_for("ended")
            if not is_answered:
                relay.silence()
            client.go_on()
            wait_until(lambda: len(prepared(tmp_path / "store")) == 1, 30.0, "a prepared branch")
            if is_answered:
                client.wait_for("prepared")
            master.kill()
            slave.wait_listening()
            assert client.wait_for("prepared") == ["0"]
            client.go_on()
            client.wait_ended()
            facts = client.facts()
    taken, ended, *rest = facts
    assert [taken, ended, rest[0]] == [PREPARED[0], "ended: true", PREPARED[1]]
    assert rest[1] == OUTCOMES[outcome][0].replace("prepared", "waiting")
    assert rest[2:] == OUTCOMES[outcome][1:]


def prepared(store: Path) -> Collection[object]:
    """The prepared branches of a store, its master at work."""
    return inspect_files(PosixFiles(store), str(store)).state.branches.prepared
