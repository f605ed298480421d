"""A broker process with wildcards, composites, virtual topics, many destinations, and roles."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.openwire_peer import OpenWirePeer, Refused
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

from broker.openwire.commands import ActiveMQQueue, ConsumerId, ConsumerInfo, MessageDispatch
from registry.session import Session
from registry.users import UserRecord, UserStore, hash_password

pytestmark = pytest.mark.integration

MANY = 10_000
PER_CONNECTION = 5_000
BYTES_MAX = 150 * 1024 * 1024

BrokerWith = Callable[..., OurBroker]


@pytest.fixture
def broker_with(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[BrokerWith]:
    """Starts a broker on the same store each time."""
    add_user(zookeeper)
    with ExitStack() as stack:

        def start(**properties: str) -> OurBroker:
            broker = OurBroker(zookeeper, tmp_path, port=free_port(), properties=properties)
            stack.enter_context(running(broker))
            broker.wait_listening()
            return broker

        yield start


def put_user(zookeeper: ZooKeeperForTests, name: str, *roles: str) -> None:
    """A user whose password is his name."""
    session = Session(zookeeper.url, zookeeper.password)
    session.start()
    try:
        UserStore(session).put(UserRecord(name, hash_password(name), roles))
    finally:
        session.close()


def test_what_went_to_several_places_survives_a_crash(broker_with: BrokerWith) -> None:
    """An acknowledged message is in each of its queues after kill -9, those of virtual topics included."""
    properties = {"compositeQueue.both.forwardTo": "left,right"}
    broker = broker_with(**properties)
    with OpenWirePeer(broker.port) as peer:
        peer.log_in()
        peer.consume("Consumer.A.VirtualTopic.orders", 1, prefetch_size=0)
        peer.send("one,two,topic://VirtualTopic.orders", "composite", 1)
        peer.send("both", "forwarded", 2)
    broker.kill()
    broker = broker_with(**properties)
    expected = {
        "one": ["composite"],
        "two": ["composite"],
        "Consumer.A.VirtualTopic.orders": ["composite"],
        "left": ["forwarded"],
        "right": ["forwarded"],
    }
    for number, (queue, texts) in enumerate(expected.items()):
        with OpenWirePeer(broker.port, f"ID:reader-1-{number}:1") as peer:
            peer.log_in()
            assert peer.drain(queue, len(texts)) == texts


def test_a_wildcard_consumer_drains_the_backlog_of_all_queues(broker_with: BrokerWith) -> None:
    """After a crash a wildcard takes every message of every queue that matches, each once and for good."""
    broker = broker_with()
    names = [f"orders.{number}" for number in range(20)]
    with OpenWirePeer(broker.port) as peer:
        peer.log_in()
        for sequence in range(200):
            peer.send(names[sequence % 20], str(sequence), sequence + 1)
    broker.kill()
    broker = broker_with()
    with OpenWirePeer(broker.port, "ID:reader-1-1:1") as peer:
        peer.log_in()
        assert sorted(peer.drain("orders.*", 200), key=int) == [str(number) for number in range(200)]
    broker.kill()
    broker = broker_with()
    with OpenWirePeer(broker.port, "ID:reader-1-2:1") as peer:
        peer.log_in()
        peer.send("orders.0", "last", 1)
        assert peer.drain("orders.>", 1) == ["last"]


def test_ten_thousand_destinations_with_a_consumer_each(broker_with: BrokerWith) -> None:
    """They take less than 150 MiB; one more is refused with the limit's name, and the others go on."""
    broker = broker_with()
    peers = [OpenWirePeer(broker.port, f"ID:many-1-{number}:1") for number in range(MANY // PER_CONNECTION)]
    with ExitStack() as stack:
        for peer in peers:
            stack.enter_context(peer)
            peer.log_in()
        for number in range(MANY):
            peer = peers[number // PER_CONNECTION]
            answer = peer.tell(
                ConsumerInfo(
                    consumer_id=ConsumerId(peer.connection_id, 1, number),
                    destination=ActiveMQQueue(f"many.{number}"),
                    prefetch_size=1000,
                ),
                wait=True,
            )
            if number % 500 == 499 or number == MANY - 1:
                peer.answer(answer)
        resident = resident_bytes(broker.process.pid)
        print(f"{MANY} destinations with a consumer each: {resident / 1024 / 1024:.1f} MiB")
        with pytest.raises(Refused, match=f"ResourceAllocationException.*at most {MANY} destinations"):
            peers[0].send("one.more", "x", 1)
        peers[0].send("many.9999", "hello", 2)
        assert peers[1].wait(MessageDispatch).destination == ActiveMQQueue("many.9999")
        assert resident < BYTES_MAX


def resident_bytes(pid: int) -> int:
    """What a process has in memory."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert match is not None
    return int(match[1]) * 1024


def test_roles_decide_and_their_change_counts_at_once(
    broker_with: BrokerWith, zookeeper: ZooKeeperForTests
) -> None:
    """What a user may do follows his roles in the registry while he is connected."""
    put_user(zookeeper, "clerk", "clerks")
    put_user(zookeeper, "shop", "shops")
    broker = broker_with(
        **{
            "authorization.queue.orders.>.read": "clerks",
            "authorization.queue.orders.>.write": "shops",
            "authorization.queue.orders.>.admin": "shops",
        }
    )
    with (
        OpenWirePeer(broker.port, "ID:clerk-1-1:1") as clerk,
        OpenWirePeer(broker.port, "ID:shop-1-1:1") as shop,
    ):
        clerk.log_in("clerk", "clerk")
        shop.log_in("shop", "shop")
        shop.send("orders.eu", "one", 1)
        clerk.consume("orders.>")
        assert clerk.next_text() == "one"
        with pytest.raises(Refused, match=r"SecurityException: User clerk is not authorized to write to"):
            clerk.send("orders.eu", "two", 1)
        with pytest.raises(Refused, match=r"SecurityException: User shop is not authorized to read from"):
            shop.consume("orders.eu")
        with pytest.raises(Refused, match=r"SecurityException: User shop is not authorized to write to"):
            shop.send("other", "three", 2)
        put_user(zookeeper, "clerk")
        clerk.wait_closed()
        with OpenWirePeer(broker.port, "ID:clerk-1-2:1") as again:
            again.log_in("clerk", "clerk")
            with pytest.raises(Refused, match="SecurityException"):
                again.consume("orders.>")
