"""Durable and shared subscriptions: selectors, wildcards, who takes what, what is another subscription."""

import pytest
from support.region import TOPIC, MemoryStore, Peer, new_region, restarted, settle

from broker.authorization import Authorization, Rights
from broker.destination import Destination
from broker.errors import AccessDenied, InvalidDestination, InvalidSelector, RequestInvalid
from broker.primitive_map import encode_map
from broker.region.region import Region
from journal.record import AddMessage, Audience

GOLD = Destination.topic("prices.gold")
SILVER = Destination.topic("prices.silver")
ALL = Destination.topic("prices.>")


def send(
    peer: Peer, name: str, destination: Destination = TOPIC, *, colour: str = "", **fields: object
) -> None:
    """Send a message, with a property if it has a colour."""
    properties = encode_map({"colour": colour}) if colour else None
    peer.send(name, destination, properties=properties, **fields)


# ---- selectors


def test_a_subscriber_gets_what_its_selector_matches() -> None:
    """JMS: nothing else is delivered to it."""
    region = new_region()
    peer = Peer(region)
    peer.consume("red", TOPIC, selector="colour = 'red'")
    peer.consume("all", TOPIC)
    peer.consume("blank", TOPIC, selector="  ")
    for name, colour in (("m0", "red"), ("m1", "blue"), ("m2", ""), ("m3", "red")):
        send(peer, name, colour=colour)
    settle(region)
    assert peer.client.ids("red") == ["m0", "m3"]
    assert peer.client.ids("all") == peer.client.ids("blank") == ["m0", "m1", "m2", "m3"]


def test_an_invalid_selector_makes_no_subscription() -> None:
    """It is refused with its position, and nothing was done."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    with pytest.raises(InvalidSelector, match="position 10"):
        peer.consume("k", TOPIC, subscription_name="s", selector="colour = = 'red'")
    assert not region.subscriptions.durable
    assert not region.store.state.subscriptions


def test_what_a_durable_subscriber_does_not_select_is_not_stored_for_it() -> None:
    """While it is away, too; and a new master knows no more of it."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    peer.consume("k", TOPIC, subscription_name="s", selector="colour = 'red'")
    peer.connection.remove_consumer("k")
    for name, colour in (("m0", "red"), ("m1", "blue"), ("m2", "red")):
        send(peer, name, colour=colour)
    state = region.store.state
    assert len(state.subscriptions["client", "s"].pending) == 2
    assert len(state.topics[TOPIC.uri]) == 2
    settle(region)
    after = restarted(region)
    again = Peer(after, "c1", "client")
    send(again, "m3", colour="blue")
    send(again, "m4", colour="red")
    again.consume("k", TOPIC, subscription_name="s", selector="colour = 'red'")
    settle(after)
    assert again.client.ids() == ["m0", "m2", "m4"]


def test_another_selector_is_another_subscription() -> None:
    """JMS: what was pending for the old one is gone, in the journal too."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    peer.consume("k", TOPIC, subscription_name="s", selector="colour = 'red'")
    peer.connection.remove_consumer("k")
    send(peer, "old", colour="red")
    peer.consume("k", TOPIC, subscription_name="s", selector="colour = 'blue'")
    send(peer, "red", colour="red")
    send(peer, "blue", colour="blue")
    settle(region)
    assert peer.client.ids() == ["blue"]
    assert region.store.state.subscriptions["client", "s"].selector == "colour = 'blue'"
    peer.connection.remove_consumer("k")
    peer.consume("k", TOPIC, subscription_name="s")
    settle(region)
    assert peer.client.ids() == ["blue"]


def test_no_local_holds_for_a_subscriber_with_a_selector() -> None:
    """Both must hold; while it is away what its own client sends counts as local, too."""
    region = new_region()
    own, other = Peer(region, "c1", "client"), Peer(region, "c2")
    own.consume("k", TOPIC, subscription_name="s", selector="colour = 'red'", no_local=True)
    send(own, "own", colour="red")
    send(other, "red", colour="red")
    send(other, "blue", colour="blue")
    own.connection.remove_consumer("k")
    send(own, "away", colour="red")
    own.consume("k", TOPIC, subscription_name="s", selector="colour = 'red'", no_local=True)
    settle(region)
    assert own.client.ids() == ["red"]


# ---- wildcards and several topics


def test_a_durable_wildcard_takes_from_topics_made_later() -> None:
    """In the order sent, over all of them; a new master goes on with it."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    peer.consume("k", ALL, subscription_name="s")
    peer.connection.remove_consumer("k")
    for name, destination in (("g0", GOLD), ("s0", SILVER), ("other", TOPIC), ("g1", GOLD)):
        send(peer, name, destination)
    send(peer, "else", Destination.topic("else"))
    settle(region)
    after = restarted(region)
    again = Peer(after, "c1", "client")
    send(again, "c0", Destination.topic("prices.copper"))
    again.consume("k", ALL, subscription_name="s")
    settle(after)
    assert again.client.ids() == ["g0", "s0", "other", "g1", "c0"]
    again.acknowledge(*again.client.refs())
    assert not any(after.store.state.topics.values())


def test_a_durable_subscription_to_several_topics() -> None:
    """One line for all that a composite destination lists."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    both = Destination.topic("news, topic://prices.*")
    peer.consume("k", both, subscription_name="s")
    for name, topic in (("n", "news"), ("g", "prices.gold"), ("p", "prices"), ("l", "prices.gold.late")):
        send(peer, name, Destination.topic(topic))
    settle(region)
    assert peer.client.ids() == ["n", "g"]
    after = restarted(region)
    again = Peer(after, "c1", "client")
    again.consume("k", Destination.topic("news,prices.*"), subscription_name="s")
    settle(after)
    assert again.client.ids() == ["n", "g"]


def test_a_message_sent_to_several_topics_comes_once_for_each() -> None:
    """Each topic has its own copy."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    peer.consume("k", ALL, subscription_name="s")
    send(peer, "m", Destination.topic("prices.gold,prices.silver"))
    settle(region)
    assert peer.client.ids() == ["m", "m"]
    assert [message.destination for message in peer.client.messages] == [GOLD, SILVER]


@pytest.mark.parametrize("text", ["temp-topic://t", "topic://a,queue://b", "topic://prices.>.gold"])
def test_what_cannot_be_subscribed_to_durably(text: str) -> None:
    """Temporary topics, queues, and wildcards that are none."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    with pytest.raises(InvalidDestination):
        peer.consume("k", Destination.parse(text), subscription_name="s")
    assert not region.subscriptions.durable


def test_a_durable_wildcard_brings_nothing_that_its_user_may_not_read() -> None:
    """As if it were not attached to those topics."""
    authorization = Authorization.parse(
        {
            "authorization.topic.>.write": "*",
            "authorization.topic.>.admin": "*",
            "authorization.topic.prices.gold.read": "clerks",
        }
    )
    roles = {"clerk": ("clerks",), "": ()}
    region = Region(MemoryStore(), now_ms=1000, rights=Rights(authorization, lambda user: roles[user]))
    peer = Peer(region, "c1", "client")
    peer.connection.user = "clerk"
    peer.consume("k", ALL, subscription_name="s")
    send(peer, "g", GOLD)
    send(peer, "s", SILVER)
    settle(region)
    assert peer.client.ids() == ["g"]
    assert len(region.store.state.subscriptions["client", "s"].pending) == 1


# ---- shared subscriptions


@pytest.mark.parametrize("durable", [True, False])
def test_each_message_of_a_shared_subscription_goes_to_one_of_its_consumers(durable: bool) -> None:
    """In turn, from all connections; who subscribes otherwise gets all."""
    region = new_region()
    first, second = Peer(region, "c1"), Peer(region, "c2")
    for peer in (first, second):
        peer.consume("k", TOPIC, subscription_name="s", shared=True, durable=durable)
    first.consume("all", TOPIC)
    first.consume("else", TOPIC, subscription_name="t", shared=True, durable=durable)
    for index in range(4):
        send(first, f"m{index}")
    settle(region)
    assert first.client.ids("k") == ["m0", "m2"]
    assert second.client.ids("k") == ["m1", "m3"]
    assert first.client.ids("all") == first.client.ids("else") == ["m0", "m1", "m2", "m3"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_consumer_that_goes_leaves_its_messages_to_the_others(durable: bool) -> None:
    """In order, marked as redelivered; who is full is passed over."""
    region = new_region()
    first, second = Peer(region, "c1"), Peer(region, "c2")
    first.consume("k", TOPIC, 2, subscription_name="s", shared=True, durable=durable)
    second.consume("k", TOPIC, 1, subscription_name="s", shared=True, durable=durable)
    for index in range(5):
        send(first, f"m{index}")
    settle(region)
    assert (first.client.ids(), second.client.ids()) == (["m0", "m2"], ["m1"])
    first.connection.close()
    for _ in range(4):
        second.acknowledge(second.client.refs()[-1])
        settle(region)
    assert second.client.ids() == ["m1", "m0", "m2", "m3", "m4"]
    assert [counter for *_, counter in second.client.got] == [0, 1, 1, 0, 0]


def test_a_shared_subscription_that_is_not_durable_ends_with_its_last_consumer() -> None:
    """Who comes later begins anew."""
    region = new_region()
    peer = Peer(region)
    peer.consume("k", TOPIC, subscription_name="s", shared=True, durable=False)
    peer.connection.remove_consumer("k")
    send(peer, "m0")
    assert not region.subscriptions.shared
    peer.consume("k", SILVER, subscription_name="s", shared=True, durable=False)
    send(peer, "m1", SILVER)
    settle(region)
    assert peer.client.ids() == ["m1"]
    assert not region.store.state.subscriptions


def test_a_shared_durable_subscription_survives_the_broker() -> None:
    """With what its consumers had not acknowledged; it stays shared."""
    region = new_region()
    first, second = Peer(region, "c1"), Peer(region, "c2", "ID:host-1")
    for peer in (first, second):
        peer.consume("k", ALL, subscription_name="s", shared=True)
    for index in range(4):
        send(first, f"m{index}", GOLD)
    settle(region)
    first.acknowledge(first.client.refs()[0])
    settle(region)
    after = restarted(region)
    first, second = Peer(after, "c1"), Peer(after, "c2", "ID:host-2")
    for peer in (first, second):
        peer.consume("k", ALL, subscription_name="s", shared=True)
    settle(after)
    assert first.client.ids() == ["m1", "m3"]
    assert second.client.ids() == ["m2"]


def test_a_client_id_that_was_chosen_keeps_a_shared_subscription_to_its_client() -> None:
    """JMS 2.0: with a client id it is the client's; a made-up one does not count."""
    region = new_region()
    chosen, made_up, none = Peer(region, "c1", "client"), Peer(region, "c2", "ID:host-1"), Peer(region, "c3")
    for peer in (chosen, made_up, none):
        peer.consume("k", TOPIC, subscription_name="s", shared=True)
    send(none, "m0")
    send(none, "m1")
    settle(region)
    assert chosen.client.ids() == ["m0", "m1"]
    assert (made_up.client.ids(), none.client.ids()) == (["m0"], ["m1"])


def test_all_consumers_of_a_shared_subscription_ask_for_the_same() -> None:
    """Another topic or selector is refused while it has consumers; afterwards it is made anew."""
    region = new_region()
    first, second = Peer(region, "c1"), Peer(region, "c2")
    for durable in (True, False):
        first.consume(f"k{durable}", TOPIC, subscription_name="s", shared=True, durable=durable)
        with pytest.raises(RequestInvalid, match="same"):
            second.consume("k", SILVER, subscription_name="s", shared=True, durable=durable)
        with pytest.raises(RequestInvalid, match="same"):
            second.consume("k", TOPIC, subscription_name="s", selector="a = 1", shared=True, durable=durable)
    first.connection.close()
    second.consume("k", SILVER, subscription_name="s", shared=True)
    assert region.store.state.subscriptions["", "s"].destination == SILVER.uri


def test_shared_and_unshared_durable_subscriptions_of_one_name() -> None:
    """JMS 2.0: the second is refused, whether the first has a consumer or not."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    peer.consume("k", TOPIC, subscription_name="s", shared=True)
    peer.connection.remove_consumer("k")
    with pytest.raises(RequestInvalid, match="a shared durable subscription"):
        peer.consume("k", TOPIC, subscription_name="s")
    peer.connection.remove_subscription("s")
    peer.consume("k", TOPIC, subscription_name="s")
    with pytest.raises(RequestInvalid, match="an unshared durable subscription"):
        peer.consume("k2", TOPIC, subscription_name="s", shared=True)


def test_a_shared_durable_subscription_is_ended_by_whoever_may_read_it() -> None:
    """Not while it has consumers."""
    region = new_region()
    peer, other = Peer(region, "c1", "ID:x"), Peer(region, "c2")
    peer.consume("k", TOPIC, subscription_name="s", shared=True)
    with pytest.raises(RequestInvalid, match="in use"):
        other.connection.remove_subscription("s")
    peer.connection.remove_consumer("k")
    region.rights = Rights(Authorization.parse({"authorization.topic.>.read": "clerks"}), lambda _: ())
    with pytest.raises(AccessDenied):
        other.connection.remove_subscription("s")
    region.rights = Rights()
    other.connection.remove_subscription("s")
    assert not region.store.state.subscriptions
    with pytest.raises(InvalidDestination, match="No durable subscription"):
        other.connection.remove_subscription("s")


def test_what_a_transaction_has_consumed_of_a_subscription_that_ended() -> None:
    """Its rollback brings nothing back, and holds no memory."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    peer.consume("k", TOPIC, subscription_name="s")
    send(peer, "m0")
    settle(region)
    peer.connection.begin("tx")
    peer.acknowledge(peer.client.refs()[0], transaction="tx")
    peer.connection.remove_consumer("k")
    peer.connection.remove_subscription("s")
    peer.connection.rollback("tx")
    assert region.usage.memory_bytes == 0


def test_a_selector_costs_one_record_however_many_do_not_want_the_message() -> None:
    """It names those who do, before the message in the same batch; without need there is none."""
    region = new_region()
    peer = Peer(region, "c1", "client")
    store = region.store
    assert isinstance(store, MemoryStore)
    for index in range(3):
        peer.consume(f"k{index}", TOPIC, subscription_name=f"s{index}", selector=f"colour = 'c{index}'")
    send(peer, "m", colour="c1")
    audience, message = store.batches[-1]
    assert isinstance(message, AddMessage)
    assert audience == Audience(message.ref, TOPIC.uri, (("client", "s1"),))
    send(peer, "unwanted")
    assert store.batches[-1][0] == Audience(message.ref + 1, TOPIC.uri, ())
    assert list(store.state.topics[TOPIC.uri]) == [message.ref]
    for index in (0, 2):
        peer.connection.remove_consumer(f"k{index}")
        peer.connection.remove_subscription(f"s{index}")
    send(peer, "m", colour="c1")
    assert len(store.batches[-1]) == 1
