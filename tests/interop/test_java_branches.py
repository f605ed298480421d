"""Distributed transactions of Apache's Java client, across crashes of its broker: Apache's and ours."""

from pathlib import Path

import pytest
from support.apache import INTEROP_SOURCES, JavaPrograms, start_apache_broker
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

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


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> JavaPrograms:
    """The Java programs, compiled once."""
    return JavaPrograms(tmp_path_factory.mktemp("classes"), INTEROP_SOURCES)


def test_the_steps_are_right(programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    broker, url = start_apache_broker(programs, tmp_path / "apache")
    with broker:
        assert programs.facts("Branches", url) == STEPS


def test_the_steps_with_our_broker(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path
) -> None:
    """Our broker answers each step as Apache's does."""
    add_user(zookeeper)
    broker = OurBroker(zookeeper, tmp_path, port=free_port())
    with running(broker):
        broker.wait_listening()
        assert programs.facts("Branches", broker.url) == STEPS


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_crashes_of_apaches_broker_are_right(programs: JavaPrograms, tmp_path: Path, outcome: str) -> None:
    """What is expected of a branch after a crash is what Apache's broker does."""
    broker, url = start_apache_broker(programs, tmp_path / "apache")
    with broker:
        assert programs.facts("Branches", url, "prepare") == PREPARED
    broker, url = start_apache_broker(programs, tmp_path / "apache")
    with broker:
        assert programs.facts("Branches", url, outcome) == OUTCOMES[outcome]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_takeover_with_a_prepared_branch(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path, outcome: str
) -> None:
    """The master is killed: its slave lists the branch and ends it, with nothing lost or twice."""
    add_user(zookeeper)
    first = OurBroker(zookeeper, tmp_path, port=free_port(), container="first")
    with running(first):
        first.wait_listening()
        second = OurBroker(zookeeper, tmp_path, port=free_port(), container="second")
        with running(second):
            assert programs.facts("Branches", first.url, "prepare") == PREPARED
            first.kill()
            second.wait_listening()
            assert programs.facts("Branches", second.url, outcome) == OUTCOMES[outcome]
