"""The broker's own destinations: what is sent to them is taken at once, stored nowhere, and answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.region import TOPIC, MemoryStore, Peer, new_region, settle

from broker.authorization import Authorization, Rights
from broker.destination import Destination, DestinationKind
from broker.errors import AccessDenied, InvalidDestination, RequestInvalid
from broker.message import BodyKind, Message
from broker.region.connection import RegionConnection
from broker.region.region import Region
from broker.region.usage import UsageLimits

ECHO = Destination.queue("ActiveMQ.Echo")
REPLIES = Destination(DestinationKind.TEMP_QUEUE, "c1:1")


class Echo:
    """Answers with what it gets."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.taken: list[str] = []
        region.endpoints.add("ActiveMQ.Echo", self.take)
        region.endpoints.add_prefix("ActiveMQ.Echoes.", self.take)

    def take(self, message: Message, connection: RegionConnection) -> int:
        """Take one message."""
        if message.type == "refused":
            raise RequestInvalid("No.")
        self.taken.append(message.destination.name)
        self.region.endpoints.answer(message, connection, body_kind=BodyKind.BYTES, body=message.body)
        return 0


def asked(region: Region, reply_to: Destination = REPLIES, destination: Destination = ECHO) -> Peer:
    """A client that has asked once, with a consumer of the answers."""
    peer = Peer(region)
    peer.consume("replies", reply_to)
    peer.send("question", destination, reply_to=reply_to, correlation_id="7")
    settle(region)
    return peer


@pytest.mark.parametrize("reply_to", [REPLIES, Destination.queue("replies"), TOPIC])
@pytest.mark.parametrize("make", [Destination.queue, Destination.topic])
@pytest.mark.parametrize("name", ["ActiveMQ.Echo", "ActiveMQ.Echoes.a.b"])
def test_a_request_is_answered_to_its_reply_to(
    reply_to: Destination, make: Callable[[str], Destination], name: str
) -> None:
    """Wherever that is, with the request's correlation id, and nothing is stored of it."""
    region = new_region()
    echo = Echo(region)
    peer = asked(region, reply_to, make(name))
    assert echo.taken == [name]
    (answer,) = peer.client.messages
    assert (answer.body, answer.correlation_id, answer.persistent) == (b"question", "7", False)
    assert make(name) not in region.targets
    assert isinstance(region.store, MemoryStore)
    assert not [record for record in region.store.records() if "ActiveMQ.Echo" in repr(record)]


def test_a_producer_of_it_makes_no_queue_of_that_name() -> None:
    """Otherwise what is sent would wait there."""
    region = new_region()
    echo = Echo(region)
    Peer(region).connection.add_producer("p", ECHO)
    asked(region)
    assert echo.taken == ["ActiveMQ.Echo"]


def test_it_cannot_be_consumed_from_nor_be_one_of_several() -> None:
    """It keeps nothing."""
    region = new_region()
    Echo(region)
    peer = Peer(region)
    with pytest.raises(InvalidDestination, match="the broker's own"):
        peer.consume("k", ECHO)
    with pytest.raises(InvalidDestination, match="the broker's own"):
        peer.send("m", Destination.queue("a,ActiveMQ.Echo"))


def test_what_it_refuses_the_sender_hears() -> None:
    """As for any send."""
    region = new_region()
    Echo(region)
    with pytest.raises(RequestInvalid, match=r"No\."):
        Peer(region).send("m", ECHO, type="refused")


def test_inside_a_transaction_it_is_taken_at_once() -> None:
    """A rollback does not take it back."""
    region = new_region()
    echo = Echo(region)
    peer = Peer(region)
    peer.connection.transactions.begin("t")
    peer.send("m", ECHO, transaction="t")
    assert echo.taken == ["ActiveMQ.Echo"]


def test_an_answer_that_nobody_can_get_is_dropped() -> None:
    """No reply-to, a temporary queue that is gone: the request counts nevertheless."""
    region = new_region()
    echo = Echo(region)
    peer = Peer(region)
    peer.send("m", ECHO)
    peer.send("m", ECHO, reply_to=Destination(DestinationKind.TEMP_QUEUE, "gone:1"))
    settle(region)
    assert len(echo.taken) == 2
    assert peer.client.messages == []


def test_answers_that_nobody_takes_do_not_fill_the_memory() -> None:
    """Where a send would have to wait, an answer is dropped."""
    region = new_region(usage=UsageLimits(memory_bytes_max=3_000))
    echo = Echo(region)
    peer = Peer(region)
    peer.consume("replies", REPLIES, prefetch_size=1)
    for _ in range(20):
        peer.send("question", ECHO, reply_to=REPLIES)
    settle(region)
    assert len(echo.taken) == 20
    assert region.usage.memory_bytes < 5_000


def test_to_ask_one_needs_the_right_to_write_and_no_more() -> None:
    """It need not be made, so nobody has to be allowed to make it."""
    region = new_region()
    echo = Echo(region)
    lines = {"authorization.queue.ActiveMQ.Echo.write": "askers"}
    region.rights = Rights(Authorization.parse(lines), lambda user: [user])
    peer = Peer(region)
    with pytest.raises(AccessDenied):
        peer.send("m", ECHO)
    peer.connection.user = "askers"
    peer.send("m", ECHO)
    peer.send("m", ECHO, reply_to=Destination.queue("others"))
    assert len(echo.taken) == 2
    assert Destination.queue("others") not in region.targets
