"""Two broker processes over one journal, elected through a real ZooKeeper: kill, freeze, stop."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.openwire_peer import OpenWirePeer
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from broker.openwire.commands import MessageDispatch

pytestmark = pytest.mark.integration

QUEUE = "workshop.test"


@pytest.fixture(params=[4000])
def pair(
    request: pytest.FixtureRequest, zookeeper: ZooKeeperForTests, tmp_path: Path
) -> Iterator[tuple[OurBroker, OurBroker]]:
    """A master and a slave; their sessions last so many milliseconds."""
    add_user(zookeeper)
    lasts_ms: int = request.param
    options = {"port": free_port(), "session_timeout_ms": lasts_ms}
    master = OurBroker(zookeeper, tmp_path, container="first", **options)
    with running(master):
        master.wait_listening()
        options["port"] = free_port()
        slave = OurBroker(zookeeper, tmp_path, container="second", **options)
        with running(slave):
            logged(slave, "is waiting to become the master")
            yield master, slave


def logged(broker: OurBroker, text: str, count: int = 1, timeout_s: float = 30.0) -> None:
    """Wait until a broker has logged a text."""
    wait_until(
        lambda: broker.log.read_text("utf-8").count(text) >= count,
        timeout_s,
        lambda: f"{text!r} in:\n{broker.log.read_text('utf-8')}",
    )


def test_the_slave_takes_over_from_a_killed_master(pair: tuple[OurBroker, OurBroker]) -> None:
    """P1: what the killed master acknowledged is delivered by the slave, in order, once."""
    master, slave = pair
    with OpenWirePeer(master.port) as client:
        client.log_in()
        for number in range(50):
            client.send(QUEUE, f"m{number}", number + 1)
        master.kill()
    slave.wait_listening()
    logged(slave, "is now the master, starting the broker.")
    with OpenWirePeer(slave.port) as client:
        client.log_in()
        assert client.drain(QUEUE, 50) == [f"m{number}" for number in range(50)]


@pytest.mark.parametrize("pair", [40_000], indirect=True)
def test_a_stopped_master_hands_over_at_once(pair: tuple[OurBroker, OurBroker]) -> None:
    """SIGTERM leaves the group before anything slow: the slave does not wait for a session timeout."""
    master, slave = pair
    with OpenWirePeer(master.port) as client:
        client.log_in()
        client.send(QUEUE, "kept", 1)
        began_s = time.monotonic()
        master.process.send_signal(signal.SIGTERM)
        slave.wait_listening()
        took_s = time.monotonic() - began_s
        client.wait_closed()
    assert master.process.wait(timeout=30) == 0
    assert took_s < 30.0, "that was the session timeout, not a handover"
    with OpenWirePeer(slave.port) as client:
        client.log_in()
        assert client.drain(QUEUE, 1) == ["kept"]


def test_a_frozen_master_is_fenced_when_it_wakes(pair: tuple[OurBroker, OurBroker]) -> None:
    """P2: a master that slept through its replacement acknowledges nothing more and comes back as a slave."""
    master, slave = pair
    with OpenWirePeer(master.port) as client:
        client.log_in()
        client.send(QUEUE, "before", 1)
        os.kill(master.process.pid, signal.SIGSTOP)
        unanswered = client.tell(client.message(QUEUE, "to the zombie", 2), wait=True)
        slave.wait_listening()
        with OpenWirePeer(slave.port, "ID:other-1-1:1") as other:
            other.log_in()
            other.send(QUEUE, "after", 1)
            os.kill(master.process.pid, signal.SIGCONT)
            with pytest.raises(ConnectionError):
                client.answer(unanswered)
            logged(master, "giving up being master")
            assert other.drain(QUEUE, 2) == ["before", "after"]
    slave.process.send_signal(signal.SIGTERM)
    master.wait_listening()
    with OpenWirePeer(master.port) as client:
        client.log_in()
        client.consume(QUEUE)
        client.send(QUEUE, "again", 1)
        assert client.next_text() == "again"


def test_a_repeated_send_is_stored_once_by_the_next_master(pair: tuple[OurBroker, OurBroker]) -> None:
    """P3: a client that did not hear the acknowledgement sends again after its failover."""
    master, slave = pair
    with OpenWirePeer(master.port) as client:
        client.log_in()
        client.send(QUEUE, "m1", 1)
        client.send(QUEUE, "m2", 2)
        master.kill()
    slave.wait_listening()
    with OpenWirePeer(slave.port) as client:
        client.log_in(failover_reconnect=True)
        client.send(QUEUE, "m2", 2)
        client.send(QUEUE, "m3", 3)
        assert client.drain(QUEUE, 3) == ["m1", "m2", "m3"]


def test_an_unacknowledged_message_is_delivered_by_the_next_master(pair: tuple[OurBroker, OurBroker]) -> None:
    """What a consumer had and did not acknowledge comes again; what it acknowledged does not."""
    master, slave = pair
    with OpenWirePeer(master.port) as client:
        client.log_in()
        client.consume(QUEUE)
        client.send(QUEUE, "done", 1)
        client.send(QUEUE, "held", 2)
        client.acknowledge(client.wait(MessageDispatch), wait=True)
        assert client.next_text(acknowledge=False) == "held"
        master.kill()
    slave.wait_listening()
    with OpenWirePeer(slave.port) as client:
        client.log_in()
        assert client.drain(QUEUE, 1) == ["held"]


def test_master_and_slave_may_share_a_fixed_port(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """Only the master listens, so both may be given the same port on one host."""
    add_user(zookeeper)
    port = free_port()
    master = OurBroker(zookeeper, tmp_path, port=port, container="first")
    with running(master):
        master.wait_listening()
        slave = OurBroker(zookeeper, tmp_path, port=port, container="second")
        with running(slave):
            logged(slave, "is waiting to become the master")
            master.process.send_signal(signal.SIGTERM)
            slave.wait_listening()
            with OpenWirePeer(port) as client:
                client.log_in().send(QUEUE, "here", 1)


def test_a_zookeeper_outage_stops_nobody_who_works(
    zookeeper_factory: Callable[[], ZooKeeperForTests], tmp_path: Path
) -> None:
    """P6: without ZooKeeper the master serves on, and it is the same master afterwards."""
    zookeeper = zookeeper_factory()
    add_user(zookeeper)
    master = OurBroker(zookeeper, tmp_path, port=free_port(), container="first")
    with running(master):
        master.wait_listening()
        slave = OurBroker(zookeeper, tmp_path, port=free_port(), container="second")
        with running(slave), OpenWirePeer(master.port) as client:
            logged(slave, "is waiting to become the master")
            client.log_in()
            client.send(QUEUE, "before", 1)
            zookeeper.kill()
            logged(master, "suspended")
            client.send(QUEUE, "during", 2)
            with OpenWirePeer(master.port, "ID:late-1-1:1") as late:
                late.log_in()
                assert late.drain(QUEUE, 2) == ["before", "during"]
            zookeeper.start_ready()
            logged(master, "connected", count=2)
            client.send(QUEUE, "after", 3)
            assert "is now the master" not in slave.log.read_text("utf-8")
