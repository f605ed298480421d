"""Whoever listens to the advisories, from whenever on and however slowly, knows what there is."""

from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from support.region import Peer, new_region, settle

from broker.advisory import (
    AboutConnection,
    AboutConsumer,
    AboutDestination,
    AboutProducer,
    AdvisoryMessage,
)
from broker.destination import Destination, is_advisory
from broker.primitive_map import decode_map
from broker.region.region import Region

Thing = TypeVar("Thing")
NAMES = ("a", "b", "c")
PLACES = (
    Destination.queue("q"),
    Destination.queue("q,p"),
    Destination.topic("t"),
    Destination.topic("t.>"),
    Destination.topic("t.u"),
)
TOPICS = ",".join(
    f"ActiveMQ.Advisory.{name}"
    for name in ("Connection", "Queue", "Topic", "TempQueue", "TempTopic", "Consumer.>", "Producer.>")
)
KINDS = ("connect", "close", "consume", "unconsume", "produce", "unproduce", "delete", "temporary", "turn")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "connect",
                "close",
                "consume",
                "unconsume",
                "produce",
                "unproduce",
                "delete",
                "temporary",
                "turn",
            )
        ),
        st.sampled_from(NAMES),
        st.integers(0, len(PLACES) - 1),
    ),
    max_size=60,
)


class World:
    """Clients that come and go."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.peers: dict[str, Peer] = {}

    def do(self, step: str, name: str, number: int) -> None:
        """One step of one client, if it makes sense."""
        peer = self.peers.get(name)
        place = PLACES[number]
        if step == "turn":
            settle(self.region)
        elif step == "connect":
            self.peers[name] = Peer(self.region, name)
        elif peer is None or peer.connection.closed:
            return
        elif step == "close":
            peer.connection.close()
        elif step == "consume" and str(number) not in peer.connection.consumers:
            peer.consume(str(number), place)
        elif step == "unconsume":
            peer.connection.remove_consumer(str(number))
        elif step == "produce" and not (place.is_pattern or place.is_composite):
            peer.connection.add_producer(f"{name}:1:{number}", place)
        elif step == "unproduce":
            peer.connection.remove_producer(f"{name}:1:{number}")
        elif step == "temporary":
            peer.connection.add_destination(Destination.parse(f"temp-queue://{name}:{number}"))
        elif step == "delete":
            target = self.region.targets.get(place)
            if target is not None and not target.consumers:
                peer.connection.remove_destination(place)


class Known:
    """What a listener concludes from what it heard."""

    def __init__(self) -> None:
        self.connections: set[str] = set()
        self.destinations: set[Destination] = set()
        self.consumers: set[str] = set()
        self.producers: set[str] = set()
        self.counts: dict[str, object] = {}

    def hear(self, message: AdvisoryMessage) -> None:
        """One advisory."""
        properties = decode_map(message.properties or b"") or {}
        match message.about:
            case AboutConnection(connection, added):
                _change(self.connections, connection.connection_id, added)
            case AboutDestination(destination, _, added):
                _change(self.destinations, destination, added)
            case AboutConsumer(consumer, added):
                _change(self.consumers, f"{consumer.connection.connection_id} {consumer.key}", added)
                self.counts[message.destination.name] = properties["consumerCount"]
            case AboutProducer(producer_id, _, added):
                _change(self.producers, producer_id, added)
                self.counts[message.destination.name] = properties["producerCount"]


def _change(known: set[Thing], thing: Thing, added: bool) -> None:
    if added:
        known.add(thing)
    else:
        known.discard(thing)


@given(before=STEPS, after=STEPS, prefetch_size=st.sampled_from((1, 3, 1_000)))
@settings(max_examples=150, deadline=None)
def test_a_listener_knows_what_there_is(
    before: list[tuple[str, str, int]], after: list[tuple[str, str, int]], prefetch_size: int
) -> None:
    """Nothing is missed between what it is told first and what happens meanwhile; the last counts hold."""
    region = new_region()
    world = World(region)
    for step in before:
        world.do(*step)
    listener = Peer(region, "listener")
    listener.consume("l", Destination.topic(TOPICS), prefetch_size)
    for step in after:
        world.do(*step)
    known = Known()
    settle(region)
    held = listener.connection.consumers["l"].dispatched
    while held:
        listener.acknowledge(*held, key="l")
        settle(region)
    for message in listener.client.messages:
        assert isinstance(message, AdvisoryMessage)
        known.hear(message)
    connections = region.connections.values()
    assert known.connections == set(region.connections)
    assert known.destinations == {each for each in region.targets if not is_advisory(each)}
    assert known.consumers == {
        f"{each.connection_id} {key}" for each in connections for key in each.consumers if key != "l"
    }
    assert known.producers == {name for each in connections for name in each.producers}
    for place in PLACES[::2]:
        family = "Queue" if place.is_queue else "Topic"
        topic = f"ActiveMQ.Advisory.Producer.{family}.{place.name}"
        assert known.counts.get(topic, 0) == region.producers.get(place, 0)
