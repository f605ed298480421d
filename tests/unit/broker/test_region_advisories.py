"""Advisories: what is said, to whom, and that it harms nobody."""

import pytest
from support.region import QUEUE, TOPIC, Peer, new_region, settle, take

from broker.advisory import (
    About,
    AboutConnection,
    AboutConsumer,
    AboutDestination,
    AboutMessage,
    AboutProducer,
    AboutSubscription,
    AdvisoryMessage,
    speaks_at,
)
from broker.authorization import Authorization, Rights
from broker.destination import Destination
from broker.errors import AccessDenied, InvalidDestination, RequestInvalid
from broker.identity import BrokerIdentity
from broker.message import Message
from broker.primitive_map import Value, decode_map
from broker.region.advisory_line import AdvisoryLine
from broker.region.consumer import AckKind
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.region.usage import UsageLimits

PREFIX = "ActiveMQ.Advisory."
TEMPORARY = Destination.parse("temp-queue://ID:c1:1")
ALL_FLAGS = (
    "sendAdvisoryIfNoConsumers",
    "advisoryForSlowConsumers",
    "advisoryForFastProducers",
    "advisoryForDiscardingMessages",
    "advisoryWhenFull",
    "advisoryForDelivery",
    "advisoryForConsumed",
    "advisoryForDispatched",
)


def advisory(name: str) -> Destination:
    """A topic by the rest of its name."""
    return Destination.topic(PREFIX + name)


def outspoken(usage: UsageLimits | None = None) -> Region:
    """A region all of whose destinations want all advisories."""
    return new_region(policies={f"policy.default.{name}": "true" for name in ALL_FLAGS}, usage=usage)


def listener(region: Region, name: str, prefetch_size: int = 1000) -> Peer:
    """Somebody who listens to advisories."""
    peer = Peer(region, f"listener-{len(region.connections)}")
    peer.consume("l", advisory(name), prefetch_size)
    return peer


def heard(peer: Peer) -> list[tuple[str, About | None]]:
    """Topics and what the advisories were about."""
    settle(peer.region)
    return [
        (each.destination.name.removeprefix(PREFIX), each.about)
        for each in peer.client.messages
        if isinstance(each, AdvisoryMessage)
    ]


def topics(peer: Peer) -> list[str]:
    """Of what was heard."""
    return [topic for topic, _ in heard(peer)]


def properties(message: Message) -> dict[str, Value]:
    """Of a message."""
    assert message.properties is not None
    return dict(decode_map(message.properties) or {})


def last(peer: Peer) -> dict[str, Value]:
    """Properties of the last advisory."""
    settle(peer.region)
    return properties(peer.client.messages[-1])


# ---- who is there


def test_connections_are_advised_of_with_those_there_are() -> None:
    """Whoever listens hears of himself first."""
    region = new_region()
    peer = listener(region, "Connection")
    other = Peer(region, "c1")
    other.connection.close()
    assert heard(peer) == [
        ("Connection", AboutConnection(peer.connection, True)),
        ("Connection", AboutConnection(other.connection, True)),
        ("Connection", AboutConnection(other.connection, False)),
    ]


def test_consumers_are_advised_of_with_their_count() -> None:
    """Each opening and closing tells how many there are then."""
    region = new_region()
    owner = Peer(region, "c1")
    owner.consume("a")
    peer = listener(region, f"Consumer.Queue.{QUEUE.name}")
    assert last(peer)["consumerCount"] == 1
    a = owner.connection.consumers["a"]
    owner.consume("b")
    assert last(peer)["consumerCount"] == 2
    b = owner.connection.consumers["b"]
    owner.consume("browser", browser=True)
    assert last(peer)["consumerCount"] == 3
    owner.connection.remove_consumer("browser")
    owner.connection.close()
    topic = f"Consumer.Queue.{QUEUE.name}"
    told = [about for name, about in heard(peer) if name == topic]
    assert [about for about in told if isinstance(about, AboutConsumer) and about.consumer in (a, b)] == [
        AboutConsumer(a, True),
        AboutConsumer(b, True),
        AboutConsumer(a, False),
        AboutConsumer(b, False),
    ]
    assert last(peer)["consumerCount"] == 0


def test_producers_are_advised_of_with_their_count() -> None:
    """Those without a destination are not, as in ActiveMQ."""
    region = new_region()
    owner = Peer(region, "c1")
    owner.connection.add_producer("c1:1:1", TOPIC)
    peer = listener(region, f"Producer.Topic.{TOPIC.name}")
    owner.connection.add_producer("c1:1:2", None)
    owner.connection.add_producer("c1:1:3", TOPIC)
    assert last(peer)["producerCount"] == 2
    owner.connection.remove_producer("c1:1:1")
    assert last(peer)["producerCount"] == 1
    assert [about for _, about in heard(peer)] == [
        AboutProducer("c1:1:1", TOPIC, True),
        AboutProducer("c1:1:3", TOPIC, True),
        AboutProducer("c1:1:1", TOPIC, False),
    ]


def test_destinations_of_all_kinds_are_advised_of() -> None:
    """Those there are, new ones, deleted ones."""
    region = new_region()
    owner = Peer(region, "c1")
    owner.connection.add_destination(QUEUE)
    peer = listener(region, "Queue,ActiveMQ.Advisory.Topic,topic://ActiveMQ.Advisory.TempQueue")
    owner.connection.add_destination(TOPIC)
    owner.connection.add_destination(TEMPORARY)
    owner.connection.remove_destination(QUEUE)
    owner.connection.close()
    assert heard(peer) == [
        ("Queue", AboutDestination(QUEUE, "", True)),
        ("Topic", AboutDestination(TOPIC, "", True)),
        ("TempQueue", AboutDestination(TEMPORARY, "c1", True)),
        ("Queue", AboutDestination(QUEUE, "", False)),
        ("TempQueue", AboutDestination(TEMPORARY, "c1", False)),
    ]


def test_the_end_of_a_durable_subscription_is_advised_of() -> None:
    """On the topic of its consumers."""
    region = new_region()
    owner = Peer(region, "c1", "client")
    owner.consume("d", TOPIC, subscription_name="sub")
    owner.connection.remove_consumer("d")
    peer = listener(region, "Consumer.>")
    owner.connection.remove_subscription("sub")
    assert heard(peer) == [(f"Consumer.Topic.{TOPIC.name}", AboutSubscription("c1", "client", "sub"))]


def test_the_master_is_advised_of() -> None:
    """Who listens hears that this broker is the master."""
    peer = listener(new_region(), "MasterBroker")
    assert heard(peer) == [("MasterBroker", None)]


def test_every_advisory_tells_where_it_comes_from() -> None:
    """The broker's id, name and address."""
    region = Region(
        new_region().store,
        now_ms=1000,
        identity=BrokerIdentity("ID:b-1", "shop", {"stomp": "stomp://h:2", "tcp": "tcp://h:1"}),
    )
    peer = listener(region, "MasterBroker")
    assert last(peer) == {
        "originBrokerId": "ID:b-1",
        "originBrokerName": "shop",
        "originBrokerURL": "tcp://h:1",
    }
    message = peer.client.messages[0]
    assert (message.type, message.persistent, message.priority) == ("Advisory", False, 0)
    assert message.message_id == "ID:b-1:0:0:1"


# ---- names and wildcards


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (PREFIX + "Queue", True),
        (PREFIX + ">", True),
        (">", True),
        ("ActiveMQ.>", True),
        ("*.Advisory.Queue", True),
        ("*.*.*", True),
        ("*.*", False),
        ("ActiveMQ.*", False),
        ("ActiveMQ.DLQ", False),
        ("prices", False),
        ("Active.>", False),
    ],
)
def test_a_topic_consumer_hears_what_its_name_covers(name: str, expected: bool) -> None:
    """Advisory topics are topics like others to wildcards; queues of such names are queues."""
    assert speaks_at(Destination.topic(name)) is expected
    assert not speaks_at(Destination.queue(name))


def test_wildcards_hear_what_happens_from_now_on() -> None:
    """Everything, but not what there is already, as in ActiveMQ; a wildcard for consumers hears that, too."""
    region = new_region()
    owner = Peer(region, "c1")
    owner.consume("a")
    all_ = listener(region, ">")
    consumers = listener(region, "Consumer.>")
    both = Peer(region, "both")
    both.consume("b", Destination.topic("ActiveMQ.Advisory.Consumer.*.>,prices"))
    assert topics(all_) == [
        "MasterBroker",
        "Connection",  # of the second listener
        "Connection",
        "Topic",
    ]
    assert topics(consumers) == [f"Consumer.Queue.{QUEUE.name}"]
    assert topics(both) == [f"Consumer.Queue.{QUEUE.name}"]
    owner.connection.remove_consumer("a")
    owner.send("m", TOPIC)
    for peer in (all_, consumers, both):
        assert topics(peer)[-1] == f"Consumer.Queue.{QUEUE.name}"
    assert both.client.ids()[-1] == "m"
    both.acknowledge(*both.client.refs(), key="b")
    both.connection.close()
    assert region.advisories.heard >= {"Queue"}
    all_.connection.close()
    assert region.advisories.heard == {"Consumer"}
    consumers.connection.close()
    assert not region.advisories.heard


def test_a_wildcard_for_all_topics_hears_messages_and_advisories() -> None:
    """`topic://>` is both."""
    region = new_region()
    peer = Peer(region, "c2")
    peer.consume("l", Destination.topic(">"))
    Peer(region, "c1").send("m", TOPIC)
    settle(region)
    assert {each.destination.name for each in peer.client.messages} == {
        f"{PREFIX}MasterBroker",
        f"{PREFIX}Connection",
        f"{PREFIX}Topic",
        f"{PREFIX}Consumer.Topic.>",
        TOPIC.name,
    }


def test_listeners_are_not_advised_of() -> None:
    """Nor are destinations of their names made."""
    region = new_region()
    peer = listener(region, ">")
    listener(region, "Consumer.>").connection.remove_consumer("l")
    assert topics(peer) == ["MasterBroker", "Connection"]
    assert not region.targets


def test_a_client_may_itself_speak_on_an_advisory_topic() -> None:
    """The listeners get it; the topic is not advised of."""
    region = new_region()
    peer = listener(region, ">")
    Peer(region, "c1").send("m", advisory("Mine"))
    settle(region)
    assert peer.client.ids()[-1] == "m"
    assert topics(peer) == ["MasterBroker", "Connection"]


def test_advisories_cannot_be_browsed_or_kept() -> None:
    """They are not stored."""
    peer = Peer(new_region(), "c1", "client")
    with pytest.raises(RequestInvalid, match="advisory"):
        peer.consume("d", advisory("Queue"), browser=True)
    with pytest.raises(RequestInvalid, match="advisory"):
        peer.consume("d", advisory("Queue"), subscription_name="s")


def test_a_wildcard_must_be_one() -> None:
    """`>` stands at the end, also behind the prefix."""
    peer = Peer(new_region(), "c1")
    for name in (">.Queue", "Consumer.>.a,prices"):
        with pytest.raises(InvalidDestination, match="only at the end"):
            peer.consume("d", advisory(name))


# ---- what happens to messages


def test_what_happens_to_a_message_is_told_where_the_policy_says_so() -> None:
    """Come, dispatched, consumed; and the message goes its way."""
    region = outspoken()
    peer = listener(region, "*.Queue.>")
    owner = Peer(region, "c1")
    owner.consume()
    owner.send("m")
    settle(region)
    take(region, owner)
    name = QUEUE.name
    told = [(topic, about) for topic, about in heard(peer) if isinstance(about, AboutMessage)]
    assert [topic for topic, _ in told] == [
        f"MessageDelivered.Queue.{name}",
        f"MessageDispatched.Queue.{name}",
        f"MessageConsumed.Queue.{name}",
    ]
    for _, about in told:
        assert about.message.message_id == "m"
        assert not about.with_body
    assert last(peer)["orignalMessageId"] == "m"
    assert last(peer)["orignalDestination"] == QUEUE.uri
    assert properties(peer.client.messages[-2])["consumerId"] == "c1:-1:0"


def test_nothing_is_told_of_messages_without_a_policy() -> None:
    """Listeners alone make no destination talk."""
    region = new_region()
    peer = listener(region, ">")
    owner = Peer(region, "c1")
    owner.consume()
    owner.send("m", persistent=False)
    settle(region)
    take(region, owner)
    assert not [about for _, about in heard(peer) if isinstance(about, AboutMessage)]
    assert not region.targets[QUEUE].advised


def test_nothing_is_made_where_nobody_listens() -> None:
    """A destination that may talk does not."""
    region = outspoken()
    owner = Peer(region, "c1")
    owner.consume()
    owner.send("m", persistent=False)
    settle(region)
    take(region, owner)
    assert region.advisories.sent == 0
    peer = listener(region, "MessageDelivered.>")
    assert region.targets[QUEUE].advised == {"MessageDelivered"}
    peer.connection.close()
    assert not region.targets[QUEUE].advised


@pytest.mark.parametrize("destination", [QUEUE, TOPIC])
def test_a_message_that_nobody_is_there_for_is_passed_to_listeners(destination: Destination) -> None:
    """Not persistent ones only, as in ActiveMQ: the message itself."""
    region = outspoken()
    peer = listener(region, "NoConsumer.>")
    owner = Peer(region, "c1")
    owner.send("kept", destination)
    owner.send("m", destination, persistent=False)
    settle(region)
    assert peer.client.ids() == ["m"]
    message = peer.client.messages[0]
    assert (
        message.destination.name
        == f"{PREFIX}NoConsumer.{'Queue' if destination.is_queue else 'Topic'}." + (destination.name)
    )
    assert message.body == b"m"
    owner.consume("k", destination)
    owner.send("n", destination, persistent=False)
    settle(region)
    assert peer.client.ids() == ["m"]


def test_expired_messages_are_told_of() -> None:
    """Without a policy; those that come too late, that are found, and that a consumer finds."""
    region = new_region()
    peer = listener(region, "Expired.>")
    owner = Peer(region, "c1")
    owner.send("late", expiration=500)
    owner.send("waits", expiration=2_000)
    owner.send("dispatched", TOPIC)
    owner.consume("t", TOPIC)
    owner.send("dispatched", TOPIC, expiration=2_000)
    settle(region)
    owner.acknowledge(owner.client.refs("t")[-1], key="t", kind=AckKind.EXPIRED)
    region.advance(3_000)
    owner.consume()
    told = [
        (topic, about.message.message_id) for topic, about in heard(peer) if isinstance(about, AboutMessage)
    ]
    assert told == [
        (f"Expired.Queue.{QUEUE.name}", "late"),
        (f"Expired.Topic.{TOPIC.name}", "dispatched"),
        (f"Expired.Queue.{QUEUE.name}", "waits"),
    ]


def test_dead_letters_are_told_of() -> None:
    """On the topic of where they came from."""
    region = new_region()
    peer = listener(region, "MessageDLQd.>")
    owner = Peer(region, "c1")
    owner.consume()
    owner.send("m")
    settle(region)
    owner.acknowledge(owner.client.refs()[0], kind=AckKind.POISON)
    assert topics(peer) == [f"MessageDLQd.Queue.{QUEUE.name}"]


def test_discarded_messages_are_told_of() -> None:
    """With whose they were, and how many by then."""
    region = new_region(
        policies={
            "policy.topic.>.pendingMessageLimitStrategy.limit": "1",
            "policy.topic.>.advisoryForDiscardingMessages": "true",
        },
    )
    peer = listener(region, "MessageDiscarded.>")
    owner = Peer(region, "c1")
    owner.consume("k", TOPIC, prefetch_size=1)
    for index in range(4):
        owner.send(f"m{index}", TOPIC)
        settle(region)
    assert topics(peer) == [f"MessageDiscarded.Topic.{TOPIC.name}"] * 2
    assert last(peer)["discardedCount"] == 2


def test_a_slow_consumer_is_told_of_once() -> None:
    """It is full while messages wait; again only after it has caught up."""
    region = outspoken()
    peer = listener(region, "SlowConsumer.>")
    owner = Peer(region, "c1")
    owner.consume(prefetch_size=2)
    consumer = owner.connection.consumers["k"]
    for index in range(2):
        owner.send(f"m{index}")
    assert topics(peer) == []
    for index in range(2):
        owner.send(f"n{index}")
        settle(region)
    assert heard(peer) == [(f"SlowConsumer.Queue.{QUEUE.name}", AboutConsumer(consumer))]
    while owner.connection.consumers["k"].dispatched:
        take(region, owner)
    assert len(heard(peer)) == 1
    for index in range(3):
        owner.send(f"o{index}")
    assert len(heard(peer)) == 2


def test_who_pulls_or_is_held_up_is_not_slow() -> None:
    """Only a full prefetch is; also where the queue chooses its consumers."""
    region = outspoken()
    peer = listener(region, "SlowConsumer.>")
    owner, held_up = Peer(region, "c1"), Peer(region, "c2")
    owner.consume("pulls", prefetch_size=0)
    held_up.consume("held up")
    held_up.connection.pause()
    owner.send("m")
    assert topics(peer) == []
    owner.consume("chooses", prefetch_size=1, selector="JMSPriority < 9")
    owner.send("n")
    assert [about.consumer.key for _, about in heard(peer) if isinstance(about, AboutConsumer)] == ["chooses"]


def test_a_slow_subscriber_is_told_of() -> None:
    """A durable one when it is full, any other when as many wait again."""
    region = outspoken()
    peer = listener(region, "SlowConsumer.>")
    owner = Peer(region, "c1", "client")
    owner.consume("a", TOPIC, prefetch_size=2)
    owner.consume("d", TOPIC, prefetch_size=2, subscription_name="s")
    told = []
    for index in range(6):
        owner.send(f"m{index}", TOPIC)
        told.append([about.consumer.key for _, about in heard(peer) if isinstance(about, AboutConsumer)])
    assert told == [[], [], ["d"], ["d"], ["d", "a"], ["d", "a"]]


def test_a_lack_of_space_is_told_of() -> None:
    """What is full, and who sends."""
    region = outspoken(UsageLimits(store_bytes_max=1))
    peer = listener(region, "*.Queue.>")
    owner = Peer(region, "c1")
    owner.connection.add_producer("c1:1:1", QUEUE)
    owner.submit("m0")
    settle(region)
    owner.submit("m1")
    told = dict(heard(peer))
    assert told[f"FastProducer.Queue.{QUEUE.name}"] == AboutProducer("c1:1:1", QUEUE)
    assert told[f"FULL.Queue.{QUEUE.name}"] is None
    settle(region)
    full = [each for each in peer.client.messages if each.destination.name.startswith(f"{PREFIX}FULL.")]
    assert properties(full[0])["usageName"] == "localhost:store"
    assert properties(full[0])["usageCount"] == 1


# ---- limits and rights


def test_a_slow_listener_loses_the_oldest_and_holds_up_nobody() -> None:
    """What it has room for it gets, the rest is bounded."""
    region = new_region(limits=RegionLimits(advisories_pending_max=10))
    slow = listener(region, "Connection", prefetch_size=1)
    quick = listener(region, "Connection")
    for index in range(50):
        Peer(region, f"c{index}")
    settle(region)
    assert len(slow.client.got) == 1
    assert len(quick.client.got) == 52
    source = slow.connection.consumers["l"].source
    assert isinstance(source, AdvisoryLine)
    for _ in range(15):
        slow.acknowledge(slow.client.refs()[-1], key="l")
        settle(region)
    assert len(slow.client.got) + source.discarded == 52
    assert source.discarded == 40


def test_what_there_is_is_told_in_full_however_much_it_is() -> None:
    """A new listener of destinations hears of all of them."""
    region = new_region(limits=RegionLimits(advisories_pending_max=10))
    for index in range(100):
        region.target(Destination.queue(f"q{index}"))
    peer = listener(region, "Queue", prefetch_size=7)
    for _ in range(30):
        settle(region)
        if not peer.connection.consumers["l"].dispatched:
            break
        peer.acknowledge(*peer.connection.consumers["l"].dispatched, key="l")
    assert len(peer.client.got) == 100


def test_a_listener_that_pulls_gets_one_at_a_time() -> None:
    """Prefetch 0."""
    region = new_region()
    peer = listener(region, "Connection", prefetch_size=0)
    settle(region)
    assert peer.client.got == []
    peer.connection.pull("l", -1)
    assert len(peer.client.got) == 1
    peer.connection.pull("l", -1)
    assert peer.client.none == ["l"]


def test_listeners_hear_only_what_they_may_read() -> None:
    """A wildcard covers less, a name is refused; temporary destinations are everybody's."""
    region = Region(
        new_region().store,
        now_ms=1000,
        rights=Rights(
            Authorization.parse({"authorization.topic.ActiveMQ.Advisory.Queue.read": "some"}),
            lambda user: {"some"} if user == "some" else (),
        ),
    )
    some, nobody = Peer(region, "c1"), Peer(region, "c2")
    some.connection.user = "some"
    some.consume("l", advisory(">"))
    with pytest.raises(AccessDenied):
        some.consume("m", advisory("Connection"))
    nobody.consume("t", advisory("TempQueue"))
    with pytest.raises(AccessDenied):
        nobody.consume("l", advisory("Queue"))
    Peer(region, "c3")
    region.target(QUEUE)
    nobody.connection.add_destination(Destination.parse("temp-queue://ID:c2:1"))
    assert topics(some) == ["Queue", "TempQueue"]
    assert topics(nobody) == ["TempQueue"]
    region.review_rights()
    assert not some.connection.closed


def test_a_broker_may_be_silent() -> None:
    """`advisorySupport` false: listeners are taken, and hear nothing."""
    region = Region(new_region().store, now_ms=1000, advisory_support=False)
    peer = listener(region, ">")
    Peer(region, "c1").consume()
    assert topics(peer) == []
    assert not region.advisories.heard
