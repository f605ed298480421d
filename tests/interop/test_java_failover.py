"""Apache's own Java client survives a takeover with `failover:`, and a crash of the only broker."""

from pathlib import Path

import pytest
from support.apache import INTEROP_SOURCES, JavaPrograms
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop

SEND_PAUSE_MS = 2
SENDS_BEFORE = 100
SENDS_AFTER = 100
TAKEOVER_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> JavaPrograms:
    """The Java programs, compiled once."""
    return JavaPrograms(tmp_path_factory.mktemp("classes"), INTEROP_SOURCES)


def drained(programs: JavaPrograms, url: str, queue: str) -> list[int]:
    """All numbers that a queue holds, in its order."""
    facts = programs.facts("Drain", url, queue)
    return [int(fact.removeprefix("received: ")) for fact in facts]


def check(acknowledged: list[int], received: list[int]) -> None:
    """Nothing acknowledged is lost, nothing came twice, and the order is the sender's."""
    assert set(acknowledged) <= set(received)
    assert len(received) == len(set(received))
    assert received == sorted(received)


def test_takeover_by_the_slave(programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """Killing the master while a Java client sends loses nothing and stores no resent send twice."""
    add_user(zookeeper)
    first = OurBroker(zookeeper, tmp_path, port=free_port(), container="first")
    with running(first):
        first.wait_listening()
        second = OurBroker(zookeeper, tmp_path, port=free_port(), container="second")
        url = f"failover:({first.url},{second.url})?initialReconnectDelay=10&maxReconnectDelay=100"
        sender = programs.start(
            tmp_path / "sent", "SendUntilTold", url, "interop.takeover", str(SEND_PAUSE_MS)
        )
        with running(second), sender:
            sender.wait_for("acknowledged", SENDS_BEFORE)
            first.kill()
            before = len(sender.values("acknowledged"))
            sender.wait_for("acknowledged", before + SENDS_AFTER, TAKEOVER_TIMEOUT_S)
            sender.tell_to_stop()
            acknowledged = [int(value) for value in sender.values("acknowledged")]
            check(acknowledged, drained(programs, second.url, "interop.takeover"))


def test_restart_on_the_same_port(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path
) -> None:
    """A Java client follows a broker that crashed and was started again at the same address."""
    add_user(zookeeper)
    first = OurBroker(zookeeper, tmp_path, port=free_port(), container="first")
    with running(first):
        first.wait_listening()
        url = f"failover:({first.url})?initialReconnectDelay=10&maxReconnectDelay=100"
        sender = programs.start(
            tmp_path / "sent", "SendUntilTold", url, "interop.restart", str(SEND_PAUSE_MS)
        )
        with sender:
            sender.wait_for("acknowledged", SENDS_BEFORE)
            first.kill()
            again = OurBroker(zookeeper, tmp_path, port=first.port, container="first")
            with running(again):
                before = len(sender.values("acknowledged"))
                sender.wait_for("acknowledged", before + SENDS_AFTER, TAKEOVER_TIMEOUT_S)
                sender.tell_to_stop()
                acknowledged = [int(value) for value in sender.values("acknowledged")]
                check(acknowledged, drained(programs, again.url, "interop.restart"))
