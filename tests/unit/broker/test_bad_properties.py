"""Messages whose properties are damaged, or of other types than expected, go their way like others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.region import TOPIC, Peer, new_region, settle

from broker.destination import Destination
from broker.errors import ClientError
from broker.primitive_map import Byte, Char, Float, Long, Short, encode_map
from broker.region.consumer import AckKind

NAMES = (
    "colour",
    "JMSXGroupID",
    "JMSXGroupSeq",
    "JMSXUserID",
    "JMSPriority",
    "JMSDestination",
    "AMQ_SCHEDULED_DELAY",
    "AMQ_SCHEDULED_PERIOD",
    "AMQ_SCHEDULED_REPEAT",
    "AMQ_SCHEDULED_CRON",
    "AMQ_SCHEDULER_ACTION",
    "scheduledJobId",
    "originalExpiration",
    "dlqDeliveryFailureCause",
)
FORWARDING = {
    "compositeQueue.in.forwardTo": "queue://out, topic://heard",
    "policy.queue.>.deadLetterStrategy.processNonPersistent": "true",
}
SELECTOR = (
    "colour = 'red' OR colour > 5 OR JMSXGroupSeq = 1 OR JMSPriority LIKE 'x%' OR scheduledJobId IS NULL"
)

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-(2**31), 2**31 - 1).map(Long),
        st.integers(-(2**15), 2**15 - 1).map(Short),
        st.integers(-128, 127).map(Byte),
        st.floats(),
        st.floats(width=32).map(Float),
        st.characters(max_codepoint=0xFFFF, exclude_categories=()).map(Char),
        st.text(max_size=5),
        st.binary(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
maps: st.SearchStrategy[dict[str, Any]] = st.dictionaries(st.sampled_from(NAMES), values, max_size=5)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A map's bytes, some of them changed, cut off or doubled; or any bytes."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=60))
    data = bytearray(encode_map(draw(maps)))
    for _ in range(draw(st.integers(0, 3))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(data)))
    return bytes(data[:cut]) if draw(st.booleans()) else bytes(data) + draw(st.binary(max_size=3))


def go_through(properties: bytes, group: str | None, persistent: bool) -> None:
    """One message wherever properties could be looked at, and a good one behind it."""
    region = new_region(policies=FORWARDING)
    peer = Peer(region, client_id="me")
    out, source = Destination.queue("out"), Destination.queue("in")
    peer.consume("choosy", out, selector=SELECTOR)
    peer.consume("any", out)
    peer.consume("heard", Destination.topic("heard"), selector=SELECTOR)
    peer.consume("durable", TOPIC, subscription_name="s", selector=SELECTOR)
    peer.consume("browser", out, browser=True, selector=SELECTOR)
    taken = 0
    for destination in (source, TOPIC, Destination.topic("VirtualTopic.X")):
        try:
            peer.send(
                "m", destination, properties=properties, group_id=group, persistent=persistent, timestamp=1
            )
        except ClientError:
            continue
        taken += 1
    for _ in range(5):
        settle(region)
        region.advance(region.now_ms + 10**12)
    for key, consumer in list(peer.connection.consumers.items()):
        for ref in list(consumer.dispatched):
            kind = AckKind.POISON if key in ("choosy", "durable") else AckKind.STANDARD
            peer.connection.acknowledge(key, kind, ref, ref)
    settle(region)
    assert taken in (0, 3)
    before = len(peer.client.ids("any")) + len(peer.client.ids("choosy"))
    for number in range(2):
        peer.send(f"good{number}", source)
    settle(region)
    assert len(peer.client.ids("any")) + len(peer.client.ids("choosy")) == before + 2


@given(damaged(), st.sampled_from([None, "g"]), st.booleans())
def test_damaged_properties_disturb_nobody(properties: bytes, group: str | None, persistent: bool) -> None:
    """Selectors, groups, forwarding, the schedule, dead letters and browsers live with any bytes."""
    go_through(properties, group, persistent)


@given(maps, st.sampled_from([None, "g"]))
def test_values_of_any_type_disturb_nobody(properties: dict[str, Any], group: str | None) -> None:
    """A number where a text is expected, and the other way round: not selected, or refused at the send."""
    go_through(encode_map(properties), group, True)


@pytest.mark.parametrize("depth", [63, 64, 65, 10_000])
def test_deeply_nested_properties_disturb_nobody(depth: int) -> None:
    """More than is allowed is no property, and no endless recursion."""
    nested = b"\x0c\x00\x00\x00\x01" * depth + b"\x00"
    name = b"colour"
    go_through(b"\x00\x00\x00\x01\x00\x06" + name + nested, None, True)


def test_a_map_that_says_it_is_huge_is_damaged() -> None:
    """Nothing is allocated for what is not there."""
    go_through(b"\x7f\xff\xff\xff", "g", True)
    go_through(b"\x00\x00\x00\x01\x00\x06colour\x0a\x7f\xff\xff\xff", None, True)
