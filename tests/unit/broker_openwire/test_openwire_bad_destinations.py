"""Destinations that are somebody else's, unknown, or too many: a clear error, and nobody else notices."""

from __future__ import annotations

import pytest
from support.openwire_client import QUEUE, Broker, Client
from support.region import new_region

from broker.openwire.commands import (
    ActiveMQDestination,
    ActiveMQQueue,
    ActiveMQTempQueue,
    ActiveMQTempTopic,
    ActiveMQTopic,
    ConnectionId,
    DestinationInfo,
    MessageDispatch,
)
from broker.openwire.constants import DestinationOperation
from broker.region.limits import RegionLimits

INVALID = "javax.jms.InvalidDestinationException"
KINDS = [ActiveMQTempQueue, ActiveMQTempTopic]
ATTEMPTS = 5_000


@pytest.fixture
def broker() -> Broker:
    """A broker in memory."""
    return Broker()


def change(client: Client, destination: ActiveMQDestination, *, remove: bool = False) -> DestinationInfo:
    """Make or delete a destination."""
    return DestinationInfo(
        connection_id=ConnectionId(client.name),
        destination=destination,
        operation_type=DestinationOperation.REMOVE if remove else DestinationOperation.ADD,
    )


def is_at_work(broker: Broker, client: Client) -> bool:
    """Whether somebody else can send and receive."""
    client.request(client.consumer(99))
    client.say(client.text("still here"))
    broker.settle()
    return client.texts(99) == ["still here"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_temporary_destination(broker: Broker, kind: type[ActiveMQDestination]) -> None:
    """Others may send to it; they cannot make it, take from it or delete it."""
    owner, thief = Client(broker, "c1"), Client(broker, "c2")
    place = kind("c1:1")
    assert thief.refusal(change(thief, place)) == (INVALID, f"{uri(place)} belongs to another connection.")
    owner.request(change(owner, place))
    owner.request(owner.consumer(destination=place))
    for refusal in (
        thief.refusal(thief.consumer(destination=place)),
        thief.refusal(thief.consumer(destination=ActiveMQQueue(f"q,{uri(place)}"))),
        thief.refusal(change(thief, place)),
        thief.refusal(change(thief, place, remove=True)),
    ):
        assert refusal == (INVALID, f"{uri(place)} belongs to another connection.")
    thief.request(thief.producer(destination=place))
    thief.say(thief.text("answer", destination=place))
    broker.settle()
    assert len(owner.take(MessageDispatch)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_temporary_destination(broker: Broker, kind: type[ActiveMQDestination]) -> None:
    """Nobody can send to it, or take from one that another connection would have to make."""
    client = Client(broker, "c1")
    gone = kind("c9:1")
    assert client.refusal(client.text("late", destination=gone))[0] == INVALID
    assert client.refusal(client.producer(destination=gone))[0] == INVALID
    assert client.refusal(client.consumer(destination=gone))[0] == INVALID
    client.request(change(client, gone, remove=True))
    assert is_at_work(broker, client)


def test_a_temporary_destination_ends_with_its_connection(broker: Broker) -> None:
    """What others send to it after that is refused; their connections go on."""
    owner, other = Client(broker, "c1"), Client(broker, "c2")
    place = ActiveMQTempQueue("c1:1")
    owner.request(change(owner, place))
    other.request(other.producer(destination=place))
    other.request(other.text("in time", destination=place))
    owner.server.connection_lost("gone")
    assert other.refusal(other.text("late", destination=place))[0] == INVALID
    assert is_at_work(broker, other)


@pytest.mark.parametrize("name", ["x" * 4097, " ", "a.\ud800", "temp-queue://", "nonsense://a,b"])
def test_a_name_that_is_none(broker: Broker, name: str) -> None:
    """For producers, consumers, messages and destinations to be made alike."""
    client = Client(broker, "c1")
    place = ActiveMQQueue(f"{name},q" if "//" in name else name)
    for command in (
        client.producer(destination=place),
        client.consumer(destination=place),
        client.text("x", destination=place),
        change(client, place),
    ):
        assert client.refusal(command)[0] == INVALID
    assert is_at_work(broker, client)


def test_too_many_destinations_are_refused_with_the_limit() -> None:
    """However often it is tried, by whatever command; those that exist go on, and one less makes room."""
    limit = 50
    broker = Broker(new_region(limits=RegionLimits(destinations_max=limit)))
    client, other = Client(broker, "c1"), Client(broker, "c2")
    other.request(other.producer(destination=QUEUE))
    for number in range(limit - len(broker.region.targets)):
        client.request(change(client, ActiveMQQueue(f"q{number}")))
    exhausted = ("javax.jms.ResourceAllocationException", f"A broker has at most {limit} destinations.")
    for number in range(ATTEMPTS):
        place: ActiveMQDestination = (ActiveMQQueue, ActiveMQTopic)[number % 2](f"more{number}")
        command = (
            change(client, place),
            client.text("x", destination=place),
            client.consumer(destination=place),
            client.producer(number, destination=place),
            change(client, ActiveMQTempQueue(f"c1:{number}")),
        )[number % 5]
        assert client.refusal(command) == exhausted
    assert len(broker.region.targets) == limit
    assert client.server.connection is not None
    assert not client.server.connection.consumers
    assert is_at_work(broker, other)
    client.request(change(client, ActiveMQQueue("q0"), remove=True))
    client.request(change(client, ActiveMQQueue("another")))


def uri(place: ActiveMQDestination) -> str:
    """How errors name it."""
    scheme = "temp-queue" if isinstance(place, ActiveMQTempQueue) else "temp-topic"
    return f"{scheme}://{place.physical_name}"
