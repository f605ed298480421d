"""What a broker's PID says of virtual topics, composite destinations and mirrored queues."""

from __future__ import annotations

import pytest

from broker.config import BrokerConfig
from broker.destination import Destination
from broker.errors import ConfigurationInvalid
from broker.forwarding import Forwarding, VirtualTopics


def test_the_defaults_are_the_originals() -> None:
    """Virtual topics with their usual names, and nothing else."""
    forwarding = Forwarding.parse({"data": "x"})
    assert forwarding == Forwarding()
    assert forwarding.virtual_topics == (VirtualTopics(),)
    assert forwarding.composite_of(Destination.queue("a")) is None
    assert forwarding.mirror_of(Destination.queue("a")) is None


@pytest.mark.parametrize(
    ("properties", "queue", "topic"),
    [
        ({}, "Consumer.A.VirtualTopic.Orders", "VirtualTopic.Orders"),
        ({}, "Consumer.A.VirtualTopic.Orders.eu", "VirtualTopic.Orders.eu"),
        ({}, "Consumer.A.B.VirtualTopic.Orders", None),
        ({}, "Consumer.A.Orders", None),
        ({}, "Consumer.A", None),
        ({}, "VirtualTopic.Orders", None),
        ({"useVirtualTopics": "false"}, "Consumer.A.VirtualTopic.Orders", None),
        ({"virtualTopic.name": ">", "virtualTopic.prefix": "VTC.*."}, "VTC.A.x", "x"),
        ({"virtualTopic.name": ">", "virtualTopic.prefix": "VTC.*."}, "Consumer.A.VirtualTopic.x", None),
        (
            {"virtualTopic.prefix": "V.", "virtualTopic.postfix": ".in"},
            "V.VirtualTopic.x.in",
            "VirtualTopic.x",
        ),
        ({"virtualTopic.prefix": "V.", "virtualTopic.postfix": ".in"}, "V.VirtualTopic.x.out", None),
        ({"virtualTopic.a.name": "A.>", "virtualTopic.b.name": "B.>"}, "Consumer.x.B.y", "B.y"),
    ],
)
def test_queues_tell_their_virtual_topic(properties: dict[str, str], queue: str, topic: str | None) -> None:
    """A queue is fed by the topic whose name stands between prefix and postfix in its own."""
    found = [each.topic_of(queue.split(".")) for each in Forwarding.parse(properties).virtual_topics]
    assert [each for each in found if each is not None] == ([] if topic is None else [topic])


def test_the_most_specific_composite_counts() -> None:
    """A composite destination may be a pattern; its parts may be queues and topics."""
    forwarding = Forwarding.parse(
        {
            "compositeQueue.MY.>.forwardTo": "topic://all",
            "compositeQueue.MY.QUEUE.forwardTo": "FOO, queue://BAR,topic://BAR",
            "compositeQueue.MY.QUEUE.forwardOnly": "false",
        }
    )
    mine = forwarding.composite_of(Destination.queue("MY.QUEUE"))
    assert mine is not None
    assert [each.uri for each in mine.forward_to] == ["queue://FOO", "queue://BAR", "topic://BAR"]
    assert not mine.forward_only
    other = forwarding.composite_of(Destination.queue("MY.OTHER"))
    assert other is not None
    assert [each.uri for each in other.forward_to] == ["topic://all"]
    assert other.forward_only
    assert forwarding.composite_of(Destination.topic("MY.QUEUE")) is None


def test_mirrors_have_their_names_configured() -> None:
    """Each queue, but no temporary one, has a topic of its name between prefix and postfix."""
    queue = Destination.queue("Q")
    assert Forwarding.parse({"useMirroredQueues": "true"}).mirror_of(queue) == Destination.topic(
        "VirtualTopic.Mirror.Q"
    )
    named = {"useMirroredQueues": "true", "mirroredQueue.prefix": "M.", "mirroredQueue.postfix": ".x"}
    assert Forwarding.parse(named).mirror_of(queue) == Destination.topic("M.Q.x")
    assert Forwarding.parse(named).mirror_of(Destination.parse("temp-queue://Q")) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("useVirtualTopics", "maybe"),
        ("virtualTopic.colour", "red"),
        ("virtualTopic.name", "a.>.b"),
        ("virtualTopic.prefix", "Consumer"),
        ("virtualTopic.prefix", "Consumer.>."),
        ("virtualTopic.prefix", "."),
        ("virtualTopic.postfix", "in"),
        ("virtualTopic.selectorAware", "true"),
        ("useMirroredQueues", "1"),
        ("compositeQueue.a.forwardTo", ","),
        ("compositeQueue.a.forwardTo", "mailto://b"),
        ("compositeQueue.a.forwardTo", "b.>"),
        ("compositeQueue.a.forwardTo", "a"),
        ("compositeQueue.a.forwardTo", "temp-queue://b"),
        ("compositeQueue.a.forwardOnly", "true"),
        ("compositeQueue.a.to", "b"),
        ("compositeQueue.forwardTo", "b"),
        ("compositeTopic.a..b.forwardTo", "b"),
    ],
)
def test_wrong_values_are_refused_by_name(key: str, value: str) -> None:
    """What cannot be meant stops the broker from being made, and the text names the property."""
    with pytest.raises(ConfigurationInvalid) as caught:
        BrokerConfig.from_properties({key: value}, container="c1")
    assert key.rpartition(".")[0] in str(caught.value)
