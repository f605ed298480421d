"""Whatever clients say, they are answered, nobody else notices, and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stomp_client import QUEUE, TOPIC, Broker, Client, written

NAMES = st.sampled_from(
    [
        "ack",
        "activemq.prefetchSize",
        "activemq.subscriptionName",
        "browser",
        "destination",
        "expires",
        "id",
        "message-id",
        "priority",
        "receipt",
        "reply-to",
        "selector",
        "subscription",
        "transaction",
        "x",
    ]
)
VALUES = st.sampled_from(
    [
        "1",
        "2",
        "1-1",
        "1-2",
        "t",
        "true",
        "client",
        "client-individual",
        QUEUE,
        TOPIC,
        "/temp-queue/q",
        "a = 1",
        "-1",
    ]
) | st.text(max_size=4)
COMMANDS = st.sampled_from(
    ["ABORT", "ACK", "BEGIN", "COMMIT", "CONNECT", "DISCONNECT", "NACK", "SEND", "SUBSCRIBE", "UNSUBSCRIBE"]
)
FRAMES = st.builds(
    written,
    COMMANDS,
    st.dictionaries(NAMES, VALUES.map(lambda text: text.encode("utf-8", "ignore").decode()), max_size=5),
    st.binary(max_size=5),
)
USUAL = st.sampled_from(
    [
        written("SEND", {"destination": QUEUE, "persistent": "true"}, b"x"),
        written("SEND", {"destination": TOPIC}, b"x"),
        written("SEND", {"destination": QUEUE, "transaction": "t"}, b"x"),
        written("SUBSCRIBE", {"destination": QUEUE, "id": "1", "ack": "client"}),
        written("SUBSCRIBE", {"destination": TOPIC, "id": "2"}),
        written("BEGIN", {"transaction": "t"}),
        written("COMMIT", {"transaction": "t"}),
        written("ABORT", {"transaction": "t"}),
        written("ACK", {"id": "1-1"}),
        written("ACK", {"id": "1-2", "transaction": "t"}),
        written("UNSUBSCRIBE", {"id": "1"}),
        b"\n",
    ]
)


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Thousands of mistakes need not be logged."""
    logger = logging.getLogger("broker")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@settings(max_examples=200)
@given(st.lists(USUAL | FRAMES | st.binary(max_size=10), max_size=12), st.data())
def test_no_input_breaks_the_broker(parts: list[bytes], data: st.DataObject) -> None:
    """A client may say anything at any time: it is served or told an error; the next is served as before."""
    broker = Broker()
    client = Client(broker)
    for part in parts:
        if client.server.closing:
            break
        client.server.receive_data(part, 0.0)
        if data.draw(st.booleans()):
            broker.settle()
    client.read()
    errors = client.take("ERROR")
    assert len(errors) == (1 if client.server.closing and client.server.close_reason else 0)
    client.server.connection_lost("")
    assert broker.region.connections == {}
    other = Client(broker)
    other.subscribe("/queue/other")
    other.send("hello", "/queue/other", receipt="r")
    broker.settle()
    assert other.bodies() == [b"hello"]
    assert other.receipts() == ["r"]
