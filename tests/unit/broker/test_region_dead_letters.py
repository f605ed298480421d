"""What becomes of messages that are given up or have expired: the dead letter strategies."""

from collections.abc import Mapping

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, restarted, settle

from broker.destination import Destination
from broker.errors import ConfigurationInvalid
from broker.openwire import commands, translation
from broker.openwire.message_reader import message_of_frame
from broker.policies import PolicyMap
from broker.properties import properties_of
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.region import Region

DLQ = Destination.queue("ActiveMQ.DLQ")
CAUSE = "java.lang.Throwable: too often"


def strategy(**properties: str) -> dict[str, str]:
    """The properties of a dead letter strategy for all queues and topics."""
    found = {}
    for kind in ("queue", "topic"):
        for name, value in properties.items():
            key = "deadLetterStrategy" if name == "kind" else f"deadLetterStrategy.{name}"
            found[f"policy.{kind}.>.{key}"] = value
    return found


def give_up(peer: Peer, key: str = "k", cause: str = CAUSE) -> int:
    """A consumer gives up the message that it got last."""
    ref = peer.client.refs(key)[-1]
    return peer.connection.acknowledge(key, AckKind.POISON, ref, ref, cause=cause)


def held(region: Region, uri: str) -> int:
    """How many persistent messages a queue holds."""
    return len(region.store.state.queues.get(uri, ()))


def bury(
    policies: Mapping[str, str] | None = None, destination: Destination = QUEUE, **fields: object
) -> Region:
    """A region in which a consumer has given up one message."""
    region = new_region(policies=policies)
    peer = Peer(region, "c1", "client")
    peer.consume(destination=destination, subscription_name=None if destination.is_queue else "durable")
    peer.send("m0", destination, **fields)
    settle(region)
    give_up(peer)
    settle(region)
    return region


def test_a_message_that_is_given_up_is_a_dead_letter_at_once() -> None:
    """It is removed and buried in one append, so that no crash finds it twice or nowhere."""
    region = bury()
    assert held(region, QUEUE.uri) == 0
    assert held(restarted(region), DLQ.uri) == 1
    assert region.dead_letters.count == 1


def test_a_dead_letter_says_why() -> None:
    """Cause, original expiration and persistence are told by ActiveMQ's properties; it never expires."""
    region = bury(expiration=5_000, properties=None)
    peer = Peer(region, "c2")
    peer.consume("dlq", DLQ)
    settle(region)
    (letter,) = peer.client.messages
    assert letter.message_id == "m0"
    assert letter.expiration == 0
    assert letter.destination == DLQ
    assert properties_of(letter) == {"originalExpiration": 5_000, "dlqDeliveryFailureCause": CAUSE}


def test_an_openwire_message_keeps_its_frame_and_its_original_destination() -> None:
    """What other brokers and clients wrote into it is still there."""
    command = commands.ActiveMQTextMessage(
        producer_id=commands.ProducerId("c1", 1, 1),
        message_id=commands.MessageId(None, commands.ProducerId("c1", 1, 1), 7),
        destination=commands.ActiveMQQueue(QUEUE.name),
        persistent=True,
        correlation_id="job 7",
        arrival=99,
        redelivery_counter=3,
    )
    region = new_region()
    peer = Peer(region)
    peer.consume()
    frame = translation.to_message(command).wire
    assert frame is not None
    peer.connection.send(message_of_frame(frame))
    settle(region)
    give_up(peer)
    peer.consume("dlq", DLQ)
    settle(region)
    letter = translation.from_message(peer.client.messages[-1])
    assert letter.original_destination == commands.ActiveMQQueue(QUEUE.name)
    assert letter.destination == commands.ActiveMQQueue(DLQ.name)
    assert letter.message_id is not None and letter.message_id.producer_sequence_id == 7
    assert (letter.correlation_id, letter.arrival, letter.redelivery_counter) == ("job 7", 99, 0)


@pytest.mark.parametrize(
    ("destination", "properties", "place"),
    [
        (QUEUE, {"deadLetterQueue": "graveyard"}, "queue://graveyard"),
        (TOPIC, {}, "queue://ActiveMQ.DLQ"),
        (QUEUE, {"kind": "individualDeadLetterStrategy"}, "queue://ActiveMQ.DLQ.Queue.workshop.test"),
        (TOPIC, {"kind": "individualDeadLetterStrategy"}, "queue://ActiveMQ.DLQ.Topic.prices"),
        (
            QUEUE,
            {"kind": "individualDeadLetterStrategy", "queuePrefix": "DLQ.", "queueSuffix": ".dead"},
            "queue://DLQ.workshop.test.dead",
        ),
        (
            TOPIC,
            {"kind": "individualDeadLetterStrategy", "topicPrefix": "T.", "topicSuffix": ".dead"},
            "queue://T.prices.dead",
        ),
        (
            TOPIC,
            {"kind": "individualDeadLetterStrategy", "destinationPerDurableSubscriber": "true"},
            "queue://ActiveMQ.DLQ.Topic.prices.client:durable",
        ),
    ],
)
def test_the_strategy_says_where_dead_letters_go(
    destination: Destination, properties: Mapping[str, str], place: str
) -> None:
    """Shared or individual, with the names that ActiveMQ gives them."""
    region = bury(strategy(**properties), destination)
    assert held(region, place) == 1
    assert [uri for uri in region.store.state.queues if held(region, uri)] == [place]


@pytest.mark.parametrize("name", ["useQueueForQueueMessages", "useQueueForTopicMessages"])
def test_dead_letters_can_be_published(name: str) -> None:
    """A topic of dead letters goes to those who subscribe to it."""
    kind = QUEUE if name == "useQueueForQueueMessages" else TOPIC
    prefix = "ActiveMQ.DLQ.Queue." if kind is QUEUE else "ActiveMQ.DLQ.Topic."
    region = new_region(policies=strategy(kind="individualDeadLetterStrategy", **{name: "false"}))
    peer = Peer(region, "c1", "client")
    peer.consume(destination=kind, subscription_name=None if kind is QUEUE else "durable")
    peer.consume("dead", Destination.topic(prefix + kind.name))
    peer.send("m0", kind)
    settle(region)
    give_up(peer)
    settle(region)
    assert peer.client.ids("dead") == ["m0"]


def test_discarding_keeps_nothing() -> None:
    """The strategy `discarding` drops what is given up, in queues and for durable subscribers."""
    for destination in (QUEUE, TOPIC):
        region = bury(strategy(kind="discarding"), destination)
        assert not any(held(region, uri) for uri in region.store.state.queues)
        assert not region.store.state.topics.get(TOPIC.uri)
        assert region.dead_letters.count == 0


@pytest.mark.parametrize("wanted", [False, True])
def test_non_persistent_messages_are_dead_letters_only_if_wanted(wanted: bool) -> None:
    """With `processNonPersistent` they are kept, persistent from then on, and say what they were."""
    region = bury(strategy(processNonPersistent="true") if wanted else None, persistent=False)
    assert held(region, DLQ.uri) == wanted
    if wanted:
        after = restarted(region)
        peer = Peer(after, "c2")
        peer.consume("dlq", DLQ)
        settle(after)
        assert properties_of(peer.client.messages[0])["originalDeliveryMode"] == "NON_PERSISTENT"
        assert peer.client.messages[0].persistent


def test_dead_letters_can_expire_themselves() -> None:
    """`expiration` is their time to live; then they do not come back to where they are."""
    region = bury(strategy(expiration="500"))
    region.advance(1_501)
    peer = Peer(region, "c2")
    peer.consume("dlq", DLQ)
    settle(region)
    assert peer.client.ids() == []
    assert held(region, DLQ.uri) == 0


def test_a_dead_letter_that_is_given_up_is_gone() -> None:
    """There is no circle of dead letters."""
    region = bury()
    peer = Peer(region, "c2")
    peer.consume("dlq", DLQ)
    settle(region)
    give_up(peer, "dlq")
    settle(region)
    assert held(region, DLQ.uri) == 0


@pytest.mark.parametrize(("audit", "kept"), [("true", 1), ("false", 2)])
def test_what_several_subscribers_give_up_is_kept_once(audit: str, kept: int) -> None:
    """As in ActiveMQ, a shared queue gets one dead letter for a message, unless `enableAudit` is off."""
    region = new_region(policies=strategy(enableAudit=audit))
    peers = [Peer(region, f"c{i}", f"client{i}") for i in range(2)]
    for peer in peers:
        peer.consume(destination=TOPIC, subscription_name="durable")
    peers[0].send("m0", TOPIC)
    settle(region)
    for peer in peers:
        give_up(peer)
    settle(region)
    assert held(region, DLQ.uri) == kept
    assert not region.store.state.topics[TOPIC.uri]


def test_what_a_subscriber_who_is_not_durable_gives_up_is_dropped() -> None:
    """It never was anybody's to keep."""
    region = new_region()
    peer = Peer(region)
    peer.consume(destination=TOPIC)
    peer.send("m0", TOPIC)
    settle(region)
    give_up(peer)
    assert held(region, DLQ.uri) == 0


def test_a_wildcard_consumer_gives_up_what_came_from_each_destination() -> None:
    """The policy is that of the queue the message came from."""
    region = new_region(policies={"policy.queue.a.b.deadLetterStrategy": "discarding"})
    peer = Peer(region)
    peer.consume(destination=Destination.queue("a.*"))
    peer.send("kept", Destination.queue("a.a"))
    peer.send("dropped", Destination.queue("a.b"))
    settle(region)
    refs = dict(zip(peer.client.ids(), peer.client.refs(), strict=True))
    for ref in refs.values():
        peer.acknowledge(ref, kind=AckKind.POISON)
    settle(region)
    assert held(region, DLQ.uri) == 1
    assert held(region, "queue://a.a") == held(region, "queue://a.b") == 0


def test_expired_messages_are_dead_letters_unless_the_policy_says_otherwise() -> None:
    """With `processExpired`, the default, they go where given-up ones go, and say when they expired."""
    for wanted in (True, False):
        region = new_region(policies=strategy(processExpired=str(wanted).lower()))
        peer = Peer(region)
        peer.send("m0", expiration=1_500)
        settle(region)
        region.advance(1_600)
        peer.consume()
        settle(region)
        assert peer.client.ids() == []
        assert held(region, QUEUE.uri) == 0
        assert held(region, DLQ.uri) == wanted
        peer.consume("dlq", DLQ)
        settle(region)
        causes = [properties_of(each)["dlqDeliveryFailureCause"] for each in peer.client.messages]
        assert causes == ["java.lang.Throwable: Message Expired. Expiration:1500"] * wanted


@pytest.mark.parametrize("destination", [QUEUE, TOPIC, Destination.queue("one,two")])
def test_a_message_that_has_expired_on_its_way_does_not_arrive(destination: Destination) -> None:
    """It is answered like any other, and is a dead letter at once, one for each place it was sent to."""
    region = new_region()
    peer = Peer(region)
    assert peer.send("m0", destination, expiration=999) > 0
    assert peer.send("m1", destination, expiration=999, persistent=False) == 0
    settle(region)
    assert held(region, DLQ.uri) == (2 if destination.is_composite else 1)
    assert [uri for uri in region.store.state.queues if held(region, uri)] == [DLQ.uri]


def test_an_expired_send_that_is_repeated_is_one_dead_letter() -> None:
    """P3 holds for it, too."""
    region = new_region()
    Peer(region).send("m0", expiration=999, sequence=5)
    settle(region)
    after = restarted(region)
    Peer(after, failover_reconnect=True).send("m0", expiration=999, sequence=5)
    settle(after)
    assert held(after, DLQ.uri) == 1


def test_a_consumer_that_finds_a_message_expired_buries_it() -> None:
    """The acknowledgement `EXPIRED` of a client whose clock decides is believed."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    peer.send("m0", expiration=2_000)
    settle(region)
    peer.acknowledge(peer.client.refs()[0], kind=AckKind.EXPIRED)
    assert held(region, DLQ.uri) == 1


def test_dead_letters_find_a_place_among_too_many_destinations() -> None:
    """If an individual queue cannot be made the shared one is taken: nothing is lost."""
    region = new_region(
        limits=RegionLimits(destinations_max=1), policies=strategy(kind="individualDeadLetterStrategy")
    )
    peer = Peer(region)
    peer.consume()
    peer.send("m0")
    settle(region)
    give_up(peer)
    assert held(region, DLQ.uri) == 1


@pytest.mark.parametrize("name", ["a.>", "a,b", "temp-queue://x", "nonsense://x"])
def test_a_dead_letter_queue_is_one_destination(name: str) -> None:
    """Anything else stops the broker from being created, with a text that names the property."""
    with pytest.raises(ConfigurationInvalid, match="deadLetterQueue"):
        PolicyMap.parse(strategy(deadLetterQueue=name))
