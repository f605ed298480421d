"""Composite and mirrored queues, virtual topics of other names, and roles: as Apache's broker has them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import INTEROP_SOURCES, JavaPrograms
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

from registry.session import Session
from registry.users import UserRecord, UserStore, hash_password

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


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> JavaPrograms:
    """The Java programs, compiled once."""
    return JavaPrograms(tmp_path_factory.mktemp("classes"), INTEROP_SOURCES)


@pytest.fixture
def our_url(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[str]:
    """Our broker, with a guest."""
    add_user(zookeeper)
    session = Session(zookeeper.url, zookeeper.password)
    session.start()
    try:
        UserStore(session).put(UserRecord("guest", hash_password("guest"), ("guests",)))
    finally:
        session.close()
    broker = OurBroker(zookeeper, tmp_path, port=free_port(), properties=PROPERTIES)
    with running(broker):
        broker.wait_listening()
        yield broker.url


def test_program_is_right(programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    broker = programs.start(tmp_path / "output", "GuardedApacheBroker")
    with broker:
        assert programs.facts("Guarded", broker.wait_for("ready")[0]) == EXPECTED


def test_our_broker(programs: JavaPrograms, our_url: str) -> None:
    """Our broker forwards and refuses what Apache's broker does."""
    assert programs.facts("Guarded", our_url) == EXPECTED
