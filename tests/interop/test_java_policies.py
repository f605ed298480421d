"""Policies per destination, and message groups: Apache's Java client sees the same of both brokers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import INTEROP_SOURCES, JavaPrograms
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop

POLICIES = {
    "policy.queue.interop.policies.exclusive.allConsumersExclusiveByDefault": "true",
    "policy.queue.interop.policies.strict.strictOrderDispatch": "true",
    "policy.queue.interop.policies.starting.consumersBeforeDispatchStarts": "2",
    "policy.queue.interop.policies.starting.timeBeforeDispatchStarts": "30000",
    "policy.queue.interop.policies.pull.queuePrefetch": "0",
    "policy.queue.interop.policies.refusing.memoryLimit": "204800",
    "policy.queue.interop.policies.refusing.pendingQueuePolicy": "vmQueueCursor",
    "policy.queue.interop.policies.refusing.sendFailIfNoSpace": "true",
    "policy.queue.interop.policies.blocking.memoryLimit": "204800",
    "policy.queue.interop.policies.blocking.pendingQueuePolicy": "vmQueueCursor",
    "policy.queue.interop.policies.windows.memoryLimit": "204800",
    "policy.queue.interop.policies.windows.pendingQueuePolicy": "vmQueueCursor",
}
"""For both brokers; memory for about 20 of the program's messages."""

EXPECTED: dict[str, list[str]] = {
    "Groups": [
        "one consumer: x1 first x 1, x2 x 2, y1 first y 1",
        "a new group, for whom has fewer: z1 first z 1",
        "an old group stays: x3 x 3",
        "closed: x4 x -1",
        "opened again, for whom has as few: x5 first x 0",
        "not told again: z2 z 2",
        "the owner is gone: z3 first z 3",
    ],
    "Policies": [
        "exclusive by default, first: 1 2 3",
        "exclusive by default, second: nothing",
        "exclusive by default, afterwards: 4",
        "strict order, second: 3 4",
        "strict order, first: 1 2",
        "one consumer of two: nothing",
        "both of two: true",
        "pulled: 1 2 3",
        "nothing to pull: nothing",
        "blocked where it is full: true",
        "not blocked elsewhere: 1",
        "received in the end: 60",
        "sent in the end: true",
    ],
    "Windows": [
        "waits for its window: true",
        "on the same connection: elsewhere (delivery 1)",
        "received in the end: 60",
        "sent in the end: true",
    ],
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> JavaPrograms:
    """The Java programs, compiled once."""
    return JavaPrograms(tmp_path_factory.mktemp("classes"), INTEROP_SOURCES)


@pytest.fixture(scope="module")
def apache_url(programs: JavaPrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Apache's broker with these policies."""
    data = Path(tmp_path_factory.mktemp("apache"))
    lines = [f"{key}={value}" for key, value in POLICIES.items()]
    with programs.start(data / "output", "PolicyApacheBroker", str(data), "0", *lines) as broker:
        yield broker.wait_for("ready")[0]


@pytest.fixture(scope="module")
def our_url(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our broker with these policies."""
    add_user(zookeeper)
    folder = tmp_path_factory.mktemp("interop")
    broker = OurBroker(zookeeper, folder, port=free_port(), properties=POLICIES)
    with running(broker):
        broker.wait_listening()
        yield broker.url


@pytest.mark.parametrize("program", EXPECTED)
def test_program_is_right(programs: JavaPrograms, apache_url: str, program: str) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    assert programs.facts(program, apache_url) == EXPECTED[program]


@pytest.mark.parametrize("program", EXPECTED)
def test_our_broker(programs: JavaPrograms, our_url: str, program: str) -> None:
    """Our broker does for Apache's client what Apache's broker does."""
    assert programs.facts(program, our_url) == EXPECTED[program]


def test_a_queue_that_refuses(programs: JavaPrograms, our_url: str) -> None:
    """`sendFailIfNoSpace` of one queue; Apache's broker forgets it for queues with a `vmQueueCursor`."""
    facts = programs.facts("Policies", our_url, "refusing")
    assert [fact for fact in facts if "refused" in fact] == [
        "refused where it is full: javax.jms.ResourceAllocationException",
        "not refused elsewhere: true",
    ]
