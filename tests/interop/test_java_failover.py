"""Apache's own Java client survives a takeover with `failover:`, and a crash of the only broker."""

from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import failover_url, our_broker, our_pair
from support.openwire_peer import OpenWirePeer
from support.our_broker import OurBroker, running
from support.zookeeper import ZooKeeperForTests, free_port

from broker.openwire.commands import ConnectionControl, ConnectionId, ConnectionInfo
from mqclient import ConnectionFactory

pytestmark = pytest.mark.interop

SEND_PAUSE_MS = 2
SENDS_BEFORE = 100
SENDS_AFTER = 100
TAKEOVER_TIMEOUT_S = 60.0


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
    with our_pair(zookeeper, tmp_path) as (first, second):
        url = failover_url(first, second)
        sent = tmp_path / "sent"
        with programs.start(sent, "SendUntilTold", url, "interop.takeover", str(SEND_PAUSE_MS)) as sender:
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
    with our_broker(zookeeper, tmp_path) as first:
        url, sent = failover_url(first), tmp_path / "sent"
        with programs.start(sent, "SendUntilTold", url, "interop.restart", str(SEND_PAUSE_MS)) as sender:
            sender.wait_for("acknowledged", SENDS_BEFORE)
            first.kill()
            with our_broker(zookeeper, tmp_path, port=first.port) as again:
                before = len(sender.values("acknowledged"))
                sender.wait_for("acknowledged", before + SENDS_AFTER, TAKEOVER_TIMEOUT_S)
                sender.tell_to_stop()
                acknowledged = [int(value) for value in sender.values("acknowledged")]
                check(acknowledged, drained(programs, again.url, "interop.restart"))


def test_a_listener_hears_what_happens_under_the_new_master(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path
) -> None:
    """Its client subscribes again by itself: it hears of the consumers there are, and of new ones."""
    topic, heard = (
        "ActiveMQ.Advisory.Consumer.Queue.interop.heard",
        "Consumer.Queue.interop.heard ConsumerInfo",
    )
    with our_pair(zookeeper, tmp_path) as (first, second):
        url = failover_url(first, second)
        with (
            ConnectionFactory(url, "admin", "admin").create_connection() as connection,
            programs.start(tmp_path / "heard", "Listen", url, topic) as listener,
        ):
            connection.start()
            session = connection.create_session()
            listener.wait_for("listening")
            session.create_consumer("interop.heard")
            assert listener.wait_for("heard") == [f"{heard} [consumerCount] 1"]
            first.kill()
            assert listener.wait_for("heard", 2, TAKEOVER_TIMEOUT_S)[1:] == [f"{heard} [consumerCount] 1"]
            session.create_consumer("interop.heard")
            assert listener.wait_for("heard", 3)[2:] == [f"{heard} [consumerCount] 2"]
            listener.tell_to_stop()


def wait_until_told(first: OurBroker, second: OurBroker) -> None:
    """Wait until a broker has told its clients where another one serves."""
    with OpenWirePeer(first.port, "ID:observer-1-1:1") as peer:
        peer.ask(
            ConnectionInfo(
                connection_id=ConnectionId(peer.connection_id),
                user_name="admin",
                password="admin",
                manageable=True,
            )
        )
        while second.url not in (peer.wait(ConnectionControl).connected_brokers or "").split(","):
            pass


def test_a_client_learns_of_the_other_brokers(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path
) -> None:
    """With `updateClusterClients` a client that knows one broker goes on at another when that one dies."""
    properties = {"openwire-updateClusterClients": "true"}
    sent = tmp_path / "sent"
    with (
        our_broker(zookeeper, tmp_path, properties=properties) as first,
        programs.start(
            sent, "SendUntilTold", failover_url(first), "interop.cluster", str(SEND_PAUSE_MS)
        ) as sender,
    ):
        sender.wait_for("acknowledged", SENDS_BEFORE)
        second = OurBroker(
            zookeeper,
            tmp_path,
            port=free_port(),
            name="other",
            container="other",
            store=tmp_path / "other",
            properties=properties,
        )
        with running(second):
            second.wait_listening()
            wait_until_told(first, second)
            before = len(sender.values("acknowledged"))
            sender.wait_for("acknowledged", before + 10)  # what was told before an answer has been read
            first.kill()
            before = len(sender.values("acknowledged"))
            sender.wait_for("acknowledged", before + SENDS_AFTER, TAKEOVER_TIMEOUT_S)
            sender.tell_to_stop()
            received = drained(programs, second.url, "interop.cluster")
            assert len(received) >= SENDS_AFTER
            assert received == sorted(received)
