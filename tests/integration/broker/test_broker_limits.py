"""A broker process that runs out of space: producers wait or are refused, consumers go on, it recovers."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.openwire_peer import OpenWirePeer, Refused
from support.our_broker import OurBroker, add_user, running
from support.small_disk import SmallDisk
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

from broker.openwire.commands import ControlCommand

pytestmark = pytest.mark.integration

QUEUE = "workshop.test"
TEXT = "x" * 10_000
COUNT = 40
"""Twice what the store of `broker_with` takes."""
WAITS = "Sends of persistent messages wait; consumers go on."
DISK_MIB = 72
"""Room for two data files and little more."""

BrokerWith = Callable[..., OurBroker]


@pytest.fixture
def broker_with(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[BrokerWith]:
    """Starts a broker whose store takes about 20 messages, unless told otherwise."""
    add_user(zookeeper)
    with ExitStack() as stack:

        def start(store: Path | None = None, **properties: str) -> OurBroker:
            broker = OurBroker(
                zookeeper,
                tmp_path,
                port=free_port(),
                properties={"storeUsage": "200 kb", **properties},
                store=store,
            )
            stack.enter_context(running(broker))
            broker.wait_listening()
            return broker

        yield start


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that can be filled."""
    disk = SmallDisk(tmp_path, DISK_MIB)
    disk.mount()
    try:
        if not disk.mounted:
            pytest.skip("needs the right to mount a file system")
        yield disk
    finally:
        disk.unmount()


def log_of(broker: OurBroker) -> str:
    """What it has logged."""
    return broker.log.read_text("utf-8")


def wait_logged(broker: OurBroker, text: str, timeout_s: float = 30.0) -> None:
    """Wait for a line."""
    wait_until(lambda: text in log_of(broker), timeout_s, lambda: f"{text}:\n{log_of(broker)}")


@pytest.mark.parametrize("connections", [1, 2])
def test_a_blocked_producer_goes_on_by_itself(broker_with: BrokerWith, connections: int) -> None:
    """P10: beyond storeUsage sends are not answered until a consumer, on whatever connection, makes space."""
    broker = broker_with()
    with (
        OpenWirePeer(broker.port, "ID:producer-1-1:1") as producer,
        OpenWirePeer(broker.port, "ID:other-1-1:1") as other,
    ):
        producer.log_in()
        other.log_in()
        sends = [
            producer.tell(producer.message(QUEUE, f"{number} {TEXT}", number + 1), wait=True)
            for number in range(COUNT)
        ]
        wait_logged(broker, WAITS)
        producer.ask(ControlCommand())
        for send in sends[:10]:
            producer.answer(send)
        other.send("volatile", "needs no store", 1, persistent=False)
        consumer = producer if connections == 1 else other
        consumer.consume(QUEUE)
        got = [consumer.next_text().split()[0] for _ in range(COUNT)]
        assert got == [str(number) for number in range(COUNT)]
        for send in sends[10:]:
            producer.answer(send)
    # What was held may fill the store once more; each shortage is told once, and so is its end.
    over = "There is space for persistent messages again"
    wait_until(lambda: log_of(broker).count(over) == log_of(broker).count(WAITS), 30, lambda: log_of(broker))


def test_a_flood_that_is_blocked_costs_bounded_memory(broker_with: BrokerWith) -> None:
    """A producer that does not wait for answers is not read any more, is kept alive, and loses nothing."""
    broker = broker_with(**{"openwire-wireFormat.maxInactivityDuration": "2000"})
    count = 400
    with (
        OpenWirePeer(broker.port, "ID:flood-1-1:1", timeout_s=30.0) as producer,
        OpenWirePeer(broker.port, "ID:other-1-1:1") as other,
    ):
        producer.log_in()
        other.log_in()
        producer.socket.setblocking(False)
        pending = b""
        for number in range(count):
            command = producer.message(QUEUE, f"{number} {TEXT}", number + 1)
            producer.wire.send(command)
            pending += producer.wire.data_to_send()
        sent = 0

        def push() -> bool:
            nonlocal sent
            try:
                while sent < len(pending):
                    sent += producer.socket.send(pending[sent : sent + 65536])
            except BlockingIOError:
                return False
            return True

        push()
        wait_logged(broker, WAITS)
        other.consume(QUEUE)
        got = []
        while len(got) < count:
            push()
            got.append(int(other.next_text().split()[0]))
        assert got == list(range(count))


def test_refusals_name_the_limit(broker_with: BrokerWith) -> None:
    """With sendFailIfNoSpace the producer gets the error, and the broker takes messages again afterwards."""
    broker = broker_with(sendFailIfNoSpace="true")
    with OpenWirePeer(broker.port, "ID:producer-1-1:1") as producer:
        producer.log_in()
        sent = 0
        with pytest.raises(
            Refused, match=r"ResourceAllocationException: storeUsage, 204800 bytes, is used up"
        ):
            for sent in range(COUNT):
                producer.send(QUEUE, TEXT, sent + 1)
        assert producer.drain(QUEUE, sent) == [TEXT] * sent
        producer.send(QUEUE, "again", COUNT + 1)


def test_non_persistent_messages_beyond_memory_are_spooled(broker_with: BrokerWith, tmp_path: Path) -> None:
    """They go to temporary files, come back in order, and leave no file behind."""
    folder = tmp_path / "temporary"
    broker = broker_with(memoryUsage="1 mb", tmpDataDirectory=str(folder))
    count = 300
    with OpenWirePeer(broker.port, "ID:producer-1-1:1") as peer:
        peer.log_in()
        for number in range(count):
            peer.send(QUEUE, f"{number} {TEXT}", number + 1, persistent=False)
        assert folder.is_dir()
        assert spooled(broker, folder) == 1
        peer.consume(QUEUE)
        assert [int(peer.next_text().split()[0]) for _ in range(count)] == list(range(count))
    wait_until(lambda: not spooled(broker, folder), 30, "the temporary file is given back")
    assert list(folder.iterdir()) == []


def spooled(broker: OurBroker, folder: Path) -> int:
    """How many temporary files it has."""
    links = []
    for descriptor in Path(f"/proc/{broker.process.pid}/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return sum(link.startswith(str(folder)) for link in links)


@pytest.mark.parametrize("refuse", [False, True], ids=["waits", "refused"])
def test_a_full_disk_stops_producers_and_nobody_else(
    broker_with: BrokerWith, disk: SmallDisk, refuse: bool
) -> None:
    """P10: on a full disk producers wait or are refused, consumers go on, and no restart is needed."""
    broker = broker_with(
        disk.path / "store", storeUsage="100%", sendFailIfNoSpace=str(refuse).lower(), tempUsage="1 mb"
    )
    with (
        OpenWirePeer(broker.port, "ID:producer-1-1:1", timeout_s=30.0) as producer,
        OpenWirePeer(broker.port, "ID:consumer-1-1:1", timeout_s=30.0) as consumer,
    ):
        producer.log_in()
        consumer.log_in()
        disk.fill()
        text = TEXT * 10
        sent, blocked = fill_store(broker, producer, text, refuse=refuse)
        assert "The disk of the store is full" in log_of(broker)
        consumer.consume(QUEUE, prefetch_size=10)
        for _ in range(sent):
            assert consumer.next_text() == text
        disk.free()
        wait_logged(broker, "There is space for persistent messages again", 30.0)
        if blocked:
            producer.answer(blocked)
            assert consumer.next_text() == text
        producer.send(QUEUE, "again", 10_000)
        assert consumer.next_text() == "again"
    assert "giving up being master" not in log_of(broker)
    assert broker.process.poll() is None


def fill_store(broker: OurBroker, producer: OpenWirePeer, text: str, *, refuse: bool) -> tuple[int, int]:
    """Send until no more is taken; returns how many were, and the command that waits, if one does."""
    for number in range(2_000):
        command_id = producer.tell(producer.message(QUEUE, text, number + 1), wait=True)
        try:
            while not producer.has_answer(command_id):
                if WAITS in log_of(broker):
                    return number, command_id
            producer.answer(command_id)
        except Refused as refusal:
            assert refuse
            assert "ResourceAllocationException: The disk of the store is full" in str(refusal)
            return number, 0
    raise AssertionError("the disk did not become full")


def test_a_blocked_producer_survives_a_takeover(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """P1, P3, P10: unanswered sends wait at the next master too; each message arrives once, in order."""
    add_user(zookeeper)
    limits = {"storeUsage": "200 kb"}
    master = OurBroker(zookeeper, tmp_path, port=free_port(), container="first", properties=limits)
    with running(master):
        master.wait_listening()
        slave = OurBroker(zookeeper, tmp_path, port=free_port(), container="second", properties=limits)
        with running(slave):
            wait_logged(slave, "is waiting to become the master")
            with OpenWirePeer(master.port) as producer:
                producer.log_in()
                sends = send_all(producer, range(COUNT))
                wait_logged(master, WAITS)
                unanswered = [number for number, send in sends.items() if not producer.has_answer(send)]
                assert COUNT // 4 < len(unanswered) < COUNT
                master.kill()
            slave.wait_listening()
            with OpenWirePeer(slave.port) as producer, OpenWirePeer(slave.port, "ID:other-1-1:1") as other:
                producer.log_in(failover_reconnect=True)
                sends = send_all(producer, unanswered)
                other.log_in()
                wait_logged(slave, WAITS)
                other.consume(QUEUE)
                assert [int(other.next_text().split()[0]) for _ in range(COUNT)] == list(range(COUNT))
                for send in sends.values():
                    producer.answer(send)
                other.send(QUEUE, "last", 1)
                assert other.next_text() == "last"


OWN_LIMIT = {"storeUsage": "1 mb", "policy.queue.workshop.>.storeUsageHighWaterMark": "20"}
OWN_WAITS = f"Sends to queue://{QUEUE} wait"


def test_a_destination_that_is_full_survives_a_takeover(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """Its own limit holds at the next master at once, for its producers and nobody else's."""
    add_user(zookeeper)
    master = OurBroker(zookeeper, tmp_path, port=free_port(), container="first", properties=OWN_LIMIT)
    with running(master):
        master.wait_listening()
        slave = OurBroker(zookeeper, tmp_path, port=free_port(), container="second", properties=OWN_LIMIT)
        with running(slave):
            wait_logged(slave, "is waiting to become the master")
            with OpenWirePeer(master.port) as producer, OpenWirePeer(master.port, "ID:other-1-1:1") as other:
                producer.log_in()
                sends = send_all(producer, range(COUNT))
                wait_logged(master, OWN_WAITS)
                other.log_in().send("elsewhere", "before", 1)
                unanswered = [number for number, send in sends.items() if not producer.has_answer(send)]
                assert COUNT // 4 < len(unanswered) < COUNT
                master.kill()
            slave.wait_listening()
            with OpenWirePeer(slave.port) as producer, OpenWirePeer(slave.port, "ID:other-1-1:1") as other:
                producer.log_in(failover_reconnect=True)
                sends = send_all(producer, unanswered)
                wait_logged(slave, OWN_WAITS)
                assert not any(producer.has_answer(send, 0.0) for send in sends.values())
                other.log_in(failover_reconnect=True).send("elsewhere", "after", 2)
                other.consume(QUEUE)
                assert [int(other.next_text().split()[0]) for _ in range(COUNT)] == list(range(COUNT))
                for send in sends.values():
                    producer.answer(send)
                assert other.drain("elsewhere", 2) == ["before", "after"]


def send_all(producer: OpenWirePeer, numbers: Iterable[int]) -> dict[int, int]:
    """Send without waiting for answers; returns the commands by the messages' numbers."""
    return {
        number: producer.tell(producer.message(QUEUE, f"{number} {TEXT}", number + 1), wait=True)
        for number in numbers
    }


def test_wrong_limits_are_said_at_once(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """A property that cannot be used ends the program with a sentence that names it."""
    broker = OurBroker(zookeeper, tmp_path, port=free_port(), properties={"storeUsage": "plenty"})
    with running(broker):
        assert broker.process.wait(timeout=30) == 1
    assert "storeUsage 'plenty' is not a size above 0" in log_of(broker)
    assert "Traceback" not in log_of(broker)
