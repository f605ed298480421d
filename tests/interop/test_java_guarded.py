"""Composite and mirrored queues, virtual topics of other names, and roles: as Apache's broker has them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.our_broker import add_user
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

PROPERTIES = {
    "compositeQueue.guarded.both.forwardTo": "guarded.left, topic://guarded.right",
    "compositeQueue.guarded.copied.forwardTo": "guarded.copy",
    "compositeQueue.guarded.copied.forwardOnly": "false",
    "virtualTopic.name": "VT.>",
    "virtualTopic.prefix": "VC.*.",
    "useMirroredQueues": "true",
    "authorization.queue.guarded.board.>.read": "guests",
    "authorization.queue.guarded.box.write": "guests",
    "authorization.queue.guarded.box.admin": "guests",
}
EXPECTED = [
    "left: both at queue://guarded.left from queue://guarded.both",
    "right: both at topic://guarded.right from queue://guarded.both",
    "itself: nothing",
    "copy: copied at queue://guarded.copy from queue://guarded.copied",
    "original: copied at queue://guarded.copied",
    "virtual topic: virtual at queue://VC.me.VT.x from topic://VT.x",
    "mirror: mirrored",
    "mirrored: mirrored at queue://guarded.seen",
    "reads the board: news at queue://guarded.board.news",
    "writes to the board: JMSSecurityException",
    "makes a board: JMSSecurityException",
    "writes to the box: allowed",
    "reads the box: JMSSecurityException",
    "writes elsewhere: JMSSecurityException",
    "writes to both: JMSSecurityException",
    "temporary queue: to myself",
    "in the box: letter at queue://guarded.box",
]


@pytest.fixture
def our_url(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[str]:
    """Our broker, with a guest."""
    add_user(zookeeper, "guest", "guest", "guests")
    with our_broker(zookeeper, tmp_path, PROPERTIES) as broker:
        yield broker.url


def test_program_is_right(programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    with apache_broker(programs, tmp_path, name="GuardedApacheBroker") as url:
        assert programs.facts("Guarded", url) == EXPECTED


def test_our_broker(programs: JavaPrograms, our_url: str) -> None:
    """Our broker forwards and refuses what Apache's broker does."""
    assert programs.facts("Guarded", our_url) == EXPECTED
